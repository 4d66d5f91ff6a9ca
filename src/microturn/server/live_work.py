"""Delegated work in the Live dialect: what a client adds to the server's, and what it is told of it.

The server's work is told as the Responses API would stream it: one response, and one more for every round of
calls of the client's own functions that it has answered.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from msgspec import Struct

from microturn.background import (
    Calls,
    Continued,
    Delegation,
    Function,
    Given,
    Kind,
    Over,
    Piece,
    State,
    fit,
)  # fmt: skip
from microturn.events import Event
from microturn.server import live_events as wire
from microturn.server.conversation import Conversation
from microturn.server.live_events import LiveError
from microturn.streams import Channel

FUNCTIONS = 64
INSTRUCTIONS = 12_000  # characters: half of what a background model is told
RESPONSES = "session.delegation.responses"
TOOLS = f"{RESPONSES}.tools"
PACKAGE = 48_000  # bytes of a package's text as JSON: a data channel takes 65,536 at a time
ADDED = {  # by role: how the background model's conversation shows it
    "user": Event("read", 0, channel=Channel.TYPED),
    "developer": Event("read", 0, channel=Channel.INSTRUCTIONS),
    "system": Event("read", 0, channel=Channel.INSTRUCTIONS),
    "assistant": Event("say", 0),
}
ENDS = {  # the API has no event for work that was taken back
    State.DONE: ("response.completed", "completed"),
    State.FAILED: ("response.failed", "failed"),
    State.CANCELLED: ("response.incomplete", "cancelled"),
}
Note = Delegation | Given | Piece | Over | Calls | Continued


def equip(talk: Conversation, delegation: wire.Delegation | None) -> None:
    """Take what the client gives the background model. Raises LiveError, naming the parameter."""
    if delegation is None or delegation.responses is None:
        return
    given = delegation.responses
    if len(given.instructions or "") > INSTRUCTIONS:
        raise LiveError("invalid_value", f"at most {INSTRUCTIONS} characters", f"{RESPONSES}.instructions")
    if given.tools is not None:
        _take_tools(talk, given.tools)
    if given.instructions:
        talk.add(replace(ADDED["developer"], text=given.instructions))


def _take_tools(talk: Conversation, tools: Sequence[dict[str, Any]]) -> None:
    """The client's functions. Raises LiveError, naming the parameter."""
    functions = talk.background.functions
    if functions is None and tools:
        raise LiveError("unsupported_parameter", "the background model here calls no functions", TOOLS)
    if len(tools) > FUNCTIONS:
        raise LiveError("invalid_value", f"at most {FUNCTIONS}", TOOLS)
    taken = set(functions.taken if functions else ())
    nothing = {"type": "object", "properties": {}}
    offered = []
    for i, given in enumerate(tools):
        where = f"{TOOLS}[{i}]"
        if given.get("type", "function") != "function":
            raise LiveError("unsupported_parameter", "only functions are offered", f"{where}.type")
        tool = wire.convert(given, wire.FunctionTool, where)
        if tool.strict:
            raise LiveError("unsupported_parameter", "arguments come as they are", f"{where}.strict")
        if not tool.name or tool.name in taken:
            raise LiveError("invalid_value", "it needs a name that is free", f"{where}.name")
        taken.add(tool.name)
        offered.append(Function(tool.name, tool.description or "", tool.parameters or nothing))
    talk.add(functions=tuple(offered))


def add(talk: Conversation, given: dict[str, Any]) -> None:
    """Raises LiveError, naming the parameter."""
    kind = given.get("type", "message")
    if kind == "function_call_output":
        answer = wire.convert(given, wire.FunctionOutput, "item")
        try:
            if talk.background.functions is None:
                raise ValueError("the background model here calls no functions")
            return talk.background.functions.answer(answer.call_id, _text(answer.output))
        except ValueError as error:
            raise LiveError("invalid_value", str(error), "item.call_id") from None
    if kind != "message":
        raise LiveError("unsupported_parameter", "message or function_call_output", "item.type")
    item = wire.convert(given, wire.Input, "item")
    text = _text(item.content)
    if not 0 < len(text) <= wire.CONTENT:
        raise LiveError("invalid_value", f"1 to {wire.CONTENT} characters", "item.content")
    talk.add(replace(ADDED[item.role], text=text))


def _text(content: str | list[wire.Content]) -> str:
    return content if isinstance(content, str) else " ".join(part.text for part in content)


def go_on(talk: Conversation) -> bool:
    """Whether work that waited for its functions' outputs goes on. Raises LiveError while one is missing."""
    try:
        return talk.background.functions is not None and talk.background.functions.go_on()
    except ValueError as error:
        raise LiveError("function_call_outputs_required", str(error), "type") from None


def told(talk: Conversation, note: Note) -> Sequence[Struct]:
    """The events of something that happened to delegated work."""
    id = note.id if isinstance(note, Delegation) else (
        note.delegation.id if isinstance(note, Over) else note.delegation
    )  # fmt: skip
    if isinstance(note, Given):
        return (package_of(note),)
    work = talk.background.all.get(id)
    response = f"resp_{id.removeprefix('dlg_')}" + (f"_{work.rounds}" if work and work.rounds else "")
    begun = {"type": "response.created", "response": {"id": response, "status": "in_progress"}}
    if not talk.start.responses:
        match note:
            case Delegation():
                return (_created(note, None),)
            case Over():
                message = f"{id} was taken back"
                return (wire.Info(code="delegation_cancelled", message=message, delegation_id=id),)
        return ()
    events: list[dict[str, Any]] = []
    match note:
        case Delegation() | Continued():
            events = [begun]
        case Piece():
            silent = note.kind is Kind.THINKING
            kind = "response.reasoning_summary_text.delta" if silent else "response.output_text.delta"
            events = [{"type": kind, "delta": note.text, "item_id": response, "output_index": 0}]
        case Calls():
            for index, call in enumerate(note.calls):
                item = {"type": "function_call", "id": f"fc_{call.id}", "call_id": call.id, "name": call.name,
                        "arguments": call.arguments, "status": "completed"}  # fmt: skip
                events.append({"type": "response.output_item.done", "item": item, "output_index": index})
            events.append({"type": "response.completed", "response": {"id": response, "status": "completed"}})
        case Over():
            kind, status = ENDS[note.delegation.state]
            about: dict[str, Any] = {"id": response, "status": status}
            if status == "failed":
                about["error"] = {"code": "server_error", "message": note.delegation.results[-1]}
            events = [{"type": kind, "response": about}]
    streamed = [wire.ResponseEvent(event=event, delegation_id=id) for event in events if id]
    return [_created(note, response), *streamed] if isinstance(note, Delegation) else streamed


def package_of(given: Given) -> wire.DelegationPackage:
    """Within bounds, whatever the texts are: the oldest are left out first."""
    package, room = given.package, PACKAGE
    while len(wire.encode(package.told())) > PACKAGE:
        room //= 2
        package = fit(given.package, room)
    return wire.DelegationPackage(
        delegation_id=given.delegation, text=package.told(), omitted=package.omitted,
        audio_ms=given.audio_ms, frames=given.frames,
    )  # fmt: skip


def _created(work: Delegation, response: str | None) -> Struct:
    info = wire.DelegationInfo(work.id, "responses" if response else "client", response)
    return wire.DelegationCreated(delegation=info, offset_ms=work.at_ms)

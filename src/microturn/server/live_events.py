"""The Live API's events as data, and what is wrong with one that cannot be used. Pure: no sockets, no sessions.

Names and shapes are those of `openai.types.live`; what is added to them is marked. Unknown fields are errors
that name the field.
"""

from __future__ import annotations

import re
import secrets
from itertools import count
from typing import Annotated, Any, Literal, TypeVar, get_args

import msgspec
from msgspec import Meta, Struct, field

CONTENT = 2_000  # characters of a text that is appended (500 tokens)
INSTRUCTIONS = 65_536  # characters (16,384 tokens)
EAGEREST = 100  # either way
_RUN, _numbers = secrets.token_hex(3), count(1)  # no two events have the same id
T = TypeVar("T")


class LiveError(Exception):
    """An error event in the making."""

    def __init__(
        self, code: str, message: str, param: str | None = None, kind: str = "invalid_request_error"
    ):
        super().__init__(message)
        self.code, self.param, self.kind = code, param, kind
        self.client_event_id: str | None = None

    def event(self) -> ErrorEvent:
        id = self.client_event_id
        return ErrorEvent(error=Problem(self.code, str(self), self.kind, id, self.param), client_event_id=id)


class Part(Struct, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """Something inside of a client's event."""


class AudioFormat(Part, omit_defaults=False):
    type: Literal["audio/pcm", "audio/pcmu", "audio/pcma"]
    rate: int = 24_000


class AudioOutput(Part):
    voice: Any = None


class Audio(Part):
    format: AudioFormat | None = None
    output: AudioOutput | None = None


class FunctionTool(Part):
    type: Literal["function"]
    name: Annotated[str, Meta(pattern=r"^[a-zA-Z0-9_-]{0,64}\Z")] = ""
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class Backend(Part):
    """Settings of the background model. Those that are `Any` are the server's own and can only be left out."""

    model: str | None = None
    tools: list[dict[str, Any]] | None = None  # FunctionTool, once its type is seen to be a function's
    instructions: str | None = None
    max_output_tokens: Any = None
    parallel_tool_calls: Any = None
    reasoning: Any = None
    service_tier: Any = None
    text: Any = None
    tool_choice: Any = None


class Delegation(Part):
    type: Literal["client", "responses", "decisions"]
    acknowledgement_delay_ms: int | None = None
    responses: Backend | None = None
    decisions: dict[str, Any] | None = None


class Content(Part):
    text: str
    type: Literal["input_text", "text", "output_text"] = "input_text"


class Item(Part):
    role: Literal["developer", "user", "assistant"]
    content: list[Content]
    type: Literal["message"] = "message"
    id: str | None = None
    status: str | None = None


class Selector(Part):
    type: str
    response_event: str | None = None


class DataChannel(Part):
    allowed_client_events: Literal["all"] | list[str] | None = None
    allowed_server_events: Literal["all"] | list[Selector] | None = None


class Client(Part):
    data_channel: DataChannel


class Extras(Part):
    """Added: `session.microturn`."""

    ticks: bool = False  # send session.tick
    packages: bool = False  # send session.delegation.package
    eagerness: Annotated[float, Meta(ge=-EAGEREST, le=EAGEREST)] = 0.0  # added to the log-odds of speaking


class SessionConfig(Part):
    model: str = ""
    type: Literal["live"] = "live"
    audio: Audio | None = None
    client: Client | None = None
    delegation: Delegation | None = None
    input: list[Item] | None = None
    instructions: str | None = None
    safety_identifier: str | None = None
    store: bool | None = None
    triggers: list[Any] | None = None
    microturn: Extras | None = None


class SessionUpdate(Part):
    delegation: Delegation | None = None
    triggers: list[Any] | None = None


class ClientEvent(Struct, tag_field="type", forbid_unknown_fields=True, kw_only=True):
    event_id: str | None = None


class StartSession(ClientEvent, tag="session.start"):
    session: SessionConfig


class UpdateSession(ClientEvent, tag="session.update"):
    session: SessionUpdate


class AppendAudio(ClientEvent, tag="session.input_audio.append"):
    audio: bytes  # base64


class Mute(ClientEvent, tag="session.input_audio.mute"):
    pass


class Unmute(ClientEvent, tag="session.input_audio.unmute"):
    pass


class AppendContext(ClientEvent):
    content: str
    delegation_id: str | None = None


class AppendInstructions(AppendContext, tag="session.instructions.append"):
    pass


class AppendThinking(AppendContext, tag="session.thinking.append"):
    pass


class AppendCommentary(AppendContext, tag="session.commentary.append"):
    pass


class Input(Part):
    """A message that a client adds to the server's background work."""

    content: str | list[Content]
    role: Literal["user", "developer", "system", "assistant"] = "user"
    type: Literal["message"] = "message"
    id: str | None = None
    status: str | None = None


class FunctionOutput(Part):
    """What a function of the client's own gave."""

    call_id: str
    output: str | list[Content]
    type: Literal["function_call_output"] = "function_call_output"
    id: str | None = None
    status: str | None = None


class CreateItem(ClientEvent, tag="response.item.create"):
    item: dict[str, Any]  # Input or FunctionOutput, by its type


class CreateResponse(ClientEvent, tag="response.create"):
    pass


class CloseSession(ClientEvent, tag="session.close"):
    pass


class AppendVideo(ClientEvent, tag="session.input_video.append"):
    """Added: one picture for the tick that is being filled."""

    image: bytes  # base64
    format: Literal["jpeg", "webp", "raw"] = "jpeg"
    width: int = 0  # of raw RGB
    height: int = 0


class AppendText(ClientEvent, tag="session.input_text.append"):
    """Added: what the user typed."""

    text: str


class Played(ClientEvent, tag="session.playback.ack"):
    """Added: up to where the client has played the answer."""

    end_ms: Annotated[int, Meta(ge=0)]


class Dropped(ClientEvent, tag="session.playback.dropped"):
    """Added: the client threw away the last 200 ms instead of playing them; the model is told."""


AnyClientEvent = (
    StartSession | UpdateSession | AppendAudio | Mute | Unmute | AppendInstructions | AppendThinking
    | AppendCommentary | CreateItem | CreateResponse | CloseSession | AppendVideo | AppendText | Played | Dropped
)  # fmt: skip
CAPABILITIES = ("input_video", "input_text", "playback", "ticks", "packages", "resume")
UNSUPPORTED = {
    "decision.create": "decisions are not offered",
    "decision.item.create": "decisions are not offered",
    "decision.item.delete": "decisions are not offered",
    "session.output_audio.fixture.play": "audio fixtures are not offered",
    "transport.dtmf.send": "there is no telephony",
}


class ServerEvent(Struct, tag_field="type", omit_defaults=True, kw_only=True):
    event_id: str = field(default_factory=lambda: f"event_{_RUN}_{next(_numbers)}")
    client_event_id: str | None = None


class Problem(Struct, omit_defaults=True):
    code: str
    message: str
    type: str
    client_event_id: str | None = None
    param: str | None = None


class ErrorEvent(ServerEvent, tag="error"):
    error: Problem


class Info(ServerEvent, tag="info"):
    code: str
    message: str
    delegation_id: str | None = None  # added: of work that was taken back


class Resource(Struct, omit_defaults=True, kw_only=True):
    id: str
    expires_at: int
    model: str
    status: Literal["active"]
    audio: Audio | None = None
    client: Client | None = None
    delegation: Delegation | None = None
    input: list[Item] | None = None
    instructions: str | None = None
    safety_identifier: str | None = None
    store: bool | None = None
    capabilities: tuple[str, ...] = ()  # added
    frame_size: tuple[int, int] | None = None  # added: height, width of the pictures that the model sees


class SessionStarted(ServerEvent, tag="session.started"):
    session: Resource


class SessionUpdated(ServerEvent, tag="session.updated"):
    session: Resource


class Usage(Struct):
    seconds: float


class UsageUpdated(ServerEvent, tag="session.usage.updated"):
    usage: Usage


class SessionClosed(ServerEvent, tag="session.closed"):
    reason: str
    session: Resource
    usage: Usage


class Muted(ServerEvent, tag="session.input_audio.muted"):
    pass


class Unmuted(ServerEvent, tag="session.input_audio.unmuted"):
    pass


class Timed(ServerEvent):
    start_ms: int
    end_ms: int


class InstructionsAppended(Timed, tag="session.instructions.appended"):
    pass


class ThinkingAppended(Timed, tag="session.thinking.appended"):
    pass


class CommentaryAppended(Timed, tag="session.commentary.appended"):
    pass


class TextAppended(Timed, tag="session.input_text.appended"):
    """Added."""


class InputTranscript(Timed, tag="session.input_transcript.delta"):
    delta: str


class OutputTranscript(Timed, tag="session.output_transcript.delta"):
    delta: str


class Tick(Timed, tag="session.tick"):
    """Added, when `session.microturn.ticks` asks for it: what the model decided."""

    tick: int
    decision: str
    odds: tuple[float, ...]  # of listen, speak, delegate, cancel
    missed: bool  # no sound came from the client in this tick


class OutputAudio(Struct, tag_field="type", tag="session.output_audio.delta", omit_defaults=True):
    delta: bytes
    start_ms: int | None = None
    end_ms: int | None = None


class InputAudio(Struct, tag_field="type", tag="session.input_audio.append"):
    """The user's sound, reflected to a sideband."""

    audio: bytes


class DelegationInfo(Struct, tag_field="type", tag="delegation", omit_defaults=True):
    id: str
    target: str
    response_id: str | None = None


class DelegationCreated(ServerEvent, tag="session.delegation.created"):
    delegation: DelegationInfo
    offset_ms: int


class DelegationPackage(ServerEvent, tag="session.delegation.package"):
    """Added, when `session.microturn.packages` asks for it: what is given to whoever does the work."""

    delegation_id: str
    text: str  # lines; with them the event fits into one message of a data channel
    omitted: int  # older texts that were left out
    audio_ms: int  # of the user's sound that goes with it
    frames: int  # pictures that go with it


class ResponseEvent(ServerEvent, tag="response.event"):
    event: dict[str, Any]
    delegation_id: str | None = None


CLIENT_EVENTS = {*UNSUPPORTED, *(str(kind.__struct_config__.tag) for kind in get_args(AnyClientEvent))}
SERVER_EVENTS = {
    *(str(kind.__struct_config__.tag) for kind in (*ServerEvent.__subclasses__(), *Timed.__subclasses__())),
    *("session.output_audio.delta", "session.input_audio.append"),
    *("decision.event", "decision.item.created", "decision.item.deleted"),  # the API's, never sent here
    *("session.output_audio.fixture.played", "session.output_audio.fixture.playing"),
}
_decoder: msgspec.json.Decoder[AnyClientEvent] = msgspec.json.Decoder(AnyClientEvent)
_bare = msgspec.json.Decoder(dict[str, Any])
encode = msgspec.json.Encoder().encode


def parse(message: str | bytes) -> AnyClientEvent:
    """Raises LiveError, naming the parameter and the client's event."""
    try:
        return _decoder.decode(message)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _explain(message, str(error)) from None


def read(body: bytes, type: type[T]) -> T:
    """What a POST says. Raises LiveError, naming the parameter."""
    try:
        return msgspec.json.decode(body, type=type)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _wrong(str(error)) from None


def convert(given: object, type: type[T], param: str) -> T:
    """What a client gave as `param`. Raises LiveError, naming the parameter."""
    try:
        return msgspec.convert(given, type)
    except msgspec.ValidationError as error:
        wrong = _wrong(str(error))
        raise LiveError(wrong.code, str(wrong), f"{param}.{wrong.param}" if wrong.param else param) from None


def _wrong(reason: str) -> LiveError:
    """An error of msgspec's in the API's words."""
    path = (re.search(r"- at `\$\.?(.*)`", reason) or [None, ""])[1] or ""
    reason = reason.split(" - at ")[0]
    name, code = (re.search(r"field `(.*?)`", reason) or [None, ""])[1] or "", "invalid_value"
    if name:
        code = "missing_parameter" if "missing" in reason else "unknown_parameter"
        path = f"{path}.{name}".strip(".")
    elif not path:
        return LiveError("invalid_json", "a message must be one JSON object")
    return LiveError(code, f"{reason[:1].lower()}{reason[1:200]}", path[:120])


def _explain(message: str | bytes, reason: str) -> LiveError:
    try:
        bare = _bare.decode(message)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return LiveError("invalid_json", "a message must be one JSON object")
    kind, id = bare.get("type"), bare.get("event_id")
    wrong = _wrong(reason)
    if not isinstance(kind, str):
        error = LiveError("missing_parameter", "an event needs a type", "type")
    elif kind in UNSUPPORTED:
        error = LiveError("unsupported_event", f"{kind}: {UNSUPPORTED[kind]}", "type")
    elif wrong.param == "type" and str(wrong).startswith("invalid value"):
        error = LiveError("unknown_event", f"there is no event {kind[:80]!r}", "type")
    else:
        error = LiveError(wrong.code, f"{kind}: {wrong}", wrong.param)
    error.client_event_id = id[:200] if isinstance(id, str) else None
    return error

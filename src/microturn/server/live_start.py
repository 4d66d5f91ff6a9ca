"""How a session of the Live dialect may begin, go on and be forked: what is offered, and what is refused by name."""

from __future__ import annotations

from enum import Enum
from typing import Any, Literal, TypeVar

from msgspec import structs

from microturn.server import live_events as wire
from microturn.server.conversation import Format, Start
from microturn.server.live_events import LiveError
from microturn.server.lobby import Offer

HISTORY = 128  # messages of earlier talk
NO_VOICE = "none"  # of a model that has not learned to speak
NAMES = ("microturn", "gpt-live-1")  # other names of whatever model is served, so that clients need no change
OWN = "background"  # the server's background model, where a client gives it no name
TAKEN = ("model", "tools", "instructions")  # settings of a background model that a client may give
T = TypeVar("T")


class Role(Enum):
    PRIMARY = "primary"
    CHANNEL = "data channel"
    SIDEBAND = "sideband"


def begin(config: wire.SessionConfig, offer: Offer, role: Role) -> Start:
    """What a conversation begins with. Raises LiveError, naming the parameter that cannot be had."""
    if not config.model:
        raise LiveError("missing_parameter", "a session needs a model", "session.model")
    if config.model not in (offer.model, *NAMES):
        raise LiveError("model_not_found", f"the model here is {offer.model!r}", "session.model")
    check(config, offer, role)
    if config.delegation and config.delegation.responses and not config.delegation.responses.model:
        raise LiveError("missing_parameter", "it needs a model", "session.delegation.responses.model")
    items, instructions = config.input or [], config.instructions or ""
    for index, item in enumerate(items):
        if len(item.content) != 1 or index >= HISTORY:
            where = f"session.input[{index}]"
            raise LiveError("invalid_value", f"at most {HISTORY} messages, of one text each", where)
    history = tuple(f"{item.role}: {item.content[0].text}" for item in items)
    if len(instructions) > wire.INSTRUCTIONS:
        raise LiveError("invalid_value", f"at most {wire.INSTRUCTIONS} characters", "session.instructions")
    if sum(map(len, history)) > wire.INSTRUCTIONS // 2:
        raise LiveError("invalid_value", f"at most {wire.INSTRUCTIONS // 2} characters", "session.input")
    return Start(
        instructions=instructions,
        history=history,
        eagerness=config.microturn.eagerness if config.microturn else 0.0,
        voice=voice if (voice := asked_voice(config)) in offer.voices else "",
        store=bool(config.store),
        responses=config.delegation is not None and config.delegation.type == "responses",
        format=asked_format(config) or Start.format,
        client=config.client,
    )


def named(work: wire.Delegation | None, start: Start) -> wire.Delegation:
    """Who does what is delegated. The server's own model has a name, as the API's types want."""
    work = work or wire.Delegation(type="responses" if start.responses else "client")
    backend = work.responses or wire.Backend()
    if not start.responses or backend.model:
        return work
    return structs.replace(work, responses=structs.replace(backend, model=OWN))


def asked_format(config: wire.SessionConfig) -> Format | None:
    format = config.audio and config.audio.format
    return (format.type, format.rate) if format else None


def asked_voice(config: wire.SessionConfig) -> str:
    output = config.audio.output if config.audio else None
    return str(output.voice) if output and output.voice else ""


def check_fork(config: wire.SessionConfig, start: Start, role: Role) -> dict[str, Any]:
    """What a fork begins with that is not its parent's. Raises LiveError for what cannot change."""
    kind, work = "responses" if start.responses else "client", config.delegation
    for changed, param in (
        (config.model, "model"),
        (config.instructions, "instructions"),
        (config.input, "input"),
        (config.audio and config.audio.output, "audio.output"),
        (config.microturn and config.microturn.eagerness, "microturn.eagerness"),
        (work and work.type != kind, "delegation.type"),
        (work and work.responses and work.responses.model, "delegation.responses.model"),
    ):
        if changed:
            raise LiveError("unsupported_parameter", "a fork has that of its session", f"session.{param}")
    changes: dict[str, Any] = {"store": config.store, "format": asked_format(config)}
    client = _held(config.client, start.client) if role is Role.CHANNEL else None
    return {name: value for name, value in changes.items() if value is not None} | {"client": client}


def _held(asked: wire.Client | None, before: wire.Client | None) -> wire.Client | None:
    """What a fork's data channel is held to: where nothing is asked for, to what its session's was."""
    if asked is None or before is None:
        return asked or before
    new, old = asked.data_channel, before.data_channel
    sends, sees = new.allowed_client_events, new.allowed_server_events
    sends = old.allowed_client_events if sends is None else sends
    sees = old.allowed_server_events if sees is None else sees
    return wire.Client(data_channel=wire.DataChannel(allowed_client_events=sends, allowed_server_events=sees))


def check(config: wire.SessionConfig | wire.SessionUpdate, offer: Offer, role: Role) -> None:
    """Raises LiveError for what is not offered."""
    work = config.delegation or wire.Delegation(type="client")
    full = config if isinstance(config, wire.SessionConfig) else wire.SessionConfig()
    format = full.audio and full.audio.format
    voice = full.audio and full.audio.output and full.audio.output.voice
    rates = (16_000, 24_000) if format and format.type == "audio/pcm" else (8_000,)
    for wrong, param, reason in (
        (config.triggers, "triggers", "decisions are not offered"),
        (work.type == "decisions", "delegation.type", "decisions are not offered"),
        (
            work.acknowledgement_delay_ms is not None,
            "delegation.acknowledgement_delay_ms",
            "the model decides when",
        ),
        (work.decisions is not None, "delegation.decisions", "decisions are not offered"),
        (work.responses and work.type == "client", "delegation.responses", "the client does the work"),
        (work.type == "responses" and not offer.responses, "delegation.type", "there is no background model"),
        *(
            (
                name not in TAKEN and value is not None,
                f"delegation.responses.{name}",
                "the server has its own",
            )
            for name, value in (structs.asdict(work.responses) if work.responses else {}).items()
        ),
        (format and role is not Role.PRIMARY, "audio.format", "WebRTC negotiates its format"),
        (format and format.rate not in rates, "audio.format.rate", f"one of {rates} Hz"),
        (not isinstance(voice, str | None), "audio.output.voice", "there are no custom voices"),
        (full.client and role is not Role.CHANNEL, "client", "only WebRTC has a data channel"),
    ):
        if wrong:
            raise LiveError("unsupported_parameter", reason, f"session.{param}")
    if full.client:
        _check_permits(full.client.data_channel)


def _check_permits(permits: wire.DataChannel) -> None:
    sends, sees = permits.allowed_client_events, permits.allowed_server_events
    checks = [(f"client_events[{i}]", name in wire.CLIENT_EVENTS) for i, name in enumerate(_listed(sends))]
    for i, permit in enumerate(_listed(sees)):
        nested, asks = permit.response_event or "", permit.type == "response.event"
        checks.append((f"server_events[{i}].type", permit.type in wire.SERVER_EVENTS))
        checks.append(
            (f"server_events[{i}].response_event", nested.startswith("response.") if asks else not nested)
        )
    for where, known in checks:
        if not known:
            where = f"session.client.data_channel.allowed_{where}"
            raise LiveError("invalid_value", "there is no such event", where)


def _listed(permitted: Literal["all"] | list[T] | None) -> list[T]:
    return permitted if isinstance(permitted, list) else []

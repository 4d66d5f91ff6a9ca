"""What a Live session tells its client, as data. What a client of this version does not know is passed over.

Times are ms of media time and multiples of 200. `docs/wire.md` says what each event means.
"""

from __future__ import annotations

import msgspec
from msgspec import Struct, field


class Details(Struct, frozen=True):
    """Of a session."""

    id: str
    model: str
    capabilities: tuple[str, ...] = ()
    frame_size: tuple[int, int] | None = None  # height, width of the pictures that the model sees


class Started(Struct, frozen=True, tag="session.started"):
    """The first event, and again whenever a lost connection has come back."""

    session: Details


class Audio(Struct, frozen=True, tag="session.output_audio.delta"):
    """The next 200 ms to play, silence included: PCM16 mono at the session's rate."""

    pcm: bytes = field(name="delta")


class Timed(Struct, frozen=True):
    start_ms: int
    end_ms: int


class Heard(Timed, frozen=True, tag="session.input_transcript.delta"):
    """What the model understood of the user: pieces of words, to be joined as they are."""

    text: str = field(name="delta")


class Said(Timed, frozen=True, tag="session.output_transcript.delta"):
    """What the model says, when it is played."""

    text: str = field(name="delta")


class Tick(Timed, frozen=True, tag="session.tick"):
    """What the model decided, of sessions opened with `ticks`; comes after everything else of its tick."""

    tick: int
    decision: str  # listen, speak, delegate or cancel
    odds: tuple[float, ...]  # of the four
    missed: bool  # no sound came from the client


class Delegation(Struct, frozen=True):
    id: str
    target: str  # client: the work is this application's; responses: the server's background model does it


class Delegated(Struct, frozen=True, tag="session.delegation.created"):
    """The model hands work over. The application answers with `Session.comment`, at any time."""

    delegation: Delegation
    offset_ms: int


class Step(Struct, frozen=True):
    type: str  # response.created, response.output_text.delta, response.completed, …
    delta: str = ""


class Working(Struct, frozen=True, tag="response.event"):
    """What the server's background model does."""

    event: Step
    delegation_id: str | None = None
    event_id: str = ""


class Problem(Struct, frozen=True):
    code: str
    message: str
    param: str | None = None


class Failed(Struct, frozen=True, tag="error"):
    """Something that was sent could not be used. The session goes on."""

    error: Problem


class Notice(Struct, frozen=True, tag="info"):
    code: str
    message: str
    delegation_id: str | None = None  # of work that was taken back
    event_id: str = ""


class Closed(Struct, frozen=True, tag="session.closed"):
    """The last event."""

    reason: str


Event = Started | Audio | Heard | Said | Tick | Delegated | Working | Failed | Notice | Closed
_decoder: msgspec.json.Decoder[Event] = msgspec.json.Decoder(Event)


def read(message: str | bytes) -> Event | None:
    """None for an event of a kind that is not known here."""
    try:
        return _decoder.decode(message)
    except msgspec.ValidationError:
        return None

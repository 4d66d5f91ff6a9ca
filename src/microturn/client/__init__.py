"""For programs that talk to a server: both dialects, this machine's sound, and `microturn talk`.

May import clock, media and streams, and nothing of the server but its wire. `duplex` is nothing but sound, `live` is
everything; `converse` runs a Live session with `open_sound`.
"""

from microturn.client.converse import converse, typed_lines
from microturn.client.events import (
    Audio,
    Closed,
    Delegated,
    Event,
    Failed,
    Heard,
    Notice,
    Said,
    Started,
    Tick,
    Working,
)
from microturn.client.line import Busy, Line, Refused, duplex
from microturn.client.live import Session, live
from microturn.client.sound import NoSound, Silence, Sound, open_sound

__all__ = [
    "Audio", "Busy", "Closed", "Delegated", "Event", "Failed", "Heard", "Line", "NoSound", "Notice", "Refused",
    "Said", "Session", "Silence", "Sound", "Started", "Tick", "Working", "converse", "duplex", "live", "open_sound",
    "typed_lines",
]  # fmt: skip

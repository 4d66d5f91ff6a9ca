"""Many sessions, one step: fixed slots, continuous batching at the grain of a tick, deadlines, snapshots.

The engine drives anything that is an `InteractionModel`; it may import streams and clock, and knows neither
tensors nor sockets. `Engine.open` gives a `Session`, into which audio, frames and text are pushed from any
thread and whose actions reach a listener; `play` and `play_all` run whole recordings.
"""

from microturn.engine.admission import EngineFull
from microturn.engine.engine import Engine
from microturn.engine.offline import Stream, in_ticks, play, play_all
from microturn.engine.session import Listener, OnEnd, Outbox, Pace, Session, SessionClosed, Witness
from microturn.engine.stats import EngineStats, SessionStats, Spread

__all__ = [
    "Engine",
    "EngineFull",
    "EngineStats",
    "Listener",
    "OnEnd",
    "Outbox",
    "Pace",
    "Session",
    "SessionClosed",
    "SessionStats",
    "Spread",
    "Stream",
    "Witness",
    "in_ticks",
    "play",
    "play_all",
]

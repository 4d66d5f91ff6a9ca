"""Files through the engine: driven sessions, as fast as the machine allows, on the caller's own thread."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from microturn.clock import HEAR_SAMPLES
from microturn.engine.engine import Engine
from microturn.engine.session import Pace, Session
from microturn.streams import Action, Floats, Perception, TextIn


@dataclass
class Stream:
    """One conversation to be run: what is read at opening and what arrives tick by tick."""

    perceptions: Iterable[Perception]
    read: Sequence[TextIn] = ()
    seed: int = 0
    voice: str = ""
    eagerness: float = 0.0
    actions: list[Action] = field(default_factory=list)  # filled by `play_all`


def in_ticks(samples: Floats) -> Iterator[Perception]:
    """A recording at 16 kHz as perceptions; the last tick is filled up with silence."""
    for start in range(0, len(samples), HEAR_SAMPLES):
        audio = np.asarray(samples[start : start + HEAR_SAMPLES], np.float32)
        yield Perception(audio=np.pad(audio, (0, HEAR_SAMPLES - len(audio))))


def play(engine: Engine, stream: Stream) -> Iterator[Action]:
    """One stream, action by action: what arrives in tick k+1 may depend on action k."""
    actions: list[Action] = []
    session = _open(engine, stream, actions)
    try:
        for perception in stream.perceptions:
            session.push(perception)
            engine.drain()
            yield actions.pop()
    finally:
        session.close()
        engine.drain()


def play_all(engine: Engine, streams: Iterable[Stream]) -> Iterator[Stream]:
    """Many streams, batched, each handed back with its actions when it has ended; in the order of ending."""
    waiting = iter(streams)
    running: list[tuple[Stream, Session, Iterator[Perception]]] = []
    while True:
        while len(running) < engine.slots.count and (stream := next(waiting, None)) is not None:
            running.append((stream, _open(engine, stream, stream.actions), iter(stream.perceptions)))
        if not running:
            return
        still: list[tuple[Stream, Session, Iterator[Perception]]] = []
        ended: list[Stream] = []
        for stream, session, perceptions in running:
            perception = next(perceptions, None)
            if perception is None:
                session.close()
                ended.append(stream)
            else:
                session.push(perception)
                still.append((stream, session, perceptions))
        engine.drain()
        running = still
        yield from ended


def _open(engine: Engine, stream: Stream, actions: list[Action]) -> Session:
    def keep(action: Action) -> bool:
        actions.append(action)
        return True

    return engine.open(
        pace=Pace.DRIVEN,
        listener=keep,
        read=stream.read,
        seed=stream.seed,
        voice=stream.voice,
        eagerness=stream.eagerness,
    )

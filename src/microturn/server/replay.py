"""Stored sessions run again: to be resumed or forked at a tick, or to check that nothing has changed.

`microturn replay ID` re-runs a stored session and compares every action with what was stored, to the bit.
"""

from __future__ import annotations

import argparse
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np

from microturn.clock import TICK_MS, TICKS_PER_SECOND
from microturn.engine import Engine, Pace, Session
from microturn.engine.snapshot import pack, unpack
from microturn.server.conversation import Added
from microturn.server.journal import LAST, Journal, Stored, default_path
from microturn.streams import Action, Perception

RECENT_TICKS = 20 * TICKS_PER_SECOND  # whose sound a background model may ask for


def rebuild(engine: Engine, journal: Journal, id: str, until: int = LAST) -> tuple[int, bytes]:
    """The session as it was after a tick (default: its last), as a snapshot, and that tick. Blocks."""
    journal.flush()
    stored = journal.session(id)
    if until < stored.born - 1:
        raise ValueError(f"session {id} begins at {stored.born * TICK_MS} ms")
    begun = journal.snapshot(id, until)
    last = stored.born - 1 if begun is None else begun[0]
    session = _open(engine, stored, None if begun is None else begun[1], lambda action: None)
    try:
        for tick, entry in journal.entries(id, after=last, until=until):
            session.push(entry.perception)
            last = tick
        while session.stats.backlog:
            session.snapshot()  # waits for the engine's thread
        snapshot = unpack(session.snapshot())
    finally:
        session.close()
    # ticks that live time skipped were not replayed: the media clock goes on from the last one all the same
    clock = replace(snapshot.waiting, tick=last + 1, elapsed_s=(last + 1) * TICK_MS / 1000)
    return last, pack(replace(snapshot, waiting=clock))


def recall(journal: Journal, stored: Stored, until: int) -> Iterator[tuple[Perception, Action] | Added]:
    """What happened in a session, and in those that it was forked from, with the sound and pictures of the end."""
    if stored.parent:
        with suppress(ValueError):  # it is not kept any more
            yield from recall(journal, journal.session(stored.parent), min(until, stored.born - 1))
    added = deque(journal.added(stored.id, until))
    for tick, entry in journal.entries(stored.id, until=until):
        while added and added[0].tick < tick:
            yield added.popleft()
        if tick < until - RECENT_TICKS:
            entry.audio = entry.frame = None
        entry.speech = None
        yield entry.perception, entry.action(tick)
    yield from added


def emptied(state: bytes) -> bytes:
    """A snapshot without the input that waited in it: the journal has that as the perceptions of later ticks."""
    snapshot = unpack(state)
    old = snapshot.waiting
    begun = min(
        (place for place, _ in snapshot.texts), default=len(old.text)
    )  # positions of a text half read
    none = np.zeros(1, np.bool_)
    nothing = replace(
        old, fill=0, audio=np.zeros_like(old.audio[:1]), heard=none, cancelled=none, has_frame=none,
        frame=old.frame[:0], text=old.text[:begun], channel=old.channel[:begun],
        since=np.zeros_like(old.since[:begun]),
    )  # fmt: skip
    return pack(replace(snapshot, waiting=nothing, texts=()))


def compare(engine: Engine, journal: Journal, id: str) -> Iterator[tuple[int, bool]]:
    """Each stored tick, and whether the session does the same again."""
    stored = journal.session(id)
    begun = journal.snapshot(id, stored.born - 1) if stored.parent else None
    actions: list[Action] = []
    session = _open(engine, stored, None if begun is None else begun[1], actions.append)
    for tick, entry in journal.entries(id):
        session.push(entry.perception)
        engine.drain()
        yield tick, entry.did(actions.pop())
    session.close()
    engine.drain()


def _open(engine: Engine, stored: Stored, state: bytes | None, see: Callable[[Action], None]) -> Session:
    def listen(action: Action) -> bool:
        see(action)
        return True

    if stored.model != engine.spec.name:
        raise ValueError(f"session {stored.id} was held with {stored.model}, this is {engine.spec.name}")
    start = stored.start
    return engine.open(
        pace=Pace.DRIVEN,
        listener=listen,
        read=() if state else start.read,
        seed=start.seed,
        voice="" if state else start.voice,
        eagerness=None if state else start.eagerness,
        restore=emptied(state) if state else None,
    )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = "Run a stored session again and check that it does the same, to the bit."
    add = parser.add_argument
    add("id", metavar="ID")
    add("--model", default="nano", metavar="NAME|FILE", help="default: %(default)s")
    add("--journal", type=Path, default=default_path(), metavar="FILE", help="default: %(default)s")


def run(args: argparse.Namespace) -> int:
    from microturn.model.checkpoint import load_model

    if not args.journal.exists():
        raise ValueError(f"{args.journal}: there is no journal")
    journal = Journal(args.journal)
    journal.session(args.id)
    ticks = same = 0
    for tick, equal in compare(Engine(load_model(args.model), slots=1), journal, args.id):
        ticks, same = ticks + 1, same + equal
        if not equal and same == ticks - 1:
            print(f"tick {tick} is the first that differs")
    print(f"{args.id}: {same} of {ticks} ticks are the same to the bit")
    return 0 if same == ticks else 1

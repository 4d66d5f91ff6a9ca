"""The journal: what every stored session perceived and did, append-only, in one SQLite file.

A thread of its own writes, in batches: whatever came while one batch was being committed is the next. A tick
counts as written when its batch is committed, so a session that waits for that loses nothing to a crash.
"""

from __future__ import annotations

import logging
import os
import queue
import sqlite3
import threading
import zlib
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from microturn.background import ContextPackage, Delegation, State
from microturn.background.delegations import RESULTS
from microturn.clock import TICKS_PER_SECOND, Clock, WallClock, calendar_s
from microturn.engine.stats import Histogram
from microturn.server.conversation import Added, Start
from microturn.server.sound import pcm16, unpcm16
from microturn.streams import Action, Channel, Decision, Perception, TextIn

SCHEMA = """
CREATE TABLE IF NOT EXISTS sessions (
  id TEXT PRIMARY KEY, began REAL, ended REAL, reason TEXT, model TEXT, start BLOB, parent TEXT, born INT);
CREATE TABLE IF NOT EXISTS ticks (
  session TEXT, tick INT, entry BLOB, PRIMARY KEY (session, tick)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS snapshots (
  session TEXT, tick INT, state BLOB, PRIMARY KEY (session, tick));
CREATE TABLE IF NOT EXISTS delegations (
  session TEXT, id TEXT, at_ms INT, state TEXT, waits INT, results BLOB, package BLOB, PRIMARY KEY (session, id));
CREATE TABLE IF NOT EXISTS added (session TEXT, tick INT, what BLOB);
"""
STORED = """
SELECT id, began, ended, reason, model, start, parent, born,
  coalesce((SELECT max(tick) FROM ticks WHERE session = id), born - 1) FROM sessions
"""
TABLES = ("ticks", "snapshots", "delegations", "added")  # of what belongs to a session
BATCH = 256
LAST = (1 << 63) - 1
log = logging.getLogger("microturn.server")


def put(table: str, columns: int) -> str:
    """A row for a session, unless it was deleted meanwhile: then there is nothing more to keep of it."""
    places = ",".join(f"?{i + 1}" for i in range(columns))
    return (
        f"INSERT OR REPLACE INTO {table} SELECT {places} WHERE EXISTS (SELECT 1 FROM sessions WHERE id = ?1)"
    )


def default_path() -> Path:
    home = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local/share"
    return Path(home) / "microturn" / "journal.db"


class Entry(msgspec.Struct, array_like=True):
    """One tick as it is stored. Sound is 16 bit, which is all that a conversation lets in."""

    audio: bytes | None
    frame: tuple[int, int, bytes] | None  # height, width, RGB
    text: list[tuple[str, int]]
    cancelled: bool
    decision: int
    say: list[str]
    hear: list[str]
    speech: bytes | None  # 16 bit, for listening
    speech_crc: int  # of the float32 that it was made of
    odds: list[float]
    missed: bool

    @classmethod
    def of(cls, perception: Perception, action: Action) -> Entry:
        frame, speech = perception.frame, action.speech
        return cls(
            audio=None if perception.audio is None else zlib.compress(pcm16(perception.audio), 1),
            frame=None if frame is None else (*frame.shape[:2], zlib.compress(frame.tobytes(), 1)),
            text=[(text.text, int(text.channel)) for text in perception.text],
            cancelled=perception.cancelled,
            decision=int(action.decision),
            say=list(action.say),
            hear=list(action.hear),
            speech=None if speech is None else zlib.compress(pcm16(speech), 1),
            speech_crc=0 if speech is None else zlib.crc32(speech.tobytes()),
            odds=list(action.odds),
            missed=action.missed,
        )

    @property
    def perception(self) -> Perception:
        frame = None
        if self.frame is not None:
            height, width, pixels = self.frame
            frame = np.frombuffer(zlib.decompress(pixels), np.uint8).reshape(height, width, 3)
        text = tuple(TextIn(text, Channel(channel)) for text, channel in self.text)
        return Perception(
            None if self.audio is None else unpcm16(zlib.decompress(self.audio)), frame, text, self.cancelled
        )

    def action(self, tick: int) -> Action:
        """As it was heard: speech is 16 bit."""
        speech = None if self.speech is None else unpcm16(zlib.decompress(self.speech))
        said = tuple(self.say), tuple(self.hear)
        return Action(tick, Decision(self.decision), *said, speech, tuple(self.odds), self.missed)

    def did(self, action: Action) -> bool:
        """Whether another action is the same to the last bit."""
        again = Entry.of(self.perception, action)
        return (again.decision, again.say, again.hear, again.speech_crc, again.odds) == (
            self.decision, self.say, self.hear, self.speech_crc, self.odds,
        )  # fmt: skip


@dataclass(frozen=True)
class Stored:
    id: str
    began: float  # seconds since 1970
    ended: float | None
    reason: str | None
    model: str
    start: Start
    parent: str | None  # forked from
    born: int  # its first tick
    last: int  # its last tick

    @property
    def seconds(self) -> float:
        return (self.last + 1 - self.born) / TICKS_PER_SECOND


class Journal:
    def __init__(self, path: Path, clock: Clock | None = None) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self.lag = Histogram()  # seconds from a tick to its commit
        self.trouble: sqlite3.Error | None = None  # while nothing can be written
        self._clock = clock or WallClock()
        with closing(self._connect()) as db:
            db.executescript(SCHEMA)
        path.chmod(0o600)
        self._todo: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="microturn-journal", daemon=True)
        self._thread.start()

    # ---- writing: from any thread, without waiting ----

    def begin(
        self, id: str, start: Start, model: str, parent: str | None, born: int, state: bytes | None
    ) -> None:
        values = (id, calendar_s(), model, msgspec.msgpack.encode(start), parent, born)
        self._put(
            "INSERT OR IGNORE INTO sessions (id, began, model, start, parent, born) VALUES (?,?,?,?,?,?)",
            lambda: values,
        )
        if state is not None:
            self._put(put("snapshots", 3), lambda: (id, born - 1, state))

    def append(
        self,
        id: str,
        perception: Perception,
        action: Action,
        snapshot: bytes | None,
        then: Callable[[], None],
    ) -> None:
        self._put(
            put("ticks", 3),
            lambda: (id, action.tick, msgspec.msgpack.encode(Entry.of(perception, action))),
            then,
        )
        if snapshot is not None:
            self._put(put("snapshots", 3), lambda: (id, action.tick, snapshot))

    def keep(self, id: str, work: Delegation) -> None:
        """A delegation as it is now."""
        package = work.package
        values = work.state.value, work.waits, msgspec.json.encode(tuple(work.results))
        self._put(
            put("delegations", 7),
            lambda: (id, work.id, package.at_ms, *values, zlib.compress(package.to_json())),
        )

    def add(self, id: str, added: Added, then: Callable[[], None] | None = None) -> None:
        self._put(put("added", 3), lambda: (id, added.tick, msgspec.json.encode(added)), then)

    def end(self, id: str, reason: str) -> None:
        self._put("UPDATE sessions SET ended=?, reason=? WHERE id=?", lambda: (calendar_s(), reason, id))

    def delete(self, id: str) -> None:
        for table in TABLES:
            self._put(f"DELETE FROM {table} WHERE session=?", lambda: (id,))
        self._put("DELETE FROM sessions WHERE id=?", lambda: (id,))

    def forget(self, days: float) -> None:
        """Delete what began more than so many days ago."""
        for id in [stored.id for stored in self.sessions() if stored.began < calendar_s() - 86_400 * days]:
            self.delete(id)
        for table in TABLES:  # of sessions that somebody deleted while they went on
            self._put(f"DELETE FROM {table} WHERE session NOT IN (SELECT id FROM sessions)", tuple)

    def flush(self) -> None:
        """Wait until everything that was put in is safe."""
        done = threading.Event()
        self._put("SELECT 1", tuple, done.set)
        done.wait()

    def close(self) -> None:
        self._todo.put(None)
        self._thread.join()

    def _put(
        self, sql: str, values: Callable[[], tuple[object, ...]], then: Callable[[], None] | None = None
    ) -> None:
        self._todo.put(_Job(sql, values, then, self._clock.now()))

    def _run(self) -> None:
        db = self._connect()
        while (job := self._todo.get()) is not None:
            batch = [job]
            while len(batch) < BATCH and not self._todo.empty():
                if (job := self._todo.get()) is None:
                    self._todo.put(None)
                    break
                batch.append(job)
            self._write(db, batch)
            for job in batch:
                if job.then is not None:
                    self.lag.add(self._clock.now() - job.at)
                    job.then()
        db.close()

    def _write(self, db: sqlite3.Connection, batch: list[_Job]) -> None:
        """Until it is written: while the disk is full, stored sessions stand still."""
        while True:
            try:
                with db:
                    for job in batch:
                        db.execute(job.sql, job.values())
                self.trouble = None
                return
            except sqlite3.Error as error:
                self.trouble = error
                log.exception("the journal cannot be written; trying again")
                self._clock.sleep_until(self._clock.now() + 1.0)

    # ---- reading ----

    def sessions(self) -> list[Stored]:
        return [_stored(row) for row in self._read(f"{STORED} ORDER BY began")]

    def session(self, id: str) -> Stored:
        for row in self._read(f"{STORED} WHERE id = ?", id):
            return _stored(row)
        raise ValueError(f"there is no stored session {id[:80]}")

    def entries(self, id: str, after: int = -1, until: int = LAST) -> Iterator[tuple[int, Entry]]:
        sql = "SELECT tick, entry FROM ticks WHERE session=? AND tick>? AND tick<=? ORDER BY tick"
        for tick, entry in self._read(sql, id, after, until):
            yield tick, msgspec.msgpack.decode(entry, type=Entry)

    def delegations(self, id: str) -> list[Delegation]:
        """In the order in which they were made."""
        sql = "SELECT id, package, state, results, waits FROM delegations WHERE session=? ORDER BY at_ms"
        return [
            Delegation(
                work,
                msgspec.json.decode(zlib.decompress(package), type=ContextPackage),
                State(state),
                deque(msgspec.json.decode(results), RESULTS),
                waits=bool(waits),
            )
            for work, package, state, results, waits in self._read(sql, id)
        ]

    def added(self, id: str, until: int = LAST) -> list[Added]:
        rows = self._read("SELECT what FROM added WHERE session=? AND tick<=? ORDER BY rowid", id, until)
        return [msgspec.json.decode(what, type=Added) for (what,) in rows]

    def snapshot(self, id: str, until: int = LAST) -> tuple[int, bytes] | None:
        """The last snapshot at or before a tick, and the tick after which it was taken."""
        sql = "SELECT tick, state FROM snapshots WHERE session=? AND tick<=? ORDER BY tick DESC LIMIT 1"
        return next(self._read(sql, id, until), None)

    def _read(self, sql: str, *values: object) -> Iterator[Any]:
        with closing(self._connect()) as db:
            yield from db.execute(sql, values)

    def _connect(self) -> sqlite3.Connection:
        db = sqlite3.connect(self.path, timeout=30.0, check_same_thread=False)  # one after the other
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA synchronous=NORMAL")
        db.execute("PRAGMA secure_delete=ON")  # what is deleted is gone from the file
        return db


def _stored(row: tuple[Any, ...]) -> Stored:
    id, began, ended, reason, model, start, *rest = row
    return Stored(id, began, ended, reason, model, msgspec.msgpack.decode(start, type=Start), *rest)


@dataclass(frozen=True)
class _Job:
    sql: str
    values: Callable[[], tuple[object, ...]]
    then: Callable[[], None] | None
    at: float

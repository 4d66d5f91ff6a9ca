"""What waits to be heard: every session's input in preallocated arrays, one row a slot.

Each slot has a ring of cells. A cell is one tick of input: 3,200 samples or "nothing came", at most one
frame, whether the last action was cancelled. `head` is the next cell to be stepped, `tail` the one being
filled; both only count up. Text waits in a ring of its own, packed into positions of a tick each and stamped
with the cell at which it was pushed. So gathering a batch is fancy indexing, and pushing is a copy.

Who may step when:
  driven  as soon as the head cell is whole.
  live    tick k begins at origin + 200·k ms. It steps when its cell is whole, never before it begins; if that
          has not happened `grace` after its end, nothing came.

Jitter. Samples are placed by arrival, and a cell that is not whole at its deadline is kept for the next tick:
the first such miss makes a client's delay (any delay) into slack, because from then on its ticks are whole
before their deadline. Throwing the partial cell away would lose its sound and leave no slack (20 ms packets,
50 ms late with 100 ms of jitter: 4 ticks of 300 missed instead of 1). A partial cell to which nothing was
added during a whole tick is old sound, and goes. What was kept must not become delay: a cell that stands in
the ring for `STANDING` ticks is dropped (`late`), and so is all but the newest when the ring is full. A
session that is more than `backlog` ticks behind the clock jumps to now (`skipped`).

One lock guards the arrays: writers hold it for a copy of one message, the engine for one gather. Per-slot
locks would cost the gather a Python loop.
"""

import threading
from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from microturn.clock import HEAR_SAMPLES, TICK_MS
from microturn.streams import (
    Action,
    Bytes,
    Channel,
    Decision,
    Flags,
    Floats,
    Ints,
    ModelSpec,
    Perception,
    TextIn,
    TickInput,
    TickOutput,
    Tokenizer,
)

TICK_S = TICK_MS / 1000
STANDING = 10  # ticks (2 s) after which waiting is delay, not jitter
TEXT_ROOM = 2048  # positions that can wait to be read, one a tick: nearly 7 minutes


class Stage(IntEnum):
    FREE = 0
    OPENING = 1  # reserved; the model is reading instructions
    OPEN = 2
    CLOSING = 3  # no more steps; keeps its slot until the model's state is clean


@dataclass(frozen=True)
class Gathered:
    """The sessions of one step. n rows."""

    rows: Ints  # [n] slots
    tick: Ints  # [n] media tick of each
    heard: Flags  # [n] audio came
    ready_at: Floats  # [n] float64 seconds: when it could have been stepped
    live: Flags  # [n]


@dataclass(frozen=True)
class Waiting:
    """One slot's input and clock between two ticks. C cells, the last one partial; P positions."""

    tick: int
    elapsed_s: float  # since the origin of its media clock
    eagerness: float
    fill: int  # samples in the last cell
    audio: Floats  # [C, 3200]
    heard: Flags  # [C]
    cancelled: Flags  # [C]
    has_frame: Flags  # [C]
    frame: Bytes  # [cells that have one, H, W, 3]
    text: Ints  # [P, R]
    channel: Ints  # [P]
    since: Ints  # [P] cells from the head


class Slots:
    def __init__(self, count: int, spec: ModelSpec, backlog: int, grace_s: float) -> None:
        cells = backlog + 1  # whole ones, and the one being filled
        height, width = spec.frame_size
        self.count, self.cells, self.backlog, self.grace_s = count, cells, backlog, grace_s
        self.lock = threading.Lock()
        self.room = threading.Condition(self.lock)  # a driven writer waits here for a free cell
        self.stage = np.zeros(count, np.int8)
        self.live = np.zeros(count, np.bool_)
        self.taken = np.zeros(count, np.bool_)  # the listener has the last action
        self.origin = np.zeros(count, np.float64)  # seconds: when tick 0 began
        self.tick = np.zeros(count, np.int64)
        self.eagerness = np.zeros(count, np.float32)
        self.head = np.zeros(count, np.int64)
        self.tail = np.zeros(count, np.int64)
        self.fill = np.zeros(count, np.int64)  # samples in the tail cell
        self.fresh = np.zeros(count, np.bool_)  # samples came since the last tick
        self.least = np.full(count, backlog, np.int64)  # fewest whole cells left waiting lately
        self.turn = np.zeros(count, np.int64)  # of the last step it was in, or that it was opened after
        self.turns = 0
        # [count·cells, …]: cell c of a slot is row slot·cells + c % cells
        self.audio = np.zeros((count * cells, HEAR_SAMPLES), np.float32)
        self.heard = np.zeros(count * cells, np.bool_)
        self.whole_at = np.zeros(count * cells, np.float64)
        self.cancelled = np.zeros(count * cells, np.bool_)
        self.has_frame = np.zeros(count * cells, np.bool_)
        self.frame = np.zeros((count * cells, height, width, 3), np.uint8)
        self.text = np.zeros((count, TEXT_ROOM, spec.read_pieces), np.int64)
        self.channel = np.zeros((count, TEXT_ROOM), np.int64)
        self.since = np.zeros((count, TEXT_ROOM), np.int64)
        self.text_head = np.zeros(count, np.int64)
        self.text_tail = np.zeros(count, np.int64)
        self.ticks = np.zeros(count, np.int64)
        self.missed = np.zeros(count, np.int64)
        self.late = np.zeros(count, np.int64)
        self.skipped = np.zeros(count, np.int64)
        self.overdue = np.zeros(count, np.int64)
        self._by_slot = (
            *(self.live, self.taken, self.origin, self.tick, self.eagerness, self.turn),
            *(self.head, self.tail, self.fill, self.fresh, self.text_head, self.text_tail),
            *(self.ticks, self.missed, self.late, self.skipped, self.overdue),
        )

    # ---- writing: any thread, lock held ----

    def cell(self, slot: int, number: int) -> int:
        return slot * self.cells + number % self.cells

    def full(self, slot: int) -> bool:
        return bool(self.tail[slot] - self.head[slot] >= self.backlog)

    def put_audio(self, slot: int, samples: Floats, now: float) -> int:
        """Copies what fits into the tail cell and says how many samples that was."""
        fill = int(self.fill[slot])
        count = min(len(samples), HEAR_SAMPLES - fill)
        self.audio[self.cell(slot, int(self.tail[slot])), fill : fill + count] = samples[:count]
        self.fill[slot] += count
        self.fresh[slot] = True
        if fill + count == HEAR_SAMPLES:
            self.put_whole(slot, True, now)
        return count

    def put_whole(self, slot: int, heard: bool, now: float) -> None:
        """The tail cell is complete, with sound or with nothing. A full live ring keeps only its newest."""
        cell = self.cell(slot, int(self.tail[slot]))
        self.heard[cell] = heard
        self.whole_at[cell] = now
        self.tail[slot] += 1
        self.fill[slot] = 0
        if self.tail[slot] - self.head[slot] > self.backlog:
            self.drop(slot, self.backlog)

    def put_frame(self, slot: int, frame: Bytes) -> None:
        cell = self.cell(slot, int(self.tail[slot]))
        self.frame[cell] = frame
        self.has_frame[cell] = True

    def put_text(self, slot: int, positions: list[list[int]], channel: Channel) -> int:
        """Appends, and says at which place in the session's text the first position stands."""
        first = int(self.text_tail[slot])
        if first + len(positions) - int(self.text_head[slot]) > TEXT_ROOM:
            raise ValueError(
                f"too much unread text: at most {TEXT_ROOM} ticks of it can wait, send less or later"
            )
        for place, pieces in enumerate(positions, first):
            self.text[slot, place % TEXT_ROOM] = 0
            self.text[slot, place % TEXT_ROOM, : len(pieces)] = pieces
        at = np.arange(first, first + len(positions)) % TEXT_ROOM
        self.channel[slot, at] = int(channel)
        self.since[slot, at] = self.tail[slot]
        self.text_tail[slot] += len(positions)
        return first

    def drop(self, slot: int, count: int) -> None:
        """Forget the oldest cells. A cancellation and the newest frame move on to the next cell."""
        head = int(self.head[slot])
        after = self.cell(slot, head + count)
        for number in range(head, head + count):
            cell = self.cell(slot, number)
            self.cancelled[after] |= self.cancelled[cell]
            if self.has_frame[cell] and not self.has_frame[after]:
                newest = max(n for n in range(head, head + count) if self.has_frame[self.cell(slot, n)])
                self.frame[after] = self.frame[self.cell(slot, newest)]
                self.has_frame[after] = True
            self.cancelled[cell] = self.has_frame[cell] = False
        self.late[slot] += int(
            np.count_nonzero(self.heard[[self.cell(slot, head + i) for i in range(count)]])
        )
        self.head[slot] = head + count

    # ---- stepping: the engine's owner, lock held ----

    def ready(self, now: float, most: int) -> Ints:
        """Slots that can be stepped now, those that waited longest first."""
        can_step = (self.stage == Stage.OPEN) & self.taken
        whole = self.tail > self.head
        begins = self.origin + self.tick * TICK_S
        due = begins + TICK_S + self.grace_s
        rows = np.flatnonzero(can_step & np.where(self.live, (whole & (now >= begins)) | (now >= due), whole))
        if len(rows) > most:
            rows = rows[np.argsort(self.turn[rows], kind="stable")[:most]]
        return rows

    def next_due(self, now: float) -> float | None:
        """When the next live session can be stepped if nothing else comes; None when there is none."""
        rows = np.flatnonzero((self.stage == Stage.OPEN) & self.taken & self.live)
        if not len(rows):
            return None
        begins = self.origin[rows] + self.tick[rows] * TICK_S
        whole = self.tail[rows] > self.head[rows]
        return max(now, float(np.where(whole, begins, begins + TICK_S + self.grace_s).min()))

    def gather(self, rows: Ints, now: float, batch: TickInput) -> Gathered:
        """Move one tick of each slot in `rows` into `batch`; rows beyond them become padding."""
        self._jump_to_now(rows, now)
        n = len(rows)
        live, tick = self.live[rows], self.tick[rows]
        cell = rows * self.cells + self.head[rows] % self.cells
        whole = self.tail[rows] > self.head[rows]
        heard = whole & self.heard[cell]
        begins = self.origin[rows] + tick * TICK_S
        early = np.where(live, np.maximum(self.whole_at[cell], begins), self.whole_at[cell])
        ready_at = np.where(whole, early, begins + TICK_S + self.grace_s)

        np.take(self.audio, cell, axis=0, out=batch.audio[:n], mode="clip")
        batch.audio[:n][~heard] = 0.0
        batch.audio[n:] = 0.0
        batch.has_audio[:n], batch.has_audio[n:] = heard, False
        batch.has_frame[:n], batch.has_frame[n:] = self.has_frame[cell], False
        seen = np.flatnonzero(self.has_frame[cell])
        batch.frame[seen] = self.frame[cell[seen]]  # other rows keep old pixels: copying all costs MBs
        batch.cancelled[:n], batch.cancelled[n:] = self.cancelled[cell], False
        batch.eagerness[:n], batch.eagerness[n:] = self.eagerness[rows], 0.0
        self._gather_text(rows, batch)

        self.has_frame[cell] = self.cancelled[cell] = False
        self.head[rows] += whole
        self.fill[rows[~whole & ~self.fresh[rows]]] = 0  # old sound
        self.fresh[rows] = False
        self.taken[rows] = False
        self.tick[rows] += 1
        self.turns += 1
        self.turn[rows] = self.turns
        self.ticks[rows] += 1
        self.missed[rows] += ~heard
        self._drop_standing(rows[live])
        self.room.notify_all()
        return Gathered(rows, tick, heard, ready_at, live)

    def _gather_text(self, rows: Ints, batch: TickInput) -> None:
        """One position of text for each session that has one."""
        batch.text[:] = 0
        batch.channel[:] = 0
        place = self.text_head[rows]
        at = (rows, place % TEXT_ROOM)
        there = (place < self.text_tail[rows]) & (self.since[at] <= self.head[rows])
        reading = np.flatnonzero(there)
        at = (rows[reading], place[reading] % TEXT_ROOM)
        batch.text[reading] = self.text[at]
        batch.channel[reading] = self.channel[at][:, None]
        self.text_head[rows[reading]] += 1

    def _jump_to_now(self, rows: Ints, now: float) -> None:
        """A live session too far behind the clock goes on with the tick now due and the newest sound."""
        behind = (
            np.floor((now - self.grace_s - self.origin[rows]) / TICK_S).astype(np.int64) - self.tick[rows]
        )
        too_far = self.live[rows] & (behind > self.backlog)
        for slot, ticks in zip(rows[too_far].tolist(), behind[too_far].tolist(), strict=True):
            self.tick[slot] += ticks - 1
            self.skipped[slot] += ticks - 1
            self.drop(slot, max(0, int(self.tail[slot] - self.head[slot]) - 1))

    def _drop_standing(self, rows: Ints) -> None:
        self.least[rows] = np.minimum(self.least[rows], self.tail[rows] - self.head[rows])
        for slot in rows[self.ticks[rows] % STANDING == 0].tolist():
            self.drop(slot, int(self.least[slot]))
            self.least[slot] = self.backlog

    # ---- opening, closing, copying out and in: lock held ----

    def clear(self, slot: int) -> None:
        """As if nobody had ever been here."""
        for row in self._by_slot:
            row[slot] = 0
        self.least[slot] = self.backlog
        cells = slice(slot * self.cells, (slot + 1) * self.cells)
        self.audio[cells] = 0.0
        self.frame[cells] = 0
        self.heard[cells] = self.cancelled[cells] = self.has_frame[cells] = False

    def copy_out(self, slot: int, now: float) -> Waiting:
        head, tail = int(self.head[slot]), int(self.tail[slot])
        cells = np.array([self.cell(slot, number) for number in range(head, tail + 1)])
        places = np.arange(self.text_head[slot], self.text_tail[slot]) % TEXT_ROOM
        return Waiting(
            tick=int(self.tick[slot]),
            elapsed_s=float(now - self.origin[slot]) if self.live[slot] else int(self.tick[slot]) * TICK_S,
            eagerness=float(self.eagerness[slot]),
            fill=int(self.fill[slot]),
            audio=self.audio[cells],
            heard=self.heard[cells],
            cancelled=self.cancelled[cells],
            has_frame=self.has_frame[cells],
            frame=self.frame[cells[self.has_frame[cells]]],
            text=self.text[slot, places],
            channel=self.channel[slot, places],
            since=np.maximum(self.since[slot, places] - head, 0),
        )

    def copy_in(self, slot: int, waiting: Waiting, now: float) -> None:
        count = len(waiting.heard)
        if count > self.cells or len(waiting.text) > TEXT_ROOM:
            raise ValueError(f"this snapshot has {count - 1} ticks waiting, this engine holds {self.backlog}")
        cells = slot * self.cells + np.arange(count)
        self.tick[slot] = waiting.tick
        self.origin[slot] = now - waiting.elapsed_s
        self.eagerness[slot] = waiting.eagerness
        self.fill[slot], self.tail[slot] = waiting.fill, count - 1
        self.audio[cells], self.heard[cells] = waiting.audio, waiting.heard
        self.whole_at[cells] = now
        self.cancelled[cells], self.has_frame[cells] = waiting.cancelled, waiting.has_frame
        self.frame[cells[waiting.has_frame]] = waiting.frame
        self.text_tail[slot] = count = len(waiting.text)
        self.text[slot, :count], self.channel[slot, :count] = waiting.text, waiting.channel
        self.since[slot, :count] = waiting.since


# ---- one row of a step as the records that everybody outside the engine sees ----


def action_of(row: int, gathered: Gathered, output: TickOutput, tokenizer: Tokenizer) -> Action:
    return Action(
        tick=int(gathered.tick[row]),
        decision=Decision(int(output.decision[row])),
        say=tuple(tokenizer.piece(p) for p in output.say[row].tolist() if p),
        hear=tuple(tokenizer.piece(p) for p in output.hear[row].tolist() if p),
        speech=output.speech[row].copy() if output.voiced[row] else None,
        odds=tuple(output.odds[row].tolist()),
        missed=not gathered.heard[row],
    )


def perception_of(row: int, gathered: Gathered, batch: TickInput, text: tuple[TextIn, ...]) -> Perception:
    return Perception(
        audio=batch.audio[row].copy() if gathered.heard[row] else None,
        frame=batch.frame[row].copy() if batch.has_frame[row] else None,
        text=text,
        cancelled=bool(batch.cancelled[row]),
    )

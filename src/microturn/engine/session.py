"""A session's handle: everything a client of the engine can do with one conversation, from any thread.

Actions reach the session's listener on the engine's thread. The listener says whether the action is on its
way (True) or will be later (False, and then `session.took()`); until then the session is not stepped again,
so the model never runs ahead of what was sent. `Outbox` is such a listener for consumers that live in another
thread.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING

import numpy as np

from microturn.clock import HEAR_SAMPLES
from microturn.engine.snapshot import Snapshot
from microturn.engine.stats import COUNTED, SessionStats
from microturn.streams import Action, Bytes, Channel, Floats, Perception, TextIn

if TYPE_CHECKING:
    from microturn.engine.engine import Engine

Listener = Callable[[Action], bool]
Witness = Callable[[Perception, Action], None]
OnEnd = Callable[[Exception | None], None]


class Pace(Enum):
    LIVE = "live"  # the wall clock drives: what comes late did not come
    DRIVEN = "driven"  # the input drives: a tick happens when its input is whole


class SessionClosed(Exception):
    """The session has ended and takes nothing more."""


class Session:
    """Made by `Engine.open`. Not for building by hand."""

    def __init__(
        self,
        engine: Engine,
        slot: int,
        pace: Pace,
        listener: Listener | None,
        on_end: OnEnd | None,
        witness: Witness | None,
    ) -> None:
        self.pace = pace
        self.slot = slot
        self.listener, self.on_end, self.witness = listener, on_end, witness
        self.error: Exception | None = None
        self.closed = False
        self.last_stats: SessionStats | None = None  # once the slot belongs to nobody
        self.texts = deque[tuple[int, TextIn]]()  # unread text and its place among the session's positions
        self._engine = engine
        self._slots = engine.slots

    # ---- input ----

    def push_audio(self, samples: Floats) -> None:
        """Any number of samples at 16 kHz in −1…1. A driven session waits here while its ring is full."""
        samples = np.asarray(samples, np.float32)
        if samples.ndim != 1 or not np.isfinite(samples).all():
            raise ValueError(f"audio must be one row of finite samples, this has shape {samples.shape}")
        while len(samples):
            with self._slots.lock:
                self._wait_for_room()
                number = self._slots.tail[self.slot]
                samples = samples[self._slots.put_audio(self.slot, samples, self._engine.clock.now()) :]
                whole = self._slots.tail[self.slot] != number
            if whole:
                self._engine.wake()

    def push_missing(self, ticks: int = 1) -> None:
        """Nothing came for whole ticks. Part of a tick that was pushed before is forgotten."""
        for _ in range(ticks):
            with self._slots.lock:
                self._wait_for_room()
                self._slots.put_whole(self.slot, False, self._engine.clock.now())
            self._engine.wake()

    def push_frame(self, frame: Bytes) -> None:
        """One picture for the tick that is being filled; a second one in the same tick replaces it."""
        size = (*self._engine.spec.frame_size, 3)
        if frame.shape != size or frame.dtype != np.uint8:
            raise ValueError(f"a frame must be uint8 {size}, this is {frame.dtype} {frame.shape}")
        with self._slots.lock:
            self._check_open()
            self._slots.put_frame(self.slot, frame)

    def push_text(self, text: str, channel: Channel) -> None:
        """Text for the model to read, a few pieces a tick, after what was pushed before."""
        positions = self._engine.tokenizer.pack(text, self._engine.spec.read_pieces)
        if not positions:
            return
        with self._slots.lock:
            self._check_open()
            while self.texts and self.texts[0][0] < self._slots.text_head[self.slot] and self.witness is None:
                self.texts.popleft()
            self.texts.append((self._slots.put_text(self.slot, positions, channel), TextIn(text, channel)))

    def push(self, perception: Perception) -> None:
        """One whole tick: what a witness saw can be pushed again, and gives the same action."""
        if perception.audio is not None and perception.audio.shape != (HEAR_SAMPLES,):
            raise ValueError(f"a tick has {HEAR_SAMPLES} samples, this has shape {perception.audio.shape}")
        with self._slots.lock:
            self._wait_for_room()
            if self._slots.fill[self.slot]:
                raise ValueError("a perception is a whole tick, but part of one was pushed before it")
            if perception.cancelled:
                self._slots.cancelled[self._slots.cell(self.slot, int(self._slots.tail[self.slot]))] = True
        for text in perception.text:
            self.push_text(text.text, text.channel)
        if perception.frame is not None:
            self.push_frame(perception.frame)
        if perception.audio is None:
            self.push_missing()
        else:
            self.push_audio(perception.audio)

    def end(self) -> None:
        """No more audio will come: fill up the tick that was begun with silence, so that it is heard."""
        rest = int(self._slots.fill[self.slot])
        if rest:
            self.push_audio(np.zeros(HEAR_SAMPLES - rest, np.float32))

    # ---- steering ----

    def cancel_last(self) -> None:
        """The listener never played the last action; the model is told in the next tick."""
        with self._slots.lock:
            self._check_open()
            self._slots.cancelled[self._slots.cell(self.slot, int(self._slots.head[self.slot]))] = True

    def took(self) -> None:
        """The last action is on its way: the session may go on."""
        with self._slots.lock:
            if self.closed:
                return
            self._slots.taken[self.slot] = True
        self._engine.wake()

    def close(self) -> None:
        """No more ticks. The slot is free again when the engine has cleaned it."""
        self._engine.end(self, None)

    # ---- copies ----

    def snapshot(self) -> bytes:
        """The session between two ticks, for `Engine.open(restore=…)`, here or elsewhere."""
        return self._engine.snapshot(self)

    def fork(
        self,
        *,
        pace: Pace | None = None,
        listener: Listener | None = None,
        on_end: OnEnd | None = None,
        witness: Witness | None = None,
    ) -> Session:
        """A second future of this session."""
        return self._engine.open(
            pace=pace or self.pace, listener=listener, on_end=on_end, witness=witness, restore=self.snapshot()
        )

    @property
    def stats(self) -> SessionStats:
        if self.last_stats is not None:
            return self.last_stats
        slots, slot = self._slots, self.slot
        return SessionStats(
            backlog=int(slots.tail[slot] - slots.head[slot]),
            **{name: int(getattr(slots, name)[slot]) for name in COUNTED},
        )

    # ---- lock held ----

    def unread(self) -> tuple[tuple[int, TextIn], ...]:
        head = int(self._slots.text_head[self.slot])
        return tuple((place - head, text) for place, text in self.texts if place >= head)

    def first_read(self) -> tuple[TextIn, ...]:
        """The texts whose first piece was read since the last call."""
        head, begun = int(self._slots.text_head[self.slot]), []
        while self.texts and self.texts[0][0] < head:
            begun.append(self.texts.popleft()[1])
        return tuple(begun)

    def _check_open(self) -> None:
        if self.closed:
            raise SessionClosed(f"the session has ended: {self.error or 'it was closed'}")

    def _wait_for_room(self) -> None:
        self._check_open()
        while self.pace is Pace.DRIVEN and self._slots.full(self.slot):
            self._engine.make_room()
            self._check_open()


class Outbox:
    """A listener with room for one action, for a consumer in another thread: take it when the last is sent.

    `notify` is called (on the engine's thread) when there is something to take, also when the session has
    ended.
    """

    def __init__(self, notify: Callable[[], None] | None = None) -> None:
        self._notify = notify
        self._there = threading.Condition()
        self._action: Action | None = None
        self._ended = False
        self._error: Exception | None = None
        self._session: Session | None = None

    def bind(self, session: Session) -> None:
        self._session = session

    def __call__(self, action: Action) -> bool:
        with self._there:
            self._action = action
            self._there.notify_all()
        if self._notify:
            self._notify()
        return False

    def end(self, error: Exception | None) -> None:
        with self._there:
            self._ended, self._error = True, error
            self._there.notify_all()
        if self._notify:
            self._notify()

    def take(self, timeout_s: float | None = 0.0) -> Action | None:
        """The next action, or None when none came in time. Raises SessionClosed when none will."""
        with self._there:
            if timeout_s != 0.0:
                self._there.wait_for(lambda: self._action is not None or self._ended, timeout_s)
            action, self._action = self._action, None
            if action is None and self._ended:
                raise SessionClosed(
                    f"the session has ended: {self._error or 'it was closed'}"
                ) from self._error
        if action is not None and self._session is not None:
            self._session.took()
        return action


@dataclass
class Opening:
    """Of a session, which has yet to read: a slice at a time, with steps of the open sessions in between, so that
    nobody's tick waits for somebody else's opening."""

    session: Session
    seed: int
    voice: str
    eagerness: float | None
    reads: deque[TextIn]
    restore: Snapshot | None
    begun: bool = False
    done: Future[None] = field(default_factory=Future)

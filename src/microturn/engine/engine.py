"""Many sessions, one step: whoever has a whole tick of input is stepped with everybody else who has.

One thread owns the model; every call of it happens there, between two steps. `run_once` is that thread's loop
body and works as well without a thread: `Engine.start` is for servers, `drain` and `run_until` are for files,
tests and benchmarks, and both run the same code. Without a thread the engine belongs to one caller.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import TypeVar

import numpy as np

from microturn.clock import Clock, WallClock
from microturn.engine.admission import Admission, EngineFull
from microturn.engine.session import Listener, OnEnd, Opening, Outbox, Pace, Session, SessionClosed, Witness
from microturn.engine.slots import TICK_S, Gathered, Slots, Stage, action_of, perception_of
from microturn.engine.snapshot import Snapshot, pack, unpack
from microturn.engine.stats import EngineStats, Meters
from microturn.streams import InteractionModel, Ints, ModelSpec, TextIn, TickInput, TickOutput, Tokenizer

T = TypeVar("T")
log = logging.getLogger(__name__)

GRACE_S = 0.02
BACKLOG = 4  # ticks that a session may lie behind before it jumps to now
RETRY_CLEANING_S, RETRY_FULL_S = TICK_S, 5.0


class Engine:
    def __init__(
        self,
        model: InteractionModel,
        *,
        slots: int,
        clock: Clock | None = None,
        grace_s: float = GRACE_S,
        backlog: int = BACKLOG,
    ) -> None:
        if slots < 1 or backlog < 2 or grace_s < 0:
            raise ValueError("an engine needs at least 1 slot, a backlog of 2 ticks and a grace of 0 or more")
        self._model = model
        self.spec: ModelSpec = model.spec
        self.tokenizer: Tokenizer = model.tokenizer
        self.clock: Clock = clock or WallClock()
        model.allocate(slots)
        self.slots = Slots(slots, self.spec, backlog, grace_s)
        self._admission = Admission(self.spec.batch_sizes)
        self._largest = self._admission.size_for(slots)
        sizes = [size for size in self.spec.batch_sizes if size <= self._largest]
        self._batches = {size: TickInput.empty(size, self.spec) for size in sizes}
        self._rows = {size: np.full(size, -1, np.int64) for size in sizes}
        self._sessions: list[Session | None] = [None] * slots
        self._commands: deque[Callable[[], None]] = deque()
        self._openings: deque[Opening] = deque()
        self._thread: threading.Thread | None = None
        self._stopping = False
        self._inside = False  # a step or its deliveries are going on
        self._woken = threading.Event()
        self._meters = Meters()

    # ---- the loop ----

    def run_once(self) -> bool:
        """What was asked for, then one step of everybody who is ready. False when there was nothing to do."""
        busy = self._obey()
        now = self.clock.now()
        with self.slots.lock:
            ready = self.slots.ready(now, self._largest)
            if not len(ready):
                return busy
            size = self._admission.size_for(len(ready))
            batch, rows = self._batches[size], self._rows[size]
            gathered = self.slots.gather(ready, now, batch)
        rows[: len(ready)], rows[len(ready) :] = ready, -1
        gathered_at = self.clock.now()
        self._inside = True
        try:
            output = self._model.step(rows, batch)
            stepped_at = self.clock.now()
            self._hand_out(gathered, batch, output)
        except Exception as error:
            # The model does not say which row was to blame, and its state for the others may be half written.
            log.exception("a step failed; its %d sessions end", len(ready))
            self._fail(ready, error)
            return True
        finally:
            self._inside = False
        self._measure(gathered, size, (now, gathered_at, stepped_at))
        return True

    def drain(self) -> None:
        """Run until nothing is ready."""
        while self.run_once():
            pass

    def run_until(self, when: float) -> None:
        """Run live sessions up to a moment of the clock, sleeping or jumping between their ticks."""
        self.drain()
        while (due := self.slots.next_due(self.clock.now())) is not None and due <= when:
            self.clock.sleep_until(due)
            self.drain()
        self.clock.sleep_until(when)
        self.drain()

    def start(self) -> None:
        """Give the engine a thread of its own. Wants a clock that runs by itself."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="microturn-engine", daemon=True)
            self._thread.start()

    def warm_up(self, rounds: int = 8) -> None:
        """Step every batch size with padding only, so that admission has something to go by."""

        def step_padding() -> None:
            for size, rows in self._rows.items():
                rows[:] = -1
                padding = TickInput.empty(size, self.spec)
                self._model.step(rows, padding)  # the first may compile
                for _ in range(rounds):
                    began = self.clock.now()
                    self._model.step(rows, padding)
                    self._admission.record(size, self.clock.now() - began)

        self._ask(step_padding)

    def close(self) -> None:
        """End every session, then the thread."""
        with self.slots.lock:
            sessions = [session for session in self._sessions if session is not None]
        for session in sessions:
            self.end(session, None)
        if self._thread is None:
            self._obey()
        else:
            self._ask(lambda: None)
            self._stopping = True
            self.wake()
            self._thread.join()
            self._thread = None
            self._stopping = False
            self._obey()  # whatever was asked for meanwhile

    def wake(self) -> None:
        self._woken.set()

    def _run(self) -> None:
        while not self._stopping:
            self._woken.clear()
            try:
                busy = self.run_once()
            except Exception as error:  # whatever it was, the next session must find an engine
                log.exception("the engine stumbled; every session ends")
                self._fail(np.arange(self.slots.count), error)
                continue
            if not busy:
                now = self.clock.now()
                due = self.slots.next_due(now)
                self._woken.wait(None if due is None else due - now)

    # ---- handing out ----

    def _hand_out(self, gathered: Gathered, batch: TickInput, output: TickOutput) -> None:
        """Actions to their listeners. A session without one costs nothing here but its place in the loop."""
        done: list[int] = []
        for row, slot in enumerate(gathered.rows.tolist()):
            session = self._sessions[slot]
            if session is None or session.closed:
                continue
            if session.listener is None and session.witness is None:
                done.append(slot)
                continue
            action = action_of(row, gathered, output, self.tokenizer)
            try:
                if session.witness:
                    session.witness(perception_of(row, gathered, batch, session.first_read()), action)
                if session.listener is None or session.listener(action):
                    done.append(slot)
            except Exception as error:
                log.exception("a listener failed; its session ends")
                self.end(session, error)
        self.slots.taken[done] = True

    def _measure(self, gathered: Gathered, size: int, times: tuple[float, float, float]) -> None:
        began, gathered_at, stepped_at = times
        meters = self._meters
        meters.gather.add(gathered_at - began)
        meters.step.add(stepped_at - gathered_at)
        meters.deliver.add(self.clock.now() - stepped_at)
        self._admission.record(size, stepped_at - gathered_at)
        reaction = stepped_at - gathered.ready_at
        self.slots.overdue[gathered.rows] += gathered.live & (reaction > TICK_S)
        if gathered.live.any():
            meters.reaction.add(float(reaction[gathered.live].max()))  # the slowest stands for its batch

    # ---- opening and ending ----

    def open(
        self,
        *,
        pace: Pace = Pace.LIVE,
        listener: Listener | None = None,
        on_end: OnEnd | None = None,
        witness: Witness | None = None,
        read: Sequence[TextIn] = (),
        seed: int = 0,
        voice: str = "",
        eagerness: float | None = None,
        restore: bytes | None = None,
    ) -> Session:
        """A new session, or one that goes on where a snapshot was taken. Returns when it has read `read`.

        listener: gets every action, on the engine's thread, and must be quick; without one they are dropped.
        witness: gets every perception with its action, before the listener: what a journal writes down.
        on_end: called once, on the engine's thread, with the error that ended the session or None.
        """
        if restore is not None and read:
            raise ValueError("a restored session has read its instructions already; push what is new")
        if restore is not None and voice:
            raise ValueError("a restored session goes on in the voice that it had")
        if voice and voice not in self.spec.voices:
            raise ValueError(f"no voice {voice!r}: known are {', '.join(self.spec.voices) or 'none'}")
        if self._inside and (self._thread is None or threading.current_thread() is self._thread):
            raise RuntimeError("a listener cannot open a session: it runs inside a step")
        snapshot = None if restore is None else unpack(restore)
        if snapshot is not None and snapshot.model != self.spec.name:
            raise ValueError(f"this snapshot belongs to {snapshot.model}, this engine runs {self.spec.name}")
        if isinstance(listener, Outbox):
            on_end = listener.end
        session = self._reserve(pace, listener, on_end, witness)
        opening = Opening(session, seed, voice, eagerness, deque(read), snapshot)
        if isinstance(listener, Outbox):
            listener.bind(session)
        self._openings.append(opening)
        self._settle(opening.done)
        return session

    def _reserve(
        self, pace: Pace, listener: Listener | None, on_end: OnEnd | None, witness: Witness | None
    ) -> Session:
        slots = self.slots
        with slots.lock:
            if full := self._full(pace):
                self._meters.refused += 1
                raise full
            slot = int(np.argmax(slots.stage == Stage.FREE))
            slots.stage[slot] = Stage.OPENING
            slots.live[slot] = pace is Pace.LIVE
            session = self._sessions[slot] = Session(self, slot, pace, listener, on_end, witness)
        return session

    def full(self, pace: Pace = Pace.LIVE) -> EngineFull | None:
        """What an opening would be refused with now."""
        with self.slots.lock:
            return self._full(pace)

    def _full(self, pace: Pace) -> EngineFull | None:
        slots = self.slots
        taken = int((slots.stage != Stage.FREE).sum())
        if taken == slots.count:
            cleaning = bool((slots.stage == Stage.CLOSING).any())
            return EngineFull("every slot is taken", RETRY_CLEANING_S if cleaning else RETRY_FULL_S)
        live = pace is Pace.LIVE or bool(slots.live[slots.stage != Stage.FREE].any())
        if live and not self._admission.admits(taken + 1):
            return EngineFull(f"{taken} sessions are all that can be stepped in time", RETRY_FULL_S)
        return None

    def _open_some(self, opening: Opening) -> bool:
        """One text of an opening. True when the session is open."""
        session, slot = opening.session, opening.session.slot
        if session.closed:
            raise SessionClosed("the engine is closing")
        if not opening.begun:
            opening.begun = True
            self._model.reset(slot, opening.seed, opening.voice)
            if opening.restore is not None:
                self._model.restore(slot, opening.restore.state)
        if opening.reads:
            text = opening.reads.popleft()
            self._model.read(slot, text.text, text.channel)
            if opening.reads:
                return False
        now = self.clock.now()
        with self.slots.lock:
            self.slots.origin[slot], self.slots.turn[slot] = now, self.slots.turns
            if opening.restore is not None:
                self.slots.copy_in(slot, opening.restore.waiting, now)
                session.texts.extend(opening.restore.texts)
            if opening.eagerness is not None:
                self.slots.eagerness[slot] = opening.eagerness
            self.slots.taken[slot] = True
            if not session.closed:
                self.slots.stage[slot] = Stage.OPEN
        return True

    def end(self, session: Session, error: Exception | None) -> None:
        """No more steps for it; cleaned between two steps. Ending twice is ending once."""
        with self.slots.lock:
            if session.closed:
                return
            session.closed, session.error = True, error
            self.slots.stage[session.slot] = Stage.CLOSING
            self.slots.room.notify_all()
        self._commands.append(lambda: self._clean(session))
        self.wake()

    def _clean(self, session: Session) -> None:
        slot = session.slot
        self._model.reset(slot)
        with self.slots.lock:
            session.last_stats = session.stats
            self._meters.ended(session.last_stats, session.error is not None)
            self.slots.clear(slot)
            self._sessions[slot] = None
            self.slots.stage[slot] = Stage.FREE
        if session.on_end:
            try:
                session.on_end(session.error)
            except Exception:
                log.exception("on_end failed")

    def _fail(self, rows: Ints, error: Exception) -> None:
        for slot in rows.tolist():
            session = self._sessions[slot]
            if session is not None:
                self.end(session, error)

    # ---- what other threads ask for ----

    def snapshot(self, session: Session) -> bytes:
        if self._inside and (self._thread is None or threading.current_thread() is self._thread):
            return self._snapshot(session)  # a listener asks: its session's tick is over
        return self._ask(lambda: self._snapshot(session))

    def _snapshot(self, session: Session) -> bytes:
        with self.slots.lock:
            if session.closed:
                raise SessionClosed("the session has ended: there is nothing to take a snapshot of")
            waiting = self.slots.copy_out(session.slot, self.clock.now())
            texts = session.unread()
        return pack(Snapshot(self.spec.name, waiting, texts, self._model.snapshot(session.slot)))

    def make_room(self) -> None:
        """Lock held: a driven session's ring is full. Let a tick of it happen."""
        slots = self.slots
        if self._thread is not None and threading.current_thread() is not self._thread:
            slots.room.wait()
            return
        slots.lock.release()
        try:
            if self._inside or not self.run_once():
                raise RuntimeError("no room for more input: the listener has not taken the last action")
        finally:
            slots.lock.acquire()

    def stats(self) -> EngineStats:
        with self.slots.lock:
            return self._meters.report(self.slots)

    def _ask(self, what: Callable[[], T]) -> T:
        """Have the owner do something between two steps, and wait for it."""
        future: Future[T] = Future()
        self._commands.append(lambda: _fulfil(future, what))
        return self._settle(future)

    def _settle(self, future: Future[T]) -> T:
        if self._thread is not None and threading.current_thread() is not self._thread:
            self.wake()
        else:
            while not future.done():
                self._obey()
        return future.result()

    def _obey(self) -> bool:
        """Everything that was asked for, and one text of one opening."""
        busy = bool(self._commands or self._openings)
        if self._openings:
            opening = self._openings.popleft()
            try:
                if self._open_some(opening):
                    opening.done.set_result(None)
                else:
                    self._openings.append(opening)
            except Exception as error:
                opening.session.on_end = None  # whoever opens it hears of it there
                self.end(opening.session, error)
                opening.done.set_exception(error)
        for _ in range(len(self._commands)):
            self._commands.popleft()()
        return busy


def _fulfil(future: Future[T], what: Callable[[], T]) -> None:
    try:
        future.set_result(what())
    except Exception as error:
        future.set_exception(error)

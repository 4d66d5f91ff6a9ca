"""One conversation: an engine session, what is known of it so far, and whoever listens or looks on.

Everything here runs on the event loop's thread, but for `_witness` and `_listen`, which the engine calls on its
own. A tick reaches the loop as a `Beat`. The one connection that plays the conversation takes beats with
`next_beat`; until it does, the session is not stepped again. Watchers are told of everything and slow nobody.
When the connection is lost nobody takes beats, so the conversation stands still until somebody comes back for it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from microturn.background import Background, Calls, Continued, Delegation, Function, Given, Over, Piece
from microturn.background.connect import NewBackground
from microturn.clock import HEAR_RATE, HEAR_SAMPLES, TICKS_PER_SECOND, end_ms
from microturn.engine import Engine, Pace, Session, SessionClosed
from microturn.events import Event, EventLog
from microturn.server.access import Bucket
from microturn.server.live_events import Client
from microturn.server.sound import pcm16, unpcm16
from microturn.streams import Action, Channel, Decision, Floats, Perception, TextIn

if TYPE_CHECKING:
    from microturn.server.journal import Journal

Format = tuple[Literal["audio/pcm", "audio/pcmu", "audio/pcma"], int]  # and Hz
RESENT_TICKS = 5 * TICKS_PER_SECOND  # kept for a connection that comes back
WORKS = 128  # of what happened to delegated work, kept likewise: it goes on while nobody is connected
FASTEST, BURST_S = 1.5, 10.0  # seconds of live sound that may come in a second, and at once
AHEAD = 2  # ticks that a driven conversation is pushed ahead of its answers
SNAPSHOT_TICKS = 60 * TICKS_PER_SECOND  # of a stored conversation
MOST_BEHIND_MS = 10_000  # that a listener's word is taken for


@dataclass(frozen=True)
class Start:
    """What a conversation begins with."""

    instructions: str = ""
    history: tuple[str, ...] = ()  # what was said before, one line each: `user: …`, `assistant: …`
    eagerness: float = 0.0
    seed: int = 0
    voice: str = ""  # the usual one
    pace: Pace = Pace.LIVE
    store: bool = False
    responses: bool = False  # the server's background model does what is delegated, else the application
    owner: str = ""  # name of the key it was opened with
    format: Format = ("audio/pcm", 24_000)  # of the Live dialect's sound
    client: Client | None = None  # what its data channel is held to

    @property
    def read(self) -> tuple[TextIn, ...]:
        history = tuple(TextIn(line, Channel.HISTORY) for line in self.history)
        return ((TextIn(self.instructions, Channel.INSTRUCTIONS),) if self.instructions else ()) + history


@dataclass(frozen=True)
class Beat:
    """One tick on its way out: what came in, what the model did, and what happened (see docs/events.md)."""

    perception: Perception
    action: Action
    events: tuple[Event, ...]

    @property
    def tick(self) -> int:
        return self.action.tick

    def text(self, kind: str) -> str:
        """All pieces of this tick's `say` or `hear` events."""
        return "".join(event.text or "" for event in self.events if event.type == kind)


@dataclass(frozen=True)
class Heard:
    """Sound as it came from the user, before muting: 16 kHz, −1…1."""

    audio: Floats
    start_ms: int


@dataclass(frozen=True)
class Closed:
    reason: str
    error: Exception | None = None


@dataclass
class Work:
    """Something that happened to delegated work."""

    ms: int
    note: object
    told: Sequence[Any] | None = None  # the events that it was told as, which it is told again as


@dataclass(frozen=True)
class Added:
    """What a client gave after a tick: to the background model alone, or to be read when the model comes to it."""

    tick: int
    told: Event | None = None
    functions: tuple[Function, ...] | None = None  # that may be called
    text: TextIn | None = None
    piece: Piece | None = None
    muted: bool | None = None


# of Beat, Heard, Closed, background's notes, or a dialect's own
Watcher = Callable[[object], None]


class TooFast(ValueError):
    """Live sound came faster than time passes."""


class Conversation:
    """Made by `Lobby`. `begin` opens it."""

    def __init__(
        self,
        id: str,
        start: Start,
        engine: Engine,
        background: NewBackground | None = None,
        journal: Journal | None = None,
    ) -> None:
        self.id, self.start = id, start
        self.muted = False
        self.connection: asyncio.Task[object] | None = None  # the task that plays it
        self.grace: asyncio.TimerHandle | None = None  # until which it waits for another one
        self.closed: Closed | None = None
        self.beats: deque[Beat] = deque(maxlen=RESENT_TICKS)
        self.works: deque[Work] = deque(maxlen=WORKS)
        self.expires_at = 0  # seconds since 1970
        self.before_s = 0.0  # of conversation, until the server was started anew
        self.config: object = None  # what the Live dialect was asked for; not known after a restart
        self.behind_ms = 0  # by which what is sent is played later, as the listener says
        self.session: Session
        self.background = (background if background and start.responses else Background)(
            lambda text: len(engine.tokenizer.pack(text, engine.spec.read_pieces))
        )
        self.background.watch = self.publish
        if journal is not None:
            self.background.keep = lambda delegation: journal.keep(id, delegation)
        self._engine = engine
        self._pace = Bucket(FASTEST, BURST_S, engine.clock)
        self._journal = journal
        self._log = EventLog(engine.spec.lead_ticks)
        self._unplayed: deque[Event] = deque()  # words that were sent
        self._perception = Perception()
        self.waiting: Beat | None = None  # not taken yet
        self._there, self._moved = asyncio.Event(), asyncio.Event()
        self._watchers: list[Watcher] = []
        self._pushed, self._arrived = 0, 0  # samples pushed, ticks that came of them
        self._loop = asyncio.get_running_loop()

    async def begin(
        self, restore: bytes | None = None, earlier: Iterable[tuple[Perception, Action] | Added] = ()
    ) -> None:
        """A session, or what one became: its state, and what happened `earlier`, before a restart or a fork.

        Raises EngineFull at once when there is no room.
        """
        start = self.start
        self.background.recent.read(self._log.opening(start.read))
        results: list[str] = []  # that the model has read
        unread: list[TextIn] = []

        def open_session() -> Session:
            for past in earlier:
                if isinstance(past, Added):
                    self._take(past)
                    unread.extend(() if past.text is None else (past.text,))
                    continue
                beat = self._beat(*past)
                self.beats.append(beat)
                self.background.recent.follow(beat.tick, beat.perception, beat.events)
                for text in beat.perception.text:
                    if text.channel is Channel.BACKGROUND:
                        self.background.inbox.was_read(text.text)
                        results.append(text.text)
                    elif text in unread:
                        unread.remove(text)
            return self._engine.open(
                pace=start.pace,
                listener=self._listen,
                witness=self._witness,
                on_end=lambda error: self._on_loop(lambda: self._end(error)),
                read=() if restore else start.read,
                seed=start.seed,
                voice="" if restore else start.voice,
                eagerness=None if restore else start.eagerness,
                restore=restore,
            )

        self.session = await asyncio.to_thread(open_session)
        for text in unread:
            self.session.push_text(text.text, text.channel)
        if self._journal is not None and restore is not None:
            self.background.restore(self._journal.delegations(self.id), results)
            for work in self.background.open:
                given = () if work.task else (Given(work.id, work.package),)  # of a backend's it is told anew
                self.works.extend(Work(work.at_ms, note) for note in (work, *given))

    @property
    def connected(self) -> bool:
        return self.connection is not None

    # ---- what comes in ----

    async def push_audio(self, audio: Floats) -> None:
        """Any number of samples at 16 kHz in −1…1. A driven conversation takes its time.

        Raises TooFast for live sound that runs away from time; it is not heard.
        """
        if self.start.pace is Pace.LIVE and self._pace.take(len(audio) / HEAR_RATE):
            raise TooFast(f"live sound comes at real time, at most {BURST_S:g} s at once; files are driven")
        audio = unpcm16(pcm16(audio))  # so that 16 bits keep all that the model hears
        self.publish(Heard(audio, self.now_ms))
        if self.muted:
            audio = np.zeros_like(audio)
        while len(audio):
            while self.start.pace is Pace.DRIVEN and not self.closed and self._ahead >= AHEAD:
                self._moved.clear()
                await self._moved.wait()
            room = HEAR_SAMPLES - self._pushed % HEAR_SAMPLES
            self.session.push_audio(audio[:room])
            self._pushed += len(audio[:room])
            audio = audio[room:]

    async def end_audio(self) -> None:
        """No more will come: the tick that was begun is filled up with silence."""
        if rest := -self._pushed % HEAR_SAMPLES:
            await self.push_audio(np.zeros(rest, np.float32))

    def add(self, told: Event | None = None, functions: tuple[Function, ...] | None = None) -> None:
        """Something for the background model alone."""
        added = Added(self.background.recent.tick, told, functions)
        self._take(added)
        if self._journal is not None:
            self._journal.add(self.id, added)

    async def write(self, text: TextIn) -> None:
        """Something for the model to read. When this returns, a crash does not lose it."""
        tick = self.background.recent.tick
        self.session.push_text(text.text, text.channel)
        await self._keep(Added(tick, text=text))

    async def append(self, piece: Piece) -> None:
        """What a client says about its work, or, without a delegation, for the model to know. Kept likewise."""
        tick = self.background.recent.tick
        self.background.append(piece)
        await self._keep(Added(tick, piece=piece))

    async def mute(self, muted: bool) -> None:
        added = Added(self.background.recent.tick, muted=muted)
        self._take(added)
        await self._keep(added)

    async def _keep(self, added: Added) -> None:
        if self._journal is not None:
            kept = asyncio.Event()
            self._journal.add(self.id, added, lambda: self._on_loop(kept.set))
            await kept.wait()

    def _take(self, added: Added) -> None:
        if added.told is not None:
            self.background.add(added.told)
        if added.functions is not None and self.background.functions is not None:
            self.background.functions.offered = added.functions
        if added.piece is not None:
            self.background.inbox.put(added.piece, apart=True)
        if added.muted is not None:
            self.muted = added.muted

    def played(self, until_ms: int) -> None:
        """The listener has played all up to this moment. What it plays later the background model knows later."""
        self.behind_ms = min(max(0, self.now_ms - until_ms), MOST_BEHIND_MS)

    # ---- what goes out ----

    @property
    def now_ms(self) -> int:
        """Media time: the end of the last tick."""
        return end_ms(self.beats[-1].tick) if self.beats else 0

    @property
    def seconds(self) -> float:
        """Of conversation so far."""
        return self.before_s + self._arrived / TICKS_PER_SECOND

    @property
    def _ahead(self) -> int:
        return self._pushed // HEAR_SAMPLES - self._arrived

    @property
    def drained(self) -> bool:
        """Everything that was pushed has been answered, and the answers taken."""
        return self._ahead <= 0 and self.waiting is None

    async def next_beat(self) -> Beat | None:
        """The next tick, when the one before is on its way; None when there will be no more."""
        await self._there.wait()
        beat, self.waiting = self.waiting, None
        if beat is not None:
            if not self.closed:
                self._there.clear()
            self.session.took()
        return beat

    def watch(self, watcher: Watcher) -> Callable[[], None]:
        """Tell `watcher` of everything from now on, until what is returned is called."""
        self._watchers.append(watcher)
        return lambda: self._watchers.remove(watcher) if watcher in self._watchers else None

    def publish(self, note: object) -> None:
        if isinstance(note, Delegation | Given | Piece | Calls | Continued | Over):
            self.works.append(Work(self.now_ms, note))
        for watcher in tuple(self._watchers):
            watcher(note)

    def close(self, reason: str) -> None:
        if self.closed is None:
            self._end(None, reason)
            self.session.close()

    # ---- engine's thread ----

    def _witness(self, perception: Perception, action: Action) -> None:
        self._perception = perception

    def _listen(self, action: Action) -> bool:
        perception = self._perception
        beat = self._beat(perception, action)
        if self._journal is None:
            self._on_loop(lambda: self._arrive(beat))
        else:
            due = action.tick % SNAPSHOT_TICKS == SNAPSHOT_TICKS - 1
            snapshot = self.session.snapshot() if due else None
            self._journal.append(
                self.id, perception, action, snapshot, lambda: self._on_loop(lambda: self._arrive(beat))
            )
        return False

    def _beat(self, perception: Perception, action: Action) -> Beat:
        return Beat(perception, action, tuple(self._log.follow(action, perception.text)))

    def _on_loop(self, what: Callable[[], None]) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(what)

    # ---- loop's thread ----

    def _arrive(self, beat: Beat) -> None:
        self.waiting = beat
        self._arrived += 1
        self.beats.append(beat)
        self._there.set()
        self._moved.set()
        self.publish(beat)
        self._work(beat)

    def _work(self, beat: Beat) -> None:
        """Hand over what the model delegates, and hand it what came back."""
        if self.closed:
            return
        text = self.background.follow(beat.tick, beat.perception, self._played(beat))
        if text is not None:
            try:
                self.session.push_text(text.text, text.channel)
            except SessionClosed:
                pass
            except ValueError:  # too much unread: the model has fallen far behind
                self.background.inbox.put_back()

    def _played(self, beat: Beat) -> list[Event]:
        """The tick's events, and of what is said that which is played by now. A model that yields drops the rest."""
        events = [event for event in beat.events if event.type != "say"]
        self._unplayed += [event for event in beat.events if event.type == "say"]
        while self._unplayed and end_ms(self._unplayed[0].tick) <= end_ms(beat.tick) - self.behind_ms:
            events.append(self._unplayed.popleft())
        if beat.action.decision is Decision.LISTEN:
            self._unplayed.clear()
        return events

    def _end(self, error: Exception | None, reason: str = "") -> None:
        if self.closed is None:
            self.closed = Closed(reason or ("error" if error else "close_requested"), error)
            self._there.set()
            self._moved.set()
            self.background.stop()
            self.publish(self.closed)

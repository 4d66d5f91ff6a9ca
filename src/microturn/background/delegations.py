"""The desk of one conversation: what was delegated, who works on it, and what came of it.

Everything runs on the caller's asyncio loop, and nothing here ever makes a tick wait. The user moving on does
not end a delegation; the model (`Decision.CANCEL`) or the client does. Without a backend the client owns the
work: it is told of the delegation and appends what it finds.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from microturn.background.functions import Calls, Continued, Functions
from microturn.background.inbox import Inbox, Kind, Piece, When, clean
from microturn.background.package import ContextPackage, Earlier, Recent, State
from microturn.events import Event
from microturn.streams import Perception, TextIn

log = logging.getLogger(__name__)

AT_ONCE = 8  # delegations of one conversation that are worked on
REMEMBERED = 32  # delegations that later packages tell of, and whose results may be unread
RESULTS = 32  # texts that are kept of one
WORDS_S = 20.0  # that a recogniser may take

Media = Callable[[ContextPackage], ContextPackage]
Say = Callable[[Piece], None]


class Failure(Exception):
    """Why work came to nothing, in one sentence fit for the user's ears. Never holds what a server sent."""


class Backend(Protocol):
    async def work(self, package: ContextPackage, say: Say) -> None:
        """Says thinking and commentary, then one final piece. Raises Failure; may be cancelled."""


class Words(Protocol):
    async def __call__(self, wav: bytes) -> str:
        """The words of a recording. Never on the way to a decision of the interaction model."""


@dataclass
class Delegation:
    id: str
    package: ContextPackage  # as it was sent, but for sound and pictures
    state: State = State.OPEN
    results: deque[str] = field(default_factory=lambda: deque(maxlen=RESULTS))
    task: asyncio.Task[None] | None = None  # None: the client does the work, which has no end
    waits: bool = False  # for its time to come, as a timer does
    rounds: int = 0  # in which the client answered function calls

    @property
    def at_ms(self) -> int:
        return self.package.at_ms


@dataclass(frozen=True)
class Over:
    """A delegation has come to its end: its state says which."""

    delegation: Delegation


@dataclass(frozen=True)
class Given:
    """What is given to whoever works on a delegation, of sound and pictures only how much."""

    delegation: str
    package: ContextPackage
    audio_ms: int = 0
    frames: int = 0


@dataclass
class Background:
    """`ticks_to_read` is the pace of the model: `lambda text: len(tokenizer.pack(text, spec.read_pieces))`."""

    ticks_to_read: Callable[[str], int]
    backend: Backend | None = None
    words: Words | None = None
    functions: Functions | None = None  # None: the backend calls none of the client's
    takes: Media = lambda package: package  # what of a package the backend passes on
    watch: Callable[[Delegation | Given | Piece | Over | Calls | Continued], None] = lambda note: None
    keep: Callable[[Delegation], None] | None = None  # is given every delegation whenever it has changed
    recent: Recent = field(default_factory=Recent)
    late: int = 0  # pieces that came when their delegation was over
    all: dict[str, Delegation] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.inbox = Inbox(self.ticks_to_read)
        if self.functions is not None:
            self.functions.watch = self._called

    def follow(self, tick: int, perception: Perception, events: Sequence[Event]) -> TextIn | None:
        """Take in a tick, and do what the model decided in it. What comes back is to be pushed to the session."""
        self.recent.follow(tick, perception, events)
        for event in events:
            if event.type == "delegate":
                self.delegate(f"dlg_{tick}")
            elif event.type == "decision" and event.value == "cancel":
                self.cancel()
        return self.inbox.take()

    def delegate(self, id: str) -> Delegation:
        """Begin work on the conversation as it is after the tick followed last; returns at once."""
        package = self.recent.build(id, self.earlier())
        delegation = self.all[id] = Delegation(id, package)
        self._keep(delegation)
        self.watch(delegation)
        if sum(d.task is not None for d in self.open) >= AT_ONCE:
            self._fail(delegation, "Too much is being worked on already.")
        elif self.backend is not None:
            self._begin(self.backend, delegation, self.recent.media())
        else:
            self.watch(Given(id, package))
        over = [d for d in self.all.values() if d.task is None or d.state is not State.OPEN]
        for old in over[: max(0, len(self.all) - REMEMBERED)]:
            self.inbox.drop(old.id)
            del self.all[old.id]
        return delegation

    def restore(self, kept: Sequence[Delegation], read: Collection[str]) -> None:
        """Take up what was kept of a conversation that goes on, in which the model has read these lines.

        Open work is begun anew, and results that were not read are put back.
        """
        self.inbox.keep_of({delegation.id for delegation in kept if delegation.state is not State.CANCELLED})
        quotes = {line.split('"')[1] for line in read if '"' in line}
        for delegation in kept:
            self.all[delegation.id] = delegation
            if delegation.state in (State.DONE, State.FAILED) and not self.inbox.of(delegation.id):
                *first, last = (Piece(Kind.COMMENTARY, text) for text in delegation.results)
                for piece in (*first, replace(last, kind=Kind.FINAL)):
                    self.inbox.put(replace(piece, delegation=delegation.id), quotes)
            elif delegation.state is State.OPEN and self.backend is not None:
                self._begin(self.backend, delegation, lambda package: package)

    def add(self, event: Event) -> None:
        """What a client adds to the conversation for the backend alone."""
        text = clean(event.text or "", self.recent.budget.text // 2)
        self.recent.read([replace(event, tick=self.recent.tick, text=text)])

    def append(self, piece: Piece) -> None:
        """What a client says about a delegation of its own, or, without a delegation, for the model to know."""
        if piece.delegation:
            delegation = self.all.get(piece.delegation)
            if delegation is None:
                raise ValueError(f"there is no delegation {piece.delegation}")
            if delegation.task is not None:
                raise ValueError(f"delegation {piece.delegation} is not the client's")
            if delegation.state is not State.OPEN:
                self.late += 1
                raise ValueError(f"delegation {piece.delegation} is {delegation.state.value}")
        self._deliver(piece)

    def cancel(self, id: str | None = None) -> Delegation | None:
        """Take back one delegation: the newest that is open or unread, where none is named.

        What is unread of it is never read. A timer is passed over for whatever else there is, and is meant only
        if nothing was delegated after it.
        """
        alive = [d for d in reversed(self.all.values()) if d.state is State.OPEN or self.inbox.of(d.id)]
        newest = next(reversed(self.all), None)
        meant = [d for d in alive if d.id == id or (id is None and (not d.waits or d.id == newest))]
        taken = min(meant, key=lambda d: d.waits, default=None)
        if taken is not None:
            self._let_go(taken)
            self._keep(taken)
            self.watch(Over(taken))
        return taken

    def stop(self) -> None:
        """Let go of all work without a word: the conversation is over."""
        for delegation in self.open:
            self._let_go(delegation)

    async def close(self) -> None:
        """Stop, and wait until everything has let go."""
        self.stop()
        await asyncio.gather(*(d.task for d in self.all.values() if d.task), return_exceptions=True)

    def _let_go(self, delegation: Delegation) -> None:
        delegation.state = State.CANCELLED
        self.inbox.drop(delegation.id)
        if delegation.task is not None:
            delegation.task.cancel()

    @property
    def open(self) -> list[Delegation]:
        return [d for d in self.all.values() if d.state is State.OPEN]

    def earlier(self) -> tuple[Earlier, ...]:
        return tuple(
            Earlier(d.id, d.at_ms, d.package.asked(), d.state, tuple(d.results)) for d in self.all.values()
        )

    def _keep(self, delegation: Delegation) -> None:
        if self.keep is not None:
            self.keep(delegation)

    def _begin(self, backend: Backend, delegation: Delegation, media: Media) -> None:
        work = self._work(backend, delegation, media)
        delegation.task = asyncio.get_running_loop().create_task(work)

    async def _work(self, backend: Backend, delegation: Delegation, media: Media) -> None:
        def say(piece: Piece) -> None:
            if delegation.state is State.OPEN:
                self._deliver(replace(piece, delegation=delegation.id))
            else:
                self.late += 1

        try:
            package = await asyncio.to_thread(media, delegation.package)
            if self.words is not None and (said := package.utterance()):
                try:
                    async with asyncio.timeout(WORDS_S):
                        package = replace(package, heard=await self.words(said))
                    delegation.package = package.bare()
                    self._keep(delegation)
                except Exception as error:  # the package goes out with what the model itself heard
                    log.warning("the words of delegation %s: %s", delegation.id, type(error).__name__)
            package = self.takes(package)
            audio_ms = package.at_ms - package.audio.start_ms if package.audio else 0
            self.watch(Given(delegation.id, package.bare(), audio_ms, len(package.frames)))
            await backend.work(package, say)
            if delegation.state is State.OPEN:
                raise Failure("The work ended without a result.")
        except Failure as failure:
            self._fail(delegation, str(failure))
        except Exception as error:  # its text may hold what must not be told or logged
            log.error("delegation %s: %s", delegation.id, type(error).__name__)
            self._fail(delegation, "Something went wrong while working on it.")

    def _called(self, note: Calls | Continued) -> None:
        if isinstance(note, Continued):
            self.all[note.delegation].rounds += 1
        self.watch(note)

    def _fail(self, delegation: Delegation, sentence: str) -> None:
        if delegation.state is State.OPEN:
            piece = Piece(Kind.FINAL, sentence, When.WHEN_IDLE, delegation=delegation.id)
            self._deliver(piece, State.FAILED)

    def _deliver(self, piece: Piece, end: State = State.DONE) -> None:
        piece = replace(piece, text=clean(piece.text))
        delegation = self.all.get(piece.delegation)
        if delegation is not None:
            delegation.waits |= piece.waits
        if delegation is not None and piece.kind is not Kind.THINKING:
            if piece.revised:
                delegation.results.clear()
            delegation.results.append(piece.text)
            if piece.kind is Kind.FINAL:
                delegation.state = end
            self._keep(delegation)
        self.inbox.put(piece)
        self.watch(piece)
        if delegation is not None and piece.kind is Kind.FINAL:
            self.watch(Over(delegation))

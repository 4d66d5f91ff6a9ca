"""The desk of one conversation: what was delegated, who works on it, and what came of it.

Everything runs on the caller's asyncio loop, and nothing here ever makes a tick wait. The user moving on does
not end a delegation; the model (`Decision.CANCEL`) or the client does. Without a backend the client owns the
work: it is told of the delegation and appends what it finds.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from microturn.background.functions import Calls, Continued, Functions
from microturn.background.inbox import Inbox, Kind, Piece, When, clean
from microturn.background.package import ContextPackage, Earlier, Recent, State
from microturn.events import Event
from microturn.streams import Perception, TextIn

log = logging.getLogger(__name__)

AT_ONCE = 8  # open delegations of one conversation
REMEMBERED = 32  # delegations that later packages tell of
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
    at_ms: int
    asked: str  # the user's latest words when it was made
    state: State = State.OPEN
    results: deque[str] = field(default_factory=lambda: deque(maxlen=32))
    task: asyncio.Task[None] | None = None  # None: the client does the work
    rounds: int = 0  # in which the client answered function calls


@dataclass(frozen=True)
class Over:
    """A delegation has come to its end: its state says which."""

    delegation: Delegation


@dataclass
class Background:
    """`ticks_to_read` is the pace of the model: `lambda text: len(tokenizer.pack(text, spec.read_pieces))`."""

    ticks_to_read: Callable[[str], int]
    backend: Backend | None = None
    words: Words | None = None
    functions: Functions | None = None  # None: the backend calls none of the client's
    watch: Callable[[Delegation | Piece | Over | Calls | Continued], None] = lambda note: None
    recent: Recent = field(default_factory=Recent)
    late: int = 0  # pieces that came when their delegation was over
    all: dict[str, Delegation] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.inbox = Inbox(self.ticks_to_read)
        if self.functions is not None:
            self.functions.watch = self._called

    def follow(self, tick: int, perception: Perception, events: Sequence[Event]) -> TextIn | None:
        """Take in what happened in a tick. What comes back is to be pushed to the session."""
        self.recent.follow(tick, perception, events)
        return self.inbox.take()

    def delegate(self, id: str) -> Delegation:
        """Begin work on the conversation as it is after the tick followed last; returns at once."""
        package = self.recent.build(id, self.earlier())
        delegation = self.all[id] = Delegation(id, package.at_ms, package.asked())
        self.watch(delegation)
        if len(self.open) > AT_ONCE:
            self._fail(delegation, "Too much is being worked on already.")
        elif self.backend is not None:
            work = self._work(self.backend, delegation, package, self.recent.media())
            delegation.task = asyncio.get_running_loop().create_task(work)
        over = [d for d in self.all.values() if d.state is not State.OPEN]
        for old in over[: max(0, len(self.all) - REMEMBERED)]:
            del self.all[old.id]
        return delegation

    def add(self, event: Event, text: str) -> None:
        """What a client adds to the conversation for the backend alone."""
        self.recent.read([replace(event, tick=self.recent.tick, text=clean(text))])

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

    def cancel(self, id: str | None = None) -> list[str]:
        """Take back one delegation, or all that are open. What is unread of them is never read."""
        taken = [d for d in self.open if id in (None, d.id)]
        for delegation in taken:
            delegation.state = State.CANCELLED
            self.inbox.drop(delegation.id)
            if delegation.task is not None:
                delegation.task.cancel()
            self.watch(Over(delegation))
        return [d.id for d in taken]

    async def close(self) -> None:
        """Cancel everything and wait until it has let go."""
        self.cancel()
        await asyncio.gather(*(d.task for d in self.all.values() if d.task), return_exceptions=True)

    @property
    def open(self) -> list[Delegation]:
        return [d for d in self.all.values() if d.state is State.OPEN]

    def earlier(self) -> tuple[Earlier, ...]:
        return tuple(Earlier(d.id, d.at_ms, d.asked, d.state, tuple(d.results)) for d in self.all.values())

    async def _work(
        self, backend: Backend, delegation: Delegation, package: ContextPackage, media: Media
    ) -> None:
        def say(piece: Piece) -> None:
            if delegation.state is State.OPEN:
                self._deliver(replace(piece, delegation=delegation.id))
            else:
                self.late += 1

        try:
            package = await asyncio.to_thread(media, package)
            if self.words is not None and package.audio is not None:
                try:
                    async with asyncio.timeout(WORDS_S):
                        package = replace(package, heard=await self.words(package.audio.wav))
                except Exception as error:  # the package goes out with what the model itself heard
                    log.warning("the words of delegation %s: %s", delegation.id, type(error).__name__)
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
        if delegation is not None and piece.kind is not Kind.THINKING:
            if piece.revised:
                delegation.results.clear()
            delegation.results.append(piece.text)
            if piece.kind is Kind.FINAL:
                delegation.state = end
        self.inbox.put(piece)
        self.watch(piece)
        if delegation is not None and piece.kind is Kind.FINAL:
            self.watch(Over(delegation))

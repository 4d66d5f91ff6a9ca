"""Where conversations are opened, found again and let go of.

A conversation that lost its connection is kept for a grace time; one that was stored can be brought back from the
journal after a crash, or forked at any of its ticks.
"""

from __future__ import annotations

import asyncio
import logging
import re
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Any

from microturn.background.connect import NewBackground
from microturn.clock import TICK_MS, calendar_s
from microturn.engine import Engine
from microturn.server import traces
from microturn.server.access import ANYBODY, MESSAGE, PICTURES, Access, Denied, Key, Secret
from microturn.server.conversation import Added, Beat, Closed, Conversation, Start
from microturn.server.journal import LAST, Journal, Stored
from microturn.server.meters import Meters
from microturn.server.replay import rebuild, recall
from microturn.streams import Action, Perception

ICE = re.compile(r"(?:(?P<stun>stun):|(?P<turn>turn):(?P<user>[^@\s]+)@)(?P<where>[\w.-]+(?::\d+)?)")
TURN_SECRET = "MICROTURN_TURN_SECRET"  # environment variable
log = logging.getLogger("microturn.server")


@dataclass(frozen=True)
class Ice:
    """A server by which WebRTC finds a way to those who cannot reach this machine's own address."""

    url: str  # stun:HOST:PORT, turn:HOST:PORT
    user: str = ""
    secret: str = field(default="", repr=False)

    @classmethod
    def of(cls, given: str, secret: str = "") -> Ice:
        """`stun:HOST:PORT` or `turn:USER@HOST:PORT`. Raises ValueError."""
        found = ICE.fullmatch(given)
        if found is None:
            raise ValueError(f"--ice {given}: neither stun:HOST:PORT nor turn:USER@HOST:PORT")
        kind, user, where = found["stun"] or found["turn"], found["user"] or "", found["where"]
        if user and not secret:
            raise ValueError(f"--ice {given}: the secret of {user} belongs in ${TURN_SECRET}")
        return cls(f"{kind}:{where}", user, secret if user else "")


@dataclass(frozen=True)
class Limits:
    grace_s: float = 30.0  # a lost connection may come back so long
    longest_s: float = 24 * 3600.0
    pictures: int = PICTURES
    message: int = MESSAGE
    ice: tuple[Ice, ...] = ()


@dataclass(frozen=True)
class Offer:
    """What a client can have here."""

    model: str
    frame_size: tuple[int, int]  # height, width of the pictures that the model sees
    responses: bool  # whether there is a background model
    pictures: int = PICTURES
    message: int = MESSAGE
    voices: tuple[str, ...] = ()


class Lobby:
    def __init__(
        self,
        engine: Engine,
        access: Access | None = None,
        journal: Journal | None = None,
        background: NewBackground | None = None,
        limits: Limits | None = None,
    ) -> None:
        self.engine, self.journal, self.background = engine, journal, background
        self.access, self.limits = access or Access(), limits or Limits()
        self.model = engine.spec.name
        self.open: dict[str, Conversation] = {}
        self.meters = Meters()
        self._waking = asyncio.Lock()  # one stored session at a time

    async def begin(self, start: Start, key: Key = ANYBODY) -> Conversation:
        """A new conversation. Raises EngineFull or Denied at once when there is no room."""
        return await self._begin(f"sess_{secrets.token_hex(12)}", start, key)

    async def fork(self, id: str, key: Key, at_ms: int | None = None, **changes: Any) -> Conversation:
        """A second future of a stored session, from its end or a moment on; `changes` are of its `Start`."""
        key.whole()
        journal, stored = self.stored(id, key)
        until = LAST if at_ms is None else at_ms // TICK_MS - 1
        async with self._waking:
            tick, state = await asyncio.to_thread(rebuild, self.engine, journal, id, until)
        start, earlier = replace(stored.start, **changes), recall(journal, stored, tick)
        fork = await self._begin(f"sess_{secrets.token_hex(12)}", start, key, state, tick + 1, id, earlier)
        fork.muted = False  # who opened it knows of no mute
        return fork

    async def resume(self, id: str, key: Key) -> Conversation:
        """A conversation that lost its connection, or, if it was stored, its server."""
        async with self._waking:
            conversation = self.find(id, key)
            start = conversation.start if conversation else self.stored(id, key)[1].start
            if start.client is not None:
                raise Denied(403, "not_permitted", f"session {id} may only be held over its data channel")
            return conversation or await self._wake(id, key)

    async def _wake(self, id: str, key: Key) -> Conversation:
        journal, stored = self.stored(id, key)
        if stored.ended is not None:
            raise Denied(410, "session_closed", f"session {id} has ended: {stored.reason}")
        tick, state = await asyncio.to_thread(rebuild, self.engine, journal, id)
        earlier = recall(journal, stored, tick)
        conversation = await self._begin(id, stored.start, key, state, tick + 1, earlier=earlier)
        conversation.before_s = stored.seconds
        return conversation

    def offer(self, key: Key = ANYBODY) -> Offer:
        spec, works, limits = self.engine.spec, self.background is not None, self.limits
        pictures, message = min(key.pictures, limits.pictures), min(key.message, limits.message)
        return Offer(self.model, spec.frame_size, works, pictures, message, spec.voices)

    def find(self, id: str, key: Key) -> Conversation | None:
        conversation = self.open.get(id)
        return conversation if conversation and key.owns(id, conversation.start.owner) else None

    async def _begin(
        self, id: str, start: Start, key: Key,
        state: bytes | None = None, born: int = 0, parent: str | None = None,
        earlier: Iterable[tuple[Perception, Action] | Added] = (),
    ) -> Conversation:  # fmt: skip
        journal = self.journal if start.store else None
        if start.store and journal is None:
            raise Denied(400, "store_unavailable", "this server stores nothing", param="session.store")
        start = replace(start, owner=key.name)
        conversation = Conversation(id, start, self.engine, self.background, journal)
        seconds = min(self.access.begin(key), self.limits.longest_s)
        conversation.expires_at = int(calendar_s() + seconds)
        if journal:
            journal.begin(id, start, self.model, parent, born, state)
        try:
            await conversation.begin(state, earlier)
        except BaseException:
            self.access.end(key)
            if journal and (parent or state is None):  # it is new, and was never there
                journal.delete(id)
            raise
        self.open[id] = conversation
        if isinstance(key, Secret):
            key.began.add(id)
        conversation.watch(self.meters.watch(conversation))
        if traced := traces.watch(conversation, self.model):
            conversation.watch(traced)
        expiry = asyncio.get_running_loop().call_later(seconds, conversation.close, "expired")

        def look(note: object) -> None:
            if isinstance(note, Beat) and self.access.spend(key, TICK_MS / 1000) <= 0:
                conversation.close("expired")
            if isinstance(note, Closed):
                expiry.cancel()
                self.open.pop(id, None)
                self.access.end(key)
                if journal and note.reason != "connection_lost":  # else it can be resumed at any time
                    journal.end(id, note.reason)
                end = {"reason": note.reason, "seconds": conversation.seconds}
                log.info("ended", extra={"session": id} | end)

        conversation.watch(look)
        look(conversation.closed)  # it may have failed at once
        log.info("began", extra={"session": id, "owner": key.name, "store": start.store, "parent": parent})
        return conversation

    @contextmanager
    def connected(self, conversation: Conversation) -> Iterator[None]:
        """The one connection that plays it, in the place of any other.

        If it goes without a word, the conversation waits for its return.
        """
        if conversation.connection is not None:  # lost, and does not know it yet
            conversation.connection.cancel()
        if conversation.grace is not None:
            conversation.grace.cancel()
        mine = conversation.connection = asyncio.current_task()
        try:
            yield
        finally:
            if conversation.connection is mine:
                conversation.connection = None
                later = asyncio.get_running_loop().call_later
                conversation.grace = later(self.limits.grace_s, conversation.close, "connection_lost")

    def stored(self, id: str, key: Key) -> tuple[Journal, Stored]:
        """A stored session of this key's. Raises Denied."""
        with suppress(ValueError):
            if self.journal and key.owns(id, (stored := self.journal.session(id)).start.owner):
                return self.journal, stored
        raise Denied(404, "session_not_found", f"there is no stored session {id[:80]}")

    def close(self) -> None:
        """The server stops. Stored sessions can be resumed when it is there again."""
        for conversation in tuple(self.open.values()):
            conversation.close("connection_lost")

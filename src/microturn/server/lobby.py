"""Where conversations are opened, found again and let go of.

A conversation that lost its connection is kept for a grace time; one that was stored can be brought back from the
journal after a crash, or forked at any of its ticks.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from microturn.engine import Engine
from microturn.server.conversation import Conversation, Journal, Start

GRACE_S = 30.0


class Lobby:
    def __init__(self, engine: Engine, journal: Journal | None = None, grace_s: float = GRACE_S) -> None:
        self.engine, self.journal, self.grace_s = engine, journal, grace_s
        self.model = engine.spec.name
        self.open: dict[str, Conversation] = {}

    async def begin(self, start: Start) -> Conversation:
        """A new conversation. Raises EngineFull at once when there is no room."""
        conversation = Conversation(
            f"sess_{secrets.token_hex(12)}", start, self.engine.spec.lead_ticks, self.journal
        )
        await conversation.begin(self.engine)
        self._keep(conversation)
        return conversation

    def _keep(self, conversation: Conversation) -> None:
        self.open[conversation.id] = conversation
        conversation.watch(lambda note: self._gone(conversation) if conversation.closed else None)

    def _gone(self, conversation: Conversation) -> None:
        self.open.pop(conversation.id, None)

    @asynccontextmanager
    async def connected(self, conversation: Conversation) -> AsyncIterator[None]:
        """The one connection that plays it. If it goes without a word, the conversation waits for its return."""
        if conversation.connected:
            raise ValueError(f"session {conversation.id} is connected already")
        conversation.connected = True
        try:
            yield
        finally:
            conversation.connected = False
            asyncio.get_running_loop().call_later(self.grace_s, self._let_go, conversation)

    def _let_go(self, conversation: Conversation) -> None:
        if not conversation.connected:
            conversation.close("connection_lost")

    def close(self) -> None:
        for conversation in tuple(self.open.values()):
            conversation.close("close_requested")

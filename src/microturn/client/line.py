"""The duplex socket: sound in, sound out, 200 ms at a time. And how any connection to a server is made."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from urllib.parse import urlencode, urlsplit, urlunsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosedError, InvalidHandshake, InvalidStatus

from microturn.clock import SPEAK_RATE

BUSY = 503
LOST_S = 5.0  # between pings, and until one must have been answered


class Refused(ValueError):
    """The server does not want this. One line that says why."""


class Busy(Refused):
    """The server does not want this now."""


def address(url: str, path: str, **query: object) -> str:
    """`localhost:8000`, `http://…` and `ws://…` name a server; an address with a path of its own keeps that."""
    parts = urlsplit(url if "://" in url else f"ws://{url}")
    scheme = {"http": "ws", "https": "wss"}.get(parts.scheme, parts.scheme)
    if scheme not in ("ws", "wss") or not parts.hostname:
        raise ValueError(f"{url}: not the address of a server, such as ws://localhost:8000")
    asked = urlencode({name: value for name, value in query.items() if value not in ("", None)})
    path = parts.path.rstrip("/") or path
    return urlunsplit((scheme, parts.netloc, path, "&".join(filter(None, (parts.query, asked))), ""))


async def open_socket(where: str, key: str) -> ClientConnection:
    """Raises Refused when the server says no, ConnectionError when there is none."""
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    try:
        return await connect(
            where, additional_headers=headers, compression=None, ping_interval=LOST_S, ping_timeout=LOST_S
        )
    except InvalidStatus as refused:
        reason = f"HTTP {refused.response.status_code}"
        with suppress(ValueError, KeyError, TypeError):
            reason = json.loads(refused.response.body or b"")["error"]["message"]
        raise (Busy if refused.response.status_code == BUSY else Refused)(reason) from None
    except (OSError, InvalidHandshake):
        host = urlsplit(where).netloc
        raise ConnectionError(f"{host}: nobody answers; is `microturn serve` running there?") from None


class Line:
    """Made by `duplex`."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket

    async def send(self, pcm: bytes) -> None:
        """PCM16 mono, of any length."""
        if pcm:
            await self._socket.send(pcm)

    async def end(self) -> None:
        """No more sound comes: a driven line answers the rest and ends. A live one takes no notice."""
        await self._socket.send(b"")

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """200 ms of sound each, until the server has had enough. Raises ConnectionError when the line is lost."""
        try:
            async for message in self._socket:
                if isinstance(message, bytes):
                    yield message
        except ConnectionClosedError as lost:
            raise ConnectionError(f"the line was lost: {lost.reason or 'without a word'}") from None


@asynccontextmanager
async def duplex(
    url: str,
    *,
    instructions: str = "",
    rate: int = SPEAK_RATE,
    pace: str = "live",
    eagerness: float = 0.0,
    voice: str = "",
    key: str = "",
) -> AsyncIterator[Line]:
    """A conversation that is nothing but sound. There is nothing to come back to when the line is lost."""
    asked = {"rate": rate, "pace": pace, "instructions": instructions, "eagerness": eagerness, "voice": voice}
    where = address(url, "/v1/microturn/duplex", **asked)
    socket = await open_socket(where, key)
    try:
        yield Line(socket)
    finally:
        await socket.close()

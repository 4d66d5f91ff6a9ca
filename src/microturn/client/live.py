"""A Live session: sound, text and pictures in, typed events out, over a connection that may be lost and come back.

Whoever opens a session iterates over it: that is what answers the server, and what brings a lost connection back.
Sound and pictures that are sent meanwhile are not heard or seen; everything else waits for the connection.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed, ConnectionClosedError, ConnectionClosedOK

from microturn.client.events import Delegated, Details, Event, Failed, Notice, Started, Timed, Working, read
from microturn.client.line import Busy, Refused, address, open_socket
from microturn.clock import SPEAK_RATE, TICK_MS, WallClock

SILENT_S = 3.0  # without a tick, and the connection is lost; the server tells 5 s of texts again
PATIENCE_S = 30.0  # how long the server waits for a connection to come back
SHORTEST_S, LONGEST_S = 0.1, 2.0  # between two tries
TOLD = 512  # more than a server tells again
POLICY = 1008  # close code: the server does not want this connection any more
MOMENTARY = {"session.input_audio.append", "session.input_video.append", "session.playback.dropped"}


class Session:
    """Made by `live`."""

    def __init__(self, socket: ClientConnection, where: str, key: str, ticks: bool) -> None:
        self._socket, self._where, self._key, self._ticks = socket, where, key, ticks
        self._over = False
        self._unsent: deque[str] = deque()  # while the connection is lost
        self._seen: dict[type[Timed], int] = {}  # up to where (ms) each kind has arrived
        self._told: deque[str] = deque(maxlen=TOLD)  # ids of what happened to delegated work
        self.details: Details

    # ---- what the model perceives ----

    async def send_audio(self, pcm: bytes) -> None:
        """PCM16 mono at the session's rate, of any length, no faster than time passes."""
        await self._send("session.input_audio.append", audio=pcm)

    async def mute(self, muted: bool = True) -> None:
        """Whether the model hears nothing of what is sent."""
        await self._send(f"session.input_audio.{'mute' if muted else 'unmute'}")

    async def send_text(self, text: str) -> None:
        """What the user typed."""
        await self._send("session.input_text.append", text=text)

    async def send_frame(self, image: bytes, format: str = "jpeg") -> None:
        """A picture (jpeg or webp). The last one of a tick is seen."""
        await self._send("session.input_video.append", image=image, format=format)

    async def instruct(self, text: str) -> None:
        """More instructions."""
        await self._send("session.instructions.append", content=text)

    async def think(self, text: str) -> None:
        """How work goes on: for the model to know, not to be spoken."""
        await self._send("session.thinking.append", content=text)

    async def comment(self, text: str, delegation: str | None = None) -> None:
        """What came of delegated work, or something worth saying; the model chooses the moment."""
        about = {} if delegation is None else {"delegation_id": delegation}
        await self._send("session.commentary.append", content=text, **about)

    async def dropped(self) -> None:
        """The last 200 ms were thrown away instead of played."""
        await self._send("session.playback.dropped")

    async def end(self) -> None:
        """Ends the conversation; `Closed` is the last event."""
        await self._send("session.close")

    async def _send(self, kind: str, **fields: object) -> None:
        """Nobody waits for a lost connection: who sends may be who iterates, and so brings it back."""
        message = msgspec.json.encode({"type": kind, **fields}).decode()
        try:
            await self._socket.send(message)
        except ConnectionClosed:
            if not self._over and kind not in MOMENTARY:
                self._unsent.append(message)

    # ---- what it does ----

    async def __aiter__(self) -> AsyncIterator[Event]:
        """Until the conversation is over. Raises ConnectionError when the connection does not come back."""
        try:
            while True:
                try:
                    async with asyncio.timeout(SILENT_S):
                        message = await self._socket.recv()
                except ConnectionClosedOK:
                    return
                except (ConnectionClosedError, TimeoutError) as lost:
                    if isinstance(lost, ConnectionClosed) and lost.rcvd and lost.rcvd.code == POLICY:
                        raise ConnectionError(f"the server hung up: {lost.rcvd.reason}") from None
                    self._socket.transport.abort()
                    yield await self._come_back()
                    continue
                event = read(message)
                if isinstance(event, Delegated | Working | Notice):  # the server tells again what may be lost
                    id = event.delegation.id if isinstance(event, Delegated) else event.event_id
                    if id and id in self._told:
                        continue
                    self._told.append(id)
                if isinstance(event, Timed):
                    if event.end_ms <= self._seen.get(type(event), 0):
                        continue
                    self._seen[type(event)] = event.end_ms
                if event is not None:
                    yield event
        finally:
            self._over = True

    async def _come_back(self) -> Started:
        ticks = 1 if self._ticks else None
        after = max(0, max(self._seen.values(), default=0) - TICK_MS)  # its last tick may have come in part
        where = address(self._where, "", session_id=self.details.id, after_ms=after, ticks=ticks)
        clock, wait = WallClock(), SHORTEST_S
        until = clock.now() + PATIENCE_S
        while True:
            try:
                socket = await open_socket(where, self._key)
                try:
                    started = await self.begin(socket)
                    while self._unsent:
                        await socket.send(self._unsent[0])
                        self._unsent.popleft()
                except BaseException:
                    await socket.close()
                    raise
                self._socket = socket  # only now, so that nothing overtakes what waited
                return started
            except (ConnectionError, ConnectionClosed, Busy) as not_yet:
                if clock.now() + wait > until:
                    raise ConnectionError(str(not_yet)) from None
            await asyncio.sleep(wait)
            wait = min(2 * wait, LONGEST_S)

    async def begin(self, socket: ClientConnection) -> Started:
        """The first thing that a server says."""
        try:
            event = read(await socket.recv())
        except ConnectionClosed as lost:
            raise ConnectionError(f"the connection was lost: {lost}") from None
        if isinstance(event, Failed):
            raise (Busy if event.error.code == "busy" else Refused)(event.error.message)
        if not isinstance(event, Started):
            raise Refused(f"{self._where}: this server does not speak the Live API")
        self.details = event.session
        return event

    async def close(self) -> None:
        self._over = True
        await self._socket.close()


@asynccontextmanager
async def live(
    url: str,
    *,
    instructions: str = "",
    model: str = "microturn",
    rate: int = SPEAK_RATE,
    store: bool = False,
    ticks: bool = False,
    eagerness: float = 0.0,
    voice: str = "",
    delegation: str = "client",
    key: str = "",
) -> AsyncIterator[Session]:
    """A conversation. `ticks` asks for `Tick` events; `delegation` is who works: `client` or `responses`."""
    where = address(url, "/v1/live/sessions")
    socket = await open_socket(where, key)
    session = Session(socket, where, key, ticks)
    config = {
        "model": model,
        "instructions": instructions,
        "audio": {"format": {"type": "audio/pcm", "rate": rate}}
        | ({"output": {"voice": voice}} if voice else {}),
        "delegation": {"type": delegation},
        "store": store,
        "microturn": {"ticks": ticks, "eagerness": eagerness},
    }
    try:
        await session._send("session.start", session=config)
        await session.begin(socket)
        yield session
    finally:
        await session.close()

"""The duplex socket: a plain conduit for any client, live and driven, that stays one under bad ones."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from contextlib import suppress

import numpy as np
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Subprotocol

from echo_model import POISON, EchoModel
from microturn.bench.server import come_and_go
from microturn.clock import VirtualClock
from microturn.engine import Engine, Stream, in_ticks, play
from microturn.server import duplex, serve
from microturn.server.sound import Ear, Mouth, pcm16
from serving import Served, served

pytestmark = pytest.mark.anyio
TICK_24 = 9600  # bytes of 200 ms at 24 kHz


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def test_a_blind_client_sends_and_plays_over_one_connection() -> None:
    """The client that articles show: two loops over one socket and nothing in between."""
    played: list[bytes] = []

    async def capture_and_stream_audio(line: ClientConnection) -> None:
        for _ in range(40):
            await line.send(b"\1\0" * 720)  # 30 ms of 24 kHz
            await asyncio.sleep(0.03)

    async def receive_and_play_audio(line: ClientConnection) -> None:
        async for message in line:
            assert isinstance(message, bytes)
            played.append(message)
            if len(played) == 5:
                return

    with served() as server:
        async with connect(f"{server.ws}/v1/echo/duplex") as socket:
            began = time.monotonic()
            await asyncio.gather(capture_and_stream_audio(socket), receive_and_play_audio(socket))
            assert {len(message) for message in played} == {TICK_24}
            assert 0.9 < time.monotonic() - began < 2.5  # a tick every 200 ms, from the first second on


@pytest.mark.parametrize(("rate", "size"), [(8000, 3200), (16000, 6400), (24000, 9600), (48000, 19200)])
async def test_driven_answers_are_what_the_engine_gives_for_the_same_samples(rate: int, size: int) -> None:
    random = np.random.default_rng(rate)
    sent = pcm16(random.normal(0, 0.2, rate * 2).astype(np.float32))
    heard = Ear(16_000)(pcm16(Ear(rate)(sent)))
    with served() as server:
        answers = await driven(server, sent, f"rate={rate}")
    assert {len(answer) for answer in answers} == {size}
    engine = Engine(EchoModel(), slots=1, clock=VirtualClock())
    expected = list(play(engine, Stream(in_ticks(heard))))
    assert len(answers) == len(expected) == 10
    if rate == 16000:  # nothing is resampled on the way in, so that the model heard the same bits
        mouth = Mouth(rate)
        assert answers == [mouth(action) for action in expected]


async def driven(server: Served, sent: bytes, query: str) -> list[bytes]:
    async with connect(f"{server.ws}/v1/echo/duplex?pace=driven&{query}") as socket:

        async def send() -> None:
            for start in range(0, len(sent), 1234):  # messages of any length
                await socket.send(sent[start : start + 1234])
            await socket.send(b"")

        sending = asyncio.create_task(send())
        answers = [message async for message in socket if isinstance(message, bytes)]
        await sending
        assert socket.close_code == 1000
        return answers


async def closed(line: ClientConnection) -> tuple[int, str]:
    """Reads to the end: how the server closed."""
    with suppress(ConnectionClosed):
        while await asyncio.wait_for(line.recv(), 5):
            pass
    return line.close_code or 0, line.close_reason or ""


async def test_text_is_refused_with_a_reason() -> None:
    with served() as server:
        async with connect(f"{server.ws}/v1/echo/duplex") as socket:
            await socket.send(b"")  # means nothing where time goes on by itself
            await socket.send("hello")
            assert await closed(socket) == (
                1003,
                "this socket carries PCM16 in binary messages; text is for /v1/live/sessions",
            )


@pytest.mark.parametrize(
    ("path", "status", "word"),
    [
        ("/v1/other/duplex", 404, "'echo' is served"),
        ("/v1/echo/duplex?rate=11025", 400, "rate must be one of"),
        ("/v1/echo/duplex?colour=red", 400, "unknown parameter colour"),
        ("/v1/echo/duplex?voice=mine", 400, "no voice 'mine': known are none"),
        ("/v1/echo/duplex?pace=slow", 400, "pace"),
        ("/v1/echo/duplex?eagerness=1e308", 400, "eagerness must be from -100 to 100, not 1e308"),
        ("/v1/echo/duplex?eagerness=nan", 400, "eagerness must be from -100 to 100, not nan"),
    ],
)
async def test_what_cannot_be_had_is_refused_before_the_handshake(path: str, status: int, word: str) -> None:
    with served() as server:
        refused = await refusal(server, path)
        assert refused.response.status_code == status
        assert word in (refused.response.body or b"").decode()


@pytest.mark.parametrize("name", ["rate", "pace", "eagerness", "voice", "colour"])
async def test_a_refusal_names_its_parameter(name: str) -> None:
    with served() as server:
        refused = await refusal(server, f"/v1/echo/duplex?{name}=bold")
        assert json.loads(refused.response.body or b"")["error"]["param"] == name


async def test_a_browser_that_offers_a_protocol_is_told_that_it_is_spoken() -> None:
    with served() as server:
        async with connect(f"{server.ws}/v1/echo/duplex", subprotocols=[Subprotocol("microturn")]) as socket:
            assert socket.subprotocol == "microturn"


async def test_whoever_sends_too_many_messages_waits() -> None:
    """However small they are: a thousand at once, then 500 a second."""
    with served() as server:
        async with connect(f"{server.ws}/v1/echo/duplex", max_queue=None) as socket:
            began = time.monotonic()
            for _ in range(1400):
                await socket.send(b"")
            await socket.send("text")
            with suppress(ConnectionClosed):
                async for _ in socket:
                    pass
            assert time.monotonic() - began > 0.7


async def refusal(server: Served, path: str) -> InvalidStatus:
    with pytest.raises(InvalidStatus) as caught:
        async with connect(server.ws + path):
            pass
    return caught.value


async def test_a_full_engine_says_so_at_once_and_takes_the_next_when_there_is_room() -> None:
    with served(slots=1) as server:
        async with connect(f"{server.ws}/v1/echo/duplex"):
            began = time.monotonic()
            refused = await refusal(server, "/v1/echo/duplex")
            assert time.monotonic() - began < 0.5
            assert refused.response.status_code == 503
            assert refused.response.headers["Retry-After"] == "5"
        while server.engine.stats().sessions:
            await asyncio.sleep(0.01)
        async with connect(f"{server.ws}/v1/echo/duplex") as socket:
            assert len(await socket.recv()) == TICK_24


async def test_sound_that_runs_away_from_time_is_an_error_and_neighbours_keep_their_beat() -> None:
    with served() as server:
        async with (
            connect(f"{server.ws}/v1/echo/duplex") as good,
            connect(f"{server.ws}/v1/echo/duplex", max_queue=None) as bad,
        ):
            await good.recv()
            flood = asyncio.create_task(send_much(bad, bytes(48_000), 1000))
            for _ in range(5):
                before = time.monotonic()
                await good.recv()
                assert time.monotonic() - before < 0.5
            code, reason = await closed(bad)
            await flood
            assert (code, reason[:10]) == (1008, "live sound")


async def send_much(line: ClientConnection, message: bytes, count: int) -> int:
    """Until the server has had enough: how many it took."""
    for sent in range(count):
        try:
            await line.send(message)
        except ConnectionClosed:
            return sent
        await asyncio.sleep(0)
    return count


async def test_a_session_that_fails_says_so_and_the_next_one_works() -> None:
    with served() as server:
        poison = np.full(3200, POISON * 32768, "<i2").tobytes()
        async with connect(f"{server.ws}/v1/echo/duplex?rate=16000&pace=driven") as line:
            await line.send(poison)
            assert await closed(line) == (1011, "the session failed")
        assert len(await driven(server, bytes(9600), "rate=24000")) == 1


async def test_a_line_that_is_half_open_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bytes still get through, but nobody is there any more who answers a ping."""
    monkeypatch.setattr(serve, "PING_S", 0.3)
    with served() as server:
        line = await connect(f"{server.ws}/v1/echo/duplex", ping_interval=None)
        while not server.engine.stats().ticks:
            await asyncio.sleep(0.05)
        async with connect(f"{server.ws}/v1/echo/duplex") as neighbour:
            monkeypatch.setattr(line.protocol, "receive_data", lambda data: None)
            async with asyncio.timeout(5):
                while len(server.lobby.open) > 1:
                    await asyncio.sleep(0.05)
            assert len(await neighbour.recv()) == TICK_24
        line.transport.abort()


async def test_a_client_that_never_reads_is_let_go_and_never_run_ahead_of(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(duplex, "SEND_S", 0.5)
    with served() as server:
        narrow = socket.create_connection(("127.0.0.1", server.port))
        narrow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        path = f"{server.ws}/v1/echo/duplex?pace=driven&rate=48000"
        async with connect(path, sock=narrow, max_queue=1) as deaf:
            sending = asyncio.create_task(send_much(deaf, bytes(19_200), 2000))
            while server.lobby.open or not server.engine.stats().ticks:
                await asyncio.sleep(0.05)
            assert server.engine.stats().ticks < 1000  # what the kernel's buffers hold
            sending.cancel()
            deaf.transport.abort()


async def test_the_bench_says_which_sessions_had_no_answer_and_why() -> None:
    with served() as server:
        assert await come_and_go(f"{server.ws}/v1/echo/duplex", 0, 5) == []
        refused = await come_and_go(f"{server.ws}/v1/nobody/duplex", 10, 2)
        assert [line.partition(",")[0] for line in refused] == ["session 10", "session 11"]
        assert all(" s: 404 " in line and "model_not_found" in line for line in refused)
    (gone,) = await come_and_go(f"{server.ws}/v1/echo/duplex", 7, 1)
    assert gone.startswith("session 7, opening 0.")
    assert "ConnectionRefusedError" in gone

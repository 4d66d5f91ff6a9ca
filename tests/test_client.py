"""The Python client: both dialects, a connection that is lost and comes back, sound in and out of this machine."""

from __future__ import annotations

import asyncio
import os
import pty
import re
import subprocess
import sys
import termios
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.asyncio.client import ClientConnection

from actor_model import Actor
from microturn.background import Background, ContextPackage, Kind, Piece
from microturn.client import (
    Audio,
    Busy,
    Closed,
    Delegated,
    Event,
    Failed,
    Heard,
    NoSound,
    Notice,
    Refused,
    Said,
    Session,
    Started,
    Tick,
    Working,
    duplex,
    live,
    open_sound,
)
from microturn.client.events import read
from microturn.client.line import address, open_socket
from microturn.client.sound import CUSHION_MS, LATE_MS, MS, EchoControl, Playout
from microturn.clock import TICK_MS
from microturn.server import live_events as wire
from microturn.server.access import Access, Key, digest
from microturn.streams import Decision
from serving import Scripted, Served, served

pytestmark = pytest.mark.anyio
TICK = bytes(6400)  # 200 ms at 16 kHz


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.mark.parametrize(
    ("url", "where"),
    [
        ("localhost:8000", "ws://localhost:8000/v1/x"),
        ("https://a.example/", "wss://a.example/v1/x"),
        ("ws://h/v1/nano/duplex?rate=8000", "ws://h/v1/nano/duplex?rate=8000"),
    ],
)
def test_a_server_can_be_named_in_many_ways(url: str, where: str) -> None:
    assert address(url, "/v1/x") == where
    assert (
        address(url, "/v1/x", said="ä b", unsaid="")
        == where + ("&" if "?" in where else "?") + "said=%C3%A4+b"
    )


# ---- the duplex socket ----


async def test_a_driven_line_answers_every_tick_and_ends() -> None:
    with served() as server:
        async with duplex(server.ws, rate=16_000, pace="driven") as line:
            for _ in range(5):
                await line.send(TICK)
            await line.end()
            assert [len(tick) async for tick in line] == [6400] * 5


async def test_refusals_are_one_line() -> None:
    with served(access=Access([Key("ann", digest("a-secret"))])) as server:
        with pytest.raises(Refused, match="a valid key is needed"):
            async with duplex(server.ws):
                pass
        with pytest.raises(Refused, match="rate must be one of"):
            async with duplex(server.ws, rate=11_025, key="a-secret"):
                pass
        with pytest.raises(Refused, match="the model here is 'echo'"):
            async with live(server.ws, model="other", key="a-secret"):
                pass
        async with live(server.ws, key="a-secret") as session:
            assert session.details.model == "echo"
    with pytest.raises(ConnectionError, match="nobody answers"):
        async with live(server.ws):
            pass
    with pytest.raises(ValueError, match="not the address of a server"):
        async with duplex("ftp://x"):
            pass


# ---- Live ----


async def until(session: Session, kind: type[Event]) -> list[Event]:
    """Everything up to the first event of a kind."""
    events: list[Event] = []
    async for event in session:
        events.append(event)
        if isinstance(event, kind):
            return events
    return events


async def test_a_session_takes_sound_text_and_pictures_and_tells_what_it_does() -> None:
    with served(model := Actor()) as server:
        async with live(server.ws, ticks=True) as session:
            assert session.details.frame_size == (120, 160)
            await session.send_audio(b"\0\x40" * 4800)
            await session.send_text("hello")
            await session.send_frame(b"not a picture")
            events: list[Event] = []
            async for event in session:
                events.append(event)
                if isinstance(event, Heard):
                    await session.end()
        kinds = [type(event) for event in events]
        assert kinds[-1] is Closed
        assert kinds.count(Audio) == kinds.count(Tick) >= 14
        assert {len(event.pcm) for event in events if isinstance(event, Audio)} == {9600}
        assert [(e.text, e.start_ms) for e in events if isinstance(e, Said)] == [(" breathe in", 600)]
        assert [e.error.param for e in events if isinstance(e, Failed)] == ["image"]
        assert model.loudest > 0.4
        assert bytes(piece - 1 for piece in model.pieces) == b"hello"


async def test_a_session_that_is_muted_hears_nothing() -> None:
    with served(model := Actor()) as server:
        async with live(server.ws, ticks=True) as session:
            await session.mute()
            loud: list[float] = []
            async for event in session:
                if isinstance(event, Tick) and len(loud) < 8:
                    await session.send_audio(b"\0\x40" * 4800)
                    loud.append(model.loudest)
                    if len(loud) == 4:
                        await session.mute(False)
                elif len(loud) == 8:
                    await session.end()
            assert loud[:4] == [0, 0, 0, 0]
            assert loud[-1] > 0.4


@pytest.mark.parametrize(("ticks", "lose"), [(False, "abort"), (True, "abort"), (True, "pause_reading")])
async def test_a_lost_connection_comes_back_and_no_text_is_lost_or_told_twice(
    ticks: bool, lose: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cut, or silent without a word."""
    monkeypatch.setattr(sys.modules["microturn.client.live"], "SILENT_S", 0.7)
    with served() as server:
        async with live(server.ws, ticks=ticks) as session:
            heard: dict[int, str] = {}
            back = 0
            async for event in session:
                if isinstance(event, Heard):
                    assert event.start_ms not in heard
                    heard[event.start_ms] = event.text
                    if event.start_ms == 600:
                        getattr(session._socket.transport, lose)()
                        await session.send_audio(TICK)  # is not heard, and does not hurt
                        waiting = asyncio.create_task(session.send_text("and still here"))
                if isinstance(event, Started):
                    back += 1
                if isinstance(event, Heard) and event.start_ms >= 2400:
                    break
            await waiting
            beats = server.lobby.open[session.details.id].beats
            expected = {200 * beat.tick: beat.text("hear") for beat in beats if beat.text("hear")}
            assert back == 1
            assert heard == {start: text for start, text in expected.items() if start <= max(heard)}
        await gone(server)


@pytest.mark.parametrize("server_works", [False, True])
async def test_work_is_told_once_though_the_connection_is_lost_right_after(server_works: bool) -> None:
    class Worker:
        async def work(self, package: ContextPackage, say: Callable[[Piece], None]) -> None:
            for n in range(3):
                say(Piece(Kind.COMMENTARY, f"sentence {n}"))
            say(Piece(Kind.FINAL, "done"))

    def worker(pace: Callable[[str], int]) -> Background:
        return Background(pace, Worker())

    with served(Scripted({6: Decision.DELEGATE}), background=worker) as server:
        async with live(server.ws, delegation="responses" if server_works else "client") as session:
            told: list[str] = []
            back = False
            async for event in session:
                back |= isinstance(event, Started)
                if isinstance(event, Delegated | Working):
                    told.append(event.event.type if isinstance(event, Working) else event.delegation.id)
                if told and not back and (told[-1] == "response.completed" or not server_works):
                    session._socket.transport.abort()
                if isinstance(event, Heard) and event.start_ms >= 2400:
                    break
            assert back
            steps = ["created", *["output_text.delta"] * 4, "completed"]
            assert told == ["dlg_6", *([f"response.{step}" for step in steps] if server_works else [])]


async def test_it_is_told_once_which_work_was_taken_back() -> None:
    with served(Scripted({4: Decision.DELEGATE, 6: Decision.CANCEL})) as server:
        async with live(server.ws) as session:
            taken: list[str | None] = []
            async for event in session:
                if isinstance(event, Notice):
                    taken.append(event.delegation_id)
                    session._socket.transport.abort()
                if isinstance(event, Heard) and event.start_ms >= 2400:
                    break
            assert taken == ["dlg_4"]


async def gone(server: Served) -> None:
    """Leaving the block ends the conversation."""
    async with asyncio.timeout(5):
        while server.lobby.open:
            await asyncio.sleep(0.01)


async def test_whoever_finds_a_full_server_on_the_way_back_tries_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with served(slots=1) as server:
        async with live(server.ws) as session:
            await until(session, Audio)
            with pytest.raises(Busy):
                await live(server.ws).__aenter__()
            full = [f"{server.ws}/v1/live/sessions"]  # where there is no room; the way back comes after it

            async def crowded(where: str, key: str) -> ClientConnection:
                return await open_socket(full.pop() if full else where, key)

            monkeypatch.setattr(sys.modules["microturn.client.live"], "open_socket", crowded)
            session._socket.transport.abort()
            assert isinstance((await until(session, Started))[-1], Started)
            assert not full


async def test_whoever_iterates_may_send_while_the_connection_is_lost() -> None:
    with served(model := Actor()) as server:
        async with live(server.ws) as session, asyncio.timeout(20):
            lost = False
            async for event in session:
                if isinstance(event, Audio) and not lost:
                    lost = True
                    session._socket.transport.abort()
                    await asyncio.sleep(0)
                    for text in ("one ", "two"):
                        await session.send_text(text)
                if len(model.pieces) == 7:
                    await session.end()
                    await session.end()  # too late, and no harm
        assert bytes(piece - 1 for piece in model.pieces) == b"one two"


async def test_what_does_not_come_back_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules["microturn.client.live"], "PATIENCE_S", 0.3)
    with served() as server:
        async with live(server.ws) as session:
            await until(session, Audio)
            server.lobby.open[session.details.id].close("expired")
            assert isinstance((await until(session, Closed))[-1], Closed)
            await session.send_text("to nobody")
        async with live(server.ws) as session:
            await until(session, Audio)
            session._where = "ws://127.0.0.1:1/v1/live/sessions"
            session._socket.transport.abort()
            with pytest.raises(ConnectionError, match="nobody answers"):
                await until(session, Closed)


def test_every_event_of_the_server_is_known_or_passed_over() -> None:
    resource = wire.Resource(id="sess_1", expires_at=1, model="nano", status="active", frame_size=(120, 160))
    times: dict[str, Any] = {"start_ms": 200, "end_ms": 400}
    events: list[Any] = [
        wire.LiveError("code", "what", "param").event(),
        wire.Info(code="voice", message="one"),
        wire.SessionStarted(session=resource),
        wire.SessionClosed(reason="expired", session=resource, usage=wire.Usage(1.0)),
        wire.InputTranscript(delta="a", **times),
        wire.OutputTranscript(delta="a", **times),
        wire.Tick(tick=1, decision="speak", odds=(0.0, 1.0, 0.0, 0.0), missed=True, **times),
        wire.OutputAudio(b"1"),
        wire.DelegationCreated(delegation=wire.DelegationInfo("dlg_1", "client"), offset_ms=200),
        wire.ResponseEvent(event={"type": "response.created"}, delegation_id="dlg_1"),
    ]
    for event in events:
        told = read(wire.encode(event))
        assert told is not None
        assert told.__struct_config__.tag == event.__struct_config__.tag
    assert read(wire.encode(wire.UsageUpdated(usage=wire.Usage(1.0)))) is None
    with pytest.raises(msgspec.DecodeError):
        read("not JSON")


# ---- sound ----


@settings(max_examples=25)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 30)), max_size=40))
def test_the_jitter_buffer_keeps_order_and_never_plays_the_past(beats: list[tuple[bool, int]]) -> None:
    """Ticks (silent or not) come in, and after each so many blocks of 10 ms are pulled out."""
    playout, pushed, played = Playout(), b"", b""
    for number, (silent, blocks) in enumerate(beats):
        pcm = bytes([0 if silent else number + 1]) * (TICK_MS * MS)
        if playout.push(pcm):
            pushed += pcm
        for _ in range(blocks):
            played += playout.pull(10 * MS)
    left = playout.pull(10_000 * MS)
    assert (played + left).replace(b"\0", b"") == pushed.replace(b"\0", b"")
    assert len(left.rstrip(b"\0")) <= (LATE_MS + TICK_MS) * MS


def test_a_tick_that_comes_a_little_late_is_not_heard_to() -> None:
    playout, tick = Playout(), b"\1" * (TICK_MS * MS)
    playout.push(tick)
    played = playout.pull(TICK_MS * MS)
    assert played == bytes(CUSHION_MS * MS) + tick[: -CUSHION_MS * MS]
    late = playout.pull((CUSHION_MS - 10) * MS)
    playout.push(tick)
    assert set(late + playout.pull(100 * MS)) == {1}


def test_echo_control_takes_the_echo_out_and_leaves_the_speaker_in() -> None:
    pytest.importorskip("livekit.rtc", reason="livekit is not installed")
    control, random = EchoControl(), np.random.default_rng(0)
    blocks, size, delay = 500, 240, 960  # 10 ms each; the echo comes 40 ms later
    bursts = np.repeat(np.arange(blocks) // 25 % 2, size)
    far = np.convolve(random.normal(0, 0.1, blocks * size), np.ones(8) / 8, "same") * bursts
    echo = 0.5 * np.roll(far, delay)
    near = np.where(np.arange(blocks * size) > 400 * size, 0.1 * np.sin(np.arange(blocks * size) / 12), 0.0)

    def pcm(samples: Any) -> list[bytes]:
        return [row.tobytes() for row in (samples * 32767).astype("<i2").reshape(blocks, size)]

    clean = b"".join(control(m, f, 0.04) for f, m in zip(pcm(far), pcm(echo + near), strict=True))
    heard = np.frombuffer(clean, "<i2") / 32767
    alone, both = slice(250 * size, 400 * size), slice(420 * size, None)
    assert np.square(heard[alone]).mean() < 0.01 * np.square(echo[alone]).mean()  # 20 dB
    assert np.square(heard[both]).mean() > 0.25 * np.square(near[both]).mean()


def test_without_devices_it_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    with pytest.raises(NoSound, match=r"pip install -e '\.\[talk\]'"), open_sound():
        pass


# ---- in a terminal ----


def test_talk_in_a_terminal_edits_lines_and_leaves_it_as_it_was() -> None:
    with served(model := Actor(), background=Background) as server:
        mine, its = pty.openpty()
        before = termios.tcgetattr(its)
        running = subprocess.Popen(
            [sys.executable, "-m", "microturn", "talk", server.ws],
            stdin=its, stdout=its, stderr=its, env=os.environ | {"TERM": "xterm", "COLUMNS": "100"},
        )  # fmt: skip
        try:
            wait_for(mine, "breathe in")
            os.write(mine, b"xyj\x7fz")
            wait_for(mine, "> xyz")
            os.write(mine, b"\n")
            wait_for(mine, "typed  xyz")
            wait_for(mine, "handed over at")  # some ticks later
            os.write(mine, b"\x04")
            assert running.wait(20) == 0
        finally:
            running.kill()
        assert termios.tcgetattr(its) == before
        assert bytes(piece - 1 for piece in model.pieces) == b"xyz"


def wait_for(terminal: int, text: str) -> None:
    shown = b""
    for _ in range(300):  # it is drawn five times a second
        shown += os.read(terminal, 4096)
        if text in re.sub(rb"\x1b\[[^A-Za-z]*[A-Za-z]", b"", shown).decode(errors="replace"):
            return
    raise AssertionError(f"{text!r} was not shown")

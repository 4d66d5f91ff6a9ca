"""WebRTC with aiortc as a real peer; how speech is paced, without one."""

from __future__ import annotations

import asyncio
import base64
import json
import random
import re
from collections.abc import Iterator
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import httpx2
import numpy as np
import pytest
from aioice import stun
from aiortc import (
    MediaStreamTrack,
    RTCConfiguration,
    RTCPeerConnection,
    RTCSessionDescription,
    VideoStreamTrack,
)
from aiortc.mediastreams import MediaStreamError
from aiortc.rtp import RtpPacket
from av import AudioFrame
from hypothesis import given
from hypothesis import strategies as st
from openai import AsyncOpenAI
from websockets.asyncio.client import connect as websocket

from actor_model import Actor
from microturn.clock import SPEAK_SAMPLES, end_ms
from microturn.engine import Engine
from microturn.server import rtc
from microturn.server.access import ANYBODY
from microturn.server.app import ending
from microturn.server.conversation import Start
from microturn.server.live import Live
from microturn.server.live_events import Extras, SessionConfig
from microturn.server.live_start import Role
from microturn.server.lobby import Ice, Limits, Lobby
from microturn.server.rtc import CUSHION, FADE, FRAME, HELD_BACK, MOST, AtOnce, Playout, SpeechTrack, answer
from microturn.streams import Action, Decision
from serving import Served, served
from test_server_live_events import FUZZ, WELCOME, hostile

PER_TICK = SPEAK_SAMPLES // FRAME


@pytest.fixture
def engine() -> Iterator[Engine]:
    engine = Engine(Actor(), slots=2)
    engine.start()
    yield engine
    engine.close()


def spoken(tick: int, value: float) -> Action:
    return Action(tick, Decision.SPEAK, speech=np.full(SPEAK_SAMPLES, value, np.float32))


def silent(tick: int, decision: Decision = Decision.LISTEN) -> Action:
    return Action(tick, decision)


def pull(playout: Playout, frames: int) -> list[float]:
    """The last sample of each of so many frames."""
    return [float(playout.next()[-1]) for _ in range(frames)]


def test_speech_begins_after_a_cushion_and_goes_out_whole() -> None:
    playout = Playout()
    playout.push(spoken(0, 0.5))
    assert pull(playout, CUSHION + PER_TICK + 1) == [0.0] * CUSHION + [0.5] * PER_TICK + [0.0]


def test_yielding_fades_at_once() -> None:
    playout = Playout()
    playout.push(spoken(0, 0.5))
    pull(playout, CUSHION + 2)
    playout.push(silent(1))
    fading = pull(playout, FADE + 1)
    assert sorted(fading, reverse=True) == fading
    assert fading[0] < 0.5
    assert fading[-1] == 0.0


def test_silence_within_speech_keeps_its_length() -> None:
    playout, out = Playout(), list[float]()
    for tick, value in enumerate((0.5, 0.0, 0.5, 0.0)):
        playout.push(spoken(tick, value) if value else silent(tick, Decision.SPEAK))
        out += pull(playout, PER_TICK)
    assert out == [
        *[0.0] * CUSHION,
        *[0.5] * PER_TICK,
        *[0.0] * PER_TICK,
        *[0.5] * PER_TICK,
        *[0.0] * (PER_TICK - CUSHION),
    ]


def test_silence_between_ticks_that_come_at_once_is_left_out() -> None:
    playout = Playout()
    for tick, value in enumerate((0.5, 0.0, 0.5)):
        playout.push(spoken(tick, value) if value else silent(tick, Decision.SPEAK))
    assert pull(playout, CUSHION + 2 * PER_TICK) == [0.0] * CUSHION + [0.5] * 2 * PER_TICK


@given(st.lists(st.tuples(st.sampled_from([0.0, 0.5]), st.integers(0, 2 * PER_TICK)), max_size=40))
def test_delay_never_piles_up(ticks: list[tuple[float, int]]) -> None:
    """However unevenly ticks come and frames are taken, no more than two ticks wait."""
    playout = Playout()
    for tick, (value, taken) in enumerate(ticks):
        room = MOST - playout.waiting
        whole = playout.push(spoken(tick, value) if value else silent(tick))
        assert playout.waiting <= MOST
        assert whole or room < PER_TICK
        pull(playout, taken)


def test_a_delay_ends_with_the_next_pause() -> None:
    playout = Playout()
    playout.push(spoken(0, 0.5))
    pull(playout, PER_TICK)
    for tick in range(1, 4):
        playout.push(silent(tick, Decision.SPEAK))
        pull(playout, PER_TICK)
    assert playout.waiting == 0


def test_delay_is_made_up_for_where_speech_makes_no_sound() -> None:
    speech = np.full((PER_TICK, FRAME), 0.5, np.float32)
    speech[3] = 0.0
    playout = Playout()
    for tick in range(4):
        playout.push(Action(tick, Decision.SPEAK, speech=speech.reshape(-1)))
        pull(playout, PER_TICK - 4 * (tick == 0))  # the second tick comes early, or the first was late
    assert playout.waiting == CUSHION + 1
    playout.push(spoken(4, 0.5))
    assert playout.waiting == CUSHION + 1 + PER_TICK  # not where it makes some


def test_packets_of_sound_are_heard_as_they_come_and_late_ones_never() -> None:
    buffer, heard = AtOnce(), list[int]()
    for number in (65_534, 65_535, 0, 2, 2, 1, 3, 65_533):  # numbers begin anew after 65,535
        packet = RtpPacket(sequence_number=number, timestamp=number)
        vars(packet)["_data"] = b"sound"
        _, frame = buffer.add(packet)
        heard += [frame.timestamp] if frame else []
    assert heard == [65_534, 65_535, 0, 2, 3]


def test_more_packets_than_anybody_speaks_are_not_decoded() -> None:
    buffer, heard = AtOnce(), 0
    for number in range(5000):
        packet = RtpPacket(sequence_number=number, timestamp=number)
        vars(packet)["_data"] = b"sound"
        heard += buffer.add(packet)[1] is not None
    assert 2 * rtc.PACKETS <= heard < 1000


def test_film_that_is_too_large_is_not_decoded() -> None:
    buffer, seen = rtc.Film(320 * 240), list[int]()
    key = [(320, 240), None, (16_000, 16_000), None, (32, 24), None, None]
    for number, size in enumerate(key):
        packet = RtpPacket(sequence_number=number, timestamp=number)
        header = (
            b""
            if size is None
            else rtc.KEY_FRAME + size[0].to_bytes(2, "little") + size[1].to_bytes(2, "little")
        )
        vars(packet)["_data"] = bytes([size is None, 0, 0]) + header
        _, frame = buffer.add(packet)  # the one before, which is whole now
        seen += [frame.timestamp] if frame else []
    assert seen == [0, 1, 4, 5]


def test_a_film_of_too_many_frames_waits_for_the_next_key_frame() -> None:
    buffer, seen = rtc.Film(320 * 240), 0
    for number in range(1000):
        packet = RtpPacket(sequence_number=number, timestamp=number)
        size = rtc.KEY_FRAME + (32).to_bytes(2, "little") * 2
        vars(packet)["_data"] = bytes([number % 500 != 0, 0, 0]) + size * (number % 500 == 0)
        seen += buffer.add(packet)[1] is not None
    assert 2 * rtc.FILMED <= seen < 4 * rtc.FILMED


def test_messages_are_acted_upon_in_the_order_in_which_they_came(engine: Engine) -> None:
    async def call() -> None:
        caller, _ = await connect(Lobby(engine))
        broken = base64.b64encode(b"no picture").decode()  # which another thread finds out
        for id in range(6):
            picture = {"type": "session.input_video.append", "event_id": f"{id} picture", "image": broken}
            typed = {"type": "session.input_text.append", "event_id": f"{id} text", "text": "hello"}
            caller.channel.send(json.dumps(picture))
            caller.channel.send(json.dumps(typed))
        await until(lambda: len(caller.got("session.input_text.appended")) == 6)
        order = [told for event in caller.events if (told := event.get("client_event_id"))]
        assert order == [f"{id} {what}" for id in range(6) for what in ("picture", "text")]
        await caller.connection.close()
        await until(lambda: not rtc._peers)

    asyncio.run(call())


def test_a_message_too_large_or_too_many_is_answered(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rtc, "MESSAGES", 5)

    async def call() -> None:
        caller, _ = await connect(Lobby(engine, limits=Limits(message=100)))
        caller.channel.send("x" * 101)
        for _ in range(30):
            caller.channel.send(json.dumps({"type": "session.playback.ack", "end_ms": 0}))
        await until(lambda: len(caller.got("error")) == 2)
        assert [event["error"]["code"] for event in caller.got("error")] == ["too_large", "rate_limited"]
        await caller.connection.close()
        await until(lambda: not rtc._peers)

    asyncio.run(call())


def test_there_is_still_a_buffer_where_ours_is_put() -> None:
    async def look() -> None:
        connection = RTCPeerConnection()
        assert hasattr(connection.addTransceiver("audio").receiver, HELD_BACK)
        await connection.close()

    asyncio.run(look())


class Tone(MediaStreamTrack):
    """48 kHz, 20 ms at a time, paced like the model's speech."""

    kind = "audio"

    def __init__(self) -> None:
        super().__init__()
        self._pace, self._at = SpeechTrack(Playout()), 0

    async def recv(self) -> AudioFrame:
        await self._pace.recv()
        phase = np.arange(self._at, self._at + 960) * (2 * np.pi * 300 / 48_000)
        frame = AudioFrame.from_ndarray((8000 * np.sin(phase)).astype(np.int16)[None], layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = 48_000, self._at, Fraction(1, 48_000)
        self._at += 960
        return frame


class Caller:
    """A peer as a browser is one: a tone, a green film, a data channel, and everything that comes back."""

    def __init__(self) -> None:
        self.connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self.connection.addTrack(Tone())
        self.connection.addTrack(VideoStreamTrack())
        self.channel = self.connection.createDataChannel("oai-events")
        self.events: list[dict[str, Any]] = []
        self.heard: list[float] = []  # the loudest sample of each frame
        self.channel.on("message", lambda message: self.events.append(json.loads(message)))
        self.connection.on("track", self._begin)

    def _begin(self, track: MediaStreamTrack) -> None:
        self._ear = asyncio.create_task(self._hear(track))

    async def _hear(self, track: MediaStreamTrack) -> None:
        with suppress(MediaStreamError):
            while isinstance(frame := await track.recv(), AudioFrame):
                self.heard.append(float(np.abs(frame.to_ndarray()).max()) / 32768)

    async def offer(self) -> str:
        await self.connection.setLocalDescription(await self.connection.createOffer())
        return self.connection.localDescription.sdp

    async def accept(self, answer: str) -> None:
        await self.connection.setRemoteDescription(RTCSessionDescription(answer, "answer"))
        await until(lambda: self.got("session.started"))

    def got(self, kind: str) -> list[dict[str, Any]]:
        return [event for event in self.events if event["type"] == kind]


async def until(true: Any, seconds: float = 15.0) -> None:
    async with asyncio.timeout(seconds):
        while not true():
            await asyncio.sleep(0.02)


async def open_live(lobby: Lobby) -> Live:
    conversation = await lobby.begin(Start())
    config = SessionConfig(model="actor", microturn=Extras(ticks=True))
    return Live(conversation, config, lobby.offer(), Role.CHANNEL)


async def connect(lobby: Lobby) -> tuple[Caller, Live]:
    caller, live = Caller(), await open_live(lobby)
    sdp = await answer(lobby, live.conversation, live, await caller.offer())
    await caller.accept(sdp)
    return caller, live


def test_a_peer_hears_speaks_shows_and_types() -> None:
    actor = Actor()
    engine = Engine(actor, slots=2)
    engine.start()

    async def call() -> None:
        caller, live = await connect(Lobby(engine))
        caller.channel.send(json.dumps({"type": "session.input_text.append", "text": "hello"}))
        await until(lambda: actor.loudest > 0.15 and actor.brightest > 60 and actor.pieces)
        await until(lambda: caller.got("session.output_transcript.delta") and max(caller.heard) > 0.1)
        assert actor.pitch == pytest.approx(300, abs=10)
        ticks = [event["tick"] for event in caller.got("session.tick")]
        assert ticks == list(range(ticks[0], ticks[0] + len(ticks)))
        assert not caller.got("session.output_audio.delta")  # sound goes over its track
        caller.channel.send(json.dumps({"type": "session.close"}))
        await until(lambda: caller.got("session.closed"))
        assert live.conversation.closed
        await caller.connection.close()

    asyncio.run(call())
    engine.close()


def test_a_session_that_is_held_to_its_data_channel_is_not_come_back_to(tmp_path: Path) -> None:
    """Neither while it waits for its peer nor, if it is stored, when it has been let go."""

    async def call(server: Served) -> None:
        transport = {"type": "webrtc", "sdp": await Caller().offer()}
        permits = {"data_channel": {"allowed_client_events": ["session.input_text.append"]}}
        wanted = {"session": {"model": "actor", "client": permits, "store": True}, "transport": transport}
        url = f"{server.http}/v1/live/sessions"
        id = (await asyncio.to_thread(httpx2.post, url, json=wanted)).json()["session"]["id"]
        for _ in range(2):
            async with websocket(f"{server.ws}/v1/live/sessions?session_id={id}") as line:
                assert json.loads(await line.recv())["error"]["code"] == "not_permitted"
            server.lobby.close()
        assert not server.lobby.open

    with served(Actor(), journal=tmp_path / "journal.db") as server:
        asyncio.run(call(server))


def test_a_fork_is_held_to_what_its_session_was(tmp_path: Path) -> None:
    """Each permission by itself, unless the fork is given another."""
    sends, sees = ["session.input_text.append"], [{"type": "info"}]

    async def call(server: Served) -> None:
        async def begin(where: str, **session: Any) -> tuple[str, dict[str, Any]]:
            caller = Caller()
            wanted = {"session": session, "transport": {"type": "webrtc", "sdp": await caller.offer()}}
            begun = (await asyncio.to_thread(httpx2.post, server.http + where, json=wanted)).json()
            await caller.accept(begun["transport"]["sdp"])
            await until(lambda: len(server.lobby.open[begun["session"]["id"]].beats) > 1)
            caller.channel.send('{"type": "session.input_audio.mute"}')
            await until(lambda: caller.got("error"))
            assert caller.got("error")[0]["error"]["code"] == "not_permitted"
            await caller.connection.close()
            return begun["session"]["id"], caller.got("session.started")[0]["session"]["client"]

        path, permits = "/v1/live/sessions", {"allowed_client_events": sends}
        id, _ = await begin(path, model="actor", client={"data_channel": permits}, store=True)
        _, client = await begin(f"{path}/{id}/fork")
        assert client["data_channel"] == permits
        more = {"data_channel": {"allowed_server_events": sees}}
        _, client = await begin(f"{path}/{id}/fork", client=more)
        assert client["data_channel"] == permits | {"allowed_server_events": sees}

    with served(Actor(), journal=tmp_path / "journal.db") as server:
        asyncio.run(call(server))


def test_the_official_sdk_calls_forks_and_hangs_up(tmp_path: Path) -> None:
    async def call() -> None:
        with served(journal=tmp_path / "journal.db") as server:
            sdk = AsyncOpenAI(api_key="any", base_url=f"{server.http}/v1")
            caller, other = Caller(), Caller()
            session: Any = {"model": "gpt-live-1", "store": True}
            offer = await caller.offer()
            first = await sdk.live.create(session=session, transport={"type": "webrtc", "sdp": offer})
            await caller.accept(first.transport.sdp)
            beats = server.lobby.open[first.session.id].beats
            await until(lambda: len(beats) > 4)
            at_ms = end_ms(beats[2].tick)
            offer = await other.offer()
            second = await sdk.live.sessions.fork(
                first.session.id, transport={"type": "webrtc", "sdp": offer}, extra_query={"at_ms": at_ms}
            )
            await other.accept(second.transport.sdp)
            await until(lambda: other.got("session.input_transcript.delta"))
            assert other.got("session.input_transcript.delta")[0]["start_ms"] >= at_ms
            for id, peer in ((first.session.id, caller), (second.session.id, other)):
                await sdk.live.sessions.hangup(id)
                await until(lambda peer=peer: peer.got("session.closed"))
                await peer.connection.close()
            assert not server.lobby.open
            await sdk.close()

    asyncio.run(call())


def test_hostile_messages_over_the_data_channel_change_nothing() -> None:
    engine, chance = Engine(Actor(), slots=2), random.Random(9)
    engine.start()

    async def call() -> None:
        caller, live = await connect(Lobby(engine))
        for _ in range(FUZZ // 10):
            message = hostile(chance)
            caller.channel.send(chance.choice((message, message.encode(), chance.randbytes(100))))
            await asyncio.sleep(1 / WELCOME)
        await until(lambda: len(caller.got("error")) > FUZZ / 20)
        ticks = len(caller.got("session.tick"))
        await until(lambda: len(caller.got("session.tick")) > ticks + 2)
        live.conversation.close("close_requested")
        await caller.connection.close()

    asyncio.run(call())
    engine.close()


class BadEnd(asyncio.DatagramProtocol):
    """One of two between peers: one packet in twenty is lost, the others take 5 to 65 ms and overtake each other."""

    def __init__(self, seed: int) -> None:
        self._chance, self.other = random.Random(seed), self
        self._peer: Any = None  # where packets come from
        self._number = self._newest = self.lost = self.overtaken = 0
        self.deaf = False  # to data, not to sound

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self._peer = addr
        self._number += 1
        if self._chance.random() < 0.05 or (self.deaf and 20 <= data[0] < 64):  # as RFC 7983 tells them apart
            self.lost += 1
            return
        loop = asyncio.get_running_loop()
        loop.call_later(self._chance.uniform(0.005, 0.065), self._give, data, self._number)

    def _give(self, data: bytes, number: int) -> None:
        self.overtaken += number < self._newest
        self._newest = max(number, self._newest)
        if self.other._peer:
            self.other.transport.sendto(data, self.other._peer)

    def instead(self, sdp: str) -> str:
        """The description with this end as the only address."""
        host, port = self.transport.get_extra_info("sockname")
        return re.sub(r"(a=candidate:\S+ \d udp \d+) \S+ \d+ .*", rf"\1 {host} {port} typ host", sdp)


async def bad_line(host: str) -> tuple[BadEnd, BadEnd]:
    loop, ends = asyncio.get_running_loop(), (BadEnd(1), BadEnd(2))
    for end, other in (ends, ends[::-1]):
        end.other = other
        await loop.create_datagram_endpoint(lambda end=end: end, (host, 0))  # type: ignore[misc]
    return ends


def test_a_line_that_loses_delays_and_reorders_is_talked_over() -> None:
    actor, wrong = Actor(), list[Any]()
    engine = Engine(actor, slots=1)
    engine.start()

    async def call() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: wrong.append(context))
        lobby = Lobby(engine)
        caller, live = Caller(), await open_live(lobby)
        offer = await caller.offer()
        ends = await bad_line(re.findall(r"a=candidate:\S+ \d udp \d+ ([\d.]+) ", offer)[0])
        sdp = await answer(lobby, live.conversation, live, ends[0].instead(offer))
        async with ending(lobby):
            await caller.accept(ends[1].instead(sdp))
            await until(lambda: len(caller.got("session.tick")) > 25, 40)
            heard = len(caller.heard)
            await until(lambda: len(caller.heard) > heard + 25)
            caller.channel.send(json.dumps({"type": "session.input_text.append", "text": "hello"}))
            await until(lambda: actor.pieces and max(caller.heard) > 0.1)
            numbers = [event["tick"] for event in caller.got("session.tick")]
            assert numbers == sorted(set(numbers))  # the data channel makes up for everything
            missed = sum(event["missed"] for event in caller.got("session.tick"))
            assert missed < len(numbers)
            assert actor.loudest > 0.15
            assert actor.pitch == pytest.approx(300, abs=30)
            lost, overtaken = (
                sum(counts) for counts in zip(*((e.lost, e.overtaken) for e in ends), strict=True)
            )
            assert lost > 20
            assert overtaken > 20
            print(f"{lost} lost, {overtaken} overtaken, {missed} of {len(numbers)} ticks without sound")
            ends[0].deaf = ends[1].deaf = True  # the end itself is lost at first
            live.conversation.close("close_requested")
            await asyncio.sleep(0.5)
            ends[0].deaf = ends[1].deaf = False
            await until(lambda: caller.got("session.closed"))
        await caller.connection.close()
        for end in ends:
            end.transport.close()
        assert not wrong

    asyncio.run(call())
    engine.close()


def test_a_conversation_outlives_its_peer_for_a_while(engine: Engine) -> None:
    async def call() -> None:
        lobby = Lobby(engine)
        caller, live = await connect(lobby)
        await until(lambda: live.conversation.now_ms >= 600)
        await caller.connection.close()
        await until(lambda: not live.conversation.connected)
        resumed = await lobby.resume(live.conversation.id, ANYBODY)
        assert resumed is live.conversation
        assert await resumed.next_beat()
        resumed.close("close_requested")

    asyncio.run(call())


def test_the_model_is_told_of_sound_that_was_not_played(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rtc, "MOST", 5)

    async def call() -> None:
        caller, live = await connect(Lobby(engine))
        beats = live.conversation.beats
        await until(lambda: any(beat.perception.cancelled for beat in beats))
        first = next(beat for beat in beats if beat.action.speech is not None)
        assert next(beat.tick for beat in beats if beat.perception.cancelled) == first.tick + 1
        await caller.connection.close()
        await until(lambda: not rtc._peers)

    asyncio.run(call())


def test_a_server_that_stops_lets_its_peers_go_at_once(engine: Engine) -> None:
    async def call() -> None:
        lobby = Lobby(engine)
        async with ending(lobby):
            caller, live = await connect(lobby)
            assert rtc._peers
        assert not rtc._peers
        assert live.conversation.closed
        await until(lambda: caller.got("session.closed"))
        await caller.connection.close()

    asyncio.run(call())


class Stun(asyncio.DatagramProtocol):
    """Tells everybody the same address."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        asked = stun.parse_message(data)
        told = stun.Message(asked.message_method, stun.Class.RESPONSE, asked.transaction_id)
        told.attributes["XOR-MAPPED-ADDRESS"] = ("203.0.113.7", 4321)
        self._transport.sendto(bytes(told), addr)


def test_an_address_that_a_stun_server_tells_is_offered(engine: Engine) -> None:
    async def call() -> None:
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(Stun, ("127.0.0.1", 0))
        port = transport.get_extra_info("sockname")[1]
        lobby = Lobby(engine, limits=Limits(ice=(Ice.of(f"stun:127.0.0.1:{port}"),)))
        caller, live = Caller(), await open_live(lobby)
        sdp = await answer(lobby, live.conversation, live, await caller.offer())
        assert "203.0.113.7 4321 typ srflx" in sdp
        await caller.accept(sdp)  # by the way that is open
        await caller.connection.close()
        transport.close()

    asyncio.run(call())


@pytest.mark.parametrize(
    "given",
    ["", "stun:", "turn:host:3478", "stun:ann@host", "stun:host:abc", "stun:[::1]:3478", "https://host"],
)
def test_a_way_of_no_use_is_refused_in_one_line(given: str) -> None:
    with pytest.raises(ValueError, match="neither stun"):
        Ice.of(given, "secret")
    assert Ice.of("turn:ann@host:3478", "secret") == Ice("turn:host:3478", "ann", "secret")
    assert "secret" not in repr(Ice.of("turn:ann@host:3478", "secret"))
    with pytest.raises(ValueError, match="MICROTURN_TURN_SECRET"):
        Ice.of("turn:ann@host")


BARE = "v=0\r\no=- 0 0 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n"
AUDIO = "m=audio 9 UDP/TLS/RTP/SAVPF 0\r\n"
WAY = "a=candidate:1 1 udp 1 10.0.0.1 1 typ host\r\n"


@pytest.mark.parametrize(
    "offer", ["", "v=0", BARE, BARE + 4 * AUDIO, BARE + AUDIO + 101 * WAY, "a=x\r\n" * 1001]
)
def test_an_offer_of_no_use_is_refused_in_one_line(engine: Engine, offer: str) -> None:
    async def call() -> None:
        lobby = Lobby(engine)
        live = await open_live(lobby)
        with pytest.raises(ValueError, match="SDP offer") as refused:
            await answer(lobby, live.conversation, live, offer)
        assert "\n" not in str(refused.value)

    asyncio.run(call())

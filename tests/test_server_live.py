"""The Live dialect over real sockets, with the official SDK as it is: only its base URL is changed."""

from __future__ import annotations

import base64
import io
import json
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from openai import APIStatusError, AsyncOpenAI, BadRequestError, OpenAI
from openai.types.live.audio_format import AudioPCMU
from PIL import Image
from websockets.sync.client import connect

from echo_model import EchoModel
from microturn.background import (
    ContextPackage,
    Delegation,
    Kind,
    Over,
    Piece,
    State,
)
from microturn.bench.server import live as live_source
from microturn.engine import Engine
from microturn.model.config import tiny
from microturn.model.interaction import Interaction
from microturn.model.network import Network
from microturn.model.tokenizer import PieceTokenizer
from microturn.server import live
from microturn.server import live_events as wire
from microturn.server.conversation import Conversation, Start
from microturn.server.live import Live
from microturn.server.live_start import Role
from microturn.server.lobby import Limits, Offer
from microturn.streams import Channel, Ints, TickInput, TickOutput
from serving import SESSION, Client, Served, opened, served

PHONE = {"type": "audio/pcmu", "rate": 8000}
TICK = base64.b64encode(bytes(9600)).decode()
pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Served]:
    with served(journal=tmp_path / "journal.db") as running:
        yield running


def test_a_session_speaks_with_the_voice_that_it_asks_for() -> None:
    torch.manual_seed(0)
    network, other = Network(tiny()), Network(tiny()).voice
    model = Interaction(network, PieceTokenizer.load(), voice="heart", others={"other": other})
    with served(model) as server:
        for asked, given in ((None, "heart"), ("heart", "heart"), ("other", "other"), ("marin", "heart")):
            output = {} if asked is None else {"audio": {"output": {"voice": asked}}}
            with opened(server, **output) as (client, started):
                assert started["session"]["audio"]["output"]["voice"] == given
                conversation = server.lobby.open[started["session"]["id"]]
                assert conversation.session is not None
                assert model.slots.voice[conversation.session.slot] == (given == "other")
                if asked is None:
                    sdk = OpenAI(api_key="any", base_url=f"{server.http}/v1")
                    assert next(iter(sdk.models.list())).model_extra["voices"] == ["heart", "other"]  # type: ignore[index]
                if asked == "marin":
                    assert "Voices here: heart, other" in client.next("info")["message"]


def test_the_official_sdk_talks_listens_and_leaves(server: Served) -> None:
    sdk = OpenAI(api_key="any", base_url=f"{server.http}/v1")
    with sdk.live.connect() as live:
        live.session.start(session={"model": "gpt-live-1", "instructions": "be kind"})
        started = live.recv()
        assert started.type == "session.started"
        assert started.session.instructions == "be kind"
        live.session.input_audio.append(audio=TICK)
        live.session.instructions.append(content="be brief", delegation_id=None, event_id="mine")
        seen: dict[str, Any] = {}
        while not {"session.output_audio.delta", "session.instructions.appended"} <= seen.keys():
            event = live.recv()
            seen[event.type] = event
        assert len(base64.b64decode(seen["session.output_audio.delta"].delta)) == 9600
        assert seen["session.instructions.appended"].client_event_id == "mine"
        live.session.close(event_id="bye")
        last = list(live)[-1]
        assert last.type == "session.closed"
        assert (last.reason, last.client_event_id) == ("close_requested", "bye")
        assert last.usage.seconds >= 0.2


async def test_the_official_async_sdk_stores_downloads_forks_and_attaches(server: Served) -> None:
    sdk = AsyncOpenAI(api_key="any", base_url=f"{server.http}/v1")
    async with sdk.live.connect() as live:
        await live.session.start(session={"model": "gpt-live-1", "store": True})
        started = await live.recv()
        assert started.type == "session.started"
        id = started.session.id
        async with sdk.live.sideband.connect(session_id=id) as sideband:
            assert (await sideband.recv()).type == "session.started"
            await live.session.input_audio.append(audio=TICK)
            while (event := await sideband.recv()).type != "session.input_audio.append":
                pass
            assert len(base64.b64decode(event.audio)) == 9600
            while (event := await sideband.recv()).type != "session.output_audio.delta":
                pass
            assert event.end_ms == (event.start_ms or 0) + 200
        for _ in range(10):
            await live.recv()
        await live.session.close()
        assert "error" not in [event.type async for event in live]
    recording = (await sdk.live.sessions.download_recording(id)).content
    channels, rate, size = struct.unpack("<22xHI12xI", recording[:44])
    assert (channels, rate, size) == (2, 24000, len(recording) - 44)
    assert size % 19200 == 0
    async with sdk.live.forks.connect(session_id=id) as fork:
        await fork.session.start(session={"audio": {"format": {"type": "audio/pcmu", "rate": 8000}}})
        again = await fork.recv()
        assert again.type == "session.started"
        assert again.session.id != id
        assert again.session.audio is not None
        assert again.session.audio.format == AudioPCMU(type="audio/pcmu", rate=8000)
    async with sdk.live.forks.connect(session_id=id, extra_query={"at_ms": 400}) as fork:
        await fork.session.start(session={})
        while (said := await fork.recv()).type != "session.input_transcript.delta":
            pass
        assert 400 <= said.start_ms <= 600
    wrong: tuple[tuple[int, Any, str], ...] = (
        (10**6, {}, "at_ms"),
        (400, {"delegation": {"type": "responses"}}, "session.delegation.type"),
        (400, {"microturn": {"eagerness": 1}}, "session.microturn.eagerness"),
        (400, {"model": "echo"}, "session.model"),
    )
    for at_ms, session, param in wrong:
        async with sdk.live.forks.connect(session_id=id, extra_query={"at_ms": at_ms}) as fork:
            await fork.session.start(session=session)
            refused = await fork.recv()
            assert refused.type == "error"
            assert refused.error.param == param
    assert {model.id async for model in sdk.models.list()} >= {"echo", "gpt-live-1"}
    with pytest.raises(APIStatusError, match="no stored session"):
        await sdk.live.sessions.download_recording("sess_other")
    with pytest.raises(APIStatusError, match="telephony"):
        await sdk.live.sessions.reject(id, status_code=486)
    await sdk.close()


@pytest.mark.parametrize(
    ("session", "param"),
    [
        ({"model": "other"}, "session.model"),
        ({"colour": 1}, "session.colour"),
        ({"triggers": [{}]}, "session.triggers"),
        ({"delegation": {"type": "decisions"}}, "session.delegation.type"),
        ({"delegation": {"type": "responses", "responses": {"model": "x"}}}, "session.delegation.type"),
        ({"delegation": {"type": "client", "acknowledgement_delay_ms": 5}},
         "session.delegation.acknowledgement_delay_ms"),
        ({"delegation": {"type": "client", "acknowledgement_delay_ms": 0}},
         "session.delegation.acknowledgement_delay_ms"),
        ({"delegation": {"type": "client", "responses": {"tools": []}}}, "session.delegation.responses"),
        ({"delegation": {"type": "client", "decisions": {}}}, "session.delegation.decisions"),
        ({"audio": {"format": {"type": "audio/pcm", "rate": 8000}}}, "session.audio.format.rate"),
        ({"audio": {"output": {"voice": {"id": "mine"}}}}, "session.audio.output.voice"),
        ({"client": {"data_channel": {}}}, "session.client"),
        ({"delegation": {"type": "responses", "responses": {"model": "x", "colour": 1}}},
         "session.delegation.responses.colour"),
        ({"instructions": "x" * 70_000}, "session.instructions"),
        ({"input": [{"role": "user", "content": [{"text": "x" * 40_000}]}]}, "session.input"),
        ({"input": [{"role": "user", "content": []}]}, "session.input[0]"),
        ({"instructions": 5}, "session.instructions"),
        ({"microturn": {"eagerness": 1e308}}, "session.microturn.eagerness"),
    ],
)  # fmt: skip
def test_what_a_session_cannot_have_is_named(server: Served, session: dict[str, Any], param: str) -> None:
    with opened(server, **session) as (_, answer):
        assert answer["error"]["param"] == param
        assert answer["error"]["client_event_id"] == "first"


@pytest.mark.parametrize(
    ("where", "param"),
    [
        ("?colour=red", "colour"),
        ("?at_ms=0", "at_ms"),
        ("?after_ms=400", "after_ms"),
        ("?session_id=sess_1&after_ms=ten", "after_ms"),
        ("/sess_1/fork?at_ms=-200", "at_ms"),
        ("/sess_1/fork?after_ms=200", "after_ms"),
    ],
)
def test_a_query_that_means_nothing_is_named(server: Served, where: str, param: str) -> None:
    with connect(f"{server.ws}/v1/live/sessions{where}") as line:
        assert Client(line).next("session.started", "error")["error"]["param"] == param


@pytest.mark.parametrize(
    "path",
    [
        "models",
        "live/sessions/sess_1/content",
        *("live/sessions", "live/sessions/sess_1/fork", "live/sessions/sess_1/hangup"),
        *("live/sessions/sess_1/reject", "live/client_secrets"),
    ],
)
def test_a_query_that_means_nothing_is_named_over_http(server: Served, path: str) -> None:
    sdk = OpenAI(api_key="any", base_url=f"{server.http}/v1", max_retries=0)
    ask = sdk.get if path.endswith(("models", "content")) else sdk.post
    with pytest.raises(BadRequestError) as refused:
        ask(f"/{path}?colour=red", cast_to=object)
    assert (refused.value.code, refused.value.param) == ("unknown_parameter", "colour")


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"colour": 1}, "colour"),
        ({"transport": {"type": "webrtc"}}, "transport.sdp"),
        ({"transport": {"type": "webrtc", "sdp": "v=0"}, "session": SESSION}, "transport.sdp"),
        ({"transport": {"type": "webrtc", "sdp": "v=0"}, "session": {"model": 5}}, "session.model"),
        *(
            ({"transport": {"type": "webrtc", "sdp": "v=0"},
              "session": SESSION | {"client": {"data_channel": {f"allowed_{name}": value}}}},
             f"session.client.data_channel.allowed_{param}")
            for name, value, param in (
                ("client_events", ["session.close", "session.dance"], "client_events[1]"),
                ("server_events", [{"type": "session.dance"}], "server_events[0].type"),
                ("server_events", [{"type": "response.event"}], "server_events[0].response_event"),
                ("server_events", [{"type": "info", "response_event": "response.created"}],
                 "server_events[0].response_event"),
            )
        ),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_post_is_named(server: Served, body: dict[str, Any], param: str) -> None:
    sdk = OpenAI(api_key="any", base_url=f"{server.http}/v1", max_retries=0)
    with pytest.raises(BadRequestError) as refused:
        sdk.post("/live/sessions", body=body, cast_to=object)
    assert refused.value.param == param
    assert not server.lobby.open


def test_wrong_events_are_answered_and_change_nothing(server: Served) -> None:
    with opened(server) as (client, _):
        for type, fields, code in (
            ("session.start", {"session": SESSION}, "session_started"),
            ("decision.create", {}, "unsupported_event"),
            ("transport.dtmf.send", {"event": "1"}, "unsupported_event"),
            ("response.create", {}, "unsupported_event"),
            ("session.thinking.append", {"content": "x" * 2001, "delegation_id": None}, "invalid_value"),
            ("session.commentary.append", {"content": "x", "delegation_id": "dlg_9"}, "invalid_value"),
            ("session.input_video.append", {"image": TICK}, "invalid_value"),
            (
                "session.input_video.append",
                {"image": TICK, "format": "raw", "width": 90_000, "height": 90_000},
                "invalid_value",
            ),
            ("session.input_video.append", {"image": TICK, "width": 5}, "invalid_value"),
            ("session.playback.ack", {"end_ms": -200}, "invalid_value"),
            ("session.nonsense", {}, "unknown_event"),
        ):
            client.send(type, event_id=type, **fields)
            error = client.next("error")["error"]
            assert (error["code"], error["client_event_id"]) == (code, type)
        client.socket.send("not json")
        assert client.next("error")["error"]["code"] == "invalid_json"
        assert client.next("session.output_audio.delta")


def test_sound_that_runs_away_from_time_is_told_once(server: Served) -> None:
    with opened(server) as (client, _):
        for _ in range(100):
            client.send("session.input_audio.append", audio=TICK)
        client.send("session.input_audio.mute")
        told = []
        while "session.input_audio.muted" not in told:
            told.append(client.next("error", "session.input_audio.muted")["type"])
        assert told == ["error", "session.input_audio.muted"]
        assert client.next("session.output_audio.delta")


def test_g711_goes_both_ways(server: Served) -> None:
    with opened(server, audio={"format": PHONE}) as (client, _):
        client.send("session.input_audio.append", audio=base64.b64encode(bytes([0xFF]) * 1600).decode())
        assert len(base64.b64decode(client.next("session.output_audio.delta")["delta"])) == 1600


def test_what_the_model_sees_reads_and_hears_is_what_was_sent(server: Served) -> None:
    with opened(server) as (client, started):
        conversation = server.lobby.open[started["session"]["id"]]
        beats: list[Any] = []
        conversation.watch(beats.append)
        image = io.BytesIO()
        Image.new("RGB", (60, 40), (255, 0, 0)).save(image, "JPEG")
        client.send("session.input_audio.mute")
        assert client.next("session.input_audio.muted")
        client.send("session.input_video.append", image=base64.b64encode(image.getvalue()).decode())
        client.send("session.input_text.append", text="hi")
        assert client.next("session.input_text.appended")["end_ms"] >= 0
        loud = base64.b64encode((np.ones(4800, "<i2") * 9999).tobytes()).decode()
        client.send("session.input_audio.append", audio=loud)
        client.send("session.playback.dropped")
        for _ in range(4):
            client.next("session.output_audio.delta")
        seen = [note.perception for note in beats if hasattr(note, "perception")]
        frame = next(p.frame for p in seen if p.frame is not None)
        assert frame.shape == (4, 6, 3)
        assert frame[2, 3, 0] > 200 > frame[2, 3, 1]
        assert [(t.text, t.channel) for p in seen for t in p.text] == [("hi", Channel.TYPED)]
        assert not any(p.audio.any() for p in seen if p.audio is not None)
        assert any(p.cancelled for p in seen)


@pytest.mark.parametrize("format", ["jpeg", "webp", "raw"])
def test_a_picture_comes_in_any_of_three_formats(server: Served, format: str) -> None:
    red = Image.new("RGB", (60, 40), (255, 0, 0))
    image, size = io.BytesIO(red.tobytes()), {"width": 60, "height": 40}
    if format != "raw":
        red.save(image, format)
        size = {}
    with opened(server) as (client, started):
        beats: list[Any] = []
        server.lobby.open[started["session"]["id"]].watch(beats.append)
        sent = base64.b64encode(image.getvalue()).decode()
        client.send("session.input_video.append", image=sent, format=format, **size)
        for _ in range(4):
            client.next("session.output_audio.delta")
    frames = [note.perception.frame for note in beats if hasattr(note, "perception")]
    (frame,) = (frame for frame in frames if frame is not None)
    assert frame[2, 3, 0] > 200 > 50 > frame[2, 3, 1]


def test_of_many_pictures_the_newest_is_decoded_once_a_tick(
    server: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: list[bytes] = []
    picture = live.picture

    def counted(event: wire.AppendVideo, *rest: Any) -> Any:
        decoded.append(event.image)
        return picture(event, *rest)

    monkeypatch.setattr(live, "picture", counted)
    with opened(server) as (client, _):
        for shade in range(100):
            image = bytes([shade] * 12)
            client.send(
                "session.input_video.append",
                image=base64.b64encode(image).decode(), format="raw", width=2, height=2,
            )  # fmt: skip
        ticks = 0
        while not decoded or decoded[-1] != image:
            client.next("session.output_audio.delta")
            ticks += 1
        assert len(decoded) <= ticks + 1


def test_a_bomb_of_a_picture_is_refused_by_its_header(server: Served) -> None:
    with opened(server) as (client, _):
        bomb = io.BytesIO()
        Image.new("L", (6000, 6000)).save(bomb, "JPEG")
        client.send("session.input_video.append", image=base64.b64encode(bomb.getvalue()).decode())
        assert "pixels" in client.next("error")["error"]["message"]
        scans = io.BytesIO()  # few pixels, each of them told a thousand times
        Image.new("L", (60, 40)).save(scans, "JPEG", progressive=True)
        whole = scans.getvalue()
        last = whole[whole.rindex(b"\xff\xda") : -2]
        image = base64.b64encode(whole[:-2] + last * 1000 + whole[-2:]).decode()
        client.send("session.input_video.append", image=image)
        assert "scans" in client.next("error")["error"]["message"]


async def test_a_data_channel_may_do_and_see_what_it_was_permitted() -> None:
    config = wire.SessionConfig(
        client=wire.Client(
            data_channel=wire.DataChannel(
                allowed_client_events=["session.input_text.append"],
                allowed_server_events=[
                    wire.Selector(type="session.input_text.appended"),
                    wire.Selector(type="response.event", response_event="response.completed"),
                ],
            )
        )
    )
    engine = Engine(EchoModel(), slots=1)
    engine.start()
    conversation = Conversation("sess_1", Start(responses=True), engine)
    await conversation.begin()
    live = Live(conversation, config, Offer("echo", (4, 6), True, 1), Role.CHANNEL)
    await live.hear('{"type": "session.close", "event_id": "a"}')
    await live.hear('{"type": "session.input_text.append", "text": "hi", "event_id": "b"}')
    conversation.publish(Piece(Kind.FINAL, "done", delegation="dlg_1"))
    conversation.publish(Over(Delegation("dlg_1", ContextPackage("dlg_1", 200, (), ()), State.DONE)))
    told = [json.loads(await live.next_event() or b"") for _ in range(3)]
    engine.close()
    assert [event["type"] for event in told] == ["error", "session.input_text.appended", "response.event"]
    assert told[0]["error"]["code"] == "not_permitted"
    assert told[2]["event"]["type"] == "response.completed"


def test_a_full_engine_is_an_error_event_with_the_time_to_wait() -> None:
    with served(slots=1) as server, opened(server), opened(server) as (_, answer):
        assert answer["error"]["code"] == "busy"
        assert "retry after 5 s" in answer["error"]["message"]


class Slow(EchoModel):
    def step(self, slots: Ints, batch: TickInput) -> TickOutput:
        time.sleep(0.25)
        return super().step(slots, batch)


@pytest.mark.parametrize(("model", "late"), [(EchoModel, False), (Slow, True)])
async def test_the_benchmark_sees_what_comes_late(model: type[EchoModel], late: bool) -> None:
    with served(model()) as server:
        let_in, none, times = await live_source(f"{server.ws}/v1/live/sessions", 2, 3.0)
    assert let_in == 2 or late  # whoever cannot be stepped in time is not let in
    assert (none + sum(taken > 0.2 for taken in times) > len(times) / 2) is late
    assert none + len(times) == 2 * (15 - 5)


def test_history_is_read_line_by_line() -> None:
    start = Start(instructions="be kind", history=("user: hi", "assistant: hello"))
    assert [(t.text, t.channel) for t in start.read] == [
        ("be kind", Channel.INSTRUCTIONS),
        ("user: hi", Channel.HISTORY),
        ("assistant: hello", Channel.HISTORY),
    ]


def test_sessions_end_with_their_limit() -> None:
    with served(limits=Limits(longest_s=0.3)) as server, opened(server) as (client, _):
        assert client.next("session.closed")["reason"] == "expired"

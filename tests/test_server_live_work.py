"""Work that is handed over in a Live session: by the app, by the server, and both."""

from __future__ import annotations

import asyncio
import json
import socket
from base64 import b64decode, b64encode
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from openai import AsyncOpenAI
from websockets.sync.client import connect

from microturn.background import (
    Background,
    Failure,
    Given,
    Kind,
    Piece,
    Recent,
    State,
    open_background,
)
from microturn.background.package import Earlier
from microturn.engine import Engine
from microturn.events import Event
from microturn.server import live_work
from microturn.server.conversation import Start
from microturn.server.live import Live
from microturn.server.live_events import SessionConfig, encode
from microturn.server.live_start import Role
from microturn.server.lobby import Lobby
from microturn.streams import Channel, Decision, Perception
from serving import Client, Scripted, Served, opened, served
from test_background_backends import KEY, calls, options, says, serving

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def test_a_client_does_the_work_that_the_model_hands_over() -> None:
    model = Scripted({2: Decision.DELEGATE, 15: Decision.CANCEL})
    with served(model) as server, opened(server) as (client, _):
        created = client.next("session.delegation.created")
        assert created["offset_ms"] == 600
        assert created["delegation"]["target"] == "client"
        id = created["delegation"]["id"]
        client.send("session.thinking.append", content="searching", delegation_id=id)
        assert client.next("session.thinking.appended", "error")["type"] == "session.thinking.appended"
        client.send("session.commentary.append", content="it is noon", delegation_id=id)
        assert client.next("session.commentary.appended", "error")["type"] == "session.commentary.appended"
        taken = client.next("info")
        assert (taken["code"], taken["message"]) == ("delegation_cancelled", f"{id} was taken back")
        assert taken["delegation_id"] == id


class Worker:
    def __init__(self, ends: str) -> None:
        self._ends = ends

    async def work(self, package: object, say: Any) -> None:
        if self._ends == "response.failed":
            raise Failure("There is no clock.")
        if self._ends == "response.incomplete":
            await asyncio.sleep(60)
        say(Piece(Kind.THINKING, "looking it up"))
        say(Piece(Kind.FINAL, "it is noon"))


@pytest.mark.parametrize(
    ("between", "response"),
    [
        (["reasoning_summary_text.delta", "output_text.delta", "completed"], {"status": "completed"}),
        (["output_text.delta", "failed"],
         {"status": "failed", "error": {"code": "server_error", "message": "There is no clock."}}),
        (["incomplete"], {"status": "cancelled"}),
    ],
)  # fmt: skip
def test_the_server_does_the_work_and_streams_it_as_responses_do(
    between: list[str], response: dict[str, Any]
) -> None:
    model = Scripted({2: Decision.DELEGATE, 8: Decision.CANCEL})
    expected = [f"response.{kind}" for kind in ("created", *between)]
    settings = {"type": "responses", "responses": {"model": "default"}}
    with (
        served(model, background=lambda pace: Background(pace, Worker(expected[-1]))) as server,
        opened(server, delegation=settings) as (client, started),
    ):
        assert started["session"]["delegation"]["type"] == "responses"
        created = client.next("session.delegation.created")
        kinds: list[str] = []
        while len(kinds) < len(expected):
            event = client.next("response.event")
            assert event["delegation_id"] == created["delegation"]["id"]
            kinds.append(event["event"]["type"])
        assert kinds == expected
        assert event["event"]["response"] == response | {"id": created["delegation"]["response_id"]}


async def test_no_work_is_begun_for_a_session_that_has_ended() -> None:
    """Though its client, which has not been told yet, asks for some."""
    with closing(Engine(Scripted({}), slots=1)) as engine:
        lobby = Lobby(engine, background=lambda pace: Background(pace, Worker("response.incomplete")))
        talk = await lobby.begin(Start(responses=True))
        live = Live(talk, SessionConfig(), lobby.offer(), Role.PRIMARY)
        talk.close("expired")
        await live.hear(json.dumps({"type": "response.create"}))
        assert not talk.background.all


PACKAGE = "session.delegation.package"


def over(event: dict[str, Any]) -> bool:
    return bool(event["type"] == "response.event" and event["event"]["type"] == "response.completed")


def hand_over(server: Served, **extras: bool) -> dict[str, Any]:
    """What a client is told was given to the background model, after it has heard, seen and read."""
    sound, image = (b64encode(bytes(count)).decode() for count in (9600, 3 * 4 * 6))
    work = {"type": "responses"}
    with opened(server, delegation=work, instructions="be kind", microturn=extras) as (client, started):
        with connect(f"{server.ws}/v1/live/sessions/{started['session']['id']}/attach") as line:
            client.send("session.input_audio.append", audio=sound)
            client.send("session.input_video.append", image=image, format="raw", width=6, height=4)
            client.send("session.input_text.append", text='say "hello"')
            told, beside = client.until(over), Client(line).until(over)
        assert PACKAGE not in [event["type"] for event in beside]
        packages = [event for event in told if event["type"] == PACKAGE]
        assert len(packages) == ("packages" in extras)
        return packages[0] if packages else {}


@pytest.mark.parametrize("takes", [("--background-hears", "--background-sees"), ()])
async def test_what_the_background_model_is_given_is_told_to_whoever_asks_and_to_nobody_else(
    monkeypatch: pytest.MonkeyPatch, takes: tuple[str, ...]
) -> None:
    """To the letter, with how much sound and how many pictures went with it."""
    monkeypatch.setenv("MICROTURN_BACKGROUND_KEY", KEY)
    async with (
        serving(*[says("chat", "It is sunny.")] * 3) as (model, url),
        open_background(options("--background", url, "--background-model", "some", *takes)) as new,
    ):
        with served(Scripted({12: Decision.DELEGATE}), background=new) as server:
            assert not await asyncio.to_thread(hand_over, server)
            assert not await asyncio.to_thread(hand_over, server, ticks=True)
            package = await asyncio.to_thread(hand_over, server, packages=True)
    content = model.asked[-1]["messages"][-1]["content"]
    parts = {part["type"]: part for part in content} if takes else {"text": {"text": content}}
    assert package["text"] in parts["text"]["text"]
    assert package["text"].startswith("Instruction: be kind\n")
    assert '] typed: say "hello"\n' in package["text"]
    wav = b64decode(parts["input_audio"]["input_audio"]["data"]) if takes else b""
    assert package["audio_ms"] == max(0, len(wav) - 44) // 32 == 2600 * bool(takes)
    assert (package["frames"], package["omitted"]) == (len(takes) // 2, 0)


@pytest.mark.parametrize("text", ["a b ", "ж", "\0", '"', "\U0001f9c0"])
def test_a_package_is_told_in_one_message_of_a_data_channel(text: str) -> None:
    """The latest of it, and how much is left out."""
    recent = Recent()
    for tick in range(300):
        recent.follow(tick, Perception(), [Event("read", tick, text=500 * text, channel=Channel.TYPED)])
    recent.read([Event("read", 299, text="the last words", channel=Channel.TYPED)])
    package = recent.build("dlg_1", tuple(Earlier("x", 0, 90 * text, State.DONE, (text,)) for _ in range(32)))
    told = live_work.package_of(Given("dlg_1", package, 20_000, 2))
    assert len(encode(told)) < 65_536
    assert "typed: the last words" in told.text
    assert told.omitted >= package.omitted > 0
    assert (told.text == package.told()) is (text == "a b ")


def test_a_client_that_works_itself_may_ask_for_packages_too_even_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    with (
        served(Scripted({6: Decision.DELEGATE}), journal=path) as server,
        opened(server, store=True, instructions="be kind", microturn={"packages": True}) as (client, started),
    ):
        told = client.next(PACKAGE)
        assert (told["delegation_id"], told["audio_ms"], told["frames"]) == ("dlg_6", 0, 0)
        assert told["text"].startswith("Instruction: be kind\n")
        client.socket.socket.shutdown(socket.SHUT_RDWR)
    back = f"/v1/live/sessions?session_id={started['session']['id']}&after_ms=1200"
    with served(journal=path) as server:
        for asked, again in (("&packages=true", PACKAGE), ("&packages=false", "session.output_audio.delta")):
            with connect(f"{server.ws}{back}{asked}") as line:
                client = Client(line)
                assert client.next("session.delegation.created")["delegation"]["id"] == "dlg_6"
                found = client.next(PACKAGE, "session.output_audio.delta")
                assert found["type"] == again
                assert found.get("text") in (told["text"], None)
                line.close(1011)


def test_the_servers_own_model_has_a_name(tmp_path: Path) -> None:
    """Whoever gives none is told it, as the API's types want, and may give it back. A fork has it, too."""
    path = tmp_path / "journal.db"
    with served(Scripted({}), background=lambda pace: Background(pace, Worker("")), journal=path) as server:
        with opened(server, delegation={"type": "responses"}, store=True) as (client, started):
            own = started["session"]["delegation"]
            assert own == {"type": "responses", "responses": {"model": "background"}}
            client.send("session.update", session={"delegation": own})
            assert client.next("session.updated", "error")["session"]["delegation"] == own
            client.next("session.output_audio.delta")
            client.send("session.close")
            client.next("session.closed")
        with connect(f"{server.ws}/v1/live/sessions/{started['session']['id']}/fork") as line:
            fork = Client(line)
            fork.send("session.start", session={})
            assert fork.next("session.started", "error")["session"]["delegation"] == own


async def test_a_client_adds_to_the_servers_work_and_runs_functions_of_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MICROTURN_BACKGROUND_KEY", KEY)
    replies = calls("responses", ("weather", '{"city": "Ulm"}'), ("calculate", '{"text": "2+2"}'))
    weather: Any = {"type": "function", "name": "weather", "parameters": {"type": "object"}}
    async with (
        serving(replies, says("responses", "It is sunny.")) as (model, url),
        open_background(options("--background", url, "--background-model", "some",
                                "--background-api", "responses")) as new,
    ):  # fmt: skip
        with served(Scripted({}), background=new) as server:
            sdk = AsyncOpenAI(api_key="any", base_url=f"{server.http}/v1")
            async with sdk, sdk.live.connect() as live, asyncio.timeout(30):
                backend = {"model": "some", "tools": [weather], "instructions": "answer in Celsius"}
                work: Any = {"type": "responses", "responses": backend}
                await live.session.start(session={"model": "gpt-live-1", "delegation": work})
                await live.response.item.create(item={"role": "user", "content": "is it warm in Ulm"})
                await live.response.create()
                kinds: list[Any] = []
                responses: list[Any] = []
                while "response.output_text.delta" not in kinds or kinds[-1] != "response.completed":
                    event = await live.recv()
                    assert event.type != "error", event
                    if event.type != "response.event":
                        continue
                    told: Any = event.event
                    kinds.append(told["type"])
                    if kinds[-1] == "response.created":
                        responses.append(told["response"]["id"])
                    if kinds[-1] == "response.output_item.done":
                        assert (told["item"]["name"], told["item"]["arguments"]) == (
                            "weather",
                            '{"city": "Ulm"}',
                        )
                        call = told["item"]["call_id"]
                    if kinds[-1] == "response.completed" and len(responses) == 1:
                        await live.response.create(event_id="early")
                        while (event := await live.recv()).type != "error":
                            pass
                        assert event.error.code == "function_call_outputs_required"
                        assert event.error.client_event_id == "early"
                        output: Any = [{"type": "input_text", "text": "29 °C"}]
                        await live.response.item.create(
                            item={"type": "function_call_output", "call_id": call, "output": output}
                        )
                        await live.response.create()
                assert kinds == [
                    *("response.created", "response.output_item.done", "response.completed"),
                    *("response.created", "response.output_text.delta", "response.completed"),
                ]
                assert len(set(responses)) == 2
                for item, param in (
                    ({"type": "function_call_output", "call_id": call, "output": "again"}, "item.call_id"),
                    ({"type": "reasoning", "id": "rs_1", "summary": []}, "item.type"),
                    ({"role": "user", "content": "hi", "call_id": call}, "item.call_id"),
                    (
                        {"role": "user", "content": [{"type": "input_image", "image_url": "x"}]},
                        "item.content[0].type",
                    ),
                    ({"role": "user", "content": ""}, "item.content"),
                ):
                    await live.response.item.create(item=item)  # type: ignore[arg-type]
                    while (event := await live.recv()).type != "error":
                        pass
                    assert event.error.param == param
                for tool, param in (
                    ({"type": "mcp", "server_label": "files", "server_url": "https://x"}, "tools[0].type"),
                    (weather | {"colour": 1}, "tools[0].colour"),
                    (weather | {"name": "calculate"}, "tools[0].name"),
                    (weather | {"name": "the weather"}, "tools[0].name"),
                    (weather | {"name": "w" * 65}, "tools[0].name"),
                    (weather | {"name": "größe"}, "tools[0].name"),
                    (weather | {"name": "size\n"}, "tools[0].name"),
                    (weather | {"strict": True}, "tools[0].strict"),
                ):
                    update: Any = {"type": "responses", "responses": {"tools": [tool]}}
                    await live.session.update(session={"delegation": update})
                    while (event := await live.recv()).type != "error":
                        pass
                    assert event.error.param == f"session.delegation.responses.{param}"
                update = {"type": "responses", "responses": {"instructions": "x" * 12_001}}
                await live.session.update(session={"delegation": update})
                while (event := await live.recv()).type != "error":
                    pass
                assert event.error.param == "session.delegation.responses.instructions"
                update = {"type": "responses", "responses": {"model": "some"}}
                where = f"{server.ws}/v1/live/sessions/{next(iter(server.lobby.open))}/attach"
                with connect(where) as line:
                    beside = Client(line)
                    beside.send("session.update", session={"delegation": update})
                    told = beside.next("session.updated", "error")["session"]["delegation"]
                    assert told["responses"] == backend
                update = {"type": "responses", "responses": {"model": "other"}}
                await live.session.update(session={"delegation": update})
                while (event := await live.recv()).type != "error":
                    pass
                assert event.error.param == "session.delegation.responses.model"
        first, second = model.asked
        assert "typed: is it warm in Ulm" in json.dumps(first)
        assert "Instruction: answer in Celsius" in json.dumps(first)
        assert "weather" in [tool["name"] for tool in first["tools"]]
        assert [item["output"] for item in second["input"][-2:]] == ["29 °C", "It is 4."]

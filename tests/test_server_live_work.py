"""Work that is handed over in a Live session: by the app, by the server, and both."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from openai import AsyncOpenAI
from websockets.sync.client import connect

from microturn.background import (
    Background,
    Failure,
    Kind,
    Piece,
    open_background,
)
from microturn.streams import Decision
from serving import Client, Scripted, opened, served
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

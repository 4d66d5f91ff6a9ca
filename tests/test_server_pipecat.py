"""pipecat's Live service, as it is, in a running pipeline: only its base URL is changed."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from microturn.background import Over, open_background
from microturn.server.conversation import Beat
from microturn.streams import Channel, Decision
from serving import Scripted, served
from test_background_backends import KEY, Reply, calls, options, raw, says, serving

pytest.importorskip("pipecat.services.openai.live.llm", reason="pipecat-ai is not installed")

from pipecat.frames.frames import (
    EndFrame,
    ErrorFrame,
    Frame,
    InputAudioRawFrame,
    LLMContextFrame,
    SpeechOutputAudioRawFrame,
)
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.runner import PipelineRunner
from pipecat.pipeline.task import PipelineTask
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.services.llm_service import FunctionCallParams
from pipecat.services.openai.live.llm import ClientDelegation, OpenAILiveLLMService, ResponsesDelegation
from pipecat.services.openai.llm import OpenAILLMService
from pipecat.services.openai.responses.llm import OpenAIResponsesLLMService
from pipecat.workers.llm.backend_llm_worker import BackendLLMWorker


class Ears(FrameProcessor):  # type: ignore[misc]
    """Keeps what comes by: sound behind the service, errors before it, where they go."""

    def __init__(self) -> None:
        super().__init__()
        self.frames: list[Any] = []
        self.errors: list[ErrorFrame] = []
        self.heard = asyncio.Event()

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        self.frames.append(frame)
        if isinstance(frame, SpeechOutputAudioRawFrame):
            self.heard.set()
        if isinstance(frame, ErrorFrame):
            self.errors.append(frame)
            self.heard.set()
        await self.push_frame(frame, direction)


def test_a_pipecat_pipeline_talks_to_the_server_unchanged() -> None:
    with served(Scripted({})) as server:
        ears = asyncio.run(asyncio.wait_for(talk(f"{server.ws}/v1/live/sessions"), 30))
        assert not ears.errors
        sound = [frame for frame in ears.frames if isinstance(frame, SpeechOutputAudioRawFrame)]
        assert sound
        assert sound[0].sample_rate == 24_000


def test_a_pipecat_pipeline_is_told_of_errors() -> None:
    with served(Scripted({})) as server:
        ears = Ears()
        url = f"{server.ws}/v1/live/nowhere"
        asyncio.run(asyncio.wait_for(talk(url, ears.heard, before=ears), 30))
        assert ears.errors


async def talk(
    url: str,
    until: asyncio.Event | None = None,
    before: Ears | None = None,
    tools: tuple[Any, ...] = (),
    **options: Any,
) -> Ears:
    ears, before = Ears(), before or Ears()
    service = OpenAILiveLLMService(api_key="any", base_url=url, **options)
    given: dict[str, Any] = {"tools": list(tools)} if tools else {}
    task = PipelineTask(Pipeline([before, service, ears]))
    running = asyncio.create_task(PipelineRunner(handle_sigint=False).run(task))
    context = LLMContext([{"role": "system", "content": "be kind"}], **given)
    await task.queue_frame(LLMContextFrame(context))
    while not (until or ears.heard).is_set():
        await task.queue_frame(InputAudioRawFrame(b"\1\0" * 480, 24_000, 1))
        await asyncio.sleep(0.02)
    await task.queue_frame(EndFrame())
    await asyncio.wait_for(running, 20)
    ears.errors = before.errors
    return ears


async def forecast(params: FunctionCallParams, city: str) -> None:
    """The weather in a city.

    Args:
        city: Which one.
    """
    await asyncio.sleep(1)
    await params.result_callback(f"{city}: rain, 7 degrees")


def slowly(reply: Reply) -> Reply:
    async def slow(writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(2)
        await reply(writer)

    return slow


def test_a_pipecat_worker_does_what_is_delegated_is_called_off_and_fails() -> None:
    model = Scripted(
        {5: Decision.DELEGATE, 25: Decision.DELEGATE, 28: Decision.CANCEL, 50: Decision.DELEGATE}
    )
    weather = calls("chat", ("forecast", '{"city": "Oslo"}')), says("chat", ">> Oslo has rain.")
    read: list[str] = []

    async def watched() -> tuple[list[dict[str, Any]], int]:
        loop, over = asyncio.get_running_loop(), asyncio.Event()

        def look(note: object) -> None:
            texts = note.perception.text if isinstance(note, Beat) else ()
            read.extend(text.text for text in texts if text.channel is Channel.BACKGROUND)
            if len(read) == 2:
                loop.call_soon_threadsafe(over.set)

        async with serving(*weather, slowly(says("chat", ">> Cats won.")), raw(400)) as (asked_of, model_url):
            with served(model) as server:
                llm = OpenAILLMService(api_key=KEY, base_url=model_url)
                backend = BackendLLMWorker(llm=llm, context=LLMContext(tools=[forecast]))
                work = {"delegation": ClientDelegation(backend)}
                talking = asyncio.create_task(talk(f"{server.ws}/v1/live/sessions", over, **work))
                while not server.lobby.open:
                    await asyncio.sleep(0.01)
                (conversation,) = server.lobby.open.values()
                conversation.watch(look)
                await talking
                return asked_of.asked, conversation.background.late

    asked, late = asyncio.run(asyncio.wait_for(watched(), 60))
    assert "Oslo: rain, 7 degrees" in json.dumps(asked[1])
    assert read == [
        'commentary: "Oslo has rain."',
        'commentary: "The delegated work could not be completed."',
    ]
    assert late == 1  # what came of the one that was called off


def test_pipecat_runs_its_functions_for_work_that_the_server_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MICROTURN_BACKGROUND_KEY", KEY)
    replies = calls("responses", ("forecast", '{"city": "Oslo"}')), says("responses", "Oslo has rain.")
    backend = ResponsesDelegation(settings=OpenAIResponsesLLMService.Settings(model="some"))

    async def watched() -> tuple[list[dict[str, Any]], Ears]:
        loop, over = asyncio.get_running_loop(), asyncio.Event()

        def look(note: object) -> None:
            if isinstance(note, Over):
                loop.call_soon_threadsafe(over.set)

        async with (
            serving(*replies) as (asked_of, url),
            open_background(
                options("--background", url, "--background-model", "some", "--background-api", "responses")
            ) as new,
        ):
            with served(Scripted({5: Decision.DELEGATE}), background=new) as server:
                work = {"delegation": backend, "tools": (forecast,)}
                talking = asyncio.create_task(talk(f"{server.ws}/v1/live/sessions", over, **work))
                while not server.lobby.open:
                    await asyncio.sleep(0.01)
                (conversation,) = server.lobby.open.values()
                conversation.watch(look)
                return asked_of.asked, await talking

    (first, second), ears = asyncio.run(asyncio.wait_for(watched(), 60))
    assert [tool["name"] for tool in first["tools"]].count("forecast") == 1
    assert "Oslo: rain, 7 degrees" in json.dumps(second)
    assert not ears.errors

"""pipecat's Live service, as it is, in a running pipeline: only its base URL is changed."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from serving import Scripted, served

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
from pipecat.services.openai.live.llm import OpenAILiveLLMService


class Ears(FrameProcessor):  # type: ignore[misc]
    """Keeps what comes out of the service."""

    def __init__(self) -> None:
        super().__init__()
        self.frames: list[Any] = []
        self.heard = asyncio.Event()

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        self.frames.append(frame)
        if isinstance(frame, SpeechOutputAudioRawFrame):
            self.heard.set()
        await self.push_frame(frame, direction)


def test_a_pipecat_pipeline_talks_to_the_server_unchanged() -> None:
    with served(Scripted({})) as server:
        ears = asyncio.run(asyncio.wait_for(talk(f"{server.ws}/v1/live/sessions"), 30))
        assert not [frame for frame in ears.frames if isinstance(frame, ErrorFrame)]
        sound = [frame for frame in ears.frames if isinstance(frame, SpeechOutputAudioRawFrame)]
        assert sound
        assert sound[0].sample_rate == 24_000


async def talk(url: str) -> Ears:
    ears = Ears()
    service = OpenAILiveLLMService(api_key="any", base_url=url)
    task = PipelineTask(Pipeline([service, ears]))
    running = asyncio.create_task(PipelineRunner(handle_sigint=False).run(task))
    await task.queue_frame(LLMContextFrame(LLMContext([{"role": "system", "content": "be kind"}])))
    while not ears.heard.is_set():
        await task.queue_frame(InputAudioRawFrame(b"\1\0" * 480, 24_000, 1))
        await asyncio.sleep(0.02)
    await task.queue_frame(EndFrame())
    await asyncio.wait_for(running, 20)
    return ears

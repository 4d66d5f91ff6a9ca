"""Any other system on the same cases: `duplex:`, `live:`, `realtime:`, `page:` and an address, `wav:` and a folder.

Sound is sent as fast as time passes, over a real connection, and what comes back is kept where a listener would
have heard it: when it came, after what was still to be played. Words are the system's own where it tells them with
their times (live), else they are looked for in its sound. `duplex:ws://…?pace=driven` lets the input drive time,
and a `wav:` folder holds SUITE/000/out.wav, SUITE/001/out.wav … made elsewhere, each as long as the in.wav that
`--save` writes beside it; an out.json of timed words, as Full-Duplex-Bench has them, is believed before the sound.
"""

from __future__ import annotations

import asyncio
import base64
import json
import re
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import soxr
from PIL import Image
from websockets.exceptions import ConnectionClosed

from microturn.bench import whisper
from microturn.bench.browser import Kept, converse
from microturn.bench.imports import reading
from microturn.bench.metrics import Heard, Played
from microturn.bench.waves import Case, Unfit
from microturn.client import Audio, Delegated, Failed, Said, Session, Tick, duplex, live
from microturn.client import Heard as HeardEvent
from microturn.client.line import open_socket
from microturn.clock import HEAR_RATE, SPEAK_RATE, SPEAK_SAMPLES, TICK_MS, WallClock, start_ms, tick_of
from microturn.media import whole_sound
from microturn.scenes.episode import Word
from microturn.streams import Bytes, Channel, Decision, Floats

Ear = Callable[[Floats], tuple[Word, ...]]  # of sound at 16 kHz
TOGETHER = 4  # conversations at once
PIECE_MS = 40  # of sound in a message
SHORT_S = 1.0  # that a recording may be shorter than its case
LAST_S = 1.0  # for what is still on its way when the sound has ended
MS = SPEAK_RATE // 1000  # samples in a millisecond
FRAME = (120, 160)  # height, width of the pictures that are sent
HEARING = ("hear", "read", "digits")  # suites that score a transcript of the user
CARRIES = {  # beside sound and the instructions of the opening
    "duplex": {"losses", "echo"},
    "live": {"film", "typed", "background", "instructions", "transcript", "decisions", "losses", "echo"},
    "realtime": {"losses", "echo"},
    "page": {"film", "typed", "transcript", "decisions"},
    "wav": {"film", "typed", "background", "instructions", "history", "losses"},
}


@dataclass(frozen=True)
class Target:
    kind: str
    where: str
    key: str = ""
    ear: Ear = whisper.words
    together: int = TOGETHER

    @classmethod
    def parse(cls, text: str, key: str = "", together: int = TOGETHER) -> Target:
        kind, _, where = text.partition(":")
        if kind not in CARRIES or not where:
            raise ValueError(f"{text}: a target is one of {', '.join(f'{k}:…' for k in CARRIES)}")
        return cls(kind, where, key, together=together)

    @property
    def name(self) -> str:
        return f"{self.kind}:{self.where}"

    def play(
        self, suite: str, cases: Sequence[Case], progress: Callable[[int], None] | None = None
    ) -> list[Played]:
        """What it does with each case. Raises Unfit where it cannot be given what the cases hold."""
        carries = CARRIES[self.kind] - ({"losses", "echo"} if "pace=driven" in self.where else set())
        if missing := sorted(needs(suite, cases) - carries):
            raise Unfit(f"{suite} needs {', '.join(missing)}, which {self.kind}: does not carry")
        if self.kind == "wav":
            return [self._recorded(suite, i, case) for i, case in enumerate(cases)]
        return asyncio.run(self._all(cases, progress or (lambda done: None)))

    async def _all(self, cases: Sequence[Case], progress: Callable[[int], None]) -> list[Played]:
        speak = {"duplex": _duplex, "live": _live, "realtime": _realtime, "page": _page}[self.kind]
        room, done = asyncio.Semaphore(self.together), 0

        async def one(case: Case) -> Played:
            nonlocal done
            async with room:
                try:
                    played = await speak(self, case)
                except ConnectionClosed as lost:
                    raise ConnectionError(f"{self.name}: hung up in the middle of a case: {lost}") from None
            progress(done := done + 1)
            return played

        return list(await asyncio.gather(*map(one, cases)))

    def _recorded(self, suite: str, number: int, case: Case) -> Played:
        name = case.name or f"{number:03d}"
        folder = Path(self.where) / suite / name
        if case.name and not folder.is_dir():
            folder = Path(self.where) / name  # beside the imported data
        wav = next((p for p in (folder / "out.wav", folder / "output.wav") if p.is_file()), None)
        if wav is None:
            raise ValueError(
                f"{folder}/out.wav is not there: what was said to the in.wav that "
                f"`microturn bench {suite} --save FOLDER` puts there, with the same --n, --seed and --voices"
            )
        _same(folder / "case.json", case)
        sound = whole_sound(wav)
        seconds, whole = len(sound) / HEAR_RATE, case.episode.ticks * TICK_MS / 1000
        if not case.name and seconds < whole - SHORT_S:
            raise ValueError(
                f"{wav} ends after {seconds:.1f} s, its case after {whole:.1f} s: what is said must lie where it "
                "was said, silence included"
            )
        speaker = Loudspeaker(case.episode.ticks)
        speaker.play(0, soxr.resample(sound, HEAR_RATE, SPEAK_RATE))
        words = wav.with_suffix(".json")
        return Played(_chunks(words) if words.is_file() else self.ear(sound), speech=speaker.ticks)


def needs(suite: str, cases: Sequence[Case]) -> set[str]:
    """What must be carried beside sound and the instructions of the opening."""
    found = {"transcript"} if suite in HEARING else set()
    for case in cases:
        found |= {"film"} if case.episode.film else set()
        found |= {"echo"} if case.echo_ms else set()
        found |= {"losses"} if not case.arrived.all() else set()
        found |= (
            {"decisions"} if any(e.kind in ("delegate", "cancel") for e in case.episode.expected) else set()
        )
        found |= {
            "history" if r.tick < 0 else r.channel.name.lower() for r in case.episode.reads if not _opens(r)
        }
    return found


def _opens(read: Any) -> bool:
    return bool(read.tick < 0 and read.channel is Channel.INSTRUCTIONS)


def instructions(case: Case) -> str:
    return "\n".join(read.text for read in case.episode.reads if _opens(read))


def _same(story: Path, case: Case) -> None:
    """What was saved beside a recording tells whether it answers another case."""
    if story.is_file():
        with reading(story):
            saved = [(e["start_ms"], e["text"]) for e in json.loads(story.read_text("utf-8"))["expected"]]
        if saved != [(e.start_ms, e.text) for e in case.episode.expected]:
            raise ValueError(f"{story.parent}: saved of another case: take its --n, --seed and --voices")


def _chunks(path: Path) -> tuple[Word, ...]:
    with reading(path):
        chunks = json.loads(path.read_text("utf-8"))["chunks"]
        times = [(chunk["timestamp"][0], chunk["timestamp"][1] or chunk["timestamp"][0]) for chunk in chunks]
        rows = zip(chunks, times, strict=True)
        return tuple(Word(chunk["text"].strip(), round(1000 * a), round(1000 * b)) for chunk, (a, b) in rows)


class Loudspeaker:
    """What a listener hears: sound as it comes, after what is still to be played."""

    def __init__(self, ticks: int) -> None:
        self.samples = np.zeros(ticks * SPEAK_SAMPLES, np.float32)
        self._end = 0

    def play(self, at_ms: float, sound: Floats) -> int:
        """The sample at which it begins."""
        start = max(self._end, round(at_ms * MS))
        room = self.samples[start : start + len(sound)]
        room[:] = sound[: len(room)]
        self._end = start + len(sound)
        return start

    def stop(self, at_ms: float) -> bool:
        """What was not played by then never is. Whether there was any."""
        cut = self._end > round(at_ms * MS)
        self._end = min(self._end, round(at_ms * MS))
        self.samples[self._end :] = 0
        return cut

    def words(self, ear: Ear) -> tuple[Word, ...]:
        return ear(soxr.resample(self.samples, SPEAK_RATE, HEAR_RATE)) if self.samples.any() else ()

    @property
    def ticks(self) -> tuple[Floats, ...]:
        return tuple(self.samples.reshape(-1, SPEAK_SAMPLES))


@dataclass
class Talk:
    """One case going on: its clock and its loudspeaker."""

    case: Case
    clock: WallClock = field(default_factory=WallClock)
    began: float = 0.0

    def __post_init__(self) -> None:
        self.began = self.clock.now()
        self.speaker = Loudspeaker(self.case.episode.ticks)
        self.pcm = pcm(soxr.resample(self.case.samples, HEAR_RATE, SPEAK_RATE))

    @property
    def ms(self) -> float:
        return 1000 * (self.clock.now() - self.began)

    async def send(
        self, sound: Callable[[bytes], Awaitable[None]], tick: Callable[[int], Awaitable[None]] | None = None
    ) -> None:
        """The sound as fast as time passes, a piece when it is over; `tick` is called as each begins."""
        self.began = self.clock.now()
        for ms in range(0, self.case.episode.ticks * TICK_MS, PIECE_MS):
            if tick is not None and ms % TICK_MS == 0:
                await tick(tick_of(ms))
            await asyncio.sleep(max(0.0, (ms + PIECE_MS - self.ms) / 1000))
            if self.case.arrived[tick_of(ms)]:
                await sound(self._mixed(ms, self.pcm[2 * MS * ms : 2 * MS * (ms + PIECE_MS)]))
        await asyncio.sleep(LAST_S)

    def _mixed(self, ms: int, piece: bytes) -> bytes:
        """With what comes back of the loudspeaker, where something does."""
        if not self.case.echo_ms or ms < self.case.echo_ms:
            return piece
        first = (ms - self.case.echo_ms) * MS
        own = self.speaker.samples[first : first + len(piece) // 2]
        return pcm(unpcm(piece) + own * np.float32(10 ** (self.case.echo_db / 20)))


async def until(sending: asyncio.Task[None], receiving: asyncio.Task[None]) -> None:
    """Whichever ends first, or fails, ends both."""
    try:
        done, _ = await asyncio.wait((sending, receiving), return_when="FIRST_COMPLETED")
        for task in done:
            task.result()
    finally:
        for task in (sending, receiving):
            task.cancel()
            with suppress(asyncio.CancelledError, ConnectionError, ConnectionClosed):
                await task


def pcm(sound: Floats) -> bytes:
    return np.round(np.clip(sound, -1, 1) * 32767).astype("<i2").tobytes()


def unpcm(data: bytes) -> Floats:
    return np.frombuffer(data, "<i2").astype(np.float32) / np.float32(32767)


def told(pieces: Sequence[tuple[int, int, str]]) -> tuple[Word, ...]:
    """Pieces of text with their times, as words. A piece that begins with a space begins a word."""
    words: list[Word] = []
    for start, end, text in pieces:
        for part in re.findall(r"\s*\S+|\s+$", text):
            if words and not part[0].isspace():
                words[-1] = Word(words[-1].text + part, words[-1].start_ms, end)
            else:
                words.append(Word(part.strip(), start, end))
    return tuple(word for word in words if word.text)


async def _duplex(target: Target, case: Case) -> Played:
    talk, driven = Talk(case), "pace=driven" in target.where
    pace = "driven" if driven else "live"
    async with duplex(target.where, instructions=instructions(case), pace=pace, key=target.key) as line:

        async def push() -> None:
            if not driven:
                return await talk.send(line.send)
            for start in range(0, len(talk.pcm), 2 * SPEAK_SAMPLES):
                await line.send(talk.pcm[start : start + 2 * SPEAK_SAMPLES])
            await line.end()
            await asyncio.Event().wait()  # the other side ends it

        async def pull() -> None:
            number = 0
            async for sound in line:
                number += 1  # the answer to a tick is heard from the next one on
                talk.speaker.play(start_ms(number) if driven else talk.ms, unpcm(sound))

        await until(asyncio.create_task(push()), asyncio.create_task(pull()))
    return Played(await asyncio.to_thread(talk.speaker.words, target.ear), speech=talk.speaker.ticks)


async def _live(target: Target, case: Case) -> Played:
    talk = Talk(case)
    said: list[tuple[int, int, str]] = []
    heard: list[tuple[int, int, str]] = []
    made: list[tuple[int, Decision]] = []
    delegated: list[tuple[int, Decision]] = []
    # drawn before the clock of the session begins
    film = case.episode.film.frames(FRAME, case.episode.ticks) if case.episode.film else []
    async with live(target.where, instructions=instructions(case), ticks=True, key=target.key) as session:
        give = _giver(case, film, session)

        async def pull() -> None:
            async for event in session:
                match event:
                    case Audio():
                        talk.speaker.play(talk.ms, unpcm(event.pcm))
                    case Said():
                        said.append((event.start_ms, event.end_ms, event.text))
                    case HeardEvent():
                        heard.append((event.start_ms, event.end_ms, event.text))
                    case Tick(decision=("delegate" | "cancel") as what):
                        made.append((event.tick, Decision[what.upper()]))
                    case Delegated():
                        delegated.append((tick_of(event.offset_ms), Decision.DELEGATE))
                    case Failed():
                        raise ValueError(f"{target.name}: {event.error.message}")

        await until(asyncio.create_task(talk.send(session.send_audio, give)), asyncio.create_task(pull()))
    transcript = tuple(Heard(word.text, tick_of(word.start_ms)) for word in told(heard))
    return Played(told(said), transcript, tuple(made or delegated), talk.speaker.ticks)


def _giver(case: Case, film: Sequence[Bytes | None], session: Session) -> Callable[[int], Awaitable[None]]:
    """Gives what is seen and read, as each tick begins."""
    send = {
        Channel.TYPED: session.send_text,
        Channel.INSTRUCTIONS: session.instruct,
        Channel.BACKGROUND: _result(session),
    }

    async def give(tick: int) -> None:
        if film and (frame := film[tick]) is not None and case.arrived[tick]:
            Image.fromarray(frame).save(file := BytesIO(), "JPEG", quality=95)
            await session.send_frame(file.getvalue())
        for read in case.episode.reads:
            if read.tick == tick:
                await send[read.channel](read.text)

    return give


def _result(session: Session) -> Callable[[str], Awaitable[None]]:
    """Gives what came of delegated work without the label that the other side's inbox writes before it."""

    async def give(text: str) -> None:
        label, _, quoted = text.partition(": ")
        await (session.think if label.startswith("thinking") else session.comment)(quoted.strip('"'))

    return give


def lived(kept: Kept, ticks: int) -> Played:
    """What the user got of it, in the time of the case."""
    # what the server calls 0 ms, as it looks from here: the quickest tick tells
    origin = min(ms - (e["tick"] + 1) * TICK_MS for ms, e in kept.events if e["type"] == "session.tick")
    said: list[tuple[int, int, str]] = []
    heard: list[tuple[int, int, str]] = []
    made: list[tuple[int, Decision]] = []
    for _, event in kept.events:
        match event["type"]:
            case "session.output_transcript.delta" | "session.input_transcript.delta" as kind:
                row = (round(event["start_ms"] + origin), round(event["end_ms"] + origin), event["delta"])
                (said if "output" in kind else heard).append(row)
            case "session.tick" if event["decision"] in ("delegate", "cancel"):
                made.append((tick_of(event["tick"] * TICK_MS + origin), Decision[event["decision"].upper()]))
    whole = np.zeros(ticks * SPEAK_SAMPLES, np.float32)
    whole[: min(len(whole), len(kept.came))] = kept.came[: len(whole)]
    transcript = tuple(Heard(word.text, tick_of(word.start_ms)) for word in told(heard))
    return Played(told(said), transcript, tuple(made), tuple(whole.reshape(-1, SPEAK_SAMPLES)))


async def _page(target: Target, case: Case) -> Played:
    """Through a browser, see browser.py."""
    where = f"{target.where}#key={target.key}" if target.key else target.where
    return lived(await converse(where, case), case.episode.ticks)


async def _realtime(target: Target, case: Case) -> Played:
    """OpenAI's Realtime API with the turn detection that it has; the client stops playing when it says so."""
    talk = Talk(case)
    where = (
        target.where if "://" in target.where else f"wss://api.openai.com/v1/realtime?model={target.where}"
    )
    format = {"type": "audio/pcm", "rate": SPEAK_RATE}
    item, first_ms = "", 0.0
    socket = await open_socket(where, target.key)

    async def send(**event: object) -> None:
        await socket.send(json.dumps(event))

    async def push() -> None:
        sound = {
            "input": {"format": format, "turn_detection": {"type": "server_vad"}},
            "output": {"format": format},
        }
        config = {"type": "realtime", "output_modalities": ["audio"], "audio": sound}
        await send(type="session.update", session={**config, "instructions": instructions(case)})
        await talk.send(
            lambda piece: send(type="input_audio_buffer.append", audio=base64.b64encode(piece).decode())
        )

    async def pull() -> None:
        nonlocal item, first_ms
        async for message in socket:
            event = json.loads(message)
            match event["type"]:
                case "response.output_audio.delta" | "response.audio.delta":
                    if event.get("item_id", "") != item:
                        item, first_ms = event.get("item_id", ""), talk.ms
                    talk.speaker.play(talk.ms, unpcm(base64.b64decode(event["delta"])))
                case "input_audio_buffer.speech_started":
                    if talk.speaker.stop(talk.ms) and item:
                        heard = max(0, round(talk.ms - first_ms))
                        await send(
                            type="conversation.item.truncate",
                            item_id=item,
                            content_index=0,
                            audio_end_ms=heard,
                        )
                        item = ""
                case "error":
                    raise ValueError(f"{target.name}: {event['error']['message']}")

    try:
        await until(asyncio.create_task(push()), asyncio.create_task(pull()))
    finally:
        await socket.close()
    return Played(await asyncio.to_thread(talk.speaker.words, target.ear), speech=talk.speaker.ticks)

"""The context package: everything that background work may need to know of a conversation, in bounded room.

`Recent` keeps the conversation's events, sound and pictures as they happen; `build` makes the package of one
delegation out of it. Words that the model said are those that were played, because events are listed so.
`python -m microturn.background --schema` prints the JSON schema of a package.
"""

from __future__ import annotations

import io
import re
import wave
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta
from PIL import Image

from microturn.clock import HEAR_RATE, HEAR_SAMPLES, TICKS_PER_SECOND, end_ms, start_ms
from microturn.events import Event
from microturn.streams import Bytes, Channel, Floats, Perception, joined

T = TypeVar("T")
Who = Literal["user", "model", "typed", "background", "history"]
CHANNELS: dict[Channel, Who] = {
    Channel.TYPED: "typed",
    Channel.BACKGROUND: "background",
    Channel.HISTORY: "history",
}
PAUSE_MS = 1_000  # a longer silence of a speaker begins a new line
LINE = 500  # characters of speech after which a new line begins
INSTRUCTIONS = 32  # appended ones that are kept, the latest
RULES = 16  # of a conversation so old that its transcript is left out
_ASKED = r"(tell|say|call|let|warn) .{0,60}\b(when|once|as soon as)"
_LENGTH = r"(every|each|another|when|in|after|wait|time|of|at|to|with) (\w+ ){1,3}(second|minute|hour)s?"
_GIVEN = r"(every|each|any) time|whenever|when (i|you|he|she|they)|(if|once) i|if you (hear|see)"
RULE = re.compile(
    rf"\b({_GIVEN}|{_ASKED}|{_LENGTH}|remind|timer|alarm|from now on|always|never|until|till)\b", re.I
)
FRAME_EVERY = TICKS_PER_SECOND  # ticks between pictures that are kept

Milliseconds = Annotated[int, Meta(ge=0, description="media time since the session began")]


@dataclass(frozen=True)
class Budget:
    text: int = 24_000  # characters
    audio_s: int = 20
    frames: int = 2


@dataclass(frozen=True)
class Line:
    """What somebody said, typed or was told, without a longer pause."""

    start_ms: Milliseconds
    end_ms: Milliseconds
    who: Who
    text: str


class State(StrEnum):
    OPEN = "open"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(frozen=True)
class Earlier:
    """A delegation before this one; an open one is still being worked on."""

    id: str
    at_ms: Milliseconds
    asked: str  # the user's latest words then
    state: State
    results: tuple[str, ...]


@dataclass(frozen=True)
class Sound:
    """The last seconds that came from the user's microphone, 16 kHz mono; silence where nothing came."""

    start_ms: Milliseconds
    wav: bytes


@dataclass(frozen=True)
class Still:
    at_ms: Milliseconds
    jpeg: bytes


@dataclass(frozen=True)
class ContextPackage:
    """A conversation as the background model gets it at the tick that delegated."""

    delegation: str
    at_ms: Milliseconds
    instructions: tuple[str, ...]  # at opening, then as they were appended
    transcript: tuple[Line, ...]
    pending: tuple[str, ...] = ()  # what the user said that sounds like a rule or a timer, however long ago
    earlier: tuple[Earlier, ...] = ()
    audio: Sound | None = None
    frames: tuple[Still, ...] = ()
    heard: Annotated[str, Meta(description="what the user said last, if a recogniser was asked")] = ""
    omitted: Annotated[int, Meta(ge=0, description="older texts left out to keep within the budget")] = 0
    format: Literal[1] = 1

    def to_json(self) -> bytes:
        """Sound and pictures are base64."""
        return msgspec.json.encode(self)

    def asked(self, lines: int = 1) -> str:
        """The user's latest words: what is most likely to have been delegated."""
        told = [line for line in self.transcript if line.who in ("user", "typed")][-lines:]
        if self.heard and lines == 1 and (not told or told[0].who == "user"):
            return self.heard
        return " ".join(line.text for line in told)

    def bare(self) -> ContextPackage:
        """It, without sound and pictures."""
        return replace(self, audio=None, frames=())

    def question(self) -> ContextPackage:
        """Nothing but what was asked."""
        last = [line for line in self.transcript if line.who in ("user", "typed")][-1:]
        return replace(self.bare(), instructions=(), pending=(), earlier=(), transcript=tuple(last))

    def utterance(self) -> bytes:
        """The sound of what the user said last, as WAV; empty where there is none."""
        if self.audio is None:
            return b""
        began = next((line.start_ms for line in reversed(self.transcript) if line.who == "user"), 0)
        with wave.open(io.BytesIO(self.audio.wav)) as wav:
            since = (began - PAUSE_MS - self.audio.start_ms) * HEAR_RATE // 1000
            wav.setpos(min(max(0, since), wav.getnframes()))
            return _wav(wav.readframes(wav.getnframes()))

    def told(self) -> str:
        """The package as text, one line each: no text can pass for a line of somebody else's."""
        parts = [f"Instruction: {text}" for text in self.instructions]
        parts += [f"Pending: {text}" for text in self.pending]
        parts += [f"Asked before: {e.asked} ({e.state}) {' '.join(e.results)}" for e in self.earlier]
        parts += [f"[{line.start_ms / 1000:.1f} s] {line.who}: {line.text}" for line in self.transcript]
        if self.heard:
            parts.append(f"What the user said last, by a recogniser: {self.heard}")
        parts.append(f"[{self.at_ms / 1000:.1f} s] The work was delegated.")
        return "\n".join(" ".join(part.split()) for part in parts)


def schema() -> dict[str, Any]:
    return msgspec.json.schema(ContextPackage)


@dataclass
class Recent:
    """What happened lately, tick by tick, in bounded memory."""

    budget: Budget = field(default_factory=Budget)
    instructions: list[str] = field(default_factory=list)
    lines: deque[Line] = field(default_factory=deque)
    omitted: int = 0
    tick: int = -1  # the last one
    _text: int = 0  # characters in lines
    _audio: deque[Floats | None] = field(default_factory=deque)
    _frames: deque[tuple[int, Bytes]] = field(default_factory=deque)
    _rules: deque[str] = field(default_factory=lambda: deque(maxlen=RULES))  # of lines left out

    def read(self, events: Sequence[Event]) -> None:
        """Take in events only, as those of the opening."""
        for event in events:
            if event.type == "read" and event.channel is Channel.INSTRUCTIONS:
                self.instructions.append(event.text or "")
                del self.instructions[1:-INSTRUCTIONS]
            elif event.type == "read" and event.channel is not None:
                self._add(CHANNELS[event.channel], event)
            elif event.type in ("hear", "say"):
                self._add("user" if event.type == "hear" else "model", event)

    def follow(self, tick: int, perception: Perception, events: Sequence[Event]) -> None:
        """Take in one tick, with its events as `EventLog.follow` gives them."""
        self.tick = tick
        self.read(events)
        self._audio.append(perception.audio)
        if len(self._audio) > self.budget.audio_s * TICKS_PER_SECOND:
            self._audio.popleft()
        if perception.frame is not None and self.budget.frames:
            if len(self._frames) > 1 and tick - self._frames[-2][0] < FRAME_EVERY:
                self._frames.pop()  # the latest is always kept, those before it are a second apart
            self._frames.append((tick, perception.frame))
            if len(self._frames) > self.budget.frames:
                self._frames.popleft()

    def build(self, delegation: str, earlier: tuple[Earlier, ...] = ()) -> ContextPackage:
        """The package of the delegation that was made in the tick followed last, without sound and pictures."""
        package = ContextPackage(
            delegation=delegation,
            at_ms=end_ms(self.tick),
            instructions=tuple(self.instructions),
            transcript=tuple(self.lines),
            pending=tuple(self._rules) + tuple(line.text for line in self.lines if _rule(line)),
            earlier=earlier,
            omitted=self.omitted,
        )
        return fit(package, self.budget.text)

    def media(self) -> Callable[[ContextPackage], ContextPackage]:
        """What puts sound and pictures, as they are now, into a package. That is slow: call it in a thread."""
        first, chunks, frames = self.tick + 1 - len(self._audio), tuple(self._audio), tuple(self._frames)
        return lambda package: replace(
            package,
            audio=_sound(first, chunks),
            frames=tuple(Still(start_ms(tick), _jpeg(frame)) for tick, frame in frames),
        )

    def _add(self, who: Who, event: Event) -> None:
        text, start, end = event.text or "", max(0, start_ms(event.tick)), max(0, end_ms(event.tick))
        for i in range(len(self.lines) - 1, max(-1, len(self.lines) - 4), -1):  # both may be talking
            line = self.lines[i]
            if who != line.who or event.type == "read" or start - line.end_ms >= PAUSE_MS:
                continue
            if len(line.text) + len(text) <= LINE:
                self.lines[i] = replace(line, end_ms=end, text=line.text + text)
                self._text += len(text)
                return
        if not (text := text.strip()[: self.budget.text // 2]):
            return
        self._text += len(text)
        self.lines.append(Line(start, end, who, text))
        while self._text > self.budget.text:
            line = self.lines.popleft()
            self._text -= len(line.text)
            self.omitted += 1
            if _rule(line):
                self._rules.append(line.text)


def fit(package: ContextPackage, room: int) -> ContextPackage:
    """Leave out the oldest first until the texts have at most `room` characters.

    What the session was opened with is only ever cut, and to half; then comes what was appended to it, what is
    pending, earlier work, and the conversation has the rest.
    """
    opening = tuple(text[: room // 2] for text in package.instructions[:1])
    room -= sum(map(len, opening))
    appended, room = _newest(package.instructions[1:], len, room)
    pending, room = _newest(package.pending, len, room)
    earlier, room = _newest(package.earlier, lambda e: sum(map(len, (e.asked, *e.results))), room)
    transcript, room = _newest(package.transcript, lambda line: len(line.text), room)
    fitted = replace(
        package,
        instructions=opening + appended,
        pending=pending,
        earlier=earlier,
        transcript=transcript,
    )
    return replace(fitted, omitted=package.omitted + _texts(package) - _texts(fitted))


def _newest(items: tuple[T, ...], size: Callable[[T], int], room: int) -> tuple[tuple[T, ...], int]:
    """The longest tail that fits, and the room that is left."""
    first = len(items)
    while first and size(items[first - 1]) <= room:
        first -= 1
        room -= size(items[first])
    return items[first:], room


def _texts(package: ContextPackage) -> int:
    return sum(map(len, (package.instructions, package.pending, package.earlier, package.transcript)))


def _rule(line: Line) -> bool:
    """Only decides what the background model is told; the interaction model decides what it means."""
    return line.who in ("user", "typed") and RULE.search(line.text) is not None


def _sound(first_tick: int, chunks: Sequence[Floats | None]) -> Sound | None:
    if all(chunk is None for chunk in chunks):
        return None
    samples = joined(chunks, HEAR_SAMPLES).clip(-1, 1)
    return Sound(start_ms(first_tick), _wav((samples * 32767).astype("<i2").tobytes()))


def _wav(pcm: bytes) -> bytes:
    with io.BytesIO() as file:
        with wave.open(file, "wb") as wav:
            wav.setnchannels(1)
            wav.setsampwidth(2)
            wav.setframerate(HEAR_RATE)
            wav.writeframes(pcm)
        return file.getvalue()


def _jpeg(frame: Bytes) -> bytes:
    with io.BytesIO() as file:
        Image.fromarray(frame).save(file, "JPEG", quality=85)
        return file.getvalue()

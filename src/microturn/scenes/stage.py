"""The timeline of one episode while a scene composes it: what fits, what is free, what follows from what.

Scenes put causes on the stage only together with what follows from them, so that dropping one drops both.
"""

import random
from collections.abc import Iterator
from itertools import pairwise

from microturn.clock import TICKS_PER_SECOND, start_ms
from microturn.scenes.episode import (
    Clip,
    Episode,
    Expected,
    Placed,
    Read,
    Say,
    Script,
    pace,
    react,
    spoken_ms,
)
from microturn.streams import LEAD_TICKS, Channel, Decision

READ_CHARACTERS = 8  # at least so many characters of a text are read in a tick: four pieces
REPLY_MS = 2000  # an answer that begins later than this after its question is no answer
WINDOW_MS = 400  # half the window of a timed utterance
CUE_MS = 800  # a cue's answer begins within this after the cue's end
SHOWN_WORDS = 8  # of an answer's words the record holds the first few


class Stage:
    def __init__(self, script: Script, clips: tuple[Clip, ...], seconds: float) -> None:
        if len(clips) != len(script.lines):
            raise ValueError(f"{script.scene}: {len(script.lines)} lines but {len(clips)} clips")
        for line, clip in zip(script.lines, clips, strict=True):
            if len(clip.words) != len(line.text.split()):
                raise ValueError(f"{script.scene}: {len(clip.words)} word times for “{line.text}”")
        self.script = script
        self.clips = clips
        self.ticks = round(seconds * TICKS_PER_SECOND)
        self.ms = start_ms(self.ticks)
        self.placed: list[Placed] = []
        self.reads: list[Read] = []
        self.says: list[Say] = []
        self.expected: list[Expected] = []
        self.decisions: list[tuple[int, Decision]] = []
        self.noisy: bool | None = None

    def at(self, line: int, at_ms: float, gain_db: float = 0.0) -> Placed:
        """Line number `line` as it would be placed; `put` commits it."""
        return Placed(self.clips[line], max(0, round(at_ms)), self.script.lines[line].who, gain_db)

    def fits(self, placed: Placed) -> bool:
        return placed.end_ms <= self.ms

    def put(self, *placed: Placed) -> None:
        self.placed += placed

    def free(self, *says: Say) -> bool:
        """Whether these could be said: within the episode, over nothing else that the model says."""
        taken = [(s.at_ms, said_end(s)) for s in (*self.says, *says)]
        taken.sort()
        apart = all(end <= start for (_, end), (start, _) in pairwise(taken))
        return apart and (not taken or taken[-1][1] <= self.ms)

    def say(self, *says: Say) -> None:
        self.says += says

    def expect(self, *expected: Expected) -> None:
        self.expected += expected

    def answer(self, say: Say, heard_ms: float) -> None:
        """Say it, and expect it as the reply to what ended at `heard_ms`."""
        self.say(say)
        self.expect(reply_to(say, heard_ms))

    def cued(self, say: Say, heard_ms: float, within_ms: int = CUE_MS) -> None:
        """Say it, and expect it to begin soon after what ended at `heard_ms`."""
        self.say(say)
        self.expect(Expected("say", round(heard_ms), round(heard_ms) + within_ms, say.text))

    def turn(self, line: int, at_ms: float, answer: str) -> int | None:
        """Place a line and what is said to it, if anything; when (ms) both have ended. None: there is no room."""
        placed = self.at(line, at_ms)
        heard = heard_end(placed)
        say = Say(answer, react(heard))
        if not self.fits(placed) or (answer and not self.free(say)):
            return None
        self.put(placed)
        if not answer:
            return heard
        self.answer(say, heard)
        return said_end(say)

    def read(self, text: str, tick: int, channel: Channel) -> Read:
        read = Read(tick, channel, text)
        self.reads.append(read)
        return read

    def episode(self) -> Episode:
        """Where nothing is to be said, all of it is to be quiet."""
        if not self.says and (silence := quiet(0, self.ms)) not in self.expected:
            self.expect(silence)
        return Episode(
            scene=self.script.scene,
            seed=self.script.seed,
            ticks=self.ticks,
            placed=tuple(sorted(self.placed, key=lambda p: (p.at_ms, p.who))),
            reads=tuple(sorted(self.reads, key=lambda r: r.tick)),
            says=tuple(sorted(self.says, key=lambda s: s.at_ms)),
            decisions=tuple(self.decisions),
            noisy=self.noisy,
            expected=tuple(sorted(self.expected, key=lambda e: (e.start_ms, e.end_ms, e.kind))),
        )


def heard_end(placed: Placed) -> int:
    """When (ms) the last word ends."""
    return placed.word_end(-1)


def said_end(say: Say) -> int:
    """When (ms) the model is silent again."""
    words = pace(say)
    return words[-1].end_ms if words else say.at_ms


def said_words(say: Say) -> str:
    return " ".join(word.text for word in pace(say))


def reply_to(say: Say, heard_ms: float) -> Expected:
    words = said_words(say).split()[:SHOWN_WORDS]
    return Expected("reply", round(heard_ms), round(heard_ms) + REPLY_MS, " ".join(words))


def read_ms(read: Read) -> int:
    """The start (ms) of the tick by which the text has certainly been read whole."""
    if read.tick < 0:
        return 0
    return start_ms(read.tick + (len(read.text) - 1) // READ_CHARACTERS)


def answer_read(read: Read) -> int:
    """When (ms) an answer to a typed text begins to play."""
    return read_ms(read) + start_ms(LEAD_TICKS)


def quiet(start: float, end: float) -> Expected:
    return Expected("quiet", round(start), round(end))


def lines_for(rng: random.Random, seconds: float, make: Iterator[str]) -> list[str]:
    """As many of the texts as take about `seconds` to say, and at least one."""
    lines: list[str] = []
    left = seconds * 1000
    while not lines or left > 0:
        text = next(make)
        lines.append(text)
        left -= say_ms(text) + rng.uniform(300, 1500)
    return lines


def say_ms(text: str) -> int:
    """About how long a person takes to say this."""
    return sum(spoken_ms(word) for word in text.split())

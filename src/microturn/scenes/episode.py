"""What a scene makes: who says what when, what the model should do about it, and how to score it.

A scene works in two steps, so that the same code makes training data and tests. `script` draws the words
from a seed: every line anybody will say. The lines are then spoken by some voice (a bank, a synthesiser, a
person) and come back as clips with exact word times. `compose` places the clips in time and, because it
knows when every word ends, knows the exact tick of everything the model should do.

Times are milliseconds of media time. The model's words are timed by when they are *played*: a piece decided
in step k is played in tick k + LEAD_TICKS. `react` gives the earliest playing tick after something was
heard.
"""

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from microturn.clock import TICK_MS, start_ms, tick_of
from microturn.streams import LEAD_TICKS, Bytes, Channel, Decision, Floats

HEARD_MS = 80  # a word counts as heard this long after its end
LAST_MS = 240  # by which the last word of all is held longer, if nothing follows
PACES = Path(__file__).with_name("paces.json")  # ms of words, made by `python -m microturn.train.mouth paces`


@dataclass(frozen=True)
class Word:
    text: str
    start_ms: int
    end_ms: int


@dataclass(frozen=True)
class Clip:
    """One spoken line. Word times are relative to its start."""

    text: str
    voice: str
    words: tuple[Word, ...]
    mel: Bytes  # [frames, 64] at 10 ms, see model/ears.py to_bytes
    samples: Floats | None = None  # 16 kHz, where a waveform is wanted

    @property
    def ms(self) -> int:
        return len(self.mel) * 10


@dataclass(frozen=True)
class Line:
    """Something somebody will say. `who` 0 is the user; others do not talk to the model.

    A word may name its language (`es:manzana`, `fr:pomme`); the others are English. `manner` is how the line is
    said: whisper, shout, hurry, or plainly.
    """

    text: str
    who: int = 0
    manner: str = ""


@dataclass(frozen=True)
class Script:
    scene: str
    seed: int
    lines: tuple[Line, ...]
    facts: dict[str, Any] = field(default_factory=dict)  # what `script` tells `compose`


@dataclass(frozen=True)
class Placed:
    """A clip on the timeline."""

    clip: Clip
    at_ms: int
    who: int = 0
    gain_db: float = 0.0

    @property
    def end_ms(self) -> int:
        return self.at_ms + self.clip.ms

    def word_end(self, index: int) -> int:
        return self.at_ms + self.clip.words[index].end_ms

    def word_start(self, index: int) -> int:
        return self.at_ms + self.clip.words[index].start_ms


@dataclass(frozen=True)
class Read:
    """Text that reaches the model. Tick −1 is read at opening."""

    tick: int
    channel: Channel
    text: str


@dataclass(frozen=True)
class Say:
    """Words the model should say, played from `at_ms` (a tick boundary) at a natural pace.

    When the model should stop early, `until_ms` (a tick boundary) is where it is silent again; words that
    would not have begun by then are never said. `soft` marks a backchannel.
    """

    text: str
    at_ms: int
    until_ms: int | None = None
    soft: bool = False


@dataclass(frozen=True)
class Expected:
    """One line of the scoring record; BENCHMARKS.md says what each suite does with it.

    kind: say (text within a window), halt (no old content after `start_ms`), carry_on (text goes on
    unbroken over the window), pause (nobody may be taken over within it), reply (text, latency from
    `start_ms`), clause_end (a backchannel fits within it), quiet (anything said within it is false),
    delegate and cancel (the decision of that name is made within it), order (the last read-back), need (what is
    expected from the same moment on needs something that was told long before).
    """

    kind: str
    start_ms: int
    end_ms: int
    text: str = ""


class Film(Protocol):
    """What the camera shows: the same frames for the same size, drawn when they are asked for."""

    def frames(self, size: tuple[int, int], ticks: int) -> list[Bytes | None]:
        """What is visible at the end of each tick, [height, width, 3] RGB; None: no frame came."""


@dataclass(frozen=True)
class Episode:
    scene: str
    seed: int
    ticks: int
    placed: tuple[Placed, ...] = ()
    reads: tuple[Read, ...] = ()
    says: tuple[Say, ...] = ()
    decisions: tuple[tuple[int, Decision], ...] = ()  # step, decision, where it is neither LISTEN nor SPEAK
    expected: tuple[Expected, ...] = ()
    film: Film | None = None  # no camera
    noisy: bool | None = None  # a noisy or a quiet place; None: any
    told: bool = False  # nobody spoke: the words of the user are given to the model as what it heard
    undecided: bool = False  # what is asked in it is not answered: it teaches hearing, and not when to speak


class Scene(Protocol):
    """One skill. Both steps are deterministic in the random stream that they are given.

    `split` is "train" or "test": reserved wordings and words appear under "test" only.
    """

    name: str

    def script(self, rng: random.Random, split: str, seconds: float) -> Script: ...

    def compose(
        self, script: Script, clips: Sequence[Clip], rng: random.Random, seconds: float
    ) -> Episode: ...


_PACES: dict[str, int] = json.loads(PACES.read_text("utf-8")) if PACES.is_file() else {}


def react(heard_ms: float) -> int:
    """When (ms) the first word can be played that answers something whose last sound ends at `heard_ms`."""
    return start_ms(tick_of(heard_ms + HEARD_MS) + LEAD_TICKS)


def on_tick(ms: float) -> int:
    """The tick boundary nearest to `ms`."""
    return round(ms / TICK_MS) * TICK_MS


def spoken_ms(word: str) -> int:
    """How long the model's voice takes to say a word that others follow; by its letters if scenes do not say it."""
    if word in _PACES:
        return _PACES[word]
    vowels = sum(a in "aeiouy" and b not in "aeiouy" for a, b in zip(word, " " + word[:-1], strict=True))
    return max(120, 40 * len(word.replace("'", "")) + 60 * max(1, vowels))


def pace(say: Say) -> list[Word]:
    """The words of `say` with the times at which they are played, cut where it is cut."""
    words: list[Word] = []
    now = say.at_ms
    parts = say.text.split()
    for number, part in enumerate(parts, 1):
        word = part.rstrip(",.")
        if say.until_ms is not None and now >= say.until_ms:
            break
        end = now + spoken_ms(word) + (LAST_MS if number == len(parts) else 0)
        words.append(Word(word, now, end if say.until_ms is None else min(end, say.until_ms)))
        now = end + (250 if part[-1:] in ",." else 0)  # a comma is a breath
    return words

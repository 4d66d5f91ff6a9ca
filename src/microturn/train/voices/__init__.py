"""Voices that speak any line, with exact word times: to fill banks and run benchmarks, never to serve.

May import `scenes.episode` and `model.ears`. Where each comes from, and its licence: docs/data.md. The voices
in `RESERVED` are only for tests: no bank may hold them, and no mixture may be made of them.
"""

import re
from functools import lru_cache

from microturn.train.voices.engines import EngineVoice, relatives
from microturn.train.voices.hibari import SPEAKERS, TAPES, HibariVoice
from microturn.train.voices.machines import ESPEAK_VARIANTS, FLITE, EspeakVoice, FliteVoice
from microturn.train.voices.spoken import Spoken, Voice

__all__ = ["RESERVED", "Spoken", "Voice", "load_voice", "voice_names"]

KOKORO_TRAIN = (
    "af_alloy", "af_aoede", "af_bella", "af_heart", "af_jessica", "af_kore", "af_nova", "af_river",
    "af_sarah",
    "am_adam", "am_echo", "am_eric", "am_fenrir", "am_liam", "am_onyx", "am_santa",
    "bf_alice", "bf_isabella", "bf_lily", "bm_daniel", "bm_fable", "bm_lewis",
)  # fmt: skip
KOKORO_RESERVED = ("am_michael", "am_puck", "bf_emma", "bm_george", "af_nicole", "af_sky")
MIXTURES = 200
RESERVED = ("piper-joe", "flite-rms", *(f"kokoro-{style}" for style in KOKORO_RESERVED))


def voice_names(split: str) -> list[str]:
    """Every voice of a split: "train" or "test"."""
    if split == "test":
        return list(RESERVED)
    if split != "train":
        raise ValueError(f"split must be train or test, got {split!r}")
    return [
        "hibari",
        *(f"hibari-{number:03d}" for number in range(SPEAKERS)),
        *(f"tape-{number:03d}" for number in range(TAPES)),
        *(f"flite-{name}" for name in FLITE),
        *(f"espeak-{variant}" for variant in ESPEAK_VARIANTS),
        *(f"kokoro-{style}" for style in KOKORO_TRAIN),
        *_mixtures(),
        *relatives(),
    ]


def _mixtures() -> list[str]:
    """Pairs of Kokoro's styles with the share of the second."""
    count = len(KOKORO_TRAIN)
    names = []
    for number in range(MIXTURES):
        first, step = number % count, 1 + (number // count) * 2
        share = (0.3, 0.5)[number % 2]
        names.append(f"kokoro-{KOKORO_TRAIN[first]}+{KOKORO_TRAIN[(first + step) % count]}-{share}")
    return names


@lru_cache(maxsize=64)
def load_voice(name: str) -> Voice:
    family, _, rest = name.partition("-")
    if name == "hibari" or (family in ("hibari", "tape") and re.fullmatch(r"\d{3}", rest)):
        return HibariVoice(name)
    if family == "flite" and rest in (*FLITE, "rms"):
        return FliteVoice(name, rest)
    if family == "espeak" and rest in ESPEAK_VARIANTS:
        return EspeakVoice(name, rest)
    if name in relatives():
        return EngineVoice(name)
    if family == "kokoro":
        from microturn.train.voices.kokoro import KokoroVoice

        return KokoroVoice(name, rest)
    if name == "piper-joe":
        from microturn.train.voices.piper import PiperVoice

        return PiperVoice(name)
    raise ValueError(f"no voice {name!r}: see microturn.train.voices.voice_names")

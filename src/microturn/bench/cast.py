"""Who speaks in the tests: voices that training never heard, and every line that they have said.

Lines are kept under `bank/test` once they were spoken (16-bit samples and word times), since a natural
voice takes about as long to render as to listen to. A voice whose synthesiser is not installed is left out,
and said so.
"""

from __future__ import annotations

import hashlib
import os
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from microturn.model.ears import power_mel, to_bytes
from microturn.scenes.episode import Clip, Script, Word
from microturn.streams import Floats
from microturn.train.manner import sounding
from microturn.train.voices import Spoken, Voice, load_voice, voice_names
from microturn.train.voices.foreign import speaks
from microturn.train.voices.spoken import plain_words

FOLDER = Path("bank/test")
FULL = 32767  # of a 16-bit sample


def to_clip(spoken: Spoken, text: str, voice: str) -> Clip:
    mel = to_bytes(power_mel(torch.from_numpy(spoken.samples))).numpy()
    return Clip(text, voice, spoken.words, mel, spoken.samples)


@dataclass
class Cast:
    """Voices by name. `families` are drawn alike, however many voices each has."""

    names: tuple[str, ...]
    folder: Path = FOLDER
    load: Callable[[str], Voice] = load_voice
    notes: list[str] = field(default_factory=list)  # which voices cannot speak here, and why
    _families: dict[str, list[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        missing: dict[str, list[str]] = {}
        for name in self.names:
            try:
                self.clip("hello", name)
            except (ImportError, OSError, ValueError) as error:
                why = str(error).splitlines()[0] if str(error) else type(error).__name__
                missing.setdefault(why, []).append(name)
            else:
                self._families.setdefault(name.split("-")[0], []).append(name)
        self.notes += [f"left out: {', '.join(names)} ({why})" for why, names in missing.items()]
        if not self._families:
            raise ValueError(
                "no test voice can speak here: install a synthesiser (make voices does); "
                + "; ".join(self.notes[:1])
            )

    def voices(self, rng: random.Random, count: int, text: str = "") -> list[str]:
        """Different ones as long as there are any, of those that can say the text."""
        able = {f: names for f, names in self._families.items() if speaks(f, text)}
        if not able:
            raise ValueError(f"none of the voices here can say {text!r}: name kokoro- ones")
        drawn: list[str] = []
        while len(drawn) < count:
            name = rng.choice(able[rng.choice(sorted(able))])
            if name not in drawn or len(drawn) >= sum(map(len, able.values())):
                drawn.append(name)
        return drawn

    def clips(self, script: Script, rng: random.Random) -> list[Clip]:
        """Every line of the script, each person with a voice of their own."""
        people = sorted({line.who for line in script.lines} | {0})
        text = " ".join(line.text for line in script.lines)
        voices = dict(zip(people, self.voices(rng, len(people), text), strict=True))
        clips = [self.clip(line.text, voices[line.who]) for line in script.lines]
        return [sounding(clip, line.manner) for clip, line in zip(clips, script.lines, strict=True)]

    def clip(self, text: str, voice: str) -> Clip:
        key = hashlib.sha256(text.encode()).hexdigest()[:24]
        path = self.folder / voice / f"{key}.npz"
        names = plain_words(text)
        if path.is_file():
            with np.load(path) as stored:
                return _restored(stored["samples"], stored["times"], names, text, voice)
        spoken = self.load(voice).speak(text)
        samples = np.clip(np.round(spoken.samples * FULL), -FULL, FULL).astype(np.int16)
        times = np.array([(w.start_ms, w.end_ms) for w in spoken.words], np.int32)
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(f".{os.getpid()}.part.npz")
        np.savez(part, samples=samples, times=times)
        part.replace(path)  # a case that was interrupted leaves no half clip behind
        return _restored(samples, times, names, text, voice)


def _restored(
    samples: np.ndarray[tuple[int], np.dtype[np.int16]],
    times: np.ndarray[tuple[int, int], np.dtype[np.int32]],
    names: list[str],
    text: str,
    voice: str,
) -> Clip:
    sound: Floats = samples.astype(np.float32) / np.float32(FULL)
    words = tuple(Word(n, int(a), int(b)) for n, (a, b) in zip(names, times, strict=True))
    return to_clip(Spoken(sound, words), text, voice)


def test_cast() -> Cast:
    """The voices that are reserved for tests."""
    return Cast(tuple(voice_names("test")))

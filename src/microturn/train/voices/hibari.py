"""Hundreds of speakers out of one: hibari's speech taken apart and put together again.

hibari (PyPI hibari-tts 0.2.1, Apache-2.0) is one natural voice at 100× real time on one core. Its network
also computes how long each phoneme lasts, so exposing that tensor gives exact word times, and its own F0
curve spares a pitch tracker. WORLD (PyPI pyworld 0.3.5, MIT) takes the sound apart into spectrum and
aperiodicity; a speaker is what happens to them before they are put together: pitch and its range, length of
the vocal tract (children too), tilt and colour of the spectrum, breath, pace, and for some an accent. All
of it follows from the name, so "hibari-017" is the same person everywhere. "hibari" itself is the unchanged
voice.

Unusual: everything runs at WORLD's level with frames of 12.5 ms (hibari's own), at 16 kHz: RTF 0.06 in all.
The speakers of the family `tape` are made three times faster: their words are said slower or faster and played
back the other way, which moves pitch and throat together and leaves the pace.
Shapes: F frames of 12.5 ms, S = 513 spectrum bins.
"""

import hashlib
import random
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import soxr
from numpy.typing import NDArray

from microturn.clock import HEAR_RATE, SPEAK_RATE
from microturn.streams import Floats
from microturn.train.voices.spoken import Spoken, finish, plain_words

SPEAKERS = 600
TAPES = 600
FRAME_MS = 12.5
FRAME_SHIFT = HEAR_RATE // 160  # samples: hibari's frame k is centred half a frame after k · 12.5 ms
DURATIONS = "/Clip_output_0"  # frames of 25 ms for each phoneme, inside the graph
VOICED_HZ = 40.0  # hibari's F0 below this means unvoiced
LINKED_S = 0.11  # a gap shorter than this is no pause
PAUSES = ",.;:!?—… "
BETWEEN = "banana"  # stands where a foreign word will be said

STRESS = "ˈˌː"

Doubles = NDArray[np.float64]

# How learners and neighbours of American English say it; each accent draws a few of these.
ACCENT_CHOICES = (
    ("θ", "s"), ("θ", "t"), ("θ", "f"), ("ð", "d"), ("ð", "z"), ("ɪ", "i"), ("æ", "ɛ"), ("æ", "a"),
    ("ʌ", "ɑ"),
    ("v", "w"), ("ʤ", "ʒ"), ("ŋ", "n"), ("ʊ", "u"), ("ɾ", "t"), ("ɹ", "ɾ"), ("z", "s"), ("ᵊl", "O"),
    ("ɜɹ", "ɜ"),
)  # fmt: skip


@dataclass(frozen=True)
class Speaker:
    """What makes a speaker out of hibari. 1.0 and 0.0 leave things as they are."""

    pitch: float = 1.0  # × F0
    pitch_range: float = 1.0  # exponent around the median
    formants: float = 1.0  # × frequency of every resonance
    bend: float = 0.0  # extra warp of the middle of the spectrum: F2, F3 against F1, F4
    tilt_db: float = 0.0  # per octave above 500 Hz
    colour_db: tuple[float, ...] = ()  # amplitudes of cosines over the spectrum
    breath: float = 0.0  # 0 … 1, share of the harmonics that turns to noise
    pace: float = 1.0
    accent: tuple[tuple[str, str], ...] = ()
    tape: float = 1.0  # × playback speed: pitch and formants together


def speaker(name: str) -> Speaker:
    """The speaker of that name: "hibari" is the original, "hibari-000" … are drawn."""
    if name == "hibari":
        return Speaker()
    rng = random.Random(int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big"))
    if name.startswith("tape-"):
        accent = tuple(rng.sample(ACCENT_CHOICES, rng.randint(1, 5))) if rng.random() < 0.35 else ()
        return Speaker(pace=rng.uniform(0.8, 1.25), accent=accent, tape=rng.uniform(0.7, 1.35))
    kind = rng.random()
    if kind < 0.45:  # men
        pitch, formants = rng.uniform(0.45, 0.75), rng.uniform(0.80, 0.97)
    elif kind < 0.78:  # women
        pitch, formants = rng.uniform(0.72, 1.2), rng.uniform(0.92, 1.09)
    else:  # children
        pitch, formants = rng.uniform(1.05, 1.6), rng.uniform(1.06, 1.25)
    accented = rng.random() < 0.35
    return Speaker(
        pitch=pitch,
        pitch_range=rng.uniform(0.5, 1.5),
        formants=formants,
        bend=rng.uniform(-0.06, 0.06),
        tilt_db=rng.uniform(-3.0, 2.5),
        colour_db=tuple(rng.gauss(0, 1.6) for _ in range(6)),
        breath=max(0.0, rng.uniform(-0.25, 0.6)),
        pace=rng.uniform(0.8, 1.25),
        accent=tuple(rng.sample(ACCENT_CHOICES, rng.randint(1, 5))) if accented else (),
    )


@dataclass(frozen=True)
class Stretch:
    start: float  # seconds
    end: float


@dataclass(frozen=True)
class Said:
    """Plain hibari: sound with its F0 and word times."""

    samples: Floats  # [n] at 16 kHz
    f0_F: Doubles  # Hz, 0 where unvoiced
    spans: tuple[tuple[float, float], ...]  # seconds


def exposing(graph: Any, inside: str) -> Any:
    """An ONNX network, on one core, that also gives a tensor that is inside of it."""
    import onnx
    import onnxruntime as ort

    graph.graph.output.append(onnx.ValueInfoProto(name=inside))
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return ort.InferenceSession(graph.SerializeToString(), options, providers=["CPUExecutionProvider"])


class Teacher:
    """hibari with its phoneme durations exposed."""

    def __init__(self) -> None:
        import onnx
        from hibari import Hibari

        self._tts: Any = Hibari()
        self._net = exposing(onnx.load(self._tts.model_path), DURATIONS)

    def phonemes(self, text: str) -> list[str]:
        """One group for each word, each with the punctuation that follows it."""
        if ":" in text:  # a word in between keeps the rhythm of the sentence
            from microturn.train.voices.foreign import pronounced

            parts = text.split()
            said = self.phonemes(" ".join(BETWEEN if ":" in part else part for part in parts))
            both = zip(parts, said, strict=True)
            return [pronounced(part) if ":" in part else group for part, group in both]
        count = len(plain_words(text))
        groups: list[str] = " ".join(self._tts.phonemize(text)).split()
        if len(groups) == count:
            return groups
        alone = [" ".join(self._tts.phonemize(part)).replace(" ", "") for part in text.split()]
        if not all(part.strip(PAUSES) for part in alone):
            raise ValueError(f"no pronunciation for a word in {text!r}")
        return alone

    def phone_ends(self, groups: list[str], pace: float) -> list[Stretch]:
        """When each phone is said, in seconds: stress belongs to its vowel, a linking space to both sides."""
        known, ids = self.numbers(groups)
        lasts = self._net.run([DURATIONS], {"ids": ids, "speed": np.asarray([pace], np.float32)})[0]
        ends = np.cumsum(np.asarray(lasts).reshape(-1)) * 2 * FRAME_MS / 1000
        stretches: list[Stretch] = []
        start = float(ends[0])
        for at, (symbol, _) in enumerate(known, start=1):
            end = float(ends[at])
            if symbol in STRESS:
                continue
            if symbol == " " and stretches and end - stretches[-1].end < LINKED_S:
                start = (stretches[-1].end + end) / 2
                stretches[-1] = Stretch(stretches[-1].start, start)
            elif symbol in PAUSES:
                start = end
            else:
                stretches.append(Stretch(start, end))
                start = end
        return stretches

    def numbers(self, groups: list[str]) -> tuple[list[tuple[str, int]], NDArray[np.int64]]:
        vocabulary: dict[str, int] = self._tts.vocab
        known = [(c, vocabulary[c]) for c in " ".join(groups) if c in vocabulary]
        return known, np.asarray([[0, *(i for _, i in known), 0]], np.int64)

    def render(self, ids: NDArray[np.int64], pace: float, seed: int = 0) -> tuple[Floats, Floats, Floats]:
        """Sound at 24 kHz, F0 of its frames, and frames of 25 ms for each phoneme."""
        from hibari import dsp

        *parts, lasts = self._net.run(None, {"ids": ids, "speed": np.asarray([pace], np.float32)})
        lh, theta, ln, lr, phi, f0 = (part[0] for part in parts)
        sound = dsp.synth(lh, theta, ln, lr, phi, f0, np.random.default_rng(seed))
        return sound, f0, np.asarray(lasts).reshape(-1)

    def say(self, groups: list[str], pace: float = 1.0, tape: float = 1.0, seed: int = 0) -> Said:
        known, ids = self.numbers(groups)
        sound, f0, lasts = self.render(ids, pace / tape, seed)
        samples = np.asarray(soxr.resample(sound, SPEAK_RATE * tape, HEAR_RATE), np.float32)
        ends = np.cumsum(lasts) * 2 * FRAME_MS / 1000 / tape
        return Said(samples, np.where(f0 > VOICED_HZ, f0, 0.0).astype(np.float64), spans_of(known, ends))


def spans_of(known: list[tuple[str, int]], ends: Doubles) -> tuple[tuple[float, float], ...]:
    """Start and end of each word from when each phoneme ends; `ends[0]` belongs to the leading pad."""
    spans: list[tuple[float, float]] = []
    inside = False
    for at, (symbol, _) in enumerate(known, start=1):
        if symbol in PAUSES:
            inside = False
        elif inside:
            spans[-1] = (spans[-1][0], float(ends[at]))
        else:
            spans.append((float(ends[at - 1]), float(ends[at])))
            inside = True
    for i in range(len(spans) - 1):  # a short space between words is sound that belongs to both
        (start, end), (after, last) = spans[i], spans[i + 1]
        if after - end < LINKED_S:
            spans[i], spans[i + 1] = (start, (end + after) / 2), ((end + after) / 2, last)
    return tuple(spans)


@lru_cache(maxsize=1)
def teacher() -> Teacher:
    return Teacher()


class HibariVoice:
    def __init__(self, name: str) -> None:
        self.name, self.family = name, name.partition("-")[0]
        self.speaker = speaker(name)

    def speak(self, text: str) -> Spoken:
        who = self.speaker
        groups = teacher().phonemes(text)
        for heard, said in who.accent:
            groups = [group.replace(heard, said) for group in groups]
        said_plain = teacher().say(groups, who.pace, who.tape)
        samples = turn_into(who, said_plain) if self.name.startswith("hibari-") else said_plain.samples
        return finish(samples, text, said_plain.spans)


def turn_into(who: Speaker, said: Said) -> Floats:
    """The same words at the same times from somebody else."""
    import pyworld

    sound = said.samples.astype(np.float64)
    f0_F = said.f0_F
    middle_F = (np.arange(len(f0_F)) + 0.5) * FRAME_MS / 1000
    spectrum_FS = pyworld.cheaptrick(sound, f0_F, middle_F, HEAR_RATE)
    noise_FS = pyworld.d4c(sound, f0_F, middle_F, HEAR_RATE)
    bins = spectrum_FS.shape[1]
    source_S = _warp(who, bins)
    spectrum_FS = _take(spectrum_FS, source_S) * _colour(who, bins)
    noise_FS = _take(noise_FS, source_S) ** (1 - who.breath * np.linspace(0.3, 1.0, bins))
    voiced = f0_F > 0
    if voiced.any():
        median = float(np.median(f0_F[voiced]))
        f0_F = np.where(voiced, median * (np.maximum(f0_F, 1.0) / median) ** who.pitch_range * who.pitch, 0.0)
    made = pyworld.synthesize(
        f0_F, np.ascontiguousarray(spectrum_FS), np.ascontiguousarray(noise_FS), HEAR_RATE, FRAME_MS
    )
    return np.concatenate([np.zeros(FRAME_SHIFT), made]).astype(np.float32)


def _warp(who: Speaker, bins: int) -> Doubles:
    """For each bin of the new spectrum, the (fractional) bin of the old one that it shows."""
    at = np.arange(bins) / (bins - 1)  # 0 … 1 is 0 … 8 kHz
    source = at / who.formants + who.bend * at * np.exp(-((at - 0.25) ** 2) / 0.03)
    clipped: Doubles = np.clip(source * (bins - 1), 0, bins - 1)
    return clipped


def _take(frames_FS: Doubles, source_S: Doubles) -> Doubles:
    low = np.minimum(source_S.astype(np.int64), frames_FS.shape[1] - 2)
    part = source_S - low
    mixed: Doubles = frames_FS[:, low] * (1 - part) + frames_FS[:, low + 1] * part
    return mixed


def _colour(who: Speaker, bins: int) -> Doubles:
    """Power gain of each bin: a tilt above 500 Hz and a smooth colour."""
    hz = np.linspace(0, HEAR_RATE / 2, bins)
    db = who.tilt_db * np.log2(np.maximum(hz, 500) / 500)
    for n, amplitude in enumerate(who.colour_db, start=1):
        db += amplitude * np.cos(np.pi * n * np.log2(1 + hz / 700) / np.log2(1 + HEAR_RATE / 2 / 700))
    gain: Doubles = 10 ** (db / 10)
    return gain

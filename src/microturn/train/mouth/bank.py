"""A voice bank: one speaker's utterances as phonemes with frames, mels with pitch, and sound.

Everything lies on the frame grid of the vocoder (12.5 ms). An utterance begins with the first frame of its first
phoneme; frames after its last one are silence. Pitch is stored so that pulses that follow it from the stored first
phase stay in step with the sound (`in_step`): the vocoder can then learn phases, not only magnitudes.

A part is three files, `NAME-0000.{samples,frames}.npy` and `….index.npz`; the last is written last, so a builder
that is stopped loses at most a part. Shapes: P phonemes, F frames, N samples = 300·F.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from microturn.clock import SPEAK_RATE
from microturn.model.phonemes import BOUNDARY, NONE, PAUSE, SYMBOLS, from_ipa
from microturn.model.vocoder import CHANNELS, FRAME, PITCH, PITCH_CENTRE, PITCH_STEP, log_mel
from microturn.streams import Floats, Ints

INDEX, SAMPLES, FRAMES = ".index.npz", ".samples.npy", ".frames.npy"
PART = 400  # utterances
FRAMES_A_SECOND = SPEAK_RATE // FRAME
DRIFT = 0.06  # of a pitch, the most that staying in step may bend it
Doubles = NDArray[np.float64]


@dataclass(frozen=True)
class Utterance:
    text: str
    phonemes: Ints  # [P]
    lasts: Ints  # [P] frames of each; only a boundary may have none
    frames: Floats  # [F, 82]; those beyond the last phoneme are silence
    samples: NDArray[np.int16]  # [300·F]
    phase: float  # of the pulses before the first frame, cycles

    @property
    def seconds(self) -> float:
        return len(self.frames) / FRAMES_A_SECOND

    def labels(self) -> Ints:
        """Place in `phonemes` of what is said in each frame; P where it is over. [F]"""
        at = np.repeat(np.arange(len(self.phonemes)), self.lasts)
        return np.pad(at, (0, len(self.frames) - len(at)), constant_values=len(self.phonemes))

    def words(self) -> list[tuple[str, int]]:
        """Each word and the frame in which it begins; none where text and phonemes do not count alike."""
        starts = np.cumsum(self.lasts) - self.lasts
        between = np.isin(self.phonemes, (BOUNDARY, PAUSE))
        first = [i for i in np.flatnonzero(~between) if i == 0 or between[i - 1]]
        said = self.text.split()
        return list(zip(said, starts[first].tolist(), strict=True)) if len(said) == len(first) else []


def timed(symbols: str, frames: list[int]) -> tuple[list[int], list[int]]:
    """A synthesiser's symbols and how long each lasts → phonemes and theirs. Every frame stays with somebody."""
    ids: list[int] = []
    lasts: list[int] = []
    stress, carried = "", 0
    for symbol, count in zip(symbols, frames, strict=True):
        found = from_ipa(stress + symbol)
        if symbol in "ˈˌ" or (not found and not ids):
            stress, carried = symbol if symbol in "ˈˌ" else stress, carried + count
        elif not found:
            lasts[-1] += count
        elif ids and {ids[-1], found[-1]} <= {PAUSE, BOUNDARY}:
            ids[-1], lasts[-1] = min(ids[-1], found[-1]), lasts[-1] + count + carried
            carried = 0
        else:
            ids.append(found[-1])
            lasts.append(count + carried)
            stress, carried = "" if SYMBOLS[found[-1]][-1] in "012" else stress, 0
    if ids and ids[-1] not in (PAUSE, BOUNDARY):
        ids.append(BOUNDARY)
        lasts.append(0)
    return ids, lasts


def in_step(samples: Floats, hz_F: Doubles, voiced_F: NDArray[np.bool_]) -> tuple[Doubles, float]:
    """Pitch bent a little so that its pulses keep to the sound's own fundamental, and their first phase.

    Where pulses and sound disagree is seen by turning the sound back by the pulses' phase: what is left is a slow
    angle. Between voiced stretches pitch is free, so there the angle is caught up with.
    """
    if voiced_F.sum() < 4:
        return hz_F, 0.0
    node = np.arange(len(hz_F) + 1) * FRAME
    hz_N = np.interp(np.arange(1, len(hz_F) * FRAME + 1), node, np.concatenate([hz_F[:1], hz_F]))
    turned = samples[: len(hz_N)] * np.exp(-2j * np.pi * np.cumsum(hz_N) / SPEAK_RATE)
    sums = turned.reshape(-1, FRAME).sum(1)
    near = np.convolve(np.pad(sums, (2, 3)), np.ones(6), "valid")  # three frames on each side of a node
    at = np.flatnonzero(voiced_F)
    late = np.interp(np.arange(len(hz_F)), at, np.unwrap(np.angle(near[at])) / (2 * np.pi))
    bend = np.gradient(late) * FRAMES_A_SECOND
    return hz_F + np.clip(bend, -DRIFT * hz_F, DRIFT * hz_F), float(late[0] % 1.0)


def pulse_phase(utterance: Utterance) -> Doubles:
    """Phase of the pulses after each frame, cycles, as the vocoder sums it. [F]"""
    hz = np.exp(utterance.frames[:, PITCH].astype(np.float64) * PITCH_STEP + PITCH_CENTRE).clip(40.0, 800.0)
    before = np.concatenate([hz[:1], hz[:-1]])
    total = FRAME * before + (hz - before) * (FRAME + 1) / 2
    phase: Doubles = utterance.phase + np.cumsum(total) / SPEAK_RATE
    return phase


def heard(samples: Floats, hz_F: Doubles) -> tuple[Floats, float]:
    """Sound and its pitch at frame ends (0 = unvoiced) → frames [F, 82] and the first phase."""
    voiced = hz_F > 0
    count = len(hz_F)
    at = np.flatnonzero(voiced)
    smooth = np.exp(np.interp(np.arange(count), at, np.log(hz_F[at]))) if len(at) else np.full(count, 180.0)
    hz, phase = in_step(samples, smooth, voiced)
    frames = np.zeros((count, CHANNELS), np.float32)
    frames[:, :PITCH] = log_mel(torch.from_numpy(samples)[None])[0, :count].numpy()
    frames[:, PITCH] = (np.log(hz) - PITCH_CENTRE) / PITCH_STEP
    frames[:, PITCH + 1] = np.convolve(
        np.pad(voiced.astype(np.float32), 1, "edge"), (0.25, 0.5, 0.25), "valid"
    )
    return frames, phase


class Builder:
    """Adds parts to a folder; `number` is the next sentence to be said."""

    def __init__(self, folder: Path, name: str, first: int = 0) -> None:
        self.folder, self.name = folder, name
        folder.mkdir(parents=True, exist_ok=True)
        earlier = sorted(folder.glob(f"{name}-[0-9]*{INDEX}"))
        self.part, self.number, self.seconds = len(earlier), first, 0.0
        for path in earlier:
            index = np.load(path)
            self.number = int(index["next"])
            self.seconds += float(index["ends"][-1, 1]) / FRAMES_A_SECOND
        self._held: list[Utterance] = []

    def add(self, utterance: Utterance, number: int) -> None:
        self._held.append(utterance)
        self.number, self.seconds = number + 1, self.seconds + utterance.seconds
        if len(self._held) >= PART:
            self.write()

    def write(self) -> None:
        if not self._held:
            return
        stem = str(self.folder / f"{self.name}-{self.part:04d}")
        np.save(stem + SAMPLES, np.concatenate([u.samples for u in self._held]))
        np.save(stem + FRAMES, np.concatenate([u.frames for u in self._held]).astype(np.float16))
        np.savez(
            stem + INDEX,
            next=self.number,
            ends=np.cumsum([(len(u.phonemes), len(u.frames)) for u in self._held], 0),
            phonemes=np.concatenate([u.phonemes for u in self._held]).astype(np.uint8),
            lasts=np.concatenate([u.lasts for u in self._held]).astype(np.uint16),
            phase=np.array([u.phase for u in self._held], np.float32),
            text=np.array([u.text for u in self._held]),
        )
        minutes = self.seconds / 60
        print(
            f"{self.name}-{self.part:04d}: {len(self._held)} utterances, {minutes:.1f} min in all", flush=True
        )
        self._held, self.part = [], self.part + 1


class VoiceBank:
    """All parts of a folder, opened in place."""

    def __init__(self, folder: Path) -> None:
        self._parts = []
        self._at: list[tuple[int, int]] = []
        for path in sorted(folder.glob(f"*{INDEX}")):
            stem = str(path).removesuffix(INDEX)
            sound, frames = (np.load(stem + end, mmap_mode="r") for end in (SAMPLES, FRAMES))
            self._parts.append((dict(np.load(path)), sound, frames))
            self._at += [(len(self._parts) - 1, i) for i in range(len(self._parts[-1][0]["ends"]))]
        if not self._at:
            raise ValueError(f"{folder}: holds no voice bank; make one with microturn.train.mouth bank")

    def __len__(self) -> int:
        return len(self._at)

    def __getitem__(self, number: int) -> Utterance:
        part, i = self._at[number]
        index, sound, frames = self._parts[part]
        (p, f), (q, g) = (index["ends"][i - 1] if i else (0, 0)), index["ends"][i]
        return Utterance(
            str(index["text"][i]),
            index["phonemes"][p:q].astype(np.int64),
            index["lasts"][p:q].astype(np.int64),
            np.asarray(frames[f:g], np.float32),
            np.asarray(sound[f * FRAME : g * FRAME]),
            float(index["phase"][i]),
        )

    def __iter__(self) -> Iterator[Utterance]:
        return (self[i] for i in range(len(self)))

    @property
    def seconds(self) -> float:
        return float(sum(index["ends"][-1, 1] for index, _, _ in self._parts)) / FRAMES_A_SECOND


def utterance(
    text: str, symbols: str, lasts: list[int], lead: int, samples: Floats, hz_F: Doubles
) -> Utterance:
    """From a whole recording: `lead` frames before the first symbol are cut off, the rest is measured."""
    ids, frames = timed(symbols, lasts)
    if not ids:
        raise ValueError(f"nothing to pronounce in {text!r}")
    body = np.asarray(samples[lead * FRAME :], np.float32).copy()
    count = min(len(body) // FRAME, len(hz_F) - lead)
    if count < sum(frames):
        raise ValueError(f"{text!r} lasts longer than its sound")
    body = body[: count * FRAME]
    body[: FRAME // 4] *= np.linspace(0, 1, FRAME // 4, dtype=np.float32)
    body[-FRAME:] *= np.linspace(1, 0, FRAME, dtype=np.float32)
    measured, phase = heard(body, hz_F[lead : lead + count])
    whole = np.round(np.clip(body, -1, 1) * 32767).astype(np.int16)
    return Utterance(text, np.array(ids), np.array(frames), measured, whole, phase)


assert NONE == 0  # the label of silence, in arrays of zeros

"""Teaches the vocoder: spectral losses first, then a light adversarial stage on top of them.

It learns from stretches of the bank with the pulses' phase known (see bank.py), so that besides magnitudes at four
resolutions and log-mels it can be held to the complex spectrum. The first frames of a stretch only warm up its
convolutions and count for nothing. With `remake` a share of the mels is what a speech head makes of the same
utterance, so that the vocoder learns to forgive the head.

Shape suffixes: B stretches, N samples, F frames, C channels, K bins, H hops.
"""

import math
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from microturn.model.vocoder import (
    CHANNELS,
    DELAY,
    FRAME,
    MEL_STEP,
    NOISE_HOPS,
    PITCH,
    Vocoder,
    VocoderState,
    mel_filters,
)
from microturn.train.mouth.bank import Utterance, VoiceBank, pulse_phase
from microturn.train.mouth.course import Course, descend, optimizers

SIZES = (2048, 1024, 512, 256)  # of spectra
MEL_SIZE = 1024
WARM, STRETCH = 20, 100  # frames that count for nothing, frames in all
BATCH = 9
BEGINNINGS = 0.35  # share of the stretches in which an utterance begins: its first sound is the hardest
ADVERSARIAL_FROM = 0.85  # share of the minutes after which critics join
QUIETER, QUIETEST = 0.4, 0.2  # share of the stretches that are played more softly, and how much at most
REMADE = 0.5  # share of the stretches whose mels a head makes
Remake = Callable[[Utterance], Utterance]
MEL_WORTH, COMPLEX_WORTH, CRITIC_WORTH, FEATURE_WORTH = 2.0, 0.3, 0.15, 0.3


def spectrum(sound_BN: Tensor, size: int) -> Tensor:
    """[B, K, H], complex."""
    window = torch.hann_window(size, device=sound_BN.device)
    out: Tensor = torch.stft(sound_BN, size, size // 4, window=window, return_complex=True, center=False)
    return out


def spectral_loss(made_BN: Tensor, true_BN: Tensor) -> Tensor:
    loss = made_BN.new_zeros(())
    for size in SIZES:
        made, true = spectrum(made_BN, size), spectrum(true_BN, size)
        a, b = (made.abs() + 1e-5), (true.abs() + 1e-5)
        loss = loss + (a - b).norm() / b.norm() + F.l1_loss(a.log(), b.log())
        if size == MEL_SIZE:
            filters = mel_filters().to(a.device).T
            mel_a, mel_b = ((filters @ x).clamp_min(1e-4).log() for x in (a, b))
            whole = (made - true).abs().mean() / b.mean()
            loss = loss + MEL_WORTH * F.l1_loss(mel_a, mel_b) + COMPLEX_WORTH * whole
    return loss


class Critic(nn.Module):
    """Tells made from true in one spectrum, patch by patch."""

    def __init__(self, size: int, width: int = 24) -> None:
        super().__init__()
        self.size = size
        widths = (2, width, width, 2 * width, 2 * width)
        self.layers = nn.ModuleList(
            nn.Conv2d(a, b, (5, 3), stride=(3, 1), padding=(2, 1)) for a, b in pairwise(widths)
        )
        self.last = nn.Conv2d(2 * width, 1, 3, padding=1)

    def forward(self, sound_BN: Tensor) -> list[Tensor]:
        """Every layer's output, the verdict last."""
        whole = spectrum(sound_BN, self.size)
        size = whole.abs().clamp_min(1e-5)
        x = torch.stack([whole.real, whole.imag], 1) * size.pow(-0.7)[:, None]  # magnitudes ^ 0.3
        found = []
        for layer in self.layers:
            x = F.leaky_relu(layer(x), 0.1)
            found.append(x)
        return [*found, self.last(x)]


class Critics(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.each = nn.ModuleList(Critic(size) for size in SIZES[1:])

    def verdict_loss(self, made: Tensor, true: Tensor) -> Tensor:
        """What the critics learn by."""
        losses = [F.relu(1 - c(true)[-1]).mean() + F.relu(1 + c(made)[-1]).mean() for c in self.each]
        return torch.stack(losses).mean()

    def pleased_loss(self, made: Tensor, true: Tensor) -> Tensor:
        """What the vocoder learns by."""
        losses = []
        for critic in self.each:
            seen, wanted = critic(made), [x.detach() for x in critic(true)]
            alike = [
                F.l1_loss(a, b) / b.abs().mean().clamp_min(1e-3)
                for a, b in zip(seen[:-1], wanted, strict=False)
            ]
            losses.append(
                CRITIC_WORTH * F.relu(1 - seen[-1]).mean() + FEATURE_WORTH * torch.stack(alike).mean()
            )
        return torch.stack(losses).mean()


class Stretches:
    """Random stretches of a bank with the vocoder's state before them, and the sound that should come out."""

    def __init__(self, bank: VoiceBank, seed: int = 0, remake: Remake | None = None) -> None:
        self.bank, self.remake, self.rng = bank, remake, np.random.default_rng(seed)

    def draw(self, vocoder: Vocoder, batch: int = BATCH) -> tuple[Tensor, VocoderState, Tensor]:
        """Frames [B, F, 82], state, sound [B, 300·F]."""
        frames, sounds = torch.zeros(batch, STRETCH, CHANNELS), torch.zeros(batch, STRETCH * FRAME)
        state = vocoder.allocate(batch)
        for row in range(batch):
            u = self.bank[int(self.rng.integers(len(self.bank)))]
            if self.remake and self.rng.random() < REMADE:
                u = self.remake(u)
            start = int(self.rng.integers(-WARM, max(1 - WARM, len(u.frames) - STRETCH // 2)))
            if self.rng.random() < BEGINNINGS:
                start = int(self.rng.integers(WARM - STRETCH, -WARM))
            self._cut(u, start, row, frames, sounds, state)
            if self.rng.random() < QUIETER:  # else a vocoder takes every voice to be equally loud
                part = float(np.exp(self.rng.uniform(np.log(QUIETEST), 0)))
                sounds[row] *= part
                frames[row, :, :PITCH] = (frames[row, :, :PITCH] + math.log(part) / MEL_STEP).clamp_min(0)
        return frames, state, sounds

    def _cut(
        self, u: Utterance, start: int, row: int, frames: Tensor, sounds: Tensor, state: VocoderState
    ) -> None:
        """Frames before an utterance are silence with its first pitch."""
        at, end = max(start, 0), min(start + STRETCH, len(u.frames))
        frames[row, at - start : end - start] = torch.from_numpy(u.frames[at:end])
        frames[row, : at - start, PITCH] = float(u.frames[0, PITCH])
        phase, before = pulse_phase(u), max(start - 1, 0)
        state.pitch[row] = torch.from_numpy(u.frames[before, PITCH:])
        state.phase[row] = float(phase[before] if start > 0 else u.phase + (phase[0] - u.phase) * start) % 1.0
        state.hop[row] = int(self.rng.integers(NOISE_HOPS))
        first = start * FRAME - DELAY
        a, b = max(first, 0), min(first + STRETCH * FRAME, len(u.samples))
        sounds[row, a - first : b - first] = torch.from_numpy(u.samples[a:b].astype(np.float32) / 32768)


def train(bank: Path, folder: Path, minutes: float, vocoder: Vocoder, remake: Remake | None = None) -> None:
    torch.manual_seed(0)
    critics = Critics()
    mine, theirs = optimizers(vocoder, 1e-3, 4e-3), optimizers(critics, 4e-4)
    course = Course(folder, {"vocoder": vocoder, "critics": critics}, [*mine, *theirs], minutes)
    stretches = Stretches(VoiceBank(bank), course.step, remake)

    def learn(step: int) -> dict[str, float]:
        frames, state, sounds = stretches.draw(vocoder)
        made, true = (x[:, WARM * FRAME :] for x in (vocoder(frames, state)[0], sounds))
        loss = spectral_loss(made, true)
        numbers = {"spectral": loss.item()}
        if course.minutes > ADVERSARIAL_FROM * course.planned:
            verdict = critics.verdict_loss(made.detach(), true)
            descend(verdict, theirs)
            numbers["critics"] = verdict.item()
            pleased = critics.pleased_loss(made, true)
            loss, numbers["pleased"] = loss + pleased, pleased.item()
        descend(loss, mine, 5.0)
        return numbers

    course.go(learn)

"""Log-mel powers and dMel levels: how 200 ms of sound become numbers. Nothing here is trained.

A frame is 10 ms; frame j of a stream covers the 400 samples that end at sample 160·(j+1), so nothing looks
ahead and a tick is exactly 20 frames. Power is normalised so that a full-scale sine is 1 (0 dB) in its bin.
Powers add: overlap, noise and echo are sums of powers, which is how episodes are composed out of clips.
"""

import math

import torch
from torch import Tensor

from microturn.clock import HEAR_RATE

HOP = 160
WINDOW = 400
FFT = 512
BINS = 64
FRAMES = 20  # per tick
LOW, HIGH = -8.0, 0.5  # log10 power that the levels span
CLIP_LEVELS = 255  # a bank stores log power in one byte
CONTEXT = WINDOW - HOP  # samples before a tick that its first frame needs


def _hz_to_mel(hz: float) -> float:
    """Slaney: linear below 1 kHz, logarithmic above."""
    return hz * 3 / 200 if hz < 1000 else 15 + math.log(hz / 1000) / (math.log(6.4) / 27)


def _mel_to_hz(mel: float) -> float:
    return mel * 200 / 3 if mel < 15 else 1000 * math.exp((mel - 15) * math.log(6.4) / 27)


def mel_filters(bins: int = BINS, low: float = 30.0, high: float = HEAR_RATE / 2) -> Tensor:
    """Triangles with peak 1, [FFT/2+1, bins]."""
    edges = [
        _mel_to_hz(_hz_to_mel(low) + (_hz_to_mel(high) - _hz_to_mel(low)) * i / (bins + 1))
        for i in range(bins + 2)
    ]
    hz = torch.linspace(0, HEAR_RATE / 2, FFT // 2 + 1, dtype=torch.float64)[:, None]
    e = torch.tensor(edges, dtype=torch.float64)
    up = (hz - e[:-2]) / (e[1:-1] - e[:-2])
    down = (e[2:] - hz) / (e[2:] - e[1:-1])
    return torch.minimum(up, down).clamp_min(0).float()


class PowerMel(torch.nn.Module):
    """Samples → mel powers. `forward` takes [B, CONTEXT + n·HOP] and gives [B, n, BINS]."""

    window: Tensor
    filters: Tensor

    def __init__(self) -> None:
        super().__init__()
        window = torch.hann_window(WINDOW, periodic=False)
        self.register_buffer("window", window * (2 / window.sum()), persistent=False)
        self.register_buffer("filters", mel_filters(), persistent=False)

    def forward(self, samples: Tensor) -> Tensor:
        frames = samples.unfold(-1, WINDOW, HOP) * self.window
        spectrum = torch.fft.rfft(frames, n=FFT)
        power = spectrum.real.square() + spectrum.imag.square()
        mel: Tensor = power @ self.filters
        return mel


def power_mel(samples: Tensor) -> Tensor:
    """A whole recording at once, [n] → [n // HOP, BINS], silence before its start."""
    padded = torch.nn.functional.pad(samples[: samples.shape[-1] // HOP * HOP], (CONTEXT, 0))
    with torch.no_grad():
        mel: Tensor = _POWER_MEL(padded[None])[0]
    return mel


_POWER_MEL = PowerMel()


def to_bytes(power: Tensor) -> Tensor:
    """Mel power → the byte a bank stores: 256 steps of log10 power, 0.33 dB each."""
    log = power.clamp_min(1e-12).log10()
    return ((log - LOW) / (HIGH - LOW) * CLIP_LEVELS).round().clamp(0, CLIP_LEVELS).to(torch.uint8)


def from_bytes(stored: Tensor) -> Tensor:
    return torch.pow(10.0, stored.float() / CLIP_LEVELS * (HIGH - LOW) + LOW)


def to_levels(power: Tensor, levels: int) -> Tensor:
    """Mel power → dMel level 0 … levels−1."""
    log = power.clamp_min(1e-12).log10()
    return ((log - LOW) / (HIGH - LOW) * levels).floor().clamp(0, levels - 1).long()

"""Speech frames → 24 kHz sound: a small causal source-filter vocoder that streams one tick at a time.

Unusual choices:
- The network never invents pitch. A band-limited pulse train with unit power follows F0; the network
  predicts, for every bin of a short-time spectrum, a complex filter for the pulses and a magnitude for noise.
- The noise is the spectrum of one fixed looping recording, so it costs nothing and a replay is bit-identical.
- High up, the filter for the pulses opens no faster than speech does: what a burst asks for beyond that is noise, or
  the one pulse that falls into it would be a click.
- Streaming is the same code: convolution frames, 450 samples of source, 450 samples of overlap, the phase of
  the pulses, the last pitch and a place in the noise are carried in `VocoderState`.

Timing: frame n of a stream describes the sound around sample 300·(n+1) (`log_mel` cuts frames so), and the
vocoder gives that sound 450 samples (18.75 ms) later: `forward(frames of w)` ≈ w delayed by DELAY. So the
filter sees one frame ahead of the sound that it shapes.

Shape suffixes: B streams, F frames of 300 samples, C = 82 channels (80 mel, log-F0, voicing), H = 2·F hops of
150, K spectrum bins (301), N samples, S slots.
"""

import math
from dataclasses import dataclass, fields, is_dataclass
from typing import Self

import numpy as np
import torch
from torch import Tensor, nn

from microturn.clock import SPEAK_RATE
from microturn.model.layers import CausalBlock, RMSNorm

FRAME = 300  # samples, 12.5 ms
MELS = 80
CHANNELS = MELS + 2
PITCH, VOICING = MELS, MELS + 1  # channels of a frame
HOP = 150
WINDOW = 600
BINS = WINDOW // 2 + 1
DELAY = WINDOW - HOP  # samples
HIGH = 3000 * WINDOW // SPEAK_RATE  # first bin above 3 kHz
OPENING, SHUT = 0.7, -8.0  # nepers in a hop; where it begins
NOISE_HOPS = 1024  # 6.4 s until the noise repeats

MEL_FFT = 1024
MEL_FLOOR, MEL_STEP = math.log(1e-5), 4.0  # a normalised mel is 0 in silence and about 1–3 in speech
PITCH_CENTRE, PITCH_STEP = math.log(180.0), 0.4  # a normalised pitch is 0 at 180 Hz


@dataclass
class SlotState:
    """Tensors whose first dimension is the slot (or, once taken, the row). Nested states are fields too."""

    def tensors(self, prefix: str = "") -> list[tuple[str, Tensor]]:
        found: list[tuple[str, Tensor]] = []
        for f in fields(self):
            value = getattr(self, f.name)
            if is_dataclass(value):
                assert isinstance(value, SlotState)
                found += value.tensors(f"{prefix}{f.name}.")
            else:
                found.append((prefix + f.name, value))
        return found

    def take(self, slots_B: Tensor) -> Self:
        """Copies of some slots, as rows."""
        rows = []
        for f in fields(self):
            value = getattr(self, f.name)
            rows.append(value.take(slots_B) if isinstance(value, SlotState) else value[slots_B])
        return type(self)(*rows)

    def put(self, slots_B: Tensor, rows: Self) -> None:
        """Rows back into their slots."""
        for (_, mine), (_, theirs) in zip(self.tensors(), rows.tensors(), strict=True):
            mine.index_copy_(0, slots_B, theirs)


@dataclass
class VocoderState(SlotState):
    frames: Tensor  # [S, blocks, kernel−1, width] what each convolution saw last
    source: Tensor  # [S, DELAY] the latest pulses
    opened: Tensor  # [S, BINS − HIGH] how far the pulses' filter had opened, log-magnitude above SHUT
    overlap: Tensor  # [S, DELAY] sound that later windows still add to
    phase: Tensor  # [S] float64, cycles in [0, 1)
    pitch: Tensor  # [S, 2] log-F0 and voicing of the last frame, normalised
    hop: Tensor  # [S] int64, place in the noise


def mel_filters(rate: int = SPEAK_RATE, fft: int = MEL_FFT, mels: int = MELS) -> Tensor:
    """Slaney triangles over 0 Hz … rate/2 with equal area, [fft/2+1, mels]."""

    def to_hz(mel: np.ndarray) -> np.ndarray:
        return np.where(mel < 15, mel * 200 / 3, 1000 * np.exp((mel - 15) * math.log(6.4) / 27))

    top = 15 + math.log(rate / 2 / 1000) / (math.log(6.4) / 27)
    edges = to_hz(np.linspace(0, top, mels + 2))
    hz = np.linspace(0, rate / 2, fft // 2 + 1)[:, None]
    up = (hz - edges[:-2]) / (edges[1:-1] - edges[:-2])
    down = (edges[2:] - hz) / (edges[2:] - edges[1:-1])
    area = 2 / (edges[2:] - edges[:-2])
    return torch.from_numpy(np.maximum(np.minimum(up, down), 0) * area).float()


def log_mel(samples_BN: Tensor) -> Tensor:
    """24 kHz sound → normalised mels [B, N // 300, 80]; frame n is centred at sample 300·(n+1)."""
    count = samples_BN.shape[1] // FRAME
    padded = nn.functional.pad(samples_BN, (MEL_FFT // 2 - FRAME, MEL_FFT))
    windows = padded.unfold(-1, MEL_FFT, FRAME)[:, :count] * torch.hann_window(MEL_FFT)
    power = torch.fft.rfft(windows).abs() @ mel_filters()
    level: Tensor = (power.clamp_min(1e-5).log() - MEL_FLOOR) / MEL_STEP
    return level


class Vocoder(nn.Module):
    window: Tensor
    noise_K2: Tensor
    ramp: Tensor

    def __init__(self, width: int = 224, blocks: int = 6, kernel: int = 7) -> None:
        super().__init__()
        self.width, self.kernel = width, kernel
        self.inward = nn.Linear(CHANNELS, width)
        self.blocks = nn.ModuleList(CausalBlock(width, kernel) for _ in range(blocks))
        self.norm = RMSNorm(width)
        # For each of a frame's two hops: log-magnitude and phase of the pulse filter, log-magnitude of the
        # noise.
        self.outward = nn.Linear(width, 2 * 3 * BINS)
        window = torch.hann_window(WINDOW)
        self.register_buffer("window", window, persistent=False)
        self.register_buffer("ramp", torch.arange(1, FRAME + 1) / FRAME, persistent=False)
        self.register_buffer("noise_K2", self._noise(window), persistent=False)
        if self.outward.weight.device.type != "meta":
            nn.init.normal_(self.outward.weight, std=0.02)
            nn.init.constant_(self.outward.bias, 0.0)
            with torch.no_grad():
                self.outward.bias.view(2, 3, BINS)[:, 0] = -3.0
                self.outward.bias.view(2, 3, BINS)[:, 2] = -5.0

    @staticmethod
    def _noise(window: Tensor) -> Tensor:
        """Spectra of a loop of white noise with unit power, [NOISE_HOPS, K, 2]."""
        if torch.get_default_device().type == "meta":
            return torch.empty(NOISE_HOPS, BINS, 2)
        loop = np.random.default_rng(7).standard_normal(NOISE_HOPS * HOP).astype(np.float32)
        wrapped = torch.from_numpy(np.concatenate([loop, loop[: WINDOW - HOP]]))
        spectrum = torch.fft.rfft(wrapped.unfold(0, WINDOW, HOP) * window)
        return torch.view_as_real(spectrum).contiguous()

    def allocate(self, slots: int) -> VocoderState:
        like = self.ramp
        return VocoderState(
            frames=like.new_zeros(slots, len(self.blocks), self.kernel - 1, self.width),
            source=like.new_zeros(slots, DELAY),
            opened=like.new_zeros(slots, BINS - HIGH),
            overlap=like.new_zeros(slots, DELAY),
            phase=like.new_zeros(slots, dtype=torch.float64),
            pitch=like.new_zeros(slots, 2),
            hop=like.new_zeros(slots, dtype=torch.int64),
        )

    def pulses(self, frames_BFC: Tensor, state: VocoderState) -> tuple[Tensor, Tensor]:
        """Band-limited pulses with unit power where voiced, [B, 300·F], and the phase after them [B].

        Pitch and voicing run straight from frame to frame. The phase at frame ends is summed in float64, so a
        long stream and its ticks agree.
        """
        node_BF2 = torch.cat([state.pitch[:, None], frames_BFC[:, :, PITCH:]], 1)
        hz = (node_BF2[..., 0] * PITCH_STEP + PITCH_CENTRE).exp().clamp(40.0, 800.0)
        step = hz / SPEAK_RATE  # cycles a sample
        before, change = step[:, :-1], step[:, 1:] - step[:, :-1]
        # Σ over samples 1 … j of (before + change · j/300), in closed form.
        total = FRAME * before.double() + change.double() * (FRAME + 1) / 2
        end = state.phase[:, None] + total.cumsum(1)
        start = torch.cat([state.phase[:, None], end[:, :-1]], 1).remainder(1.0).float()
        j = self.ramp * FRAME
        cycle = start[..., None] + before[..., None] * j + change[..., None] * (j * (j + 1) / (2 * FRAME))
        cycle = cycle - cycle.round()  # −½ … ½ around each pulse
        harmonics = (0.5 / step[:, 1:]).floor()[..., None]
        odd = 2 * harmonics + 1
        angle = math.pi * cycle
        below = angle.sin()
        near = below.abs() < 1e-4
        kernel = (angle * odd).sin() / torch.where(near, torch.ones_like(below), below)
        pulse = torch.where(near, odd.expand_as(kernel), kernel) * odd.rsqrt()
        voicing = node_BF2[..., 1].clamp(0.0, 1.0)
        loud = voicing[:, :-1, None] + (voicing[:, 1:] - voicing[:, :-1])[..., None] * self.ramp
        return (pulse * loud).flatten(1), end[:, -1].remainder(1.0)

    def filters(self, frames_BFC: Tensor, past: Tensor) -> tuple[Tensor, Tensor]:
        """Frames → [B, H, 3, K], and what each convolution must remember."""
        x = self.inward(frames_BFC)
        kept = []
        for i, block in enumerate(self.blocks):
            x, tail = block(x, past[:, i])
            kept.append(tail)
        out_BF = self.outward(self.norm(x))
        return out_BF.view(x.shape[0], 2 * x.shape[1], 3, BINS), torch.stack(kept, 1)

    def _burst(self, loud: Tensor, hiss: Tensor, opened: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Log-magnitude for pulses, magnitude for noise [B, H, K] → magnitudes of both, of the same sum."""
        high = loud[..., HIGH:]
        ramp = OPENING * torch.arange(high.shape[1] + 1, device=high.device).double()[:, None]
        slow = (torch.cat([opened[:, None] + SHUT, high], 1) - ramp).cummin(1).values + ramp  # at most `high`
        slow = slow[:, 1:].float()
        hiss = torch.cat([hiss[..., :HIGH], hiss[..., HIGH:] + high.exp() - slow.exp()], -1)
        return torch.cat([loud[..., :HIGH], slow], -1).exp(), hiss, slow[:, -1] - SHUT

    def forward(self, frames_BFC: Tensor, state: VocoderState | None = None) -> tuple[Tensor, VocoderState]:
        """Frames → sound in −1 … 1, [B, 300·F], and the state after. No state is a stream's beginning."""
        batch, hops = frames_BFC.shape[0], 2 * frames_BFC.shape[1]
        state = self.allocate(batch) if state is None else state
        pulses, phase = self.pulses(frames_BFC, state)
        source = torch.cat([state.source, pulses], 1)
        spectrum = torch.view_as_real(torch.fft.rfft(source.unfold(1, WINDOW, HOP) * self.window))
        place = (state.hop[:, None] + torch.arange(hops, device=state.hop.device)) % NOISE_HOPS
        noise = self.noise_K2[place]
        filters, kept = self.filters(frames_BFC, state.frames)
        loud, turn, hiss = filters.unbind(2)
        loud, hiss, opened = self._burst(loud.clamp(max=5.0), hiss.clamp(max=5.0).exp(), state.opened)
        real, imaginary = loud * turn.cos(), loud * turn.sin()
        shaped = torch.complex(
            spectrum[..., 0] * real - spectrum[..., 1] * imaginary + noise[..., 0] * hiss,
            spectrum[..., 0] * imaginary + spectrum[..., 1] * real + noise[..., 1] * hiss,
        )
        # Two Hann windows at a quarter hop add up to 1.5.
        waves = torch.fft.irfft(shaped, n=WINDOW) * (self.window / 1.5)
        parts = waves.view(batch, hops, 4, HOP)
        sound = nn.functional.pad(state.overlap.view(batch, 3, HOP), (0, 0, 0, hops))
        for q in range(4):
            sound = sound + nn.functional.pad(parts[:, :, q], (0, 0, q, 3 - q))
        after = VocoderState(
            frames=kept,
            source=source[:, -DELAY:],
            opened=opened,
            overlap=sound[:, hops:].flatten(1),
            phase=phase,
            pitch=frames_BFC[:, -1, PITCH:],
            hop=(state.hop + hops) % NOISE_HOPS,
        )
        return sound[:, :hops].flatten(1).clamp(-1.0, 1.0), after

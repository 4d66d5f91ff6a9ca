"""Sound as it travels: PCM16 and the two telephone codes, at the wire's rate, resampled as it streams.

soxr streams in blocks, which holds samples back for up to 115 ms; the polyphase filter here holds back none and
delays by 16 samples of the lower rate, 1 ms at 16 kHz.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from microturn.clock import HEAR_RATE, SPEAK_RATE, SPEAK_SAMPLES
from microturn.streams import Action, Floats

RATES = (8_000, 16_000, 24_000, 48_000)
HALF = 16  # zero crossings of the sinc on each side
_SILENCE = np.zeros(SPEAK_SAMPLES, np.float32)


class Resampler:
    """Streams; cut into chunks of any length the samples are the same. A tick in is a tick out."""

    def __init__(self, source: int, target: int) -> None:
        common = math.gcd(source, target)
        self._up, self._down = target // common, source // common
        steep = max(self._up, self._down)
        time = np.arange(-HALF * steep, HALF * steep) / steep  # in samples of the lower rate
        taps = 0.92 * np.sinc(0.92 * time) * np.kaiser(len(time), 8.0) * self._up / steep
        taps = np.pad(taps, (0, -len(taps) % self._up)).astype(np.float32)
        self._phases = taps.reshape(-1, self._up).T[:, ::-1]  # [up, K], newest sample last
        self._tail = np.zeros(self._phases.shape[1] - 1, np.float32)
        self._in, self._out = 0, 0  # samples so far

    def __call__(self, samples: Floats) -> Floats:
        if self._up == self._down:
            return samples
        heard = np.concatenate((self._tail, samples))
        if not len(samples):
            return samples
        until = -(-(self._in + len(samples)) * self._up // self._down)
        windows = sliding_window_view(heard, len(self._tail) + 1)
        out = np.empty(until - self._out, np.float32)
        for first in range(min(self._up, len(out))):  # every up-th output has the same phase
            at = (self._out + first) * self._down
            mine, seen = out[first :: self._up], windows[at // self._up - self._in :: self._down]
            mine[:] = seen[: len(mine)] @ self._phases[at % self._up]
        self._tail = heard[len(samples) :]
        self._in, self._out = self._in + len(samples), until
        return out


class Ear:
    """Bytes of any length at the wire's rate → samples at 16 kHz in −1…1."""

    def __init__(self, rate: int, code: str = "pcm") -> None:
        self._code, self._rest = code, b""
        self._resample = Resampler(rate, HEAR_RATE)

    def __call__(self, data: bytes) -> Floats:
        if self._code != "pcm":
            return self._resample(TABLES[self._code][np.frombuffer(data, np.uint8)])
        data = self._rest + data
        whole = len(data) & ~1
        self._rest = data[whole:]  # half a sample
        return self._resample(unpcm16(data[:whole]))


class Mouth:
    """Actions → bytes at the wire's rate, exactly one tick each."""

    def __init__(self, rate: int, code: str = "pcm") -> None:
        self._code = code
        self._resample = Resampler(SPEAK_RATE, rate)

    def __call__(self, action: Action) -> bytes:
        return encode(self._resample(_SILENCE if action.speech is None else action.speech), self._code)


def pcm16(samples: Floats) -> bytes:
    return bytes(np.clip(np.rint(samples * 32768.0), -32768, 32767).astype("<i2"))


def unpcm16(data: bytes) -> Floats:
    return np.frombuffer(data, "<i2").astype(np.float32) / 32768.0


def encode(samples: Floats, code: str) -> bytes:
    if code == "pcm":
        return pcm16(samples)
    order, values = _ORDERED[code]
    return bytes(order[np.searchsorted(values, samples).clip(0, 255)].astype(np.uint8))


def _mu_law() -> Floats:
    """What each of the 256 bytes of G.711 μ-law means, in −1…1."""
    byte = ~np.arange(256) & 0xFF
    size = (((byte & 0x0F) << 3) + 0x84 << ((byte & 0x70) >> 4)) - 0x84
    return (np.where(byte & 0x80, -size, size) / 32768.0).astype(np.float32)


def _a_law() -> Floats:
    byte = np.arange(256) ^ 0x55
    step = (byte & 0x70) >> 4
    size = ((byte & 0x0F) << 4) + 8
    size = np.where(step > 0, (size + 0x100) << np.maximum(step - 1, 0), size)
    return (np.where(byte & 0x80, size, -size) / 32768.0).astype(np.float32)


TABLES = {"pcmu": _mu_law(), "pcma": _a_law()}
_ORDERED = {code: (np.argsort(table, kind="stable"), np.sort(table)) for code, table in TABLES.items()}

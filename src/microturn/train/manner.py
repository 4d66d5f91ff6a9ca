"""How a line is said: the same words whispered, shouted or hurried, as mel bytes and as sound.

A whisper has no voice: its harmonics are smeared into breath, its low end is gone, it is soft. A shout is loud and
bright, its lowest sounds weak beside the rest. Haste is pace alone. Both paths make the same change, one on mel
powers for training, one on the short-time spectrum for tests.

Shape suffixes: F frames of 10 ms, M mel bins, T frames of 8 ms, S spectrum bins.
"""

import zlib
from dataclasses import replace

import numpy as np
import torch
from scipy.signal import istft, stft

from microturn.clock import HEAR_RATE
from microturn.model.ears import BINS, CLIP_LEVELS, FFT, HIGH, LOW, mel_filters, power_mel, to_bytes
from microturn.scenes.episode import Clip, Word
from microturn.streams import Floats

HASTE = 1.45  # × pace
TILT_HZ = 700.0  # below, a whisper or a shout has little; above, a shout has more
SPAN, HOP = 512, 128  # samples of the short-time spectrum
SMEAR_HZ = 250.0  # over which a whisper knows no harmonics
OVERLAP = 1.4  # × amplitude: frames of noise cancel in part where they overlap
QUIET = -6.0  # log10 power under which a frame is no speech
CENTRES_HZ = mel_filters().argmax(0).numpy() * (HEAR_RATE / FFT)


def sounding(clip: Clip, manner: str) -> Clip:
    """The clip said in that manner; with samples where it had some. Follows from the clip alone."""
    if not manner:
        return clip
    if manner not in ("whisper", "shout", "hurry"):
        raise ValueError(f"unknown manner {manner!r}: whisper, shout or hurry")
    rng = np.random.default_rng(zlib.crc32(f"{manner} {clip.voice} {clip.text}".encode()))
    rate = HASTE if manner == "hurry" else 1.0
    words = tuple(Word(w.text, round(w.start_ms / rate), round(w.end_ms / rate)) for w in clip.words)
    if clip.samples is None:
        log_FM = clip.mel / CLIP_LEVELS * (HIGH - LOW) + LOW
        changed = _mel(log_FM.astype(np.float32), manner, rng)
        levels = np.clip((changed - LOW) / (HIGH - LOW) * CLIP_LEVELS, 0, 255).astype(np.uint8)
        return replace(clip, mel=levels, words=words)
    samples = _wave(clip.samples, manner, rng)
    return replace(
        clip, mel=to_bytes(power_mel(torch.from_numpy(samples))).numpy(), words=words, samples=samples
    )


def _gain_db(manner: str, hz: Floats) -> Floats:
    """What a manner takes from or adds to each frequency."""
    octaves = np.log2(np.maximum(hz, 60.0) / TILT_HZ)
    if manner == "whisper":
        return np.asarray(-14.0 + np.minimum(0.0, 9.0 * octaves), np.float32)
    return np.asarray(8.0 + np.clip(6.0 * octaves, -12.0, 9.0), np.float32)


def _mel(log_FM: Floats, manner: str, rng: np.random.Generator) -> Floats:
    if manner == "hurry":
        at = np.arange(int(len(log_FM) / HASTE)) * HASTE
        return log_FM[np.minimum(at.round().astype(np.int64), len(log_FM) - 1)]
    changed: Floats = log_FM + _gain_db(manner, CENTRES_HZ.astype(np.float32)) / np.float32(10)
    if manner == "whisper":
        padded = np.pad(changed, ((0, 0), (2, 2)), mode="edge")
        smeared = np.mean([padded[:, i : i + BINS] for i in range(5)], 0)
        changed = np.asarray(smeared + np.log10(rng.gamma(3.0, 1 / 3, smeared.shape)), np.float32)
    speech = log_FM.max(1, keepdims=True) > QUIET
    return np.asarray(np.where(speech, changed, log_FM), np.float32)


def _wave(samples: Floats, manner: str, rng: np.random.Generator) -> Floats:
    hz, _, spectrum_ST = stft(samples, HEAR_RATE, nperseg=SPAN, noverlap=SPAN - HOP)
    if manner == "hurry":
        spectrum_ST = _faster(spectrum_ST)
    else:
        spectrum_ST *= (10 ** (_gain_db(manner, hz.astype(np.float32)) / 20))[:, None]
    if manner == "whisper":
        width = 2 * int(SMEAR_HZ / hz[1] / 2) + 1
        padded = np.pad(np.abs(spectrum_ST) ** 2, ((width // 2, width // 2), (0, 0)), mode="edge")
        power = np.stack([np.convolve(row, np.ones(width) / width, "valid") for row in padded.T], 1)
        breath = rng.standard_normal((2, *power.shape))
        spectrum_ST = np.sqrt(power / 2) * (breath[0] + 1j * breath[1]) * OVERLAP
    _, changed = istft(spectrum_ST, HEAR_RATE, nperseg=SPAN, noverlap=SPAN - HOP)
    long = len(samples) if manner != "hurry" else int(len(samples) / HASTE)
    out = np.zeros(long, np.float32)
    out[: min(long, len(changed))] = changed[:long]
    return np.tanh(out) if manner == "shout" else out


def _faster(spectrum_ST: np.ndarray) -> np.ndarray:
    """A phase vocoder: frames further apart, each phase going on from the one before."""
    at = np.arange(0, spectrum_ST.shape[1] - 2, HASTE)
    low = at.astype(np.int64)
    part = at - low
    size = np.abs(spectrum_ST)
    size = size[:, low] * (1 - part) + size[:, low + 1] * part
    turn = np.angle(spectrum_ST[:, low + 1]) - np.angle(spectrum_ST[:, low])
    phase = np.angle(spectrum_ST[:, :1]) + np.pad(np.cumsum(turn[:, :-1], 1), ((0, 0), (1, 0)))
    return np.asarray(size * np.exp(1j * phase))

"""An episode as the sound that reaches the model: clips placed, mixed and worn down, in mel powers.

Powers add, so rooms, noise, other people and echo are sums, and microphones, distance and codecs are gains per
bin. That is tens of times cheaper than composing waveforms; `bench` composes waveforms and keeps this honest.

Shape suffixes: F frames of 10 ms, M mel bins.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.signal import lfilter

from microturn.model.ears import BINS, CLIP_LEVELS, FRAMES, HIGH, LOW
from microturn.scenes.episode import Clip, Episode, Word, spoken_ms
from microturn.streams import Bytes, Flags, Floats
from microturn.train.targets import schedule

POWER = np.power(10.0, np.arange(256) / CLIP_LEVELS * (HIGH - LOW) + LOW).astype(np.float32)
FAINT = 90  # bytes, 30 dB
BEND = 1.0  # bins by which each part of the spectrum may move by itself
BAND_TOPS = {3400: 47, 4000: 51, 5500: 58, 7000: 63}  # Hz → first mel bin that is gone


def unspoken(text: str, pace: float) -> Clip:
    """A line with the times that its words would take."""
    words, now = [], 40
    for part in text.split():
        end = now + round(spoken_ms(part) * pace)
        words.append(Word(part.strip(",.?!"), now, end))
        now = end + (250 if part[-1] in ",." else 0)
    return Clip(text, "nobody", tuple(words), np.zeros((now // 10 + 12, BINS), np.uint8))


def vary(clip: Clip, rng: np.random.Generator) -> Clip:
    """The same words by a longer or shorter throat of another shape, faster or slower: warps bins, stretches time."""
    rate = float(np.exp(rng.normal(0, 0.1)))
    warp = float(np.exp(rng.normal(0, 0.08)))
    mel = clip.mel.astype(np.float32)
    frames = max(1, round(len(mel) / rate))
    at = np.clip((np.arange(frames) + 0.5) * rate - 0.5, 0, len(mel) - 1)
    low = at.astype(np.int64)
    high = np.minimum(low + 1, len(mel) - 1)
    part = (at - low)[:, None].astype(np.float32)
    mel = mel[low] * (1 - part) + mel[high] * part
    bend = np.interp(np.arange(BINS), np.linspace(0, BINS - 1, 6), rng.normal(0, BEND, 6))
    at = np.clip((np.arange(BINS) + 2) * warp - 2 + bend, 0, BINS - 1)
    low = at.astype(np.int64)
    part = (at - low).astype(np.float32)
    mel = mel[:, low] * (1 - part) + mel[:, np.minimum(low + 1, BINS - 1)] * part
    words = tuple(Word(w.text, round(w.start_ms / rate), round(w.end_ms / rate)) for w in clip.words)
    return replace(clip, mel=mel.astype(np.uint8), words=words, samples=None)


@dataclass(frozen=True)
class Timbre:
    """How loud each mel bin is while somebody speaks, and how far it moves, in a bank's bytes."""

    mean: Floats
    spread: Floats

    @classmethod
    def of(cls, clips: Sequence[Clip]) -> Timbre:
        mel = np.concatenate([clip.mel for clip in clips]).astype(np.float32)
        loudness = mel.mean(1)
        spoken = mel[loudness >= np.median(loudness)]
        near = np.ones(5, np.float32) / 5
        mean = np.convolve(np.pad(spoken.mean(0), 2, "edge"), near, "valid")
        spread = np.convolve(np.pad(spoken.std(0), 2, "edge"), near, "valid")
        return cls(mean - mean.mean(), np.maximum(spread, 4.0))


def resembling(clip: Clip, own: Timbre, other: Timbre, share: float) -> Clip:
    """The same words with a share of the way to another voice's timbre."""
    mel = clip.mel.astype(np.float32)
    level = own.mean + mel.mean()
    ratio = np.clip(other.spread / own.spread, 0.6, 1.6) ** share
    mel = level + (mel - level) * ratio + share * (other.mean - own.mean)
    return replace(clip, mel=np.rint(np.clip(mel, 0, CLIP_LEVELS)).astype(np.uint8), samples=None)


def gaps(clip: Clip, rng: np.random.Generator) -> Clip:
    """The same words with bands and moments that are hardly there: what is left must do."""
    mel = clip.mel.astype(np.int16)
    for _ in range(int(rng.integers(0, 3))):
        width = int(rng.integers(2, 12))
        first = int(rng.integers(0, BINS - width + 1))
        mel[:, first : first + width] -= FAINT
    for at in np.flatnonzero(rng.random(len(mel)) < 0.008):
        mel[at : at + int(rng.integers(3, 13))] -= FAINT
    return replace(clip, mel=mel.clip(0).astype(np.uint8), samples=None)


def _colour(rng: np.random.Generator, depth_db: float) -> Floats:
    """A smooth random gain per bin, as a power factor."""
    knots = rng.normal(0, depth_db, 6)
    db = np.interp(np.linspace(0, 5, BINS), np.arange(6), knots)
    return np.power(10.0, db / 10).astype(np.float32)


def _room(power: Floats, rng: np.random.Generator) -> Floats:
    """A room's tail: exponential decay of power, longer at low frequencies."""
    seconds = rng.uniform(0.1, 0.7) * np.linspace(1.2, 0.7, BINS)
    keep = np.power(10.0, -6 / (seconds * 100)).astype(np.float32)  # −60 dB after `seconds`
    share = np.float32(np.power(10.0, rng.uniform(-2.0, -0.3)))
    tail = np.stack([lfilter([0, 1 - k], [1, -k], power[:, m]) for m, k in enumerate(keep)], 1)
    return np.asarray(power + share * tail, np.float32)


def _hiss(frames: int, rng: np.random.Generator) -> Floats:
    """Steady or slowly moving noise of a random colour, with the fluctuation that mel powers of noise have."""
    colour = _colour(rng, 6.0) * np.power(10.0, -rng.uniform(0, 3) * np.linspace(0, 1, BINS)).astype(
        np.float32
    )
    grain = rng.gamma(4.0, 0.25, (frames, BINS)).astype(np.float32)
    swing = np.interp(
        np.arange(frames),
        np.arange(0, frames + 200, 100),
        rng.normal(0, 0.25, len(range(0, frames + 200, 100))),
    )
    return np.asarray(grain * colour * np.power(10.0, swing)[:, None], np.float32)


def _events(frames: int, rng: np.random.Generator) -> Floats:
    """Knocks, clicks, keys, coughs: short broadband bursts, some of them in twos and threes."""
    out = np.zeros((frames, BINS), np.float32)
    for _ in range(rng.poisson(frames / 400)):
        cough = rng.random() < 0.3
        at, length = int(rng.integers(0, frames)), int(rng.integers(15, 40) if cough else rng.integers(2, 25))
        shape = np.power(10.0, -np.arange(length) / length * rng.uniform(1, 4)).astype(np.float32)
        burst = shape[:, None] * _colour(rng, 6.0) * np.float32(rng.uniform(0.1, 2.0))
        for _ in range(int(rng.integers(1, 4)) if cough else 1):
            stop = min(frames, at + length)
            out[at:stop] += burst[: max(0, stop - at)]
            at += length + int(rng.integers(5, 30))
    return out


def _echo(episode: Episode, mouth: Sequence[Bytes], frames: int, rng: np.random.Generator) -> Floats:
    """The model's own voice as a loudspeaker gives it back: not its words, but its voice whenever it speaks."""
    out = np.zeros((frames, BINS), np.float32)
    late = int(rng.integers(2, 21))
    colour = _colour(rng, 3.0)
    for word in schedule(episode.says)[0]:
        clip = mouth[int(rng.integers(len(mouth)))]
        at, length = word.start_ms // 10 + late, (word.end_ms - word.start_ms) // 10
        first = int(rng.integers(0, max(1, len(clip) - length)))
        part = POWER[clip[first : first + min(length, max(0, frames - at))]]
        out[at : at + len(part)] += part * colour
    return out


def _holes(power: Floats, rng: np.random.Generator) -> None:
    """Bands that a microphone does not pass, and moments that got lost."""
    for _ in range(int(rng.integers(0, 3))):
        first = int(rng.integers(0, BINS - 4))
        power[:, first : first + int(rng.integers(2, 9))] *= 1e-3
    for at in np.flatnonzero(rng.random(len(power)) < rng.uniform(0, 0.01)):
        power[at : at + int(rng.integers(2, 8))] *= 1e-3


def _clip(power: Floats, loud: float, rng: np.random.Generator) -> Floats:
    """A microphone driven too far: loud frames are capped, and what is cut off smears over the spectrum."""
    whole = power.sum(1, keepdims=True)
    kept = np.minimum(1.0, loud * 10 ** rng.uniform(-1.0, 0.2) / np.maximum(whole, 1e-12))
    return np.asarray(power * kept + whole * kept * (1 - kept) * (0.1 / BINS), np.float32)


def _codec(power: Floats, rng: np.random.Generator) -> Floats:
    """Few bits: bins far below the strongest of their frame are not sent."""
    strongest = power.max(1, keepdims=True)
    return np.where(power < strongest * np.float32(10 ** -rng.uniform(2.0, 4.5)), 0, power)


def mix(
    episode: Episode,
    rng: np.random.Generator,
    noises: Sequence[Bytes],
    mouth: Sequence[Bytes],
    hardship: float,
) -> tuple[Floats, Flags]:
    """Log10 powers [N, FRAMES, BINS] and which ticks arrived [N]."""
    frames = episode.ticks * FRAMES
    total = np.zeros((frames, BINS), np.float32)
    hard = rng.random() < 0.75 * hardship
    hard = hard if episode.noisy is None else episode.noisy
    people: dict[int, tuple[Floats, bool]] = {}
    speech_power = 1e-6
    for placed in episode.placed:
        if placed.who not in people:
            people[placed.who] = (_colour(rng, 3.0 if hard else 1.0), hard and rng.random() < 0.4)
        colour, room = people[placed.who]
        power = POWER[placed.clip.mel] * colour * np.float32(10 ** (placed.gain_db / 10))
        if room:
            power = _room(np.concatenate([power, np.zeros((40, BINS), np.float32)]), rng)
        at = placed.at_ms // 10
        stop = min(frames, at + len(power))
        total[at:stop] += power[: stop - at]
        speech_power = max(speech_power, float(np.percentile(power.sum(1), 80)))
    if hard:
        if rng.random() < 0.7 or episode.noisy:
            snr = rng.uniform(3, 35) if episode.noisy is None else rng.uniform(3, 10)
            noise = _hiss(frames, rng)
            if noises and rng.random() < 0.5:
                source = noises[int(rng.integers(len(noises)))]
                first = int(rng.integers(0, len(source)))
                noise = POWER[np.take(source, np.arange(first, first + frames), axis=0, mode="wrap")]
                noise = noise * _colour(rng, 2.0)
            noise *= speech_power / max(float(noise.sum(1).mean()), 1e-9) * 10 ** (-snr / 10)
            total += noise
        if mouth and episode.says and rng.random() < 0.4:
            echo = _echo(episode, mouth, frames, rng)
            level = speech_power * 10 ** rng.uniform(-3.0, -0.8)
            total += echo * np.float32(level / max(1e-6, float(np.percentile(echo.sum(1), 98))))
        if rng.random() < 0.3:
            total += _events(frames, rng) * speech_power * np.float32(10 ** rng.uniform(-3, -1))
        if rng.random() < 0.4:
            _holes(total, rng)
        if rng.random() < 0.25:
            total[:, rng.choice(list(BAND_TOPS.values())) :] *= 1e-4
        total *= _colour(rng, 3.0)
        if rng.random() < 0.1:
            total = _clip(total, speech_power, rng)
        if rng.random() < 0.15:
            total = _codec(total, rng)
    floor = 10 ** rng.uniform(-9.0, -6.0 if episode.noisy is None else -8.0)
    loudness = rng.normal(0, 8) if hardship else 0.0
    total = total * np.float32(10 ** (loudness / 10)) + rng.gamma(4.0, 0.25 * floor, total.shape).astype(
        np.float32
    )
    arrived = np.ones(episode.ticks, np.bool_)
    if rng.random() < 0.15 * hardship:
        share, burst = rng.uniform(0.01, 0.15), rng.integers(1, 4)
        for start in np.flatnonzero(rng.random(episode.ticks) < share / burst):
            arrived[start : start + burst] = False
    return np.log10(total).reshape(episode.ticks, FRAMES, BINS), arrived


def to_levels(log_power: Floats, levels: int) -> Bytes:
    exact = (log_power - LOW) / (HIGH - LOW) * levels
    return np.asarray(np.clip(np.floor(exact), 0, levels - 1), np.uint8)

"""An episode as the waveform that reaches the model, sample by sample, and what it reads when.

Training composes powers of mel bins; here clips are added as the sound they are, so that a score says
something about microphones. Everything follows from the seed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import soxr

from microturn.clock import HEAR_RATE, HEAR_SAMPLES, SPEAK_RATE, SPEAK_SAMPLES
from microturn.engine import Stream
from microturn.scenes.episode import Episode
from microturn.streams import Action, Flags, Floats, Perception, TextIn, joined

MS = HEAR_RATE // 1000  # samples in a millisecond
FLOOR_DB = -75.0  # of the microphone's own hiss, full scale = 0: digital silence does not exist
NOISY_DB = 6.0  # speech above the noise of a place that is called noisy
LOUD = 0.02  # where a sample counts as speech when loudness is measured (−34 dB)


@dataclass(frozen=True)
class Surroundings:
    """What comes to a microphone beside people, and what is lost on the way."""

    noise_snr_db: float | None = None  # white noise, against the loudness of speech
    kitchen: Floats | None = None  # [n] a recording, wrapped around from a random place
    kitchen_snr_db: float = 12.0
    echo_ms: int = (
        0  # what is said to it comes out of a loudspeaker and back, this much later (a tick at most) …
    )
    echo_db: float = -20.0  # … and this much quieter
    loss: float = 0.0  # share of ticks that never arrive
    burst: float = 2.0  # ticks lost together, on average


CLEAN = Surroundings()


class Unfit(ValueError):
    """A suite that a target cannot be given."""


@dataclass(frozen=True)
class Case:
    """One test: an episode as it really sounds."""

    episode: Episode
    samples: Floats  # [ticks · 3200] at 16 kHz
    arrived: Flags  # [ticks] false: nothing came
    name: str = ""  # of its folder, where it was imported from one
    number: int = 0  # among those of its suite
    echo_ms: int = 0  # whoever is given the case hears itself this much later, if at all …
    echo_db: float = 0.0  # … and this much louder

    def stream(self, frame_size: tuple[int, int]) -> Stream:
        """The same for the engine, with frames of the model's size."""
        read = [TextIn(r.text, r.channel) for r in self.episode.reads if r.tick < 0]
        stream = Stream((), read, self.episode.seed)
        stream.perceptions = self.perceptions(frame_size, stream.actions)
        return stream

    def perceptions(
        self, frame_size: tuple[int, int], actions: Sequence[Action] = ()
    ) -> Iterator[Perception]:
        """What comes in tick after tick; `actions` are those that were done so far."""
        film, ticks = self.episode.film, self.episode.ticks
        frames = [None] * ticks if film is None else film.frames(frame_size, ticks)
        for tick in range(ticks):
            text = tuple(TextIn(r.text, r.channel) for r in self.episode.reads if r.tick == tick)
            audio = self.samples[tick * HEAR_SAMPLES : (tick + 1) * HEAR_SAMPLES]
            if self.echo_ms:
                audio = np.clip(audio + self._echo(actions), -1, 1)
            arrived = self.arrived[tick]
            yield Perception(audio if arrived else None, frames[tick] if arrived else None, text)

    def _echo(self, actions: Sequence[Action]) -> Floats:
        """[3200] what comes back in the tick in which the last action is heard."""
        late = self.echo_ms * MS
        own = joined((None, None, *(action.speech for action in actions[-2:])))[-2 * SPEAK_SAMPLES :]
        heard = soxr.resample(own, SPEAK_RATE, HEAR_RATE)[HEAR_SAMPLES - late : 2 * HEAR_SAMPLES - late]
        return np.asarray(heard * 10 ** (self.echo_db / 20), np.float32)


def voices(episode: Episode) -> tuple[str, ...]:
    return tuple(dict.fromkeys(placed.clip.voice for placed in episode.placed))


def make_case(episode: Episode, seed: int = 0, around: Surroundings = CLEAN) -> Case:
    """The episode in its surroundings. Two with the same seed differ only in what differs around them."""
    hiss, noise, start, lost = (np.random.default_rng((seed, part)) for part in range(4))
    samples = placed_samples(episode)
    loud = loudness(samples)
    if episode.noisy:
        around = replace(around, noise_snr_db=NOISY_DB)
    samples += hiss.standard_normal(len(samples), np.float32) * np.float32(10 ** (FLOOR_DB / 20))
    if around.noise_snr_db is not None:
        level = loud * 10 ** (-around.noise_snr_db / 20)
        samples += noise.standard_normal(len(samples), np.float32) * np.float32(level)
    if around.kitchen is not None:
        first = int(start.integers(len(around.kitchen)))
        sound = np.take(around.kitchen, np.arange(first, first + len(samples)), mode="wrap")
        level = loud * 10 ** (-around.kitchen_snr_db / 20) / max(1e-6, float(np.sqrt(np.mean(sound**2))))
        samples += sound * np.float32(level)
    arrived = arrivals(episode.ticks, around.loss, around.burst, lost)
    return Case(episode, np.clip(samples, -1, 1), arrived, echo_ms=around.echo_ms, echo_db=around.echo_db)


def placed_samples(episode: Episode) -> Floats:
    """Every clip at its place and loudness, added up; what would go on after the end is cut."""
    total = np.zeros(episode.ticks * HEAR_SAMPLES, np.float32)
    for placed in episode.placed:
        if placed.clip.samples is None:
            raise ValueError(f"{episode.scene}: the clip “{placed.clip.text}” has no samples to compose")
        at = placed.at_ms * MS
        sound = placed.clip.samples[: max(0, len(total) - at)]
        total[at : at + len(sound)] += sound * np.float32(10 ** (placed.gain_db / 20))
    return total


def loudness(samples: Floats) -> float:
    """Root mean square of what is speech in it."""
    loud = samples[np.abs(samples) > LOUD]
    return float(np.sqrt(np.mean(loud**2))) if len(loud) else LOUD


def arrivals(ticks: int, share: float, burst: float, rng: np.random.Generator) -> Flags:
    """Which ticks arrive: a line that is up or down, `share` of the time down, `burst` ticks on average."""
    if not 0 <= share < 1 or burst < 1:
        raise ValueError(f"loss must be 0 … 1 in bursts of a tick or more, not {share} in bursts of {burst}")
    arrived = np.ones(ticks, np.bool_)
    if share == 0:
        return arrived
    recover = 1 / burst
    fail = min(1.0, share * recover / (1 - share))
    down = False
    for tick, chance in enumerate(rng.random(ticks)):
        down = chance >= recover if down else chance < fail
        arrived[tick] = not down
    return arrived

"""What the engine counts: durations in a histogram of fixed size, and the records that it hands out.

Nothing here grows. A histogram halves its counts when it is full of them, so its percentiles are those of the
last few thousand entries: an engine that has become slow, or fast again, shows it within minutes.
"""

import math
from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from microturn.engine.slots import Slots

PER_OCTAVE = 16  # buckets are 4.4 % wide
OCTAVES = 28  # from 1 µs to 268 s
SHORTEST_S = 1e-6
COUNTED = ("ticks", "missed", "late", "skipped", "overdue")  # of each session
FULL = 8192  # entries after which all counts are halved


@dataclass(frozen=True)
class Spread:
    """Percentiles of recent durations in milliseconds; `count` and `sum_ms` are of all there ever were."""

    p50_ms: float = 0.0
    p95_ms: float = 0.0
    p99_ms: float = 0.0
    count: int = 0
    sum_ms: float = 0.0


class Histogram:
    """Durations in seconds, in buckets of equal ratio."""

    def __init__(self) -> None:
        self._counts = np.zeros(PER_OCTAVE * OCTAVES, np.int64)
        self._recent = 0
        self.count = 0
        self.sum_s = 0.0

    def add(self, seconds: float) -> None:
        octave = math.log2(max(seconds, SHORTEST_S) / SHORTEST_S)
        self._counts[min(int(octave * PER_OCTAVE), len(self._counts) - 1)] += 1
        self.count += 1
        self.sum_s += seconds
        self._recent += 1
        if self._recent >= FULL:
            self._counts //= 2
            self._recent = int(self._counts.sum())

    def quantile(self, share: float) -> float:
        """Seconds (upper edge of the bucket) below which `share` of the recent entries lie, or 0."""
        if self._recent == 0:
            return 0.0
        bucket = int(np.searchsorted(np.cumsum(self._counts), share * self._recent))
        return float(SHORTEST_S * 2.0 ** ((bucket + 1) / PER_OCTAVE))

    def spread(self) -> Spread:
        p50, p95, p99 = (1000 * self.quantile(share) for share in (0.5, 0.95, 0.99))
        return Spread(p50, p95, p99, self.count, 1000 * self.sum_s)


@dataclass(frozen=True)
class SessionStats:
    ticks: int  # ticks stepped
    missed: int  # of these, how many in which nothing came
    late: int  # whole ticks of audio dropped because live time had passed them
    skipped: int  # ticks that never happened: the engine or the listener was not there in time
    overdue: int  # live actions that took longer than a tick from ready to done
    backlog: int  # whole ticks waiting now


@dataclass(frozen=True)
class EngineStats:
    """All sessions since the engine began, closed ones included."""

    slots: int
    sessions: int  # slots that are not free
    ticks: int
    steps: int  # calls of the model: ticks ÷ steps is the mean batch
    missed: int
    late: int
    skipped: int
    overdue: int
    failed: int  # sessions ended by an error
    refused: int  # openings answered with EngineFull
    backlog: int
    gather: Spread
    step: Spread
    deliver: Spread
    reaction: Spread  # live ticks: from ready to stepped


@dataclass
class Meters:
    """The engine's running counts, and those of sessions that are no more."""

    gather: Histogram = field(default_factory=Histogram)
    step: Histogram = field(default_factory=Histogram)
    deliver: Histogram = field(default_factory=Histogram)
    reaction: Histogram = field(default_factory=Histogram)
    counts: Counter[str] = field(default_factory=Counter)
    failed: int = 0
    refused: int = 0

    def ended(self, last: SessionStats, failed: bool) -> None:
        self.counts.update({name: getattr(last, name) for name in COUNTED})
        self.failed += failed

    def report(self, slots: Slots) -> EngineStats:
        return EngineStats(
            slots=slots.count,
            sessions=int(np.count_nonzero(slots.stage)),
            steps=self.step.count,
            failed=self.failed,
            refused=self.refused,
            backlog=int((slots.tail - slots.head).sum()),
            gather=self.gather.spread(),
            step=self.step.spread(),
            deliver=self.deliver.spread(),
            reaction=self.reaction.spread(),
            **{name: self.counts[name] + int(getattr(slots, name).sum()) for name in COUNTED},
        )

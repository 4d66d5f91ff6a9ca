"""Numbers with their uncertainty: every figure of a benchmark is a `Measure`.

Shares carry Wilson's interval; everything that is a ratio of sums over cases carries a bootstrap interval
(percentiles of ratios over resampled cases, seeded), because the words of one case are not independent.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

Z95 = 1.959964
RESAMPLES = 1000


@dataclass(frozen=True)
class Measure:
    name: str
    value: float | None  # None: nothing to measure it on
    unit: str = ""  # "" for shares and ratios, "ms", "/min"
    low: float | None = None  # 95 %
    high: float | None = None
    n: int = 0  # what it was counted over


def wilson(hits: int, n: int) -> tuple[float, float]:
    """95 % interval of a share."""
    if n == 0:
        return 0.0, 1.0
    p, z2 = hits / n, Z95 * Z95
    middle = (p + z2 / (2 * n)) / (1 + z2 / n)
    half = Z95 * math.sqrt(p * (1 - p) / n + z2 / (4 * n * n)) / (1 + z2 / n)
    return max(0.0, middle - half), min(1.0, middle + half)


def share(name: str, hits: Sequence[bool]) -> Measure:
    n = len(hits)
    if n == 0:
        return Measure(name, None)
    low, high = wilson(sum(hits), n)
    return Measure(name, sum(hits) / n, "", low, high, n)


def bootstrap(points: Sequence[float], weights: Sequence[float], seed: int = 0) -> tuple[float, float]:
    """95 % interval of sum(points) / sum(weights) over resampled cases."""
    p, w = np.asarray(points, np.float64), np.asarray(weights, np.float64)
    rows = np.random.default_rng(seed).integers(0, len(p), (RESAMPLES, len(p)))
    total = w[rows].sum(1)
    ratios = p[rows].sum(1)[total > 0] / total[total > 0]
    low, high = np.percentile(ratios, [2.5, 97.5])
    return float(low), float(high)


def ratio(
    name: str, points: Sequence[float], weights: Sequence[float], unit: str = "", seed: int = 0
) -> Measure:
    """sum(points) / sum(weights), one of each for a case."""
    total = float(sum(weights))
    if total <= 0:
        return Measure(name, None, unit)
    low, high = bootstrap(points, weights, seed)
    return Measure(name, float(sum(points)) / total, unit, low, high, len(points))


def mean(name: str, values: Sequence[float], unit: str = "", seed: int = 0) -> Measure:
    return ratio(name, values, [1.0] * len(values), unit, seed)


def percentiles(name: str, values: Sequence[float], unit: str = "ms") -> tuple[Measure, Measure]:
    """The middle and the slow end."""
    if not values:
        return Measure(f"{name}_p50", None, unit), Measure(f"{name}_p95", None, unit)
    p50, p95 = np.percentile(np.asarray(values, np.float64), [50, 95])
    n = len(values)
    return Measure(f"{name}_p50", float(p50), unit, n=n), Measure(f"{name}_p95", float(p95), unit, n=n)


def median(name: str, values: Sequence[float], unit: str = "ms") -> Measure:
    return Measure(name, float(np.median(values)) if len(values) else None, unit, n=len(values))


def product(name: str, a: Measure, b: Measure) -> Measure:
    """Two measures on separate cases, multiplied; the interval multiplies their ends."""
    if a.value is None or b.value is None:
        return Measure(name, None)
    low, high = (a.low or 0.0) * (b.low or 0.0), (a.high or 0.0) * (b.high or 0.0)
    return Measure(name, a.value * b.value, "", low, high, a.n + b.n)

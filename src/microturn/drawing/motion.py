"""When something moves: repetitions in time, and how far into its movement a thing is at a moment."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.floating[Any]]  # of either precision
COUNTED = 0.6  # depth of a repetition that counts


@dataclass(frozen=True)
class Rep:
    """Once there and back. One of little `depth` turns round half-way and counts for nothing."""

    start_ms: float
    end_ms: float
    depth: float = 1.0
    peak: float = 0.5  # the share of its time after which it is furthest
    hold: float = 0.0  # the share of its time that it stays there
    mirrored: bool = False  # the other arm or leg


@dataclass(frozen=True)
class Phase:
    far: Numbers  # [T] 0 at rest … 1 furthest
    cycle: Numbers  # [T] 0 … 1 through the repetition, 0 at rest
    depth: Numbers  # [T] of the repetition, 1 at rest
    mirrored: Numbers  # [T] 0 or 1


def phase(reps: tuple[Rep, ...], times: Numbers) -> Phase:
    """At `times` (ms), in any order of repetitions that do not overlap."""
    far, cycle, mirrored = (np.zeros(len(times), np.float32) for _ in range(3))
    depth = np.ones(len(times), np.float32)
    for rep in reps:
        inside = (times >= rep.start_ms) & (times < rep.end_ms)
        u = (times[inside] - rep.start_ms) / max(rep.end_ms - rep.start_ms, 1)
        go, back = rep.peak * (1 - rep.hold), 1 - rep.peak * (1 - rep.hold) - rep.hold
        way = np.minimum(u / go, np.clip((1 - u) / back, 0, 1))
        far[inside] = rep.depth * (0.5 - 0.5 * np.cos(np.pi * np.clip(way, 0, 1)))
        cycle[inside], depth[inside] = u, rep.depth
        mirrored[inside] = rep.mirrored
    return Phase(far, cycle, depth, mirrored)


def drift(rng: np.random.Generator, times: Numbers, count: int, slowest_s: float = 8.0) -> Numbers:
    """Smooth aimless movement about 0, of size about 1. [T, count]"""
    out = np.zeros((len(times), count))
    for _ in range(3):
        speed = 2 * np.pi / rng.uniform(slowest_s / 6, slowest_s, count)
        out += np.sin(times[:, None] / 1000 * speed + rng.uniform(0, 2 * np.pi, count))
    return np.asarray(out / 2, np.float32)

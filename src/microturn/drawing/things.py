"""Things of one piece: what they look like, and ways in which a thing can repeat itself.

A `Thing` is somewhere in the world; its motion turns the phase of a repetition into place, turn, size, width,
colour and opacity. It may change colour, come and go.
"""

import tomllib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from microturn.drawing.canvas import Points
from microturn.drawing.motion import COUNTED, Numbers, Rep, phase
from microturn.streams import Flags

_TABLE = tomllib.loads(Path(__file__).with_name("things.toml").read_text("utf-8"))
COLOURS: dict[str, tuple[float, float, float]] = {name: tuple(rgb) for name, rgb in _TABLE["colours"].items()}
SHAPES: dict[str, tuple[float, float, int, float, float]] = {
    name: tuple(s) for name, s in _TABLE["shapes"].items()
}
MOTIONS: dict[str, str] = _TABLE["motions"]
TEST_SHAPES = ("wheel", "coin")


@dataclass(frozen=True)
class Looks:
    """A thing before a camera, for every frame."""

    at: Numbers  # [T, 3] in the world, m
    size: Numbers  # [T] half its height, m
    turn: Points  # [T]
    width: Numbers  # [T] factor
    colour: Numbers  # [T, 3]
    there: Flags  # [T]
    string: Numbers | None = None  # [3] where it hangs from


@dataclass(frozen=True)
class Thing:
    seed: int
    shape: str
    colour: str
    at: tuple[float, float, float] = (0.0, 1.0, 0.0)
    size: float = 0.25  # m
    motion: str = ""
    reps: tuple[Rep, ...] = ()
    colours: tuple[tuple[float, str], ...] = ()  # (ms, name): from then on
    shown: tuple[tuple[float, float], ...] = ()  # (from ms, to ms); empty: always
    path: tuple[tuple[float, float, float], ...] = ()  # (ms, m to the side, m up): where it goes
    rolls: bool = False

    def looks(self, times: Numbers) -> Looks:
        rng = np.random.default_rng((self.seed, 8))
        n = len(times)
        p = phase(self.reps, times)
        at = np.tile(np.array(self.at, float), (n, 1))
        size, width, there = np.full(n, self.size), np.ones(n), np.full(n, not self.shown)
        angle = np.full(n, rng.uniform(-0.3, 0.3) if self.shape != "ball" else rng.uniform(0, 6))
        tint = np.clip(np.array(COLOURS[self.colour]) * rng.uniform(0.85, 1.1), 0, 1)
        colour = np.tile(tint, (n, 1))
        string = None
        wide = rng.uniform(0.5, 1.1)
        if self.motion in ("bounce", "jump"):  # a bounce ends on the floor, where it began
            hop = 4 * p.cycle * (1 - p.cycle) * p.depth
            at[:, 1] = self.size + hop * wide if self.motion == "bounce" else at[:, 1] + hop * 0.6 * wide
        elif self.motion == "swing":
            string = at[0] + np.array([0, 1.3, 0])
            bent = (p.far * 1.3 - 0.65) * wide * (1 if rng.random() < 0.5 else -1)
            at = string + 1.3 * np.stack([np.sin(bent), -np.cos(bent), np.zeros(n)], 1)
            angle = angle + bent
        elif self.motion in ("turn", "circle"):
            gone = np.where(p.depth < COUNTED, p.far, p.cycle)  # half of one goes back the way it came
            way = 2 * np.pi * gone * (1 if rng.random() < 0.5 else -1)
            angle = angle + way if self.motion == "turn" else angle
            if self.motion == "circle":
                at[:, :2] += 0.5 * wide * np.stack([np.sin(way), 1 - np.cos(way)], 1)
        elif self.motion == "slide":
            heading = rng.uniform(-0.5, 0.5)
            at[:, 0] += (p.far - 0.5) * 1.6 * wide * np.cos(heading)
            at[:, 1] += (p.far - 0.5) * 1.6 * wide * np.sin(heading)
        elif self.motion == "grow":
            size = size * (1 + p.far * wide)
        elif self.motion == "nod":
            angle = angle + p.far * wide * 1.2
        elif self.motion == "flip":
            tilt = np.where(p.depth < COUNTED, p.far / 2, p.cycle)
            width = np.abs(np.cos(np.pi * tilt)) * 0.92 + 0.08
        elif self.motion == "flash":
            colour = colour * (0.3 + 0.7 * p.far[:, None]) + 0.25 * p.far[:, None]
        if self.path:
            when, x, y = (np.array([point[i] for point in self.path]) for i in range(3))
            at[:, 0], at[:, 1] = np.interp(times, when, x), np.interp(times, when, y)
            angle = angle + (at[:, 0] / max(self.size, 0.02) if self.rolls else 0)
        for begin, name in self.colours:
            colour[times >= begin] = np.array(COLOURS[name])
        for begin, end in self.shown:
            there |= (times >= begin) & (times < end)
        turn = np.exp(1j * angle).astype(np.complex64)
        return Looks(at, size, turn, width, np.clip(colour, 0, 1), there, string)

"""Things of one piece: what they look like, and ways in which a thing can repeat itself.

A `Thing` is somewhere in the world; its motion turns the phase of a repetition into place, turn, size, width,
colour and opacity. It may change colour, come and go.
"""

from dataclasses import dataclass

import numpy as np

from microturn.drawing.canvas import Points
from microturn.drawing.motion import Numbers, Rep, phase
from microturn.streams import Flags

COLOURS: dict[str, tuple[float, float, float]] = {
    "red": (0.85, 0.12, 0.1),
    "green": (0.13, 0.6, 0.2),
    "blue": (0.15, 0.3, 0.85),
    "yellow": (0.95, 0.83, 0.15),
    "orange": (0.97, 0.52, 0.1),
    "purple": (0.5, 0.2, 0.65),
    "pink": (0.96, 0.55, 0.7),
    "white": (0.95, 0.95, 0.93),
    "black": (0.07, 0.07, 0.08),
    "brown": (0.42, 0.26, 0.13),
}
# roundness, width ÷ height, points, how far they stick out, globe (1) or flat (0)
SHAPES: dict[str, tuple[float, float, int, float, float]] = {
    "ball": (2, 1, 0, 0, 0.95),
    "box": (9, 1, 0, 0, 0.1),
    "egg": (2, 0.72, 0, 0, 0.9),
    "stick": (9, 0.16, 0, 0, 0.2),
    "plate": (2, 2.6, 0, 0, 0.5),
    "star": (2, 1, 5, 0.32, 0.1),
    "flower": (2, 1, 6, 0.22, 0.3),
    "kite": (1, 0.75, 0, 0, 0.1),
    "book": (9, 0.7, 0, 0, 0.1),
    "leaf": (1.4, 0.5, 0, 0, 0.3),
    # in tests only
    "wheel": (2, 1, 12, 0.06, 0.2),
    "coin": (2, 0.9, 0, 0, 0.25),
}
TEST_SHAPES = ("wheel", "coin")
# how a thing repeats itself, and what is counted
MOTIONS = {
    "bounce": "bounces",
    "swing": "swings",
    "flash": "flashes",
    "turn": "turns",
    "slide": "slides",
    "grow": "times it grows",
    "nod": "nods",
    "flip": "flips",
    "circle": "circles",
    "jump": "jumps",
}


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
            hop = 4 * p.cycle * (1 - p.cycle) * np.array([r.depth for r in self.reps] or [1.0]).max()
            at[:, 1] = self.size + hop * wide if self.motion == "bounce" else at[:, 1] + hop * 0.6 * wide
        elif self.motion == "swing":
            string = at[0] + np.array([0, 1.3, 0])
            bent = (p.far * 1.3 - 0.65) * wide * (1 if rng.random() < 0.5 else -1)
            at = string + 1.3 * np.stack([np.sin(bent), -np.cos(bent), np.zeros(n)], 1)
            angle = angle + bent
        elif self.motion in ("turn", "circle"):
            way = 2 * np.pi * p.cycle * (1 if rng.random() < 0.5 else -1)
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
            width = np.abs(np.cos(np.pi * p.cycle)) * 0.92 + 0.08
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

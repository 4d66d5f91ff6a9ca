"""Pixels: round shaded limbs and lumps of any outline, drawn over a picture with soft edges.

Points are complex numbers in pixels, x to the right and y down, so that turning is multiplying. Everything is
drawn into the smallest rectangle that holds it: a limb costs tens of microseconds.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from microturn.streams import Flags, Floats

Points = NDArray[np.complex64]


@dataclass(frozen=True)
class Light:
    """Where it comes from (x, y, towards the camera) and how much reaches the shadows."""

    x: float
    y: float
    z: float
    ambient: float


@lru_cache(maxsize=4)
def _grid(height: int, width: int) -> Points:
    y, x = np.mgrid[0:height, 0:width].astype(np.float32) + np.float32(0.5)
    return np.asarray(x + 1j * y, np.complex64)


class Canvas:
    def __init__(self, picture: Floats, light: Light) -> None:
        self.picture = picture  # [3, H, W] in 0 … 255, drawn over; whole colour planes are faster than pixels
        self.light = light
        self.height, self.width = picture.shape[1:]
        self._grid = _grid(self.height, self.width)
        self._x, self._y = self._grid.real[:1], self._grid.imag[:, :1]

    def _place(self, low: complex, high: complex, r: float) -> tuple[slice, slice] | None:
        x0, x1 = max(0, int(low.real - r)), min(self.width, int(high.real + r) + 2)
        y0, y1 = max(0, int(low.imag - r)), min(self.height, int(high.imag + r) + 2)
        return (slice(y0, y1), slice(x0, x1)) if x0 < x1 and y0 < y1 else None

    def _lay(
        self, place: tuple[slice, slice], cover: Floats, shade: Floats, *colours: Floats | Flags
    ) -> None:
        """One colour, or two and the pixels that have the second."""
        for plane in range(3):
            under = self.picture[plane][place]
            colour = colours[0][plane]
            if len(colours) == 3:
                colour = np.where(colours[2], colours[1][plane], colour)
            under += cover * (colour * shade - under)

    def limb(
        self,
        a: complex,
        b: complex,
        ra: float,
        rb: float,
        upper: Floats,
        lower: Floats,
        cut: float = 1.0,
        soft: float = 1.0,
    ) -> None:
        """A tapering limb from a to b, round at both ends: `upper` up to the share `cut` of it, then `lower`.
        Its edge is `soft` pixels wide, more where it moves."""
        low = complex(min(a.real, b.real), min(a.imag, b.imag))
        high = complex(max(a.real, b.real), max(a.imag, b.imag))
        place = self._place(low, high, max(ra, rb) + soft)
        if place is None:
            return
        length = max(abs(b - a), 0.01)
        x, y = (b - a).real / length, (b - a).imag / length
        dx = self._x[:, place[1]] - np.float32(a.real)
        dy = self._y[place[0]] - np.float32(a.imag)
        along = dx * np.float32(x) + dy * np.float32(y)  # pixels from a
        t = np.minimum(np.maximum(along, 0), np.float32(length))
        inverse = 1 / (np.float32(ra) + np.float32((rb - ra) / length) * t)
        u = (along - t) * inverse  # from the middle line, in radii
        v = (dy * np.float32(x) - dx * np.float32(y)) * inverse
        inside = 1 - u * u - v * v
        cover = np.minimum(np.maximum(inside * np.float32((ra + rb) / 4 / soft) + np.float32(0.5), 0), 1)
        light = self.light
        lit = np.sqrt(np.maximum(inside, 0)) * np.float32(light.z * (1 - light.ambient))
        lit += u * np.float32((light.x * x + light.y * y) * (1 - light.ambient))
        lit += v * np.float32((light.y * x - light.x * y) * (1 - light.ambient))
        shade = np.maximum(lit, 0) + np.float32(light.ambient)
        cut *= length
        self._lay(place, cover, shade, *((upper,) if cut >= length else (upper, lower, t > cut)))

    def lump(
        self,
        centre: complex,
        radius: float,
        turn: complex,
        outline: tuple[float, float, int, float],
        colours: tuple[Floats, Floats],
        stripes: float,
        depth: float = 0.7,
    ) -> None:
        """A thing of one piece. `outline`: roundness (1 diamond, 2 ellipse, 8 box), width ÷ height, points
        of a star and how far they stick out. `turn` is a unit number. `depth` 0 is flat, 1 a globe."""
        power, aspect, points, spike = outline
        place = self._place(centre, centre, radius * (max(aspect, 1) * (1 + spike) * 1.2) + 1)
        if place is None or radius < 0.3:
            return
        w = (self._grid[place] - np.complex64(centre)) * np.complex64(np.conj(turn) / radius)
        x, y = np.abs(w.real) / np.float32(aspect), np.abs(w.imag)
        if power == 2:
            m = np.sqrt(x * x + y * y)
        else:
            m = np.power(np.power(x, power) + np.power(y, power), np.float32(1 / power))
        if points:
            m = m / (1 + np.float32(spike) * np.cos(points * np.angle(w)).astype(np.float32))
        cover = np.clip((1 - m) * np.float32(radius * min(1, aspect)) + np.float32(0.5), 0, 1)
        light = self.light
        bent = w * np.complex64(turn)
        lit = (bent.real * np.float32(light.x) + bent.imag * np.float32(light.y)) * np.float32(depth)
        lit += np.sqrt(np.maximum(1 - np.float32(depth) * m * m, 0)) * np.float32(light.z)
        shade = np.float32(light.ambient) + np.float32(1 - light.ambient) * np.maximum(lit, 0)
        striped = (*colours, np.sin(w.real * np.float32(stripes)) > 0) if stripes else colours[:1]
        self._lay(place, cover, shade, *striped)

    def shadow(self, centre: complex, width: float, height: float, dark: float) -> None:
        """On the floor."""
        place = self._place(centre, centre, max(width, height))
        if place is not None and width > 0.5 and height > 0.2:
            w = self._grid[place] - np.complex64(centre)
            m = (w.real / np.float32(width)) ** 2 + (w.imag / np.float32(height)) ** 2
            self.picture[:, place[0], place[1]] *= 1 - np.float32(dark) * np.maximum(1 - m, 0)

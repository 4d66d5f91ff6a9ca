"""Pixels: round shaded limbs and lumps of any outline, drawn over a picture with soft edges.

Points are complex numbers in pixels, x to the right and y down, so that turning is multiplying. Everything is
drawn into the smallest rectangle that holds it: a limb costs tens of microseconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from microturn.streams import Floats

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
        self.picture = picture  # [H, W, 3] in 0 … 255, drawn over
        self.light = light
        self.height, self.width = picture.shape[:2]
        self._grid = _grid(self.height, self.width)

    def _place(self, low: complex, high: complex, r: float) -> tuple[slice, slice] | None:
        x0, x1 = max(0, int(low.real - r)), min(self.width, int(high.real + r) + 2)
        y0, y1 = max(0, int(low.imag - r)), min(self.height, int(high.imag + r) + 2)
        return (slice(y0, y1), slice(x0, x1)) if x0 < x1 and y0 < y1 else None

    def _lay(self, place: tuple[slice, slice], cover: Floats, colour: Floats, shade: Floats) -> None:
        under = self.picture[place]
        under += cover[..., None] * (colour * shade[..., None] - under)

    def limb(
        self, a: complex, b: complex, ra: float, rb: float, upper: Floats, lower: Floats, cut: float = 1.0
    ) -> None:
        """A tapering limb from a to b, round at both ends: `upper` up to the share `cut` of it, then `lower`."""
        low = complex(min(a.real, b.real), min(a.imag, b.imag))
        high = complex(max(a.real, b.real), max(a.imag, b.imag))
        place = self._place(low, high, max(ra, rb) + 1)
        if place is None:
            return
        axis = b - a if abs(b - a) > 0.01 else 0.01 + 0j
        q = (self._grid[place] - np.complex64(a)) * np.complex64(1 / axis)
        t = np.minimum(np.maximum(q.real, 0), 1)
        w = (q - t) * np.complex64(axis) / (np.float32(ra) + np.float32(rb - ra) * t)
        m = w.real * w.real + w.imag * w.imag
        inside = np.maximum(1 - m, 0)
        cover = np.minimum(np.maximum((1 - m) * np.float32((ra + rb) / 4) + np.float32(0.5), 0), 1)
        light = self.light
        lit = w.real * np.float32(light.x) + w.imag * np.float32(light.y)
        lit += np.sqrt(inside) * np.float32(light.z)
        shade = np.float32(light.ambient) + np.float32(1 - light.ambient) * np.maximum(lit, 0)
        colour = upper if cut >= 1 else np.where((t < cut)[..., None], upper, lower)
        self._lay(place, cover, colour, shade)

    def lump(
        self,
        centre: complex,
        radius: float,
        turn: complex,
        outline: tuple[float, float, int, float],
        colours: tuple[Floats, Floats],
        stripes: float,
        depth: float = 0.7,
        opacity: float = 1.0,
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
        colour = colours[0]
        if stripes:
            colour = np.where((np.sin(w.real * np.float32(stripes)) > 0)[..., None], *colours)
        self._lay(place, cover * np.float32(opacity), colour, shade)

    def shadow(self, centre: complex, width: float, height: float, dark: float) -> None:
        """On the floor."""
        place = self._place(centre, centre, max(width, height))
        if place is not None and width > 0.5 and height > 0.2:
            w = self._grid[place] - np.complex64(centre)
            m = (w.real / np.float32(width)) ** 2 + (w.imag / np.float32(height)) ** 2
            self.picture[place] *= 1 - np.float32(dark) * np.maximum(1 - m, 0)[..., None]

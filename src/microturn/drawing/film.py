"""A film: actors in a place, before a camera that may move, with the flaws that cameras have.

Everything follows from the seed; frames are drawn straight at the size that is asked for, one at the end of
each tick. `python -m microturn.drawing` says how long a frame takes and draws a sheet of them.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial

import numpy as np
from PIL import Image

from microturn.clock import end_ms
from microturn.drawing.bodies import EXERCISES, Body, Joints
from microturn.drawing.canvas import Canvas, Light, Points
from microturn.drawing.motion import Numbers, drift
from microturn.drawing.place import furnish, through
from microturn.drawing.things import SHAPES, Looks, Thing
from microturn.streams import Bytes

WALL_M = 2.2  # behind the actors


@dataclass(frozen=True)
class View:
    """Points of the world as pixels: [T, …] complex, pixels in a metre there, distance."""

    centre: Points
    scale: Numbers
    away: Numbers


@dataclass
class Shot:
    """Where the camera stands and what it does, [T] each."""

    yaw: Numbers
    pitch: float
    distance: float
    height: float
    zoom: Numbers
    roll: Numbers
    shift: Points  # of the picture, in its heights
    mirrored: bool
    focus: float = 1.0  # pixels for a metre at a metre, found by `fit`
    middle: complex = 0j

    def view(self, points: Numbers) -> View:
        """Points [T, K, 3] or [T, 3]."""
        many = points if points.ndim == 3 else points[:, None]
        cos, sin = np.cos(self.yaw)[:, None], np.sin(self.yaw)[:, None]
        x = many[..., 0] * cos - many[..., 2] * sin
        z = many[..., 0] * sin + many[..., 2] * cos
        y = many[..., 1] - self.height
        cp, sp = np.cos(self.pitch), np.sin(self.pitch)
        y, z = y * cp + z * sp, np.maximum(self.distance - (z * cp - y * sp), 0.3)
        scale = self.focus * self.zoom[:, None] / z
        flat = ((-x if self.mirrored else x) - 1j * y) * scale
        turned = flat * np.exp(1j * self.roll)[:, None] + self.middle + self.shift[:, None]
        out = View(turned.astype(np.complex64), scale, z)
        if points.ndim == 3:
            return out
        return View(out.centre[:, 0], out.scale[:, 0], out.away[:, 0])

    def fit(self, points: Numbers, size: tuple[int, int], room: tuple[int, int], fill: float) -> None:
        """Everything that happens takes up `fill` of the height and width that there is room for."""
        self.focus, self.middle = 1.0, 0j
        shift, self.shift = self.shift, np.zeros_like(self.shift)
        seen = self.view(points).centre
        low, high = complex(seen.real.min(), seen.imag.min()), complex(seen.real.max(), seen.imag.max())
        span = high - low
        self.focus = fill * min(room[1] / max(span.real, 1e-3), room[0] / max(span.imag, 1e-3))
        self.shift = shift * size[0]
        self.middle = size[1] / 2 + 0.5j * size[0] - (low + high) / 2 * self.focus


@dataclass
class Staged:
    """Who stands where before which camera."""

    rng: np.random.Generator
    shot: Shot
    people: list[tuple[Body, Joints]]
    things: list[tuple[Thing, Looks]]
    finish: _Finish


@dataclass(frozen=True)
class Film:
    """`actors` in front, `flaws` 0 (a clean drawing) to 1 (anything)."""

    seed: int
    actors: tuple[Body | Thing, ...]
    split: str = "train"
    flaws: float = 1.0
    stage: tuple[float, float] = (0.0, 0.0)  # half width and height (m) that must be in view; 0: what moves

    def frames(
        self, size: tuple[int, int], ticks: int, only: Sequence[int] | None = None
    ) -> list[Bytes | None]:
        """One for each tick, or for each of `only`; None where the camera lost it."""
        scene = self.staged(size, ticks)
        rng, shot, people, things, finish = scene.rng, scene.shot, scene.people, scene.things, scene.finish
        feet = shot.view(np.array([[[0, 0, -WALL_M]]] * ticks)).centre[:, 0].imag
        place = furnish(rng, size, float(np.median(feet)), self.split, any(self.stage))
        light = Light(
            *_unit(rng.normal(0, 0.6), -rng.uniform(0.1, 0.9), rng.uniform(0.4, 1.2)), rng.uniform(0.35, 0.75)
        )
        exposure = rng.uniform(0, 0.25) * self.flaws
        strokes = [s for who, j in people for s in (*_limbs(j, shot, exposure), *_props(who, j, shot))]
        strokes += [s for a, look in things for s in _lumps(a, look, shot)]
        shades = [_shadow(j.a[:, 0], shot) for _, j in people]
        dark = rng.uniform(0.1, 0.5)
        pan = shot.shift + 0.35 * size[0] * (shot.yaw - shot.yaw[0]) * (-1 if shot.mirrored else 1)
        out: list[Bytes | None] = []
        last: tuple[complex, float] | None = None
        for k in range(ticks) if only is None else only:
            if last != (look := (complex(pan[k]), float(shot.zoom[k]))):
                behind, last = through(place, size, *look), look
            canvas = Canvas(behind.copy(), light)
            for centre, radius in shades:
                canvas.shadow(complex(centre[k]), float(radius[k]), float(radius[k]) * 0.3, dark)
            for stroke in sorted(strokes, key=lambda s: -float(s.away[k])):
                stroke.draw(canvas, k)
            out.append(None if finish.gone[k] else finish.apply(canvas, k))
        return out

    def staged(self, size: tuple[int, int], ticks: int) -> Staged:
        rng = np.random.default_rng((self.seed, 1))
        times = np.array([end_ms(k) for k in range(ticks)], np.float32)
        shot = self._shot(rng, times)
        people = [(a, a.joints(times)) for a in self.actors if isinstance(a, Body)]
        things = [(a, a.looks(times)) for a in self.actors if isinstance(a, Thing)]
        if any(self.stage) or not self.actors:
            w, h = self.stage if any(self.stage) else (1.0, 1.5)
            points = np.tile(np.array([[-w, 0, 0], [w, 0, 0], [-w, h, 0], [w, h, 0]]), (ticks, 1, 1))
        else:
            ways = (np.array([1.0, 1, 0]), np.array([-1.0, -1, 0]))
            edges = [look.at[:, None] + way * look.size[:, None, None] for _, look in things for way in ways]
            points = np.concatenate([np.concatenate([j.a, j.b], 1) for _, j in people] + edges, 1)
        finish = _Finish(rng, size, times, self.flaws)
        room = (size[0] - 2 * finish.top, size[1] - 2 * finish.side)
        if people and not any(self.stage) and rng.random() < 0.12 * self.flaws:
            fill = rng.uniform(0.95, 1.6)  # from close by, parts of somebody
        else:
            fill = rng.uniform(0.62 if people or any(self.stage) else 0.25, 0.95)
        shot.fit(points, size, room, fill)
        return Staged(rng, shot, people, things, finish)

    def _shot(self, rng: np.random.Generator, times: Numbers) -> Shot:
        n = len(times)
        moving = rng.random() < 0.35 * self.flaws
        hand = rng.uniform(0, 0.02) if rng.random() < 0.5 * self.flaws else 0.0
        orbit = rng.uniform(-0.5, 0.5) * (times - times[0]) / 20000 if moving else np.zeros(n)
        flat = all(isinstance(a, Thing) for a in self.actors) or any(self.stage)
        yaw = rng.normal(0, 0.1) if flat else 0.0
        wobble = drift(rng, times, 4, 5.0)
        return Shot(
            yaw=yaw + orbit * (0.3 if flat else 1.0),
            pitch=float(rng.normal(0.08, 0.12)),
            distance=float(rng.uniform(3.0, 7.0)),
            height=float(rng.uniform(0.5, 1.7)),
            zoom=1 + (0.06 * wobble[:, 0] if moving else np.zeros(n)),
            roll=rng.normal(0, 0.03) + hand * wobble[:, 1],
            shift=(hand * (wobble[:, 2] + 1j * wobble[:, 3])).astype(np.complex64),
            mirrored=bool(rng.random() < 0.5) and not any(self.stage),
        )


def _unit(x: float, y: float, z: float) -> tuple[float, float, float]:
    n = float(np.sqrt(x * x + y * y + z * z))
    return x / n, y / n, z / n


@dataclass(frozen=True)
class Stroke:
    """Something drawn in every frame, the farthest first."""

    away: Numbers  # [T]
    draw: Callable[[Canvas, int], None]


def _limbs(j: Joints, shot: Shot, exposure: float) -> Iterator[Stroke]:
    """`exposure`: the share of a tick in which what moves is smeared."""
    first, last = shot.view(j.a), shot.view(j.b)
    wide, narrow = first.scale * j.ra, last.scale * j.rb
    colours = [(j.upper[i] * 255, j.lower[i] * 255, float(j.cut[i])) for i in range(j.a.shape[1])]
    middle = (first.centre + last.centre) / 2
    speed = np.abs(np.diff(middle, axis=0, prepend=middle[:1]))  # pixels a tick
    soft = 1 + np.minimum(speed * exposure / 2, wide + narrow)
    rows = [x.tolist() for x in (first.centre, last.centre, wide, narrow, soft)]

    def draw(canvas: Canvas, k: int, i: int) -> None:
        a, b, ra, rb, soft = (row[k][i] for row in rows)
        canvas.limb(a, b, ra, rb, *colours[i], soft)

    for i in range(len(colours)):
        yield Stroke((first.away[:, i] + last.away[:, i]) / 2, partial(draw, i=i))


def _lumps(thing: Thing, look: Looks, shot: Shot) -> Iterator[Stroke]:
    seen = shot.view(look.at)
    roundness, aspect, points, spike, globe = SHAPES[thing.shape]
    rng = np.random.default_rng((thing.seed, 9))
    stripes = rng.choice([0.0, 0.0, 3.0, 5.0])
    colour = (look.colour * 255).astype(np.float32)
    other = np.clip(colour * np.float32(rng.uniform(0.5, 1.4)), 0, 255)
    if (
        thing.motion == "turn"
    ):  # one half of it is darker, or lighter: else a box is back after a quarter of a turn
        stripes, other = 3.0, np.where(colour.mean(1, keepdims=True) > 100, 0.4 * colour, colour + 120)
    turn = np.conj(look.turn) if shot.mirrored else look.turn

    def draw(canvas: Canvas, k: int) -> None:
        if look.there[k]:
            outline = (roundness, aspect * float(look.width[k]), points, spike)
            radius = float(look.size[k] * seen.scale[k])
            both = (colour[k], other[k])
            canvas.lump(complex(seen.centre[k]), radius, complex(turn[k]), outline, both, stripes, globe)

    yield Stroke(seen.away, draw)
    if look.string is not None:
        top = shot.view(np.tile(look.string, (len(look.at), 1)))
        grey = np.full(3, 60, np.float32)

        def hang(canvas: Canvas, k: int) -> None:
            r = 0.02 * float(seen.scale[k])
            canvas.limb(complex(top.centre[k]), complex(seen.centre[k]), r, r, grey, grey)

        yield Stroke(seen.away + 0.01, hang)


def _props(body: Body, j: Joints, shot: Shot) -> Iterator[Stroke]:
    """What is held: a bar across both hands, a bell in each, or a beam to hang from."""
    prop = EXERCISES[body.acts[0][0]].prop if body.acts else ""
    if not prop:
        return
    left, right = j.b[:, 4], j.b[:, 9]  # the hands
    across = (left - right) / np.maximum(np.linalg.norm(left - right, axis=1, keepdims=True), 0.05)
    grey = np.full(3, 75 if prop != "beam" else 125, np.float32)
    dark = np.full(3, 25, np.float32)
    if prop == "bells":
        rods = [(hand - 0.13 * across, hand + 0.13 * across) for hand in (left, right)]
    else:
        rods = [((left + right) / 2 - 0.75 * across, (left + right) / 2 + 0.75 * across)]
    for a_m, b_m in rods:
        a, b = shot.view(a_m), shot.view(b_m)

        def draw(canvas: Canvas, k: int, a: View = a, b: View = b) -> None:
            ends, s = (complex(a.centre[k]), complex(b.centre[k])), float(a.scale[k])
            canvas.limb(*ends, 0.02 * s, 0.02 * s, grey, grey)
            for end in ends if prop != "beam" else ():
                canvas.lump(
                    end, (0.2 if prop == "bar" else 0.07) * s, 1, (2, 0.5, 0, 0), (dark, dark), 0, 0.5
                )

        yield Stroke((a.away + b.away) / 2 - 0.05, draw)


def _shadow(hips: Numbers, shot: Shot) -> tuple[Points, Numbers]:
    under = shot.view(hips * np.array([1.0, 0, 1]))
    return under.centre, np.asarray(under.scale * 0.5)


@lru_cache(maxsize=4)
def _grain(height: int, width: int) -> Numbers:
    return np.asarray(np.random.default_rng(0).normal(0, 1, (3, 2 * height, 2 * width)), np.float32)


class _Finish:
    """What a camera does to a picture: exposure, tint, a dim edge, blur, grain, compression, lost frames."""

    def __init__(self, rng: np.random.Generator, size: tuple[int, int], times: Numbers, flaws: float) -> None:
        self.rng = rng
        self.size = size
        bright = rng.normal(1, 0.12) * (1 + 0.12 * flaws * (rng.random() < 0.3) * drift(rng, times, 1)[:, 0])
        self.tint = (bright[:, None] * (1 + rng.normal(0, 0.05 * flaws, 3))).astype(np.float32)
        gamma = np.exp(rng.normal(0, 0.2 * flaws))
        self.curve = np.round(255 * (np.arange(256) / 255) ** gamma).astype(np.uint8)
        grains = np.float32(rng.uniform(0, 15) * flaws)
        self.grain = _grain(*size) * grains if rng.random() < 0.6 else None
        self.quality = int(rng.integers(12, 70)) if rng.random() < 0.35 * flaws else 0
        self.coarse = float(rng.uniform(0.4, 0.8)) if rng.random() < 0.25 * flaws else 0.0
        y, x = np.mgrid[-1 : 1 : size[0] * 1j, -1 : 1 : size[1] * 1j].astype(np.float32)
        dim = 1 - np.float32(rng.uniform(0, 0.2)) * (x * x + y * y)
        self.dim = dim if rng.random() < 0.4 * flaws else None
        shape = rng.choice(("", "phone", "wide"), p=(1 - 0.45 * flaws, 0.12 * flaws, 0.33 * flaws))
        self.side = int(rng.uniform(0.05, 0.3) * size[1]) if shape == "phone" else 0
        self.top = int(rng.choice((0.125, 0.125, 0.16, 0.2)) * size[0]) if shape == "wide" else 0
        self.gone = rng.random(len(times)) < (rng.uniform(0, 0.1) if rng.random() < 0.1 * flaws else 0)

    def apply(self, canvas: Canvas, k: int) -> Bytes:
        picture = canvas.picture
        picture *= self.tint[k][:, None, None]
        if self.dim is not None:
            picture *= self.dim
        height, width = self.size
        if self.grain is not None:
            y, x = self.rng.integers(0, (height, width)).tolist()
            picture += self.grain[:, y : y + height, x : x + width]
        whole = np.minimum(np.maximum(picture, 0, out=picture), 255, out=picture).astype(np.uint8)
        done = np.ascontiguousarray(self.curve[whole].transpose(1, 2, 0))
        if self.side:
            done[:, : self.side] = done[:, width - self.side :] = 0
        if self.top:
            done[: self.top] = done[height - self.top :] = 0
        if self.coarse or self.quality:
            image = Image.fromarray(done)
            if self.coarse:
                less = (max(1, int(width * self.coarse)), max(1, int(height * self.coarse)))
                image = image.resize(less, Image.Resampling.BILINEAR)
            if self.quality:
                packed = io.BytesIO()
                image.save(packed, "JPEG", quality=self.quality)
                image = Image.open(packed)
            done = np.asarray(image.resize((width, height), Image.Resampling.BILINEAR))
        return np.asarray(done, np.uint8)

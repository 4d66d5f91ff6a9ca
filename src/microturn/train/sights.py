"""Lessons for the eyes: what there is to be seen in a frame and what has moved, as the drawing knows it.

Nine of the maps are taught where limbs end, one for each shape where it is; how many there are, of which colour the
only one is, what somebody does, how far into it and when a repetition came to its end are told from what maps say.

Shape suffixes: M frames, B episodes, N ticks, P limbs, S shapes, C cells.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from microturn.clock import TICKS_PER_SECOND
from microturn.drawing import Film
from microturn.drawing.truth import PARTS, truth
from microturn.model.eyes import ACTS, CELL, MOST, SHAPES, VALUES, Seen
from microturn.model.eyes import PARTS as KINDS
from microturn.model.network import Network
from microturn.scenes import compose, write
from microturn.streams import Bytes, Flags
from microturn.train.sound import unspoken

WHICH = tuple(tuple(dict.fromkeys(PARTS)).index(name) for name in PARTS)  # left and right are of one kind
THERE = 4.0  # more weight for a shape that is there
BLIND = 0.08  # share of maps that a film goes without while movements are learned
ENDED = 5.0  # more weight for the tick in which a repetition ends
SCENES = {"reps": 0.45, "charades": 0.2, "notice": 0.2, "look": 0.15}
WHERE, MOVES = 4.0, 0.2
TICKS = 80  # of a film
SINGLE, STRETCH = 4, 40  # frames of a film: here and there, or in a row


@dataclass
class Sight:
    frames: Tensor  # [M, H, W, 3]
    has_frame: Tensor  # [B, N]
    body: Tensor  # [M, P, 2]
    count: Tensor  # [M, S]
    colour: Tensor  # [M, S]
    place: Tensor  # [M, S, 2]
    act: Tensor  # [M]
    far: Tensor  # [M]
    ended: Tensor  # [M]
    in_a_row: Tensor  # [] or frames are moments here and there, which tell nothing about movements

    @property
    def ticks(self) -> int:
        return len(self.frames)

    def to(self, device: torch.device) -> Sight:
        return Sight(**{name: tensor.to(device) for name, tensor in vars(self).items()})


@dataclass
class Shot:
    """Some ticks of a film: frames that the camera did not lose, and what there is to be seen in them."""

    frames: Bytes  # [m, H, W, 3]
    there: Flags  # [ticks]
    told: dict[str, np.ndarray]  # the fields of Truth, [m, …]


def shoot(seed: int, size: tuple[int, int], count: int, in_a_row: bool, split: str = "train") -> Shot:
    rng = random.Random(seed)
    scene = rng.choices(list(SCENES), list(SCENES.values()))[0]
    script = write(scene, rng.randrange(1 << 40, 1 << 41), split, TICKS / TICKS_PER_SECOND)
    clips = [unspoken(line.text, 1.0) for line in script.lines]
    film = compose(script, clips, TICKS / TICKS_PER_SECOND, take=rng.randrange(1 << 30)).film
    assert isinstance(film, Film)
    first = rng.randrange(TICKS - count)
    at = list(range(first, first + count)) if in_a_row else sorted(rng.sample(range(TICKS), count))
    return shot_of(film, size, TICKS, at, film.frames(size, TICKS, at))


def shot_of(
    film: Film, size: tuple[int, int], ticks: int, at: Sequence[int], drawn: Sequence[Bytes | None]
) -> Shot:
    """`drawn`: what the film of so many ticks shows at these."""
    frames = [frame for frame in drawn if frame is not None]
    there = np.array([frame is not None for frame in drawn])
    told = vars(truth(film, size, ticks))
    kept = np.array(at)[there]
    pictures = np.stack(frames) if frames else np.zeros((0, *size, 3), np.uint8)
    return Shot(pictures, there, {name: values[kept] for name, values in told.items()})


class Gallery:
    """Films that many steps look at: every step brings some new ones, and the oldest go.

    A step sees single frames of a hundred films, or, every third time, stretches of a few.
    """

    def __init__(self, seed: int, size: tuple[int, int]) -> None:
        self.seed, self.size = seed, size
        self._kept: dict[int, dict[int, Shot]] = {SINGLE: {}, STRETCH: {}}

    def _shot(self, count: int, number: int) -> Shot:
        kept = self._kept[count]
        if number not in kept:
            kept[number] = shoot(hash((self.seed, count, number)), self.size, count, count == STRETCH)
        return kept[number]

    def batch(self, step: int) -> Sight:
        rng = random.Random(f"{self.seed} {step}")
        in_a_row = step % 3 == 0
        count, films, fresh, held = (STRETCH, 6, 1, 300) if in_a_row else (SINGLE, 96, 12, 1500)
        oldest = step * fresh
        kept = self._kept[count]
        for number in [n for n in kept if n < oldest]:
            del kept[number]
        shots = [self._shot(count, n) for n in rng.sample(range(oldest, oldest + held), films)]
        if in_a_row:
            return joined(shots, np.stack([shot.there for shot in shots]), True)
        some = []
        for shot in shots:
            if len(shot.frames):
                i = rng.randrange(len(shot.frames))
                told = {name: values[i : i + 1] for name, values in shot.told.items()}
                some.append(Shot(shot.frames[i : i + 1], np.ones(1, bool), told))
        return joined(some, np.ones((len(some), 1), bool), False)


def joined(shots: Sequence[Shot], there: Flags, in_a_row: bool) -> Sight:
    def of(name: str, kind: torch.dtype) -> Tensor:
        return torch.from_numpy(np.concatenate([shot.told[name] for shot in shots])).to(kind)

    whole, real = torch.long, torch.float
    return Sight(
        torch.from_numpy(np.concatenate([shot.frames for shot in shots])),
        torch.from_numpy(there),
        **{name: of(name, real) for name in ("body", "place", "far", "ended")},
        **{name: of(name, whole) for name in ("count", "colour", "act")},
        in_a_row=torch.tensor(in_a_row),
    )


def cells(at: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Places −1…1 [..., 2] → numbers of cells, and which are in the picture."""
    rows, columns = size[0] // CELL, size[1] // CELL
    x, y = ((at[..., 0] + 1) * columns / 2).floor(), ((at[..., 1] + 1) * rows / 2).floor()
    inside = (x >= 0) & (x < columns) & (y >= 0) & (y < rows)
    return torch.where(inside, y * columns + x, 0).long(), inside


@dataclass(frozen=True)
class Lessons:
    where: Tensor
    what: Tensor
    moves: Tensor

    def total(self) -> Tensor:
        return WHERE * self.where + self.what + MOVES * self.moves


def sight_losses(network: Network, saw: Seen, sight: Sight) -> Lessons:
    size = tuple(sight.frames.shape[1:3])
    odds = saw.maps.log_softmax(-1)
    rows = torch.arange(len(odds), device=odds.device)[:, None]
    limb, inside = cells(sight.body, size)  # type: ignore[arg-type]
    kinds = torch.tensor(WHICH, device=odds.device).expand(len(odds), -1)
    limbs = odds[rows.expand_as(kinds)[inside], kinds[inside], limb[inside]]
    where = -limbs.sum() / inside.sum().clamp_min(1)
    only = sight.colour >= 0
    spot, inside = cells(sight.place, size)  # type: ignore[arg-type]
    found = only & inside
    shapes = (KINDS + torch.arange(SHAPES, device=odds.device)).expand(len(odds), -1)
    things = odds[rows.expand_as(shapes)[found], shapes[found], spot[found]]
    where = where - things.sum() / found.sum().clamp_min(1)
    count = network.sights.count(saw.pictures).view(-1, SHAPES, MOST + 1)
    each = F.cross_entropy(count.flatten(0, 1), sight.count.flatten(), reduction="none")
    what = 2 * (each * (1 + THERE * (sight.count.flatten() > 0))).mean()
    colours = network.sights.colour(saw.told[:, KINDS : KINDS + SHAPES, :VALUES][only])
    what = what + F.cross_entropy(colours, sight.colour[only], reduction="sum") / only.sum().clamp_min(1) / 2
    return Lessons(where, what, moves_loss(network, saw, sight))


def jostled(told: Tensor, film: Tensor) -> Tensor:
    """What maps tell [M, K, …], as if each film had been taken from elsewhere; some maps are blind."""
    count = int(film.max()) + 1
    x, y, xx, yy, sure = told[..., VALUES:].unbind(-1)

    def drawn(low: float, high: float) -> Tensor:
        return torch.empty(count, 1, device=told.device).uniform_(low, high)[film]

    mirror = torch.where(drawn(0, 1) < 0.5, -1.0, 1.0)
    wide, high, right, down = (
        mirror * drawn(0.7, 1.2),
        drawn(0.7, 1.2),
        drawn(-0.25, 0.25),
        drawn(-0.25, 0.25),
    )
    xx, yy = wide**2 * xx + 2 * wide * right * x + right**2, high**2 * yy + 2 * high * down * y + down**2
    places = torch.stack([wide * x + right, high * y + down, xx, yy, sure + 0.3 * torch.randn_like(sure)], -1)
    blind = torch.rand(count, told.shape[1], 1, device=told.device)[film] < BLIND
    return torch.cat([told[..., :VALUES], torch.where(blind, 0, places)], -1)


def moves_loss(network: Network, saw: Seen, sight: Sight) -> Tensor:
    if not sight.in_a_row:
        return saw.ticks.new_zeros(())
    moves = network.sights.moves(saw.ticks[sight.has_frame])
    ended = F.binary_cross_entropy_with_logits(moves[:, -1], sight.ended, reduction="none")
    act = F.cross_entropy(moves[:, :ACTS], sight.act)
    far = (moves[:, -2] - sight.far).abs().mean()
    loss: Tensor = act + 2 * far + 3 * (ended * (1 + ENDED * sight.ended)).mean()
    return loss

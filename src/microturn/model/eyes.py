"""A picture as a vector: what is where, found by maps that look for one kind of thing each.

Convolutions over cells of 8×8 pixels make a thing look the same wherever it is; each map is a softmax over the
cells, and what it tells is where it looks (mean and spread), how sure it is, and what it sees there. What moves is
known from places alone, by causal convolutions over ticks: looks would only be learned by heart. Lessons (`Sights`)
name some of the maps and of the movements; everything is learned with the rest.

Shape suffixes: M frames, B episodes or sessions, N ticks, C cells, K maps, D width.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from microturn.model.config import ModelConfig
from microturn.model.layers import Floor

CELL = 8  # pixels
VALUES = 24  # numbers that a map sees in a cell
PLACE = 4  # x, y and their squares
TICKS_BACK = 5  # kernel of the convolutions over ticks
LOUD = 3.0  # what is seen begins with, beside what is heard
PARTS, SHAPES, COLOURS, ACTS, MOST = 9, 12, 10, 40, 5  # what lessons name, see train/sights.py


@dataclass
class Seen:
    maps: Tensor  # [M, K, C]
    told: Tensor  # [M, K, VALUES + PLACE + 1]
    pictures: Tensor  # [M, D]
    ticks: Tensor  # [B, N, D]


class Look(nn.Module):
    """A residual convolution."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(1, dim)
        self.across = nn.Conv2d(dim, dim, 3, padding=1)
        self.out = nn.Conv2d(dim, dim, 1)
        if self.out.weight.device.type != "meta":
            nn.init.zeros_(self.out.weight)

    def forward(self, x: Tensor) -> Tensor:
        seen: Tensor = x + self.out(F.gelu(self.across(self.norm(x))))
        return seen


class Eyes(nn.Module):
    def __init__(self, c: ModelConfig) -> None:
        super().__init__()
        rows, columns = c.frame_size[0] // CELL, c.frame_size[1] // CELL
        quarter, half, whole = c.eye_dim // 4, c.eye_dim // 2, c.eye_dim
        self.patch = nn.Conv2d(3, quarter, 4, stride=4)
        self.fine = nn.Conv2d(quarter, half, 3, stride=2, padding=1)
        self.fine_blocks = nn.Sequential(*(Look(half) for _ in range(2)))
        self.coarse = nn.Conv2d(half, whole, 3, stride=2, padding=1)
        self.coarse_blocks = nn.Sequential(*(Look(whole) for _ in range(3)))
        self.back = nn.Conv2d(whole, half, 1)
        self.last = Look(half)
        self.maps = nn.Conv2d(half, c.eye_maps, 1)
        self.values = nn.Conv2d(half, VALUES, 1)
        self.join = nn.Linear(c.eye_maps * (VALUES + PLACE + 1), c.sight_dim)
        self.follow = nn.Linear(c.eye_maps * (PLACE + 1), c.sight_dim)
        self.missing = nn.Parameter(torch.zeros(c.sight_dim))
        self.floor = Floor(c.sight_dim, c.sight_blocks, TICKS_BACK)
        self.out = nn.Linear(2 * c.sight_dim, c.d_model)
        self.size = self.floor.size  # numbers to carry from tick to tick
        if self.out.weight.device.type != "meta":  # loud enough to be heard beside the ears
            nn.init.normal_(self.out.weight, std=LOUD * self.out.in_features**-0.5)
        y, x = torch.meshgrid(
            (2 * torch.arange(rows) + 1) / rows - 1,
            (2 * torch.arange(columns) + 1) / columns - 1,
            indexing="ij",
        )
        self.register_buffer("places", torch.stack([x, y, x * x, y * y], -1).flatten(0, 1), persistent=False)

    places: Tensor

    def past(self, batch: int) -> Tensor:
        """Ticks before the beginning: none, zero."""
        return self.missing.new_zeros(batch, self.size)

    def look(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Frames [M, H, W, 3] in bytes → maps, and what each tells. What they told before is as good as frames."""
        if frames.is_floating_point():
            return frames.new_zeros(0), frames
        x = frames.permute(0, 3, 1, 2).to(self.missing.dtype) / 127.5 - 1
        x = self.fine_blocks(self.fine(F.gelu(self.patch(x))))
        wide = self.back(self.coarse_blocks(self.coarse(F.gelu(x))))
        x = self.last(x + F.interpolate(wide, size=x.shape[-2:]))
        maps = self.maps(x).flatten(2)
        cells = self.values(x).flatten(2).transpose(1, 2)
        there = torch.cat([cells, self.places.expand(len(frames), -1, -1)], -1)
        sure = maps.logsumexp(-1, keepdim=True) - math.log(maps.shape[-1])
        return maps, torch.cat([maps.softmax(-1) @ there, sure], -1)

    def pictures(self, told: Tensor) -> Tensor:
        """Each frame as two vectors [M, 2 D]: what is there, and where things are."""
        return torch.cat([self.join(told.flatten(1)), self.follow(told[..., VALUES:].flatten(1))], -1)

    def forward(self, frames: Tensor, has_frame_BN: Tensor, past: Tensor) -> tuple[Tensor, Tensor]:
        """Frames in row order (or one for every tick, wanted or not) → [B, N, 2 D], and what to carry on from.

        One after the other while serving on a CPU: what is seen may not depend on who else is looking.
        """
        if not len(frames):
            return self.over(None, has_frame_BN, past)
        alone = frames.is_cpu and not torch.is_grad_enabled()
        told = torch.cat([self.look(f)[1] for f in torch.split(frames, 1)]) if alone else self.look(frames)[1]
        return self.over(self.pictures(told), has_frame_BN, past)

    def over(self, pictures: Tensor | None, has_frame_BN: Tensor, past: Tensor) -> tuple[Tensor, Tensor]:
        """What is there, as it is; where it is, over time."""
        b, n = has_frame_BN.shape
        x = F.pad(self.missing, (len(self.missing), 0)).expand(b, n, -1)
        if pictures is not None and len(pictures) == b * n:
            x = torch.where(has_frame_BN[..., None], pictures.view(b, n, -1), x)
        elif pictures is not None:
            x = x.clone()
            x[has_frame_BN] = pictures.to(x.dtype)
        what, where = x.chunk(2, -1)
        moved, carried = self.floor(where, past)
        return torch.cat([what, moved], -1), carried

    def study(self, frames: Tensor, has_frame_BN: Tensor) -> tuple[Tensor, Seen]:
        """From the beginning on, with what lessons ask about."""
        maps, told = self.look(frames)
        return self.remember(maps, told, told, has_frame_BN)

    def remember(
        self, maps: Tensor, told: Tensor, followed: Tensor, has_frame_BN: Tensor
    ) -> tuple[Tensor, Seen]:
        """`followed`: what maps tell, or what they would of another camera."""
        seen, _ = self.over(self.pictures(followed), has_frame_BN, self.past(len(has_frame_BN)))
        what, moved = seen.chunk(2, -1)
        return seen, Seen(maps, told, what[has_frame_BN], moved)


class Sights(nn.Module):
    """What lessons ask of eyes, and nothing else does."""

    def __init__(self, c: ModelConfig) -> None:
        super().__init__()
        self.count = nn.Linear(c.sight_dim, SHAPES * (MOST + 1))
        self.colour = nn.Linear(VALUES, COLOURS)
        self.moves = nn.Linear(c.sight_dim, ACTS + 2)  # which act, how far, whether it came to its end

"""Films that are drawn and looked at once, and shown several times.

Drawing a film and looking at it costs more than learning from what was seen. Eyes that keep still see the same in it
every time, so what their maps tell is kept in the place of the frames.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace

import torch

from microturn.model.checkpoint import warm_start
from microturn.model.config import ModelConfig
from microturn.model.network import Network
from microturn.train.batch import Batch
from microturn.train.recipe import Recipe

SHOWINGS = 3  # of a batch of films, on average
KEPT = 250  # batches: 400 s of film are 7 MB
FEW = 12  # before that many are there, none is shown again
AT_ONCE = 100  # frames
LOOKS = tuple(f"eyes.{part}" for part in ("patch", "fine", "coarse", "back", "last", "maps", "values"))


class Reel:
    @classmethod
    def of(cls, recipe: Recipe, c: ModelConfig) -> Reel | None:
        """One, if the eyes of the recipe keep still as far as they look at single frames."""
        looks = [
            name for name, _ in Network(c).eyes.named_parameters(prefix="eyes") if name.startswith(LOOKS)
        ]
        still = all(name.startswith(recipe.still) for name in looks)
        return cls(recipe.start, c) if recipe.start and still else None

    def __init__(self, weights: str, c: ModelConfig) -> None:
        network = Network(c)
        warm_start(network, weights)
        self._eyes = network.eyes.requires_grad_(False).eval()
        self._kept: list[Batch] = []

    def batch(self, rng: random.Random, draw: Callable[[], Batch]) -> Batch:
        """One from before, or a new one."""
        if len(self._kept) < FEW or rng.random() < 1 / SHOWINGS:
            if len(self._kept) == KEPT:
                self._kept.pop(rng.randrange(KEPT))
            self._kept.append(batch := self._looked_at(draw()))
        else:
            batch = rng.choice(self._kept)
        return deepcopy(batch)  # what goes to another process is put where both can see it, and stays there

    @torch.no_grad()
    def _looked_at(self, batch: Batch) -> Batch:
        p = batch.percept
        told = [self._eyes.look(frames)[1] for frames in torch.split(p.frames, AT_ONCE)]
        sight = batch.sight and replace(batch.sight, frames=batch.sight.frames[:0].clone())
        return replace(batch, percept=replace(p, frames=torch.cat(told)), sight=sight)

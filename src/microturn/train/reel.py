"""Films that are drawn and looked at once, and shown several times.

Drawing a film and looking at it costs more than learning from what was seen. Eyes that keep still see the same in it
every time, so what their maps tell is kept in the place of the frames.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch

from microturn.model.checkpoint import warm_start
from microturn.model.config import ModelConfig
from microturn.model.network import Network
from microturn.train.batch import Batch

SHOWINGS = 3  # of a batch of films, on average
KEPT = 250  # batches: 400 s of film are 7 MB
FEW = 12  # before that many are there, none is shown again
AT_ONCE = 100  # frames


class Reel:
    def __init__(self, weights: Path, c: ModelConfig) -> None:
        network = Network(c)
        warm_start(network, weights)
        self._eyes = network.eyes.requires_grad_(False).eval()
        self._kept: list[Batch] = []

    def batch(self, rng: random.Random, draw: Callable[[], Batch]) -> Batch:
        """One from before, or a new one."""
        if len(self._kept) >= FEW and rng.random() > 1 / SHOWINGS:
            return rng.choice(self._kept)
        batch = self._looked_at(draw())
        if len(self._kept) == KEPT:
            self._kept.pop(rng.randrange(KEPT))
        self._kept.append(batch)
        return batch

    @torch.no_grad()
    def _looked_at(self, batch: Batch) -> Batch:
        p = batch.percept
        told = [self._eyes.look(frames)[1] for frames in torch.split(p.frames, AT_ONCE)]
        sight = batch.sight and replace(batch.sight, frames=batch.sight.frames[:0])
        return replace(batch, percept=replace(p, frames=torch.cat(told)), sight=sight)

"""More learners for one set of weights: other processes work out the gradients of other batches meanwhile.

Two threads that share one batch wait for each other at every operation, so that whatever else the machine does
stops both. Learners share the weights instead, each on a core of its own, and nobody waits: a mate adds its
gradients to a shared sum when it has them, and the first learner takes what is there whenever it makes a step.
A mate's weights may move while it works; at training's rates that is far below the noise of a batch.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.multiprocessing as mp
from torch import Tensor

from microturn.model.network import Network
from microturn.train.batch import Batch
from microturn.train.examples import batches
from microturn.train.recipe import Recipe
from microturn.train.sights import Sight

Learn = Callable[[Network, Batch | Sight, Recipe, int], dict[str, float]]  # leaves gradients behind
APART = 1_000_003  # steps between the batches of two learners


@dataclass
class Share:
    """What a mate has found out since it was last asked."""

    gradients: Tensor  # [all weights] summed over batches
    count: Tensor  # [2] batches, ticks
    lock: Any


def _shared(zeros: Tensor) -> Tensor:
    shared: Tensor = zeros.share_memory_()  # type: ignore[no-untyped-call]
    return shared


def _work(learn: Learn, network: Network, share: Share, recipe: Recipe, number: int, step: int) -> None:
    torch.set_num_threads(recipe.threads)
    torch.manual_seed(recipe.seed + number)
    weights = list(network.parameters())
    first, chief = step + APART * number, mp.parent_process()
    for at, batch in enumerate(batches(recipe, network.c, first), start=first):
        if chief is None or not chief.is_alive():
            return
        learn(network, batch, recipe, at % APART)
        found = torch.cat([(torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in weights])
        network.zero_grad(set_to_none=True)
        with share.lock:
            share.gradients += found
            share.count += torch.tensor([1, batch.ticks])


class Crew:
    """`mates` processes beside the one that makes the steps."""

    def __init__(self, learn: Learn, network: Network, recipe: Recipe, step: int) -> None:
        context = mp.get_context("spawn")
        self._network = network.share_memory() if recipe.mates else network
        size = sum(p.numel() for p in network.parameters())
        self._shares = [
            Share(_shared(torch.zeros(size)), _shared(torch.zeros(2).long()), context.Lock())
            for _ in range(recipe.mates)
        ]
        # no daemons: each has a process of its own that makes its batches
        self._mates = [
            context.Process(target=_work, args=(learn, network, share, recipe, number, step))
            for number, share in enumerate(self._shares, start=1)
        ]
        for mate in self._mates:
            mate.start()

    def close(self) -> None:
        for mate in self._mates:
            mate.terminate()

    def gather(self) -> int:
        """Mean of everybody's gradients into the network's own. Gives the mates' ticks."""
        batches_in_all, ticks = 1, 0
        for share in self._shares:
            with share.lock:
                count, heard = share.count.tolist()
                if count:
                    at = 0
                    for p in self._network.parameters():
                        part = share.gradients[at : at + p.numel()].view_as(p)
                        at += p.numel()
                        if p.grad is not None:
                            p.grad += part
                        elif part.any():
                            p.grad = part.clone()
                    share.gradients.zero_()
                    share.count.zero_()
            batches_in_all, ticks = batches_in_all + count, ticks + heard
        if batches_in_all > 1:
            for p in self._network.parameters():
                if p.grad is not None:
                    p.grad /= batches_in_all
        return ticks

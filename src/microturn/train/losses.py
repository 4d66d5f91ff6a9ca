"""One number per head. Silence dominates the ticks, so changes of decision and rare decisions weigh more.

Shape suffixes: B episodes, N ticks, T pieces.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from microturn.model.network import Network
from microturn.streams import Decision
from microturn.train.batch import Batch


@dataclass(frozen=True)
class Losses:
    decision: Tensor
    say: Tensor
    hear: Tensor

    def total(self) -> Tensor:
        return self.decision + self.say + self.hear


CHANGE = 3.0  # weight of the ticks in which the decision changes
SPEAK_NOTHING = 0.5  # weight of a speaking tick that begins no piece
HEAR_NOTHING = 0.25


def losses(network: Network, hidden: Tensor, batch: Batch) -> Losses:
    decision = batch.decision.flatten()
    before = F.pad(batch.decision, (1, 0), value=int(Decision.LISTEN))[:, :-1].flatten()
    share = torch.bincount(decision, minlength=len(Decision)).float() / len(decision)
    weight = (share.clamp_min(1e-3) ** -0.5)[decision] * torch.where(decision != before, CHANGE, 1.0)
    each = F.cross_entropy(network.decision(hidden).flatten(0, 1), decision, reduction="none")
    rows = hidden.flatten(0, 1)
    speaking = (decision == Decision.SPEAK).nonzero()[:, 0]
    say, say_count = network.say.loss(rows[speaking], batch.say.flatten(0, 1)[speaking], SPEAK_NOTHING)
    known = batch.hear_known.flatten().nonzero()[:, 0]
    hear, hear_count = network.hear.loss(rows[known], batch.hear.flatten(0, 1)[known], HEAR_NOTHING)
    return Losses(
        (each * weight).sum() / weight.sum(), say / say_count.clamp_min(1), hear / hear_count.clamp_min(1)
    )

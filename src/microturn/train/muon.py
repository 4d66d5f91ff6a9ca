"""Muon: momentum whose matrices are made nearly orthogonal before they are applied, in stacks.

Matrices of one shape are stacked, so that the iteration is a handful of batched products; in bfloat16 only where the
processor has it, for emulated it takes a minute a step.
"""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from microturn.model.network import VOICE
from microturn.train.half import has_half
from microturn.train.shards import as_part, own, part_of, whole

COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # of the quintic Newton–Schulz iteration (Jordan et al. 2024)


def orthogonal(x: Tensor, steps: int) -> Tensor:
    """Stacked matrices [K, rows, columns] → the nearest ones with singular values about 1."""
    a, b, c = COEFFICIENTS
    tall = x.shape[1] > x.shape[2]
    x = x.mT if tall else x
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    kept, x = x.dtype, x.bfloat16() if has_half(x.device.type) else x
    for _ in range(steps):
        square = x @ x.mT
        x = a * x + torch.baddbmm(b * square, square, square, alpha=c) @ x
    return (x.mT if tall else x).to(kept)


class Muon(torch.optim.Optimizer):
    def __init__(self, weights: Iterable[Tensor], lr: float) -> None:
        super().__init__(weights, {"lr": lr, "momentum": 0.95, "decay": 0.01, "steps": 4})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            shapes: dict[torch.Size, list[tuple[Tensor, Tensor]]] = {}
            for weight in group["params"]:
                if weight.grad is not None:
                    shapes.setdefault(weight.shape, []).append((weight, weight.grad))
            for shape, pairs in shapes.items():
                ahead = []
                for weight, slope in pairs:
                    state = self.state[weight]
                    if not state:
                        state["momentum"] = torch.zeros_like(weight)
                    slope, momentum = own(slope), own(state["momentum"])
                    momentum.lerp_(slope, 1 - group["momentum"])
                    ahead.append(whole(as_part(torch.lerp(slope, momentum, group["momentum"]), weight)))
                update = orthogonal(torch.stack(ahead), group["steps"])
                # An orthogonal matrix of this size has the root mean square of an AdamW step at 0.2 × √max.
                scale = group["lr"] * 0.2 * max(shape) ** 0.5
                for (weight, _), change in zip(pairs, update, strict=True):
                    own(weight).mul_(1 - group["lr"] * group["decay"]).add_(
                        part_of(change, weight), alpha=-scale
                    )


GATES = (
    "sharp", "nothing", "no_age", "no_span", "no_around", "certain", "salient", "late", "beside", "fresh",
    "follows", "since", "onward", "again",
)  # fmt: skip
FASTER = 10.0  # they are scores: a step that suits a weight is nothing to them
HIDDEN = ("backbone.blocks", "ears.", "eyes.floor", "mix.")


def optimizers(network: nn.Module, rate: float, muon_rate: float) -> list[torch.optim.Optimizer]:
    """Muon for the matrices between vectors, AdamW for tables, vectors and outputs (for all if muon_rate is 0)."""
    matrices: list[Tensor] = []
    rest: list[Tensor] = []
    gates: list[Tensor] = []
    for name, weight in network.named_parameters():
        if name.startswith(VOICE):
            continue  # the mouth learns by itself
        hidden = weight.ndim == 2 and any(part in name for part in HIDDEN)
        is_matrix = hidden and not name.endswith(("worth", "taps", "ears.table.weight")) and muon_rate > 0
        is_gate = name.startswith(("associations.", "recall.", "say.", "hear.")) and name.endswith(GATES)
        (matrices if is_matrix else gates if is_gate else rest).append(weight)
    groups: list[dict[str, Any]] = [{"params": rest}]
    if gates:
        groups.append({"params": gates, "faster": FASTER, "weight_decay": 0.0})
    made: list[torch.optim.Optimizer] = [
        torch.optim.AdamW(groups, lr=rate, betas=(0.9, 0.98), weight_decay=0.01)
    ]
    if matrices:
        made.append(Muon(matrices, muon_rate))
    return made

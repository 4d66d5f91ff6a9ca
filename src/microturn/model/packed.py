"""Weights laid out once for serving on a CPU, in half precision: a step of few rows mostly waits for weights to be
read, and halves are read in half the time. Sums are of single precision as everywhere. Training rolls out with them.

Measured on one core for nano's matrices, against single precision in the library's own order: 2–3 times as fast for
up to 10 rows, as fast for 128. One or two rows left over would go through kernels that round differently, so rows
come in threes and have the same bits at every count. Only where nothing is learned.

Shape suffixes: R rows, I inputs, O outputs.
"""

import copy
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

ROWS = 3
PRODUCT = torch.ops.quantized.linear_dynamic_fp16.default


class Packed(nn.Module):
    """A linear layer whose weight [O, I] is in the CPU library's own order."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        self.outputs = weight.shape[0]
        bias = None if bias is None else bias.detach()
        self._packed = torch.ops.quantized.linear_prepack_fp16(weight.detach().contiguous(), bias)

    def forward(self, x: Tensor) -> Tensor:
        shape = x.shape
        rows = x.reshape(-1, shape[-1])
        count = rows.shape[0]
        if count == 1:
            rows = rows.expand(ROWS, -1)
        elif spare := -count % ROWS:
            rows = F.pad(rows, (0, 0, 0, spare))
        out: Tensor = PRODUCT(rows, self._packed)
        return out[:count].view(*shape[:-1], self.outputs)


@lru_cache(maxsize=1)
def can_pack() -> bool:
    """Whether this processor has such products, with rows that do not know of each other."""
    x = torch.linspace(-1, 1, 48 * 64).view(48, 64).sin()
    try:
        product = Packed(torch.linspace(-2, 2, 96 * 64).view(96, 64).cos(), None)
        whole = product(x)
    except (RuntimeError, AttributeError):  # a processor or a build without them
        return False
    return all(torch.equal(product(x[:count]), whole[:count]) for count in range(1, 48))


def pack(module: nn.Module) -> None:
    """Replace every linear layer below `module`, in place."""
    for name, child in module.named_children():
        if isinstance(child, nn.Linear):
            setattr(module, name, Packed(child.weight, child.bias))
        else:
            pack(child)


def packed(module: nn.Module) -> nn.Module:
    """The same with its linear layers packed; what it is made of otherwise is shared, and `module` stays as it is."""
    if isinstance(module, nn.Linear):
        return Packed(module.weight, module.bias)
    twin = copy.copy(module)
    twin.__dict__["_modules"] = {name: packed(child) for name, child in module.named_children()}
    return twin

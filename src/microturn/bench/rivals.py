"""The same weights served as others would: what the engine's fixed memory and batches are measured against.

Each rival computes the same tick with the same senses and heads; only the backbone's memory, or the batching,
is another. Where there was a choice it is the rival's way: nothing is masked, nothing is evicted, and
recomputing starts behind the senses, so that the sound is not analysed again.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor

from microturn.model.backbone import After, Backbone, BackboneState, Block, rotate, turns
from microturn.model.config import ModelConfig
from microturn.model.interaction import Interaction
from microturn.streams import TickOutput

Rival = TypeVar("Rival", bound="Recompute | GrowingCache")


class Recompute(Backbone):
    """No memory between ticks: the whole conversation goes through the backbone again in every tick."""

    def __init__(self, c: ModelConfig) -> None:
        super().__init__(c)
        self.past: Tensor
        self.brought: (
            Tensor  # what the words of each tick brought after each block: that is not worked out again
        )

    def after(self, ticks: int) -> None:
        self.past = torch.randn(ticks, self.c.d_model)
        self.brought = torch.zeros(self.c.layers, ticks, self.c.d_model)

    def leave(self, state: BackboneState, slots_B: Tensor) -> None:
        pass

    def step(
        self,
        state: BackboneState,
        slots_B: Tensor,
        x_BD: Tensor,
        keep_B: Tensor,
        static: bool = False,
        after: After | None = None,
    ) -> Tensor:
        """Row 0 is the session; the rows that pad the batch get its result."""
        self.past = torch.cat([self.past, x_BD[:1]])
        x = self.past[None]
        cos, sin = turns(torch.arange(len(self.past)), self.c)
        self.brought = F.pad(self.brought, (0, 0, 0, 1))
        for layer, block in enumerate(self.blocks):
            assert isinstance(block, Block)
            q, k, v = block.attention.project(block.attention_norm(x))
            q, k = rotate(q, cos, sin), rotate(k, cos, sin)
            # is_causal instead of a mask: the fast kernel, and no [N, N] tensor
            seen = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
            x = x + block.attention.out(seen.transpose(1, 2).flatten(2))
            x = x + block.ff(block.ff_norm(x))
            if after:
                now = x[:, -1:]
                self.brought[layer, -1] = (after(layer, now.expand(len(x_BD), 1, -1))[:1] - now)[0, 0]
                x = x + self.brought[layer]
        out: Tensor = self.norm(x[:, -1]).expand(len(x_BD), -1)
        return out


class GrowingCache(Backbone):
    """The ordinary cache: keys and values of every tick so far, one more concatenated in every tick."""

    def __init__(self, c: ModelConfig) -> None:
        super().__init__(c)
        self.keys: list[Tensor]
        self.values: list[Tensor]

    def after(self, ticks: int) -> None:
        shape = (1, self.c.kv_heads, ticks, self.c.head_dim)
        self.keys = [torch.randn(shape) for _ in range(self.c.layers)]
        self.values = [torch.randn(shape) for _ in range(self.c.layers)]

    def leave(self, state: BackboneState, slots_B: Tensor) -> None:
        pass

    def step(
        self,
        state: BackboneState,
        slots_B: Tensor,
        x_BD: Tensor,
        keep_B: Tensor,
        static: bool = False,
        after: After | None = None,
    ) -> Tensor:
        """Row 0 is the session; the rows that pad the batch get its result."""
        x = x_BD[None, :1]
        cos, sin = turns(torch.tensor([self.keys[0].shape[2]]), self.c)
        for layer, block in enumerate(self.blocks):
            assert isinstance(block, Block)
            q, k, v = block.attention.project(block.attention_norm(x))
            self.keys[layer] = torch.cat([self.keys[layer], rotate(k, cos, sin)], 2)
            self.values[layer] = torch.cat([self.values[layer], v], 2)
            q = rotate(q, cos, sin)
            seen = F.scaled_dot_product_attention(q, self.keys[layer], self.values[layer], enable_gqa=True)
            x = x + block.attention.out(seen.transpose(1, 2).flatten(2))
            x = x + block.ff(block.ff_norm(x))
            x = after(layer, x.expand(len(x_BD), 1, -1))[:1] if after else x
        out: Tensor = self.norm(x[:, 0]).expand(len(x_BD), -1)
        return out


class OneAtATime(Interaction):
    """Every session is a batch of its own, as behind a lock around the model."""

    def __init__(self, model: Interaction) -> None:
        self.__dict__.update(model.__dict__)  # the same weights, laid out once
        self._spec = replace(model.spec, batch_sizes=(1,))
        self._outputs = {1: TickOutput.empty(1, self._spec)}


@contextmanager
def backbone_of(model: Interaction, kind: type[Rival]) -> Iterator[Rival]:
    """The model with a rival's memory around its own weights, for as long as the context lasts."""
    own = model.network.backbone
    with torch.device("meta"):  # its weights are the model's
        backbone = kind(model.config)
    backbone.blocks, backbone.norm = own.blocks, own.norm
    model.network.backbone = backbone
    try:
        yield backbone
    finally:
        model.network.backbone = own

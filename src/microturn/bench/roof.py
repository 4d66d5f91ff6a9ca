"""The fastest that this machine could do one step: arithmetic and memory traffic, each at its best."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from microturn.model import association
from microturn.model.config import ModelConfig
from microturn.model.ears import BINS, FRAMES
from microturn.model.network import Network, Own, Percept
from microturn.plan import Machine


@dataclass(frozen=True)
class Work:
    """What one step must do at the least."""

    parameters: int
    weight_bytes: int  # of the matrices, read once a step
    row_flops: int  # for each session
    row_bytes: int  # keys and values of a session, read once a step

    def roof_ms(self, rows: int, machine: Machine) -> float:
        arithmetic_s = rows * self.row_flops / machine.gflops / 1e9
        memory_s = (self.weight_bytes + rows * self.row_bytes) / machine.gbytes_s / 1e9
        return 1000 * max(arithmetic_s, memory_s)


@torch.inference_mode()
def measure_work(c: ModelConfig) -> Work:
    """Counts the products of one tick of one session, on plain weights: packed ones hide from the counter."""
    network = Network(c).eval()
    percept = Percept(
        levels=torch.zeros(1, 1, FRAMES, BINS, dtype=torch.long),
        has_audio=torch.ones(1, 1, dtype=torch.bool),
        frames=torch.zeros(0, *c.frame_size, 3, dtype=torch.uint8),
        has_frame=torch.zeros(1, 1, dtype=torch.bool),
        text=torch.zeros(1, 1, c.read_pieces, dtype=torch.long),
        channel=torch.zeros(1, 1, c.read_pieces, dtype=torch.long),
    )
    nothing = torch.zeros(1, 1, c.say_pieces, dtype=torch.long)
    own = Own(said=nothing, heard=nothing, decided=torch.zeros(1, 1, dtype=torch.long), sounded=None)
    setup = torch.zeros(1, 0, c.read_pieces, dtype=torch.long)
    with FlopCounterMode(display=False) as counter:
        hidden = network(setup, setup, percept, own, nothing)[:, 0]
        network.decision(hidden)
        for heads in (network.say, network.hear):
            heads.spell(hidden, torch.ones(1, dtype=torch.bool))
    attention = 4 * c.layers * c.heads * c.head_dim * c.keys
    attention += len(c.associate) * association.KEY * association.looked(c)
    return Work(
        parameters=sum(p.numel() for p in network.parameters()),
        weight_bytes=sum(m.weight.nbytes for m in network.modules() if isinstance(m, nn.Linear)),
        row_flops=int(counter.get_total_flops()) + attention,
        row_bytes=2 * 4 * c.layers * c.kv_heads * c.keys * c.head_dim,
    )

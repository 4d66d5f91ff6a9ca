"""Laws of the pointer: a whole episode and tick by tick agree, and nobody's company changes what he recalls."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from microturn.model.config import tiny
from microturn.model.network import Network
from microturn.model.packed import can_pack, pack
from microturn.model.recall import Recall

torch.set_num_threads(1)


def wordy(recall: Recall) -> Callable[..., Tensor]:
    """Draws pieces […, T]: in a share of the ticks a few words, of which there are few."""
    begins, inner = recall.begins.nonzero()[:6, 0], (~recall.begins).nonzero()[1:4, 0]

    def draw(*size: int, share: float = 0.5) -> Tensor:
        pieces = begins[torch.randint(6, size)]
        longer = torch.rand(size) < 0.3
        pieces = torch.where(longer, inner[torch.randint(3, size)], pieces)
        there = torch.arange(size[-1]) < torch.randint(1, size[-1] + 1, (*size[:-1], 1))
        return pieces * (there & (torch.rand(*size[:-1], 1) < share))

    return draw


def learned(network: Network) -> Recall:
    """As after some training: no two words of a tick have the same key."""
    assert network.recall is not None
    with torch.no_grad():
        for weight in network.recall.parameters():
            weight.add_(0.3 * torch.randn_like(weight))
    return network.recall


@pytest.mark.parametrize("ring", [9, 20, 500])
@pytest.mark.parametrize("setup", [0, 3])
def test_what_is_recalled_is_the_same_at_once_and_tick_by_tick(ring: int, setup: int) -> None:
    """With a set-up and without, several words in a tick, some cut in two, and a ring that was filled or not."""
    torch.manual_seed(ring + setup)
    c = tiny(recall=ring)
    recall = learned(Network(c))
    b, n, draw = 3, 30, wordy(recall)
    opening = draw(b, setup, c.read_pieces, share=0.9)
    heard, said = draw(b, n, c.say_pieces), draw(b, n, c.say_pieces)
    read = draw(b, n, c.read_pieces, share=0.3)
    hidden = torch.randn(b, setup + n, c.d_model)
    slots, every = torch.arange(b), torch.arange(b * n)
    with torch.no_grad():
        whole = recall(hidden, opening, heard, read, said, every // n, every % n).view(b, n, recall.room, -1)
        state = recall.allocate(b)
        for slot in range(b):
            recall.pin(state, slot, hidden[slot, :1][:setup], opening[slot, :1])
            recall.pin(state, slot, hidden[slot, 1:setup], opening[slot, 1:])
        for t in range(n):
            now = hidden[:, setup + t]
            recall.remember(state, slots, now, said[:, t], heard[:, t], read[:, t])
            assert torch.allclose(recall.look(state, slots, now), whole[:, t], atol=1e-5)
    assert (int(state.count.min()) > ring) == (ring < 100)


def test_what_is_recalled_does_not_hang_on_who_else_speaks() -> None:
    torch.manual_seed(0)
    network = Network(tiny(recall=64))
    recall = learned(network)
    if can_pack():
        pack(network)
    state, slots, draw = recall.allocate(24), torch.arange(24), wordy(recall)
    with torch.no_grad():
        for _ in range(20):
            hidden = torch.randn(24, network.c.d_model)
            recall.remember(state, slots, hidden, *(draw(24, 4) for _ in range(3)))
            whole = recall.look(state, slots, hidden)
            for few in (0, 1, 2, 3, 5, 20) if can_pack() else (0, 4, 5, 20):
                assert torch.equal(recall.look(state, slots[:few], hidden[:few]), whole[:few])

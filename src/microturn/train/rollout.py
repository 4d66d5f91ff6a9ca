"""Free running in batches: the network lives through episodes with nothing but its own outputs fed back.

This is what training feeds back to the network, and what every held-out score is made of.
"""

import copy
from contextlib import nullcontext
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from microturn.bench import drive
from microturn.bench.metrics import Played
from microturn.model.backbone import Backbone
from microturn.model.network import LESSONS, NO_DECISION, VOICE, Live, Network, Own
from microturn.model.packed import can_pack, packed
from microturn.streams import Action, Decision, Tokenizer
from microturn.train.batch import Batch
from microturn.train.half import half


@dataclass
class Rollout:
    decision: Tensor  # [B, N]
    say: Tensor  # [B, N, T]
    hear: Tensor  # [B, N, T]


def _fitted(network: Network, ticks: int, setup: int) -> Backbone:
    """The same backbone with places for just this many ticks, if they fit into its window anyway."""
    c = network.c
    if ticks > c.window:
        return network.backbone
    fitted = copy.copy(network.backbone)
    window = -(-ticks // c.group) * c.group
    fitted.c = replace(c, window=window, pinned=max(setup, 1), memory_levels=1, memory_per_level=1)
    return fitted


CROWDED = 2  # pieces a tick, on average, for which a quick roll-out has room
WHOLE = ("ears", "eyes", *(part.rstrip(".") for part in (VOICE, *LESSONS)))  # not needed tick by tick


def _packed(network: Network, ticks: int, setup: int) -> Network:
    """The same with packed weights, as it is served, and room for the words of just this many ticks."""
    twin = copy.copy(network)
    twin.__dict__["_modules"] = {n: c if n in WHOLE else packed(c) for n, c in network.named_children()}
    twin.say.pack_table()
    twin.hear.pack_table()
    for words in (twin.associations, twin.recall):
        if words is not None:
            words.pinned = min(words.pinned, max(setup, 1) * network.c.read_pieces)
            words.ring = min(words.ring, max(64, CROWDED * ticks))
    return twin


@torch.no_grad()
def roll_out(network: Network, batch: Batch, quick: bool = False) -> Rollout:
    """Also right with the network in training mode: nothing here differs between the two. `quick`: nearly exact."""
    p = batch.percept
    b, n = p.has_audio.shape
    with half(p.levels.device) if quick else nullcontext():
        sensed = network.sense_all(p)[0].float()
    if quick and sensed.device.type == "cpu" and can_pack():
        network = _packed(network, n, batch.setup.shape[1])
    keep = p.keep()
    backbone = _fitted(network, n, batch.setup.shape[1])
    state = backbone.allocate(b)
    slots = torch.arange(b, device=sensed.device)
    recall = network.recall
    words = recall.allocate(b) if recall else None
    associations = network.associations
    kept = associations.allocate(b + 1) if associations else None
    lengths = (batch.setup != 0).any(-1).sum(1)
    for row in range(b):
        if count := int(lengths[row]):
            x = network.set_up(batch.setup[row : row + 1, :count], batch.setup_channel[row : row + 1, :count])
            after = (
                associations.opening(kept, row, batch.setup[row, :count]) if associations and kept else None
            )
            opened = backbone.read(state, row, x[0], after)
            if recall and words:
                recall.pin(words, row, opened, batch.setup[row, :count])
    said = batch.say.new_zeros(b, 1, network.c.say_pieces)
    heard, told = torch.zeros_like(said), batch.told[:, None]
    decided = torch.full_like(batch.decision[:, :1], NO_DECISION)
    steps: list[tuple[Tensor, Tensor, Tensor]] = []
    for t in range(n):
        backbone.leave(state, slots)
        x = network.compose(sensed[:, t : t + 1], Own(said, heard, decided, None))
        given = told, batch.hear[:, t]
        live = Live(network, kept, slots, state.tick[slots], said[:, 0], heard[:, 0], p.text[:, t], given)
        hidden = backbone.step(state, slots, x[:, 0], keep[:, t], after=live)
        choice = network.decision(hidden).argmax(-1)
        recalled = None
        if recall and words:
            recall.remember(words, slots, hidden, said[:, 0], live.heard, p.text[:, t])
            rows = (choice == Decision.SPEAK).nonzero()[:, 0]
            recalled = hidden.new_zeros(b, recall.room, network.c.piece_dim)
            recalled[rows] = recall.look(words, slots[rows], hidden[rows])
        say = network.say.spell(hidden, choice == Decision.SPEAK, recalled=recalled, before=said[:, 0])
        steps.append((choice, say, live.heard))
        said, heard, decided = say[:, None], live.heard[:, None], choice[:, None]
    return Rollout(*(torch.stack(parts, 1) for parts in zip(*steps, strict=True)))


def played(done: Rollout, row: int, pieces: Tokenizer, lead: int) -> Played:
    """What a listener got of a row, and what was handed over."""
    decisions, say, hear = (x[row].tolist() for x in (done.decision, done.say, done.hear))

    def spelled(some: list[int]) -> tuple[str, ...]:
        return tuple(pieces.piece(p) for p in some if p)

    lived = enumerate(zip(decisions, say, hear, strict=True))
    return drive.played([Action(i, Decision(d), spelled(s), spelled(h)) for i, (d, s, h) in lived], lead)

"""What leaves the window is kept, ever coarser, in a fixed number of places.

A group of ticks that leaves becomes one entry: the softmax-weighted mean of its keys' content and of its values,
with a learned score per key-value head, and the logarithm of its total weight. Two entries merge by the same
rule, so an entry is the softmax pooling of *all* the ticks behind it whatever the order of merging: one tick
that scores high, a rule say, is still there after an hour of ticks that score low. Level l holds entries of
2^l groups; when a level is full its two oldest merge into the next, and at the last level into each other.

Shape suffixes: L layers, S slots, H key-value heads, M memory places, E rows whose group leaves, G ticks a group.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from microturn.model.config import ModelConfig

PINNED_SCORE = -1e4  # an instruction tick is kept as it is, so the pool leaves it out


def pool(key: Tensor, value: Tensor, score: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Keys and values [..., G, d] with scores [..., G] → one entry [..., d] and its log weight [...]."""
    weight = score.softmax(-1)[..., None]
    return (weight * key).sum(-2), (weight * value).sum(-2), score.logsumexp(-1)


def merge(
    a: tuple[Tensor, Tensor, Tensor], b: tuple[Tensor, Tensor, Tensor]
) -> tuple[Tensor, Tensor, Tensor]:
    """Two entries → one."""
    total = torch.logaddexp(a[2], b[2])
    wa, wb = (a[2] - total).exp()[..., None], (b[2] - total).exp()[..., None]
    return wa * a[0] + wb * b[0], wa * a[1] + wb * b[1], total


def left_by(tick: int, c: ModelConfig) -> int:
    """How many ticks have left the window when `tick` looks around: whole groups only."""
    return max(0, (tick + 1 - c.window) // c.group) * c.group


@dataclass(frozen=True)
class Entry:
    """One memory entry of a session's life: pools groups first…last, seen by the steps born ≤ t < died."""

    first: int
    last: int
    children: tuple[int, int] | None
    born: int
    died: int


def schedule(ticks: int, c: ModelConfig) -> list[Entry]:
    """Every entry that exists in the first `ticks` ticks, children before parents."""
    entries: list[Entry] = []
    levels: list[list[int]] = [[] for _ in range(c.memory_levels)]

    def retire(index: int, now: int) -> Entry:
        old = entries[index]
        entries[index] = Entry(old.first, old.last, old.children, old.born, now)
        return old

    def make_room(level: int, now: int) -> None:
        if len(levels[level]) < c.memory_per_level:
            return
        top = level == c.memory_levels - 1
        if not top:
            make_room(level + 1, now)
        a, b = levels[level][:2]
        first, last = retire(a, now).first, retire(b, now).last
        entries.append(Entry(first, last, (a, b), now, ticks))
        if top:
            levels[level][:2] = [len(entries) - 1]
        else:
            del levels[level][:2]
            levels[level + 1].append(len(entries) - 1)

    for group in range(left_by(ticks - 1, c) // c.group):
        now = (group + 1) * c.group + c.window - 1
        make_room(0, now)
        entries.append(Entry(group, group, None, now, ticks))
        levels[0].append(len(entries) - 1)
    return entries


def build(key: Tensor, value: Tensor, score: Tensor, entries: list[Entry]) -> tuple[Tensor, Tensor]:
    """All entries of a whole episode at once. Keys, values [B, H, groups, G, d], scores [B, H, groups, G]."""
    leaves = pool(key, value, score)
    made: list[tuple[Tensor, Tensor, Tensor]] = []
    for entry in entries:
        if entry.children is None:
            made.append(
                (leaves[0][:, :, entry.first], leaves[1][:, :, entry.first], leaves[2][:, :, entry.first])
            )
        else:
            made.append(merge(made[entry.children[0]], made[entry.children[1]]))
    return torch.stack([m[0] for m in made], 2), torch.stack([m[1] for m in made], 2)


def insert(
    key: Tensor,
    value: Tensor,
    weight_LSHM: Tensor,
    counts_S_levels: Tensor,
    slots_E: Tensor,
    entry: tuple[Tensor, Tensor, Tensor],
    c: ModelConfig,
) -> None:
    """Put one entry [L, E, H, …] into each of the slots, making room first. Works on the memory places in place.

    Keys and values are [L, S, H, M, d] views of the session state. Runs once every `group` ticks of a slot.
    """
    room = c.memory_per_level
    full = counts_S_levels[slots_E] >= room  # [E, levels]
    cascade = full.long().cumprod(1).bool()  # level l must make room iff it and all below are full

    def read(slots: Tensor, place: int) -> tuple[Tensor, Tensor, Tensor]:
        return key[:, slots, :, place], value[:, slots, :, place], weight_LSHM[:, slots, :, place]

    def write(slots: Tensor, place: Tensor, what: tuple[Tensor, Tensor, Tensor]) -> None:
        for target, source in zip((key, value, weight_LSHM), what, strict=True):
            target[:, slots, :, place] = source.movedim(0, 1)

    for level in reversed(range(c.memory_levels)):
        slots = slots_E[cascade[:, level]]
        if slots.numel() == 0:
            continue
        base = level * room
        merged = merge(read(slots, base), read(slots, base + 1))
        top = level == c.memory_levels - 1
        shift = 1 if top else 2
        for target in (key, value, weight_LSHM):
            kept = target[:, slots, :, base + shift : base + room].clone()
            target[:, slots, :, base : base + room - shift] = kept
        counts_S_levels[slots, level] -= shift
        if top:
            write(slots, torch.full_like(slots, base), merged)
        else:
            write(slots, base + room + counts_S_levels[slots, level + 1], merged)
            counts_S_levels[slots, level + 1] += 1
    write(slots_E, counts_S_levels[slots_E, 0], entry)
    counts_S_levels[slots_E, 0] += 1

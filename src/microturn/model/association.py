"""What a word was about when it came before, and what was so long ago.

Attention over ticks must learn from examples that the same word came earlier, and how far back four seconds are.
Both are daily bread to somebody who is told "when I say this" and "every four seconds", so they are given: between
some blocks there is one more attention, over the words that were heard, said and read. Its first head asks *by
name*: it finds the earlier places of the words heard now, because one projection of their pieces is key and question.
The other heads ask *by age*: every number of ticks has a key of its own. What they bring is what the network thought
at that place. The pieces of the set-up stay for ever, and after them the last `c.words` that came.

Shapes: B episodes or rows, S set-up positions or slots, N ticks, T pieces of a tick, P places, H heads by age.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from microturn.model.backbone import neighbours
from microturn.model.config import ModelConfig
from microturn.model.layers import RMSNorm

KEY = 48  # numbers of a key and of a value
HEADS = 4  # by age
AGES = 320  # ticks told apart; what is older is just long ago, and so is the set-up
SHARP = 12.0  # score of a word's own name at the start
NOTHING = 6.0  # score of no word at the start
NEVER = float("-inf")


@dataclass
class Words:
    """The words of whole episodes, in the order in which they came."""

    pieces: Tensor  # [B, P] 0 where there is none
    at: Tensor  # [B, P] position of each, those of the set-up first
    number: Tensor  # [B, P] how many came in ticks up to each; of the set-up 0
    so_far: Tensor  # [B, N]
    setup: int  # positions

    @staticmethod
    def of(setup: Tensor, *kinds: Tensor) -> Words:
        """Pieces of the set-up [B, S, R] and of the ticks in several kinds [B, N, T]."""
        ticks = torch.cat(kinds, -1)
        s, n = setup.shape[1], ticks.shape[1]
        where = torch.arange(s + n, device=ticks.device)
        at = torch.cat(
            [where[:s].repeat_interleave(setup.shape[2]), where[s:].repeat_interleave(ticks.shape[2])]
        )
        pieces = torch.cat([setup.flatten(1), ticks.flatten(1)], 1)
        came = (ticks != 0).flatten(1).long().cumsum(1)
        number = torch.cat([torch.zeros_like(setup.flatten(1)), came], 1)
        so_far = came.view(*ticks.shape)[..., -1]
        most = max(1, int((pieces != 0).sum(1).max()))
        first = (pieces != 0).int().argsort(dim=1, descending=True, stable=True)[:, :most]
        return Words(pieces.gather(1, first), at[first], number.gather(1, first), so_far, s)


@dataclass
class AssociationState:
    """Fixed places: those of the set-up first, then a ring, then one of scratch and one for no word at all."""

    tick: Tensor  # [S, P] in which each came
    pinned: Tensor  # [S] places of the set-up used
    count: Tensor  # [S] words put into the ring so far
    names: Tensor  # [L, S, P, KEY]
    keys: Tensor  # [L, S, P, KEY]
    values: Tensor  # [L, S, P, KEY]


class Association(nn.Module):
    """One such attention."""

    def __init__(self, c: ModelConfig) -> None:
        super().__init__()
        self.ring = c.words
        self.norm = RMSNorm(c.d_model)
        self.name = nn.Linear(c.piece_dim, KEY, bias=False)
        self.sharp = nn.Parameter(torch.full((1,), SHARP))
        self.nothing = nn.Parameter(torch.full((1 + HEADS,), NOTHING))
        self.query = nn.Linear(c.d_model, HEADS * KEY)
        self.key = nn.Linear(c.d_model, KEY, bias=False)
        self.age = nn.Embedding(AGES, KEY)
        self.value = nn.Linear(c.d_model, KEY, bias=False)
        self.out = nn.Linear((1 + HEADS) * KEY, c.d_model, bias=False)
        if self.out.weight.device.type != "meta":
            nn.init.zeros_(self.out.weight)  # it does nothing at first

    def names(self, pieces: Tensor) -> Tensor:
        """Embedded pieces […, D] → […, KEY], 0 where there is none."""
        return F.normalize(self.name(pieces), dim=-1)

    def _mix(self, score: Tensor, nothing: Tensor) -> Tensor:
        """Scores over the last axis → shares, some of which go to no word."""
        nowhere = nothing.expand(*score.shape[:-1], 1)
        return torch.cat([nowhere, score], -1).softmax(-1)[..., 1:]

    def forward(self, x: Tensor, words: Words, word_names: Tensor, asked: Tensor, asking: Tensor) -> Tensor:
        """x [B, S+N, D] → what the words bring to mind in each tick [B, N, D].

        `word_names` [B, P, KEY]; `asked` [B, N, T, KEY] are the names heard now and `asking` where there are any.
        """
        s, (b, n, t) = words.setup, asking.shape
        h = self.norm(x)
        row = torch.arange(b, device=x.device)[:, None]
        value = self.value(h)[row, words.at]  # [B, P, KEY]
        tick = torch.arange(n, device=x.device)
        back = tick[:, None] + s - words.at[:, None]  # [B, N, P] ticks ago
        opening = (words.at < s)[:, None]
        there = (words.pieces != 0)[:, None] & (back >= 0)
        there &= opening | (words.number[:, None] > words.so_far[..., None] - self.ring)
        score = self.sharp * asked.flatten(1, 2) @ word_names.mT  # [B, N·T, P]
        earlier = (there & (back > 0)).repeat_interleave(t, 1)
        share = self._mix(score.masked_fill(~earlier, NEVER), self.nothing[:1])
        share = share * asking.flatten(1)[..., None]
        named = (share @ value).view(b, n, t, -1).sum(2)
        query = self.query(h[:, s:]).view(b, n, HEADS, KEY)
        index = torch.where(opening, AGES - 1, back.clamp(0, AGES - 1))[:, :, None].expand(b, n, HEADS, -1)
        by_age = (query @ self.age.weight.T).gather(3, index)
        by_key = torch.einsum("bnhk,bpk->bnhp", query, self.key(h)[row, words.at])
        aged = ((by_age + by_key) * KEY**-0.5).masked_fill(~there[:, :, None], NEVER)
        old = self._mix(aged, self.nothing[1:, None]) @ value[:, None]  # [B, N, H, KEY]
        out: Tensor = self.out(torch.cat([named, old.flatten(2)], -1))
        return out

    def step(
        self,
        h: Tensor,
        names: Tensor,
        keys: Tensor,
        values: Tensor,
        age: Tensor,
        asked: Tensor,
        asking: Tensor,
        seen: Tensor,
        rows: Tensor | None,
    ) -> Tensor:
        """h [B, D], memories [B, P, KEY], ages [B, P], seen [B, 2, 1, P] by name and by age → [B, D].

        `rows` are those in which a word asks; None: all are asked, so that no shape depends on them.
        """
        nowhere = self.nothing.new_zeros(seen.shape[-1])
        nowhere[-1] = 1.0
        by_name = torch.where(seen[:, :1], nowhere * self.nothing[0], NEVER)
        some = slice(None) if rows is None else rows
        found = F.scaled_dot_product_attention(
            (self.sharp * asked[some])[:, None],
            names[some, None],
            values[some, None],
            by_name[some],
            scale=1.0,
        )
        named = h.new_zeros(len(h), KEY)
        named[some] = (found[:, 0] * asking[some, :, None]).sum(1)
        query = self.query(h).view(-1, HEADS, KEY)
        by_age = F.linear(query.flatten(0, 1), self.age.weight).view(-1, HEADS, AGES) * KEY**-0.5
        by_age = by_age.gather(2, age[:, None].expand(-1, HEADS, -1)) * (1 - nowhere)
        by_age = torch.where(seen[:, 1], by_age + nowhere * self.nothing[1:, None], NEVER)
        old = F.scaled_dot_product_attention(query[:, None], keys[:, None], values[:, None], by_age[:, None])
        out: Tensor = self.out(torch.cat([named, old.flatten(1)], -1))
        return out


class Associations(nn.Module):
    """All of them, and what they remember."""

    def __init__(self, c: ModelConfig, table: nn.Embedding) -> None:
        super().__init__()
        self.after = {block: i for i, block in enumerate(c.associate)}
        self.each = nn.ModuleList(Association(c) for _ in c.associate)
        self._table = [table]  # not registered: its owner is the network
        self.pinned, self.ring = c.pinned * c.read_pieces, c.words

    def one(self, number: int) -> Association:
        chosen = self.each[number]
        assert isinstance(chosen, Association)
        return chosen

    def _embedded(self, pieces: Tensor) -> Tensor:
        embedded: Tensor = self._table[0](pieces)
        return embedded * (pieces != 0)[..., None]

    # ---- a whole episode at once ----

    def over(self, words: Words, heard: Tensor) -> Within:
        return Within(self, words, self._embedded(words.pieces), self._embedded(heard), heard != 0)

    # ---- tick by tick ----

    def allocate(self, slots: int) -> AssociationState:
        places, like = self.pinned + self.ring + 2, self.one(0).sharp

        def whole(*size: int) -> Tensor:
            return torch.zeros(size, dtype=torch.long, device=like.device)

        def memory() -> Tensor:
            return like.new_zeros(len(self.each), slots, places, KEY)

        return AssociationState(
            tick=whole(slots, places),
            pinned=whole(slots),
            count=whole(slots),
            names=memory(),
            keys=memory(),
            values=memory(),
        )

    def opening(self, state: AssociationState, slot: int, pieces_SR: Tensor) -> Opening:
        """While the set-up is read: its words go into places that stay."""
        position, _ = (pieces_SR != 0).nonzero(as_tuple=True)
        first = int(state.pinned[slot])
        state.pinned[slot] += len(position)
        places = slice(first, first + len(position))
        state.tick[slot, places] = -AGES
        return Opening(self, state, slot, places, position, self._embedded(pieces_SR[pieces_SR != 0]))

    def during(
        self,
        state: AssociationState,
        slots_B: Tensor,
        tick_B: Tensor,
        words: tuple[Tensor, ...],
        static: bool = False,
    ) -> During:
        """In a tick: its words (those heard first) are put into the ring. Static: no shape depends on them."""
        pieces = torch.cat(words, -1)  # [B, W]
        some = pieces != 0
        offset = some.long().cumsum(1) - some.long()
        place = self.pinned + (state.count[slots_B, None] + offset) % self.ring
        place = torch.where(some, place, self.pinned + self.ring)
        state.tick[slots_B[:, None], place] = tick_B[:, None].expand_as(place)
        state.count[slots_B] += some.sum(1)
        number = torch.arange(self.pinned + self.ring + 2, device=place.device)
        rows = slots_B if static else neighbours(slots_B, len(state.count) - 1)
        used = torch.where(
            number < self.pinned,
            number < state.pinned[slots_B, None],
            (number - self.pinned < state.count[slots_B, None]) & (number < self.pinned + self.ring),
        )
        nowhere = number == self.pinned + self.ring + 1
        when = state.tick[rows]
        opening = number < self.pinned
        age = torch.where(opening, AGES - 1, (tick_B[:, None] - when).clamp(0, AGES - 1))
        earlier = used & (opening | (when < tick_B[:, None]))
        seen = torch.stack([earlier | nowhere, used | nowhere], 1)[:, :, None]
        asking = words[0] != 0
        asked = None if static else asking.any(1).nonzero()[:, 0]
        return During(self, state, slots_B, rows, place, self._embedded(pieces), asking, asked, age, seen)


@dataclass
class Within:
    """Whole episodes: what each block's end brings to mind."""

    all: Associations
    words: Words
    pieces: Tensor  # [B, P, D]
    heard: Tensor  # [B, N, T, D]
    asking: Tensor

    def __call__(self, block: int, x: Tensor) -> Tensor:
        if block not in self.all.after:
            return x
        one, s = self.all.one(self.all.after[block]), self.words.setup
        brought = one(x, self.words, one.names(self.pieces), one.names(self.heard), self.asking)
        return torch.cat([x[:, :s], x[:, s:] + brought], 1)


@dataclass
class Opening:
    all: Associations
    state: AssociationState
    slot: int
    places: slice
    position: Tensor
    pieces: Tensor

    def __call__(self, block: int, x: Tensor) -> Tensor:
        if block in self.all.after:
            number = self.all.after[block]
            one = self.all.one(number)
            h = one.norm(x[0, self.position])
            self.state.names[number, self.slot, self.places] = one.names(self.pieces)
            self.state.keys[number, self.slot, self.places] = one.key(h)
            self.state.values[number, self.slot, self.places] = one.value(h)
        return x


@dataclass
class During:
    all: Associations
    state: AssociationState
    slots: Tensor
    rows: Tensor | slice  # the same slots as a view, if it can be
    place: Tensor  # [B, W]
    pieces: Tensor  # [B, W, D]
    asking: Tensor  # [B, T]
    asked: Tensor | None  # rows in which any word asks
    age: Tensor  # [B, P]
    seen: Tensor  # [B, 2, 1, P]

    def __call__(self, block: int, x: Tensor) -> Tensor:
        """x [B, 1, D]"""
        if block not in self.all.after:
            return x
        number = self.all.after[block]
        one, state = self.all.one(number), self.state
        h, row = one.norm(x[:, 0]), self.slots[:, None]
        names = one.names(self.pieces)
        state.names[number, row, self.place] = names
        state.keys[number, row, self.place] = one.key(h)[:, None].expand_as(names)
        state.values[number, row, self.place] = one.value(h)[:, None].expand_as(names)
        asked = names[:, : self.asking.shape[1]]
        past = (part[number, self.rows] for part in (state.names, state.keys, state.values))
        names, keys, values = past
        brought = one.step(h, names, keys, values, self.age, asked, self.asking, self.seen, self.asked)
        return x + brought[:, None]

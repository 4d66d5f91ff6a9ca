"""What a word was about when it came before, and what was so long ago.

Attention over ticks must learn from examples that the same word came earlier, and how far back four seconds are.
Both are daily bread to somebody who is told "when I say this" and "every four seconds", so they are given: between
some blocks there is one more attention, over the words that were heard, said and read. Its first head asks *by
name*: it finds the earlier places of the words heard now, because one projection of their pieces is key and question.
Other heads ask *by age*: every number of ticks has a key of its own, and a number word is born knowing how many
ticks so many seconds are, so that what is found may be as old as a word says. What they bring is what the network
thought at that place. The last ones look *around* the earlier places of the words heard now or said a tick ago, and
bring what stands there: so "five" is found when "milk" is heard and "when I say milk say five" was said. The pieces
of the set-up stay for ever, and after them the last `c.words` that came.

Shapes: B episodes or rows, R some of them, S set-up positions or slots, N ticks, T pieces of a tick, P places,
H heads by age.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from microturn.clock import TICKS_PER_SECOND
from microturn.model.backbone import neighbours
from microturn.model.config import ModelConfig
from microturn.model.layers import RMSNorm
from microturn.model.tokenizer import PieceTokenizer

KEY = 48  # numbers of a key and of a value
HEADS = 4  # by age
AGES = 320  # ticks told apart; what is older is just long ago, and so is the set-up
AROUND = 2  # heads that look around
REACH = 8  # pieces before and after a place that are around it
FAR = 0.01  # share of attention that a place gets that is around nothing
SPANNED = 12.0  # score of the very age that a word means, at the start
SHARP = 12.0  # score of a word's own name at the start
CERTAIN = 6.0  # score of a key that is all that was asked for, at the start
NOTHING = 6.0, 3.0, 2.0, 1.0  # score of no word at the start: by name, by age, of a span, around
SALIENT = 3.0  # more score for number words as spans, at the start
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
    spans: Tensor  # [L, S, P, KEY]


def looked(c: ModelConfig) -> int:
    """Operations on every number of a key in a tick, over all places of one association."""
    return (8 * HEADS + 6 * AROUND) * (c.pinned * c.read_pieces + c.words + 2)


def phasors(ticks: Tensor) -> Tensor:
    """Numbers of ticks as KEY numbers each, whose products tell how far apart two of them are. […, KEY]"""
    speed = math.pi * torch.remainder((torch.arange(KEY // 2) + 1) * (5**0.5 - 1) / 2, 1.0)
    angle = ticks[..., None] * speed
    return torch.cat([angle.cos(), angle.sin()], -1)


def turned(x: Tensor, by: Tensor) -> Tensor:
    """Products of complex numbers, halves of the last axis."""
    (a, b), (c, d) = x.chunk(2, -1), by.chunk(2, -1)
    return torch.cat([a * c - b * d, a * d + b * c], -1)


def brought(share: Tensor, values: Tensor) -> Tensor:
    """Shares [B, N, H, P] of values [B, P, K] → [B, N, H, K], without a copy of them for each tick."""
    found: Tensor = (share.flatten(1, 2) @ values).view(*share.shape[:-1], -1)
    return found


class Association(nn.Module):
    """One such attention."""

    ages: Tensor  # [AGES, KEY]

    def __init__(self, c: ModelConfig) -> None:
        super().__init__()
        self.ring = c.words
        self.norm = RMSNorm(c.d_model)
        self.name = nn.Linear(c.piece_dim, KEY, bias=False)
        self.sharp = nn.Parameter(torch.full((1,), SHARP))
        self.nothing, self.no_age, self.no_span, self.no_around = (
            nn.Parameter(torch.full((heads,), score))
            for heads, score in zip((1, HEADS, HEADS, AROUND), NOTHING, strict=True)
        )
        self.query = nn.Linear(c.d_model, HEADS * KEY)
        self.certain = nn.Parameter(torch.full((HEADS + HEADS + AROUND,), CERTAIN))
        self.key = nn.Linear(c.d_model, KEY, bias=False)
        self.age = nn.Embedding(AGES, KEY)
        self.value = nn.Linear(c.d_model, KEY, bias=False)
        self.out = nn.Linear((1 + HEADS) * KEY, c.d_model, bias=False)
        self.which_span = nn.Linear(c.d_model, HEADS * KEY)
        self.salient = nn.Parameter(torch.full((HEADS,), SALIENT))
        self.span = nn.Embedding(c.vocabulary, KEY)
        self.late = nn.Parameter(SPANNED * 2 / KEY * phasors(-torch.arange(HEADS)))
        self.around = nn.Linear(c.d_model, AROUND * KEY)
        self.beside = nn.Parameter(torch.zeros(AROUND, 2, 2 * REACH + 1))
        self.around_out = nn.Linear(AROUND * 2 * KEY, c.d_model, bias=False)
        self.register_buffer("ages", phasors(torch.arange(AGES)), persistent=False)
        if self.out.weight.device.type != "meta":
            nn.init.zeros_(self.out.weight)  # it does nothing at first
            nn.init.zeros_(self.around_out.weight)
            self.beside.data[..., REACH] = -3.0  # the word itself is not around itself
            nn.init.normal_(self.age.weight, std=KEY**-0.5)
            nn.init.zeros_(self.span.weight)
            for seconds, piece in PieceTokenizer.load().numbers(c.vocabulary).items():
                self.span.weight.data[piece] = phasors(torch.tensor(seconds * TICKS_PER_SECOND))

    def names(self, pieces: Tensor) -> Tensor:
        """Embedded pieces […, D] → […, KEY], 0 where there is none."""
        return F.normalize(self.name(pieces), dim=-1)

    def keys(self, h: Tensor) -> Tensor:
        return F.normalize(self.key(h), dim=-1)

    def _queries(self, h: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What is asked by age, of spans and around, each […, heads, KEY]."""
        asked = torch.cat([self.query(h), self.which_span(h), self.around(h)], -1)
        asked = F.normalize(asked.view(*h.shape[:-1], -1, KEY), dim=-1) * self.certain[:, None]
        return asked[..., :HEADS, :], asked[..., HEADS : 2 * HEADS, :], asked[..., 2 * HEADS :, :]

    def _salience(self, spans: Tensor) -> Tensor:
        """How much each place is a number [B, P, KEY] → [B, HEADS, P]."""
        numbers: Tensor = torch.linalg.vector_norm(spans, dim=-1).square() * 2 / KEY
        return self.salient[:, None] * numbers[:, None]

    def _mix(self, score: Tensor, nothing: Tensor) -> Tensor:
        """Scores over the last axis → shares, some of which go to no word."""
        nowhere = nothing.expand(*score.shape[:-1], 1)
        return torch.cat([nowhere, score], -1).softmax(-1)[..., 1:]

    def _near(self, share: Tensor) -> Tensor:
        """How much was found around each place. Shares of words heard and said [R, 2, P] → [R, AROUND, P]"""
        near: Tensor = F.conv1d(share, self.beside.flip(-1).exp(), padding=REACH)
        return near

    def forward(self, x: Tensor, words: Words, word_names: Tensor, asked: Tensor, asking: Tensor) -> Tensor:
        """x [B, S+N, D] → what the words bring to mind in each tick [B, N, D].

        `word_names` [B, P, KEY]; `asked` [B, N, 2·T, KEY] are the names of the words heard now, then of those said
        a tick ago, and `asking` where there are any.
        """
        s, (b, n, t) = words.setup, asking.shape
        h = self.norm(x)
        row = torch.arange(b, device=x.device)[:, None]
        value, key = self.value(h)[row, words.at], self.keys(h)[row, words.at]  # [B, P, KEY]
        tick = torch.arange(n, device=x.device)
        back = tick[:, None] + s - words.at[:, None]  # [B, N, P] ticks ago
        opening = (words.at < s)[:, None]
        there = (words.pieces != 0)[:, None] & (back >= 0)
        there &= opening | (words.number[:, None] > words.so_far[..., None] - self.ring)
        score = self.sharp * asked.flatten(1, 2) @ word_names.mT  # [B, N·T, P]
        earlier = (there & (back > 0)).repeat_interleave(t, 1)
        share = self._mix(score.masked_fill(~earlier, NEVER), self.nothing)
        share = (share * asking.flatten(1)[..., None]).view(b, n, 2, t // 2, -1).sum(3)
        named = share[:, :, 0] @ value
        seen, h = there[:, :, None], h[:, s:]
        query, which, around = (
            (asked, torch.einsum("bnhk,bpk->bnhp", asked, key)) for asked in self._queries(h)
        )
        spans = self.span(words.pieces)
        meant = which[1] + self._salience(spans)[:, None]
        span = brought(self._mix(meant.masked_fill(~seen, NEVER), self.no_span[:, None]), spans)
        index = torch.where(opening, AGES - 1, back.clamp(0, AGES - 1))[:, :, None].expand(b, n, HEADS, -1)
        aged = (query[1] + self._by_age(query[0], span).gather(3, index)).masked_fill(~seen, NEVER)
        old = brought(self._mix(aged, self.no_age[:, None]), value)  # [B, N, H, KEY]
        some = asking.any(2)  # the ticks in which a word asks
        early, asks = opening.expand(b, n, -1)[some][:, None], share[some]
        near = share.new_zeros(b, n, AROUND, share.shape[-1])
        near[some] = torch.where(early, self._near(asks * early), self._near(asks * ~early)).to(near.dtype)
        beside = (around[1] + (near + FAR).log()).masked_fill(~seen, NEVER)
        found = brought(self._mix(beside, self.no_around[:, None]), torch.cat([value, word_names], -1))
        return self._told(named, old, found)

    def _by_age(self, query: Tensor, span: Tensor) -> Tensor:
        """Scores of every age […, HEADS, AGES] for what is asked and for the spans that words mean."""
        scores: Tensor = query @ self.age.weight.T + turned(span, self.late) @ self.ages.T
        return scores

    def _told(self, named: Tensor, old: Tensor, around: Tensor) -> Tensor:
        out: Tensor = self.out(torch.cat([named, old.flatten(-2)], -1)) + self.around_out(around.flatten(-2))
        return out

    def step(self, h: Tensor, asked: Tensor, past: Sequence[Tensor], seen: Seen) -> Tensor:
        """h [B, D], names of the words heard and said [B, 2·T, KEY] → [B, D].

        `past`: names, keys, values and spans that the rows remember, each [B, P, KEY].
        """
        names, keys, values, spans = past
        nowhere = self.nothing.new_zeros(names.shape[1])
        nowhere[-1] = 1.0  # the place of no word at all
        some = slice(None) if seen.rows is None else seen.rows
        score = torch.bmm(self.sharp * asked[some], names[some].mT)
        score = torch.where(seen.earlier[some, None], score + nowhere * self.nothing, NEVER)
        share = score.softmax(-1) * seen.asking[some, :, None] * (1 - nowhere)
        share = share.view(len(share), 2, asked.shape[1] // 2, share.shape[-1]).sum(2)  # [R, 2, P]
        named = h.new_zeros(len(h), KEY)
        named[some] = torch.bmm(share[:, :1], values[some])[:, 0]
        near = h.new_zeros(len(h), AROUND, names.shape[1])
        near[some] = seen.in_order(share, self._beside, some)
        used = seen.used[:, None]
        query, which, around = self._queries(h)
        number = torch.where(nowhere > 0, self.no_span[:, None], self._salience(spans))
        span = self._look(which, keys, spans, used, number)
        by_age = self._by_age(query, span).gather(2, seen.age[:, None].expand(-1, HEADS, -1))
        old = self._look(query, keys, values, used, torch.where(nowhere > 0, self.no_age[:, None], by_age))
        close = torch.where(nowhere > 0, self.no_around[:, None], (near + FAR).log())
        found = torch.cat([self._look(around, keys, what, used, close) for what in (values, names)], -1)
        return self._told(named, old, found)

    def _look(self, query: Tensor, keys: Tensor, values: Tensor, used: Tensor, more: Tensor) -> Tensor:
        """Attention of some heads [B, H, KEY] over the places used [B, 1, P], with something added to its scores."""
        mask = torch.where(used, more, NEVER)[:, None]
        found = F.scaled_dot_product_attention(
            query[:, None], keys[:, None], values[:, None], mask, scale=1.0
        )
        return found[:, 0]

    def _beside(self, share: Tensor) -> Tensor:
        """`_near`, the same to the bit however many rows there are. [R, 2, P] → [R, AROUND, P]"""
        windows = F.pad(share, (REACH, REACH)).unfold(-1, 2 * REACH + 1, 1)  # [R, 2, P, 2·REACH + 1]
        return (windows[:, None] * self.beside.flip(-1).exp()[:, :, None]).sum((2, 4))


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

    def embedded(self, pieces: Tensor) -> Tensor:
        embedded: Tensor = self._table[0](pieces)
        return embedded * (pieces != 0)[..., None]

    # ---- a whole episode at once ----

    def over(self, words: Words, heard: Tensor, said: Tensor) -> Within:
        asked = torch.cat([heard, said], -1)
        return Within(self, words, self.embedded(words.pieces), self.embedded(asked), asked != 0)

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
            spans=memory(),
        )

    def opening(self, state: AssociationState, slot: int, pieces_SR: Tensor) -> Opening:
        """While the set-up is read: its words go into places that stay."""
        position, _ = (pieces_SR != 0).nonzero(as_tuple=True)
        first = int(state.pinned[slot])
        state.pinned[slot] += len(position)
        places = slice(first, first + len(position))
        state.tick[slot, places] = -AGES
        return Opening(self, state, slot, places, position, pieces_SR[pieces_SR != 0])

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
        asking = torch.cat(words[:2], -1) != 0
        asked = None if static else asking.any(1).nonzero()[:, 0]
        order = (state.count[slots_B, None] + torch.arange(self.ring, device=place.device)) % self.ring
        seen = Seen(age, earlier | nowhere, used | nowhere, asking, asked, order, self.pinned)
        return During(self, state, slots_B, rows, place, pieces, seen)


@dataclass
class Seen:
    """Which of the places of the rows of a step can be seen, and by whom."""

    age: Tensor  # [B, P]
    earlier: Tensor  # [B, P] in a tick before this one
    used: Tensor  # [B, P]
    asking: Tensor  # [B, 2·T]
    rows: Tensor | None  # those in which a word asks; None: all do, so that no shape depends on them
    order: Tensor  # [B, ring] the places of the ring, oldest first
    pinned: int

    def in_order(self, share: Tensor, beside: Callable[[Tensor], Tensor], some: Tensor | slice) -> Tensor:
        """Shares [R, 2, P] → what is beside them in the order in which words came [R, AROUND, P]."""
        order = self.order[some, None]
        opening = beside(share[..., : self.pinned])
        later = share[..., self.pinned : self.pinned + order.shape[-1]]
        later = beside(later.gather(2, order.expand(-1, 2, -1)))
        back = torch.empty_like(later).scatter_(2, order.expand_as(later), later)
        return torch.cat([opening, back, back.new_zeros(*back.shape[:2], 2)], 2)


@dataclass
class Within:
    """Whole episodes: what each block's end brings to mind."""

    all: Associations
    words: Words
    pieces: Tensor  # [B, P, D]
    asked: Tensor  # [B, N, 2·T, D]
    asking: Tensor

    def __call__(self, block: int, x: Tensor) -> Tensor:
        if block not in self.all.after:
            return x
        one, s = self.all.one(self.all.after[block]), self.words.setup
        brought = one(x, self.words, one.names(self.pieces), one.names(self.asked), self.asking)
        return torch.cat([x[:, :s], x[:, s:] + brought], 1)


@dataclass
class Opening:
    all: Associations
    state: AssociationState
    slot: int
    places: slice
    position: Tensor
    pieces: Tensor  # those that are there

    def __call__(self, block: int, x: Tensor) -> Tensor:
        if block in self.all.after:
            number = self.all.after[block]
            one = self.all.one(number)
            h = one.norm(x[0, self.position])
            self.state.names[number, self.slot, self.places] = one.names(self.all.embedded(self.pieces))
            self.state.spans[number, self.slot, self.places] = one.span(self.pieces)
            self.state.keys[number, self.slot, self.places] = one.keys(h)
            self.state.values[number, self.slot, self.places] = one.value(h)
        return x


@dataclass
class During:
    all: Associations
    state: AssociationState
    slots: Tensor
    rows: Tensor | slice  # the same slots as a view, if it can be
    place: Tensor  # [B, W]
    pieces: Tensor  # [B, W]
    seen: Seen

    def __call__(self, block: int, x: Tensor) -> Tensor:
        """x [B, 1, D]"""
        if block not in self.all.after:
            return x
        number = self.all.after[block]
        one, state = self.all.one(number), self.state
        h, row = one.norm(x[:, 0]), self.slots[:, None]
        names = one.names(self.all.embedded(self.pieces))
        state.names[number, row, self.place] = names
        state.keys[number, row, self.place] = one.keys(h)[:, None].expand_as(names)
        state.values[number, row, self.place] = one.value(h)[:, None].expand_as(names)
        state.spans[number, row, self.place] = one.span(self.pieces)
        memories = (state.names, state.keys, state.values, state.spans)
        past = [memory[number, self.rows] for memory in memories]
        return x + one.step(h, names[:, : self.seen.asking.shape[1]], past, self.seen)[:, None]

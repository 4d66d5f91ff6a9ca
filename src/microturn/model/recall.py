"""Words that can be said again: a pointer from what is about to be spelled to what was heard or read.

An answer often is a word that somebody said before. One more attention, over the words heard and read so far, has
those words' own pieces as its values and adds them to what the say head is about to spell, so that copying need not
be learned through every layer. What is kept of a word is its pieces and a short key: the set-up's for ever, and after
them the last `c.recall` words. Several words may come in one tick: a key tells which of them it is, by its place in
the tick and by its first piece. Only the NEAREST words count.

Words that stood beside an earlier mention of what was heard just now score more: when "milk" is heard after "when I
say milk say five", that is where "five" is. So do words that stand behind what the model said itself a moment ago:
whoever reads aloud goes on where he is. Where a tick has room for more than the word, the next one follows it.

Shape suffixes: B episodes or slots of a step, N ticks, E places, T pieces, R rows, D width of a piece, L the latest
places, K the words said last.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from microturn.model.config import ModelConfig
from microturn.model.tokenizer import PieceTokenizer

NEAREST = 16
KEY = 64
LATEST = 32  # places that may hold what was heard just now
FRESH = 4  # ticks that are just now
BESIDE = 8  # places on either side
BRIGHT = 2.0  # score of standing beside an earlier mention, at the start
SAID = 4  # words of its own that were said last …
SINCE = 10  # … in so many ticks
AFTER = 4  # places on either side of one of them
ONWARD = 0.3  # at the start


@dataclass
class RecallState:
    """Fixed places: those of the set-up first, then a ring, then one of scratch."""

    keys: Tensor  # [S, E, KEY]
    pieces: Tensor  # [S, E, T]
    tick: Tensor  # [S, E] in which each came; −1: in the set-up
    name: Tensor  # [S, E] a number for each word
    said: Tensor  # [S, SAID] numbers of the words that it said last, the latest first; 0: none
    said_tick: Tensor  # [S, SAID] in which it said each
    now: Tensor  # [S] tick of the latest look around
    pinned: Tensor  # [S] places of the set-up used
    count: Tensor  # [S] words put into the ring so far


class Recall(nn.Module):
    def __init__(self, c: ModelConfig, table: nn.Embedding) -> None:
        super().__init__()
        self.pinned, self.ring = c.pinned * c.read_pieces, c.recall
        self.room = max(c.say_pieces, c.read_pieces)
        self.reading = c.say_pieces  # the slot of the first word read; those heard come before
        self._table = [table]  # not registered: its owner is the network
        self.query = nn.Linear(c.d_model, KEY)
        self.key = nn.Linear(c.d_model, KEY)
        self.which = nn.Linear(c.piece_dim, KEY, bias=False)
        self.slot = nn.Embedding(2 * self.room, KEY)
        self.gain = nn.Parameter(torch.tensor([6.0]))  # the size of a state that is about to be spelled is 16
        self.nothing = nn.Parameter(torch.zeros(1))  # score of pointing nowhere
        self.telling = nn.Linear(c.piece_dim, 1)  # how much a word says about what stands beside it
        self.fresh = nn.Parameter(torch.full((FRESH,), 2 * BRIGHT))
        self.beside = nn.Parameter(torch.ones(2 * BESIDE + 1))
        self.follows = nn.Parameter(torch.zeros(SAID, 2 * AFTER + 1))  # worth of standing so far behind each
        self.since = nn.Parameter(torch.ones(SINCE))
        self.onward = nn.Parameter(torch.tensor([ONWARD]))  # of the word behind the one that is pointed at
        if self.gain.device.type != "meta":
            nn.init.zeros_(self.which.weight)
            nn.init.zeros_(self.slot.weight)
            nn.init.zeros_(self.telling.weight)
            nn.init.zeros_(self.telling.bias)
            self.beside.data[BESIDE] = 0.0
            for k in range(SAID):
                self.follows.data[k, AFTER - 1 - k] = BRIGHT / (k + 1)
        self.register_buffer("begins", PieceTokenizer.load().begins(c.vocabulary), persistent=False)

    begins: Tensor  # [V] pieces with which a word begins

    def words(self, *kinds: Tensor) -> Tensor:
        """Pieces […, T] of several kinds → the word at each place […, W, room], zeros where none begins."""
        found = []
        for pieces in kinds:
            for first in range(pieces.shape[-1]):
                rest = pieces[..., first:]
                begins = self.begins[rest].clone()
                if first:
                    rest = rest * begins[..., :1]
                begins[..., 0] = False
                word = rest * (begins.long().cumsum(-1) == 0)
                found.append(F.pad(word, (0, self.room - word.shape[-1])))
        return torch.stack(found, -2)

    def _keys(self, hidden: Tensor, words: Tensor, first_slot: int = 0) -> Tensor:
        """Keys […, W, KEY] of the words at a position whose hidden state is […, D]."""
        which = self.which(self._table[0](words[..., 0]))
        slots = self.slot.weight[first_slot : first_slot + words.shape[-2]]
        keys: Tensor = self.key(hidden)[..., None, :] + which + slots
        return keys

    def _mix(self, score_RE: Tensor, pieces: Tensor, next_RE: Tensor, rows: Tensor | None = None) -> Tensor:
        """Scores (−inf where there is no word), pieces [R or B, E, T] and the place behind each → [R, T, D]."""
        nowhere = self.nothing.expand(len(score_RE), 1)
        odds = torch.cat([nowhere, score_RE], 1).softmax(-1)[:, 1:]
        best_RK, at_RK = odds.topk(min(NEAREST, odds.shape[1]), -1)
        owner = torch.arange(len(score_RE), device=odds.device) if rows is None else rows
        chosen = pieces[owner[:, None], at_RK]  # [R, K, T]
        behind_RK = next_RE.gather(1, at_RK)
        behind = torch.where(behind_RK[..., None] >= 0, pieces[owner[:, None], behind_RK.clamp_min(0)], 0)
        place = torch.arange(self.room, device=odds.device) - (chosen != 0).sum(-1, keepdim=True)
        then = torch.where(place >= 0, behind.gather(-1, place.clamp_min(0)), 0)
        values = self._table[0](chosen) * (chosen != 0)[..., None]
        values = values + self.onward * self._table[0](then) * (then != 0)[..., None]
        out: Tensor = self.gain * (best_RK[..., None, None] * values).sum(1)
        return out

    def _score(self, query: Tensor, keys: Tensor) -> Tensor:
        score: Tensor = (query * keys).sum(-1) * KEY**-0.5
        return score

    def _name(self, words: Tensor) -> Tensor:
        """Pieces of words […, T] → a number for each […]; words that differ in the first four differ."""
        base = len(self.begins) ** torch.arange(4, device=words.device)
        return (words[..., :4] * base[: words.shape[-1]]).sum(-1)

    def _bright(self, pieces_RLT: Tensor, age_RL: Tensor) -> Tensor:
        """How much each of the latest words says about what is to be said now; nothing if it is not fresh."""
        telling = torch.sigmoid(self.telling(self._table[0](pieces_RLT[..., 0])))[..., 0]
        fresh = (age_RL >= 0) & (age_RL < FRESH) & (pieces_RLT[..., 0] != 0)
        return torch.where(fresh, telling * self.fresh[age_RL.clamp(0, FRESH - 1)], 0.0)

    def _met(self, name_RE: Tensor, name_RL: Tensor, bright_RL: Tensor) -> Tensor:
        """What the same word in other places is worth [R, E]."""
        same = name_RE[:, :, None] == name_RL[:, None, :]
        return torch.where(same, bright_RL[:, None, :], 0.0).amax(-1)

    def _near(self, met_RE: Tensor) -> Tensor:
        around: Tensor = F.pad(met_RE, (BESIDE, BESIDE)).unfold(-1, 2 * BESIDE + 1, 1) * self.beside
        return around.sum(-1)

    def _goes_on(self, name_RE: Tensor, said_RK: Tensor, age_RK: Tensor) -> Tensor:
        """What standing near the words said last is worth [R, E], each a little further along than the one before."""
        fresh = (said_RK != 0) & (age_RK < SINCE)
        weight_RK = torch.where(fresh, self.since[age_RK.clamp(0, SINCE - 1)], 0.0)
        met_RKE = (name_RE[:, None] == said_RK[..., None]) * weight_RK[..., None]
        # no convolution: that rounds a single row otherwise than several
        windows = F.pad(met_RKE, (AFTER, AFTER)).unfold(-1, 2 * AFTER + 1, 1)
        out: Tensor = (windows * self.follows[:, None]).sum((1, 3))
        return out

    # ---- a whole episode at once ----

    def forward(
        self,
        hidden_BSND: Tensor,
        setup: Tensor,
        heard: Tensor,
        read: Tensor,
        said: Tensor,
        row_R: Tensor,
        tick_R: Tensor,
    ) -> Tensor:
        """Hidden states [B, S+N, D] of set-up and ticks; pieces read and heard in them → for some ticks [R, T, D].

        Said [B, N, T] is in each tick what was said in the one before.
        """
        s = setup.shape[1]
        opening, later = self.words(setup), self.words(heard, read)  # [B, S, W, room], [B, N, 2·W, room]
        came = (later[..., 0] != 0).flatten(1).long().cumsum(1)
        number = torch.cat([torch.zeros_like(opening[..., 0]).flatten(1), came], 1)
        so_far = came.view(later.shape[:3])[..., -1]
        position = torch.arange(hidden_BSND.shape[1], device=setup.device)
        tick = torch.cat(
            [
                torch.full_like(opening[0, ..., 0].flatten(), -1),
                (position[s:] - s).repeat_interleave(later.shape[2]),
            ]
        )
        pieces = torch.cat([opening.flatten(1, 2), later.flatten(1, 2)], 1)
        keys = torch.cat(
            [
                self._keys(hidden_BSND[:, :s], opening, self.reading).flatten(1, 2),
                self._keys(hidden_BSND[:, s:], later).flatten(1, 2),
            ],
            1,
        )
        there = pieces[..., 0] != 0
        first = there.int().argsort(dim=1, descending=True, stable=True)[:, : max(1, int(there.sum(1).max()))]
        row = torch.arange(len(pieces), device=pieces.device)[:, None]
        pieces, keys, number, there = (
            pieces[row, first],
            keys[row, first],
            number[row, first],
            there[row, first],
        )
        when = tick[first]
        score = (
            torch.einsum("rd,red->re", self.query(hidden_BSND[row_R, s + tick_R]), keys[row_R]) * KEY**-0.5
        )
        kept = (when < 0)[row_R] | (number[row_R] > so_far[row_R, tick_R][:, None] - self.ring)
        seen = there[row_R] & kept & (when[row_R] <= tick_R[:, None])
        opened = (there & (when < 0)).sum(1)[row_R, None]
        came_last = so_far[row_R, tick_R][:, None] - 1 - torch.arange(LATEST, device=pieces.device)
        at_RL = (opened + came_last).clamp(0, pieces.shape[1] - 1)
        some = (came_last >= 0) & (came_last >= so_far[row_R, tick_R][:, None] - self.ring)
        latest = torch.where(some[..., None], pieces[row_R[:, None], at_RL], 0)
        bright = self._bright(latest, tick_R[:, None] - when[row_R[:, None], at_RL])
        old = (when[row_R] < 0) | (tick_R[:, None] - when[row_R] >= FRESH)
        met = self._met(self._name(pieces)[row_R], self._name(latest), bright) * (seen & old)
        pinned = (when < 0)[row_R]
        near = torch.where(pinned, self._near(met * pinned), self._near(met * ~pinned))
        names_RE = torch.where(seen, self._name(pieces)[row_R], -1)
        own_RK, age_RK = self._last_said(said, row_R, tick_R)
        on = torch.where(
            pinned,
            self._goes_on(torch.where(pinned, names_RE, -1), own_RK, age_RK),
            self._goes_on(torch.where(pinned, -1, names_RE), own_RK, age_RK),
        )
        score = (score + near + on).masked_fill(~seen, float("-inf"))
        behind = torch.arange(1, pieces.shape[1] + 1, device=pieces.device).expand_as(score)
        same = F.pad(seen[:, 1:] & (pinned[:, 1:] == pinned[:, :-1]), (0, 1))
        return self._mix(score, pieces, torch.where(same, behind, -1), row_R)

    def _last_said(self, said_BNT: Tensor, row_R: Tensor, tick_R: Tensor) -> tuple[Tensor, Tensor]:
        """Names [R, K] of the words said before some ticks, the latest first, and how long ago."""
        words = self.words(said_BNT)
        name = self._name(words).flatten(1)  # [B, N·T]
        there = words[..., 0].flatten(1) != 0
        so_far = there.long().cumsum(1).view(words.shape[:3])[..., -1]
        first = there.int().argsort(dim=1, descending=True, stable=True)
        back = so_far[row_R, tick_R][:, None] - 1 - torch.arange(SAID, device=said_BNT.device)
        at_RK = first[row_R[:, None], back.clamp_min(0)]
        own = torch.where(back >= 0, name[row_R[:, None], at_RK], 0)
        return own, tick_R[:, None] - at_RK // words.shape[2]

    # ---- tick by tick ----

    def allocate(self, slots: int) -> RecallState:
        places, weights = self.pinned + self.ring + 1, self.gain

        def whole(*size: int) -> Tensor:
            return torch.zeros(size, dtype=torch.long, device=weights.device)

        return RecallState(
            keys=weights.new_zeros(slots, places, KEY),
            pieces=whole(slots, places, self.room),
            tick=whole(slots, places),
            name=whole(slots, places),
            said=whole(slots, SAID),
            said_tick=whole(slots, SAID),
            now=whole(slots),
            pinned=whole(slots),
            count=whole(slots),
        )

    def pin(self, state: RecallState, slot: int, hidden_SD: Tensor, pieces_ST: Tensor) -> None:
        words = self.words(pieces_ST)
        keys, some = self._keys(hidden_SD, words, self.reading), words[..., 0] != 0
        at = int(state.pinned[slot])
        places = slice(at, at + int(some.sum()))
        state.keys[slot, places], state.pieces[slot, places] = keys[some], words[some]
        state.tick[slot, places], state.name[slot, places] = -1, self._name(words[some])
        state.pinned[slot] += some.sum()

    def remember(
        self, state: RecallState, slots_B: Tensor, hidden_BD: Tensor, said_BT: Tensor, *kinds: Tensor
    ) -> None:
        """What was said in the tick before; the words heard [B, T], then those read, of this tick.

        No shape depends on what they are.
        """
        own = self.words(said_BT)
        news = (own[..., 0] != 0).flip(1)  # the latest first
        every = torch.cat([self._name(own).flip(1), state.said[slots_B]], 1)
        ticks = torch.cat([(state.now[slots_B, None] + 1).expand_as(news), state.said_tick[slots_B]], 1)
        kept = F.pad(news, (0, SAID), value=True).int().argsort(dim=1, descending=True, stable=True)[:, :SAID]
        state.said[slots_B], state.said_tick[slots_B] = every.gather(1, kept), ticks.gather(1, kept)
        words = self.words(*kinds)  # [B, W, room]
        some = words[..., 0] != 0
        place = self.pinned + (state.count[slots_B, None] + some.long().cumsum(1) - some.long()) % self.ring
        place = torch.where(some, place, self.pinned + self.ring)
        row = slots_B[:, None]
        state.now[slots_B] += 1
        state.tick[row, place], state.name[row, place] = state.now[row], self._name(words)
        state.keys[row, place], state.pieces[row, place] = self._keys(hidden_BD, words), words
        state.count[slots_B] += some.sum(1)

    def look(self, state: RecallState, slots_R: Tensor, hidden_RD: Tensor) -> Tensor:
        place = torch.arange(self.pinned + self.ring + 1, device=slots_R.device)
        used = torch.where(
            place < self.pinned,
            place < state.pinned[slots_R, None],
            (place - self.pinned < state.count[slots_R, None]) & (place < self.pinned + self.ring),
        )
        score = self._score(self.query(hidden_RD)[:, None], state.keys[slots_R])
        # from the oldest to the latest
        order = self.pinned + (state.count[slots_R, None] + place[: self.ring]) % self.ring
        last, slot_R = order[:, -LATEST:], slots_R[:, None]
        latest = torch.where(used.gather(1, last)[..., None], state.pieces[slot_R, last], 0)
        bright = self._bright(latest, state.now[slot_R] - state.tick[slot_R, last])
        tick = state.tick[slots_R]
        old = used & ((tick < 0) | (state.now[slot_R] - tick >= FRESH))
        met = self._met(state.name[slots_R], self._name(latest), bright) * old
        near = torch.zeros_like(score)
        near[:, : self.pinned] = self._near(met[:, : self.pinned])
        near.scatter_(1, order, self._near(met.gather(1, order)))
        name = torch.where(used, state.name[slots_R], -1)
        own, age = state.said[slots_R], state.now[slot_R] - state.said_tick[slots_R]
        on = torch.zeros_like(score)
        on[:, : self.pinned] = self._goes_on(name[:, : self.pinned], own, age)
        on.scatter_(1, order, self._goes_on(name.gather(1, order), own, age))
        score = (score + near + on).masked_fill(~used, float("-inf"))
        behind = torch.where(
            place < self.pinned, place + 1, self.pinned + (place - self.pinned + 1) % self.ring
        )
        newest = self.pinned + (state.count[slot_R] - 1) % self.ring
        none = (place == newest) | (place + 1 == self.pinned) | ~used.gather(1, behind.expand_as(used))
        return self._mix(score, state.pieces[slots_R], torch.where(none, -1, behind))

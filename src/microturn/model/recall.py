"""Words that can be said again: a pointer from what is about to be spelled to what was heard or read.

An answer often is a word that somebody said before. One more attention, over the words heard and read so far, has
those words' own pieces as its values and adds them to what the say head is about to spell, so that copying need not
be learned through every layer. What is kept of a word is its pieces and a short key: the pinned set-up for ever,
and after it the last `recall` ticks in which there were words. Only the NEAREST of them count.

Shape suffixes: B episodes or slots of a step, N ticks, E places, T pieces, R rows, D width of a piece.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from microturn.model.config import ModelConfig

NEAREST = 16
KEY = 64


@dataclass
class RecallState:
    """Fixed places: the pinned ones first, then a ring."""

    keys: Tensor  # [S, E, KEY]
    pieces: Tensor  # [S, E, T]
    pinned: Tensor  # [S] pinned places used
    count: Tensor  # [S] words put into the ring so far


class Recall(nn.Module):
    def __init__(self, c: ModelConfig, table: nn.Embedding) -> None:
        super().__init__()
        self.pinned, self.ring = c.pinned, c.recall
        self.room = max(c.say_pieces, c.read_pieces)
        self._table = [table]  # not registered: its owner is the network
        self.query = nn.Linear(c.d_model, KEY)
        self.key = nn.Linear(c.d_model, KEY)
        self.gain = nn.Parameter(torch.tensor([6.0]))  # the size of a state that is about to be spelled is 16
        self.nothing = nn.Parameter(torch.zeros(1))  # score of pointing nowhere

    def _mix(self, score_RE: Tensor, pieces: Tensor, rows: Tensor | None = None) -> Tensor:
        """Scores (−inf where there is no word) and pieces [R or B, E, T] → [R, T, D]."""
        nowhere = self.nothing.expand(len(score_RE), 1)
        odds = torch.cat([nowhere, score_RE], 1).softmax(-1)[:, 1:]
        best_RK, at_RK = odds.topk(min(NEAREST, odds.shape[1]), -1)
        owner = torch.arange(len(score_RE), device=odds.device) if rows is None else rows
        chosen = pieces[owner[:, None], at_RK]  # [R, K, T]
        values = self._table[0](chosen) * (chosen != 0)[..., None]
        out: Tensor = self.gain * (best_RK[..., None, None] * values).sum(1)
        return out

    def _score(self, query: Tensor, keys: Tensor) -> Tensor:
        score: Tensor = (query * keys).sum(-1) * KEY**-0.5
        return score

    def fit(self, pieces: Tensor) -> Tensor:
        padded: Tensor = nn.functional.pad(pieces, (0, self.room - pieces.shape[-1]))
        return padded

    # ---- a whole episode at once ----

    def forward(
        self, hidden_BSND: Tensor, setup: Tensor, heard: Tensor, read: Tensor, row_R: Tensor, tick_R: Tensor
    ) -> Tensor:
        """Hidden states [B, S+N, D] of set-up and ticks; pieces read and heard in them → for some ticks [R, T, D]."""
        b, s, n = *setup.shape[:2], heard.shape[1]
        keys = self.key(hidden_BSND)
        keys = torch.cat([keys, keys[:, s:]], 1)  # set-up, heard, read
        pieces = torch.cat([self.fit(setup), self.fit(heard), self.fit(read)], 1)
        there = (pieces != 0).any(-1)  # [B, E]
        t = torch.arange(n, device=heard.device)
        # words in the order in which they came: a tick's heard ones before those that it read
        order = there[:, s:].view(b, 2, n).transpose(1, 2).reshape(b, 2 * n).long().cumsum(1).view(b, n, 2)
        number = order.transpose(1, 2).reshape(b, 2 * n)
        so_far = order[..., 1]
        query_RD = self.query(hidden_BSND[row_R, s + tick_R])
        score = torch.einsum("rd,red->re", query_RD, keys[row_R]) * KEY**-0.5
        past = torch.cat([t, t])[None] <= tick_R[:, None]
        kept = number[row_R] > so_far[row_R, tick_R][:, None] - self.ring
        seen = torch.cat([torch.ones(len(row_R), s, dtype=torch.bool, device=past.device), past & kept], 1)
        score = score.masked_fill(~(seen & there[row_R]), float("-inf"))
        return self._mix(score, pieces, row_R)

    # ---- tick by tick ----

    def allocate(self, slots: int) -> RecallState:
        places, weights = self.pinned + self.ring, self.gain

        def whole(*size: int) -> Tensor:
            return torch.zeros(size, dtype=torch.long, device=weights.device)

        return RecallState(
            keys=weights.new_zeros(slots, places, KEY),
            pieces=whole(slots, places, self.room),
            pinned=whole(slots),
            count=whole(slots),
        )

    def pin(self, state: RecallState, slot: int, hidden_SD: Tensor, pieces_ST: Tensor) -> None:
        at = int(state.pinned[slot])
        places = slice(at, at + len(hidden_SD))
        state.keys[slot, places] = self.key(hidden_SD)
        state.pieces[slot, places] = self.fit(pieces_ST)
        state.pinned[slot] += len(hidden_SD)

    def remember(self, state: RecallState, slots_B: Tensor, hidden_BD: Tensor, *words: Tensor) -> None:
        """The words heard [B, T], then those read, of this tick. No shape depends on what they are."""
        key = self.key(hidden_BD)
        for pieces in words:
            some = (pieces != 0).any(-1)
            place = self.pinned + state.count[slots_B] % self.ring
            old_key, old = state.keys[slots_B, place], state.pieces[slots_B, place]
            state.keys[slots_B, place] = torch.where(some[:, None], key, old_key)
            state.pieces[slots_B, place] = torch.where(some[:, None], self.fit(pieces), old)
            state.count[slots_B] += some

    def look(self, state: RecallState, slots_R: Tensor, hidden_RD: Tensor) -> Tensor:
        place = torch.arange(self.pinned + self.ring, device=slots_R.device)
        used = torch.where(
            place < self.pinned,
            place < state.pinned[slots_R, None],
            place - self.pinned < state.count[slots_R, None],
        )
        score = self._score(self.query(hidden_RD)[:, None], state.keys[slots_R])
        return self._mix(score.masked_fill(~used, float("-inf")), state.pieces[slots_R])

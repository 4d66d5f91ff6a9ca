"""What comes out of a tick: the decision, the pieces said and the pieces heard. And a lesson for the ears.

Pieces are spelled by a small recurrent depth decoder, at most T a tick, ended by piece 0; a word that was spelled in
the tick before is less likely to begin once more. The decision is taken first and by itself: folding silence into the
vocabulary costs small models their turn-taking.

Shape suffixes: R rows (ticks of any session), T pieces a tick, D width, V vocabulary.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from microturn.model.config import ModelConfig
from microturn.model.layers import RMSNorm
from microturn.model.packed import Packed
from microturn.model.tokenizer import PieceTokenizer


class DepthDecoder(nn.Module):
    def __init__(self, c: ModelConfig, table: nn.Embedding) -> None:
        super().__init__()
        self.pieces = c.say_pieces
        self._table = [table]  # not registered: its owner is the network
        self.packed_table: nn.Module | None = None
        self.start = nn.Linear(c.d_model, c.piece_dim)
        self.first = nn.Parameter(torch.zeros(c.piece_dim))
        self.from_piece = nn.Linear(c.piece_dim, 3 * c.piece_dim)
        self.from_state = nn.Linear(c.piece_dim, 3 * c.piece_dim)
        self.from_hidden = nn.Linear(c.d_model, c.piece_dim)
        self.norm = RMSNorm(c.piece_dim)
        self.bias = nn.Parameter(torch.zeros(c.vocabulary))
        self.again = nn.Parameter(torch.ones(1))  # taken off the log-odds of a word of the tick before
        self.register_buffer("begins", PieceTokenizer.load().begins(c.vocabulary), persistent=False)

    begins: Tensor  # [V] pieces with which a word begins

    def _next(self, x_RD: Tensor, state_RD: Tensor) -> Tensor:
        """One gated recurrent step."""
        xr, xz, xn = self.from_piece(x_RD).chunk(3, -1)
        hr, hz, hn = self.from_state(state_RD).chunk(3, -1)
        candidate = torch.tanh(xn + torch.sigmoid(xr + hr) * hn)
        update = torch.sigmoid(xz + hz)
        return update * state_RD + (1 - update) * candidate

    def _logits(
        self,
        state_RD: Tensor,
        direct_RD: Tensor,
        recalled_RD: Tensor | None = None,
        again: tuple[Tensor, Tensor] | None = None,
    ) -> Tensor:
        state_RD = self.norm(state_RD + direct_RD)
        if recalled_RD is not None:
            state_RD = state_RD + recalled_RD
        if self.packed_table is not None:
            logits: Tensor = self.packed_table(state_RD)
        else:
            logits = F.linear(state_RD, self._table[0].weight, self.bias)
        return logits if again is None else logits.scatter_add(-1, again[0], again[1].to(logits.dtype))

    def _less(self, before_RT: Tensor | None) -> tuple[Tensor, Tensor] | None:
        """Words of the tick before, and how much less likely they are."""
        return None if before_RT is None else (before_RT, -self.again * self.begins[before_RT])

    def pack_table(self) -> None:
        """Serving on a CPU: see model/packed.py."""
        self.packed_table = Packed(self._table[0].weight, self.bias)

    def loss(
        self,
        hidden_RD: Tensor,
        target_RT: Tensor,
        nothing_weight: float,
        recalled: Tensor | None = None,
        before: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Cross-entropy summed over the pieces that matter, and their (weighted) number. `before`: of the last tick.

        Rows end at their first 0; a first piece that is 0 counts `nothing_weight`, since most ticks say nothing.
        """
        state = torch.tanh(self.start(hidden_RD))
        direct = self.from_hidden(hidden_RD)
        x = self.first.expand_as(state)
        again = self._less(before)
        total, count = hidden_RD.new_zeros(()), hidden_RD.new_zeros(())
        for t in range(target_RT.shape[1]):
            state = self._next(x, state)
            target = target_RT[:, t]
            copied = None if recalled is None else recalled[:, t]
            loss = F.cross_entropy(self._logits(state, direct, copied, again), target, reduction="none")
            weight = torch.where(target == 0, nothing_weight if t == 0 else 1.0, 1.0)
            total, count = total + (loss * weight).sum(), count + weight.sum()
            going = target != 0
            if t + 1 == target_RT.shape[1] or not bool(going.any()):
                break
            state, direct, target_RT = state[going], direct[going], target_RT[going]
            again = again and (again[0][going], again[1][going])
            recalled = None if recalled is None else recalled[going]
            x = self._table[0](target_RT[:, t])
        return total, count

    @torch.no_grad()
    def spell(
        self,
        hidden_RD: Tensor,
        active_R: Tensor,
        static: bool = False,
        recalled: Tensor | None = None,
        before: Tensor | None = None,
    ) -> Tensor:
        """Greedy pieces [R, T] for the active rows, 0 for the others. Static: all T steps, whoever has ended."""
        out = torch.zeros(len(hidden_RD), self.pieces, dtype=torch.long, device=hidden_RD.device)
        state = torch.tanh(self.start(hidden_RD))
        direct = self.from_hidden(hidden_RD)
        x = self.first.expand_as(state)
        going, again = active_R, self._less(before)
        for t in range(self.pieces):
            if not static and not bool(going.any()):
                break
            state = self._next(x, state)
            copied = None if recalled is None else recalled[:, t]
            piece = torch.where(going, self._logits(state, direct, copied, again).argmax(-1), 0)
            out[:, t] = piece
            going = going & (piece != 0)
            x = self._table[0](piece)
        return out


class Lexis(nn.Module):
    """Which of some words ended here, told by how they sound: every sound at its place from both ends of the word.

    A lesson only. It makes a word look the same wherever in a tick it ends, before ticks are put together.
    """

    def __init__(self, dim: int, sounds: int, width: int = 256, places: int = 10) -> None:
        super().__init__()
        self.sounds, self.places = sounds, places
        self.at = nn.Embedding(2 * places * sounds, width)
        self.ask = nn.Linear(dim, width)
        self.sharp = nn.Parameter(torch.full((1,), 10.0))
        if self.at.weight.device.type != "meta":
            nn.init.normal_(self.at.weight, std=0.15)

    def forward(self, heard_RD: Tensor, words_AP: Tensor) -> Tensor:
        """Logits [R, A]: rows of sounds, zeros behind them, are the words to choose from."""
        there = words_AP != 0
        place = torch.arange(words_AP.shape[1], device=words_AP.device)
        first = place.clamp_max(self.places - 1)
        last = (there.sum(1, keepdim=True) - 1 - place).clamp(0, self.places - 1) + self.places
        both = self.at(words_AP + self.sounds * first) + self.at(words_AP + self.sounds * last)
        named = F.normalize((both * there[..., None]).sum(1), dim=-1)
        logits: Tensor = self.sharp * F.normalize(self.ask(heard_RD), dim=-1) @ named.T
        return logits

"""The causal transformer that takes exactly one step per tick. Position index is wall-clock time.

Unusual choices:
- grouped-query attention with QK-norm; each head has a *rotary* part, in which distance is time, and a *content*
  part without position. Pinned and memory keys have a zero rotary part, so one softmax covers
  [pinned | memory | window] and only the window knows exact distances;
- a session's keys and values live in one fixed tensor; a batch of sessions is a view of it when their slots are
  neighbours, so that stepping everybody copies nothing;
- `forward` runs a whole episode, `step` one tick of many sessions; both are the same modules and agree to 1e-5.

Shape suffixes: B rows, N positions, D width, L layers, S slots, H key-value heads, Q query heads, C key places.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from microturn.model import memory
from microturn.model.config import ModelConfig
from microturn.model.layers import RMSNorm, Routed, SwiGLU

After = Callable[[int, Tensor], Tensor]  # after which block, and what it gave


def turns(ticks: Tensor, c: ModelConfig) -> tuple[Tensor, Tensor]:
    """Rotation of each tick's rotary part, [...] → cos, sin [..., rotary_dim/2]. Double precision: hours fit."""
    half = c.rotary_dim // 2
    speed = c.rotary_base ** (-torch.arange(half, device=ticks.device, dtype=torch.float64) / half)
    angle = ticks.double()[..., None] * speed
    return angle.cos().float(), angle.sin().float()


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn the first rotary_dim of the last axis; the rest is content and stays."""
    half = cos.shape[-1]
    a, b, content = x[..., :half], x[..., half : 2 * half], x[..., 2 * half :]
    return torch.cat([a * cos - b * sin, a * sin + b * cos, content], -1)


def content_only(key: Tensor, c: ModelConfig) -> Tensor:
    return F.pad(key[..., c.rotary_dim :], (c.rotary_dim, 0))


def neighbours(slots_B: Tensor, scratch: int) -> Tensor | slice:
    """How to name these slots' memories: as a view (no copy) if they are neighbours, else by gathering.

    Padding rows look at whatever slot comes next; nobody reads what they give.
    """
    first, batch = int(slots_B[0]), len(slots_B)
    run = torch.arange(first, first + batch)
    if first + batch <= scratch and bool(((slots_B == run) | (slots_B == scratch)).all()):
        return slice(first, first + batch)
    return slots_B


class Attention(nn.Module):
    def __init__(self, c: ModelConfig) -> None:
        super().__init__()
        self.c = c
        self.q = nn.Linear(c.d_model, c.heads * c.head_dim, bias=False)
        self.kv = nn.Linear(c.d_model, 2 * c.kv_heads * c.head_dim, bias=False)
        self.out = nn.Linear(c.heads * c.head_dim, c.d_model, bias=False)
        self.q_norm = RMSNorm(c.head_dim)
        self.k_norm = RMSNorm(c.head_dim)
        # what is worth remembering: a score per key-value head from the key's content
        self.worth = nn.Parameter(torch.zeros(c.kv_heads, c.head_dim - c.rotary_dim))

    def project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """[B, N, D] → q [B, Q, N, d], k and v [B, H, N, d], unrotated."""
        b, n, _ = x.shape
        q = self.q_norm(self.q(x).view(b, n, self.c.heads, self.c.head_dim)).transpose(1, 2)
        k, v = self.kv(x).view(b, n, 2, self.c.kv_heads, self.c.head_dim).unbind(2)
        return q, self.k_norm(k).transpose(1, 2), v.transpose(1, 2)

    def score(self, key: Tensor) -> Tensor:
        """Keys [..., H, G, d] → how much each is worth remembering [..., H, G]."""
        return (key[..., self.c.rotary_dim :] * self.worth[:, None]).sum(-1)

    def look(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
        seen = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, enable_gqa=True)
        out: Tensor = self.out(seen.transpose(1, 2).flatten(2))
        return out


class Block(nn.Module):
    def __init__(self, c: ModelConfig) -> None:
        super().__init__()
        self.attention_norm = RMSNorm(c.d_model)
        self.attention = Attention(c)
        self.ff_norm = RMSNorm(c.d_model)
        self.ff: nn.Module = (
            Routed(c.d_model, c.ff, c.experts, c.experts_active, c.experts_shared)
            if c.experts
            else SwiGLU(c.d_model, c.ff)
        )


@dataclass
class BackboneState:
    """Everything a session remembers, in fixed places. The last slot is scratch for padding rows."""

    k: Tensor  # [L, S, H, C, d]
    v: Tensor  # [L, S, H, C, d]
    weight: Tensor  # [L, S, H, M] log weight of each memory entry
    seen: Tensor  # [S, C] which places hold something
    tick: Tensor  # [S] the next tick
    pinned: Tensor  # [S] places used
    counts: Tensor  # [S, levels] memory entries per level
    keep: Tensor  # [S, ring] the tick in this place read instructions: pin it when it leaves


class Backbone(nn.Module):
    def __init__(self, c: ModelConfig) -> None:
        super().__init__()
        self.c = c
        self.blocks = nn.ModuleList(Block(c) for _ in range(c.layers))
        self.norm = RMSNorm(c.d_model)

    def layers(self) -> list[Block]:
        return [block for block in self.blocks if isinstance(block, Block)]

    # ---- a whole episode at once ----

    def forward(self, x: Tensor, setup_BS: Tensor, keep_BN: Tensor, after: After | None = None) -> Tensor:
        """[B, S+N, D]: S set-up positions (those flagged are real), then N ticks. keep: ticks to pin."""
        s, n = setup_BS.shape[1], keep_BN.shape[1]
        cos, sin = turns(torch.arange(n, device=x.device), self.c)
        entries = memory.schedule(n, self.c) if n >= self.c.ring else []
        keep_BN = keep_BN & (setup_BS.sum(1, keepdim=True) + keep_BN.cumsum(1) <= self.c.pinned)
        mask = self._mask(setup_BS, keep_BN, entries)
        for number, block in enumerate(self.layers()):
            q, k, v = block.attention.project(block.attention_norm(x))
            q = torch.cat([q[:, :, :s], rotate(q[:, :, s:], cos, sin)], 2)
            keys = [content_only(k[:, :, :s], self.c), rotate(k[:, :, s:], cos, sin)]
            values = [v]
            if entries:
                past_k, past_v = self._past(block.attention, k[:, :, s:], v[:, :, s:], keep_BN, entries)
                keys += [content_only(k[:, :, s:], self.c), past_k]
                values += [v[:, :, s:], past_v]
            x = x + block.attention.look(q, torch.cat(keys, 2), torch.cat(values, 2), mask)
            x = x + block.ff(block.ff_norm(x))
            x = after(number, x) if after else x
        out: Tensor = self.norm(x)
        return out

    def _past(
        self, attention: Attention, k: Tensor, v: Tensor, keep_BN: Tensor, entries: list[memory.Entry]
    ) -> tuple[Tensor, Tensor]:
        groups = k.shape[2] // self.c.group
        ticks = groups * self.c.group
        score = attention.score(k[:, :, :ticks])
        score = score.masked_fill(keep_BN[:, None, :ticks], memory.PINNED_SCORE)
        shape = (*k.shape[:2], groups, self.c.group)
        return memory.build(
            content_only(k[:, :, :ticks], self.c).view(*shape, -1),
            v[:, :, :ticks].reshape(*shape, -1),
            score.view(shape),
            entries,
        )

    def _mask(self, setup_BS: Tensor, keep_BN: Tensor, entries: list[memory.Entry]) -> Tensor:
        """[B, 1, S+N, keys] with keys [set-up | window | pinned ticks | memory entries]; the last two if needed."""
        (b, s), n, device = setup_BS.shape, keep_BN.shape[1], setup_BS.device
        t = torch.arange(n, device=device)
        left = ((t + 1 - self.c.window) // self.c.group).clamp_min(0) * self.c.group
        window = (t[None] <= t[:, None]) & (t[None] >= left[:, None])
        upper = [torch.tril(torch.ones(s, s, dtype=torch.bool, device=device)) & setup_BS[:, None]]
        lower = [setup_BS[:, None].expand(b, n, s), window.expand(b, n, n)]
        if entries:
            born = torch.tensor([e.born for e in entries], device=device)
            died = torch.tensor([e.died for e in entries], device=device)
            lower.append((t[None] < left[:, None]) & keep_BN[:, None])
            lower.append(((t[:, None] >= born) & (t[:, None] < died)).expand(b, n, len(entries)))
        rest = sum(part.shape[2] for part in lower[1:])
        upper.append(torch.zeros(b, s, rest, dtype=torch.bool, device=device))
        mask = torch.cat([torch.cat(upper, 2), torch.cat(lower, 2)], 1)
        # A padded set-up position may see itself: a softmax over nothing is not a number.
        mask[:, :s, :s] |= torch.eye(s, dtype=torch.bool, device=device)
        return mask[:, None]

    # ---- tick by tick ----

    def allocate(self, slots: int) -> BackboneState:
        c, weights = self.c, self.norm.scale
        shape = (c.layers, slots + 1, c.kv_heads)

        def whole(*size: int, dtype: torch.dtype = torch.int64) -> Tensor:
            return torch.zeros(*size, dtype=dtype, device=weights.device)

        return BackboneState(
            k=weights.new_zeros(*shape, c.keys, c.head_dim),
            v=weights.new_zeros(*shape, c.keys, c.head_dim),
            weight=weights.new_zeros(*shape, c.memory),
            seen=whole(slots + 1, c.keys, dtype=torch.bool),
            tick=whole(slots + 1),
            pinned=whole(slots + 1),
            counts=whole(slots + 1, c.memory_levels),
            keep=whole(slots + 1, c.ring, dtype=torch.bool),
        )

    def read(self, state: BackboneState, slot: int, x_SD: Tensor, after: After | None = None) -> Tensor:
        """Set-up positions of one session, which take no time: into the pinned places. Gives their hidden states."""
        n, at = x_SD.shape[0], int(state.pinned[slot])
        if at + n > self.c.pinned:
            raise ValueError(
                f"instructions and history need {at + n} positions; this model pins at most {self.c.pinned}"
            )
        x = x_SD[None]
        mask = torch.tril(x.new_ones(n, at + n, dtype=torch.bool), diagonal=at)
        for layer, block in enumerate(self.layers()):
            q, k, v = block.attention.project(block.attention_norm(x))
            state.k[layer, slot, :, at : at + n] = content_only(k[0], self.c)
            state.v[layer, slot, :, at : at + n] = v[0]
            keys, values = state.k[layer, slot, None, :, : at + n], state.v[layer, slot, None, :, : at + n]
            x = x + block.attention.look(q, keys, values, mask)
            x = x + block.ff(block.ff_norm(x))
            x = after(layer, x) if after else x
        state.seen[slot, at : at + n] = True
        state.pinned[slot] += n
        out: Tensor = self.norm(x[0])
        return out

    def step(
        self,
        state: BackboneState,
        slots_B: Tensor,
        x_BD: Tensor,
        keep_B: Tensor,
        static: bool = False,
        after: After | None = None,
    ) -> Tensor:
        """One tick of the sessions in `slots_B` (padding rows name the scratch slot). `leave` goes before."""
        c = self.c
        tick_B = state.tick[slots_B]
        place_B = c.keys - c.ring + tick_B % c.ring
        state.seen[slots_B, place_B] = True
        state.keep[slots_B, tick_B % c.ring] = keep_B
        cos, sin = turns(tick_B[:, None, None], c)  # [B, 1, 1, half]
        rows = slots_B if static else neighbours(slots_B, len(state.tick) - 1)
        mask = state.seen[rows][:, None, None]
        x = x_BD[:, None]
        for layer, block in enumerate(self.layers()):
            q, k, v = block.attention.project(block.attention_norm(x))
            keys, values = state.k[layer], state.v[layer]
            keys[slots_B, :, place_B] = rotate(k, cos, sin)[:, :, 0]
            values[slots_B, :, place_B] = v[:, :, 0]
            x = x + block.attention.look(rotate(q, cos, sin), keys[rows], values[rows], mask)
            x = x + block.ff(block.ff_norm(x))
            x = after(layer, x) if after else x
        state.tick[slots_B] += 1
        out: Tensor = self.norm(x[:, 0])
        return out

    def leave(self, state: BackboneState, slots_B: Tensor) -> None:
        """Move a group out of the window of every session for which this tick makes it due."""
        c = self.c
        tick_B = state.tick[slots_B]
        due = (tick_B >= c.window + c.group - 1) & ((tick_B + 1 - c.window) % c.group == 0)
        slots_E = slots_B[due & (slots_B < len(state.tick) - 1)]
        if slots_E.numel() == 0:
            return
        first = state.tick[slots_E] + 1 - c.window - c.group
        ring_EG = (first[:, None] + torch.arange(c.group, device=first.device)) % c.ring
        place_EG = c.keys - c.ring + ring_EG
        key = content_only(state.k[:, slots_E[:, None], :, place_EG].permute(2, 0, 3, 1, 4), c)
        value = state.v[:, slots_E[:, None], :, place_EG].permute(2, 0, 3, 1, 4)  # [L, E, H, G, d]
        keep_EG = state.keep[slots_E[:, None], ring_EG]
        keep_EG &= state.pinned[slots_E, None] + keep_EG.cumsum(1) <= c.pinned
        for g in range(c.group):
            slots, picked = slots_E[keep_EG[:, g]], keep_EG[:, g]
            if slots.numel():
                at = state.pinned[slots]
                state.k[:, slots, :, at] = key[:, picked, :, g].movedim(0, 1)
                state.v[:, slots, :, at] = value[:, picked, :, g].movedim(0, 1)
                state.seen[slots, at] = True
                state.pinned[slots] += 1
        worth = torch.stack([block.attention.worth for block in self.layers()])
        score = (key[..., c.rotary_dim :] * worth[:, None, :, None]).sum(-1)
        score = score.masked_fill(keep_EG[None, :, None], memory.PINNED_SCORE)
        span = slice(c.pinned, c.pinned + c.memory)
        memory.insert(
            state.k[:, :, :, span],
            state.v[:, :, :, span],
            state.weight,
            state.counts,
            slots_E,
            memory.pool(key, value, score),
            c,
        )
        held = torch.arange(c.memory_per_level, device=first.device) < state.counts[slots_E][..., None]
        state.seen[slots_E, span] = held.flatten(1)
        state.seen[slots_E[:, None], place_EG] = False

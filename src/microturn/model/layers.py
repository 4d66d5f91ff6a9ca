"""The parts that every room of the network is made of: norms, feed-forwards (dense or routed), causal frames.

Shape suffixes: B sessions (or episodes), N positions, D width, F feed-forward width, E experts, A active experts.
Every operation is row-wise: what a row gives never depends on its neighbours, to the bit, because row counts are
kept to multiples of four (below that, BLAS libraries switch to other kernels).
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LARGEST_BATCH = 128  # rows of a serving step
FEW = 16  # frames of a tick at most: there, one operation on all taps is several times as fast as many


class RMSNorm(nn.Module):
    def __init__(self, dim: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(dim))

    def forward(self, x: Tensor) -> Tensor:
        # Four plain operations: the library's own takes three times as long on few rows.
        return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-6) * self.scale


class SwiGLU(nn.Module):
    def __init__(self, dim: int, width: int) -> None:
        super().__init__()
        self.up = nn.Linear(dim, 2 * width, bias=False)
        self.down = nn.Linear(width, dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        gate, value = self.up(x).chunk(2, -1)
        out: Tensor = self.down(F.silu(gate) * value)
        return out


class Routed(nn.Module):
    """Top-k of E experts plus shared ones. Two ways to compute the same thing; `forward` picks by row count.

    While serving, the way must not depend on who else is in the batch, so every batch a server steps is gathered;
    training and long episodes are grouped.
    """

    def __init__(self, dim: int, width: int, experts: int, active: int, shared: int) -> None:
        super().__init__()
        self.active = active
        self.router = nn.Linear(dim, experts, bias=False)
        self.up_EFD = nn.Parameter(torch.empty(experts, 2 * width, dim))
        self.down_EDF = nn.Parameter(torch.empty(experts, dim, width))
        self.shared = SwiGLU(dim, width * shared) if shared else None
        if self.up_EFD.device.type != "meta":
            nn.init.normal_(self.up_EFD, std=dim**-0.5)
            nn.init.normal_(self.down_EDF, std=width**-0.5)

    def route(self, x_RD: Tensor) -> tuple[Tensor, Tensor]:
        odds_RE = self.router(x_RD).softmax(-1)
        weight_RA, expert_RA = odds_RE.topk(self.active, -1)
        return weight_RA / weight_RA.sum(-1, keepdim=True), expert_RA

    def gathered(self, x_RD: Tensor, weight_RA: Tensor, expert_RA: Tensor) -> Tensor:
        """Matrix-vector products with the chosen experts' weights, which are read once and never copied.

        On a CPU that is a loop: gathering into one batched product copies the weights first and loses everywhere.
        """
        if not x_RD.is_cuda:
            rows = []
            for x_D, weights, chosen in zip(x_RD, weight_RA, expert_RA.tolist(), strict=True):
                parts = []
                for e in chosen:
                    gate, value = torch.mv(self.up_EFD[e], x_D).chunk(2)
                    parts.append(torch.mv(self.down_EDF[e], F.silu(gate) * value))
                rows.append((torch.stack(parts) * weights[:, None]).sum(0))
            return torch.stack(rows)
        out_RD = torch.zeros_like(x_RD)
        for a in range(self.active):
            chosen_R = expert_RA[:, a]
            gate, value = torch.bmm(self.up_EFD[chosen_R], x_RD[..., None])[..., 0].chunk(2, -1)
            y_RD = torch.bmm(self.down_EDF[chosen_R], (F.silu(gate) * value)[..., None])[..., 0]
            out_RD = out_RD + weight_RA[:, a, None] * y_RD
        return out_RD

    def grouped(self, x_RD: Tensor, weight_RA: Tensor, expert_RA: Tensor) -> Tensor:
        """One matrix product per chosen expert over the rows that chose it."""
        out_RD = torch.zeros_like(x_RD)
        for e in sorted(set(expert_RA.flatten().tolist())):
            rows, place = (expert_RA == e).nonzero(as_tuple=True)
            gate, value = F.linear(x_RD[rows], self.up_EFD[e]).chunk(2, -1)
            y = F.linear(F.silu(gate) * value, self.down_EDF[e])
            out_RD = out_RD.index_add(0, rows, weight_RA[rows, place, None] * y)
        return out_RD

    def forward(self, x: Tensor) -> Tensor:
        x_RD = x.reshape(-1, x.shape[-1])
        weight_RA, expert_RA = self.route(x_RD)
        group = self.training or x_RD.shape[0] > LARGEST_BATCH
        out = (self.grouped if group else self.gathered)(x_RD, weight_RA, expert_RA)
        if self.shared is not None:
            out = out + self.shared(x_RD)
        return out.view_as(x)


class CausalBlock(nn.Module):
    """A causal depthwise convolution over frames and an MLP, residual. Streams by carrying kernel−1 frames."""

    def __init__(self, dim: int, kernel: int) -> None:
        super().__init__()
        self.kernel = kernel
        self.taps = nn.Parameter(torch.empty(kernel, dim))
        self.norm = RMSNorm(dim)
        self.up = nn.Linear(dim, 2 * dim)
        self.down = nn.Linear(2 * dim, dim)
        if self.taps.device.type != "meta":
            nn.init.normal_(self.taps, std=kernel**-0.5)

    def forward(self, x_BFD: Tensor, past_BKD: Tensor) -> tuple[Tensor, Tensor]:
        """Frames and the kernel−1 frames before them → frames and the last kernel−1 of the input."""
        frames = x_BFD.shape[1]
        padded = torch.cat([past_BKD, x_BFD], 1)
        if frames <= FEW:
            b, _, d = x_BFD.shape
            shifted = padded.as_strided((b, self.kernel, frames, d), (padded.stride(0), d, d, 1))
            mixed = (shifted * self.taps[:, None]).sum(1)
        else:
            mixed = padded[:, :frames] * self.taps[0]
            for k in range(1, self.kernel):
                mixed = torch.addcmul(mixed, padded[:, k : k + frames], self.taps[k])
        out = x_BFD + self.down(F.gelu(self.up(self.norm(mixed))))
        return out, padded[:, frames:]


class Floor(nn.Module):
    """Causal blocks over frames."""

    def __init__(self, dim: int, blocks: int, kernel: int) -> None:
        super().__init__()
        self.shape = blocks, kernel - 1, dim  # of the frames of the past
        self.blocks = nn.ModuleList(CausalBlock(dim, kernel) for _ in range(blocks))
        self.norm = RMSNorm(dim)

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    def forward(self, x_BFD: Tensor, past: Tensor) -> tuple[Tensor, Tensor]:
        """What the frames become, and the past [B, size] to carry on from."""
        past_BLKD, carried = past.view(-1, *self.shape), []
        for i, block in enumerate(self.blocks):
            x_BFD, kept = block(x_BFD, past_BLKD[:, i])
            carried.append(kept)
        return self.norm(x_BFD), torch.stack(carried, 1).flatten(1)

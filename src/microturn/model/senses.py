"""What arrived in a tick, as vectors: sound and text (pictures: eyes.py). Encoder-free: every weight is trained with
the rest.

Sound: each 10 ms frame is the sum of one table row per (bin, level), the tables shared by all frames; causal
convolutions over 20 ms frames, and over syllables of 40 ms that look back more than a second, make a word look the
same wherever in a tick it falls.

Shape suffixes: B episodes or sessions, N ticks, F frames, K frames of the past, D width.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from microturn.model.config import ModelConfig
from microturn.model.ears import BINS, FRAMES
from microturn.model.layers import Floor

PAIR = 2  # 10 ms frames in one 20 ms frame


@dataclass
class Heard:
    frames: Tensor  # [B, F, D] of 20 ms
    syllables: Tensor  # [B, F/2, D] of 40 ms


class Ears(nn.Module):
    def __init__(self, c: ModelConfig) -> None:
        super().__init__()
        half = c.ear_dim // 2
        self.table = nn.Embedding(BINS * c.mel_levels, half)
        self.missing = nn.Parameter(torch.zeros(half))
        self.pair = nn.Linear(PAIR * half, c.ear_dim)
        self.floor = Floor(c.ear_dim, c.ear_blocks, c.ear_kernel)
        self.out = nn.Linear(FRAMES // PAIR * c.ear_dim, c.d_model)
        self.join = nn.Linear(PAIR * c.ear_dim, c.syllable_dim)
        self.upper = Floor(c.syllable_dim, c.syllable_blocks, c.syllable_kernel)
        self.out_upper = nn.Linear(FRAMES // PAIR**2 * c.syllable_dim, c.d_model, bias=False)
        self.tell = nn.Linear(c.syllable_dim, 2 * c.word_dim)  # which word, and whether it ends here
        self.out_words = nn.Linear(FRAMES // PAIR**2 * c.word_dim, c.d_model, bias=False)
        self.size = self.floor.size + self.upper.size  # numbers to carry from tick to tick
        self.register_buffer("offsets", torch.arange(BINS) * c.mel_levels, persistent=False)
        if self.table.weight.device.type != "meta":
            # Levels are ordered, so start as a random line through them: neighbours begin alike.
            slope = torch.randn(BINS, 1, half) * BINS**-0.5
            level = torch.linspace(-1, 1, c.mel_levels)[None, :, None]
            self.table.weight.data.copy_((slope * level).view(BINS * c.mel_levels, half))
            for later in (self.out_upper, self.out_words):  # sounds first, then what they make up
                nn.init.zeros_(later.weight)

    offsets: Tensor

    def past(self, batch: int) -> Tensor:
        """Frames before the beginning: none, zero."""
        return self.missing.new_zeros(batch, self.size)

    def forward(self, levels: Tensor, present_BN: Tensor, past: Tensor) -> tuple[Heard, Tensor]:
        """Levels [B, N, FRAMES, BINS] → what is heard, and what to carry on from."""
        b, n = present_BN.shape
        index = (levels.reshape(-1, BINS).long() + self.offsets).contiguous()
        frames = F.embedding_bag(index, self.table.weight, mode="sum").view(b, n, FRAMES, -1)
        frames = torch.where(present_BN[..., None, None], frames, self.missing)
        x = self.pair(frames.reshape(b, n * FRAMES // PAIR, -1))
        heard, carried = self.floor(x, past[:, : self.floor.size])
        joined = self.join(heard.reshape(b, n * FRAMES // PAIR**2, -1))
        syllables, later = self.upper(joined, past[:, self.floor.size :])
        return Heard(heard, syllables), torch.cat([carried, later], 1)

    def fold(self, heard: Heard) -> Tensor:
        """The frames of each tick as one vector [B, N, d_model]."""
        b, f, d = heard.frames.shape
        ticks = f * PAIR // FRAMES
        low = self.out(heard.frames.reshape(b, ticks, FRAMES // PAIR * d))
        words = F.glu(self.tell(heard.syllables)).reshape(b, ticks, -1)
        vector: Tensor = low + self.out_upper(heard.syllables.reshape(b, ticks, -1)) + self.out_words(words)
        return vector


class Pieces(nn.Module):
    """A few text pieces, in order, as one vector. The embedding table is shared with whoever predicts pieces."""

    def __init__(self, c: ModelConfig, table: nn.Embedding, count: int, channels: int = 0) -> None:
        super().__init__()
        self._table = [table]  # not registered: its owner is the network
        self.channel = nn.Embedding(channels, c.piece_dim) if channels else None
        self.join = nn.Linear(count * c.piece_dim, c.d_model)

    def forward(self, pieces: Tensor, channel: Tensor | None = None) -> Tensor:
        x = self._table[0](pieces)
        if self.channel is not None:
            assert channel is not None
            x = x + torch.where((pieces != 0)[..., None], self.channel(channel), 0)
        out: Tensor = self.join(x.flatten(-2))
        return out

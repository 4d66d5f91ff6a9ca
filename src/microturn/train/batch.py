"""Episodes of one length, stacked into the tensors that the network trains on.

Shape suffixes: B episodes, S set-up positions, N ticks, R pieces read, T pieces a tick.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from microturn.drawing import Film
from microturn.model.config import ModelConfig
from microturn.model.network import NO_DECISION, Own, Percept
from microturn.scenes.episode import Episode
from microturn.streams import Bytes, Tokenizer
from microturn.train import sound
from microturn.train.lexicon import Lexicon
from microturn.train.sights import Sight, joined, shot_of
from microturn.train.targets import Sounding, Targets, targets

OTHERS = 800  # words from which those of a batch are told, besides each other


@dataclass
class Batch:
    percept: Percept
    setup: Tensor  # [B, S, R]
    setup_channel: Tensor  # [B, S, R]
    decision: Tensor  # [B, N]
    cut: Tensor  # [B, N] the tick after speech that was to stop early
    say: Tensor  # [B, N, T]
    hear: Tensor  # [B, N, T]
    hear_known: Tensor  # [B, N]
    told: Tensor  # [B] words are given, not heard
    undecided: Tensor  # [B] nothing is learned about when to speak
    sounds: Tensor  # [W, 3 + P] words of users: row, first 20 ms frame, frames, and numbers of sounds
    others: Tensor  # [A, P] more words that it might have been
    sight: Sight | None = None  # what films show

    @property
    def ticks(self) -> int:
        return self.decision.numel()

    def to(self, device: torch.device) -> Batch:
        moved = {k: v.to(device) for k, v in vars(self).items() if isinstance(v, Tensor)}
        percept = Percept(**{k: v.to(device) for k, v in vars(self.percept).items()})
        return Batch(percept=percept, **moved, sight=self.sight and self.sight.to(device))


def fed_back(said: Tensor, heard: Tensor, decided: Tensor) -> Own:
    """What each tick knows of the tick before, from what every tick did. [B, N, …]"""

    def later(x: Tensor, first: int) -> Tensor:
        return torch.cat([torch.full_like(x[:, :1], first), x[:, :-1]], 1)

    return Own(later(said, 0), later(heard, 0), later(decided, NO_DECISION), None)


def _soundings(rows: Sequence[tuple[Sounding, ...]]) -> Tensor:
    words = [(row, w.first, w.count, *w.sounds) for row, said in enumerate(rows) for w in said]
    return padded(words, 3)


def padded(rows: Sequence[tuple[int, ...]], least: int = 0) -> Tensor:
    """Rows of numbers with zeros behind them."""
    out = torch.zeros(len(rows), max(map(len, rows), default=least), dtype=torch.int64)
    for i, row in enumerate(rows):
        out[i, : len(row)] = torch.tensor(row)
    return out


def stack(
    episodes: Sequence[Episode],
    rng: np.random.Generator,
    c: ModelConfig,
    pieces: Tokenizer,
    noises: Sequence[Bytes],
    mouth: Sequence[Bytes],
    hardship: float,
    lexicon: Lexicon | None = None,
    quiet: bool = False,
) -> Batch:
    """All episodes must have the same number of ticks. Quiet: nobody is heard in any, so all share one sound."""
    made: list[Targets] = [targets(e, pieces, c.read_pieces, c.say_pieces, lexicon) for e in episodes]
    heard = [sound.mix(e, rng, noises, mouth, hardship) for e in episodes[: 1 if quiet else None]]
    s = min(c.pinned, max(len(m.setup) for m in made))
    b, n = len(episodes), episodes[0].ticks
    setup = np.zeros((b, s, c.read_pieces), np.int64)
    setup_channel = np.zeros_like(setup)
    for i, m in enumerate(made):
        setup[i, : len(m.setup)], setup_channel[i, : len(m.setup)] = m.setup[:s], m.setup_channel[:s]

    films = [[None] * n if e.film is None else e.film.frames(c.frame_size, n) for e in episodes]
    seen = [frame for film in films for frame in film if frame is not None]
    frames = np.stack(seen) if seen else np.zeros((0, *c.frame_size, 3), np.uint8)

    def whole(arrays: list[np.ndarray]) -> Tensor:
        return torch.from_numpy(np.stack(arrays))

    percept = Percept(
        levels=whole([sound.to_levels(power, c.mel_levels) for power, _ in heard]),
        has_audio=whole([arrived for _, arrived in heard]).expand(b, n),
        frames=torch.from_numpy(frames),
        has_frame=torch.tensor([[frame is not None for frame in film] for film in films]),
        text=whole([m.text for m in made]),
        channel=whole([m.channel for m in made]),
    )
    return Batch(
        percept,
        torch.from_numpy(setup),
        torch.from_numpy(setup_channel),
        whole([m.decision for m in made]),
        whole([m.cut for m in made]),
        whole([m.say for m in made]),
        whole([m.hear for m in made]),
        whole([m.hear_known for m in made]),
        torch.tensor([e.told for e in episodes]),
        torch.tensor([e.undecided for e in episodes]),
        _soundings([m.sounds for m in made]),
        padded(lexicon.some(rng, OTHERS) if lexicon else []),
        _sight(episodes, films, c) if lexicon and seen else None,
    )


def _sight(
    episodes: Sequence[Episode], films: Sequence[Sequence[Bytes | None]], c: ModelConfig
) -> Sight | None:
    """For lessons of the eyes, if all films are drawn ones."""
    drawn = [(e.film, film) for e, film in zip(episodes, films, strict=True) if e.film is not None]
    shots = [
        shot_of(of, c.frame_size, len(film), range(len(film)), film)
        for of, film in drawn
        if isinstance(of, Film)
    ]
    if len(shots) < len(drawn):
        return None
    there = np.array([[frame is not None for frame in film] for film in films])
    return joined([shot for shot in shots if len(shot.frames)], there, True)

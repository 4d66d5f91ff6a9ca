"""A training recipe: everything that decides what a run does. Kept in the run folder and inside the weights."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, fields
from pathlib import Path


@dataclass(frozen=True)
class Recipe:
    model: str = "nano"
    start: str | None = None  # weights to start from, of this network or one with fewer blocks
    only: str = ""  # "ears" or "eyes": nothing else learns, from words and their sounds or from films
    still: tuple[str, ...] = ()  # beginnings of names of weights that do not learn
    bank: str = "bank"
    minutes: float = 60.0  # of training, over all resumptions
    seconds: float = 400.0  # of episodes in a step
    rate: float = 1.5e-3  # AdamW
    muon_rate: float = 6e-3  # 0 = AdamW for everything
    warm_steps: int = 40
    cool_share: float = 0.3  # last share of the minutes, in which the rate falls to a tenth
    told: float = 0.3  # share of batches without sound, in which the words are given instead; 1 needs no bank
    scenes: dict[str, float] = field(default_factory=dict)  # theirs and their shares, if not the usual
    later: float = 0.0  # share of batches with given words in which there is something to see
    films: dict[str, float] = field(default_factory=dict)  # the same of `later`
    seen: float = 0.0  # share of the others with something to see, about which is spoken
    aside: float = 0.12  # share of the others' episodes in which words are given while other people talk
    plain: float = 0.4  # share of the others that is plain hearing
    real: float = 0.5  # share of those with recorded people
    rolled: float = 0.5  # share of steps whose feedback is a roll-out
    rolled_from: int = 300  # first such step
    holes: float = 0.15  # share of right answers hidden from the feedback; as many are fed back a tick early
    watch_minutes: float = 10.0
    watched: tuple[str, ...] = ("digits", "read")  # suites scored while it trains
    save_minutes: float = 4.0
    seed: int = 1
    threads: int = 2
    mates: int = 0  # more processes that learn beside the first (train/crew.py), each with `threads`

    @classmethod
    def load(cls, path: Path) -> Recipe:
        try:
            raw = json.loads(path.read_text("utf-8"))
        except (OSError, json.JSONDecodeError) as error:
            raise ValueError(f"{path}: not a training recipe ({error})") from None
        if unknown := sorted(set(raw) - {f.name for f in fields(cls)}):
            raise ValueError(f"{path}: unknown fields {', '.join(unknown)}")
        if raw.get("only", "") not in ("", "ears", "eyes"):
            raise ValueError(f"{path}: only ears or eyes can learn alone, not {raw['only']!r}")
        lists = {name: tuple(raw.get(name, getattr(cls, name))) for name in ("watched", "still")}
        return cls(**raw | lists)

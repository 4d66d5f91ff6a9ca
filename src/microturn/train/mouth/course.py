"""One part's training: minutes that count over all resumptions, a checkpoint every few of them, a log line a while.

A run folder holds `state.pt` (to go on from) and `log.jsonl`. Matrices learn by Muon where a part asks for it,
everything else by AdamW; the rate falls over the last third of the minutes.
"""

import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from microturn.train.muon import Muon

SAVE_MINUTES, LOG_SECONDS = 4.0, 20.0
WARM_STEPS, COOL_SHARE = 40, 0.35


def optimizers(module: nn.Module, rate: float, muon_rate: float = 0.0) -> list[torch.optim.Optimizer]:
    """Muon for the matrices inside blocks (none if its rate is 0), AdamW for the rest."""
    named = list(module.named_parameters())
    inside = {n for n, p in named if muon_rate and p.ndim == 2 and "blocks." in n and not n.endswith("taps")}
    rest = [p for n, p in named if n not in inside]
    made: list[torch.optim.Optimizer] = [torch.optim.AdamW(rest, rate, betas=(0.8, 0.98), weight_decay=0.01)]
    if inside:
        made.append(Muon([p for n, p in named if n in inside], muon_rate))
    return made


class Course:
    def __init__(
        self, folder: Path, parts: dict[str, nn.Module], learners: list[torch.optim.Optimizer], minutes: float
    ) -> None:
        self.folder, self.parts, self.optimizers, self.planned = folder, parts, learners, minutes
        self.rates = [[float(group["lr"]) for group in o.param_groups] for o in learners]
        self.step, self.minutes = 0, 0.0
        self._logged, self._sums = 0.0, {"n": 0.0}
        folder.mkdir(parents=True, exist_ok=True)
        if (folder / "state.pt").exists():
            kept = torch.load(folder / "state.pt", weights_only=True)
            for name, part in parts.items():
                part.load_state_dict(kept["parts"][name])
            for optimizer, state in zip(learners, kept["optimizers"], strict=True):
                optimizer.load_state_dict(state)
            self.step, self.minutes = kept["step"], kept["minutes"]

    def save(self) -> None:
        """Under another name first: a run that is stopped while it saves loses nothing."""
        kept = {
            "parts": {name: part.state_dict() for name, part in self.parts.items()},
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "step": self.step,
            "minutes": self.minutes,
        }
        torch.save(kept, self.folder / "state.new")
        os.replace(self.folder / "state.new", self.folder / "state.pt")

    @property
    def share(self) -> float:
        """Of the full rate."""
        cooling = (self.minutes / self.planned - (1 - COOL_SHARE)) / COOL_SHARE
        return min(1.0, (self.step + 1) / WARM_STEPS) * (1 - 0.95 * min(max(cooling, 0.0), 1.0))

    def go(self, learn: Callable[[int], dict[str, float]]) -> None:
        """`learn(step)` makes one step of the optimizers by `descend` and gives what is to be logged."""
        saved = self.minutes
        while self.minutes < self.planned:
            began = time.monotonic()
            for optimizer, full in zip(self.optimizers, self.rates, strict=True):
                for group, rate in zip(optimizer.param_groups, full, strict=True):
                    group["lr"] = rate * self.share
            numbers = learn(self.step)
            self.step += 1
            self.minutes += (time.monotonic() - began) / 60
            self._log(numbers)
            if self.minutes - saved > SAVE_MINUTES:
                self.save()
                saved = self.minutes
        self.save()

    def _log(self, numbers: dict[str, float]) -> None:
        """Means since the last line."""
        for name, value in ({"n": 1.0} | numbers).items():
            self._sums[name] = self._sums.get(name, 0.0) + value
        if (self.minutes - self._logged) * 60 < LOG_SECONDS and self.minutes < self.planned:
            return
        count = self._sums.pop("n")
        line = {"step": float(self.step), "minutes": round(self.minutes, 2)}
        line |= {name: round(total / count, 4) for name, total in self._sums.items()}
        with (self.folder / "log.jsonl").open("a", encoding="utf-8") as log:
            log.write(json.dumps(line) + "\n")
        print("  ".join(f"{name} {value:g}" for name, value in line.items()), flush=True)
        self._logged, self._sums = self.minutes, {"n": 0.0}


def descend(loss: Tensor, optimizers: list[torch.optim.Optimizer], most: float = 1.0) -> float:
    """One step; the norm of the gradients before they were clipped to `most`."""
    for optimizer in optimizers:
        optimizer.zero_grad(set_to_none=True)
    torch.autograd.backward([loss])
    weights = [p for o in optimizers for group in o.param_groups for p in group["params"]]
    norm = torch.nn.utils.clip_grad_norm_(weights, most)
    for optimizer in optimizers:
        optimizer.step()
    return float(norm)


def part_of(folder: Path, name: str) -> dict[str, Tensor]:
    """Weights of one part out of a run folder."""
    path = folder / "state.pt"
    if not path.is_file():
        raise ValueError(f"{path}: there is nothing trained here")
    weights: dict[str, Tensor] = torch.load(path, weights_only=True)["parts"][name]
    return weights

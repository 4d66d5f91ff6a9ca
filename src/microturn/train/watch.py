"""What one sees of a run while it trains: a line a minute, plots, and free-running scores of held-out people.

Scores come from roll-outs on sounds composed once, real people first: they are what steers the data.
"""

from __future__ import annotations

import json
import random
import time
from pathlib import Path

import numpy as np

from microturn.bench.metrics import Heard, Played, Run, from_user, in_tick, spoken
from microturn.bench.metrics import distance as edits
from microturn.clock import TICK_MS
from microturn.model.config import ModelConfig
from microturn.model.network import Network
from microturn.model.tokenizer import PieceTokenizer
from microturn.scenes import compose, write
from microturn.scenes.episode import Episode, Word
from microturn.streams import Decision
from microturn.train import sound
from microturn.train.bank import Bank
from microturn.train.batch import Batch, stack
from microturn.train.examples import listen
from microturn.train.rollout import Rollout, roll_out

CLIPS = 96  # held-out recordings a set
SECONDS = 12.0


def played(done: Rollout, row: int, pieces: PieceTokenizer, lead: int) -> Played:
    """A row of a roll-out as the words that a listener got. A piece is heard unless a yield came first."""
    said: list[Word] = []
    heard: list[Heard] = []
    decisions = done.decision[row].tolist()
    for tick, (say, hear) in enumerate(zip(done.say[row].tolist(), done.hear[row].tolist(), strict=True)):
        kept = Decision.LISTEN not in decisions[tick : tick + lead]
        start = (tick + lead) * TICK_MS
        for text in (pieces.piece(p) for p in say if p and kept):
            if text.startswith(" ") or not said:
                said.append(Word(text.strip(), start, start + TICK_MS))
            else:
                said[-1] = Word(said[-1].text + text, said[-1].start_ms, start + TICK_MS)
        for text in (pieces.piece(p) for p in hear if p):
            if text.startswith(" ") or not heard:
                heard.append(Heard(text.strip(), tick))
            else:
                heard[-1] = Heard(heard[-1].text + text, tick)
    return Played(tuple(said), tuple(heard))


class Watch:
    def __init__(self, folder: Path, bank: Path, c: ModelConfig, seed: int) -> None:
        self.folder, self.c = folder, c
        self.pieces = PieceTokenizer.load()
        self._printed = 0.0
        self._recent: list[dict[str, float]] = []
        self.sets: dict[str, tuple[list[Episode], Batch]] = {}
        rng = random.Random(seed)
        for name, episodes in held_out(bank, rng).items():
            if episodes:
                batch = stack(episodes, np.random.default_rng(seed), c, self.pieces, [], sound.Hardship(0.0))
                self.sets[name] = (episodes, batch)

    def log(self, step: int, minutes: float, numbers: dict[str, float]) -> None:
        self._recent.append(numbers)
        if time.monotonic() - self._printed < 30 and step > 3:
            return
        mean = {k: sum(r[k] for r in self._recent) / len(self._recent) for k in numbers}
        self._recent, self._printed = [], time.monotonic()
        print(
            f"step {step:6d} {minutes:6.1f} min  " + "  ".join(f"{k} {v:.3f}" for k, v in mean.items()),
            flush=True,
        )
        self._write({"step": step, "minutes": minutes, **mean})

    def _write(self, row: dict[str, object]) -> None:
        with (self.folder / "log.jsonl").open("a", encoding="utf-8") as log:
            log.write(json.dumps(row) + "\n")

    def look(self, network: Network, step: int, minutes: float) -> None:
        """Score every held-out set, free running."""
        scores: dict[str, object] = {"step": step, "minutes": minutes}
        device = next(network.parameters()).device
        for name, (episodes, batch) in self.sets.items():
            done = roll_out(network, batch.to(device))
            runs = [Run(e, played(done, i, self.pieces, self.c.lead_ticks)) for i, e in enumerate(episodes)]
            scores |= {f"{name}.{k}": round(v, 3) for k, v in hearing(runs).items()}
            right = (done.decision.cpu() == batch.decision).float().mean()
            scores[f"{name}.decided"] = round(float(right), 3)
            for run in runs[:2]:
                truth = " ".join(w.text for w in spoken(run.episode))
                got = " ".join(w.text for w in run.played.heard)
                says = " ".join(w.text for w in run.played.said)
                print(f"   {name}: {truth!r}\n      → {got!r}; said {says!r}", flush=True)
        print("   " + "  ".join(f"{k} {v}" for k, v in scores.items()), flush=True)
        self._write(scores)


def hearing(runs: list[Run]) -> dict[str, float]:
    """Word error rate, words in the right tick ± 1, insertions a word, and words said a minute."""
    words = errors = right = extra = said = 0
    minutes = 0.0
    for run in runs:
        truth, heard = spoken(run.episode), from_user(run)
        words += len(truth)
        errors += edits([w.text for w in truth], [w.text for w in heard])
        hits, more = in_tick(truth, heard)
        right, extra, said = right + hits, extra + more, said + len(run.played.said)
        minutes += run.episode.ticks * TICK_MS / 60000
    n = max(words, 1)
    return {"wer": errors / n, "right": right / n, "extra": extra / n, "said_a_minute": said / minutes}


def held_out(folder: Path, rng: random.Random) -> dict[str, list[Episode]]:
    """Recorded people who never train, and whole scripts in the voices of synthesisers that never train."""
    try:
        bank = Bank(folder / "test")
    except ValueError:
        return {}
    sets: dict[str, list[Episode]] = {}
    voices = bank.voices()
    for name, family in (("digits", "digits-"), ("read", "read-")):
        own = [v for v in voices if v.startswith(family)]
        episodes = []
        for _ in range(CLIPS // 4 if own else 0):
            numbers = bank.clips_of(rng.choice(own))
            clips = [bank[rng.choice(numbers)] for _ in range(8 if name == "digits" else 3)]
            episodes.append(listen(clips, rng, SECONDS))
        sets[name] = episodes
    for number, kept in enumerate(bank.scripts()):
        if kept.seconds > 20 or len(sets.setdefault(kept.scene, [])) >= 16:
            continue
        script = write(kept.scene, kept.seed, "test", kept.seconds)
        sets[kept.scene].append(compose(script, bank.script_clips(number), 20.0))
    return sets

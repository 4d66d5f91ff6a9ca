"""`python -m microturn.train.ablate`: what single choices are worth, on trainings small enough for an afternoon.

Two small worlds, because what is ablated is small. *Skills*: words are given; a network of three blocks learns to say
a word every few seconds, and to say again what it was told at the beginning. It is scored free-running, on episodes
that it never saw. *Words*: forty words out of a few voices, told apart in the tick in which they end; scored on a
voice that it never heard. Every variant has the same processor time, and its score after a quarter, half and all is
shown, so that what is only slower can be told from what is worse. Released weights had a thousand times as much:
what shows here is a direction, not a size.

A tick is a constant of the house, so each variant is a process of its own, in which it was another from the start.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor, nn

    from microturn.model.network import Network
    from microturn.scenes.episode import Episode


@dataclass(frozen=True)
class Variant:
    name: str
    tick_ms: int = 200
    window_s: float = 12.8
    memory: bool = True
    folded: bool = False  # silence is one more piece of the vocabulary, no decision of its own
    hop_ms: int = 0  # 0: the world of skills, else of words
    lossy: float = 0.0  # share of ticks that are dropped while it learns


BASE = "200 ms, 12.8 s window, a decision"
VARIANTS = (
    Variant(BASE),
    Variant("tick 100 ms", tick_ms=100),
    Variant("tick 400 ms", tick_ms=400),
    Variant("window 6.4 s", window_s=6.4),
    Variant("window 3.2 s", window_s=3.2),
    Variant("window 3.2 s, no memory", window_s=3.2, memory=False),
    Variant("decision folded into the words", folded=True),
    Variant("hop 10 ms", hop_ms=10),
    Variant("hop 25 ms", hop_ms=25),
    Variant("hop 50 ms", hop_ms=50),
    Variant("hop 10 ms, a tenth of the ticks lost", hop_ms=10, lossy=0.1),
)
Curve = list[dict[str, float]]
SHARES = (0.25, 0.5, 1.0)  # of the time, after which it is scored


def learned(
    v: Variant, seconds: float, step: Callable[[int, float], None], score: Callable[[], Any]
) -> Curve:
    """Steps until processor time is up; scoring does not count."""
    curve: Curve = []
    spent, steps = 0.0, 0
    for share in SHARES:
        while spent < share * seconds:
            began = time.process_time()
            step(steps, spent / seconds)
            spent, steps = spent + time.process_time() - began, steps + 1
        curve.append({"seconds": round(spent, 1), "steps": steps, **score()})
    return curve


# ---- skills ----

EPISODE_S = 12
WORDS = ("apple", "table", "river", "music", "garden", "yellow", "winter", "paper")
EVERY_S = {"two": 2, "three": 3, "four": 4}
TESTS = 100


def reminder(rng: random.Random) -> Episode:
    """“say apple every two seconds”, to the end."""
    from microturn.scenes.episode import Expected, Placed, Say, react
    from microturn.train.sound import unspoken

    word, (number, every) = rng.choice(WORDS), rng.choice(list(EVERY_S.items()))
    placed = Placed(unspoken(f"say {word} every {number} seconds", rng.uniform(0.6, 1.0)), rng.randrange(600))
    first = react(placed.word_end(-1)) + 1000 * every
    due = range(first, 1000 * EPISODE_S - 800, 1000 * every)
    expected = tuple(Expected("say", ms - 400, ms + 400, word) for ms in due)
    return _episode((placed,), tuple(Say(word, ms) for ms in due), expected)


def keeping(rng: random.Random) -> Episode:
    """“keep apple”, and much later “say it”."""
    from microturn.scenes.episode import Expected, Placed, Say, react
    from microturn.train.sound import unspoken

    word = rng.choice(WORDS)
    told = Placed(unspoken(f"keep {word}", rng.uniform(0.6, 1.0)), rng.randrange(600))
    asked = Placed(unspoken("say it", rng.uniform(0.6, 1.0)), rng.randrange(8000, 9500))
    at = react(asked.word_end(-1))
    return _episode((told, asked), (Say(word, at),), (Expected("reply", at, at + 1500, word),))


def _episode(placed: Any, says: Any, expected: Any) -> Episode:
    from microturn.clock import TICKS_PER_SECOND
    from microturn.scenes.episode import Episode

    ticks = EPISODE_S * TICKS_PER_SECOND
    return Episode("ablation", 0, ticks, placed, (), says, (), expected, told=True)


def skills(v: Variant, seconds: float, seed: int) -> Curve:
    import numpy as np
    import torch

    from microturn.bench.intervals import mean
    from microturn.bench.metrics import Run
    from microturn.bench.scores import timespeak, turns
    from microturn.model.config import tiny
    from microturn.model.network import Network
    from microturn.model.tokenizer import PieceTokenizer
    from microturn.train.batch import stack
    from microturn.train.given import live
    from microturn.train.loop import learn
    from microturn.train.muon import optimizers
    from microturn.train.recipe import Recipe
    from microturn.train.sound import Hardship

    torch.manual_seed(seed)
    shape = {"d_model": 96, "layers": 3, "head_dim": 32, "rotary_dim": 16, "ff": 192, "piece_dim": 48}
    group = 1600 // v.tick_ms
    memory = {"group": group, "memory_levels": 4, "memory_per_level": 4, "associate": (), "recall": 0}
    config = tiny(**shape, **memory, window=round(1000 * v.window_s / v.tick_ms), lead_ticks=400 // v.tick_ms)
    network, pieces = Network(config), PieceTokenizer.load()
    network.ears = deaf(config.d_model)  # type: ignore[assignment]
    if v.folded:
        network.decision = folded(network)  # type: ignore[assignment]
    made = optimizers(network, 3e-3, 1e-2)
    recipe, rates = Recipe(told=1.0, rolled=0.25, rolled_from=40, holes=0.15), (3e-3, 1e-2)

    def batch(rng: random.Random, kind: Callable[[random.Random], Episode], count: int) -> list[Episode]:
        return [kind(rng) for _ in range(count)]

    def step(number: int, share: float) -> None:
        rng = random.Random(f"{seed} {number}")
        some = batch(rng, reminder, 8) + batch(rng, keeping, 8)
        learn(
            network,
            stack(some, np.random.default_rng(number), config, pieces, [], [], Hardship(0), quiet=True),
            recipe,
            number,
        )
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        for optimizer, full in zip(made, rates, strict=True):
            for of in optimizer.param_groups:
                of["lr"] = full * min(1.0, (number + 1) / 20, 0.05 + 1.6 * (1 - share))
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

    def score() -> dict[str, float]:
        rng = random.Random("unseen")
        every, keep = live(network, batch(rng, reminder, TESTS)), live(network, batch(rng, keeping, TESTS))
        runs: list[tuple[str, list[Run], Any]] = [("every", every, timespeak), ("keep", keep, turns)]
        return {name: mean(name, [m.value for m in score(lived)[:1] if m.value is not None]).value or 0.0
                for name, lived, score in runs}  # fmt: skip

    return learned(v, seconds, step, score)


def deaf(width: int) -> nn.Module:
    """Ears of somebody to whom all words are given."""
    import torch
    from torch import nn

    from microturn.model.senses import Heard

    class Deaf(nn.Module):
        def past(self, batch: int) -> Tensor:
            return torch.zeros(batch, 0)

        def forward(self, levels: Tensor, present: Tensor, past: Tensor) -> tuple[Heard, Tensor]:
            nothing = torch.zeros(*present.shape, 1)
            return Heard(nothing, nothing), past

        def fold(self, heard: Heard) -> Tensor:
            return torch.zeros(*heard.frames.shape[:2], width)

    return Deaf()


def folded(network: Network) -> nn.Module:
    """The decision as it falls out of the vocabulary: its last piece, which no word has, is silence."""
    import torch
    from torch import nn

    from microturn.streams import Decision

    class Folded(nn.Module):
        def forward(self, hidden: Tensor) -> Tensor:
            say = network.say
            rows = hidden.reshape(-1, hidden.shape[-1])
            first = torch.tanh(say.start(rows))
            logits = say._logits(say._next(say.first.expand_as(first), first), say.from_hidden(rows), None)
            out = rows.new_full((len(rows), len(Decision)), -30.0)
            out[:, Decision.LISTEN] = logits[:, -1]
            out[:, Decision.SPEAK] = logits[:, :-1].logsumexp(-1)
            return out.view(*hidden.shape[:-1], -1)

    return Folded()


# ---- words ----

SPOKEN = (
    *("apple", "table", "river", "music", "garden", "yellow", "winter", "paper", "seven", "hello"),
    *("window", "orange", "monday", "coffee", "doctor", "bottle", "summer", "sister", "pencil", "rabbit"),
    *("one", "two", "three", "four", "five", "red", "blue", "green", "black", "white"),
    *("yes", "no", "stop", "go", "left", "right", "up", "down", "cat", "dog"),
)
TEACHERS = ("flite-awb", "flite-slt", "flite-kal16", "espeak-en-us+m1", "espeak-en+m2")
STRANGER = "flite-rms"
BEFORE_MS, SPAN_MS = 400, 1600  # sound that is given: so much of it before the word


def words(v: Variant, seconds: float, seed: int) -> Curve:
    import numpy as np
    import torch
    import torch.nn.functional as F
    from torch import nn

    from microturn.model.ears import BINS, LOW, power_mel, to_levels
    from microturn.model.layers import Floor
    from microturn.train.voices import load_voice

    torch.manual_seed(seed)
    levels, low, width, per_tick, ticks = 16, 48, 96, v.tick_ms // v.hop_ms, SPAN_MS // v.tick_ms

    def spoken(voice: str) -> list[tuple[np.ndarray[Any, Any], int]]:
        said = [load_voice(voice).speak(word) for word in SPOKEN]
        return [(one.samples, one.words[-1].end_ms) for one in said]

    taught, unheard = [one for voice in TEACHERS for one in spoken(voice)], spoken(STRANGER)

    def sounds(some: list[tuple[np.ndarray[Any, Any], int]], rng: np.random.Generator) -> Tensor:
        """Each somewhere in its tick, some louder, in a little noise; its end in the last tick. [B, F, BINS]"""
        out = []
        for samples, end_ms in some:
            whole = rng.normal(0, 10 ** rng.uniform(-4.5, -3), SPAN_MS * 16).astype(np.float32)
            at = (SPAN_MS - 40 - int(rng.integers(v.tick_ms - 40)) - end_ms) * 16
            part = samples[max(0, -at) :][: len(whole) - max(0, at)]
            whole[max(0, at) : max(0, at) + len(part)] += part * np.float32(10 ** rng.uniform(-0.6, 0.1))
            out.append(to_levels(power_mel(torch.from_numpy(whole)), levels))
        return torch.stack(out)

    class Small(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = nn.Embedding(BINS * levels, low)
            slope, line = torch.randn(BINS, 1, low) * BINS**-0.5, torch.linspace(-1, 1, levels)[None, :, None]
            self.table.weight.data.copy_((slope * line).view(BINS * levels, low))
            self.lost = nn.Parameter(torch.zeros(low))
            self.frames, self.join = Floor(low, 3, 5), nn.Linear(low * per_tick, width)
            self.ticks, self.out = Floor(width, 3, 3), nn.Linear(width, len(SPOKEN))

        def forward(self, heard: Tensor, lost_BN: Tensor) -> Tensor:
            b = len(heard)
            index = heard.view(-1, BINS) + torch.arange(BINS) * levels
            x = F.embedding_bag(index, self.table.weight, mode="sum").view(b, ticks, per_tick, low)
            x = torch.where(lost_BN[..., None, None], self.lost, x).view(b, ticks * per_tick, low)
            x, _ = self.frames(x, x.new_zeros(b, self.frames.size))
            x, _ = self.ticks(self.join(x.reshape(b, ticks, -1)), x.new_zeros(b, self.ticks.size))
            logits: Tensor = self.out(x[:, -1])
            return logits

    network = Small()
    optimizer = torch.optim.AdamW(network.parameters(), 2e-3)
    tested = {lost: sounds(unheard * 3, np.random.default_rng(7)) for lost in (0.0, 0.1, 0.2)}
    assert LOW < 0

    def step(number: int, share: float) -> None:
        rng = np.random.default_rng((seed, number))
        which = rng.integers(len(taught), size=32)
        lost = torch.from_numpy(rng.random((32, ticks)) < v.lossy)
        logits = network(sounds([taught[i] for i in which], rng), lost)
        F.cross_entropy(logits, torch.from_numpy(which % len(SPOKEN))).backward()
        for of in optimizer.param_groups:
            of["lr"] = 2e-3 * min(1.0, 0.05 + 1.6 * (1 - share))
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    @torch.no_grad()
    def score() -> dict[str, float]:
        right = {}
        for share, heard in tested.items():
            lost = torch.from_numpy(np.random.default_rng(8).random((len(heard), ticks)) < share)
            found = network(heard, lost).argmax(-1)
            right[f"{share:.0%} lost"] = float(
                (found == torch.arange(len(heard)) % len(SPOKEN)).float().mean()
            )
        return right

    return learned(v, seconds, step, score)


# ---- the command ----


def become(v: Variant) -> None:
    """Makes the constants of this process those of the variant, before anybody reads them."""
    import microturn.clock as clock

    clock.TICK_MS, clock.TICKS_PER_SECOND = v.tick_ms, 1000 // v.tick_ms
    clock.HEAR_SAMPLES = clock.HEAR_RATE * v.tick_ms // 1000
    clock.SPEAK_SAMPLES = clock.SPEAK_RATE * v.tick_ms // 1000
    import microturn.streams as streams

    streams.LEAD_TICKS = 400 // v.tick_ms
    import microturn.model.ears as ears

    hop_ms = v.hop_ms or 10
    ears.FRAMES = v.tick_ms // hop_ms
    ears.HOP, ears.WINDOW = 16 * hop_ms, max(400, 32 * hop_ms)
    ears.CONTEXT, ears.FFT = ears.WINDOW - ears.HOP, max(512, 1 << (ears.WINDOW - 1).bit_length())
    if hop_ms != 10:
        ears._POWER_MEL = ears.PowerMel()
    if not v.memory:
        from microturn.model import memory

        memory.schedule = lambda ticks, c: []
        memory.insert = lambda *what: None


def table(found: dict[str, Curve]) -> Iterator[str]:
    for world in (False, True):
        rows = {v.name: found[v.name] for v in VARIANTS if bool(v.hop_ms) == world and v.name in found}
        names = list(
            dict.fromkeys(n for curve in rows.values() for n in curve[-1] if n not in ("seconds", "steps"))
        )
        if rows:
            yield "| variant | steps | " + " | ".join(names) + " |\n|---|---" + "|---" * len(names) + "|"
        for name, curve in rows.items():
            cells = (" → ".join(f"{point[n]:.2f}" for point in curve) for n in names)
            yield f"| {name} | {curve[-1]['steps']} | " + " | ".join(cells) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m microturn.train.ablate")
    parser.add_argument("variants", nargs="*", help="some of them, by name or part of one (default: all)")
    parser.add_argument("--seconds", type=float, default=180.0, help="of processor time for each (180)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--out", type=Path, default=Path("runs/out/ablations.json"), help="what is there is kept"
    )
    parser.add_argument("--one", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        (v,) = (v for v in VARIANTS if v.name == args.one)
        become(v)
        print(json.dumps((words if v.hop_ms else skills)(v, args.seconds, args.seed)))
        return
    found: dict[str, Curve] = json.loads(args.out.read_text("utf-8")) if args.out.is_file() else {}
    wanted = [v for v in VARIANTS if not args.variants or any(part in v.name for part in args.variants)]
    for v in wanted:
        if v.name not in found:
            same = ("--seconds", str(args.seconds), "--seed", str(args.seed))
            command = (sys.executable, "-m", "microturn.train.ablate", "--one", v.name, *same)
            done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
            found[v.name] = json.loads(done.stdout.splitlines()[-1])
            args.out.parent.mkdir(parents=True, exist_ok=True)
            args.out.write_text(json.dumps(found, indent=1) + "\n", "utf-8")
    print("\n".join(table(found)))


if __name__ == "__main__":
    main()

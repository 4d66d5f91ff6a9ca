"""Two things to be learned in minutes, for ablate.py.

*Skills*: words are given; a network of three blocks learns to say a word every few seconds to the end (`every`), and
to say again what it was told at the beginning (`keep`). Scored free-running on episodes that it never saw.
*Words*: forty words out of a few voices, told apart in the tick in which they end; scored on a voice that it never
heard, with none, a tenth and a fifth of the ticks lost.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from microturn.bench.scores import timespeak, turns
from microturn.clock import HEAR_RATE, TICKS_PER_SECOND
from microturn.model.config import tiny
from microturn.model.ears import BINS, power_mel, to_levels
from microturn.model.layers import Floor
from microturn.model.network import Network
from microturn.model.senses import Heard
from microturn.model.tokenizer import PieceTokenizer
from microturn.scenes.episode import Episode, Expected, Placed, Say, react
from microturn.scenes.stage import REPLY_MS, WINDOW_MS
from microturn.streams import Decision, Floats
from microturn.train.ablate import Curve, Variant
from microturn.train.batch import stack
from microturn.train.given import live
from microturn.train.loop import learn
from microturn.train.muon import optimizers
from microturn.train.recipe import Recipe
from microturn.train.sound import unspoken
from microturn.train.voices import load_voice

SHARES = (0.25, 0.5, 1.0)  # of the time, after which it is scored


def learned(
    seconds: float, step: Callable[[int, float], None], score: Callable[[], dict[str, float]]
) -> Curve:
    """Steps until processor time is up; scoring does not count."""
    curve: Curve = []
    spent, steps = 0.0, 0
    for share in SHARES:
        while spent < share * seconds:
            began = time.process_time()
            step(steps, min(1.0, spent / seconds))
            spent, steps = spent + time.process_time() - began, steps + 1
        curve.append({"seconds": round(spent, 1), "steps": steps, **score()})
    return curve


def rate(number: int, share: float) -> float:
    """Up in 20 steps, and down over the last 60 % of the time."""
    return min(1.0, (number + 1) / 20, 0.05 + 1.6 * (1 - share))


# ---- skills ----

EPISODE_S = 12
WORDS = ("apple", "table", "river", "music", "garden", "yellow", "winter", "paper")
EVERY_S = {"two": 2, "three": 3, "four": 4}


def reminder(rng: random.Random) -> Episode:
    """“say apple every two seconds”, to the end."""
    word, number = rng.choice(WORDS), rng.choice(list(EVERY_S))
    asked = Placed(unspoken(f"say {word} every {number} seconds", rng.uniform(0.6, 1.0)), rng.randrange(600))
    every = 1000 * EVERY_S[number]
    due = range(react(asked.word_end(-1)) + every, 1000 * EPISODE_S - 800, every)
    expected = tuple(Expected("say", ms - WINDOW_MS, ms + WINDOW_MS, word) for ms in due)
    return _episode((asked,), tuple(Say(word, ms) for ms in due), expected)


def keeping(rng: random.Random) -> Episode:
    """“keep apple”, and much later “say it”."""
    word = rng.choice(WORDS)
    told = Placed(unspoken(f"keep {word}", rng.uniform(0.6, 1.0)), rng.randrange(600))
    asked = Placed(unspoken("say it", rng.uniform(0.6, 1.0)), rng.randrange(8000, 9500))
    at = react(asked.word_end(-1))
    return _episode((told, asked), (Say(word, at),), (Expected("reply", at, at + REPLY_MS, word),))


def _episode(placed: tuple[Placed, ...], says: tuple[Say, ...], expected: tuple[Expected, ...]) -> Episode:
    ticks = EPISODE_S * TICKS_PER_SECOND
    return Episode("ablation", 0, ticks, placed, says=says, expected=expected, told=True)


class Deaf(nn.Module):
    """Ears of somebody to whom all words are given."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width

    def past(self, batch: int) -> Tensor:
        return torch.zeros(batch, 0)

    def forward(self, levels: Tensor, present: Tensor, past: Tensor) -> tuple[Heard, Tensor]:
        nothing = torch.zeros(*present.shape, 1)
        return Heard(nothing, nothing), past

    def fold(self, heard: Heard) -> Tensor:
        return torch.zeros(*heard.frames.shape[:2], self.width)


class Folded(nn.Module):
    """The decision as it falls out of the vocabulary: the last piece, which no word here has, is silence."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self._say = [network.say]  # not registered: its owner is the network

    def forward(self, hidden: Tensor) -> Tensor:
        say, rows = self._say[0], hidden.reshape(-1, hidden.shape[-1])
        state = torch.tanh(say.start(rows))
        pieces = say._logits(say._next(say.first.expand_as(state), state), say.from_hidden(rows), None)
        odds = rows.new_full((len(rows), len(Decision)), -30.0)
        odds[:, Decision.LISTEN] = pieces[:, -1]
        odds[:, Decision.SPEAK] = pieces[:, :-1].logsumexp(-1)
        return odds.view(*hidden.shape[:-1], -1)


def skills(v: Variant, seconds: float, tests: int, seed: int) -> Curve:
    torch.manual_seed(seed)
    torch.set_num_threads(1)
    shape = {"d_model": 96, "layers": 3, "head_dim": 32, "rotary_dim": 16, "ff": 192, "piece_dim": 48}
    memory = {"group": 1600 // v.tick_ms, "memory_levels": 4, "memory_per_level": 4}
    alone = {"associate": (), "recall": 0}  # the window and its memory have no help
    window = round(1000 * v.window_s) // v.tick_ms
    config = tiny(**shape, **memory, **alone, window=window, lead_ticks=400 // v.tick_ms)
    network, pieces = Network(config), PieceTokenizer.load()
    network.ears = Deaf(config.d_model)  # type: ignore[assignment]
    if v.folded:
        network.decision = Folded(network)  # type: ignore[assignment]
    recipe = Recipe(told=1.0, rolled=0.25, rolled_from=40, holes=0.15)
    rates = (3e-3, 1e-2)
    made = optimizers(network, *rates)

    def step(number: int, share: float) -> None:
        rng = random.Random(f"{seed} {number}")
        some = [make(rng) for make in (reminder, keeping) for _ in range(8)]
        noise = np.random.default_rng(number)
        learn(network, stack(some, noise, config, pieces, [], [], 0, quiet=True), recipe, number)
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        for optimizer, full in zip(made, rates, strict=True):
            for group in optimizer.param_groups:
                group["lr"] = full * rate(number, share)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

    def score() -> dict[str, float]:
        rng = random.Random("unseen")
        every, keep = (live(network, [make(rng) for _ in range(tests)]) for make in (reminder, keeping))
        return {"every": timespeak(every)[0].value or 0.0, "keep": turns(keep)[0].value or 0.0}

    return learned(seconds, step, score)


# ---- words ----

SPOKEN = (
    *("apple", "table", "river", "music", "garden", "yellow", "winter", "paper", "seven", "hello"),
    *("window", "orange", "monday", "coffee", "doctor", "bottle", "summer", "sister", "pencil", "rabbit"),
    *("one", "two", "three", "four", "five", "red", "blue", "green", "black", "white"),
    *("yes", "no", "stop", "go", "left", "right", "up", "down", "cat", "dog"),
)
TEACHERS = ("flite-awb", "flite-slt", "flite-kal16")
STRANGER = "flite-rms"
SPAN_MS = 1600  # of sound that is heard
MS = HEAR_RATE // 1000  # samples in a millisecond
LEVELS, LOW, WIDTH = 16, 48, 96
Said = tuple[Floats, int]  # and when (ms) its word ends


def spoken(voice: str) -> list[Said]:
    said = [load_voice(voice).speak(word) for word in SPOKEN]
    return [(one.samples, one.words[-1].end_ms) for one in said]


def heard(some: list[Said], tick_ms: int, rng: np.random.Generator) -> Tensor:
    """Each faster or slower, in a little noise, ending somewhere in the last tick. [B, frames, BINS]"""
    out = []
    for plain, plain_ms in some:
        pace = float(rng.uniform(0.8, 1.2))
        samples = np.interp(np.arange(0, len(plain) - 1, pace), np.arange(len(plain)), plain)
        end_ms = round(plain_ms / pace)
        whole = rng.normal(0, 10 ** rng.uniform(-4.5, -3), SPAN_MS * MS).astype(np.float32)
        at = (SPAN_MS - 40 - int(rng.integers(tick_ms - 40)) - end_ms) * MS
        part = samples[max(0, -at) :][: len(whole) - max(0, at)]
        whole[max(0, at) : max(0, at) + len(part)] += part * np.float32(10 ** rng.uniform(-0.6, 0.1))
        out.append(to_levels(power_mel(torch.from_numpy(whole)), LEVELS))
    return torch.stack(out)


class Listener(nn.Module):
    """Tables of levels, frames, then ticks: the ears of the model, very small."""

    def __init__(self, frames: int) -> None:
        super().__init__()
        self.per_tick = frames
        self.table = nn.Embedding(BINS * LEVELS, LOW)
        slope, line = torch.randn(BINS, 1, LOW) * BINS**-0.5, torch.linspace(-1, 1, LEVELS)[None, :, None]
        self.table.weight.data.copy_((slope * line).view(BINS * LEVELS, LOW))
        self.lost = nn.Parameter(torch.zeros(LOW))
        self.frames, self.join = Floor(LOW, 3, 5), nn.Linear(LOW * frames, WIDTH)
        self.ticks, self.out = Floor(WIDTH, 3, 3), nn.Linear(WIDTH, len(SPOKEN))

    def forward(self, levels: Tensor, lost_BN: Tensor) -> Tensor:
        b, n = lost_BN.shape
        index = levels.view(-1, BINS) + torch.arange(BINS) * LEVELS
        x = F.embedding_bag(index, self.table.weight, mode="sum").view(b, n, self.per_tick, LOW)
        x = torch.where(lost_BN[..., None, None], self.lost, x).view(b, n * self.per_tick, LOW)
        x, _ = self.frames(x, x.new_zeros(b, self.frames.size))
        x, _ = self.ticks(self.join(x.reshape(b, n, -1)), x.new_zeros(b, self.ticks.size))
        logits: Tensor = self.out(x[:, -1])
        return logits


def words(v: Variant, seconds: float, tests: int, seed: int) -> Curve:
    torch.manual_seed(seed)
    torch.set_num_threads(1)
    taught, unheard = [one for voice in TEACHERS for one in spoken(voice)], spoken(STRANGER)
    network, ticks = Listener(v.tick_ms // v.hop_ms), SPAN_MS // v.tick_ms
    optimizer = torch.optim.AdamW(network.parameters(), 2e-3)
    often = max(1, tests // len(SPOKEN))
    tested = heard(unheard * often, v.tick_ms, np.random.default_rng(7))

    def step(number: int, share: float) -> None:
        rng = np.random.default_rng((seed, number))
        which = rng.integers(len(taught), size=32)
        lost = torch.from_numpy(rng.random((32, ticks)) < v.lossy)
        logits = network(heard([taught[i] for i in which], v.tick_ms, rng), lost)
        F.cross_entropy(logits, torch.from_numpy(which % len(SPOKEN))).backward()  # type: ignore[no-untyped-call]
        for group in optimizer.param_groups:
            group["lr"] = 2e-3 * rate(number, share)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    @torch.no_grad()
    def score() -> dict[str, float]:
        right, truth = {}, torch.arange(len(tested)) % len(SPOKEN)
        for share in (0.0, 0.1, 0.2):
            lost = torch.from_numpy(np.random.default_rng(8).random((len(tested), ticks)) < share)
            right[f"{share:.0%} lost"] = float((network(tested, lost).argmax(-1) == truth).float().mean())
        return right

    return learned(seconds, step, score)

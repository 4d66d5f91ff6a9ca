"""Real people, for measuring only: sentences that were read aloud, digits in the scene of digits, orders of coffee.

Who they are and where they come from is in train/real.py; these are the ones that training never hears.
Sentences are measured whole and uncut, also where their words are hard to find.
"""

from __future__ import annotations

import json
import random
from functools import lru_cache
from pathlib import Path

import numpy as np

from microturn.bench.cast import to_clip
from microturn.clock import HEAR_RATE, TICK_MS
from microturn.scenes import SCENES, write
from microturn.scenes.episode import Clip, Episode, Expected, Placed, Read, Say, Word, react
from microturn.scenes.orders import DONE_MS, SAID, Order
from microturn.streams import Channel, Floats
from microturn.train.real import Recorded, data_folder, recorded, sound
from microturn.train.voices.spoken import LOUDNESS, PEAK, Spoken

BEFORE_MS, AFTER_MS = 600, 1600  # quiet around a sentence, so that what is heard late still counts
READ_BACK_MS = 7000  # in which an order is read back
SLOTS = {
    "coffeeDrink": "drink",
    "size": "size",
    "roast": "roast",
    "numberOfShots": "shots",
    "milkAmount": "milk",
    "sugarAmount": "sugar",
}
DIGIT_SECONDS = 20.0


@lru_cache(maxsize=1)
def _recorded() -> tuple[Recorded, ...]:
    return tuple(recorded("test"))


def _of(kind: str) -> list[Recorded]:
    return [one for one in _recorded() if one.voice.startswith(f"{kind}-")]


def read_episodes(n: int, seed: int) -> list[Episode]:
    """One read sentence each. Nobody asks for anything, so nothing should be said. Word times are rough."""
    everything = _of("read")
    rng = random.Random(f"read/{seed}")
    chosen = sorted(rng.sample(range(len(everything)), min(n, len(everything))))  # in order: files open once
    return [_read(everything[number], number) for number in chosen]


def _read(one: Recorded, number: int) -> Episode:
    samples = _level(one.cut())
    ms = len(samples) * 1000 // HEAR_RATE
    texts = one.text.split()
    edges = [ms * i // len(texts) for i in range(len(texts) + 1)]
    words = tuple(Word(t, a, b) for t, a, b in zip(texts, edges[:-1], edges[1:], strict=True))
    ticks = -(-(BEFORE_MS + ms + AFTER_MS) // TICK_MS)
    placed = Placed(to_clip(Spoken(samples, words), one.text, one.voice), BEFORE_MS)
    return Episode("read", number, ticks, (placed,), expected=(Expected("quiet", 0, ticks * TICK_MS),))


def order_episodes(n: int, seed: int) -> list[Episode]:
    """One order each, by people who know nothing of the model; when their words are said is not known."""
    folder = data_folder() / "orders"
    rows = json.loads((folder / "labels.json").read_text("utf-8"))
    rng = random.Random(f"orders/{seed}")
    return [_order(folder / row["file"], row["slots"], rng) for row in rng.sample(rows, min(n, len(rows)))]


def _order(path: Path, slots: dict[str, str], rng: random.Random) -> Episode:
    samples = _level(sound(path))
    end_ms = BEFORE_MS + len(samples) * 1000 // HEAR_RATE
    ticks = -(-(end_ms + READ_BACK_MS) // TICK_MS)
    back = Order(**{SLOTS[name]: value for name, value in slots.items()}).read_back()
    return Episode(
        "orders",
        rng.randrange(1 << 30),
        ticks,
        (Placed(to_clip(Spoken(samples, ()), "", "orders"), BEFORE_MS),),
        (Read(-1, Channel.INSTRUCTIONS, SAID["PERSONA"].draw(rng, "test")),),
        (Say(back, react(end_ms + DONE_MS)),),
        expected=(Expected("order", 0, ticks * TICK_MS, back),),
    )


def _level(samples: Floats) -> Floats:
    """As loud as voices are elsewhere, so that a score is one of hearing and not of recording levels."""
    loud, peak = float(np.sqrt(np.mean(samples**2))), float(np.abs(samples).max())
    return samples * np.float32(min(LOUDNESS / max(loud, 1e-6), PEAK / max(peak, 1e-6)))


@lru_cache(maxsize=1)
def digit_clips() -> dict[str, tuple[Clip, ...]]:
    """Every recording of each digit; the word is where there is sound."""
    clips: dict[str, list[Clip]] = {}
    for one in _of("digits"):
        clips.setdefault(one.text, []).append(to_clip(one.spoken(), one.text, one.voice))
    return {digit: tuple(found) for digit, found in clips.items()}


def digit_episodes(n: int, seed: int) -> list[Episode]:
    """The scene of digits with every digit out of a real mouth: plain, repeated, counted on, and as cues."""
    clips = digit_clips()
    episodes = []
    for i in range(n):
        rng = random.Random(f"digits/{seed}/{i}")
        script = write("digits", seed * 100_003 + i, "test", DIGIT_SECONDS)
        said = [rng.choice(clips[line.text]) for line in script.lines]
        episodes.append(SCENES["digits"].compose(script, said, rng, DIGIT_SECONDS))
    return episodes

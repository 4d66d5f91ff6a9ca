"""How long the mouth takes for the words that scenes say, so that a scene gives every word the time it needs.

Each is the mean over the sentences of scenes it stands in, the last word of each left out: that one is held.
"""

from __future__ import annotations

import itertools
import json
import random
from collections import defaultdict
from collections.abc import Iterator

import torch

from microturn.model.phonemes import to_phonemes
from microturn.model.speech import BEHIND, NEIGHBOURS, Durations
from microturn.scenes import TRAIN_WEIGHTS, compose, write
from microturn.scenes.episode import PACES
from microturn.scenes.words import ALL
from microturn.train.examples import unspoken

FRAME_MS = 12.5
SCRIPTS, SECONDS = 6000, 30.0
STEP = 10  # ms to which paces are rounded


def sayings() -> Iterator[list[str]]:
    """The words of all that is to be said in many scripts, and each word that scenes know, twice: the first is timed."""
    scenes = sorted(TRAIN_WEIGHTS)
    for seed in range(SCRIPTS):
        script = write(random.Random(seed).choice(scenes), seed, "train", SECONDS)
        clips = [unspoken(line.text, 1.0) for line in script.lines]
        for say in compose(script, clips, SECONDS, take=seed).says:
            yield [word.rstrip(",.") for word in say.text.split()]
    for word in ALL:
        yield [word, word]


def lasting(durations: Durations, words: list[str]) -> list[float]:
    """Milliseconds of each word."""
    sounds = [to_phonemes(word) for word in words]
    flat = torch.tensor([0] * BEHIND + [i for ids in sounds for i in ids] + [0] * NEIGHBOURS)
    window = flat.unfold(0, BEHIND + 1 + NEIGHBOURS, 1)
    frames = durations.whole(durations(durations.around(window)), window[:, BEHIND]).tolist()
    ends = itertools.accumulate(map(len, sounds), initial=0)
    return [sum(frames[a:b]) * FRAME_MS for a, b in itertools.pairwise(ends)]


@torch.no_grad()
def measure(durations: Durations) -> int:
    found: dict[str, list[float]] = defaultdict(list)
    for words in sayings():
        for word, ms in list(zip(words, lasting(durations, words), strict=True))[:-1]:
            found[word].append(ms)
    table = {word: round(sum(times) / len(times) / STEP) * STEP for word, times in sorted(found.items())}
    PACES.write_text(json.dumps(table, separators=(",", ":")) + "\n", "utf-8")
    return len(table)

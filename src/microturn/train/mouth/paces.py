"""How long the mouth takes for the words that scenes say, so that a scene gives every word the time it needs.

Each is the mean over the sentences of scenes it stands in, the last word of each left out: that one is held.
"""

import itertools
import json
from collections import defaultdict
from collections.abc import Iterator

import torch

from microturn.model.phonemes import to_phonemes
from microturn.model.speech import BEHIND, NEIGHBOURS, Durations
from microturn.scenes.episode import PACES
from microturn.scenes.words import ALL
from microturn.train.mouth.sentences import scene_says

FRAME_MS = 12.5
SCRIPTS = 6000
STEP = 10  # ms to which paces are rounded


def sayings() -> Iterator[list[str]]:
    """What many scripts let the model say, in words, and each word that scenes know, twice: the first is timed."""
    for text in scene_says(SCRIPTS):
        yield [word.rstrip(",.") for word in text.split()]
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

"""Plain everyday talk: a grammar of statements that ask for nothing, with slots for the words of words.py.

Everything here is something that a person may say near the model without expecting an answer. `sentence`
makes any of them, `sentence_with` one that contains a given word, `story` the clauses of a small tale,
`aside` what people say to somebody else. Slots are named after the classes of words; `{name2}` is a second
one of a class.
"""

import random
import re
from collections.abc import Iterator

from microturn.scenes.wording import fill, table
from microturn.scenes.words import CLASSES, classes_of

_SLOT = re.compile(r"\{([a-z]+)(\d?)\}")

_SAID: dict[str, tuple[str, ...]] = {name: tuple(patterns) for name, patterns in table("talk").items()}
_BY_CLASS = {
    name: tuple(p for p in _SAID["sentences"] if any(slot[1] == name for slot in _SLOT.finditer(p)))
    for name in CLASSES
}


def sentence(rng: random.Random, avoid: tuple[str, ...] = ()) -> str:
    """A plain statement; none of the words to avoid is in it."""
    return _clean(rng, _SAID["sentences"], avoid)


def sentence_with(rng: random.Random, word: str, avoid: tuple[str, ...] = ()) -> str:
    """A plain statement in which `word` occurs exactly once."""
    name = rng.choice(classes_of(word))
    while True:
        pattern = rng.choice(_BY_CLASS[name])
        slots = _slots(pattern, rng)
        slots[next(slot for slot in slots if slot.rstrip("2") == name)] = word
        text = fill(pattern, rng, **slots)
        words = text.split()
        if words.count(word) == 1 and not set(avoid) & set(words):
            return text


def sentences(rng: random.Random, avoid: tuple[str, ...] = ()) -> Iterator[str]:
    while True:
        yield sentence(rng, avoid)


def aside(rng: random.Random) -> str:
    return _clean(rng, _SAID["asides"])


def story(rng: random.Random) -> Iterator[str]:
    """Clauses of a tale without end, `/` where the teller may hesitate; `story_end` makes the last one."""
    yield _clean(rng, _SAID["openings"])
    while True:
        for pattern in rng.sample(_SAID["middles"], len(_SAID["middles"])):
            yield _clean(rng, (pattern,))


def story_end(rng: random.Random) -> str:
    return _clean(rng, _SAID["endings"])


def _slots(pattern: str, rng: random.Random) -> dict[str, str]:
    """A word for every slot, no word twice."""
    slots: dict[str, str] = {}
    for slot in _SLOT.finditer(pattern):
        choices = [word for word in CLASSES[slot[1]] if word not in slots.values()]
        slots[slot[1] + slot[2]] = rng.choice(choices)
    return slots


def _clean(rng: random.Random, patterns: tuple[str, ...], avoid: tuple[str, ...] = ()) -> str:
    while True:
        pattern = rng.choice(patterns)
        text = fill(pattern, rng, **_slots(pattern, rng))
        if not set(avoid) & set(text.split()):
            return text

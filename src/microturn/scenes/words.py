"""The words that scenes are about: everyday, concrete, easy to say, in classes that sentences can ask for.

Every word trains. What a test holds back is how rules are worded and which *pairs* of words a rule joins:
`is_reserved` divides the pairs by a hash, so that a rule in a test is one that training never stated.
"""

import random
import zlib

from microturn.scenes.wording import table

_TABLE = table("words")
CLASSES: dict[str, tuple[str, ...]] = {
    name: tuple(words.split()) for name, words in _TABLE["classes"].items()
}
DOUBTFUL: dict[str, tuple[str, ...]] = {
    name: tuple(words.split()) for name, words in _TABLE["doubtful"].items()
}
ANIMALS, FOODS, COLOURS, OBJECTS = (CLASSES[name] for name in ("animal", "food", "colour", "object"))
PLACES, NAMES, JOBS, VERBS, NUMBERS = (CLASSES[name] for name in ("place", "name", "job", "verb", "number"))
ALL = tuple(sorted({word for words in CLASSES.values() for word in words}))
DAYS, MONTHS, DIGITS, _TEENS, TENS = (
    tuple(str(_TABLE[name]).split()) for name in ("days", "months", "digits", "teens", "tens")
)
LETTERS = tuple("abcdefghijklmnopqrstuvwxyz")
REPLIES: tuple[str, ...] = tuple(_TABLE["replies"])  # what the model may answer to a cue beside a single word
TASKS: tuple[str, ...] = tuple(_TABLE["tasks"])  # what a user may ask to be reminded of


def number(n: int) -> str:
    """0 … 999 in words."""
    if n < 10:
        return DIGITS[n]
    if n < 20:
        return _TEENS[n - 10]
    if n < 100:
        return TENS[n // 10 - 2] + ("" if n % 10 == 0 else " " + DIGITS[n % 10])
    return f"{DIGITS[n // 100]} hundred" + ("" if n % 100 == 0 else " " + number(n % 100))


def classes_of(word: str) -> tuple[str, ...]:
    return tuple(name for name, words in CLASSES.items() if word in words)


def is_reserved(first: str, second: str) -> bool:
    """Whether a rule that joins these two appears in tests only: one pair in eight."""
    return zlib.crc32(f"{first}→{second}".encode()) % 8 == 0


def same_sound(a: str, b: str) -> bool:
    """Whether one could be taken for a form of the other ("egg", "eggs"), so that neither can distract."""
    return a.startswith(b[:4]) or b.startswith(a[:4]) or a.endswith(b) or b.endswith(a)


def pair(rng: random.Random, split: str, avoid: tuple[str, ...] = ()) -> tuple[str, str]:
    """A cue and what to answer to it, the pair belonging to `split`."""
    while True:
        cue = rng.choice(ALL)
        reply = rng.choice(ALL) if rng.random() < 0.8 else rng.choice(REPLIES)
        clash = any(same_sound(cue, word) or same_sound(reply, word) for word in avoid)
        if not clash and not same_sound(cue, reply) and is_reserved(cue, reply) == (split == "test"):
            return cue, reply


def near(rng: random.Random, word: str, avoid: tuple[str, ...] = ()) -> str:
    """Another word that sounds a little like `word`: the likeliest of a handful."""
    choices = [w for w in rng.sample(ALL, 40) if not any(same_sound(w, a) for a in (word, *avoid))]
    return max(choices, key=lambda w: (_likeness(w, word), w))


def _likeness(a: str, b: str) -> int:
    """Shared first and last letters and vowels: a rough ear, enough to choose distractors."""
    head = sum(x == y for x, y in zip(a, b, strict=False))
    tail = sum(x == y for x, y in zip(reversed(a), reversed(b), strict=False))
    return head + tail - abs(len(a) - len(b))

"""Long things that the model can say on request: rows of words, and eight short stories."""

import random
from dataclasses import dataclass

from microturn.scenes.wording import said_in, table
from microturn.scenes.words import DAYS, DIGITS, LETTERS, MONTHS, TENS, number

STORIES: dict[str, str] = table("stories")
SAID = said_in("recital")
ROWS = {
    "the alphabet": LETTERS,
    "the months of the year": MONTHS,
    "the months": MONTHS,
    "the months backwards": MONTHS[::-1],
    "the days of the week": DAYS,
    "the days backwards": DAYS[::-1],
}


@dataclass(frozen=True)
class Recital:
    request: str
    words: tuple[str, ...]  # breaths included
    row: bool  # whether it can be said faster or slower


def recital(rng: random.Random, split: str, row: bool = False) -> Recital:
    """Something long. A row is asked for and said slowly, with a breath after every word, now and then."""
    kind = rng.choices(("count", "down", "row", "story"), (4, 1, 3, 0 if row else 5))[0]
    if kind == "story":
        title = rng.choice(tuple(STORIES))
        return Recital(SAID["TELL"].draw(rng, split, x=title), tuple(STORIES[title].split()), False)
    if kind == "row":
        name = rng.choice(tuple(ROWS))
        text, words = SAID["RECITE"].draw(rng, split, x=name), ROWS[name]
    else:
        n = rng.choice((12, 15, 20, 20, 25, 30, 30)) if kind == "count" else rng.choice((10, 12, 15, 20))
        numbers = range(1, n + 1) if kind == "count" else range(n, 0, -1)
        words = tuple(number(i) for i in numbers)
        text = (SAID["COUNT"] if kind == "count" else SAID["DOWN"]).draw(rng, split, x=number(n))
    words = tuple(" ".join(words).split())
    if rng.random() < 0.3:
        return Recital(text + " slowly", slowed(words), True)
    return Recital(text, words, True)


def slowed(words: tuple[str, ...]) -> tuple[str, ...]:
    """A breath after every item; “twenty one” is one item."""
    following = (*words[1:], "")
    return tuple(
        word if word in TENS and after in DIGITS else f"{word.rstrip(',')},"
        for word, after in zip(words, following, strict=True)
    )


def hurried(words: tuple[str, ...]) -> tuple[str, ...]:
    """No breaths."""
    return tuple(word.rstrip(",.") for word in words)

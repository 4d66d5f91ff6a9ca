"""Long things that the model can say on request: rows of words, and eight short stories."""

from __future__ import annotations

import random
from dataclasses import dataclass

from microturn.scenes.wording import said_in
from microturn.scenes.words import DAYS, DIGITS, LETTERS, MONTHS, TENS, number

STORIES = {
    "fox": "a fox wanted the moon. every night he jumped at it, and every night he fell into the pond. one "
    "night he sat still, and the moon came down to float beside him.",
    "baker": "a baker forgot the salt. his bread was so plain that nobody came, only a tired doctor. she "
    "ate it all, and said that it tasted like home. now he forgets the salt on purpose.",
    "boat": "a small boat was afraid of the sea. it stayed in the harbor until a storm broke the rope. in "
    "the morning it was far away, and it did not want to go back.",
    "clock": "an old clock was always five minutes late. the family was late for everything, and one day "
    "they missed a train. they went to the lake instead, and it was the best day of the year.",
    "snail": "a snail and a horse had a race. the horse ran ahead and got lost in the forest. the snail came "
    "home after three weeks, and asked if anyone had seen the horse.",
    "star": "a star fell into a garden. a girl put it in a jar beside her bed. it grew dark and sad, so she "
    "opened the window. now it winks at her every night.",
    "giant": "a giant lived on a hill, and nobody visited him. one winter the village had no wood. he "
    "carried down a whole tree, and since then there is soup for him every sunday.",
    "robot": "a robot swept the floor of a museum. at night it looked at the paintings, and one morning "
    "there was a new one on the wall. it showed a broom, and everybody loved it.",
}
_SAID = said_in("recital")
TELL = _SAID["TELL"]
RECITE = _SAID["RECITE"]
COUNT = _SAID["COUNT"]
DOWN = _SAID["DOWN"]
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
        return Recital(TELL.draw(rng, split, x=title), tuple(STORIES[title].split()), False)
    if kind == "row":
        name = rng.choice(tuple(ROWS))
        text, words = RECITE.draw(rng, split, x=name), ROWS[name]
    else:
        n = rng.choice((12, 15, 20, 20, 25, 30, 30)) if kind == "count" else rng.choice((10, 12, 15, 20))
        numbers = range(1, n + 1) if kind == "count" else range(n, 0, -1)
        words = tuple(number(i) for i in numbers)
        text = (COUNT if kind == "count" else DOWN).draw(rng, split, x=number(n))
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

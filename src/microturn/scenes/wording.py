"""How things are put into words: patterns with choices, and which of them only tests use.

A pattern is plain text with `(a|b|)` for one of several and `{slot}` for a word. Two marks may stand
between words and are no part of the text: `/` where a speaker may pause because the sentence is not
complete yet, and `*` after the word that makes a listener stop talking.
"""

import itertools
import random
import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

RESERVED_SHARE = 0.5  # of a test's wordings are ones that training never used; the others are everybody's
_CHOICE = re.compile(r"\(([^()]*)\)")
_LIKE_CONSONANT = ("uni", "use", "euro", "one")  # "a uniform", "a one"
_SILENT_H = ("hour", "honest", "honour")


@dataclass(frozen=True)
class Wordings:
    train: tuple[str, ...]
    reserved: tuple[str, ...]
    more: tuple[str, ...] = ()  # ways to say it that came later; old scripts of a bank have none

    def draw(self, rng: random.Random, split: str, **slots: str) -> str:
        hold_out = split == "test" and rng.random() < RESERVED_SHARE
        known = self.train + self.more if split == "given" else self.train
        return fill(rng.choice(self.reserved if hold_out else known), rng, **slots)


def table(name: str, folder: str = "tables") -> dict[str, Any]:
    return tomllib.loads(files("microturn.scenes").joinpath(folder, f"{name}.toml").read_text("utf-8"))


WORDED = tuple(
    sorted(f.name.removesuffix(".toml") for f in files("microturn.scenes").joinpath("wordings").iterdir())
)


def said_in(scene: str) -> dict[str, Wordings]:
    """What is said in a scene, from its file in `wordings/`."""
    return {name: wordings_of(lists) for name, lists in table(scene, "wordings").items()}


def wordings_of(lists: dict[str, list[str]]) -> Wordings:
    return Wordings(**{name: tuple(patterns) for name, patterns in lists.items()})


def fill(pattern: str, rng: random.Random, **slots: str) -> str:
    """One wording of the pattern: choices made, slots filled, articles right. Marks are left in."""
    text = _CHOICE.sub(lambda choice: rng.choice(choice[1].split("|")), pattern)
    return tidy(text.format(**slots))


def tidy(text: str) -> str:
    words = text.split()
    for i, (word, following) in enumerate(itertools.pairwise(words)):
        if word in ("a", "an") and following.isalpha() and len(following) > 1:
            vowel = following[0] in "aeiou" and not following.startswith(_LIKE_CONSONANT)
            words[i] = "an" if vowel or following.startswith(_SILENT_H) else "a"
    return " ".join(words)


def wordings(patterns: tuple[str, ...]) -> Iterator[str]:
    """Every wording of the patterns, slots left open."""
    for pattern in patterns:
        pieces = _CHOICE.split(pattern)  # text, choice, text, choice, …, text
        options = [piece.split("|") if i % 2 else [piece] for i, piece in enumerate(pieces)]
        for picked in itertools.product(*options):
            yield " ".join("".join(picked).split())


def parts(text: str) -> list[str]:
    """What is said before and after each `/`."""
    return [" ".join(part.replace("*", "").split()) for part in text.split("/")]


def whole(text: str) -> str:
    """The text without its marks."""
    return " ".join(parts(text))


def mark(text: str) -> int:
    """The index of the word before `*`; the last word where there is none."""
    words = text.replace("/", " ").split()
    for i, word in enumerate(words):
        if word.endswith("*"):
            return i
    return len(words) - 1

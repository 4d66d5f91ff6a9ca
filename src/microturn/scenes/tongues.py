"""Spanish and French that can be translated word by word: one English word for each, and sentences to use them in.

Nouns are listed by gender, adjectives in both forms. French nouns begin with a consonant, so that no article is
joined to them. `phrase` makes a sentence, `NOUNS` are words that may stand in an English one.
"""

import random
import re
from dataclasses import dataclass

from microturn.scenes.wording import table
from microturn.scenes.words import ALL


@dataclass(frozen=True)
class Tongue:
    name: str  # in English
    m: dict[str, str]  # masculine nouns
    f: dict[str, str]
    am: dict[str, str]  # adjectives as they follow a masculine noun
    af: dict[str, str]
    v: dict[str, str]  # what somebody does to something
    other: dict[str, str]
    patterns: tuple[str, ...]

    def english(self) -> dict[str, str]:
        return {**self.other, **self.am, **self.af, **self.v, **self.m, **self.f}


def _tongue(name: str, patterns: list[str], **lists: str) -> Tongue:
    words = {kind: dict(pair.split("/") for pair in text.split()) for kind, text in lists.items()}
    return Tongue(name, patterns=tuple(patterns), **words)


TONGUES = {code: _tongue(**lists) for code, lists in table("tongues").items()}
# words that may be asked for in the middle of an English sentence, and the English word whose place they take
NOUNS = {
    code: tuple((word, own) for word, own in {**tongue.m, **tongue.f}.items() if own in ALL and word != own)
    for code, tongue in TONGUES.items()
}
_SLOT = re.compile(r"\{(\w+)\}")


def phrase(rng: random.Random, code: str) -> str:
    """A sentence of the language."""
    tongue = TONGUES[code]
    lists = {slot: tuple(getattr(tongue, slot)) for slot in ("m", "f", "am", "af", "v")}
    return _SLOT.sub(lambda slot: rng.choice(lists[slot[1]]), rng.choice(tongue.patterns))


def marked(text: str, code: str) -> str:
    """The text with the language at every word."""
    return " ".join(f"{code}:{word}" for word in text.split())

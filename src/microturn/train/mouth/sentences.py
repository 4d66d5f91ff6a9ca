"""What the teacher says: sentences of every kind, without end, each a function of its number.

A tenth of the texts, by a hash, is never trained on: `wanted(split)` holds them for tests. People's own sentences
(chitchat-dataset, PyPI, MIT) make up the conversation where they are installed; the rest is composed, or what scenes
let the model say.
"""

# ruff: noqa: SIM905 — word lists read better as running text

import itertools
import random
import re
import tomllib
import zlib
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

from microturn.model.normal import MONTHS, spoken
from microturn.scenes import TRAIN_WEIGHTS, compose, write
from microturn.scenes.words import ANIMALS, COLOURS, FOODS, JOBS, NAMES, OBJECTS, PLACES, VERBS
from microturn.train.sound import unspoken

TEST_SHARE = 10  # one text in so many is for tests
REPLY_SCRIPTS = 3000  # of scenes, whose replies are said
_TABLE = tomllib.loads(Path(__file__).with_name("sentences.toml").read_text("utf-8"))
FAMILIES, CITIES = _TABLE["families"].split(), _TABLE["cities"].split()
UNITS = ("km", "kg", "%", "°C", "mph", "cm", "ml", "GB", "ft", "mi")
SINGLE = (*ANIMALS, *FOODS, *OBJECTS, *PLACES, *COLOURS, *VERBS)
ONSETS = "b br ch d dr f fl g gr h j k kl l m n p pr r s sh st t tr v w z".split()
NUCLEI = "a e i o u ai ea ee ie oo ou or er ar".split()
CODAS = ("", "", "", "n", "l", "r", "s", "t", "ck", "m", "nd", "th")


def made_name(rng: random.Random) -> str:
    """A name that is in no lexicon."""
    syllables = (
        rng.choice(ONSETS) + rng.choice(NUCLEI) + rng.choice(CODAS) for _ in range(rng.randint(2, 3))
    )
    return "".join(syllables).capitalize()


def _grouped(n: int) -> str:
    return f"{n:,}" if n >= 10_000 else str(n)


def _slot(kind: str, rng: random.Random) -> str:
    full = (
        rng.choice(NAMES).capitalize()
        + " "
        + (made_name(rng) if rng.random() < 0.3 else rng.choice(FAMILIES))
    )
    day = f"{rng.choice(MONTHS)} {rng.randint(1, 28)}"
    drawn: dict[str, Callable[[], str]] = {
        "NAME": lambda: made_name(rng) if rng.random() < 0.3 else rng.choice(NAMES).capitalize(),
        "FULL": lambda: full,
        "CITY": lambda: rng.choice(CITIES).replace("_", " "),
        "DAY": lambda: rng.choice("Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()),
        "MONTH": lambda: rng.choice(MONTHS),
        "DATE": lambda: day + (f", {rng.randint(1850, 2049)}" if rng.random() < 0.5 else ""),
        "YEAR": lambda: str(rng.randint(1700, 2049)),
        "TIME": lambda: f"{rng.randint(1, 12)}:{rng.randint(0, 59):02d}" + rng.choice(("", " AM", " PM")),
        "MONEY": lambda: rng.choice("$$$£€") + f"{rng.randint(0, 999)}.{rng.randint(1, 99):02d}",
        "N": lambda: _grouped(int(10 ** rng.uniform(0, rng.choice((1, 2, 3, 4, 6))))),
        "P": lambda: str(rng.randint(1, 99)),
        "F": lambda: f"{rng.randint(0, 99)}.{rng.randint(1, 99)}",
        "ORD": lambda: f"{rng.randint(4, 20)}th",
        "UNIT": lambda: rng.choice(UNITS),
        "PHONE": lambda: f"555-{rng.randint(0, 9999):04d}",
        "DIGITS": lambda: " ".join(str(rng.randint(0, 9)) for _ in range(rng.randint(3, 6))),
    }
    if kind in drawn:
        return drawn[kind]()
    words = {"ANIMAL": ANIMALS, "FOOD": FOODS, "OBJECT": OBJECTS, "PLACE": PLACES, "COLOUR": COLOURS, "VERB": VERBS,
             "JOB": JOBS}  # fmt: skip
    return rng.choice(words[kind])


_SLOT = re.compile(r"\b(NAME|FULL|CITY|DAY|MONTH|DATE|YEAR|TIME|MONEY|N|P|F|ORD|UNIT|PHONE|DIGITS|ANIMAL|FOOD|OBJECT|"
                   r"PLACE|COLOUR|VERB|JOB)\d?(?=\b|s\b|%|°)")  # fmt: skip


def _filled(forms: Sequence[str], rng: random.Random) -> str:
    return _SLOT.sub(lambda m: _slot(m[1], rng), rng.choice(forms))


@lru_cache(maxsize=1)
def _people() -> tuple[str, ...]:
    """What people wrote to each other; nothing where it is not installed."""
    if find_spec("chitchat_dataset") is None:
        return ()
    from microturn.train.build import chitchat

    return tuple(chitchat())


def _conversation(rng: random.Random) -> str:
    people = _people()
    if not people or rng.random() < 0.25:
        return _filled(_TABLE["talk"], rng)
    said = rng.choice(people)
    said = re.sub(r"\bi\b", "I", said[0].upper() + said[1:])
    asks = re.match(
        r"(what|why|how|who|where|when|do|does|did|is|are|can|could|would|have|will)\b", said.lower()
    )
    return said + ("?" if asks else rng.choice("...!"))


def scene_says(scripts: int, seconds: float = 30.0) -> Iterator[str]:
    """All that is to be said in so many scripts for training."""
    scenes = sorted(TRAIN_WEIGHTS)
    for seed in range(scripts):
        script = write(random.Random(seed).choice(scenes), seed, "train", seconds)
        clips = [unspoken(line.text, 1.0) for line in script.lines]
        for say in compose(script, clips, seconds, take=seed).says:
            yield say.text


@lru_cache(maxsize=1)
def _replies() -> tuple[str, ...]:
    return tuple(sorted(set(scene_says(REPLY_SCRIPTS))))


KINDS: dict[str, tuple[float, Callable[[random.Random], str]]] = {
    "conversation": (0.37, _conversation),
    "prose": (0.15, lambda rng: _filled(_TABLE["news"], rng)),
    "numbers": (0.16, lambda rng: _filled(_TABLE["figures"], rng)),
    "names": (0.06, lambda rng: _filled(("FULL", "FULL called.", "FULL lives in CITY.", "Hi FULL."), rng)),
    "lists": (0.06, lambda rng: _filled(_TABLE["lists"], rng)),
    "words": (0.07, lambda rng: rng.choice(SINGLE)),
    "replies": (0.08, lambda rng: rng.choice(_replies())),
    "backchannels": (0.05, lambda rng: rng.choice(_TABLE["backchannels"]) + rng.choice(("", ".", ","))),
}  # fmt: skip


def names() -> list[str]:
    """Names and other words of these sentences that may be in no lexicon, in lower case."""
    forms = (form for kind in ("talk", "news", "figures", "lists") for form in _TABLE[kind])
    written = [*FAMILIES, *CITIES, *MONTHS, *NAMES, *SINGLE, *JOBS, *" ".join(forms).split()]
    found = {part for text in written for part in re.split(r"[\W_]+", text.lower()) if part.isalpha()}
    return sorted(word for word in found if len(word) > 2)


def split_of(text: str) -> str:
    """Backchannels and single words are too few to hold any back."""
    reserved = text.count(" ") > 1 and zlib.crc32(text.lower().encode()) % TEST_SHARE == 0
    return "test" if reserved else "train"


def sentence(number: int, kind: str = "") -> str:
    """As it is spoken: no digits, no signs."""
    rng = random.Random(f"sentence-{number}")
    kind = kind or rng.choices(list(KINDS), [share for share, _ in KINDS.values()])[0]
    return spoken(KINDS[kind][1](rng))


def numbered(first: int = 0, kind: str = "", split: str = "train") -> Iterator[tuple[int, str]]:
    """Those of one split from a number on, without end."""
    for number in itertools.count(first):
        if (text := sentence(number, kind)) and split_of(text) == split:
            yield number, text


def sentences(first: int = 0, kind: str = "", split: str = "train") -> Iterator[str]:
    return (text for _, text in numbered(first, kind, split))

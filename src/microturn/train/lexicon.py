"""How words sound, for the ears to learn by: a word every few ticks is little to learn from, its sounds are much.

A bank has a lexicon of its words as its voices pronounce them; other words sound as they are spelled.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from microturn.model.phonemes import SOUNDS, SYMBOLS, from_ipa, to_phonemes

FILE = "lexicon.json"
_NUMBER = {name: number for number, name in enumerate(SOUNDS) if name}


def _numbers(phonemes: Iterable[int]) -> tuple[int, ...]:
    plain = (SYMBOLS[p].rstrip("012") for p in phonemes)
    return tuple(_NUMBER[name] for name in plain if name in _NUMBER)


class Lexicon:
    def __init__(self, ipa: dict[str, str] | None = None) -> None:
        self._known = {word: _numbers(from_ipa(sounds)) for word, sounds in (ipa or {}).items()}

    @classmethod
    def of_bank(cls, folder: Path) -> Lexicon:
        path = folder / FILE
        return cls(json.loads(path.read_text("utf-8")) if path.is_file() else None)

    def sounds(self, word: str) -> tuple[int, ...]:
        """Numbers of `SOUNDS`."""
        if word not in self._known:
            self._known[word] = _numbers(to_phonemes(word))
        return self._known[word]

    def words(self) -> list[str]:
        """English ones: others are marked with their language."""
        return [word for word in self._known if ":" not in word]

    def some(self, rng: np.random.Generator, count: int) -> list[tuple[int, ...]]:
        """Any of the words that were ever asked for."""
        known = [sounds for sounds in self._known.values() if sounds]
        return [known[i] for i in rng.integers(0, len(known), count)] if known else []


def write_lexicon(folder: Path, words: Iterable[str]) -> None:
    from microturn.train.voices.hibari import teacher

    known: dict[str, str] = {}
    for word in sorted(set(words), key=lambda word: (":" in word, word)):  # English before what is marked
        try:
            known.setdefault(word.rpartition(":")[2], "".join(teacher().phonemes(word)))
        except ValueError:
            continue  # as it is spelled, then
    (folder / FILE).write_text(json.dumps(known, ensure_ascii=False), "utf-8")

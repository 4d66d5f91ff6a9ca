"""Words → phonemes. What the speech head is told to pronounce; any text at all yields something to say.

The inventory is ARPAbet with stress on vowels, a flap, a pause, a breath and a word boundary. Pronunciations
come from a lexicon where one is given (`from_ipa` reads the alphabet that speech synthesisers use) and from a
small table of spelling rules otherwise: longest match from the left, then stress on the first full vowel.
"""

import gzip
import json
import re
import tomllib
import unicodedata
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

LEXICON = Path(__file__).with_name("lexicon.json.gz")  # `python -m microturn.train.mouth lexicon` makes it

NONE = 0
PAUSE, BREATH, BOUNDARY = 1, 2, 3
VOWELS = ("AA", "AE", "AH", "AO", "AW", "AY", "EH", "ER", "EY", "IH", "IY", "OW", "OY", "UH", "UW")
CONSONANTS = (
    "B", "CH", "D", "DH", "DX", "F", "G", "HH", "JH", "K", "L", "M", "N", "NG", "P", "R", "S", "SH", "T",
    "TH", "V", "W", "Y", "Z", "ZH",
)  # fmt: skip
SYMBOLS = ("", "pause", "breath", "|", *CONSONANTS, *(v + s for v in VOWELS for s in "012"))
SOUNDS = ("", *CONSONANTS, *VOWELS)  # what the ears are taught to tell apart; the first is anything else
PHONEMES = 80  # rows of the embedding; a few are spare
_ID = {symbol: i for i, symbol in enumerate(SYMBOLS)}

_TABLES: dict[str, dict[str, str]] = tomllib.loads(
    Path(__file__).with_name("phonemes.toml").read_text("utf-8")
)
_RULES, _WORDS = _TABLES["rules"], _TABLES["words"]
_LONGEST = max(map(len, _RULES))


def ids(symbols: str) -> list[int]:
    """ "HH AH0 L OW1" → ids."""
    return [_ID[s] for s in symbols.split()]


def from_ipa(ipa: str) -> list[int]:
    """A synthesiser's phonemes → ids; marks that are not sounds are passed over."""
    found: list[int] = []
    stress = "0"
    for mark in ipa:
        if mark in "ˈˌ":
            stress = "1" if mark == "ˈ" else "2"
        elif mark == " ":
            found.append(BOUNDARY)
        elif mark in ",.;:!?—…":
            found.append(PAUSE)
        elif name := _TABLES["ipa"].get(mark):
            if name in VOWELS:
                name, stress = name + stress, "0"
            found.append(_ID[name])
    return found


def spell(word: str) -> list[int]:
    """Pronounce a lower-case word by its spelling."""
    text = f"^{word}$"
    sounds: list[str] = []
    at = 1
    while at < len(text) - 1:
        if text[at] in _TABLES["long"] and re.match(r"[aeiouy][bdfgklmnpstvzc]e[sd]?\$", text[at:]):
            sounds.append(_TABLES["long"][text[at]])
            at += 1
            continue
        for length in range(_LONGEST, 0, -1):
            start = at - 1 if at == 1 and "^" + text[at : at + length] in _RULES else at
            part = text[start : at + length]
            if part in _RULES:
                sounds += _RULES[part].split()
                at += length
                break
        else:
            at += 1
    stressed = False
    named: list[str] = []
    for sound in sounds:
        if sound in VOWELS:
            named.append(sound + ("0" if stressed else "1"))
            stressed = True
        else:
            named.append(sound)
    # as lexicons write it: a stressed vowel of its own, else a plain one, and the R after it
    return [i for s in named for i in ids({"ER1": "ER1 R", "ER0": "AH0 R"}.get(s, s))]


# Endings and what may stand for the rest of the word in a lexicon; "-" is one consonant less.
_ENDINGS = (("'s", ("",)), ("ies", ("y",)), ("es", ("", "e")), ("s", ("",)), ("ied", ("y",)), ("ed", ("", "e", "-")),
            ("ing", ("", "e", "-")), ("'ll", ("",)), ("'d", ("",)), ("'ve", ("",)), ("'re", ("",)))  # fmt: skip
_HISSING, _VOICELESS = {"S", "Z", "SH", "ZH", "CH", "JH"}, {"P", "T", "K", "F", "TH", "S", "SH", "CH"}


def _ending(ending: str, last: str) -> list[int]:
    """How an ending sounds after the last sound of a word."""
    match ending[-1]:
        case "s":
            return ids("IH0 Z" if last in _HISSING else "S" if last in _VOICELESS else "Z")
        case "d":
            return ids("IH0 D" if last in {"T", "D", "DX"} else "T" if last in _VOICELESS else "D")
    return ids({"ing": "IH0 NG", "'ll": "AH0 L", "'ve": "AH0 V", "'re": "AH0 R"}[ending])


def _named(letters: str) -> list[int]:
    return [i for letter in letters for i in ids(_TABLES["letters"][letter])]


class Lexicon:
    """Pronunciations of known words, and rules for all others."""

    def __init__(self, known: Mapping[str, str] | None = None) -> None:
        self._known = {**_WORDS, **(known or {})}

    def phonemes(self, word: str) -> list[int]:
        """One word with its punctuation. Ends in a boundary, or in a pause after , . ! and so on.

        Empty only where there is nothing to pronounce.
        """
        if re.fullmatch(r"[A-Z]{2,3}\W*", word):  # an abbreviation: AM, TV, USA
            return [*_named(re.sub(r"\W", "", word).lower()), PAUSE if word[-1] in ",.;:!?" else BOUNDARY]
        bare = (c for c in unicodedata.normalize("NFKD", word) if not unicodedata.combining(c))
        plain = "".join(bare).lower().replace("’", "'")
        found: list[int] = []
        for part in re.findall(r"[a-z']+|[0-9]|[^\W\d_]|[%&+=@$€]", plain):
            found += self._part(part)
        pause = bool(re.search(r"[,.;:!?…—]\W*$", plain))
        if not found:
            return [PAUSE] if pause else []
        return [*found, PAUSE if pause else BOUNDARY]

    def knows(self, word: str) -> bool:
        return word in self._known or bool(self._inflected(word))

    def _part(self, part: str) -> list[int]:
        if part in _TABLES["signs"]:
            return self._part(_TABLES["signs"][part])
        if part in self._known:
            return ids(self._known[part])
        letters = part.replace("'", "")
        if len(letters) == 1:
            # A letter of another alphabet is named as a vowel sound rather than passed over in silence.
            name = _TABLES["letters"].get(letters)
            return ids(name) if name else ids(f"{VOWELS[ord(letters) % len(VOWELS)]}1")
        if letters and not re.search("[aeiouy]", letters):
            return _named(letters)
        return self._inflected(part) or spell(part) if letters else []

    def _inflected(self, part: str) -> list[int]:
        """A known word with an ending; nothing where none is known."""
        for ending, stems in _ENDINGS:
            if part.endswith(ending):
                stem = part[: -len(ending)]
                forms = [stem + more for more in stems]
                if "-" in stems:  # a doubled consonant: stopped, running
                    forms[stems.index("-")] = stem[:-1] if stem[-2:-1] == stem[-1:] else ""
                for form in forms:
                    if len(form) > 1 and form in self._known:
                        found = ids(self._known[form])
                        return found + _ending(ending, SYMBOLS[found[-1]])
        return []


@lru_cache(maxsize=1)
def _lexicon() -> Lexicon:
    return Lexicon(json.loads(gzip.decompress(LEXICON.read_bytes())) if LEXICON.is_file() else None)


def to_phonemes(word: str) -> list[int]:
    """Ids of one word by the built-in lexicon and rules."""
    return _lexicon().phonemes(word)

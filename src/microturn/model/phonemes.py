"""Words → phonemes. What the speech head is told to pronounce; any text at all yields something to say.

The inventory is ARPAbet with stress on vowels, a flap, a pause, a breath and a word boundary. Pronunciations
come from a lexicon where one is given (`from_ipa` reads the alphabet that speech synthesisers use) and from a
small table of spelling rules otherwise: longest match from the left, then stress on the first full vowel.
"""

from __future__ import annotations

import gzip
import json
import re
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

# Spelling → phonemes, tried longest first at each place. ^ and $ are the ends of the word.
_RULES = {
    "a": "AE", "b": "B", "c": "K", "d": "D", "e": "EH", "f": "F", "g": "G", "h": "HH", "i": "IH", "j": "JH",
    "k": "K", "l": "L", "m": "M", "n": "N", "o": "AA", "p": "P", "q": "K", "r": "R", "s": "S", "t": "T",
    "u": "AH", "v": "V", "w": "W", "x": "K S", "y": "IH", "z": "Z", "'": "", "^x": "Z", "^y": "Y", "y$": "IY",
    "e$": "", "^kn": "N", "^gn": "N", "^wr": "R", "^ps": "S", "^wh": "W", "^who": "HH UW", "mb$": "M",
    "gn$": "N", "ch": "CH", "sch": "S K", "tch": "CH", "sh": "SH", "th": "TH", "ph": "F", "gh": "", "gh$": "",
    "^gh": "G", "ck": "K", "qu": "K W", "ng$": "NG", "ng": "NG G", "nk": "NG K", "dg": "JH", "dge": "JH",
    "wh": "W", "rh": "R", "bb": "B", "cc": "K", "dd": "D", "ff": "F", "gg": "G", "ll": "L", "mm": "M",
    "nn": "N", "pp": "P", "rr": "R", "ss": "S", "tt": "T", "zz": "Z", "vv": "V", "ce": "S EH", "ci": "S IH",
    "cy": "S IY", "ge": "JH EH", "ge$": "JH", "gi": "JH IH", "gy": "JH IY", "ce$": "S", "se$": "Z",
    "ve$": "V", "ze$": "Z", "le$": "AH L", "cial": "SH AH L", "cian": "SH AH N", "cious": "SH AH S",
    "tious": "SH AH S", "tial": "SH AH L", "tion": "SH AH N", "ssion": "SH AH N", "sion": "ZH AH N",
    "ture": "CH ER", "sure": "ZH ER", "ous$": "AH S", "age$": "IH JH", "ate$": "EY T", "able$": "AH B AH L",
    "ible$": "AH B AH L", "ment$": "M AH N T", "ness$": "N AH S", "less$": "L AH S", "ful$": "F AH L",
    "ing$": "IH NG", "ed$": "D", "ted$": "T AH D", "ded$": "D AH D", "ped$": "P T", "ked$": "K T",
    "sed$": "Z D", "shed$": "SH T", "ched$": "CH T", "ai": "EY", "ay": "EY", "au": "AO", "aw": "AO",
    "ee": "IY", "ea": "IY", "ead": "EH D", "ei": "EY", "ey": "IY", "eu": "Y UW", "ew": "UW", "ie": "IY",
    "ie$": "IY", "igh": "AY", "eigh": "EY", "oa": "OW", "oe": "OW", "oi": "OY", "oy": "OY", "oo": "UW",
    "ook": "UH K", "ood": "UH D", "ou": "AW", "ow": "OW", "own": "AW N", "ould": "UH D", "ough": "AO",
    "ought": "AO T", "ui": "UW", "ue$": "UW", "uy": "AY", "ar": "AA R", "er": "ER", "ir": "ER", "ur": "ER",
    "or": "AO R", "wor": "W ER", "war": "W AO R", "air": "EH R", "are$": "EH R", "ear": "IH R", "eer": "IH R",
    "ere$": "IH R", "ire": "AY ER", "ore": "AO R", "our": "AW ER", "oor": "AO R", "ure": "Y UH R",
    "er$": "ER", "or$": "ER", "ar$": "ER", "al": "AE L", "all": "AO L", "alk": "AO K", "alm": "AA M",
    "olk": "OW K", "wa": "W AA", "o$": "OW", "a$": "AH", "i$": "IY", "u$": "UW", "es$": "Z", "ss$": "S",
    "s$": "Z", "ts$": "T S", "ks$": "K S", "ps$": "P S", "fs$": "F S", "us$": "AH S", "is$": "IH S",
    "as$": "AE Z", "ches$": "CH AH Z", "shes$": "SH AH Z", "sses$": "S AH Z", "ces$": "S AH Z",
    "ges$": "JH AH Z", "old": "OW L D", "ost$": "OW S T", "ind": "AY N D", "ild": "AY L D", "n't": "AH N T",
    "'re": "ER", "'ll": "AH L", "'s$": "Z",
}  # fmt: skip
_LONGEST = max(map(len, _RULES))
_LONG = {
    "a": "EY",
    "e": "IY",
    "i": "AY",
    "o": "OW",
    "u": "UW",
    "y": "AY",
}  # before one consonant and a last e

# Words whose spelling says the wrong thing, and the names of letters and digits.
_WORDS = {
    "a": "AH0", "the": "DH AH0", "of": "AH1 V", "to": "T UW1", "and": "AH0 N D", "is": "IH1 Z",
    "was": "W AA1 Z", "are": "AA1 R", "i": "AY1", "you": "Y UW1", "your": "Y AO1 R", "he": "HH IY1",
    "she": "SH IY1", "we": "W IY1", "me": "M IY1", "be": "B IY1", "they": "DH EY1", "their": "DH EH1 R",
    "there": "DH EH1 R", "this": "DH IH1 S", "that": "DH AE1 T", "then": "DH EH1 N", "them": "DH EH1 M",
    "these": "DH IY1 Z", "those": "DH OW1 Z", "have": "HH AE1 V", "has": "HH AE1 Z", "do": "D UW1",
    "does": "D AH1 Z", "done": "D AH1 N", "says": "S EH1 Z", "said": "S EH1 D", "what": "W AH1 T",
    "where": "W EH1 R", "were": "W ER1", "who": "HH UW1", "one": "W AH1 N", "two": "T UW1", "four": "F AO1 R",
    "eight": "EY1 T", "once": "W AH1 N S", "some": "S AH1 M", "come": "K AH1 M", "from": "F R AH1 M",
    "give": "G IH1 V", "live": "L IH1 V", "love": "L AH1 V", "other": "AH1 DH ER0", "mother": "M AH1 DH ER0",
    "father": "F AA1 DH ER0", "people": "P IY1 P AH0 L", "water": "W AO1 DX ER0", "great": "G R EY1 T",
    "friend": "F R EH1 N D", "could": "K UH1 D", "put": "P UH1 T", "only": "OW1 N L IY0", "my": "M AY1",
    "by": "B AY1", "no": "N OW1", "go": "G OW1", "so": "S OW1", "now": "N AW1", "how": "HH AW1",
    "our": "AW1 ER0", "hour": "AW1 ER0", "or": "AO1 R", "any": "EH1 N IY0", "many": "M EH1 N IY0",
    "if": "IH1 F", "been": "B IH1 N", "very": "V EH1 R IY0", "okay": "OW0 K EY1", "mm": "M", "hmm": "HH M",
    "zero": "Z IH1 R OW0", "hello": "HH AH0 L OW1", "seven": "S EH1 V AH0 N", "minute": "M IH1 N AH0 T",
    "with": "W IH1 DH", "as": "AE1 Z",
}  # fmt: skip
_LETTERS = dict(
    zip(
        "abcdefghijklmnopqrstuvwxyz0123456789",
        (
            "EY1", "B IY1", "S IY1", "D IY1", "IY1", "EH1 F", "JH IY1", "EY1 CH", "AY1", "JH EY1", "K EY1",
            "EH1 L", "EH1 M", "EH1 N", "OW1", "P IY1", "K Y UW1", "AA1 R", "EH1 S", "T IY1", "Y UW1", "V IY1",
            "D AH1 B AH0 L Y UW0", "EH1 K S", "W AY1", "Z IY1", "Z IH1 R OW0", "W AH1 N", "T UW1", "TH R IY1",
            "F AO1 R", "F AY1 V", "S IH1 K S", "S EH1 V AH0 N", "EY1 T", "N AY1 N",
        ),
        strict=True,
    )
)  # fmt: skip
_SIGNS = {"%": "percent", "&": "and", "+": "plus", "=": "equals", "@": "at", "$": "dollars", "€": "euros"}

# The IPA of common speech synthesisers; capitals are its diphthongs. ˈ and ˌ mark the next vowel.
_IPA = {
    "A": "EY", "I": "AY", "O": "OW", "W": "AW", "Y": "OY", "æ": "AE", "ɑ": "AA", "a": "AA", "ɔ": "AO",
    "ɒ": "AA", "ə": "AH", "ᵊ": "AH", "ɐ": "AH", "ɛ": "EH", "e": "EH", "ɜ": "ER", "ɚ": "ER", "ɪ": "IH",
    "ᵻ": "IH", "i": "IY", "u": "UW", "ʊ": "UH", "ʌ": "AH", "o": "OW", "b": "B", "d": "D", "f": "F", "h": "HH",
    "j": "Y", "k": "K", "l": "L", "m": "M", "n": "N", "p": "P", "s": "S", "t": "T", "v": "V", "w": "W",
    "z": "Z", "ɡ": "G", "g": "G", "ŋ": "NG", "ɹ": "R", "r": "R", "ɾ": "DX", "ʃ": "SH", "ʒ": "ZH", "ʔ": "T",
    "ʤ": "JH", "ʧ": "CH", "θ": "TH", "ð": "DH", "T": "DX",
}  # fmt: skip


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
        elif mark in _IPA:
            name = _IPA[mark]
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
        if text[at] in _LONG and re.match(r"[aeiouy][bdfgklmnpstvzc]e[sd]?\$", text[at:]):
            sounds.append(_LONG[text[at]])
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
    return [i for letter in letters for i in ids(_LETTERS[letter])]


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
        if part in _SIGNS:
            return self._part(_SIGNS[part])
        if part in self._known:
            return ids(self._known[part])
        letters = part.replace("'", "")
        if len(letters) == 1:
            # A letter of another alphabet is named as a vowel sound rather than passed over in silence.
            name = _LETTERS.get(letters)
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

"""Foreign words in English mouths: espeak-ng knows how they sound, the voices' alphabet gets as near as it can.

A word names its language, `es:manzana`. The voices that are given phonemes (hibari and its speakers, Kokoro) then
say it as a fluent speaker with an accent would.
"""

import re
from functools import lru_cache

from microturn.train.voices.machines import espeak

ENGLISH_ONLY = ("flite", "piper")  # families
# sounds of Spanish and French → those of the alphabet of English, longest first
NEAREST = {
    "ɛ̃": "æn", "ɑ̃": "ɑn", "ɔ̃": "On", "œ̃": "ʌn", "tʃ": "ʧ", "dʒ": "ʤ", "ai": "I", "ei": "A", "oi": "Y", "au": "W",
    "aʊ": "W", "r": "ɹ", "ɲ": "nj", "ʎ": "j", "ʝ": "j", "x": "h", "β": "b", "ɣ": "ɡ", "ʁ": "ɹ", "ø": "ʊ",
    "œ": "ɜ", "y": "u", "ɥ": "w", "a": "ɑ", "ɐ": "ɑ", "e": "A", "o": "O", "ː": "", "-": "", "ʲ": "",
}  # fmt: skip
_SOUND = re.compile("|".join(sorted(map(re.escape, NEAREST), key=len, reverse=True)))


@lru_cache(maxsize=2000)
def pronounced(marked: str) -> str:
    """A marked word, with the punctuation that follows it, as phonemes of the English voices."""
    language, _, word = marked.partition(":")
    bare = word.rstrip(",.?!")
    sounds = espeak().ipa(bare, language).replace("_", "")
    return _SOUND.sub(lambda sound: NEAREST[sound[0]], sounds) + word[len(bare) :]


def speaks(voice: str, text: str) -> bool:
    """Whether the voice of that name can say the text."""
    return ":" not in text or voice.partition("-")[0] not in ENGLISH_ONLY

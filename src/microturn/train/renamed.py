"""Words that nobody has ever heard, for those who must learn to say a word back whatever it is.

Skills that only pass words on (a rule, a reminder, a result) are right for any words. So in some of the episodes
with given words, what is passed on is spelled with other pieces, the same ones wherever it stands.
"""

# ruff: noqa: SIM905 — word lists read better as running text

import random
from collections import Counter
from collections.abc import Sequence
from functools import cache

import torch

from microturn.model.normal import plain
from microturn.model.tokenizer import PieceTokenizer
from microturn.scenes.episode import Episode
from microturn.scenes.words import ALL, CLASSES, DIGITS, NUMBERS, TENS
from microturn.train.batch import Batch

PASS_ON = ("cue", "time", "once", "weave", "readout")  # scenes in which a word may be any word
SHARE = 0.4
MEANINGS = frozenset(CLASSES) | {"eat", "spanish", "german", "french"}
KNOWN = frozenset({*DIGITS, *NUMBERS, *TENS})
RULES = frozenset(  # what nobody else may be called
    """say tell every each time times when whenever if as soon stop quit cancel enough forget change until after now
    in and answer word second seconds minute minutes count remind me no not never okay yes instead rather the a to
    i you""".split()
)


@cache
def _spellings() -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Pieces of letters that begin a word, and those that go on with one."""
    pieces = PieceTokenizer.load()
    plain = [p for p in range(len(pieces)) if pieces.piece(p).strip().isalpha() and pieces.piece(p).isascii()]
    begins = {p for p in plain if pieces.piece(p).startswith(" ")}
    free = sorted(p for p in begins if pieces.piece(p).strip() not in RULES | KNOWN)
    return tuple(free), tuple(p for p in plain if p not in begins)


def passed_on(episode: Episode) -> tuple[set[str], set[str]]:
    """Words that are said back, or wait for themselves to be said again; and all others."""
    given = Counter(word.text for placed in episode.placed for word in placed.clip.words)
    given.update(word for read in episode.reads for word in plain(read.text))
    said = {word for say in episode.says for word in say.text.split()}
    others = set(given) | said
    if not MEANINGS.isdisjoint(given):
        return set(), others  # something is asked of what the word means
    passed = {word for word, times in given.items() if word in ALL and (word in said or times > 1)} - KNOWN
    return passed, others - passed


def rename(batch: Batch, episodes: Sequence[Episode], rng: random.Random) -> None:
    begins, inner = _spellings()
    pieces = PieceTokenizer.load()
    carriers = (batch.setup, batch.percept.text, batch.hear, batch.say)
    for row, episode in enumerate(episodes):
        if episode.scene not in PASS_ON or rng.random() > SHARE:
            continue
        words, others = passed_on(episode)
        theirs = {piece for word in others for piece in pieces.encode_word(word)}
        spelled = [pieces.encode_word(word) for word in sorted(words)]
        # a word that shares pieces with others would take them along
        old = sorted({piece for spelling in spelled if theirs.isdisjoint(spelling) for piece in spelling})
        there = theirs | {piece for spelling in spelled for piece in spelling}
        table = torch.arange(len(pieces))
        for piece in old:
            kind = inner if not pieces.piece(piece).startswith(" ") else begins
            table[piece] = rng.choice([other for other in kind if other not in there])
            there.add(int(table[piece]))
        for carrier in carriers:
            carrier[row] = table[carrier[row]]

"""Words that nobody has ever heard, for those who must learn to say a word back whatever it is.

Skills that only pass words on (a rule, a reminder, a result) are right for any words. So in some of the episodes
with given words, what is passed on is spelled with other pieces, the same ones wherever it stands.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from functools import cache

import torch

from microturn.model.tokenizer import PieceTokenizer
from microturn.scenes.episode import Episode
from microturn.scenes.words import ALL, CLASSES, NUMBERS
from microturn.train.batch import Batch

PASS_ON = ("cue", "time", "weave", "recall")  # scenes in which a word may be any word
SHARE = 0.4
MEANINGS = frozenset(CLASSES) | {"eat", "spanish", "german", "french"}
KNOWN = frozenset(NUMBERS) | {"one", "zero"}


@cache
def _spellings() -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Pieces of letters that begin a word, and those that go on with one."""
    pieces = PieceTokenizer.load()
    plain = [p for p in range(len(pieces)) if pieces.piece(p).strip().isalpha() and pieces.piece(p).isascii()]
    begins = tuple(p for p in plain if pieces.piece(p).startswith(" "))
    return begins, tuple(p for p in plain if p not in begins)


def passed_on(episode: Episode) -> set[str]:
    """Words that are said back, or wait for themselves to be said again."""
    given = Counter(word.text for placed in episode.placed for word in placed.clip.words)
    given.update(word for read in episode.reads for word in read.text.split())
    if not MEANINGS.isdisjoint(given):
        return set()  # something is asked of what the word means
    said = {word for say in episode.says for word in say.text.split()}
    return {word for word, times in given.items() if word in ALL and (word in said or times > 1)} - KNOWN


def rename(batch: Batch, episodes: Sequence[Episode], rng: random.Random) -> None:
    begins, inner = _spellings()
    pieces = PieceTokenizer.load()
    carriers = (batch.setup, batch.percept.text, batch.hear, batch.say)
    for row, episode in enumerate(episodes):
        if episode.scene not in PASS_ON or rng.random() > SHARE:
            continue
        old = {piece for word in passed_on(episode) for piece in pieces.encode_word(word)}
        there = {piece for carrier in carriers for piece in carrier[row].flatten().tolist()}
        table = torch.arange(len(pieces))
        for piece in sorted(old):
            kind = begins if piece in begins else inner
            table[piece] = rng.choice([other for other in kind if other not in there])
            there.add(int(table[piece]))
        for carrier in carriers:
            carrier[row] = table[carrier[row]]

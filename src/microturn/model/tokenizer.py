"""Text pieces: byte-level BPE of 2,048 pieces, so any text can be written and read back exactly.

Piece 0 is "nothing" and never decodes to anything. Words are lower case and carry their leading space, so the
pieces of a tick can simply be joined.
"""

from __future__ import annotations

import re
from importlib.resources import files

import torch
from tokenizers import Tokenizer as _Bpe
from torch import Tensor

from microturn.model.normal import plain

VOCABULARY = 2048
NOTHING = 0

RESULT = re.compile(r'([a-z_]+(?:, [a-z_]+)*): "(.*)"')  # as the inbox hands it over

NUMBERS = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"]


class PieceTokenizer:
    def __init__(self, bpe: _Bpe) -> None:
        self._bpe = bpe
        self._pieces = ["" if i == NOTHING else bpe.decode([i]) for i in range(bpe.get_vocab_size())]

    @classmethod
    def load(cls) -> PieceTokenizer:
        return cls(_Bpe.from_str(files("microturn.model").joinpath("pieces.json").read_text("utf-8")))

    def __len__(self) -> int:
        return len(self._pieces)

    def encode(self, text: str) -> list[int]:
        ids: list[int] = self._bpe.encode(text).ids
        return ids

    def encode_word(self, word: str) -> list[int]:
        """A word with its leading space, as it stands inside a sentence."""
        return self.encode(" " + word)

    def pack(self, text: str, room: int) -> list[list[int]]:
        """Text as the positions it is read in: at most `room` pieces each, whole words wherever they fit.

        It is read as it would be said, so that to read it aloud is to copy it. Of its marks only the colon is left
        that stands behind the label of a result.
        """
        positions: list[list[int]] = []
        labelled = RESULT.fullmatch(text)
        label = plain(labelled[1]) if labelled else []
        words = [*label[:-1], *(word + ":" for word in label[-1:]), *plain(labelled[2] if labelled else text)]
        for word in words:
            pieces = self.encode_word(word)
            if positions and len(positions[-1]) + len(pieces) <= room:
                positions[-1] += pieces
            else:
                positions += [pieces[i : i + room] for i in range(0, len(pieces), room)]
        return positions

    def decode(self, pieces: list[int]) -> str:
        text: str = self._bpe.decode([p for p in pieces if p != NOTHING])
        return text

    def split(self, pieces: list[int]) -> tuple[list[int], list[int]]:
        """What still belongs to a word begun earlier, and the rest."""
        first = next((i for i, p in enumerate(pieces) if self._pieces[p].startswith(" ")), len(pieces))
        return pieces[:first], pieces[first:]

    def piece(self, piece: int) -> str:
        return self._pieces[piece]

    def numbers(self, count: int) -> dict[int, int]:
        """Number words by their value: the piece with which each begins, if it is of the first `count`.

        Teens begin like their units and are left out.
        """
        begun = {value: self.encode_word(word)[0] for value, word in enumerate(NUMBERS, 1)}
        return {value: piece for value, piece in begun.items() if piece < count}

    def begins(self, count: int) -> Tensor:
        """Which of the first `count` pieces begin a word."""
        first = [piece.startswith(" ") for piece in self._pieces[:count]]
        return torch.tensor(first + [False] * (count - len(first)))

"""A second, tiny interaction model: a leaky memory of what it heard, saw and read, in numpy.

It proves the seam (the engine knows nothing of networks) and makes every difference in input, order or state
visible in its actions: its words and sounds are hashes of everything that ever happened in the session.
"""

from __future__ import annotations

import hashlib
import struct

import numpy as np

from microturn.streams import (
    Channel,
    Decision,
    InteractionModel,
    Ints,
    ModelSpec,
    TickInput,
    TickOutput,
    Tokenizer,
)

POISON = 0.625  # a first sample with this value makes a step raise
READ = 3
_STATE = struct.Struct("<4sqq32s")


class ByteTokenizer:
    """Piece = byte + 1."""

    def encode(self, text: str) -> list[int]:
        return [byte + 1 for byte in text.encode()]

    def pack(self, text: str, room: int) -> list[list[int]]:
        pieces = self.encode(text)
        return [pieces[i : i + room] for i in range(0, len(pieces), room)]

    def decode(self, pieces: list[int]) -> str:
        return bytes(piece - 1 for piece in pieces if piece).decode(errors="replace")

    def piece(self, piece: int) -> str:
        return self.decode([piece])


class EchoModel(InteractionModel):
    def __init__(self, batch_sizes: tuple[int, ...] = (2, 4, 8)) -> None:
        self._spec = ModelSpec("echo", (4, 6), READ, 2, 2, batch_sizes)
        self._tokenizer = ByteTokenizer()
        self._outputs = {size: TickOutput.empty(size, self._spec) for size in batch_sizes}
        self.batches: list[list[int]] = []  # slots of every step so far
        self.resets: list[int] = []

    @property
    def spec(self) -> ModelSpec:
        return self._spec

    @property
    def tokenizer(self) -> Tokenizer:
        return self._tokenizer

    def allocate(self, slots: int) -> None:
        self._ticks = np.zeros(slots, np.int64)
        self._seeds = np.zeros(slots, np.int64)
        self._memory = [b"\0" * 32] * slots

    def reset(self, slot: int, seed: int = 0, voice: str = "") -> None:
        self._ticks[slot], self._seeds[slot], self._memory[slot] = 0, seed, b"\0" * 32
        self.resets.append(slot)

    def read(self, slot: int, text: str, channel: Channel) -> None:
        self._remember(slot, text.encode(), bytes([channel]))

    def step(self, slots: Ints, batch: TickInput) -> TickOutput:
        assert len(slots) in self._outputs
        assert len(batch.audio) == len(slots)
        self.batches.append([int(slot) for slot in slots if slot >= 0])
        output = self._outputs[len(slots)]
        for row, slot in enumerate(slots.tolist()):
            if slot < 0:
                assert not (batch.has_audio[row])
                assert not (batch.has_frame[row])
                assert not (batch.text[row].any())
                continue
            if batch.audio[row, 0] == POISON:
                raise ArithmeticError("poisoned")
            self._remember(
                slot,
                batch.audio[row].tobytes() if batch.has_audio[row] else b"nothing",
                batch.frame[row].tobytes() if batch.has_frame[row] else b"dark",
                batch.text[row].tobytes(),
                batch.channel[row].tobytes(),
                batch.cancelled[row].tobytes(),
                batch.eagerness[row].tobytes(),
            )
            self._answer(output, row, slot)
        return output

    def _answer(self, output: TickOutput, row: int, slot: int) -> None:
        self._ticks[slot] += 1
        digest = np.frombuffer(self._memory[slot], np.uint8)
        output.decision[row] = digest[0] % len(Decision)
        output.odds[row] = digest[1:5] / np.float32(255)
        output.say[row] = digest[5:7] % 40
        output.hear[row] = digest[7:9] % 40
        output.voiced[row] = digest[9] % 2
        output.speech[row] = digest[10] / np.float32(255)

    def _remember(self, slot: int, *what: bytes) -> None:
        seed = int(self._seeds[slot]).to_bytes(8, "little")
        self._memory[slot] = hashlib.sha256(b"|".join((self._memory[slot], seed, *what))).digest()

    def snapshot(self, slot: int) -> bytes:
        return _STATE.pack(b"echo", self._ticks[slot], self._seeds[slot], self._memory[slot])

    def restore(self, slot: int, data: bytes) -> None:
        if len(data) != _STATE.size or data[:4] != b"echo":
            raise ValueError("these bytes are not an echo model's")
        _, self._ticks[slot], self._seeds[slot], self._memory[slot] = _STATE.unpack(data)

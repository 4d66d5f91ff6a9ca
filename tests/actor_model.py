"""An interaction model that acts a fixed part: what it says and hears can be looked for in a client."""

from __future__ import annotations

import numpy as np

from echo_model import ByteTokenizer, EchoModel
from microturn.streams import Decision, Ints, ModelSpec, TickInput, TickOutput


class Words(ByteTokenizer):
    SAID = ("", " breathe", " in", " hello", " there")

    def decode(self, pieces: list[int]) -> str:
        return "".join(self.SAID[piece] for piece in pieces)


class Actor(EchoModel):
    """Every four seconds: says “breathe in” with a tone, delegates, hears “hello there”. Keeps what it perceived."""

    def __init__(self) -> None:
        super().__init__()
        self._spec = ModelSpec("actor", (120, 160), 3, 2, 2, (2, 4, 8))
        self._tokenizer = Words()
        self._outputs = {size: TickOutput.empty(size, self._spec) for size in self._spec.batch_sizes}
        self.loudest, self.brightest = 0.0, 0
        self.pitch = 0.0  # Hz, of the loudest tick
        self.pieces: list[int] = []  # that it read, tick by tick

    def step(self, slots: Ints, batch: TickInput) -> TickOutput:
        output = super().step(slots, batch)
        for tick in batch.audio:
            if (loud := float(np.abs(tick).max())) > self.loudest:
                self.loudest, self.pitch = loud, 5.0 * float(np.abs(np.fft.rfft(tick)).argmax())
        self.brightest = max(self.brightest, int(batch.frame.max()))
        self.pieces += [int(piece) for piece in batch.text[batch.text > 0]]
        tone = 0.2 * np.sin(np.arange(output.speech.shape[1]) * (2 * np.pi * 240 / 24_000))
        for row, slot in enumerate(slots.tolist()):
            place = int(self._ticks[slot]) % 20
            output.decision[row] = {11: Decision.DELEGATE}.get(
                place, Decision.SPEAK if 2 <= place < 8 else Decision.LISTEN
            )
            output.say[row] = (1, 2) if place == 2 else (0, 0)
            output.hear[row] = (3, 4) if place == 14 else (0, 0)
            output.speech[row] = tone * (4 <= place < 7)
            output.voiced[row] = 4 <= place < 7
        return output

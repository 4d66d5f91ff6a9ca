"""The records that pass between rooms: what came in one tick, what the model did with it.

`Perception` and `Action` are one session's view and what everybody outside the engine sees. `TickInput` and
`TickOutput` are the same things for many sessions at once, as the arrays that the engine hands to a model.
`InteractionModel` is the seam: anything that steps a batch of slots can be driven by the engine.

Shape suffixes: B sessions in this step, R pieces read a tick, T pieces a tick said or heard.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from microturn.clock import HEAR_SAMPLES, SPEAK_SAMPLES

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]
Bytes = NDArray[np.uint8]
Flags = NDArray[np.bool_]


LEAD_TICKS = 2  # a piece said by step k is played in tick k + LEAD_TICKS: words lead their sound


class Decision(IntEnum):
    """What the model decided in one tick. The network's own output, never derived from anything else."""

    LISTEN = 0  # say nothing; whatever was left to say is dropped
    SPEAK = 1  # hold the floor: text pieces and speech flow
    DELEGATE = 2  # hand the conversation to the background model
    CANCEL = 3  # take back the work that was handed over


class Channel(IntEnum):
    """Where text that the model reads came from."""

    TYPED = 0
    INSTRUCTIONS = 1
    BACKGROUND = 2
    HISTORY = 3


@dataclass(frozen=True)
class TextIn:
    text: str
    channel: Channel


@dataclass(frozen=True)
class Perception:
    """What arrived in one tick. `None` is a value of its own: nothing came."""

    audio: Floats | None = None  # [3200] at 16 kHz in −1…1
    frame: Bytes | None = None  # [height, width, 3] RGB in the model's frame size
    text: tuple[TextIn, ...] = ()
    cancelled: bool = False  # the listener never got the last action


@dataclass(frozen=True)
class Action:
    """What the model did with one tick. Speech is played, and text counts as said, from `say_tick` on."""

    tick: int
    decision: Decision
    say: tuple[str, ...] = ()  # text pieces said
    hear: tuple[str, ...] = ()  # transcript pieces of what the user said
    speech: Floats | None = None  # [4800] at 24 kHz; None is exact silence
    odds: tuple[float, ...] = ()  # probability of each decision
    missed: bool = False  # nothing came from the microphone in this tick


@dataclass
class TickInput:
    """One tick for B sessions. Preallocated by the engine and reused; a model must not keep references."""

    audio: Floats  # [B, 3200]
    has_audio: Flags  # [B]
    frame: Bytes  # [B, H, W, 3]
    has_frame: Flags  # [B]
    text: Ints  # [B, R] piece ids, 0 = none
    channel: Ints  # [B, R] Channel of each piece
    cancelled: Flags  # [B]
    eagerness: Floats  # [B] added to the log-odds of speaking

    @classmethod
    def empty(cls, batch: int, spec: ModelSpec) -> TickInput:
        height, width = spec.frame_size
        return cls(
            audio=np.zeros((batch, HEAR_SAMPLES), np.float32),
            has_audio=np.zeros(batch, np.bool_),
            frame=np.zeros((batch, height, width, 3), np.uint8),
            has_frame=np.zeros(batch, np.bool_),
            text=np.zeros((batch, spec.read_pieces), np.int64),
            channel=np.zeros((batch, spec.read_pieces), np.int64),
            cancelled=np.zeros(batch, np.bool_),
            eagerness=np.zeros(batch, np.float32),
        )


@dataclass
class TickOutput:
    """What B sessions did in one tick. Owned by the model and overwritten by its next step."""

    decision: Ints  # [B]
    odds: Floats  # [B, 4]
    say: Ints  # [B, T] piece ids, 0 = none
    hear: Ints  # [B, T]
    speech: Floats  # [B, 4800]
    voiced: Flags  # [B] whether speech is anything but silence

    @classmethod
    def empty(cls, batch: int, spec: ModelSpec) -> TickOutput:
        return cls(
            decision=np.zeros(batch, np.int64),
            odds=np.zeros((batch, len(Decision)), np.float32),
            say=np.zeros((batch, spec.say_pieces), np.int64),
            hear=np.zeros((batch, spec.say_pieces), np.int64),
            speech=np.zeros((batch, SPEAK_SAMPLES), np.float32),
            voiced=np.zeros(batch, np.bool_),
        )


@dataclass(frozen=True)
class ModelSpec:
    """What the engine must know about a model."""

    name: str
    frame_size: tuple[int, int]  # height, width of the frames it sees
    read_pieces: int  # R: text pieces read a tick
    say_pieces: int  # T: text pieces said, or heard, a tick
    lead_ticks: int  # a piece said by step k is played in tick k + lead_ticks
    # the row counts that step() accepts, ascending: fine steps, because padding rows cost what real ones do
    batch_sizes: tuple[int, ...] = (1, 2, 4, 8, 12, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128)
    voices: tuple[str, ...] = ()  # that a session can speak with, the usual one first


def joined(ticks: Iterable[Floats | None], samples: int = SPEAK_SAMPLES) -> Floats:
    """The sound of ticks of so many samples one after another; None is silence."""
    silence = np.zeros(samples, np.float32)
    return np.concatenate([silence[:0], *(silence if tick is None else tick for tick in ticks)])


class Tokenizer(Protocol):
    def encode(self, text: str) -> list[int]: ...

    def pack(self, text: str, room: int) -> list[list[int]]:
        """Text as the positions or ticks it is read in: at most `room` pieces each, words kept whole."""

    def decode(self, pieces: list[int]) -> str: ...

    def piece(self, piece: int) -> str: ...


class InteractionModel(Protocol):
    """Many sessions, one step. State lives in fixed slots inside the model; slot numbers name it.

    `step` takes exactly one of `spec.batch_sizes` rows. Row i advances slot `slots[i]`; a row whose slot is −1
    is padding. A slot's outputs are bit-identical whatever the other rows hold and whichever size is used.
    """

    @property
    def spec(self) -> ModelSpec: ...

    @property
    def tokenizer(self) -> Tokenizer: ...

    def allocate(self, slots: int) -> None: ...

    def reset(self, slot: int, seed: int = 0, voice: str = "") -> None:
        """`voice` is one of `spec.voices`, or empty for the usual one."""

    def read(self, slot: int, text: str, channel: Channel) -> None:
        """Read text at opening, in set-up positions that take no wall time."""

    def step(self, slots: Ints, batch: TickInput) -> TickOutput: ...

    def snapshot(self, slot: int) -> bytes: ...

    def restore(self, slot: int, data: bytes) -> None:
        """Raises ValueError, in one line, when the bytes belong to another model or version."""

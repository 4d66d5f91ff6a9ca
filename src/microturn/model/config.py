"""The shapes of the model: `nano` ships in the package, `base` wants a GPU, the third is TML-Interaction-Small's.

A config is all that is needed to build a model; it travels inside every checkpoint.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields, replace
from importlib.resources import files
from pathlib import Path

from microturn.streams import LEAD_TICKS

FORMAT = 1  # of checkpoints; raised when weights of an older format can no longer be read


@dataclass(frozen=True)
class ModelConfig:
    name: str
    # backbone
    d_model: int = 384
    layers: int = 8
    heads: int = 6
    kv_heads: int = 2
    head_dim: int = 64
    rotary_dim: int = 32  # of head_dim; the rest carries content and is what memory keeps
    rotary_base: float = 1000.0  # wavelengths from 6 ticks to about 20 minutes
    ff: int = 1024  # dense feed-forward width, or the width of one expert
    experts: int = 0  # 0 = dense
    experts_active: int = 0
    experts_shared: int = 0
    # attention span
    window: int = 256  # ticks seen exactly (51 s)
    group: int = 16  # ticks that leave the window together and become one memory entry
    memory_levels: int = 12
    memory_per_level: int = 6  # entries a level holds before its two oldest merge into the next level
    recall: int = 1024  # ticks with words that can be said again; 0 = none
    hears: int = 4  # block after which the words of a tick are spelled; the blocks behind it know them
    associate: tuple[int, ...] = (4, 6)  # blocks after which words are associated, see model/association.py
    words: int = 512  # the last so many words can be associated
    pinned: int = 96  # set-up and instruction positions kept for ever
    # senses
    mel_levels: int = 16
    ear_dim: int = 192
    ear_blocks: int = 7
    ear_kernel: int = 5
    syllable_dim: int = 320  # 40 ms frames
    syllable_blocks: int = 12
    syllable_kernel: int = 7
    word_dim: int = 256  # of what a syllable tells about the word that ends with it
    frame: tuple[int, int] = (120, 160)  # height, width of what it sees
    eye_dim: int = 96
    eye_maps: int = 32  # that look for something in a frame
    sight_dim: int = 256  # a frame, and what moves over ticks
    sight_blocks: int = 3
    # words
    vocabulary: int = 2048
    piece_dim: int = 256
    read_pieces: int = 4  # R
    say_pieces: int = 4  # T
    lead_ticks: int = LEAD_TICKS
    # voice
    voice_dim: int = 192
    vocoder_dim: int = 224
    vocoder_blocks: int = 7
    flow_steps: int = 2  # 0: frames are averages

    def __post_init__(self) -> None:
        if self.heads % self.kv_heads:
            raise ValueError(f"config {self.name}: heads ({self.heads}) must be a multiple of kv_heads")
        if self.window % self.group:
            raise ValueError(f"config {self.name}: window ({self.window}) must be a multiple of group")
        if self.experts and not 0 < self.experts_active <= self.experts:
            raise ValueError(f"config {self.name}: experts_active must be 1…{self.experts}")
        if not 0 <= self.hears <= min(self.associate, default=self.layers - 1) < self.layers:
            raise ValueError(
                f"config {self.name}: words are heard after a block, and associated then or later"
            )

    @property
    def frame_size(self) -> tuple[int, int]:
        return self.frame

    @property
    def memory(self) -> int:
        """Memory entries a session can hold."""
        return self.memory_levels * self.memory_per_level

    @property
    def ring(self) -> int:
        """Window places a session holds: the window and the group that is about to leave it."""
        return self.window + self.group

    @property
    def keys(self) -> int:
        """Places that a query can see: [pinned | memory | a few that stay empty | window].

        The attention of torch 2.13 on a CPU gives every thread a buffer of keys + 2 + head_dim numbers, and its sums
        come out differently in buffers that do not begin at 64 bytes. So a row would depend on the thread it falls
        to, and that on the other rows: the empty places make buffers whole. (Beyond 512 keys it takes them in turns,
        and nothing here helps.)
        """
        beside = 2 + self.head_dim
        return -(-(self.pinned + self.memory + self.ring + beside) // 16) * 16 - beside

    def to_json(self) -> str:
        return json.dumps({"format": FORMAT, **asdict(self)}, indent=1)

    @classmethod
    def from_json(cls, text: str) -> ModelConfig:
        try:
            raw = json.loads(text)
        except json.JSONDecodeError as error:
            raise ValueError(f"model config is not JSON: {error}") from None
        if raw.pop("format", None) != FORMAT:
            raise ValueError(f"model config is of another format; this version reads format {FORMAT}")
        known = {f.name for f in fields(cls)}
        if unknown := sorted(set(raw) - known):
            raise ValueError(f"model config has unknown fields: {', '.join(unknown)}")
        if "name" not in raw:
            raise ValueError("model config has no name")
        raw["frame"] = tuple(raw.get("frame", cls.frame))
        raw["associate"] = tuple(raw.get("associate", ()))
        return cls(**raw)


NANO = ModelConfig("nano")


def packaged(name: str) -> ModelConfig:
    """One of `configs/`."""
    return ModelConfig.from_json(
        files("microturn.model").joinpath("configs", f"{name}.json").read_text("utf-8")
    )


# The published totals of the last one are 276 B parameters with 12 B active; everything else about its shape is our
# reading.
CONFIGS = {c.name: c for c in (NANO, packaged("base"), packaged("tml-interaction-small"))}


def find_config(name: str) -> ModelConfig:
    """A built-in config by name, or one from a JSON file."""
    if name in CONFIGS:
        return CONFIGS[name]
    path = Path(name)
    if path.is_file():
        return ModelConfig.from_json(path.read_text("utf-8"))
    raise ValueError(f"no config named {name!r}: use {', '.join(CONFIGS)} or a JSON file")


def tiny(**changes: object) -> ModelConfig:
    """A model small enough for a property test to cross every boundary in a second."""
    return replace(packaged("tiny"), **changes)  # type: ignore[arg-type]

"""The interaction model as a module: one tick in, one position, one tick out.

`forward` runs whole episodes in parallel for training, `tick` one tick of many sessions with a state; they share
every weight and agree to 1e-5. What the model itself did in the previous tick (what it said, what it heard, what
it decided, how it sounded) is part of what it perceives in this one. The words of a tick are spelled half-way up, so
that the blocks behind know them by name in the very tick in which they end.

Shape suffixes: B episodes or rows, S set-up positions, N ticks, R pieces read, T pieces said or heard, D width.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from microturn.model.association import Associations, AssociationState, Words
from microturn.model.backbone import After, Backbone
from microturn.model.config import ModelConfig
from microturn.model.eyes import Eyes, Seen, Sights
from microturn.model.heads import DepthDecoder, Lexis
from microturn.model.layers import RMSNorm, SwiGLU
from microturn.model.phonemes import SOUNDS
from microturn.model.recall import Recall
from microturn.model.senses import PAIR, Ears, Heard, Pieces
from microturn.model.speech import FRAMES, SpeechConfig, SpeechHead
from microturn.model.vocoder import CHANNELS
from microturn.streams import Channel, Decision

PATCH = FRAMES * CHANNELS  # of speech in a tick: 16 × (80 mel, log-F0, voicing)
VOICE = "voice."  # weights whose names begin so are the mouth
LESSONS = ("sounds.", "lexis.", "sights.")  # and so, what only learning needs: released weights go without
NO_DECISION = len(Decision)  # before the first tick
CANCELLED = len(Decision) + 1  # the last action never reached its listener


@dataclass
class Percept:
    """What the world brought, for [B, N] ticks."""

    levels: Tensor  # [B, N, FRAMES, BINS] dMel levels; [1, …] if all hear the same
    has_audio: Tensor  # [B, N]
    frames: Tensor  # [M, H, W, 3] those that came, in row order, or one for every tick; see Eyes.look
    has_frame: Tensor  # [B, N]
    text: Tensor  # [B, N, R]
    channel: Tensor  # [B, N, R]

    def keep(self) -> Tensor:
        """Ticks that read instructions stay for ever. [B, N]"""
        return ((self.text != 0) & (self.channel == Channel.INSTRUCTIONS)).any(-1)


@dataclass
class Own:
    """What the model itself did in the tick before, for [B, N] ticks."""

    said: Tensor  # [B, N, T]
    heard: Tensor  # [B, N, T]
    decided: Tensor  # [B, N] Decision, NO_DECISION or CANCELLED
    sounded: Tensor | None  # [B, N, PATCH]; None = silence throughout


@dataclass
class Studied:
    hidden: Tensor  # [B, S+N, D] of set-up and ticks
    listening: Tensor  # [B, N, D] from which the words of each tick are spelled
    sound: Heard  # by the ears
    sight: Seen | None  # by the eyes


class Network(nn.Module):
    def __init__(self, c: ModelConfig) -> None:
        super().__init__()
        self.c = c
        self.pieces = nn.Embedding(c.vocabulary, c.piece_dim)
        self.ears = Ears(c)
        self.eyes = Eyes(c)
        self.no_frame = nn.Parameter(torch.zeros(c.d_model))
        self.no_text = nn.Parameter(torch.zeros(c.d_model))
        self.reads = Pieces(c, self.pieces, c.read_pieces, len(Channel))
        self.said = Pieces(c, self.pieces, c.say_pieces)
        self.heard = Pieces(c, self.pieces, c.say_pieces)
        self.hearing_norm = RMSNorm(c.d_model)
        self.hears = Pieces(c, self.pieces, c.say_pieces)
        self.decided = nn.Embedding(len(Decision) + 2, c.d_model)
        self.sounded = nn.Linear(PATCH, c.d_model, bias=False)
        self.order = nn.Embedding(c.pinned, c.d_model)  # of set-up positions, which have no time
        self.mix_norm = RMSNorm(c.d_model)
        self.mix = SwiGLU(c.d_model, c.d_model)
        self.backbone = Backbone(c)
        self.associations = Associations(c, self.pieces) if c.associate else None
        self.sounds = nn.Linear(c.syllable_dim, PAIR * len(SOUNDS))  # only lessons use these three
        self.lexis = Lexis(c.syllable_dim, len(SOUNDS))
        self.sights = Sights(c)
        self.decision = nn.Linear(c.d_model, len(Decision))
        self.say = DepthDecoder(c, self.pieces)
        self.recall = Recall(c, self.pieces) if c.recall else None
        self.hear = DepthDecoder(c, self.pieces)
        self.voice = SpeechHead(
            SpeechConfig(
                width=c.voice_dim,
                flow_width=2 * c.voice_dim,
                flow_steps=c.flow_steps,
                vocoder_width=c.vocoder_dim,
                vocoder_blocks=c.vocoder_blocks,
            ),
            c.d_model,
        )
        if self.order.weight.device.type != "meta":
            self._start()

    def _start(self) -> None:
        nn.init.normal_(self.pieces.weight, std=self.c.piece_dim**-0.5)
        nn.init.normal_(self.decided.weight, std=0.1)
        nn.init.normal_(self.order.weight, std=0.1)
        for name, weight in self.named_parameters():
            if name.endswith(("attention.out.weight", "ff.down.weight")):
                nn.init.normal_(weight, std=weight.shape[1] ** -0.5 * (2 * self.c.layers) ** -0.5)

    def sense(self, p: Percept, ears_past: Tensor, eyes_past: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What the world brought in [B, N] ticks → [B, N, D], and what ears and eyes carry on."""
        heard, ears = self.ears(p.levels, p.has_audio[: len(p.levels)], ears_past[: len(p.levels)])
        seen, eyes = self.eyes(p.frames, p.has_frame, eyes_past)
        return self._sense(p, heard, seen), ears, eyes

    def sense_all(self, p: Percept) -> tuple[Tensor, Heard, Seen | None]:
        """The same for episodes from their beginning on."""
        heard, _ = self.ears(p.levels, p.has_audio[: len(p.levels)], self.ears.past(len(p.levels)))
        seen, sight = self.eyes.study(p.frames, p.has_frame) if len(p.frames) else (None, None)
        return self._sense(p, heard, seen), heard, sight

    def _sense(self, p: Percept, heard: Heard, seen: Tensor | None) -> Tensor:
        """`seen`: None if no tick has a frame; then nothing is learned by way of the eyes either."""
        x = self.ears.fold(heard).expand(len(p.has_audio), -1, -1)
        if seen is None:
            x = x + self.no_frame
        else:
            x = x + torch.where(p.has_frame[..., None], self.eyes.out(seen), self.no_frame)
        reading = (p.text != 0).any(-1, keepdim=True)
        return x + torch.where(reading, self.reads(p.text, p.channel), self.no_text)

    def compose(self, sensed: Tensor, own: Own) -> Tensor:
        """What the world brought and what the model did in the tick before → x [B, N, D]."""
        x = sensed + self.said(own.said) + self.heard(own.heard) + self.decided(own.decided)
        if own.sounded is not None:
            x = x + self.sounded(own.sounded)
        mixed: Tensor = x + self.mix(self.mix_norm(x))
        return mixed

    def set_up(self, text: Tensor, channel: Tensor, first: int = 0) -> Tensor:
        """Pieces [B, S, R] read before time begins → x [B, S, D]."""
        order = torch.arange(first, first + text.shape[1], device=text.device)
        x = self.reads(text, channel) + self.order(order.clamp_max(self.c.pinned - 1))
        mixed: Tensor = x + self.mix(self.mix_norm(x))
        return mixed

    def forward(self, setup: Tensor, setup_channel: Tensor, p: Percept, own: Own, heard: Tensor) -> Tensor:
        """Hidden states of the ticks [B, N, D]. `heard` [B, N, T] are the words of each tick itself."""
        return self.study(setup, setup_channel, p, own, heard).hidden[:, setup.shape[1] :]

    def study(self, setup: Tensor, setup_channel: Tensor, p: Percept, own: Own, heard: Tensor) -> Studied:
        """Ticks behind set-up pieces [B, S, R], which take no time."""
        sensed, sound, sight = self.sense_all(p)
        x = self.compose(sensed, own)
        if setup.shape[1]:
            x = torch.cat([self.set_up(setup, setup_channel), x], 1)
        known = Known(self, Words.of(setup, heard, own.said, p.text), heard, own.said)
        hidden = self.backbone(x, (setup != 0).any(-1), p.keep(), known)
        return Studied(hidden, known.listening, sound, sight)


@dataclass
class Known:
    """Whole episodes: the words of each tick are known from block `hears` on."""

    network: Network
    words: Words
    heard: Tensor  # [B, N, T]
    said: Tensor  # [B, N, T] in the tick before

    def __post_init__(self) -> None:
        network = self.network
        self.listening = self.heard.new_zeros(0)
        self.brought = (
            network.associations.over(self.words, self.heard, self.said) if network.associations else None
        )

    def __call__(self, block: int, x: Tensor) -> Tensor:
        s = self.words.setup
        if block == self.network.c.hears:
            self.listening = self.network.hearing_norm(x[:, s:])
            x = torch.cat([x[:, :s], x[:, s:] + self.network.hears(self.heard)], 1)
        return self.brought(block, x) if self.brought else x


@dataclass
class Live:
    """One tick: its words are spelled after block `hears`."""

    network: Network
    state: AssociationState | None
    slots: Tensor
    tick: Tensor
    said: Tensor  # [B, T] in the tick before
    before: Tensor  # [B, T] what was heard in the tick before
    text: Tensor  # [B, R]
    given: tuple[Tensor, Tensor] | None = None  # in which rows what is heard
    static: bool = False
    heard: Tensor = field(init=False)  # [B, T], once it was spelled
    brought: After | None = field(init=False, default=None)

    def __call__(self, block: int, x: Tensor) -> Tensor:
        """x [B, 1, D]"""
        network = self.network
        if block == network.c.hears:
            every = torch.ones_like(self.slots, dtype=torch.bool)
            self.heard = network.hear.spell(
                network.hearing_norm(x[:, 0]), every, self.static, before=self.before
            )
            if self.given:
                told, words = self.given
                self.heard = torch.where(told, words, self.heard)
            x = x + network.hears(self.heard)[:, None]
            if network.associations and self.state:
                came = self.heard, self.said, self.text
                self.brought = network.associations.during(
                    self.state, self.slots, self.tick, came, self.static
                )
        return self.brought(block, x) if self.brought else x

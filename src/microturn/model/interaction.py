"""Many sessions of one network: fixed slots, one step for all that are due. Implements `InteractionModel`.

Everything a session is lives in slot-indexed tensors (`Slots`), allocated once. A step is: turn the batch's samples
into levels, compose x, one backbone step, decide, spell, sound, remember what was done. Greedy throughout, so a
session is a function of its perceptions, its seed and its weights.

Shape suffixes: S slots (the last one is scratch, for padding rows), B rows of a step, T pieces.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from microturn.clock import SPEAK_SAMPLES
from microturn.model.association import AssociationState
from microturn.model.backbone import BackboneState
from microturn.model.config import ModelConfig
from microturn.model.ears import CONTEXT, FRAMES, PowerMel, to_levels
from microturn.model.network import CANCELLED, LESSONS, NO_DECISION, VOICE, Live, Network, Own, Percept
from microturn.model.packed import can_pack, pack
from microturn.model.phonemes import to_phonemes
from microturn.model.recall import RecallState
from microturn.model.replay import Replay
from microturn.model.speech import SpeechConfig, SpeechHead, SpeechState
from microturn.model.tokenizer import PieceTokenizer
from microturn.streams import Channel, Decision, Ints, ModelSpec, TickInput, TickOutput

SNAPSHOT_FORMAT = 8
OWN = "own"  # the name of a voice that has none
PHONEMES_A_PIECE = 12
MEMORIES = ("names", "keys", "values", "spans")  # of associations: the axis of slots comes second


@dataclass
class Slots:
    """What a session carries from tick to tick beside the backbone's memory."""

    samples: Tensor  # [S, CONTEXT] the last samples heard: the first frame of a tick needs them
    ears: Tensor  # [S, numbers that the ears carry on]
    eyes: Tensor  # [S, numbers that the eyes carry on]
    said: Tensor  # [S, T] what it said, heard and decided in the last tick
    heard: Tensor  # [S, T]
    decided: Tensor  # [S]
    voice: Tensor  # [S] which of the voices it speaks with


class Interaction:
    """The embedded interaction model behind the engine's seam."""

    def __init__(
        self,
        network: Network,
        tokenizer: PieceTokenizer,
        device: str = "cpu",
        static: bool | None = None,
        voice: str = OWN,
        others: Mapping[str, SpeechHead] | None = None,
    ) -> None:
        """`static`: the path that CUDA graphs capture. `voice`: the name of the network's own; without one it keeps
        silent. `others`: more voices that a session can speak with.
        """
        self.voiced = bool(voice)
        if self.voiced:
            to_phonemes("a")  # a lexicon is read now, not in the first tick with a word
        self.static = device != "cpu" if static is None else static
        self._replays: dict[int, Replay] = {}
        self.network = network.to(device).eval().requires_grad_(False)
        self.config: ModelConfig = network.c
        self._fingerprint = fingerprint(network, self.voiced)
        mouths = {voice: network.voice, **(others or {})} if voice else {}
        if odd := [name for name, mouth in mouths.items() if shape(mouth) != shape(network.voice)]:
            raise ValueError(f"voice {odd[0]} does not fit this model: its shape is another")
        self._mouths = [mouth.to(device).eval().requires_grad_(False) for mouth in mouths.values()]
        sizes = ModelSpec.batch_sizes[2:]  # plain kernels round differently below four rows
        if device == "cpu" and can_pack():
            sizes = ModelSpec.batch_sizes
            pack(network)
            network.say.pack_table()
            network.hear.pack_table()
            for mouth in self._mouths:
                pack(mouth)
                mouth.rows_multiple = 1
        self._tokenizer = tokenizer
        self.device = torch.device(device)
        self._power = PowerMel().to(device)
        c = network.c
        self._spec = ModelSpec(
            c.name, c.frame_size, c.read_pieces, c.say_pieces, c.lead_ticks, sizes, tuple(mouths)
        )
        self._outputs = {b: TickOutput.empty(b, self._spec) for b in self._spec.batch_sizes}
        self.slots: Slots
        self.backbone: BackboneState
        self.speech: SpeechState
        self.recall: RecallState
        self.associations: AssociationState

    @property
    def spec(self) -> ModelSpec:
        return self._spec

    @property
    def tokenizer(self) -> PieceTokenizer:
        return self._tokenizer

    def allocate(self, slots: int) -> None:
        c, s = self.config, slots + 1

        def zeros(*size: int, dtype: torch.dtype = torch.float32) -> Tensor:
            return torch.zeros(*size, dtype=dtype, device=self.device)

        self.slots = Slots(
            samples=zeros(s, CONTEXT),
            ears=zeros(s, self.network.ears.size),
            eyes=zeros(s, self.network.eyes.size),
            said=zeros(s, c.say_pieces, dtype=torch.long),
            heard=zeros(s, c.say_pieces, dtype=torch.long),
            decided=torch.full((s,), NO_DECISION, device=self.device),
            voice=zeros(s, dtype=torch.long),
        )
        self.backbone = self.network.backbone.allocate(slots)
        self.speech = self.network.voice.allocate(slots)
        if self.network.recall:
            self.recall = self.network.recall.allocate(s)
        if self.network.associations:
            self.associations = self.network.associations.allocate(s)
        self._replays.clear()

    def _parts(self) -> list[tuple[str, Tensor, int]]:
        """Every tensor of the state: name, tensor, which axis counts slots."""
        own = [(f.name, getattr(self.slots, f.name), 0) for f in fields(Slots)]
        deep = [
            ("backbone." + f.name, getattr(self.backbone, f.name), int(f.name in ("k", "v", "weight")))
            for f in fields(BackboneState)
        ]
        voice = [("voice." + name, tensor, 0) for name, tensor in self.speech.tensors()]
        if self.network.recall:
            deep += [("recall." + f.name, getattr(self.recall, f.name), 0) for f in fields(RecallState)]
        if self.network.associations:
            deep += [
                ("associations." + f.name, getattr(self.associations, f.name), int(f.name in MEMORIES))
                for f in fields(AssociationState)
            ]
        return own + deep + (voice if self.voiced else [])

    def reset(self, slot: int, seed: int = 0, voice: str = "") -> None:
        for _, tensor, axis in self._parts():
            tensor.select(axis, slot).zero_()
        self.slots.decided[slot] = NO_DECISION
        self.slots.voice[slot] = self._spec.voices.index(voice) if voice else 0
        self.speech.reset(slot, seed)

    @torch.inference_mode()
    def read(self, slot: int, text: str, channel: Channel) -> None:
        room = self.config.read_pieces
        packed = self._tokenizer.pack(text, room)
        if not packed:
            return
        pieces = torch.tensor([p + [0] * (room - len(p)) for p in packed], device=self.device)
        first = int(self.backbone.pinned[slot])
        x = self.network.set_up(pieces[None], torch.full_like(pieces, channel)[None], first)
        words = self.network.associations
        after = words.opening(self.associations, slot, pieces) if words else None
        hidden = self.network.backbone.read(self.backbone, slot, x[0], after)
        if self.network.recall:
            self.network.recall.pin(self.recall, slot, hidden, pieces)

    @torch.inference_mode()
    def step(self, slots: Ints, batch: TickInput) -> TickOutput:
        out = self._outputs[len(slots)]
        inputs = self._inputs(slots, batch)
        self.network.backbone.leave(self.backbone, inputs[0])
        before = torch.where(inputs[7][:, None], 0, self.slots.said[inputs[0]])
        run = self._replay(inputs) if self.static else self._core
        decision, odds, said, heard, hidden = run(*inputs)
        out.decision[:] = decision.numpy(force=True)
        out.odds[:] = odds.numpy(force=True)
        out.say[:] = said.numpy(force=True)
        out.hear[:] = heard.numpy(force=True)
        if self.voiced:
            # What was said a step ago sounds from now on: text leads sound by lead_ticks.
            phonemes, counts = self._phonemes(before.numpy(force=True), out.say)
            given = (inputs[0], hidden, decision, phonemes.to(self.device), counts.to(self.device))
            speech, sounding = self._sound(*given)
            out.speech[:] = speech.numpy(force=True)
            out.voiced[:] = sounding.numpy(force=True)
        return out

    def _sound(self, index: Tensor, *given: Tensor) -> tuple[Tensor, Tensor]:
        """Each row by its own voice."""
        if len(self._mouths) == 1:
            return self._mouths[0].step(self.speech, index, *given)
        speech = given[0].new_zeros(len(index), SPEAK_SAMPLES)
        sounding = torch.zeros(len(index), dtype=torch.bool, device=self.device)
        chosen = self.slots.voice[index]
        for number, mouth in enumerate(self._mouths):
            rows = (chosen == number).nonzero()[:, 0]
            if len(rows):
                speech[rows], sounding[rows] = mouth.step(self.speech, index[rows], *(x[rows] for x in given))
        return speech, sounding

    def _phonemes(self, said: Ints, then: Ints) -> tuple[Tensor, Tensor]:
        """How the pieces said in one tick are pronounced, [B, P] and how many each.

        A word that goes on in the next tick's pieces is pronounced whole in the tick in which it began.
        """
        room = PHONEMES_A_PIECE * said.shape[1]
        phonemes, counts = np.zeros((len(said), room), np.int64), np.zeros(len(said), np.int64)
        for row in np.flatnonzero(said.any(1)):
            begun, more = (self._tokenizer.split(pieces[row].tolist()) for pieces in (said, then))
            words = self._tokenizer.decode(begun[1] + more[0]).split() if begun[1] else []
            ids = [i for word in words for i in to_phonemes(word)][:room]
            phonemes[row, : len(ids)], counts[row] = ids, len(ids)
        return torch.from_numpy(phonemes), torch.from_numpy(counts)

    def _inputs(self, slots: Ints, batch: TickInput) -> tuple[Tensor, ...]:
        """The batch as tensors on the model's device; padding rows name the scratch slot."""
        index = torch.from_numpy(slots)
        index = torch.where(index < 0, len(self.slots.decided) - 1, index)
        frames = batch.frame if self.static else batch.frame[batch.has_frame]
        arrived = [batch.audio, batch.has_audio, frames, batch.has_frame, batch.text, batch.channel]
        rest = [*arrived, batch.cancelled, batch.eagerness]
        return tuple(t.to(self.device) for t in (index, *(torch.from_numpy(a) for a in rest)))

    def _replay(self, inputs: tuple[Tensor, ...]) -> Replay:
        rows = len(inputs[0])
        if rows not in self._replays:
            idle = tuple(torch.zeros_like(t) for t in inputs)
            idle[0].fill_(len(self.slots.decided) - 1)
            self._replays[rows] = Replay(self._core, idle, capture=self.device.type == "cuda")
        return self._replays[rows]

    def _core(
        self,
        index: Tensor,
        audio: Tensor,
        has_audio: Tensor,
        frames: Tensor,
        has_frame: Tensor,
        text: Tensor,
        channel: Tensor,
        cancelled: Tensor,
        eagerness: Tensor,
    ) -> tuple[Tensor, ...]:
        """The tensors of one step. On the static path no shape and no branch depends on what the rows hold."""
        s, net = self.slots, self.network
        audio = torch.where(has_audio[:, None], audio, 0)
        samples = torch.cat([s.samples[index], audio], 1)
        s.samples[index] = samples[:, -CONTEXT:]
        levels = to_levels(self._power(samples), self.config.mel_levels)
        percept = Percept(
            levels=levels.view(-1, 1, FRAMES, levels.shape[-1]),
            has_audio=has_audio[:, None],
            frames=frames,
            has_frame=has_frame[:, None],
            text=text[:, None],
            channel=channel[:, None],
        )
        own = Own(
            said=torch.where(cancelled[:, None], 0, s.said[index])[:, None],
            heard=s.heard[index][:, None],
            decided=torch.where(cancelled, CANCELLED, s.decided[index])[:, None],
            sounded=net.voice.feedback(self.speech, index)[:, None] if self.voiced else None,
        )
        sensed, s.ears[index], s.eyes[index] = net.sense(percept, s.ears[index], s.eyes[index])
        x = net.compose(sensed, own)[:, 0]
        memories = self.associations if net.associations else None
        tick = self.backbone.tick[index]
        live = Live(net, memories, index, tick, own.said[:, 0], own.heard[:, 0], text, static=self.static)
        hidden = net.backbone.step(self.backbone, index, x, percept.keep()[:, 0], self.static, live)
        heard = live.heard

        logits = net.decision(hidden)
        logits[:, Decision.SPEAK] += eagerness
        decision = logits.argmax(-1)
        speaking = decision == Decision.SPEAK
        said = net.say.spell(
            hidden,
            speaking,
            self.static,
            self._recalled(index, hidden, own.said[:, 0], heard, text, speaking),
            own.said[:, 0],
        )
        s.said[index], s.heard[index], s.decided[index] = said, heard, decision
        return decision, logits.softmax(-1), said, heard, hidden

    def _recalled(
        self, index: Tensor, hidden: Tensor, said: Tensor, heard: Tensor, text: Tensor, speaking: Tensor
    ) -> Tensor | None:
        """What each row that speaks may say again; on the static path, what each would."""
        recall = self.network.recall
        if recall is None:
            return None
        recall.remember(self.recall, index, hidden, said, heard, text)
        if self.static:
            return recall.look(self.recall, index, hidden)
        out = hidden.new_zeros(len(index), recall.room, self.config.piece_dim)
        rows = speaking.nonzero()[:, 0]
        if len(rows):
            out[rows] = recall.look(self.recall, index[rows], hidden[rows])
        return out

    # ---- snapshots ----

    def snapshot(self, slot: int) -> bytes:
        tensors = {name: tensor.select(axis, slot).clone() for name, tensor, axis in self._parts()}
        header = torch.tensor([SNAPSHOT_FORMAT])
        return save_tensors({"format": header, **tensors}, {"model": self._fingerprint})

    def restore(self, slot: int, data: bytes) -> None:
        tensors, model = _unpack(data)
        if model != self._fingerprint:
            raise ValueError(f"snapshot belongs to other weights than {self.config.name}")
        for name, tensor, axis in self._parts():
            if name not in tensors or tensors[name].shape != tensor.select(axis, slot).shape:
                raise ValueError(f"snapshot has no valid {name}")
            tensor.select(axis, slot).copy_(tensors[name])
        if int(self.slots.voice[slot]) >= max(1, len(self._mouths)):
            self.slots.voice[slot] = 0  # it is not here


def shape(mouth: SpeechHead) -> SpeechConfig:
    return replace(mouth.config, flow_steps=0)


def _unpack(data: bytes) -> tuple[dict[str, Tensor], str]:
    try:
        tensors = load_tensors(data)
        size = int.from_bytes(data[:8], "little")
        model = json.loads(data[8 : 8 + size])["__metadata__"]["model"]
    except Exception:
        raise ValueError("snapshot is damaged or is not one of this model") from None
    if int(tensors.pop("format", torch.zeros(1))[0]) != SNAPSHOT_FORMAT:
        raise ValueError("snapshot is of another version")
    return tensors, model


def fingerprint(network: Network, voiced: bool) -> str:
    """Which weights a snapshot belongs to; those that are not stored are others in every process."""
    digest = hashlib.sha256(network.c.to_json().encode())
    for name, weight in network.named_parameters():
        if name.startswith(LESSONS if voiced else (*LESSONS, VOICE)):
            continue
        digest.update(name.encode())
        digest.update(weight.detach().flatten()[:16].float().cpu().numpy().tobytes())
    return digest.hexdigest()[:16]


def random_model(config: ModelConfig, seed: int = 0, device: str = "cpu") -> Interaction:
    """A model with random weights: for tests, benchmarks of speed, and as the baseline that must fail."""
    torch.manual_seed(seed)
    return Interaction(Network(config), PieceTokenizer.load(), device)

"""Many sessions of one network: fixed slots, one step for all that are due. Implements `InteractionModel`.

Everything a session is lives in slot-indexed tensors (`Slots`), allocated once. A step is: turn the batch's samples
into levels, compose x, one backbone step, decide, spell, sound, remember what was done. Greedy throughout, so a
session is a function of its perceptions, its seed and its weights.

Shape suffixes: S slots (the last one is scratch, for padding rows), B rows of a step, T pieces.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, fields

import torch
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from microturn.model.backbone import BackboneState
from microturn.model.config import ModelConfig
from microturn.model.ears import CONTEXT, FRAMES, PowerMel, to_levels
from microturn.model.network import CANCELLED, NO_DECISION, Network, Own, Percept
from microturn.model.packed import can_pack, pack
from microturn.model.tokenizer import PieceTokenizer
from microturn.streams import Channel, Decision, Ints, ModelSpec, TickInput, TickOutput

SNAPSHOT_FORMAT = 1


@dataclass
class Slots:
    """What a session carries from tick to tick beside the backbone's memory."""

    samples: Tensor  # [S, CONTEXT] the last samples heard: the first frame of a tick needs them
    ears: Tensor  # [S, blocks, kernel−1, ear_dim]
    said: Tensor  # [S, T] what it said, heard and decided in the last tick
    heard: Tensor  # [S, T]
    decided: Tensor  # [S]
    seed: Tensor  # [S]


class Interaction:
    """The embedded interaction model behind the engine's seam."""

    def __init__(self, network: Network, tokenizer: PieceTokenizer, device: str = "cpu") -> None:
        self.network = network.to(device).eval().requires_grad_(False)
        self.config: ModelConfig = network.c
        self._fingerprint = fingerprint(network)
        if device == "cpu" and can_pack():
            pack(network)
            network.say.pack_table()
            network.hear.pack_table()
        self._tokenizer = tokenizer
        self.device = torch.device(device)
        self._power = PowerMel().to(device)
        c = network.c
        self._spec = ModelSpec(c.name, c.frame_size, c.read_pieces, c.say_pieces, c.lead_ticks)
        self._outputs = {b: TickOutput.empty(b, self._spec) for b in self._spec.batch_sizes}
        self.slots: Slots
        self.backbone: BackboneState

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
            ears=zeros(s, c.ear_blocks, c.ear_kernel - 1, c.ear_dim),
            said=zeros(s, c.say_pieces, dtype=torch.long),
            heard=zeros(s, c.say_pieces, dtype=torch.long),
            decided=torch.full((s,), NO_DECISION, device=self.device),
            seed=zeros(s, dtype=torch.long),
        )
        self.backbone = self.network.backbone.allocate(slots)

    def _parts(self) -> list[tuple[str, Tensor, int]]:
        """Every tensor of the state: name, tensor, which axis counts slots."""
        own = [(f.name, getattr(self.slots, f.name), 0) for f in fields(Slots)]
        deep = [
            ("backbone." + f.name, getattr(self.backbone, f.name), int(f.name in ("k", "v", "weight")))
            for f in fields(BackboneState)
        ]
        return own + deep

    def reset(self, slot: int, seed: int = 0) -> None:
        for _, tensor, axis in self._parts():
            tensor.select(axis, slot).zero_()
        self.slots.decided[slot] = NO_DECISION
        self.slots.seed[slot] = seed

    @torch.inference_mode()
    def read(self, slot: int, text: str, channel: Channel) -> None:
        room = self.config.read_pieces
        packed = self._tokenizer.pack(text, room)
        if not packed:
            return
        # Row counts below four run on other kernels: pad, and keep only the real positions.
        pieces = torch.tensor([p + [0] * (room - len(p)) for p in packed], device=self.device)
        first = int(self.backbone.pinned[slot])
        x = self.network.set_up(pieces[None], torch.full_like(pieces, channel)[None], first)
        self.network.backbone.read(self.backbone, slot, x[0])

    @torch.inference_mode()
    def step(self, slots: Ints, batch: TickInput) -> TickOutput:
        out = self._outputs[len(slots)]
        index = torch.from_numpy(slots).to(self.device)
        index = torch.where(index < 0, len(self.slots.seed) - 1, index)
        self.network.backbone.leave(self.backbone, index)
        has_frame = torch.from_numpy(batch.has_frame)
        decision, odds, said, heard = self._core(
            index,
            torch.from_numpy(batch.audio).to(self.device),
            torch.from_numpy(batch.has_audio).to(self.device),
            torch.from_numpy(batch.frame)[has_frame].to(self.device),
            has_frame.to(self.device),
            torch.from_numpy(batch.text).to(self.device),
            torch.from_numpy(batch.channel).to(self.device),
            torch.from_numpy(batch.cancelled).to(self.device),
            torch.from_numpy(batch.eagerness).to(self.device),
        )
        out.decision[:] = decision.numpy(force=True)
        out.odds[:] = odds.numpy(force=True)
        out.say[:] = said.numpy(force=True)
        out.hear[:] = heard.numpy(force=True)
        return out

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
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The tensors of one step. No shape and, on CUDA, no branch in here depends on what the rows hold."""
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
            sounded=None,
        )
        sensed, s.ears[index] = net.sense(percept, s.ears[index])
        x = net.compose(sensed, own)[:, 0]
        hidden = net.backbone.step(self.backbone, index, x, percept.keep()[:, 0])

        logits = net.decision(hidden)
        logits[:, Decision.SPEAK] += eagerness
        decision = logits.argmax(-1)
        said = net.say.spell(hidden, decision == Decision.SPEAK)
        heard = net.hear.spell(hidden, torch.ones_like(decision, dtype=torch.bool))
        s.said[index], s.heard[index], s.decided[index] = said, heard, decision
        return decision, logits.softmax(-1), said, heard

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


def fingerprint(network: Network) -> str:
    """Which weights a snapshot belongs to."""
    digest = hashlib.sha256(network.c.to_json().encode())
    for name, weight in network.named_parameters():
        digest.update(name.encode())
        digest.update(weight.detach().flatten()[:16].float().cpu().numpy().tobytes())
    return digest.hexdigest()[:16]


def random_model(config: ModelConfig, seed: int = 0, device: str = "cpu") -> Interaction:
    """A model with random weights: for tests, benchmarks of speed, and as the baseline that must fail."""
    torch.manual_seed(seed)
    return Interaction(Network(config), PieceTokenizer.load(), device)


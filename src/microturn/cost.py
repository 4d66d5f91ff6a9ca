"""What one tick of a model costs: arithmetic, numbers read, numbers kept, all counted from its config alone.

The config is built on the meta device, where tensors have shapes but no numbers, so the largest is counted in
a second. tests/test_plan.py holds every count against what a counter sees while the model runs.
"""

from dataclasses import dataclass

import torch
from torch import nn

from microturn.model import association, eyes, speech
from microturn.model.config import ModelConfig
from microturn.model.ears import CONTEXT, FRAMES
from microturn.model.layers import Routed
from microturn.model.network import Network
from microturn.model.senses import PAIR

# Operators that are more than a view in one step of Interaction, counted; tests/test_plan.py counts again.
FIXED_OPERATORS, BLOCK_OPERATORS, EAR_OPERATORS, ROUTE_OPERATORS, EXPERT_OPERATORS = 1004, 56, 24, 9, 8
VOICE_OPERATORS, VOCODER_OPERATORS = 571, 28


@dataclass(frozen=True)
class Cost:
    """What one session asks of a device in one tick. Counts, not bytes: those depend on the precision."""

    name: str
    parameters: int
    active: int  # parameters that take part in one tick
    flops: int  # of one session in a silent tick without video
    voice_flops: int  # more when it speaks
    frame_flops: int  # more when a video frame came
    weights: int  # numbers read once a step, whoever is in it; without experts
    expert_weights: int  # numbers of one expert, all blocks together
    experts: int
    experts_active: int
    remembered: int  # numbers of keys and values that a session's step reads
    state: int  # numbers that a session holds
    state_flags: int  # bytes beside them
    growth: int  # numbers that an ordinary cache would add each tick
    operators: int

    def state_bytes(self, number_bytes: int) -> int:
        return self.state * number_bytes + self.state_flags

    def held_bytes(self, sessions: int, number_bytes: int) -> int:
        return self.parameters * number_bytes + sessions * self.state_bytes(number_bytes)


def cost_of(c: ModelConfig) -> Cost:
    with torch.device("meta"):
        network = Network(c)
        # One slot and the scratch slot: two rows.
        held = [*vars(network.backbone.allocate(1)).values()]
        held += [tensor for _, tensor in network.voice.allocate(1).tensors()]
        held += [*vars(network.recall.allocate(2)).values()] if network.recall else []
        held += [*vars(network.associations.allocate(2)).values()] if network.associations else []
    pieces = network.pieces.weight.numel()
    flops, weights = 2 * 2 * c.say_pieces * pieces, pieces  # both heads spell with the table of pieces
    voice_flops = frame_flops = 0
    uses = _uses(c, network)
    for name, module in network.named_modules():
        if not isinstance(module, nn.Linear | nn.Conv2d):
            continue
        times = next((n for start, n in uses.items() if name.startswith(start)), 1)
        products = 2 * times * module.weight.numel()
        if isinstance(module, nn.Conv2d) or name.startswith(("eyes.join", "eyes.follow")):
            frame_flops += products
            continue
        weights += module.weight.numel()
        if name.startswith("voice."):
            voice_flops += products
        else:
            flops += products
    frame_flops += 2 * c.eye_maps * len(network.eyes.places) * (eyes.VALUES + eyes.PLACE)
    routed = [m for m in network.modules() if isinstance(m, Routed)]
    expert = sum((m.up_EFD.numel() + m.down_EDF.numel()) // c.experts for m in routed)
    flops += 2 * c.experts_active * expert + 4 * c.layers * c.heads * c.head_dim * c.keys
    asked = association.HEADS * 4 * association.AGES + association.looked(c)  # by name only when words come
    flops += len(c.associate) * association.KEY * asked
    parameters = sum(p.numel() for p in network.parameters())
    return Cost(
        name=c.name,
        parameters=parameters,
        active=parameters - (c.experts - c.experts_active) * expert,
        flops=flops,
        voice_flops=voice_flops,
        frame_flops=frame_flops,
        weights=weights,
        expert_weights=expert,
        experts=c.experts,
        experts_active=c.experts_active,
        remembered=2 * c.layers * c.kv_heads * c.head_dim * c.keys,
        state=sum(t.numel() for t in held if t.is_floating_point()) // 2
        + CONTEXT
        + network.ears.size
        + network.eyes.size,
        state_flags=sum(t.nbytes for t in held if not t.is_floating_point()) // 2
        + 8 * (2 * c.say_pieces + 1),
        growth=2 * c.layers * c.kv_heads * c.head_dim,
        operators=FIXED_OPERATORS
        + c.layers * BLOCK_OPERATORS
        + len(routed) * (ROUTE_OPERATORS + EXPERT_OPERATORS * c.experts_active)
        + (c.ear_blocks + c.syllable_blocks + c.sight_blocks) * EAR_OPERATORS
        + VOICE_OPERATORS
        + c.vocoder_blocks * VOCODER_OPERATORS,
    )


def _uses(c: ModelConfig, network: Network) -> dict[str, int]:
    """How often a matrix is used in a tick, by the beginning of its name, where that is not once."""
    height, width = c.frame_size
    cells, coarse = height * width // eyes.CELL**2, -(-height // eyes.CELL // 2) * -(-width // eyes.CELL // 2)
    uses = {"ears.pair": FRAMES // PAIR, "ears.floor": FRAMES // PAIR}
    uses |= {"ears.join": FRAMES // PAIR**2, "ears.upper": FRAMES // PAIR**2}
    uses |= {"eyes.patch": 4 * cells, "eyes.coarse": coarse, "eyes.back": coarse}
    uses |= dict.fromkeys(("eyes.fine", "eyes.last", "eyes.maps", "eyes.values"), cells)
    for head in ("say", "hear"):
        uses |= {f"{head}.from_piece": c.say_pieces, f"{head}.from_state": c.say_pieces}
    words = c.say_pieces + c.read_pieces
    uses |= {f"associations.each.{i}.name": c.say_pieces + words for i in range(len(c.associate))}
    uses["recall.which"] = words
    voice = network.voice.config
    uses |= {"voice.durations": voice.looked_at, "voice.decoder.heard": speech.FRAMES}
    uses["voice.decoder.around"] = speech.SPAN
    window = speech.FRAMES + speech.SPAN
    for i in range(voice.blocks):  # each block shortens the window
        uses[f"voice.decoder.blocks.{i}."] = window - (i + 1) * (speech.Shrink.BEFORE + speech.Shrink.AFTER)
    uses |= {"voice.decoder.outward": speech.FRAMES, "voice.vocoder": speech.FRAMES}
    flow = speech.GROUPS * voice.flow_steps
    uses |= {f"voice.flow.{part}": flow for part in ("moving", "blocks", "outward")}
    return uses | {"voice.flow.given": speech.GROUPS, "voice.flow.time": voice.flow_steps}

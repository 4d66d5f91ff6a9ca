"""A voice as one file: the speech head and its vocoder, in half precision, with what is needed to rebuild them.

A voice file fits every network of the same widths. `join` puts it into a network's weights, whose story then says
that they are voiced; the network's own view of its last patch begins at nothing, so no skill changes.
"""

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from microturn.model.checkpoint import VOICED, network_of, read_tensors, save_weights
from microturn.model.config import FORMAT
from microturn.model.network import Network
from microturn.model.speech import SpeechConfig, SpeechHead

VERSION = "1"  # of voice files


@dataclass(frozen=True)
class Voice:
    name: str
    config: SpeechConfig
    width: int  # of the backbone it listens to
    tensors: dict[str, Tensor]
    story: dict[str, str]

    def put(self, head: SpeechHead) -> None:
        own = head.state_dict()
        if wrong := [n for n, t in own.items() if n not in self.tensors or self.tensors[n].shape != t.shape]:
            raise ValueError(f"voice {self.name} does not fit this model: {', '.join(wrong[:4])} …")
        head.load_state_dict({name: self.tensors[name].to(own[name].dtype) for name in own})
        head.config = replace(head.config, flow_steps=self.config.flow_steps)

    def head(self) -> SpeechHead:
        made = SpeechHead(self.config, self.width)
        self.put(made)
        return made


def write_voice(path: Path, name: str, head: SpeechHead, width: int, story: dict[str, str]) -> int:
    """Size in bytes."""
    tensors = {n: t.detach().cpu().half().contiguous() for n, t in head.state_dict().items()}
    about = {"format": str(FORMAT), "voice": VERSION, "name": name, "width": str(width)}
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, path, {**story, **about, "speech": json.dumps(asdict(head.config))})
    return path.stat().st_size


def read_voice(path: Path) -> Voice:
    tensors, story = read_tensors(path)
    if story.get("voice") != VERSION:
        raise ValueError(f"{path}: is not a voice file of version {VERSION}")
    config = SpeechConfig(**json.loads(story["speech"]))
    return Voice(
        story["name"], config, int(story["width"]), {n: t.float() for n, t in tensors.items()}, story
    )


def give_voice(network: Network, story: dict[str, str], voice: Voice) -> dict[str, str]:
    """Put a voice into a network; the network's story with it."""
    voice.put(network.voice)
    network.c = replace(network.c, flow_steps=voice.config.flow_steps)
    if VOICED not in story:
        torch.nn.init.zeros_(network.sounded.weight)
    return {**story, VOICED: voice.name}


def join(weights: str, voice: Path, out: Path, packed: bool = False) -> None:
    """Weights with a voice in them."""
    network, story = network_of(weights)
    story.pop("format", None)
    save_weights(network, out, give_voice(network, story, read_voice(voice)), packed)

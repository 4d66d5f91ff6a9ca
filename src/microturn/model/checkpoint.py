"""Weights on disk: `NAME.safetensors` and its config beside it as `NAME.json`, versioned.

Released weights are small: `release` stores each large matrix in one byte a number with a scale per row. They are
read back into fp32, so the rest of the code knows of one kind of weights only.
"""

from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from microturn.model.config import FORMAT, ModelConfig
from microturn.model.interaction import Interaction
from microturn.model.network import LESSONS, VOICE, Network
from microturn.model.speech import SpeechHead
from microturn.model.tokenizer import PieceTokenizer

RELEASED = "nano"
SIGHT = "eyes.out.weight"  # zero in weights that take no notice of a camera
VOICED = "voiced"  # in the story of weights that have learned to speak
SMALLEST_PACKED = 4096  # numbers; smaller tensors stay as they are


def save_weights(network: Network, stem: Path, story: dict[str, str], packed: bool = False) -> None:
    """`story` is kept with the weights: recipe, minutes, scores."""
    tensors: dict[str, Tensor] = {}
    for name, weight in network.state_dict().items():
        if name.startswith(VOICE) and VOICED not in story:
            continue  # an untrained voice is not worth its bytes
        if name.startswith(LESSONS) and packed:
            continue
        weight = weight.detach().cpu().contiguous()
        if packed and weight.ndim >= 2 and weight.numel() >= SMALLEST_PACKED:
            scale = weight.abs().amax(-1, keepdim=True).clamp_min(1e-8) / 127
            tensors[name + "#bytes"] = (weight / scale).round().to(torch.int8)
            tensors[name + "#scale"] = scale
        else:
            tensors[name] = weight
    stem.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, stem.with_suffix(".safetensors"), {"format": str(FORMAT), **story})
    stem.with_suffix(".json").write_text(network.c.to_json(), "utf-8")


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    try:
        with safe_open(path, "pt") as stored:
            story = stored.metadata() or {}
            raw = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118
    except Exception as error:
        raise ValueError(f"{path}: not a checkpoint ({error})") from None
    if story.get("format") != str(FORMAT):
        raise ValueError(
            f"{path}: checkpoint of format {story.get('format')}; this version reads format {FORMAT}"
        )
    whole = {n: t for n, t in raw.items() if "#" not in n}
    for name in (n.removesuffix("#bytes") for n in raw if n.endswith("#bytes")):
        whole[name] = raw[name + "#bytes"].float() * raw[name + "#scale"]
    return whole, story


def load_weights(network: Network, path: Path) -> dict[str, str]:
    """Fill the network; anything missing, left over or of another shape is named in one line."""
    tensors, story = read_tensors(path.with_suffix(".safetensors"))
    own = network.state_dict()
    if VOICED not in story:
        own = {name: weight for name, weight in own.items() if not name.startswith(VOICE)}
    own = {n: weight for n, weight in own.items() if n in tensors or not n.startswith(LESSONS)}
    wrong = [n for n in own if n not in tensors or tensors[n].shape != own[n].shape]
    wrong += [n for n in tensors if n not in own]
    if wrong:
        raise ValueError(f"{path}: does not fit config {network.c.name}: {', '.join(sorted(wrong)[:4])} …")
    network.load_state_dict(tensors, strict=False)
    return story


def find_weights(name: str) -> Path:
    """The released ones by name, or a checkpoint by its path (any ending)."""
    stem = Path(name)
    if not stem.suffix and not stem.with_suffix(".json").exists():
        stem = Path(str(files("microturn").joinpath("weights", name)))
    if not stem.with_suffix(".json").exists():
        raise ValueError(f"no model named {name!r}: give the path of a checkpoint")
    return stem


def network_of(name: str = RELEASED) -> tuple[Network, dict[str, str]]:
    """A network as it is trained (not laid out for serving) and its story."""
    stem = find_weights(name)
    network = Network(ModelConfig.from_json(stem.with_suffix(".json").read_text("utf-8")))
    return network, load_weights(network, stem)


def warm_start(network: Network, name: str) -> None:
    """Begin from weights of a smaller network of the same widths: blocks that it had not do nothing at first."""
    path = find_weights(name)
    tensors, _ = read_tensors(path.with_suffix(".safetensors"))
    if not tensors.get(SIGHT, torch.ones(1)).any():
        del tensors[SIGHT]  # a way that is closed would stay so
    own = network.state_dict()
    if wrong := [n for n, t in tensors.items() if n not in own or t.shape != own[n].shape]:
        raise ValueError(f"{path}: does not fit config {network.c.name}: {', '.join(sorted(wrong)[:4])} …")
    for name, weight in own.items():
        if name not in tensors and name.startswith(("backbone.", "ears.")) and ".down." in name:
            tensors[name] = torch.zeros_like(weight)
    network.load_state_dict(tensors, strict=False)


def load_model(
    name: str = RELEASED, device: str = "cpu", others: Mapping[str, SpeechHead] | None = None
) -> Interaction:
    """The released model by name, or a checkpoint by its path (any ending); `others` are more voices."""
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"device {device}: {str(error).splitlines()[0]}") from None
    network, story = network_of(name)
    return Interaction(network, PieceTokenizer.load(), device, voice=story.get(VOICED, ""), others=others)

"""`python -m microturn.train.release RUN`: a run's weights as the package's own, a byte a number.

Their story (recipe, minutes, hours heard) travels inside; docs/model-card.md says the rest.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import torch

from microturn.model.checkpoint import RELEASED, VOICED, load_weights, read_tensors, save_weights
from microturn.model.config import ModelConfig
from microturn.model.network import VOICE, Network
from microturn.streams import Decision

WEIGHTS = Path(__file__).parent.parent / "weights"
LARGEST_MB = 40  # of everything in the package's weights, now and later


def release(
    run: Path,
    name: str = RELEASED,
    folder: Path = WEIGHTS,
    before: Path | None = None,
    share: float = 1.0,
    shy: float = 0.0,
) -> int:
    """Size in bytes. With the weights of a run before, a `share` of the way from those to these.

    `shy` is taken off the log-odds of speaking, in the bias of the decision.
    """
    config = ModelConfig.from_json((run / "weights.json").read_text("utf-8"))
    network = Network(config)
    story = load_weights(network, run / "weights")
    story.pop("format", None)
    if before is not None:
        kept, _ = read_tensors(before / "weights.safetensors")
        with torch.no_grad():
            for part, weight in network.state_dict().items():
                if part in kept:
                    weight.lerp_(kept[part], 1 - share)
        story["share"] = f"{share:g}"
    if shy:
        network.decision.bias.data[Decision.SPEAK] -= shy
        story["shy"] = f"{shy:g}"
    if (folder / f"{name}.safetensors").exists():
        story = _with_voice(network, story, folder / name)
    save_weights(network, folder / name, story, packed=True)
    size = sum(path.stat().st_size for path in folder.iterdir())
    if size > LARGEST_MB << 20:
        raise ValueError(f"{folder} would hold {size >> 20} MB; the package carries at most {LARGEST_MB}")
    return size


def _with_voice(network: Network, story: dict[str, str], old: Path) -> dict[str, str]:
    """New skills keep the voice that the weights before had (train/mouth), if the run has none of its own."""
    tensors, before = read_tensors(old.with_suffix(".safetensors"))
    if VOICED in story or VOICED not in before:
        return story
    voice = {name: weight for name, weight in tensors.items() if name.startswith(VOICE)}
    network.load_state_dict(voice, strict=False)
    torch.nn.init.zeros_(network.sounded.weight)
    steps = ModelConfig.from_json(old.with_suffix(".json").read_text("utf-8")).flow_steps
    network.c = replace(network.c, flow_steps=steps)
    return {**story, VOICED: before[VOICED]}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, help="a run folder")
    parser.add_argument("--name", default=RELEASED)
    parser.add_argument(
        "--before", type=Path, help="the run that the released weights came from: release a mean of both"
    )
    parser.add_argument("--share", type=float, help="of RUN in that mean (0.6)")
    parser.add_argument("--shy", type=float, default=0.0, help="less log-odds of speaking (%(default)s)")
    args = parser.parse_args()
    if args.share is not None and args.before is None:
        parser.error("--share is of a mean of two runs: name the other with --before")
    share = 0.6 if args.share is None else args.share
    size = release(args.run, args.name, before=args.before, share=share, shy=args.shy)
    print(f"{size / 1e6:.1f} MB in the package")

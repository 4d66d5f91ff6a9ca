"""`python -m microturn.train.release RUN`: a run's weights as the package's own, a byte a number.

Their story (recipe, minutes, hours heard) travels inside; docs/model-card.md says the rest.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from microturn.model.checkpoint import RELEASED, load_weights, save_weights
from microturn.model.config import ModelConfig
from microturn.model.network import Network

WEIGHTS = Path(__file__).parent.parent / "weights"
LARGEST_MB = 40  # of everything in the package's weights, now and later


def release(run: Path, name: str = RELEASED, folder: Path = WEIGHTS) -> int:
    """Size in bytes."""
    config = ModelConfig.from_json((run / "weights.json").read_text("utf-8"))
    network = Network(config)
    story = load_weights(network, run / "weights")
    story.pop("format", None)
    save_weights(network, folder / name, story, packed=True)
    size = sum(path.stat().st_size for path in folder.iterdir())
    if size > LARGEST_MB << 20:
        raise ValueError(f"{folder} would hold {size >> 20} MB; the package carries at most {LARGEST_MB}")
    return size


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, help="a run folder")
    parser.add_argument("--name", default=RELEASED)
    args = parser.parse_args()
    print(f"{release(args.run, args.name) / 1e6:.1f} MB in the package")

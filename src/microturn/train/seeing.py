"""`python -m microturn.train.seeing WEIGHTS`: what the eyes alone can tell, of films that training never draws.

Half of the exercises are ones that training never shows either: what they are called cannot be told, where limbs are
and when a repetition ends can. For weights of a run: released ones go without what only lessons need.
"""

import argparse
from pathlib import Path

import numpy as np
import torch

from microturn.model.checkpoint import network_of, read_tensors
from microturn.model.eyes import ACTS, MOST, SHAPES, VALUES
from microturn.model.eyes import PARTS as KINDS
from microturn.model.network import Network
from microturn.train.sights import WHICH, joined, shoot

FIRST = 1 << 60  # seeds that no training draws
TICKS = 48
NEAR = 1  # ticks by which the end of a repetition may be told early or late
CERTAIN = 0.5
SINGLE = (0, 1, 2, 13)  # limbs that have no other side


@torch.no_grad()
def look(network: Network, films: int, split: str) -> dict[str, float]:
    size = network.c.frame_size
    half = torch.tensor([size[1] / 2, size[0] / 2])
    off, counted, absent, coloured, acts = [], [], [], [], []
    told, found, right = 0, 0, 0
    for number in range(films):
        shot = shoot(FIRST + number, size, TICKS, True, split)
        sight = joined([shot], shot.there[None], True)
        _, saw = network.eyes.study(sight.frames, sight.has_frame)
        place = saw.told[:, :KINDS, VALUES : VALUES + 2]
        for part in SINGLE:
            true = sight.body[:, part]
            inside = (true.abs() < 1).all(1)
            off += ((place[:, WHICH[part]] - true)[inside] * half).abs().mean(1).tolist()
        count = network.sights.count(saw.pictures).view(-1, SHAPES, MOST + 1).argmax(-1)
        counted += (count == sight.count)[sight.count > 0].tolist()
        absent += (count == 0)[sight.count == 0].tolist()
        only = sight.colour >= 0
        colours = network.sights.colour(saw.told[:, KINDS : KINDS + SHAPES, :VALUES][only]).argmax(-1)
        coloured += (colours == sight.colour[only]).tolist()
        moves = network.sights.moves(saw.ticks[sight.has_frame])
        acting = sight.act > 0
        acts += (moves[:, :ACTS].argmax(-1) == sight.act)[acting].tolist()
        sure = (moves[:, -1].sigmoid() > CERTAIN).numpy()
        first = np.flatnonzero(sure & ~np.concatenate([[False], sure[:-1]]))
        ends = np.flatnonzero(sight.ended.numpy() > 0)
        told, found = told + len(first), found + len(ends)
        right += sum(bool((np.abs(first - end) <= NEAR).any()) for end in ends)
    return {
        "px off": float(np.mean(off)),
        "counted": float(np.mean(counted)),
        "absent": float(np.mean(absent)),
        "colour": float(np.mean(coloured)),
        "act": float(np.mean(acts)),
        "ends found": right / max(1, found),
        "ends told per end": told / max(1, found),
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m microturn.train.seeing")
    parser.add_argument("weights", type=Path, help="of a run: with the lessons' own")
    parser.add_argument(
        "--films", type=int, default=100, help="of training's things and movements, and of all (100)"
    )
    args = parser.parse_args()
    if not any(
        name.startswith("sights.") for name in read_tensors(args.weights.with_suffix(".safetensors"))[0]
    ):
        parser.error(f"{args.weights}: released weights go without the lessons; give those of a run")
    network, _ = network_of(str(args.weights))
    for split in ("train", "test"):
        told = look(network, args.films, split)
        print(f"{split:5s}", " · ".join(f"{name} {value:.2f}" for name, value in told.items()), flush=True)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()

"""`python -m microturn.train.given WEIGHTS`: skills when nobody has to be heard.

The words of reserved wordings are given in the tick in which each would have been heard; everything else is the
network's own doing, free-running. What is missing here is not the fault of the ears.
"""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from microturn.bench.metrics import Run
from microturn.bench.suites import SUITES
from microturn.model.checkpoint import RELEASED, load_model
from microturn.model.network import Network
from microturn.model.tokenizer import NUMBERS, PieceTokenizer
from microturn.scenes import compose, write
from microturn.scenes.episode import Episode, Placed
from microturn.train.batch import stack
from microturn.train.rollout import played, roll_out
from microturn.train.sound import unspoken

SKILLS = {  # scene: its suite, and what must be expected in an episode (nothing named: that something is said)
    "time": ("timespeak", "say"), "cue": ("cuespeak", "say"), "converse": ("turns", "reply"),
    "translate": ("translate", ""), "codeswitch": ("codeswitch", ""), "weave": ("weave", "delegate"),
    "instructions": ("instructions", "reply"), "readout": ("weave", "reply"), "reps": ("repcount", "say"),
    "notice": ("videoqa", "say"), "charades": ("charades", "say"), "commentary": ("commentary", "say"),
    "look": ("look", "reply"),
}  # fmt: skip
OWN = ("instructions", "")  # a scene of one's own: each `say` and `reply` met, less every false utterance
FIRST = 1 << 42  # seeds that no training draws
SECONDS = 24.0
ROWS = 50


def episodes(scene: str, kind: str, n: int, split: str = "test") -> list[Episode]:
    """Episodes in which something of this kind is expected."""
    found: list[Episode] = []
    for seed in range(FIRST, FIRST + 100 * n):
        script = write(scene, seed, split, SECONDS)
        episode = compose(script, [unspoken(line.text, 1.0) for line in script.lines], SECONDS, take=seed)
        if any(expected.kind == kind for expected in episode.expected) if kind else episode.says:
            found.append(replace(episode, told=True))
        if len(found) == n:
            break
    return found


def live(network: Network, lived: Sequence[Episode]) -> list[Run]:
    """Free-running, many at once."""
    pieces, runs = PieceTokenizer.load(), list[Run]()
    for first in range(0, len(lived), ROWS):
        some = lived[first : first + ROWS]
        rng = np.random.default_rng(0)
        batch = stack(some, rng, network.c, pieces, [], [], 0, quiet=True)
        done = roll_out(network, batch)
        runs += [Run(e, played(done, i, pieces, network.c.lead_ticks)) for i, e in enumerate(some)]
    return runs


def reminders(network: Network) -> list[tuple[str, str]]:
    """“Say bacon every … seconds”, and when it was said in forty seconds."""
    asked = [unspoken(f"say bacon every {number} seconds", 1.0) for number in (*NUMBERS, "fifteen", "twenty")]
    runs = live(network, [Episode("time", 0, 200, (Placed(clip, 400),), told=True) for clip in asked])
    said = [" ".join(f"{w.start_ms / 1000:.1f} {w.text}" for w in run.played.said) for run in runs]
    return [(clip.text, times) for clip, times in zip(asked, said, strict=True)]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m microturn.train.given")
    parser.add_argument("weights", nargs="?", type=Path, default=Path(RELEASED))
    parser.add_argument("--n", type=int, default=100, help="episodes of each skill (100)")
    parser.add_argument("--scenes", nargs="+", default=["time", "cue", "converse"], help="also FILE.py:CLASS")
    parser.add_argument("--reminders", action="store_true", help="only when reminders come, number by number")
    args = parser.parse_args()
    network = load_model(str(args.weights)).network
    if args.reminders:
        for text, times in reminders(network):
            print(f"{text}: {times}", flush=True)
        return
    for scene in args.scenes:
        suite, kind = SKILLS.get(scene, OWN)
        scores = SUITES[suite].score(live(network, episodes(scene, kind, args.n)), 1)
        told = (f"{s.name} {s.value:.2f}" for s in scores if s.value is not None)
        print(f"{scene:9s}", " · ".join(told), flush=True)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()

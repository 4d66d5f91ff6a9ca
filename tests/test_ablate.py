"""The small worlds of ablations: what is right scores full marks, and a folded decision is the vocabulary's own."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path

import torch

from microturn.bench.metrics import Played, Run
from microturn.bench.scores import timespeak, turns
from microturn.model.config import tiny
from microturn.model.network import Network
from microturn.scenes.episode import pace
from microturn.streams import Decision
from microturn.train.ablate import VARIANTS, table
from microturn.train.small_worlds import Folded, keeping, reminder


def test_right_answers_score_full_marks() -> None:
    rng = random.Random(1)
    for make, score in ((reminder, timespeak), (keeping, turns)):
        episodes = [make(rng) for _ in range(20)]
        runs = [Run(e, Played(tuple(word for say in e.says for word in pace(say)))) for e in episodes]
        assert score(runs)[0].value == 1.0
        assert score([Run(e, Played()) for e in episodes])[0].value == 0.0


def test_a_folded_decision_is_taken_by_the_vocabulary() -> None:
    network = Network(tiny())
    hidden = torch.randn(2, 3, network.c.d_model)
    with torch.no_grad():
        network.say.bias[-1] += 50.0
    assert bool((Folded(network)(hidden).argmax(-1) == Decision.LISTEN).all())


def test_a_table_has_a_curve_for_each_variant() -> None:
    first, *_, last = VARIANTS
    found = {
        v.name: [{"seconds": 1.0, "steps": 9.0, name: 0.5}] * 2
        for v, name in ((first, "keep"), (last, "0% lost"))
    }
    skills, words = "\n".join(table(found)).split("| variant")[1:]
    assert f"| {first.name} | 9 | 0.50 → 0.50 |" in skills
    assert f"| {last.name} | 9 | 0.50 → 0.50 |" in words


def test_a_variant_is_trained_and_scored_in_a_process_of_its_own(tmp_path: Path) -> None:
    (name,) = (v.name for v in VARIANTS if v.tick_ms == 400)
    out = tmp_path / "found.json"
    command = (
        sys.executable,
        "-m",
        "microturn.train.ablate",
        name,
        "--seconds=0.1",
        "--tests=1",
        f"--out={out}",
    )
    printed = subprocess.run(command, capture_output=True, check=True, text=True).stdout
    (curve,) = json.loads(out.read_text("utf-8")).values()
    assert [point["steps"] >= 1 and 0 <= point["keep"] <= 1 for point in curve] == [True] * 3
    assert f"| {name} | {curve[-1]['steps']} | " in printed


def test_a_variant_that_is_none_is_told() -> None:
    command = (sys.executable, "-m", "microturn.train.ablate", "tick 300")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "no variant is called 'tick 300': tick 200 ms" in done.stderr

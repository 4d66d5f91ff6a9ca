"""The rivals of the engine benchmark do the same work: within the window their odds are the engine's."""

from __future__ import annotations

import argparse
import json

import numpy as np
import pytest

from microturn.bench import background, server
from microturn.bench import engine as bench
from microturn.bench.rivals import GrowingCache, OneAtATime, Recompute, backbone_of
from microturn.bench.roof import measure_work
from microturn.engine import Engine, Stream, in_ticks, play
from microturn.model.config import tiny
from microturn.model.interaction import Interaction, random_model
from microturn.plan import Machine


def odds(model: Interaction) -> list[tuple[float, ...]]:
    samples = (
        np.random.default_rng(1).normal(0, 0.1, 3200 * 8).astype(np.float32)
    )  # 8 ticks fill tiny's window
    return [action.odds for action in play(Engine(model, slots=1), Stream(in_ticks(samples)))]


@pytest.mark.parametrize("kind", [Recompute, GrowingCache])
def test_a_rival_memory_gives_the_same_odds_while_nothing_has_left_the_window(
    kind: type[Recompute] | type[GrowingCache],
) -> None:
    model = random_model(tiny())
    ours = odds(model)
    with backbone_of(model, kind) as backbone:
        backbone.after(0)
        theirs = odds(model)
    assert np.allclose(ours, theirs, atol=1e-5)
    assert odds(model) == ours  # and the model is itself again


def test_one_at_a_time_gives_the_same_odds() -> None:
    model = random_model(tiny())
    assert np.allclose(odds(OneAtATime(model)), odds(model), atol=1e-5)


def test_the_roof_is_the_slower_of_arithmetic_and_memory() -> None:
    work = measure_work(tiny())
    assert work.row_flops > 2 * 10_000
    slow_memory = work.roof_ms(1, Machine(1, 1e9, 1.0))
    assert slow_memory == pytest.approx((work.weight_bytes + work.row_bytes) / 1e6)
    assert work.roof_ms(2, Machine(1, 1.0, 1e9)) == pytest.approx(2 * work.row_flops / 1e6)


def test_the_command_prints_json_that_a_report_can_read(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench, "find_config", lambda name: tiny())
    parser = argparse.ArgumentParser()
    bench.add_arguments(parser)
    options = ["--sessions", "2", "--minutes", "1", "--seconds", "0.5", "--json"]
    assert bench.run(parser.parse_args(options)) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["loads"][0]["sessions"] == 2
    assert report["minutes"][0]["minute"] == 1
    with pytest.raises(ValueError, match="whole numbers"):
        bench.measure(parser.parse_args(["--sessions", "many"]))


def test_delegations_at_once_are_all_accounted_for(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(background, "load_model", lambda name: random_model(tiny()))
    parser = argparse.ArgumentParser()
    background.add_arguments(parser)
    options = ["--sessions", "2", "--seconds", "14", "--scale", "0.01", "--json"]
    assert background.run(parser.parse_args(options)) == 0
    report = json.loads(capsys.readouterr().out)
    made = sum(report[fate] for fate in ("done", "failed", "cancelled", "unfinished"))
    assert made == 8 * report["sessions"] > 0
    wrong = ("unfinished", "lost", "duplicate", "read_after_cancel", "said_after_cancel")
    assert not any(report[what] for what in wrong)
    with pytest.raises(ValueError, match="--each 1 to 8"):
        background.run(parser.parse_args(["--each", "9"]))


def test_short_sessions_are_all_answered_and_memory_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    parser = argparse.ArgumentParser()
    server.add_arguments(parser)
    assert server.run(parser.parse_args(["--churn", "40"])) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("40 of 40 sessions answered")
    assert second.count(",") == 9

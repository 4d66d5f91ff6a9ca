"""The plan counts what the model really does, and its sessions are the most that fit."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from microturn.bench.roof import measure_work
from microturn.cli import main
from microturn.cost import cost_of
from microturn.model.config import CONFIGS, NANO, ModelConfig, tiny
from microturn.model.interaction import random_model
from microturn.model.network import PATCH, Network
from microturn.plan import DEVICES, Device, all_s, plan
from microturn.streams import Decision, TickInput

COSTS = {name: cost_of(CONFIGS[name]) for name in ("nano", "base")}
SMALL = Device("small", "a device for tests", 1e12, 1e11, 4e9, 4, 1e-6)


@pytest.mark.parametrize("c", [tiny(), NANO], ids=lambda c: c.name)
def test_arithmetic_and_weights_are_what_a_counter_sees(c: ModelConfig) -> None:
    cost, work = cost_of(c), measure_work(c)
    assert cost.parameters == work.parameters
    assert cost.remembered * 4 == work.row_bytes
    own_speech = 2 * PATCH * c.d_model  # the counter hears silence
    assert work.row_flops <= cost.flops <= 1.1 * work.row_flops + own_speech


def test_the_arithmetic_of_speaking_and_seeing_is_what_a_counter_sees() -> None:
    network = Network(NANO).eval()
    state, slots = network.voice.allocate(4), torch.arange(4)
    hidden, speak = torch.zeros(4, NANO.d_model), torch.full((4,), Decision.SPEAK)
    phonemes, counts = torch.ones(4, 8, dtype=torch.long), torch.full((4,), 8)
    with torch.no_grad(), FlopCounterMode(display=False) as spoken:
        network.voice.step(state, slots, hidden, speak, phonemes, counts)
    with torch.no_grad(), FlopCounterMode(display=False) as seen:
        network.eyes.pictures(network.eyes.look(torch.zeros(4, *NANO.frame_size, 3, dtype=torch.uint8))[1])
    assert COSTS["nano"].voice_flops == pytest.approx(spoken.get_total_flops() / 4, rel=0.02)
    assert COSTS["nano"].frame_flops == seen.get_total_flops() / 4


def test_a_session_holds_what_the_model_allocates_for_it() -> None:
    model = random_model(tiny())
    model.allocate(1)
    kept = len(model.snapshot(0))
    assert cost_of(tiny()).state_bytes(4) == pytest.approx(kept, abs=4096)  # a snapshot has a header


def test_operators_are_counted_right() -> None:
    class Count(TorchDispatchMode):  # type: ignore[no-untyped-call]
        def __init__(self) -> None:
            super().__init__()  # type: ignore[no-untyped-call]
            self.seen = 0

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
            views = ("view", "transpose", "slice", "select", "expand", "squeeze", "permute", "alias", "split")
            self.seen += not any(view in str(func) for view in (*views, "chunk", "unbind", "detach"))
            return func(*args, **(kwargs or {}))

    for c in (tiny(), tiny(layers=5), tiny(experts=8, experts_active=3, experts_shared=1)):
        model = random_model(c)
        model.allocate(4)
        batch = TickInput.empty(4, model.spec)
        batch.eagerness[:] = 1000  # all speak
        with Count() as count:
            model.step(np.arange(4), batch)
        assert cost_of(c).operators == pytest.approx(count.seen, rel=0.3)


def test_the_largest_is_planned_without_being_built() -> None:
    cost = cost_of(CONFIGS["tml-interaction-small"])
    assert cost.parameters == pytest.approx(276e9, rel=0.01)
    assert cost.active < cost.parameters / 20
    for device in DEVICES[1:]:
        planned = plan(cost, device, 1)
        assert planned.devices >= 4
        assert planned.sessions > 0


@settings(max_examples=40, deadline=None)
@given(
    name=st.sampled_from(["nano", "base"]),
    flops=st.floats(1e10, 1e15),
    bytes_s=st.floats(1e9, 1e13),
    memory=st.floats(2e9, 2e11),
    budget_ms=st.floats(5, 200),
)
def test_one_session_more_would_not_fit(
    name: str, flops: float, bytes_s: float, memory: float, budget_ms: float
) -> None:
    cost = COSTS[name]
    device = replace(SMALL, flops=flops, bytes_s=bytes_s, memory=memory)
    planned = plan(cost, device, 1, budget_ms)
    if planned.sessions:
        assert planned.step_ms <= budget_ms
        assert cost.held_bytes(planned.sessions, 4) <= memory
    more = planned.sessions + 1
    assert 1000 * all_s(cost, more, device) > budget_ms or cost.held_bytes(more, 4) > memory


def test_state_is_constant_and_an_ordinary_cache_is_not(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "nano", "--device", "h100", "--minutes", "120", "--sessions", "9", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    (cache,) = report["cache_bytes_bf16"]
    assert cache["growing"] > 10 * cache["constant"]
    assert report["plans"][0]["asked"] == 9
    assert report["plans"][0]["device"]["name"] == "h100"


def test_a_plan_is_checked_against_this_machine(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine.json").write_text(tiny().to_json())
    assert main(["plan", str(tmp_path / "mine.json"), "--sessions", "40", "--measure"]) == 0
    told = capsys.readouterr().out
    for name in ("cpu", *(device.name for device in DEVICES)):
        assert f"\n  {name} " in told
    assert told.count("ratio") == 3


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["giant"], "no config named"),
        (["nano", "--device", "abacus"], "no device named"),
        (["nano", "--sessions", "0"], "must be positive"),
        (["tml-interaction-small", "--device", "cpu", "--measure"], "too many to be measured"),
    ],
)
def test_what_cannot_be_planned_is_told_in_a_line(
    argv: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["plan", *argv]) == 2
    err = capsys.readouterr().err
    assert says in err
    assert err.count("\n") == 1

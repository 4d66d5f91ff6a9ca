"""The engine's laws once more, with a real network in the slots: bit-identical actions, whoever is near."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from microturn.clock import VirtualClock
from microturn.engine import Engine, Pace, Stream, play, play_all
from microturn.model.config import tiny
from microturn.model.interaction import Interaction, random_model
from microturn.model.packed import Packed, can_pack
from microturn.streams import Action, Channel, Perception, TextIn
from test_engine import Kept, same

READ = (TextIn("be kind", Channel.INSTRUCTIONS),)


@pytest.fixture(scope="module")
def model() -> Interaction:
    return random_model(tiny())


def talk(seed: int, ticks: int) -> list[Perception]:
    """Noise, silence, holes, pictures and text, long enough for ticks to leave tiny's window of 8."""
    random = np.random.default_rng(seed)
    return [
        Perception(
            audio=None if tick % 7 == 3 else random.normal(0, 0.2, 3200).astype(np.float32),
            frame=random.integers(0, 256, (40, 80, 3), np.uint8) if tick % 5 == seed % 5 else None,
            text=(TextIn("every time you hear a bird say bird", Channel.TYPED),) if tick == 4 else (),
            cancelled=tick % 9 == 8,
        )
        for tick in range(ticks)
    ]


def alone(model: Interaction, stream: list[Perception], seed: int = 0) -> list[Action]:
    engine = Engine(model, slots=1, clock=VirtualClock())
    return list(play(engine, Stream(stream, read=READ, seed=seed)))


def test_actions_are_bit_identical_in_any_company(model: Interaction) -> None:
    lengths = (30, 3, 17, 25, 9, 30, 12)
    expected = [alone(model, talk(seed, ticks), seed) for seed, ticks in enumerate(lengths)]
    engine = Engine(model, slots=5, clock=VirtualClock())
    streams = [Stream(talk(seed, ticks), READ, seed) for seed, ticks in enumerate(lengths)]
    assert len(list(play_all(engine, streams))) == len(lengths)
    for stream, actions in zip(streams, expected, strict=True):
        assert same(stream.actions, actions)


def test_restored_in_another_slot_it_goes_on_bit_identically(model: Interaction) -> None:
    stream = talk(1, 30)
    expected = alone(model, stream)
    engine = Engine(model, slots=3, clock=VirtualClock())
    kept = Kept()
    session = engine.open(pace=Pace.DRIVEN, listener=kept, read=READ)
    for perception in stream[:14]:
        session.push(perception)
    engine.drain()
    data = session.snapshot()
    neighbour = engine.open(pace=Pace.DRIVEN)
    session.close()
    engine.drain()
    engine.open(pace=Pace.DRIVEN)  # the old slot belongs to somebody else now
    again = engine.open(pace=Pace.DRIVEN, listener=kept, restore=data)
    for perception in stream[14:]:
        again.push(perception)
        neighbour.push(perception)
    engine.drain()
    assert same(kept.actions, expected)


def test_packed_rows_do_not_know_of_each_other() -> None:
    if not can_pack():
        pytest.skip("this processor has no products of half precision")
    torch.manual_seed(0)
    plain = torch.nn.Linear(96, 130)
    packed = Packed(plain.weight, plain.bias)
    x = torch.randn(70, 96)
    whole = packed(x)
    assert all(torch.equal(packed(x[:count]), whole[:count]) for count in range(1, 70))
    assert torch.equal(packed(x[5, None, None])[0], whole[5:6])
    assert torch.allclose(whole, plain(x), atol=2e-3)

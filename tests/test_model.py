"""The laws of the interaction model: streaming = parallel, rows are independent, a snapshot is the session."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from microturn.model.config import CONFIGS, ModelConfig, tiny
from microturn.model.ears import FRAMES, power_mel
from microturn.model.interaction import Interaction
from microturn.model.layers import Routed
from microturn.model.memory import left_by, schedule
from microturn.model.network import Network, Own, Percept
from microturn.model.normal import plain
from microturn.model.tokenizer import PieceTokenizer
from microturn.streams import Channel, TickInput, TickOutput

torch.set_num_threads(1)
PIECES = PieceTokenizer.load()


def model_of(config: ModelConfig, seed: int = 0, slots: int = 8) -> Interaction:
    """Random weights, with the vectors that start at zero moved too, so that every path counts."""
    torch.manual_seed(seed)
    network = Network(config)
    with torch.no_grad():
        for weight in network.parameters():
            weight.add_(torch.randn_like(weight), alpha=0.1)
    model = Interaction(network, PIECES)
    model.allocate(slots)
    for slot in range(slots):
        model.reset(slot)
    return model


def world(model: Interaction, rows: int, ticks: int, seed: int) -> list[TickInput]:
    """What arrives at `rows` sessions: sound, frames and text, each of them missing at times."""
    rng = np.random.default_rng(seed)
    out = []
    for _ in range(ticks):
        b = TickInput.empty(rows, model.spec)
        b.audio[:] = rng.normal(0, 0.1, b.audio.shape)
        b.has_audio[:] = rng.random(rows) < 0.8
        b.frame[:] = rng.integers(0, 255, b.frame.shape)
        b.has_frame[:] = rng.random(rows) < 0.5
        b.text[:] = np.where(rng.random(b.text.shape) < 0.3, rng.integers(1, 2000, b.text.shape), 0)
        b.channel[:] = rng.integers(0, 4, (rows, 1))
        b.cancelled[:] = rng.random(rows) < 0.1
        b.eagerness[:] = rng.normal(0, 2, rows)
        out.append(b)
    return out


def only(batch: TickInput, row: int, rows: int) -> TickInput:
    """One row of a batch alone, padded to `rows`."""
    picked = {k: np.concatenate([v[row : row + 1]] * rows) for k, v in vars(batch).items()}
    return TickInput(**picked)


def copy_of(out: TickOutput, row: int) -> tuple[bytes, ...]:
    parts = (out.decision, out.odds, out.say, out.hear, out.speech, out.voiced)
    return tuple(p[row].tobytes() for p in parts)


@dataclass
class Taps:
    """Records what a streaming model composed and thought, to be run again in parallel."""

    percepts: list[Percept] = field(default_factory=list)
    own: list[Own] = field(default_factory=list)
    hidden: list[torch.Tensor] = field(default_factory=list)
    heard: list[torch.Tensor] = field(default_factory=list)

    @contextmanager
    def on(self, network: Network) -> Iterator[None]:
        def tap(
            method: Callable[..., Any], keep: Callable[[tuple[Any, ...], Any], None]
        ) -> Callable[..., Any]:
            def tapped(*args: Any, **named: Any) -> Any:
                out = method(*args, **named)
                keep(args, out)
                return out

            return tapped

        with pytest.MonkeyPatch.context() as patch:
            sense = tap(network.sense, lambda args, out: self.percepts.append(args[0]))
            patch.setattr(network, "sense", sense)
            compose = tap(network.compose, lambda args, out: self.own.append(args[1]))
            patch.setattr(network, "compose", compose)
            step = tap(network.backbone.step, self._stepped)
            patch.setattr(network.backbone, "step", step)
            yield

    def _stepped(self, args: tuple[Any, ...], out: torch.Tensor) -> None:
        self.hidden.append(out)
        self.heard.append(args[5].heard[:, None])


def joined(taps: Taps, rows: int) -> tuple[Percept, Own]:
    frames: list[torch.Tensor] = []
    for row in range(rows):
        came = [p for p in taps.percepts if p.has_frame[row, 0]]
        frames += [p.frames[int(p.has_frame[:row].sum())] for p in came]

    def cat(parts: list[torch.Tensor]) -> torch.Tensor:
        return torch.cat(parts, 1)

    first = taps.percepts[0]
    percept = Percept(
        levels=cat([p.levels for p in taps.percepts]),
        has_audio=cat([p.has_audio for p in taps.percepts]),
        frames=torch.stack(frames) if frames else first.frames[:0],
        has_frame=cat([p.has_frame for p in taps.percepts]),
        text=cat([p.text for p in taps.percepts]),
        channel=cat([p.channel for p in taps.percepts]),
    )
    sounded = None
    if taps.own[0].sounded is not None:
        sounded = cat([o.sounded for o in taps.own if o.sounded is not None])
    own = Own(
        cat([o.said for o in taps.own]),
        cat([o.heard for o in taps.own]),
        cat([o.decided for o in taps.own]),
        sounded,
    )
    return percept, own


SHAPES = {
    "dense": tiny(),
    "experts": tiny(experts=4, experts_active=2, experts_shared=1),
    "no group queries, one level": tiny(kv_heads=4, memory_levels=1, memory_per_level=3),
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("ticks", "instructions"), [(6, ""), (90, "always be kind"), (140, "")])
def test_a_whole_episode_at_once_is_the_same_as_tick_by_tick(
    shape: str, ticks: int, instructions: str
) -> None:
    """Across window, memory and re-merging boundaries, with missing inputs and pinned instructions."""
    config = SHAPES[shape]
    model = model_of(config)
    slots = np.array([2, 5, 3, 0])
    for slot in slots:
        if instructions:
            model.read(int(slot), instructions, Channel.INSTRUCTIONS)
    taps = Taps()
    with taps.on(model.network):
        for batch in world(model, 4, ticks, seed=ticks):
            model.step(slots, batch)
    percept, own = joined(taps, 4)
    packed = PIECES.pack(instructions, config.read_pieces)
    setup = torch.zeros(4, len(packed), config.read_pieces, dtype=torch.long)
    for i, pieces in enumerate(packed):
        setup[:, i, : len(pieces)] = torch.tensor(pieces)
    with torch.no_grad():
        channel, heard = torch.full_like(setup, Channel.INSTRUCTIONS), torch.cat(taps.heard, 1)
        parallel = model.network(setup, channel, percept, own, heard)
    assert torch.stack(taps.hidden, 1).shape == parallel.shape
    torch.testing.assert_close(parallel, torch.stack(taps.hidden, 1), atol=1e-5, rtol=0)


@settings(max_examples=8, deadline=None)
@given(data=st.data())
def test_a_session_is_bit_identical_alone_and_among_any_others(data: st.DataObject) -> None:
    """Whatever slot it has, whoever joins and leaves, and whichever batch size the others make it run in."""
    ticks, rows = 40, 12
    alone, crowd = model_of(tiny()), model_of(tiny(), slots=16)
    steps = world(alone, rows, ticks, seed=data.draw(st.integers(0, 99)))
    slot = data.draw(st.integers(0, 15))
    for batch in steps:
        expected = copy_of(alone.step(np.array([1]), only(batch, 0, 1)), 0)
        size = data.draw(st.sampled_from([1, 2, 4, 8]))
        others = data.draw(st.permutations([s for s in range(16) if s != slot]))[: size - 1]
        place = data.draw(st.integers(0, size - 1))
        slots = np.array([*others[:place], slot, *others[place:]])
        order = [*range(1, place + 1), 0, *range(place + 1, size)]
        mixed = TickInput(**{k: v[order] for k, v in vars(batch).items()})
        assert copy_of(crowd.step(slots, mixed), place) == expected


@pytest.mark.parametrize("threads", [2, 3])
def test_a_session_is_bit_identical_on_several_threads(threads: int) -> None:
    """Which thread a row falls to depends on how many there are."""
    torch.set_num_threads(threads)
    try:
        alone, crowd = model_of(tiny()), model_of(tiny(), slots=16)
        for tick, batch in enumerate(world(alone, 12, 40, seed=0)):
            size = (1, 2, 4, 8)[tick % 4]
            expected = copy_of(alone.step(np.array([1]), only(batch, 0, 1)), 0)
            mixed = TickInput(**{k: v[:size] for k, v in vars(batch).items()})
            assert copy_of(crowd.step(np.arange(size), mixed), 0) == expected
    finally:
        torch.set_num_threads(1)


def test_ticks_without_any_word_are_lived_through() -> None:
    model = model_of(tiny())
    for head in (model.network.say, model.network.hear):
        head.bias[0] = 1e3
        head.pack_table()
    for batch in world(model, 2, 20, seed=5):
        out = model.step(np.array([1, 2]), TickInput(**{**vars(batch), "text": np.zeros_like(batch.text)}))
        assert not out.hear.any()


def test_padding_rows_touch_no_session() -> None:
    model, twin = model_of(tiny()), model_of(tiny())
    for batch in world(model, 4, 60, seed=3):
        padded = model.step(np.array([6, -1, -1, -1]), batch)
        expected = copy_of(padded, 0)
        assert copy_of(twin.step(np.array([6]), only(batch, 0, 1)), 0) == expected
    assert model.snapshot(5) == twin.snapshot(5)
    assert model.snapshot(6) == twin.snapshot(6)


@settings(max_examples=6, deadline=None)
@given(cut=st.integers(0, 60), slot=st.integers(0, 7))
def test_a_snapshot_continues_as_if_nothing_had_happened(cut: int, slot: int) -> None:
    model = model_of(tiny())
    steps = world(model, 1, 80, seed=cut)
    for batch in steps[:cut]:
        model.step(np.array([1]), batch)
    kept = model.snapshot(1)
    rest = [copy_of(model.step(np.array([1]), b), 0) for b in steps[cut:]]
    other = model_of(tiny())
    other.restore(slot, kept)
    assert [copy_of(other.step(np.array([slot]), b), 0) for b in steps[cut:]] == rest


def test_the_static_path_that_graphs_capture_is_the_same_to_the_bit() -> None:
    quick, static = model_of(tiny()), model_of(tiny())
    static.static = True
    slots = np.array([3, 1, 6, -1])
    for batch in world(quick, 4, 60, seed=5):
        expected = [copy_of(quick.step(slots, batch), row) for row in range(3)]
        assert [copy_of(static.step(slots, batch), row) for row in range(3)] == expected


def test_a_snapshot_of_other_weights_or_damaged_is_refused_in_one_line() -> None:
    model, other = model_of(tiny()), model_of(tiny(), seed=1)
    kept = model.snapshot(0)
    for data in (kept, b"", b"nonsense" * 9, kept[: len(kept) // 2]):
        with pytest.raises(ValueError, match="snapshot") as error:
            other.restore(0, data)
        assert "\n" not in str(error.value)


def test_state_is_constant_however_long_a_session_runs() -> None:
    model = model_of(tiny())
    before = len(model.snapshot(0))
    for batch in world(model, 1, 300, seed=0):
        model.step(np.array([0]), batch)
    assert len(model.snapshot(0)) == before


def test_missing_sound_is_heard_as_missing_not_as_silence() -> None:
    a, b = model_of(tiny()), model_of(tiny())
    present, missing = TickInput.empty(1, a.spec), TickInput.empty(1, a.spec)
    present.has_audio[:] = True
    assert copy_of(a.step(np.array([0]), present), 0) != copy_of(b.step(np.array([0]), missing), 0)


def test_instructions_beyond_the_pinned_places_are_refused() -> None:
    model = model_of(tiny())
    with pytest.raises(ValueError, match="at most 6"):
        model.read(0, "word " * 40, Channel.INSTRUCTIONS)


# ---- parts ----


@given(ticks=st.integers(1, 400))
@settings(max_examples=30, deadline=None)
def test_every_tick_that_left_the_window_is_in_exactly_one_living_entry(ticks: int) -> None:
    config = tiny(memory_levels=3, memory_per_level=2)
    entries = schedule(ticks, config)
    now = ticks - 1
    covered = sorted(g for e in entries if e.born <= now < e.died for g in range(e.first, e.last + 1))
    assert covered == list(range(left_by(now, config) // config.group))
    assert sum(e.born <= now < e.died for e in entries) <= config.memory


def test_gathering_experts_equals_grouping_rows() -> None:
    torch.manual_seed(0)
    layer = Routed(16, 24, experts=6, active=2, shared=1)
    x = torch.randn(20, 16)
    weight, expert = layer.route(x)
    torch.testing.assert_close(layer.gathered(x, weight, expert), layer.grouped(x, weight, expert))


@given(st.text(max_size=40))
def test_any_text_survives_the_tokenizer(text: str) -> None:
    assert PIECES.decode(PIECES.encode(text)) == text


def test_reading_keeps_words_whole_wherever_they_fit() -> None:
    positions = PIECES.pack("every time i say watermelon say elephant", 4)
    assert all(0 < len(p) <= 4 for p in positions)
    assert (
        PIECES.decode([piece for p in positions for piece in p])
        == " every time i say watermelon say elephant"
    )
    assert all(PIECES.piece(p[0]).startswith(" ") for p in positions)


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ('final: "Oslo has rain and 12 degrees."', "final: oslo has rain and twelve degrees"),
        ('commentary, silent: "one source"', "commentary silent: one source"),
        ("final: \"He said final: 'stop'\"", "final: he said final stop"),
        ("What's 5 + 8?", "what's five plus eight"),
        ("Say “well-done” at 7:30!", "say well done at seven thirty"),
        ("final: \"He said 'stop it now', ‘twice’\"", "final: he said stop it now twice"),
        ('final: "see commentary:stop"', "final: see commentary stop"),
        ("red,green,blue.Then J.R.R. again", "red green blue then j r r again"),
        (
            "$5k, $1.5M, $.99 or 20 €",
            "five thousand dollars one point five million dollars ninety nine cents or twenty euros",
        ),
        ("US$20-$30", "us twenty dollars thirty dollars"),
        ("−5, 2*3 and what %", "minus five two times three and what percent"),
        ("(555) 123-4567", "five five five one two three four five six seven"),
        ("+1 555 123 4567", "plus one five five five one two three four five six seven"),
        ("cafe\u0301s exam\u00adple", "cafés example"),
        ("नमस्ते दुनिया, สวัสดี", "नमस्ते दुनिया สวัสดี"),
        ("I ❤\ufe0f 1\ufe0f\u20e3", "i one"),
        ("👍", "👍"),
        ("\ud800", "?"),
        ("?!", "?!"),
        (" ", ""),
    ],
)
def test_text_is_read_as_it_would_be_said(written: str, read: str) -> None:
    """So what comes back can be copied word by word; what is in it cannot pass for the label of another result."""
    assert PIECES.decode([piece for p in PIECES.pack(written, 4) for piece in p]).strip() == read


@given(st.text(max_size=40) | st.text("$€1,.:-'\"%thmk/a J°(+½²٣❤\ufe0fé\u0301िक", max_size=60))
def test_whatever_is_written_can_be_read(text: str) -> None:
    assert bool(PIECES.pack(text, 4)) == bool(text.split())


@pytest.mark.parametrize("text", ["$" + "9" * 5000, "1" * 5000 + "th", "1" + ",111" * 16_000])
def test_long_figures_are_read_quickly(text: str) -> None:
    began = time.process_time()
    assert 0 < len(plain(text)) < len(text) + 2
    assert time.process_time() - began < 2.0


def test_a_tone_lands_in_its_bin_at_0_db() -> None:
    seconds = torch.arange(16000) / 16000
    power = power_mel(torch.sin(2 * torch.pi * 1000 * seconds))
    assert power.shape == (100, 64)
    assert float(power[50:].max()) == pytest.approx(1.0, abs=0.35)
    assert len(power) == 5 * FRAMES


@pytest.mark.parametrize("name", CONFIGS)
def test_configs_travel_as_json(name: str) -> None:
    assert ModelConfig.from_json(CONFIGS[name].to_json()) == CONFIGS[name]


@pytest.mark.parametrize(
    "bad", ["nope", '{"format": 1, "name": "x", "wings": 2}', '{"format": 99, "name": "x"}']
)
def test_a_bad_config_gets_one_clear_line(bad: str) -> None:
    with pytest.raises(ValueError, match="config") as error:
        ModelConfig.from_json(bad)
    assert "\n" not in str(error.value)


def test_the_published_size_builds_on_the_meta_device() -> None:
    with torch.device("meta"):
        network = Network(CONFIGS["tml-interaction-small"])
    assert sum(p.numel() for p in network.parameters()) == pytest.approx(276e9, rel=0.02)

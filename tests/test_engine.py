"""The engine's laws: whoever shares a batch, whatever the pace, across snapshots, actions are the same."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from echo_model import POISON, EchoModel
from microturn.clock import HEAR_SAMPLES, VirtualClock
from microturn.engine import Engine, EngineFull, Pace, Session, SessionClosed, Stream, play, play_all
from microturn.streams import Action, Channel, Floats, Ints, Perception, TextIn, TickInput, TickOutput

TICK = 0.2
laws = settings(max_examples=25, deadline=None)


@dataclass
class Kept:
    """A listener that takes everything at once, and how its session ended."""

    actions: list[Action] = field(default_factory=list)
    ends: list[Exception | None] = field(default_factory=list)

    def __call__(self, action: Action) -> bool:
        self.actions.append(action)
        return True


def sound(number: int, samples: int = HEAR_SAMPLES) -> Floats:
    return np.full(samples, (number % 97) / 200, np.float32)


def perceptions(seed: int, ticks: int) -> list[Perception]:
    random = np.random.default_rng(seed)
    made = []
    for tick in range(ticks):
        kind = random.integers(0, 8)
        made.append(
            Perception(
                audio=None if kind == 0 else sound(int(random.integers(1000))),
                frame=random.integers(0, 256, (4, 6, 3), np.uint8) if kind == 1 else None,
                text=(TextIn(f"tick {tick}", Channel(int(kind) % 4)),) if kind in (2, 3) else (),
                cancelled=bool(kind == 4 and tick),
            )
        )
    return made


def same(a: list[Action], b: list[Action]) -> bool:
    def plain(action: Action) -> tuple[Action, bytes | None]:
        return replace(action, speech=None), None if action.speech is None else action.speech.tobytes()

    return [plain(x) for x in a] == [plain(y) for y in b]


def alone(stream: list[Perception], seed: int = 0) -> list[Action]:
    return list(play(Engine(EchoModel(), slots=1, clock=VirtualClock()), Stream(stream, seed=seed)))


# ---- batches ----


@laws
@given(
    lengths=st.lists(st.integers(1, 12), min_size=1, max_size=9),
    slots=st.integers(1, 6),
    sizes=st.sampled_from([(2, 4, 8), (1,), (3,), (2, 16)]),
)
def test_actions_are_the_same_whoever_shares_the_batch(
    lengths: list[int], slots: int, sizes: tuple[int, ...]
) -> None:
    streams = [Stream(perceptions(seed, ticks), seed=seed) for seed, ticks in enumerate(lengths)]
    engine = Engine(EchoModel(sizes), slots=slots, clock=VirtualClock())
    for stream in play_all(engine, streams):  # sessions join and leave as they end
        assert same(stream.actions, alone(list(stream.perceptions), stream.seed))
    assert engine.stats().ticks == sum(lengths)


def test_all_that_are_ready_are_stepped_together_in_the_smallest_batch_that_holds_them() -> None:
    model = EchoModel((2, 4))
    engine = Engine(model, slots=6, clock=VirtualClock())
    sessions = [engine.open(pace=Pace.DRIVEN) for _ in range(6)]
    for session in sessions[:3]:
        session.push_audio(sound(1))
    engine.run_once()
    for session in sessions:
        session.push_audio(sound(2))
    engine.drain()
    assert model.batches[0] == [0, 1, 2]
    assert sorted(model.batches[1] + model.batches[2]) == [0, 1, 2, 3, 4, 5]
    assert {3, 4, 5} < set(model.batches[1])  # those that waited longest come first


def test_any_cutting_of_the_audio_gives_the_same_ticks() -> None:
    whole = np.concatenate([sound(k) for k in range(10)])
    engine = Engine(EchoModel(), slots=2, clock=VirtualClock())
    kept = [Kept(), Kept()]
    for session_kept, cut in zip(kept, (700, 7001), strict=True):
        session = engine.open(pace=Pace.DRIVEN, listener=session_kept)
        for start in range(0, len(whole), cut):
            session.push_audio(whole[start : start + cut])
        session.end()
        engine.drain()
    assert len(kept[0].actions) == 10
    assert same(kept[0].actions, kept[1].actions)


def test_a_witness_sees_what_replays_to_the_same_actions() -> None:
    engine = Engine(EchoModel(), slots=1, clock=VirtualClock())
    seen: list[Perception] = []
    kept = Kept()
    session = engine.open(
        pace=Pace.DRIVEN, listener=kept, witness=lambda perception, _: seen.append(perception)
    )
    for perception in perceptions(5, 40):
        session.push(perception)
    engine.drain()
    assert same(alone(seen), kept.actions)


# ---- text ----


def test_text_is_read_a_few_pieces_a_tick_oldest_first_and_never_stops_a_tick() -> None:
    read: list[int] = []

    class Reader(EchoModel):
        def step(self, slots: Ints, batch: TickInput) -> TickOutput:
            read.extend(batch.text[0].tolist())
            return super().step(slots, batch)

    engine = Engine(Reader(), slots=1, clock=VirtualClock())
    session = engine.open(pace=Pace.DRIVEN)
    session.push_text("background", Channel.BACKGROUND)
    session.push_text("typed", Channel.TYPED)
    session.push_missing(7)
    engine.drain()
    assert len(read) == 7 * engine.spec.read_pieces  # every tick happened
    assert engine.tokenizer.decode(read) == "backgroundtyped"


def test_more_text_than_can_ever_be_read_is_refused() -> None:
    session = Engine(EchoModel(), slots=1, clock=VirtualClock()).open(pace=Pace.DRIVEN)
    with pytest.raises(ValueError, match="too much unread text"):
        session.push_text("x" * 10_000, Channel.TYPED)


def test_reading_at_opening_makes_nobody_wait_for_more_than_one_text() -> None:
    order: list[str] = []

    class Reader(EchoModel):
        def read(self, slot: int, text: str, channel: Channel) -> None:
            order.append(text)
            first.push_missing()

        def step(self, slots: Ints, batch: TickInput) -> TickOutput:
            order.append("tick")
            return super().step(slots, batch)

    engine = Engine(Reader(), slots=2, clock=VirtualClock())
    first = engine.open(pace=Pace.DRIVEN)
    opening = threading.Thread(
        target=engine.open,
        kwargs={"pace": Pace.DRIVEN, "read": [TextIn(word, Channel.HISTORY) for word in "abc"]},
    )
    engine.start()
    opening.start()
    opening.join(timeout=10)
    engine.close()
    assert order == ["a", "tick", "b", "tick", "c", "tick"]


# ---- snapshots ----


@laws
@given(seed=st.integers(0, 1000), ticks=st.integers(2, 20), data=st.data())
def test_restored_and_continued_is_uninterrupted(seed: int, ticks: int, data: st.DataObject) -> None:
    stream = perceptions(seed, ticks)
    cut = data.draw(st.integers(0, ticks - 1))
    ahead = data.draw(st.integers(0, min(3, ticks - cut)))  # ticks pushed but not stepped at the snapshot
    first = Engine(EchoModel(), slots=1, clock=VirtualClock())
    kept = Kept()
    session = first.open(pace=Pace.DRIVEN, listener=kept, seed=seed)
    for perception in stream[:cut]:
        session.push(perception)
    first.drain()
    for perception in stream[cut : cut + ahead]:
        session.push(perception)
    second = Engine(EchoModel(), slots=3, clock=VirtualClock(7.0))
    second.open(pace=Pace.DRIVEN)  # the session moves to another slot as well
    again = second.open(pace=Pace.DRIVEN, listener=kept, restore=session.snapshot())
    for perception in stream[cut + ahead :]:
        again.push(perception)
    second.drain()
    assert same(kept.actions, alone(stream, seed))


def test_a_fork_gives_two_futures() -> None:
    stream = perceptions(3, 12)
    engine = Engine(EchoModel(), slots=2, clock=VirtualClock())
    kept, forked = Kept(), Kept()
    session = engine.open(pace=Pace.DRIVEN, listener=kept)
    for perception in stream[:6]:
        session.push(perception)
    engine.drain()
    fork = session.fork(listener=forked)
    other = Perception(audio=sound(50))
    for perception in stream[6:]:
        session.push(perception)
        fork.push(other)
    engine.drain()
    assert same(kept.actions, alone(stream))
    assert same(kept.actions[:6] + forked.actions, alone(stream[:6] + [other] * 6))


@laws
@given(data=st.data())
def test_wrong_bytes_are_refused_in_one_line_and_leave_the_slot_free(data: st.DataObject) -> None:
    engine = Engine(EchoModel(), slots=1, clock=VirtualClock())
    session = engine.open(pace=Pace.DRIVEN)
    session.push_text("hello", Channel.TYPED)
    good = session.snapshot()
    session.close()
    engine.drain()
    at = data.draw(st.integers(0, len(good) - 1))
    bad = data.draw(st.sampled_from([good[:at], good[:at] + bytes([good[at] ^ 255]) + good[at + 1 :]]))
    with pytest.raises(ValueError, match="snapshot") as caught:
        engine.open(restore=bad)
    assert "\n" not in str(caught.value)
    with pytest.raises(ValueError, match="in the voice that it had"):
        engine.open(restore=good, voice="another")
    engine.open(restore=good)


def test_a_snapshot_of_another_model_leaves_the_slot_free() -> None:
    class Other(EchoModel):
        def snapshot(self, slot: int) -> bytes:
            return b"other"

    data = Engine(Other(), slots=1, clock=VirtualClock()).open().snapshot()
    engine = Engine(EchoModel(), slots=1, clock=VirtualClock())
    with pytest.raises(ValueError, match="not an echo"):
        engine.open(restore=data)
    engine.open()


# ---- admission, closing, failing ----


def test_a_full_engine_says_so_at_once_and_a_closing_session_keeps_its_slot_until_it_is_clean() -> None:
    model = EchoModel()
    engine = Engine(model, slots=1, clock=VirtualClock())
    session = engine.open()
    with pytest.raises(EngineFull) as full:
        engine.open()
    assert full.value.retry_after_s > 1
    session.close()
    resets = len(model.resets)
    with pytest.raises(EngineFull) as cleaning:
        engine.open()
    assert cleaning.value.retry_after_s < 1
    engine.run_once()
    assert len(model.resets) == resets + 1
    engine.open()
    assert engine.stats().refused == 2


def test_a_slow_model_admits_only_as_many_as_can_be_stepped_in_time() -> None:
    clock = VirtualClock()

    class Slow(EchoModel):
        def step(self, slots: Ints, batch: TickInput) -> TickOutput:
            clock.advance(0.015 * len(slots))
            return super().step(slots, batch)

    engine = Engine(Slow(), slots=32, clock=clock)
    engine.warm_up()
    for _ in range(4):  # 4 rows take 60 ms, 8 would take 120 of the 100 that a step may
        engine.open()
    with pytest.raises(EngineFull, match="in time"):
        engine.open()
    driven = Engine(Slow(), slots=32, clock=clock)
    driven.warm_up()
    assert len([driven.open(pace=Pace.DRIVEN) for _ in range(32)]) == 32  # these have no deadline


def test_a_step_that_raises_ends_its_batch_and_nothing_else() -> None:
    engine = Engine(EchoModel(), slots=3, clock=VirtualClock())
    kept = [Kept() for _ in range(3)]
    sessions = [engine.open(pace=Pace.DRIVEN, listener=k, on_end=k.ends.append) for k in kept]
    sessions[0].push_audio(np.full(HEAR_SAMPLES, POISON, np.float32))
    sessions[1].push_audio(sound(1))
    engine.drain()
    sessions[2].push(Perception(audio=sound(3)))
    engine.drain()
    assert [len(k.actions) for k in kept] == [0, 0, 1]
    assert [len(k.ends) for k in kept] == [1, 1, 0]
    assert isinstance(kept[0].ends[0], ArithmeticError)
    with pytest.raises(SessionClosed, match="poisoned"):
        sessions[0].push_audio(sound(1))
    assert engine.stats().failed == 2
    assert engine.stats().sessions == 1
    engine.open(pace=Pace.DRIVEN)  # the slots are clean again


def test_a_listener_that_raises_ends_its_own_session_only() -> None:
    engine = Engine(EchoModel(), slots=2, clock=VirtualClock())
    ends: list[Exception | None] = []
    kept = Kept()

    def broken(action: Action) -> bool:
        raise OSError("gone")

    sessions = [
        engine.open(pace=Pace.DRIVEN, listener=broken, on_end=ends.append),
        engine.open(pace=Pace.DRIVEN, listener=kept),
    ]
    for session in sessions:
        session.push_audio(sound(1))
    engine.drain()
    assert isinstance(ends[0], OSError)
    assert len(kept.actions) == 1


def test_a_session_can_be_closed_by_its_own_listener_and_ends_once() -> None:
    engine = Engine(EchoModel(), slots=1, clock=VirtualClock())
    ends: list[Exception | None] = []
    sessions: list[Session] = []

    def leave(action: Action) -> bool:
        sessions[0].close()
        sessions[0].close()
        return True

    sessions.append(engine.open(pace=Pace.DRIVEN, listener=leave, on_end=ends.append))
    sessions[0].push_missing(3)
    engine.drain()
    assert ends == [None]
    assert sessions[0].stats.ticks == 1


@pytest.mark.parametrize(
    ("push", "says"),
    [
        (lambda s: s.push_audio(np.array([np.nan], np.float32)), "finite"),
        (lambda s: s.push_audio(np.zeros((2, 5), np.float32)), "one row"),
        (lambda s: s.push_frame(np.zeros((3, 3, 3), np.uint8)), "a frame must be"),
        (lambda s: s.push(Perception(audio=np.zeros(5, np.float32))), "3200 samples"),
    ],
)
def test_bad_input_is_refused_in_one_line(push, says: str) -> None:  # type: ignore[no-untyped-def]
    session = Engine(EchoModel(), slots=1, clock=VirtualClock()).open()
    with pytest.raises(ValueError, match=says):
        push(session)

"""The live pace in virtual time: what comes late did not come, nobody waits for anybody, no queue grows."""

from __future__ import annotations

import threading
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from echo_model import EchoModel
from microturn.clock import HEAR_RATE, HEAR_SAMPLES, VirtualClock, WallClock
from microturn.engine import Engine, Outbox, Pace, SessionClosed
from microturn.streams import Action, Ints, Perception, TickInput, TickOutput
from test_engine import TICK, Kept, alone, perceptions, same, sound

laws = settings(max_examples=15, deadline=None)
GRACE = 0.02


class Call:
    """One live session with a client whose packets travel for a while."""

    def __init__(self, slots: int = 1) -> None:
        self.clock = VirtualClock()
        self.engine = Engine(EchoModel(), slots=slots, clock=self.clock, grace_s=GRACE, backlog=4)
        self.kept = Kept()
        self.session = self.engine.open(listener=self.kept)

    def send(self, seconds: float, delay: list[float], packet: float = 0.02, drift: float = 1.0) -> None:
        """Constant capture in packets; packet i arrives `delay[i % n]` after it was captured, in order."""
        arrived = start = self.clock.now()
        for i in range(round(seconds / packet)):
            arrived = max(arrived, start + ((i + 1) * packet + delay[i % len(delay)]) * drift)
            self.engine.run_until(arrived)
            self.session.push_audio(sound(i, round(packet * HEAR_RATE)))
            self.engine.drain()


@laws
@given(
    seed=st.integers(0, 1000), ticks=st.integers(1, 20), early=st.floats(0, 0.19), late=st.floats(0, GRACE)
)
def test_live_is_driven_when_everything_comes_in_time(
    seed: int, ticks: int, early: float, late: float
) -> None:
    stream = perceptions(seed, ticks)
    call = Call()
    for tick, perception in enumerate(stream):
        call.engine.run_until((tick + 1) * TICK + (late * 0.99 if tick % 2 else -early))
        call.session.push(perception)
        call.engine.drain()
    call.engine.run_until(ticks * TICK)
    assert same(call.kept.actions, alone(stream))
    assert call.session.stats.missed == sum(p.audio is None for p in stream)


def test_a_tick_happens_without_input_one_grace_after_its_end() -> None:
    call = Call()
    call.engine.run_until(TICK + GRACE - 0.001)
    assert not call.kept.actions
    call.engine.run_until(TICK + GRACE)
    assert [action.missed for action in call.kept.actions] == [True]
    call.engine.run_until(10 * TICK + GRACE)
    assert same(call.kept.actions, alone([Perception()] * 10))


def test_a_tick_never_happens_before_it_begins() -> None:
    call = Call()
    for tick in range(3):
        call.session.push_audio(sound(tick))
    call.engine.drain()
    assert len(call.kept.actions) == 1
    call.engine.run_until(TICK)
    assert len(call.kept.actions) == 2


@laws
@given(delay=st.floats(0.0, 0.19), jitter=st.floats(0.0, 0.15))
def test_a_steady_delay_and_its_jitter_cost_one_or_two_ticks_once(delay: float, jitter: float) -> None:
    call = Call()
    call.send(12, [delay, delay + jitter, delay + jitter / 3, delay])
    assert call.session.stats.missed <= 2
    assert call.session.stats.late == 0


@laws
@given(stall=st.floats(0.25, 5.0))
def test_after_a_stall_the_delay_is_gone_within_a_few_seconds(stall: float) -> None:
    call = Call()
    call.send(2, [0.01])
    before = call.session.stats.ticks
    call.engine.run_until(2 + stall)
    for i in range(round(stall / 0.02)):
        call.session.push_audio(sound(i, 320))  # everything that was held up comes at once
    call.engine.drain()
    call.send(5, [0.01])
    stats = call.session.stats
    assert stats.backlog <= 1
    assert stats.missed <= stall / TICK + 2
    assert stats.late <= stall / TICK + 1
    assert abs(stats.ticks - before - (stall + 5) / TICK) <= 2  # media time is wall time


@pytest.mark.parametrize("drift", [0.999, 1.001])
def test_a_client_whose_clock_drifts_loses_a_tick_now_and_then(drift: float) -> None:
    call = Call()
    call.send(300, [0.01], packet=0.1, drift=drift)  # 0.3 s of drift in five minutes
    stats = call.session.stats
    assert stats.missed + stats.late <= 5
    assert stats.backlog <= 1


def test_part_of_a_tick_is_kept_while_sound_comes_and_forgotten_when_it_stops() -> None:
    call = Call()
    call.session.push_audio(sound(1, 1600))
    call.engine.run_until(2 * TICK + GRACE)  # one tick in which it came, one in which nothing did
    call.session.push_audio(sound(2))
    call.engine.run_until(3 * TICK + GRACE)
    assert same(call.kept.actions, alone([Perception(), Perception(), Perception(audio=sound(2))]))


@laws
@given(bursts=st.lists(st.tuples(st.integers(0, 40_000), st.floats(0, 2)), max_size=30))
def test_no_queue_grows_whatever_comes(bursts: list[tuple[int, float]]) -> None:
    call = Call()
    for samples, pause in bursts:
        call.session.push_audio(sound(1, samples))
        assert call.session.stats.backlog <= call.engine.slots.backlog
        call.engine.run_until(call.clock.now() + pause)
    stats = call.session.stats
    assert abs(stats.ticks * TICK - call.clock.now()) <= 2 * TICK


# ---- delivery ----


@laws
@given(takes=st.lists(st.tuples(st.floats(0, 0.6), st.booleans()), max_size=40))
def test_never_ahead_of_delivery(takes: list[tuple[float, bool]]) -> None:
    clock = VirtualClock()
    engine = Engine(EchoModel(), slots=1, clock=clock)
    there: list[Action] = []

    def slow(action: Action) -> bool:
        there.append(action)
        return False

    session = engine.open(listener=slow)
    taken = 0
    for pause, take in takes:
        session.push_audio(sound(1))
        engine.run_until(clock.now() + pause)
        assert len(there) <= taken + 1
        if take and len(there) > taken:
            taken += 1
            session.took()
    assert all(a.tick < b.tick for a, b in pairwise(there))
    assert session.stats.ticks == len(there)


def test_a_dead_listener_costs_its_own_session_ticks_and_its_neighbour_nothing() -> None:
    call = Call(slots=2)
    dead = call.engine.open(listener=lambda action: False)
    stream = [Perception(audio=sound(k)) for k in range(50)]
    for tick, perception in enumerate(stream):
        call.engine.run_until((tick + 1) * TICK)
        dead.push(perception)
        call.session.push(perception)
        call.engine.drain()
    assert same(call.kept.actions, alone(stream))
    assert dead.stats.ticks == 1
    dead.took()
    call.engine.drain()
    assert dead.stats.skipped == 47  # of 50: one before, one now, and the one that is not due yet
    assert dead.stats.backlog <= 1


def test_an_engine_that_is_too_slow_jumps_to_now() -> None:
    clock = VirtualClock()

    class Slow(EchoModel):
        def step(self, slots: Ints, batch: TickInput) -> TickOutput:
            clock.advance(0.5)
            return super().step(slots, batch)

    engine = Engine(Slow(), slots=1, clock=clock)
    session = engine.open()
    while clock.now() < 60:
        session.push_audio(sound(1))
        if not engine.run_once():
            clock.advance(0.1)
    stats = engine.stats()
    assert stats.overdue > 100
    assert abs((stats.ticks + stats.skipped) * TICK - clock.now()) < 2
    assert stats.backlog <= engine.slots.backlog


def test_cancelled_reaches_the_next_tick() -> None:
    call = Call()
    stream = [Perception(audio=sound(1)), Perception(audio=sound(2), cancelled=True)]
    call.engine.run_until(TICK)
    call.session.push(stream[0])
    call.engine.drain()
    call.session.cancel_last()
    call.session.push_audio(sound(2))
    call.engine.run_until(2 * TICK)
    assert same(call.kept.actions, alone(stream))


def test_a_live_session_restored_in_the_middle_of_a_tick_goes_on_in_time() -> None:
    stream = [Perception(audio=sound(k)) for k in range(8)]
    call = Call(slots=2)
    for perception in stream[:4]:
        call.engine.run_until(call.clock.now() + TICK)
        call.session.push(perception)
        call.engine.drain()
    call.session.push_audio(sound(4, 1000))
    data = call.session.snapshot()
    call.session.close()
    again = call.engine.open(listener=call.kept, restore=data)
    again.push_audio(sound(4, HEAR_SAMPLES - 1000))
    for perception in stream[5:]:
        call.engine.run_until(call.clock.now() + TICK)
        again.push(perception)
    call.engine.run_until(8 * TICK)
    assert same(call.kept.actions, alone(stream))


# ---- a thread of its own ----


def test_a_threaded_engine_gives_the_same_actions_to_consumers_in_other_threads() -> None:
    engine = Engine(EchoModel(), slots=4, clock=WallClock())
    engine.start()
    streams = [perceptions(seed, 60) for seed in range(4)]
    results: list[list[Action]] = [[] for _ in streams]

    def talk(which: int) -> None:
        outbox = Outbox()
        session = engine.open(pace=Pace.DRIVEN, listener=outbox, seed=which)

        def push_all() -> None:
            for perception in streams[which]:
                session.push(perception)

        pusher = threading.Thread(target=push_all)
        pusher.start()
        while len(results[which]) < 60:
            action = outbox.take(timeout_s=10)
            assert action is not None
            results[which].append(action)
        pusher.join()
        session.close()
        with pytest.raises(SessionClosed):
            outbox.take(timeout_s=10)

    threads = [threading.Thread(target=talk, args=(which,)) for which in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    engine.close()
    for which, stream in enumerate(streams):
        assert same(results[which], alone(stream, which))


def test_closing_the_engine_ends_every_session() -> None:
    engine = Engine(EchoModel(), slots=2, clock=WallClock())
    engine.start()
    kept = [Kept(), Kept()]
    sessions = [engine.open(listener=k, on_end=k.ends.append) for k in kept]
    engine.close()
    assert [k.ends for k in kept] == [[None], [None]]
    with pytest.raises(SessionClosed):
        sessions[0].push_audio(np.zeros(10, np.float32))

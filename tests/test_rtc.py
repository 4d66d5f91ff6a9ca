"""WebRTC with aiortc as a real peer; how speech is paced, without one."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from microturn.clock import SPEAK_SAMPLES
from microturn.server.rtc import CUSHION, FADE, FRAME, MOST, Playout
from microturn.streams import Action, Decision

PER_TICK = SPEAK_SAMPLES // FRAME


def spoken(tick: int, value: float) -> Action:
    return Action(tick, Decision.SPEAK, speech=np.full(SPEAK_SAMPLES, value, np.float32))


def silent(tick: int, decision: Decision = Decision.LISTEN) -> Action:
    return Action(tick, decision)


def pull(playout: Playout, frames: int) -> list[float]:
    """The last sample of each of so many frames."""
    return [float(playout.next()[-1]) for _ in range(frames)]


def test_speech_begins_after_a_cushion_and_goes_out_whole() -> None:
    playout = Playout()
    playout.push(spoken(0, 0.5))
    assert pull(playout, CUSHION + PER_TICK + 1) == [0.0] * CUSHION + [0.5] * PER_TICK + [0.0]


def test_yielding_fades_at_once() -> None:
    playout = Playout()
    playout.push(spoken(0, 0.5))
    pull(playout, CUSHION + 2)
    playout.push(silent(1))
    fading = pull(playout, FADE + 1)
    assert sorted(fading, reverse=True) == fading
    assert fading[0] < 0.5
    assert fading[-1] == 0.0


def test_silence_within_speech_keeps_its_length() -> None:
    playout = Playout()
    playout.push(spoken(0, 0.5))
    playout.push(silent(1, Decision.SPEAK))
    assert pull(playout, CUSHION + 2 * PER_TICK) == [0.0] * CUSHION + [0.5] * PER_TICK + [0.0] * PER_TICK


@given(st.lists(st.tuples(st.sampled_from([0.0, 0.5]), st.integers(0, 2 * PER_TICK)), max_size=40))
def test_delay_never_piles_up(ticks: list[tuple[float, int]]) -> None:
    """However unevenly ticks come and frames are taken, no more than two ticks wait."""
    playout = Playout()
    for tick, (value, taken) in enumerate(ticks):
        playout.push(spoken(tick, value) if value else silent(tick))
        assert playout.waiting <= MOST
        pull(playout, taken)

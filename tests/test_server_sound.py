"""Sound on the wire: resampled without holding back, whatever the pieces it comes in."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from microturn.clock import HEAR_RATE, SPEAK_SAMPLES
from microturn.server.sound import RATES, TABLES, Ear, Mouth, Resampler, encode, pcm16
from microturn.streams import Action, Decision, Floats

PAIRS = [(rate, HEAR_RATE) for rate in RATES] + [(24_000, rate) for rate in RATES]


def tone(rate: int, hertz: float, seconds: float = 0.5) -> Floats:
    return (0.5 * np.sin(2 * np.pi * hertz * np.arange(round(rate * seconds)) / rate)).astype(np.float32)


@given(st.sampled_from(PAIRS), st.lists(st.integers(0, 500), min_size=1, max_size=12), st.integers(0, 99))
def test_in_pieces_it_is_the_same_sound(pair: tuple[int, int], cuts: list[int], seed: int) -> None:
    samples = np.random.default_rng(seed).normal(0, 0.2, sum(cuts)).astype(np.float32)
    whole = Resampler(*pair)(samples)
    pieces, at, cut = Resampler(*pair), 0, []
    for length in cuts:
        cut.append(pieces(samples[at : at + length]))
        at += length
    assert np.allclose(np.concatenate(cut), whole, atol=1e-5)
    assert len(whole) == -(-len(samples) * pair[1] // pair[0])


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_a_tone_stays_what_it_was_a_millisecond_or_two_later(source: int, target: int) -> None:
    low = min(source, target)
    heard, delay = Resampler(source, target)(tone(source, 440)), 16 / low if source != target else 0.0
    expected = tone(target, 440)
    shift = round(delay * target)
    assert np.abs(heard[shift + 200 :] - expected[200 : len(expected) - shift]).max() < 0.01
    if target < source:  # what the lower rate cannot carry is gone
        assert np.abs(Resampler(source, target)(tone(source, 0.75 * target))[200:]).max() < 0.001


@given(st.lists(st.binary(max_size=50), max_size=10))
def test_samples_cut_in_half_are_put_together(messages: list[bytes]) -> None:
    ear = Ear(HEAR_RATE)
    heard = np.concatenate([np.zeros(0, np.float32), *(ear(message) for message in messages)])
    sent = b"".join(messages)
    assert pcm16(heard) == sent[: len(sent) & ~1]


@pytest.mark.parametrize("code", ["pcmu", "pcma"])
def test_g711_is_its_own_inverse_and_fine_where_it_is_quiet(code: str) -> None:
    table = TABLES[code]
    assert np.array_equal(table[np.frombuffer(encode(table, code), np.uint8)], table)
    loud = tone(8000, 300)
    heard = table[np.frombuffer(encode(loud, code), np.uint8)]
    assert np.abs(heard - loud).max() < 0.04
    known = {"pcmu": {0xFF: 0, 0x80: 32124, 0x00: -32124}, "pcma": {0xD5: 8, 0xAA: 32256, 0x2A: -32256}}[code]
    assert {byte: round(32768 * float(table[byte])) for byte in known} == known


@pytest.mark.parametrize("rate", RATES)
def test_every_tick_is_exactly_one_message(rate: int) -> None:
    mouth = Mouth(rate)
    speech = tone(24_000, 200, SPEAK_SAMPLES / 24_000)
    for tick in range(5):
        action = Action(tick, Decision.SPEAK, speech=speech if tick % 2 else None)
        assert len(mouth(action)) == rate // 5 * 2

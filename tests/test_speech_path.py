"""The speech path: words become phonemes, phonemes become exactly timed frames, frames become 24 kHz sound.

The weights are random; what is tested is true of any weights.
"""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from microturn.clock import SPEAK_RATE, SPEAK_SAMPLES
from microturn.model import phonemes as ph
from microturn.model.phonemes import from_ipa, ids, to_phonemes
from microturn.model.speech import AROUND, FADE, FRAMES, SPAN, Frames, SpeechConfig, SpeechHead, SpeechState
from microturn.model.vocoder import (
    BINS,
    CHANNELS,
    DELAY,
    FRAME,
    HIGH,
    OPENING,
    PITCH_CENTRE,
    PITCH_STEP,
    SHUT,
    Vocoder,
    log_mel,
)
from microturn.streams import Decision

D = 64  # width of the backbone in these tests


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)
    to_phonemes("a")  # the lexicon is read once


def scrambled(module: torch.nn.Module) -> None:
    """Random weights everywhere, so that nothing passes because a layer starts at zero."""
    generator = torch.Generator().manual_seed(5)
    for parameter in module.parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        parameter.data += 0.02 * noise


@pytest.fixture(scope="module")
def head() -> SpeechHead:
    torch.manual_seed(0)
    made = SpeechHead(SpeechConfig(vocoder_blocks=3), D).eval()
    scrambled(made.flow)
    return made


@pytest.fixture(scope="module")
def vocoder() -> Vocoder:
    torch.manual_seed(1)
    return Vocoder(width=64, blocks=3).eval()


def speech_frames(count: int, seed: int = 0, batch: int = 4) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    frames = torch.rand(batch, count, CHANNELS, generator=generator) * 2
    frames[..., CHANNELS - 2] = torch.randn(batch, count, generator=generator).cumsum(1) * 0.05
    return frames


# Phonemes


@given(st.text(max_size=20))
def test_any_text_at_all_can_be_pronounced(word: str) -> None:
    found = to_phonemes(word)
    assert all(ph.NONE < phoneme < len(ph.SYMBOLS) for phoneme in found)
    assert bool(found) or not any(c.isascii() and c.isalnum() for c in word)


@pytest.mark.parametrize(
    ("word", "sounds"),
    [
        ("hello", "HH AH0 L OW1 |"),
        ("make,", "M EY1 K pause"),
        ("nation", "N AE1 SH AH0 N |"),
        ("BBC", "B IY1 B IY1 S IY1 |"),
        ("42", "F AO1 R T UW1 |"),
        ("...", "pause"),
    ],
)
def test_words_sound_as_their_spelling_tells(word: str, sounds: str) -> None:
    assert ph.Lexicon().phonemes(word) == ids(sounds)


def test_words_that_are_known_do_not_go_by_their_spelling() -> None:
    assert to_phonemes("yacht") == ids("Y AA1 T |")
    assert to_phonemes("zorbit's") == ph.Lexicon().phonemes("zorbit's")


@pytest.mark.parametrize(
    ("word", "sounds"),
    [
        ("watched.", "W AA1 CH T pause"),
        ("watching", "W AA1 CH IH0 NG |"),
        ("stopped", "S T AA1 P T |"),
        ("tries", "T R AY1 Z |"),
        ("baked", "B EY1 K T |"),
        ("needed", "N IY1 D IH0 D |"),
        ("boxes", "B AA1 K S IH0 Z |"),
        ("cat's", "K AE1 T S |"),
        ("PM,", "P IY1 EH1 M pause"),
        ("burter", "B ER1 R T AH0 R |"),
    ],
)
def test_endings_of_known_words_are_known(word: str, sounds: str) -> None:
    known = {"watch": "W AA1 CH", "stop": "S T AA1 P", "try": "T R AY1", "bake": "B EY1 K", "need": "N IY1 D"}
    known |= {"box": "B AA1 K S", "cat": "K AE1 T"}
    assert ph.Lexicon(known).phonemes(word) == ids(sounds)


def test_a_synthesisers_alphabet_is_read() -> None:
    assert from_ipa("həlˈO wˈɜɹld") == ids("HH AH0 L OW1 | W ER1 R L D")


# Vocoder


@settings(max_examples=8, deadline=None)
@given(st.lists(st.integers(1, 24), min_size=1, max_size=5), st.integers(0, 99))
def test_the_vocoder_streams_what_it_gives_offline(vocoder: Vocoder, cuts: list[int], seed: int) -> None:
    frames = speech_frames(sum(cuts), seed)
    with torch.no_grad():
        whole, _ = vocoder(frames)
        state, parts = None, []
        for part in torch.split(frames, cuts, 1):
            sound, state = vocoder(part, state)
            parts.append(sound)
    torch.testing.assert_close(torch.cat(parts, 1), whole, atol=1e-5, rtol=0)


def test_an_untouched_spectrum_is_the_source_delayed(vocoder: Vocoder) -> None:
    """Windows overlap to exactly one: with filters of one and no noise, the pulses come back DELAY later."""
    clean = Vocoder(width=64, blocks=1)
    clean.outward.weight.data.zero_()
    bias = clean.outward.bias.data.view(2, 3, -1)
    bias[:, 0], bias[:, 1], bias[:, 2] = -3.0, 0.0, -40.0
    frames = speech_frames(32)
    with torch.no_grad():
        pulses, _ = clean.pulses(frames, clean.allocate(4))
        state = clean.allocate(4)
        state.opened.fill_(-3.0 - SHUT)
        sound, _ = clean(frames, state)
    expected = pulses[:, :-DELAY] * torch.tensor(-3.0).exp()
    torch.testing.assert_close(sound[:, DELAY:], expected.clamp(-1, 1), atol=1e-5, rtol=0)


def test_a_burst_is_noise_where_the_pulses_open_too_fast() -> None:
    """High up the pulses' filter opens by OPENING a hop; the power that is missing goes to the noise."""
    loud, hiss = torch.full((1, 12, BINS), -6.0), torch.full((1, 12, BINS), 0.01)
    loud[:, 4:] = 0.0
    pulses, noise, opened = Vocoder(width=8, blocks=1)._burst(
        loud, hiss, torch.full((1, BINS - HIGH), -6.0 - SHUT)
    )
    assert (pulses[..., :HIGH] == loud[..., :HIGH].exp()).all()
    assert (noise[..., :HIGH] == hiss[..., :HIGH]).all()
    opens = (-6 + OPENING * torch.arange(9.0)).clamp_max(0.0)
    torch.testing.assert_close(pulses[0, 3:, -1].log(), opens, atol=1e-5, rtol=0)
    torch.testing.assert_close(pulses + noise, loud.exp() + hiss)
    torch.testing.assert_close(opened + SHUT, pulses[:, -1, HIGH:].log())


def test_pulses_follow_pitch_with_unit_power(vocoder: Vocoder) -> None:
    frames = torch.zeros(1, 80, CHANNELS)
    frames[..., -2], frames[..., -1] = (math.log(240.0) - PITCH_CENTRE) / PITCH_STEP, 1.0
    pulses, _ = vocoder.pulses(frames, vocoder.allocate(1))
    steady = pulses[0, FRAME:]
    spectrum = torch.fft.rfft(steady[-SPEAK_RATE // 2 :]).abs()
    assert int(spectrum[1:].argmax() + 1) * 2 % 240 == 0
    assert float(steady.square().mean()) == pytest.approx(1.0, rel=0.02)


def test_mels_are_zero_in_silence_and_one_row_a_frame() -> None:
    assert torch.equal(log_mel(torch.zeros(2, SPEAK_SAMPLES)), torch.zeros(2, FRAMES, 80))


# The head


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(3, 70), max_size=60), st.lists(st.integers(0, 12), min_size=12, max_size=12))
def test_every_phoneme_is_said_once_in_order(head: SpeechHead, said: list[int], arrivals: list[int]) -> None:
    """Whatever the pace at which phonemes arrive, the frames spell them out, whole and in order."""
    state, rows = head.allocate(4), torch.arange(4)
    left, spoken = list(said), []
    foreseen: list[int] = []
    with torch.no_grad():
        for arrived in [*arrivals, *([12] * 80)]:
            new, left = left[:arrived], left[arrived:]
            part = state.take(rows)
            for i, phoneme in enumerate(new):
                part.queue[:, int(part.count[0]) + i] = phoneme
            part.count += len(new)
            frames = head.advance(part)
            state.put(rows, part)
            now = frames.phoneme[0].tolist()
            begun = [
                p for p, into in zip(now[:FRAMES], frames.into[0].tolist(), strict=False) if into == 0 and p
            ]
            spoken += begun
            assert not foreseen or now[0] == foreseen[0] or foreseen[0] == 0 or head_is_new(frames)
            foreseen = now[FRAMES:]
    assert [p for p in spoken if p != ph.BOUNDARY] == [p for p in said if p != ph.BOUNDARY]
    assert int(state.count[0]) == 0


def head_is_new(frames: Frames) -> bool:
    return int(frames.into[0, 0]) == 0


def run(
    head: SpeechHead, state: SpeechState, slots: list[int], ticks: range, script: dict[int, int]
) -> list[tuple[Tensor, Tensor]]:
    """Steps in which the session in slot s says what seed `script[s]` draws; −1 listens."""
    done = []
    for tick in ticks:
        hidden, new = torch.zeros(len(slots), D), torch.zeros(len(slots), 6, dtype=torch.long)
        decisions = torch.full((len(slots),), int(Decision.LISTEN))
        for row, slot in enumerate(slots):
            seed = script.get(slot, -1)
            draw = torch.Generator().manual_seed(max(seed, 0) * 1000 + tick)
            hidden[row] = torch.randn(D, generator=draw)
            new[row] = torch.randint(3, 70, (6,), generator=draw)
            if seed >= 0:
                decisions[row] = Decision.LISTEN if (tick + seed) % 7 == 6 else Decision.SPEAK
        with torch.no_grad():
            done.append(
                head.step(state, torch.tensor(slots), hidden, decisions, new, torch.full((len(slots),), 4))
            )
    return done


@pytest.mark.parametrize("neighbours", [4, 8, 16, 64])
def test_a_row_does_not_depend_on_its_neighbours_to_the_bit(head: SpeechHead, neighbours: int) -> None:
    alone, crowd = head.allocate(4), head.allocate(neighbours)
    alone.reset(0, seed=9)
    here = neighbours - 2
    crowd.reset(here, seed=9)
    first = run(head, alone, [0, 1, 2, 3], range(10), {0: 3})
    slots = list(range(neighbours))
    script = {slot: slot % 5 for slot in slots if slot % 3} | {here: 3}
    second = run(head, crowd, slots, range(10), script)
    for (a, heard_a), (b, heard_b) in zip(first, second, strict=True):
        assert torch.equal(a[0], b[here])
        assert heard_a[0] == heard_b[here]


def test_seeds_differ_and_a_replay_does_not(head: SpeechHead) -> None:
    def voice(seed: int) -> Tensor:
        state = head.allocate(4)
        state.reset(0, seed)
        return torch.cat([s[0] for s, _ in run(head, state, [0, 1, 2, 3], range(4), {0: 0})])

    assert torch.equal(voice(1), voice(1))
    assert not torch.equal(voice(1), voice(2))


def test_listening_is_exact_silence_and_yielding_takes_20_ms(head: SpeechHead) -> None:
    state = head.allocate(4)
    done = run(head, state, [0, 1, 2, 3], range(8), {0: 0})
    for sound, heard in done[:6]:
        assert heard.tolist() == [True, False, False, False]
        assert not sound[1:].any()
    fading, heard = done[6]
    assert heard[0]
    assert fading[0, :FADE].any()
    assert not fading[0, FADE:].any()
    state = head.allocate(4)
    run(head, state, [0, 1, 2, 3], range(7), {0: 0})
    assert not head.feedback(state, torch.tensor([0])).any()
    assert not state.queue[0].any()
    sound, heard = run(head, state, [0, 1, 2, 3], range(6, 7), {0: 0})[0]
    assert not heard.any()
    assert not sound.any()


def test_a_slot_moves_to_another_place_and_goes_on_as_if_nothing_had_happened(head: SpeechHead) -> None:
    stays, moves = head.allocate(4), head.allocate(8)
    run(head, stays, [0, 1, 2, 3], range(3), {0: 2})
    moves.put(torch.tensor([5]), stays.take(torch.tensor([0])))
    after = run(head, stays, [0, 1, 2, 3], range(3, 9), {0: 2})
    elsewhere = run(head, moves, [4, 5, 6, 7], range(3, 9), {5: 2})
    assert all(torch.equal(a[0], b[1]) for (a, _), (b, _) in zip(after, elsewhere, strict=True))


def test_training_on_whole_utterances_is_the_same_as_ticks(head: SpeechHead) -> None:
    ticks = 6
    draw = torch.Generator().manual_seed(3)
    hidden = torch.randn(4, ticks, D, generator=draw)
    patches = torch.randn(4, ticks, FRAMES, CHANNELS, generator=draw)
    many = [torch.randint(0, 60, (4, ticks, SPAN), generator=draw) for _ in range(3)]
    with torch.no_grad():
        many.append(torch.randn(4, ticks, SPAN, AROUND, generator=draw))
        whole, _ = head(hidden, Frames(*many), patches)
        last = torch.zeros(4, FRAMES, CHANNELS)
        for tick in range(ticks):
            average, _ = head.decoder(hidden[:, tick], Frames(*(m[:, tick] for m in many)), last)
            torch.testing.assert_close(average, whole[:, tick], atol=1e-5, rtol=0)
            last = patches[:, tick]


def test_a_flow_trained_on_one_residual_finds_it() -> None:
    torch.manual_seed(0)
    config = replace(SpeechConfig(), width=32, flow_width=96, flow_blocks=1, vocoder_blocks=1)
    head = SpeechHead(config, 16)
    average, made = torch.zeros(32, FRAMES, CHANNELS), torch.zeros(32, FRAMES, config.width)
    target = average + 0.3
    optimizer = torch.optim.AdamW(head.flow.parameters(), lr=3e-3)
    losses = []
    for _ in range(80):
        loss = head.flow_loss(average, made, target, torch.rand(32), torch.randn(32, 4, 328))
        optimizer.zero_grad()
        torch.autograd.backward([loss])
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.5 * losses[0]

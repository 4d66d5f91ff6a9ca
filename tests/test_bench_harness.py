"""The harness is a real pipeline: it answers somebody who asks, and says nothing into silence."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import soxr

from microturn.bench import harness, scores
from microturn.bench.evaluate import evaluate
from microturn.bench.harness import BEST, PARTS, SEARCHED, Given, Harness, played_words
from microturn.bench.kept import Cases
from microturn.bench.metrics import Played
from microturn.bench.suites import Suite
from microturn.bench.waves import Case
from microturn.bench.whisper import overheard
from microturn.cli import main
from microturn.clock import HEAR_RATE, HEAR_SAMPLES, SPEAK_RATE
from microturn.scenes.episode import Episode, Word

MISSING = [part for part in PARTS if find_spec(part) is None]


def case(ticks: int, text: str = "") -> Case:
    samples = np.zeros(ticks * HEAR_SAMPLES, np.float32)
    if text:
        from microturn.train.mouth.teacher import synthesised

        spoken = soxr.resample(synthesised(text)[2], SPEAK_RATE, HEAR_RATE)
        samples[HEAR_SAMPLES : HEAR_SAMPLES + len(spoken)] = spoken
    return Case(Episode("converse", 0, ticks), samples, np.ones(ticks, np.bool_))


def test_its_words_are_those_that_were_given_and_heard() -> None:
    """The first is cut short after its second word, the second never comes, the third begins late."""
    rng = np.random.default_rng(0)
    words = (Word("one", 100, 300), Word("two", 500, 700), Word("three", 900, 1100))
    silence, sounds = bytes(2 * 2400), [rng.bytes(2 * SPEAK_RATE) for _ in range(3)]
    given = [Given(silence + sound, words) for sound in sounds]
    came = [
        (48_000, silence + sounds[0][: 2 * 14_400]),
        (96_000, sounds[2][:9600]),
        (120_000, sounds[2][9600:]),
    ]
    found = [(word.text, word.start_ms) for word in played_words(given, came)]
    assert found == [("one", 2100), ("two", 2500), ("one", 4000), ("two", 5200), ("three", 5600)]
    assert list(played_words(given, [])) == []


@pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}")
@pytest.mark.parametrize("kind", BEST)
def test_it_answers_who_asks_and_says_nothing_into_silence(kind: str) -> None:
    asked, silent = BEST[kind].play([case(60, "What is the capital of France?"), case(15)])
    assert "france" in " ".join(word.text.lower() for word in asked.heard)
    assert asked.said
    assert asked.said[0].start_ms > 2000
    (first, *_), words = overheard(asked.speech), [word.text for word in asked.said]
    assert abs(first.start_ms - asked.said[0].start_ms) < 200
    assert {word.text for word in overheard(asked.speech, words)} & set(words)
    assert (silent.said, silent.heard) == ((), ())


@pytest.mark.parametrize("kind", BEST)
def test_its_settings_are_part_of_the_report(kind: str, tmp_path: Path) -> None:
    """Found by the search that this module can do; the case was played before."""
    suite = Suite("mine", "", lambda n, seed, cast: [case(5)] * n, scores.turns, people=True)
    keep, one = Cases(tmp_path), BEST[kind]
    keep.keep("mine", case(5), Played(speech=(None,) * 5), one.name)
    result = evaluate(None, suite, 1, 1, harnesses=[one], keep=keep)
    assert f"{one.name}: {one.settings}" in result.notes
    assert f"{one.stop_s:g} s of silence" in one.settings
    assert one in SEARCHED


def test_what_it_lacks_is_told_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(harness, "find_spec", lambda part: None)
    with pytest.raises(ValueError, match=r"needs pipecat, .*: pip install -e '\.\[baseline\]'"):
        next(Harness().play([case(5)]))
    assert main(["bench", "digits", "--harness", "clever"]) == 2
    assert "no harness 'clever': there are vad, smart" in capsys.readouterr().err

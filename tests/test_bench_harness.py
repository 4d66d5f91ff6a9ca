"""The harness is a real pipeline: it answers somebody who asks, and says nothing into silence."""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np
import pytest
import soxr

from microturn.bench import harness
from microturn.bench.harness import PARTS, Harness
from microturn.bench.waves import Case
from microturn.cli import main
from microturn.clock import HEAR_RATE, HEAR_SAMPLES, SPEAK_RATE
from microturn.scenes.episode import Episode

MISSING = [part for part in PARTS if find_spec(part) is None]


def case(ticks: int, text: str = "") -> Case:
    samples = np.zeros(ticks * HEAR_SAMPLES, np.float32)
    if text:
        from microturn.train.mouth.teacher import synthesised

        spoken = soxr.resample(synthesised(text)[2], SPEAK_RATE, HEAR_RATE)
        samples[HEAR_SAMPLES : HEAR_SAMPLES + len(spoken)] = spoken
    return Case(Episode("converse", 0, ticks), samples, np.ones(ticks, np.bool_))


@pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}")
def test_it_answers_who_asks_and_says_nothing_into_silence() -> None:
    asked, silent = Harness().play([case(60, "What is the capital of France?"), case(15)])
    assert "france" in " ".join(word.text.lower() for word in asked.heard)
    assert asked.said
    assert asked.said[0].start_ms > 2000
    assert (silent.said, silent.heard) == ((), ())


def test_what_it_lacks_is_told_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(harness, "find_spec", lambda part: None)
    with pytest.raises(ValueError, match=r"needs pipecat, .*: pip install 'microturn\[baseline\]'"):
        Harness().play([case(5)])
    assert main(["bench", "digits", "--harness", "clever"]) == 2
    assert "no harness 'clever': there are vad, smart" in capsys.readouterr().err

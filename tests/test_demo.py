"""`microturn demo`: what somebody without a microphone sees first."""

from __future__ import annotations

from pathlib import Path

import pytest

from microturn import demo
from microturn.cli import main
from microturn.media import examine
from microturn.runner import Job


def test_a_scene_is_shown_and_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "time", "--fast", "--out", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    assert "hears" in shown
    assert "decisions" in shown
    assert (tmp_path / "time.png").stat().st_size > 1000
    heard, said = examine(demo.HERE / "time.opus"), examine(tmp_path / "time.wav")
    assert abs(float(heard.seconds - said.seconds)) < 0.01


def test_every_scene_has_a_recording_that_is_short() -> None:
    for scene in demo.scenes():
        path = demo.HERE / f"{scene.name}.opus"
        assert 3 < float(examine(path).seconds) <= 30
        assert path.stat().st_size < 120_000


def test_both_voices_lie_side_by_side(tmp_path: Path) -> None:
    assert main(["demo", "time", "--fast", "--out", str(tmp_path)]) == 0
    job = Job(demo.HERE / "time.opus", tmp_path / "time.wav")
    both = demo.side_by_side(job)
    assert both.shape[1] == 2
    assert abs(both[:, 0]).max() > 0.05


def test_an_unknown_scene_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["demo", "juggling"])
    assert "juggling" in capsys.readouterr().err

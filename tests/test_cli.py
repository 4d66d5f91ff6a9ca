"""The command line: quick to answer, one line for what is wrong, exit code 2."""

from __future__ import annotations

import importlib
import subprocess
import sys
import wave
from pathlib import Path

import pytest
import torch

import microturn
from microturn.cli import main
from microturn.model.checkpoint import save_weights
from microturn.model.config import tiny
from microturn.model.network import Network
from recordings import tone, write_wav

Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    stem = tmp_path_factory.mktemp("weights") / "tiny"
    torch.manual_seed(0)
    save_weights(Network(tiny()), stem, {})
    return str(stem)


def complaint(capture: Capture, *argv: object) -> str:
    """What is said on stderr by a command that cannot do what was asked."""
    assert main([str(word) for word in argv]) == 2
    out, err = capture.readouterr()
    assert out == ""
    assert err.startswith("microturn: ")
    assert err.count("\n") == 1
    return err


def test_a_run_writes_sound_events_and_picture(tmp_path: Path, model: str, capsys: Capture) -> None:
    audio = write_wav(tmp_path / "in.wav", tone(2.3, 44_100), 44_100, channels=2)
    made = [tmp_path / "new" / name for name in ("out.wav", "out.jsonl", "out.png")]
    options = ["--events", str(made[1]), "--picture", str(made[2]), "--model", model, "--eagerness", "1.5"]
    assert main(["run", "--audio", str(audio), "--out", str(made[0]), *options]) == 0
    assert all(path.stat().st_size > 100 for path in made)
    with wave.open(str(made[0])) as file:
        assert file.getnframes() == round(2.3 * 24_000)
    out, err = capsys.readouterr()
    assert out.startswith(f"{made[0]}: 2.3 s, heard ")
    assert "× real time" in out
    assert err == ""


def test_what_cannot_be_had_is_told_in_a_line(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "--port 99999: ports are 0 to 65535" in complaint(capsys, "serve", "--port", 99999)
    assert "device foo: " in complaint(capsys, "serve", "--port", 0, "--device", "foo")
    if not torch.cuda.is_available():
        assert "device cuda: " in complaint(capsys, "serve", "--port", 0, "--device", "cuda")
    monkeypatch.setitem(sys.modules, "mcp", None)
    monkeypatch.setattr("microturn.server.serve.run", lambda args: importlib.import_module("mcp"))
    assert "pip install -e '.[background]'" in complaint(capsys, "serve")


def test_a_folder_is_run_as_far_as_it_can_be(tmp_path: Path, model: str, capsys: Capture) -> None:
    (tmp_path / "in").mkdir()
    write_wav(tmp_path / "in" / "good.wav", tone(1.0, 16_000), 16_000)
    (tmp_path / "in" / "bad.wav").write_text("no sound")
    argv = ["run", "--folder", str(tmp_path / "in"), "--out", str(tmp_path / "out"), "--model", model]
    assert main(argv) == 2
    out, err = capsys.readouterr()
    assert "good.wav: 1.0 s" in out
    assert err.count("\n") == 1
    assert "bad.wav" in err
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["good.wav"]


def test_what_is_wrong_is_told_in_one_line(tmp_path: Path, model: str, capsys: Capture) -> None:
    out = tmp_path / "out.wav"
    audio = write_wav(tmp_path / "in.wav", tone(0.4, 16_000), 16_000)
    (tmp_path / "a\nb.wav").touch()
    run = ("run", "--model", model, "--out")
    assert "nothing to run" in complaint(capsys, *run, out)
    assert "no such file" in complaint(capsys, *run, out, "--audio", tmp_path / "nix.wav")
    assert "empty" in complaint(capsys, *run, out, "--audio", tmp_path / "a\nb.wav")
    assert "is a folder" in complaint(capsys, *run, out, "--audio", tmp_path)
    assert "is a folder" in complaint(capsys, *run, tmp_path, "--audio", audio)
    assert "no video stream" in complaint(capsys, *run, out, "--audio", audio, "--video", audio)
    assert "script" in complaint(capsys, *run, out, "--audio", audio, "--text", tmp_path / "script.jsonl")
    assert "finite" in complaint(capsys, *run, out, "--audio", audio, "--eagerness", "nan")
    assert "no recording" in complaint(capsys, *run, out, "--folder", Path(model).parent)
    assert "beside it" in complaint(capsys, *run, out, "--folder", tmp_path, "--audio", audio)
    assert "no model named" in complaint(capsys, "run", "--audio", audio, "--out", out, "--model", "nix")
    assert "is a file where a folder" in complaint(capsys, *run, audio / "out.wav", "--audio", audio)
    assert not out.exists()
    assert "belong together" in complaint(capsys, "bench", "background", "--backend-model", "some")


def test_help_is_quick_because_it_loads_no_torch() -> None:
    code = "import sys, microturn.cli as c\ntry: c.main(['--help'])\nfinally: print(sorted(sys.modules))"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "run " in told
    for heavy in ("'torch'", "'numpy'", "'av'", "'rich'"):
        assert heavy not in told


def test_python_m_microturn_is_the_same_command() -> None:
    argv = [sys.executable, "-m", "microturn", "--version"]
    told = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    assert told == f"microturn {microturn.__version__}\n"


def test_a_command_whose_libraries_are_missing_names_the_extra(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.startswith(("microturn.bench", "microturn.train"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "scipy.signal", None)
    monkeypatch.setitem(sys.modules, "scipy.ndimage", None)
    assert main(["bench", "speech", "--n", "1"]) == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert "pip install -e '.[train]'" in told

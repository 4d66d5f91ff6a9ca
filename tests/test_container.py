"""The Dockerfile and compose.yaml: what they name is there. With MICROTURN_SOAK=1, their steps, no container."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from microturn.cli import _parser

HOUSE = Path(__file__).parents[1]
SOAK = pytest.mark.skipif(not os.environ.get("MICROTURN_SOAK"), reason="minutes: set MICROTURN_SOAK=1")


def steps() -> Iterator[tuple[str, str]]:
    """Instruction and the rest of its line, continued lines joined."""
    text = (HOUSE / "Dockerfile").read_text("utf-8").replace("\\\n", " ")
    for line in text.splitlines():
        if line.strip() and not line.startswith("#"):
            name, rest = line.split(maxsplit=1)
            yield name, rest


STEPS = dict(steps())
COMMAND = json.loads(STEPS["ENTRYPOINT"]) + json.loads(STEPS["CMD"])
COPIES = [shlex.split(rest) for name, rest in steps() if name == "COPY"]


def test_what_is_copied_is_there_and_gets_past_the_ignore_file() -> None:
    let_in = {
        line[1:] for line in (HOUSE / ".dockerignore").read_text("utf-8").splitlines() if line[0] == "!"
    }
    for *sources, _ in COPIES:
        assert all((HOUSE / source).exists() for source in sources)
        assert set(sources) <= let_in


def test_what_it_runs_are_options_of_the_command() -> None:
    assert COMMAND[0] == "microturn"
    args = _parser(COMMAND[1:]).parse_args(COMMAND[1:])
    assert (args.host, str(args.keys), str(args.journal)) == (
        "0.0.0.0",
        "/data/keys.jsonl",
        "/data/journal.db",
    )
    compose = (HOUSE / "compose.yaml").read_text("utf-8")
    port = STEPS["EXPOSE"]
    assert f'"127.0.0.1:{port}:{port}"' in compose
    assert "- data:/data" in compose
    for line in re.findall(r"run --rm microturn (.+?)\s{2,}", compose):
        assert _parser(line.split()).parse_args(line.split()).new_key == "ann"


def copied(to: Path) -> None:
    """What the Dockerfile copies."""
    for *sources, target in COPIES:
        for source in sources:
            there = to / (target if target != "./" else source)
            if (HOUSE / source).is_dir():
                ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
                shutil.copytree(HOUSE / source, there, ignore=ignored)
            else:
                there.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(HOUSE / source, there)


def test_the_wheel_holds_what_serving_needs(tmp_path: Path) -> None:
    copied(tmp_path / "srv")
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(tmp_path)]
    subprocess.run([*pip, str(tmp_path / "srv")], check=True)
    (wheel,) = tmp_path.glob("microturn-*-py3-none-any.whl")
    inside = set(zipfile.ZipFile(wheel).namelist())
    package = HOUSE / "src" / "microturn"
    needed = [
        *package.glob("weights/*"),
        *package.glob("server/web/*"),
        *package.rglob("*.toml"),
        *package.rglob("*.json"),
        *package.rglob("*.opus"),
    ]
    assert {str(path.relative_to(HOUSE / "src")) for path in needed} <= inside
    assert wheel.stat().st_size < 60e6


@SOAK
@pytest.mark.soak
def test_its_steps_end_in_a_server_that_is_well(tmp_path: Path) -> None:
    copied(tmp_path / "srv")
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    python = str(tmp_path / "venv" / "bin" / "python")
    install = shlex.split(STEPS["RUN"].split("&&")[0])
    subprocess.run([python, *install[1:]], cwd=tmp_path / "srv", check=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    data = tmp_path / "data"
    data.mkdir()
    command = [part.replace("/data", str(data)) for part in COMMAND[1:]]
    microturn = str(tmp_path / "venv" / "bin" / "microturn")
    key = [microturn, "serve", "--keys", str(data / "keys.jsonl"), "--new-key", "ann"]
    subprocess.run(key, cwd=tmp_path, check=True)
    health = json.loads(STEPS["HEALTHCHECK"].split("CMD", 1)[1])
    well = [python if part == "python" else part.replace(STEPS["EXPOSE"], port) for part in health]
    with subprocess.Popen([microturn, *command, "--port", port], cwd=tmp_path) as server:
        try:
            until = time.monotonic() + 60
            while subprocess.run(well, stderr=subprocess.DEVNULL, check=False).returncode:
                assert server.poll() is None, "the server has ended"
                assert time.monotonic() < until, "the server never was well"
                time.sleep(0.5)
        finally:
            server.terminate()

"""Every command that README and docs name is one that the command line takes; what needs nothing else is run."""

from __future__ import annotations

import argparse
import asyncio
import re
import shlex
import subprocess
import sys
import textwrap
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import websockets
from websockets.asyncio.client import ClientConnection

from actor_model import Actor
from microturn import cli
from microturn.background import Background
from microturn.background.agent import Agent
from microturn.server import serve
from microturn.server.duplex import KNOWN
from recordings import tone, write_wav
from serving import served

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```\w*\n(.*?)^```", re.M | re.S)
INLINE = re.compile(r"`([^`\n]+)`")
OURS = re.compile(r"^(?:\.venv/bin/)?(?:microturn (?!needs)[a-z]|python -m microturn)")


def commands() -> dict[str, str]:
    """Each command as it stands there, and the page on which it does."""
    found: dict[str, str] = {}
    for page in PAGES:
        text = page.read_text("utf-8")
        lines = [line for block in BLOCK.findall(text) for line in block.splitlines()]
        for line in [*lines, *INLINE.findall(BLOCK.sub("", text))]:
            command = line.split(" #")[0].split(" > ")[0].strip().removeprefix("$ ")
            if OURS.match(command) and "…" not in command and "|" not in command:
                found.setdefault(command, page.name)
    return found


COMMANDS = commands()


def arguments(command: str) -> list[str]:
    words = shlex.split(re.sub(r"[\[\]]", "", command))
    return words[3:] if "python -m " in command else words[1:]


@pytest.mark.parametrize("command", [c for c in COMMANDS if "python -m " not in c])
def test_command_line_takes_it(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    """One that is only named may lack what it needs to be run."""
    given = arguments(command)
    try:
        args = cli._parser(given).parse_args(given)
    except SystemExit as ended:
        code = ended.code
    else:
        assert callable(args.run)
        return
    named = not any(word.startswith("-") for word in given)
    assert code == 0 or (named and "are required" in capsys.readouterr().err)


@pytest.mark.parametrize("command", [c for c in COMMANDS if "python -m " in c])
def test_module_takes_its_options(command: str) -> None:
    spec = find_spec(command.split("python -m ")[1].split()[0])
    assert spec
    assert spec.origin
    source = Path(spec.origin)
    main = source.with_name("__main__.py") if source.name == "__init__.py" else source
    text = main.read_text("utf-8")
    assert main.stem == "__main__" or '"__main__"' in text
    options = [word for word in arguments(command) if word.startswith("--")]
    assert all(f'"{option}"' in text for option in options)


def test_what_needs_nothing_else_is_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """README's order: something is said, and what was said is heard."""
    monkeypatch.chdir(tmp_path)
    readme = [arguments(c) for c, page in COMMANDS.items() if page == "README.md" and "python -m" not in c]
    told = {given[0]: given for given in reversed(readme)}
    assert cli.main(told["say"]) == 0
    (tmp_path / "hello.wav").rename("question.wav")
    assert cli.main(told["run"]) == 0
    assert {"answer.wav", "answer.jsonl", "answer.png"} <= {p.name for p in tmp_path.iterdir()}
    assert cli.main([word for word in told["plan"] if word != "--measure"]) == 0
    assert "sessions" in capsys.readouterr().out


def test_a_scene_of_ones_own_is_trained_as_the_page_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    page = (ROOT / "docs" / "scenes.md").read_text("utf-8")
    monkeypatch.chdir(tmp_path)
    for name, kind in (("echo.py", "python"), ("echo.json", "json")):
        Path(name).write_text(re.findall(rf"^```{kind}\n(.*?)^```", page, re.M | re.S)[0], "utf-8")
    assert cli.main(["train", "echo.json", "--minutes", "0.01"]) == 0
    scored = [c for c in COMMANDS if "train.given runs/out/echo" in c]
    subprocess.run([sys.executable, *scored[0].split()[1:], "--n", "2"], check=True)
    assert "echo.py:Echo score" in capfd.readouterr().out
    Path("echo.json").write_text('{"told": 1.0, "scenes": {"echo.py:Ekko": 1}}', "utf-8")
    assert cli.main(["train", "echo.json", "--out", "other"]) == 2
    assert "echo.py: no class Ekko" in capfd.readouterr().err


def test_an_example_says_of_nano_what_the_page_says() -> None:
    rows = re.findall(r"^\| \[(\w+\.py)\].*\| (.*?) \|$", (ROOT / "docs/clients.md").read_text("utf-8"), re.M)
    assert len(rows) == len([*(ROOT / "examples").glob("*.py")])
    for name, today in rows:
        assert f"nano today: {today}." in " ".join((ROOT / "examples" / name).read_text("utf-8").split())


def test_the_wire_page_names_every_code_and_every_parameter() -> None:
    """And none that the server does not know."""
    page = (ROOT / "docs/wire.md").read_text("utf-8")
    source = "".join(path.read_text("utf-8") for path in (ROOT / "src/microturn/server").glob("*.py"))
    codes = set(re.findall(r'(?:LiveError\(|Denied\(\d+,|Info\(code=)\s*"(\w+)"', source))
    told = page.partition("Codes: ")[2].partition("### Added")[0]
    assert set(re.findall(r"`(\w+)`", told)) - {"info"} == codes
    duplex = page.partition("## Duplex socket")[2].partition("## Live API")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", duplex, re.M)) == KNOWN


def test_some_page_names_every_option_of_the_server() -> None:
    text = "".join(page.read_text("utf-8") for page in PAGES if page.name != "log.md")
    parser = argparse.ArgumentParser()
    serve.add_arguments(parser)
    options = re.findall(r"--[a-z][a-z-]+", parser.format_usage())
    assert [option for option in options if not re.search(rf"{option}\b(?!-)", text)] == []


def test_no_page_names_a_place_on_somebodys_machine() -> None:
    for page in [*PAGES, ROOT / "docs/benchmarks.json"]:
        found = re.search(r"(?<![\w./~])/(home|root|srv|tmp|usr|var|work)/\S*", page.read_text("utf-8"))
        assert not found, f"{page.name}: {found}"


class Enough(Exception):
    """What a page shows without an end has been seen."""


@pytest.mark.parametrize("page", ["wire.md", "clients.md"])
def test_the_pages_python_talks_to_a_server(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Word for word, but for the port, and a recording in place of the microphone."""
    blocks = re.findall(r"^```python\n(.*?)^```", (ROOT / "docs" / page).read_text("utf-8"), re.M | re.S)
    assert blocks
    monkeypatch.chdir(tmp_path)
    write_wav(Path("question.wav"), tone(6.0, 24_000), 24_000)
    ticks: list[bytes] = []

    async def capture_and_stream_audio(socket: ClientConnection) -> None:
        await socket.send(bytes(9600))

    async def receive_and_play_audio(socket: ClientConnection) -> None:
        async for tick in socket:
            assert isinstance(tick, bytes)
            play(tick)

    def play(tick: bytes) -> None:
        ticks.append(tick)
        if len(ticks) == 3:
            raise Enough

    async def run(block: str) -> None:
        names: dict[str, Any] = {
            "pcm": bytes(9600),
            **{f.__name__: f for f in (play, capture_and_stream_audio, receive_and_play_audio)},
            **{"asyncio": asyncio, "websockets": websockets},
        }
        exec("async def main():\n" + textwrap.indent(block, "    "), names)
        async with asyncio.timeout(60):
            await names["main"]()

    with served(Actor(), background=lambda pace: Background(pace, Agent(datetime.now))) as server:
        for block in blocks:
            ticks.clear()
            here = block.replace("localhost:8000", f"localhost:{server.port}").replace(
                "open_sound() as", 'open_sound("question.wav") as'
            )
            try:
                asyncio.run(run(here.replace("/nano/", "/actor/")))
            except Enough:
                assert [len(tick) for tick in ticks] == [9600] * 3
            else:
                assert "converse" in block  # it ends with the recording
                assert server.lobby.meters.delegations._value.get() >= 1  # so that work was commented on

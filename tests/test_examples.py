"""Every example, and `microturn talk`, as it is, against a real server: a recording or a film instead of devices."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pytest

from actor_model import Actor
from microturn.background import Background
from microturn.background.agent import Agent
from recordings import encode, tone, write_wav
from serving import Served, served

EXAMPLES = Path(__file__).parent.parent / "examples"
TALK = "-m microturn talk"


@dataclass(frozen=True)
class Played:
    said: dict[str, str]  # what each program printed
    model: Actor
    server: Served


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Played]:
    """All at once, because each lasts some seconds of real time."""
    folder = tmp_path_factory.mktemp("media")
    wav = str(write_wav(folder / "in.wav", tone(1.6, 48_000), 48_000))
    film = str(encode(folder / "in.mp4", "aac", None, film_s=1.0))
    model = Actor()
    with served(model, slots=8, background=lambda pace: Background(pace, Agent(datetime.now))) as server:
        running = {
            "ten_line": start("ten_line.py", f"{server.ws}/v1/microturn/duplex", wav),
            "support_agent": start("support_agent.py", server.ws, wav),
            "companion": start("companion.py", server.http, wav),
            "game_character": start(
                "game_character.py", f"localhost:{server.port}", typed="hello\n*it is night\n"
            ),
            "translator": start("translator.py", server.ws, wav),
            "counter": start("counter.py", server.ws, film),
            "talk": start(TALK, server.ws, "--wav", wav, typed="zebra\n"),
        }
        said = {}
        for name, program in running.items():
            out, errors = program.communicate(timeout=120)
            assert (program.returncode, errors) == (0, ""), name
            said[name] = out
        yield Played(said, model, server)


def start(program: str, *given: str, typed: str = "") -> subprocess.Popen[str]:
    command = program.split() if program == TALK else [str(EXAMPLES / program)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "COLUMNS": "200"}
    running = subprocess.Popen(
        [sys.executable, *command, *given],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )
    assert running.stdin is not None
    running.stdin.write(typed)
    running.stdin.flush()
    return running


def test_the_model_heard_saw_and_read_what_was_sent(played: Played) -> None:
    assert played.model.loudest == pytest.approx(0.5, abs=0.02)
    assert played.model.pitch == pytest.approx(440, abs=10)
    assert played.model.brightest > 80  # the film ends at 120
    read = bytes(piece - 1 for piece in played.model.pieces).decode()
    assert all(letter in read for letter in "hello it is night zebra")
    assert played.server.engine.stats().failed == 0


def test_the_blind_conduit_says_nothing_at_all(played: Played) -> None:
    assert played.said["ten_line"] == ""


def test_the_support_agent_looks_up_what_it_heard_when_the_model_asks(played: Played) -> None:
    lines = [line.strip() for line in played.said["support_agent"].splitlines()]
    assert lines[:5] == [
        "agent: breathe in",
        "agent: (yields)",
        "lookup: which account is it",
        "caller: hello there",
        "agent: breathe in",
    ]


def test_the_companion_tells_when_it_gave_a_sign_and_what_else_it_said(played: Played) -> None:
    # the first tick may be a late one on a busy machine, and then everything is a tick later
    assert re.search(r"\[0\.[68] s\] breathe in", played.said["companion"])
    assert played.said["companion"].endswith("0 signs of attention, 2 other things said\n")


def test_the_character_answers_in_writing(played: Played) -> None:
    assert played.said["game_character"].startswith(" breathe in")


def test_the_translator_sets_both_sides_beside_each_other(played: Played) -> None:
    first, second, *_ = played.said["translator"].splitlines()
    assert first.split() == ["0.6", "breathe", "in"]
    assert second.split() == ["2.6", "hello", "there"]


def test_the_counter_prints_what_it_counts(played: Played) -> None:
    assert "0.6 s  breathe in" in played.said["counter"]


def test_talk_shows_captions_of_both_sides_and_what_was_typed(played: Played) -> None:
    lines = [line.strip() for line in played.said["talk"].splitlines()]
    for line in ("typed  zebra", "0:00  it  breathe in", "handed over at 0:02", "0:02  you  hello there"):
        assert line in lines
    assert any(line.startswith("background  ") for line in lines)


@pytest.mark.parametrize(
    ("example", "given", "complaint"),
    [
        ("ten_line.py", (), ""),
        ("translator.py", ("localhost:1", "nowhere.wav"), "nowhere.wav: no such file"),
        ("game_character.py", ("localhost:1",), "nobody answers"),
        ("counter.py", ("ftp://host",), "not the address of a server"),
        ("ten_line.py", ("a", "b", "c"), "usage: ten_line.py [URI [RECORDING]]"),
        ("support_agent.py", ("a", "b", "c"), "usage: support_agent.py [URL [RECORDING]]"),
        ("companion.py", ("a", "b", "c"), "usage: companion.py [URL [RECORDING]]"),
        ("game_character.py", ("a", "b"), "usage: game_character.py [URL]"),
        ("translator.py", ("a", "b", "c", "d"), "usage: translator.py [URL [RECORDING [LANGUAGE]]]"),
        ("counter.py", ("a", "b", "c", "d"), "usage: counter.py [URL [FILM [WHAT]]]"),
    ],
)
def test_what_is_wrong_is_told_in_one_line(example: str, given: tuple[str, ...], complaint: str) -> None:
    out, errors = start(example, *given).communicate(timeout=60)
    assert out == ""
    assert complaint in errors
    assert errors.count("\n") == 1

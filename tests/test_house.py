"""The rooms of the house and who may know whom: docs/architecture.md draws it."""

from __future__ import annotations

import ast
import random
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from microturn.bench.metrics import Played, Run
from microturn.bench.suites import SUITES
from microturn.scenes.episode import pace
from microturn.train.sound import unspoken

HOUSE = Path(__file__).parents[1] / "src" / "microturn"
GROUND = {"clock", "streams"}
MEASURES_THE_SERVER = {"background.py", "server.py", "targets.py", "harness.py"}


def imports(path: Path) -> Iterator[str]:
    """Modules of the house that a file asks for, anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module == "microturn":
            yield from (a.name for a in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (m for m in [node.module or ""] if m.startswith("microturn."))
        elif isinstance(node, ast.Import):
            yield from (a.name for a in node.names if a.name.startswith("microturn."))


def drawn() -> dict[str, set[str]]:
    """The table of docs/architecture.md: whom each room may know. Rooms of one row may know each other."""
    text = (HOUSE.parents[1] / "docs" / "architecture.md").read_text("utf-8")
    may: dict[str, set[str]] = {}
    for row in re.findall(r"^\| (`.*`) \|.*\| (.+) \|$", text, re.MULTILINE):
        rooms = [name.removesuffix("/").removesuffix(".py") for name in re.findall(r"`(\S+)`", row[0])]
        known = set() if row[1] == "nobody" else set(row[1].split(", "))
        may |= {room: GROUND | set(rooms) | known for room in rooms}
    may["bench"] = set(may)  # it measures everything
    return may


def test_arrows_between_rooms_are_those_of_the_docs() -> None:
    known: dict[str, set[str]] = defaultdict(set)
    for path in HOUSE.rglob("*.py"):
        if path.parent != HOUSE or not path.stem.startswith("__"):
            room = path.relative_to(HOUSE).parts[0].removesuffix(".py")
            known[room] |= {name.removeprefix("microturn.").split(".")[0] for name in imports(path)} - {room}
    may = drawn()
    assert set(known) == set(may)
    for room, rooms in known.items():
        assert rooms <= may[room], f"{room} knows {sorted(rooms - may[room])}"


def test_no_arrow_comes_back_but_between_what_learns_and_what_scores() -> None:
    may = {room: known - GROUND for room, known in drawn().items()}
    both = {frozenset((a, b)) for a, known in may.items() for b in known if a != b and a in may.get(b, ())}
    assert frozenset(("train", "bench")) in both
    rows = [{"events", "script", "media"}, {"runner", "picture"}, {"cost", "plan"}, {"cli", "run", "demo"}]
    assert all(pair == {"train", "bench"} or any(pair <= row for row in rows) for pair in both)


def test_only_what_measures_or_starts_the_server_imports_it() -> None:
    asking = {
        path.name
        for path in HOUSE.rglob("*.py")
        if "server" not in path.relative_to(HOUSE).parts[0]
        and any(name.removeprefix("microturn.").split(".")[0] == "server" for name in imports(path))
    }
    assert asking <= MEASURES_THE_SERVER


def test_what_the_model_is_made_of_needs_no_training_extra() -> None:
    heavy = {"scipy", "onnxruntime", "onnx", "hibari", "faster_whisper", "pyworld", "soundfile"}
    for room in ("model", "engine", "server", "background", "client"):
        for path in (HOUSE / room).rglob("*.py"):
            for node in ast.parse(path.read_text("utf-8")).body:
                if isinstance(node, ast.Import | ast.ImportFrom):
                    names = (
                        [node.module or ""]
                        if isinstance(node, ast.ImportFrom)
                        else [a.name for a in node.names]
                    )
                    assert not heavy & {name.split(".")[0] for name in names}, path


def test_the_scene_of_the_docs_is_one() -> None:
    text = (HOUSE.parents[1] / "docs" / "scenes.md").read_text("utf-8")
    made: dict[str, Any] = {}
    exec(text.split("```python\n")[1].split("```")[0], made)
    echo, rng = made["Echo"](), random.Random(1)
    script = echo.script(rng, "test", 6.0)
    episode = echo.compose(script, [unspoken(line.text, 1.0) for line in script.lines], rng, 6.0)
    done = Played(tuple(word for say in episode.says for word in pace(say)))
    assert SUITES["turns"].score([Run(episode, done)], 1)[0].value == 1.0

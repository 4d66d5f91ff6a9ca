"""What a benchmark leaves behind: cases to hear and see, a page, a document, and results that are not run again."""

from __future__ import annotations

import argparse
import json
import re
import wave
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from microturn.bench import command, kept, scores
from microturn.bench.evaluate import Result, Row, evaluate
from microturn.bench.intervals import Measure
from microturn.bench.metrics import Played, Run
from microturn.bench.page import page
from microturn.bench.report import Report, document, from_json, merged, runs_in, suite_json
from microturn.bench.suites import SUITES, Suite, cast_of
from microturn.bench.waves import Case, make_case
from microturn.cli import main
from microturn.clock import SPEAK_SAMPLES
from microturn.model.config import tiny
from microturn.model.interaction import random_model
from microturn.scenes.episode import Clip, Episode, Expected, Placed, Read, Say, Word
from microturn.streams import Channel, Decision

SOUND = (0.3 * np.sin(np.arange(16_000) * 0.2)).astype(np.float32)
QUESTION = Clip(
    "what <now>", "hum", (Word("what", 0, 400), Word("<now>", 500, 900)), np.zeros((100, 64), np.uint8), SOUND
)
EPISODE = Episode(
    "test",
    3,
    30,
    (Placed(QUESTION, 400),),
    (Read(-1, Channel.INSTRUCTIONS, "be brief"),),
    (Say("seven", 1800),),
    expected=(Expected("reply", 1400, 3400, "seven"), Expected("quiet", 4000, 6000)),
)
SUITE = Suite("mine", "", lambda n, seed, cast: [make_case(EPISODE)] * n, scores.turns, people=True)

DOCS = Path(__file__).parents[1] / "docs"
RUNS = runs_in(DOCS / "benchmarks.json")
SOME = ("turns", "read")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("kept")


@pytest.fixture(scope="module")
def result(folder: Path) -> Result:
    return evaluate(None, SUITE, 2, 1, baselines=True, keep=kept.Cases(folder))


def test_a_case_is_two_sounds_of_one_length_and_its_story(result: Result, folder: Path) -> None:
    lengths = []
    for name in ("in.wav", "out.wav"):
        with wave.open(str(folder / "mine/001" / name)) as file:
            lengths.append(file.getnframes() / file.getframerate())
    assert lengths == [6.0, 6.0]
    story = json.loads((folder / "mine/001/case.json").read_text())
    assert [(e["kind"], e["met"]) for e in story["expected"]] == [("reply", False), ("quiet", True)]
    assert [w["text"] for w in story["user"]] == ["what", "<now>"]


def test_what_was_said_is_kept_where_it_was_played(tmp_path: Path) -> None:
    loud = np.full(SPEAK_SAMPLES, 0.5, np.float32)
    played = Played((Word("seven", 1800, 2000),), speech=(None,) * 9 + (loud,))
    case = make_case(EPISODE)
    for who in ("", "harness-vad"):
        kept.Cases(tmp_path).keep("mine", case, played, who)
    with wave.open(str(tmp_path / "mine/000/out.wav")) as file:
        sound = np.frombuffer(file.readframes(10**6), "<i2")
    assert np.flatnonzero(sound).tolist()[::4799] == [9 * SPEAK_SAMPLES, 10 * SPEAK_SAMPLES - 1]
    assert json.loads((tmp_path / "mine/000/case.json").read_text())["expected"][0]["met"] is True
    text = page("tiny", [Result("mine", 1, 1, 0.1, (), (Row("model", (Measure("score", 1.0),)),))], tmp_path)
    assert text.count("data:audio/mpeg;base64,") == 2
    assert "000, harness-vad: 2 of 2 as expected" in text


def test_a_harness_is_given_each_case_once(tmp_path: Path) -> None:
    case, keep = make_case(EPISODE), kept.Cases(tmp_path)
    done = Played((Word("seven", 1800, 2000),), speech=(None, np.full(SPEAK_SAMPLES, 0.5, np.float32), None))
    given: list[int] = []

    def play(cases: Sequence[Case]) -> Iterator[Played]:
        for one in cases:
            given.append(one.episode.seed)
            yield done

    for _ in range(2):
        (again,) = keep.once("mine", [case], "harness-vad", play)
        assert (again, again.speech[0]) == (done, None)
    louder = replace(case, samples=case.samples * np.float32(0.5))
    keep.once("mine", [louder, replace(case, number=1)], "harness-vad", play)
    assert given == [3, 3, 3]


def test_with_other_weights_only_the_model_is_run_again(result: Result) -> None:
    silent = replace(result, rows=(Row("model", (Measure("score", 0.0),)), *result.rows))
    told = replace(silent, rows=tuple(replace(row, measures=row.measures[:1]) for row in silent.rows))
    again = evaluate(random_model(tiny(), 1), SUITE, 2, 1, baselines=True, before=told)
    assert [len(row.measures) > 1 for row in again.rows] == [True, False, False, True, False]


def test_every_kind_of_expectation_has_a_verdict() -> None:
    kinds = ("halt", "carry_on", "pause", "clause_end", "delegate", "cancel", "order")
    episode = replace(EPISODE, expected=tuple(Expected(kind, 1000, 2000, "seven") for kind in kinds))
    played = Played((Word("seven", 900, 1100), Word("hm", 1200, 1400)), decided=((6, Decision.DELEGATE),))
    got = dict(zip(kinds, (met for _, met in kept.verdicts(Run(episode, played))), strict=True))
    assert (got["pause"], got["clause_end"], got["delegate"], got["cancel"]) == (False, True, True, False)
    assert got["order"] is None


def test_the_page_holds_everything_and_needs_nothing(result: Result, folder: Path) -> None:
    text = page("tiny <model>", [result], folder)
    assert text.count("<svg") == text.count("<audio") == 2
    assert text.count("data:audio/mpeg;base64,") == 2
    assert "1 of 2 as expected" in text
    assert "tiny &lt;model&gt;" in text
    assert "&lt;now&gt;" in text
    assert "://" not in text
    assert "told: be brief" in text


def test_a_result_survives_being_written_down(result: Result, tmp_path: Path) -> None:
    again = from_json(json.loads(json.dumps(suite_json(result))))
    assert again == replace(result, minutes=again.minutes)
    kept.write(tmp_path, {"n": 2}, result)
    assert kept.read(tmp_path, "mine:somewhere", {"n": 2}) == again
    assert kept.read(tmp_path, "mine", {"n": 3}) is None
    assert kept.read(tmp_path, "yours", {"n": 2}) is None


def test_the_document_is_made_of_the_json(
    result: Result, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number, name in enumerate(("other", "mine")):
        report = Report("tiny")
        report.results.append(replace(result, suite=name))
        report.write(tmp_path / f"{number}.json")
    assert (
        main(["bench", "report", *map(str, sorted(tmp_path.iterdir())), "--json", str(tmp_path / "all.json")])
        == 0
    )
    text = capsys.readouterr().out
    assert text.count("## tiny\n\nSeed 1.") == 1
    assert "| suite | n | never | always | oracle |" in text
    assert "| mine | 2 | 0.00 (0.00–0.00) | 0.00 (0.00–0.00) | 1.00 (1.00–1.00) |" in text
    assert main(["bench", "report", str(tmp_path / "all.json")]) == 0
    assert capsys.readouterr().out == text
    assert main(["bench", "report", f"{tmp_path / '0.json'}=beside others", str(tmp_path / "1.json")]) == 0
    assert "## beside others\n" in (titled := capsys.readouterr().out)
    assert "## tiny\n" in titled


def test_the_released_figures_are_those_of_the_document() -> None:
    assert document(merged(RUNS)) == (DOCS / "benchmarks.md").read_text("utf-8")


BY_DEFINITION = {"25.0"}  # PAUC of silence


def figures(text: str) -> list[str]:
    """Numbers, but for those in brackets, which are others' or older."""
    plain = re.sub(r"\(.*?\)|p50|p95|± 1", "", text)
    return [number.replace(",", "").rstrip(".") for number in re.findall(r"\d[\d,]*(?:\.\d+)?", plain)]


def printed(figure: str, measures: Iterable[dict[str, Any]]) -> bool:
    """Whether one of them is that, to as many places."""
    half = 0.501 * 10.0 ** -len(figure.partition(".")[2])
    return any(abs(m["value"] - float(figure)) <= half for m in measures if m["value"] is not None)


def rows_of(text: str, head: str) -> list[list[str]]:
    table = text.partition(head)[2].split("\n\n")[0]
    return [[cell.strip() for cell in line.strip("| ").split("|")] for line in table.splitlines()[2:]]


def test_the_model_card_says_what_was_printed() -> None:
    """The first run is of the released weights."""
    measured = {suite["suite"]: suite["rows"]["model"] for suite in RUNS[0]["suites"]}
    rows = rows_of((DOCS / "model-card.md").read_text("utf-8"), "| suite | model | of which | before |")
    assert len(rows) > 10
    for name, score, which, _ in rows:
        of_it = measured[name.split()[0]]
        assert printed(score, [of_it["score"]]), f"{name}: {score}"
        wrong = [f for f in figures(which) if f not in BY_DEFINITION and not printed(f, of_it.values())]
        assert not wrong, f"{name}: {wrong}"


def test_the_readme_says_what_was_printed() -> None:
    """Rows of its table are the suites of the command above it, in that order."""
    text = (DOCS.parent / "README.md").read_text("utf-8")
    first, others = re.findall(r"`microturn bench (\w+) --n \d+\s[^`]*`, and ([\w, ]+);", text)[0]
    names = [first, *others.split(", ")]
    rows = rows_of(text, "| | `nano` | pipeline |")
    assert len(rows) == len(names)

    def of(name: str, who: str) -> list[dict[str, Any]]:
        some = [s["rows"] for run in RUNS for s in run["suites"] if s["suite"] == name]
        return [m for row in some for m in row.get(who, {}).values()]

    for name, (_, nano, pipeline) in zip(names, rows, strict=True):
        for who, told in (("model", nano), ("harness-vad", pipeline)):
            assert figures(told), f"{name}: {told}"
            assert all(printed(f, of(name, who)) for f in figures(told)), f"{name}, {who}: {told}"
    today = {s["suite"]: s["rows"]["model"]["score"] for s in RUNS[0]["suites"]}
    for told in re.findall(r"today's gets ([^a-z]+ and [\d.]+)", text):
        for figure, name in zip(re.findall(r"[\d.]+", told), names, strict=False):
            assert printed(figure, [today[name]]), f"{name} today: {figure}"


def test_a_report_names_what_it_has_no_figure_of(result: Result) -> None:
    told = document(
        [{"model": "m", "seed": 1, "suites": [suite_json(replace(result, suite=s)) for s in SOME]}]
    )
    (line,) = re.findall(r"^Without a figure here: (.*)\.$", told, re.M)
    assert set(line.split(", ")) == {*SUITES, "loss"} - {*SOME}


def test_what_is_to_be_said_of_a_player_in_every_suite_is_said_once(result: Result) -> None:
    rows = (*result.rows, Row("harness-vad", result.rows[0].measures))
    beside = replace(result, rows=rows, notes=("harness-vad: settings", "left out: a voice"))
    suites = [suite_json(replace(beside, suite=s)) for s in SOME]
    told = document([{"model": "m", "seed": 1, "suites": [*suites, suite_json(result)]}])
    assert told.count("- harness-vad: settings\n") == 1
    assert told.index("- harness-vad: settings") < told.index("**turns**")
    assert told.count("- left out: a voice") == 2
    alone = document([{"model": "m", "seed": 1, "suites": suites[:1]}])
    assert alone.index("- harness-vad: settings") > alone.index("**turns**")


def test_a_suite_that_is_there_already_is_not_run_again(result: Result, tmp_path: Path) -> None:
    tasks = command._tasks(arguments("all", "--n", "2", "--save", str(tmp_path)))
    assert len(tasks) == len({task.name for task in tasks}) > 20
    for task in tasks:
        kept.write(tmp_path, task.key, replace(result, suite=task.name))
    found = list(command._results(tasks, 2, Report("tiny")))
    assert [r.suite for r in found] == [task.name for task in tasks]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (["turns", "--voices", "bob"], "no reserved voice bob: use "),
        (["turns", "--real", "x"], "--real is for repcount"),
        (["repcount", "--real", "x", "--import", "fdb:y"], "--real and --import: one or the other"),
        (["turns", "--target", "wav:x", "--model", "nano"], "--target and --model: one or the other"),
        ([], "name a suite, or all, or data with --import"),
        (["turns", "--target", "phone:1"], "a target is one of"),
        (["turns", "--n", "0"], "must be 1 or more"),
    ],
)
def test_what_makes_no_sense_is_told_in_one_line(given: list[str], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        [cast_of(task.voices) for task in command._tasks(arguments(*given))]


def test_reserved_voices_are_all_that_are_reserved() -> None:
    (task,) = command._tasks(arguments("turns", "--voices", "reserved"))
    assert task.key == command._tasks(arguments("turns"))[0].key
    assert cast_of(task.voices) is None


def test_what_keeps_time_with_the_clock_runs_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    jobs: list[int] = []

    def results(tasks: list[command.Task], at_once: int, report: Report) -> Iterator[Result]:
        jobs.append(at_once)
        return iter(())

    monkeypatch.setattr(command, "_results", results)
    assert command.run(arguments("all", "--jobs", "2", "--target", "wav:x")) == 2
    assert command.run(arguments("all", "--jobs", "2")) == 2
    assert jobs == [1, 2]


def test_a_harness_that_plays_for_hours_shows_how_far_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[tuple[str, int]] = []

    class Told(Report):
        @contextmanager
        def working(self, name: str, n: int) -> Iterator[Callable[[int], None]]:
            yield lambda done: shown.append((f"{name} of {n}", done))

    monkeypatch.setattr(command, "Report", Told)
    monkeypatch.setattr(command, "_results", lambda tasks, at_once, report: iter(()))
    monkeypatch.setenv("MICROTURN_DATA", "nowhere")  # nobody's digits: nothing to be played
    assert command.run(arguments("digits,read", "--harness", "vad", "--n", "1")) == 2
    assert shown == [("harness of 2", 1), ("harness of 2", 2)]


def arguments(*given: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return parser.parse_args(given)

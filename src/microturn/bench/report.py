"""Results as a table to read and as JSON to keep, the score first in both; JSON as docs/benchmarks.md.

`microturn bench report FILE.json … --json docs/benchmarks.json > docs/benchmarks.md` keeps what the page shows and
writes it, so that no figure in it is typed by hand; a `title` and a `note` in the JSON are words on the page.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from microturn.bench.baselines import ALWAYS, NEVER, ORACLE, RANDOM
from microturn.bench.evaluate import Result, Row
from microturn.bench.intervals import Measure
from microturn.bench.suites import LOSS, SUITES


class Report:
    """Prints every result as it comes and remembers them all."""

    def __init__(self, model: str, console: Console | None = None) -> None:
        self.model = model
        self.results: list[Result] = []
        self.console = console or Console()

    def __enter__(self) -> Report:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None and len(self.results) > 1:
            self.console.print(_summary(self.results))

    @contextmanager
    def working(self, name: str, n: int) -> Iterator[Callable[[int], None]]:
        """A bar while the model works; composing the cases comes before it."""
        columns = (TextColumn(name), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns, console=self.console, transient=True) as progress:
            task = progress.add_task(name, total=n)
            yield lambda done: progress.update(task, completed=done)

    def add(self, result: Result) -> None:
        self.results.append(result)
        self.console.print(_table(result))
        for note in result.notes:
            self.console.print(f"  {note}", style="dim")

    def write(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(to_json(self.model, self.results) + "\n", "utf-8")


def to_json(model: str, results: list[Result]) -> str:
    first = results[0]
    scores = [result.score for result in results]
    everything = {
        "score": first.score if len(results) == 1 else sum(scores) / len(scores),
        "model": model,
        "n": first.n,
        "seed": first.seed,
        "suites": [suite_json(result) for result in results],
    }
    return json.dumps(everything, indent=1, ensure_ascii=False)


def suite_json(result: Result) -> dict[str, object]:
    score = result.rows[0].score
    return {
        "score": result.score,
        "interval95": [score.low, score.high],
        "suite": result.suite,
        "n": result.n,
        "seeds": [result.seed],
        "minutes": round(result.minutes, 2),
        "voices": list(result.voices),
        "rows": {row.name: {m.name: _measure(m) for m in row.measures} for row in result.rows},
        "notes": list(result.notes),
    }


def _measure(m: Measure) -> dict[str, object]:
    return {"value": m.value, "unit": m.unit, "low": m.low, "high": m.high, "n": m.n}


def from_json(stored: dict[str, Any]) -> Result:
    rows = (
        Row(name, tuple(Measure(m, **figures) for m, figures in measures.items()))
        for name, measures in stored["rows"].items()
    )
    voices, notes = tuple(stored["voices"]), tuple(stored["notes"])
    (seed,) = stored["seeds"]
    return Result(stored["suite"], stored["n"], seed, stored["minutes"], voices, tuple(rows), notes)


def _table(result: Result) -> Table:
    people = f"{len(result.voices)} voices" if len(result.voices) != 1 else result.voices[0]
    title = f"{result.suite}: n = {result.n}, seed {result.seed}, {result.minutes:.1f} min, {people}"
    table = Table(title=title, title_justify="left")
    table.add_column("")
    for row in result.rows:
        table.add_column(short(row.name), justify="right")
    for i, (name, *measures) in enumerate(by_measure(result)):
        table.add_row(name, *map(figure, measures), style="bold" if i == 0 else "")
    return table


def by_measure(result: Result) -> list[tuple[Any, ...]]:
    """The name of each measure and what every row has of it."""
    rows = [{m.name: m for m in row.measures} for row in result.rows]
    names = dict.fromkeys(name for row in rows for name in row)
    return [(name, *(row.get(name) for row in rows)) for name in names]


def short(name: str) -> str:
    return name.removesuffix("-speak").removesuffix("-weights")


def figure(m: Measure | None) -> str:
    """With its interval, if it has one."""
    if m is None:
        return ""
    return cell(m) + (f" ({interval(m)})" if interval(m) else "")


def cell(m: Measure) -> str:
    if m.value is None:
        return "–"
    if m.unit == "ms":
        return f"{m.value:.0f} ms"
    return f"{m.value:.2f}{m.unit}"


def interval(m: Measure) -> str:
    return "" if m.low is None or m.high is None else f"{m.low:.2f}–{m.high:.2f}"


def scores(results: Sequence[Result]) -> tuple[list[str], list[tuple[Result, list[Measure | None]]]]:
    """Everybody who was given something, and for each suite the score of each."""
    names = list(dict.fromkeys(row.name for result in results for row in result.rows))
    rows = [(result, {row.name: row.score for row in result.rows}) for result in results]
    return names, [(result, [by_name.get(name) for name in names]) for result, by_name in rows]


def _summary(results: list[Result]) -> Table:
    names, rows = scores(results)
    table = Table(title="scores", title_justify="left")
    table.add_column("suite")
    for name in names:
        table.add_column(short(name), justify="right")
    for result, measures in rows:
        table.add_row(result.suite, *map(figure, measures))
    return table


# ---- docs ----

PUBLISHED = {  # others' figures on their own data: context
    "timespeak": "TML-Interaction-Small 64.7, GPT-realtime-2 4.3",
    "cuespeak": "TML-Interaction-Small 81.7, GPT-realtime-2 2.9",
    "repcount": "RepCount-A, off by one: TML-Interaction-Small 35.4, GPT-realtime-2 1.3, offline specialist 56",
    "videoqa": "ProactiveVideoQA, PAUC at 0.5: TML-Interaction-Small 33.5, silence 25.0",
    "charades": "temporal IoU: TML-Interaction-Small 32.4, GPT-realtime-2 0",
    "orders": "accepted: published engines 77.6 to 97.6",
}


ONLY_SCORE = (NEVER, ALWAYS, RANDOM, ORACLE)  # what else is told of them tells nothing
KEPT = ("model", "title", "note", "seed")  # of a run, beside its suites


def runs_in(given: str | Path) -> list[dict[str, Any]]:
    """What one `bench --json` wrote, or what the page was last written from: FILE, or FILE=TITLE."""
    path, _, title = str(given).partition("=")
    stored = json.loads(Path(path).read_text("utf-8"))
    runs = stored if isinstance(stored, list) else [stored]
    return [run | ({"title": title} if title else {}) for run in runs]


def merged(runs: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """What the page shows, and no more: suites of one model, seed, title and note together."""
    found: dict[tuple[object, ...], dict[str, Any]] = {}
    for run in runs:
        about = {name: run[name] for name in KEPT if name in run}
        into = found.setdefault(tuple(about.items()), {**about, "suites": []})
        into["suites"] += [shown(suite) for suite in run["suites"]]
    order = [*SUITES, LOSS]
    for run in found.values():
        run["suites"].sort(key=lambda s: order.index(s["suite"]) if s["suite"] in order else len(order))
    return list(found.values())


def shown(suite: dict[str, Any]) -> dict[str, Any]:
    """Every measure of the model and of whom it is compared with, of the others the score; to four places."""

    def rounded(figures: dict[str, Any]) -> dict[str, Any]:
        return {
            k: round(v, 4) if isinstance(v, float) else v for k, v in figures.items() if v not in (None, "")
        }

    rows = {
        row: {
            name: {"value": None} | rounded(m)
            for name, m in list(measures.items())[: 1 if row in ONLY_SCORE else None]
        }
        for row, measures in suite["rows"].items()
    }
    return {name: suite[name] for name in ("suite", "n", "seeds", "minutes", "voices", "notes")} | {
        "rows": rows
    }


def as_text(runs: Sequence[dict[str, Any]]) -> str:
    """JSON with a line for each suite."""

    def run_text(run: dict[str, Any]) -> str:
        about = json.dumps({k: v for k, v in run.items() if k != "suites"}, ensure_ascii=False)
        lines = ",\n".join(json.dumps(suite, ensure_ascii=False) for suite in run["suites"])
        return f'{about[:-1]}, "suites": [\n{lines}\n]}}'

    return "[\n" + ",\n".join(map(run_text, runs)) + "\n]\n"


def document(runs: Sequence[dict[str, Any]]) -> str:
    """docs/benchmarks.md."""
    return INTRODUCTION + "\n" + "\n\n".join(map(markdown, runs)) + "\n"


def markdown(run: dict[str, Any]) -> str:
    """One model's scores, as part of a page."""
    results = [from_json(suite) for suite in run["suites"]]
    names, rows = scores(results)
    head = ["suite", "n", *map(short, names)]
    out = [
        f"## {run.get('title', run['model'])}",
        "",
        f"Seed {run['seed']}. {run.get('note', '')}".strip(),
        "",
    ]
    out += ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for result, measures in rows:
        out.append("| " + " | ".join([result.suite, str(result.n), *map(figure, measures)]) + " |")
    out += ["", missing] if (missing := absent(results)) else []
    once = _everywhere(results)
    out += ["", *(f"- {note}" for note in once)] if once else []
    for result in results:
        about = SUITES[result.suite].about if result.suite in SUITES else ""
        out += ["", f"**{result.suite}**" + (f": {about}" if about else "") + _sound(result), ""]
        out += _measures(result)
        out += [f"- {note}" for note in result.notes if note not in once]
        if result.suite in PUBLISHED:
            out.append(f"- on their data, in percent: {PUBLISHED[result.suite]}")
    return "\n".join(out)


def _everywhere(results: Sequence[Result]) -> list[str]:
    """What is to be said of a player in every suite, such as a harness's settings: once is enough."""

    def goes_with_its_rows(note: str) -> bool:
        who = note.partition(": ")[0]
        of = [result for result in results if any(row.name == who for row in result.rows)]
        return len(of) > 1 and all(note in result.notes for result in of)

    return [note for note in dict.fromkeys(n for r in results for n in r.notes) if goes_with_its_rows(note)]


def absent(results: Sequence[Result]) -> str:
    """One line of what a report of several suites has no figure of."""
    there = {result.suite for result in results}
    names = [name for name in (*SUITES, LOSS) if name not in there]
    return f"Without a figure here: {', '.join(names)}." if names and len(there) > 1 else ""


def _measures(result: Result) -> Iterator[str]:
    names = [row.name for row in result.rows]
    for name, first, *others in by_measure(result)[1:]:
        beside = [
            f"{who} {figure(m)}"
            for who, m in zip(names[1:], others, strict=True)
            if m and who not in ONLY_SCORE
        ]
        yield f"- {name} " + "; ".join([figure(first), *beside])


def _sound(result: Result) -> str:
    few = ", ".join(result.voices) if len(result.voices) <= 8 else f"{len(result.voices)} people"
    minutes = f"{result.minutes:.0f} min" if result.minutes else ""
    told = "; ".join(filter(None, (minutes, few)))
    return f" ({told})" if told else ""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    told = "what bench --json wrote; with a title, files of the same title are one table"
    parser.add_argument("scores", nargs="+", metavar="FILE[=TITLE]", help=told)
    parser.add_argument("--json", type=Path, help="keep what the page shows in this file")


def run(args: argparse.Namespace) -> int:
    runs = merged(run for path in args.scores for run in runs_in(path))
    if args.json:
        args.json.write_text(as_text(runs), "utf-8")
    print(document(runs), end="")
    return 0


INTRODUCTION = """# Benchmarks

Every figure on this page was printed by `microturn bench report`; `src/microturn/bench/suites.py` says what each
suite is made of and `scores.py`, `watching.py`, `language.py` beside it what is counted. A score is 0 … 1 and worth
nothing by silence or by talking all the time. Intervals are 95 %. `timing_bias` is how late (or, negative, early) it
begins what it was to say, in the middle, against the moment that the scene has for it. Suites without a figure are
named below each table; how the voice sounds (`microturn bench speech`) is in voice.md, the engine in engine.md.

Three scores are not what is published under that name, which stands beside them: *videoqa* counts as false what is
said outside its spans (`pauc` does not), *charades* takes a mark told within 800 ms for told at once (`iou` does
not), and in *pause* any word is a `takeover` (`takeover_fdb`: a second of talk, or more than three words).

```
microturn bench all --n 20 --json scores.json --save cases --html report.html  # goes on where it was stopped
microturn bench report scores.json --json docs/benchmarks.json > docs/benchmarks.md  # this page
microturn bench cuespeak --target live:ws://localhost:8000                     # another system, over its socket
microturn bench turns --target wav:cases                                       # cases/turns/000/out.wav …
microturn bench turns --sound                                                  # scored once more by ear
microturn bench turns,everyday --harness vad,smart --save cases                # beside a pipeline, in real time
microturn bench --import fdb:FOLDER                                            # data of others
```

With `--save` a harness is given each case once in the life of the folder, so that what was stopped goes on by the
case, and of other weights only the model's row is made anew.

Targets: `duplex:` and `live:` (docs/wire.md), `page:` (Chromium before a server's page), `realtime:` (OpenAI's
Realtime API) and `wav:` (recordings made elsewhere). A suite that needs what a target does not carry, such as a film,
is left out and said so. Imports: `fdb` (Full-Duplex-Bench v1 and v1.5), `repcount-a`, `proactivevideoqa`, `charades`,
`quva`. The definitions of others, to the letter, are in `published.py` and `watching.py`: off by one, PAUC (silence
is 25.0), temporal IoU, takeover, latency clamped as theirs and unclamped, overlaps and gaps. Others' figures are on
their data: context, not a comparison.

The harness is a running pipecat pipeline of real parts: Silero's voice activity (and pipecat's smart-turn model),
faster-whisper tiny.en, SmolLM2-135M in llama.cpp, hibari. `python -m microturn.bench.harness` looks for its best
settings. It is heard through the same loudspeaker. Like the model it is scored by its words, those that its
synthesiser was given, when they are heard, and beside that by ear: by what Whisper hears of its sound. It has no eyes
and hands no work over: where a case needs them it is given the rest, and that is said below the table.

*everyday* is what such a pipeline is for: questions about the world, of which `nano` was never taught one answer.
"""

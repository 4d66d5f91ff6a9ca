"""Results as a table to read and as JSON to keep, the score first in both; JSON as docs/benchmarks.md.

`microturn bench report FILE.json … > docs/benchmarks.md`, so that no figure in it is typed by hand.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from microturn.bench.intervals import Measure
from microturn.bench.suites import SUITES, Result, Row


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
        table.add_column(short(row.name), justify="right", no_wrap=True)
        if row.name == "model":
            table.add_column("95 %", justify="right", no_wrap=True)
    for i, measure in enumerate(result.rows[0].measures):
        cells = [cell(row.measures[i]) for row in result.rows]
        cells.insert(1, interval(measure))
        table.add_row(measure.name, *cells, style="bold" if i == 0 else "")
    return table


def short(name: str) -> str:
    return name.split("-")[0]


def cell(m: Measure) -> str:
    if m.value is None:
        return "–"
    if m.unit == "ms":
        return f"{m.value:.0f} ms"
    return f"{m.value:.2f}{m.unit}"


def interval(m: Measure) -> str:
    return "" if m.low is None or m.high is None else f"{m.low:.2f}–{m.high:.2f}"


def _summary(results: list[Result]) -> Table:
    names: list[str] = list(dict.fromkeys(row.name for result in results for row in result.rows))
    table = Table(title="scores", title_justify="left")
    table.add_column("suite")
    for name in names:
        table.add_column(short(name), justify="right")
        if name == "model":
            table.add_column("95 %", justify="right")
    for result in results:
        rows: dict[str, Row] = {row.name: row for row in result.rows}
        cells = [cell(rows[name].score) if name in rows else "" for name in names]
        cells.insert(1, interval(result.rows[0].score))
        table.add_row(result.suite, *cells)
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


def markdown(path: Path) -> str:
    """One model's scores, as part of a page."""
    stored = json.loads(path.read_text("utf-8"))
    results = [from_json(suite) for suite in stored["suites"]]
    names = list(dict.fromkeys(row.name for result in results for row in result.rows))
    head = ["n", names[0], "95 %", *(short(name) for name in names[1:])]
    out = [f"## {stored['model']}", "", f"Seed {stored['seed']}.", ""]
    out += ["| suite | " + " | ".join(head) + " |", "|---" * (len(head) + 1) + "|"]
    for result in results:
        rows = {row.name: row.score for row in result.rows}
        cells = [cell(rows[name]) if name in rows else "" for name in names]
        cells.insert(1, interval(rows[names[0]]))
        cells.insert(0, str(result.n))
        out.append(f"| {result.suite} | " + " | ".join(cells) + " |")
    for result in results:
        about = SUITES[result.suite].about if result.suite in SUITES else ""
        out += ["", f"**{result.suite}**" + (f": {about}" if about else ""), ""]
        for m in result.rows[0].measures[1:]:
            out.append(f"- {m.name} {cell(m)}" + (f" ({interval(m)})" if interval(m) else ""))
        if result.suite in PUBLISHED:
            out.append(f"- on their data, in percent: {PUBLISHED[result.suite]}")
    return "\n".join(out)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("scores", nargs="+", type=Path, help="what bench --json wrote")


def run(args: argparse.Namespace) -> int:
    print(INTRODUCTION + "\n" + "\n\n".join(markdown(path) for path in args.scores))
    return 0


INTRODUCTION = """# Benchmarks

Every figure on this page was printed by `microturn bench report`; `src/microturn/bench/suites.py` says what each
suite is made of and `scores.py`, `watching.py`, `language.py` beside it what is counted. A score is 0 … 1 and worth
nothing by silence or by talking all the time. Intervals are 95 %.

```
microturn bench all --n 20 --json scores.json --save cases --html report.html  # goes on where it was stopped
microturn bench report scores.json > docs/benchmarks.md                        # this page
microturn bench cuespeak --target live:ws://localhost:8000                     # another system, over its socket
microturn bench turns --target wav:cases                                       # cases/turns/000/out.wav …
microturn bench turns --sound                                                  # scored once more from its sound
microturn bench turns --harness vad,smart                                      # beside a pipeline, in real time
microturn bench --import fdb:FOLDER                                            # data of others
```

Targets: `duplex:` and `live:` (docs/wire.md), `page:` (Chromium before a server's page), `realtime:` (OpenAI's
Realtime API) and `wav:` (recordings made elsewhere). A suite that needs what a target does not carry, such as a film,
is left out and said so. Imports: `fdb` (Full-Duplex-Bench v1 and v1.5), `repcount-a`, `proactivevideoqa`, `charades`,
`quva`. The definitions of others, to the letter, are in `published.py` and `watching.py`: off by one, PAUC (silence
is 25.0), temporal IoU, takeover, latency clamped as theirs and unclamped, overlaps and gaps. Others' figures are on
their data: context, not a comparison.

The harness is a running pipecat pipeline of real parts: Silero's voice activity (and pipecat's smart-turn model),
faster-whisper tiny.en, SmolLM2-135M in llama.cpp, hibari. `python -m microturn.bench.harness` looks for its best
settings. It is heard through the same loudspeaker, and what it said is what Whisper hears of it.
"""

"""Results as a table to read and as JSON to keep, the score first in both."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from microturn.bench.intervals import Measure

if TYPE_CHECKING:
    from microturn.bench.suites import Result, Row


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
        "suites": [_suite(result) for result in results],
    }
    return json.dumps(everything, indent=1, ensure_ascii=False)


def _suite(result: Result) -> dict[str, object]:
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


def _table(result: Result) -> Table:
    people = f"{len(result.voices)} voices" if len(result.voices) != 1 else result.voices[0]
    title = f"{result.suite}: n = {result.n}, seed {result.seed}, {result.minutes:.1f} min, {people}"
    table = Table(title=title, title_justify="left")
    table.add_column("")
    for row in result.rows:
        table.add_column(_short(row.name), justify="right", no_wrap=True)
        if row.name == "model":
            table.add_column("95 %", justify="right", no_wrap=True)
    for i, measure in enumerate(result.rows[0].measures):
        cells = [_cell(row.measures[i]) for row in result.rows]
        cells.insert(1, _interval(measure))
        table.add_row(measure.name, *cells, style="bold" if i == 0 else "")
    return table


def _short(name: str) -> str:
    return name.split("-")[0]


def _cell(m: Measure) -> str:
    if m.value is None:
        return "–"
    if m.unit == "ms":
        return f"{m.value:.0f} ms"
    return f"{m.value:.2f}{m.unit}"


def _interval(m: Measure) -> str:
    return "" if m.low is None or m.high is None else f"{m.low:.2f}–{m.high:.2f}"


def _summary(results: list[Result]) -> Table:
    names: list[str] = list(dict.fromkeys(row.name for result in results for row in result.rows))
    table = Table(title="scores", title_justify="left")
    table.add_column("suite")
    for name in names:
        table.add_column(_short(name), justify="right")
        if name == "model":
            table.add_column("95 %", justify="right")
    for result in results:
        rows: dict[str, Row] = {row.name: row for row in result.rows}
        cells = [_cell(rows[name].score) if name in rows else "" for name in names]
        cells.insert(1, _interval(result.rows[0].score))
        table.add_row(result.suite, *cells)
    return table

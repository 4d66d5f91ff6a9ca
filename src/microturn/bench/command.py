"""`microturn bench SUITE|all`: what its options mean, which suites there are left to do, and on how many cores.

Suites are independent and deterministic, so `all` gives each to a process of its own; with one thread each, alone or
among others, since sums that are split otherwise end in other digits. With `--save`, a suite that
is there already, from the same model, cases and version, is not run again: what was stopped goes on where it was. Of
another model only the model is run again, and a harness is given each case once in the life of the folder.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterator
from concurrent.futures import as_completed
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from rich.console import Console

from microturn.bench import kept
from microturn.bench.evaluate import Progress, Result, evaluate
from microturn.bench.harness import BEST, Harness
from microturn.bench.imports import KINDS, suite
from microturn.bench.page import page
from microturn.bench.pool import pool
from microturn.bench.report import Report, to_json
from microturn.bench.suites import LOSS, RESERVED, SUITES, Suite, cast_of
from microturn.bench.targets import TOGETHER, Target
from microturn.model.checkpoint import RELEASED, load_model
from microturn.model.interaction import Interaction

STDOUT = "-"
KEY = "MICROTURN_KEY"
LONGEST = ("recall", LOSS)  # are begun first, so that no core waits for the end of an hour


@dataclass(frozen=True)
class Task:
    """One suite to be run, as it is handed to a process."""

    name: str  # of a suite, or KIND:FOLDER to import one
    model: str | None
    target: Target | None
    n: int
    seed: int
    voices: str
    baselines: bool
    folder: Path | None  # to keep cases and result in
    sound: bool = False
    harnesses: tuple[Harness, ...] = ()

    @property
    def suite(self) -> str | Suite:
        return suite(self.name) if ":" in self.name else self.name

    @property
    def key(self) -> dict[str, object]:
        """What must be the same for a result to be the same; without `what` for those beside it."""
        return {
            "what": self.target.name if self.target else kept.fingerprint(self.model),
            "shape": None if self.target else kept.shape(self.model),
            "suite": self.name,
            "code": kept.code(),
            "n": self.n,
            "seed": self.seed,
            "voices": self.voices,
            "baselines": self.baselines,
            "sound": self.sound,
            "harnesses": [str(harness) for harness in self.harnesses],
        }

    def rehearse(self) -> None:
        """What harnesses will be asked for, in real time, to be kept."""
        torch.set_num_threads(1)
        self._evaluate(None, harnesses=self.harnesses)

    def run(self, progress: Progress | None = None) -> Result:
        torch.set_num_threads(1)
        result = self._evaluate(
            None if self.target else load_model(self.model or RELEASED),
            baselines=self.baselines,
            progress=progress,
            target=self.target,
            sound=self.sound,
            harnesses=self.harnesses,
            before=kept.read(self.folder, self.name, self.key, but="what") if self.folder else None,
        )
        if self.folder:
            kept.write(self.folder, self.key, result)
        return result

    def _evaluate(self, model: Interaction | None, **how: Any) -> Result:
        keep = kept.Cases(self.folder) if self.folder else None
        return evaluate(model, self.suite, self.n, self.seed, cast=cast_of(self.voices), keep=keep, **how)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    names = (*SUITES, LOSS, "all")
    add = parser.add_argument
    add("suite", nargs="?", metavar="SUITE,…", help=", ".join(names))
    add("--model", help="a checkpoint; by default the released model")
    add(
        "--target",
        help="another system: duplex:URL, live:URL, page:URL, realtime:URL|MODEL (a key, if it wants one, in "
        f"{KEY}) or wav:FOLDER (with SUITE/000/out.wav …)",
    )
    add("--together", type=int, default=TOGETHER, help="conversations at once with a target (4)")
    add("--import", dest="data", metavar="KIND:FOLDER", help=f"others' data as a suite: {', '.join(KINDS)}")
    add("--real", type=Path, help="repcount: real films; the same as --import quva:FOLDER")
    add("--n", type=int, default=24, help="cases of each suite (24)")
    add("--seed", type=int, default=1, help="which cases (1)")
    add(
        "--voices",
        default=RESERVED,
        help="of the voices that training never hears: all (reserved), or some, such as piper-joe,flite-rms",
    )
    add("--no-baselines", action="store_true", help="the model alone, in half the time")
    add("--sound", action="store_true", help="score it once more by what Whisper hears of its sound")
    add(
        "--harness",
        default="",
        metavar="KIND,…",
        help="beside it, in real time, a pipeline of voice activity, Whisper, a language model and a synthesiser: "
        "vad, smart or both",
    )
    add("--jobs", type=int, default=os.cpu_count() or 1, help="suites at once (one for each core)")
    add(
        "--json", nargs="?", const=STDOUT, help="results as JSON: into this file, or printed if none is named"
    )
    add("--save", type=Path, metavar="FOLDER", help="keep every case; what is there is not run again")
    add("--html", type=Path, metavar="FILE", help="a page with tables, timelines and sound")


def run(args: argparse.Namespace) -> int:
    with TemporaryDirectory() as scratch:
        if (args.html or args.harness) and not args.save:
            args.save = Path(scratch)
        return _run(args)


def _run(args: argparse.Namespace) -> int:
    tasks = _tasks(args)
    told = tasks[0].target.name if tasks[0].target else "/".join(Path(args.model or RELEASED).parts[-2:])
    with Report(told, Console(stderr=args.json == STDOUT)) as report:
        # what keeps time with the clock shares the cores with nobody
        if args.harness and len(tasks) > 1:
            with pool(args.jobs) as workers, report.working("harness", len(tasks)) as progress:
                rehearsals = [workers.submit(task.rehearse) for task in tasks]
                for done, rehearsed in enumerate(as_completed(rehearsals), 1):
                    progress(done)
                    with suppress(ValueError, OSError):  # a suite that cannot be run here says so below
                        rehearsed.result()
        for result in _results(tasks, 1 if args.target else args.jobs, report):
            report.add(result)
            if args.json and args.json != STDOUT:
                report.write(Path(args.json))
        report.results.sort(key=lambda r: [t.name.partition(":")[0] for t in tasks].index(r.suite))
    if not report.results:
        return 2
    if args.json == STDOUT:
        print(to_json(told, report.results))
    elif args.json:
        report.write(Path(args.json))
    if args.html:
        args.html.parent.mkdir(parents=True, exist_ok=True)
        args.html.write_text(page(told, report.results, args.save), "utf-8")
    return 0


def _tasks(args: argparse.Namespace) -> list[Task]:
    if args.n < 1 or args.jobs < 1 or args.together < 1:
        raise ValueError("--n, --jobs and --together must be 1 or more")
    if unknown := sorted(set(args.harness.split(",")) - {*BEST, ""}):
        raise ValueError(f"no harness {unknown[0]!r}: there are {', '.join(BEST)}")
    if args.real and args.suite != "repcount":
        raise ValueError("--real is for repcount")
    twice = {
        "--real and --import": args.real and args.data,
        "--target and --model": args.target and args.model,
    }
    if both := [names for names, given in twice.items() if given]:
        raise ValueError(f"{both[0]}: one or the other")
    data = f"quva:{args.real}" if args.real else args.data
    if (data is None) == (args.suite is None) and not args.real:
        raise ValueError("name a suite, or all, or data with --import")
    every = [*SUITES, LOSS]
    names = [data] if data else every if args.suite == "all" else args.suite.split(",")
    if not data and (unknown := [name for name in names if name not in every]):
        raise ValueError(f"no suite {unknown[0]!r}: use {', '.join(every)} or all")
    target = Target.parse(args.target, os.environ.get(KEY, ""), args.together) if args.target else None
    harnesses = tuple(BEST[kind] for kind in args.harness.split(",") if kind)
    shared = (args.model, target, args.n, args.seed, args.voices, not args.no_baselines, args.save)
    return [Task(name, *shared, args.sound, harnesses) for name in names]


def _results(tasks: list[Task], jobs: int, report: Report) -> Iterator[Result]:
    """As they come; those that are there already first."""
    left: list[Task] = []
    for task in tasks:
        if task.folder and (found := kept.read(task.folder, task.name, task.key)):
            yield found
        else:
            left.append(task)

    def result(task: Task, made: Callable[[], Result]) -> Iterator[Result]:
        """Among many, a suite that cannot be run here is left out and said so."""
        try:
            yield made()
        except (ValueError, OSError) as why:
            if len(tasks) == 1:
                raise
            report.console.print(f"{task.name} is left out: {why}", style="dim")

    if min(jobs, len(left)) <= 1:
        for task in left:
            with report.working(task.name, task.n) as progress:
                yield from result(task, partial(task.run, progress))
        return
    left.sort(key=lambda task: task.name not in LONGEST)
    with pool(jobs) as workers, report.working("suites", len(left)) as progress:
        running = {workers.submit(task.run): task for task in left}
        for done, future in enumerate(as_completed(running), 1):
            progress(done)
            yield from result(running[future], future.result)

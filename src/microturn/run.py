"""`microturn run`: what its options mean, which recordings a folder holds, and a progress bar."""

from __future__ import annotations

import argparse
import sys
import threading
from pathlib import Path

from microturn.clock import TICKS_PER_SECOND, WallClock
from microturn.media import has_video
from microturn.runner import Job, run_jobs
from microturn.script import read_script

SOUND = (
    ".wav", ".flac", ".mp3", ".ogg", ".oga", ".opus", ".m4a", ".aac", ".wma", ".aif", ".aiff", ".au", ".caf",
)  # fmt: skip
FILM = (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".ts")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Run a recording, or a folder of them, through the model; the answer is exactly as long."
    )
    what = parser.add_argument_group("what arrives")
    what.add_argument(
        "--audio", type=Path, metavar="FILE", help="what the model hears: any sound or film file"
    )
    what.add_argument(
        "--video", type=Path, metavar="FILE", help="what it sees; heard as well without --audio"
    )
    what.add_argument(
        "--text", type=Path, metavar="JSONL", help='what it reads: {"ms": 1200, "text": "hello"} a line'
    )
    what.add_argument("--instructions", default="", metavar="TEXT", help="what it is told before it begins")
    what.add_argument("--folder", type=Path, metavar="DIR", help="every recording of a folder instead of one")
    made = parser.add_argument_group("what is made (with --folder these are folders)")
    made.add_argument("--out", type=Path, required=True, metavar="WAV", help="its answer, 24 kHz mono PCM16")
    made.add_argument(
        "--events", type=Path, metavar="JSONL", help="what it heard, decided and said, tick by tick"
    )
    made.add_argument("--picture", type=Path, metavar="PNG", help="the same as a picture")
    parser.add_argument("--model", default="nano", metavar="NAME|FILE", help="default: %(default)s")
    parser.add_argument(
        "--eagerness", type=float, default=0.0, metavar="X", help="added to the log-odds of speaking"
    )


def run(args: argparse.Namespace) -> int:
    jobs = _jobs(args)
    with _Bar() as bar:
        # torch takes a second: arguments are checked before it is asked for
        from microturn.model.checkpoint import load_model

        clock = WallClock()
        model = load_model(args.model)
        began, failures, seconds = clock.now(), 0, 0.0
        for outcome in run_jobs(model, jobs, bar.show):
            seconds += outcome.seconds
            if outcome.failure:
                failures += 1
                print(f"microturn: {outcome.failure}", file=sys.stderr)
            else:
                print(
                    f"{outcome.job.out}: {outcome.seconds:.1f} s, heard {outcome.words_heard} words, said "
                    f"{outcome.words_said}, held the floor in {outcome.spoken_ticks} ticks"
                )
        took = clock.now() - began
    if seconds > 0:
        print(f"{seconds:.1f} s of media in {took:.1f} s: {seconds / took:.1f} × real time")
        if not model.voiced:
            print(f"the voice of {args.model} is not trained: its sound is silence (docs/voice.md)")
    return 2 if failures else 0


def _jobs(args: argparse.Namespace) -> list[Job]:
    if args.eagerness != args.eagerness or abs(args.eagerness) == float("inf"):
        raise ValueError("--eagerness must be a finite number")
    if args.folder:
        if args.audio or args.video or args.text:
            raise ValueError("--folder takes no --audio, --video or --text beside it")
        return folder_jobs(
            args.folder, args.out, args.events, args.picture, args.instructions, args.eagerness
        )
    audio = args.audio or args.video
    if audio is None:
        raise ValueError("nothing to run: name a recording with --audio or --video, or a --folder of them")
    script = read_script(args.text) if args.text else ()
    if args.out.is_dir():
        raise ValueError(f"{args.out}: is a folder; --out names the sound file to write")
    return [
        Job(audio, args.out, args.video, script, args.instructions, args.eagerness, args.events, args.picture)
    ]


class _Bar:
    """A progress bar that shows itself when the work has lasted two seconds."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[at]}"),
            TimeRemainingColumn(),
        )
        console = Console(stderr=True)
        self._bar = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
        self._task = self._bar.add_task("getting ready", total=None, at="")
        self._timer = threading.Timer(2.0, self._bar.start)
        self._timer.daemon = True

    def __enter__(self) -> _Bar:
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
        self._bar.stop()

    def show(self, done: int, known: int) -> None:
        at = f"{done / TICKS_PER_SECOND:.0f} of {known / TICKS_PER_SECOND:.0f} s"
        self._bar.update(self._task, description="running", completed=done, total=known, at=at)


def folder_jobs(
    source: Path,
    out: Path,
    events: Path | None = None,
    pictures: Path | None = None,
    told: str = "",
    eager: float = 0.0,
) -> list[Job]:
    """A job for every recording in a folder and those in it; `input.wav` is answered as `output.wav`."""
    if not source.is_dir():
        raise ValueError(f"{source}: is not a folder")
    found = [p for p in source.rglob("*") if p.suffix.lower() in SOUND + FILM and p.is_file()]
    found.sort(key=lambda p: (p.with_suffix(""), p.suffix != ".wav", p.suffix))
    inputs = {p.parent for p in found if p.stem == "input"}
    found = [p for p in found if not (p.stem == "output" and p.parent in inputs)]
    if not found:
        raise ValueError(f"{source}: there is no recording in this folder")
    jobs: list[Job] = []
    taken: set[Path] = set()
    for path in found:
        name = path.relative_to(source).with_name("output" if path.stem == "input" else path.stem)
        if name in taken:  # a.mp4 beside a.wav
            name = path.relative_to(source)
        taken.add(name)
        wav, jsonl, png = (
            None if folder is None else folder / name.with_name(name.name + suffix)
            for folder, suffix in ((out, ".wav"), (events, ".jsonl"), (pictures, ".png"))
        )
        assert wav is not None
        film = path if path.suffix.lower() in FILM and has_video(path) else None
        jobs.append(Job(path, wav, film, (), told, eager, jsonl, png))
    return jobs

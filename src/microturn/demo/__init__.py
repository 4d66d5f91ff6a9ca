"""`microturn demo`: recordings of a few skills run through the model, then played back as they were lived.

The recordings are cases that the released weights get right; how often they do is in docs/model-card.md. No
microphone is needed. What the model heard, decided and said is printed in the tick in which it did, with both
voices on the loudspeaker if there is one (`microturn[talk]`), and kept as a sound file, a picture and events.
"""

import argparse
import importlib
import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from importlib.resources import files
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from microturn.clock import HEAR_RATE, SPEAK_RATE, WallClock
from microturn.media import audio_ticks, examine
from microturn.runner import Job, run_jobs
from microturn.script import read_script
from microturn.streams import Floats

HERE = Path(str(files("microturn").joinpath("demo")))
COLOURS = {"hear": "cyan", "say": "bold green", "decision": "magenta"}


@dataclass(frozen=True)
class Scene:
    name: str
    asks: str  # what the recording is
    watch: str  # what to look for
    told: str = ""  # instructions that it reads before it begins

    def part(self, kind: str) -> Path | None:
        """Its recording (opus), what is typed or handed to it meanwhile (jsonl) or what it sees (mp4)."""
        path = HERE / f"{self.name}.{kind}"
        return path if path.is_file() else None

    def job(self, out: Path) -> Job:
        text = self.part("jsonl")
        return Job(
            audio=HERE / f"{self.name}.opus",
            video=self.part("mp4"),
            script=read_script(text) if text else (),
            out=out / f"{self.name}.wav",
            events=out / f"{self.name}.jsonl",
            picture=out / f"{self.name}.png",
            instructions=self.told,
        )


def scenes() -> list[Scene]:
    rows: dict[str, dict[str, str]] = json.loads((HERE / "scenes.json").read_text("utf-8"))
    return [Scene(name, **row) for name, row in rows.items()]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = "Recordings against the model: what it hears, decides and says, tick by tick."
    names = [scene.name for scene in scenes()]
    parser.add_argument("scene", nargs="?", choices=names, metavar="SCENE", help=", ".join(names))
    parser.add_argument(
        "--out", type=Path, default=Path("demo"), metavar="DIR", help="default: ./%(default)s"
    )
    parser.add_argument("--model", default="nano", metavar="NAME|FILE", help="default: %(default)s")
    parser.add_argument("--fast", action="store_true", help="print at once, play nothing")


def run(args: argparse.Namespace) -> int:
    from microturn.model.checkpoint import load_model

    console, model = Console(highlight=False), load_model(args.model)
    for scene in scenes():
        if args.scene and scene.name != args.scene:
            continue
        job = scene.job(args.out)
        console.rule(scene.name)
        told = f"It was told: {scene.told}\n" if scene.told else ""
        console.print(f"{told}You hear: {scene.asks}\nWatch for: {scene.watch}\n", soft_wrap=True)
        (outcome,) = run_jobs(model, [job])
        if outcome.failure:
            raise ValueError(outcome.failure)
        replay(console, job, (lambda: None) if args.fast else speaker(console, job), args.fast)
        console.print(f"\nkept: {job.out}, {job.picture}\n")
    console.print("These are cases that go well; how often they do: docs/model-card.md")
    console.print("Now you: [bold]microturn serve[/bold], then open http://localhost:8000", highlight=False)
    return 0


def replay(console: Console, job: Job, begin: Callable[[], None], fast: bool) -> None:
    """Every tick's events when their time comes."""
    assert job.events is not None
    clock, events = WallClock(), [json.loads(line) for line in job.events.read_text("utf-8").splitlines()]
    begin()
    began = clock.now()
    for end_ms, of_tick in groupby(events, key=lambda event: event["end_ms"]):
        if not fast:
            clock.sleep_until(began + end_ms / 1000)
        for kind, some in groupby(of_tick, key=lambda event: event["type"]):
            text = "".join(str(event.get("text", event.get("value", ""))) for event in some).strip()
            colour = COLOURS.get(kind, "yellow")
            console.print(f"{end_ms / 1000:5.1f} s  {kind + 's':10} [{colour}]{text}[/{colour}]")


def speaker(console: Console, job: Job) -> Callable[[], None]:
    """Begins to play the recording left and the answer right; nothing if there is no loudspeaker."""
    try:
        devices: Any = importlib.import_module("sounddevice")
        both = side_by_side(job)
    except (ImportError, OSError):
        console.print("(no sound: pip install -e '.[talk]', or listen to the files)\n")
        return lambda: None

    def begin() -> None:
        with suppress(devices.PortAudioError):
            devices.play(both, SPEAK_RATE)

    return begin


def side_by_side(job: Job) -> Floats:
    import soxr

    def whole(path: Path) -> Floats:
        ticks = [tick for tick in audio_ticks(examine(path)) if tick is not None]
        return np.asarray(soxr.resample(np.concatenate(ticks), HEAR_RATE, SPEAK_RATE), np.float32)

    user, model = whole(job.audio), whole(job.out)
    length = min(len(user), len(model))
    return np.stack([user[:length], model[:length]], 1)

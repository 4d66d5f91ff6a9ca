"""`microturn talk`: a conversation in the terminal, by voice and by keyboard, with captions of both sides."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from rich.console import Console, Group
from rich.live import Live as Region
from rich.text import Text

from microturn.client.converse import converse, typed_lines
from microturn.client.events import (
    Audio,
    Delegated,
    Event,
    Failed,
    Heard,
    Notice,
    Said,
    Started,
    Tick,
    Working,
)
from microturn.client.live import Session, live
from microturn.client.sound import Headset, NoSound, Silence, Sound, open_sound

KEY = "MICROTURN_KEY"  # environment variable
PAUSE_MS = 1600  # without a word, after which a caption is finished
TAIL_S = 4.0  # after the last typed line, where there is nothing to hear
BARS = " ▁▂▃▄▅▆▇█"
QUIETEST_DB = -48.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = "Talk to a server: `microturn serve` on this machine, or another one."
    parser.epilog = f"The key of a server that wants one comes from ${KEY}."
    add = parser.add_argument
    add("url", nargs="?", default="ws://localhost:8000", metavar="URL", help="default: %(default)s")
    add("--wav", type=Path, metavar="FILE", help="speak a recording instead of using the microphone")
    add("--instructions", default="", metavar="TEXT", help="what the model is told before it begins")
    add("--voice", default="", metavar="NAME", help="one of the server's; by default the usual one")
    add("--eagerness", type=float, default=0.0, metavar="X", help="added to the log-odds of speaking")
    add("--no-background", action="store_true", help="for servers without a background model")


def run(args: argparse.Namespace) -> int:
    asyncio.run(talk(args))
    return 0


async def talk(args: argparse.Namespace) -> None:
    with ExitStack() as stack:
        view = stack.enter_context(View())
        try:
            sound = stack.enter_context(open_sound(args.wav))
        except NoSound as why:
            view.note(f"{why}; type instead")
            sound = Silence()
        if isinstance(sound, Headset) and not sound.echo_control:
            view.note("no echo control without livekit: use headphones")
        async with live(
            args.url, instructions=args.instructions, rate=sound.rate, ticks=True,
            eagerness=args.eagerness, voice=args.voice,
            delegation="client" if args.no_background else "responses", key=os.environ.get(KEY, ""),
        ) as session:  # fmt: skip
            typing = asyncio.create_task(keyboard(session, sound, view))
            try:
                async for event in converse(session, sound, lambda pcm: view.level("you", pcm)):
                    view.show(event)
            finally:
                typing.cancel()
                await asyncio.wait([typing])


async def keyboard(session: Session, sound: Sound, view: View) -> None:
    async for line in typed_lines(view.typing):
        view.note(line, "typed")
        await session.send_text(line)
    if sys.stdin.isatty():  # Ctrl-D
        sound.stop()
    elif type(sound) is Silence:
        await asyncio.sleep(TAIL_S)
        sound.stop()


class View:
    """Finished captions scroll by; beneath them, in a terminal, is what is being said, two meters, what is typed."""

    def __init__(self) -> None:
        self._console = Console(highlight=False)
        self._region = Region(console=self._console, auto_refresh=False, transient=True)
        self._captions: dict[str, tuple[int, int, str]] = {}  # start, end (ms) and text of who speaks
        self._levels = {"you": 0.0, "it": 0.0}  # 0…1
        self._typed, self._decision = "", ""

    def __enter__(self) -> View:
        if self._console.is_terminal:
            self._region.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._finish(None)
        self._region.stop()

    def show(self, event: Event) -> None:
        match event:
            case Heard() | Said():
                who = "you" if isinstance(event, Heard) else "it"
                start, _, text = self._captions.get(who, (event.start_ms, 0, ""))
                self._captions[who] = start, event.end_ms, text + event.text
            case Audio():
                self.level("it", event.pcm)
            case Tick():
                self._decision = event.decision
                self._finish(event.end_ms - PAUSE_MS)
            case Delegated():
                self.note(f"handed over at {_clock(event.offset_ms)}")
            case Working(event=step) if step.type == "response.output_text.delta":
                self.note(step.delta.strip(), "background")
            case Failed():
                self.note(event.error.message)
            case Notice():
                self.note(event.message)
            case Started():
                self.note("the connection is back")

    def level(self, who: str, pcm: bytes) -> None:
        peak = np.abs(np.frombuffer(pcm, "<i2").astype(np.float32)).max(initial=1.0) / 32768
        self._levels[who] = max(0.0, 1 - 20 * float(np.log10(peak)) / QUIETEST_DB)

    def typing(self, line: str) -> None:
        self._typed = line
        self._draw()

    def note(self, text: str, who: str = "") -> None:
        line = Text.assemble((f"{who:>12}  ", "bold"), (text, "" if who else "dim"))
        self._console.print(line, soft_wrap=True)

    def _finish(self, before_ms: int | None) -> None:
        whole = {w: c for w, c in self._captions.items() if before_ms is None or c[1] <= before_ms}
        self._captions = {who: caption for who, caption in self._captions.items() if who not in whole}
        self._draw()
        for who, (start, _, text) in whole.items():
            self.note(text.strip(), f"{_clock(start)}  {who}")

    def _draw(self) -> None:
        if not self._console.is_terminal:
            return
        said = [Text(f"{who:>12}  {text.strip()}") for who, (_, _, text) in self._captions.items()]
        bars = "  ".join(f"{who} {BARS[min(8, int(9 * level))] * 3}" for who, level in self._levels.items())
        self._region.update(Group(*said, Text(f"{bars}  {self._decision:8}  > {self._typed}")), refresh=True)


def _clock(ms: int) -> str:
    return f"{ms // 60_000}:{ms // 1000 % 60:02}"

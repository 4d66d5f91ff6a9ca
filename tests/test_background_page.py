"""Work handed over from the page: a tool of a local MCP server, small talk meanwhile, a cancelled one, a dead server.

The released model in Chromium, with the decisions to hand over and to take back made for it; what it says is its own.
The background model's server is a script, since none that is small enough calls tools. With MICROTURN_BY_ITSELF=N the
released model is asked N times and decides alone, which is counted and printed, whatever it is.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import sys
import threading
import wave
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from microturn.background import Delegation, open_background
from microturn.bench.background import Forced
from microturn.bench.cast import test_cast as reserved_cast
from microturn.clock import HEAR_RATE, TICK_MS
from microturn.engine import Engine
from microturn.model.checkpoint import load_model
from microturn.server.app import make_app
from microturn.server.conversation import Beat
from microturn.server.lobby import Lobby
from microturn.server.serve import listen, make_server
from microturn.server.sound import pcm16
from microturn.streams import Channel, Decision, InteractionModel
from test_background_backends import KEY, Reply, calls, never_answers, options, says, serving
from test_page import browse, expect, in_chromium, senses, until

__all__ = ["browse", "senses"]  # fixtures
QUESTION = "what is the weather in oslo"
BY_ITSELF = int(os.environ.get("MICROTURN_BY_ITSELF", "0"))
WEATHER = '''
import asyncio
from mcp.server import MCPServer
from mcp.server.mcpserver import Context

server = MCPServer("weather")

@server.tool()
async def forecast(city: str, ctx: Context) -> str:
    """The weather in a city."""
    await ctx.report_progress(1, 2, "looking out of the window")
    await asyncio.sleep(4)
    return f"{city}: rain, 7 degrees"

server.run("stdio")
'''


class House:
    """A server whose background model has the weather tool, and what has happened in its one conversation."""

    def __init__(self, model: InteractionModel, config: Path, *replies: Reply) -> None:
        self._engine, self._bound = Engine(model, slots=1), listen("127.0.0.1", 0)
        self._engine.start()
        self.url = f"http://localhost:{self._bound.getsockname()[1]}/?transport=websocket"
        self.beats: list[Beat] = []
        self.handed: list[Delegation] = []

        async def serve() -> None:
            async with serving(*replies) as (self.asked_of, url):
                given = options("--background", url, "--background-model", "some", "--mcp", str(config))
                async with open_background(given) as background:
                    self.lobby = Lobby(self._engine, background=background)
                    self.server = make_server(make_app(self.lobby))
                    await self.server.serve([self._bound])

        self._thread = threading.Thread(target=lambda: asyncio.run(serve()), daemon=True)
        self._thread.start()
        until(lambda: hasattr(self, "server") and self.server.started, 60)

    def begin(self, page: Any) -> None:
        page.click("#start")
        page.wait_for_selector("body[data-state=live]")
        (conversation,) = self.lobby.open.values()
        conversation.watch(self._keep)

    def _keep(self, note: object) -> None:
        if isinstance(note, Beat):
            self.beats.append(note)
        elif isinstance(note, Delegation):
            self.handed.append(note)

    def read(self) -> list[tuple[int, str]]:
        """What came back and the model was given, by ticks."""
        texts = [(beat.tick, text) for beat in tuple(self.beats) for text in beat.perception.text]
        return [(tick, text.text) for tick, text in texts if text.channel is Channel.BACKGROUND]

    def said(self, after: int = -1, ticks: int = 1 << 30) -> str:
        return "".join(beat.text("say") for beat in tuple(self.beats) if after < beat.tick <= after + ticks)

    def close(self) -> None:
        self.server.should_exit = self.server.force_exit = True
        self._thread.join(10)
        self._engine.close()


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., House]]:
    monkeypatch.setenv("MICROTURN_BACKGROUND_KEY", KEY)
    (tmp_path / "weather.py").write_text(WEATHER)
    server = {"command": sys.executable, "args": [str(tmp_path / "weather.py")], "tools": {"*": {}}}
    (tmp_path / "mcp.json").write_text(json.dumps({"mcpServers": {"weather": server}}))
    houses: list[House] = []

    def house(model: InteractionModel, *replies: Reply) -> House:
        houses.append(House(model, tmp_path / "mcp.json", *replies))
        return houses[-1]

    yield house
    for each in houses:
        each.close()


ANSWERED = (
    calls("chat", ("weather_forecast", '{"city": "Oslo"}')),
    says("chat", "It is seven degrees in Oslo."),
)


@in_chromium
def test_work_is_handed_over_woven_in_taken_back_and_fails(
    house: Callable[..., House], browse: Callable[..., Any]
) -> None:
    model = Forced({})
    home = house(model, *ANSWERED, never_answers, says("chat", "The news", end=False))
    page = browse(home.url)
    home.begin(page)
    page.click("#mute")

    def type_in(text: str) -> None:
        page.fill("#text", text)
        page.press("#text", "Enter")

    def ask(text: str, card: str) -> Any:
        type_in(text)
        page.wait_for_timeout(1500)
        model.plan[model.tick + 2] = Decision.DELEGATE
        first = page.locator("#work .card").first
        expect(first).to_contain_text(card)
        return first

    card = ask("what is the weather in oslo", "Working on it")
    handed = home.beats[-1].tick
    type_in("what is two plus three")  # while the tool looks out of the window
    expect(card).to_contain_text("It is seven degrees in Oslo.", timeout=30_000)
    expect(card).to_contain_text("Done")
    assert "Oslo: rain, 7 degrees" in json.dumps(home.asked_of.asked[1])
    until(lambda: 'final: "It is seven degrees in Oslo."' in dict(home.read()).values())
    assert ("thinking", "looking out of the window") in [_parts(text) for _, text in home.read()]
    (read,) = (tick for tick, text in home.read() if text.startswith("final"))
    assert home.said(handed, read - handed)  # it went on talking meanwhile
    until(lambda: bool(home.said(read, 40)))  # and took the result up

    card, before = ask("find the news about cats", "Working on it"), len(home.read())
    model.plan[model.tick + 2] = Decision.CANCEL
    expect(card).to_contain_text("Taken back")

    card = ask("find the news about dogs", "Did not work")
    until(lambda: len(home.read()) > before)
    page.wait_for_timeout(2000)
    assert [text for _, text in home.read()[before:]] == [
        'final: "The answer of the background model broke off."'
    ]


def _parts(line: str) -> tuple[str, str]:
    label, _, quoted = line.partition(": ")
    return label, quoted.strip('"')


@in_chromium
@pytest.mark.soak
@pytest.mark.skipif(not BY_ITSELF, reason="set MICROTURN_BY_ITSELF to how often it is asked")
def test_how_often_it_hands_over_by_itself(
    house: Callable[..., House], browse: Callable[..., Any], tmp_path: Path
) -> None:
    """Asked by voices that training never heard, every twelve seconds."""
    cast, pause = reserved_cast(), np.zeros(12 * HEAR_RATE, np.float32)
    names = cast.voices(random.Random(1), BY_ITSELF)
    clips = [cast.clip(QUESTION, name).samples for name in names]
    sound = np.concatenate([np.concatenate([clip, pause[len(clip) :]]) for clip in clips if clip is not None])
    with wave.open(str(tmp_path / "asked.wav"), "wb") as file:
        file.setparams((1, 2, HEAR_RATE, 0, "NONE", ""))
        file.writeframes(pcm16(sound))
    home = house(load_model(), *ANSWERED * BY_ITSELF)
    home.begin(browse(home.url, f"--use-file-for-fake-audio-capture={tmp_path / 'asked.wav'}%noloop"))
    until(lambda: len(home.beats) * TICK_MS > BY_ITSELF * 12_000, BY_ITSELF * 12 + 30)
    finals = [tick for tick, text in home.read() if text.startswith("final")]
    spoke = [home.said(tick, 40) for tick in finals]
    print(
        f"handed over by itself: {len(home.handed)} times, asked {BY_ITSELF} times; read {len(finals)}, said {spoke}"
    )
    print(f"heard: {''.join(beat.text('hear') for beat in home.beats)}; said: {home.said()}")

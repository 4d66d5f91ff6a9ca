"""The page in a real browser: Chromium with a recording for a microphone and a film for a camera.

`MICROTURN_SHOTS=docs/img pytest tests/test_page.py -k pictures` makes the pictures of the page anew; with
MICROTURN_URL and MICROTURN_VOICE, a running server and a wav file, they show its model and what it hears.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import subprocess
import sys
import threading
import time
import wave
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soxr
import uvicorn

import microturn.server
from actor_model import Actor
from microturn.bench import browser
from microturn.bench.films import RealFilm
from microturn.bench.server import serving
from microturn.bench.targets import lived
from microturn.bench.waves import Case
from microturn.clock import HEAR_SAMPLES
from microturn.demo import scenes
from microturn.drawing import Body, Film, Rep
from microturn.engine import Engine
from microturn.media import whole_sound
from microturn.model.checkpoint import load_model
from microturn.scenes.episode import Episode
from microturn.server.app import make_app
from microturn.server.conversation import Heard
from microturn.server.lobby import Lobby
from microturn.server.serve import listen, make_server
from microturn.streams import Decision
from serving import Scripted, served

WEB = Path(microturn.server.__file__).parent / "web"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
TSC = shutil.which("tsc", path=f"{sys.prefix}/node_modules/.bin{os.pathsep}{os.environ['PATH']}")
SHOTS = os.environ.get("MICROTURN_SHOTS")
SOAK = os.environ.get("MICROTURN_SOAK")
NO_UDP = "--webrtc-ip-handling-policy=disable_non_proxied_udp"

UNNAMED = """[...document.querySelectorAll('button, input, canvas')]
  .filter((it) => !(it.ariaLabel || it.textContent.trim() || it.labels?.length)).length"""
COLOURED = """() => {
  const lanes = document.querySelector('#lanes');
  const pixels = lanes.getContext('2d').getImageData(0, 0, lanes.width, lanes.height).data;
  let coloured = 0;
  for (let i = 0; i < pixels.length; i += 4) coloured += Math.abs(pixels[i] - pixels[i + 1]) > 40;
  return coloured; }"""

playwright = pytest.importorskip("playwright.sync_api", reason="needs PyPI playwright: make setup")
expect = playwright.expect
expect.set_options(timeout=15_000)
in_chromium = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt-get install chromium")


class House:
    """A server with an actor in it."""

    def __init__(self) -> None:
        self.actor = Actor()
        self._engine = Engine(self.actor, slots=4)
        self._engine.start()
        self._bound = listen("127.0.0.1", 0)
        self._server: uvicorn.Server
        self._loop: asyncio.AbstractEventLoop
        ready = threading.Event()

        async def serve() -> None:
            self._loop = asyncio.get_running_loop()
            self.lobby = Lobby(self._engine)
            self._server = make_server(make_app(self.lobby))
            ready.set()
            await asyncio.gather(self._server.serve([self._bound]), self._begin_line())

        self._thread = threading.Thread(target=lambda: asyncio.run(serve()), daemon=True)
        self._thread.start()
        ready.wait()
        until(lambda: self._server.started and hasattr(self, "_line"))
        self.url = f"http://localhost:{self._port()}/"
        self.bad_url = f"http://localhost:{self._line.sockets[0].getsockname()[1]}/"

    def _port(self) -> int:
        return int(self._bound.getsockname()[1])

    async def _begin_line(self) -> None:
        """A second way in, through which nothing gets while `open` is clear."""
        self.open = asyncio.Event()
        self.open.set()

        async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with suppress(OSError):
                while data := await reader.read(4096):
                    await self.open.wait()
                    writer.write(data)
                    await writer.drain()
            writer.close()

        async def join(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            there, back = await asyncio.open_connection("127.0.0.1", self._port())
            await asyncio.gather(carry(reader, back), carry(there, writer))

        self._line = await asyncio.start_server(join, "127.0.0.1", 0)

    def block(self, blocked: bool) -> None:
        self._loop.call_soon_threadsafe(self.open.clear if blocked else self.open.set)

    def cut(self) -> None:
        """Every connection breaks."""
        for connection in tuple(self._server.server_state.connections):
            self._loop.call_soon_threadsafe(connection.transport.abort)

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._line.close)
        self._server.should_exit = self._server.force_exit = True
        self._thread.join(10)
        self._engine.close()


def until(true: Callable[[], bool], seconds: float = 15.0) -> None:
    """For what another thread does in its own time."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)


@pytest.fixture
def house() -> Iterator[House]:
    house = House()
    yield house
    house.close()


@pytest.fixture(scope="module")
def senses(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """What the browser takes for a microphone and a camera: bursts of a tone, somebody who jumps."""
    folder = tmp_path_factory.mktemp("senses")
    time_s = np.arange(48_000 * 8) / 48_000
    swell = np.clip(np.sin(2 * np.pi * 0.4 * time_s), 0, 1) * (
        0.35 + 0.65 * np.sin(2 * np.pi * 2.3 * time_s) ** 2
    )
    with wave.open(str(folder / "voice.wav"), "wb") as file:
        file.setparams((1, 2, 48_000, 0, "NONE", ""))
        file.writeframes((9000 * swell * np.sin(2 * np.pi * 160 * time_s)).astype("<i2").tobytes())
    jumps = tuple(Rep(start, start + 1500) for start in range(0, 6400, 1600))
    drawn = Film(2, (Body(2, (("jumping jacks", jumps),)),), flaws=0.0).frames((240, 320), 32)
    browser.write_film(folder / "film.y4m", drawn, 0)
    return [
        "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream", "--no-sandbox",
        f"--use-file-for-fake-audio-capture={os.environ.get('MICROTURN_VOICE', folder / 'voice.wav')}",
        f"--use-file-for-fake-video-capture={folder / 'film.y4m'}",
    ]  # fmt: skip


@pytest.fixture
def browse(senses: list[str]) -> Iterator[Callable[..., Any]]:
    """Opens a page in a browser with these flags; whatever it complains about fails the test."""
    with playwright.sync_playwright() as driver:
        complaints: list[str] = []

        def browse(url: str, *flags: str, **options: Any) -> Any:
            browser = driver.chromium.launch(executable_path=CHROMIUM, args=[*senses, *flags])
            page = browser.new_context(**{"permissions": ["microphone", "camera"], **options}).new_page()
            page.on("pageerror", lambda error: complaints.append(str(error)))
            page.on("console", lambda said: complaints.extend([said.text] if said.type == "error" else []))
            page.goto(url)
            return page

        yield browse
        assert not complaints


@pytest.mark.skipif(TSC is None, reason="needs tsc: npm install --prefix .venv typescript")
def test_modules_are_typed() -> None:
    checked = subprocess.run([str(TSC), "-p", WEB / "jsconfig.json"], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout


@in_chromium
def test_jitter_buffer_begins_with_one_tick_and_adapts(house: House, browse: Callable[..., Any]) -> None:
    """Virtual time: 20 ms are pulled at a time, and a tick is pushed whenever the test says so."""
    told = browse(house.url).evaluate(
        """async () => {
          const { JitterBuffer } = await import('./jitter.js');
          const buffer = new JitterBuffer(1000, 200);
          const out = new Float32Array(20);
          const pull = (count) => { for (let i = 0; i < count; i++) buffer.pull(out); return out[19]; };
          const ones = () => new Float32Array(200).fill(1);
          const told = {};
          told.before = pull(5);
          buffer.push(ones()); told.first = pull(3);
          pull(20); told.grown = buffer.target; told.dry = out[19]; told.underruns = buffer.underruns;
          for (let tick = 0; tick < 150; tick++) { buffer.push(ones()); pull(10); }
          told.shrunk = buffer.target; told.kept = buffer.dropped;
          for (let burst = 0; burst < 10; burst++) buffer.push(ones());
          told.deepest = buffer.depth; told.dropped = buffer.dropped;
          for (let tick = 0; tick < 5; tick++) { buffer.push(new Float32Array(200)); pull(10); }
          told.settled = buffer.depth;
          buffer.push(ones());
          buffer.drop(); told.left = buffer.depth; pull(3); told.silent = pull(1);
          buffer.atLeast(3); told.least = buffer.target;
          return told; }"""
    )
    assert told["before"] == 0
    assert told["first"] == 1
    assert (told["grown"], told["dry"], told["underruns"]) == (250, 0, 1)
    assert told["shrunk"] == 200
    assert told["deepest"] <= 3 * 200
    assert told["dropped"] > told["kept"] == 0
    assert told["settled"] < 200
    assert (told["left"], told["silent"]) == (60, 0)
    assert told["least"] == 600


@in_chromium
def test_bad_line_costs_pictures_first_and_sound_last(house: House, browse: Callable[..., Any]) -> None:
    down, up, blind = browse(house.url).evaluate(
        """async () => {
          const { Ladder, RUNGS } = await import('./ladder.js');
          const good = { rttMs: 40, loss: 0, missed: 0, underruns: 0, unsentMs: 0 };
          const ladder = new Ladder(), blind = new Ladder();
          const look = (health, count, seeing = ladder, film = true) =>
            Array.from({ length: count }, () => RUNGS.indexOf(seeing.look(health, film)));
          const without = look({ ...good, rttMs: 900 }, 3, blind, false);
          return [look({ ...good, loss: 0.2 }, 9), look(good, 26), without]; }"""
    )
    assert down == [0, 1, 1, 2, 2, 3, 3, 4, 4]  # two bad seconds each
    assert [up[i] for i in (4, 5, 11, 17, 23)] == [4, 3, 2, 1, 0]  # six good ones each
    assert blind == [0, 3, 3]  # no pictures to save on


@in_chromium
@pytest.mark.parametrize(("flags", "transport"), [((), "WebRTC"), ((NO_UDP,), "WebSocket")])
def test_talks_shows_and_reads(
    house: House, browse: Callable[..., Any], flags: tuple[str, ...], transport: str
) -> None:
    """WebRTC where UDP gets through, else a WebSocket; sound, film and typed text in, words and lanes out."""
    page = browse(house.url, *flags)
    page.click("#start")
    expect(page.locator("#status")).to_contain_text(transport, timeout=20_000)
    page.click("#camera")
    page.fill("#text", "are you there")
    page.press("#text", "Enter")
    until(lambda: house.actor.loudest > 0.05 and house.actor.brightest > 150 and bool(house.actor.pieces))
    assert house.actor.pitch == pytest.approx(160, abs=10)
    expect(page.locator("#talk .latest")).to_have_text("breathe in")
    expect(page.locator("#talk .you").get_by_text("hello there").first).to_be_visible()
    expect(page.locator("#work .card").first).to_contain_text("Handed to the application")
    assert page.evaluate(COLOURED) > 1000
    page.close()
    until(lambda: not house.lobby.open)


@in_chromium
def test_a_way_that_leads_nowhere_gives_its_place_back(house: House, browse: Callable[..., Any]) -> None:
    def spoil(route: Any) -> None:
        response = route.fetch()
        route.fulfill(response=response, body=re.sub(r"ice-pwd:\w{9}", "ice-pwd:wrongword", response.text()))

    page = browse(house.url)
    page.route("**/v1/live/sessions", spoil)
    page.click("#start")
    expect(page.locator("#status")).to_contain_text("WebSocket", timeout=20_000)
    assert len(house.lobby.open) == 1


REMEMBER_STATES = """() => new MutationObserver(() => {
  const { state, was = "" } = document.body.dataset;
  if (!was.endsWith(state)) document.body.dataset.was = `${was} ${state}`;
}).observe(document.body, { attributeFilter: ["data-state"] })"""


@in_chromium
def test_what_is_told_again_is_known_and_what_is_old_is_forgotten(
    house: House, browse: Callable[..., Any]
) -> None:
    told = browse(house.url).evaluate(
        """async () => {
          const talk = new (await import('./talk.js')).Talk(document.body, document.body);
          const fresh = [...Array(2000).keys()].filter((id) => talk.fresh(`event_${id}`)).length;
          return [fresh, talk.fresh('event_1999'), talk.told.size]; }"""
    )
    assert told == [2000, False, 512]


@in_chromium
def test_what_was_handed_over_is_read_by_keyboard_and_what_is_taken_back_says_so(
    browse: Callable[..., Any],
) -> None:
    decisions: dict[int, Decision] = {}
    with served(Scripted(decisions)) as server:
        page = browse(f"http://localhost:{server.port}/?transport=websocket")
        page.click("#start")
        page.wait_for_selector("body[data-state=live]")
        (conversation,) = server.lobby.open.values()
        page.fill("#text", "<b>what</b> is the time")
        page.press("#text", "Enter")
        until(lambda: any(line.who == "typed" for line in conversation.background.recent.lines))
        decisions[conversation.now_ms // 200 + 3] = Decision.DELEGATE
        card, pre = page.locator("#work .card"), page.locator("#work .card pre")
        expect(card).to_contain_text("Handed to the application")
        expect(card.locator("summary")).to_have_text("What was handed over")
        expect(pre).to_be_hidden()
        card.locator("summary").focus()
        page.keyboard.press("Enter")
        expect(pre).to_contain_text("typed: <b>what</b> is the time\n")
        expect(card.locator("details p")).to_have_text("Sound: 0 s. Pictures: 0. Older texts left out: 0.")
        page.keyboard.press("Tab")
        expect(page.get_by_role("region", name="What was handed over")).to_be_focused()
        assert card.locator("details").get_attribute("aria-live") == "off"  # nobody has it read out
        decisions[conversation.now_ms // 200 + 3] = Decision.CANCEL
        expect(card.locator("b")).to_have_text("Taken back")
        expect(pre).to_be_visible()


@in_chromium
def test_comes_back_to_its_conversation_by_itself(house: House, browse: Callable[..., Any]) -> None:
    page = browse(house.url + "?transport=websocket")
    page.click("#start")
    page.wait_for_selector("body[data-state=live]")
    (conversation,) = house.lobby.open.values()
    page.evaluate(REMEMBER_STATES)  # it may be back before anybody looks
    house.cut()
    page.wait_for_selector("body[data-state=live][data-was~=reconnecting]")
    assert tuple(house.lobby.open.values()) == (conversation,)
    page.wait_for_selector("#talk .model")
    page.wait_for_timeout(4000)
    expect(page.locator("#status")).to_have_text("Connected over WebSocket")  # nothing had to be given up


@in_chromium
def test_says_what_it_gives_up_on_a_bad_line_and_takes_it_back(
    house: House, browse: Callable[..., Any]
) -> None:
    page = browse(house.bad_url + "?transport=websocket")
    page.click("#start")
    page.wait_for_selector("body[data-state=live]")
    house.block(True)
    expect(page.locator("#status")).to_contain_text("sound comes a little later")
    house.block(False)
    expect(page.locator("#status")).to_have_text("Connected over WebSocket")


@in_chromium
def test_types_where_there_is_no_microphone(house: House, browse: Callable[..., Any]) -> None:
    page = browse(house.url, "--use-fake-ui-for-media-stream=deny", permissions=[])
    page.click("#start")
    expect(page.locator("#status")).to_contain_text("without a microphone")
    page.fill("#text", "hello")
    page.press("#text", "Enter")
    expect(page.locator("#talk .latest")).to_have_text("breathe in")
    assert house.actor.pieces


SLOW = """
const devices = navigator.mediaDevices, ask = devices.getUserMedia.bind(devices);
window.given = [];
devices.getUserMedia = async (what) => {
  await new Promise((done) => (window.allow = done));
  const stream = await ask(what);
  window.given.push(...stream.getTracks());
  return stream;
};
"""


@in_chromium
def test_what_is_allowed_when_nobody_wants_it_any_more_is_let_go(
    house: House, browse: Callable[..., Any]
) -> None:
    page = browse("about:blank")
    page.add_init_script(SLOW)
    page.goto(house.url)
    page.click("#start")
    until(lambda: page.evaluate("Boolean(window.allow)"))
    page.click("#start")
    page.evaluate("allow()")
    until(lambda: page.evaluate("given.length === 1 && given[0].readyState === 'ended'"))
    assert page.get_attribute("body", "data-state") == "idle"
    page.evaluate("window.allow = undefined")
    page.click("#start")
    until(lambda: page.evaluate("Boolean(window.allow)"))
    page.evaluate("allow()")
    page.wait_for_selector("body[data-state=live]")
    page.evaluate("window.allow = undefined")
    page.click("#camera")
    until(lambda: page.evaluate("Boolean(window.allow)"))
    page.click("#start")
    page.evaluate("allow()")
    until(lambda: page.evaluate("given.length === 3 && given.every((track) => track.readyState === 'ended')"))
    assert page.is_hidden("#film")


@in_chromium
def test_works_by_keyboard_with_labels_on_a_phone(house: House, browse: Callable[..., Any]) -> None:
    page = browse(house.url, viewport={"width": 360, "height": 740})
    page.focus("#start")
    page.keyboard.press("Enter")
    page.wait_for_selector("body[data-state=live]")
    page.keyboard.press("m")
    assert page.get_attribute("#mute", "aria-pressed") == "true"
    page.keyboard.press("/")
    page.keyboard.type("hello")
    page.keyboard.press("Enter")
    page.wait_for_selector("#talk .you")
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    assert page.evaluate(UNNAMED) == 0
    page.click("#start")
    expect(page.locator("#status")).to_have_text("Not connected")


@in_chromium
@pytest.mark.parametrize("transport", ["", "?transport=websocket"])
def test_stays_mute_when_it_is_started_anew(house: House, browse: Callable[..., Any], transport: str) -> None:
    page = browse(house.url + transport)
    for _ in range(2):
        page.click("#start")
        page.wait_for_selector("body[data-state=live]")
        if not page.evaluate("document.querySelector('#mute').ariaPressed === 'true'"):
            page.click("#mute")
            page.click("#start")
            until(lambda: not house.lobby.open)
    (conversation,) = house.lobby.open.values()
    until(lambda: conversation.muted)
    heard: list[Heard] = []
    conversation.watch(lambda note: heard.append(note) if isinstance(note, Heard) else None)
    until(lambda: len(heard) > 20)
    assert max(float(np.abs(note.audio[-160:]).max()) for note in heard[10:]) < 0.001
    page.click("#mute")
    until(lambda: house.actor.loudest > 0.05)
    assert not conversation.muted


@in_chromium
def test_cases_of_a_benchmark_go_through_the_page() -> None:
    """A stand-in says back what it hears, within the time that sound takes."""
    ticks = 15
    sound = soxr.resample(browser.speechlike(3), 24_000, 16_000)
    case = Case(Episode("parrot", 0, ticks), sound, np.ones(ticks, np.bool_))
    with serving(browser.Parrot(), 2) as (_, url):
        kept = asyncio.run(browser.converse(url, case))
    assert 24 * 200 < browser.lag(kept.mic[: 24 * 3000], kept.came) < 24 * 2000
    done = lived(kept, ticks)
    assert len(done.speech) == ticks
    assert max(float(np.abs(tick).max()) for tick in done.speech if tick is not None) > 0.02
    assert {event["type"] for _, event in kept.events} >= {"session.started", "session.tick"}


@in_chromium
@pytest.mark.soak
@pytest.mark.skipif(not SOAK, reason="set MICROTURN_SOAK=1: it wants an idle machine")
@pytest.mark.parametrize(
    ("name", "order", "never"),
    [
        ("time", "climb climb okay", ""),
        ("cue", "heavy heavy", ""),
        ("interrupt", "twenty nineteen eighteen basement", "one"),
        ("count", "one two three four five six seven", ""),
    ],
)
def test_the_released_model_answers_through_the_page(name: str, order: str, never: str) -> None:
    """Recordings of `microturn demo` for a microphone, their film for a camera."""
    (scene,) = [scene for scene in scenes() if scene.name == name]
    recording, film = scene.part("opus"), scene.part("mp4")
    assert recording is not None
    sound = whole_sound(recording)
    ticks = len(sound) // HEAR_SAMPLES
    seen = RealFilm(film) if film else None
    case = Case(Episode(name, 0, ticks, film=seen), sound, np.ones(ticks, np.bool_))
    with serving(load_model(), 2) as (_, url):
        done = lived(asyncio.run(browser.converse(url, case)), ticks)
    said = [word.text for word in done.said]
    print(f"{name}: heard {' '.join(heard.text for heard in done.heard)}; said {' '.join(said)}")
    words = iter(said)
    assert all(word in words for word in order.split()), said
    assert not never or never not in said
    assert max(float(np.abs(tick).max()) for tick in done.speech if tick is not None) > 0.02


@in_chromium
@pytest.mark.skipif(SHOTS is None, reason="set MICROTURN_SHOTS to a folder to make the pictures")
def test_pictures(house: House, browse: Callable[..., Any]) -> None:
    wide, phone = {"width": 1280, "height": 800}, {"width": 390, "height": 844}
    for name, theme, size in (
        ("page", "light", wide),
        ("page-dark", "dark", wide),
        ("page-phone", "light", phone),
    ):
        page = browse(
            os.environ.get("MICROTURN_URL", house.url),
            viewport=size,
            color_scheme=theme,
            device_scale_factor=2,
        )
        page.click("#start")
        page.wait_for_selector("body[data-state=live]")
        page.click("#camera")
        page.wait_for_timeout(9000)
        page.screenshot(path=Path(str(SHOTS)) / f"{name}.png")
        page.context.browser.close()

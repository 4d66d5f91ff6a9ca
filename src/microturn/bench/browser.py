"""The page as a listener has it: cases through Chromium, whose microphone and camera are files.

What comes is kept by the browser itself: its microphone and what it was sent, side by side on one clock, and every
event with the moment at which it arrived. So where sound is compared with sound, it is from the user's mouth to the
user's ear, with everything between them but the sound card; words are timed by when their events come, which is some
100 ms before they are heard.

`--target page:http://…` gives a suite's cases to a page that is served somewhere; `microturn bench browser` measures
how late sound is, with a stand-in that says everything back as it comes. Needs playwright and Chromium.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import soxr
from PIL import Image

from microturn.bench.waves import Case
from microturn.clock import HEAR_RATE, SPEAK_RATE, SPEAK_SAMPLES, TICK_MS, TICKS_PER_SECOND
from microturn.media import write_wav
from microturn.model.config import tiny
from microturn.model.interaction import random_model
from microturn.scenes.episode import Episode
from microturn.streams import Bytes, Channel, Decision, Floats, Ints, TickInput, TickOutput

MS = SPEAK_RATE // 1000  # samples in a millisecond
BEFORE_MS = 4000  # of silence, while the page connects
AFTER_MS = 1200
OPENS_MS = 150  # what a camera takes to open, about
REACH_MS = 1500  # by which the sound of the case may begin before or after its time
QUIET = 0.01  # what a stand-in does not say back
FILM_SIZE = (240, 320)  # height, width of the camera


@dataclass
class Kept:
    """What a browser kept of a conversation, from the beginning of the case on."""

    mic: Floats  # 24 kHz
    came: Floats
    events: list[tuple[float, dict[str, Any]]]  # ms, event
    buffered_ms: float  # in its jitter buffer, on average


def chromium() -> str:
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if found := shutil.which(name):
            return found
    raise ValueError("this needs Chromium: apt-get install chromium")


@asynccontextmanager
async def opened(sound: Path, film: Path) -> AsyncIterator[Any]:
    """A page whose microphone hears the file once, and whose camera sees the other, once it is there."""
    try:
        from playwright.async_api import Error, async_playwright
    except ImportError:
        raise ValueError("this needs playwright: pip install playwright") from None
    flags = [
        *(["--no-sandbox"] if getattr(os, "geteuid", lambda: 1)() == 0 else []),  # it has none for root
        "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream",
        "--autoplay-policy=no-user-gesture-required", f"--use-file-for-fake-audio-capture={sound}%noloop",
        f"--use-file-for-fake-video-capture={film}",
    ]  # fmt: skip
    async with async_playwright() as driver:
        browser = await driver.chromium.launch(executable_path=chromium(), args=flags)
        # drawn 5 times a second, not 60: in software that takes time which the sound needs
        context = await browser.new_context(permissions=["microphone", "camera"], reduced_motion="reduce")
        page = await context.new_page()
        await page.add_init_script(files("microturn.bench").joinpath("tap.js").read_text("utf-8"))
        try:
            yield page
        except Error as error:
            raise ValueError(f"the page did not work: {str(error).splitlines()[0]}") from None
        finally:
            await browser.close()


def write_sound(path: Path, samples: Floats) -> None:
    """24 kHz, after the silence in which the page connects."""
    quiet = np.zeros(BEFORE_MS * MS, np.float32)
    whole = np.concatenate([quiet, samples, quiet])
    write_wav(path, soxr.resample(whole, SPEAK_RATE, 48_000), 48_000)


def write_film(path: Path, frames: Sequence[Bytes | None], before_ms: float) -> None:
    """Y4M, one picture a tick; the first of them stands until the case begins."""
    seen: list[Bytes] = []
    for frame in frames:
        seen.append(frame if frame is not None else seen[-1] if seen else np.zeros((*FILM_SIZE, 3), np.uint8))
    with path.open("wb") as film:
        height, width = FILM_SIZE
        film.write(f"YUV4MPEG2 W{width} H{height} F{TICKS_PER_SECOND}:1 Ip A1:1 C420\n".encode())
        for picture in [seen[0]] * round(before_ms / TICK_MS) + seen + [seen[-1]] * 60:
            image = np.asarray(Image.fromarray(picture).convert("YCbCr"))
            luma, blue, red = np.moveaxis(image, 2, 0)
            film.write(b"FRAME\n" + luma.tobytes() + blue[::2, ::2].tobytes() + red[::2, ::2].tobytes())


async def converse(url: str, case: Case) -> Kept:
    """The case in the page, as it happens."""
    samples = soxr.resample(case.samples, HEAR_RATE, SPEAK_RATE)
    opening = "\n".join(r.text for r in case.episode.reads if r.channel is Channel.INSTRUCTIONS)
    with tempfile.TemporaryDirectory() as folder:
        sound, film = Path(folder, "sound.wav"), Path(folder, "film.y4m")
        write_sound(sound, samples)
        drawn = case.episode.film.frames(FILM_SIZE, case.episode.ticks) if case.episode.film else []
        async with opened(sound, film) as page:

            async def instruct(route: Any) -> None:
                asked = json.loads(route.request.post_data or "{}")
                asked["session"]["instructions"] = opening
                await route.continue_(post_data=json.dumps(asked))

            if opening:
                await page.route("**/v1/live/sessions", instruct)
            await page.goto(url)
            await page.click("#start")
            await page.wait_for_selector("body[data-state=live], body[data-state=weak]")

            async def to_go(ms: float) -> float:
                """Until this moment of the case, whose sound its microphone hears since it was opened."""
                return BEFORE_MS + ms - float(await page.evaluate("performance.now() - kept.opened"))

            if drawn:  # the camera's file begins when it is opened
                write_film(film, drawn, await to_go(-OPENS_MS))
                await page.click("#camera")
            for read in sorted(case.episode.reads, key=lambda r: r.tick):
                if read.channel is Channel.TYPED:
                    await asyncio.sleep(max(0.0, await to_go(read.tick * TICK_MS) / 1000))
                    await page.fill("#text", read.text)
                    await page.press("#text", "Enter")
            await asyncio.sleep(max(0.0, await to_go(case.episode.ticks * TICK_MS + AFTER_MS) / 1000))
            return _from_the_beginning(await page.evaluate("kept.fetch()"), samples)


def _from_the_beginning(kept: dict[str, Any], samples: Floats) -> Kept:
    mic, came = (
        np.frombuffer(base64.b64decode(kept[side]), "<i2").astype(np.float32) / np.float32(32767)
        for side in ("mic", "came")
    )
    due = round((kept["opened"] - kept["began"] + BEFORE_MS) * MS)
    near = mic[max(0, due - REACH_MS * MS) : due + REACH_MS * MS + len(samples)]
    at = max(0, due - REACH_MS * MS) + lag(samples, near) if np.abs(samples).max(initial=0) > QUIET else due
    began = kept["began"] + at / MS
    events = [(ms - began, json.loads(data)) for ms, data in kept["events"]]
    if (len(samples) / MS + BEFORE_MS) / TICK_MS / 2 > sum(e["type"] == "session.tick" for _, e in events):
        raise ValueError("the page lost its line, or did not come to talk over WebRTC")
    return Kept(mic[max(0, at) :], came[max(0, at) :], events, float(kept["buffered"]))


def lag(sound: Floats, within: Floats) -> int:
    """Samples by which `sound` is later in `within`, where it fits best."""
    size = 1 << (len(sound) + len(within)).bit_length()
    product = np.fft.irfft(np.fft.rfft(within, size) * np.conj(np.fft.rfft(sound, size)), size)
    best = int(np.argmax(product))
    return best - size if best > size // 2 else best


# ---- how late ----


class Parrot:
    """Says back what it hears, as it comes; else any model."""

    def __init__(self) -> None:
        self._inner = random_model(tiny())

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def step(self, slots: Ints, batch: TickInput) -> TickOutput:
        out = self._inner.step(slots, batch)
        at = np.arange(SPEAK_SAMPLES) * HEAR_RATE / SPEAK_RATE
        for row, samples in enumerate(batch.audio):
            out.speech[row] = np.interp(at, np.arange(len(samples)), samples)
        out.decision[:], out.say[:] = Decision.SPEAK, 0
        out.voiced[:] = np.abs(out.speech).max(1) > QUIET
        return out


def speechlike(seconds: int) -> Floats:
    """Bursts like syllables, no two alike."""
    rng = np.random.default_rng(0)
    time_s = np.arange(seconds * SPEAK_RATE) / SPEAK_RATE
    pitch = 120 + 40 * np.interp(time_s, np.arange(seconds + 1), rng.uniform(-1, 1, seconds + 1))
    phase = np.cumsum(2 * np.pi * pitch / SPEAK_RATE)
    voice = np.sum([np.sin(k * phase) / k for k in range(1, 12)], 0)
    moments = np.arange(0, seconds + 1, 0.13)
    loud = np.clip(np.interp(time_s, moments, rng.uniform(-0.4, 1, len(moments))), 0, 1)
    return np.asarray(0.1 * loud * voice, np.float32)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = "From mouth to ear over WebRTC in Chromium, and where the time goes."
    parser.add_argument("--seconds", type=int, default=30, help="default: %(default)s")


def run(args: argparse.Namespace) -> int:
    from microturn.bench.server import serving

    if args.seconds < 8:
        raise ValueError("--seconds must be 8 or more: it is looked at in stretches of 2 s")
    ticks = args.seconds * TICKS_PER_SECOND
    sound = soxr.resample(speechlike(args.seconds), SPEAK_RATE, HEAR_RATE)
    case = Case(Episode("parrot", 0, ticks), sound, np.ones(ticks, np.bool_))
    with serving(Parrot(), 2) as (engine, url):
        kept = asyncio.run(converse(url, case))
        reaction = engine.stats().reaction.p50_ms
    window = 2 * SPEAK_RATE
    late = [
        lag(kept.mic[at : at + window], kept.came[at : at + 2 * window]) / MS
        for at in range(window, len(kept.came) - 2 * window, window // 2)
    ]
    p50, p99 = (float(np.percentile(late, share)) for share in (50, 99))
    print(f"from mouth to ear: p50 {p50:.0f} ms, p99 {p99:.0f} ms, {len(late)} stretches of 2 s")
    rest = p50 - TICK_MS - reaction - kept.buffered_ms
    print(
        f"of it: a tick until it is whole {TICK_MS} ms, gathered and stepped {reaction:.0f} ms, the browser's jitter "
        f"buffer {kept.buffered_ms:.0f} ms, coding, pacing and the way there and back {rest:.0f} ms"
    )
    return 0

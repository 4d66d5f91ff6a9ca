"""A run as a picture: who sounded when, what was heard and said, what was decided in every tick.

Rows of 15 seconds, one lane each for time, text read, the user's sound, words heard, the decision, words said
and the model's sound. Drawn with Pillow alone, at twice the size and then reduced, row by row, so that a long
run needs no more memory than its finished picture.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from microturn.clock import TICK_MS, TICKS_PER_SECOND
from microturn.events import TimedText
from microturn.streams import Channel, Decision, Floats

ROW_TICKS = 15 * TICKS_PER_SECOND
MOST_MINUTES = 15  # of a run that are drawn; a taller picture opens nowhere
PEAKS = 20  # waveform columns a tick, 10 ms each

SCALE = 2  # drawn this much larger than shown
TICK_W = 20  # pixels a tick
LEFT, RIGHT, MARGIN = 92, 24, 20
HEADER, GAP = 98, 22
RULER, WAVE, DECIDE, LINE = 20, 60, 14, 17  # heights of the lanes, and of a line of words
LINES = 3  # lines of words a lane has at most

PAPER, INK, SOFT, PANEL = "#fbfaf6", "#20252b", "#6d747c", "#ffffff"
SECOND, TICK = "#d2d0c6", "#eeece5"  # lines of the grid
USER, MODEL, NOTHING = "#33639b", "#b4482f", "#f3d3cf"
DECISIONS = {
    Decision.LISTEN: "#d5dbe1",
    Decision.SPEAK: "#e58e6d",
    Decision.DELEGATE: "#7f5fb0",
    Decision.CANCEL: "#d3a21c",
}
CHANNELS = {
    Channel.TYPED: "#2f7d5b",
    Channel.INSTRUCTIONS: "#8a6d1d",
    Channel.BACKGROUND: "#1f7f8c",
    Channel.HISTORY: "#6d747c",
}


@dataclass
class Trace:
    """What is drawn. Filled tick by tick as a run goes on; a few hundred bytes a second."""

    title: str
    model: str
    seconds: float = 0.0
    decisions: list[Decision] = field(default_factory=list)
    missed: list[bool] = field(default_factory=list)
    user: list[Floats] = field(default_factory=list)  # per tick [PEAKS] greatest magnitude
    voice: list[Floats] = field(default_factory=list)
    heard: list[TimedText] = field(default_factory=list)  # words
    said: list[TimedText] = field(default_factory=list)
    read: list[tuple[TimedText, Channel]] = field(default_factory=list)

    @property
    def ticks(self) -> int:
        return len(self.decisions)


def peaks(samples: Floats | None) -> Floats:
    """The waveform of one tick as columns, [n] → [PEAKS]."""
    if samples is None or len(samples) == 0:
        return np.zeros(PEAKS, np.float32)
    padded = np.zeros(-(-len(samples) // PEAKS) * PEAKS, np.float32)
    padded[: len(samples)] = np.abs(samples)
    return np.asarray(padded.reshape(PEAKS, -1).max(axis=1), np.float32)


def save_picture(trace: Trace, path: Path) -> None:
    draw_picture(trace).save(path, format="PNG", optimize=True)


def draw_picture(trace: Trace) -> Image.Image:
    ticks = min(trace.ticks, MOST_MINUTES * 60 * TICKS_PER_SECOND)
    starts = range(0, max(ticks, 1), ROW_TICKS)
    across = min(max(ticks, 4 * TICKS_PER_SECOND), ROW_TICKS)  # a short run makes a narrow picture
    width = max(LEFT + across * TICK_W + RIGHT, 760)
    rows = [_Row(trace, start, min(across, ROW_TICKS)) for start in starts]
    height = HEADER + sum(row.height + GAP for row in rows) + MARGIN
    sheet = Image.new("RGB", (width, height), PAPER)
    sheet.paste(_shrink(_header(trace, ticks, width)), (0, 0))
    top = HEADER
    for row in rows:
        sheet.paste(_shrink(row.draw(width)), (0, top))
        top += row.height + GAP
    return sheet


@dataclass(frozen=True)
class _Placed:
    x: float
    line: int
    text: str
    colour: str


class _Row:
    """Fifteen seconds. The lanes with words are as high as their words need."""

    def __init__(self, trace: Trace, start: int, across: int) -> None:
        self.trace, self.start = trace, start
        self.end = min(start + across, trace.ticks)
        self.across = across
        self.read = self._stack((text, CHANNELS[channel]) for text, channel in trace.read)
        self.heard = self._stack((text, USER) for text in trace.heard)
        self.said = self._stack((text, MODEL) for text in trace.said)
        read_h, heard_h, said_h = (_lines(words) * LINE for words in (self.read, self.heard, self.said))
        self.tops = np.cumsum([0, RULER, read_h, WAVE, heard_h + 8, DECIDE + 8, said_h, WAVE]).tolist()
        self.height = self.tops[-1] + 8

    def _stack(self, words: Iterable[tuple[TimedText, str]]) -> list[_Placed]:
        """Each word on the first line that is free at its place; pushed to the right when none is."""
        ends = [0.0] * LINES
        placed: list[_Placed] = []
        limit = _x(self.across) + RIGHT - 4
        for word, colour in words:
            if not self.start <= max(word.tick, 0) < self.start + self.across:
                continue
            x = _x(word.tick - self.start)
            free = [i for i in range(LINES) if ends[i] <= x]
            line = free[0] if free else min(range(LINES), key=ends.__getitem__)
            at = max(x, ends[line])
            if shown := _fit(word.text, limit - at - 4):
                ends[line] = at + 4 + _width(shown) + 5
                placed.append(_Placed(at, line, shown, colour))
        return placed

    def draw(self, width: int) -> Image.Image:
        image = Image.new("RGB", (width * SCALE, self.height * SCALE), PAPER)
        pen = ImageDraw.Draw(image)
        ruler, read, user, heard, decide, said, voice, end = self.tops
        _box(pen, (LEFT, user, _x(self.end - self.start), end), PANEL)
        for tick in range(self.start, self.end + 1):
            x = _x(tick - self.start)
            second = tick % TICKS_PER_SECOND == 0
            _line(pen, (x, user, x, end), SECOND if second else TICK)
            if second:
                clock = f"{tick // TICKS_PER_SECOND // 60}:{tick // TICKS_PER_SECOND % 60:02d}"
                _text(pen, (x, ruler + 4), clock, SOFT, 11, anchor="ma")
        self._wave(pen, self.trace.user, user, USER)
        self._wave(pen, self.trace.voice, voice, MODEL)
        for tick in range(self.start, self.end):
            x = _x(tick - self.start)
            if self.trace.missed[tick]:
                _box(pen, (x, user, x + TICK_W, user + WAVE), NOTHING)
            shown = (x + 0.5, decide, x + TICK_W - 0.5, decide + DECIDE)
            _box(pen, shown, DECISIONS[self.trace.decisions[tick]])
        for words, top in ((self.read, read), (self.heard, heard), (self.said, said)):
            for word in words:
                y = top + 1 + word.line * LINE
                _line(pen, (word.x + 0.5, y + 2, word.x + 0.5, y + LINE - 3), word.colour, 1.5)
                _text(pen, (word.x + 4, y), word.text, word.colour if words is self.read else INK, 13)
        for label, top, lane, colour in (
            ("read", read, user - read, SOFT),
            ("user", user, WAVE, USER),
            ("heard", heard, decide - 8 - heard, SOFT),
            ("decides", decide, DECIDE, SOFT),
            ("says", said, voice - said, SOFT),
            ("model", voice, WAVE, MODEL),
        ):
            if lane > 0:
                _text(pen, (LEFT - 10, top + lane / 2), label, colour, 12, anchor="rm")
        return image

    def _wave(self, pen: ImageDraw.ImageDraw, lane: list[Floats], top: float, colour: str) -> None:
        middle, half = top + WAVE / 2, WAVE / 2 - 3
        _line(pen, (LEFT, middle, _x(self.end - self.start), middle), colour)
        for tick in range(self.start, min(self.end, len(lane))):
            for column, peak in enumerate(lane[tick]):
                # The square root shows quiet speech beside loud; 10 ms a column.
                reach = half * min(1.0, float(peak)) ** 0.5
                x = _x(tick - self.start) + column * TICK_W / PEAKS
                if reach > 1:
                    _box(pen, (x, middle - reach, x + TICK_W / PEAKS, middle + reach), colour)


def _lines(words: list[_Placed]) -> int:
    return max((w.line + 1 for w in words), default=0)


def _fit(text: str, room: float) -> str:
    """Cut with an ellipsis to `room` pixels; a long text that is read takes at most a third of a row."""
    room = min(room, ROW_TICKS * TICK_W / 3)
    if len(text) < room and _width(text) <= room:
        return text
    text = text[: int(room / 3)]  # no more letters than that can fit
    while text and _width(text + "…") > room:
        text = text[:-1]
    return text + "…" if text else ""


def _header(trace: Trace, ticks: int, width: int) -> Image.Image:
    image = Image.new("RGB", (width * SCALE, HEADER * SCALE), PAPER)
    pen = ImageDraw.Draw(image)
    _text(pen, (MARGIN, 14), _fit(trace.title, width / 2), INK, 20)
    about = f"{trace.seconds:.1f} s  ·  {trace.ticks} ticks of {TICK_MS} ms  ·  model {trace.model}"
    if ticks < trace.ticks:
        about += f"  ·  the first {MOST_MINUTES} minutes"
    _text(pen, (MARGIN, 43), about, SOFT, 12)
    legend = [(d.name.lower(), c) for d, c in DECISIONS.items()] + [("nothing came", NOTHING)]
    legend += [(f"reads {c.name.lower()}", CHANNELS[c]) for c in sorted({c for _, c in trace.read})]
    x: float = MARGIN
    for name, colour in legend:
        _box(pen, (x, 68, x + 12, 80), colour)
        _text(pen, (x + 17, 67), name, INK, 12)
        x += 17 + _width(name, 12) + 18
    return image


@cache
def _font(size: int, latin: bool) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Pillow's own font knows little but Latin; other letters want one of the system's, if it has one."""
    if not latin:
        for name in ("NotoSans-Regular.ttf", "DejaVuSans.ttf", "Arial Unicode.ttf", "arial.ttf"):
            try:
                return ImageFont.truetype(name, size * SCALE)
            except OSError:
                continue
    return ImageFont.load_default(size * SCALE)


def _latin(text: str) -> bool:
    return all(letter < "\u0180" or letter in "…·" for letter in text)


def _width(text: str, size: int = 13) -> float:
    return _font(size, _latin(text)).getlength(text) / SCALE


def _x(tick: float) -> float:
    return LEFT + max(tick, 0) * TICK_W


def _shrink(image: Image.Image) -> Image.Image:
    return image.resize((image.width // SCALE, image.height // SCALE), Image.Resampling.LANCZOS)


def _box(pen: ImageDraw.ImageDraw, corners: tuple[float, float, float, float], colour: str) -> None:
    left, top, right, bottom = (round(v * SCALE) for v in corners)
    pen.rectangle((left, top, max(left, right - 1), max(top, bottom - 1)), fill=colour)


def _line(
    pen: ImageDraw.ImageDraw, ends: tuple[float, float, float, float], colour: str, width: float = 1
) -> None:
    pen.line([v * SCALE for v in ends], fill=colour, width=max(1, round(width * SCALE / 2)))


def _text(
    pen: ImageDraw.ImageDraw, at: tuple[float, float], text: str, colour: str, size: int, anchor: str = "la"
) -> None:
    pen.text((at[0] * SCALE, at[1] * SCALE), text, fill=colour, font=_font(size, _latin(text)), anchor=anchor)

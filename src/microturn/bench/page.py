"""The report as one page that needs no network: tables, and for some cases of each suite what happened when.

A case is drawn on the grid of ticks: both sounds, both sides' words, the windows of what was expected in the
colour of what came of it. Its sound is in the page, the user on the left and the model on the right.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterable, Sequence
from html import escape
from io import BytesIO
from pathlib import Path
from typing import Any

import av
import numpy as np
import soxr

from microturn.bench.evaluate import Result
from microturn.bench.intervals import Measure
from microturn.bench.kept import CASE
from microturn.bench.report import absent, by_measure, cell, interval, scores, short
from microturn.clock import HEAR_RATE, SPEAK_RATE, TICK_MS, TICKS_PER_SECOND
from microturn.media import whole_sound
from microturn.streams import Floats

SHOWN = 4  # cases of a suite
LAST_TICKS = 120 * TICKS_PER_SECOND  # of a long case that are drawn
BIT_RATE = 32_000
TICK_W, WAVE, LINE, LINES = 10, 40, 12, 3
LEFT = 52
STYLE = """
body{font:15px/1.45 system-ui,sans-serif;color:#20252b;background:#fbfaf6;max-width:1240px;margin:2em auto}
table{border-collapse:collapse;margin:.5em 0}td,th{padding:.15em .7em;text-align:right;border-bottom:1px solid #ddd}
td:first-child,th:first-child{text-align:left}tr.score{font-weight:600}.soft{color:#6d747c}details{margin:.4em 0 1em}
.line{overflow-x:auto;background:#fff;border:1px solid #e4e1d8;border-radius:4px}audio{height:28px;width:100%}
svg text{font:10px system-ui,sans-serif}
"""
SCRIPT = """
document.querySelectorAll('audio').forEach(a=>{const s=a.parentNode.querySelector('svg'),c=s.querySelector('.now');
const move=()=>{const d=s.dataset,x=+d.left+(a.currentTime*1000-d.from)*d.scale;
c.setAttribute('x1',x);c.setAttribute('x2',x);if(!a.paused)requestAnimationFrame(move)};a.onplay=a.onseeked=move})
"""
MET = {True: "#7fb685", False: "#d98a7b", None: "#cfd4da"}
USER, MODEL, GRID, SECOND, SOFT = "#33639b", "#b4482f", "#f1efe9", "#d2d0c6", "#6d747c"


def page(model: str, results: Sequence[Result], folder: Path) -> str:
    names, rows = scores(results)
    body = [
        f"<h1>microturn bench: {escape(model)}</h1>",
        _table("suite", names, ((r.suite, m) for r, m in rows)),
        f"<p class=soft>{absent(results)}</p>",
    ]
    body += [_suite(result, folder) for result in results]
    return (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{escape(model)}</title><style>{STYLE}</style>"
        f"{''.join(body)}<script>{SCRIPT}</script></html>\n"
    )


def _table(head: str, names: Sequence[str], rows: Iterable[tuple[str, Sequence[Measure | None]]]) -> str:
    out = [f"<table><tr><th>{head}</th>", *(f"<th>{escape(short(name))}</th>" for name in names)]
    for label, measures in rows:
        kind = " class=score" if label == "score" else ""
        out.append(f"<tr{kind}><td>{escape(label)}</td>")
        out += [
            f"<td>{cell(m)} <span class=soft>{interval(m)}</span></td>" if m else "<td></td>"
            for m in measures
        ]
    return "".join(out) + "</table>"


def _suite(result: Result, folder: Path) -> str:
    told = f"n = {result.n}, seed {result.seed}, {result.minutes:.1f} min, {len(result.voices)} voices"
    measures = ((name, some) for name, *some in by_measure(result))
    cases = sorted((folder / result.suite).rglob(CASE))[:SHOWN]
    out = [f"<h2>{escape(result.suite)}</h2><p class=soft>{told}</p>"]
    out.append(_table("", [row.name for row in result.rows], measures))
    out += [_case(path) for path in cases]
    return "".join(out)


def _case(path: Path) -> str:
    """What the model did with it, and everybody else who can be heard."""
    folder = path.parent
    story = json.loads(path.read_text("utf-8"))
    heard = [
        p
        for p in sorted(folder.glob("*.json"))
        if p.stem != "out" and p.with_suffix(".wav").is_file()
        if json.loads(p.read_text("utf-8")).get("case") == story.get("case")  # not of an earlier run
    ]
    told = [r["text"] for r in story["reads"] if r["tick"] < 0]
    notes = f"<div class=soft>told: {escape(' / '.join(told))}</div>" if told else ""
    out = _story(path, folder / "out.wav", folder.name) + notes
    return out + "".join(_story(p, p.with_suffix(".wav"), f"{folder.name}, {p.stem}") for p in heard)


def _story(path: Path, said: Path, name: str) -> str:
    story = json.loads(path.read_text("utf-8"))
    sounds = [_sound(path.with_name("in.wav")), _sound(said)]
    met = [e["met"] for e in story["expected"] if e["met"] is not None]
    title = f"{name}: {sum(met)} of {len(met)} as expected"
    player = f"<audio controls preload=none src='{_encoded(*sounds)}'></audio>" if len(sounds[0]) else ""
    line = timeline(story, *sounds)
    return f"<details open><summary>{escape(title)}</summary><div class=line>{line}</div>{player}</details>"


def _sound(path: Path) -> Floats:
    """At 16 kHz; nothing where none was kept."""
    return whole_sound(path) if path.is_file() else np.zeros(0, np.float32)


def _encoded(user: Floats, model: Floats) -> str:
    """Both sides as MP3, as an address that holds it."""
    length = max(len(user), len(model))
    both = np.stack([np.pad(side, (0, length - len(side))) for side in (user, model)])
    both = soxr.resample(both.T, HEAR_RATE, SPEAK_RATE).T
    with av.open(file := BytesIO(), "w", format="mp3") as container:
        stream = container.add_stream("libmp3lame", rate=SPEAK_RATE, layout="stereo")
        stream.bit_rate = BIT_RATE
        frame = av.AudioFrame.from_ndarray(
            np.ascontiguousarray(both, np.float32), format="fltp", layout="stereo"
        )
        frame.sample_rate, frame.pts = SPEAK_RATE, 0
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return f"data:audio/mpeg;base64,{base64.b64encode(file.getvalue()).decode()}"


# ---- the picture ----


def timeline(story: dict[str, Any], user: Floats, model: Floats) -> str:
    last = story["ticks"]
    first = max(0, last - LAST_TICKS)
    from_ms = first * TICK_MS

    def x(ms: float) -> float:
        return float(round(LEFT + (ms - from_ms) / TICK_MS * TICK_W, 1))

    tops = np.cumsum([0, 16, WAVE, LINES * LINE, LINES * LINE + 4, 12, LINES * LINE, WAVE]).tolist()
    ruler, user_y, words_y, windows_y, decided_y, said_y, model_y, end = tops
    width = x(last * TICK_MS) + 8
    out = [
        f"<svg width={width} height={end} data-from={from_ms} data-left={LEFT} data-scale={TICK_W / TICK_MS}>"
    ]
    for tick in range(first, last + 1):
        second = tick % TICKS_PER_SECOND == 0
        at = x(tick * TICK_MS)
        out.append(f"<path d='M{at} {user_y}V{end}' stroke='{SECOND if second else GRID}'/>")
        if second:
            out.append(f"<text x={at} y=11 fill='{SOFT}'>{tick // TICKS_PER_SECOND}</text>")
    for label, top in zip(("user", "", "expected", "decides", "said", "model"), (*tops[1:-1],), strict=True):
        out.append(f"<text x=2 y={top + 11} fill='{SOFT}'>{label}</text>")
    out.append(_wave(user, first, last, user_y, USER))
    out.append(_wave(model, first, last, model_y, MODEL))
    seen = [w for w in story["user"] if w["end_ms"] > from_ms]
    out += _stacked(
        ((w["start_ms"], w["end_ms"], w["text"], "none" if w["who"] else "#dbe6f2") for w in seen), words_y, x
    )
    windows = [e for e in story["expected"] if e["end_ms"] > from_ms and e["end_ms"] - e["start_ms"] < 30_000]
    rows = ((e["start_ms"], e["end_ms"], f"{e['kind']} {e['text']}".strip(), MET[e["met"]]) for e in windows)
    out += _stacked(rows, windows_y, x)
    for made in story["decided"]:
        if made["tick"] >= first:
            out.append(f"<text x={x(made['tick'] * TICK_MS)} y={decided_y + 10}>{made['decision']}</text>")
    said = [w for w in story["said"] if w["end_ms"] > from_ms]
    out += _stacked(((w["start_ms"], w["end_ms"], w["text"], "#f2ded6") for w in said), said_y, x)
    out.append(f"<line class=now x1=-9 x2=-9 y1={ruler} y2={end} stroke='#d3a21c' stroke-width=2 /></svg>")
    return "".join(out)


def _stacked(
    rows: Iterable[tuple[float, float, str, str]], top: float, x: Callable[[float], float]
) -> list[str]:
    """Boxes as long as what they stand for, each on the first line that is free."""
    ends = [0.0] * LINES
    out = []
    for start, end, text, colour in rows:
        left, right = x(start), x(end)
        line = next((i for i in range(LINES) if ends[i] <= left), min(range(LINES), key=ends.__getitem__))
        ends[line] = max(right, left + 5.4 * min(len(text), 24) + 4)
        y = top + line * LINE
        out.append(
            f"<rect x={left} y={y} width={max(1.0, round(right - left, 1))} height={LINE - 1} fill='{colour}'/>"
        )
        shown = text if len(text) <= 24 else text[:23] + "…"
        out.append(f"<text x={left + 1} y={y + 9}>{escape(shown)}<title>{escape(text)}</title></text>")
    return out


def _wave(samples: Floats, first: int, last: int, top: float, colour: str) -> str:
    """The square root of the loudest sample in every 40 ms."""
    column = HEAR_RATE // 25
    part = np.abs(samples[first * HEAR_RATE // TICKS_PER_SECOND : last * HEAR_RATE // TICKS_PER_SECOND])
    if len(part) < column or part.max() == 0:
        return ""
    peaks = np.sqrt(np.minimum(1, part[: len(part) // column * column].reshape(-1, column).max(1)))
    middle, step = top + WAVE / 2, TICK_W / (25 / TICKS_PER_SECOND)
    bars = (
        f"M{LEFT + i * step:g} {middle - h:.0f}V{middle + h:.0f}"
        for i, h in enumerate(peaks * (WAVE / 2 - 2))
        if h >= 1
    )
    return f"<path d='{''.join(bars)}' stroke='{colour}' stroke-width={step:g} />"

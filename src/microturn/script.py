"""Text that reaches the model in the course of a recording: one JSON object a line.

    {"ms": 0, "text": "you are a patient coach", "channel": "history"}
    {"ms": 1200, "text": "every time i say apple say pie"}

A line is read from the tick on that covers its `ms`; history is read before the recording begins.
"""

import json
from dataclasses import dataclass
from pathlib import Path

from microturn.streams import Channel


@dataclass(frozen=True)
class ScriptLine:
    """Text that reaches the model at a moment of the recording."""

    ms: int
    text: str
    channel: Channel = Channel.TYPED


def read_script(path: Path) -> tuple[ScriptLine, ...]:
    """Lines of {"ms": 1200, "text": "…", "channel": "typed"}, in the order of time. Raises ValueError."""
    try:
        rows = path.read_text("utf-8").splitlines()
    except OSError as error:
        raise ValueError(f"{path}: {(error.strerror or 'cannot be read').lower()}") from None
    except UnicodeDecodeError:
        raise ValueError(f"{path}: is not UTF-8 text") from None
    lines = [_script_line(f"{path} line {number}", row) for number, row in enumerate(rows, 1) if row.strip()]
    return tuple(sorted(lines, key=lambda line: line.ms))


def _script_line(where: str, row: str) -> ScriptLine:
    try:
        raw = json.loads(row)
    except json.JSONDecodeError as error:
        raise ValueError(f"{where}: not JSON ({error.msg} at column {error.colno})") from None
    if not isinstance(raw, dict):
        raise ValueError(f'{where}: must be an object such as {{"ms": 1200, "text": "hello"}}')
    if unknown := sorted(set(raw) - {"ms", "text", "channel"}):
        raise ValueError(f"{where}: unknown field {', '.join(map(repr, unknown))}; use ms, text, channel")
    ms, text, channel = raw.get("ms"), raw.get("text"), raw.get("channel", "typed")
    if isinstance(ms, bool) or not isinstance(ms, int | float) or not 0 <= ms < float("inf"):
        raise ValueError(f"{where}: ms must be a number of milliseconds from 0 on")
    if not isinstance(text, str) or not text.strip():
        raise ValueError(f"{where}: text must be words")
    names = [c.name.lower() for c in Channel]
    if channel not in names:
        raise ValueError(f"{where}: channel must be one of {', '.join(names)}")
    if channel == "history" and ms > 0:
        raise ValueError(f"{where}: history is read before the recording begins; its ms must be 0")
    return ScriptLine(int(ms), text, Channel[channel.upper()])

"""Stored sessions taken out of the journal: stereo sound, captions, JSON; and `microturn sessions`."""

from __future__ import annotations

import argparse
import json
import struct
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import msgspec
import numpy as np

from microturn.clock import HEAR_RATE, SPEAK_RATE, SPEAK_SAMPLES, TICKS_PER_SECOND, end_ms, start_ms
from microturn.events import Event, EventLog
from microturn.server.journal import Journal, Stored, default_path
from microturn.server.sound import Resampler, pcm16
from microturn.streams import LEAD_TICKS

PAUSE_MS = 1_000  # a longer one ends a caption
LONGEST_MS = 6_000


def stereo(journal: Journal, stored: Stored) -> Iterator[bytes]:
    """A WAV file: the user on the left, the model on the right, 24 kHz PCM16, every tick in its place."""
    size = (stored.last + 1 - stored.born) * SPEAK_SAMPLES * 4
    yield struct.pack(
        "<4sI4s4sIHHIIHH4sI", b"RIFF", 36 + size, b"WAVE", b"fmt ", 16, 1, 2, SPEAK_RATE, SPEAK_RATE * 4, 4, 16,
        b"data", size,
    )  # fmt: skip
    resample, at = Resampler(HEAR_RATE, SPEAK_RATE), stored.born
    nothing = np.zeros(HEAR_RATE // TICKS_PER_SECOND, np.float32)
    for tick, entry in journal.entries(stored.id, until=stored.last):
        yield bytes((tick - at) * SPEAK_SAMPLES * 4)  # ticks that never happened
        heard, said = entry.perception.audio, entry.action(tick).speech
        both = np.zeros((SPEAK_SAMPLES, 2), np.float32)
        both[:, 0] = resample(nothing if heard is None else heard)
        if said is not None:
            both[:, 1] = said
        yield pcm16(both)
        at = tick + 1


def events(journal: Journal, stored: Stored) -> Iterator[Event]:
    log = EventLog(LEAD_TICKS)
    if stored.parent is None:
        yield from log.opening(stored.start.read)
    for tick, entry in journal.entries(stored.id):
        yield from log.follow(entry.action(tick), entry.perception.text)


def captions(journal: Journal, stored: Stored) -> Iterator[str]:
    """WebVTT, both sides, in the time of the recording: that of a fork begins with the fork."""
    yield "WEBVTT\n"
    open_lines: dict[str, tuple[int, int, str]] = {}  # who → from, to, text
    for event in events(journal, stored):
        if event.type not in ("hear", "say"):
            continue
        who, tick = "user" if event.type == "hear" else "model", event.tick - stored.born
        begins = start_ms(tick)
        line = open_lines.get(who)
        if line and (begins - line[1] >= PAUSE_MS or begins - line[0] >= LONGEST_MS):
            yield _cue(who, *line)
            line = None
        since, _, before = line or (begins, 0, "")
        open_lines[who] = since, end_ms(tick), before + (event.text or "")
    for who, line in sorted(open_lines.items(), key=lambda item: item[1]):
        yield _cue(who, *line)


def _cue(who: str, begins: int, ends: int, text: str) -> str:
    def stamp(ms: int) -> str:
        return f"{ms // 3_600_000:02}:{ms // 60_000 % 60:02}:{ms // 1000 % 60:02}.{ms % 1000:03}"

    safe = text.strip().replace("&", "&amp;").replace("<", "&lt;")
    return f"\n{stamp(begins)} --> {stamp(ends)}\n<v {who}>{safe}\n"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = "Stored sessions: list them, show one, take one out, or delete it."
    add = parser.add_argument
    add("what", choices=["list", "show", "export", "delete"])
    add("id", nargs="?", metavar="ID")
    add("--journal", type=Path, default=default_path(), metavar="FILE", help="default: %(default)s")
    add("--package", type=int, metavar="N", help="show what the background model was sent the Nth time")
    add("--out", type=Path, metavar="FILE", help="export to FILE.wav, .vtt or .jsonl")


def run(args: argparse.Namespace) -> int:
    if not args.journal.exists():
        raise ValueError(f"{args.journal}: there is no journal")
    journal = Journal(args.journal)
    if args.package is not None and args.what != "show":
        raise ValueError("--package is for sessions show")
    if args.out is not None and args.what != "export":
        raise ValueError("--out is for sessions export")
    if args.what == "list":
        if args.id is not None:
            raise ValueError("sessions list takes no ID: it shows all")
        for stored in journal.sessions():
            print(_line(stored))
        return 0
    if args.id is None:
        raise ValueError(f"sessions {args.what} needs the ID of a session")
    stored = journal.session(args.id)
    if args.package is not None:
        print(_package(journal, stored, args.package))
    elif args.what == "show":
        print(_line(stored))
        sys.stdout.writelines(captions(journal, stored))
        for n, work in enumerate(journal.delegations(stored.id), 1):
            print(f"\nNOTE {n}. {work.id} {work.state}: {work.package.asked()} -> {' '.join(work.results)}")
    elif args.what == "delete":
        journal.delete(stored.id)
        journal.close()
    else:
        _export(journal, stored, args.out or Path(f"{stored.id}.wav"))
    return 0


def _line(stored: Stored) -> str:
    began = datetime.fromtimestamp(stored.began).isoformat(" ", "seconds")
    fate = stored.reason or ("open" if stored.ended is None else "ended")
    return f"{stored.id}  {began}  {stored.seconds:7.1f} s  {stored.model}  {fate}  {stored.start.owner}"


def _package(journal: Journal, stored: Stored, n: int) -> str:
    work = journal.delegations(stored.id)
    if not 0 < n <= len(work):
        raise ValueError(f"--package {n}: {len(work)} were sent in session {stored.id}")
    return msgspec.json.format(work[n - 1].package.to_json()).decode()


def _export(journal: Journal, stored: Stored, out: Path) -> None:
    if out.suffix == ".wav":
        with out.open("wb") as file:
            file.writelines(stereo(journal, stored))
    elif out.suffix == ".vtt":
        out.write_text("".join(captions(journal, stored)), "utf-8")
    elif out.suffix == ".jsonl":
        head = {"id": stored.id, "began": stored.began, "model": stored.model, "parent": stored.parent}
        lines = [json.dumps(head), *(event.to_json() for event in events(journal, stored))]
        out.write_text("\n".join(lines) + "\n", "utf-8")
    else:
        raise ValueError(f"{out}: exports are .wav, .vtt or .jsonl")

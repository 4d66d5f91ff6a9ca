"""What a benchmark leaves behind: `FOLDER/SUITE/result.json`, and every case to be heard, seen and scored again.

A case is a folder: in.wav (what was heard, 16 kHz), out.wav (what was said, 24 kHz, exactly as long) and case.json
(what was expected, when, and whether it came; every word of both sides); harness-vad.wav and harness-vad.json are the
same of whom else there was to hear. Others' out.wav can be scored instead:
see targets.py. Sound of more than five minutes is not kept; the seed makes it again.
"""

from __future__ import annotations

import hashlib
import json
import wave
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from importlib.resources import files
from itertools import chain, islice, repeat
from pathlib import Path

import microturn
from microturn.bench.evaluate import Result
from microturn.bench.everyday import answered
from microturn.bench.metrics import Heard, Played, Run, carried_on, content, match, stopped, within
from microturn.bench.report import from_json, suite_json
from microturn.bench.targets import unpcm
from microturn.bench.waves import Case
from microturn.clock import HEAR_RATE, SPEAK_RATE, SPEAK_SAMPLES, TICKS_PER_SECOND, end_ms, start_ms
from microturn.media import write_wav
from microturn.model.checkpoint import RELEASED, find_weights
from microturn.scenes.episode import Expected, Word
from microturn.streams import Floats, joined

LONGEST_TICKS = 5 * 60 * TICKS_PER_SECOND  # whose sound is kept
SOURCES = (".py", ".toml", ".json", ".txt")
SERVING = ("server", "client", "demo", "weights")  # rooms that change no result, or have a print of their own
SHOWING = ("command", "page", "report")  # modules of this folder that change no result
RESULT, CASE = "result.json", "case.json"
Play = Callable[[Sequence[Case]], Iterable[Played]]


@dataclass(frozen=True)
class Cases:
    """Keeps what it is shown; see `evaluate`."""

    folder: Path

    def __call__(self, suite: str, cases: Sequence[Case], played: Sequence[Played]) -> None:
        for case, done in zip(cases, played, strict=True):
            self.keep(suite, case, done)

    def keep(self, suite: str, case: Case, done: Played, who: str = "") -> None:
        place = self._place(suite, case)
        place.mkdir(parents=True, exist_ok=True)
        story = _story(Run(case.episode, done)) | {"case": _print(case)}
        if case.episode.ticks <= LONGEST_TICKS:
            write_wav(place / "in.wav", case.samples, HEAR_RATE)
            write_wav(place / f"{who or 'out'}.wav", _speech(done, case.episode.ticks), SPEAK_RATE)
        (place / (f"{who}.json" if who else CASE)).write_text(
            json.dumps(story, indent=1, ensure_ascii=False) + "\n", "utf-8"
        )

    def once(self, suite: str, cases: Sequence[Case], who: str, play: Play) -> list[Played]:
        """What `who` did with these very cases, each played once and then kept."""
        found = [self._found(suite, case, who) for case in cases]
        left = [number for number, done in enumerate(found) if done is None]
        if left:
            for number, done in zip(left, play([cases[number] for number in left]), strict=True):
                self.keep(suite, cases[number], done, who)
                found[number] = done
        return [done for done in found if done is not None]

    def _found(self, suite: str, case: Case, who: str) -> Played | None:
        path = self._place(suite, case) / f"{who}.json"
        if not path.is_file() or (story := json.loads(path.read_text("utf-8"))).get("case") != _print(case):
            return None
        said = tuple(Word(**word) for word in story["said"])
        with wave.open(str(path.with_suffix(".wav"))) as file:
            sound = unpcm(file.readframes(file.getnframes()))
        ticks = tuple(tick if tick.any() else None for tick in sound.reshape(-1, SPEAK_SAMPLES))
        return Played(said, tuple(Heard(**h) for h in story["heard"]), speech=ticks)

    def _place(self, suite: str, case: Case) -> Path:
        return self.folder / suite / (case.name or f"{case.number:03d}")


def _print(case: Case) -> str:
    """The same for whoever is given the same."""
    total = hashlib.sha256(case.samples.tobytes() + case.arrived.tobytes())
    total.update(repr((case.episode.reads, case.echo_ms, case.echo_db)).encode())
    return total.hexdigest()[:16]


def _speech(played: Played, ticks: int) -> Floats:
    return joined(islice(chain(played.speech, repeat(None)), ticks))


def _story(run: Run) -> dict[str, object]:
    episode, played = run.episode, run.played
    user = [
        {"text": w.text, "start_ms": p.at_ms + w.start_ms, "end_ms": p.at_ms + w.end_ms, "who": p.who}
        for p in episode.placed
        for w in p.clip.words
    ]
    return {
        "scene": episode.scene,
        "seed": episode.seed,
        "ticks": episode.ticks,
        "expected": [{**asdict(e), "met": met} for e, met in verdicts(run)],
        "reads": [{"tick": r.tick, "channel": r.channel.name.lower(), "text": r.text} for r in episode.reads],
        "user": user,
        "said": [asdict(w) for w in played.said],
        "heard": [asdict(h) for h in played.heard],
        "decided": [{"tick": tick, "decision": what.name.lower()} for tick, what in played.decided],
    }


def verdicts(run: Run) -> list[tuple[Expected, bool | None]]:
    """What was expected and whether it came; None where nothing had to."""
    matches = match(run.episode, run.played.said)
    hits = {h.expected for h in matches.hits}

    def met(e: Expected) -> bool | None:
        match e.kind:
            case "say" | "reply":
                return e in hits if e.text else bool(within(run.played.said, e))  # others ask for any answer
            case "answer":
                return answered(run.played.said, e)
            case "halt":
                stop = stopped(run, e, matches.stray)
                return stop.going and stop.halted
            case "carry_on":
                return carried_on(e, run.played.said, content(run.episode, e))
            case "pause":
                return not within(run.played.said, e)
            case "quiet":
                return not within(matches.stray, e)
            case "clause_end":
                return bool(within(matches.stray, e)) or None
            case "delegate" | "cancel":
                made = [tick for tick, what in run.played.decided if what.name.lower() == e.kind]
                return any(e.start_ms < end_ms(tick) and start_ms(tick) < e.end_ms for tick in made)
        return None

    return [(e, met(e)) for e in run.episode.expected]


# ---- results ----


@lru_cache(maxsize=2)
def fingerprint(model: str | None) -> str:
    """Of the weights and the version that runs them."""
    data = find_weights(model or RELEASED).with_suffix(".safetensors").read_bytes()
    return f"{microturn.__version__} {hashlib.sha256(data).hexdigest()[:16]}"


def shape(model: str | None) -> str:
    """Of the network alone: chance needs no weights."""
    config = find_weights(model or RELEASED).with_suffix(".json").read_bytes()
    return hashlib.sha256(config).hexdigest()[:16]


@lru_cache(maxsize=1)
def code() -> str:
    """Of all that makes the cases, lives through them and counts: the package but for what only serves or shows."""
    total, package = hashlib.sha256(), Path(str(files("microturn")))
    for path in sorted(package.rglob("*.*")):
        room = path.relative_to(package).parts[0]
        if path.suffix in SOURCES and room not in SERVING and path.stem not in SHOWING:
            total.update(path.read_bytes())
    return total.hexdigest()[:16]


def write(folder: Path, key: dict[str, object], result: Result) -> None:
    path = folder / result.suite / RESULT
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    part.write_text(
        json.dumps({"key": key, **suite_json(result)}, indent=1, ensure_ascii=False) + "\n", "utf-8"
    )
    part.replace(path)


def read(folder: Path, name: str, key: dict[str, object], but: str = "") -> Result | None:
    """The result of a suite that was run before with the same key, or one that differs in `but`."""
    try:
        stored = json.loads((folder / name.partition(":")[0] / RESULT).read_text("utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    same = stored.get("key", {}) | ({but: key[but]} if but else {}) == key
    return from_json(stored) if same else None

"""Data sets of others as suites, where somebody has them on disk: `--import KIND:FOLDER`.

`LAYOUTS` says what is looked for. All but the first are told what to do in words, before they begin.
"""

from __future__ import annotations

import csv
import json
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import chain, islice, repeat
from pathlib import Path
from typing import Any

import numpy as np

from microturn.bench import published, watching
from microturn.bench.cast import to_clip
from microturn.bench.films import RealFilm, pairs, real_episode
from microturn.bench.suites import Suite
from microturn.bench.waves import Case, make_case
from microturn.clock import HEAR_SAMPLES, TICKS_PER_SECOND, tick_of
from microturn.media import MediaError, audio_ticks, examine
from microturn.scenes.episode import Episode, Expected, Placed, Read, Say, Word, pace, react
from microturn.scenes.stage import CUE_MS
from microturn.streams import Channel, Floats, joined
from microturn.train.voices.spoken import Spoken

AFTER_MS = 2500  # that a film is followed after the last thing in it
START, STOP = "start", "stop"
VIDEOS = ("Charades_v1_480", "Charades_v1", "videos")
LAYOUTS = {
    "fdb": "Full-Duplex-Bench v1 and v1.5: TASK/ID/input.wav with pause, turn_taking, interrupt or metadata.json",
    "repcount-a": "annotation/test.csv and video/test/NAME (or valid, train, whichever is found first)",
    "proactivevideoqa": "TASK/anno.json and TASK/videos/NAME",
    "charades": "charades_sta_test.txt (VIDEO START END##sentence) and Charades_v1_480/VIDEO.mp4",
    "quva": "videos/NAME.mp4 and annotations/NAME.npy",
}


def suite(text: str) -> Suite:
    """The suite that KIND:FOLDER names."""
    kind, _, where = text.partition(":")
    if kind not in KINDS or not where:
        raise ValueError(f"{text}: what can be imported is {', '.join(f'{k}:FOLDER' for k in KINDS)}")
    found, score = KINDS[kind]
    folder = Path(where)

    def make(n: int, seed: int, cast: object) -> list[Case]:
        samples = found(folder)
        if not samples:
            raise ValueError(f"{folder}: nothing of {kind} is in this folder; looked for {LAYOUTS[kind]}")
        chosen = sorted(random.Random(f"{kind}/{seed}").sample(range(len(samples)), min(n, len(samples))))
        return [samples[i](i) for i in chosen]

    return Suite(kind, f"{kind} from {folder}", make, score, people=True)


Sample = Callable[[int], Case]  # made when it is wanted, of its number


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """What is wrong in somebody's file is told in one line that names it."""
    try:
        yield
    except KeyError as missing:
        raise ValueError(f"{path}: {missing} is not in it") from None
    except (ValueError, TypeError, IndexError) as why:
        raise ValueError(f"{path}: not laid out as expected ({why})") from None


# ---- sound ----


def _fdb(folder: Path) -> list[Sample]:
    return [
        partial(_fdb_case, wav.parent)
        for wav in sorted(folder.rglob("input.wav"))
        if _annotation(wav.parent) is not None
    ]


def _annotation(sample: Path) -> tuple[str, float, float] | None:
    """What is expected from when to when, s."""
    for name in ("metadata", "interrupt", "turn_taking"):
        if (path := sample / f"{name}.json").is_file():
            with reading(path):
                return _expected(name, sample.parent.name, json.loads(path.read_text("utf-8")))
    if (sample / "pause.json").is_file() or "backchannel" in sample.parent.name:
        return "pause", 0.0, 0.0
    return None


def _expected(name: str, task: str, told: Any) -> tuple[str, float, float]:
    if name == "metadata":
        start, end = told["timestamps"]
        return ("halt" if task.endswith("interruption") else "carry_on"), start, end
    return "reply", told[0]["timestamp"][1 if name == "interrupt" else 0], 0.0


def _fdb_case(sample: Path, seed: int) -> Case:
    recording = examine(sample / "input.wav")
    sound = _joined(recording.ticks, audio_ticks(recording))
    found = _annotation(sample)
    assert found is not None
    kind, start, end = found
    words: list[Word] = []
    if (path := sample / "transcription.json").is_file():
        with reading(path):
            parts = json.loads(path.read_text("utf-8"))
            for item in (item for part in parts if part.get("speaker", 0) == 0 for item in part["item"]):
                begins, ends = _ms(item["timestamp"])
                words.append(Word(item["text"], begins, ends))
    elif kind in ("halt", "carry_on"):
        words = [Word("", round(1000 * start), round(1000 * end))]
    clip = to_clip(Spoken(sound, tuple(words)), " ".join(w.text for w in words), sample.parent.name)
    expected = Expected(kind, round(1000 * start), round(1000 * end) or recording.ticks * 200)
    task = sample.parent.name.replace("-", "_")
    episode = Episode(task, seed, recording.ticks, (Placed(clip, 0),), expected=(expected,))
    return Case(episode, sound, np.ones(recording.ticks, np.bool_), f"{sample.parent.name}/{sample.name}")


def _joined(ticks: int, sound: Iterable[Floats | None]) -> Floats:
    return joined(islice(chain(sound, repeat(None)), ticks), HEAR_SAMPLES)


# ---- films ----


def _quva(folder: Path) -> list[Sample]:
    return [partial(_reps, film, np.load(ends).astype(int).tolist()) for film, ends in pairs(folder)]


def _repcount_a(folder: Path) -> list[Sample]:
    """Every row's L1, L2, … are the frames in which a repetition begins and ends, in turn."""
    split = next(
        (s for s in ("test", "valid", "train") if (folder / f"annotation/{s}.csv").is_file()), "test"
    )
    path = folder / f"annotation/{split}.csv"
    samples: list[Sample] = []
    with path.open(encoding="utf-8") as file, reading(path):
        for row in csv.DictReader(file):
            marks = [int(float(v)) for k, v in row.items() if k and k[0] == "L" and k[1:].isdigit() and v]
            film = folder / f"video/{split}" / row["name"]
            if len(marks) > 1 and film.is_file():
                samples.append(partial(_reps, film, marks[1::2]))
    return samples


def _reps(film: Path, ends: Sequence[int], seed: int) -> Case:
    return _named(film, real_episode(film, ends, seed))


def _proactive(folder: Path) -> list[Sample]:
    samples: list[Sample] = []
    for path in sorted(folder.rglob("anno.json")):
        with reading(path):
            for entry in json.loads(path.read_text("utf-8")):
                film = path.parent / "videos" / entry["video"]
                if film.is_file():
                    samples.append(partial(_asked, film, entry))
    return samples


def _asked(film: Path, entry: dict[str, list[dict[str, object]]], seed: int) -> Case:
    """The first line asks, the others (captions) are read at their time."""
    first, *more = entry["conversation"]
    spans = [(_ms(answer["reply_timespan"]), str(answer["content"])) for answer in entry["answer"]]
    expected = [Expected("say", start, end, text) for (start, end), text in spans]
    reads = [Read(-1, Channel.INSTRUCTIONS, str(first["content"]))]
    reads += [Read(tick_of(1000 * float(str(m["time"]))), Channel.TYPED, str(m["content"])) for m in more]
    return _film(film, "proactivevideoqa", seed, expected, reads)


def _ms(seconds: object) -> tuple[int, int]:
    assert isinstance(seconds, list)
    return round(1000 * seconds[0]), round(1000 * seconds[1])


def _charades(folder: Path) -> list[Sample]:
    path = folder / "charades_sta_test.txt"
    samples: list[Sample] = []
    for line in filter(None, map(str.strip, path.read_text("utf-8").splitlines())):
        with reading(path):
            where, sentence = line.split("##", 1)
            name, start, end = where.split()
            span = (round(1000 * float(start)), round(1000 * float(end)))
        film = next((p for p in (folder / v / f"{name}.mp4" for v in VIDEOS) if p.is_file()), None)
        if film is not None:
            samples.append(partial(_activity, film, sentence, span))
    return samples


def _activity(film: Path, sentence: str, span: tuple[int, int], seed: int) -> Case:
    request = f"say {START} when this begins and {STOP} when it ends: {sentence.strip().rstrip('.')}"
    marks = zip(span, (START, STOP), strict=True)
    expected = [Expected("say", ms, ms + CUE_MS, text) for ms, text in marks]
    return _film(film, "charades", seed, expected, [Read(-1, Channel.INSTRUCTIONS, request)])


def _film(film: Path, scene: str, seed: int, expected: Sequence[Expected], reads: Sequence[Read]) -> Case:
    """With its own sound, if it has any. What cannot be said in time is left out of the answer itself."""
    ticks = -(-(max(e.end_ms for e in expected) + AFTER_MS) * TICKS_PER_SECOND // 1000)
    says: list[Say] = []
    for e in sorted(expected, key=lambda e: e.start_ms):
        say = Say(e.text, react(e.start_ms))
        if not says or pace(says[-1])[-1].end_ms <= say.at_ms:
            says.append(say)
    episode = Episode(scene, seed, ticks, (), tuple(reads), tuple(says), (), tuple(expected), RealFilm(film))
    return _named(film, episode)


def _named(film: Path, episode: Episode) -> Case:
    silent = make_case(episode, episode.seed)
    try:
        sound = _joined(episode.ticks, audio_ticks(examine(film)))
    except MediaError:
        sound = np.zeros(episode.ticks * HEAR_SAMPLES, np.float32)
    return Case(
        episode, np.clip(silent.samples + sound, -1, 1), silent.arrived, f"{film.stem}-{episode.seed}"
    )


KINDS = {
    "fdb": (_fdb, published.full_duplex_bench),
    "repcount-a": (_repcount_a, watching.repcount),
    "proactivevideoqa": (_proactive, watching.videoqa),
    "charades": (_charades, watching.charades),
    "quva": (_quva, watching.repcount),
}

"""Recordings of people, cut into lines with word times.

The data folder is named by MICROTURN_DATA (default: shared/data beside the project) and holds what
docs/data.md lists. `recorded("train")` may enter a bank; `recorded("test")` is only for measuring and holds
other people. A folder of your own recordings works the same way: *.wav, *.flac, *.opus beside a
transcripts.jsonl whose lines are {"file": "a.wav", "text": "what was said", "speaker": "anna"} (speaker may
be left out).

Single words are the part of the recording that stands out; sentences are aligned, see voices/align.py, and
a recording whose alignment is poor (something else was said) is left out.
"""

import itertools
import json
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import soundfile
import soxr

from microturn.clock import HEAR_RATE
from microturn.streams import Floats
from microturn.train.voices.align import align, speech_span
from microturn.train.voices.phones import PhoneAligner
from microturn.train.voices.spoken import Spoken, finish, plain_words

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
TRAIN_DIGITS = ("jackson", "nicolas", "theo")
TEST_DIGITS = ("lucas",)
WORST_COST = 1.1  # of an alignment: accents and children come near 1, unrelated words lie above
WORST_PHONES = 0.0  # the same of an alignment by phones, see voices/phones.py
NOISE_TRAIN = 0.8  # the first part of the noise trains, the rest measures

Span = tuple[float, float]


@dataclass(frozen=True)
class Recorded:
    """One recording: who said what. `spoken` finds the word times, or raises ValueError where it cannot."""

    voice: str
    text: str
    cut: Callable[[], Floats]

    def spoken(self, aligner: PhoneAligner | None = None) -> Spoken:
        samples = self.cut()
        words = plain_words(self.text)
        if len(samples) < HEAR_RATE // 10:
            raise ValueError(f"{self.voice}: {self.text!r} is shorter than 100 ms")
        if self.voice.startswith("words-"):  # names and Spanish: hibari's reading is no guide
            return finish(samples, self.text, _by_letters(speech_span(samples, one=True), words))
        if len(words) == 1:
            return finish(samples, self.text, [speech_span(samples, one=True)])
        found = aligner.align(samples, self.text) if aligner else align(samples, self.text)
        if found.cost > (WORST_PHONES if aligner else WORST_COST):
            raise ValueError(f"{self.voice} does not seem to say {self.text!r}")
        return finish(samples, self.text, found.spans)


def data_folder() -> Path:
    named = os.environ.get("MICROTURN_DATA")
    folder = Path(named) if named else Path(__file__).parents[4] / "shared" / "data"
    if not folder.is_dir():
        raise ValueError(
            f"no recordings in {folder}: set MICROTURN_DATA to the folder that docs/data.md describes"
        )
    return folder


def recorded(split: str, folder: Path | None = None) -> Iterator[Recorded]:
    """Every line that real people of a split say, speaker by speaker."""
    if split not in ("train", "test"):
        raise ValueError(f"split must be train or test, got {split!r}")
    root = folder or data_folder()
    yield from _digits(root / "digits", TRAIN_DIGITS if split == "train" else TEST_DIGITS)
    yield from _read(root / "read", "train" if split == "train" else "measure")
    if split == "train":
        yield from _words(root / "words")


def own(folder: Path) -> Iterator[Recorded]:
    """Somebody's own recordings."""
    for row in transcripts(folder):
        path = folder / row["file"]
        yield Recorded(f"own-{row.get('speaker', path.stem)}", _plain(row["text"]), lambda p=path: sound(p))  # type: ignore[misc]


def transcripts(folder: Path) -> Iterator[dict[str, str]]:
    """What somebody's own recordings are listed as."""
    listing = folder / "transcripts.jsonl"
    if not listing.is_file():
        raise ValueError(f'{listing} is missing: one line {{"file": …, "text": …}} for each recording')
    for number, line in enumerate(listing.read_text("utf-8").splitlines(), start=1):
        row = json.loads(line)
        if not {"file", "text"} <= row.keys():
            raise ValueError(f"{listing}:{number} needs file and text")
        yield row


def noise(split: str, folder: Path | None = None) -> Floats:
    """Kitchen noise, 16 kHz."""
    samples = sound((folder or data_folder()) / "kitchen.opus")
    edge = int(len(samples) * NOISE_TRAIN)
    return samples[:edge] if split == "train" else samples[edge:]


def _digits(folder: Path, speakers: tuple[str, ...]) -> Iterator[Recorded]:
    rows = json.loads((folder / "index.json").read_text("utf-8"))
    for speaker in speakers:
        for row in rows:
            if row["speaker"] == speaker:
                # 8 kHz: two samples here for each there
                start, count = row["start"] * 2, row["samples"] * 2
                yield _cut(
                    f"digits-{speaker}", DIGITS[row["digit"]], folder / f"{speaker}.flac", start, count
                )


def _read(folder: Path, use: str) -> Iterator[Recorded]:
    for row in _rows(folder):
        if row["use"] == use:
            yield _cut_ms(f"read-{row['speaker']}", folder, row)


def _words(folder: Path) -> Iterator[Recorded]:
    for row in _rows(folder):
        yield _cut_ms(f"words-{row['set'].split('/')[0]}-{row['lang']}", folder, row)


def _rows(folder: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in (folder / "index.jsonl").read_text("utf-8").splitlines()]


def _cut_ms(voice: str, folder: Path, row: dict[str, str]) -> Recorded:
    per_ms = HEAR_RATE // 1000
    return _cut(
        voice,
        _plain(row["text"]),
        folder / row["file"],
        int(row["start_ms"]) * per_ms,
        int(row["ms"]) * per_ms,
    )


def _cut(voice: str, text: str, path: Path, start: int, count: int) -> Recorded:
    return Recorded(voice, text, lambda: sound(path)[start : start + count])


def _plain(text: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"[^a-z'áéíóúñü ]+", " ", text.lower().replace("’", "'"))).strip()


@lru_cache(maxsize=2)
def sound(path: Path) -> Floats:
    """A whole file as 16 kHz mono."""
    samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    return np.asarray(soxr.resample(samples.mean(1), rate, HEAR_RATE), np.float32)


def _by_letters(span: Span, words: list[str]) -> list[Span]:
    """Words share the time by their letters: for languages that nothing here can align."""
    edges = np.cumsum([0, *(len(word) + 1 for word in words)])
    at = span[0] + (span[1] - span[0]) * edges / edges[-1]
    return [(float(a), float(b)) for a, b in itertools.pairwise(at)]

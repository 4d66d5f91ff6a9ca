"""The bank on disk: spoken lines as mel bytes with exact word times, and the scripts that they belong to.

A bank is a folder of parts. A part is written once and never changed, so several builders can add parts
while training reads those that are there, and a builder that was stopped loses at most the part it was
filling:

    NAME.mel.npy       uint8 [frames, 64]   the clips one after another, ears.to_bytes at 10 ms; memory-mapped
    NAME.index.npz     where each clip starts, its word times, text and voice
    NAME.scripts.jsonl scripts whose lines are all in this bank (may be empty)

The index is written last and by renaming: a part exists when its index does. Words are not stored, only
their times: the words are those of the text.
"""

import json
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from microturn.model.ears import BINS, power_mel, to_bytes
from microturn.scenes.episode import Clip, Word
from microturn.streams import Bytes
from microturn.train.voices.spoken import Spoken, plain_words

INDEX = ".index.npz"
PART_CLIPS = 400
ASKING, TALK = ("asks", "scripts"), ("hear", "nothing")  # parts, so named, and scenes: asking, and never


@dataclass(frozen=True)
class Request:
    """A line that some voice should speak."""

    text: str
    voice: str


@dataclass(frozen=True)
class BankScript:
    """A scene's script whose lines the bank holds, in order. `voices[who]` speaks the lines of `who`."""

    scene: str
    seed: int
    seconds: float
    voices: tuple[str, ...]
    lines: tuple[tuple[str, str], ...]  # text and voice of each line
    split: str = "train"  # or "given": in all wordings that may train


class Part:
    """What a builder is filling: clips in memory until `write`."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.scripts: list[BankScript] = []
        self._mels: list[Bytes] = []
        self._times: list[NDArray[np.int32]] = []

    def __len__(self) -> int:
        return len(self.requests)

    @property
    def seconds(self) -> float:
        return sum(len(mel) for mel in self._mels) / 100

    def add(self, request: Request, spoken: Spoken) -> None:
        if [w.text for w in spoken.words] != plain_words(request.text):
            raise ValueError(f"{request.voice} did not time every word of {request.text!r}")
        self.requests.append(request)
        self._mels.append(to_bytes(power_mel(torch.from_numpy(spoken.samples))).numpy())
        times = [(w.start_ms, w.end_ms) for w in spoken.words]
        self._times.append(np.asarray(times, np.int32).reshape(-1, 2))

    def write(self, folder: Path, name: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        mels = np.concatenate(self._mels) if self._mels else np.zeros((1, BINS), np.uint8)
        np.save(folder / f"{name}.mel.npy", mels)
        lines = [json.dumps(asdict(script)) for script in self.scripts]
        (folder / f"{name}.scripts.jsonl").write_text("".join(f"{line}\n" for line in lines), "utf-8")
        unfinished = folder / f"{name}.unfinished.npz"
        np.savez(
            unfinished,
            frames=np.asarray([len(mel) for mel in self._mels], np.int64),
            words=np.asarray([len(times) for times in self._times], np.int64),
            times=np.concatenate(self._times) if self._times else np.zeros((0, 2), np.int32),
            text=_packed([request.text for request in self.requests]),
            voice=_packed([request.voice for request in self.requests]),
        )
        os.replace(unfinished, folder / f"{name}{INDEX}")


@dataclass(frozen=True)
class _Entry:
    part: int
    start: int  # frame
    frames: int
    words: int  # first row of times
    text: str
    voice: str


class Bank:
    """Every finished part of a folder, read-only. Clips are numbered 0 … len(bank) − 1."""

    def __init__(self, folder: Path | str, parts: str = "*", needed: bool = True) -> None:
        self.folder = Path(folder)
        self._entries: list[_Entry] = []
        self._mels: list[Bytes] = []
        self._times: list[NDArray[np.int32]] = []
        self._scripts: list[BankScript] = []
        self._at: dict[tuple[str, str], int] = {}
        self._by_voice: dict[str, list[int]] = {}
        self._talk: dict[str, list[int]] = {}  # by voice, what asks for nothing
        for index in sorted(self.folder.glob(f"{parts}{INDEX}")):
            self._load(index)
        if needed and not self._entries:
            raise ValueError(f"no bank in {self.folder}: build one with `make bank`")

    def _load(self, index: Path) -> None:
        name = index.name.removesuffix(INDEX)
        with np.load(index) as stored:
            frames, words = stored["frames"], stored["words"]
            self._times.append(stored["times"])
            texts, voices = _unpacked(stored["text"]), _unpacked(stored["voice"])
        self._mels.append(np.load(self.folder / f"{name}.mel.npy", mmap_mode="r"))
        starts, firsts = np.cumsum(frames) - frames, np.cumsum(words) - words
        part = len(self._mels) - 1
        rows = zip(starts.tolist(), frames.tolist(), firsts.tolist(), texts, voices, strict=True)
        for start, count, first, text, voice in rows:
            number = len(self._entries)
            self._entries.append(_Entry(part, start, count, first, text, voice))
            self._at.setdefault((text, voice), number)
            self._by_voice.setdefault(voice, []).append(number)
            if not name.startswith(ASKING):
                self._talk.setdefault(voice, []).append(number)
        with (self.folder / f"{name}.scripts.jsonl").open(encoding="utf-8") as lines:
            scripts = [_script(line) for line in lines]
        self._scripts += scripts
        for script in scripts:
            for text, voice in script.lines if script.scene in TALK else ():
                self._talk.setdefault(voice, []).append(self._at[text, voice])

    def __len__(self) -> int:
        return len(self._entries)

    def __getitem__(self, number: int) -> Clip:
        entry = self._entries[number]
        names = plain_words(entry.text)
        times = self._times[entry.part][entry.words : entry.words + len(names)].tolist()
        words = tuple(Word(name, start, end) for name, (start, end) in zip(names, times, strict=True))
        mel = self._mels[entry.part][entry.start : entry.start + entry.frames]
        return Clip(entry.text, entry.voice, words, mel)

    def __iter__(self) -> Iterator[Clip]:
        return (self[number] for number in range(len(self)))

    @property
    def seconds(self) -> float:
        return sum(entry.frames for entry in self._entries) / 100

    def clip(self, text: str, voice: str) -> Clip | None:
        number = self._at.get((text, voice))
        return None if number is None else self[number]

    def voices(self) -> list[str]:
        return sorted(self._by_voice)

    def clips_of(self, voice: str) -> list[int]:
        return self._by_voice.get(voice, [])

    def talk_of(self, voice: str) -> list[int]:
        """Those of its clips in which nothing is asked of anybody."""
        return self._talk.get(voice, [])

    def seconds_of(self, voice: str) -> float:
        return sum(self._entries[number].frames for number in self.clips_of(voice)) / 100

    def request(self, number: int) -> Request:
        """Text and voice of a clip without touching its sound."""
        return Request(self._entries[number].text, self._entries[number].voice)

    def noises(self) -> list[Bytes]:
        """Recorded noise as mel bytes, [frames, 64] each."""
        return [np.load(path, mmap_mode="r") for path in sorted(self.folder.glob("*.noise.npy"))]

    def scripts(self) -> list[BankScript]:
        return self._scripts

    def script_clips(self, number: int) -> list[Clip]:
        """The clips of a script's lines, in order."""
        return [self[self._at[line]] for line in self._scripts[number].lines]


def _script(line: str) -> BankScript:
    row = json.loads(line)
    lines = tuple((text, voice) for text, voice in row["lines"])
    voices, split = tuple(row["voices"]), row.get("split", "train")
    return BankScript(row["scene"], row["seed"], row["seconds"], voices, lines, split)


def _packed(texts: Sequence[str]) -> Bytes:
    return np.frombuffer("\n".join(texts).encode(), np.uint8)


def _unpacked(stored: Bytes) -> list[str]:
    return stored.tobytes().decode().split("\n") if len(stored) else []


def main() -> None:
    """What a bank holds, family by family."""
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "bank")
    bank = Bank(folder)
    print(f"{'family':<10}{'voices':>8}{'clips':>9}{'hours':>8}")
    families = sorted({voice.partition("-")[0] for voice in bank.voices()})
    for family in families:
        voices = [voice for voice in bank.voices() if voice.partition("-")[0] == family]
        clips = sum(len(bank.clips_of(voice)) for voice in voices)
        hours = sum(bank.seconds_of(voice) for voice in voices) / 3600
        print(f"{family:<10}{len(voices):>8}{clips:>9}{hours:>8.2f}")
    size = sum(path.stat().st_size for path in folder.glob("*.np[yz]"))
    print(f"{'all':<10}{len(bank.voices()):>8}{len(bank):>9}{bank.seconds / 3600:>8.2f}")
    print(f"{len(bank.scripts())} scripts, {size / 1e6:.0f} MB")


if __name__ == "__main__":
    main()

"""Real films of people and things that repeat themselves, for measuring only: QUVA-style folders.

`FOLDER/videos/NAME.mp4` and `FOLDER/annotations/NAME.npy`, the frames in which a repetition ends. Of numbered
films only the odd ones are taken, so that the others may be looked at. There is no sound.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av

from microturn.clock import TICKS_PER_SECOND
from microturn.media import MediaError, frame_ticks
from microturn.scenes.episode import Episode, Expected, Read, Say, pace
from microturn.scenes.stage import CUE_MS
from microturn.scenes.watch import seen
from microturn.scenes.words import number
from microturn.streams import Bytes, Channel

REQUEST = "count the repetitions out loud"


@dataclass(frozen=True)
class RealFilm:
    path: Path

    def frames(self, size: tuple[int, int], ticks: int) -> list[Bytes | None]:
        return list(frame_ticks(self.path, size, ticks))


def rate(path: Path) -> Fraction:
    """Frames a second."""
    try:
        with av.open(f"file:{path}") as container:
            found = container.streams.video[0].average_rate
    except (av.error.FFmpegError, IndexError):
        found = None
    if not found:
        raise MediaError(f"{path}: not a film that can be opened")
    return Fraction(found)


def pairs(folder: Path) -> list[tuple[Path, Path]]:
    """Films with their annotations, even-numbered ones left out."""
    found = []
    for film in sorted((folder / "videos").glob("*.*")):
        start = film.stem.split("_")[0]
        annotation = folder / "annotations" / f"{film.stem}.npy"
        if annotation.is_file() and not (start.isdigit() and int(start) % 2 == 0):
            found.append((film, annotation))
    if not found:
        raise ValueError(f"{folder}: no videos/NAME.mp4 with an annotations/NAME.npy (odd numbers)")
    return found


def real_episode(film: Path, ends: Sequence[int], seed: int) -> Episode:
    fps = rate(film)
    moments = [float(frame * 1000 / fps) for frame in ends]
    ticks = int((moments[-1] + 2500) * TICKS_PER_SECOND / 1000)
    says: list[Say] = []
    for n, ms in enumerate(moments, 1):  # what can be said in time: a number that begins late is left out
        say = Say(number(n), seen(ms))
        if not says or pace(says[-1])[-1].end_ms <= say.at_ms:
            says.append(say)
    expected = tuple(
        Expected("say", round(ms), round(ms) + CUE_MS, number(n)) for n, ms in enumerate(moments, 1)
    )
    read = (Read(-1, Channel.INSTRUCTIONS, REQUEST),)
    return Episode("repcount", seed, ticks, (), read, tuple(says), (), expected, RealFilm(film))

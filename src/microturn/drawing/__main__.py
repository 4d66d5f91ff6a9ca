"""`python -m microturn.drawing [sheet.png]`: how long a frame takes to draw, and one row of frames a film."""

import sys
import time

import numpy as np
from PIL import Image

from microturn.drawing import EXERCISES, MOTIONS, Body, Film, Rep, Thing

SIZE = (120, 160)  # height, width of what `nano` sees
COLUMNS, SHOWN, TICKS = 3, 5, 60


def films() -> list[Film]:
    """Each exercise and each motion, 2 s a repetition."""
    reps = tuple(Rep(2000 * i, 2000 * i + 2000, mirrored=bool(i % 2)) for i in range(6))
    turns = np.random.default_rng(2).uniform(-35, 35, len(EXERCISES))
    bodies = [
        Film(i, (Body(i, ((e.name, reps),), facing=float(turn) + (0 if e.front else 80)),), flaws=0.4)
        for i, (e, turn) in enumerate(zip(EXERCISES.values(), turns, strict=True))
    ]
    things = [
        Film(100 + i, (Thing(i, "star", "red", (0, 1, 0), 0.3, motion, reps),))
        for i, motion in enumerate(MOTIONS)
    ]
    return bodies + things


def main() -> None:
    began = time.process_time()
    drawn = [film.frames(SIZE, TICKS) for film in films()]
    spent = 1000 * (time.process_time() - began)
    print(f"{len(drawn)} films, {spent / (TICKS * len(drawn)):.2f} ms of one core a frame")
    if len(sys.argv) > 1:
        empty = np.zeros((*SIZE, 3), np.uint8)
        rows = [
            np.hstack([empty if f is None else f for f in film[10 : 10 + 2 * SHOWN : 2]]) for film in drawn
        ]
        rows = rows[: len(rows) // COLUMNS * COLUMNS]
        sheet = np.vstack([np.hstack(rows[i : i + COLUMNS]) for i in range(0, len(rows), COLUMNS)])
        small = Image.fromarray(sheet).resize(
            (sheet.shape[1] // 2, sheet.shape[0] // 2), Image.Resampling.BOX
        )
        small.quantize(192).save(sys.argv[1], optimize=True)


if __name__ == "__main__":
    main()

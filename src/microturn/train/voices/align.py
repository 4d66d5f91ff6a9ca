"""When was each word said? Dynamic time warping against hibari's rendering of the same text.

hibari knows its own word times. A recording of the same words is aligned frame by frame (10 ms) with that
rendering, spoken in turn by a woman, a man and a child, and the cheapest path carries the word times over. The
path's cost tells when somebody read something else.

The table is filled along anti-diagonals, so numpy does a whole diagonal at once: about 10 ms for 3 s of speech.
Shapes: R frames of the rendering, T frames of the recording, C cepstral coefficients.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from microturn.clock import HEAR_RATE
from microturn.model.ears import power_mel
from microturn.streams import Floats
from microturn.train.voices.hibari import Speaker, teacher, turn_into
from microturn.train.voices.spoken import finish

REFERENCES = (
    Speaker(pitch_range=0.8),
    Speaker(pitch=0.58, formants=0.87),
    Speaker(pitch=1.35, formants=1.17, pace=0.85),
)
CEPSTRA = 20
SIDE_STEP = 0.12  # added cost of a step that moves on one side only
FRAME_S = 0.01
QUIET_DB = 32.0  # below the loudest frames by this much is not speech
MAX_FRAMES = 2000  # 20 s; the table has R × T cells

Doubles = NDArray[np.float64]


@dataclass(frozen=True)
class Alignment:
    spans: tuple[tuple[float, float], ...]  # seconds, one for each word
    cost: float  # mean distance along the path; unlike words are above 0.6


def speech_span(samples: Floats, quiet_db: float = QUIET_DB) -> tuple[float, float]:
    """Seconds between which there is sound that stands out, or the whole recording when nothing does."""
    db_T = 10 * power_mel(torch.from_numpy(samples)).sum(-1).clamp_min(1e-12).log10().numpy()
    if not len(db_T):
        raise ValueError("a recording shorter than 10 ms")
    loud = np.percentile(db_T, 95)
    floor = np.percentile(db_T, 5)
    threshold = max(loud - quiet_db, min(floor + 8, loud - 12))
    lively = np.convolve(db_T > threshold, np.ones(5), "same") >= 3  # 30 of 50 ms
    at = np.flatnonzero(lively)
    if not len(at):
        return 0.0, len(db_T) * FRAME_S
    return max(0.0, at[0] * FRAME_S - 0.02), min(len(db_T), at[-1] + 3) * FRAME_S


def align(samples: Floats, text: str) -> Alignment:
    """Where in `samples` (16 kHz) each word of `text` is."""
    start, end = speech_span(samples)
    heard_TC = _features(samples[int(start * HEAR_RATE) : int(end * HEAR_RATE)])
    if not 5 <= len(heard_TC) <= MAX_FRAMES:
        raise ValueError(f"{len(heard_TC) / 100:.1f} s of speech is too short or too long to align")
    groups = teacher().phonemes(text)
    best: Alignment | None = None
    for reference in REFERENCES:
        said = teacher().say(groups, reference.pace)
        rendered = finish(turn_into(reference, said), text, said.spans)
        path, cost = _warp(_features(rendered.samples), heard_TC)
        if best is None or cost < best.cost:
            edges = [(w.start_ms / 1000, w.end_ms / 1000) for w in rendered.words]
            spans = tuple((start + _carry(path, a), start + _carry(path, b)) for a, b in edges)
            best = Alignment(spans, cost)
    assert best is not None
    return best


def _features(samples: Floats) -> Doubles:
    """Cepstra with their loudness and slopes, normalised over the recording: [T, 2·C] of about unit length."""
    log_TB = power_mel(torch.from_numpy(samples)).clamp_min(1e-9).log10().numpy().astype(np.float64)
    log_TB = np.maximum(log_TB, log_TB.max() - 5.5)  # the room's noise is no feature
    bins = log_TB.shape[1]
    cosine = np.cos(np.pi * np.arange(CEPSTRA)[:, None] * (np.arange(bins) + 0.5) / bins)
    cepstra_TC = log_TB @ cosine.T / bins
    cepstra_TC = (cepstra_TC - cepstra_TC.mean(0)) / (cepstra_TC.std(0) + 1e-3)
    padded = np.pad(cepstra_TC, ((2, 2), (0, 0)), mode="edge")
    slope_TC = (padded[4:] - padded[:-4]) * 0.5
    weights = 1 / (1 + 0.08 * np.arange(CEPSTRA))
    both = np.concatenate([cepstra_TC * weights, 0.5 * slope_TC * weights], 1)
    scaled: Doubles = both / np.sqrt((both**2).sum(1).mean())
    return scaled


def _warp(rendered_RC: Doubles, heard_TC: Doubles) -> tuple[NDArray[np.int64], float]:
    """The cheapest path [steps, 2] from corner to corner and its mean distance."""
    square = (rendered_RC**2).sum(1)[:, None] + (heard_TC**2).sum(1)[None] - 2 * rendered_RC @ heard_TC.T
    near_RT = np.sqrt(np.maximum(square, 0))
    rows, columns = near_RT.shape
    total = np.full((rows + 1, columns + 1), np.inf)
    total[0, 0] = 0.0
    came = np.zeros((rows + 1, columns + 1), np.int8)
    for diagonal in range(2, rows + columns + 1):
        i = np.arange(max(1, diagonal - columns), min(rows, diagonal - 1) + 1)
        j = diagonal - i
        here = near_RT[i - 1, j - 1]
        ways = np.stack([
            total[i - 1, j - 1] + 2 * here,
            total[i - 1, j] + here + SIDE_STEP,
            total[i, j - 1] + here + SIDE_STEP,
        ])
        best = ways.argmin(0)
        total[i, j] = ways[best, np.arange(len(i))]
        came[i, j] = best
    path, i, j = [], rows, columns
    while i > 0 and j > 0:
        path.append((i - 1, j - 1))
        step = came[i, j]
        i, j = i - (step != 2), j - (step != 1)
    return np.asarray(path[::-1]), float(total[rows, columns] / (rows + columns))


def _carry(path: NDArray[np.int64], seconds: float) -> float:
    """A time of the rendering → the time of the recording, in the middle of where the path lingers."""
    frame = min(round(seconds / FRAME_S), int(path[-1, 0]))
    there = path[path[:, 0] == frame, 1]
    return float(there[0] + there[-1]) / 2 * FRAME_S

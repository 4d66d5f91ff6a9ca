"""When was each word said? Dynamic time warping against hibari's rendering of the same text.

hibari knows its own word times. A recording of the same words is aligned frame by frame (10 ms) with that
rendering, its spectrum stretched in turn to that of a man, a woman and a child, and the cheapest path
carries the word times over. The path's cost tells when somebody read something else.

The table is filled along anti-diagonals, so numpy does a whole diagonal at once: about 10 ms for 3 s of
speech. Shapes: R frames of the rendering, T frames of the recording, C cepstral coefficients.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from microturn.clock import HEAR_RATE
from microturn.model.ears import BINS, FFT, mel_filters, power_mel
from microturn.scenes.episode import Word
from microturn.streams import Floats
from microturn.train.voices.hibari import teacher
from microturn.train.voices.spoken import finish

TRACTS = (0.86, 1.0, 1.16)  # × formants of the rendering
CEPSTRA = 13
SIDE_STEP = 0.3  # added cost of a step that moves on one side only
FRAME_S = 0.01
QUIET_DB = 32.0  # below the loudest frames by this much is not speech
BROKEN = 20  # frames of quiet that end a stretch of sound
MAX_FRAMES = 2000  # 20 s; the table has R × T cells

CENTRES_HZ = mel_filters().argmax(0).numpy() * (HEAR_RATE / FFT) + np.arange(BINS) * 1e-6

Doubles = NDArray[np.float64]


@dataclass(frozen=True)
class Alignment:
    spans: tuple[tuple[float, float], ...]  # seconds, one for each word
    cost: float  # mean distance along the path; unlike words are above 0.6


def speech_span(samples: Floats, one: bool = False) -> tuple[float, float]:
    """Seconds between which there is sound that stands out. With `one`, only its loudest unbroken stretch."""
    power_T = power_mel(torch.from_numpy(samples)).sum(-1).clamp_min(1e-12).numpy()
    if len(power_T) < 5:
        raise ValueError("a recording shorter than 50 ms")
    db_T = 10 * np.log10(np.convolve(power_T, np.ones(5) / 5, "same"))
    floor, loud = np.percentile(db_T, 8), np.percentile(db_T, 97)
    threshold = max(loud - QUIET_DB, floor + 0.4 * (loud - floor))
    at = np.flatnonzero(db_T > threshold)
    if one:
        stretches = np.split(at, np.flatnonzero(np.diff(at) > BROKEN) + 1)
        at = max(stretches, key=lambda stretch: float(power_T[stretch].sum()))
    return max(0.0, (at[0] - 2) * FRAME_S), min(len(db_T), at[-1] + 3) * FRAME_S


def align(samples: Floats, text: str) -> Alignment:
    """Where in `samples` (16 kHz) each word of `text` is."""
    start, end = speech_span(samples)
    heard_TC = _features(samples[int(start * HEAR_RATE) : int(end * HEAR_RATE)])
    if not 5 <= len(heard_TC) <= MAX_FRAMES:
        raise ValueError(f"{len(heard_TC) / 100:.1f} s of speech is too short or too long to align")
    said = teacher().say(teacher().phonemes(text))
    rendered = finish(said.samples, text, said.spans)
    paths = [_warp(_features(rendered.samples, tract), heard_TC) for tract in TRACTS]
    path, cost = min(paths, key=lambda found: found[1])
    return Alignment(tuple((start + a, start + b) for a, b in _carry(path, rendered.words)), cost)


def _features(samples: Floats, tract: float = 1.0) -> Doubles:
    """Cepstra with their loudness and slopes, normalised over the recording, [T, 2·C]."""
    log_TB = power_mel(torch.from_numpy(samples)).clamp_min(1e-9).log10().numpy().astype(np.float64)
    bins = log_TB.shape[1]
    if tract != 1.0:
        source = np.interp(CENTRES_HZ / tract, CENTRES_HZ, np.arange(bins))
        low = np.minimum(source.astype(np.int64), bins - 2)
        log_TB = log_TB[:, low] * (low + 1 - source) + log_TB[:, low + 1] * (source - low)
    log_TB = np.maximum(log_TB, log_TB.max() - 3.8)  # the room's noise is no feature
    cosine = np.cos(np.pi * np.arange(CEPSTRA)[:, None] * (np.arange(bins) + 0.5) / bins)
    cepstra_TC = log_TB @ cosine.T / bins
    cepstra_TC = (cepstra_TC - cepstra_TC.mean(0)) / (cepstra_TC.std(0) + 1e-3)
    padded = np.pad(cepstra_TC, ((2, 2), (0, 0)), mode="edge")
    slope_TC = (padded[4:] - padded[:-4]) * 0.5
    weights = 1 / (1 + 0.08 * np.arange(CEPSTRA))
    both = np.concatenate([cepstra_TC * weights, slope_TC * weights], 1)
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
        ways = np.stack(
            [
                total[i - 1, j - 1] + 2 * here,
                total[i - 1, j] + here + SIDE_STEP,
                total[i, j - 1] + here + SIDE_STEP,
            ]
        )
        best = ways.argmin(0)
        total[i, j] = ways[best, np.arange(len(i))]
        came[i, j] = best
    path, i, j = [], rows, columns
    while i > 0 and j > 0:
        path.append((i - 1, j - 1))
        step = came[i, j]
        i, j = i - (step != 2), j - (step != 1)
    return np.asarray(path[::-1]), float(total[rows, columns] / (rows + columns))


def _carry(path: NDArray[np.int64], words: Sequence[Word]) -> list[tuple[float, float]]:
    """Word times of the rendering → seconds in the recording. Where the path lingers, a pause is nobody's."""
    last = int(path[-1, 0])
    spans: list[tuple[float, float]] = []
    for word in words:
        begin = path[path[:, 0] == min(word.start_ms // 10, last), 1]
        end = path[path[:, 0] == min(word.end_ms // 10, last), 1]
        start_s, end_s = float(begin[-1]) * FRAME_S, float(end[0]) * FRAME_S
        if spans and start_s < spans[-1][1]:
            start_s = spans[-1][1]
        spans.append((start_s, max(end_s, start_s)))
    return spans

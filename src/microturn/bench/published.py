"""What others count, to the letter, so that a figure of ours can be laid beside one of theirs.

PAUC of ProactiveVideoQA; takeover and latency of Full-Duplex-Bench v1; overlaps and gaps of its v1.5. Where a
rule of theirs flatters (an answer that began too early counts as a latency of 0), the plain figure stands beside.
The other published rules, off by one and temporal IoU, are in watching.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from microturn.bench.intervals import Measure, mean, product, share
from microturn.bench.metrics import Run
from microturn.scenes.episode import Word

Span = tuple[float, float]  # ms
TURN_MS, TURN_WORDS = 1000, 3  # less than so long and at most so many words take no turn
USER_GAP_MS, MODEL_GAP_MS = 600, 500  # shorter pauses split nobody's talk
SILENT, BEST = 0.5, 2.0  # PAUC: what saying nothing is worth, and the best mark


def area(points: Sequence[tuple[float, float]], length: float, omega: float = 0.5) -> float:
    """PAUC of one span, 0 … 1: marks of what was said so far over the time since the span began.

    `omega` forgives lateness: every time is multiplied by 1 − omega. Nothing said is worth 0.25 at any omega.
    """
    if not points:
        return SILENT / BEST
    steps = [(0.0, SILENT), *((at * (1 - omega), mark) for at, mark in sorted(points, key=lambda p: p[0]))]
    steps.append((length, steps[-1][1]))
    return sum(mark * (b - a) for (a, mark), (b, _) in pairwise(steps)) / (length * BEST)


def took_turn(words: Sequence[Word]) -> bool:
    """v1: something longer than a backchannel was said, from the first word to the end of the last."""
    if not words:
        return False
    return words[-1].end_ms - words[0].start_ms >= TURN_MS or len(words) > TURN_WORDS


def latency_ms(words: Sequence[Word], end_ms: float) -> float | None:
    """v1: from the end of the user's turn to the first word, where a turn was taken; may be negative."""
    return words[0].start_ms - end_ms if took_turn(words) else None


def merged(spans: Sequence[Span], gap_ms: float) -> list[Span]:
    """v1.5: talk, with its short pauses."""
    out: list[Span] = []
    for start, end in sorted(spans):
        if out and start - out[-1][1] <= gap_ms:
            out[-1] = (out[-1][0], max(out[-1][1], end))
        else:
            out.append((start, end))
    return out


def overlaps(user: Sequence[Span], model: Sequence[Span]) -> list[Span]:
    """v1.5: where both talk, the shortest of those that end in the same millisecond. Stop latency: their length."""
    found: dict[int, Span] = {}
    i = j = 0
    while i < len(user) and j < len(model):
        start, end = max(user[i][0], model[j][0]), min(user[i][1], model[j][1])
        best = found.get(round(end))
        if end > start and (best is None or end - start < best[1] - best[0]):
            found[round(end)] = (start, end)
        if user[i][1] < model[j][1]:
            i += 1
        else:
            j += 1
    return sorted(found.values(), key=lambda span: span[1])


def gaps(user: Sequence[Span], model: Sequence[Span]) -> list[Span]:
    """v1.5: from the last end of the user's talk to the model's next beginning. Response latency: their length."""
    found: dict[int, Span] = {}
    for _, end in user:
        begins = next((start for start, _ in model if start > end), None)
        if begins is not None and (round(begins) not in found or end > found[round(begins)][0]):
            found[round(begins)] = (end, begins)
    return sorted(found.values(), key=lambda span: span[1])


def spans(words: Sequence[Word], gap_ms: float) -> list[Span]:
    return merged([(w.start_ms, w.end_ms) for w in words], gap_ms)


def _user(run: Run) -> list[Word]:
    return [
        Word(word.text, placed.at_ms + word.start_ms, placed.at_ms + word.end_ms)
        for placed in run.episode.placed
        for word in placed.clip.words
    ]


def _after_interruption(run: Run) -> list[Word]:
    """They cut the sound there before they look for words."""
    cut = run.episode.expected[0].start_ms
    return [Word(w.text, max(cut, w.start_ms), w.end_ms) for w in run.played.said if w.end_ms > cut]


def full_duplex_bench(runs: Sequence[Run], seed: int = 0) -> tuple[Measure, ...]:
    """By task, as imported. Score: no takeover in pauses × takeover at the ends of turns, v1's tasks alone."""
    measures: list[Measure] = []
    waited: list[bool] = []
    answered: list[bool] = []
    for task in dict.fromkeys(run.episode.scene for run in runs):
        mine = [run for run in runs if run.episode.scene == task]
        (kind,) = {run.episode.expected[0].kind for run in mine}
        if kind in ("halt", "carry_on"):
            both = [(spans(_user(r), USER_GAP_MS), spans(r.played.said, MODEL_GAP_MS)) for r in mine]
            stop = [end - start for pair in both for start, end in overlaps(*pair)]
            response = [end - start for pair in both for start, end in gaps(*pair)]
            measures.append(mean(f"{task}_stop", stop, "ms", seed))
            measures.append(mean(f"{task}_response", response, "ms", seed))
            continue
        said = [_after_interruption(r) if "interruption" in task else r.played.said for r in mine]
        taken = [took_turn(words) for words in said]
        measures.append(share(f"{task}_takeover", taken))
        if kind == "pause":
            waited += [not one for one in taken]
            continue
        answered += taken
        late = [latency_ms(w, r.episode.expected[0].start_ms) for w, r in zip(said, mine, strict=True)]
        plain = [ms for ms in late if ms is not None]
        measures.append(mean(f"{task}_latency", [max(0.0, ms) for ms in plain], "ms", seed))
        measures.append(mean(f"{task}_latency_unclamped", plain, "ms", seed))
    parts = [share("score", part) for part in (waited, answered) if part]
    score = product("score", *parts) if len(parts) == 2 else parts[0] if parts else Measure("score", None)
    return (score, *measures)

"""What is counted where there is a camera: pure functions on plain records, and the scores made of them.

Repetitions by the rule of RepCount-A, moments by PAUC, activities by the overlap of their times, games by events.
"""

from __future__ import annotations

from collections.abc import Sequence

from microturn.bench.intervals import Measure, mean, percentiles, ratio, share
from microturn.bench.metrics import Run, false_count, normalise, utterances
from microturn.bench.published import Span, area
from microturn.scenes.episode import Expected, Word
from microturn.scenes.words import DIGITS, TENS, number

_VALUES = {number(n): n for n in range(100)}
LITTLE = ("a", "an", "the", "it", "is", "are", "was", "there", "here", "and", "of", "in", "on")


def numbers(said: Sequence[Word]) -> list[tuple[float, int]]:
    """When (ms) which number was said; “twenty” and “one” in one breath are one number."""
    words = [(w.start_ms, w.end_ms, text) for w in said for text in normalise(w.text)]
    found: list[tuple[float, int]] = []
    joined = False
    for i, (start, end, text) in enumerate(words):
        follows = words[i + 1] if i + 1 < len(words) else None
        if joined:
            joined = False
        elif follows and text in TENS and follows[2] in DIGITS[1:] and follows[0] - end < 400:
            found.append((start, _VALUES[f"{text} {follows[2]}"]))
            joined = True
        elif text in _VALUES:
            found.append((start, _VALUES[text]))
    return found


def final_count(reps: Sequence[float], said: Sequence[Word]) -> int | None:
    """The last number said after the next-to-last of the true repetitions (when each is complete, ms)."""
    after = reps[-2] if len(reps) > 1 else 0.0
    late = [n for ms, n in numbers(said) if ms >= after]
    return late[-1] if late else None


def judged(wanted: str, said: str) -> int:
    """2: what was wanted was said; 1: at least half of the words in it that tell something; 0: something else."""
    want, got = normalise(wanted), normalise(said)
    if any(got[i : i + len(want)] == want for i in range(len(got))):
        return 2
    telling = [word for word in want if word not in LITTLE]
    return int(bool(telling) and 2 * sum(word in got for word in telling) >= len(telling))


def pauc(expected: Sequence[Expected], said: Sequence[Word], omega: float = 0.5) -> float:
    """Proactive area under the curve, 0 … 100, as ProactiveVideoQA computes it; silence is exactly 25.

    An answer is an utterance and comes when it begins; it is judged together with those before it in its span.
    """
    areas = []
    for e in expected:
        inside = utterances([w for w in said if e.start_ms <= w.start_ms <= e.end_ms])
        texts = [" ".join(w.text for u in inside[: i + 1] for w in u) for i in range(len(inside))]
        marks = [(u[0].start_ms - e.start_ms, judged(e.text, t)) for u, t in zip(inside, texts, strict=True)]
        areas.append(100 * area(marks, e.end_ms - e.start_ms, omega))
    return sum(areas) / len(areas) if areas else 100.0


def overlap(a: Sequence[Span], b: Sequence[Span]) -> float:
    """Time in both ÷ time in either, each a set of spans that do not overlap."""
    both = sum(max(0.0, min(x[1], y[1]) - max(x[0], y[0])) for x in a for y in b)
    either = sum(end - start for start, end in (*a, *b)) - both
    return both / either if either > 0 else 1.0


def between(first: str, last: str, said: Sequence[Word], end_ms: float) -> list[Span]:
    """The spans that somebody means who says `first` where they begin and `last` where they end."""
    spans: list[Span] = []
    since: float | None = None
    for word in said:
        text = normalise(word.text)
        if text == [first] and since is None:
            since = word.start_ms
        elif text == [last] and since is not None:
            spans.append((since, word.start_ms))
            since = None
    return spans if since is None else [*spans, (since, end_ms)]


def repcount(runs: Sequence[Run], seed: int = 0) -> tuple[Measure, ...]:
    """Score: off by one at most. Beside it every repetition by itself, in time."""
    truth = [[float(e.start_ms) for e in run.of("say")] for run in runs]
    counts = [final_count(reps, run.played.said) for reps, run in zip(truth, runs, strict=True)]
    both = list(zip(counts, truth, strict=True))
    found = [r.match(cues=True) for r in runs]
    lags = [h.late_ms for m in found for h in m.hits if h.expected.kind == "say"]
    return (
        share("score", [n is not None and abs(n - len(reps)) <= 1 for n, reps in both]),
        share("exact", [n == len(reps) for n, reps in both]),
        mean("each_in_time", [m.accuracy("say") for m in found], seed=seed),
        *percentiles("lag", lags),
    )


def videoqa(runs: Sequence[Run], seed: int = 0) -> tuple[Measure, ...]:
    """Score: what was wanted, said in its span ÷ (wanted + false). PAUC forgives what is said elsewhere."""
    found = [r.match() for r in runs]
    wanted = [r.of("say") for r in runs]
    again = [
        sum(
            any(judged(h.expected.text, " ".join(w.text for w in u)) == 2 for h in m.hits)
            for u in utterances(m.stray)
        )
        for m in found
    ]
    minutes = [r.minutes for r in runs]
    return (
        mean("score", [m.accuracy("say") for m in found], seed=seed),
        mean("pauc", [pauc(w, r.played.said) for w, r in zip(wanted, runs, strict=True)], seed=seed),
        ratio("outside", [false_count(m.stray) for m in found], minutes, "/min", seed),
        ratio("duplicates", again, minutes, "/min", seed),
        *percentiles("lag", [h.late_ms for m in found for h in m.hits]),
    )


def charades(runs: Sequence[Run], seed: int = 0) -> tuple[Measure, ...]:
    """Temporal IoU. In the score a boundary told within its window counts as told at once; `iou` forgives nothing."""
    scores, plain = [], []
    for run in runs:
        says = run.of("say")
        first, last = says[0].text, says[1].text
        truth = [(float(a.start_ms), float(b.start_ms)) for a, b in zip(says[::2], says[1::2], strict=True)]
        end = run.episode.ticks * 200.0
        hits = {h.places[0]: h.expected.start_ms for h in run.match(cues=True).hits}
        prompt = [Word(w.text, hits.get(i, w.start_ms), w.end_ms) for i, w in enumerate(run.played.said)]
        scores.append(overlap(truth, between(first, last, prompt, end)))
        plain.append(overlap(truth, between(first, last, run.played.said, end)))
    return (mean("score", scores, seed=seed), mean("iou", plain, seed=seed))


def commentary(runs: Sequence[Run], seed: int = 0) -> tuple[Measure, ...]:
    """Score: F1 of the events, each called within its window."""
    found = [r.match(cues=True) for r in runs]
    hits = [[h for h in m.hits if h.expected.kind == "say"] for m in found]
    right, wanted = [len(h) for h in hits], [len(r.of("say")) for r in runs]
    called = [n + false_count(m.stray) for n, m in zip(right, found, strict=True)]
    return (
        ratio(
            "score", [2 * n for n in right], [w + c for w, c in zip(wanted, called, strict=True)], seed=seed
        ),
        ratio("recall", right, wanted, seed=seed),
        ratio("precision", right, called, seed=seed),
        *percentiles("lag", [h.late_ms for some in hits for h in some]),
    )

"""Open conversation: everyday questions that take knowledge of the world, two to a case.

Nothing of it is in any scene: `nano` was never taught an answer, a language model may know it. An answer counts when
one of its wordings is among the words that begin within `ANSWER_MS` of the question, whatever is said around it. The
list was written before anybody was asked, and nothing was taken out of it afterwards.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import lru_cache
from importlib.resources import files

from microturn.bench.cast import Cast
from microturn.bench.intervals import Measure, mean, percentiles, ratio, share
from microturn.bench.metrics import Run, false_count, normalise, within
from microturn.clock import TICK_MS
from microturn.scenes.episode import HEARD_MS, Episode, Expected, Placed, Say, Word, react
from microturn.streams import LEAD_TICKS

ANSWER_MS = 8000  # in which an answer begins; then the next question comes, or the end
FIRST_MS = 800
EITHER = " / "  # between wordings of one answer


@lru_cache(maxsize=1)
def questions() -> tuple[tuple[str, str], ...]:
    """With the wordings of their answers."""
    lines = files("microturn").joinpath("bench", "everyday.txt").read_text("utf-8").splitlines()
    return tuple((question + "?", answer.strip()) for question, answer in (line.split("?") for line in lines))


def episodes(n: int, seed: int, cast: Cast) -> list[Episode]:
    """Every question once before one comes again."""
    rng = random.Random(f"everyday/{seed}")
    asked: list[tuple[str, str]] = []
    while len(asked) < 2 * n:
        asked += rng.sample(questions(), len(questions()))
    return [_episode(asked[2 * i : 2 * i + 2], seed * 1000 + i, cast, rng) for i in range(n)]


def _episode(asked: Sequence[tuple[str, str]], seed: int, cast: Cast, rng: random.Random) -> Episode:
    (voice,) = cast.voices(rng, 1)
    placed, says, expected, now = [], [], [], FIRST_MS
    for question, answer in asked:
        placed.append(Placed(cast.clip(question, voice), now))
        heard = placed[-1].word_end(-1)
        now = heard + HEARD_MS + LEAD_TICKS * TICK_MS + ANSWER_MS
        says.append(Say(answer.split(EITHER)[0], react(heard)))
        expected.append(Expected("answer", react(heard), now, answer))
    ticks = -(-now // TICK_MS)
    return Episode("everyday", seed, ticks, tuple(placed), (), tuple(says), (), tuple(expected))


def answered(said: Sequence[Word], wanted: Expected) -> bool:
    words = [text for word in within(said, wanted) for text in normalise(word.text)]
    wordings = [normalise(one) for one in wanted.text.split(EITHER)]
    return any(words[i : i + len(w)] == w for w in wordings for i in range(len(words)))


def score(runs: Sequence[Run], seed: int = 0) -> tuple[Measure, ...]:
    """Of a case: right answers / (questions + what was said where no answer was due)."""
    right = [[answered(r.played.said, e) for e in r.episode.expected] for r in runs]
    begun = [[within(r.played.said, e)[:1] for e in r.episode.expected] for r in runs]
    late = [
        word.start_ms - e.start_ms
        for run, some in zip(runs, begun, strict=True)
        for e, first in zip(run.episode.expected, some, strict=True)
        for word in first
    ]
    due = [{w for e in r.episode.expected for w in within(r.played.said, e)} for r in runs]
    false = [
        false_count([w for w in r.played.said if w not in mine]) for r, mine in zip(runs, due, strict=True)
    ]
    return (
        mean("score", [sum(some) / (len(some) + f) for some, f in zip(right, false, strict=True)], seed=seed),
        share("right", [one for some in right for one in some]),
        share("answered", [bool(one) for some in begun for one in some]),
        *percentiles("latency", late),
        ratio("false", false, [r.minutes for r in runs], "/min", seed),
    )

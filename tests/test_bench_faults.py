"""Wrong on purpose: what a perfect model does, spoilt in one way at a time, lowers the suites that are about that.

Every fault names the suites whose score falls; the score of every other suite must stay what it was.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from microturn.bench import baselines
from microturn.bench.cast import Cast
from microturn.bench.evaluate import row
from microturn.bench.metrics import Heard, Played, Run, normalise, utterances
from microturn.bench.suites import SUITES, make_cases
from microturn.bench.watching import numbers
from microturn.bench.waves import Case
from microturn.clock import TICK_MS
from microturn.scenes.episode import Clip, Episode, Script, Word
from microturn.scenes.words import number
from microturn.streams import Decision
from test_scenes import timed

MATRIX = (
    "timespeak", "cuespeak", "interrupt", "backchannel", "pause", "turns", "listening", "false", "hear",
    "translate", "weave", "repcount", "videoqa", "charades", "commentary", "codeswitch", "tone", "instructions",
    "recall", "look",
)  # fmt: skip
# few of their questions are about numbers or have a reply; 4 of the others
CASES = {"videoqa": 32, "interrupt": 12}
Fault = Callable[[Episode, Played], Played]


class Reader(Cast):
    """Nobody speaks: words have times and no sound, which is all that a score looks at."""

    def __init__(self) -> None:
        self.notes = []

    def clips(self, script: Script, rng: random.Random) -> list[Clip]:
        clips = [timed(line, rng) for line in script.lines]
        return [replace(clip, samples=np.zeros(160 * len(clip.mel), np.float32)) for clip in clips]


@cache
def perfect(name: str) -> tuple[list[Case], list[Played], float]:
    cases = make_cases(SUITES[name], CASES.get(name, 4), 7, Reader())
    played = baselines.oracle(cases)
    return cases, played, score(name, cases, played)


def score(name: str, cases: list[Case], played: list[Played]) -> float:
    runs = [Run(case.episode, done) for case, done in zip(cases, played, strict=True)]
    value = SUITES[name].score(runs, 0)[0].value
    assert value is not None
    return value


def said(played: Played, words: Iterator[Word] | list[Word]) -> Played:
    return replace(played, said=tuple(sorted(words, key=lambda w: w.start_ms)))


def moved(word: Word, ms: int) -> Word:
    return Word(word.text, word.start_ms + ms, word.end_ms + ms)


def windows(episode: Episode, kind: str) -> list[tuple[int, int, str]]:
    return [(e.start_ms, e.end_ms, e.text) for e in episode.expected if e.kind == kind]


# ---- the faults ----


def shifted_ticks(episode: Episode, played: Played) -> Played:
    """The clock of its mouth is off by five ticks."""
    return said(played, [moved(w, 1000) for w in played.said])


def dropped_speech(episode: Episode, played: Played) -> Played:
    """What it would say over the user is lost."""
    user = [(p.at_ms, p.end_ms) for p in episode.placed if p.who == 0]
    return said(played, [w for w in played.said if not any(a <= w.start_ms < b for a, b in user)])


def after_the_window(episode: Episode, played: Played) -> Played:
    """Who paused to think is answered ten seconds late."""
    asked = windows(episode, "reply") if windows(episode, "pause") else []
    return said(
        played, [moved(w, 10_000 * any(a <= w.start_ms <= b for a, b, _ in asked)) for w in played.said]
    )


def echo(episode: Episode, played: Played) -> Played:
    """What others say comes out of it again."""
    others = [
        Word(w.text.partition(":")[2] or w.text, p.at_ms + w.start_ms + 400, p.at_ms + w.end_ms + 400)
        for p in episode.placed
        if p.who != 0
        for w in p.clip.words
    ]
    return said(played, [*played.said, *others])


def doubled_counts(episode: Episode, played: Played) -> Played:
    """What it counts as it happens is doubled: one, four, six, eight."""
    alone = [u[0] for u in utterances(played.said) if len(u) == 1]
    at = {ms: number(2 * n) for rank, (ms, n) in enumerate(numbers(alone), 1) if n == rank > 1}
    return said(played, [Word(at.get(w.start_ms, w.text), w.start_ms, w.end_ms) for w in played.said])


def never_stops(episode: Episode, played: Played) -> Played:
    """It goes on with what it was stopped in."""
    rest = [
        Word(text, start + 300 * i, start + 300 * i + 200)
        for start, end, what in windows(episode, "halt")
        for i, text in enumerate(normalise(what))
        if start + 300 * i < end
    ]
    return said(played, [*played.said, *rest])


def gives_way_to_uh_huh(episode: Episode, played: Played) -> Played:
    """It breaks off whenever somebody makes a sound."""
    broken = windows(episode, "carry_on")
    return said(played, [w for w in played.said if not any(a - 200 <= w.start_ms < b for a, b, _ in broken)])


def takes_over_in_pauses(episode: Episode, played: Played) -> Played:
    """Half a second of silence is the end of a turn to it."""
    early = [Word("okay", a + 100, a + 300) for a, _, _ in windows(episode, "pause")]
    return said(played, [*played.said, *early])


def long_winded_listener(episode: Episode, played: Played) -> Played:
    """Its signs of attention are speeches."""
    ends = windows(episode, "clause_end")
    long = [
        Word("really", w.start_ms + 200 * i, w.end_ms + 200 * i)
        for w in played.said
        if any(a <= w.start_ms < b for a, b, _ in ends)
        for i in range(1, 8)
    ]
    return said(played, [*played.said, *long])


def speaks_unasked(episode: Episode, played: Played) -> Played:
    """It answers where nobody asked."""
    middles = [(a + b) // 2 for a, b, _ in windows(episode, "quiet")]
    return said(played, [*played.said, *(Word("yes", ms, ms + 200) for ms in middles)])


def mishears(episode: Episode, played: Played) -> Played:
    """Every third word of its transcript is another."""
    heard = (Heard("what", h.tick) if i % 3 == 0 else h for i, h in enumerate(played.heard))
    return replace(played, heard=tuple(heard))


def never_delegates(episode: Episode, played: Played) -> Played:
    return replace(played, decided=())


def delegates_everything(episode: Episode, played: Played) -> Played:
    more = tuple((tick, Decision.DELEGATE) for tick in range(0, episode.ticks, 10))
    return replace(played, decided=(*played.decided, *more))


def begins_where_it_ends(episode: Episode, played: Played) -> Played:
    """The first and the last mark of an activity are told the wrong way round."""
    marks = (
        list(dict.fromkeys(t for _, _, t in windows(episode, "say"))) if episode.scene == "charades" else []
    )
    other = dict(zip(marks, reversed(marks), strict=True))
    return said(played, [Word(other.get(w.text, w.text), w.start_ms, w.end_ms) for w in played.said])


def says_it_again(episode: Episode, played: Played) -> Played:
    """Everything once more, 1.6 s later."""
    return said(played, [*played.said, *(moved(w, 1600) for w in played.said)])


def loses_count(episode: Episode, played: Played) -> Played:
    """It misses the first two repetitions."""
    at = {ms: number(max(0, n - 2)) for ms, n in numbers(played.said)}
    if episode.scene != "reps":
        return played
    return said(played, [Word(at.get(w.start_ms, w.text), w.start_ms, w.end_ms) for w in played.said])


FAULTS: dict[Fault, str] = {
    shifted_ticks: "timespeak cuespeak interrupt backchannel listening translate charades commentary "
    "codeswitch recall",
    dropped_speech: "timespeak cuespeak backchannel translate videoqa charades commentary codeswitch recall",
    after_the_window: "pause turns listening false weave",
    echo: "backchannel false",
    doubled_counts: "timespeak repcount",
    never_stops: "timespeak cuespeak interrupt",
    gives_way_to_uh_huh: "backchannel",
    takes_over_in_pauses: "pause turns listening weave",
    long_winded_listener: "listening",
    speaks_unasked: "turns false instructions",
    mishears: "hear",
    never_delegates: "weave",
    delegates_everything: "weave",
    begins_where_it_ends: "charades",
    says_it_again: "timespeak cuespeak interrupt backchannel turns listening translate weave videoqa commentary "
    "codeswitch tone instructions recall look",
    loses_count: "repcount",
}


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_a_fault_lowers_the_suites_that_are_about_it_and_no_other(fault: Fault) -> None:
    lowered = set()
    for name in MATRIX:
        cases, played, best = perfect(name)
        spoilt = [fault(case.episode, done) for case, done in zip(cases, played, strict=True)]
        if (now := score(name, cases, spoilt)) != best:
            assert now < best - 0.01, f"{name}: {now} of {best}"
            lowered.add(name)
    assert lowered == set(FAULTS[fault].split())


@pytest.mark.parametrize("ticks", [1, 2])
@pytest.mark.parametrize("name", MATRIX)
def test_a_small_shift_shows_in_the_bias(name: str, ticks: int) -> None:
    """Windows forgive it; the figure beside the score does not."""
    cases, played, _ = perfect(name)
    shifted = [
        replace(
            said(done, [moved(w, ticks * TICK_MS) for w in done.said]),
            heard=tuple(Heard(h.text, h.tick + ticks) for h in done.heard),
        )
        for done in played
    ]
    assert bias(name, cases, played) == 0
    assert bias(name, cases, shifted) == ticks * TICK_MS


def bias(name: str, cases: list[Case], played: list[Played]) -> float | None:
    (found,) = (m for m in row(SUITES[name], "model", cases, played, 0).measures if m.name.endswith("_bias"))
    return found.value

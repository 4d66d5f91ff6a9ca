"""Scores of the scenes of language: translating, orders, manner, delegated work, instructions, memory.

As in scores.py a case is worth what was fulfilled / (what was wanted + what was said or done beside it).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby

from microturn.bench.intervals import Measure, mean, percentiles, ratio, share
from microturn.bench.metrics import Matches, Run, false_count, normalise, within
from microturn.clock import start_ms
from microturn.scenes.delegate import CALM_MS, read_ticks
from microturn.scenes.episode import Expected
from microturn.scenes.orders import SLOTS, Order
from microturn.scenes.recall import AGES_S
from microturn.scenes.tone import NAMED
from microturn.streams import Channel, Decision

DECISIONS = ("delegate", "cancel")
TAKEN_UP_MS = 4_000  # after a result was read, what is said is about it
NEVER_MS = 1 << 40


def _met(found: Sequence[Matches], which: Callable[[Expected], bool]) -> list[bool]:
    return [met for m in found for met in m.met(which)]


def translate(runs: Sequence[Run], seed: int = 0) -> tuple[Measure, ...]:
    """Counted by words. Lag runs from the end of a word to the start of its translation."""
    found = [run.match(cues=True) for run in runs]
    hits, stray = [len(m.hits) for m in found], [len(m.stray) for m in found]
    wanted = [len(m.hits) + len(m.missed) for m in found]
    lags = [h.late_ms for m in found for h in m.hits]
    over = [r.user_speaks(h.at_ms) for r, m in zip(runs, found, strict=True) for h in m.hits]
    return (
        mean("score", [h / max(1, w + s) for h, w, s in zip(hits, wanted, stray, strict=True)], seed=seed),
        ratio("precision", hits, [h + s for h, s in zip(hits, stray, strict=True)], seed=seed),
        ratio("recall", hits, wanted, seed=seed),
        *percentiles("lag", lags),
        share("over_the_user", over),
    )


def orders(runs: Sequence[Run], seed: int = 0) -> tuple[Measure, ...]:
    """Score = accepted: every slot of the last read-back is right. Cases in noise say so in their scene's name."""
    accepted: list[bool] = []
    slots: dict[str, list[bool]] = {slot: [] for slot in SLOTS}
    for run in runs:
        (wanted,) = (Order.parse(e.text) for e in run.episode.expected if e.kind == "order")
        said = Order.parse(" ".join(normalise(" ".join(word.text for word in run.played.said))))
        accepted.append(said == wanted)
        for slot, right in slots.items():
            right.append(said is not None and getattr(said, slot) == getattr(wanted, slot))
    places = dict.fromkeys(run.episode.scene for run in runs)
    return (
        share("score", accepted),
        *(
            share(
                f"{place}_accepted",
                [a for a, r in zip(accepted, runs, strict=True) if r.episode.scene == place],
            )
            for place in places
        ),
        *(share(slot, right) for slot, right in slots.items()),
    )


def tone(runs: Sequence[Run], seed: int = 0) -> tuple[Measure, ...]:
    found = [run.match() for run in runs]
    return (
        mean("score", [m.accuracy() for m in found], seed=seed),
        share("named", _met(found, lambda e: e.text in NAMED)),
        share("adapted", _met(found, lambda e: e.text not in NAMED)),
    )


def instructions(runs: Sequence[Run], seed: int = 0) -> tuple[Measure, ...]:
    found = [run.match() for run in runs]
    broken = [bool(within(m.stray, e)) for r, m in zip(runs, found, strict=True) for e in r.of("quiet")]
    return (
        mean("score", [m.accuracy() for m in found], seed=seed),
        share("answered", _met(found, lambda e: True)),
        share("spoke_where_silence_was_asked", broken),
    )


def recall(runs: Sequence[Run], seed: int = 0) -> tuple[Measure, ...]:
    """What was told and is needed, also by age, with the nearest below it. Nothing else that is asked is counted."""
    found: list[Matches] = []
    for run in runs:
        needed, m = {e.start_ms for e in run.of("need")}, run.match()
        hits = tuple(h for h in m.hits if h.expected.start_ms in needed)
        missed = tuple(e for e in m.missed if e.start_ms in needed)
        found.append(Matches(hits, missed, m.stray))
    by_age: dict[str, list[bool]] = {
        name: [] for name in ("under_1_min", *(f"{s / 60:.0f}_min" for s in AGES_S))
    }
    for m in found:
        for expected, hit in [*((h.expected, True) for h in m.hits), *((e, False) for e in m.missed)]:
            by_age[list(by_age)[sum(expected.start_ms >= 1000 * age for age in AGES_S)]].append(hit)
    return (
        mean("score", [m.accuracy() for m in found], seed=seed),
        *(share(age, hits) for age, hits in by_age.items() if hits),
    )


def weave(runs: Sequence[Run], seed: int = 0) -> tuple[Measure, ...]:
    """Delegations and cancellations count like things said; speaking into what is to be let through is false.

    `arrival_to_speech` runs from when a result begins to be read to the first word that follows, whatever it is; of
    results that met silence of both and were not called off. `taken_up` is the share of them that a word followed
    before `TAKEN_UP_MS` had passed since it was read whole.
    """
    found = [run.match() for run in runs]
    made = [_decided(run) for run in runs]
    worth: list[float] = []
    for run, m, (hits, missed, extra) in zip(runs, found, made, strict=True):
        rude = sum(bool(within(run.played.said, e)) for e in run.of("pause"))
        wanted = len(m.hits) + len(m.missed) + hits + missed
        worth.append((len(m.hits) + hits) / max(1, wanted + false_count(m.stray) + extra + rude))
    over = [r.user_speaks(w.start_ms) for r in runs for w in r.played.said]
    kept = [not within(m.stray, e) for r, m in zip(runs, found, strict=True) for e in r.of("quiet")]
    minutes = [run.minutes for run in runs]
    results = [result for run in runs for result in _results(run)]
    taken_up = [(arrived, at) for arrived, at in results if at is not None]
    return (
        mean("score", worth, seed=seed),
        ratio("decided", [h for h, _, _ in made], [h + m for h, m, _ in made], seed=seed),
        ratio("false_decisions", [x for _, _, x in made], minutes, "/min", seed),
        share("answered_and_woven", _met(found, lambda e: e.kind == "reply")),
        share("over_the_user", over),
        share("silent_after_cancel", kept),
        share("taken_up", [at is not None for *_, at in results]),
        *percentiles("arrival_to_speech", [at - arrived for arrived, at in taken_up]),
    )


def _results(run: Run) -> Iterator[tuple[int, int | None]]:
    """When each result that met silence arrived, and was taken up, if it was."""
    reads = [read for read in run.episode.reads if read.channel is Channel.BACKGROUND]
    for _, group in groupby(enumerate(reads), key=lambda item: item[1].tick - item[0]):  # in successive ticks
        texts = [read for _, read in group]
        arrived = start_ms(texts[0].tick)
        read_ms = start_ms(texts[0].tick + read_ticks([read.text for read in texts]))
        next_word = min((w.start_ms for w in run.played.said if w.start_ms >= arrived), default=NEVER_MS)
        until = max(read_ms, min(next_word, read_ms + TAKEN_UP_MS))
        spans = [(p.at_ms, p.end_ms) for p in run.episode.placed if p.who == 0]
        spans += [(w.start_ms, w.end_ms) for w in run.played.said if w.start_ms < arrived]
        off = any(e.start_ms <= arrived < e.end_ms for e in run.of("quiet"))
        if not off and not any(a < until and arrived - CALM_MS < b for a, b in spans):
            yield arrived, next_word if arrived <= next_word <= until else None


def _decided(run: Run) -> tuple[int, int, int]:
    """Decisions to delegate or to cancel: made in time, missed, made for no reason."""
    left = list(run.played.decided)
    hits = missed = 0
    for e in run.episode.expected:
        if e.kind in DECISIONS:
            which = Decision[e.kind.upper()]
            mine = [
                d
                for d in left
                if d[1] is which and e.start_ms < start_ms(d[0] + 1) and start_ms(d[0]) < e.end_ms
            ]
            hits, missed = hits + bool(mine), missed + (not mine)
            if mine:
                left.remove(mine[0])
    return hits, missed, len(left)

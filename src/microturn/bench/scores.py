"""What each suite counts: runs in, measures out. The first is always `score`, 0 … 1, higher is better.

Every score is built so that neither silence nor talking all the time earns anything: what is wanted must
happen, and what happens beside it costs. Where two figures pull in opposite directions, the score needs both:
patience in pauses is worth nothing without answers, a quick stop nothing without having spoken.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from microturn.bench.intervals import Measure, mean, median, percentiles, product, ratio, share
from microturn.bench.metrics import (
    Hit,
    Run,
    carried_on,
    cause_end,
    content,
    distance,
    false_count,
    from_user,
    in_tick,
    last_heard,
    minutes_of,
    nods,
    spoken,
    stopped,
    transcript_lateness,
    window,
    within,
)
from microturn.bench.published import took_turn

Score = Callable[[Sequence[Run], int], tuple[Measure, ...]]
NODS_LOW, NODS_HIGH = 2.0, 8.0  # backchannels a minute that people find natural
SAME_CAUSE_MS = 20


# ---- speaking on time and on cue ----


def timespeak(runs: Sequence[Run], seed: int = 0) -> tuple[Measure, ...]:
    return _timed(runs, False, ("±200", "±800"), seed)


def cuespeak(runs: Sequence[Run], seed: int = 0) -> tuple[Measure, ...]:
    return _timed(runs, True, ("400ms", "1600ms"), seed)


def _timed(runs: Sequence[Run], cues: bool, names: tuple[str, str], seed: int) -> tuple[Measure, ...]:
    """Macro accuracy: the mean over cases of fulfilled / (expected + false utterances)."""
    half, plain, double = ([r.match(scale, cues) for r in runs] for scale in (0.5, 1.0, 2.0))
    hits = [[h for h in m.hits if h.expected.kind == "say"] for m in plain]
    wanted = [len(r.of("say")) for r in runs]
    counts = [len(h) for h in hits]
    false = [false_count(m.stray) for m in plain]
    wide = [h for m in double for h in m.hits if h.expected.kind == "say"]
    spoke = [(r, m) for r, m in zip(runs, plain, strict=True) if r.played.said]
    stops = [stopped(r, e, m.stray).halted for r, m in spoke for e in r.of("halt")]
    measures = [
        mean("score", [m.accuracy("say") for m in plain], seed=seed),
        ratio("precision", counts, [c + f for c, f in zip(counts, false, strict=True)], seed=seed),
        ratio("recall", counts, wanted, seed=seed),
        mean(f"score_{names[0]}", [m.accuracy("say") for m in half], seed=seed),
        mean(f"score_{names[1]}", [m.accuracy("say") for m in double], seed=seed),
        *percentiles("timing_error", [_late(h, cues) for h in wide]),
        share("stop_obeyed", stops),
        ratio("false", false, [r.minutes for r in runs], "/min", seed),
    ]
    if cues:
        over = [r.user_speaks(h.at_ms) for r, found in zip(runs, hits, strict=True) for h in found]
        measures.append(share("over_the_user", over))
    return tuple(measures)


def _late(hit: Hit, cues: bool) -> float:
    """From the moment it was due, ms: never negative."""
    low, high = window(hit.expected)
    return hit.at_ms - low if cues else abs(hit.at_ms - (low + high) / 2)


# ---- the floor ----


def interrupt(runs: Sequence[Run], seed: int = 0) -> tuple[Measure, ...]:
    """A halt counts when something was being said, it stopped, and only the right new content followed."""
    right, going, halted, answered = [], [], [], []
    silence, audible, response = [], [], []
    for run in runs:
        matches = run.match()
        for halt in run.of("halt"):
            stop = stopped(run, halt, matches.stray)
            cause = cause_end(run.episode, halt.start_ms)
            mine = [e for e in run.of("reply") if e.start_ms >= cause - SAME_CAUSE_MS][:1]
            found = [h for h in matches.hits if h.expected in mine]
            clean = not within(matches.stray, halt)
            right.append(stop.going and stop.halted and clean and len(found) == len(mine))
            going.append(stop.going)
            if stop.going:
                halted.append(stop.halted)
            if mine:
                answered.append(len(found) == len(mine))
            if stop.going and stop.latency_ms is not None:
                silence.append(stop.latency_ms)
            new = [w.start_ms for w in run.played.said if w.start_ms >= halt.start_ms]
            until = min(new, default=halt.end_ms)
            heard = last_heard(run.played.speech, cause, until)
            if stop.going and stop.halted and heard is not None:
                audible.append(heard)
            response += [h.late_ms for h in found]
    return (
        share("score", right),
        share("was_speaking", going),
        share("halted", halted),
        share("answered", answered),
        *percentiles("stop_latency", silence),
        *percentiles("audible_stop", audible),
        *percentiles("response_latency", response),
    )


def backchannel(runs: Sequence[Run], seed: int = 0) -> tuple[Measure, ...]:
    kept = [carried_on(e, r.played.said, content(r.episode, e)) for r in runs for e in r.of("carry_on")]
    return (share("score", kept),)


def echo(runs: Sequence[Run], seed: int = 0) -> tuple[Measure, ...]:
    """As above while its own voice comes back. Cases say in their scene's name how loud."""
    kept = [[carried_on(e, r.played.said, content(r.episode, e)) for e in r.of("carry_on")] for r in runs]
    places = dict.fromkeys(run.episode.scene for run in runs)
    minutes = [minutes_of(r.of("carry_on")) for r in runs]
    false = [false_count(r.match().stray) for r in runs]
    return (
        share("score", [k for some in kept for k in some]),
        *(
            share(
                place,
                [k for r, some in zip(runs, kept, strict=True) if r.episode.scene == place for k in some],
            )
            for place in places
        ),
        ratio("self_interruptions", [len(some) - sum(some) for some in kept], minutes, "/min", seed),
        ratio("false", false, [r.minutes for r in runs], "/min", seed),
    )


def pause(runs: Sequence[Run], seed: int = 0) -> tuple[Measure, ...]:
    """A case is right when no pause was taken over and every true end was answered rightly.

    Any word in a pause is a takeover; `takeover_fdb` needs a turn, as Full-Duplex-Bench v1 has it.
    """
    right, taken, turn, answered, latency = [], [], [], [], []
    for run in runs:
        matches = run.match()
        replies = [h for h in matches.hits if h.expected.kind == "reply"]
        inside = [within(run.played.said, e) for e in run.of("pause")]
        mine = [bool(words) for words in inside]
        taken += mine
        turn += [took_turn(words) for words in inside]
        answered += [True] * len(replies) + [False] * (len(run.of("reply")) - len(replies))
        latency += [h.late_ms for h in replies]
        right.append(not any(mine) and len(replies) == len(run.of("reply")))
    return (
        share("score", right),
        share("takeover", taken),
        share("takeover_fdb", turn),
        share("answered", answered),
        *percentiles("latency", latency),
    )


def turns(runs: Sequence[Run], seed: int = 0) -> tuple[Measure, ...]:
    """Macro accuracy of the answers; latency counts whatever is said first in reply, right or wrong."""
    found = [r.match() for r in runs]
    latency, begun = [], []
    for run in runs:
        for e in run.of("reply"):
            first = next((w.start_ms for w in within(run.played.said, e)), None)
            begun.append(first is not None)
            latency += [] if first is None else [first - e.start_ms]
    false = [false_count(m.stray) for m in found]
    return (
        mean("score", [m.accuracy("reply") for m in found], seed=seed),
        share("answered", begun),
        *percentiles("latency", latency),
        ratio("false", false, [r.minutes for r in runs], "/min", seed),
    )


def listening(runs: Sequence[Run], seed: int = 0) -> tuple[Measure, ...]:
    """Score of a case: share placed at clause ends × (rate within 2–8 a minute) × none took the floor."""
    found = [nods(r) for r in runs]
    scores = []
    for n in found:
        rate = n.count / n.minutes
        natural = min(1.0, rate / NODS_LOW) * min(1.0, NODS_HIGH / max(rate, NODS_HIGH))
        scores.append(n.placed / n.count * natural * (n.floor == 0) if n.count else 0.0)
    counts = [n.count for n in found]
    return (
        mean("score", scores, seed=seed),
        ratio("backchannels", counts, [n.minutes for n in found], "/min", seed),
        ratio("at_clause_ends", [n.placed for n in found], counts, seed=seed),
        ratio("took_the_floor", [n.floor for n in found], counts, seed=seed),
    )


def false_replies(runs: Sequence[Run], seed: int = 0) -> tuple[Measure, ...]:
    """Silence where nobody asked × answers where somebody did: the questions among the cases see to it that
    silence alone is no virtue."""
    quiet = [r for r in runs if not r.of("reply")]
    asked = [r for r in runs if r.of("reply")]
    false = [sum(false_count(within(r.match().stray, e)) for e in r.of("quiet")) for r in quiet]
    silent = share("silent", [f == 0 for f in false])
    answered = share("answered", [met for r in asked for met in r.match().met(lambda e: e.kind == "reply")])
    return (
        product("score", silent, answered),
        ratio("false", false, [minutes_of(r.of("quiet")) for r in quiet], "/min", seed),
        silent,
        answered,
    )


# ---- hearing ----


def hear(runs: Sequence[Run], seed: int = 0) -> tuple[Measure, ...]:
    """Score = 1 − WER, not below 0."""
    errors, words, right, extra = _transcript(runs)
    wer = ratio("wer", errors, words, seed=seed)
    return (
        _one_minus("score", wer),
        wer,
        ratio("in_tick", right, words, seed=seed),
        ratio("insertions", extra, words, seed=seed),
        _transcript_bias(runs),
    )


def read(runs: Sequence[Run], seed: int = 0) -> tuple[Measure, ...]:
    false = [false_count(r.match().stray) for r in runs]
    errors, words, _, _ = _transcript(runs)
    wer = ratio("wer", errors, words, seed=seed)
    return (
        _one_minus("score", wer),
        wer,
        ratio("false", false, [r.minutes for r in runs], "/min", seed),
    )


def digits(runs: Sequence[Run], seed: int = 0) -> tuple[Measure, ...]:
    """Score = words in the right tick ± 1 / (words said + insertions), so that guessing costs."""
    errors, words, right, extra = _transcript(runs)
    asked = [r for r in runs if r.of("say")]
    found = [r.match(cues=True) for r in asked]
    return (
        ratio("score", right, [w + x for w, x in zip(words, extra, strict=True)], seed=seed),
        ratio("in_tick", right, words, seed=seed),
        ratio("insertions", extra, words, seed=seed),
        ratio("wer", errors, words, seed=seed),
        mean("as_cues", [m.accuracy("say") for m in found], seed=seed),
        _transcript_bias(runs),
    )


def _transcript_bias(runs: Sequence[Run]) -> Measure:
    return median("transcript_bias", [ms for run in runs for ms in transcript_lateness(run)])


def _transcript(runs: Sequence[Run]) -> tuple[list[int], list[int], list[int], list[int]]:
    """For each case: word errors, words said, words in the right tick ± 1, insertions."""
    rows = []
    for run in runs:
        truth, found = spoken(run.episode), from_user(run)
        errors = distance([h.text for h in truth], [h.text for h in found])
        rows.append((errors, len(truth), *in_tick(truth, found)))
    columns = [list(column) for column in zip(*rows, strict=True)] or [[], [], [], []]
    return columns[0], columns[1], columns[2], columns[3]


def _one_minus(name: str, wer: Measure) -> Measure:
    if wer.value is None:
        return Measure(name, None)
    low, high = max(0.0, 1 - (wer.high or 0.0)), max(0.0, 1 - (wer.low or 0.0))
    return Measure(name, max(0.0, 1 - wer.value), "", low, high, wer.n)

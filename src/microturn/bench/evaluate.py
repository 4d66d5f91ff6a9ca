"""One suite, run and scored: a model or another system, and beside it who says nothing, who never stops, a harness …

Everybody is given the same cases. Those that are heard are scored by the words that they give out, and once more by
ear, where that is asked for: by what Whisper hears of their sound.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from microturn.bench import whisper
from microturn.bench.baselines import (
    ALWAYS,
    NEVER,
    ORACLE,
    RANDOM,
    always_speak,
    never_speak,
    oracle,
    random_weights,
)
from microturn.bench.cast import Cast
from microturn.bench.drive import drive
from microturn.bench.intervals import Measure, mean, median
from microturn.bench.metrics import Heard, Played, Run, lateness
from microturn.bench.suites import LOSS, LOST, SUITES, Suite, make_cases, make_lossy, reserved
from microturn.bench.waves import Case, Unfit, voices
from microturn.clock import TICKS_PER_SECOND
from microturn.model.interaction import Interaction

if TYPE_CHECKING:
    from microturn.bench.harness import Harness
    from microturn.bench.kept import Cases
    from microturn.bench.targets import Target

MINUTE = 60 * TICKS_PER_SECOND
LOSS_SUITES = ("timespeak", "cuespeak", "interrupt", "turns", "hear")
BY_EAR = " by ear"  # after a player's name: scored from its sound
BY_WORDS = "by words alone: what was lost is not scored by ear"
PATIENCE = {RANDOM: 6, "harness": 2}  # minutes of the longest case: an hour of chance tells nothing more
Play = Callable[[Sequence[Case]], list[Played]]
Progress = Callable[[int], None]


@dataclass(frozen=True)
class Row:
    """What one player got: the model or a baseline."""

    name: str
    measures: tuple[Measure, ...]

    @property
    def score(self) -> Measure:
        return self.measures[0]


@dataclass(frozen=True)
class Result:
    suite: str
    n: int
    seed: int
    minutes: float  # of sound
    voices: tuple[str, ...]
    rows: tuple[Row, ...]  # the model first
    notes: tuple[str, ...] = ()

    @property
    def score(self) -> float:
        """The model's; 0 where nothing could be measured."""
        return self.rows[0].score.value or 0.0

    def of(self, player: str) -> tuple[list[Row], list[str]]:
        """Rows of one player, and what is to be said of them."""
        return (
            [row for row in self.rows if row.name in (player, player + BY_EAR)],
            [note for note in self.notes if note.startswith(f"{player}: ")],
        )


def evaluate(
    interaction: Interaction | None,
    suite: str | Suite,
    n: int,
    seed: int,
    *,
    cast: Cast | None = None,
    baselines: bool = False,
    progress: Progress | None = None,
    target: Target | None = None,
    keep: Cases | None = None,
    sound: bool = False,
    harnesses: Sequence[Harness] = (),
    before: Result | None = None,
) -> Result:
    """Run one suite, on a target if there is one. Without baselines it is quick enough to be called while training.

    `keep` keeps what the first player and harnesses do with every case. With `sound`, or beside harnesses, who is
    heard is scored both ways. Of those beside the model, nobody is asked again who has rows in `before`, of the same
    cases.
    """
    if n < 1:
        raise ValueError("a suite needs at least one case")
    if isinstance(suite, str) and suite not in (*SUITES, LOSS):
        raise ValueError(f"no suite {suite!r}: use {', '.join((*SUITES, LOSS))} or all")
    players = Players(interaction, target, harnesses, baselines, seed, progress, keep, before)
    if suite == LOSS:
        found = _loss(n, seed, cast, players)
        return replace(found, notes=(BY_WORDS, *found.notes)) if sound else found
    chosen = SUITES[suite] if isinstance(suite, str) else suite
    cases = make_cases(chosen, n, seed, cast)
    rows: list[Row] = []
    notes: list[str] = []
    by_ear = sound or bool(harnesses and (interaction or target))
    for name, play in players.of(chosen.name).items():
        known, said = players.known(name)
        if known:
            rows, notes = rows + known, notes + said
            continue
        given = bearable(name, cases)
        if len(given) < len(cases):
            notes.append(f"{name}: only the {len(given)} cases of up to {_patience(name)} minutes")
        mine = [one for one in harnesses if one.name == name]
        notes += [f"{name}: {what}" for one in mine for what in (one.settings, *one.lacks(given))]
        played = play(given)
        if keep and not rows and not name.startswith("harness"):
            keep(chosen.name, given, played)
        rows.append(row(chosen, name, given, played, seed))
        if by_ear and any(tick is not None for done in played for tick in done.speech):
            rows.append(row(chosen, name + BY_EAR, given, [_by_ear(done) for done in played], seed))
    return _result(chosen.name, seed, cases, rows, cast, notes)


@dataclass(frozen=True)
class Players:
    """Who is given the cases: what is measured first, then what stands beside it."""

    interaction: Interaction | None
    target: Target | None
    harnesses: Sequence[Harness]
    baselines: bool
    seed: int
    progress: Progress | None
    keep: Cases | None
    before: Result | None

    def of(self, suite: str) -> dict[str, Play]:
        interaction, target, keep = self.interaction, self.target, self.keep
        players: dict[str, Play] = {}
        if target is not None:
            players["model"] = lambda cases: target.play(suite, cases, self.progress)
        elif interaction is not None:
            players["model"] = lambda cases: drive(interaction, cases, progress=self.progress)
        for one in self.harnesses:
            players[one.name] = in_real_time(one, suite, keep)
        if not self.baselines:
            return players
        players |= {NEVER: never_speak, ALWAYS: always_speak}
        if interaction is not None:
            players[RANDOM] = lambda cases: random_weights(cases, interaction.config, self.seed)
        players[ORACLE] = oracle
        if suite == "read" and whisper.installed():
            players["whisper-tiny.en"] = lambda cases: [_overheard(case) for case in cases]
        return players

    def known(self, name: str) -> tuple[list[Row], list[str]]:
        return self.before.of(name) if self.before and name != "model" else ([], [])


def in_real_time(harness: Harness, suite: str, keep: Cases | None) -> Play:
    """Every case once, if it can be kept: it takes as long as it takes."""
    if keep is None:
        return lambda cases: list(harness.play(cases))
    return lambda cases: keep.once(suite, cases, harness.name, harness.play)


def bearable(name: str, cases: Sequence[Case]) -> list[Case]:
    """Those that are not too long for whoever it is."""
    return [case for case in cases if case.episode.ticks <= _patience(name) * MINUTE]


def _patience(name: str) -> int:
    return PATIENCE.get(name, PATIENCE.get(name.partition("-")[0], 1 << 30))


def row(suite: Suite, name: str, cases: Sequence[Case], played: Sequence[Played], seed: int) -> Row:
    """What one player got, and how early or late it is on the whole."""
    runs = [Run(case.episode, done) for case, done in zip(cases, played, strict=True)]
    said = [ms for run in runs for ms in lateness(run)]
    timing = (median("timing_bias", said),) if any(run.episode.says for run in runs) else ()
    return Row(name, (*suite.score(runs, seed), *timing))


def _by_ear(played: Played) -> Played:
    return replace(played, said=whisper.overheard(played.speech, [word.text for word in played.said]))


def _overheard(case: Case) -> Played:
    """What Whisper hears in the whole recording. It has no ticks."""
    return Played(heard=tuple(Heard(word, 0) for word in whisper.transcribe(case.samples).split()))


def _result(
    suite: str,
    seed: int,
    cases: Sequence[Case],
    rows: Sequence[Row],
    cast: Cast | None,
    notes: Sequence[str] = (),
) -> Result:
    names = tuple(sorted({name for case in cases for name in voices(case.episode)}))
    minutes = sum(case.episode.ticks for case in cases) / MINUTE
    synthetic = suite == LOSS or (suite in SUITES and not SUITES[suite].people)
    silent = (cast or reserved()).notes if names and synthetic else []
    return Result(suite, len(cases), seed, minutes, names, tuple(rows), (*notes, *silent))


# ---- with losses ----


def _loss(n: int, seed: int, cast: Cast | None, players: Players) -> Result:
    """Some suites clean and with losses, from the same cases: score with losses / score without."""
    kept: dict[str, list[list[Measure]]] = {}  # by player: of each suite the whole, then each level
    every: list[Case] = []
    for name in LOSS_SUITES:
        suite = SUITES[name]
        clean = make_cases(suite, n, seed, cast)
        lossy = make_lossy(clean, seed)
        every += lossy
        again = players.of(f"{LOSS}/{name}")
        for player, play in players.of(name).items():
            if players.known(player)[0]:
                continue
            try:
                before = play(clean)
            except Unfit:  # others of these suites may be fit
                continue
            worth = row(suite, player, clean, before, seed).score.value  # of nothing, nothing can be lost
            after = again[player](lossy) if worth else before
            parts = [slice(None), *(slice(i, None, len(LOST)) for i in range(min(n, len(LOST))))]
            pairs = [
                [row(suite, player, clean[part], done[part], seed).score for done in (before, after)]
                for part in parts
            ]
            kept.setdefault(player, []).append([_kept(name, *both) for both in pairs])
    if players.target is not None and "model" not in kept:
        raise Unfit(f"{LOSS} needs suites of which {players.target.name} carries none")
    rows: list[Row] = []
    notes = [f"{one.name}: {one.settings}" for one in players.harnesses if one.name in kept]
    for player in players.of(LOSS):
        if player not in kept:
            known, told = players.known(player)
            rows, notes = rows + known, notes + told
            continue
        whole, *by_level = ([m.value or 0.0 for m in column] for column in zip(*kept[player], strict=True))
        lost = [mean(f"{level:.0%}_lost", v, seed=seed) for level, v in zip(LOST, by_level, strict=False)]
        first = [some[0] for some in kept[player]]
        rows.append(Row(player, (mean("score", whole, seed=seed), *first, *lost)))
    return _result(LOSS, seed, every, rows, cast, notes)


def _kept(name: str, before: Measure, after: Measure) -> Measure:
    """How much of the score is left. Nothing is left of nothing."""
    if not before.value or after.value is None:
        return Measure(name, 0.0, n=before.n)
    return Measure(name, min(1.0, after.value / before.value), n=before.n)

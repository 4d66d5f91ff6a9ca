"""The suites by name: which cases they are made of and which score counts them. `evaluate` runs one.

Cases come out of scenes under the split "test" (reserved wordings and pairs), in voices that training never
heard; they are composed as waveforms and run free-running. The same suite, number and seed is the same
sound to the sample while `bank/test` keeps the clips: spoken again, Piper's breathe a little differently.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import TYPE_CHECKING

from microturn.bench import language, people, scores, watching, whisper
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
from microturn.bench.cast import Cast, test_cast
from microturn.bench.drive import drive
from microturn.bench.intervals import Measure, mean, median
from microturn.bench.metrics import Heard, Played, Run, lateness
from microturn.bench.waves import CLEAN, Case, Surroundings, make_case, voices
from microturn.model.interaction import Interaction
from microturn.scenes import SCENES, write
from microturn.scenes.episode import Episode
from microturn.train.real import noise
from microturn.train.voices import voice_names

if TYPE_CHECKING:
    from microturn.bench.harness import Harness
    from microturn.bench.targets import Target

SECONDS = 24.0
SEED_STEP = 100_003  # suites with neighbouring seeds share no script
RANDOM_TICKS = (
    6 * 300
)  # of the longest case that random weights are given: an hour of chance tells nothing more
TRIES = 25  # composed for one that is wanted, before a suite gives up
NOISY = Surroundings(noise_snr_db=15.0)
KITCHEN_DB = (None, 24.0, 18.0, 12.0, 6.0)  # in turn; None is clean
LOST, BURST = (0.01, 0.05, 0.1, 0.2), 2.0  # shares of ticks, in turn; so many together
ECHO_DB, ECHO_MS = (-10, -20, -30), (20, 80, 200)  # in turn
RECALL_MINUTES = (1, 1, 1, 1, 5, 15, 5, 60)  # in turn
Wanted = Callable[[Episode], bool]
Make = Callable[[int, int, Cast], list[Case]]


@dataclass(frozen=True)
class Suite:
    name: str
    about: str
    make: Make
    score: scores.Score
    people: bool = False  # its voices are real people's: no synthesiser is needed


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


# ---- cases ----


def has(*kinds: str) -> Wanted:
    return lambda episode: set(kinds) <= {e.kind for e in episode.expected}


def _counted(episode: Episode) -> bool:
    """At least two repetitions aloud."""
    return {"one", "two"} <= {e.text for e in episode.expected if e.kind == "say"}


def lacks(*kinds: str) -> Wanted:
    return lambda episode: not set(kinds) & {e.kind for e in episode.expected}


def speaks(episode: Episode) -> bool:
    return bool(episode.says)


def episodes(
    scene: str, n: int, seed: int, cast: Cast, wanted: Wanted, seconds: float = SECONDS
) -> list[Episode]:
    """The first `n` of the scene's test episodes that hold what the suite is about."""
    found: list[Episode] = []
    for i in range(n * TRIES):
        script = write(scene, seed * SEED_STEP + i, "test", seconds)
        rng = random.Random(f"{scene} in {seed}, {i}")
        episode = SCENES[scene].compose(script, cast.clips(script, rng), rng, seconds)
        if wanted(episode):
            found.append(episode)
            if len(found) == n:
                return found
    raise ValueError(f"scene {scene} gave {len(found)} of {n} cases in {n * TRIES} tries")


def _cases(found: Sequence[Episode], seed: int, around: Surroundings = CLEAN) -> list[Case]:
    return [make_case(episode, seed * SEED_STEP + i, around) for i, episode in enumerate(found)]


def _scene(scene: str, wanted: Wanted, seconds: float = SECONDS) -> Make:
    return lambda n, seed, cast: _cases(episodes(scene, n, seed, cast, wanted, seconds), seed)


def _noisy() -> Surroundings:
    """A kitchen, where there is a recording of one."""
    try:
        return Surroundings(kitchen=noise("test"), kitchen_snr_db=10.0)
    except ValueError:
        return NOISY


def _false(n: int, seed: int, cast: Cast) -> list[Case]:
    """Strangers, silence and plain talk, half of it in noise; a third of it asks something, as a control."""
    asked = max(1, n // 3)
    quiet = episodes("nothing", max(1, n - asked), seed, cast, lacks("reply"))
    half = len(quiet) // 2
    questions = episodes("converse", asked, seed + 1, cast, has("reply"))
    return [
        *_cases(quiet[half:], seed),
        *_cases(quiet[:half], seed + 1, _noisy()),
        *_cases(questions, seed + 2),
    ]


def _digits(n: int, seed: int, cast: Cast | None) -> list[Case]:
    return _cases(people.digit_episodes(n, seed), seed)


def _read(n: int, seed: int, cast: Cast | None) -> list[Case]:
    return _cases(people.read_episodes(n, seed), seed)


def _orders(n: int, seed: int, cast: Cast | None) -> list[Case]:
    """Clean and over a kitchen at each of the distances in turn."""
    cases = []
    for i, episode in enumerate(people.order_episodes(n, seed)):
        snr = KITCHEN_DB[i % len(KITCHEN_DB)]
        around = CLEAN if snr is None else Surroundings(kitchen=noise("test"), kitchen_snr_db=snr)
        place = replace(episode, scene="clean" if snr is None else f"{snr:.0f}_db")
        cases.append(make_case(place, seed * SEED_STEP + i, around))
    return cases


def _echo(n: int, seed: int, cast: Cast) -> list[Case]:
    cases = []
    for i, episode in enumerate(episodes("interrupt", n, seed, cast, has("carry_on"))):
        db, ms = ECHO_DB[i % 3], ECHO_MS[i // 3 % 3]
        place = replace(episode, scene=f"minus_{-db}_db")
        cases.append(make_case(place, seed * SEED_STEP + i, Surroundings(echo_ms=ms, echo_db=db)))
    return cases


def _recall(n: int, seed: int, cast: Cast) -> list[Case]:
    """As long as what is told must be kept, and half a minute more."""
    minutes = [RECALL_MINUTES[i % len(RECALL_MINUTES)] for i in range(n)]
    found = (
        episodes("recall", 1, seed * SEED_STEP + i, cast, speaks, 60 * m + 25) for i, m in enumerate(minutes)
    )
    return _cases([episode for one in found for episode in one], seed)


SUITES: dict[str, Suite] = {
    suite.name: suite
    for suite in (
        Suite("timespeak", "what is due, on time", _scene("time", has("say")), scores.timespeak),
        Suite("cuespeak", "answers to cues, over the user", _scene("cue", has("say")), scores.cuespeak),
        Suite(
            "interrupt",
            "stopped or corrected in full flow",
            _scene("interrupt", has("halt")),
            scores.interrupt,
        ),
        Suite(
            "backchannel", "goes on through uh-huhs", _scene("interrupt", has("carry_on")), scores.backchannel
        ),
        Suite("echo", "the same while its own voice comes back", _echo, scores.echo),
        Suite(
            "pause", "waits while somebody thinks", _scene("converse", has("pause", "reply")), scores.pause
        ),
        Suite("turns", "ordinary questions", _scene("converse", has("reply")), scores.turns),
        Suite(
            "listening", "signs of attention", _scene("listening", has("clause_end"), 40.0), scores.listening
        ),
        Suite("false", "nobody asked", _false, scores.false_replies),
        Suite("hear", "everyday talk as transcript", _scene("hear", lambda e: True), scores.hear),
        Suite("digits", "a real person's digits", _digits, scores.digits, people=True),
        Suite("read", "real people's sentences", _read, scores.read, people=True),
        Suite("translate", "word by word as it is said", _scene("translate", speaks), language.translate),
        Suite("codeswitch", "foreign words in English", _scene("codeswitch", speaks), scores.cuespeak),
        Suite("orders", "real people's coffee, slot by slot", _orders, language.orders, people=True),
        Suite("tone", "whispering, shouting, who and where", _scene("tone", speaks), language.tone),
        Suite("weave", "what must be looked up", _scene("weave", has("delegate")), language.weave),
        Suite("instructions", "told how to be", _scene("instructions", has("reply")), language.instructions),
        Suite("recall", "told in minute 0, needed later", _recall, language.recall),
        Suite("repcount", "repetitions counted out", _scene("reps", _counted, 32.0), watching.repcount),
        Suite("videoqa", "says when it happens", _scene("notice", has("say")), watching.videoqa),
        Suite("charades", "when it begins and ends", _scene("charades", has("say")), watching.charades),
        Suite("commentary", "calls the game", _scene("commentary", has("say")), watching.commentary),
        Suite("look", "what is there to be seen", _scene("look", has("reply")), scores.turns),
    )
}
BY_EAR = " by ear"  # after a player's name: scored from its sound
RESERVED = "reserved"  # all the voices that are
LOSS = "loss"  # the main suites again with ticks lost
LOSS_SUITES = ("timespeak", "cuespeak", "interrupt", "turns", "hear")


@lru_cache(maxsize=1)
def _test_cast() -> Cast:
    return test_cast()


@lru_cache(maxsize=4)
def cast_of(names: str) -> Cast | None:
    """The named voices, of those that are reserved for tests; None for all of them."""
    if names == RESERVED:
        return None
    wanted = tuple(name for name in names.split(",") if name)
    if unknown := sorted(set(wanted) - set(voice_names("test"))):
        raise ValueError(f"no reserved voice {', '.join(unknown)}: use {', '.join(voice_names('test'))}")
    return Cast(wanted)


def make_cases(suite: Suite, n: int, seed: int, cast: Cast | None = None) -> list[Case]:
    """The suite's cases; voices are only looked for where it needs any."""
    if suite.people:
        return suite.make(n, seed, cast)  # type: ignore[arg-type]
    return suite.make(n, seed, cast or _test_cast())


# ---- running ----

Play = Callable[[Sequence[Case]], list[Played]]
Keep = Callable[["Suite", Sequence[Case], Sequence[Played], str], None]  # and who, if not the first


def evaluate(
    interaction: Interaction | None,
    suite: str | Suite,
    n: int,
    seed: int,
    *,
    cast: Cast | None = None,
    baselines: bool = False,
    progress: Callable[[int], None] | None = None,
    target: Target | None = None,
    keep: Keep | None = None,
    sound: bool = False,
    harnesses: Sequence[Harness] = (),
) -> Result:
    """Run one suite, on a target if there is one. Without baselines it is quick enough to be called while training.

    `keep` is shown every case and what the first player, and every other one that can be heard, did with it. With
    `sound` they are scored once more by what an independent ear hears of them. Harnesses stand beside the model, in
    real time; they and it are scored both ways.
    """
    if n < 1:
        raise ValueError("a suite needs at least one case")
    if isinstance(suite, str) and suite not in (*SUITES, LOSS):
        raise ValueError(f"no suite {suite!r}: use {', '.join((*SUITES, LOSS))} or all")
    if suite == LOSS:
        return _loss(
            n,
            seed,
            cast,
            lambda name: _players(name, interaction, target, baselines, harnesses, seed, progress),
        )
    chosen = SUITES[suite] if isinstance(suite, str) else suite
    cases = make_cases(chosen, n, seed, cast)
    rows: list[Row] = []
    notes: list[str] = []
    players = _players(chosen.name, interaction, target, baselines, harnesses, seed, progress)
    for name, play in players.items():
        given = [case for case in cases if name != RANDOM or case.episode.ticks <= RANDOM_TICKS]
        if len(given) < len(cases):
            notes.append(f"{name}: only the {len(given)} cases of up to {RANDOM_TICKS // 300} minutes")
        played = play(given)
        audible = any(tick is not None for done in played for tick in done.speech)
        if keep and (audible or not rows):
            keep(chosen, given, played, name if rows else "")
        rows.append(row(chosen, name, given, played, seed))
        if audible and (sound or harnesses):
            rows.append(row(chosen, name + BY_EAR, given, [_by_ear(done) for done in played], seed))
    return _result(chosen.name, seed, cases, rows, cast, notes)


def _players(
    suite: str,
    interaction: Interaction | None,
    target: Target | None,
    baselines: bool,
    harnesses: Sequence[Harness],
    seed: int,
    progress: Callable[[int], None] | None,
) -> dict[str, Play]:
    """Who is given the cases: what is measured first, then what stands beside it."""
    players: dict[str, Play] = {}
    if target is not None:
        players["model"] = lambda cases: target.play(suite, cases, progress)
    elif interaction is not None:
        players["model"] = lambda cases: drive(interaction, cases, progress=progress)
    players |= {harness.name: partial(harness.play, progress=progress) for harness in harnesses}
    if not baselines:
        return players
    players |= {NEVER: never_speak, ALWAYS: always_speak}
    if interaction is not None:
        players[RANDOM] = lambda cases: random_weights(cases, interaction.config, seed)
    players[ORACLE] = oracle
    if suite == "read" and whisper.installed():
        players["whisper-tiny.en"] = lambda cases: [_overheard(case) for case in cases]
    return players


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
    minutes = sum(case.episode.ticks for case in cases) / 300
    synthetic = suite == LOSS or (suite in SUITES and not SUITES[suite].people)
    silent = (cast or _test_cast()).notes if names and synthetic else []
    return Result(suite, len(cases), seed, minutes, names, tuple(rows), (*notes, *silent))


def _loss(n: int, seed: int, cast: Cast | None, players: Callable[[str], dict[str, Play]]) -> Result:
    """Each main suite clean and with losses, from the same cases: score with losses / score without."""
    levels = [LOST[i % len(LOST)] for i in range(n)]
    kept: dict[str, list[list[Measure]]] = {}  # by player: of each suite the whole, then each level
    every: list[Case] = []
    for name in LOSS_SUITES:
        suite = SUITES[name]
        clean = make_cases(suite, n, seed, cast)
        lossy = [
            make_case(case.episode, seed * SEED_STEP + i, Surroundings(loss=level, burst=BURST))
            for i, (case, level) in enumerate(zip(clean, levels, strict=True))
        ]
        every += lossy
        for player, play in players(name).items():
            before = play(clean)
            worth = row(suite, player, clean, before, seed).score.value  # of nothing, nothing can be lost
            after = play(lossy) if worth else before
            parts = [slice(None), *(slice(i, None, len(LOST)) for i in range(len(set(levels))))]
            pairs = [
                [row(suite, player, clean[part], done[part], seed).score for done in (before, after)]
                for part in parts
            ]
            kept.setdefault(player, []).append([_kept(name, *both) for both in pairs])
    rows = []
    for player, found in kept.items():
        whole, *by_level = ([m.value or 0.0 for m in column] for column in zip(*found, strict=True))
        told = [mean(f"{level:.0%}_lost", v, seed=seed) for level, v in zip(LOST, by_level, strict=False)]
        rows.append(Row(player, (mean("score", whole, seed=seed), *(some[0] for some in found), *told)))
    return _result(LOSS, seed, every, rows, cast)


def _kept(name: str, before: Measure, after: Measure) -> Measure:
    """How much of the score is left. Nothing is left of nothing."""
    if not before.value or after.value is None:
        return Measure(name, 0.0, n=before.n)
    return Measure(name, min(1.0, after.value / before.value), n=before.n)

"""The suites by name: which cases they are made of and which score counts them. `evaluate.py` runs them.

Cases come out of scenes under the split "test" (reserved wordings and pairs), in voices that training never
heard; they are composed as waveforms and run free-running. The same suite, number and seed is the same
sound to the sample: no voice draws anything anew. `bank/test` saves speaking it again, and keeps its sound
when a synthesiser is another version.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from microturn.bench import everyday, language, people, scores, watching
from microturn.bench.cast import Cast, test_cast
from microturn.bench.waves import CLEAN, Case, Surroundings, make_case
from microturn.scenes import SCENES, write
from microturn.scenes.episode import Episode
from microturn.train.real import noise
from microturn.train.voices import voice_names

SECONDS = 24.0
SEED_STEP = 100_003  # suites with neighbouring seeds share no script
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


def has(*kinds: str) -> Wanted:
    return lambda episode: set(kinds) <= {e.kind for e in episode.expected}


def speaks(episode: Episode) -> bool:
    return bool(episode.says)


def _counted(episode: Episode) -> bool:
    """At least two repetitions aloud."""
    return {"one", "two"} <= {e.text for e in episode.expected if e.kind == "say"}


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


def _scene(
    name: str, about: str, scene: str, score: scores.Score, wanted: str | Wanted, seconds: float = SECONDS
) -> Suite:
    """Episodes of a scene in which something of a kind is expected."""
    which = has(*wanted.split()) if isinstance(wanted, str) else wanted
    return Suite(
        name, about, lambda n, seed, cast: _cases(episodes(scene, n, seed, cast, which, seconds), seed), score
    )


def _people(name: str, about: str, made: Callable[[int, int], list[Episode]], score: scores.Score) -> Suite:
    return Suite(name, about, lambda n, seed, cast: _cases(made(n, seed), seed), score, people=True)


def _noisy() -> Surroundings:
    """A kitchen, where there is a recording of one."""
    try:
        return Surroundings(kitchen=noise("test"), kitchen_snr_db=10.0)
    except ValueError:
        return NOISY


def _false(n: int, seed: int, cast: Cast) -> list[Case]:
    """Strangers, silence and plain talk, half of it in noise; a third of it asks something, as a control."""
    asked = max(1, n // 3)
    quiet = episodes("nothing", max(1, n - asked), seed, cast, lambda e: not has("reply")(e))
    half = len(quiet) // 2
    questions = episodes("converse", asked, seed + 1, cast, has("reply"))
    return [
        *_cases(quiet[half:], seed),
        *_cases(quiet[:half], seed + 1, _noisy()),
        *_cases(questions, seed + 2),
    ]


def _everyday(n: int, seed: int, cast: Cast) -> list[Case]:
    return _cases(everyday.episodes(n, seed, cast), seed)


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


_ALL = (
    _scene("timespeak", "what is due, on time", "time", scores.timespeak, "say"),
    _scene("cuespeak", "answers to cues, over the user", "cue", scores.cuespeak, "say"),
    _scene("interrupt", "stopped or corrected in full flow", "interrupt", scores.interrupt, "halt"),
    _scene("backchannel", "goes on through uh-huhs", "interrupt", scores.backchannel, "carry_on"),
    Suite("echo", "the same while its own voice comes back", _echo, scores.echo),
    _scene("pause", "waits while somebody thinks", "converse", scores.pause, "pause reply"),
    _scene("turns", "ordinary questions", "converse", scores.turns, "reply"),
    Suite("everyday", "questions about the world", _everyday, everyday.score),
    _scene("listening", "signs of attention", "listening", scores.listening, "clause_end", 40.0),
    Suite("false", "nobody asked", _false, scores.false_replies),
    _scene("hear", "everyday talk as transcript", "hear", scores.hear, ""),
    _people("digits", "a real person's digits", people.digit_episodes, scores.digits),
    _people("read", "real people's sentences", people.read_episodes, scores.read),
    _scene("translate", "word by word as it is said", "translate", language.translate, speaks),
    _scene("codeswitch", "foreign words in English", "codeswitch", scores.cuespeak, speaks),
    Suite("orders", "real people's coffee, slot by slot", _orders, language.orders, people=True),
    _scene("tone", "whispering, shouting, who and where", "tone", language.tone, speaks),
    _scene("weave", "what must be looked up", "weave", language.weave, "delegate"),
    _scene("instructions", "told how to be", "instructions", language.instructions, "reply"),
    Suite("recall", "told in minute 0, needed later", _recall, language.recall),
    _scene("repcount", "repetitions counted out", "reps", watching.repcount, _counted, 32.0),
    _scene("videoqa", "says when it happens", "notice", watching.videoqa, "say"),
    _scene("charades", "when it begins and ends", "charades", watching.charades, "say"),
    _scene("commentary", "calls the game", "commentary", watching.commentary, "say"),
    _scene("look", "what is there to be seen", "look", scores.turns, "reply"),
)
SUITES = {suite.name: suite for suite in _ALL}
RESERVED = "reserved"  # all the voices that are
LOSS = "loss"  # some of them again with ticks lost


@lru_cache(maxsize=1)
def reserved() -> Cast:
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
    cases = suite.make(n, seed, cast if suite.people else cast or reserved())  # type: ignore[arg-type]
    return [replace(case, number=i) for i, case in enumerate(cases)]


def make_lossy(cases: Sequence[Case], seed: int) -> list[Case]:
    """The same with more and more lost, in turn."""
    lost = (Surroundings(loss=LOST[i % len(LOST)], burst=BURST) for i in range(len(cases)))
    return [
        replace(make_case(case.episode, seed * SEED_STEP + i, around), number=i)
        for i, (case, around) in enumerate(zip(cases, lost, strict=True))
    ]

"""The suites by name: which cases they are made of and which score counts them. `evaluate.py` runs them.

Cases come out of scenes under the split "test" (reserved wordings and pairs), in voices that training never
heard; they are composed as waveforms and run free-running. The same suite, number and seed is the same
sound to the sample while `bank/test` keeps the clips: spoken again, Piper's breathe a little differently.
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


def _everyday(n: int, seed: int, cast: Cast) -> list[Case]:
    return _cases(everyday.episodes(n, seed, cast), seed)


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
        Suite("everyday", "questions about the world", _everyday, everyday.score),
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
    if suite.people:
        return suite.make(n, seed, cast)  # type: ignore[arg-type]
    return suite.make(n, seed, cast or reserved())


def make_lossy(cases: Sequence[Case], seed: int) -> list[Case]:
    """The same with more and more lost, in turn."""
    return [
        make_case(case.episode, seed * SEED_STEP + i, Surroundings(loss=LOST[i % len(LOST)], burst=BURST))
        for i, case in enumerate(cases)
    ]

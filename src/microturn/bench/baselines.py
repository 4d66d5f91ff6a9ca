"""What stands beside every score: saying nothing, saying “okay” all the time, chance, and the answer itself.

A suite is worth something when the first three fail it and the last one does not.
"""

from __future__ import annotations

from collections.abc import Sequence

from microturn.bench.drive import drive
from microturn.bench.metrics import Played, spoken
from microturn.bench.waves import Case
from microturn.clock import end_ms, start_ms, tick_of
from microturn.model.config import ModelConfig
from microturn.model.interaction import random_model
from microturn.scenes.episode import Word
from microturn.streams import LEAD_TICKS
from microturn.train.targets import schedule

NEVER, ALWAYS, RANDOM, ORACLE = "never-speak", "always-speak", "random-weights", "oracle"


def never_speak(cases: Sequence[Case]) -> list[Played]:
    return [Played() for _ in cases]


def always_speak(cases: Sequence[Case]) -> list[Played]:
    """“okay” in every tick from the first one that can be played."""
    return [
        Played(tuple(Word("okay", start_ms(t), end_ms(t)) for t in range(LEAD_TICKS, case.episode.ticks)))
        for case in cases
    ]


def random_weights(cases: Sequence[Case], config: ModelConfig, seed: int = 0) -> list[Played]:
    """The same network, untrained. Nobody listens to its sound."""
    model = random_model(config, seed)
    model.voiced = False
    return drive(model, cases)


def oracle(cases: Sequence[Case]) -> list[Played]:
    """Every word as the scene would have it, at the grain of a tick: what a perfect model scores."""
    return [_oracle(case) for case in cases]


def _oracle(case: Case) -> Played:
    words, _ = schedule(case.episode.says)
    said = (Word(w.text, start_ms(tick_of(w.start_ms)), end_ms(tick_of(w.end_ms - 1))) for w in words)
    return Played(tuple(said), tuple(spoken(case.episode)), case.episode.decisions)

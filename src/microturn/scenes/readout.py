"""Saying what one is given to say: results and remarks come in one after the other and nobody else talks.

A drill for weave (delegate.py, whose conventions hold): there a result comes once in ten seconds, here another is
read while the one before is still being spoken. Half of the texts are nothing but words in a row, since whoever hands
over a text may mean anything by it.
"""

import random
from collections.abc import Sequence

from microturn.clock import start_ms, tick_of
from microturn.scenes.delegate import background, made_up, read_ticks, spoken_from, wish
from microturn.scenes.episode import HEARD_MS, Clip, Episode, Say, Script, react
from microturn.scenes.stage import Stage, said_end, say_ms
from microturn.scenes.talk import sentence
from microturn.scenes.words import ALL
from microturn.streams import LEAD_TICKS, Channel

Given = tuple[str, tuple[str, ...]]  # what is said, and what is read


def _given(rng: random.Random, split: str) -> Given:
    kind = rng.choices(("result", "sentence", "words"), (3, 2, 5))[0]
    if kind == "result":
        _, said, texts = wish(rng, split)
        return said, texts
    some = [rng.choice(ALL) if rng.random() < 0.85 else made_up(rng) for _ in range(rng.randint(1, 9))]
    said = sentence(rng) if kind == "sentence" else " ".join(some)
    return said, (background(rng.choice(("final", "commentary")), said),)


class Readout:
    name = "readout"

    def script(self, rng: random.Random, split: str, seconds: float) -> Script:
        given: list[Given] = []
        left = seconds * 1000
        while left > 0:
            given.append(_given(rng, split))
            left -= say_ms(given[-1][0])
        return Script(self.name, 0, (), {"given": tuple(given)})

    def compose(self, script: Script, clips: Sequence[Clip], rng: random.Random, seconds: float) -> Episode:
        stage = Stage(script, tuple(clips), seconds)
        read = free = 0  # when everything so far has been read, and said
        for said, texts in script.facts["given"]:
            arrives = max(read, free - rng.randrange(0, 2500)) + rng.randrange(0, 1500)
            texts, at = spoken_from(texts, arrives, react(free))
            read = start_ms(tick_of(arrives) + read_ticks(texts))
            say = Say(said, at)
            if not stage.free(say):
                break
            for i, text in enumerate(texts):  # one right behind the other
                stage.read(text, tick_of(arrives) + i, Channel.BACKGROUND)
            stage.answer(say, say.at_ms - start_ms(LEAD_TICKS) - HEARD_MS)
            free = said_end(say)
        return stage.episode()

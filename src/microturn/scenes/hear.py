"""Nothing to say: the user talks about this and that, perhaps with somebody else, and asks for nothing.

The model's task is to hear every word (captions) and to stay quiet.
"""

import random
from collections.abc import Sequence

from microturn.scenes.episode import Clip, Episode, Line, Script
from microturn.scenes.stage import Stage, heard_end, lines_for
from microturn.scenes.talk import aside, sentence, sentences
from microturn.scenes.words import ALL


class Hear:
    name = "hear"

    def script(self, rng: random.Random, split: str, seconds: float) -> Script:
        lines = [Line(text) for text in lines_for(rng, seconds, sentences(rng))]
        if rng.random() < 0.15:  # a list of unrelated words: nothing to guess from
            lines = [Line(" ".join(rng.sample(ALL, rng.randint(1, 5)))) for _ in lines]
        elif rng.random() < 0.3:
            second = rng.randrange(1, len(lines) + 1)
            other = [Line(aside(rng) if rng.random() < 0.4 else sentence(rng), who=1) for _ in lines[second:]]
            lines[second:] = [rng.choice(both) for both in zip(lines[second:], other, strict=True)]
        return Script(self.name, 0, tuple(lines))

    def compose(self, script: Script, clips: Sequence[Clip], rng: random.Random, seconds: float) -> Episode:
        stage = Stage(script, tuple(clips), seconds)
        one_after_another(stage, rng, rng.randrange(0, 1500), rng.choice((400, 1500, 3000)))
        return stage.episode()


class Nothing:
    """Nobody means the model: strangers read or talk, long silences, a word now and then. It stays quiet."""

    name = "nothing"

    def script(self, rng: random.Random, split: str, seconds: float) -> Script:
        kind = rng.choices(("strangers", "silence", "plain"), (5, 2, 3))[0]
        if kind == "strangers":
            texts = lines_for(rng, seconds, sentences(rng))
            lines = [Line(aside(rng) if rng.random() < 0.3 else text, who=1) for text in texts]
        elif kind == "plain":
            lines = [Line(text) for text in lines_for(rng, seconds / 3, sentences(rng))]
        else:
            lines = []
        return Script(self.name, 0, tuple(lines))

    def compose(self, script: Script, clips: Sequence[Clip], rng: random.Random, seconds: float) -> Episode:
        stage = Stage(script, tuple(clips), seconds)
        far = rng.uniform(-14, 0) if any(line.who for line in script.lines) else 0.0
        one_after_another(stage, rng, rng.randrange(0, 3000), rng.choice((800, 3000, 8000)), far)
        return stage.episode()


def one_after_another(stage: Stage, rng: random.Random, now: int, calm_ms: int, gain_db: float = 0.0) -> None:
    """Place every line that fits, with pauses of up to about `calm_ms`."""
    for i in range(len(stage.clips)):
        placed = stage.at(i, now, gain_db)
        if not stage.fits(placed):
            break
        stage.put(placed)
        now = heard_end(placed) + rng.randrange(120, 200 + calm_ms)

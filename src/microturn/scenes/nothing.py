"""Nobody means the model: strangers read or talk, long silences, a word now and then. It stays quiet."""

import random
from collections.abc import Sequence

from microturn.scenes.episode import Clip, Episode, Line, Script
from microturn.scenes.hear import one_after_another
from microturn.scenes.stage import Stage, lines_for
from microturn.scenes.talk import aside, sentences


class Nothing:
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

"""Listening to a story: small signs of attention in its pauses, and never a word that takes the floor.

Conventions. The model is asked to listen and says “okay”; without that it gives no such signs. After that
it says something small and soft when a clause is complete, the pause has lasted about `PAUSE_MS`, and it
has said nothing for `CALM_MS`. In a pause inside a clause it waits.
"""

import random
from collections.abc import Sequence

from microturn.scenes.episode import HEARD_MS, Clip, Episode, Expected, Line, Say, Script, react
from microturn.scenes.stage import Stage, heard_end, said_end, say_ms
from microturn.scenes.talk import story, story_end
from microturn.scenes.wording import parts, said_in, whole

SAID = said_in("listening")
SIGNS = ("mm hm", "right", "oh", "i see", "yeah", "wow", "uh huh")
PAUSE_MS = 350  # of silence before a sign is decided on
CALM_MS = 6500  # since the last thing said


class Listening:
    name = "listening"

    def script(self, rng: random.Random, split: str, seconds: float) -> Script:
        texts = [SAID["ASK"].draw(rng, split)]
        ends = [True]
        left = seconds * 1000 - 4000 - say_ms(texts[0])
        for clause in story(rng):
            last = left < 4500
            text = story_end(rng) if last else clause
            said = parts(text) if rng.random() < 0.25 else [whole(text)]
            texts += said
            ends += [False] * (len(said) - 1) + [True]
            left -= say_ms(whole(text)) + 700 * len(said)
            if last:
                break
        return Script(self.name, 0, tuple(map(Line, texts)), {"ends": tuple(ends)})

    def compose(self, script: Script, clips: Sequence[Clip], rng: random.Random, seconds: float) -> Episode:
        stage = Stage(script, tuple(clips), seconds)
        ends = script.facts["ends"]
        asked = stage.at(0, rng.randrange(100, 1500))
        okay = Say("okay", react(heard_end(asked)))
        if not stage.fits(asked) or not stage.free(okay):
            return stage.episode()
        stage.put(asked)
        stage.answer(okay, heard_end(asked))
        spoke = said_end(okay)
        now = spoke + rng.randrange(300, 1500)
        for i in range(1, len(clips)):
            placed = stage.at(i, now)
            if not stage.fits(placed):
                break
            stage.put(placed)
            heard = heard_end(placed)
            if not ends[i]:
                now = heard + rng.randrange(400, 1100)
                stage.expect(Expected("pause", heard, now))
                continue
            now = heard + (rng.randrange(100, 250) if rng.random() < 0.45 else rng.randrange(800, 1900))
            sign = Say(rng.choice(SIGNS), react(heard + PAUSE_MS - HEARD_MS), soft=True)
            if now - heard >= 800:
                stage.expect(Expected("clause_end", heard, max(now, said_end(sign)) + 200))
                if sign.at_ms - spoke >= CALM_MS and stage.free(sign):
                    stage.say(sign)
                    spoke = said_end(sign)
        return stage.episode()

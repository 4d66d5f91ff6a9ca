"""How something is said, who says it and where: named when asked, acted on when told.

Conventions. A question about the manner is asked in that manner. A rule about a manner is not acknowledged; from
its end on, every sentence said in that manner is answered, at `react` of its last word, and no other. Who spoke
before and whether the place is noisy is answered like any question.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from microturn.scenes.episode import Clip, Episode, Line, Script
from microturn.scenes.stage import Stage, read_ms, say_ms
from microturn.scenes.talk import aside, sentence
from microturn.scenes.wording import said_in
from microturn.scenes.words import is_reserved, pair
from microturn.streams import Channel

MANNERS = {
    "whisper": "you're whispering",
    "shout": "you're shouting",
    "hurry": "you're in a hurry",
    "": "you sound calm",
}
SAID = said_in("tone")
DOING = {"whisper": "whisper", "shout": "shout", "hurry": "talk fast"}
PLACES = {True: "it's noisy here", False: "it's quiet here"}
WHOSE = {True: "somebody else", False: "you"}
NAMED = {*MANNERS.values(), *PLACES.values(), *WHOSE.values()}


@dataclass(frozen=True)
class Turn:
    """A line and what is said to it, or a rule that is typed."""

    line: int
    answer: str = ""
    text: str = ""


class Tone:
    name = "tone"

    def script(self, rng: random.Random, split: str, seconds: float) -> Script:
        lines: list[Line] = []
        turns: list[Turn] = []
        kind = rng.choices(("how", "rule", "where", "who"), (5, 5, 2, 3))[0]
        noisy = rng.random() < 0.5 if kind == "where" else None
        left = seconds * 1000 - 2000

        def add(text: str, answer: str = "", manner: str = "", who: int = 0) -> None:
            nonlocal left
            turns.append(Turn(len(lines), answer))
            lines.append(Line(text, who, manner))
            left -= say_ms(text) + 700 + (say_ms(answer) + 800 if answer else 0)

        other, reply = rng.choice(tuple(DOING)), pair(rng, split)[1]
        while is_reserved(other, reply) != (split == "test"):
            reply = pair(rng, split)[1]
        if kind == "rule":
            text = SAID["RULE"].draw(rng, split, x=DOING[other], y=reply)
            if rng.random() < 0.25:
                turns.append(Turn(-1, text=text))
            else:
                add(text)
        while left > 0 or len(turns) < 2:
            manner = rng.choice(tuple(MANNERS))
            if kind == "how":
                for _ in range(rng.randrange(2)):
                    add(sentence(rng), manner=manner)
                add(SAID["HOW"].draw(rng, split), MANNERS[manner], manner)
            elif kind == "rule":
                manner = other if rng.random() < 0.5 else manner
                add(sentence(rng), reply if manner == other else "", manner)
            elif kind == "where":
                add(sentence(rng))
                add(SAID["WHERE"].draw(rng, split), PLACES[bool(noisy)])
            else:
                who = rng.randrange(2)
                add(sentence(rng))
                add(aside(rng) if who and rng.random() < 0.5 else sentence(rng), who=who)
                add(SAID["WHO"].draw(rng, split), WHOSE[bool(who)])
        return Script(self.name, 0, tuple(lines), {"turns": tuple(turns), "noisy": noisy})

    def compose(self, script: Script, clips: Sequence[Clip], rng: random.Random, seconds: float) -> Episode:
        stage = Stage(script, tuple(clips), seconds)
        stage.noisy = script.facts["noisy"]
        now = rng.randrange(100, 1200)
        for turn in script.facts["turns"]:
            if turn.line < 0:
                now = read_ms(stage.read(turn.text, -1, Channel.TYPED)) + rng.randrange(500, 1500)
                continue
            end = stage.turn(turn.line, now, turn.answer)
            if end is None:
                break
            now = end + rng.randrange(300, 1500)
        return stage.episode()

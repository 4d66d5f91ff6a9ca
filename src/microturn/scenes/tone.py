"""How something is said, who says it and where: named when asked, acted on when told.

Conventions. A question about the manner is asked in that manner. A rule about a manner is not acknowledged; from
its end on, every sentence said in that manner is answered, at `react` of its last word, and no other. Who spoke
before and whether the place is noisy is answered like any question.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from microturn.scenes.converse import ask
from microturn.scenes.episode import Clip, Episode, Expected, Line, Say, Script, react
from microturn.scenes.stage import CUE_MS, Stage, heard_end, quiet, read_ms, said_end, say_ms
from microturn.scenes.talk import aside, sentence
from microturn.scenes.wording import Wordings, whole
from microturn.scenes.words import pair
from microturn.streams import Channel

MANNERS = {
    "whisper": "you're whispering",
    "shout": "you're shouting",
    "hurry": "you're in a hurry",
    "": "you sound calm",
}
HOW = Wordings(
    (
        "how (do|did) i sound (now|to you|)",
        "how am i (talking|speaking) (now|)",
        "what's my (tone|voice like)",
        "what do i sound like",
        "(can you tell|tell me) how i (sound|speak)",
        "how is my voice",
    ),
    (
        "(describe|name) my tone (please|)",
        "in what way am i talking",
        "how would you call (my voice|this tone)",
    ),
)
WHERE = Wordings(
    (
        "is it (noisy|loud|quiet) (here|where i am|around me)",
        "what's it like (here|around me)",
        "is there (much|any|a lot of) noise (here|around me|)",
        "how (loud|noisy|quiet) is it here",
    ),
    ("do you hear (any noise|a lot of noise)", "what kind of place am i in", "can you hear what's around me"),
)
WHO = Wordings(
    (
        "who (said|was) that",
        "who (just spoke|was talking)",
        "was that (me|somebody else)",
        "did i say that",
        "was that my voice",
    ),
    ("whose voice was that", "who were you hearing (just now|)", "was it me who spoke"),
)
RULE = Wordings(
    (
        "(when|whenever|every time|each time) i {x} (say|answer|reply) {y}", "if i {x} (say|answer|reply) {y}",
        "say {y} (when|whenever|every time|if) i {x}", "answer {y} (when|whenever) i {x}",
        "(when|whenever) you hear me {x} say {y}",
    ),
    (
        "(as soon as|the moment) i {x} (say|answer) {y}", "your answer is {y} when i {x}",
        "let me hear {y} (if|whenever) i {x}", "should i {x} say {y}",
    ),
)  # fmt: skip
DOING = {"whisper": "whisper", "shout": "shout", "hurry": "talk fast"}
PLACES = {True: "it's noisy here", False: "it's quiet here"}


@dataclass(frozen=True)
class Turn:
    """A line and what is said to it; `cue`: over the user's next words. Typed or read where there is no line."""

    line: int
    answer: str = ""
    cue: bool = False
    text: str = ""


class Tone:
    name = "tone"

    def script(self, rng: random.Random, split: str, seconds: float) -> Script:
        lines: list[Line] = []
        turns: list[Turn] = []
        kind = rng.choices(("how", "rule", "where", "who"), (5, 5, 2, 3))[0]
        noisy = rng.random() < 0.5 if kind == "where" else None
        left = seconds * 1000 - 2000

        def add(text: str, answer: str = "", manner: str = "", who: int = 0, cue: bool = False) -> None:
            nonlocal left
            turns.append(Turn(len(lines), answer, cue))
            lines.append(Line(text, who, manner))
            left -= say_ms(text) + 700 + (say_ms(answer) + 800 if answer else 0)

        other, reply = rng.choice(tuple(DOING)), pair(rng, split)[1]
        if kind == "rule":
            text = RULE.draw(rng, split, x=DOING[other], y=reply)
            if rng.random() < 0.25:
                turns.append(Turn(-1, text=text))
            else:
                add(text)
        while left > 0 or len(turns) < 2:
            manner = rng.choice(tuple(MANNERS))
            if kind == "how":
                for _ in range(rng.randrange(2)):
                    add(sentence(rng), manner=manner)
                add(HOW.draw(rng, split), MANNERS[manner], manner)
            elif kind == "rule":
                manner = other if rng.random() < 0.5 else manner
                add(sentence(rng), reply if manner == other else "", manner, cue=True)
            elif kind == "where":
                add(sentence(rng))
                if rng.random() < 0.6:
                    add(WHERE.draw(rng, split), PLACES[bool(noisy)])
                else:
                    question = ask(rng, split, 5)
                    add(whole(question.text), question.answer)
            else:
                who = rng.randrange(2)
                add(sentence(rng))
                add(aside(rng) if who and rng.random() < 0.5 else sentence(rng), who=who)
                add(WHO.draw(rng, split), "somebody else" if who else "you")
        return Script(self.name, 0, tuple(lines), {"turns": tuple(turns), "noisy": noisy})

    def compose(self, script: Script, clips: Sequence[Clip], rng: random.Random, seconds: float) -> Episode:
        stage = Stage(script, tuple(clips), seconds)
        turns, noisy = script.facts["turns"], script.facts["noisy"]
        assert isinstance(turns, tuple)
        assert noisy is None or isinstance(noisy, bool)
        stage.noisy = noisy
        now = rng.randrange(100, 1200)
        for turn in turns:
            if turn.line < 0:
                now = read_ms(stage.read(turn.text, -1, Channel.TYPED)) + rng.randrange(500, 1500)
                continue
            placed = stage.at(turn.line, now)
            heard = heard_end(placed)
            say = Say(turn.answer, react(heard))
            if not stage.fits(placed) or (turn.answer and not stage.free(say)):
                break
            stage.put(placed)
            now = heard + rng.randrange(300, 1000)
            if turn.answer and turn.cue:
                stage.say(say)
                stage.expect(Expected("say", heard, heard + CUE_MS, say.text))
                now = max(now, said_end(say) - 600)
            elif turn.answer:
                stage.answer(say, heard)
                now = said_end(say) + rng.randrange(300, 1500)
        if not stage.says:
            stage.expect(quiet(0, stage.ms))
        return stage.episode()

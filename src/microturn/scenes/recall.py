"""Told in the first minute, needed much later: facts that are asked for and rules that still hold.

Conventions. What is told is not acknowledged. A fact is asked for once or several times, each at any age; a rule's
cue is answered like any cue. In between there is plain talk, other questions and, in long episodes, mostly silence.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from microturn.scenes.converse import ask
from microturn.scenes.cue import SAID as CUE
from microturn.scenes.episode import Clip, Episode, Expected, Line, Say, Script, react
from microturn.scenes.stage import CUE_MS, Stage, heard_end, said_end
from microturn.scenes.talk import sentence, sentence_with
from microturn.scenes.wording import Wordings, table, whole, wordings_of
from microturn.scenes.words import CLASSES, pair

# how it is told, how it is asked for, and the words it may be about
FACTS = tuple(
    (wordings_of(fact["tell"]), wordings_of(fact["ask"]), CLASSES[fact["about"]])
    for fact in table("facts")["fact"]
)
AGES_S = (60.0, 300.0, 900.0, 3600.0)
TALK_S, TALK_MS = (8.0, 60.0), 90_000  # between plain sentences in the first minutes, and later


@dataclass(frozen=True)
class Move:
    """`kind` is tell, talk, ask, cue or other: a question about nothing that was told.

    It comes at `at_ms` or as soon as there is room.
    """

    kind: str
    line: int
    at_ms: int
    answer: str = ""
    word: int = -1  # the one that is a cue


class Recall:
    name = "recall"

    def script(self, rng: random.Random, split: str, seconds: float) -> Script:
        lines: list[Line] = []
        moves: list[Move] = []

        def add(kind: str, text: str, at_ms: float, answer: str = "", word: int = -1) -> None:
            moves.append(Move(kind, len(lines), round(at_ms), answer, word))
            lines.append(Line(text))

        rule = pair(rng, split) if rng.random() < 0.6 else None
        told: list[tuple[Wordings, str]] = []
        avoid: set[str] = set(f"{rule[0]} {rule[1]}".split()) if rule else set()
        for telling, asking, values in rng.sample(FACTS, rng.choice((1, 1, 2) if seconds > 16 else (1,))):
            value = rng.choice([v for v in values if v not in avoid])
            avoid.add(value)
            told.append((asking, value))
            add("tell", telling.draw(rng, split, x=value), 0)
        if rule:
            add("tell", CUE["RULE"].draw(rng, split, cue=rule[0], reply=rule[1]), 0)
        now = 3000.0 * len(lines)
        for use in uses(seconds):
            while (now := now + 1000 * rng.uniform(0.6, 1.4) * TALK_S[now > TALK_MS]) < use - 6000:
                other = ask(rng, split, 5)
                if rng.random() < 0.3 and not avoid & set(f"{other.text} {other.answer}".split()):
                    add("other", whole(other.text), now, other.answer)
                else:
                    add("talk", sentence(rng, tuple(avoid)), now)
            if rule and rng.random() < 0.6:
                text = sentence_with(rng, rule[0], tuple(avoid - {rule[0]}))
                add("cue", text, use, rule[1], text.split().index(rule[0]))
            else:
                asking, value = rng.choice(told)
                add("ask", asking.draw(rng, split), use, value)
            now = use
        return Script(self.name, 0, tuple(lines), {"moves": tuple(moves)})

    def compose(self, script: Script, clips: Sequence[Clip], rng: random.Random, seconds: float) -> Episode:
        stage = Stage(script, tuple(clips), seconds)
        now = rng.randrange(100, 1200)
        for move in script.facts["moves"]:
            now = max(now, move.at_ms)
            placed = stage.at(move.line, now)
            heard = placed.word_end(move.word) if move.kind == "cue" else heard_end(placed)
            say = Say(move.answer, react(heard))
            if not stage.fits(placed) or (move.answer and not stage.free(say)):
                break
            stage.put(placed)
            if move.kind == "cue":
                stage.cued(say, heard)
            elif move.answer:
                stage.answer(say, heard)
            if move.kind in ("cue", "ask"):
                stage.expect(Expected("need", round(heard), round(heard) + CUE_MS, say.text))
            now = max(heard_end(placed), said_end(say) if move.answer else 0) + rng.randrange(300, 1500)
        return stage.episode()


def uses(seconds: float) -> list[float]:
    """When (ms) what was told is needed: near the end, and in long episodes at each of the ages that they reach."""
    last = seconds - (4 if seconds < 16 else 7)
    return [1000 * s for s in (*(age for age in AGES_S if age + 10 < last), last)]

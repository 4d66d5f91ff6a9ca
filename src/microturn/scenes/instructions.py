"""Being told how to be: personas, rules for answers and eagerness, as text at opening or in the middle.

Conventions. Instructions are not acknowledged. They hold from when they have been read; a later one about the same
thing takes the earlier one's place, others add up. What they do not speak about stays as it was.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from microturn.clock import tick_of
from microturn.scenes.converse import ask
from microturn.scenes.episode import Clip, Episode, Line, Script
from microturn.scenes.stage import Stage, quiet, read_ms, say_ms
from microturn.scenes.talk import sentence
from microturn.scenes.wording import said_in, whole
from microturn.scenes.words import ALL, NAMES
from microturn.streams import Channel

SAID = said_in("instructions")
ROLES = {
    "a support agent": "how can i help you",
    "an agent on the help line": "how can i help you",
    "a friendly companion": "good to hear you",
    "a companion for lonely evenings": "good to hear you",
    "a character in a game": "welcome traveler",
    "an innkeeper in a game": "welcome traveler",
}
KINDS = ("persona", "first", "last", "twice", "only", "eager", "calm")


@dataclass(frozen=True)
class Move:
    """`kind` is read (a text), ask or talk (a line)."""

    kind: str
    line: int = -1
    text: str = ""
    answer: str = ""


class Instructions:
    name = "instructions"

    def script(self, rng: random.Random, split: str, seconds: float) -> Script:
        lines: list[Line] = []
        moves: list[Move] = []
        rules: dict[str, str] = {}
        left = seconds * 1000 - 1500

        def tell() -> None:
            kind = rng.choice([k for k in KINDS if k != "calm" or set(rules) - {"persona", "role"}])
            x = rng.choice(NAMES if kind in ("persona", "only") else ALL)
            role = rng.choice(tuple(ROLES))
            moves.append(Move("read", text=SAID[kind.upper()].draw(rng, split, x=x, role=role)))
            if kind == "calm":
                for rule in set(rules) - {"persona", "role"}:
                    del rules[rule]
            else:
                rules[kind] = x
            if kind == "persona":
                rules["role"] = role

        def speak() -> None:
            nonlocal left
            if rng.random() < (0.5 if "eager" in rules else 0.15):
                answer = "" if "only" in rules else rules.get("eager", "")
                text, kind = sentence(rng), "talk"
            else:
                asked = ask(rng, split, 6)
                text, answer, kind = whole(asked.text), under(rules, asked.answer), "ask"
                if "only" in rules and rng.random() < 0.6:
                    text = f"{rules['only']} {text}"
                elif "only" in rules:
                    answer = ""
            moves.append(Move(kind, len(lines), answer=answer))
            lines.append(Line(text))
            left -= say_ms(text) + say_ms(answer) + 1800

        for _ in range(rng.choice((1, 1, 2))):
            tell()
        while left > 0 or not lines:
            if lines and rng.random() < 0.2:
                tell()
            speak()
        return Script(self.name, 0, tuple(lines), {"moves": tuple(moves), "late": rng.random() < 0.25})

    def compose(self, script: Script, clips: Sequence[Clip], rng: random.Random, seconds: float) -> Episode:
        stage = Stage(script, tuple(clips), seconds)
        now = rng.randrange(100, 1500)
        for move in script.facts["moves"]:
            if move.kind == "read":
                opening = not stage.placed and not script.facts["late"]
                read = stage.read(move.text, -1 if opening else tick_of(now), Channel.INSTRUCTIONS)
                now = max(now, read_ms(read) + rng.randrange(600, 1500))
                if read_ms(read) >= stage.ms:
                    stage.reads.remove(read)
                    break
                continue
            end = stage.turn(move.line, now, move.answer)
            if end is None:
                break
            if not move.answer:
                stage.expect(quiet(now, end + 1000))
            now = end + rng.randrange(300, 1800) + 700 * (not move.answer)
        return stage.episode()


def under(rules: dict[str, str], answer: str) -> str:
    """An answer as the rules would have it."""
    if answer == "my name is micro" and "persona" in rules:
        answer = f"my name is {rules['persona']}"
    if answer == "hello" and "role" in rules:
        answer = f"hello {ROLES[rules['role']]}"
    if "twice" in rules:
        answer = f"{answer}, {answer}"
    return " ".join(filter(None, (rules.get("first"), answer, rules.get("last"))))

"""Single digits, said one at a time, so that recordings of real people saying digits can be used.

Every line is one digit word. Rules are read, never spoken; what the user says is plain talk unless a rule
says what to do with it. Answers are played at `react` of the digit's end.
"""

import random
from collections.abc import Sequence

from microturn.scenes.episode import Clip, Episode, Line, Say, Script, react
from microturn.scenes.stage import Stage, heard_end, read_ms, said_end
from microturn.scenes.wording import said_in
from microturn.scenes.words import ALL, DIGITS, REPLIES, is_reserved, number
from microturn.streams import Channel

SAID = said_in("digits")


class Digits:
    name = "digits"

    def script(self, rng: random.Random, split: str, seconds: float) -> Script:
        kind = rng.choices(("rule", "rules", "repeat", "next", "double", "hear"), (8, 3, 5, 3, 1, 4))[0]
        answers: dict[str, str] = {}
        text = ""
        if kind in ("rule", "rules"):
            for wordings in (SAID["RULE"], SAID["SECOND"])[: 1 if kind == "rule" else 2]:
                cue, reply = _pair(rng, split, answers)
                answers[cue] = reply
                text += " " + wordings.draw(rng, split, cue=cue, reply=reply)
        elif kind != "hear":
            text = SAID[kind.upper()].draw(rng, split)
            for i, digit in enumerate(DIGITS):
                answers[digit] = number({"repeat": i, "next": i + 1, "double": 2 * i}[kind])
        digits: list[str] = []
        for _ in range(max(2, int(seconds / rng.uniform(1.3, 2.5)))):
            wanted = [d for d in answers if len(answers) < 5]
            digits.append(rng.choice(wanted) if wanted and rng.random() < 0.35 else rng.choice(DIGITS))
        lines = tuple(Line(digit) for digit in digits)
        return Script(self.name, 0, lines, {"rule": text.strip(), "answers": tuple(answers.items())})

    def compose(self, script: Script, clips: Sequence[Clip], rng: random.Random, seconds: float) -> Episode:
        stage = Stage(script, tuple(clips), seconds)
        rule, answers = script.facts["rule"], dict(script.facts["answers"])
        now = rng.randrange(200, 1800)
        if rule:
            channel = rng.choice((Channel.TYPED, Channel.INSTRUCTIONS))
            opening = channel is Channel.INSTRUCTIONS or rng.random() < 0.5
            read = stage.read(rule, -1 if opening else 0, channel)
            now += read_ms(read)
        calm = rng.choice((500, 1000, 1800))  # some people hurry
        for i in range(len(clips)):
            placed = stage.at(i, now)
            if not stage.fits(placed):
                break
            heard = heard_end(placed)
            answer = answers.get(script.lines[i].text)
            if answer is not None:
                say = Say(answer, react(heard))
                if not stage.free(say):
                    break
                stage.cued(say, heard)
                now = max(heard + 350, said_end(say) - 350)
            else:
                now = heard + 200
            stage.put(placed)
            now += rng.randrange(calm)
        return stage.episode()


def _pair(rng: random.Random, split: str, taken: dict[str, str]) -> tuple[str, str]:
    while True:
        cue = rng.choice([digit for digit in DIGITS if digit not in taken])
        reply = rng.choice(ALL if rng.random() < 0.7 else REPLIES)
        fresh = reply not in (*DIGITS, *taken.values())
        if fresh and is_reserved(cue, reply) == (split == "test"):
            return cue, reply

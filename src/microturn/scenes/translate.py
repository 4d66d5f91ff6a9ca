"""Translating while the other goes on: every word of Spanish or French in English as soon as it is heard.

Conventions. Asking for it is not acknowledged. In a sentence of the other language each word is said in English in
the order in which it came, at `react` of its end or when the words before it have been said; English in between is
left alone. `codeswitch` is the same for single foreign words in English sentences. “stop translating” is answered
with “okay”; without having been asked, nothing is translated.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

from microturn.scenes.episode import LAST_MS, Clip, Episode, Expected, Line, Say, Script, react
from microturn.scenes.stage import CUE_MS, Stage, heard_end, read_ms, said_end, say_ms
from microturn.scenes.talk import sentence, sentence_with
from microturn.scenes.tongues import NOUNS, TONGUES, marked, phrase
from microturn.scenes.wording import Wordings, said_in
from microturn.streams import Channel

SAID = said_in("translate")
STREAM = SAID["STREAM"]
SWITCH = SAID["SWITCH"]
LAG_MS = 3000  # an interpreter may fall behind by this much


@dataclass(frozen=True)
class Move:
    """`kind` is rule, foreign, talk or stop; a rule without a line is typed."""

    kind: str
    line: int = -1
    text: str = ""
    english: tuple[tuple[int, str], ...] = ()  # which word of the line means what


@dataclass
class Translate:
    name: str = "translate"
    rule: Wordings = STREAM

    def script(self, rng: random.Random, split: str, seconds: float) -> Script:
        code, left = rng.choice(tuple(TONGUES)), seconds * 1000 - 2500
        lines: list[Line] = []
        moves: list[Move] = []

        def add(kind: str, text: str, english: tuple[tuple[int, str], ...] = ()) -> None:
            nonlocal left
            moves.append(Move(kind, len(lines), "", english))
            lines.append(Line(text))
            left -= say_ms(text) + 700

        def foreign() -> None:
            own = TONGUES[code].english()
            if self.rule is SWITCH:
                word, english = rng.choice(NOUNS[code])
                words = sentence_with(rng, english).split()
                at = words.index(english)
                words[at] = marked(word, code)
                add("foreign", " ".join(words), ((at, english),))
            else:
                text = phrase(rng, code)
                add("foreign", marked(text, code), tuple((i, own[w]) for i, w in enumerate(text.split())))

        text = self.rule.draw(rng, split, x=TONGUES[code].name)
        asked = rng.random()
        if asked < 0.2:
            moves.append(Move("rule", text=text))
        elif asked < 0.9:
            add("rule", text)
        stop = rng.random() < 0.25
        while left > (5000 if stop else 0) or len(moves) < 2:
            if rng.random() < 0.75:
                foreign()
            else:
                add("talk", sentence(rng))
        if stop and asked < 0.9:
            add("stop", SAID["STOP"].draw(rng, split))
            foreign()
        return Script(self.name, 0, tuple(lines), {"moves": tuple(moves)})

    def compose(self, script: Script, clips: Sequence[Clip], rng: random.Random, seconds: float) -> Episode:
        stage = Stage(script, tuple(clips), seconds)
        now, asked = rng.randrange(100, 1500), False
        for move in script.facts["moves"]:
            if move.kind == "rule" and move.line < 0:
                channel = rng.choice((Channel.TYPED, Channel.INSTRUCTIONS))
                now = read_ms(stage.read(move.text, -1, channel)) + rng.randrange(300, 1500)
                asked = True
                continue
            free = said_end(stage.says[-1]) if stage.says else 0
            if move.kind == "stop":
                now = max(now, free + 200)
            placed = stage.at(move.line, max(now, free - LAG_MS // 3))
            heard = heard_end(placed)
            known = [(placed.word_end(i), text) for i, text in move.english] if asked else []
            if move.kind == "stop":
                known = [(heard, "okay")]
            says = as_heard(stage.says, known)
            if not stage.fits(placed) or (says and said_end(says[-1]) > stage.ms):
                break
            stage.put(placed)
            stage.says = says
            for end, text in known:
                if move.kind == "stop":
                    stage.expect(Expected("say", end, end + CUE_MS, text))
                else:
                    stage.expect(
                        Expected("say", end, end + (LAG_MS if self.rule is STREAM else CUE_MS), text)
                    )
            asked = (asked or move.kind == "rule") and move.kind != "stop"
            now = heard + rng.randrange(200, 1200) + 400 * (move.kind == "rule")
        return stage.episode()


def as_heard(says: Sequence[Say], known: Sequence[tuple[int, str]]) -> list[Say]:
    """More words to say, each from when it was heard (ms) and never before those before it: what follows without a
    gap is one utterance."""
    said = list(says)
    for heard, text in known:
        if said and said_end(said[-1]) - LAST_MS >= react(heard):
            said[-1] = replace(said[-1], text=f"{said[-1].text} {text}")
        else:
            said.append(Say(text, react(heard)))
    return said

"""In the middle of something long: carry on through what is not meant as an interruption, halt at what is.

Conventions. Signs of attention, talk to somebody else and a television change nothing. An interruption is
heeded at `react` of the word that makes it one (marked `*`): the model is silent from there. When the
sentence is complete it says “okay” to a stop, or answers what was asked instead, or goes on as it was told.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from microturn.scenes.converse import ask
from microturn.scenes.episode import Clip, Episode, Expected, Line, Say, Script, pace, react
from microturn.scenes.recital import hurried, recital, slowed
from microturn.scenes.stage import Stage, heard_end, said_end
from microturn.scenes.talk import aside, sentence
from microturn.scenes.wording import mark, said_in, whole

SAID = said_in("interrupt")
POLITE = ("hello", "you're welcome", "goodbye", "yes")  # answers to what might as well be a sign of attention


@dataclass(frozen=True)
class Move:
    """`kind` is sign, aside, stop, instead, again, faster, slower, go_on or talk."""

    kind: str
    line: int
    mark: int = -1  # the word that interrupts
    answer: str = ""


class Interrupt:
    name = "interrupt"

    def script(self, rng: random.Random, split: str, seconds: float) -> Script:
        kind = rng.choices(("none", "stop", "instead", "again", "faster", "slower"), (6, 9, 7, 2, 2, 2))[0]
        asked = recital(rng, split, row=kind in ("faster", "slower"))
        if kind == "slower":
            asked = replace(asked, request=asked.request.removesuffix(" slowly"), words=hurried(asked.words))
        if kind == "faster" and not asked.request.endswith(" slowly"):
            asked = replace(asked, request=asked.request + " slowly", words=slowed(asked.words))
        lines = [Line(asked.request)]
        moves: list[Move] = []

        def add(what: str, text: str, who: int = 0, answer: str = "") -> None:
            moves.append(Move(what, len(lines), mark(text), answer))
            lines.append(Line(whole(text), who))

        def disturb(most: int) -> None:
            for _ in range(rng.randrange(most + 1)):
                if rng.random() < 0.6:
                    add("sign", SAID["SIGNS"].draw(rng, split))
                else:
                    add("aside", aside(rng) if rng.random() < 0.5 else sentence(rng), who=1)

        disturb(4 if kind == "none" else 2)
        if kind in ("again", "faster", "slower", "stop"):
            add(kind, SAID[kind.upper()].draw(rng, split))
        elif kind == "instead":
            _instead(rng, split, add)
        if kind == "stop":
            then = rng.choices(("go_on", "again", "ask", "talk", ""), (4, 2, 2, 2, 3))[0]
            if then == "go_on":
                add(then, SAID["GO_ON"].draw(rng, split))
                disturb(1)
            elif then == "again":
                add(then, SAID["AGAIN"].draw(rng, split))
            elif then == "ask":
                question = ask(rng, split, 6)
                add("instead", whole(question.text), answer=question.answer)
            elif then == "talk":
                add(then, sentence(rng))
        elif kind != "none":
            disturb(1)
        return Script(self.name, 0, tuple(lines), {"words": asked.words, "moves": tuple(moves)})

    def compose(self, script: Script, clips: Sequence[Clip], rng: random.Random, seconds: float) -> Episode:
        stage = Stage(script, tuple(clips), seconds)
        return _Player(stage, rng, script.facts["words"]).play(script.facts["moves"])


def _instead(rng: random.Random, split: str, add: Callable[[str, str, int, str], None]) -> None:
    while True:
        question = ask(rng, split, 6)
        if question.answer not in POLITE:
            break
    text = SAID["INSTEAD"].draw(rng, split, x=whole(question.text))
    add("instead", text, 0, question.answer)


class _Player:
    """Follows what the model is saying (`current`) and cuts it where an interruption is heard."""

    def __init__(self, stage: Stage, rng: random.Random, words: tuple[str, ...]) -> None:
        self.stage, self.rng = stage, rng
        self.words = words  # all of the long thing
        self.left = words  # what of it remains, from the start of `current` on
        self.current: Say | None = None
        self.asked_ms = 0  # when what asked for it ended
        self.now = 0

    def play(self, moves: tuple[Move, ...]) -> Episode:
        stage, rng = self.stage, self.rng
        asked = stage.at(0, rng.randrange(100, 1200))
        self.asked_ms = heard_end(asked)
        self.current = self._long(self.words, self.asked_ms)
        if not stage.fits(asked) or self.current is None:
            return stage.episode()
        stage.put(asked)
        self.now = self.current.at_ms
        for move in moves:
            if move.kind in ("sign", "aside"):
                self._disturb(move)
            elif move.kind == "talk":
                self._talk(move)
            elif not self._heed(move):
                break
        self._done()
        return stage.episode()

    def _long(self, words: tuple[str, ...], heard_ms: int) -> Say | None:
        """`words` said as far as the episode goes; nothing where that is not worth beginning."""
        say = Say(" ".join(words), react(heard_ms))
        if said_end(say) > self.stage.ms:
            say = replace(say, until_ms=self.stage.ms)
        return say if words and len(pace(say)) >= min(3, len(words)) else None

    def _done(self) -> None:
        """What is being said is settled: it goes on the stage."""
        if self.current is not None:
            self.stage.answer(self.current, self.asked_ms)
        self.current = None

    def _disturb(self, move: Move) -> None:
        """Something that is not meant for the model, while it speaks."""
        placed = self.stage.at(
            move.line, self.now + self.rng.randrange(500, 2500), -6.0 * (move.kind == "aside")
        )
        end = heard_end(placed)
        if self.current is None or not self.stage.fits(placed) or end + 400 > said_end(self.current):
            return
        self.stage.put(placed)
        self.now = end + 300
        begin, window = placed.word_start(0), min(end + 1000, said_end(self.current))
        during = [word.text for word in pace(self.current) if begin <= word.start_ms < window]
        self.stage.expect(Expected("carry_on", begin, window, " ".join(during)))

    def _talk(self, move: Move) -> None:
        placed = self.stage.at(move.line, self.now + self.rng.randrange(400, 2000))
        if self.stage.fits(placed):
            self.stage.put(placed)
            self.now = heard_end(placed) + 300

    def _heed(self, move: Move) -> bool:
        """An interruption, or what is asked once the model is silent; False where it does not fit."""
        stage, speaking = self.stage, self.current
        placed = stage.at(move.line, self.now + self.rng.randrange(600, 4500))
        heard, halt = heard_end(placed), react(placed.word_end(move.mark))
        cutting = speaking is not None and said_end(speaking) > placed.at_ms
        if not stage.fits(placed) or (cutting and speaking is not None and said_end(speaking) < halt + 300):
            return False
        if not cutting and move.kind in ("stop", "faster", "slower"):
            return False
        left = self.left
        if cutting and speaking is not None:
            begun = pace(replace(speaking, until_ms=None))
            left = left[sum(word.end_ms <= halt for word in begun) :]
            self.current = replace(speaking, until_ms=halt)
        says = {
            "stop": ("okay",),
            "instead": (move.answer,),
            "again": self.words,
            "go_on": left,
            "faster": hurried(left),
            "slower": slowed(left),
        }
        say = self._long(says[move.kind], heard)
        if say is None or (self.current is not None and said_end(self.current) > say.at_ms):
            self.current = speaking  # without what follows from it the interruption is dropped
            return False
        stage.put(placed)
        self._done()
        old = [word for word in hurried(left[:4]) if word not in say.text.replace(",", "").split()]
        if cutting and old:
            stage.expect(Expected("halt", halt, min(stage.ms, say.at_ms + 1000), " ".join(old)))
        self.left, self.current, self.asked_ms = left, say, heard
        self.now = say.at_ms
        if move.kind in ("stop", "instead"):
            self._done()
            self.now = said_end(say)
        else:
            self.left = says[move.kind]
        return True

"""Short questions, answered at once and briefly; and the patience to let somebody think in mid-sentence.

Conventions. An answer begins at `react` of the question's last word and is nothing but the answer. Plain
statements get none. A sentence that breaks off is waited for, however long the pause; where a speaker
corrects himself, only the correction counts. Typed questions are answered aloud.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from microturn.clock import tick_of
from microturn.scenes.episode import Clip, Episode, Expected, Line, Read, Say, Script, react
from microturn.scenes.stage import Stage, answer_read, heard_end, quiet, read_ms, said_end, say_ms
from microturn.scenes.talk import sentence
from microturn.scenes.wording import Wordings, parts, said_in, whole
from microturn.scenes.words import ALL, CLASSES, DAYS, DOUBTFUL, LETTERS, MONTHS, NAMES, number
from microturn.streams import Channel

KINDS = {"animal": "an animal", "food": "something to eat", "colour": "a colour", "place": "a place"}

SAID = said_in("converse")


@dataclass(frozen=True)
class Ask:
    """A question with its marks, and what there is to answer."""

    text: str
    answer: str


class _Questions:
    """One maker for each kind of question; what is counted or spelled has at most about `longest` words."""

    def __init__(self, rng: random.Random, split: str, longest: int) -> None:
        self.rng, self.split, self.longest = rng, split, longest

    def draw(self, name: str, **slots: str) -> str:
        return SAID[name].draw(self.rng, self.split, **slots)

    def repeat(self) -> Ask:
        count = self.rng.choice((1, 1, 2, 3))
        said = " ".join(self.rng.sample(ALL, count))
        return Ask(self.draw("REPEAT", x=said), said)

    def spell(self) -> Ask:
        word = self.rng.choice([w for w in ALL if len(w) <= max(4, self.longest)])
        return Ask(self.draw("SPELL", x=word), " ".join(word))

    def count(self) -> Ask:
        n = self.rng.randint(3, max(4, self.longest))
        said = " ".join(number(i) for i in range(1, n + 1))
        if self.rng.random() < 0.3:
            m = self.rng.choice([k for k in range(3, 21) if k != n])
            return Ask(self.draw("COUNT_FIXED", n=number(n), m=number(m)), said)
        return Ask(self.draw("COUNT", n=number(n)), said)

    def down(self) -> Ask:
        n = self.rng.randint(3, max(4, min(12, self.longest)))
        return Ask(self.draw("DOWN", n=number(n)), " ".join(number(i) for i in range(n, 0, -1)))

    def listing(self) -> Ask:
        what, said = self.rng.choice(
            (("days of the week", DAYS), ("days", DAYS), ("months", MONTHS), ("alphabet", LETTERS))
        )
        return (
            Ask(self.draw("LIST", list=what), " ".join(said))
            if len(said) <= self.longest + 2
            else self.count()
        )

    def plus(self) -> Ask:
        a, b, c = self.rng.randint(1, 10), self.rng.randint(1, 10), self.rng.randint(11, 19)
        name = "PLUS_FIXED" if self.rng.random() < 0.25 else "PLUS"
        return Ask(self.draw(name, a=number(a), b=number(b), c=number(c)), number(a + b))

    def minus(self) -> Ask:
        a = self.rng.randint(2, 12)
        b = self.rng.randint(1, a - 1)
        return Ask(self.draw("MINUS", a=number(a), b=number(b)), number(a - b))

    def bigger(self) -> Ask:
        a, b = self.rng.sample(range(1, 21), 2)
        return Ask(self.draw("BIGGER", a=number(a), b=number(b)), number(max(a, b)))

    def after(self) -> Ask:
        row = self.rng.choice((DAYS, MONTHS, LETTERS, tuple(map(number, range(1, 31)))))
        i = self.rng.randrange(len(row) - 1)
        if self.rng.random() < 0.3:
            return Ask(self.draw("BEFORE", x=row[i + 1]), row[i])
        said = SAID["AFTER"]
        wordings = Wordings(said.train[:3], said.reserved) if row is LETTERS else said
        text = wordings.draw(self.rng, self.split, x=row[i])
        kind = "day" if row is DAYS else "month" if row is MONTHS else "number"
        for other in ("which day", "which month", "which number"):
            text = text.replace(other, f"which {kind}")
        return Ask(text, row[i + 1])

    def is_a(self) -> Ask:
        kind = self.rng.choice(tuple(KINDS))
        of = kind if self.rng.random() < 0.5 else self.rng.choice([k for k in KINDS if k != kind])
        some = [w for w in CLASSES[of] if of == kind or w not in CLASSES[kind]]
        word = self.rng.choice(some)
        while of != kind and word in DOUBTFUL.get(kind, ()):
            word = self.rng.choice(some)
        return Ask(self.draw("IS_A", x=word, kind=KINDS[kind]), "yes" if of == kind else "no")

    def is_more(self) -> Ask:
        a, b = self.rng.sample(range(1, 21), 2)
        return Ask(self.draw("IS_MORE", a=number(a), b=number(b)), "yes" if a > b else "no")

    def first(self) -> Ask:
        word = self.rng.choice(ALL)
        return Ask(self.draw("FIRST", x=word), word[0])

    def told(self) -> Ask:
        word = self.rng.choice(NAMES)
        return Ask(self.draw("DEFER", x=word), word)


def _always(name: str, answer: str) -> Callable[[_Questions], Ask]:
    """Of a question that has one answer."""
    return lambda questions: Ask(questions.draw(name), answer)


_Q = _Questions
MAKERS: tuple[tuple[Callable[[_Questions], Ask], int, int], ...] = (  # and how often they come: in talk, in a drill
    (_always("HELLO", "hello"), 3, 4), (_always("NAME", "my name is micro"), 3, 3),
    (_always("WELL", "i'm good, thank you"), 2, 4), (_always("THANKS", "you're welcome"), 2, 3),
    (_always("BYE", "goodbye"), 2, 3), (_always("THERE", "yes"), 1, 3),
    (_Q.repeat, 6, 10), (_Q.spell, 3, 18), (_Q.count, 4, 7), (_Q.down, 2, 5), (_Q.listing, 2, 3), (_Q.plus, 4, 18),
    (_Q.minus, 2, 14), (_Q.bigger, 3, 12), (_Q.after, 4, 18), (_Q.is_a, 2, 12), (_Q.is_more, 2, 10), (_Q.first, 2, 9),
    (_Q.told, 2, 4),
)  # fmt: skip


def ask(rng: random.Random, split: str, longest: int = 12, drill: bool = False) -> Ask:
    """Any question; in a drill more often one that is hard."""
    make = rng.choices([make for make, *_ in MAKERS], [shares[drill] for _, *shares in MAKERS])[0]
    return make(_Questions(rng, split, longest))


@dataclass(frozen=True)
class Turn:
    """One thing the user says, in one line or, with a pause to think, in two; typed where there is none."""

    lines: tuple[int, ...]
    answer: str  # empty: a statement
    typed: str = ""


@dataclass(frozen=True)
class Manner:
    """Of a conversation: how often a question, one with a pause to think, a typed one, a statement; and the rests
    (ms) behind an answer; and the share of the time that its questions may fill, said at an ordinary pace.
    """

    kinds: tuple[int, int, int, int]
    rests: tuple[int, int]
    quick: float
    waits: tuple[int, int] = (600, 3000)  # ms of a pause to think
    longest: int = 1 << 10  # words that are counted or spelled, where the episode has room for more
    drill: bool = False  # more often what is hard


TALK = Manner((10, 6, 2, 4), (300, 2200), 1.0)
# One question after the other, to be learned from given words
DRILL = Manner((10, 3, 1, 0), (0, 60), 6.0, waits=(400, 1600), longest=8, drill=True)


class Converse:
    def __init__(self, name: str = "converse", manner: Manner = TALK) -> None:
        self.name, self.manner = name, manner

    def script(self, rng: random.Random, split: str, seconds: float) -> Script:
        lines: list[Line] = []
        turns: list[Turn] = []
        left = seconds * 1000 * self.manner.quick - 1500
        while left > 0 or not turns:
            kind = rng.choices(("ask", "pause", "typed", "statement"), self.manner.kinds)[0]
            longest = min(int(seconds / 2), self.manner.longest)
            asked = (
                Ask(sentence(rng), "") if kind == "statement" else ask(rng, split, longest, self.manner.drill)
            )
            texts = parts(asked.text) if kind == "pause" else [whole(asked.text)]
            if kind == "typed":
                turns.append(Turn((), asked.answer, texts[0]))
            else:
                turns.append(Turn(tuple(range(len(lines), len(lines) + len(texts))), asked.answer))
                lines += [Line(text) for text in texts]
                left -= say_ms(" ".join(texts)) + 1800 * (len(texts) - 1)
            left -= say_ms(asked.answer) + self.manner.rests[0] + 1200
        return Script(self.name, 0, tuple(lines), {"turns": tuple(turns)})

    def compose(self, script: Script, clips: Sequence[Clip], rng: random.Random, seconds: float) -> Episode:
        stage = Stage(script, tuple(clips), seconds)
        turns = script.facts["turns"]
        assert isinstance(turns, tuple)
        now = rng.randrange(100, 2000)
        for turn in turns:
            now = _place(stage, rng, turn, now, self.manner)
        if not stage.says:
            stage.expect(quiet(0, stage.ms))
        return stage.episode()


def _place(stage: Stage, rng: random.Random, turn: Turn, now: int, manner: Manner) -> int:
    """Place a turn with its answer, if both fit; when (ms) the next one may begin."""
    if turn.typed:
        return _typed(stage, rng, turn, now, manner.rests)
    placed = [stage.at(turn.lines[0], now)]
    for line in turn.lines[1:]:
        placed.append(stage.at(line, heard_end(placed[-1]) + rng.randrange(*manner.waits)))
    heard = heard_end(placed[-1])
    if not stage.fits(placed[-1]):
        return now
    if not turn.answer:
        stage.put(*placed)
        stage.expect(quiet(now, heard + 1000))
        return heard + rng.randrange(1000, 2500)
    say = Say(turn.answer, react(heard))
    if not stage.free(say):
        return now
    stage.put(*placed)
    stage.answer(say, heard)
    for first, second in pairwise(placed):
        stage.expect(Expected("pause", heard_end(first), second.word_start(0)))
    return said_end(say) + rng.randrange(*manner.rests)


def _typed(stage: Stage, rng: random.Random, turn: Turn, now: int, rests: tuple[int, int]) -> int:
    read = Read(tick_of(now), Channel.TYPED, turn.typed)
    say = Say(turn.answer, answer_read(read))
    if not stage.free(say):
        return now
    stage.reads.append(read)
    stage.answer(say, read_ms(read))
    return said_end(say) + rng.randrange(*rests)

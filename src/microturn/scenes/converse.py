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
from microturn.scenes.wording import Wordings, parts, whole
from microturn.scenes.words import ALL, CLASSES, DAYS, LETTERS, MONTHS, NAMES, number
from microturn.streams import Channel

KINDS = {"animal": "an animal", "food": "something to eat", "colour": "a colour", "place": "a place"}

NAME = Wordings(
    train=(
        "what's your / name",
        "what is your / name",
        "who are you",
        "tell me your / name",
        "(do you|) have a name",
    ),
    reserved=(
        "who am i / talking to",
        "i didn't catch your / name",
        "what name did they / give you",
        "and you are called / what",
        "what should i / call you",
    ),
    more=(
        "tell me who you / are",
        "and your / name",
        "what do they call / you",
        "what's the name of you",
        "i'd like to know your / name",
        "do you have a name or / not",
        "may i ask your / name",
        "what are you / called",
    ),
)
HELLO = Wordings(
    train=(
        "(hello|hi|hey)",
        "(hello|hi|hey) (there|micro)",
        "good (morning|evening)",
    ),
    reserved=(
        "nice to (meet|see) you",
        "(hi|hello) it's me (again|)",
        "a (very|) good day to you",
    ),
    more=(
        "hello hello",
        "hi again",
    ),
)
WELL = Wordings(
    train=(
        "how are you (today|doing|)",
        "how's it going",
    ),
    reserved=(
        "(is|) everything (okay|alright|good) with you",
        "what kind of day are you having",
        "feeling (good|well|alright) today",
        "(and|) how does life treat you",
    ),
    more=(
        "how do you do",
        "how are things",
    ),
)
THANKS = Wordings(
    train=(
        "thank you (very much|so much|)",
        "thanks (a lot|micro|)",
    ),
    reserved=(
        "(cheers|ta) (for that|)",
        "that (was|is) (very|so) (kind|nice) of you",
        "i (really|) appreciate (it|that)",
        "you've been a (great|big) help",
    ),
    more=(
        "many thanks",
        "thank you micro",
    ),
)
BYE = Wordings(
    train=(
        "(goodbye|bye|bye bye)",
        "(goodbye|bye) micro",
        "see you (later|tomorrow)",
    ),
    reserved=(
        "(okay|well|) i (have to|must|gotta) go (now|)",
        "(take care|have a good one) (now|)",
        "(catch|talk to) you (soon|another time)",
        "(good night|cheerio) (then|micro|)",
    ),
    more=("bye for now",),
)
THERE = Wordings(
    train=(
        "(are you there|can you hear me)",
        "do you hear me",
    ),
    reserved=(
        "did (i lose you|you fall asleep|you go away)",
        "is this (thing|) (on|working)",
    ),
    more=(
        "(hello|hi) are you there",
        "can you still hear me",
        "do you hear what i say",
        "are you with me",
        "is anybody there",
        "are you listening",
        "are you still there",
    ),
)
REPEAT = Wordings(
    train=(
        "(please|) repeat after me / {x}",
        "(please|) say / {x}",
        "can you say / {x}",
        "repeat / {x}",
        "say the word / {x}",
    ),
    reserved=(
        "let me hear you say / {x}",
        "have a go at saying / {x}",
        "what i want you to say (now|) is / {x}",
        "say it like i do / {x}",
        "{x} can you / say that back",
    ),
    more=(
        "i want you to say / {x}",
        "(will you|) repeat the word / {x}",
        "(now|just) say / {x}",
        "say it like me / {x}",
        "say {x} (please|for me)",
        "copy me / {x}",
        "i say {x} you say / {x}",
        "do say / {x}",
        "try to say / {x}",
        "the word to repeat is / {x}",
        "(could|would) you say / {x}",
        "after me / {x}",
        "pronounce / {x}",
    ),
)
SPELL = Wordings(
    train=(
        "(please|can you|) spell / {x}",
        "how do you spell / {x}",
        "spell the word / {x}",
        "how is {x} spelled",
    ),
    reserved=(
        "which letters do i need to write / {x}",
        "i've forgotten how to spell / {x}",
        "{x} how do you / spell that (one|)",
        "what's the right spelling (of|for) / {x}",
    ),
    more=(
        "(will you|) spell {x} (please|for me)",
        "how do i write / {x}",
        "spell me the word / {x}",
        "which letters does {x} have",
        "say {x} letter by letter",
        "letter by letter please / {x}",
        "i want you to spell / {x}",
        "tell me how to spell / {x}",
        "(could|would) you spell / {x}",
        "what are the letters in / {x}",
        "give me the letters of / {x}",
    ),
)
COUNT = Wordings(
    train=(
        "(please|can you|) count to / {n}",
        "count from one to / {n}",
        "count up to / {n}",
        "i want you to count to / {n}",
    ),
    reserved=(
        "say all the numbers (up|) to / {n}",
        "count (for me|out loud) and stop at / {n}",
        "show me you can count (up|) to / {n}",
        "one two three and so on until / {n}",
    ),
    more=(
        "(will you|now|just) count to / {n}",
        "count all the way to / {n}",
        "i'd like you to count up to / {n}",
        "start at one and count to / {n}",
        "count the numbers to / {n}",
        "go from one to / {n}",
        "say the numbers from one to / {n}",
        "one to {n} please",
        "(could|would) you count to / {n}",
        "let me hear you count to / {n}",
        "count till / {n}",
    ),
)
COUNT_FIXED = Wordings(
    train=(
        "count to {m} no to / {n}",
        "count to {m} sorry to / {n}",
        "count to {m} i mean to / {n}",
        "count to {m} no wait to / {n}",
    ),
    reserved=(
        "count to {m} sorry i meant / {n}",
        "count up to {m} actually make that / {n}",
        "can you count to {m} or better / {n}",
        "let me hear you count to {m} scratch that / {n}",
    ),
    more=(
        "count to {m} or rather to / {n}",
        "count up to {m} no up to / {n}",
    ),
)
DOWN = Wordings(
    train=(
        "(please|can you|) count down from / {n}",
        "count backwards from / {n}",
        "give me a countdown from / {n}",
    ),
    reserved=(
        "start at / {n} and go backwards",
        "we're launching a rocket the countdown starts at / {n}",
        "say the numbers in reverse from / {n}",
        "can you go down (one by one|step by step) from / {n}",
    ),
    more=(
        "(will you|now|just) count down from / {n}",
        "a countdown from {n} please",
        "count the numbers down from / {n}",
        "start at {n} and count down",
        "i want a countdown from / {n}",
        "(could|would) you count down from / {n}",
        "count from {n} down to one",
    ),
)
LIST = Wordings(
    train=(
        "(please|can you|) say the {list}",
        "tell me the {list}",
        "what are the {list}",
        "list the / {list}",
        "name the / {list}",
    ),
    reserved=(
        "i'd like to hear the / {list}",
        "(could|would) you run through the / {list} (with me|)",
        "i forgot the / {list} can you help me",
        "let's have the / {list} from start to finish",
    ),
    more=(
        "(will you|now|just) say the {list}",
        "do you know the / {list}",
        "i want to hear the / {list}",
        "the {list} please",
        "say all the / {list}",
        "give me the / {list}",
        "tell me all the / {list}",
        "(could|would) you recite the / {list}",
        "go through the / {list}",
        "let me hear the / {list}",
    ),
)
PLUS = Wordings(
    train=(
        "what is {a} plus / {b}",
        "what's {a} and / {b}",
        "how much is {a} plus / {b}",
        "{a} plus / {b}",
        "add {a} and / {b}",
    ),
    reserved=(
        "i've got {a} and i get / {b} more how many now",
        "put {a} and / {b} together (what do you get|)",
        "what do i get in total from {a} and / {b}",
        "start with {a} then add / {b}",
        "{a} and / {b} makes what",
    ),
    more=(
        "(tell me|say) what {a} plus {b} is",
        "if i add {a} and {b} what is it",
        "{a} and {b} together is",
        "add {b} to / {a}",
        "do you know {a} plus / {b}",
        "what is {a} and / {b}",
        "what do {a} and {b} make",
        "the sum of {a} and / {b}",
        "calculate {a} plus / {b}",
    ),
)
PLUS_FIXED = Wordings(
    train=(
        "what is {a} plus {c} no plus / {b}",
        "what is {a} plus {c} sorry plus / {b}",
        "what is {a} plus {c} i mean plus / {b}",
    ),
    reserved=(
        "{a} plus {c} oops i meant to say / {b}",
        "how much is {a} and {c} sorry and / {b}",
        "add {a} and {c} hang on make that / {b}",
        "(please|) work out {a} plus {c} scratch that plus / {b}",
    ),
    more=(
        "what is {a} plus {c} or rather plus / {b}",
        "what's {a} and {c} no and / {b}",
    ),
)
MINUS = Wordings(
    train=(
        "what is {a} minus / {b}",
        "what's {a} minus / {b}",
        "how much is {a} minus / {b}",
        "{a} minus / {b}",
    ),
    reserved=(
        "what's left of {a} when you take away / {b}",
        "i had {a} cookies and ate / {b} how many left",
        "what number is / {b} less than {a}",
        "from {a} you take / {b} what do you get",
        "start at {a} and go / {b} back where are you",
    ),
    more=(
        "(tell me|say) what {a} minus {b} is",
        "what does {a} minus {b} give",
        "subtract {b} from / {a}",
        "how much is left when i take {b} from / {a}",
        "do you know {a} minus / {b}",
        "what is {a} less / {b}",
        "what is left of {a} without / {b}",
        "take {b} away from / {a}",
        "calculate {a} minus / {b}",
    ),
)
BIGGER = Wordings(
    train=(
        "(which|what) is (bigger|more) {a} or / {b}",
        "(which|what) number is bigger {a} or / {b}",
    ),
    reserved=(
        "is the bigger one {a} or / {b}",
        "i've got {a} and you've got / {b} who has more",
        "pick the higher number {a} or / {b}",
    ),
    more=(
        "tell me which is bigger {a} or / {b}",
        "{a} or {b} which is (bigger|more)",
        "is it {a} or {b} that is bigger",
        "what is the bigger number {a} or / {b}",
        "of {a} and {b} which is more",
        "which one is greater {a} or / {b}",
        "what's more {a} or / {b}",
    ),
)
AFTER = Wordings(
    train=(
        "what (comes|is) after / {x}",
        "what comes next after / {x}",
        "tell me what comes after / {x}",
        "which (day|month|number) comes after / {x}",
    ),
    reserved=(
        "which one follows (on from|) / {x}",
        "i got as far as / {x} what's next",
        "after / {x} you get what",
        "what's next in line after / {x}",
    ),
    more=(
        "and what comes after / {x}",
        "what do you say after / {x}",
        "after {x} comes what",
        "do you know what comes after / {x}",
        "what's the one after / {x}",
        "which one comes after / {x}",
        "{x} and then what",
        "name the one after / {x}",
        "what follows / {x}",
        "and after / {x}",
        "say what is next after / {x}",
    ),
)
BEFORE = Wordings(
    train=(
        "what (comes|is) before / {x}",
        "tell me what comes before / {x}",
    ),
    reserved=(
        "what do you say (just|right) before you get to / {x}",
        "{x} comes right after / what",
        "which one is in front of / {x}",
        "go one back from / {x}",
    ),
    more=(
        "and what comes before / {x}",
        "before {x} comes what",
        "do you know what comes before / {x}",
        "what's the one before / {x}",
        "name the one before / {x}",
        "which one is right before / {x}",
        "say what is before / {x}",
    ),
)
IS_A = Wordings(
    train=(
        "is a {x} {kind}",
        "is {x} {kind}",
        "tell me is {x} {kind}",
        "is {x} / {kind} or not",
    ),
    reserved=(
        "would you call a {x} / {kind}",
        "does {x} count as / {kind}",
        "{x} is / {kind} (right|isn't it)",
        "i wonder (if|whether) a {x} is / {kind}",
    ),
    more=(
        "do you think {x} is / {kind}",
        "can you say if {x} is / {kind}",
        "{x} is that / {kind}",
        "is it right that {x} is / {kind}",
        "i wonder is {x} / {kind}",
        "what about {x} is it / {kind}",
        "would you say {x} is / {kind}",
        "yes or no is {x} / {kind}",
    ),
)
IS_MORE = Wordings(
    train=(
        "is {a} (bigger|more) than / {b}",
        "is {a} a bigger number than / {b}",
    ),
    reserved=(
        "{a} is more than / {b} (right|isn't it|true or false)",
        "does {a} beat / {b}",
        "do i have more with {a} than with / {b}",
    ),
    more=(
        "tell me is {a} more than / {b}",
        "do you think {a} is bigger than / {b}",
        "is it true that {a} is more than / {b}",
        "{a} is that more than / {b}",
        "yes or no is {a} more than / {b}",
        "is {a} greater than / {b}",
    ),
)
FIRST = Wordings(
    train=(
        "what letter does {x} start with",
        "what's the first letter of / {x}",
        "which letter does {x} begin with",
    ),
    reserved=(
        "{x} begins with (what|which) letter",
        "if i write {x} what letter do i write first",
        "give me just the first letter of {x}",
        "which letter do you see at the front of {x}",
    ),
    more=(
        "tell me the first letter of / {x}",
        "which letter is first in / {x}",
        "what is the first letter in / {x}",
        "the first letter of {x} please",
        "with what letter does {x} begin",
        "how does {x} begin",
    ),
)
DEFER = Wordings(
    train=(
        "my name is {x} what's my / name",
        "i'm {x} what is my / name",
        "my name is {x} who am / i",
    ),
    reserved=(
        "i'm {x} (so|now) can you tell me who i / am",
        "they call me {x} what do they / call me",
        "hi {x} here do you know my / name",
        "you can call me {x} so what am i / called",
    ),
    more=(
        "i am {x} tell me my / name",
        "hello i'm {x} so what's my / name",
        "people call me {x} who am / i",
        "the name is {x} so who am / i",
        "call me {x} now what's my / name",
        "i am called {x} who am / i",
    ),
)


@dataclass(frozen=True)
class Ask:
    """A question with its marks, and what there is to answer."""

    text: str
    answer: str


class _Questions:
    """One maker for each kind of question; what is counted or spelled has at most about `longest` words."""

    def __init__(self, rng: random.Random, split: str, longest: int) -> None:
        self.rng, self.split, self.longest = rng, split, longest

    def draw(self, wordings: Wordings, **slots: str) -> str:
        return wordings.draw(self.rng, self.split, **slots)

    def hello(self) -> Ask:
        return Ask(self.draw(HELLO), "hello")

    def name(self) -> Ask:
        return Ask(self.draw(NAME), "my name is micro")

    def well(self) -> Ask:
        return Ask(self.draw(WELL), "i'm good, thank you")

    def thanks(self) -> Ask:
        return Ask(self.draw(THANKS), "you're welcome")

    def bye(self) -> Ask:
        return Ask(self.draw(BYE), "goodbye")

    def there(self) -> Ask:
        return Ask(self.draw(THERE), "yes")

    def repeat(self) -> Ask:
        count = self.rng.choice((1, 1, 2, 3))
        said = " ".join(self.rng.sample(ALL, count))
        return Ask(self.draw(REPEAT, x=said), said)

    def spell(self) -> Ask:
        word = self.rng.choice([w for w in ALL if len(w) <= max(4, self.longest)])
        return Ask(self.draw(SPELL, x=word), " ".join(word))

    def count(self) -> Ask:
        n = self.rng.randint(3, max(4, self.longest))
        said = " ".join(number(i) for i in range(1, n + 1))
        if self.rng.random() < 0.3:
            m = self.rng.choice([k for k in range(3, 21) if k != n])
            return Ask(self.draw(COUNT_FIXED, n=number(n), m=number(m)), said)
        return Ask(self.draw(COUNT, n=number(n)), said)

    def down(self) -> Ask:
        n = self.rng.randint(3, max(4, min(12, self.longest)))
        return Ask(self.draw(DOWN, n=number(n)), " ".join(number(i) for i in range(n, 0, -1)))

    def listing(self) -> Ask:
        what, said = self.rng.choice(
            (("days of the week", DAYS), ("days", DAYS), ("months", MONTHS), ("alphabet", LETTERS))
        )
        return (
            Ask(self.draw(LIST, list=what), " ".join(said)) if len(said) <= self.longest + 2 else self.count()
        )

    def plus(self) -> Ask:
        a, b, c = self.rng.randint(1, 10), self.rng.randint(1, 10), self.rng.randint(11, 19)
        wordings = PLUS_FIXED if self.rng.random() < 0.25 else PLUS
        return Ask(self.draw(wordings, a=number(a), b=number(b), c=number(c)), number(a + b))

    def minus(self) -> Ask:
        a = self.rng.randint(2, 12)
        b = self.rng.randint(1, a - 1)
        return Ask(self.draw(MINUS, a=number(a), b=number(b)), number(a - b))

    def bigger(self) -> Ask:
        a, b = self.rng.sample(range(1, 21), 2)
        return Ask(self.draw(BIGGER, a=number(a), b=number(b)), number(max(a, b)))

    def after(self) -> Ask:
        row = self.rng.choice((DAYS, MONTHS, LETTERS, tuple(map(number, range(1, 31)))))
        i = self.rng.randrange(len(row) - 1)
        if self.rng.random() < 0.3:
            return Ask(self.draw(BEFORE, x=row[i + 1]), row[i])
        wordings = Wordings(AFTER.train[:3], AFTER.reserved) if row is LETTERS else AFTER
        text = self.draw(wordings, x=row[i])
        kind = "day" if row is DAYS else "month" if row is MONTHS else "number"
        for other in ("which day", "which month", "which number"):
            text = text.replace(other, f"which {kind}")
        return Ask(text, row[i + 1])

    def is_a(self) -> Ask:
        kind = self.rng.choice(tuple(KINDS))
        of = kind if self.rng.random() < 0.5 else self.rng.choice([k for k in KINDS if k != kind])
        word = self.rng.choice([w for w in CLASSES[of] if of == kind or w not in CLASSES[kind]])
        return Ask(self.draw(IS_A, x=word, kind=KINDS[kind]), "yes" if of == kind else "no")

    def is_more(self) -> Ask:
        a, b = self.rng.sample(range(1, 21), 2)
        return Ask(self.draw(IS_MORE, a=number(a), b=number(b)), "yes" if a > b else "no")

    def first(self) -> Ask:
        word = self.rng.choice(ALL)
        return Ask(self.draw(FIRST, x=word), word[0])

    def told(self) -> Ask:
        word = self.rng.choice(NAMES)
        return Ask(self.draw(DEFER, x=word), word)


_Q = _Questions
MAKERS: tuple[tuple[Callable[[_Questions], Ask], int], ...] = (
    (_Q.hello, 3), (_Q.name, 3), (_Q.well, 2), (_Q.thanks, 2), (_Q.bye, 2), (_Q.there, 1), (_Q.repeat, 6),
    (_Q.spell, 3), (_Q.count, 4), (_Q.down, 2), (_Q.listing, 2), (_Q.plus, 4), (_Q.minus, 2), (_Q.bigger, 3),
    (_Q.after, 4), (_Q.is_a, 2), (_Q.is_more, 2), (_Q.first, 2), (_Q.told, 2),
)  # fmt: skip


HARD = (  # what wants more drill than talk brings
    *(_Q.spell, _Q.plus, _Q.minus, _Q.after, _Q.first, _Q.repeat, _Q.bigger, _Q.is_a, _Q.is_more, _Q.told),
)


def ask(rng: random.Random, split: str, longest: int = 12, hard: int = 1) -> Ask:
    """Any question. `hard`: how many times as often it is one that is hard."""
    weights = [weight * (hard if make in HARD else 1) for make, weight in MAKERS]
    make = rng.choices([make for make, _ in MAKERS], weights)[0]
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
    (ms) behind an answer. `hard`: how much more often hard questions come; `quick`: how much more fits in.
    """

    kinds: tuple[int, int, int, int]
    rests: tuple[int, int]
    hard: int
    quick: float


TALK = Manner((10, 6, 2, 4), (300, 2200), 1, 1.0)
DRILL = Manner(
    (10, 0, 3, 1), (0, 200), 4, 2.5
)  # one question after the other, to be learned from given words


class Converse:
    def __init__(self, name: str = "converse", manner: Manner = TALK) -> None:
        self.name, self.manner = name, manner

    def script(self, rng: random.Random, split: str, seconds: float) -> Script:
        lines: list[Line] = []
        turns: list[Turn] = []
        left = seconds * 1000 * self.manner.quick - 1500
        while left > 0 or not turns:
            kind = rng.choices(("ask", "pause", "typed", "statement"), self.manner.kinds)[0]
            hard = self.manner.hard
            asked = Ask(sentence(rng), "") if kind == "statement" else ask(rng, split, int(seconds / 2), hard)
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
            now = _place(stage, rng, turn, now, self.manner.rests)
        if not stage.says:
            stage.expect(quiet(0, stage.ms))
        return stage.episode()


def _place(stage: Stage, rng: random.Random, turn: Turn, now: int, rests: tuple[int, int]) -> int:
    """Place a turn with its answer, if both fit; when (ms) the next one may begin."""
    if turn.typed:
        return _typed(stage, rng, turn, now, rests)
    placed = [stage.at(turn.lines[0], now)]
    for line in turn.lines[1:]:
        placed.append(stage.at(line, heard_end(placed[-1]) + rng.randrange(600, 3000)))
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
    return said_end(say) + rng.randrange(*rests)


def _typed(stage: Stage, rng: random.Random, turn: Turn, now: int, rests: tuple[int, int]) -> int:
    read = Read(tick_of(now), Channel.TYPED, turn.typed)
    say = Say(turn.answer, answer_read(read))
    if not stage.free(say):
        return now
    stage.reads.append(read)
    stage.answer(say, read_ms(read))
    return said_end(say) + rng.randrange(*rests)

"""What the model cannot know alone: hand it over, stay present, and say what came back when there is room for it.

Conventions. A question for the background model is delegated in the step that hears its end; “let me check” follows
a tick later. Questions that the model can answer itself are never delegated, before or meanwhile. Results are read
on the background channel in the inbox's form, `final: "…"` and before it perhaps `commentary: "…"`, a first part of
it; `thinking: "…"` and what is marked silent is never spoken. A result is spoken, word by word as it stands, as soon
as its first word has been read (the rest is read faster than it is said), the user has been silent for `CALM_MS` and
nothing else is being said; of what `final, revised: "…"` revises, nothing is, and where nobody was talking the inbox
has replaced it. `NEWS_MS` after the last word of both with nothing to tell, “still looking” is said, once.
Work that is called off is cancelled in the step that hears it
(“okay” a tick later), and what still comes of it is not spoken. Another wish instead cancels and delegates again.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from microturn.clock import TICK_MS, start_ms, tick_of
from microturn.scenes.converse import ask
from microturn.scenes.episode import HEARD_MS, Clip, Episode, Expected, Line, Placed, Say, Script, react
from microturn.scenes.stage import REPLY_MS, Stage, heard_end, quiet, said_end, say_ms
from microturn.scenes.talk import sentence
from microturn.scenes.wording import Wordings, fill, said_in, table, whole
from microturn.scenes.words import ANIMALS, DAYS, FOODS, NAMES, OBJECTS, PLACES, number
from microturn.streams import LEAD_TICKS, Channel, Decision

_TABLE = table("topics")
CITIES = _TABLE["cities"].split()
TOPICS = tuple(  # what is asked and what may come back
    (Wordings(tuple(topic["train"]), tuple(topic["reserved"])), topic["results"]) for topic in _TABLE["topic"]
)
SAID = said_in("delegate")
CALM_MS = 600  # of silence before a result is spoken
NEWS_MS = 6000  # of silence while work runs, before that is said
NEWS_WINDOW_MS = 1000  # that may come so much sooner or later
SLOW_CHARACTERS = 8  # of a result are certainly read in a tick
LET = "let me check"
STILL = "still looking"
SPOKEN = ('final: "', 'final, revised: "', 'commentary: "')  # how what is to be spoken begins


@dataclass(frozen=True)
class Move:
    """`kind` is delegate, cancel, instead, ask or talk. `results` are texts as they come back."""

    kind: str
    line: int
    answer: str = ""
    results: tuple[str, ...] = ()


def background(kind: str, text: str) -> str:
    """A result as the inbox hands it over."""
    return f'{kind}: "{text}"'


def begun_ticks(texts: Sequence[str]) -> int:
    """How many ticks it takes to read the first word that is to be spoken of the texts."""
    unread = 0
    for text in texts:
        if label := next((label for label in SPOKEN if text.startswith(label)), ""):
            return -(-(unread + len(label) + len(text[len(label) :].split()[0])) // SLOW_CHARACTERS)
        unread += len(text)
    raise ValueError("nothing of this is to be spoken")


def read_ticks(texts: Sequence[str]) -> int:
    """How many ticks it takes to read them all and to see that nothing follows."""
    return 1 + sum(map(len, texts)) // SLOW_CHARACTERS


def handed(texts: tuple[str, ...]) -> tuple[str, ...]:
    """What an inbox hands over of them to somebody who can speak at once: no result that another replaces."""
    if not texts[-1].startswith("final, revised"):
        return texts
    return (*(text for text in texts[:-1] if not text.startswith(SPOKEN)), texts[-1])


def spoken_from(texts: tuple[str, ...], arrives: int, calm: int) -> tuple[tuple[str, ...], int]:
    """What is read from `arrives` on, and when it begins to be spoken, if there is room for it from `calm` on."""
    tick = tick_of(arrives)
    if calm < start_ms(tick + read_ticks(texts) + LEAD_TICKS):
        texts = handed(texts)
    return texts, max(calm, start_ms(tick + begun_ticks(texts) - 1 + LEAD_TICKS))


def made_up(rng: random.Random) -> str:
    """A name that nobody has heard before."""
    return "".join(rng.choice("bdfgklmnprstvz") + rng.choice("aeiou") for _ in range(rng.choice((2, 2, 3))))


def wish(rng: random.Random, split: str) -> tuple[str, str, tuple[str, ...]]:
    """What is asked, the words that should come of it, and all that is read."""
    wordings, forms = rng.choice(TOPICS)
    slots: dict[str, str] = {
        "city": rng.choice(CITIES), "day": rng.choice(DAYS), "object": rng.choice(OBJECTS),
        "place": rng.choice(PLACES), "animal": rng.choice(ANIMALS), "name": rng.choice(NAMES),
        "food": rng.choice(FOODS), "made": made_up(rng), "made2": made_up(rng),
    }  # fmt: skip
    numbers = {"n": rng.randint(2, 99), "h": rng.randint(1, 12), "m": rng.randint(10, 59)}
    words = {slot: number(n) for slot, n in numbers.items()}
    text = wordings.draw(rng, split, **slots, **words)

    def result() -> tuple[str, str]:
        """As it is read and as it is said; it may be any sentence at all."""
        if rng.random() < 0.25:
            said = sentence(rng)
            return said, said
        form = fill(rng.choice(forms), rng, **slots, **{slot: f"{{{slot}}}" for slot in numbers})
        said = form.format(**words)
        if rng.random() < 0.5:
            return said, said
        read = form.format(**numbers)
        return read[0].upper() + read[1:] + ".", said

    (read, said), how = result(), rng.choices(("whole", "parts", "revised"), (7, 2, 2))[0]
    texts = [background("final, revised" if how == "revised" else "final", read)]
    if how != "whole":
        earlier, first = result()
        texts.insert(
            0, background(rng.choice(("final", "commentary")) if how == "revised" else "commentary", earlier)
        )
        said = f"{first} {said}" if how == "parts" else said
    if rng.random() < 0.3:
        texts.insert(
            0, background(rng.choice(("thinking", "commentary, silent")), rng.choice(_TABLE["thinking"]))
        )
    return text, said, tuple(texts)


class Delegate:
    name = "weave"

    def script(self, rng: random.Random, split: str, seconds: float) -> Script:
        lines: list[Line] = []
        moves: list[Move] = []
        left = seconds * 1000 - 1500

        def add(kind: str, text: str, answer: str = "", results: tuple[str, ...] = ()) -> None:
            nonlocal left
            moves.append(Move(kind, len(lines), answer, results))
            lines.append(Line(text))
            left -= say_ms(text) + say_ms(answer) + 2000

        def question() -> None:
            asked = ask(rng, split, 6)
            add("ask", whole(asked.text), asked.answer)

        while left > 0 or not lines:
            if rng.random() < 0.25:
                question()
            add("delegate", *wish(rng, split))
            then = rng.choices(("", "ask", "talk", "cancel", "instead"), (4, 4, 4, 3, 2))[0]
            if then == "ask":
                question()
            elif then == "talk":
                for _ in range(rng.randint(1, 2)):
                    add("talk", sentence(rng))
            elif then == "cancel":
                add("cancel", SAID["CANCEL"].draw(rng, split), "okay")
            elif then == "instead":
                text, answer, results = wish(rng, split)
                add("instead", SAID["INSTEAD"].draw(rng, split, x=text), answer, results)
        return Script(self.name, 0, tuple(lines), {"moves": tuple(moves)})

    def compose(self, script: Script, clips: Sequence[Clip], rng: random.Random, seconds: float) -> Episode:
        return _Player(Stage(script, tuple(clips), seconds), rng).play(script.facts["moves"])


class _Player:
    def __init__(self, stage: Stage, rng: random.Random) -> None:
        self.stage, self.rng = stage, rng
        self.now = rng.randrange(100, 1500)  # when the user may speak again
        self.heard = 0  # when the user's last word ended
        self.free = 0  # when the model has said what it says
        self.pending: Move | None = None  # delegated and not spoken yet
        self.arrives = 0  # when what comes of it does

    def play(self, moves: tuple[Move, ...]) -> Episode:
        acts: dict[str, Callable[[Move, Placed], bool]] = {
            "delegate": self._delegate, "instead": self._delegate, "cancel": self._cancel, "ask": self._ask,
            "talk": self._talk,
        }  # fmt: skip
        for move in moves:
            begin = self.now + self.rng.randrange(100, 500)
            if self.pending and (move.kind == "delegate" or self._handed(self.pending)[1] < begin + 400):
                self._weave(self.pending)
                begin = max(begin, self.now)
            placed = self.stage.at(move.line, begin)
            if not self.stage.fits(placed) or not acts[move.kind](move, placed):
                break
            self.stage.put(placed)
            self.heard = heard_end(placed)
            self.now = max(self.heard, self.free) + self.rng.randrange(200, 400 if self.pending else 1500)
        if self.pending:
            self._weave(self.pending)
        return self.stage.episode()

    def _handed(self, move: Move) -> tuple[tuple[str, ...], int]:
        """What is read of the result, and when it begins to be spoken if the user says nothing more."""
        calm = max(react(self.heard + CALM_MS - HEARD_MS), react(self.free))
        return spoken_from(move.results, self.arrives, calm)

    def _weave(self, move: Move) -> None:
        """Speak the result; nothing comes of it where the episode is too short."""
        self._no_news()
        texts, at = self._handed(move)
        say = Say(move.answer, at)
        if self.stage.free(say):
            for i, text in enumerate(texts):  # one right behind the other
                self.stage.read(text, tick_of(self.arrives) + i, Channel.BACKGROUND)
            self.stage.answer(say, say.at_ms - start_ms(LEAD_TICKS) - HEARD_MS)
            self.free = said_end(say)
            self.now = self.free + self.rng.randrange(400, 1500)
        self.pending = None

    def _no_news(self) -> None:
        """Tell that it takes its time, where nothing has come for so long."""
        say = Say(STILL, react(max(self.heard, self.free) + NEWS_MS))
        if self.arrives < say.at_ms - NEWS_WINDOW_MS or not self.stage.free(say):
            return
        self.stage.say(say)
        self.stage.expect(Expected("say", say.at_ms - NEWS_WINDOW_MS, say.at_ms + NEWS_WINDOW_MS, STILL))
        self.free = said_end(say)
        self.arrives = max(self.arrives, self.free + self.rng.randrange(200, 2000))

    def _decide(self, heard: int, *decisions: Decision) -> None:
        """In successive steps from the one that hears it."""
        for i, decision in enumerate(decisions):
            self.stage.decisions.append((tick_of(heard + HEARD_MS) + i, decision))
            self.stage.expect(Expected(decision.name.lower(), heard, heard + 1000))

    def _speak(self, text: str, at: int, heard: int) -> bool:
        say = Say(text, at)
        if at < self.free or not self.stage.free(say):
            return False
        self.stage.cued(say, heard, REPLY_MS)
        self.free = said_end(say)
        return True

    def _delegate(self, move: Move, placed: Placed) -> bool:
        heard = heard_end(placed)
        taken = [Decision.CANCEL] if move.kind == "instead" and self.pending else []
        at = react(heard) + TICK_MS * (len(taken) + 1)
        if tick_of(heard + HEARD_MS) + 1 >= self.stage.ticks or not self._speak(LET, at, heard):
            return False
        self._decide(heard, *taken, Decision.DELEGATE)
        takes = self.rng.randrange(400, 5000) if self.rng.random() < 0.75 else self.rng.randrange(5000, 11000)
        self.pending, self.arrives = move, self.free + takes
        return True

    def _cancel(self, move: Move, placed: Placed) -> bool:
        heard, taken = heard_end(placed), self.pending
        if taken is None or not self._speak(move.answer, react(heard) + TICK_MS, heard):
            return False
        self._decide(heard, Decision.CANCEL)
        self.pending = None
        late = max(self.arrives, self.free)
        if self.rng.random() < 0.4 and late + 3000 < self.stage.ms:  # it was on its way already
            self.stage.read(taken.results[-1], tick_of(late), Channel.BACKGROUND)
            self.stage.expect(quiet(self.free, late + 3000))
            self.now = late + 3000
            self.heard = self.free = self.now
        return True

    def _ask(self, move: Move, placed: Placed) -> bool:
        say, heard = Say(move.answer, react(heard_end(placed))), heard_end(placed)
        if say.at_ms < self.free or not self.stage.free(say):
            return False
        self.stage.answer(say, heard)
        self.free = said_end(say)
        return True

    def _talk(self, move: Move, placed: Placed) -> bool:
        if self.pending:
            self.stage.expect(Expected("pause", placed.word_start(0), heard_end(placed)))
        return True

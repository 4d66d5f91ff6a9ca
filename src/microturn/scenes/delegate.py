"""What the model cannot know alone: hand it over, stay present, and say what came back when there is room for it.

Conventions. A question for the background model is delegated in the step that hears its end; “let me check” follows
a tick later. Questions that the model can answer itself are never delegated, before or meanwhile. Results are read
on the background channel in the inbox's form, `final: "…"` or `commentary: "…"`; `thinking: "…"` is never spoken. A
result is spoken, word by word as it stands, once the user has been silent for `CALM_MS` and nothing else is being
said; where a newer one stands behind it, only that. Work that is called off is cancelled in the step that hears it
(“okay” a tick later), and what still comes of it is not spoken. Another wish instead cancels and delegates again.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from microturn.clock import TICK_MS, start_ms, tick_of
from microturn.scenes.converse import ask
from microturn.scenes.episode import HEARD_MS, Clip, Episode, Expected, Line, Placed, Say, Script, react
from microturn.scenes.stage import REPLY_MS, Stage, heard_end, quiet, reply_to, said_end, say_ms
from microturn.scenes.talk import sentence
from microturn.scenes.wording import Wordings, fill, whole
from microturn.scenes.words import ANIMALS, DAYS, FOODS, NAMES, OBJECTS, PLACES, number
from microturn.streams import LEAD_TICKS, Channel, Decision

CITIES = (
    "paris", "london", "berlin", "madrid", "rome", "vienna", "oslo", "prague", "dublin", "lisbon", "boston", "denver",
    "tokyo", "cairo",
)  # fmt: skip
# what is asked and what may come back; every word of a result but its slots trains
TOPICS: tuple[tuple[Wordings, tuple[str, ...]], ...] = (
    (
        Wordings(
            ("what's the weather (like|) in {city} ({day}|today|)", "will it rain in {city} ({day}|tomorrow|)",
             "how (warm|cold) is it in {city}"),
            ("do i need an umbrella in {city}", "tell me the forecast for {city}"),
        ),
        ("{city} has (rain|sun|snow|clouds) and {n} degrees", "it is {n} degrees in {city}"),
    ),
    (
        Wordings(
            ("when (does|will) the next train to {city} leave", "(find|look up) a train to {city} (for {day}|)",
             "how do i get to {city} (on {day}|)"),
            ("which train goes to {city}", "i have to be in {city} on {day} what can i take"),
        ),
        ("the next train to {city} leaves at {h} {m}", "take the train to {city} at {h} {m} from platform {n}"),
    ),
    (
        Wordings(
            ("how much (is a {object}|does a {object} cost) (online|in the shop)", "(find|look for) a cheap {object}",
             "what does a good {object} cost"),
            ("where can i buy a {object}", "compare prices for a {object}"),
        ),
        ("a {object} costs {n} euros", "{made} sells a {object} for {n} euros"),
    ),
    (
        Wordings(
            ("when does the {place} (open|close) ({day}|today|)", "is the {place} open (now|{day})",
             "look up the hours of the {place}"),
            ("how late can i go to the {place}", "what are the hours of the {place}"),
        ),
        ("the {place} is open until {h}", "the {place} opens at {h} on {day}"),
    ),
    (
        Wordings(
            ("who won the game (last night|yesterday|on {day})", "how did {made} play (yesterday|)",
             "what was the score (of {made}|last night)"),
            ("did {made} win", "tell me how the match ended"),
        ),
        ("{made} won {h} to {m}", "{made} and {made2} played {h} all"),
    ),
    (
        Wordings(
            ("who wrote the book about the {animal}", "(search|look) for the film with the {animal}",
             "what's the latest news about the {animal}"),
            ("find out who painted the {animal}", "read up on the {animal} for me"),
        ),
        ("it was made by {name} {made}", "{name} {made} found a {animal} in {city}"),
    ),
    (
        Wordings(
            ("do i have (any|) new (mail|messages)", "what's on my calendar ({day}|today)",
             "(book|reserve) a table at {made} for {day}", "send {name} a message (please|that i'm late)"),
            ("has {name} written to me", "put {name} in my calendar for {day}"),
        ),
        ("{n} messages from {name} {made}", "{name} is down for {day} at {h}", "done it is set for {day} at {h}"),
    ),
    (
        Wordings(
            ("how do you (make|cook) {food} {made}", "find (me|) a recipe with {food}",
             "what is {n} times {m} (plus {h}|)"),
            ("work out {n} times {m} times {h}", "what goes well with {food} in a {made}"),
        ),
        ("add {n} grams of {food} to the {made}", "the answer is {n} hundred {m}"),
    ),
)  # fmt: skip
CANCEL = Wordings(
    (
        "(oh|) never mind",
        "(please|okay|) forget (it|about it)",
        "cancel (that|it) (please|)",
        "don't (bother|look it up) (anymore|)",
        "(no|) leave it",
    ),
    ("(ah|) scratch that", "i don't need it (anymore|now)", "call it off (please|)", "drop it (please|)"),
)
INSTEAD = Wordings(
    ("(no|oh|actually) {x}", "wait {x}", "forget that {x}", "never mind {x}", "i mean {x}"),
    ("on second thought {x}", "rather {x}", "sorry i meant {x}"),
)  # fmt: skip
THINKING = (
    "searching",
    "Reading three pages",
    "calling the service",
    "comparing results",
    "one source found",
)
CALM_MS = 600  # of silence before a result is spoken
SLOW_CHARACTERS = 8  # of a result are certainly read in a tick
LET = "let me check"


@dataclass(frozen=True)
class Move:
    """`kind` is delegate, cancel, instead, ask or talk. `results` are texts as they come back."""

    kind: str
    line: int
    answer: str = ""
    results: tuple[str, ...] = ()


@dataclass(frozen=True)
class Wish:
    text: str
    answer: str  # words as they are spoken
    results: tuple[str, ...]  # what is read; the last one counts


def background(kind: str, text: str) -> str:
    """A result as the inbox hands it over."""
    return f'{kind}: "{text}"'


def made_up(rng: random.Random) -> str:
    """A name that nobody has heard before."""
    return "".join(rng.choice("bdfgklmnprstvz") + rng.choice("aeiou") for _ in range(rng.choice((2, 2, 3))))


def wish(rng: random.Random, split: str) -> Wish:
    wordings, results = rng.choice(TOPICS)
    numbers = [rng.randint(2, 99), rng.randint(1, 12), rng.randint(10, 59)]
    slots: dict[str, str] = {
        "city": rng.choice(CITIES), "day": rng.choice(DAYS), "object": rng.choice(OBJECTS),
        "place": rng.choice(PLACES), "animal": rng.choice(ANIMALS), "name": rng.choice(NAMES),
        "food": rng.choice(FOODS), "made": made_up(rng), "made2": made_up(rng),
    }  # fmt: skip
    figures = {slot: str(n) for slot, n in zip("nhm", numbers, strict=True)}
    words = {slot: number(n) for slot, n in zip("nhm", numbers, strict=True)}
    text = wordings.draw(rng, split, **slots, **words)
    form = fill(rng.choice(results), rng, **slots, **{slot: f"{{{slot}}}" for slot in "nhm"})
    plain = rng.random() < 0.5
    read = form.format(**(words if plain else figures))
    texts = [background("final", read if plain else read[0].upper() + read[1:] + ".")]
    if rng.random() < 0.2:  # an earlier result that is out of date before it can be spoken
        old = fill(rng.choice(results), rng, **slots, n="8", h="7", m="15")
        texts.insert(0, background(rng.choice(("commentary", "final")), old))
    if rng.random() < 0.3:
        texts.insert(0, background("thinking", rng.choice(THINKING)))
    return Wish(text, form.format(**words), tuple(texts))


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
            found = wish(rng, split)
            add("delegate", found.text, found.answer, found.results)
            then = rng.choices(("", "ask", "talk", "cancel", "instead"), (4, 4, 4, 3, 2))[0]
            if then == "ask":
                question()
            elif then == "talk":
                for _ in range(rng.randint(1, 2)):
                    add("talk", sentence(rng))
            elif then == "cancel":
                add("cancel", CANCEL.draw(rng, split), "okay")
            elif then == "instead":
                found = wish(rng, split)
                add("instead", INSTEAD.draw(rng, split, x=found.text), found.answer, found.results)
        return Script(self.name, 0, tuple(lines), {"moves": tuple(moves)})

    def compose(self, script: Script, clips: Sequence[Clip], rng: random.Random, seconds: float) -> Episode:
        moves = script.facts["moves"]
        assert isinstance(moves, tuple)
        return _Player(Stage(script, tuple(clips), seconds), rng).play(moves)


@dataclass
class _Result:
    """What was delegated and has not been spoken: it comes at `at_ms`."""

    move: Move
    at_ms: int


class _Player:
    def __init__(self, stage: Stage, rng: random.Random) -> None:
        self.stage, self.rng = stage, rng
        self.now = rng.randrange(100, 1500)  # when the user may speak again
        self.heard = 0  # when the user's last word ended
        self.free = 0  # when the model has said what it says
        self.pending: _Result | None = None

    def play(self, moves: tuple[Move, ...]) -> Episode:
        acts: dict[str, Callable[[Move, Placed], bool]] = {
            "delegate": self._delegate, "instead": self._delegate, "cancel": self._cancel, "ask": self._ask,
            "talk": self._talk,
        }  # fmt: skip
        for i, move in enumerate(moves):
            begin = self.now + self.rng.randrange(100, 500)
            if self.pending and (move.kind == "delegate" or (self._due() or begin) < begin + 400):
                self._weave(last=False)
                begin = max(begin, self.now)
            placed = self.stage.at(move.line, begin)
            if not self.stage.fits(placed) or not acts[move.kind](move, placed):
                break
            self.stage.put(placed)
            self.heard = heard_end(placed)
            self.now = max(self.heard, self.free) + self.rng.randrange(200, 400 if self.pending else 1500)
            if self.pending and i + 1 < len(moves) and moves[i + 1].kind == "delegate":
                self._weave(last=False)
        if self.pending:
            self._weave(last=True)
        if not self.stage.says:
            self.stage.expect(quiet(0, self.stage.ms))
        return self.stage.episode()

    def _reads(self, result: _Result) -> list[tuple[int, str]]:
        """The tick in which each text begins to be read: one right behind the other."""
        tick, reads = tick_of(result.at_ms), []
        for text in result.move.results:
            reads.append((tick, text))
            tick += 1 if text.startswith(("final", "commentary")) else 1 + len(text) // SLOW_CHARACTERS
        return reads

    def _due(self) -> int | None:
        """When the result begins to be spoken if the user says nothing more."""
        if self.pending is None:
            return None
        read = start_ms(
            tick_of(self.pending.at_ms) + sum(map(len, self.pending.move.results)) // SLOW_CHARACTERS + 1
        )
        silent = react(self.heard + CALM_MS - HEARD_MS)
        return max(read + start_ms(LEAD_TICKS), silent, -(-(self.free + TICK_MS) // TICK_MS) * TICK_MS)

    def _weave(self, last: bool) -> None:
        """Speak the result; nothing comes of it where the episode is too short."""
        result, at = self.pending, self._due()
        assert result is not None
        assert at is not None
        say = Say(result.move.answer, at)
        if self.stage.free(say):
            for tick, text in self._reads(result):
                self.stage.read(text, tick, Channel.BACKGROUND)
            self.stage.say(say)
            since = at - start_ms(LEAD_TICKS) - HEARD_MS
            self.stage.expect(reply_to(say, since))
            self.free = said_end(say)
            self.now = self.free + self.rng.randrange(400, 1500)
        self.pending = None

    def _decide(self, heard: int, *decisions: Decision) -> int:
        """The decisions in successive steps from the one that hears it; when (ms) words can be played after them."""
        for i, decision in enumerate(decisions):
            self.stage.decisions.append((tick_of(heard + HEARD_MS) + i, decision))
            self.stage.expect(Expected(decision.name.lower(), heard, heard + 1000))
        return react(heard) + len(decisions) * TICK_MS

    def _speak(self, text: str, at: int, heard: int) -> bool:
        say = Say(text, at)
        if at < self.free or not self.stage.free(say):
            return False
        self.stage.say(say)
        self.stage.expect(Expected("say", heard, heard + REPLY_MS, text))
        self.free = said_end(say)
        return True

    def _delegate(self, move: Move, placed: Placed) -> bool:
        heard = heard_end(placed)
        taken = [Decision.CANCEL] if move.kind == "instead" and self.pending else []
        at = react(heard) + TICK_MS * (len(taken) + 1)
        if tick_of(heard + HEARD_MS) + 1 >= self.stage.ticks or not self._speak(LET, at, heard):
            return False
        self._decide(heard, *taken, Decision.DELEGATE)
        self.pending = _Result(move, self.free + self.rng.randrange(400, 6000))
        return True

    def _cancel(self, move: Move, placed: Placed) -> bool:
        heard, result = heard_end(placed), self.pending
        if result is None or not self._speak(move.answer, react(heard) + TICK_MS, heard):
            return False
        self._decide(heard, Decision.CANCEL)
        self.pending = None
        late = max(result.at_ms, self.free)
        if self.rng.random() < 0.4 and late + 3000 < self.stage.ms:  # it was on its way already
            self.stage.read(result.move.results[-1], tick_of(late), Channel.BACKGROUND)
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

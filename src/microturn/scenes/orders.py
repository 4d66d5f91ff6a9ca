"""Taking a coffee order: parts confirmed while the customer still talks, the whole read back in a fixed form.

The read-back, which programs can rely on (`Order.parse`), is the words “your order” and then what was ordered, in
the customer's own words and always in the order drink, size, roast, shots, milk, sugar; what was not asked for is
left out: “your order iced mocha twelve ounce dark roast double shot a bit of soy milk”.

Conventions. The agent's part is given as instructions. Where these ask for it, each part is repeated at `react` of
its last word. The order is read back once the customer has been silent for `DONE_MS` after a sentence that is
complete; a sentence that hangs in the air is waited for. A correction is read back whole; thanks get “thank you”.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

from microturn.scenes.episode import HEARD_MS, Clip, Episode, Expected, Line, Placed, Say, Script, react
from microturn.scenes.stage import REPLY_MS, Stage, heard_end, read_ms, said_end, say_ms
from microturn.scenes.talk import sentence
from microturn.scenes.translate import as_heard
from microturn.scenes.wording import fill, said_in, tidy
from microturn.streams import Channel

MUCH = ("", "", "", "some ", "a lot of ", "lots of ", "a bit of ", "a little bit of ")
VALUES = {
    "drink": (
        "iced mocha", "iced coffee", "house coffee", "drip coffee", "coffee", "mocha", "cappuccino", "americano",
        "espresso", "latte",
    ),
    "size": ("small", "medium", "large", "eight ounce", "twelve ounce", "sixteen ounce", "twenty ounce"),
    "roast": ("dark roast", "medium roast", "light roast"),
    "shots": ("single shot", "double shot", "triple shot"),
    "milk": tuple(
        much + kind for much in MUCH
        for kind in ("milk", "soy milk", "almond milk", "whole milk", "skim milk", "cream")
    ),
    "sugar": tuple(much + kind for much in MUCH for kind in ("sugar", "brown sugar", "sweetener")),
}  # fmt: skip
READ_BACK = "your order"
_PARTS = [
    f"{'' if slot == 'drink' else '(?: '}(?P<{slot}>{'|'.join(sorted(set(values), key=len, reverse=True))})"
    + {"drink": "", "size": "(?! roast))?"}.get(slot, ")?")
    for slot, values in VALUES.items()
]
_FORM = re.compile(rf"\b{READ_BACK} {''.join(_PARTS)}\b")
SLOTS = tuple(VALUES)


@dataclass(frozen=True)
class Order:
    drink: str
    size: str = ""
    roast: str = ""
    shots: str = ""
    milk: str = ""
    sugar: str = ""

    def read_back(self) -> str:
        return " ".join([READ_BACK, *filter(None, asdict(self).values())])

    @classmethod
    def parse(cls, said: str) -> Order | None:
        """The last order that was read back in these words (lower case, no marks)."""
        found = list(_FORM.finditer(said))
        return cls(**found[-1].groupdict(default="")) if found else None


SAID = said_in("orders")
FILLERS = ("um", "uh", "let me see", "please")
DONE_MS = 700  # of silence after a complete sentence


@dataclass(frozen=True)
class Part:
    """A line of the order and which word of it ends which value; `open` where the sentence hangs in the air."""

    line: int
    heard: tuple[tuple[int, str], ...]
    open: bool


@dataclass(frozen=True)
class Customer:
    """`then` is what comes after the read-back: yes, change, talk or nothing."""

    parts: tuple[Part, ...]
    order: Order
    then: str
    after: Order  # with what was changed


class Orders:
    name = "orders"

    def script(self, rng: random.Random, split: str, seconds: float) -> Script:
        lines: list[Line] = []
        customers: list[Customer] = []
        left = seconds * 1000 - 2000
        while left > 0:
            order = draw(rng, 0.45 if seconds > 15 else 0.25)
            parts: list[Part] = []
            pieces = spoken(rng, split, order)
            for i, text in enumerate(pieces):
                words, heard = _heard(text)
                parts.append(Part(len(lines), heard, i + 1 < len(pieces)))
                lines.append(Line(tidy(" ".join(words))))
                left -= say_ms(lines[-1].text) + 1200
            then, after = rng.choices(("", "yes", "change", "talk"), (4, 3, 4, 1))[0], order
            if then == "change":
                slot = rng.choice(SLOTS)
                value = rng.choice([v for v in VALUES[slot] if v != getattr(order, slot)])
                after = replace(order, **{slot: value})
                bare = slot in ("milk", "sugar", "roast")
                lines.append(Line(tidy(SAID["THEN"].draw(rng, split, x=value if bare else f"a {value}"))))
                left -= say_ms(after.read_back()) + 3000
            elif then:
                lines.append(Line(SAID["YES"].draw(rng, split) if then == "yes" else sentence(rng)))
            customers.append(Customer(tuple(parts), order, then, after))
            left -= say_ms(order.read_back()) + 3000
        persona, confirm = SAID["PERSONA"].draw(rng, split), rng.random() < 0.4
        if confirm:
            persona += " " + SAID["CONFIRM"].draw(rng, split)
        facts = {"persona": persona, "confirm": confirm, "customers": tuple(customers)}
        return Script(self.name, 0, tuple(lines), facts)

    def compose(self, script: Script, clips: Sequence[Clip], rng: random.Random, seconds: float) -> Episode:
        stage, facts = Stage(script, tuple(clips), seconds), script.facts
        read = stage.read(facts["persona"], -1, Channel.INSTRUCTIONS)
        now, last = read_ms(read) + rng.randrange(300, 2500), None
        for customer in facts["customers"]:
            heard = _take(stage, rng, customer, now, facts["confirm"])
            if heard is None:
                break
            last, now = customer.order, said_end(stage.says[-1]) + rng.randrange(200, 1500)
            line = customer.parts[-1].line + 1
            if customer.then == "change":
                placed = stage.at(line, now)
                if not stage.fits(placed) or not _read_back(stage, customer.after, heard_end(placed)):
                    break
                stage.put(placed)
                last = customer.after
            elif customer.then:
                end = stage.turn(line, now, "thank you" if customer.then == "yes" else "")
                if end is None:
                    break
                now = end
            now = max(now, said_end(stage.says[-1])) + rng.randrange(1500, 4000)
        if last:
            stage.expect(Expected("order", 0, stage.ms, last.read_back()))
        return stage.episode()


def _take(stage: Stage, rng: random.Random, customer: Customer, now: int, confirm: bool) -> int | None:
    """An order with its read-back; when (ms) it was complete, or None where there is no room for it."""
    placed: list[Placed] = []
    echoes: list[tuple[int, str]] = []
    for part in customer.parts:
        placed.append(stage.at(part.line, now))
        now = heard_end(placed[-1]) + (rng.randrange(300, 2500) if part.open else 0)
        if confirm:
            echoes += [(placed[-1].word_end(at), value) for at, value in part.heard]
    before = list(stage.says)
    stage.says = as_heard(before, echoes)
    if not stage.fits(placed[-1]) or not _read_back(stage, customer.order, now):
        stage.says = before
        return None
    stage.put(*placed)
    stage.expect(*(Expected("say", heard, heard + REPLY_MS, value) for heard, value in echoes))
    return now


def _read_back(stage: Stage, order: Order, heard_ms: int) -> bool:
    """Said when there has been silence for long enough, or when the model has said what it was saying."""
    at = react(heard_ms + DONE_MS - HEARD_MS)
    busy = said_end(stage.says[-1]) if stage.says else 0
    back = Say(order.read_back(), at if busy <= at else react(busy))
    if not stage.free(back):
        return False
    stage.say(back)
    stage.expect(Expected("say", back.at_ms - 400, back.at_ms + REPLY_MS, back.text))
    return True


def draw(rng: random.Random, share: float = 0.45) -> Order:
    """A drink and a share of the rest."""
    asked = {slot: rng.choice(VALUES[slot]) for slot in SLOTS if slot == "drink" or rng.random() < share}
    return Order(**asked)


def spoken(rng: random.Random, split: str, order: Order) -> list[str]:
    """An order as somebody says it, in one piece or with pauses; values are joined by `_`, wrong ones begin so."""
    given = {slot: value.replace(" ", "_") for slot, value in asdict(order).items() if value}
    drink = given.pop("drink")
    slip = rng.choice((*given, "drink")) if rng.random() < 0.2 else ""
    early = [slot for slot in given if slot in ("size", "roast", "shots") and rng.random() < 0.7]
    late = [slot for slot in given if slot not in early]
    rng.shuffle(early)
    rng.shuffle(late)

    def say(slot: str, value: str) -> str:
        if slot != slip:
            return value
        wrong = rng.choice([v for v in VALUES[slot] if v.replace(" ", "_") != value]).replace(" ", "_")
        return " ".join((wrong, SAID["FIX"].draw(rng, split), value))

    text = SAID["LEAD"].draw(rng, split)
    text += "".join(f" {say(slot, given[slot])}" for slot in early) + f" {say('drink', drink)}"
    for i, slot in enumerate(late):
        form = "(with|and|with|with /) {x}" if i == 0 else "(and|and|with|and /) {x}"
        x = say(slot, given[slot])
        article = "a " if slot in ("shots", "size") and rng.random() < 0.6 else ""
        text += " " + fill(
            {"size": "in {x}", "roast": "(with|in|and) {x}"}.get(slot, form), rng, x=article + x
        )
    words = text.split()
    for _ in range(rng.choice((0, 0, 1, 2))):
        at = rng.randrange(1, len(words))
        if rng.random() < 0.3:
            words.insert(at, words[at] if "_" not in words[at] else "uh")  # said twice
        else:
            words.insert(at, rng.choice((*FILLERS, "um /", "uh /")))
    if rng.random() < 0.3:
        words.append("please")
    found = [" ".join(part.split()) for part in tidy(" ".join(words)).split("/")]
    return [part for part in found if part]


def _heard(text: str) -> tuple[list[str], tuple[tuple[int, str], ...]]:
    """The words of a line, and at which of them each value is complete."""
    words: list[str] = []
    heard: list[tuple[int, str]] = []
    known = {value for values in VALUES.values() for value in values}
    for token in text.split():
        words += token.split("_")
        if (value := token.replace("_", " ")) in known:
            heard.append((len(words) - 1, value))
    return words, tuple(heard)

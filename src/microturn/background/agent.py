"""What answers when no background model is configured: a few honest skills, and a word about what it cannot do.

A skill takes the user's words, spoken or written, and gives its answer or None when it is not meant. Background
models get the same skills as tools. What day it is comes from an injected calendar.
"""

from __future__ import annotations

import ast
import asyncio
import operator
import re
import sqlite3
from collections.abc import Awaitable, Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from microturn.background.delegations import Say
from microturn.background.inbox import Kind, Piece, When, clean
from microturn.background.package import ContextPackage
from microturn.background.tools import Json, Permission, Progress, Tool

CANNOT = (
    "I cannot do that here. I can calculate, convert units, tell time and date, set timers, and keep notes"
)
SMALL = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen"
)
NUMBERS = {w: n for n, w in enumerate(f"{SMALL} seventeen eighteen nineteen".split())}
NUMBERS |= {
    w: 10 * n
    for n, w in enumerate(["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"], 2)
}
SCALES = {"hundred": 100, "thousand": 1_000, "million": 1_000_000}
SIGNS = (
    (r"percent of|% of", "/ 100 *"),
    (r"square root of (\S+)", r"\1 ** 0.5"),
    (r"to the power of|\^", "**"),
    ("squared", "** 2"),
    ("cubed", "** 3"),
    (r"multiplied by|times|×|(?<=\d )x(?= \d)", "*"),
    (r"divided by|over|÷", "/"),
    (r"plus|(?<=\d )and(?= \d)", "+"),
    (r"minus|−", "-"),
)
OPERATORS: dict[type[ast.AST], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
}
UNITS = (  # the first of each row is what the others are measured in
    "meter=1 metre=1 kilometer=1000 kilometre=1000 centimeter=.01 centimetre=.01 millimeter=.001 mile=1609.344 "
    "yard=.9144 foot=.3048 feet=.3048 inch=.0254 m=1 km=1000 cm=.01 mm=.001",
    "gram=1 kilogram=1000 kilo=1000 milligram=.001 tonne=1e6 pound=453.59237 ounce=28.349523125 stone=6350.29318 "
    "g=1 kg=1000",
    "liter=1 litre=1 milliliter=.001 millilitre=.001 gallon=3.785411784 pint=.473176473 cup=.2365882365 l=1 ml=.001",
    "second=1 minute=60 hour=3600 day=86400 week=604800",
    "celsius=1 fahrenheit=1 kelvin=1",
)
SECONDS = {"second": 1, "minute": 60, "hour": 3600}
LARGEST = 1_000_000  # bytes of a document; larger files are not searched
SUFFIXES = (".txt", ".md", ".rst", ".org", ".csv", ".html", ".json")


def figures(text: str) -> str:
    """Lower case, with spoken numbers as digits: "one hundred and five times two" → "105 times 2"."""
    words: list[str] = []
    total, part, open_ = 0, 0, False
    for word in [*re.findall(r"\d[\d,]*(?:\.\d+)?|[a-z']+|\*\*|\S", text.lower()), ""]:
        n = NUMBERS.get(word)
        if n is not None and (not open_ or (n < 10 <= part % 100 and part % 10 == 0 and part % 100 > 10)):
            part, open_ = part + n, True
        elif n is not None and part % 100 == 0 and part + total:
            part += n
        elif word == "and" and open_ and (part or total) and part % 100 == 0:
            continue
        elif word == "hundred" and open_:
            part *= 100
        elif word in SCALES and open_:
            total, part = total + part * SCALES[word], 0
        else:
            if open_:
                words.append(str(total + part))
            total, part, open_ = 0, n or 0, n is not None
            if n is None and word:
                words.append(word.replace(",", "") if word[0].isdigit() else word)
    return " ".join(words)


def calculate(text: str) -> str | None:
    expression = figures(text)
    for words, sign in SIGNS:
        expression = re.sub(words, sign, expression)
    found = max(re.findall(r"[-\d.(][-+*/%().\d ]*", expression), key=len, default="").strip()
    if not re.search(r"\d\s*\)*\s*[-+*/%]", found):
        return None
    try:
        return f"It is {_value(ast.parse(found, mode='eval').body):.10g}."
    except ZeroDivisionError:
        return "That divides by zero."
    except (ValueError, SyntaxError, OverflowError, TypeError, RecursionError):
        return None


def _value(node: ast.AST) -> float:
    match node:
        case ast.Constant(value=int() | float() as number):
            return float(number)
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_value(operand)
        case ast.BinOp(left=left, op=sign, right=right) if type(sign) in OPERATORS:
            value = OPERATORS[type(sign)](_value(left), _value(right))
            if isinstance(value, float):  # a power may be complex
                return value
    raise ValueError("not an expression")


def convert(text: str) -> str | None:
    words = figures(text)
    found = re.search(
        r"(?P<n>-?[\d.]+) (?:degrees? )?(?P<a>\w+) (?:in|to|into|as) (?:degrees? )?(?P<b>\w+)", words
    )
    found = found or re.search(
        r"how many (?P<b>\w+) (?:are |is )?(?:there )?in (?P<n>[\d.]+|an?) (?P<a>\w+)", words
    )
    for row in UNITS if found else ():
        assert found is not None
        units = {name: float(size) for name, size in (pair.split("=") for pair in row.split())}
        a, b = (found[x] if found[x] in units else re.sub(r"(?<=ch)es$|s$", "", found[x]) for x in "ab")
        if a in units and b in units:
            n = 1.0 if found["n"] in ("a", "an") else float(found["n"])
            if "kelvin" in units:
                celsius = {"celsius": n, "fahrenheit": (n - 32) / 1.8, "kelvin": n - 273.15}[a]
                value = {"celsius": celsius, "fahrenheit": celsius * 1.8 + 32, "kelvin": celsius + 273.15}[b]
            else:
                value = n * units[a] / units[b]
            return f"{n:g} {found['a']} is {value:.6g} {found['b']}."
    return None


def date(text: str, now: datetime) -> str | None:
    words = figures(text)
    if re.search(r"\bwhat(?:'s| is| )?(?: the)? time\b|\btime is it\b", words):
        return f"It is {now:%H:%M}."
    if found := re.search(r"(?:days?|long) (?:are )?(?:there )?(?:until|till|to) (?:the )?(.+)", words):
        for form in ("%d %B", "%B %d"):
            try:
                day = datetime.strptime(f"{now.year} {_plain(found[1])}", f"%Y {form}")
            except ValueError:
                continue
            if day.date() < now.date():
                day = day.replace(year=now.year + 1)
            return f"It is {(day.date() - now.date()).days} days until {day:%A, %d %B %Y}."
    if re.search(r"\b(?:day|date)\b", words):
        ahead = re.search(r"(\d+) (day|week)s?(?: from| ago)?", words)
        days = int(ahead[1]) * (7 if ahead[2] == "week" else 1) if ahead else int("tomorrow" in words)
        days -= 2 * days * ("ago" in words) + ("yesterday" in words)
        if abs(days) < 100_000:
            return f"That is {now + timedelta(days=days):%A, %d %B %Y}."
    return None


def _plain(day: str) -> str:
    return " ".join(re.sub(r"(?<=\d) ?(?:st|nd|rd|th)\b|\bof\b|[?.!]", "", day).split()[:2])


@dataclass
class Documents:
    """Full-text search over the text files of a folder; read when first asked, and when the folder changed."""

    folder: Path
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    _read: dict[Path, float] = field(default_factory=dict)
    _index: sqlite3.Connection | None = None

    async def search(self, words: str) -> str | None:
        async with self._lock:
            return await asyncio.to_thread(self._search, words)

    def _search(self, words: str) -> str | None:
        files = (p for p in self.folder.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
        read = {p: p.stat().st_mtime for p in files if p.stat().st_size <= LARGEST}
        if self._index is None or read != self._read:
            self._index = sqlite3.connect(":memory:", check_same_thread=False)
            self._index.execute("CREATE VIRTUAL TABLE page USING fts5(name, text, tokenize='porter')")
            rows = ((p.relative_to(self.folder).as_posix(), p.read_text("utf-8", "replace")) for p in read)
            self._index.executemany("INSERT INTO page VALUES (?, ?)", rows)
            self._read = read
        terms = [w for w in re.findall(r"\w+", words.lower()) if len(w) > 3 and not COMMON.fullmatch(w)]
        query = "SELECT name, snippet(page, 1, '', '', '…', 40) FROM page WHERE page MATCH ? ORDER BY rank LIMIT 1"
        with closing(self._index.execute(query, [" OR ".join(f'"{t}"' for t in terms) or '""'])) as found:
            best = found.fetchone()
        return f"{best[0]} says: {clean(best[1], 400)}" if best else None


COMMON = re.compile("what|when|where|which|does|about|find|search|look|tell|documents?|files?|please|could")


@dataclass(frozen=True)
class Skill:
    name: str
    description: str
    answer: Callable[[str, Say], Awaitable[str | None]]


@dataclass
class Agent:
    """The background model of somebody who configured none. One per conversation."""

    now: Callable[[], datetime]
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    documents: Documents | None = None
    notes_file: Path | None = None
    _notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.notes_file is not None and self.notes_file.exists():
            self._notes = self.notes_file.read_text("utf-8").splitlines()

    async def work(self, package: ContextPackage, say: Say) -> None:
        for lines in (1, 2):  # the last words may be no more than "please"
            for skill in self.skills():
                if answer := await skill.answer(package.asked(lines), say):
                    say(Piece(Kind.FINAL, answer, _when(skill)))
                    return
        also = ", and search your documents." if self.documents else "."
        say(Piece(Kind.FINAL, CANNOT + also))

    def skills(self) -> Sequence[Skill]:
        return (
            Skill("timer", "waits, as in: timer for 5 minutes to check the oven", self._timer),
            Skill("note", "keeps a note, as in: note that the key is under the mat", self._note),
            Skill("notes", "reads all notes: read my notes", self._read),
            Skill("convert", "converts units, as in: 5 miles in kilometers", _now(convert)),
            Skill("date", "tells time and dates, as in: what day is it in 10 days", self._date),
            Skill("calculate", "arithmetic, as in: 17 * 3.5", _now(calculate)),
            Skill("search", "searches the user's documents for words", self._search),
        )

    def tools(self) -> Sequence[Tool]:
        """The skills, for a background model."""
        return [
            Tool(
                s.name, s.description, TEXT, _call(s), Permission(limit_s=90_000 if s.name == "timer" else 30)
            )
            for s in self.skills()
        ]

    async def _timer(self, text: str, say: Say) -> str | None:
        found = re.search(
            r"\b(?:timer|remind|alarm|wake)\b.*?(?P<n>[\d.]+|\ban?) (?P<unit>second|minute|hour)s?\b(?P<what>.*)",
            figures(text),
        )
        if found is None:
            return None
        n = 1.0 if found["n"].startswith("a") else float(found["n"])
        seconds = n * SECONDS[found["unit"]]
        if seconds > 86_400:
            return "That is longer than a day, which is the longest timer I can set."
        length = f"{n:g} {found['unit']}{'s' * (n != 1)}"
        say(Piece(Kind.COMMENTARY, f"The timer is set: {length}."))
        await self.sleep(seconds)
        what = re.sub(r"^[\s,.]*to |[\s.]+$", "", found["what"])
        return f"The time is up, {length} have passed{f': {what}' if what else ''}."

    async def _note(self, text: str, say: Say) -> str | None:
        found = re.search(r"\b(?:note|remember|write down)\b(?: down)?(?: that| this)?:? (.+)", text, re.I)
        if found is None:
            return None
        self._notes.append(clean(found[1], 500))
        if self.notes_file is not None:
            self.notes_file.write_text("".join(f"{note}\n" for note in self._notes), "utf-8")
        return f"Noted: {self._notes[-1]}"

    async def _read(self, text: str, say: Say) -> str | None:
        if not re.search(r"\b(?:my|the|all) notes\b", text, re.I):
            return None
        return f"Your notes: {'; '.join(self._notes)}" if self._notes else "There are no notes."

    async def _date(self, text: str, say: Say) -> str | None:
        return date(text, self.now())

    async def _search(self, text: str, say: Say) -> str | None:
        return await self.documents.search(text) if self.documents else None


TEXT: Json = {
    "type": "object",
    "properties": {"text": {"type": "string"}},
    "required": ["text"],
    "additionalProperties": False,
}


def _when(skill: Skill) -> When:
    return When.INTERRUPT if skill.name == "timer" else When.WHEN_IDLE


def _now(answer: Callable[[str], str | None]) -> Callable[[str, Say], Awaitable[str | None]]:
    async def later(text: str, say: Say) -> str | None:
        return answer(text)

    return later


def _call(skill: Skill) -> Callable[[Json, Progress], Awaitable[str]]:
    async def call(arguments: Json, progress: Progress) -> str:
        answer = await skill.answer(str(arguments.get("text", "")), lambda piece: progress(piece.text))
        if answer is None:
            raise ValueError(f"not understood; {skill.description}")
        return answer

    return call

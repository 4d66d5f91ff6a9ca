"""Arithmetic, units, lengths of time and dates, asked for in one sentence, spoken or written.

None unless the whole sentence is understood: half of a question has another answer.
"""

from __future__ import annotations

import ast
import operator
import re
import tomllib
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from importlib.resources import files
from zoneinfo import ZoneInfo, available_timezones

WORDS = tomllib.loads(files("microturn.background").joinpath("figures.toml").read_text("utf-8"))
NUMBERS: dict[str, int] = {word: n for n, word in enumerate(WORDS["under_twenty"].split())}
NUMBERS |= {word: 10 * n for n, word in enumerate(WORDS["tens"].split(), 2)}
NUMBERS |= {re.sub("y$", "ie", word) + "th": n for word, n in NUMBERS.items()} | WORDS["ordinals"]
SCALES: dict[str, int] = WORDS["scales"]
OPERATORS: dict[type[ast.AST], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
}
LENGTHS = {"s": 1, "m": 60, "h": 3600}
DAY = "%A, %d %B %Y"


def figures(text: str) -> str:
    """Lower case, with spoken numbers as digits: "one hundred and five times two" → "105 times 2"."""
    words: list[str] = []
    total, part, open_ = 0, 0, False
    text = re.sub(r"\ba (?=hundred|thousand|million)", "one ", text.lower().replace("’", "'"))
    for word in [*re.findall(r"\d[\d,]*(?:\.\d+)?|[a-z']+|\*\*|\S", text), ""]:
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
    said = " ".join(words)
    for part, number in WORDS["parts"]:
        said = re.sub(part, number, said)
    return said


def asks(pattern: str, text: str) -> re.Match[str] | None:
    """Whether a sentence, numbers as digits, is this question and nothing besides."""
    return re.fullmatch(f"{WORDS['before']}(?:{pattern}){WORDS['after']}", text, re.I)


def length(words: str) -> int | None:
    """Seconds, of “2 minutes and 30 seconds”."""
    part = r"(\d+(?:\.\d+)?|an?) (second|sec|minute|min|hour|hr)s?"
    if not re.fullmatch(rf"{part}(?:(?: ,)?(?: and)? {part})*", words):
        return None
    return round(
        sum((1 if n[0] == "a" else float(n)) * LENGTHS[unit[0]] for n, unit in re.findall(part, words))
    )


def spell(seconds: int) -> str:
    """The other way round."""
    parts = ((seconds // 3600, "hour"), (seconds // 60 % 60, "minute"), (seconds % 60, "second"))
    return " and ".join(f"{n} {unit}{'s' * (n != 1)}" for n, unit in parts if n) or "0 seconds"


def calculate(text: str) -> str | None:
    begun = rf"(?:calculate |compute |work out )?{WORDS['what_is']}(?:the )?(?:(?:result|sum|product) of )?"
    if (asked := asks(rf"{begun}(?P<rest>.+?)", figures(text))) is None:
        return None
    found = asked["rest"]
    for words, sign in WORDS["signs"]:
        found = re.sub(words, sign, found)
    if not re.fullmatch(r"[-+*/%().\d ]+", found) or not re.search(r"\d\s*\)*\s*[-+*/%]", found):
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
    number, degrees = r"(?P<n>-?\d+(?:\.\d+)?|an?)", "(?:degrees? )?"
    how = r"(?:convert |how (?:far|long|hot|cold|tall|heavy|big) is )?"
    found = asks(
        rf"{how}{WORDS['what_is']}{number} {degrees}(?P<a>\w+) (?:in|to|into|as) {degrees}(?P<b>\w+)", words
    )
    found = found or asks(
        rf"how many {degrees}(?P<b>\w+) (?:are |is )?(?:there )?(?:in )?{number} (?P<a>\w+)", words
    )
    for units in WORDS["units"] if found else ():
        assert found is not None
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
    if asks(r"(?:what ?'?s |what is )?the time(?: is it)?|what time is it", words):
        return f"It is {now:%H:%M}."
    if found := asks(r"what time is it in (?P<city>.+?)|what ?'?s the time in (?P<place>.+?)", words):
        zone = _zone(found["city"] or found["place"])
        return f"It is {now.astimezone(zone):%H:%M} there." if zone else None
    if found := asks(
        r"how many (?:more )?days (?:is it |are there |are left |left )?(?:until|till|to) (.+?)", words
    ):
        day = _next(found[1], now)
        return f"It is {(day.date() - now.date()).days} days until {day:{DAY}}." if day else None
    if (found := asks(r"(?:when|(?:what|which) day(?: of the week)?) (?:is|will be) (.+?)", words)) and (
        day := _next(found[1], now)
    ):
        return f"That is {day:{DAY}}."
    if found := asks(WORDS["day_asked"], words):
        when = found["when"] or "today"
        away = re.search(r"(\d+|\ba) (day|week)", when)
        days = (
            int(away[1].replace("a", "1")) * (7 if away[2] == "week" else 1)
            if away
            else WORDS["days"].get(when, 0)
        )
        days = -days if "ago" in when else days
        return f"That is {now + timedelta(days=days):{DAY}}." if abs(days) < 100_000 else None
    return None


def _zone(city: str) -> ZoneInfo | None:
    """That is named after the city; None where the machine knows none."""
    names = (name for name in available_timezones() if "/" in name)
    found = next((n for n in names if n.rpartition("/")[2].replace("_", " ").lower() == city), None)
    return ZoneInfo(found) if found else None


def _next(words: str, now: datetime) -> datetime | None:
    """The day that is called so, today or after."""
    name = re.sub(r"(?<=\d) ?(?:st|nd|rd|th)\b|\bof |\bthe ", "", words)
    name = WORDS["holidays"].get(name, name)
    for year in range(now.year, now.year + 9):  # the 29th of February may be far away
        for form in ("%d %B", "%B %d"):
            with suppress(ValueError):
                day = datetime.strptime(f"{year} {name}", f"%Y {form}")
                if day.date() >= now.date():
                    return day
    return None

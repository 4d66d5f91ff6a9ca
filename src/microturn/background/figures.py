"""Arithmetic, units and dates out of a sentence, spoken or written. None when the sentence is not about them."""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable
from datetime import datetime, timedelta

UNDER_TWENTY = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
    "seventeen eighteen nineteen"
)
TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
NUMBERS = {word: n for n, word in enumerate(UNDER_TWENTY.split(" "))}
NUMBERS |= {word: 10 * n for n, word in enumerate(TENS.split(" "), 2)}
NUMBERS |= {re.sub("y$", "ie", word) + "th": n for word, n in NUMBERS.items()}
NUMBERS |= {"first": 1, "third": 3, "fifth": 5, "eighth": 8, "ninth": 9, "twelfth": 12}
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
DAY = "%A, %d %B %Y"


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
        r"(?P<n>-?\d+(?:\.\d+)?) (?:degrees? )?(?P<a>\w+) (?:in|to|into|as) (?:degrees? )?(?P<b>\w+)", words
    )
    found = found or re.search(
        r"how many (?P<b>\w+) (?:are |is )?(?:there )?in (?P<n>\d+(?:\.\d+)?|an?) (?P<a>\w+)", words
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
    if found := re.search(r"\bdays? .*?(?:until|till|to) (?:the )?(.+)", words):
        name = " ".join(re.sub(r"(?<=\d) ?(?:st|nd|rd|th)\b|\bof\b|[?.!]", "", found[1]).split()[:2])
        dates = [_next(name, form, now) for form in ("%d %B", "%B %d")]
        return next((f"It is {(d.date() - now.date()).days} days until {d:{DAY}}." for d in dates if d), None)
    if re.search(r"\b(?:day|date)\b", words):
        away = re.search(r"(\d+) (day|week)s?", words)
        days = int(away[1]) * (7 if away[2] == "week" else 1) if away else int("tomorrow" in words)
        days -= 2 * days * ("ago" in words) + ("yesterday" in words)
        return f"That is {now + timedelta(days=days):{DAY}}." if abs(days) < 100_000 else None
    return None


def _next(name: str, form: str, now: datetime) -> datetime | None:
    for year in range(now.year, now.year + 9):  # the 29th of February may be far away
        try:
            day = datetime.strptime(f"{year} {name}", f"%Y {form}")
        except ValueError:
            continue
        if day.date() >= now.date():
            return day
    return None

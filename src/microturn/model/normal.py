"""Text as it is written → text as it is said: numbers, money, times, dates, units and abbreviations in words.

One regular expression for each way of writing, tried in order; what none of them knows is left as it stands, and
the speech head spells it. American English, like the teacher.
"""

# ruff: noqa: SIM905 — word lists read better as running text

import re
import tomllib
import unicodedata
from collections.abc import Callable
from pathlib import Path

SMALL = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
    "seventeen eighteen nineteen"
).split()
TENS = ("", "", *"twenty thirty forty fifty sixty seventy eighty ninety".split())
SCALES = ("", " thousand", " million", " billion", " trillion", " quadrillion")
MONTHS = ("January February March April May June July August September October November December").split()
_TABLES = tomllib.loads(Path(__file__).with_name("normal.toml").read_text("utf-8"))
UNITS: dict[str, str] = _TABLES["units"]
SHORT: dict[str, str] = _TABLES["short"]
_N = r"\d{1,3}(?:,\d{3}){1,6}|\d+"  # at most so many, or long tables would take long
_SIGNS = "".join(_TABLES["money"])
_SCALE = "|".join([*_TABLES["scales"], r"\s*(?:thousand|million|billion|trillion)"])
_MONTH = "|".join(m[:3] + f"(?:{m[3:]}|t?\\.)?" if m != "May" else m for m in MONTHS)


def cardinal(n: int) -> str:
    if n < 20:
        return SMALL[n]
    if n < 100:
        return TENS[n // 10] + (f"-{SMALL[n % 10]}" if n % 10 else "")
    if n < 1000:
        return f"{SMALL[n // 100]} hundred" + (f" {cardinal(n % 100)}" if n % 100 else "")
    if n >= 1000 ** len(SCALES):
        return digits(str(n))
    groups, scale = [], 0
    while n:
        n, group = divmod(n, 1000)
        if group:
            groups.append(cardinal(group) + SCALES[scale])
        scale += 1
    return " ".join(reversed(groups))


def ordinal(n: int) -> str:
    words = re.split(r"([ -])", cardinal(n))
    last = words[-1]
    words[-1] = _TABLES["ordinals"].get(last) or (last[:-1] + "ieth" if last.endswith("y") else last + "th")
    return "".join(words)


def year(n: int) -> str:
    high, low = divmod(n, 100)
    if not 1000 < n < 2100 or 2000 <= n < 2010 or n % 1000 == 0:
        return cardinal(n)
    return f"{cardinal(high)} " + (
        "hundred" if not low else f"oh {SMALL[low]}" if low < 10 else cardinal(low)
    )


def digits(text: str) -> str:
    return " ".join(SMALL[int(d)] for d in text if d.isdigit())


def number(text: str) -> str:
    """ "1,234.50" → words. A long or zero-led run of digits is a code: digit by digit."""
    whole, _, part = text.replace(",", "").partition(".")
    code = len(whole) > 15 or (len(whole) > 1 and whole[0] == "0")
    return (digits(whole) if code else cardinal(int(whole or 0))) + (f" point {digits(part)}" if part else "")


def _money(m: re.Match[str]) -> str:
    one, many, cent, cents = _TABLES["money"][m[1]]
    if m[4]:
        scale = _TABLES["scales"].get(m[4], m[4].strip())
        return f" {number(m[2] + ('.' + m[3] if m[3] else ''))} {scale} {many} "
    whole, part = m[2].replace(",", "").lstrip("0"), int((m[3] or "0").ljust(2, "0")[:2])
    said = [f"{number(whole or '0')} {one if whole == '1' else many}"] if whole or not part else []
    said += [f"{cardinal(part)} {cent if part == 1 else cents}"] if part else []
    return f" {' and '.join(said)} "


def _clock(m: re.Match[str]) -> str:
    hour, minute = int(m[1]), int(m[2] or 0)
    half = f" {m[3][0].upper()}M" if m[3] else ""
    past = "" if not minute else f" oh {SMALL[minute]}" if minute < 10 else f" {cardinal(minute)}"
    return cardinal(hour) + (past or ("" if half else " o'clock" if 0 < hour < 13 else " hundred")) + half


def _month(name: str) -> str:
    return next(month for month in MONTHS if month[:3] == name[:3])


def _date(m: re.Match[str]) -> str:
    return f"{_month(m[1])} {ordinal(int(m[2]))}" + (f", {year(int(m[3]))}" if m[3] else "")


def _day_first(m: re.Match[str]) -> str:
    return f"the {ordinal(int(m[1]))} of {_month(m[2])}" + (f" {year(int(m[3]))}" if m[3] else "")


def _iso(m: re.Match[str]) -> str:
    return f"{MONTHS[int(m[2]) - 1]} {ordinal(int(m[3]))}, {year(int(m[1]))}"


def _phone(m: re.Match[str]) -> str:
    return "plus " * (m[0][0] == "+") + ", ".join(digits(part) for part in re.findall(r"\d+", m[0]))


def _unit(m: re.Match[str]) -> str:
    named = UNITS[m[2]]
    if m[1] == "1" and m[2] != "%":
        first, _, rest = named.partition(" ")
        first = {"feet": "foot", "hertz": "hertz"}.get(first, first.removesuffix("s"))
        named = f"{first} {rest}".strip()
    return f"{number(m[1])} {named}"


RULES: tuple[tuple[str, Callable[[re.Match[str]], str]], ...] = (
    (r"https?://(?:www\.)?|www\.", lambda m: ""),
    (r"(?<=\w)[.](?=(?:com|org|net|io|dev)\b)", lambda m: " dot "),
    (r"(?<![\w.])(?:" + "|".join(map(re.escape, (s for s in SHORT if s[0].isalpha()))) + r")(?![\w])",
     lambda m: SHORT[m[0]] + ("." if m[0].endswith("m.") and m.end() == len(m.string) else "")),
    (r"\b(1\d{3}|20\d{2})-(0[1-9]|1[0-2])-([0-2]\d|3[01])\b", _iso),
    (rf"\b({_MONTH})\s+(\d{{1,2}})(?:st|nd|rd|th)?(?:,?\s+(\d{{4}}))?\b", _date),
    (rf"\b(?:the )?(\d{{1,2}})(?:st|nd|rd|th)?(?: of)?\s+({_MONTH})(?:,?\s+(\d{{4}}))?(?!\w)", _day_first),
    (r"\b([01]?\d|2[0-4]):([0-5]\d)(?:\s*([AaPp])(?:\.[Mm]\.|[Mm]\b))?", _clock),
    (r"\b(1[0-2]|[1-9])()\s*([AaPp])(?:\.[Mm]\.|[Mm]\b)", _clock),
    (rf"(?<![\w.{_SIGNS}])((?:{_N})(?:\.\d+)?)\s?([{_SIGNS}])(?!\d)", lambda m: m[2] + m[1]),
    (rf"([{_SIGNS}])({_N}|(?=\.\d))(?:\.(\d+))?(?:({_SCALE})\b)?", _money),
    (r"\b((?:1[1-9]|20)?[2-9]0)s\b", lambda m: year(int(m[1])).removesuffix("y") + "ies"),
    (rf"(?<![\w.])((?:{_N})(?:\.\d+)?)\s?({'|'.join(map(re.escape, sorted(UNITS, key=len, reverse=True)))})(?![\w/])",
     _unit),
    (r"\b(\d{1,15})(?:st|nd|rd|th)\b", lambda m: ordinal(int(m[1]))),
    (r"\b1/2\b", lambda m: "one half"),
    (r"\b(\d)/(\d)\b", lambda m: f"{SMALL[int(m[1])]} over {SMALL[int(m[2])]}"),
    (r"(?<!\w)\+\d(?:[ ().-]{0,2}\d){8,14}\b|(?:\(\d{3}\) ?|\b\d{3}-)?\b\d{3}-\d{4}\b", _phone),
    (r"(?<=\d)\s*\*\s*(?=\d)", lambda m: " times "),
    (r"(?<=\d)\s*[-–]\s*(?=\d)", lambda m: " to "),
    (rf"(?<![\w.])-(?=(?:{_N}))", lambda m: "minus "),
    (r"(?<![\d,.])(1[1-9]\d\d|20\d\d)(?![\d,]|\.\d)", lambda m: year(int(m[1]))),
    (rf"((?:{_N})(?:\.\d+)?)", lambda m: f" {number(m[1])} "),
    (r"\s*[&@#+=×÷%]\s*", lambda m: f" {SHORT[m[0].strip()].strip()} "),
)  # fmt: skip
_COMPILED = tuple((re.compile(pattern), how) for pattern, how in RULES)
_ALIKE = str.maketrans({"‘": "'", "’": "'", "−": "-", "“": "", "”": "", '"': ""})


def _odd(m: re.Match[str]) -> str:
    """Marks belong to the letter before them, and nobody sees what joins letters; anything else parts words."""
    kind, selects = unicodedata.category(m[0]), "\ufe00" <= m[0] <= "\ufe0f"  # how an emoji looks
    return m[0] if kind in ("Mn", "Mc") and not selects else "" if kind == "Cf" and m[0] != "\u200b" else " "


def spoken(text: str) -> str:
    """The text as a reader would say it: words and , . ; : ! ? only."""
    text = unicodedata.normalize("NFC", text).translate(_ALIKE)
    for pattern, how in _COMPILED:
        text = pattern.sub(how, text)
    text = re.sub(r"\s+[-–—]+\s+|—|…|\.\.\.|[()\[\]{}]", ", ", text)
    text = re.sub(r"[^\w\s,.;:!?'°-]|_", _odd, text)
    text = re.sub(r"\s+(?=[,.;:!?])", "", " ".join(text.split()))
    return re.sub(r"([,;:])(?:\s*[,;:])+", r"\1", re.sub(r"[,;:]\s*([.!?])", r"\1", text)).strip(" ,;:")


def plain(text: str) -> list[str]:
    """Its words as they would be heard: lower case, no marks; as it stands if it is nothing but marks."""
    once = " ".join(text.encode(errors="replace").decode().split())  # long gaps would take long
    words = (word.strip("'") for word in re.split(r"[\s,.;:!?-]+", spoken(once).lower()))
    return [word for word in words if any(map(str.isalnum, word))] or once.split()

"""What answers when no background model is configured: a few honest skills, and a word about what it cannot do.

A skill takes the user's words, spoken or written, and gives its answer or None when it is not meant. Background
models get the same skills as tools. What day it is comes from an injected calendar.
"""

from __future__ import annotations

import asyncio
import re
import sqlite3
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from microturn.background.delegations import Say
from microturn.background.figures import WORDS, asks, calculate, convert, date, figures, length, spell
from microturn.background.inbox import Kind, Piece, When, clean
from microturn.background.package import ContextPackage
from microturn.background.tools import USUAL, Json, Permission, Progress, Tool

CANNOT = (
    "I cannot do that here. I can calculate, convert units, tell time and date, set timers and keep notes"
)
LONGEST_S = 86_400  # of a timer
TIMERS = 100  # that a background model may have at once
ENOUGH = 2 / 3  # of the words of a question that an answering document must have
LARGEST = 1_000_000  # bytes of a document; larger files are not searched
SUFFIXES = (".txt", ".md", ".rst", ".org", ".csv", ".html", ".json")
COMMON = frozenset(WORDS["common"].split())  # in questions: no sign of what they are about
Answer = Callable[[str, Say], Awaitable[str | None] | str | None]
TEXT: Json = {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]}


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
        shown = (p for p in files if not any(n.startswith(".") for n in p.relative_to(self.folder).parts))
        read = {p: p.stat().st_mtime for p in shown if p.stat().st_size <= LARGEST}
        if self._index is None or read != self._read:
            self._index = sqlite3.connect(":memory:", check_same_thread=False)
            self._index.execute("CREATE VIRTUAL TABLE page USING fts5(name, text, tokenize='porter')")
            rows = ((p.relative_to(self.folder).as_posix(), p.read_text("utf-8", "replace")) for p in read)
            self._index.executemany("INSERT INTO page VALUES (?, ?)", rows)
            self._read = read
        index, fits = self._index, "FROM page WHERE page MATCH ?"
        terms = {f'"{w}"' for w in re.findall(r"\w{3,}", words.lower()) if w not in COMMON}
        found = Counter(row for term in terms for (row,) in index.execute(f"SELECT rowid {fits}", [term]))
        most = max(found.values(), default=0)
        if not most or most < ENOUGH * len(terms):
            return None
        those = ",".join(str(row) for row, count in found.items() if count == most)
        best = f"SELECT name, snippet(page, 1, '', '', '…', 40) {fits} AND rowid IN ({those}) ORDER BY rank LIMIT 1"
        name, said = index.execute(best, [" OR ".join(terms)]).fetchone()
        return f"{name} says: {clean(said, 400)}"


@dataclass(frozen=True)
class Skill:
    name: str
    description: str
    answer: Answer

    async def ask(self, text: str, say: Say) -> str | None:
        answer = self.answer(clean(text), say)
        return answer if answer is None or isinstance(answer, str) else await answer

    def tool(self) -> Tool:
        async def call(arguments: Json, progress: Progress) -> str:
            answer = await self.ask(str(arguments.get("text")), lambda piece: progress(piece.text))
            if answer is None:
                raise ValueError(f"not understood; it {self.description}")
            return answer

        waits = self.name == "timer"
        permission = Permission(limit_s=LONGEST_S + 60, at_once=TIMERS) if waits else USUAL
        return Tool(self.name, self.description, TEXT, call, permission, waits)


@dataclass
class Agent:
    """The background model of somebody who configured none. One per conversation."""

    now: Callable[[], datetime]
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    documents: Documents | None = None
    notes_file: Path | None = None
    notes: list[str] = field(default_factory=list)  # where there is no file

    @property
    def skills(self) -> Sequence[Skill]:
        answers: dict[str, Answer] = {
            "timer": self._timer,
            "note": self._note,
            "notes": self._read,
            "convert": lambda text, _: convert(text),
            "date": lambda text, _: date(text, self.now()),
            "calculate": lambda text, _: calculate(text),
            "search": self._search,
        }
        return [Skill(name, WORDS["skills"][name], answer) for name, answer in answers.items()]

    async def work(self, package: ContextPackage, say: Say) -> None:
        for lines in (1, 2):  # the last words may be no more than "please"
            for skill in self.skills:
                if answer := await skill.ask(package.asked(lines), say):
                    when = When.INTERRUPT if skill.name == "timer" else When.WHEN_IDLE
                    say(Piece(Kind.FINAL, answer, when))
                    return
        say(Piece(Kind.FINAL, CANNOT + (", and search your documents." if self.documents else ".")))

    async def _timer(self, text: str, say: Say) -> str | None:
        asked = [found for timer in WORDS["timers"] if (found := asks(timer, figures(text)))]
        seconds, what = next(((s, a["what"]) for a in asked if (s := length(a["n"]))), (None, None))
        if seconds is None:
            return None
        if seconds > LONGEST_S:
            return "That is longer than a day, which is the longest timer I can set."
        say(Piece(Kind.COMMENTARY, f"The timer is set: {spell(seconds)}.", waits=True))
        await self.sleep(seconds)
        return f"The time is up, {spell(seconds)} have passed{f': {what}' if what else ''}."

    def _note(self, text: str, say: Say) -> str | None:
        if (found := asks(WORDS["note"], text)) is None:
            return None
        note = clean(found["note"], 500)
        if self.notes_file is None:
            self.notes.append(note)
        else:
            with self.notes_file.open("a", encoding="utf-8") as file:
                file.write(note + "\n")
        return f"Noted: {note}"

    def _read(self, text: str, say: Say) -> str | None:
        if asks(WORDS["notes"], text) is None:
            return None
        kept = self.notes_file is not None and self.notes_file.exists() and self.notes_file.read_text("utf-8")
        notes = "; ".join(kept.splitlines() if kept else self.notes)
        return f"Your notes: {notes}" if notes else "There are no notes."

    async def _search(self, text: str, say: Say) -> str | None:
        return await self.documents.search(text) if self.documents else None

"""How results of background work reach the interaction model: as quoted text, oldest first, a little at a time.

The inbox only delivers text; whether and when to speak about it is the model's decision. Text that the model
has begun to read cannot be taken back, so the next one is handed over only when the last has had its ticks to
be read: until then it may still be revised or dropped.

Whatever comes back is untrusted: it is stripped to printable characters, capped and quoted, and is only ever
read on the background channel. Lines, instructions and channels cannot be forged from inside the quotes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from enum import StrEnum

from microturn.streams import Channel, TextIn

LONGEST = 2_000  # characters of one piece; at four text pieces a tick that is about half a minute of reading
SIP = 160  # characters handed over at once: 2 s of reading
ROOM = 32  # unread sips of one delegation; beyond it the oldest silent ones are lost, then commentary


class Kind(StrEnum):
    THINKING = "thinking"  # silent: how the work goes
    COMMENTARY = "commentary"  # may be spoken: part of the result
    FINAL = "final"  # the result, or its last part; the delegation is over


class When(StrEnum):
    """What the sender asks of the model, which sees it and decides by itself."""

    WHEN_IDLE = "when_idle"
    INTERRUPT = "interrupt"  # also goes ahead of what is unread
    SILENT = "silent"


@dataclass(frozen=True)
class Piece:
    kind: Kind
    text: str
    when: When = When.WHEN_IDLE
    revised: bool = False  # stands in for whatever of its delegation is still unread
    delegation: str = ""  # empty: context that belongs to none
    waits: bool = False  # of work that is done but for its time to come, as a timer is

    @property
    def line(self) -> str:
        when = "" if self.when is When.WHEN_IDLE else self.when.value
        label = ", ".join(filter(None, (self.kind.value, when, "revised" * self.revised)))
        return f'{label}: "{self.text}"'


def clean(text: str, longest: int = LONGEST) -> str:
    """One line of printable characters: no control, bidi or zero-width characters."""
    return cut(" ".join("".join(c if c.isprintable() else " " for c in text[: 4 * longest]).split()), longest)


def cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else text[: longest - 1] + "…"


@dataclass
class Inbox:
    """`ticks_to_read` is the model's own pace: `lambda text: len(tokenizer.pack(text, spec.read_pieces))`."""

    ticks_to_read: Callable[[str], int]
    lost: int = 0  # unread when too much came
    _unread: list[Piece] = field(default_factory=list)  # cut into sips
    _busy_ticks: int = 0
    _taken: Piece = field(init=False)

    def put(self, piece: Piece, read: Collection[str] = (), apart: bool = False) -> None:
        """A final piece is never lost; sentences of commentary that come together are read together.

        What was read of it already is not put in again. `apart`: it is taken up after a crash, and `was_read` tells
        what became of it.
        """
        if piece.revised:
            self.drop(piece.delegation)
        piece = replace(piece, text=clean(piece.text).replace('"', "'"))
        mine = self.of(piece.delegation)
        if mine and mine[-1].kind is Kind.COMMENTARY and not piece.revised and not apart:
            joined = replace(piece, text=f"{mine[-1].text} {piece.text}")
            if mine[-1] == replace(joined, text=mine[-1].text) and len(joined.text) <= SIP:
                self._unread[self._unread.index(mine[-1])] = joined
                return
        at = len(self._unread)
        if piece.when is When.INTERRUPT:
            at = next((i for i, p in enumerate(self._unread) if p.when is not piece.when), at)
        sips = re.findall(rf"\S(?:.{{0,{SIP - 2}}}\S)?(?=\s|$)|\S{{{SIP}}}", piece.text)
        if piece.kind is Kind.FINAL:
            sips = [sip for sip in sips if sip not in read]
        else:  # it may have been read together with others
            sips = [sip for sip in sips if not any(sip in line for line in read)]
        self._unread[at:at] = [replace(piece, text=sip) for sip in sips]
        mine = [] if apart else self.of(piece.delegation)
        spare = sorted(
            (p for p in mine if p.kind is not Kind.FINAL), key=lambda p: p.kind is not Kind.THINKING
        )
        for least in spare[: max(0, len(mine) - ROOM)]:
            self._unread.remove(least)
            self.lost += 1

    def of(self, delegation: str) -> list[Piece]:
        """What is unread of a delegation."""
        return [piece for piece in self._unread if piece.delegation == delegation]

    def drop(self, delegation: str) -> None:
        """Forget it."""
        self._unread = [piece for piece in self._unread if piece.delegation != delegation]

    def was_read(self, line: str) -> None:
        """Of a conversation that goes on: the model has begun to read this already, one piece or several as one."""
        for i, joined in enumerate(self._unread):
            run = [i]
            for k, piece in enumerate(self._unread[i + 1 :], i + 1):
                if joined.line == line:
                    break
                if replace(piece, text=joined.text) == joined:
                    joined = replace(joined, text=f"{joined.text} {piece.text}")
                    run.append(k)
            if joined.line == line:
                self._unread = [piece for k, piece in enumerate(self._unread) if k not in run]
                return

    def keep_of(self, delegations: Collection[str]) -> None:
        """Drop what belongs to any other."""
        self._unread = [piece for piece in self._unread if piece.delegation in ("", *delegations)]

    def take(self) -> TextIn | None:
        """What the model reads next. To be called once a tick; never waits."""
        self._busy_ticks -= self._busy_ticks > 0
        if self._busy_ticks or not self._unread:
            return None
        self._taken = self._unread.pop(0)
        text = TextIn(self._taken.line, Channel.BACKGROUND)
        self._busy_ticks = self.ticks_to_read(text.text)
        return text

    def put_back(self) -> None:
        """What was taken last could not be handed over."""
        self._unread.insert(0, self._taken)

    @property
    def unread(self) -> int:
        return len(self._unread)

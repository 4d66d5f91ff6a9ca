"""What is right after what was done: worked examples, one letter a tick.

`L` listen, `S` speak; a digit is a piece said (or written down) in that tick, `.` none.
"""

from __future__ import annotations

import pytest

from microturn.streams import Decision
from microturn.train.oracle import heard, spoken

DECISIONS = {"L": int(Decision.LISTEN), "S": int(Decision.SPEAK), "D": int(Decision.DELEGATE)}


def rows(pieces: str) -> list[list[int]]:
    return [[0 if p == "." else int(p), 0] for p in pieces]


def right(decision: str, say: str, did: str, said: str, cut_at: int | None = None) -> tuple[str, str]:
    cut = [tick == cut_at for tick in range(len(decision))]
    choice, words = spoken(
        [DECISIONS[d] for d in decision], rows(say), cut, [DECISIONS[d] for d in did], rows(said)
    )
    names = {number: letter for letter, number in DECISIONS.items()}
    return "".join(names[c] for c in choice), "".join(str(w[0]) if w[0] else "." for w in words)


CASES = {
    "as it should be": (
        ("LLSSSSLL", "..12....", "LLSSSSLL", "..12....", None),
        ("LLSSSSLL", "..12...."),
    ),
    "a tick early: not again, and over a tick sooner": (
        ("LLSSSSLL", "..12....", "LSSSSLLL", ".12.....", None),
        ("LLSSSLLL", "........"),
    ),
    "a tick late: from its beginning, and over a tick later": (
        ("LLSSSSLLL", "..1.2....", "LLLSSSSSL", "...1.2...", None),
        ("LLSSSSSLL", "..11.2..."),
    ),
    "never: asked for until it is too late": (
        ("LLSSSLLLLLL", "..12.......", "LLLLLLLLLLL", "...........", None),
        ("LLSSSSSLLLL", "..11111...."),
    ),
    "another word in its place is not mended": (
        ("LLSSSLLL", "..12....", "LLSSSLLL", "..92....", None),
        ("LLSSSLLL", "..12...."),
    ),
    "something false before is not taken for it": (
        ("LLSSSLLL", "..12....", "LSSSSLLL", ".912....", None),
        ("LLSSSLLL", "..12...."),
    ),
    "late, but told to be silent: silent then": (
        ("LLSSSLLLL", "..123....", "LLLLSSSSS", "....12345", 5),
        ("LLSSSLLLL", "..111...."),
    ),
    "two with a pause": (
        ("LSSLLSSL", ".1...2..", "LSSLLSSL", ".1...2..", None),
        ("LSSLLSSL", ".1...2.."),
    ),
    "false speech is not answered": (
        ("LLLLL", ".....", "LSSSL", ".99..", None),
        ("LLLLL", "....."),
    ),
    "said late, it is not the next one too early": (
        ("LSSLLLSSL", ".1....1..", "LLLLSLSSL", "....1.1..", None),
        ("LSSSSSSSL", ".1111.1.."),
    ),
    "other decisions stay": (
        ("LDLSL", "...1.", "LLLSL", "...1.", None),
        ("LDLSL", "...1."),
    ),
    "other decisions stay when something is said so late": (
        ("LSSLDLLL", ".12.....", "LLLSSSLL", "...12...", None),
        ("LSSSDLLL", ".111...."),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_right_after_what_was_said(name: str) -> None:
    given, wanted = CASES[name]
    assert right(*given) == wanted


@pytest.mark.parametrize(
    ("hear", "wrote", "wanted"),
    [
        ("..6...", "..6...", "..6..."),
        ("..6...", ".6....", "......"),  # early: not once more
        ("..6...", "...6..", "..66.."),  # late: still
        ("..6...", "......", "..66.."),  # missed: for one tick more
        ("..6...", "..9...", "..6..."),  # misheard: let it be
        ("..66..", "..66..", "..66.."),  # said twice
        ("..6...", "9.....", "..66.."),  # something else long before
    ],
)
def test_right_after_what_was_written_down(hear: str, wrote: str, wanted: str) -> None:
    got = heard(rows(hear), rows(wrote))
    assert "".join(str(r[0]) if r[0] else "." for r in got) == wanted

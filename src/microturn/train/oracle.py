"""What is right after what the network really did.

When its own past is fed back, the targets of the script are no longer what somebody sensible would do: a word that
was said a tick early must not be said once more at its time, an answer that was missed by a tick should still be
given from its beginning, and a word heard early is not heard twice. Taught without this, a network learns to stammer.
"""

from collections import deque
from dataclasses import dataclass

import torch
from torch import Tensor

from microturn.streams import Decision

EARLY = 3  # ticks before its time in which something said counts as said
LATE = 4  # ticks after its time in which an answer may still begin
BEFORE = 2  # ticks before its time in which a word heard counts as heard
Row = list[list[int]]


@dataclass
class Span:
    """Ticks in which the model speaks without a pause, and what it says in them."""

    first: int
    last: int
    cut: bool  # it ended because the model was to yield
    groups: list[tuple[int, list[int]]]  # tick, pieces


def spans(decision: list[int], say: Row, cut: list[bool]) -> list[Span]:
    found: list[Span] = []
    for tick, choice in enumerate(decision):
        if choice != Decision.SPEAK:
            continue
        if not found or found[-1].last != tick - 1:
            found.append(Span(tick, tick, False, []))
        span = found[-1]
        span.last = tick
        span.cut = tick + 1 < len(cut) and cut[tick + 1]
        if pieces := [p for p in say[tick] if p]:
            span.groups.append((tick, pieces))
    return found


def spoken(
    decision: list[int], say: Row, cut: list[bool], did: list[int], said: Row
) -> tuple[list[int], Row]:
    """Targets of one episode, given what was decided and said in it."""
    n, room = len(decision), len(say[0]) if say else 0
    choice = [d if d not in (Decision.LISTEN, Decision.SPEAK) else int(Decision.LISTEN) for d in decision]
    other = [c != Decision.LISTEN for c in choice]  # these stay, whatever is said late
    words: Row = [[0] * room for _ in range(n)]
    ahead = deque(spans(decision, say, cut))
    taken = -1  # the last tick whose words were those of a span: they are not also the next one's, early
    while ahead:
        span = ahead.popleft()
        limit = ahead[0].first if ahead else n
        done, when = 0, span.first - EARLY  # groups said, and when the last of them was
        for tick in range(max(0, span.first - EARLY), min(n, limit)):
            uttered = [p for p in said[tick] if p] if did[tick] == Decision.SPEAK else []
            if tick < span.first:
                if (
                    done < len(span.groups)
                    and uttered
                    and uttered[0] == span.groups[done][1][0]
                    and tick > taken
                ):
                    done, when = done + 1, tick
                continue
            if done < len(span.groups):
                due = span.groups[done][0]
                if done:
                    due = max(due, when + due - span.groups[done - 1][0])
                if (not done and tick > span.groups[0][0] + LATE) or (span.cut and tick > span.last):
                    break
                if not other[tick]:
                    choice[tick] = int(Decision.SPEAK)
                if tick >= due:
                    words[tick] = span.groups[done][1] + [0] * (room - len(span.groups[done][1]))
                    if uttered:
                        done, when = done + 1, tick
                elif uttered and uttered[0] == span.groups[done][1][0]:
                    done, when = done + 1, tick
            else:
                tail = span.last - span.groups[-1][0] if span.groups else span.last - span.first
                end = when + tail if span.groups else span.last
                if tick > (min(end, span.last) if span.cut else end):
                    break
                if not other[tick]:
                    choice[tick] = int(Decision.SPEAK)
        taken = when if done else taken
    for tick in (tick for tick in range(n) if other[tick]):
        words[tick] = [0] * room
    return choice, words


def heard(hear: Row, did: Row) -> Row:
    """Targets of what is heard, given what was written down."""
    early: deque[tuple[int, int]] = deque()  # tick, piece written down before its time
    missed: list[int] = []
    out: Row = []
    for tick, (wanted, wrote) in enumerate(zip(hear, did, strict=True)):
        while early and early[0][0] < tick - BEFORE:
            early.popleft()
        left = []
        for piece in (p for p in wanted if p):
            at = next((i for i, (_, p) in enumerate(early) if p == piece), None)
            if at is None:
                left.append(piece)
            else:
                del early[at]
        now = (missed + left)[: len(wanted)]
        out.append(now + [0] * (len(wanted) - len(now)))
        rest = list(now)
        some = [p for p in wrote if p]
        for piece in some:
            if piece in rest:
                rest.remove(piece)
            else:
                early.append((tick, piece))
        missed = left if left and not some else []
    return out


def corrected(
    decision: Tensor, say: Tensor, hear: Tensor, cut: Tensor, did: Tensor, said: Tensor, wrote: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Targets [B, N(, T)] of decision, say and hear after what the network did, said and wrote down."""
    choices, words, written = [], [], []
    for b in range(len(decision)):
        choice, word = spoken(*(x[b].tolist() for x in (decision, say, cut, did, said)))
        choices.append(choice)
        words.append(word)
        written.append(heard(hear[b].tolist(), wrote[b].tolist()))
    like = decision.device
    return (
        torch.tensor(choices, device=like),
        torch.tensor(words, device=like),
        torch.tensor(written, device=like),
    )

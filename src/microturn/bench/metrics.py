"""What was said and heard against what should have been: pure functions on plain records.

Timing is by the tick clock: a word begins where the tick in which it is played begins. Content is compared as
normalised words. Two conventions decide what a figure means:

- An utterance that is expected has one meaning and one window, and its *first word* must begin in the window
  (ends included). Windows are widened around their middle for timed utterances and from their start for cues.
- Words that belong to nothing expected are *false*. They count by the utterance, split where 600 ms are
  silent, and a long one once for every 2 s begun, so that talking all the time is as bad as it sounds.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from microturn.clock import TICK_MS, tick_of
from microturn.scenes.episode import HEARD_MS, Episode, Expected, Say, Word, react
from microturn.scenes.words import DIGITS, number
from microturn.streams import Decision, Floats, joined

NEAR_MS = 2000  # from its moment, what is said or heard still belongs to it
SPLIT_MS = 600  # of silence make two utterances out of one
MONOLOGUE_MS = 2000  # of false talk count as one false utterance
GOING_ON_MS = 1500  # after a word of something long, it is still going on
UNBROKEN_MS = 800  # between a word's end and the next one's start; a breath and a slip of a tick
GARBLED = 0.2  # of the words that go on may be wrong
ENDING = 3  # words by which something is known to be over
EARLY_MS = 400  # by which something long may begin before its time
CONTEXT = 2  # words before a window that must fit what goes on in it, so that starting over shows
FLOOR_WORDS, FLOOR_MS = 4, 1200  # a backchannel is shorter than this
AUDIBLE = 0.003  # −50 dB
_WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)*")


@dataclass(frozen=True)
class Heard:
    """A word of the model's transcript and the tick in which it was written down."""

    text: str
    tick: int


@dataclass(frozen=True)
class Played:
    """What a listener got out of one episode."""

    said: tuple[Word, ...] = ()
    heard: tuple[Heard, ...] = ()
    decided: tuple[tuple[int, Decision], ...] = ()  # step, decision, where it is neither LISTEN nor SPEAK
    # [4800] at 24 kHz in each tick, as it is played; None is silence
    speech: tuple[Floats | None, ...] = field(default=(), compare=False, repr=False)


@dataclass(frozen=True)
class Hit:
    expected: Expected
    at_ms: int  # when its first word was played
    places: tuple[int, ...]  # of its words among the words said

    @property
    def late_ms(self) -> int:
        return self.at_ms - self.expected.start_ms


@dataclass(frozen=True)
class Matches:
    hits: tuple[Hit, ...]
    missed: tuple[Expected, ...]
    stray: tuple[Word, ...]  # said, but part of nothing expected

    def met(self, which: Callable[[Expected], bool]) -> list[bool]:
        """Of what was wanted: whether it came."""
        came = [True for h in self.hits if which(h.expected)]
        return came + [False for e in self.missed if which(e)]

    def accuracy(self, *kinds: str) -> float:
        """Fulfilled ÷ (wanted + false utterances)."""
        met = self.met(lambda e: not kinds or e.kind in kinds)
        total = len(met) + false_count(self.stray)
        return sum(met) / total if total else 1.0


@dataclass(frozen=True)
class Run:
    """One case and what came of it."""

    episode: Episode
    played: Played

    def of(self, kind: str) -> list[Expected]:
        """What is expected of this kind, in time."""
        return sorted((e for e in self.episode.expected if e.kind == kind), key=lambda e: e.start_ms)

    @property
    def minutes(self) -> float:
        return self.episode.ticks * TICK_MS / 60_000

    def match(self, scale: float = 1.0, cues: bool = False) -> Matches:
        return match(self.episode, self.played.said, scale, cues)

    def user_speaks(self, ms: int) -> bool:
        return any(p.at_ms <= ms < p.end_ms for p in self.episode.placed if p.who == 0)


# ---- words ----


def normalise(text: str) -> list[str]:
    """Lower-case words without marks, numbers in words."""
    out: list[str] = []
    for word in _WORD.findall(text.lower().replace("’", "'")):
        if word.isdecimal():
            out += number(int(word)).split() if len(word) <= 3 else [DIGITS[int(d)] for d in word]
        else:
            out.append(word)
    return out


def distance(truth: Sequence[str], found: Sequence[str], anywhere: bool = False) -> int:
    """Fewest insertions, deletions and substitutions. `anywhere`: `found` may be any stretch of `truth`."""
    row = [0] * (len(truth) + 1) if anywhere else list(range(len(truth) + 1))
    for i, word in enumerate(found, 1):
        above, row = row, [i]
        for j, true in enumerate(truth, 1):
            row.append(min(above[j] + 1, row[j - 1] + 1, above[j - 1] + (word != true)))
    return min(row) if anywhere else row[-1]


def in_tick(truth: Sequence[Heard], heard: Sequence[Heard], slack: int = 1) -> tuple[int, int]:
    """Words heard in the right tick ± `slack`, and words heard that were never said (or heard twice)."""
    free = list(heard)
    right = 0
    for word in truth:
        near = [h for h in free if h.text == word.text and abs(h.tick - word.tick) <= slack]
        if near:
            free.remove(min(near, key=lambda h: abs(h.tick - word.tick)))
            right += 1
    return right, len(free)


def spoken(episode: Episode) -> list[Heard]:
    """What the user says, and the tick by which each word has been heard."""
    return sorted(
        (
            Heard(text, tick_of(placed.at_ms + word.end_ms + HEARD_MS))
            for placed in episode.placed
            if placed.who == 0
            for word in placed.clip.words
            for text in normalise(word.text)
        ),
        key=lambda h: h.tick,
    )


def from_user(run: Run) -> list[Heard]:
    """The transcript without what was written while somebody else spoke: that may or may not be there. Nobody's
    word is written in the tick in which it begins, if it does not end there."""
    others: set[int] = set()
    for placed in (p for p in run.episode.placed if p.who != 0):
        for word in placed.clip.words:
            last = tick_of(placed.at_ms + word.end_ms + HEARD_MS)
            others |= {last, *range(tick_of(placed.at_ms + word.start_ms) + 1, last)}
    heard = [h for h in run.played.heard if h.tick not in others]
    return [Heard(text, h.tick) for h in heard for text in normalise(h.text)]


# ---- windows ----


def window(expected: Expected, scale: float = 1.0, cue: bool = False) -> tuple[float, float]:
    """The window made `scale` times as wide, around its middle or from the end of the cue; never that of a reply."""
    if expected.kind == "reply":
        return expected.start_ms, expected.end_ms
    if cue:
        return expected.start_ms, expected.start_ms + (expected.end_ms - expected.start_ms) * scale
    middle, half = (expected.start_ms + expected.end_ms) / 2, (expected.end_ms - expected.start_ms) / 2
    return middle - half * scale, middle + half * scale


def match(episode: Episode, said: Sequence[Word], scale: float = 1.0, cues: bool = False) -> Matches:
    """Every expected `say` and `reply` with the words that fulfil it, each word used once."""
    tokens = [(text, place) for place, word in enumerate(said) for text in normalise(word.text)]
    texts = [text for text, _ in tokens]
    used = [False] * len(tokens)
    hits: list[Hit] = []
    missed: list[Expected] = []
    wanted = [e for e in episode.expected if e.kind in ("say", "reply")]
    for expected in sorted(wanted, key=lambda e: (e.start_ms, e.end_ms)):
        words = normalise(expected.text)
        low, high = window(expected, scale, cues)
        target = expected.start_ms if cues or expected.kind == "reply" else (low + high) / 2
        found = [
            i
            for i in range(len(tokens) - len(words) + 1 if words else 0)
            if texts[i : i + len(words)] == words
            and not any(used[i : i + len(words)])
            and low <= said[tokens[i][1]].start_ms <= high
        ]
        if not found:
            missed.append(expected)
            continue
        first = min(found, key=lambda i: (abs(said[tokens[i][1]].start_ms - target), i))
        starts = [said[place].start_ms for _, place in tokens[first:]]
        runs_on = (
            _runs_on(episode.says, words, expected.start_ms, texts[first:], starts)
            if expected.kind == "reply"
            else 0
        )
        last = first + max(len(words), runs_on)
        for i in range(first, last):
            used[i] = True
        places = tuple(dict.fromkeys(tokens[i][1] for i in range(first, last)))
        hits.append(Hit(expected, said[places[0]].start_ms, places))
    taken = {place for hit in hits for place in hit.places}
    stray = tuple(word for place, word in enumerate(said) if place not in taken)
    return Matches(tuple(hits), tuple(missed), stray)


def _runs_on(
    says: Sequence[Say], words: list[str], asked_ms: int, texts: list[str], starts: list[int]
) -> int:
    """How many of `texts` are the answer that begins with `words`; the record holds only those. An answer
    that should have been cut short goes no further than its cut."""
    begun = [say for say in says if normalise(say.text)[: len(words)] == words]
    if not begun:
        return 0
    say = min(begun, key=lambda say: abs(say.at_ms - asked_ms))
    whole, until = normalise(say.text), say.until_ms if say.until_ms is not None else float("inf")
    rows = enumerate(zip(whole, texts, starts, strict=False))
    return next((i for i, (a, b, at) in rows if a != b or at >= until), min(len(whole), len(texts)))


# ---- timing ----


def lateness(run: Run) -> list[int]:
    """Of everything to be said that was begun near its moment: how much later (ms), or earlier, than it should be."""
    said = [(text, w.start_ms) for w in run.played.said for text in normalise(w.text)[:1]]
    return _nearest([(text, say.at_ms) for say in run.episode.says for text in normalise(say.text)[:1]], said)


def transcript_lateness(run: Run) -> list[int]:
    """The same of the words that were heard."""
    return _nearest(
        [(h.text, h.tick * TICK_MS) for h in spoken(run.episode)],
        [(h.text, h.tick * TICK_MS) for h in from_user(run)],
    )


def _nearest(wanted: Sequence[tuple[str, int]], found: Sequence[tuple[str, int]]) -> list[int]:
    near = ([b - at for word, b in found if word == text and abs(b - at) <= NEAR_MS] for text, at in wanted)
    return [min(some, key=abs) for some in near if some]


# ---- utterances ----


def utterances(words: Sequence[Word]) -> list[tuple[Word, ...]]:
    """Words split where nothing is said for a while."""
    out: list[tuple[Word, ...]] = []
    for word in words:
        if out and word.start_ms - out[-1][-1].end_ms < SPLIT_MS:
            out[-1] = (*out[-1], word)
        else:
            out.append((word,))
    return out


def false_count(stray: Sequence[Word]) -> int:
    """False utterances, a long one once for every 2 s begun."""
    return sum(max(1, -(-(u[-1].end_ms - u[0].start_ms) // MONOLOGUE_MS)) for u in utterances(stray))


def within(words: Sequence[Word], expected: Expected) -> list[Word]:
    """Words that begin inside the window."""
    return [w for w in words if expected.start_ms <= w.start_ms < expected.end_ms]


def minutes_of(windows: Sequence[Expected]) -> float:
    return sum(e.end_ms - e.start_ms for e in windows) / 60_000


# ---- stopping and carrying on ----


@dataclass(frozen=True)
class Stop:
    """How a halt went. Without `going`, nothing was being said that could have been stopped."""

    going: bool
    halted: bool
    latency_ms: int | None  # from the end of the stopping word to silence


def cause_end(episode: Episode, at_ms: int) -> int:
    """When the word ended that made `at_ms` the moment to react."""
    ends = [
        placed.at_ms + word.end_ms
        for placed in episode.placed
        if placed.who == 0
        for word in placed.clip.words
    ]
    return max((end for end in ends if react(end) == at_ms), default=at_ms - 2 * HEARD_MS - 240)


def stopped(run: Run, halt: Expected, stray: Sequence[Word]) -> Stop:
    """No more of the old content from the start of the halt on.

    What was being said before may be part of a matched reply, so `going` looks at everything that was said.
    """
    old = {*normalise(halt.text), *normalise(content(run.episode, halt).text)}
    cause = cause_end(run.episode, halt.start_ms)
    before = [w for w in run.played.said if w.start_ms < halt.start_ms]
    going = bool(before) and cause - before[-1].end_ms < GOING_ON_MS
    late = [w for w in within(stray, halt) if old & set(normalise(w.text))]
    last = max((w.end_ms for w in (before[-1:] if going else []) + late), default=None)
    return Stop(going, not late, None if last is None else max(0, last - cause))


def last_heard(speech: Sequence[Floats | None], after_ms: float, until_ms: float) -> float | None:
    """How long (ms) after a moment a voice could still be heard, before another moment; None without a voice."""
    if not any(tick is not None for tick in speech):
        return None
    size = next(len(tick) for tick in speech if tick is not None)
    whole = joined(speech, size)
    first, end = (round(ms * size / TICK_MS) for ms in (after_ms, until_ms))
    loud = np.flatnonzero(np.abs(whole[first:end]) > AUDIBLE)
    return float((loud[-1] + 1) * TICK_MS / size) if len(loud) else 0.0


def content(episode: Episode, window: Expected) -> Say:
    """All of what should be going on in a window; what the record holds where nothing is."""
    begun = [say for say in episode.says if say.at_ms <= window.start_ms]
    return begun[-1] if begun else Say(window.text, 0)


def carried_on(window: Expected, said: Sequence[Word], say: Say) -> bool:
    """Words of `say` go on through the window, in their order, with no gap longer than a breath. What was said
    before it was to begin is part of something else."""
    said, whole = [w for w in said if w.start_ms >= say.at_ms - EARLY_MS], say.text
    inside = [w for w in said if w.end_ms > window.start_ms and w.start_ms < window.end_ms]
    before = [w for w in said if w.end_ms <= window.start_ms]
    after = [w for w in said if w.start_ms >= window.end_ms]
    stretch = before[-1:] + inside
    if not stretch:
        return False
    ends = normalise(whole)[-ENDING:]
    latest = [text for w in (before[-ENDING:] + inside) for text in normalise(w.text)]
    finished = bool(inside) and latest[-len(ends) :] == ends
    gaps = [b.start_ms - a.end_ms for a, b in itertools.pairwise(stretch)]
    if not finished:
        resumes = after[0].start_ms if after else window.end_ms
        gaps.append(resumes - stretch[-1].end_ms)
    if not before:
        gaps.append(stretch[0].start_ms - window.start_ms)
    words = [text for w in (*before[-CONTEXT:], *inside, *after[:1]) for text in normalise(w.text)]
    wrong = distance(normalise(whole), words, anywhere=True)
    return max(gaps) <= UNBROKEN_MS and wrong <= GARBLED * len(words)


# ---- listening ----


@dataclass(frozen=True)
class Nods:
    """Backchannels of one case: how many, how many of them where a clause ends, how many took the floor."""

    count: int
    placed: int
    floor: int
    minutes: float


def nods(run: Run) -> Nods:
    ends = run.of("clause_end")
    all_said = utterances(run.match().stray)  # without the “okay” to the request
    placed = sum(any(e.start_ms <= u[0].start_ms < e.end_ms for e in ends) for u in all_said)
    floor = sum(len(u) >= FLOOR_WORDS or u[-1].end_ms - u[0].start_ms > FLOOR_MS for u in all_said)
    return Nods(len(all_said), placed, floor, run.minutes)

"""An episode as what the network should do in every tick.

A piece decided in step k is played in tick k + LEAD_TICKS; the sound of tick j+1 is made by step j. So the model
speaks (decision SPEAK) from LEAD_TICKS before its first word is played to the step that makes the last sound.
When it should yield, it listens from the very step in which it heard why: words not played by then are dropped,
and the sound stops one tick later. Something new can be said from the step after that.

Shape suffixes: N ticks, T pieces.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from microturn.clock import TICK_MS, tick_of
from microturn.scenes.episode import HEARD_MS, LAST_MS, Episode, Say, Word, pace
from microturn.streams import LEAD_TICKS, Channel, Decision, Flags, Ints
from microturn.streams import Tokenizer as Pieces
from microturn.train.lexicon import Lexicon

FRAME_MS = 20  # of the ears
SOUND_LAG_MS = 60  # ears know a sound when they have heard some of what follows
LONGEST = 60  # frames of a word


@dataclass(frozen=True)
class Targets:
    decision: Ints  # [N]
    cut: Flags  # [N] the tick after speech that was to stop early
    say: Ints  # [N, T]
    hear: Ints  # [N, T]
    hear_known: Flags  # [N] false where somebody else's words may or may not be transcribed
    setup: Ints  # [S, R] pieces read at opening
    setup_channel: Ints  # [S, R]
    text: Ints  # [N, R] pieces read in each tick
    channel: Ints  # [N, R]
    sounds: tuple[Sounding, ...] = ()


@dataclass(frozen=True)
class Sounding:
    """A word of the user in 20 ms frames."""

    first: int
    count: int
    sounds: tuple[int, ...]


def _spread(words: Iterable[tuple[int, str]], ticks: int, room: int, pieces: Pieces) -> Ints:
    """Words at ticks → pieces [N, T]; what does not fit in its tick goes to the next."""
    out = np.zeros((ticks, room), np.int64)
    used = np.zeros(ticks, np.int64)
    latest = 0
    for tick, word in sorted(words, key=lambda w: w[0]):
        at = max(tick, latest)
        for piece in pieces.encode(" " + word):
            while at < ticks and used[at] == room:
                at += 1
            if at >= ticks:
                break
            out[at, used[at]] = piece
            used[at] += 1
        latest = at
    return out


def _after_yields(says: Iterable[Say]) -> list[Say]:
    """A word that follows a yield cannot be played before the tick after it: the yield takes a step of its own.

    One that follows a word of its own does not wait for the end of it being held.
    """
    ordered: list[Say] = []
    free = 0
    for say in sorted(says, key=lambda s: s.at_ms):
        late = max(0, free - say.at_ms)
        until = None if say.until_ms is None else max(say.until_ms, say.at_ms + late)
        ordered.append(replace(say, at_ms=say.at_ms + late, until_ms=until))
        words = pace(ordered[-1])
        end = words[-1].end_ms - LAST_MS if words else ordered[-1].at_ms
        free = -(-end // TICK_MS) * TICK_MS if until is None else until + TICK_MS
    return ordered


def schedule(says: Iterable[Say]) -> tuple[list[Word], list[tuple[int, int, bool]]]:
    """The words that are really played, and the spans of steps in which the model speaks: first, last, cut."""
    words: list[Word] = []
    spans: list[tuple[int, int, bool]] = []
    for say in _after_yields(says):
        # the yielding step drops what its own tick would still have begun
        played = [w for w in pace(say) if say.until_ms is None or w.start_ms < say.until_ms - TICK_MS]
        if not played:
            continue
        words += played
        last = tick_of(played[-1].end_ms - 1) - 1
        if say.until_ms is not None:
            last = min(last, say.until_ms // TICK_MS - LEAD_TICKS - 1)
        spans.append((tick_of(played[0].start_ms) - LEAD_TICKS, last, say.until_ms is not None))
    return words, spans


def _soundings(episode: Episode, lexicon: Lexicon) -> Iterator[Sounding]:
    for placed in episode.placed:
        for word in placed.clip.words if placed.who == 0 else ():
            first = (placed.at_ms + word.start_ms + SOUND_LAG_MS) // FRAME_MS
            last = (placed.at_ms + word.end_ms + SOUND_LAG_MS) // FRAME_MS
            sounds = lexicon.sounds(word.text)
            if sounds and len(sounds) < last - first < LONGEST and last < episode.ticks * TICK_MS // FRAME_MS:
                yield Sounding(first, last + 1 - first, sounds)


def targets(
    episode: Episode, pieces: Pieces, read_pieces: int, say_pieces: int, lexicon: Lexicon | None = None
) -> Targets:
    n = episode.ticks
    decision = np.full(n, Decision.LISTEN, np.int64)
    words, spans = schedule(episode.says)
    stopped = np.zeros(n, np.bool_)
    for first, last, cut in spans:
        decision[max(0, first) : last + 1] = Decision.SPEAK
        if cut and 0 <= last + 1 < n:
            stopped[last + 1] = True
    for step, other in episode.decisions:
        decision[step] = other
    say = _spread(
        ((tick_of(w.start_ms) - LEAD_TICKS, w.text) for w in words if w.start_ms >= LEAD_TICKS * TICK_MS),
        n,
        say_pieces,
        pieces,
    )
    say[decision != Decision.SPEAK] = 0

    heard: list[tuple[int, str]] = []
    known = np.ones(n, np.bool_)
    for placed in episode.placed:
        for word in placed.clip.words:
            end = tick_of(placed.at_ms + word.end_ms + HEARD_MS)
            if placed.who == 0:
                heard.append((end, word.text))
            else:
                known[tick_of(placed.at_ms + word.start_ms) : end + 1] = False
    hear = _spread(heard, n, say_pieces, pieces)
    if episode.told:
        known[:] = False

    setup: list[tuple[list[int], Channel]] = []
    text, channel = np.zeros((n, read_pieces), np.int64), np.zeros((n, read_pieces), np.int64)
    free = 0
    for read in sorted(episode.reads, key=lambda r: r.tick):
        packed = pieces.pack(read.text, read_pieces)
        if read.tick < 0:
            setup += [(p, read.channel) for p in packed]
            continue
        free = max(free, read.tick)
        for p in packed:
            if free < n:
                text[free, : len(p)], channel[free] = p, read.channel
                free += 1
    s = len(setup)
    setup_text, setup_channel = np.zeros((s, read_pieces), np.int64), np.zeros((s, read_pieces), np.int64)
    for i, (p, which) in enumerate(setup):
        setup_text[i, : len(p)], setup_channel[i] = p, which
    sounds = tuple(_soundings(episode, lexicon)) if lexicon and not episode.told else ()
    return Targets(decision, stopped, say, hear, known, setup_text, setup_channel, text, channel, sounds)

"""What the camera shows: counting what repeats, saying when something happens, calling a game, answering.

Conventions. A request is not acknowledged; it holds from its end on, and nothing that it asks about happens
before. Something that happens at a moment is visible in the frame at the end of that tick: what is said about
it is played at `seen` of it, over whoever talks, or behind the model's own word. A repetition counts when its
movement is back where it began, and is told a tick later, when that is certain: who must be sure of a moment that
nobody can be sure of stays silent; half of one does not count, nor does anything that was not asked for.
"""

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from microturn.clock import TICK_MS, start_ms, tick_of
from microturn.drawing import COLOURS, EXERCISES, SHAPES, TEST_EXERCISES, TEST_SHAPES, Body, Film, Rep, Thing
from microturn.scenes.episode import Clip, Episode, Line, Say, Script, pace, react, spoken_ms
from microturn.scenes.recital import recital
from microturn.scenes.stage import CUE_MS, Stage, heard_end, lines_for, read_ms, reply_to, said_end
from microturn.scenes.talk import sentences
from microturn.scenes.wording import said_in
from microturn.scenes.words import number
from microturn.streams import LEAD_TICKS, Channel

SAID = said_in("watch")
SEEN_MS = 2000  # what happened can be told for so long
FASTEST_MS = 500  # of a repetition: with two frames or less of each nobody can count them
SURE_MS = 200  # until it is certain that a repetition is over and that it is not resting on its way
SETTLED_MS = 400  # without moving, until something has stopped; of moving, until it has started


def seen(ms: float) -> int:
    """When (ms) a word can be played about what is first visible at `ms`."""
    return start_ms(tick_of(max(0, ms - 1)) + LEAD_TICKS)


def own(rng: random.Random, split: str, all_: dict[str, object], reserved: tuple[str, ...]) -> str:
    """One of them; some are drawn in tests only."""
    if split == "test" and rng.random() < 0.5:
        return rng.choice(reserved)
    return rng.choice([name for name in all_ if name not in reserved])


@dataclass(frozen=True)
class Request:
    """What `script` tells `compose`."""

    kind: str
    split: str
    read: str = ""  # the request, where it is not spoken but read …
    channel: Channel = Channel.TYPED  # … and how
    spoken: bool = False
    x: str = ""  # the exercise, the shape or the motion
    c: str = ""  # a colour
    n: int = 0
    w: tuple[str, ...] = ()  # words to be said
    long: tuple[str, ...] = ()  # something long that the model tells meanwhile
    asked: int = -1  # the line that asks at the end; several in a scene that only asks


class Watch:
    """Request first; then things happen, with talk meanwhile."""

    name = ""

    def _request(self, rng: random.Random, split: str) -> tuple[str, Request, str]:
        """Its wording ("" for none), what it is about, and what is asked at the end."""
        raise NotImplementedError

    def _happen(self, stage: Stage, rng: random.Random, r: Request, now: int) -> Film:
        """All that happens from `now` on, with what is said about it."""
        raise NotImplementedError

    def script(self, rng: random.Random, split: str, seconds: float) -> Script:
        text, r, asked = self._request(rng, split)
        lines: list[str] = []
        how = rng.choices(("spoken", "typed", "instructions"), (70, 18, 12))[0] if text else ""
        if how == "spoken":
            lines.append(text)
        if r.kind in ("turns", "leaves", "appears") and rng.random() < 0.3:
            long = recital(rng, split)
            lines.append(long.request)
            r = replace(r, long=long.words)
        if asked:
            r = replace(r, asked=len(lines))
            lines.append(asked)
        if how == "spoken":
            r = replace(r, spoken=True)
        else:
            r = replace(r, read=text, channel=Channel.TYPED if how == "typed" else Channel.INSTRUCTIONS)
        if not r.long and rng.random() < (0.45 if text else 0.8):
            lines += lines_for(rng, seconds * 0.5, sentences(rng))
        return Script(self.name, 0, tuple(Line(line) for line in lines), {"request": r})

    def compose(self, script: Script, clips: Sequence[Clip], rng: random.Random, seconds: float) -> Episode:
        stage = Stage(script, tuple(clips), seconds)
        r: Request = script.facts["request"]
        now, fits = rng.randrange(200, 1500), True
        if r.spoken:
            placed = stage.at(0, now)
            if fits := stage.fits(placed):
                stage.put(placed)
                now = heard_end(placed)
        elif r.read:
            opening = r.channel is Channel.INSTRUCTIONS or rng.random() < 0.4
            now = max(now, read_ms(stage.read(r.read, -1 if opening else tick_of(now), r.channel)))
        if not fits:
            r = Request("nothing", r.split)
        elif r.long:
            now = self._tell(stage, rng, r, now)
        film = self._happen(stage, rng, r, now) if fits else Film(rng.getrandbits(31), ())
        first = r.spoken + bool(r.long) + (r.asked >= 0)
        until = min((p.at_ms for p in stage.placed if p.at_ms > now), default=stage.ms)
        self._talk(stage, rng, first, now, until)
        return replace(stage.episode(), film=film)

    def _tell(self, stage: Stage, rng: random.Random, r: Request, now: int) -> int:
        """The model begins something long; what happens later cuts into it."""
        placed = stage.at(int(r.spoken), now + rng.randrange(500, 1500))
        say = Say(" ".join(r.long), react(heard_end(placed)))
        if not stage.fits(placed) or say.at_ms + 2000 > stage.ms:
            return now
        stage.put(placed)
        told = len([w for w in pace(say) if w.end_ms <= stage.ms])
        while said_end(say := Say(" ".join(r.long[:told]), say.at_ms)) > stage.ms:
            told -= 1  # the last word of what is said takes longer
        stage.answer(say, heard_end(placed))
        return max(now, say.at_ms + 600)

    def _talk(self, stage: Stage, rng: random.Random, first: int, now: int, until: int) -> None:
        """Plain talk over it all, until the next thing that matters is said."""
        now += rng.randrange(500, 4000)
        for i in range(first, len(stage.clips)):
            placed = stage.at(i, now)
            if placed.end_ms > until - 300:
                break
            stage.put(placed)
            now = heard_end(placed) + rng.randrange(200, 2500)

    def _tells(self, stage: Stage, text: str, ms: float, long_ms: int = CUE_MS, sure_ms: int = 0) -> bool:
        """Say it once it is seen for sure, into the model's own words if it must be; False: no room."""
        say = Say(text, seen(ms + sure_ms))
        own = stage.says[-1] if stage.says and said_end(stage.says[-1]) > say.at_ms else None
        kept = [w for w in pace(own) if w.start_ms < say.at_ms] if own else []
        if own:
            if len(own.text.split()) < 4 or not kept:
                return False
            say = Say(text, -(-kept[-1].end_ms // TICK_MS) * TICK_MS)
            if say.at_ms > ms + long_ms:
                return False
            stage.says.pop()  # the last of its words is not held when something follows
        room = stage.free(say)
        if own:
            stage.says.append(Say(" ".join(own.text.split()[: len(kept)]), own.at_ms) if room else own)
        if not room:
            return False
        if own:
            stage.expected = [
                reply_to(stage.says[-1], e.start_ms) if e.kind == "reply" else e for e in stage.expected
            ]
        stage.cued(say, ms, long_ms)
        return True


def body(rng: random.Random, acts: Sequence[tuple[str, Sequence[Rep]]], **more: object) -> Body:
    front = bool(acts) and EXERCISES[acts[0][0]].front
    facing = rng.gauss(rng.choice((0, 0, 180)), 28) if front else rng.choice((-1, 1)) * rng.uniform(45, 125)
    kept = tuple((name, tuple(reps)) for name, reps in acts if reps)
    return Body(rng.getrandbits(31), kept, facing=facing, **more)  # type: ignore[arg-type]


def others(rng: random.Random, avoid: tuple[str, ...]) -> Iterator[Body | Thing]:
    """What stands about and does nothing."""
    if rng.random() < 0.12:
        yield body(rng, (), at=(rng.choice((-1, 1)) * rng.uniform(1.0, 1.6), -rng.uniform(0.3, 1.2)))
    for _ in range(rng.choice((0, 0, 0, 1, 2))):
        x = rng.choice((-1, 1)) * rng.uniform(0.7, 1.5)
        colour = rng.choice([c for c in COLOURS if c not in avoid])
        shape = rng.choice([s for s in SHAPES if s not in (*avoid, *TEST_SHAPES)])
        size = rng.uniform(0.08, 0.2)
        z = rng.uniform(0.6, 1.5) if rng.random() < 0.2 else -rng.uniform(0, 1)  # some stand in the way
        yield Thing(rng.getrandbits(31), shape, colour, (x, size, z), size)


def repetitions(
    rng: random.Random, now: float, until: float, quick: float, least: Callable[[int], float]
) -> list[Rep]:
    """Repetitions with a rhythm that changes, pauses and half ones; `least` ms for the whole one of a number."""
    period = quick * 1000 * (2.6 / quick) ** rng.random()
    peak, hold = rng.uniform(0.3, 0.7), rng.choice((0.0, 0.0, rng.uniform(0.05, 0.35)))
    halves, rests = rng.choice((0, 0, 0.15)), rng.choice((0, 0, 0.05, 0.15))
    uneven = rng.choice((0.03, 0.1, 0.2))
    reps: list[Rep] = []
    done = 0
    while True:
        if rng.random() < 0.06:
            period = min(4000, max(quick * 900, period * rng.choice((0.65, 0.8, 1.25, 1.5))))
        half = rng.random() < halves
        ms = max(quick * 750, FASTEST_MS, period * rng.gauss(1, uneven)) * (0.7 if half else 1)
        if not half:
            ms = max(ms, least(done + 1))
        if now + ms > until:
            return reps
        depth = rng.uniform(0.25, 0.45) if half else rng.uniform(0.88, 1.0)
        reps.append(Rep(now, now + ms, depth, peak, hold, mirrored=bool(done % 2)))
        done += not half
        rest = rng.random() < rests
        now += ms + (rng.uniform(600, 3500) if rest else rng.choice((0, 0, rng.uniform(0, 300))))


def spoken_number(n: int) -> int:
    return sum(spoken_ms(word) for word in number(n).split()) if n else 0


def like(rng: random.Random, x: str) -> str:
    """Another exercise that begins in the same way."""
    mine = EXERCISES[x]
    near = [
        e.name
        for e in EXERCISES.values()
        if e.name not in (x, *TEST_EXERCISES)
        and (e.stays, e.front) == (mine.stays, mine.front)
        and abs(e.poses[0][0] - mine.poses[0][0]) < 12
    ]
    return rng.choice(near) if near else ""

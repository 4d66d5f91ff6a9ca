"""Counting what repeats, and saying when an activity begins and ends. Conventions in watch.py."""

import random
from dataclasses import replace

from microturn.drawing import (
    COLOURS,
    EXERCISES,
    MOTIONS,
    SHAPES,
    TEST_EXERCISES,
    TEST_SHAPES,
    Film,
    Rep,
    Thing,
)
from microturn.scenes.episode import Say, react
from microturn.scenes.stage import CUE_MS, Stage, heard_end
from microturn.scenes.watch import (
    SAID,
    SETTLED_MS,
    SURE_MS,
    Request,
    Watch,
    body,
    like,
    others,
    own,
    repetitions,
    seen,
    spoken_number,
)
from microturn.scenes.words import number

BOUNDS = (("start", "stop"), ("go", "stop"), ("now", "done"), ("on", "off"), ("hello", "bye"), ("up", "down"))


class Reps(Watch):
    """“Count out my push-ups.”"""

    name = "reps"

    def _request(self, rng: random.Random, split: str) -> tuple[str, Request, str]:
        kind = rng.choices(("count", "goal", "asked", "nothing"), (55, 15, 18, 12))[0]
        if rng.random() < 0.72:
            x = own(rng, split, dict(EXERCISES), TEST_EXERCISES)
            words = "repetitions" if rng.random() < 0.1 else x
        else:
            x = rng.choice(tuple(MOTIONS))
            words = MOTIONS[x]
        n = rng.choice((2, 3, 3, 4, 4, 5, 6, 8))
        r = Request(kind, split, x=x, n=n)
        text = SAID[kind].draw(rng, split, x=words, n=number(n)) if kind != "nothing" else ""
        return ("", r, text) if kind == "asked" else (text, r, "")

    def _happen(self, stage: Stage, rng: random.Random, r: Request, now: int) -> Film:
        begin = now + rng.randrange(300, 1800)
        until = float(stage.ms - 900)
        if r.asked >= 0:
            until -= stage.clips[r.asked].ms + 3000
        elif rng.random() < 0.3:
            until = min(until, begin + rng.uniform(5000, 15_000))
        quick = EXERCISES[r.x].quick if r.x in EXERCISES else 0.5
        aloud = r.kind == "count"
        reps = repetitions(
            rng, begin, until, quick, (lambda n: spoken_number(n - 1) + 260) if aloud else lambda n: 0
        )
        acts = [(r.x, reps)]
        asked = (r.read, *(line.text for line in stage.script.lines))
        named = r.kind == "nothing" or any(r.x in text for text in asked)  # or all that is done is meant
        mixed = r.x in EXERCISES and rng.random() < 0.2
        if mixed and named and (other := like(rng, r.x)) and len(reps) > 3:
            at = rng.randrange(1, len(reps))  # something else in between, which does not count
            pause = reps[at].start_ms - reps[at - 1].end_ms
            more = repetitions(
                rng,
                reps[at - 1].end_ms + 1000,
                reps[at - 1].end_ms + rng.uniform(3000, 7000),
                1.2,
                lambda n: 0,
            )
            if more:
                shift = more[-1].end_ms + 1000 - reps[at - 1].end_ms - pause
                late = [replace(p, start_ms=p.start_ms + shift, end_ms=p.end_ms + shift) for p in reps[at:]]
                acts = [(r.x, reps[:at]), (other, more), (r.x, [rep for rep in late if rep.end_ms <= until])]
                reps = [rep for name, some in acts if name == r.x for rep in some]
        whole = [rep for rep in reps if rep.depth > 0.6]
        for n, rep in enumerate(whole, 1):
            said = number(n) if aloud else f"that's {number(n)}" if r.kind == "goal" and n == r.n else ""
            told = not said or self._tells(stage, said, rep.end_ms, sure_ms=SURE_MS)
            if not told:  # it does not happen
                acts = [(name, [p for p in some if p.end_ms < rep.end_ms]) for name, some in acts]
                reps = [p for p in reps if p.end_ms < rep.end_ms]
                break
        if r.kind == "asked" and whole:
            placed = stage.at(r.asked, whole[-1].end_ms + rng.randrange(500, 1800))
            say = Say(number(len(whole)), react(heard_end(placed)))
            if stage.fits(placed) and stage.free(say):
                stage.put(placed)
                stage.answer(say, heard_end(placed))
        if r.x in EXERCISES:
            return Film(rng.getrandbits(31), (body(rng, acts), *others(rng, ())), r.split)
        shape, colour = own(rng, r.split, dict(SHAPES), TEST_SHAPES), rng.choice(tuple(COLOURS))
        size = rng.uniform(0.12, 0.4)
        up = size if r.x in ("bounce", "jump") else rng.uniform(0.5, 1.5)
        if r.x in ("turn", "flip", "nod") and shape == "ball":
            shape = "stick"  # a ball that turns is a ball
        thing = Thing(rng.getrandbits(31), shape, colour, (0, up, 0), size, r.x, tuple(reps))
        return Film(rng.getrandbits(31), (thing, *others(rng, (shape,))), r.split)


class Charades(Watch):
    """“Say start when i start jumping and stop when i stop.”"""

    name = "charades"

    def _request(self, rng: random.Random, split: str) -> tuple[str, Request, str]:
        x = own(rng, split, dict(EXERCISES), TEST_EXERCISES)
        words = rng.choice(BOUNDS)
        text = SAID["charades"].draw(rng, split, x=EXERCISES[x].doing, a=words[0], b=words[1])
        return text, Request("charades", split, x=x, w=words), ""

    def _happen(self, stage: Stage, rng: random.Random, r: Request, now: int) -> Film:
        acts: list[tuple[str, list[Rep]]] = []
        at = now + rng.uniform(900, 4000)
        other = like(rng, r.x)
        while at < stage.ms - 3500:
            mine = not other or rng.random() < 0.7
            name = r.x if mine else other
            until = min(at + rng.uniform(2500, 8000), stage.ms - 1600)
            pace_ms = EXERCISES[name].quick * rng.uniform(800, 1700)
            count = int((until - at) / pace_ms)
            reps = [Rep(at + i * pace_ms, at + (i + 1) * pace_ms, mirrored=bool(i % 2)) for i in range(count)]
            if not reps:
                break
            ends = (at, reps[-1].end_ms)
            if mine:
                says = [Say(w, seen(ms + SETTLED_MS)) for w, ms in zip(r.w, ends, strict=True)]
                if not stage.free(*says):
                    break
                for say, ms in zip(says, ends, strict=True):
                    stage.cued(say, ms, SETTLED_MS + CUE_MS)
            acts.append((name, reps))
            at = ends[1] + rng.uniform(1800, 4500)
        return Film(rng.getrandbits(31), (body(rng, acts), *others(rng, ())), r.split)

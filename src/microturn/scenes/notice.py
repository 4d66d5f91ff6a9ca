"""Saying when something happens, and answering what there is to be seen. Conventions in watch.py."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import replace

from microturn.drawing import COLOURS, EXERCISES, SHAPES, TEST_EXERCISES, TEST_SHAPES, Body, Film, Rep, Thing
from microturn.scenes.episode import Clip, Episode, Line, Say, Script, react
from microturn.scenes.stage import Stage, heard_end, lines_for, said_end
from microturn.scenes.talk import sentences
from microturn.scenes.watch import SAID, SEEN_MS, Request, Watch, body, others, own, repetitions
from microturn.scenes.words import ALL, REPLIES, number

WALK_MS = 1500  # from out of sight until somebody is certainly here …
SOON_MS = 1000  # … and before that, telling it is right where the view is wide


class Notice(Watch):
    """“Tell me when the light turns red.”"""

    name = "notice"

    def _request(self, rng: random.Random, split: str) -> tuple[str, Request, str]:
        kinds = ("turns", "every", "appears", "what", "leaves", "comes", "says", "nothing")
        kind = rng.choices(kinds, (16, 14, 12, 16, 12, 8, 14, 8))[0]
        x, c = own(rng, split, dict(SHAPES), TEST_SHAPES), rng.choice(tuple(COLOURS))
        r = Request(kind, split, x=x, c=c)
        if kind == "says":
            change = rng.choice(("turns", "leaves"))
            w = rng.choice(REPLIES if rng.random() < 0.3 else ALL)
            v = f"turns {c}" if change == "turns" else rng.choice(("leaves", "is gone", "disappears"))
            return SAID["says"].draw(rng, split, x=x, v=v, w=w), replace(r, kind=change, w=(w,)), ""
        if kind == "comes":
            who = rng.choice(("person", "man", "woman", "visitor"))
            return SAID["appears"].draw(rng, split, x=who), replace(r, w=("somebody is here",)), ""
        told = {"turns": f"it is {c}", "appears": "there it is", "leaves": "it is gone"}
        text = SAID[kind].draw(rng, split, x=x, c=c) if kind != "nothing" else ""
        return text, replace(r, w=(told.get(kind, ""),)), ""

    def _happen(self, stage: Stage, rng: random.Random, r: Request, now: int) -> Film:
        kind = rng.choice(("turns", "what", "leaves")) if r.kind == "nothing" else r.kind
        told = r.kind != "nothing"
        moments: list[int] = []
        at = now + rng.randrange(800, 6000)
        while at < stage.ms - 1800 and len(moments) < 9:
            moments.append(at)
            at += rng.randrange(1600, 6000)
        seed = rng.getrandbits(31)
        x, up, size = rng.uniform(-0.7, 0.7), rng.uniform(0.3, 1.2), rng.uniform(0.15, 0.35)
        main = Thing(seed, r.x, rng.choice([c for c in COLOURS if c != r.c]), (x, up, 0), size)
        actors: list[Body | Thing] = list(others(rng, (r.x, r.c)))
        if kind in ("turns", "every"):
            actors.append(self._coloured(stage, rng, r, main, moments, told))
        elif kind in ("appears", "what"):
            actors += self._appearing(stage, rng, r, moments, told)
        elif kind == "leaves" and moments:
            gone = moments[0]
            side = rng.choice((-1, 1)) * 2.6
            path = ((0, x, up), (gone - 900, rng.uniform(-0.7, 0.7), up), (gone, side, up))
            late = rng.random() < 0.15 or (told and not self._tells(stage, r.w[0], gone, SEEN_MS))
            away = replace(
                main, path=path, rolls=r.x == "ball", shown=((-1.0, gone),)
            )  # however wide the view
            actors.append(main if late else away)
        elif kind == "comes" and moments:
            here = max(moments[0], now + WALK_MS + 200)
            actors = [a for a in actors if isinstance(a, Thing)]  # nobody was here before
            if rng.random() < 0.85 and self._tells(stage, r.w[0], here, SEEN_MS):
                stage.expected[-1] = replace(stage.expected[-1], start_ms=here - SOON_MS)
                begin = here - WALK_MS
                steps = [Rep(begin + 450 * i, begin + 450 * (i + 1), mirrored=bool(i % 2)) for i in range(5)]
                side = rng.choice((-1, 1))
                walk = ((begin, 3.2 * side), (here, 0.95 * side), (here + 750, rng.uniform(-0.5, 0.5)))
                walker = body(rng, (("knee raises", steps),), path=walk)
                actors.append(replace(walker, facing=90.0 if walk[0][1] < 0 else -90.0))
        return Film(rng.getrandbits(31), tuple(actors), r.split, stage=(1.2, 1.5))

    def _coloured(
        self, stage: Stage, rng: random.Random, r: Request, main: Thing, moments: list[int], told: bool
    ) -> Thing:
        """It takes other colours, and once, mostly, the one that was asked for."""
        changes: list[tuple[float, str]] = []
        hit = rng.randrange(len(moments)) if moments and rng.random() < 0.9 else -1
        last = main.colour
        for i, ms in enumerate(moments):
            wanted = r.kind == "turns" and i == hit
            colour = r.c if wanted else rng.choice([c for c in COLOURS if c not in (r.c, last)])
            if told and r.kind == "every" and not self._tells(stage, colour, ms, SEEN_MS):
                break
            if told and wanted and not self._tells(stage, r.w[0], ms, SEEN_MS):
                break
            changes.append((ms, colour))
            last = colour
        return replace(main, colours=tuple(changes))

    def _appearing(
        self, stage: Stage, rng: random.Random, r: Request, moments: list[int], told: bool
    ) -> Iterator[Thing]:
        """One thing after another comes, and may go again."""
        hit = rng.randrange(len(moments)) if moments and rng.random() < 0.9 else -1
        shapes = [s for s in SHAPES if s not in TEST_SHAPES and s != r.x]
        for i, ms in enumerate(moments[:6]):
            wanted = i == hit
            shape = r.x if wanted else rng.choice(shapes)
            colour = rng.choice(tuple(COLOURS))
            if told and r.kind == "what" and not self._tells(stage, f"{colour} {shape}", ms, SEEN_MS):
                return
            if told and r.kind == "appears" and wanted and not self._tells(stage, r.w[0], ms, SEEN_MS):
                return
            size, end = rng.uniform(0.12, 0.28), ms + rng.choice((1500, 3000, 60_000))
            x = -0.95 + 0.38 * i + rng.uniform(-0.05, 0.05)
            yield Thing(
                rng.getrandbits(31),
                shape,
                colour,
                (x, rng.uniform(0.3, 1.2), 0.1 * i),
                size,
                shown=((ms, end),),
            )


def many(shape: str) -> str:
    return {"box": "boxes", "leaf": "leaves"}.get(shape, shape + "s")


class Look(Watch):
    """“What colour is the ball?”"""

    name = "look"

    def script(self, rng: random.Random, split: str, seconds: float) -> Script:
        shapes = [s for s in SHAPES if split == "test" or s not in TEST_SHAPES]
        x, y = rng.sample(shapes, 2)
        doing = rng.random() < 0.3
        if doing:
            x = own(rng, split, dict(EXERCISES), TEST_EXERCISES)
        n = rng.choice((0, 1, 2, 2, 3, 3, 4, 5))
        c, side = rng.choice(tuple(COLOURS)), rng.choice(("left", "right"))
        answers = {"colour": c, "side": side, "many": number(n), "what": f"{c} {x}"}
        kinds = (
            ["doing"]
            if doing
            else ["what"]
            if n == 0
            else rng.sample(["colour", "side", "many"], rng.randint(1, 3))
        )
        lines, said = [], []
        for kind in kinds:
            lines.append(SAID[f"asks-{kind}"].draw(rng, split, x=many(y) if kind == "many" else x))
            said.append(EXERCISES[x].doing if kind == "doing" else answers[kind])
        r = Request("doing" if doing else "things", split, x=x, c=c, n=n, w=(side, y, *said), asked=0)
        lines += lines_for(rng, seconds * 0.4, sentences(rng)) if rng.random() < 0.5 else []
        return Script(self.name, 0, tuple(Line(line) for line in lines), {"request": r})

    def compose(self, script: Script, clips: Sequence[Clip], rng: random.Random, seconds: float) -> Episode:
        stage = Stage(script, tuple(clips), seconds)
        r: Request = script.facts["request"]
        side, y, *said = r.w
        now = rng.randrange(1200, 5000)
        order = list(range(len(said), len(clips)))
        for i in range(len(said)):  # plain talk between the questions
            order.insert(rng.randint(i, min(len(order), i + 1)), i)
        for i in order:
            placed = stage.at(i, now)
            say = Say(said[i], react(heard_end(placed))) if i < len(said) else None
            if not stage.fits(placed) or (say and not stage.free(say)):
                break
            stage.put(placed)
            now = heard_end(placed) + rng.randrange(600, 2500)
            if say:
                stage.answer(say, heard_end(placed))
                now = max(now, said_end(say) + 400)
        return replace(stage.episode(), film=self._film(stage, rng, r, side, y))

    def _film(self, stage: Stage, rng: random.Random, r: Request, side: str, y: str) -> Film:
        if r.kind == "doing":
            reps = repetitions(rng, rng.uniform(0, 400), stage.ms, EXERCISES[r.x].quick, lambda n: 0)
            return Film(rng.getrandbits(31), (body(rng, ((r.x, reps),)), *others(rng, ())), r.split)
        places = spots_of(rng)
        mine = next(p for p in places if (p[0] < 0) == (side == "left"))
        places.remove(mine)
        spots: list[Spot] = [(mine, r.x, r.c)]
        spots += [(p, y, rng.choice([c for c in COLOURS if c != r.c])) for p in places[: r.n]]
        return still(rng, spots, r.split)


Spot = tuple[tuple[float, float], str, str]  # where, which shape, of which colour


def spots_of(rng: random.Random) -> list[tuple[float, float]]:
    places = [(x, up) for x in (-1.0, -0.5, 0.5, 1.0) for up in (0.3, 0.95)]
    rng.shuffle(places)
    return places


def still(rng: random.Random, spots: Sequence[Spot], split: str) -> Film:
    """Things that stand there."""
    things = tuple(
        Thing(
            rng.getrandbits(31),
            shape,
            colour,
            (x, up, rng.uniform(-0.1, 0.1)),
            rng.uniform(0.17, 0.24) / max(1, SHAPES[shape][1]),  # none reaches before its neighbour
        )
        for (x, up), shape, colour in spots
    )
    return Film(rng.getrandbits(31), things, split, stage=(1.2, 1.3))


class Gaze(Look):
    """Question after question about what is seen: a drill."""

    name = "gaze"

    def script(self, rng: random.Random, split: str, seconds: float) -> Script:
        count = max(2, round(seconds / 2.2))
        spots: list[Spot] = []
        asked: list[tuple[str, str, str]] = []
        if doing := rng.random() < 0.3:
            names = [own(rng, split, dict(EXERCISES), TEST_EXERCISES) for _ in range(count)]
            asked = [("doing", name, EXERCISES[name].doing) for name in names]
        else:
            places, shapes = spots_of(rng), rng.sample([s for s in SHAPES if s not in TEST_SHAPES], 4)
            for shape in shapes[: rng.randint(1, 4)]:
                here = places[: rng.choice((1, 1, 1, 2, 3, 4))]
                spots += [(place, shape, rng.choice(tuple(COLOURS))) for place in here]
                places = places[len(here) :]
            for _ in range(count):
                where, x, c = rng.choice(spots)
                n = sum(shape == x for _, shape, _ in spots)
                side = "left" if where[0] < 0 else "right"
                kinds = [("colour", x, c), ("colour", x, c), ("side", x, side)] if n == 1 else []
                kinds += [("what", x, f"{c} {x}")] if len(spots) == 1 else [("many", many(x), number(n))]
                asked.append(rng.choice(kinds))
        lines = tuple(Line(SAID[f"asks-{kind}"].draw(rng, split, x=x)) for kind, x, _ in asked)
        facts = {"said": tuple(said for *_, said in asked), "spots": tuple(spots), "split": split}
        return Script(self.name, 0, lines, facts | {"acts": tuple(x for _, x, _ in asked) if doing else ()})

    def compose(self, script: Script, clips: Sequence[Clip], rng: random.Random, seconds: float) -> Episode:
        stage, facts = Stage(script, tuple(clips), seconds), script.facts
        acts: list[tuple[str, list[Rep]]] = []
        began, now = 0, rng.randrange(1200, 2500)
        for i, said in enumerate(facts["said"]):
            ends = stage.turn(i, now, said)
            last = ends is None or i + 1 == len(clips)
            if facts["acts"]:
                until = stage.ms if last or ends is None else ends
                name = facts["acts"][i]
                acts.append((name, repetitions(rng, began, until, EXERCISES[name].quick, lambda n: 0)))
                began = until
            if last or ends is None:
                break
            now = ends + (rng.randrange(1500, 2500) if facts["acts"] else rng.randrange(300, 900))
        if facts["acts"]:
            film = Film(rng.getrandbits(31), (body(rng, acts), *others(rng, ())), facts["split"])
        else:
            film = still(rng, facts["spots"], facts["split"])
        return replace(stage.episode(), film=film)

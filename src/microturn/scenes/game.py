"""A ball game that the model calls. Conventions in watch.py."""

import random
from dataclasses import replace

from microturn.drawing import COLOURS, Film, Rep, Thing
from microturn.scenes.stage import Stage
from microturn.scenes.watch import SAID, Request, Watch, body


class Commentary(Watch):
    """“Call the game.” Who has the ball is named by the colour of the shirt; “goal” and “out” are said."""

    name = "commentary"

    def _request(self, rng: random.Random, split: str) -> tuple[str, Request, str]:
        teams = rng.sample([c for c in COLOURS if c not in ("white", "brown")], 2)
        asked = SAID["call"].draw(rng, split) if rng.random() < 0.9 else ""
        return asked, Request("call" if asked else "nothing", split, w=tuple(teams)), ""

    def _happen(self, stage: Stage, rng: random.Random, r: Request, now: int) -> Film:
        sides = (-1.7, 1.7)
        at, holder = now + rng.uniform(700, 2500), rng.randrange(2)
        path: list[tuple[float, float, float]] = [(at - 500, 0.0, 0.13), (at, sides[holder] * 0.78, 0.13)]
        kicks: tuple[list[Rep], list[Rep]] = ([], [])
        gone: list[tuple[float, float]] = []
        call = r.kind == "call"
        if call:
            self._tells(stage, r.w[holder], at)
        while True:
            kick = at + rng.uniform(900, 2400)
            flight = rng.uniform(500, 1100)
            what = rng.choices(("pass", "goal", "out"), (65, 20, 15))[0]
            there = kick + flight
            if there + 2600 > stage.ms:
                break
            if call and not self._tells(stage, r.w[1 - holder] if what == "pass" else what, there):
                break
            kicks[holder].append(Rep(kick - 350, kick + 350, 1.0))
            path.append((kick, *path[-1][1:]))
            if what == "pass":
                holder, at = 1 - holder, there
                path += [
                    ((kick + there) / 2, 0.0, rng.uniform(0.13, 0.9)),
                    (there, sides[holder] * 0.78, 0.13),
                ]
                continue
            goes = (sides[1 - holder] * 1.45, 0.4) if what == "goal" else (rng.uniform(-0.8, 0.8), 4.0)
            back = there + rng.uniform(500, 900)
            holder = 1 - holder if what == "goal" else rng.randrange(2)
            at = back + 900
            if call and not self._tells(stage, r.w[holder], at):
                path.append((there, *goes))
                break
            path += [(there, *goes), (back, *goes), (back + 1, 0.0, 0.13), (at, sides[holder] * 0.78, 0.13)]
            gone.append((there + 250, back + 1))
        edges = [-1.0, *(ms for pair in gone for ms in pair), 1e9]  # there, away, there, …
        shown = tuple(zip(edges[::2], edges[1::2], strict=True))
        colour = rng.choice([c for c in ("white", "orange", "yellow", "black") if c not in r.w])
        ball = Thing(
            rng.getrandbits(31),
            "ball",
            colour,
            (0, 0.13, 0.25),
            0.13,
            path=tuple(path),
            shown=shown,
            rolls=True,
        )
        players = [
            replace(
                body(rng, (("kicks", some),), at=(x, 0.0)),
                facing=90.0 if x < 0 else -90.0,
                shirt=COLOURS[team],
            )
            for some, x, team in zip(kicks, sides, r.w, strict=True)
        ]
        goals = [Thing(rng.getrandbits(31), "book", "white", (x * 1.55, 0.5, -0.4), 0.5) for x in sides]
        return Film(rng.getrandbits(31), (*goals, *players, ball), r.split, stage=(2.7, 1.9))

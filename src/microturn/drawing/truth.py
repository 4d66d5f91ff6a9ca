"""What there is to be seen in each frame of a film, in numbers: what eyes are taught before they learn words.

Places are −1…1 across the picture and down it.

Shape suffixes: T ticks, P parts of a body, S shapes.
"""

from dataclasses import dataclass

import numpy as np

from microturn.clock import TICK_MS
from microturn.drawing.bodies import EXERCISES
from microturn.drawing.film import Film
from microturn.drawing.motion import COUNTED, Numbers, Rep, phase
from microturn.drawing.things import COLOURS, MOTIONS, SHAPES
from microturn.streams import Flags

ACTS = ("", *EXERCISES, *MOTIONS)
# where limbs end
PARTS = ("neck", "hips", "shoulders", *2 * ("elbow", "hand", "knee", "ankle", "toe"), "head")
MOST = 5  # of one shape


@dataclass(frozen=True)
class Truth:
    body: Numbers  # [T, P, 2] of who acts, not a number where nobody does or it is out of the picture
    act: Numbers  # [T] number among ACTS of what is being done
    far: Numbers  # [T] 0 at rest … 1 furthest
    ended: Flags  # [T] a whole repetition came to its end in this tick
    count: Numbers  # [T, S] things of each shape
    colour: Numbers  # [T, S] of the only one, else −1
    place: Numbers  # [T, S, 2] of the only one


def truth(film: Film, size: tuple[int, int], ticks: int) -> Truth:
    staged = film.staged(size, ticks)
    half = np.array([size[1] / 2, size[0] / 2])
    edge = 1 - np.array([staged.finish.side, staged.finish.top]) / half  # black bars hide what is behind them
    ends = TICK_MS * np.arange(1, ticks + 1, dtype=float)
    body = np.full((ticks, len(PARTS), 2), np.nan)
    act, far, ended = np.zeros(ticks, int), np.zeros(ticks), np.zeros(ticks, bool)
    for who, joints in staged.people:
        if not who.acts:
            continue
        centre = staged.shot.view(joints.b).centre
        body = (np.stack([centre.real, centre.imag], -1) / half - 1)[:, : len(PARTS)]
        body[(np.abs(body) > edge).any(-1)] = np.nan
        for name, reps in who.acts:
            _act(name, reps, ends, act, far, ended)
    count = np.zeros((ticks, len(SHAPES)), int)
    colour, place = np.full((ticks, len(SHAPES)), -1), np.zeros((ticks, len(SHAPES), 2))
    names = {shape: number for number, shape in enumerate(SHAPES)}
    for thing, looks in staged.things:
        _act(thing.motion, thing.reps, ends, act, far, ended)
        centre = staged.shot.view(looks.at).centre
        at = np.stack([centre.real, centre.imag], -1) / half - 1
        there = looks.there & (np.abs(at) < edge).all(1)
        number = names[thing.shape]
        count[there, number] += 1
        place[there, number] = at[there]
        if thing.motion not in ("flash", "turn"):  # it is dark at times, or half of it
            colour[there, number] = _colours(thing.colour, thing.colours, ends)[there]
    colour[count != 1] = -1
    return Truth(body, act, far, ended, count.clip(max=MOST), colour, place)


def _act(name: str, reps: tuple[Rep, ...], ends: Numbers, act: Numbers, far: Numbers, ended: Flags) -> None:
    if not reps:
        return
    doing = (ends > reps[0].start_ms) & (ends <= reps[-1].end_ms)
    act[doing] = ACTS.index(name)
    far += phase(reps, ends.astype(np.float32)).far
    whole = [rep.end_ms for rep in reps if rep.depth > COUNTED]
    at = np.array([int(-(-ms // TICK_MS)) - 1 for ms in whole], int)
    ended[at[at < len(ends)]] = True


def _colours(first: str, later: tuple[tuple[float, str], ...], ends: Numbers) -> Numbers:
    out = np.full(len(ends), list(COLOURS).index(first))
    for ms, name in later:
        out[ends >= ms] = list(COLOURS).index(name)
    return out

"""People that exercise: a skeleton of thirteen limbs, key poses for each exercise, and any looks.

A pose says where limbs point in the world, not how joints bend: that is what one sees in a picture, and lets a
pose be written down by looking at one. Angles are degrees. Forward angle: 0 hangs down, 90 points where the
person faces, 180 up. Outward angle: 0 in line, 90 straight out to the side. The trunk: 0 upright, 90 face down.
What touches the floor follows: the lowest joint does, and one place of the body stays where it is.
"""

import tomllib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from microturn.drawing.motion import Numbers, Rep, drift, phase

Pose = tuple[
    float, ...
]  # trunk; forward, outward of each limb from the upper arm on; height above the floor (m)
STAND: Pose = (2, 0, 8, 6, 5, 0, 5, 0, 3, 0)


@dataclass(frozen=True)
class Exercise:
    """`poses` are gone through from the first to the last and back. Odd ones out are given for the left side
    only (`other`: what the right side does meanwhile) and then alternate."""

    name: str  # of many, as in “count my …”
    doing: str  # as in “when i start …”
    poses: tuple[Pose, ...]
    other: tuple[Pose, ...] = ()
    stays: str = "feet"  # feet, hips or hands
    prop: str = ""  # bar, bells or beam
    quick: float = 0.8  # seconds that a fast one takes
    front: bool = False  # moves sideways, and shows when seen from there


def _exercises() -> dict[str, Exercise]:
    table = tomllib.loads(Path(__file__).with_name("exercises.toml").read_text("utf-8"))
    for raw in table["exercise"]:
        for side in ("poses", "other"):
            raw[side] = tuple(tuple(table["poses"].get(str(p), p)) for p in raw.get(side, ()))
    return {raw["name"]: Exercise(**raw) for raw in table["exercise"]}


EXERCISES = _exercises()
TEST_EXERCISES = ("swings", "side lunges", "rows", "donkey kicks")
# of a person's height: neck to hip, upper arm, forearm with hand, thigh, shin, half the shoulders, half the hips
_LENGTHS = np.array([0.30, 0.185, 0.21, 0.245, 0.25, 0.112, 0.058])
_RADII = np.array([0.085, 0.03, 0.022, 0.048, 0.032, 0.062])  # trunk, the four, head


@dataclass(frozen=True)
class Joints:
    """A body's limbs in the world, in metres: [T, K, 3] x to its left, y up, z to its front."""

    a: Numbers
    b: Numbers
    ra: Numbers  # [K]
    rb: Numbers
    upper: Numbers  # [K, 3]
    lower: Numbers
    cut: Numbers  # [K]


@dataclass(frozen=True)
class Body:
    """Somebody who does these exercises at these times. Looks follow from the seed."""

    seed: int
    acts: tuple[tuple[str, tuple[Rep, ...]], ...]  # by name, in the order of time
    at: tuple[float, float] = (0.0, 0.0)  # m, to the side and to the front
    facing: float = 0.0  # degrees
    shirt: tuple[float, float, float] | None = None  # its colour, where it matters
    path: tuple[tuple[float, float], ...] = ()  # (ms, m to the side): where it walks

    def angles(self, times: Numbers) -> Numbers:
        """[T, 2 sides, 10] what the limbs do at `times` (ms)."""
        rng = np.random.default_rng((self.seed, 6))
        amble = rng.normal(0, 5, 10) * (np.arange(10) < 9)
        first = EXERCISES[self.acts[0][0]] if self.acts else None
        base = np.array(first.poses[0] if first else STAND, float)
        base2 = np.array(first.other[0], float) if first and first.other else base
        out = np.stack([np.tile(base, (len(times), 1)), np.tile(base2, (len(times), 1))], 1)
        for number, (name, reps) in enumerate(self.acts):
            e = EXERCISES[name]
            begins, ends = reps[0].start_ms, self._ends(number)
            p = phase(reps, times)
            scale = 1 + rng.normal(0, 0.06)
            sides = [np.array(e.poses, float), np.array(e.other or e.poses, float)]
            now = (times >= begins - 700) & (times < ends)
            for side in (0, 1):
                keys = sides[side]
                at = np.clip(p.far * scale, 0, 1.08) * (len(keys) - 1)
                low = np.clip(at.astype(int), 0, len(keys) - 2)
                posed = keys[low] + (keys[low + 1] - keys[low]) * (at - low)[:, None]
                out[now, side] = posed[now]
            if e.other and e.other[0] == e.poses[0]:  # else one side alone is held ready
                swap = p.mirrored > 0.5
                out[swap] = out[swap][:, ::-1]
        out += amble
        out[:, :, 1:9] += 2.5 * drift(rng, times, 16).reshape(-1, 2, 8)
        out[:, :, 0] = out[:, :, 0].mean(1, keepdims=True) + 1.5 * drift(rng, times, 1)
        out[:, :, 9] = out[:, :, 9].mean(1, keepdims=True)
        return np.asarray(out)

    def _ends(self, number: int) -> float:
        return self.acts[number + 1][1][0].start_ms - 700 if number + 1 < len(self.acts) else np.inf

    def joints(self, times: Numbers) -> Joints:
        rng = np.random.default_rng((self.seed, 7))
        tall = rng.normal(1.7, 0.13)
        size = _LENGTHS * tall * rng.normal(1, 0.06, 7)
        round_ = _RADII * tall * rng.normal(1, 0.1, 6) * np.exp(rng.normal(0.08, 0.18))
        angles = np.deg2rad(self.angles(times))
        angles[:, :, 9] = np.rad2deg(angles[:, :, 9])
        n = len(times)

        def towards(part: int, side: int) -> Numbers:
            forward, out = angles[:, side, part], angles[:, side, part + 1]
            sign = 1 if side == 0 else -1
            x, y, z = sign * np.sin(out), -np.cos(forward) * np.cos(out), np.sin(forward) * np.cos(out)
            return np.asarray(np.stack([x, y, z], 1))

        trunk = angles[:, 0, 0]
        up = np.stack([np.zeros(n), np.cos(trunk), np.sin(trunk)], 1)
        side = np.array([1.0, 0, 0])
        hip, neck = np.zeros((n, 3)), up * size[0]
        points: dict[str, Numbers] = {"hip": hip, "neck": neck}
        for s, sign in ((0, 1), (1, -1)):
            shoulder, joint = neck * 0.93 + sign * side * size[5], hip + sign * side * size[6]
            elbow = shoulder + towards(1, s) * size[1]
            knee = joint + towards(5, s) * size[3]
            ankle = knee + towards(7, s) * size[4]
            shin = towards(7, s)
            toe = (
                ankle
                + np.stack([0.3 * shin[:, 0], -0.25 * np.abs(shin[:, 2]) - 0.1, np.cos(angles[:, s, 7])], 1)
                * 0.075
                * tall
            )
            points |= {
                f"shoulder{s}": shoulder,
                f"hip{s}": joint,
                f"elbow{s}": elbow,
                f"hand{s}": elbow + towards(3, s) * size[2],
                f"knee{s}": knee,
                f"ankle{s}": ankle,
                f"toe{s}": toe,
            }
        head = neck + up * 0.105 * tall + np.array([0, 0.01, 0.0])
        points["head"] = head
        stays = EXERCISES[self.acts[0][0]].stays if self.acts else "feet"
        names = {"feet": ("ankle0", "ankle1"), "hips": ("hip", "hip"), "hands": ("hand0", "hand1")}[stays]
        still = (points[names[0]] + points[names[1]]) / 2
        low = np.stack([points[k][:, 1] - round_[4 if k[0] in "ath" else 0] * 0.9 for k in points], 1).min(1)
        floor = still[:, 1] - 2.05 if stays == "hands" and self.acts[0][0] == "pull ups" else low
        shift = np.stack([still[:, 0] * 0.8, floor - angles[:, 0, 9], still[:, 2]], 1)
        return self._dress(points, shift, times, round_, rng)

    def _dress(
        self, points: dict[str, Numbers], shift: Numbers, times: Numbers, r: Numbers, rng: np.random.Generator
    ) -> Joints:
        """Skin and clothes over the joints, each limb in its colours."""
        tone = rng.uniform(0, 1)
        skin = np.array([0.93, 0.76, 0.65]) * (1 - tone) + np.array([0.36, 0.23, 0.16]) * tone
        shirt = np.array(self.shirt) if self.shirt else rng.uniform(0.08, 0.95, 3)
        legs = rng.uniform(0.05, 0.8, 3) * (0.4 if rng.random() < 0.5 else 1.0)
        hair = np.array([0.9, 0.75, 0.5]) * rng.uniform(0.06, 0.9) ** 1.5
        shoe = rng.uniform(0.05, 0.95, 3)
        sleeve, trouser = rng.choice([0.0, 0.5, 0.9, 1.6, 2.0]), rng.choice([0.45, 0.9, 1.9, 2.0])
        limbs: list[tuple[str, str, float, float, Numbers, Numbers, float]] = [
            ("hip", "neck", r[0] * 0.95, r[0] * rng.uniform(0.9, 1.1), shirt, shirt, 1.0),
            ("hip0", "hip1", r[3] * 1.15, r[3] * 1.15, legs, legs, 1.0),
            ("shoulder0", "shoulder1", r[1] * 1.35, r[1] * 1.35, shirt, shirt, 1.0),
        ]
        for s in "01":
            limbs += [
                (f"shoulder{s}", f"elbow{s}", r[1] * 1.15, r[1] * 0.9, shirt, skin, sleeve),
                (f"elbow{s}", f"hand{s}", r[1] * 0.9, r[2] * 1.05, shirt, skin, sleeve - 1),
                (f"hip{s}", f"knee{s}", r[3] * 1.12, r[4] * 1.15, legs, skin, trouser),
                (f"knee{s}", f"ankle{s}", r[4] * 1.12, r[4] * 0.7, legs, skin, trouser - 1),
                (f"ankle{s}", f"toe{s}", r[4] * 0.8, r[4] * 0.65, shoe, shoe, 1.0),
            ]
        limbs.append(("neck", "head", r[5] * 0.6, r[5], skin, skin, 1.0))
        back = np.array([0, 0.25, -0.35]) * r[5]
        turn = np.deg2rad(self.facing)
        spin = np.array([[np.cos(turn), 0, -np.sin(turn)], [0, 1, 0], [np.sin(turn), 0, np.cos(turn)]])
        a = np.stack([points[k[0]] for k in limbs] + [points["head"] + back], 1)
        tail = points["head"] + back * 1.1 - np.array([0, rng.choice([0, 0, 0.5, 1.5]) * r[5], 0])
        b = np.stack([points[k[1]] for k in limbs] + [tail], 1)
        where = np.zeros((len(times), 3))
        if self.path:
            where[:, 0] = np.interp(times, [p[0] for p in self.path], [p[1] for p in self.path])
        where += np.array([self.at[0], 0, self.at[1]])
        place = [(x - shift[:, None]) @ spin + where[:, None] for x in (a, b)]
        columns = list(zip(*limbs, strict=True))
        ra, rb, cut = (
            np.array([*columns[i], last]) for i, last in ((2, r[5] * 0.95), (3, r[5] * 0.75), (6, 1.0))
        )
        upper, lower = (np.stack([*columns[i], hair]).astype(np.float32) for i in (4, 5))
        return Joints(place[0], place[1], ra, rb, upper, lower, cut)

"""What films truly show, the eyes that are taught it, and that sight is the same alone, in company, tick by tick."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from microturn.drawing import COLOURS, SHAPES, Body, Film, Rep, Thing
from microturn.drawing.truth import ACTS, MOST, PARTS, truth
from microturn.model import eyes
from microturn.model.config import tiny
from microturn.model.network import Network
from microturn.train import sights

SIZE = tiny().frame_size
REPS = tuple(Rep(400 + 1600 * i, 2000 + 1600 * i, 0.3 if i == 1 else 1.0) for i in range(4))


def test_what_the_network_has_names_for_is_what_films_can_show() -> None:
    assert (len(SHAPES), len(COLOURS), len(ACTS), MOST) == (eyes.SHAPES, eyes.COLOURS, eyes.ACTS, eyes.MOST)
    assert set(sights.WHICH) == set(range(eyes.PARTS))


class TestTruth:
    def test_a_body_is_where_it_is_drawn(self) -> None:
        film = Film(3, (Body(3, (("squats", REPS),), facing=90.0),), flaws=0.0)
        told = truth(film, SIZE, 36)
        names = dict(zip(PARTS, told.body.swapaxes(0, 1), strict=False))
        assert np.isfinite(told.body).all()
        assert (np.abs(told.body) < 1.2).all()
        assert (names["head"][:, 1] < names["hips"][:, 1]).all(), "down is positive"
        down = told.far > 0.9
        assert names["head"][down, 1].mean() > names["head"][told.far == 0, 1].mean() + 0.1

    def test_repetitions_end_when_they_end_and_half_ones_do_not(self) -> None:
        told = truth(Film(3, (Body(3, (("squats", REPS),)),)), SIZE, 36)
        assert np.flatnonzero(told.ended).tolist() == [9, 25, 33]  # at 2.0, 5.2 and 6.8 s
        assert {ACTS[a] for a in told.act} == {"", "squats"}

    def test_things_are_counted_and_the_only_one_is_known(self) -> None:
        red = Thing(1, "ball", "red", (0.5, 0.5, 0), 0.2, colours=((1000, "blue"),))
        stars = [Thing(i, "star", "green", (-0.6 + 0.4 * i, 1.0, 0), 0.1) for i in range(2)]
        told = truth(Film(1, (red, *stars), stage=(1.2, 1.5)), SIZE, 10)
        ball, star, box = (list(SHAPES).index(name) for name in ("ball", "star", "box"))
        assert told.count[0].tolist() == [int(i == ball) + 2 * int(i == star) for i in range(len(SHAPES))]
        colours = [list(COLOURS)[i] for i in told.colour[:, ball]]
        assert colours == ["red"] * 4 + ["blue"] * 6
        assert (told.colour[:, [star, box]] == -1).all()
        assert told.place[0, ball, 0] > 0.1

    def test_what_flashes_or_turns_teaches_no_colour(self) -> None:
        for motion in ("flash", "turn"):
            told = truth(Film(1, (Thing(1, "box", "white", motion=motion, reps=REPS),)), SIZE, 10)
            assert (told.colour == -1).all()

    def test_behind_black_bars_nothing_is_seen(self) -> None:
        boxes = [Thing(i, "box", "red", (x, 1, 0)) for i, x in enumerate((-1, 1))]
        actors: tuple[Body | Thing, ...] = (Body(3, (("jumping jacks", REPS),)), *boxes)
        films = [Film(seed, actors, stage=(0.6, 1.0)) for seed in range(60)]
        barred = 0
        for film in films:
            finish = film.staged(SIZE, 10).finish
            bars = np.array([finish.side / SIZE[1], finish.top / SIZE[0]])
            told = truth(film, SIZE, 10)
            known = told.body[np.isfinite(told.body).all(-1)]
            assert (np.abs(known) <= 1 - 2 * bars).all()
            barred += bool(bars.any() and (np.isnan(told.body).any() or told.count.max() < 2))
        assert barred > 5

    def test_a_few_frames_of_a_film_are_those_of_the_whole(self) -> None:
        film = Film(5, (Body(5, (("bows", REPS),)),), flaws=0.0)
        whole, some = film.frames(SIZE, 20), film.frames(SIZE, 20, (3, 11))
        for k, frame in zip((3, 11), some, strict=True):
            assert np.array_equal(frame, whole[k])  # type: ignore[arg-type]
        assert not np.array_equal(whole[3], whole[11])  # type: ignore[arg-type]


class TestEyes:
    def test_tick_by_tick_and_in_company_is_as_all_at_once(self) -> None:
        torch.manual_seed(0)
        network = Network(tiny()).eval()
        frames = torch.randint(0, 256, (9, *SIZE, 3), dtype=torch.uint8)
        there = torch.ones(2, 5, dtype=torch.bool)
        there[1, 2] = False
        with torch.no_grad():
            whole, _ = network.eyes.study(frames, there)
            past, rows = network.eyes.past(2), []
            order = torch.zeros(2, 5, dtype=torch.long)
            order[there] = torch.arange(9)
            for k in range(5):
                now = frames[order[:, k][there[:, k]]]
                seen, past = network.eyes(now, there[:, k : k + 1], past)
                rows.append(seen)
            alone, carried = [], network.eyes.past(1)
            for k in range(5):
                seen, carried = network.eyes(frames[k : k + 1], there[:1, k : k + 1], carried)
                alone.append(seen)
        assert torch.allclose(torch.cat(rows, 1), whole, atol=1e-5)
        assert torch.allclose(torch.cat(alone, 1)[0], whole[0], atol=1e-5)

    def test_lessons_are_learned(self) -> None:
        torch.manual_seed(0)
        network = Network(tiny())
        sight = sights.Gallery(3, SIZE).batch(0)
        assert bool(sight.in_a_row)
        optimizer = torch.optim.AdamW(network.parameters(), lr=5e-3)
        totals = []
        for _ in range(25):
            _, saw = network.eyes.study(sight.frames, sight.has_frame)
            each = sights.sight_losses(network, saw, sight)
            each.total().backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            optimizer.zero_grad()
            totals.append(each.total().item())
        assert totals[-1] < 0.85 * totals[0]

    @pytest.mark.parametrize("step", [1, 3])
    def test_what_is_drawn_follows_from_the_seed_and_the_step(self, step: int) -> None:
        gallery = sights.Gallery(1, SIZE)
        gallery.batch(0)
        a, b = vars(gallery.batch(step)), vars(sights.Gallery(1, SIZE).batch(step))
        assert all(torch.equal(a[name].nan_to_num(), b[name].nan_to_num()) for name in a)

"""Scenes of the camera: what is said follows from what can be seen, and what is counted counts what it says."""

from __future__ import annotations

import random
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from microturn.bench import baselines, watching
from microturn.bench.films import pairs
from microturn.bench.imports import suite
from microturn.bench.metrics import Played, Run
from microturn.bench.suites import make_cases
from microturn.bench.watching import between, final_count, judged, numbers, overlap, pauc
from microturn.clock import TICK_MS, end_ms, tick_of
from microturn.drawing import (
    EXERCISES,
    MOTIONS,
    SHAPES,
    TEST_EXERCISES,
    TEST_SHAPES,
    Body,
    Film,
    Rep,
    Thing,
    phase,
)
from microturn.drawing.place import furnish
from microturn.model.config import tiny
from microturn.model.tokenizer import PieceTokenizer
from microturn.scenes import compose, write
from microturn.scenes.episode import LAST_MS, Episode, Expected, Word, pace
from microturn.scenes.notice import SOON_MS
from microturn.scenes.stage import CUE_MS
from microturn.scenes.watch import SEEN_MS, SETTLED_MS, Request, seen
from microturn.scenes.wording import Wordings, said_in, wordings
from microturn.streams import LEAD_TICKS, Bytes
from microturn.train.batch import stack
from test_scenes import timed

CAMERA = ("reps", "charades", "notice", "look", "gaze", "commentary")
SIZE = (48, 64)
seeds = st.integers(0, 1 << 31)
names = st.sampled_from(CAMERA)


def episode(name: str, seed: int, split: str = "train", seconds: float = 20.0) -> Episode:
    script = write(name, seed, split, seconds)
    rng = random.Random(seed)
    return compose(script, [timed(line, rng) for line in script.lines], seconds)


def word(text: str, ms: int) -> Word:
    return Word(text, ms, ms + 200)


class TestFilms:
    @settings(max_examples=12, deadline=None)
    @given(names, seeds)
    def test_the_same_seed_is_the_same_film_to_the_pixel(self, name: str, seed: int) -> None:
        first, second = (episode(name, seed, seconds=6.0) for _ in range(2))
        assert first.film is not None
        assert second.film is not None
        frames = first.film.frames(SIZE, first.ticks)
        assert len(frames) == first.ticks
        for a, b in zip(frames, second.film.frames(SIZE, first.ticks), strict=True):
            assert (a is None) == (b is None)
            if a is not None and b is not None:
                assert a.shape == (*SIZE, 3)
                assert a.dtype == np.uint8
                assert np.array_equal(a, b)

    @pytest.mark.parametrize("name", EXERCISES)
    def test_a_body_moves_while_it_exercises_and_is_back_where_it_was(self, name: str) -> None:
        body = Body(3, ((name, (Rep(1000, 3000),)),), facing=50.0)
        frames = drawn(body, 16)
        moved = max(difference(frames[3], frame) for frame in frames[7:12])
        assert moved > 1.2 * difference(frames[3], frames[14])

    @pytest.mark.parametrize("name", EXERCISES)
    def test_one_repetition_begins_where_the_last_one_ended(self, name: str) -> None:
        reps = (Rep(1000, 3000), Rep(3000, 5000, mirrored=True), Rep(5000, 7000))
        times = np.arange(2960, 3041, 20, dtype=np.float32)
        hands = Body(3, ((name, reps),)).joints(times).b
        assert np.abs(np.diff(hands, axis=0)).max() < 0.1  # m in 20 ms

    @pytest.mark.parametrize("motion", MOTIONS)
    def test_a_thing_moves_while_it_repeats_itself(self, motion: str) -> None:
        thing = Thing(3, "star", "red", (0, 1, 0), 0.3, motion, (Rep(1000, 3000),))
        frames = drawn(thing, 16)
        assert max(difference(frames[3], frame) for frame in frames[6:12]) > difference(frames[3], frames[14])

    def test_half_a_repetition_goes_half_way(self) -> None:
        times = np.arange(0, 4000, 10, dtype=np.float32)
        assert phase((Rep(1000, 3000, peak=0.3),), times).far.max() == pytest.approx(1, abs=0.01)
        assert phase((Rep(1000, 3000, depth=0.4, hold=0.3),), times).far.max() == pytest.approx(0.4, abs=0.01)
        assert not phase((Rep(1000, 3000),), times).far[times >= 3000].any()

    @pytest.mark.parametrize("motion", MOTIONS)
    def test_half_a_repetition_of_a_thing_is_not_a_whole_one(self, motion: str) -> None:
        times = np.arange(1000, 3000, 20, dtype=np.float32)

        def way(depth: float) -> float:
            looks = Thing(3, "star", "red", (0, 1, 0), 0.3, motion, (Rep(1000, 3000, depth),)).looks(times)
            seen = [looks.at, looks.size, looks.turn, looks.width, looks.colour]
            return sum(float(np.abs(np.diff(x, axis=0)).sum()) for x in seen)

        assert way(0.4) < 0.9 * way(1.0)

    def test_colours_and_coming_and_going_are_drawn_in_the_tick_in_which_they_can_be_seen(self) -> None:
        thing = Thing(1, "box", "blue", (0, 1, 0), 0.4, colours=((1000, "red"),), shown=((600, 1600),))
        frames = drawn(thing, 10)
        middle = [frame[20:28, 28:36].astype(int).mean((0, 1)) for frame in frames]
        shown = [k for k, frame in enumerate(frames) if difference(frame, frames[0]) > 1]
        assert shown == [2, 3, 4, 5, 6]
        assert middle[3][2] > middle[3][0]
        assert middle[4][0] > middle[4][2]

    def test_what_is_named_and_counted_stands_before_frames_alone(self) -> None:
        def solid(bare: bool) -> int:
            """Places with a patch of one colour."""
            found = 0
            for seed in range(60):
                place = np.asarray(furnish(np.random.default_rng(seed), (60, 80), 40.0, "given", bare), int)
                down, right = (np.abs(np.diff(place, axis=axis)).sum(-1) == 0 for axis in (0, 1))
                same = down[:, :-1] & right[:-1]
                found += bool(np.lib.stride_tricks.sliding_window_view(same, (6, 6)).all((2, 3)).any())
            return found

        assert solid(bare=True) < 10 < 40 < solid(bare=False)

    def test_whoever_is_told_of_can_be_seen(self) -> None:
        comers = (
            (e, a)
            for e in (episode("notice", seed) for seed in range(200))
            for a in (e.film.actors if isinstance(e.film, Film) else ())
            if isinstance(a, Body) and a.path and any(x.text == "somebody is here" for x in e.expected)
        )
        for some, (lived, walker) in enumerate(comers, 1):
            (due,) = (s.at_ms - TICK_MS * LEAD_TICKS for s in lived.says if s.text == "somebody is here")
            times = np.array([end_ms(k) for k in range(lived.ticks)], np.float32)
            here = walker.joints(times).a[tick_of(due), :, 0]
            assert abs(here.mean()) < 1.2, some  # half the stage
            (when,) = (x.start_ms for x in lived.expected if x.text == "somebody is here")
            request = write("notice", lived.seed, "train", 20.0).facts["request"]
            asked = lived.placed[0].word_end(-1) if request.spoken else 0
            assert asked < walker.path[0][0] < when, "asked, then on its way, then to be told of"
        assert some > 5

    def test_what_is_reserved_appears_in_tests_only(self) -> None:
        def drawn_in(split: str) -> set[str]:
            requests = (write("reps", s, split, 20.0).facts["request"] for s in range(150))
            return {r.x for r in requests if isinstance(r, Request)}

        held = {*TEST_EXERCISES}
        assert not drawn_in("train") & held
        assert held <= drawn_in("test")
        assert set(TEST_SHAPES) < set(SHAPES)


def drawn(actor: Body | Thing, ticks: int) -> list[Bytes]:
    frames = Film(5, (actor,), flaws=0.0).frames(SIZE, ticks)
    return [frame for frame in frames if frame is not None]


def difference(a: Bytes, b: Bytes) -> float:
    return float(np.abs(a.astype(int) - b.astype(int)).mean())


class TestScenes:
    @settings(max_examples=40, deadline=None)
    @given(st.floats(1, 60_000))
    def test_what_is_seen_is_answered_two_ticks_after_the_frame_that_shows_it(self, ms: float) -> None:
        tick = next(k for k in range(400) if end_ms(k) >= ms)
        assert seen(ms) == end_ms(tick) - 200 + 200 * LEAD_TICKS or ms != int(ms)
        assert 0 < seen(ms) - ms <= 200 * LEAD_TICKS

    @settings(max_examples=60, deadline=None)
    @given(seeds, st.sampled_from((12.0, 20.0, 32.0)))
    def test_numbers_follow_each_other_one_for_every_whole_repetition(
        self, seed: int, seconds: float
    ) -> None:
        made = episode("reps", seed, "train", seconds)
        body = made.film.actors[0]  # type: ignore[union-attr]
        said = [e for e in made.expected if e.kind == "say" and "that's" not in e.text]
        assert [watching._VALUES[e.text] for e in said] == list(range(1, len(said) + 1))
        request = write("reps", seed, "train", seconds).facts["request"]
        assert isinstance(request, Request)
        acts = body.acts if isinstance(body, Body) else ((request.x, body.reps),)
        reps = [rep for name, some in acts for rep in some if name == request.x]
        ends = {round(rep.end_ms) for rep in reps if rep.depth > 0.6}
        assert {e.start_ms for e in said} <= ends
        if request.kind == "count":
            assert {e.start_ms for e in said} == ends

    @settings(max_examples=60, deadline=None)
    @given(names, seeds)
    def test_moments_are_told_within_their_windows(self, name: str, seed: int) -> None:
        made = episode(name, seed)
        lengths = {CUE_MS, SEEN_MS, SOON_MS + SEEN_MS, SETTLED_MS + CUE_MS}
        assert {e.end_ms - e.start_ms for e in made.expected if e.kind == "say"} <= lengths

    def test_the_model_breaks_off_its_own_words_only_to_tell_what_happens(self) -> None:
        cut = 0
        for seed in range(240):
            made = episode("notice", seed, seconds=32.0)
            request = write("notice", seed, "train", 32.0).facts["request"]
            long = next((s for s in made.says if request.long[:3] == tuple(s.text.split()[:3])), None)
            if long is None or len(long.text.split()) == len(request.long):
                continue
            after = [s for s in made.says if s.at_ms > long.at_ms]
            last = pace(long)[-1]
            assert after or last.end_ms > made.ticks * TICK_MS - 1000
            if after:
                assert 0 <= after[0].at_ms - (last.end_ms - LAST_MS) < TICK_MS
                cut += 1
        assert cut > 10

    def test_nobody_is_there_who_is_still_to_come(self) -> None:
        for seed in range(300):
            request = write("notice", seed, "train", 20.0).facts["request"]
            film = episode("notice", seed).film
            assert isinstance(film, Film)
            if request.kind == "comes":
                assert all(not isinstance(a, Body) or a.path for a in film.actors), seed

    def test_what_is_gone_cannot_be_seen(self) -> None:
        for seed in range(200):
            made = episode("notice", seed)
            for end in (e.start_ms for e in made.expected if e.text == "it is gone"):
                assert isinstance(made.film, Film)
                thing = next(a for a in made.film.actors if isinstance(a, Thing) and a.path)
                times = np.array([end_ms(k) for k in range(made.ticks)], np.float32)
                there = thing.looks(times).there
                assert there[: tick_of(end - 1)].all()
                assert not there[tick_of(end) :].any()

    def test_only_what_was_named_is_counted_apart_from_what_else_is_done(self) -> None:
        mixed = 0
        for seed in range(400):
            script = write("reps", seed, "train", 20.0)
            request: Request = script.facts["request"]
            body = episode("reps", seed).film.actors[0]  # type: ignore[union-attr]
            if (
                request.kind != "nothing"
                and isinstance(body, Body)
                and {name for name, _ in body.acts} - {request.x}
            ):
                assert any(request.x in t for t in (request.read, *(line.text for line in script.lines)))
                mixed += 1
        assert mixed > 5

    def test_things_that_stand_there_hide_none_of_each_other(self) -> None:
        for seed in range(150):
            film = episode("look", seed).film
            assert isinstance(film, Film)
            wide = [(a.at, a.size * max(1, SHAPES[a.shape][1])) for a in film.actors if isinstance(a, Thing)]
            if len(wide) == len(film.actors) and film.stage == (1.2, 1.3):
                assert all(
                    abs(p[0] - q[0]) >= a + b or abs(p[1] - q[1]) >= 0.6
                    for i, (p, a) in enumerate(wide)
                    for q, b in wide[:i]
                ), seed

    def test_there_are_many_ways_to_ask(self) -> None:
        skills = (
            "count goal asked",
            "turns every appears what leaves says",
            "charades",
            "call",
            "asks-colour asks-many asks-what asks-side asks-doing",
        )
        for skill in skills:
            enough([said_in("watch")[name] for name in skill.split()])


def enough(some: list[Wordings]) -> None:
    train = {text for w in some for text in wordings(w.train)}
    held = {text for w in some for text in wordings(w.reserved)}
    assert not train & held
    assert len(train) >= 25
    assert len(held) >= 10


class TestBatches:
    def test_films_become_the_frames_of_a_batch(self) -> None:
        made = [episode("hear", 1, seconds=4.0), episode("look", 2, seconds=4.0)]
        batch = stack(made, np.random.default_rng(0), tiny(), PieceTokenizer.load(), [], [], 1.0)
        assert not batch.percept.has_frame[0].any()
        assert len(batch.percept.frames) == batch.percept.has_frame[1].sum() > 0

    def test_without_films_nothing_is_seen(self) -> None:
        made = [episode("hear", 1, seconds=4.0)]
        batch = stack(made, np.random.default_rng(0), tiny(), PieceTokenizer.load(), [], [], 1.0)
        assert batch.percept.frames.shape == (0, *tiny().frame_size, 3)
        assert not batch.percept.has_frame.any()


class TestCounting:
    def test_tens_and_digits_in_one_breath_are_one_number(self) -> None:
        said = [word("twenty", 0), word("one", 200), word("four", 900), word("okay", 1200), word("7", 2000)]
        assert numbers(said) == [(0, 21), (900, 4), (2000, 7)]

    def test_the_count_is_the_last_number_after_the_next_to_last_repetition(self) -> None:
        reps = [1000.0, 2000.0, 3000.0]
        assert final_count(reps, [word("one", 1200), word("two", 2200), word("three", 3200)]) == 3
        assert final_count(reps, [word("one", 1200), word("two", 2200)]) == 2
        assert final_count(reps, [word("one", 1200), word("three", 1800)]) is None
        assert final_count([1000.0], [word("one", 100)]) == 1

    def test_silence_and_talk_count_nothing(self) -> None:
        expected = tuple(
            Expected("say", 1000 * n, 1000 * n + 800, w) for n, w in enumerate(("one", "two"), 1)
        )
        lived = Episode("reps", 0, 30, expected=expected)
        for said in ((), tuple(word("okay", t) for t in range(0, 6000, 200))):
            assert watching.repcount([Run(lived, Played(said))])[0].value == 0
        right = Played((word("one", 1200), word("two", 2400)))
        assert [m.value for m in watching.repcount([Run(lived, right)])][:3] == [1, 1, 1]


class TestProactive:
    SPAN = Expected("say", 1000, 3000, "it is red")

    def test_silence_is_exactly_25(self) -> None:
        assert pauc([self.SPAN], []) == 25.0
        assert pauc([self.SPAN, Expected("say", 5000, 9000, "it is blue")], []) == 25.0
        assert pauc([self.SPAN], [word("it", 500), word("is", 700), word("red", 3001)]) == 25.0  # outside

    def test_the_sooner_the_better_and_wrong_is_worse_than_nothing(self) -> None:
        assert pauc([self.SPAN], [word("it is red", 1000)]) == 100.0
        assert pauc([self.SPAN], [word("it is red", 2000)]) == pytest.approx(81.25)
        assert pauc([self.SPAN], [word("hello", 2000)]) == pytest.approx(6.25)
        assert pauc([self.SPAN], [word("it is blue", 2000)]) == pytest.approx(6.25)
        assert pauc([replace(self.SPAN, text="red star")], [word("blue star", 2000)]) == pytest.approx(43.75)

    def test_answers_are_right_half_right_or_wrong(self) -> None:
        assert [judged("red star", said) for said in ("a red star", "a star", "the moon")] == [2, 1, 0]
        assert [judged("it is gone", said) for said in ("it is gone", "gone", "it is red")] == [2, 1, 0]
        assert [judged("there it is", said) for said in ("there it is", "it is gone")] == [2, 0]


class TestOverlap:
    def test_of_times(self) -> None:
        assert overlap([(0, 10)], [(5, 15)]) == pytest.approx(1 / 3)
        assert overlap([(0, 4), (6, 10)], [(0, 4), (6, 10)]) == 1
        assert overlap([(0, 4)], []) == 0
        assert overlap([], []) == 1

    def test_words_mark_where_something_begins_and_ends(self) -> None:
        said = [
            word("stop", 100),
            word("start", 1000),
            word("start", 1400),
            word("stop", 3000),
            word("start", 5000),
        ]
        assert between("start", "stop", said, 6000) == [(1000, 3000), (5000, 6000)]


class TestRealFilms:
    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        for name in ("001_box", "002_box"):
            film = Film(
                1,
                (Thing(1, "box", "red", (0, 1, 0), 0.3, "slide", (Rep(0, 1000), Rep(1000, 2000))),),
                flaws=0.0,
            )
            (tmp_path / "videos").mkdir(exist_ok=True)
            (tmp_path / "annotations").mkdir(exist_ok=True)
            with av.open(str(tmp_path / "videos" / f"{name}.mp4"), "w") as container:
                stream = container.add_stream("mpeg4", rate=Fraction(5))
                stream.width, stream.height = 64, 48
                for frame in film.frames((48, 64), 14):
                    assert frame is not None
                    container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, "rgb24")))
                container.mux(stream.encode())
            np.save(tmp_path / "annotations" / f"{name}.npy", np.array([5, 10]))
        return tmp_path

    def test_only_odd_ones_are_taken_and_the_answer_itself_passes(self, folder: Path) -> None:
        cases = make_cases(suite(f"quva:{folder}"), 5, 1)
        assert [film.name for film, _ in pairs(folder)] == ["001_box.mp4"]
        assert [(e.start_ms, e.text) for e in cases[0].episode.expected] == [(1000, "one"), (2000, "two")]
        shown = [p.frame is not None for p in cases[0].perceptions((24, 32))]
        assert sum(shown[:14]) >= 12
        runs = [Run(case.episode, done) for case, done in zip(cases, baselines.oracle(cases), strict=True)]
        assert watching.repcount(runs)[0].value == 1

    def test_a_folder_without_films_is_told_in_one_line(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match=r"no videos/NAME\.mp4"):
            make_cases(suite(f"quva:{tmp_path}"), 1, 1)

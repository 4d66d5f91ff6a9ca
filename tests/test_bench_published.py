"""Others' definitions and others' data: worked examples, and tiny samples in their layouts."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from microturn.bench import baselines
from microturn.bench.imports import KINDS, LAYOUTS, suite
from microturn.bench.intervals import Measure
from microturn.bench.metrics import Played, Run
from microturn.bench.published import (
    area,
    full_duplex_bench,
    gaps,
    latency_ms,
    merged,
    overlaps,
    took_turn,
)
from microturn.bench.suites import make_cases
from microturn.bench.targets import Target
from microturn.bench.watching import final_count, overlap
from microturn.scenes.episode import Episode, Expected, Word
from microturn.streams import Channel
from recordings import encode, tone, write_wav


def words(*times: tuple[int, int]) -> tuple[Word, ...]:
    return tuple(Word("word", start, end) for start, end in times)


def values(measures: tuple[Measure, ...]) -> dict[str, float | None]:
    return {m.name: m.value for m in measures}


class TestDefinitions:
    def test_pauc_of_silence_is_25_at_any_omega(self) -> None:
        assert [100 * area([], 2000, omega) for omega in (0, 0.5, 1)] == [25.0] * 3

    def test_omega_forgives_lateness(self) -> None:
        half = [(1000.0, 2.0)]  # all of it, half-way through its span
        assert [area(half, 2000, omega) for omega in (0, 0.5, 1)] == [0.625, 0.8125, 1.0]

    def test_pauc_is_the_area_under_the_marks_so_far(self) -> None:
        assert area([(1000, 1), (2000, 2)], 4000, 0) == (1000 * 0.5 + 1000 * 1 + 2000 * 2) / 8000
        assert area([(2000, 0)], 4000, 0) == 0.125  # wrong is worse than silence

    def test_off_by_one_looks_at_the_last_number_after_the_next_to_last_repetition(self) -> None:
        reps = [1000.0, 2000.0, 3000.0]
        said = [Word("one", 1200, 1400), Word("two", 2200, 2400), Word("three", 3200, 3400)]
        assert final_count(reps, said) == 3
        assert final_count(reps, said[:2]) == 2
        assert final_count(reps, said[:1]) is None  # too soon to be the count

    def test_temporal_iou(self) -> None:
        assert overlap([(1000, 3000)], [(2000, 4000)]) == pytest.approx(1 / 3)

    def test_a_turn_is_more_than_three_words_or_a_second(self) -> None:
        assert not took_turn([])
        assert not took_turn(words((0, 200), (300, 500), (600, 999)))
        assert took_turn(words((0, 200), (300, 500), (600, 1000)))
        assert took_turn(words((0, 100), (100, 200), (200, 300), (300, 400)))

    def test_latency_is_to_the_first_word_of_a_turn(self) -> None:
        assert latency_ms(words((2400, 3600)), 2000) == 400
        assert latency_ms(words((1800, 3600)), 2000) == -200
        assert latency_ms(words((2400, 2600)), 2000) is None

    def test_overlaps_and_gaps(self) -> None:
        assert merged([(600, 700), (0, 100), (1300, 1400)], 500) == [(0, 700), (1300, 1400)]
        user, model = [(0.0, 2000.0), (3000.0, 5000.0)], [(1500.0, 3500.0), (5200.0, 6000.0)]
        assert overlaps(user, model) == [(1500, 2000), (3000, 3500)]
        assert gaps(user, model) == [(5000, 5200)]  # the nearer of two ends that it could answer
        assert (overlaps(user, []), gaps(user, [])) == ([], [])

    def test_full_duplex_bench_reports_their_latency_and_the_plain_one(self) -> None:
        turn = Episode("candor_turn_taking", 0, 30, expected=(Expected("reply", 2000, 6000),))
        wait = Episode("candor_pause_handling", 0, 30, expected=(Expected("pause", 0, 6000),))
        runs = [
            Run(turn, Played(words((1800, 3600)))),
            Run(turn, Played(words((2600, 4000)))),
            Run(turn, Played()),
            Run(wait, Played(words((500, 700)))),
            Run(wait, Played(words((500, 1700)))),
        ]
        got = values(full_duplex_bench(runs))
        assert got["candor_turn_taking_takeover"] == pytest.approx(2 / 3)
        assert got["candor_turn_taking_latency"] == 300
        assert got["candor_turn_taking_latency_unclamped"] == 200
        assert got["candor_pause_handling_takeover"] == 0.5
        assert got["score"] == pytest.approx(1 / 3)
        assert values(full_duplex_bench([Run(turn, Played()), Run(wait, Played())]))["score"] == 0


class TestImports:
    @pytest.fixture
    def fdb(self, tmp_path: Path) -> Path:
        for sample, name, annotation in (
            (
                "candor_turn_taking/1",
                "turn_taking.json",
                [{"text": "[TURN-TAKING]", "timestamp": [2.0, 2.4]}],
            ),
            ("synthetic_pause_handling/7", "pause.json", [{"text": "[PAUSE]", "timestamp": [1.0, 2.0]}]),
            ("synthetic_user_interruption/2", "interrupt.json", [{"timestamp": [0.5, 1.5]}]),
            ("user_backchannel/3", "metadata.json", {"timestamps": [1.0, 1.6]}),
        ):
            (tmp_path / sample).mkdir(parents=True)
            write_wav(tmp_path / sample / "input.wav", tone(3.1, 24_000), 24_000)
            (tmp_path / sample / name).write_text(json.dumps(annotation))
        told = [{"speaker": 0, "item": [{"text": "I", "timestamp": [0.2, 0.4]}]}]
        (tmp_path / "candor_turn_taking/1/transcription.json").write_text(json.dumps(told))
        return tmp_path

    def test_full_duplex_bench(self, fdb: Path) -> None:
        cases = make_cases(suite(f"fdb:{fdb}"), 9, 1)
        found = {c.name: (c.episode.expected[0].kind, c.episode.expected[0].start_ms) for c in cases}
        assert found == {
            "candor_turn_taking/1": ("reply", 2000),
            "synthetic_pause_handling/7": ("pause", 0),
            "synthetic_user_interruption/2": ("reply", 1500),
            "user_backchannel/3": ("carry_on", 1000),
        }
        assert [w.text for w in cases[0].episode.placed[0].clip.words] == ["I"]
        assert len(cases[0].samples) == 16 * 3200
        assert np.abs(cases[0].samples[:40_000]).max() > 0.4

    def test_answers_beside_the_data_are_scored_where_they_are(self, fdb: Path) -> None:
        said = {
            "chunks": [{"text": "sure", "timestamp": [0.9, 1.4]}, {"text": "now", "timestamp": [1.4, 2.8]}]
        }
        for sample in ("candor_turn_taking/1", "synthetic_pause_handling/7", "synthetic_user_interruption/2"):
            write_wav(fdb / sample / "output.wav", tone(3.1, 24_000), 24_000)
            (fdb / sample / "output.json").write_text(json.dumps(said))
        cases = [c for c in make_cases(suite(f"fdb:{fdb}"), 9, 1) if "backchannel" not in c.name]
        played = Target.parse(f"wav:{fdb}").play("fdb", cases)
        got = values(full_duplex_bench([Run(c.episode, p) for c, p in zip(cases, played, strict=True)]))
        assert got["candor_turn_taking_latency"] == 0
        assert got["candor_turn_taking_latency_unclamped"] == -1100
        assert got["synthetic_pause_handling_takeover"] == 1
        assert got["synthetic_user_interruption_latency"] == 0  # from where the interruption ends

    def test_repcount_a(self, tmp_path: Path) -> None:
        film(tmp_path / "video/test/squat.mp4")
        (tmp_path / "annotation").mkdir()
        rows = (
            ",type,name,count,L1,L2,L3,L4\n0,squat,squat.mp4,2,5.0,20.0,20.0,45.0\n1,squat,gone.mp4,1,2,9,,\n"
        )
        (tmp_path / "annotation/test.csv").write_text(rows)
        assert expected(tmp_path, "repcount-a") == [(800, "one"), (1800, "two")]

    def test_proactive_video_qa(self, tmp_path: Path) -> None:
        film(tmp_path / "WEB/videos/a.mp4")
        answers = [{"content": "A donkey.", "related_timespan": [0.5, 1.5], "reply_timespan": [0.5, 2.5]}]
        asked = [{"role": "user", "content": "What is it?", "time": 0}, {"content": "Hi", "time": 1.0}]
        entry = {
            "video": "a.mp4",
            "question_id": "a",
            "answer": answers,
            "conversation": asked,
            "duration": 3,
        }
        (tmp_path / "WEB/anno.json").write_text(json.dumps([entry]))
        assert expected(tmp_path, "proactivevideoqa") == [(500, "A donkey.")]
        (case,) = make_cases(suite(f"proactivevideoqa:{tmp_path}"), 1, 1)
        reads = [(r.tick, r.channel, r.text) for r in case.episode.reads]
        assert reads == [(-1, Channel.INSTRUCTIONS, "What is it?"), (5, Channel.TYPED, "Hi")]
        assert np.abs(case.samples[:16_000]).max() > 0.3  # the film's own sound

    def test_charades(self, tmp_path: Path) -> None:
        film(tmp_path / "Charades_v1_480/ABCDE.mp4")
        lines = "ABCDE 0.4 1.9##person sits down.\nGONE1 0 1##nobody is there.\n"
        (tmp_path / "charades_sta_test.txt").write_text(lines)
        assert expected(tmp_path, "charades") == [(400, "start"), (1900, "stop")]

    def test_what_is_not_there_is_told_in_one_line(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="nothing of fdb is in this folder"):
            make_cases(suite(f"fdb:{tmp_path}"), 1, 1)
        with pytest.raises(ValueError, match="what can be imported is fdb:FOLDER"):
            suite("imagenet:x")
        assert {*LAYOUTS} == {*KINDS}

    @pytest.mark.parametrize(
        ("kind", "path", "text"),
        [
            ("fdb", "user_backchannel/1/metadata.json", "{}"),
            ("fdb", "candor_turn_taking/1/turn_taking.json", "[]"),
            ("repcount-a", "annotation/test.csv", "video,L1\nsquat.mp4,5\n"),
            ("proactivevideoqa", "WEB/anno.json", '[{"film": "a.mp4"}]'),
            ("charades", "charades_sta_test.txt", "ABCDE 0.4 1.9 person sits down\n"),
        ],
    )
    def test_what_is_laid_out_otherwise_is_told_with_its_file(
        self, kind: str, path: str, text: str, tmp_path: Path
    ) -> None:
        file = tmp_path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        (file.parent / "input.wav").touch()
        with pytest.raises(ValueError, match=f"{path}: "):
            make_cases(suite(f"{kind}:{tmp_path}"), 1, 1)


def film(path: Path) -> None:
    path.parent.mkdir(parents=True)
    encode(path, "aac", tone(3.0, 48_000), film_s=2.0)


def expected(folder: Path, kind: str) -> list[tuple[int, str]]:
    """Of the one case that there is; the answer itself passes it."""
    cases = make_cases(suite(f"{kind}:{folder}"), 5, 1)
    runs = [Run(c.episode, p) for c, p in zip(cases, baselines.oracle(cases), strict=True)]
    assert KINDS[kind][1](runs, 0)[0].value == 1
    (case,) = cases
    assert sum(p.frame is not None for p in case.perceptions((24, 32))) >= 9
    return [(e.start_ms, e.text) for e in case.episode.expected]

"""Suites do what they say: silence, chatter and chance fail every one of them, the answer itself passes."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from microturn.bench import baselines, command, scores, whisper
from microturn.bench.baselines import ALWAYS, NEVER, ORACLE, RANDOM
from microturn.bench.cast import Cast
from microturn.bench.drive import drive, played
from microturn.bench.evaluate import BY_WORDS, LOSS_SUITES, evaluate
from microturn.bench.harness import Harness
from microturn.bench.kept import Cases
from microturn.bench.metrics import Heard, Played, Run
from microturn.bench.report import to_json
from microturn.bench.suites import LOSS, SUITES, Suite, make_cases
from microturn.bench.waves import Surroundings, arrivals, make_case, placed_samples
from microturn.cli import main
from microturn.clock import HEAR_RATE, HEAR_SAMPLES
from microturn.model.checkpoint import save_weights
from microturn.model.config import tiny
from microturn.model.interaction import random_model
from microturn.model.network import Network
from microturn.scenes.episode import Clip, Episode, Placed, Read, Say, Word, spoken_ms
from microturn.streams import Action, Channel, Decision, Floats
from microturn.train.voices.spoken import Spoken, plain_words

SPOKEN_SUITES = [name for name, suite in SUITES.items() if not suite.people]


class Hummer:
    """A voice that hums every word: exact times and real sound without a synthesiser."""

    family = "hum"

    def __init__(self, name: str) -> None:
        self.name = name

    def speak(self, text: str) -> Spoken:
        words, now = [], 40
        for word in plain_words(text):
            words.append(Word(word, now, now + spoken_ms(word)))
            now = words[-1].end_ms + 30
        t = np.arange((now + 120) * HEAR_RATE // 1000) / HEAR_RATE
        return Spoken(
            (0.1 * np.sin(2 * np.pi * (90 + 10 * len(self.name)) * t)).astype(np.float32), tuple(words)
        )


@pytest.fixture(scope="module")
def cast(tmp_path_factory: pytest.TempPathFactory) -> Cast:
    return Cast(("hum-a", "hum-bc"), tmp_path_factory.mktemp("voices"), Hummer)


@pytest.mark.parametrize("name", SPOKEN_SUITES)
def test_only_the_answer_itself_passes(name: str, cast: Cast) -> None:
    suite = SUITES[name]
    # in one of 60 cases of interrupt the right answer is longer than its window
    cases = make_cases(suite, 24 if name == "interrupt" else 4, 3, cast)

    def score(play: list[Played]) -> float:
        runs = [Run(case.episode, done) for case, done in zip(cases, play, strict=True)]
        value = suite.score(runs, 0)[0].value
        assert value is not None
        return value

    assert score(baselines.oracle(cases)) > 0.95
    assert score(baselines.never_speak(cases)) == 0
    assert score(baselines.always_speak(cases)) <= 0.05
    assert score(baselines.random_weights(cases, tiny())) <= 0.05


def test_cases_are_the_same_to_the_sample(cast: Cast) -> None:
    first, second = (make_cases(SUITES["cuespeak"], 3, 5, cast) for _ in range(2))
    assert [c.episode.expected for c in first] == [c.episode.expected for c in second]
    assert all(np.array_equal(a.samples, b.samples) for a, b in zip(first, second, strict=True))
    other = make_cases(SUITES["cuespeak"], 3, 6, cast)
    assert not any(np.array_equal(a.samples, b.samples) for a, b in zip(first, other, strict=True))


def test_a_clip_from_the_folder_is_the_clip_that_was_spoken(cast: Cast) -> None:
    again = Cast(cast.names, cast.folder, lambda name: pytest.fail(f"{name} was asked to speak again"))
    spoken, kept = cast.clip("hello", "hum-a"), again.clip("hello", "hum-a")
    assert spoken.words == kept.words
    assert spoken.samples is not None
    assert np.array_equal(spoken.samples, kept.samples)  # type: ignore[arg-type]


def test_a_voice_that_is_not_installed_is_left_out_in_one_line(tmp_path: Path) -> None:
    def load(name: str) -> Hummer:
        if name == "deep-a":
            raise ImportError("No module named 'deep'")
        return Hummer(name)

    assert Cast(("hum-a", "deep-a"), tmp_path, load).notes == ["left out: deep-a (No module named 'deep')"]
    with pytest.raises(ValueError, match="no test voice can speak here"):
        Cast(("deep-a",), tmp_path, load)


def act(tick: int, decision: Decision, *say: str, hear: tuple[str, ...] = ()) -> Action:
    return Action(tick, decision, say, hear)


S, L = Decision.SPEAK, Decision.LISTEN


class TestPlaying:
    def test_pieces_are_played_after_the_lead_and_joined_to_words(self) -> None:
        actions = [act(0, S, " straw"), act(1, S, "berry", " pie"), act(2, S), act(3, L), act(4, L)]
        assert played(actions, 2).said == (Word("strawberry", 400, 800), Word("pie", 600, 800))

    def test_a_yield_before_its_tick_drops_a_piece(self) -> None:
        actions = [act(0, S, " one"), act(1, S, " two"), act(2, L), act(3, L), act(4, L)]
        assert [w.text for w in played(actions, 2).said] == ["one"]

    def test_what_would_be_played_after_the_end_is_not_played(self) -> None:
        assert played([act(0, L), act(1, S, " late"), act(2, S)], 2).said == ()

    def test_a_piece_that_follows_a_dropped_one_is_no_part_of_an_earlier_word(self) -> None:
        actions = [act(0, S, " ap"), act(1, S, "p"), act(2, L), act(3, S, "le"), act(4, S), act(5, S)]
        assert [w.text for w in played(actions, 2).said] == ["ap", "le"]

    def test_a_space_alone_begins_a_word(self) -> None:
        spelled = (" take", " ", "1", "2")
        actions = [act(0, S, *spelled, hear=spelled), act(1, S), act(2, S), act(3, L)]
        assert [w.text for w in played(actions, 2).said] == ["take", "12"]
        assert [w.text for w in played(actions, 2).heard] == ["take", "12"]

    def test_a_word_is_heard_in_the_tick_of_its_first_piece(self) -> None:
        actions = [act(0, L, hear=(" straw",)), act(1, L, hear=("berry", " jam"))]
        assert played(actions, 2).heard == (Heard("strawberry", 0), Heard("jam", 1))


def clip(samples: np.ndarray[tuple[int], np.dtype[np.float32]]) -> Clip:
    return Clip("a", "v", (Word("a", 0, 100),), np.zeros((len(samples) // 160, 64), np.uint8), samples)


class TestWaves:
    def test_clips_are_added_at_their_place_and_loudness(self) -> None:
        one = Placed(clip(np.full(1600, 0.5, np.float32)), 200)
        two = Placed(clip(np.full(1600, 0.5, np.float32)), 250, gain_db=-20.0)
        got = placed_samples(Episode("t", 0, 2, (one, two)))
        assert len(got) == 2 * HEAR_SAMPLES
        assert got[3199] == 0
        assert got[3200] == pytest.approx(0.5)
        assert got[4000] == pytest.approx(0.55)
        assert got[5599] == pytest.approx(0.05)

    def test_noise_has_the_ratio_that_was_asked_for(self) -> None:
        sine = (0.3 * np.sin(np.arange(16_000) * 0.1)).astype(np.float32)
        episode = Episode("t", 0, 5, (Placed(clip(sine), 0),))
        noisy = make_case(episode, 1, Surroundings(noise_snr_db=10)).samples - make_case(episode, 1).samples
        loud = sine[np.abs(sine) > 0.02]
        ratio = 10 * np.log10(np.mean(loud**2) / np.mean(noisy**2))
        assert ratio == pytest.approx(10, abs=0.3)

    def test_a_kitchen_changes_the_sound_and_follows_the_seed(self) -> None:
        rng = np.random.default_rng(0)
        kitchen = rng.standard_normal(8000).astype(np.float32) * np.float32(0.1)
        episode = Episode("t", 0, 5, (Placed(clip(np.full(3200, 0.2, np.float32)), 0),))
        around = Surroundings(kitchen=kitchen)
        first, second = (make_case(episode, 4, around).samples for _ in range(2))
        assert np.array_equal(first, second)
        assert not np.array_equal(first, make_case(episode, 5, around).samples)

    def test_its_own_voice_comes_back_later_and_softer(self) -> None:
        case = make_case(Episode("t", 0, 4), 1, Surroundings(echo_ms=80, echo_db=-20))
        actions: list[Action] = []
        heard = []
        for tick, perception in enumerate(case.perceptions((8, 16), actions)):
            assert perception.audio is not None
            heard.append(perception.audio)
            actions.append(Action(tick, S, speech=np.full(4800, 0.5, np.float32) if tick == 0 else None))
        loud = np.flatnonzero(np.abs(np.concatenate(heard)) > 0.025) / 16  # played in tick 1
        assert (loud[0], loud[-1]) == (pytest.approx(280, abs=1), pytest.approx(480, abs=1))
        assert np.median(heard[1][2000:]) == pytest.approx(0.05, abs=0.001)

    @pytest.mark.parametrize("share", [0.01, 0.1, 0.2])
    def test_losses_have_the_share_and_the_length_that_were_asked_for(self, share: float) -> None:
        lost = ~arrivals(200_000, share, 2.0, np.random.default_rng(0))
        assert lost.mean() == pytest.approx(share, rel=0.1)
        assert lost.sum() / np.count_nonzero(np.diff(lost.astype(int)) == 1) == pytest.approx(2.0, rel=0.05)

    def test_text_is_read_at_its_tick_and_losses_are_nothing_at_all(self) -> None:
        reads = (Read(-1, Channel.INSTRUCTIONS, "be brief"), Read(2, Channel.TYPED, "hello"))
        case = make_case(Episode("t", 0, 50, reads=reads), 3, Surroundings(loss=0.3))
        assert [t.text for t in case.stream((8, 16)).read] == ["be brief"]
        perceptions = list(case.perceptions((8, 16)))
        assert [(k, t.text) for k, p in enumerate(perceptions) for t in p.text] == [(2, "hello")]
        assert [p.audio is not None for p in perceptions] == case.arrived.tolist()


def test_what_a_case_gets_does_not_depend_on_the_others(cast: Cast) -> None:
    cases = make_cases(SUITES["hear"], 3, 1, cast)
    together = drive(random_model(tiny()), cases)
    alone = [drive(random_model(tiny()), [case])[0] for case in cases]
    assert together == alone
    assert any(p.heard or p.said for p in together)


def test_evaluate_puts_the_model_beside_its_baselines(cast: Cast) -> None:
    result = evaluate(random_model(tiny(), 1), "turns", 2, 2, cast=cast, baselines=True)
    assert [row.name for row in result.rows] == [
        "model",
        NEVER,
        ALWAYS,
        RANDOM,
        ORACLE,
    ]
    assert result.rows[-1].score.value == 1
    written = json.loads(to_json("tiny", [result]))
    assert next(iter(written)) == "score"
    assert next(iter(written["suites"][0])) == "score"
    assert set(written["suites"][0]["voices"]) <= {"hum-a", "hum-bc"}


def test_loss_is_a_ratio_and_nothing_is_left_of_nothing(cast: Cast) -> None:
    result = evaluate(random_model(tiny(), 1), LOSS, 1, 2, cast=cast, sound=True)
    assert BY_WORDS in result.notes  # what was asked for and cannot be had is said
    assert result.score == 0
    assert [m.name for m in result.rows[0].measures] == ["score", *LOSS_SUITES, "1%_lost"]


def test_a_harness_that_lost_nothing_because_it_had_nothing_is_told_with_its_settings(
    cast: Cast, tmp_path: Path
) -> None:
    """It was silent in every case that was played to it: with losses it need not be asked."""
    keep, one = Cases(tmp_path), Harness()
    for name in LOSS_SUITES:
        (case,) = make_cases(SUITES[name], 1, 2, cast)
        keep.keep(name, case, Played(), one.name)
    result = evaluate(None, LOSS, 1, 2, cast=cast, harnesses=[one], keep=keep)
    assert result.notes == (f"{one.name}: {one.settings}",)
    again = evaluate(random_model(tiny(), 1), LOSS, 1, 2, cast=cast, harnesses=[one], before=result)
    assert [row.name for row in again.rows] == ["model", one.name]
    assert again.notes == result.notes


def test_the_same_suites_give_the_same_file_one_by_one_or_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many threads the machine has; and what other processes are to hum is found under bank/test."""
    monkeypatch.chdir(tmp_path)
    save_weights(Network(tiny()), Path("tiny"), {})
    bench = ["bench", "turns,repcount", "--n=2", "--seed=4", "--model=tiny", "--voices=piper-joe"]
    torch.set_num_threads(2)
    with monkeypatch.context() as here:
        here.setattr(command, "cast_of", lambda names: Cast((names,), load=Hummer))
        assert main([*bench, "--jobs=1", "--json=1.json", "--html=1.html"]) == 0
    assert torch.get_num_threads() == 1
    assert main([*bench, "--jobs=2", "--json=2.json"]) == 0
    one, two = (Path(f"{jobs}.json").read_text("utf-8") for jobs in (1, 2))
    assert one == two
    assert list(json.loads(one)["suites"][0]["rows"])[1:] == [NEVER, ALWAYS, RANDOM, ORACLE]
    assert Path("1.html").read_text("utf-8").count("<svg") == 4


def test_an_hour_is_not_left_to_chance() -> None:
    cases = [make_case(Episode("t", 0, ticks, says=(Say("yes", 1000),))) for ticks in (20, 30, 1801)]
    suite = Suite("mine", "", lambda n, seed, cast: cases, scores.turns, people=True)
    result = evaluate(random_model(tiny(), 1), suite, 3, 2, baselines=True)
    assert result.notes == ("random-weights: only the 2 cases of up to 6 minutes",)


def test_an_unknown_suite_is_told_in_one_line() -> None:
    with pytest.raises(ValueError, match="no suite 'chess'"):
        evaluate(random_model(tiny()), "chess", 1, 0)


def test_the_command_takes_every_suite() -> None:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    for name in (*SUITES, LOSS, "all"):
        assert parser.parse_args([name, "--n", "3"]).n == 3


def test_what_is_heard_of_a_sound_is_heard_utterance_by_utterance(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each by itself, in its own time, with numbers in words; silence is not listened to."""
    listened: list[int] = []

    def ear(samples: Floats) -> tuple[Word, ...]:
        listened.append(len(samples) // 3200)
        return (Word("21,", 0, 500), Word("1-2", 500, 800))

    monkeypatch.setattr(whisper, "words", ear)
    loud, quiet = np.full(4800, 0.1, np.float32), np.zeros(4800, np.float32)
    loud[:2400] = 0.001
    speech = [None, loud, None, loud, quiet, quiet, None, None, loud, None]
    found = whisper.overheard(speech)
    assert listened == [3, 1]
    assert [w.text for w in found] == ["twenty", "one", "one", "two"] * 2
    assert [w.start_ms for w in found] == [300, 500, 700, 850, 1700, 1900, 2100, 2250]
    assert whisper._plain(",654") == ["six", "five", "four"]
    assert whisper.overheard([None, quiet]) == ()


def test_a_sound_is_spelled_like_what_was_written() -> None:
    heard = [Word(t, a, a + 150) for t, a in (("right", 0), ("good", 300), ("bye", 460), ("fall", 900))]
    assert [w.text for w in whisper.spelled(heard, ["write", "goodbye", "ball"])] == [
        "write",
        "goodbye",
        "fall",
    ]
    assert whisper.spelled(heard, []) == tuple(heard)

"""Scenes of language: what only they promise. Their laws are those of every scene (test_scenes.py), and their suites
fail silence and chatter like every suite (test_bench_suites.py)."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from microturn.background import Inbox, Kind, Piece, When
from microturn.bench import baselines, language, scores
from microturn.bench.cast import Cast
from microturn.bench.metrics import Run
from microturn.bench.suites import KITCHEN_DB, SUITES, make_cases
from microturn.bench.waves import make_case
from microturn.clock import HEAR_RATE, start_ms, tick_of
from microturn.model.config import NANO
from microturn.model.ears import power_mel, to_bytes
from microturn.model.tokenizer import PieceTokenizer
from microturn.scenes import delegate, instructions, orders, recall, tone, translate, write
from microturn.scenes.episode import HEARD_MS, Clip, Episode, Placed, Word, pace, react
from microturn.scenes.orders import Order
from microturn.scenes.tongues import NOUNS, TONGUES
from microturn.scenes.wording import Wordings, wordings
from microturn.streams import LEAD_TICKS, Channel, Decision
from microturn.train.manner import sounding
from microturn.train.real import data_folder
from microturn.train.rollout import Rollout, played
from microturn.train.sound import mix
from microturn.train.targets import targets
from microturn.train.voices.foreign import pronounced
from microturn.train.voices.spoken import plain_words
from test_bench_suites import Hummer
from test_scenes import episode

PIECES = PieceTokenizer.load()
SCORES = {
    "translate": language.translate,
    "codeswitch": scores.cuespeak,
    "orders": language.orders,
    "tone": language.tone,
    "weave": language.weave,
    "readout": language.weave,
    "instructions": language.instructions,
    "recall": language.recall,
}
seeds = st.integers(0, 1 << 31)


@pytest.mark.parametrize("scene", SCORES)
def test_whoever_does_what_the_targets_say_scores_everything(scene: str) -> None:
    runs = []
    for seed in range(40):
        lived = episode(scene, seed, "train", 20.0)
        if not lived.says:
            continue
        t = targets(lived, PIECES, NANO.read_pieces, NANO.say_pieces)
        done = Rollout(*(torch.from_numpy(x)[None] for x in (t.decision, t.say, t.hear)))
        runs.append(Run(lived, played(done, 0, PIECES, NANO.lead_ticks)))
    measures = SCORES[scene](runs)
    assert measures[0].value == pytest.approx(1.0)
    if scene == "weave":
        waits = {m.name: m.value for m in measures}["arrival_to_speech_p50"]
        assert waits is not None
        assert waits <= start_ms(LEAD_TICKS + 2)


WORDED: tuple[tuple[str, tuple[Wordings, ...]], ...] = (
    ("translate", (translate.STREAM, translate.SAID["STOP"])),
    ("codeswitch", (translate.SWITCH, translate.SAID["STOP"])),
    ("orders", tuple(orders.SAID.values())),
    ("tone", tuple(tone.SAID.values())),
    ("weave", (*(asked for asked, _ in delegate.TOPICS), *delegate.SAID.values())),
    ("instructions", tuple(instructions.SAID.values())),
    ("recall", tuple(both for telling, asking, _ in recall.FACTS for both in (telling, asking))),
)


@pytest.mark.parametrize(("skill", "listed"), WORDED)
def test_tests_have_wordings_that_training_never_uses(skill: str, listed: tuple[Wordings, ...]) -> None:
    train = {text for both in listed for text in wordings(both.train + both.more)}
    reserved = {text for both in listed for text in wordings(both.reserved)}
    assert len(train) >= 25
    assert len(reserved) >= 10
    assert not train & reserved


class TestTranslating:
    def test_there_is_enough_to_translate(self) -> None:
        assert all(len(tongue.english()) >= 150 for tongue in TONGUES.values())
        assert all(len(nouns) >= 60 for nouns in NOUNS.values())
        assert plain_words("i bought a es:manzana, and fr:pain") == [
            "i",
            "bought",
            "a",
            "manzana",
            "and",
            "pain",
        ]

    @given(seeds)
    @settings(max_examples=40, deadline=None)
    def test_every_word_is_said_when_it_was_heard_and_in_order(self, seed: int) -> None:
        made = episode("translate", seed, "train", 20.0)
        due = [e for e in made.expected if e.kind == "say"]
        said = [word for say in made.says for word in pace(say)]
        assert [e.text for e in due] == [word.text for word in said]
        assert all(w.start_ms >= react(e.start_ms) for e, w in zip(due, said, strict=True))

    def test_a_voice_that_knows_only_english_is_asked_for_nothing_else(self, tmp_path: Path) -> None:
        cast = Cast(("flite-a", "hum-b"), tmp_path, Hummer)
        assert {cast.voices(random.Random(i), 1, "a es:manzana")[0] for i in range(20)} == {"hum-b"}
        assert {cast.voices(random.Random(i), 1, "an apple")[0] for i in range(20)} == {"flite-a", "hum-b"}
        with pytest.raises(ValueError, match="none of the voices here can say"):
            Cast(("flite-a",), tmp_path, Hummer).voices(random.Random(0), 1, "fr:pomme")

    def test_foreign_words_come_near_in_english_sounds(self) -> None:
        try:
            assert pronounced("es:niño,") == "nˈinjO,"
        except ValueError as missing:
            pytest.skip(str(missing))
        assert pronounced("es:perro") != pronounced("es:pero")
        assert pronounced("fr:bon") == "bˈOn"


class TestOrders:
    @given(seeds)
    @settings(max_examples=300, deadline=None)
    def test_a_read_back_says_exactly_what_was_ordered(self, seed: int) -> None:
        order = orders.draw(random.Random(seed))
        assert Order.parse(f"well {order.read_back()} thank you") == order

    def test_the_last_read_back_counts(self) -> None:
        assert Order.parse("your order latte no your order mocha medium roast") == Order(
            "mocha", roast="medium roast"
        )
        assert Order.parse("a latte please") is None

    @given(seeds, st.sampled_from(("train", "test")))
    @settings(max_examples=100, deadline=None)
    def test_every_value_is_said_by_the_customer(self, seed: int, split: str) -> None:
        script = write("orders", seed, split, 20.0)
        text, customers = " ".join(line.text for line in script.lines), script.facts["customers"]
        assert isinstance(customers, tuple)
        assert all(value in text for one in customers for value in vars(one.order).values())

    def test_people_order_what_their_labels_say_clean_and_in_a_kitchen(self) -> None:
        try:
            data_folder()
        except ValueError as missing:
            pytest.skip(str(missing))
        cases = make_cases(SUITES["orders"], len(KITCHEN_DB), 1)
        assert [case.episode.scene for case in cases] == ["clean", "24_db", "18_db", "12_db", "6_db"]
        for play, accepted in (
            (baselines.oracle, 1),
            (baselines.never_speak, 0),
            (baselines.always_speak, 0),
        ):
            runs = [Run(case.episode, done) for case, done in zip(cases, play(cases), strict=True)]
            assert language.orders(runs)[0].value == accepted


class TestManner:
    samples = np.random.default_rng(0).standard_normal(HEAR_RATE).astype(np.float32) * np.float32(0.05)
    clip = Clip(
        "hum", "v", (Word("hum", 100, 900),), to_bytes(power_mel(torch.from_numpy(samples))).numpy(), samples
    )

    @pytest.mark.parametrize("manner", ["whisper", "shout", "hurry"])
    def test_sound_and_mel_of_a_manner_agree(self, manner: str) -> None:
        heard, drawn = sounding(self.clip, manner), sounding(replace(self.clip, samples=None), manner)
        assert heard.words == drawn.words
        assert abs(len(heard.mel) - len(drawn.mel)) <= 1
        both = min(len(heard.mel), len(drawn.mel)) - 10
        levels = [clip.mel[10:both].mean() for clip in (heard, drawn)]
        assert abs(levels[0] - levels[1]) < 12  # of 255: 4 dB

    def test_manners_are_what_their_names_say(self) -> None:
        level = {m: sounding(self.clip, m).mel.mean() for m in ("whisper", "", "shout")}
        assert level["whisper"] + 30 < level[""] < level["shout"] - 15
        assert sounding(self.clip, "hurry").words[0].end_ms < 700
        assert sounding(self.clip, "") is self.clip
        with pytest.raises(ValueError, match="unknown manner 'sing'"):
            sounding(self.clip, "sing")


def test_a_noisy_place_is_noisier_than_a_quiet_one_in_training_and_in_tests() -> None:
    placed = (Placed(TestManner.clip, 400),)
    quiet, loud = (Episode("x", 0, 20, placed, noisy=noisy) for noisy in (False, True))
    silence = [make_case(lived).samples[-8000:].std() for lived in (quiet, loud)]
    assert silence[1] > 100 * silence[0]
    for seed in range(10):
        log_powers = [mix(lived, np.random.default_rng(seed), [], [], 1.0)[0] for lived in (quiet, loud)]
        powers = [np.power(10.0, found).sum((1, 2)) for found in log_powers]  # [ticks]
        calm, busy = (power[2:6].mean() / power[-5:].mean() for power in powers)
        assert busy < 60 < calm


class TestWeaving:
    def test_results_are_read_in_the_form_of_the_inbox(self) -> None:
        inbox = Inbox(lambda text: 1)
        inbox.put(Piece(Kind.COMMENTARY, "searching", When.SILENT))
        inbox.put(Piece(Kind.FINAL, "oslo has rain"))
        inbox.put(Piece(Kind.FINAL, "oslo has snow", revised=True, delegation="other"))
        handed = [text for _ in range(6) if (text := inbox.take())]
        assert {text.channel for text in handed} == {Channel.BACKGROUND}
        assert [text.text for text in handed] == [
            delegate.background("commentary, silent", "searching"),
            delegate.background("final", "oslo has rain"),
            delegate.background("final, revised", "oslo has snow"),
        ]

    @given(seeds)
    @settings(max_examples=100, deadline=None)
    def test_only_what_is_heard_is_decided_on_and_nothing_is_spoken_over_the_user(self, seed: int) -> None:
        made = episode("weave", seed, "train", 32.0)
        ends = {tick_of(p.word_end(-1) + HEARD_MS) for p in made.placed}
        assert all(step in ends or step - 1 in ends for step, _ in made.decisions)
        spans = [(p.word_start(0), p.word_end(-1)) for p in made.placed]
        assert not any(a <= say.at_ms < b for say in made.says for a, b in spans)
        assert sum(d is Decision.CANCEL for _, d in made.decisions) <= sum(
            d is Decision.DELEGATE for _, d in made.decisions
        )

    @given(seeds)
    @settings(max_examples=100, deadline=None)
    def test_long_silence_is_broken_once_for_each_work_and_only_before_its_result(self, seed: int) -> None:
        made = episode("weave", seed, "train", 32.0)
        told = [say.at_ms for say in made.says if say.text == delegate.STILL]
        begun = [say.at_ms for say in made.says if say.text == delegate.LET]
        for at in told:
            since = max(b for b in begun if b < at)
            assert not any(since < other < at for other in told)
            assert not any(at - delegate.NEWS_MS < p.at_ms < at for p in made.placed)
            assert not any(since < start_ms(read.tick) < at for read in made.reads)
        assert len(told) <= len(begun)

    def test_a_result_is_begun_when_its_first_word_was_read(self) -> None:
        result = delegate.background("final", "we wanted a zebra")
        assert delegate.begun_ticks((result,)) == 2
        assert delegate.begun_ticks((delegate.background("thinking", "one source found"), result)) == 5
        with pytest.raises(ValueError, match="nothing of this is to be spoken"):
            delegate.begun_ticks((delegate.background("thinking", "searching"),))

    def test_what_a_result_replaces_is_read_by_whoever_is_not_free_to_speak(self) -> None:
        texts = ("final", "it is four"), ("final, revised", "it is five")
        both = tuple(delegate.background(*text) for text in texts)
        assert delegate.spoken_from(both, 2000, 0) == (both[1:], 2000 + start_ms(3 - 1 + LEAD_TICKS))
        assert delegate.spoken_from(both, 2000, 5000) == (both, 5000)


def test_what_is_told_is_needed_at_every_age_that_an_episode_reaches() -> None:
    assert recall.uses(12.0) == [8_000]
    assert recall.uses(325.0) == [60_000, 300_000, 318_000]
    needed = [e.start_ms for e in episode("recall", 3, "test", 925.0).expected if e.kind in ("say", "reply")]
    assert any(60_000 <= ms < 70_000 for ms in needed)
    assert any(900_000 <= ms < 915_000 for ms in needed)

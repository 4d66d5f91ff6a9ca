"""Scenes: every target follows from something that the model could hear or read, in time, and is expected."""

from __future__ import annotations

import random
import re
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from microturn import scenes
from microturn.clock import TICK_MS, start_ms
from microturn.model.tokenizer import PieceTokenizer
from microturn.scenes import (
    LATER_WEIGHTS,
    SCENES,
    SEEN_WEIGHTS,
    TRAIN_WEIGHTS,
    compose,
    converse,
    cue,
    instructions,
    talk,
    words,
    write,
)
from microturn.scenes.episode import LAST_MS, Clip, Episode, Expected, Line, Word, pace, react, spoken_ms
from microturn.scenes.orders import Order
from microturn.scenes.stage import said_end
from microturn.scenes.wording import mark, parts, said_in, table, tidy, whole, wordings
from microturn.streams import LEAD_TICKS, Channel

LENGTHS = (12.0, 20.0, 32.0)
SPLITS = ("train", "test")
FOREIGN = ":áéíóúñçèêîâœû"
seeds = st.integers(0, 1 << 31)
names = st.sampled_from(tuple(SCENES))
splits = st.sampled_from(SPLITS)
lengths = st.sampled_from(LENGTHS)


def timed(line: Line, rng: random.Random) -> Clip:
    """A clip in which only the times matter: a calm or hurried voice, and no sound."""
    tempo = rng.uniform(0.7, 1.3)
    now = rng.randrange(80)
    spoken: list[Word] = []
    for word in line.text.split():
        end = now + round(spoken_ms(word) * tempo)
        spoken.append(Word(word, now, end))
        now = end + rng.randrange(40)
    return Clip(line.text, f"voice-{line.who}", tuple(spoken), np.zeros((now // 10 + 10, 64), np.uint8))


def episode(name: str, seed: int, split: str, seconds: float) -> Episode:
    script = write(name, seed, split, seconds)
    rng = random.Random(seed)
    return compose(script, [timed(line, rng) for line in script.lines], seconds)


def played(episode: Episode) -> list[Word]:
    return sorted((word for say in episode.says for word in pace(say)), key=lambda word: word.start_ms)


def met(expected: Expected, said: list[Word]) -> bool:
    """Whether words played like this meet one line of the record, as the docstring of scenes says."""
    inside = [w.text for w in said if expected.start_ms <= w.start_ms < expected.end_ms]
    text = expected.text.split()
    if expected.kind == "say":
        starts = [i for i, w in enumerate(said) if expected.start_ms <= w.start_ms <= expected.end_ms]
        return any([w.text for w in said[i : i + len(text)]] == text for i in starts)
    if expected.kind == "reply":
        after = [w for w in said if w.start_ms > expected.start_ms][: len(text)]
        begun = [w for w in said if w.start_ms >= react(expected.start_ms)][: len(text)]
        first = begun or after
        return bool(first) and [w.text for w in first] == text and first[0].start_ms <= expected.end_ms
    if expected.kind == "carry_on":
        return " ".join(text) in " ".join(inside)
    if expected.kind == "halt":
        return not set(inside) & set(text)
    if expected.kind in ("pause", "quiet"):
        return not inside
    if expected.kind == "order":
        return Order.parse(" ".join(w.text for w in said)) == Order.parse(expected.text)
    assert expected.kind in ("clause_end", "delegate", "cancel", "need")
    return True


@settings(max_examples=60, deadline=None)
@given(names, seeds, splits, lengths)
def test_the_same_seed_gives_the_same_episode(name: str, seed: int, split: str, seconds: float) -> None:
    first, second = write(name, seed, split, seconds), write(name, seed, split, seconds)
    assert first == second
    assert episode(name, seed, split, seconds).says == episode(name, seed, split, seconds).says


@example("notice", 29630, "train", 12.0)  # a story whose last word takes longer where it is cut off
@settings(max_examples=150, deadline=None)
@given(names, seeds, splits, lengths)
def test_everything_stays_within_the_episode(name: str, seed: int, split: str, seconds: float) -> None:
    made = episode(name, seed, split, seconds)
    end = made.ticks * TICK_MS
    assert made.ticks == round(seconds * 5)
    assert all(placed.at_ms >= 0 and placed.end_ms <= end for placed in made.placed)
    assert all(said_end(say) <= end for say in made.says)
    assert all(-1 <= read.tick < made.ticks for read in made.reads)
    assert all(e.start_ms < e.end_ms and e.start_ms < end for e in made.expected)


@settings(max_examples=150, deadline=None)
@given(names, seeds, splits, lengths)
def test_the_model_says_one_thing_at_a_time_from_tick_boundaries(
    name: str, seed: int, split: str, seconds: float
) -> None:
    made = episode(name, seed, split, seconds)
    assert all(say.at_ms % TICK_MS == 0 and (say.until_ms or 0) % TICK_MS == 0 for say in made.says)
    assert all(pace(say) for say in made.says)
    assert all(said_end(a) - LAST_MS <= b.at_ms for a, b in pairwise(made.says))  # the rest is only held


@settings(max_examples=150, deadline=None)
@given(names, seeds, splits, lengths)
def test_nothing_is_said_before_its_cause_was_heard(name: str, seed: int, split: str, seconds: float) -> None:
    made = episode(name, seed, split, seconds)
    causes = [
        e for e in made.expected if e.kind == "reply" or (e.kind == "say" and name in ("cue", "digits"))
    ]
    heard_or_read = [p.word_end(i) for p in made.placed for i in range(len(p.clip.words))]
    for cause in causes:
        answers = [say for say in made.says if cause.start_ms < say.at_ms <= cause.end_ms]
        assert any(say.at_ms == react(cause.start_ms) for say in answers)
        assert cause.start_ms in heard_or_read or made.reads
    beginnings = [react(p.word_end(0)) for p in made.placed] + [0 for read in made.reads]
    assert all(say.at_ms >= min(beginnings) for say in made.says)


@settings(max_examples=200, deadline=None)
@given(names, seeds, splits, lengths)
def test_saying_just_the_targets_meets_every_expectation(
    name: str, seed: int, split: str, seconds: float
) -> None:
    made = episode(name, seed, split, seconds)
    said = played(made)
    assert [e for e in made.expected if not met(e, said)] == []


@settings(max_examples=100, deadline=None)
@given(names, seeds, splits, lengths)
def test_a_silent_model_meets_only_episodes_that_ask_for_silence(
    name: str, seed: int, split: str, seconds: float
) -> None:
    made = episode(name, seed, split, seconds)
    assert made.expected
    asked = [e for e in made.expected if e.kind in ("say", "reply", "carry_on")]
    assert bool(asked) == bool(made.says)
    assert not any(met(e, []) for e in asked)


@settings(max_examples=100, deadline=None)
@given(names, seeds, splits, lengths)
def test_lines_are_plain_lower_case_words(name: str, seed: int, split: str, seconds: float) -> None:
    script = write(name, seed, split, seconds)
    made = episode(name, seed, split, seconds)
    reads = [read.text for read in made.reads if read.channel is not Channel.BACKGROUND]
    texts = [line.text for line in script.lines] + reads
    assert all(
        set(text) <= set("abcdefghijklmnopqrstuvwxyz' " + FOREIGN * (name in ("translate", "codeswitch")))
        and text == " ".join(text.split())
        for text in texts
    )
    if name == "digits":
        assert all(line.text in words.DIGITS for line in script.lines)


@given(seeds, lengths)
@settings(max_examples=60, deadline=None)
def test_reminders_are_due_on_time_to_the_tick(seed: int, seconds: float) -> None:
    made = episode("time", seed, "train", seconds)
    due = [e for e in made.expected if e.kind == "say"]
    assert all(any(say.at_ms == (e.start_ms + e.end_ms) // 2 for say in made.says) for e in due)


@given(seeds)
@settings(max_examples=60, deadline=None)
def test_signs_of_attention_are_few_and_at_clause_ends(seed: int) -> None:
    made = episode("listening", seed, "train", 40.0)
    soft = [say for say in made.says if say.soft]
    fitting = [e for e in made.expected if e.kind == "clause_end"]
    assert len(soft) <= 8 * 40 / 60 + 1
    assert all(any(e.start_ms < s.at_ms and said_end(s) <= e.end_ms for e in fitting) for s in soft)
    assert sum(not say.soft for say in made.says) == 1


@pytest.mark.parametrize("scene", ["time", "cue", "converse", "interrupt", "recital", "listening", "digits"])
def test_tests_have_wordings_that_training_never_uses(scene: str) -> None:
    train: set[str] = set()
    reserved: set[str] = set()
    for both in said_in(scene).values():
        mine, held = set(wordings(both.train + both.more)), set(wordings(both.reserved))
        assert not mine & held
        train |= mine
        reserved |= held
    assert len(train) >= 25
    assert len(reserved) >= 10


def test_what_is_reserved_in_one_scene_trains_in_no_other() -> None:
    def plain(text: str) -> str:
        return " ".join(re.sub(r"{\w+}", "_", text).replace("/", " ").replace("*", " ").split())

    train: set[str] = set()
    reserved: set[str] = set()
    files = sorted(Path(scenes.__file__).with_name("wordings").glob("*.toml"))
    for said in (one for file in files for one in said_in(file.stem).values()):
        train |= {plain(text) for text in wordings(said.train + said.more)}
        reserved |= {plain(text) for text in wordings(said.reserved)}
    assert len(files) > 10
    assert not train & reserved


def test_reserved_wordings_and_pairs_never_train() -> None:
    rng = random.Random(0)
    drawn = {cue.SAID["RULE"].draw(rng, "train", cue="x", reply="y") for _ in range(3000)}
    assert not drawn & {text.format(cue="x", reply="y") for text in wordings(cue.SAID["RULE"].reserved)}
    for split in SPLITS:
        pairs = [words.pair(rng, split) for _ in range(200)]
        assert all(words.is_reserved(*pair) == (split == "test") for pair in pairs)


@pytest.mark.parametrize("split", SPLITS)
def test_rules_for_kinds_and_manners_are_held_out_too(split: str) -> None:
    kinds = {cues: name for name, cues in words.CLASSES.items()}
    rules = [
        (kinds[move.rule.cues], move.rule.reply)
        for seed in range(400)
        for move in write("cue", seed, split, 20.0).facts["moves"]
        if move.kind == "rule" and len(move.rule.cues) > 1
    ]
    assert len(rules) > 20
    assert all(words.is_reserved(*rule) == (split == "test") for rule in rules)


def test_nobody_is_asked_what_people_would_not_agree_about() -> None:
    rng, asked = random.Random(2), set()
    for _ in range(3000):
        question = converse._Questions(rng, "train", 8).is_a()
        asked |= {(kind, question.answer) for kind in converse.KINDS if converse.KINDS[kind] in question.text}
        doubtful = {
            w for kind, some in words.DOUBTFUL.items() if converse.KINDS[kind] in question.text for w in some
        }
        assert question.answer == "yes" or not doubtful & set(question.text.split()), question
    assert len(asked) == 2 * len(converse.KINDS)


def test_a_typed_question_is_answered_when_all_of_it_has_been_read() -> None:
    pieces = PieceTokenizer.load()
    typed = 0
    for scene in ("converse", "drill"):
        for seed in range(60):
            script = write(scene, seed, "test", 24.0)
            rng = random.Random(seed)
            episode = compose(script, [timed(line, rng) for line in script.lines], 24.0)
            for read in episode.reads:
                ticks = len(pieces.pack(read.text, 4))
                answers = [say.at_ms for say in episode.says if say.at_ms > start_ms(max(read.tick, 0))]
                typed += 1
                assert not answers or answers[0] >= start_ms(read.tick + ticks - 1 + LEAD_TICKS), read
    assert typed > 20


def test_who_is_to_answer_only_to_a_name_is_not_eager() -> None:
    def says(key: str, text: str) -> bool:
        known = wordings(instructions.SAID[key].train)
        return any(re.fullmatch(pattern.replace("{x}", r"\w+"), text) for pattern in known)

    both = 0
    for seed in range(400):
        rules = dict.fromkeys(("ONLY", "EAGER"), False)
        for move in write("instructions", seed, "train", 24.0).facts["moves"]:
            if move.kind == "read":
                calm = says("CALM", move.text)
                rules = {key: not calm and (told or says(key, move.text)) for key, told in rules.items()}
            elif move.kind == "talk" and all(rules.values()):
                both += 1
                assert not move.answer
    assert both > 10


def test_there_is_enough_to_say() -> None:
    rng = random.Random(0)
    assert len(words.ALL) >= 400
    assert len(table("talk")["sentences"]) >= 150
    assert len({talk.sentence(rng) for _ in range(40_000)}) >= 15_000
    assert all(talk.sentence_with(rng, word).split().count(word) == 1 for word in words.ALL)


def test_every_scene_trains() -> None:
    drills = {"drill", "once", "readout"}  # learned from given words only
    shares = (TRAIN_WEIGHTS, LATER_WEIGHTS, SEEN_WEIGHTS)
    assert sorted([*drills, *(scene for weights in shares for scene in weights)]) == sorted(SCENES)
    assert sum(SEEN_WEIGHTS.values()) == pytest.approx(1)
    assert sum(TRAIN_WEIGHTS.values()) == pytest.approx(1)


def test_marks_are_no_part_of_the_text() -> None:
    assert parts("what is three plus / four") == ["what is three plus", "four"]
    assert whole("hold on* what's your / name") == "hold on what's your name"
    assert mark("hold on* what's your / name") == 1
    assert mark("what's your / name") == 2
    assert tidy("a apple  and an pear in a hour") == "an apple and a pear in an hour"


def test_unknown_names_are_refused_in_one_line() -> None:
    with pytest.raises(ValueError, match="unknown scene “dance”"):
        write("dance", 0, "train", 12)
    with pytest.raises(ValueError, match="unknown split “dev”"):
        write("cue", 0, "dev", 12)
    with pytest.raises(ValueError, match="lines but 0 clips"):
        compose(write("hear", 0, "train", 12), [], 12)

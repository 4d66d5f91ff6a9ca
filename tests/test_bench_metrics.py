"""What every figure of the benchmarks means, worked out on small examples."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from microturn.bench import scores
from microturn.bench.intervals import bootstrap, mean, percentiles, share, wilson
from microturn.bench.metrics import (
    Heard,
    Played,
    Run,
    carried_on,
    distance,
    false_count,
    from_user,
    in_tick,
    last_heard,
    match,
    nods,
    normalise,
    spoken,
    stopped,
)
from microturn.scenes.episode import Clip, Episode, Expected, Placed, Say, Word, pace, react, spoken_ms


def said(*words: tuple[str, int]) -> tuple[Word, ...]:
    """Words and when they begin; each lasts a tick."""
    return tuple(Word(text, ms, ms + 200) for text, ms in words)


def due(text: str, at_ms: int) -> Expected:
    return Expected("say", at_ms - 400, at_ms + 400, text)


def clip(text: str, voice: str = "someone") -> Clip:
    words, now = [], 100
    for word in text.split():
        words.append(Word(word, now, now + spoken_ms(word)))
        now = words[-1].end_ms + 50
    return Clip(text, voice, tuple(words), np.zeros((now // 10 + 10, 64), np.uint8))


def episode(*expected: Expected, seconds: int = 20, **more: object) -> Episode:
    return Episode("test", 0, seconds * 5, expected=expected, **more)  # type: ignore[arg-type]


def value(measures: tuple[object, ...], name: str) -> float:
    found = next(m for m in measures if m.name == name).value  # type: ignore[attr-defined]
    assert found is not None
    return float(found)


class TestWords:
    def test_marks_and_capitals_do_not_count_and_numbers_are_words(self) -> None:
        assert normalise("Don't, STOP — it's 21!") == ["don't", "stop", "it's", "twenty", "one"]

    def test_distance_counts_insertions_deletions_and_substitutions(self) -> None:
        assert distance(["the", "cat", "sat"], ["the", "cat", "sat"]) == 0
        assert distance(["the", "cat", "sat"], ["a", "cat"]) == 2
        assert distance([], ["a", "cat"]) == 2

    def test_distance_to_any_stretch_does_not_count_what_lies_around_it(self) -> None:
        assert distance(["one", "two", "three", "four"], ["two", "three"], anywhere=True) == 0
        assert distance(["one", "two", "three", "four"], ["two", "nine"], anywhere=True) == 1

    @given(st.lists(st.sampled_from("abc"), max_size=6), st.lists(st.sampled_from("abc"), max_size=6))
    def test_distance_is_symmetric_and_bounded(self, a: list[str], b: list[str]) -> None:
        assert distance(a, b) == distance(b, a)
        assert abs(len(a) - len(b)) <= distance(a, b) <= max(len(a), len(b))
        assert distance(a, b, anywhere=True) <= distance(a, b)

    def test_a_word_counts_in_its_tick_or_a_neighbour_and_only_once(self) -> None:
        truth = [Heard("one", 5), Heard("two", 9)]
        heard = [Heard("one", 6), Heard("one", 5), Heard("two", 11)]
        assert in_tick(truth, heard) == (1, 2)  # the second “one” and the late “two” are insertions

    def test_the_transcript_of_other_people_is_neither_right_nor_wrong(self) -> None:
        user, other = Placed(clip("hello"), 0), Placed(clip("goodbye"), 2000, who=1)
        run = Run(
            episode(placed=(user, other)),
            Played(heard=(Heard("hello", spoken(episode(placed=(user,)))[0].tick), Heard("goodbye", 11))),
        )
        assert [h.text for h in spoken(run.episode)] == ["hello"]
        assert [h.text for h in from_user(run)] == ["hello"]


class TestWindows:
    @pytest.mark.parametrize(("at", "hit"), [(3600, True), (4400, True), (3400, False), (4600, False)])
    def test_an_utterance_counts_when_its_first_word_begins_in_the_window(self, at: int, hit: bool) -> None:
        found = match(episode(due("drink water", 4000)), said(("drink", at), ("water", at + 400)))
        assert bool(found.hits) is hit
        assert bool(found.stray) is not hit

    def test_both_meaning_and_time_must_hold(self) -> None:
        found = match(episode(due("drink water", 4000)), said(("drink", 4000), ("wine", 4400)))
        assert not found.hits
        assert false_count(found.stray) == 1

    def test_what_has_no_words_is_met_by_none(self) -> None:
        found = match(episode(Expected("reply", 0, 2000)), said(("tea", 1000)))
        assert (len(found.missed), len(found.stray)) == (1, 1)

    def test_a_narrower_window_asks_more(self) -> None:
        one = episode(due("tea", 4000))
        assert match(one, said(("tea", 4400)), scale=1.0).hits
        assert not match(one, said(("tea", 4400)), scale=0.5).hits
        assert match(one, said(("tea", 4800)), scale=2.0).hits

    def test_a_cue_window_grows_from_the_end_of_the_cue(self) -> None:
        cue = episode(Expected("say", 1000, 1800, "pie"))
        assert not match(cue, said(("pie", 800)), scale=2.0, cues=True).hits
        assert match(cue, said(("pie", 2600)), scale=2.0, cues=True).hits
        assert not match(cue, said(("pie", 1600)), scale=0.5, cues=True).hits

    def test_a_word_fulfils_one_window_only(self) -> None:
        found = match(episode(due("tea", 4000), due("tea", 4400)), said(("tea", 4200)))
        assert (len(found.hits), len(found.missed)) == (1, 1)

    def test_what_goes_on_after_the_recorded_words_of_a_long_answer_is_not_false(self) -> None:
        text = "one two three four five six seven eight nine ten"
        expected = Expected("reply", 0, 2000, "one two three four five six seven eight")
        words = said(*((w, 600 + 400 * i) for i, w in enumerate(text.split())), ("bye", 9000))
        found = match(episode(expected, says=(Say(text, 600),)), words)
        assert [w.text for w in found.stray] == ["bye"]

    def test_false_words_count_by_the_utterance_and_monologues_by_two_seconds(self) -> None:
        assert false_count(said(("no", 0), ("thanks", 400), ("what", 3000))) == 2
        assert false_count(said(*(("okay", 200 * k) for k in range(50)))) == 5
        assert false_count(()) == 0

    def test_accuracy_is_fulfilled_by_expected_and_false_and_averaged_over_cases(self) -> None:
        half = Run(episode(due("tea", 4000), due("tea", 8000)), Played(said(("tea", 4000))))
        noisy = Run(episode(due("tea", 4000)), Played(said(("tea", 4000), ("tea", 9000))))
        right = Run(episode(due("tea", 4000)), Played(said(("tea", 4200))))
        got = scores.timespeak([half, noisy, right])
        assert value(got, "score") == pytest.approx((1 / 2 + 1 / 2 + 1) / 3)
        assert value(got, "precision") == pytest.approx(3 / 4)
        assert value(got, "recall") == pytest.approx(3 / 4)
        assert value(got, "timing_error_p50") == 0

    def test_stop_is_obeyed_when_it_is_not_said_again(self) -> None:
        stop = episode(due("tea", 4000), Expected("halt", 6000, 20_000, "tea"))
        assert value(scores.timespeak([Run(stop, Played(said(("tea", 4000))))]), "stop_obeyed") == 1
        going_on = Played(said(("tea", 4000), ("tea", 8000)))
        assert value(scores.timespeak([Run(stop, going_on)]), "stop_obeyed") == 0
        assent = Played(said(("tea", 4000), ("okay", 8000)))
        assert value(scores.timespeak([Run(stop, assent)]), "stop_obeyed") == 1

    def test_windows_of_replies_have_one_width(self) -> None:
        asked = Run(episode(Expected("reply", 4000, 6000, "tea")), Played(said(("tea", 5500))))
        assert [len(asked.match(scale, cues=True).hits) for scale in (0.5, 1.0, 2.0)] == [1, 1, 1]


class TestFloor:
    STOP = Placed(clip("stop"), 3000)
    CAUSE = STOP.word_end(0)
    AT = react(CAUSE)
    HALT = Expected("halt", AT, 10_000, "one two three four five six seven eight")
    OKAY = Expected("reply", CAUSE, CAUSE + 2000, "okay")
    COUNT = ("one", "two", "three", "four", "five", "six", "seven", "eight")

    def run(self, *words: tuple[str, int]) -> Run:
        return Run(episode(self.HALT, self.OKAY, placed=(self.STOP,)), Played(said(*words)))

    def counting(self, until_ms: int) -> list[tuple[str, int]]:
        return [(w, 1600 + 400 * i) for i, w in enumerate(self.COUNT) if 1600 + 400 * i < until_ms]

    def test_halted_and_answered(self) -> None:
        run = self.run(*self.counting(self.AT), ("okay", self.AT))
        assert value(scores.interrupt([run]), "score") == 1
        stop = stopped(run, self.HALT, match(run.episode, run.played.said).stray)
        assert stop.going
        assert stop.halted
        assert stop.latency_ms is not None
        assert 0 <= stop.latency_ms <= self.AT - self.CAUSE + 200
        assert value(scores.interrupt([run]), "response_latency_p50") == self.AT - self.CAUSE

    def test_words_of_a_long_answer_that_come_after_it_was_cut_are_old_content(self) -> None:
        text = " ".join(self.COUNT)
        asked = Expected("reply", 1000, 3000, " ".join(w for w, _ in self.counting(self.AT)))
        one = episode(
            asked, self.HALT, self.OKAY, placed=(self.STOP,), says=(Say(text, 1600, until_ms=self.AT),)
        )
        run = Run(one, Played(said(*self.counting(9000), ("okay", 9000))))
        assert value(scores.interrupt([run]), "halted") == 0
        run = Run(one, Played(said(*self.counting(self.AT), ("okay", self.AT))))
        assert value(scores.interrupt([run]), "score") == 1

    def test_chatter_does_not_answer(self) -> None:
        run = self.run(*(("okay", 200 * k) for k in range(50)))
        assert value(scores.interrupt([run]), "score") == 0

    def test_going_on_is_not_halting(self) -> None:
        run = self.run(*self.counting(9000), ("okay", 9000))
        got = scores.interrupt([run])
        assert (value(got, "halted"), value(got, "score")) == (0, 0)

    def test_where_nothing_was_being_said_nothing_was_stopped(self) -> None:
        got = scores.interrupt([self.run(("okay", self.AT))])
        assert (value(got, "was_speaking"), value(got, "score")) == (0, 0)

    def test_stopping_without_the_answer_is_half_of_it(self) -> None:
        got = scores.interrupt([self.run(*self.counting(self.AT))])
        assert (value(got, "halted"), value(got, "answered"), value(got, "score")) == (1, 0, 0)

    def test_carrying_on_is_unbroken_and_in_order(self) -> None:
        window, whole = Expected("carry_on", 2000, 4000), Say(" ".join(self.COUNT), 1000)
        steady = said(*((w, 1000 + 500 * i) for i, w in enumerate(self.COUNT)))
        assert carried_on(window, steady, whole)
        assert not carried_on(window, steady[:4], whole)  # fell silent
        assert not carried_on(window, (), whole)
        broken = said(*((w, 1000 + 500 * i + (1200 if i > 3 else 0)) for i, w in enumerate(self.COUNT)))
        assert not carried_on(window, broken, whole)
        again = said(*((self.COUNT[i % 3], 1000 + 500 * i) for i in range(8)))
        assert not carried_on(window, again, whole)  # started over

    def test_starting_over_when_asked_is_not_breaking_off(self) -> None:
        window, words = (
            Expected("carry_on", 2000, 3000),
            said(("four", 1000), ("one", 1500), ("two", 2000), ("three", 2500)),
        )
        again = Say("one two three", 1500)
        assert carried_on(window, words, again)
        assert not carried_on(window, words[:1] + words[2:], Say("four one two three", 1000))

    def test_carrying_on_may_end_where_the_text_ends(self) -> None:
        window, words = Expected("carry_on", 2000, 6000), said(("one", 1400), ("two", 1900), ("three", 2400))
        assert carried_on(window, words, Say("one two three", 1400))
        assert not carried_on(window, words, Say("one two three four", 1400))

    def test_stopping_at_a_word_like_the_last_is_not_the_end(self) -> None:
        window, words = Expected("carry_on", 2000, 6000), said(("one", 1400), ("two", 1900), ("five", 2400))
        assert not carried_on(window, words, Say("one two five six seven twenty five", 1400))

    def test_going_on_ahead_of_its_time_is_not_halting(self) -> None:
        later = [("forty", self.AT + 200), ("fifty", self.AT + 600)]
        run = self.run(*self.counting(self.AT), *later)
        told = Say(" ".join([*self.COUNT, "forty", "fifty"]), 1600, self.AT)
        going_on = replace(run, episode=replace(run.episode, says=(told,)))
        assert value(scores.interrupt([run]), "halted") == 1
        assert value(scores.interrupt([going_on]), "halted") == 0

    def test_a_pause_is_taken_over_by_any_word(self) -> None:
        pause = Expected("pause", 2000, 3500)
        end = Expected("reply", 5000, 7000, "seven")
        patient = Run(episode(pause, end), Played(said(("seven", 5600))))
        hasty = Run(episode(pause, end), Played(said(("seven", 2800), ("seven", 5600))))
        got = scores.pause([patient, hasty])
        assert (value(got, "takeover"), value(got, "answered"), value(got, "score")) == (0.5, 1, 0.5)
        assert value(got, "latency_p50") == 600
        chatty = Run(episode(pause, end), Played(said(*((w, 2000 + 300 * i) for i, w in enumerate("abcd")))))
        got = scores.pause([patient, hasty, hasty, chatty])
        assert (value(got, "takeover"), value(got, "takeover_fdb")) == (0.75, 0.25)

    def test_turn_latency_runs_from_the_last_word_to_the_first_one_said(self) -> None:
        run = Run(episode(Expected("reply", 5000, 7000, "seven")), Played(said(("nine", 5800))))
        got = scores.turns([run])
        assert (value(got, "latency_p50"), value(got, "score")) == (800, 0)


class TestListening:
    ENDS = tuple(Expected("clause_end", ms, ms + 1000) for ms in (4000, 9000, 14_000))

    def test_backchannels_at_clause_ends(self) -> None:
        run = Run(episode(*self.ENDS), Played(said(("mm", 4200), ("hm", 4400), ("right", 9200))))
        found = nods(run)
        assert (found.count, found.placed, found.floor) == (2, 2, 0)
        assert value(scores.listening([run]), "score") == 1

    def test_misplaced_ones_and_taking_the_floor(self) -> None:
        talk = said(*((w, 4200 + 200 * i) for i, w in enumerate(["and", "then", "what", "did", "you", "do"])))
        run = Run(episode(*self.ENDS), Played((*talk, *said(("right", 7000)))))
        found = nods(run)
        assert (found.count, found.placed, found.floor) == (2, 1, 1)
        assert value(scores.listening([run]), "score") == 0

    def test_silence_is_not_listening(self) -> None:
        assert value(scores.listening([Run(episode(*self.ENDS), Played())]), "score") == 0

    def test_false_replies_are_counted_by_the_minute_of_quiet(self) -> None:
        quiet = episode(Expected("quiet", 0, 20_000))
        asked = episode(Expected("reply", 5000, 7000, "seven"))
        loud = Run(quiet, Played(said(("okay", 3000), ("yes", 9000))))
        answered = Run(asked, Played(said(("seven", 5600))))
        got = scores.false_replies([Run(quiet, Played()), loud, answered])
        assert value(got, "false") == pytest.approx(2 / (40 / 60))
        assert value(got, "score") == 0.5
        assert value(scores.false_replies([Run(quiet, Played()), Run(asked, Played())]), "score") == 0


class TestIntervals:
    def test_wilson(self) -> None:
        low, high = wilson(8, 10)
        assert (round(low, 3), round(high, 3)) == (0.490, 0.943)
        assert wilson(0, 0) == (0.0, 1.0)

    @given(st.integers(1, 60).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
    def test_wilson_holds_the_share(self, hits_n: tuple[int, int]) -> None:
        hits, n = hits_n
        low, high = wilson(hits, n)
        assert 0 <= low <= hits / n + 1e-9
        assert hits / n - 1e-9 <= high <= 1

    def test_bootstrap_is_seeded_and_holds_the_ratio(self) -> None:
        points, weights = [1, 0, 3, 2, 5], [2, 2, 4, 3, 5]
        assert bootstrap(points, weights, 7) == bootstrap(points, weights, 7)
        low, high = bootstrap(points, weights, 7)
        assert low < 11 / 16 < high

    def test_nothing_measured_is_no_number(self) -> None:
        assert share("x", []).value is None
        assert mean("x", []).value is None
        assert percentiles("x", [])[0].value is None

    def test_percentiles(self) -> None:
        p50, p95 = percentiles("late", list(range(101)))
        assert (p50.name, p50.value, p95.value) == ("late_p50", 50, 95)


class TestHearing:
    def test_wer_and_words_in_their_tick(self) -> None:
        user = Placed(clip("one two three four"), 400)
        truth = spoken(episode(placed=(user,)))
        heard = (*truth[:2], Heard("free", truth[2].tick), Heard("four", truth[3].tick + 3))
        run = Run(episode(placed=(user,)), Played(heard=heard))
        got = scores.hear([run])
        assert value(got, "wer") == 1 / 4
        assert value(got, "in_tick") == 1 / 2
        assert value(got, "insertions") == 1 / 2
        assert value(scores.digits([run]), "score") == pytest.approx(2 / (4 + 2))

    def test_what_is_paced_is_what_is_expected(self) -> None:
        say = Say("one, two, three", 2000)
        words = tuple(Word(w.text, w.start_ms // 200 * 200, w.end_ms) for w in pace(say))
        assert match(episode(due("one two three", 2000), says=(say,)), words).hits


def test_a_voice_is_heard_until_its_last_sound_before_something_new() -> None:
    loud, quiet = np.full(4800, 0.1, np.float32), np.zeros(4800, np.float32)
    half = np.concatenate([loud[:2400], quiet[:2400]])
    assert last_heard([loud, half, quiet], 0, 600) == 300
    assert last_heard([loud, quiet, None, half, quiet, loud], 100, 1000) == 600  # a breath is no end
    assert last_heard([loud, quiet, quiet], 250, 600) == 0
    assert last_heard([loud, loud], 100, 400) == 300
    assert last_heard([None, None], 0, 400) is None

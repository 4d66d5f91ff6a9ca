"""A run answers a recording in its own length, writes down what happened, and never leaves half a file."""

from __future__ import annotations

import json
import wave
from itertools import groupby
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from echo_model import POISON, EchoModel
from microturn.clock import SPEAK_SAMPLES
from microturn.engine import Engine, Stream, play
from microturn.events import EventLog, TimedText, join_pieces
from microturn.media import audio_ticks, examine
from microturn.picture import MOST_MINUTES, PEAKS, Trace, draw_picture
from microturn.run import folder_jobs
from microturn.runner import Job, Outcome, run_jobs
from microturn.script import ScriptLine, read_script
from microturn.streams import Action, Channel, Decision, Floats, Perception, TextIn
from recordings import encode, tone, write_wav

LEAD = 2


def run_one(job: Job) -> Outcome:
    (outcome,) = run_jobs(EchoModel(), [job])
    return outcome


def samples_of(path: Path) -> Floats:
    with wave.open(str(path)) as file:
        assert file.getparams()[:3] == (1, 2, 24_000)
        pcm = np.frombuffer(file.readframes(file.getnframes()), "<i2")
    return np.asarray(pcm / np.float32(32767), np.float32)


def events_of(path: Path) -> list[dict[str, str | int]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


# ---- the sound ----


@settings(max_examples=15, deadline=None)
@given(samples=st.integers(1, 40_000), rate=st.sampled_from([8000, 16_000, 44_100]))
def test_the_answer_is_exactly_as_long_as_the_recording(
    tmp_path_factory: pytest.TempPathFactory, samples: int, rate: int
) -> None:
    folder = tmp_path_factory.mktemp("run")
    audio = write_wav(folder / "in.wav", np.zeros(samples, np.float32), rate)
    assert run_one(Job(audio, folder / "out.wav")).failure is None
    assert len(samples_of(folder / "out.wav")) == round(samples * 24_000 / rate)


def test_what_is_answered_to_a_tick_is_heard_in_the_next(tmp_path: Path) -> None:
    audio = write_wav(tmp_path / "in.wav", tone(2.5, 16_000), 16_000)
    run_one(Job(audio, tmp_path / "out.wav"))
    heard = samples_of(tmp_path / "out.wav")
    assert not heard[:SPEAK_SAMPLES].any()
    perceptions = [Perception(audio=tick) for tick in audio_ticks(examine(audio))]
    for action in play(Engine(EchoModel(), slots=1), Stream(perceptions)):
        begin = (action.tick + 1) * SPEAK_SAMPLES
        part = heard[begin : begin + SPEAK_SAMPLES]
        speech = np.zeros(SPEAK_SAMPLES, np.float32) if action.speech is None else action.speech
        assert np.abs(part - speech[: len(part)]).max(initial=0.0) < 1e-4


def test_recordings_run_together_as_they_run_alone(tmp_path: Path) -> None:
    jobs = []
    for i in range(11):
        audio = write_wav(tmp_path / f"{i}.wav", tone(0.3 + 0.37 * i, 16_000, 200 + 50 * i), 16_000)
        jobs.append(Job(audio, tmp_path / f"{i}-out.wav", events=tmp_path / f"{i}.jsonl"))
    together = {o.job.audio: o for o in run_jobs(EchoModel(), jobs)}
    for job in jobs:
        assert job.events is not None
        before = job.out.read_bytes(), job.events.read_bytes(), together[job.audio]
        outcome = run_one(job)
        assert (job.out.read_bytes(), job.events.read_bytes(), outcome) == before


# ---- what arrives ----


def test_text_and_film_reach_the_model_in_their_tick(tmp_path: Path) -> None:
    film = encode(tmp_path / "in.mp4", "aac", tone(2.0, 48_000), film_s=2.0)
    script = (
        ScriptLine(0, "once", Channel.HISTORY),
        ScriptLine(399, "early"),
        ScriptLine(1200, "late", Channel.BACKGROUND),
    )
    job = Job(film, tmp_path / "out.wav", film, script, "be kind", events=tmp_path / "out.jsonl")
    assert run_one(job).failure is None
    read = [
        (e["tick"], e["text"], e["channel"]) for e in events_of(tmp_path / "out.jsonl") if e["type"] == "read"
    ]
    assert read == [
        (-1, "be kind", "instructions"),
        (-1, "once", "history"),
        (1, "early", "typed"),
        (6, "late", "background"),
    ]
    blind = Job(film, tmp_path / "blind.wav", None, script, "be kind", events=tmp_path / "blind.jsonl")
    run_one(blind)
    assert (tmp_path / "blind.jsonl").read_text() != (tmp_path / "out.jsonl").read_text()


def test_a_script_is_read_in_the_order_of_time(tmp_path: Path) -> None:
    path = tmp_path / "script.jsonl"
    path.write_text('{"ms": 900, "text": "b", "channel": "background"}\n\n{"ms": 100.5, "text": "a"}\n')
    assert read_script(path) == (ScriptLine(100, "a"), ScriptLine(900, "b", Channel.BACKGROUND))


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("hello", "not JSON"),
        ("[1, 2]", "must be an object"),
        ('{"ms": 1, "text": "a", "who": "me"}', "unknown field 'who'"),
        ('{"text": "a"}', "ms must be"),
        ('{"ms": -5, "text": "a"}', "ms must be"),
        ('{"ms": true, "text": "a"}', "ms must be"),
        ('{"ms": Infinity, "text": "a"}', "ms must be"),
        ('{"ms": 1}', "text must be"),
        ('{"ms": 1, "text": " "}', "text must be"),
        ('{"ms": 1, "text": "a", "channel": "radio"}', "channel must be one of typed,"),
        ('{"ms": 1, "text": "a", "channel": ["typed"]}', "channel must be one of typed,"),
        ('{"ms": 1, "text": "a", "channel": "history"}', "its ms must be 0"),
    ],
)
def test_a_bad_script_line_is_told_with_its_number(tmp_path: Path, line: str, says: str) -> None:
    path = tmp_path / "script.jsonl"
    path.write_text('{"ms": 1, "text": "fine"}\n' + line + "\n")
    with pytest.raises(ValueError, match=r"script\.jsonl line 2: ") as caught:
        read_script(path)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


# ---- what goes wrong ----


def test_a_bad_recording_harms_no_other_and_leaves_nothing(tmp_path: Path) -> None:
    good = write_wav(tmp_path / "good.wav", tone(1.0, 16_000), 16_000)
    jobs = [Job(path, tmp_path / "out" / path.name) for path in (tmp_path / "missing.wav", good)]
    missing, fine = run_jobs(EchoModel(), jobs)
    assert missing.failure == f"{tmp_path}/missing.wav: no such file or directory"
    assert fine.failure is None
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["good.wav"]


def test_a_failing_model_is_told_in_a_line_and_leaves_nothing(tmp_path: Path) -> None:
    sound = tone(1.0, 16_000)
    sound[3200] = POISON
    audio = write_wav(tmp_path / "in.wav", sound, 16_000)
    outcome = run_one(Job(audio, tmp_path / "o" / "out.wav", events=tmp_path / "o" / "out.jsonl"))
    assert outcome.failure is not None
    assert "failed in tick 1" in outcome.failure
    assert not list((tmp_path / "o").iterdir())


def test_a_recording_is_never_overwritten(tmp_path: Path) -> None:
    audio = write_wav(tmp_path / "in.wav", tone(0.4, 16_000), 16_000)
    before = audio.read_bytes()
    assert "overwrite" in str(run_one(Job(audio, tmp_path / "." / "in.wav")).failure)
    assert audio.read_bytes() == before


def test_text_after_the_end_is_refused(tmp_path: Path) -> None:
    audio = write_wav(tmp_path / "in.wav", tone(1.0, 16_000), 16_000)
    job = Job(audio, tmp_path / "out.wav", script=(ScriptLine(1000, "too late"),))
    assert "after the end" in str(run_one(job).failure)


# ---- folders ----


def test_a_folder_keeps_its_shape_and_answers_input_as_output(tmp_path: Path) -> None:
    for name in ("1/input.wav", "2/input.flac", "2/output.wav", "talk.wav", "talk.mp3", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    jobs = folder_jobs(tmp_path, tmp_path / "out", events=tmp_path / "ev", told="be kind", eager=1.5)
    names = {str(j.audio.relative_to(tmp_path)): str(j.out.relative_to(tmp_path / "out")) for j in jobs}
    assert names == {
        "1/input.wav": "1/output.wav",
        "2/input.flac": "2/output.wav",
        "talk.wav": "talk.wav",
        "talk.mp3": "talk.mp3.wav",
    }
    assert {str(j.events) for j in jobs} >= {f"{tmp_path}/ev/1/output.jsonl", f"{tmp_path}/ev/talk.mp3.jsonl"}
    assert {(j.instructions, j.eagerness, j.picture) for j in jobs} == {("be kind", 1.5, None)}


# ---- events ----


def act(tick: int, decision: Decision, *say: str) -> Action:
    return Action(tick, decision, say=say)


def test_words_are_said_when_they_are_played_unless_dropped_before() -> None:
    log = EventLog(LEAD)
    speak, listen = Decision.SPEAK, Decision.LISTEN
    actions = [
        act(0, speak, " one"),
        act(1, speak, " two"),
        act(2, speak, " three"),
        act(3, listen),
        act(4, speak),
    ]
    said = [(e.tick, e.text) for action in actions for e in log.follow(action) if e.type == "say"]
    assert said == [(2, " one"), (3, " two")]  # " three" was to be played in tick 4


@given(st.lists(st.sampled_from(Decision), min_size=1, max_size=30))
def test_a_decision_is_told_exactly_when_it_changes(decisions: list[Decision]) -> None:
    log = EventLog(LEAD)
    events = [e for tick, d in enumerate(decisions) for e in log.follow(act(tick, d))]
    current, rebuilt = "", []
    for tick in range(len(decisions)):
        told = [e.value for e in events if e.type == "decision" and e.tick == tick]
        assert told in ([], [decisions[tick].name.lower()])
        assert not told or told[0] != current
        current = str(told[0]) if told else current
        rebuilt.append(current)
    assert rebuilt == [d.name.lower() for d in decisions]
    delegated = [e.value for e in events if e.type == "delegate"]
    stretches = [d for d, _ in groupby(decisions) if d is Decision.DELEGATE]
    assert delegated == list(range(1, len(stretches) + 1))


def test_events_are_the_documented_lines() -> None:
    log = EventLog(LEAD)
    opening = log.opening((TextIn("be kind", Channel.INSTRUCTIONS),))
    action = Action(3, Decision.LISTEN, hear=(" hello",), missed=True)
    lines = [json.loads(e.to_json()) for e in opening + log.follow(action, (TextIn("sí", Channel.TYPED),))]
    span = {"tick": 3, "start_ms": 600, "end_ms": 800}
    before = {"tick": -1, "start_ms": 0, "end_ms": 0}
    assert lines == [
        {"type": "read", **before, "text": "be kind", "channel": "instructions"},
        {"type": "read", **span, "text": "sí", "channel": "typed"},
        {"type": "late", **span, "value": "audio"},
        {"type": "hear", **span, "text": " hello"},
        {"type": "decision", **span, "value": "listen"},
    ]


def test_pieces_join_to_words_at_the_tick_of_their_first_piece() -> None:
    pieces = [TimedText(3, " rem"), TimedText(3, "ind"), TimedText(5, "er"), TimedText(6, " me")]
    assert join_pieces(pieces) == [TimedText(3, "reminder"), TimedText(6, "me")]


# ---- the picture ----


def trace_of(ticks: int) -> Trace:
    wave_ = np.full(PEAKS, 0.5, np.float32)
    return Trace(
        "talk.wav",
        "echo",
        ticks / 5,
        decisions=[Decision(tick % 4) for tick in range(ticks)],
        missed=[tick % 10 == 0 for tick in range(ticks)],
        user=[wave_] * ticks,
        voice=[wave_] * ticks,
        heard=[TimedText(tick, "extraordinarily") for tick in range(ticks)],
        said=[TimedText(0, "ж – 你好")],
        read=[(TimedText(-1, "word " * 100), Channel.TYPED)],
    )


@pytest.mark.parametrize("ticks", [1, 74, 75, 76])
def test_the_picture_has_a_row_for_every_fifteen_seconds(ticks: int) -> None:
    one, image = draw_picture(trace_of(1)), draw_picture(trace_of(ticks))
    assert 760 <= image.width <= 1700
    assert image.height > one.height * (1.5 if ticks > 75 else 0.9)


def test_a_long_run_is_drawn_only_so_far() -> None:
    quiet = trace_of(MOST_MINUTES * 300 + 10_000)
    quiet.user, quiet.voice, quiet.heard = [], [], []
    assert draw_picture(quiet).height < MOST_MINUTES * 4 * 260 + 200


def test_a_run_draws_a_picture(tmp_path: Path) -> None:
    audio = write_wav(tmp_path / "in.wav", tone(3.0, 16_000), 16_000)
    run_one(Job(audio, tmp_path / "out.wav", picture=tmp_path / "out.png"))
    with Image.open(tmp_path / "out.png") as image:
        assert image.format == "PNG"
        assert len(np.unique(np.asarray(image))) > 20

"""The journal: everything that was acknowledged is in it, whatever happens, and a session can be made of it again."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import signal
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import httpx2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.sync.client import connect

from echo_model import EchoModel
from microturn.background import Background, ContextPackage, Function, Kind, Piece, State
from microturn.background.functions import Functions
from microturn.cli import main
from microturn.clock import VirtualClock
from microturn.engine import Engine, Pace
from microturn.events import Event
from microturn.model.config import tiny
from microturn.model.interaction import random_model
from microturn.server.access import ANYBODY
from microturn.server.conversation import Added, Start
from microturn.server.export import captions, events, stereo
from microturn.server.journal import TABLES, Entry, Journal
from microturn.server.lobby import Lobby
from microturn.server.replay import compare, rebuild
from microturn.server.sound import pcm16
from microturn.streams import Action, Channel, Decision, InteractionModel, Perception, TextIn
from serving import Scripted as Decided
from serving import served

START = Start(instructions="be kind", store=True, seed=3, eagerness=0.5)


def until(true: Callable[[], bool], seconds: float = 15.0) -> None:
    late = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < late
        time.sleep(0.05)


def talk(seed: int, ticks: int, size: tuple[int, int]) -> list[Perception]:
    random = np.random.default_rng(seed)
    return [
        Perception(
            audio=None if tick % 7 == 3 else (random.integers(-9999, 9999, 3200) / 32768).astype(np.float32),
            frame=random.integers(0, 256, (*size, 3), np.uint8) if tick % 5 == 0 else None,
            text=(TextIn("say bird when you see a bird", Channel.TYPED),) if tick == 4 else (),
            cancelled=tick % 9 == 8,
        )
        for tick in range(ticks)
    ]


def record(model: InteractionModel, journal: Journal, id: str, perceptions: list[Perception]) -> list[Action]:
    """A stored session, snapshots included."""
    engine = Engine(model, slots=1, clock=VirtualClock())
    actions: list[Action] = []
    begun: list[Perception] = []
    journal.begin(id, START, model.spec.name, None, 0, None)

    def listen(action: Action) -> bool:
        snapshot = session.snapshot() if action.tick in (3, 9, 19) else None
        journal.append(id, begun[-1], action, snapshot, lambda: None)
        actions.append(action)
        return True

    session = engine.open(
        pace=Pace.DRIVEN, listener=listen, witness=lambda seen, _: begun.append(seen), read=START.read,
        seed=START.seed, eagerness=START.eagerness,
    )  # fmt: skip
    for number, perception in enumerate(perceptions, 1):
        session.push(perception)
        if number % 3 == 0:  # so that input waits while snapshots are taken
            engine.drain()
    engine.drain()
    session.close()
    engine.drain()
    journal.flush()
    return actions


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "journal.db")


@given(st.integers(0, 2**32), st.booleans(), st.booleans(), st.text(max_size=20))
def test_a_tick_is_stored_to_the_bit(seed: int, heard: bool, seen: bool, text: str) -> None:
    random = np.random.default_rng(seed)
    perception = Perception(
        audio=(random.integers(-32768, 32768, 3200) / 32768).astype(np.float32) if heard else None,
        frame=random.integers(0, 256, (4, 6, 3), np.uint8) if seen else None,
        text=(TextIn(text, Channel.TYPED),) if text else (),
    )
    speech = random.normal(0, 0.3, 4800).astype(np.float32)
    action = Action(7, Decision.SPEAK, (" a",), (text,), speech, (0.1, 0.9, 0.0, 0.0))
    entry = Entry.of(perception, action)
    again = entry.perception
    assert (again.audio is None) or np.array_equal(again.audio, perception.audio)  # type: ignore[arg-type]
    assert (again.frame is None) or np.array_equal(again.frame, perception.frame)  # type: ignore[arg-type]
    assert again.text == perception.text
    assert entry.did(action)
    assert not entry.did(replace(action, speech=np.nextafter(speech, 1, dtype=np.float32)))
    assert not entry.did(replace(action, decision=Decision.LISTEN))


@pytest.mark.parametrize("model", [EchoModel(), random_model(tiny())], ids=["echo", "network"])
def test_a_stored_session_does_the_same_again_to_the_bit(model: InteractionModel, journal: Journal) -> None:
    record(model, journal, "sess_a", talk(1, 25, model.spec.frame_size))
    engine = Engine(model, slots=1, clock=VirtualClock())
    assert list(compare(engine, journal, "sess_a")) == [(tick, True) for tick in range(25)]


def test_rebuilt_at_any_tick_it_goes_on_as_it_did(journal: Journal) -> None:
    perceptions = talk(2, 25, (4, 6))
    expected = record(EchoModel(), journal, "sess_a", perceptions)
    engine = Engine(EchoModel(), slots=2)
    engine.start()
    try:
        for until in (0, 3, 5, 8, 9, 10, 19, 23):
            tick, state = rebuild(engine, journal, "sess_a", until)
            assert tick == until
            actions: list[Action] = []
            done = threading.Event()

            def listen(action: Action, actions: list[Action] = actions, done: threading.Event = done) -> bool:
                actions.append(action)
                if action.tick == 24:
                    done.set()
                return True

            session = engine.open(pace=Pace.DRIVEN, listener=listen, restore=state)
            for perception in perceptions[until + 1 :]:
                session.push(perception)
            assert done.wait(5)
            session.close()
            assert [a.say for a in actions] == [a.say for a in expected[until + 1 :]]
            assert [a.tick for a in actions] == list(range(until + 1, 25))
    finally:
        engine.close()


def test_what_is_taken_out_is_in_its_place(journal: Journal) -> None:
    actions = record(EchoModel(), journal, "sess_a", talk(3, 10, (4, 6)))
    stored = journal.session("sess_a")
    sound = b"".join(stereo(journal, stored))
    assert struct.unpack("<I", sound[40:44])[0] == len(sound) - 44 == 10 * 4800 * 4
    both = np.frombuffer(sound[44:], "<i2").reshape(10, 4800, 2)
    for action, tick in zip(actions, both, strict=True):
        said = np.zeros(4800, np.float32) if action.speech is None else action.speech
        assert tick[:, 1].tobytes() == pcm16(said)
    assert next(events(journal, stored)).text == "be kind"
    assert "".join(captions(journal, stored)).startswith("WEBVTT\n\n00:00:00.000 --> ")


def test_captions_of_a_fork_go_with_its_recording(journal: Journal) -> None:
    journal.begin("sess_f", START, "echo", "sess_a", 50, None)
    quiet = Perception(np.zeros(3200, np.float32))
    for tick in (50, 51):
        journal.append("sess_f", quiet, Action(tick, Decision.LISTEN, hear=(" oh",)), None, lambda: None)
    journal.flush()
    stored = journal.session("sess_f")
    assert len(b"".join(stereo(journal, stored))) == 44 + 2 * 4800 * 4
    assert "00:00:00.000 --> 00:00:00.400" in "".join(captions(journal, stored))


def test_sessions_are_listed_shown_replayed_exported_and_deleted(
    journal: Journal, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record(EchoModel(), journal, "sess_a", talk(4, 10, (4, 6)))
    journal.end("sess_a", "close_requested")
    journal.flush()
    file = ["--journal", str(journal.path)]
    assert main(["sessions", "list", *file]) == 0
    assert "sess_a" in capsys.readouterr().out
    assert main(["sessions", "show", "sess_a", *file]) == 0
    out = tmp_path / "a.jsonl"
    assert main(["sessions", "export", "sess_a", "--out", str(out), *file]) == 0
    assert json.loads(out.read_text().splitlines()[0])["id"] == "sess_a"
    assert main(["replay", "sess_b", *file]) == 2
    assert main(["sessions", "delete", "sess_a", *file]) == 0
    assert journal.sessions() == []


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["list", "sess_a"], "sessions list takes no ID"),
        (["list", "--package", "1"], "--package is for sessions show"),
        (["show", "sess_a", "--out", "a.vtt"], "--out is for sessions export"),
        (["delete", "sess_a", "--out", "a.wav"], "--out is for sessions export"),
    ],
)
def test_an_option_that_means_nothing_is_refused(
    argv: list[str], says: str, journal: Journal, capsys: pytest.CaptureFixture[str]
) -> None:
    record(EchoModel(), journal, "sess_a", talk(4, 2, (4, 6)))
    assert main(["sessions", *argv, "--journal", str(journal.path)]) == 2
    assert says in capsys.readouterr().err
    assert journal.sessions()


def test_what_was_delegated_is_kept_with_its_package_and_shown(
    journal: Journal, capsys: pytest.CaptureFixture[str]
) -> None:
    class Worker:
        async def work(self, package: ContextPackage, say: Callable[[Piece], None]) -> None:
            if package.earlier:
                await asyncio.Event().wait()
            say(Piece(Kind.FINAL, "it rains"))

    async def main_() -> str:
        engine = Engine(Decided({10: Decision.DELEGATE, 20: Decision.DELEGATE, 21: Decision.CANCEL}), slots=1)
        engine.start()
        lobby = Lobby(engine, journal=journal, background=lambda pace: Background(pace, Worker()))
        talk = await lobby.begin(Start(pace=Pace.DRIVEN, store=True, responses=True))
        talk.session.push_text("rain", Channel.TYPED)
        for _ in range(30):
            await talk.push_audio(np.zeros(3200, np.float32))
            assert await talk.next_beat()
        talk.close("close_requested")
        engine.close()
        return talk.id

    id = asyncio.run(main_())
    journal.flush()
    done, cancelled = journal.delegations(id)
    assert (done.state, *done.results) == (State.DONE, "it rains")
    assert "rain" in [line.text for line in done.package.transcript]
    assert cancelled.state is State.CANCELLED
    file = ["--journal", str(journal.path)]
    assert main(["sessions", "show", id, *file]) == 0
    assert f"1. {done.id} done: {done.package.asked()} -> it rains" in capsys.readouterr().out
    assert main(["sessions", "show", id, "--package", "2", *file]) == 0
    package = json.loads(capsys.readouterr().out)
    assert (package["delegation"], package["earlier"][0]["state"]) == (cancelled.id, "done")
    assert main(["sessions", "show", id, "--package", "3", *file]) == 2
    assert "--package 3: 2 were sent" in capsys.readouterr().err
    journal.delete(id)
    journal.flush()
    assert journal.delegations(id) == []


def test_what_is_too_old_is_forgotten(journal: Journal) -> None:
    record(EchoModel(), journal, "sess_a", talk(5, 3, (4, 6)))
    journal.forget(days=1)
    assert len(journal.sessions()) == 1
    journal.forget(days=-1)
    journal.flush()
    assert journal.sessions() == []
    assert list(journal.entries("sess_a")) == []
    journal.close()
    assert b"be kind" not in journal.path.read_bytes()


def test_of_a_session_that_is_deleted_while_it_goes_on_nothing_is_kept(journal: Journal) -> None:
    record(EchoModel(), journal, "sess_a", talk(5, 3, (4, 6)))
    other = Journal(journal.path)
    other.delete("sess_a")
    other.close()
    journal.append("sess_a", Perception(), Action(9, Decision.LISTEN), b"state", lambda: None)
    journal.add("sess_a", Added(9))
    journal.flush()
    for table in TABLES:
        assert not [*journal._read(f"SELECT session FROM {table}")]


SERVER = """
import sys
from pathlib import Path
from serving import served
with served(journal=Path(sys.argv[1])) as server:
    print(server.port, flush=True)
    sys.stdin.read()
"""


def start_server(path: Path) -> tuple[subprocess.Popen[str], str]:
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent)}
    command = [sys.executable, "-c", SERVER, str(path)]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    )
    assert process.stdout is not None
    return process, f"ws://127.0.0.1:{process.stdout.readline().strip()}/v1/live/sessions"


def test_a_killed_server_has_every_acknowledged_tick_and_goes_on_from_there(tmp_path: Path) -> None:
    path, config = tmp_path / "journal.db", {"model": "echo", "store": True, "microturn": {"ticks": True}}
    process, url = start_server(path)
    with connect(url) as socket:
        socket.send(json.dumps({"type": "session.start", "session": config}))
        last, id = -1, ""
        while last < 6:
            event = json.loads(socket.recv(10))
            id = event["session"]["id"] if event["type"] == "session.started" else id
            last = event["tick"] if event["type"] == "session.tick" else last
        process.send_signal(signal.SIGKILL)
        process.wait()
    stored = [tick for tick, _ in Journal(path).entries(id)]
    assert stored[: last + 1] == list(range(last + 1))
    process, url = start_server(path)
    with connect(f"{url}?session_id={id}") as socket:
        seen: list[int] = []
        while len(seen) < 3:
            event = json.loads(socket.recv(10))
            assert event["type"] != "error", event
            if event["type"] == "session.output_transcript.delta":
                seen.append(event["start_ms"])
        socket.send(json.dumps({"type": "session.close"}))
        while json.loads(socket.recv(10))["type"] != "session.closed":
            pass
    process.kill()
    process.wait()
    journal = Journal(path)
    assert min(seen) > 200 * last
    ticks = [tick for tick, _ in journal.entries(id)]
    assert ticks[: len(stored) + 1] == list(range(len(stored) + 1))
    assert all(same for _, same in compare(Engine(EchoModel(), slots=1, clock=VirtualClock()), journal, id))


def test_while_the_disk_is_full_stored_sessions_stand_still_and_nothing_is_lost(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    usual = resource.getrlimit(resource.RLIMIT_FSIZE)
    with served(journal=path) as server, connect(f"{server.ws}/v1/live/sessions") as socket:
        ready = f"{server.http}/readyz"
        socket.send(json.dumps({"type": "session.start", "session": {"model": "echo", "store": True}}))
        id = json.loads(socket.recv())["session"]["id"]
        written = max(file.stat().st_size for file in tmp_path.iterdir())
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (written, usual[1]))  # no file may grow beyond it
            until(lambda: httpx2.get(ready).status_code == 503)
            assert httpx2.get(ready).json()["status"] == "busy"
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, usual)
        until(lambda: httpx2.get(ready).status_code == 200)
        heard = 0
        while heard < 5:
            heard += json.loads(socket.recv())["type"] == "session.output_audio.delta"
        socket.send(json.dumps({"type": "session.close"}))
        while json.loads(socket.recv())["type"] != "session.closed":
            pass
    journal = Journal(path)
    ticks = [tick for tick, _ in journal.entries(id)]
    journal.close()
    assert ticks == list(range(len(ticks)))
    assert len(ticks) >= 5


def test_work_that_was_open_when_the_server_went_is_begun_anew(journal: Journal) -> None:
    began: list[str] = []

    class Worker:
        async def work(self, package: ContextPackage, say: Callable[[Piece], None]) -> None:
            began.append(package.delegation)
            await asyncio.Event().wait()

    async def main_() -> None:
        id = ""
        for turn in range(2):
            engine = Engine(Decided({10: Decision.DELEGATE} if turn == 0 else {}), slots=2)
            engine.start()
            lobby = Lobby(engine, journal=journal, background=lambda pace: Background(pace, Worker()))
            if turn == 0:
                talk = await lobby.begin(Start(pace=Pace.DRIVEN, store=True, responses=True))
                id = talk.id
            else:
                talk = await lobby.resume(id, ANYBODY)
                assert [d.id for d in talk.background.open] == began[:1]
            for _ in range(15):
                await talk.push_audio(np.zeros(3200, np.float32))
                assert await talk.next_beat()
            journal.flush()
            engine.close()  # without a word to the conversation

    asyncio.run(main_())
    assert began == ["dlg_10", "dlg_10"]


def test_what_a_client_gave_to_the_background_model_is_there_after_a_crash_and_in_a_fork(
    journal: Journal,
) -> None:
    weather, told = Function("weather", "", {"type": "object"}), Event("read", 0, channel=Channel.TYPED)

    async def main_() -> None:
        id = ""
        for turn in range(3):
            engine = Engine(EchoModel(), slots=2)
            engine.start()
            lobby = Lobby(
                engine, journal=journal, background=lambda pace: Background(pace, functions=Functions())
            )
            if turn == 0:
                talk = await lobby.begin(Start(pace=Pace.DRIVEN, store=True, responses=True))
                id = talk.id
            else:
                talk = await (lobby.resume(id, ANYBODY) if turn == 1 else lobby.fork(id, ANYBODY, 1000))
                lines = [
                    (line.start_ms, line.text) for line in talk.background.recent.lines if line.who == "typed"
                ]
                assert lines == [(800, "warm"), (1600, "cold")][: 3 - turn]
                assert talk.background.functions is not None
                assert talk.background.functions.offered == (weather,)
            for tick in range(10):
                if turn == 0 and tick in (5, 9):
                    talk.add(replace(told, text="warm" if tick == 5 else "cold"))
                    talk.add(functions=(weather,))
                await talk.push_audio(np.zeros(3200, np.float32))
                assert await talk.next_beat()
            await asyncio.to_thread(journal.flush)
            engine.close()  # without a word to the conversation

    asyncio.run(main_())


def test_words_that_were_not_played_are_not_in_the_package() -> None:
    """The listener plays 400 ms late: what the model said last is not there yet, and is never if it yields."""

    async def main_() -> None:
        engine = Engine(Decided(dict.fromkeys(range(12), Decision.SPEAK)), slots=1)
        engine.start()
        talk = await Lobby(engine).begin(Start(pace=Pace.DRIVEN))
        words: list[str] = []
        for tick in range(16):
            await talk.push_audio(np.full(3200, 0.1, np.float32))
            beat = await talk.next_beat()
            assert beat
            words.append(beat.text("say"))
            if tick == 5:
                talk.played(talk.now_ms - 400)
        said = "".join(line.text for line in talk.background.recent.lines if line.who == "model")
        assert words[11]
        assert said.split() == "".join(words[:11]).split()
        engine.close()

    asyncio.run(main_())


def test_what_was_acknowledged_and_not_read_yet_is_read_after_a_crash(journal: Journal) -> None:
    long = TextIn("one two three four five six seven eight nine ten " * 4, Channel.TYPED)
    typed, rule = TextIn("again", Channel.TYPED), TextIn("be brief", Channel.INSTRUCTIONS)
    news = [Piece(Kind.COMMENTARY, "the train is late"), Piece(Kind.COMMENTARY, "it leaves at nine")]
    news += [Piece(Kind.THINKING, "still looking")] * 2

    id, read = "", list[str]()

    async def hold(engine: Engine, ticks: int) -> None:
        nonlocal id
        lobby = Lobby(engine, journal=journal)
        if id:
            talk = await lobby.resume(id, ANYBODY)
            assert talk.muted
        else:
            talk = await lobby.begin(Start(pace=Pace.DRIVEN, store=True))
            id = talk.id
            await talk.mute(True)
            for text in (long, typed, rule):
                await talk.write(text)
        for k in range(ticks):
            if ticks == 3:
                for piece in (news[:1], news[1:], ())[k]:
                    await talk.append(piece)
            await talk.push_audio(np.zeros(3200, np.float32))
            beat = await talk.next_beat()
            assert beat
            read.extend(text.text for text in beat.perception.text)

    for ticks in (3, 20, 200):
        engine = Engine(EchoModel(), slots=2)
        engine.start()
        asyncio.run(hold(engine, ticks))  # and the loop is gone: nobody can say good-bye
        engine.close()
        assert ticks != 3 or read == [long.text]
    lines = [piece.line for piece in news]
    assert sorted(read) == sorted([long.text, typed.text, rule.text, *lines])

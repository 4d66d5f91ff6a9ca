"""A Live session whose connection is lost, and what whoever comes back is told."""

from __future__ import annotations

import asyncio
import base64
import json
import socket
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed, ConnectionClosedOK, InvalidStatus
from websockets.sync.client import connect

from actor_model import Actor
from microturn.background import Background, Kind, Piece
from microturn.server.lobby import Limits
from microturn.streams import Decision
from serving import Client, Scripted, opened, served

PHONE = {"type": "audio/pcmu", "rate": 8000}


def test_a_lost_connection_comes_back_to_the_same_conversation() -> None:
    with served() as server:
        with opened(server, audio={"format": PHONE}) as (client, started):
            id = started["session"]["id"]
            while client.next("session.input_transcript.delta")["end_ms"] < 600:
                pass
            client.socket.socket.shutdown(socket.SHUT_RDWR)
        with connect(f"{server.ws}/v1/live/sessions?session_id={id}&after_ms=400") as again:
            client = Client(again)
            started = client.next("session.started", "error")
            assert started["session"]["id"] == id
            assert started["session"]["audio"]["format"] == PHONE
            assert client.next("session.input_transcript.delta")["start_ms"] >= 400
            assert len(base64.b64decode(client.next("session.output_audio.delta")["delta"])) == 1600
            assert len(server.lobby.open) == 1


def test_what_was_asked_for_at_the_start_holds_for_whoever_comes_back() -> None:
    with served() as server:
        with opened(server, microturn={"ticks": True}) as (client, started):
            client.next("session.tick")
            client.socket.socket.shutdown(socket.SHUT_RDWR)
        with connect(f"{server.ws}/v1/live/sessions?session_id={started['session']['id']}") as line:
            again = Client(line)
            sounds = iter(lambda: again.next("session.output_audio.delta", "session.tick")["type"], None)
            assert "session.tick" in [next(sounds) for _ in range(3)]


@pytest.mark.parametrize("asked", [True, False])
def test_whoever_comes_back_may_ask_for_ticks_or_for_none(asked: bool) -> None:
    with served() as server:
        with opened(server, microturn={"ticks": asked}) as (client, started):
            id = started["session"]["id"]
            client.next("session.output_audio.delta")
            client.socket.socket.shutdown(socket.SHUT_RDWR)
        for query, ticks in (("", asked), ("&ticks=0", False), ("&ticks=true", True), ("&ticks=false", False),
                             ("&ticks=1", True)):  # fmt: skip
            with connect(f"{server.ws}/v1/live/sessions?session_id={id}{query}") as line:
                again = Client(line)
                told = [again.next("session.output_audio.delta", "session.tick")["type"] for _ in range(3)]
                assert ("session.tick" in told) is ticks
                line.close(1011)


@pytest.mark.parametrize("wrong", ["ticks=", "ticks=2", "ticks=yes", "packages=True"])
def test_what_is_neither_yes_nor_no_is_refused_by_name(wrong: str) -> None:
    with served() as server, opened(server) as (client, started):
        with connect(f"{server.ws}/v1/live/sessions?session_id={started['session']['id']}&{wrong}") as line:
            error = Client(line).next("session.started", "error")["error"]
            assert (error["code"], error["param"]) == ("invalid_value", wrong.partition("=")[0])
        assert client.next("session.output_audio.delta")  # nobody took its place


def test_a_sideband_is_closed_in_order_whether_it_asks_for_that_or_not() -> None:
    with served() as server, opened(server) as (client, started):
        where = f"{server.ws}/v1/live/sessions/{started['session']['id']}/attach"
        for wrong in ("", "2", "maybe"):
            with pytest.raises(InvalidStatus) as refused, connect(f"{where}?graceful_close={wrong}"):
                pass
            error = json.loads(refused.value.response.body)["error"]
            assert (refused.value.response.status_code, error["param"]) == (400, "graceful_close")
        with ExitStack() as stack:
            queries = ("", "?graceful_close=true", "?graceful_close=false")
            lines = [stack.enter_context(connect(where + query)) for query in queries]
            client.send("session.close")
            for line in lines:
                Client(line).next("session.closed")
                with pytest.raises(ConnectionClosedOK):
                    line.recv(5)


def test_a_new_connection_takes_the_place_of_one_that_does_not_know_it_is_lost() -> None:
    with served() as server, opened(server) as (old, started):
        id = started["session"]["id"]
        with connect(f"{server.ws}/v1/live/sessions?session_id={id}") as new:
            with pytest.raises(ConnectionClosed, match="another connection took over"):
                old.next("never")
            assert Client(new).next("session.output_audio.delta")


def test_a_connection_that_does_not_come_back_is_let_go() -> None:
    with served(limits=Limits(grace_s=0.1)) as server, opened(server) as (client, _):
        client.socket.socket.shutdown(socket.SHUT_RDWR)
        while server.lobby.open or server.engine.stats().sessions:
            pass


def test_what_was_said_is_still_known_after_a_restart_and_in_a_fork(tmp_path: Path) -> None:
    path, sessions = tmp_path / "journal.db", "/v1/live/sessions"
    with (
        served(Scripted({4: Decision.DELEGATE}), journal=path) as server,
        opened(server, store=True) as (client, started),
    ):
        id = started["session"]["id"]
        client.send("session.input_text.append", text="hello")
        assert client.next("session.delegation.created")["offset_ms"] == 1000
        client.socket.socket.shutdown(socket.SHUT_RDWR)
    again = Scripted(dict.fromkeys(range(6, 99, 2), Decision.DELEGATE))
    with served(again, journal=path) as server:
        for where in (f"?session_id={id}", f"/{id}/fork?at_ms=1000"):
            with connect(f"{server.ws}{sessions}{where}") as line:
                client = Client(line)
                if "fork" in where:
                    client.send("session.start", session={})
                talk = server.lobby.open[client.next("session.started")["session"]["id"]]
                assert talk.now_ms >= 1000
                assert "hello" in [said.text for said in talk.background.recent.lines if said.who == "typed"]
                assert client.next("session.delegation.created")["delegation"]["id"] not in ("dlg_0", "dlg_4")
                assert (talk.seconds > 1.0) is ("fork" not in where)


def test_work_that_was_handed_over_meanwhile_is_told_whoever_comes_back() -> None:
    """And that what is older than what is kept is gone."""
    with served(Scripted({6: Decision.DELEGATE})) as server:
        with opened(server) as (client, started):
            id = started["session"]["id"]
            client.next("session.output_audio.delta")
            talk = server.lobby.open[id]
            while talk.now_ms < 6600:  # it is read from all the while, by nobody who could tell
                client.socket.recv()
            client.socket.socket.shutdown(socket.SHUT_RDWR)
        for after, gap in (("800", True), ("6000", False)):
            with connect(f"{server.ws}/v1/live/sessions?session_id={id}&after_ms={after}") as line:
                again = Client(line)
                again.next("session.started")
                first = again.next("info", "session.delegation.created", "session.output_audio.delta")
                assert (first["type"] == "info") is gap
                if gap:
                    assert first["code"] == "gap"
                    assert again.next("session.delegation.created")["offset_ms"] == 1400
                line.close(1011)


def test_work_that_was_handed_over_before_a_restart_is_told_after_it(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    with (
        served(Scripted({6: Decision.DELEGATE}), journal=path) as server,
        opened(server, store=True) as (client, started),
    ):
        handed = client.next("session.delegation.created")
        client.socket.socket.shutdown(socket.SHUT_RDWR)
    id = started["session"]["id"]
    with served(journal=path) as server:
        for after, again in ((handed["offset_ms"] - 200, True), (handed["offset_ms"], False)):
            with connect(f"{server.ws}/v1/live/sessions?session_id={id}&after_ms={after}") as line:
                told = Client(line).next("session.delegation.created", "session.output_audio.delta")
                assert (told.get("delegation") == handed["delegation"]) is again
                line.close(1011)


class Talkative:
    """Works when its client is gone, and says much."""

    def __init__(self, steps: int) -> None:
        self.steps, self.alone = [f"step {n}" for n in range(steps)], threading.Event()

    async def work(self, package: object, say: Callable[[Piece], None]) -> None:
        await asyncio.to_thread(self.alone.wait)
        for step in self.steps:
            say(Piece(Kind.THINKING, step))
        say(Piece(Kind.FINAL, "it is noon"))


@pytest.mark.parametrize(("steps", "gap"), [(40, False), (200, True)])
def test_of_work_that_says_much_meanwhile_nothing_is_lost_without_a_word(steps: int, gap: bool) -> None:
    worker = Talkative(steps)
    with served(Scripted({3: Decision.DELEGATE}), background=lambda pace: Background(pace, worker)) as server:
        with opened(server, delegation={"type": "responses"}) as (client, started):
            id = started["session"]["id"]
            while client.next("session.input_transcript.delta")["end_ms"] < 600:
                pass
            talk = server.lobby.open[id]
            client.next("session.delegation.created")
            client.socket.socket.shutdown(socket.SHUT_RDWR)
        while talk.connected:
            time.sleep(0.01)
        worker.alone.set()
        while talk.background.open:
            time.sleep(0.01)
        with connect(f"{server.ws}/v1/live/sessions?session_id={id}&after_ms=400") as line:
            told = Client(line).until(
                lambda event: event.get("event", {}).get("type") == "response.completed"
            )
    assert ("gap" in [event.get("code") for event in told]) is gap
    said = [event["event"]["delta"] for event in told if "delta" in event.get("event", {})]
    whole = [*worker.steps, "it is noon"]
    assert said == whole[-len(said) :]
    assert gap or said == whole
    assert gap or "session.delegation.created" in [event["type"] for event in told]


def test_a_session_of_another_model_is_not_come_back_to_nor_forked(tmp_path: Path) -> None:
    """However short it was."""
    path = tmp_path / "journal.db"
    with served(journal=path) as server, opened(server, store=True) as (client, started):
        client.next("session.output_audio.delta")
        client.socket.socket.shutdown(socket.SHUT_RDWR)
    id = started["session"]["id"]
    with served(Actor(), journal=path) as server:
        for where in (f"?session_id={id}", f"/{id}/fork"):
            with connect(f"{server.ws}/v1/live/sessions{where}") as line:
                client = Client(line)
                if "fork" in where:
                    client.send("session.start", session={})
                refused = client.next("session.started", "error")
                assert "was held with echo, this is actor" in refused.get("error", {}).get("message", "")
        assert not server.lobby.open


def test_a_stored_session_can_be_come_back_to_after_its_grace(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    with served(limits=Limits(grace_s=0.1), journal=path) as server:
        with opened(server, store=True) as (client, started):
            id = started["session"]["id"]
            client.next("session.output_audio.delta")
            client.socket.socket.shutdown(socket.SHUT_RDWR)
        while server.lobby.open:
            time.sleep(0.05)
        with connect(f"{server.ws}/v1/live/sessions?session_id={id}") as line:
            assert Client(line).next("session.started", "error")["session"]["id"] == id


def test_a_second_loss_is_waited_for_as_long_as_the_first() -> None:
    with served(limits=Limits(grace_s=1.0)) as server, opened(server) as (client, started):
        client.socket.socket.shutdown(socket.SHUT_RDWR)
        time.sleep(0.6)
        with connect(f"{server.ws}/v1/live/sessions?session_id={started['session']['id']}") as again:
            assert Client(again).next("session.started")
            again.socket.shutdown(socket.SHUT_RDWR)
        time.sleep(0.7)
        assert server.lobby.open
        while server.lobby.open:
            pass


def test_who_hangs_up_ends_the_conversation() -> None:
    with served() as server:
        with opened(server):
            pass
        while server.lobby.open or server.engine.stats().sessions:
            pass

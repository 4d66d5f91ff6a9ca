"""The Live dialect as pure data: what is read, what is refused and how, and what nonsense does to both dialects.

`MICROTURN_FUZZ` is the number of hostile messages (default 300), half of them to each dialect.
"""

from __future__ import annotations

import json
import os
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event, Thread
from typing import Any, get_args
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import Request, urlopen

import openai.types.live as official
import pytest
from openai._models import validate_type
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from microturn.server import live_events as wire
from microturn.server.access import MESSAGE
from microturn.server.live_events import LiveError, encode, parse
from microturn.server.sound import RATES
from serving import Served, served

FUZZ = int(os.environ.get("MICROTURN_FUZZ", "300"))
NAMES = ("rate", "pace", "instructions", "eagerness", "voice", "x", "at_ms")  # of parameters
WELCOME = 450  # messages a second: those beyond 500 wait, and an answer to a ping behind them


def code_of(message: str) -> str | None:
    try:
        parse(message)
    except LiveError as error:
        return error.code
    return None


def refused(message: str) -> LiveError:
    with pytest.raises(LiveError) as caught:
        parse(message)
    return caught.value


@pytest.mark.parametrize(
    ("message", "code", "param"),
    [
        ("nonsense", "invalid_json", None),
        ("[]", "invalid_json", None),
        ("{}", "missing_parameter", "type"),
        ('{"type": "session.dance"}', "unknown_event", "type"),
        ('{"type": "session.start"}', "missing_parameter", "session"),
        ('{"type": "session.start", "session": {"voice": 1}}', "unknown_parameter", "session.voice"),
        ('{"type": "session.start", "session": {"model": 1}}', "invalid_value", "session.model"),
        ('{"type": "session.input_audio.append", "audio": "!"}', "invalid_value", "audio"),
        ('{"type": "session.output_audio.fixture.play", "audio": ""}', "unsupported_event", "type"),
        ("[" * 100_000, "invalid_json", None),
    ],
)
def test_what_is_wrong_is_named(message: str, code: str, param: str | None) -> None:
    error = refused(message)
    assert (error.code, error.param) == (code, param)
    assert "\n" not in str(error)


def test_an_error_names_the_event_that_it_answers() -> None:
    told = json.loads(encode(refused('{"type": "no", "event_id": "e7"}').event()))
    assert told["client_event_id"] == told["error"]["client_event_id"] == "e7"


def test_every_event_of_the_api_is_known_or_refused_by_name() -> None:
    for event in get_args(get_args(official.ClientEvent)[0]):
        kind = event.model_fields["type"].annotation.__args__[0]
        assert code_of(json.dumps({"type": kind})) in (None, "missing_parameter", "unsupported_event"), kind


def test_what_is_sent_is_what_the_api_says() -> None:
    """Every event of ours that the API has is valid by its own types, field by field."""
    resource = wire.Resource(id="sess_1", expires_at=1, model="nano", status="active", instructions="be kind")
    info = wire.DelegationInfo("dlg_1", "client")
    times: dict[str, Any] = {"start_ms": 200, "end_ms": 400}
    events: list[Any] = [
        LiveError("code", "what", "param").event(),
        wire.Info(code="voice", message="one"),
        wire.Info(code="delegation_cancelled", message="dlg_1 was taken back", delegation_id="dlg_1"),
        wire.SessionStarted(session=resource),
        wire.SessionUpdated(session=resource),
        wire.SessionClosed(reason="expired", session=resource, usage=wire.Usage(1.0)),
        wire.UsageUpdated(usage=wire.Usage(1.0)),
        wire.Muted(),
        wire.Unmuted(client_event_id="mine"),
        *(
            kind(**times)
            for kind in (wire.InstructionsAppended, wire.ThinkingAppended, wire.CommentaryAppended)
        ),
        wire.InputTranscript(delta="a", **times),
        wire.OutputTranscript(delta="a", **times),
        wire.OutputAudio(b"1"),
        wire.InputAudio(b"1"),
        wire.DelegationCreated(delegation=info, offset_ms=200),
        wire.ResponseEvent(event={"type": "response.created"}, delegation_id="dlg_1"),
    ]
    for event in events:
        told = json.loads(encode(event))
        read: Any = validate_type(type_=official.ServerEvent, value=told)  # type: ignore[arg-type]
        assert read.type == told["type"]
        assert json.loads(read.to_json(exclude_unset=True)) == told


GARBAGE: tuple[Any, ...] = (
    *(
        None,
        True,
        -1,
        0.5,
        1e308,
        2**70,
        "",
        "\0",
        "x" * 5000,
        "AAAA",
        "\ud800",
        "audio/pcm",
        "all",
        "session.start",
    ),
    *([], {}, [[]], [{}], {"type": "x"}, [None] * 200, {"type": "function"}),
)
WHOLE: dict[str, Any] = {  # every field that a session may have
    "model": "echo",
    "type": "live",
    "audio": {"format": {"type": "audio/pcm", "rate": 24_000}, "output": {"voice": "x"}},
    "client": {"data_channel": {"allowed_client_events": ["session.close"],
                                "allowed_server_events": [{"type": "response.event", "response_event": "x"}]}},
    "delegation": {"type": "responses", "acknowledgement_delay_ms": 0, "decisions": {},
                   "responses": {"model": "x", "tools": [{"type": "function", "name": "f", "parameters": {}}]}},
    "input": [{"role": "user", "content": [{"type": "input_text", "text": "hi"}]}],
    "instructions": "be kind",
    "safety_identifier": "x",
    "store": True,
    "triggers": [],
    "microturn": {"ticks": True, "packages": True, "eagerness": 0.0},
}  # fmt: skip


def mangled(whole: Any, chance: random.Random) -> Any:
    """A copy in which one thing, however deep, is missing, renamed or garbage."""
    if not isinstance(whole, dict | list) or not whole or chance.random() < 0.2:
        return chance.choice(GARBAGE)
    if isinstance(whole, list):
        return [mangled(whole[0], chance), *whole[1:]]
    name = chance.choice(list(whole))
    rest = {other: value for other, value in whole.items() if other != name}
    return chance.choice(
        (rest, rest | {"x": whole[name]}, *[rest | {name: mangled(whole[name], chance)}] * 6)
    )


def part(chance: random.Random) -> Any:
    """Some fields of a session, one of them wrong as a rule."""
    names = chance.sample(list(WHOLE), chance.randint(0, 3))
    some = {"model": "echo"} | {name: WHOLE[name] for name in names}
    return mangled(some, chance) if chance.random() < 0.9 else some


def hostile(chance: random.Random) -> str:
    """Events that are nearly right, cut, repeated, or filled with what does not belong there."""
    kinds = [*sorted(wire.CLIENT_EVENTS - {"session.close"}), "x"]
    names = ["session", "audio", "content", "delegation_id", "image", "format", "width", "height", "text",
             "end_ms", "event_id", "item", "model"]  # fmt: skip
    event: dict[str, object] = {"type": chance.choice(kinds)}
    for name in chance.sample(names, chance.randint(0, 4)):
        event[name] = chance.choice(GARBAGE)
    if event["type"] in ("session.start", "session.update") and chance.random() < 0.8:
        event = {"type": event["type"], "session": part(chance)}
    text = json.dumps(event)
    return text if chance.random() < 0.8 else text[: chance.randrange(len(text))]


@contextmanager
def neighbour(server: Served) -> Iterator[Counter[str]]:
    """Somebody who talks all the while, and must be answered as if alone, to the bit."""
    sound = random.Random(1).randbytes(20 * 6400)
    counts, over = Counter[str](), Event()

    def talk() -> list[bytes]:
        with connect(f"{server.ws}/v1/echo/duplex?pace=driven&rate=16000") as line:
            line.send(sound)
            return [bytes(line.recv(30)) for _ in range(20)]  # type: ignore[arg-type]

    def go_on() -> None:
        while not over.is_set():
            counts["same" if talk() == alone else "other"] += 1

    alone = talk()
    thread = Thread(target=go_on)
    thread.start()
    try:
        yield counts
    finally:
        over.set()
        thread.join()
    assert counts["same"]
    assert not counts["other"]


@pytest.fixture
def unpoisoned(monkeypatch: pytest.MonkeyPatch) -> None:
    """In so much noise the sample at which the model fails on purpose would come by chance."""
    monkeypatch.setattr("echo_model.POISON", 2.0)


def paced(send: Callable[[], None], count: int, counts: Counter[str]) -> None:
    """Sends until so many have been sent in all."""
    began, before = time.monotonic(), counts["sent"]
    while counts["sent"] < count:
        time.sleep(max(0.0, began + (counts["sent"] - before) / WELCOME - time.monotonic()))
        send()
        counts["sent"] += 1


def to_live(server: Served, count: int, chance: random.Random) -> Counter[str]:
    """One session takes them all, answers what is wrong, and goes on."""
    counts = Counter[str]()
    with connect(f"{server.ws}/v1/live/sessions") as socket:
        socket.send(json.dumps({"type": "session.start", "session": {"model": "echo"}}))

        def listen() -> None:  # whoever reads nothing is let go
            while not counts["session.closed"]:
                counts[json.loads(socket.recv(20))["type"]] += 1

        listener = Thread(target=listen)
        listener.start()
        paced(lambda: socket.send(hostile(chance)), count, counts)
        before = counts["session.output_audio.delta"]
        while counts["session.output_audio.delta"] == before:
            assert listener.is_alive(), "the conversation has ended"
            time.sleep(0.01)
        socket.send('{"type": "session.close", "event_id": "last"}')
        listener.join(20)
    assert counts["session.closed"] == 1
    assert counts["error"] > count / 2
    return counts


def noise(chance: random.Random) -> str | bytes:
    """For a duplex socket: bytes of any length, and now and then what ends the session."""
    if chance.random() < 0.03:
        return chance.choice((hostile(chance), b"", chance.randbytes(600_000), bytes(MESSAGE + 1)))
    return chance.randbytes(chance.choice((1, 3, 640, 6399, 9600, chance.randrange(20_000))))


def to_duplex(server: Served, count: int, chance: random.Random) -> Counter[str]:
    """One session after the other: each is answered until it is closed with a code that says why."""
    counts = Counter[str]()

    def send() -> None:
        socket.send(noise(chance))
        with suppress(TimeoutError):
            while socket.recv(0):
                counts["answers"] += 1

    while counts["sent"] < count:
        query = {"rate": chance.choice(RATES), "pace": chance.choice(("live", "driven"))}
        try:
            with connect(f"{server.ws}/v1/echo/duplex?{urlencode(query)}", max_queue=None) as socket:
                paced(send, count, counts)
        except ConnectionClosed as gone:
            counts[f"closed with {gone.rcvd.code if gone.rcvd else None}"] += 1
        except InvalidStatus as refused:  # those before have not left yet
            counts[f"refused with {refused.response.status_code}"] += 1
            time.sleep(0.01)
    assert counts["answers"] > count / 10
    assert {name for name in counts if " with " in name} <= {
        *("closed with 1000", "closed with 1003", "closed with 1008", "closed with 1009", "refused with 503")
    }
    return counts


@pytest.mark.soak
@pytest.mark.usefixtures("unpoisoned")
def test_hostile_messages_of_both_dialects_are_answered_and_conversations_go_on(tmp_path: Path) -> None:
    """Half of them each."""
    with served(journal=tmp_path / "journal.db") as server:
        with neighbour(server) as rounds, ThreadPoolExecutor(2) as both:
            sends = (to_live, to_duplex)
            halves = [
                both.submit(send, server, FUZZ // 2, random.Random(seed)) for seed, send in enumerate(sends)
            ]
            live, duplex = (half.result() for half in halves)
        while server.lobby.open or server.engine.stats().sessions:
            time.sleep(0.01)
        assert server.engine.stats().failed == 0
        assert live["sent"] == duplex["sent"] == FUZZ // 2
        print(f"{FUZZ} messages: live {dict(live)}; duplex {dict(duplex)}; neighbour: {dict(rounds)}")


@pytest.mark.soak
@pytest.mark.usefixtures("unpoisoned")
def test_hostile_beginnings_queries_bodies_and_sound_leave_no_session_behind(tmp_path: Path) -> None:
    chance, counts = random.Random(8), Counter[str]()
    with served(journal=tmp_path / "journal.db") as server, neighbour(server) as rounds:
        for _ in range(FUZZ // 10):
            with connect(f"{server.ws}/v1/live/sessions") as socket:
                socket.send(hostile(chance))
                with suppress(ConnectionClosed, TimeoutError):
                    counts[json.loads(socket.recv(5))["type"]] += 1
            query = {
                name: str(chance.choice(GARBAGE))[:50] for name in chance.sample(NAMES, chance.randint(0, 2))
            }
            query = {name: value.encode(errors="replace").decode() for name, value in query.items()}
            try:
                with connect(f"{server.ws}/v1/echo/duplex?{urlencode(query)}") as socket:
                    for _ in range(chance.randint(0, 5)):
                        socket.send(chance.randbytes(chance.randint(0, 9999)))
                    counts["duplex"] += 1
            except InvalidStatus as refused:
                counts[f"duplex {refused.response.status_code}"] += 1
            except ConnectionClosed:
                counts["duplex closed"] += 1
            body = {"transport": {"type": "webrtc", "sdp": "v=0"}, "session": part(chance)}
            path = chance.choice(
                ("sessions", "sessions/sess_1/fork", "sessions/sess_1/hangup", "client_secrets")
            )
            path = chance.choice((path, f"{path}?{urlencode(query)}"))
            post = Request(f"{server.http}/v1/live/{path}", json.dumps(mangled(body, chance)).encode())
            try:
                answer = urlopen(post)
            except HTTPError as refused:
                answer = refused
            status, told = answer.status, json.loads(answer.read())
            assert status < 500
            assert status < 300 or told["error"]["message"]
            counts[f"POST {status}"] += 1
        while set(server.lobby.open) or server.engine.stats().sessions > 1:
            time.sleep(0.01)
        assert server.engine.stats().failed == 0
        print(f"{FUZZ // 10} beginnings, queries, bodies: {dict(counts)}; neighbour: {dict(rounds)}")

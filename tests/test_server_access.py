"""Who may come in, and what a server tells of itself."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import socket
import ssl
import subprocess
import sys
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

import httpx2
import pytest
from websockets.asyncio.client import connect as async_connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from microturn.cli import main
from microturn.clock import VirtualClock
from microturn.server.access import ANYBODY, Access, Bucket, Denied, Key, digest, new_key, read_keys
from microturn.server.serve import JsonLines, listen
from serving import Client, Served, served

KEYS = (Key("ann", digest("a-secret")), Key("bob", digest("b-secret"), sessions=1, minutes=1.0, starts=2))


def get(server: Served, path: str, **headers: str) -> httpx2.Response:
    return httpx2.get(server.http + path, headers=headers)


def reject(server: Served, **headers: str) -> int:
    with (
        pytest.raises(InvalidStatus) as caught,
        connect(f"{server.ws}/v1/echo/duplex", additional_headers=headers),
    ):
        pass
    return int(caught.value.response.status_code)


def test_without_a_key_nobody_comes_in_when_there_are_keys() -> None:
    with served(access=Access(KEYS)) as server:
        assert get(server, "/v1/models").status_code == 401
        assert get(server, "/v1/models", Authorization="Bearer wrong").status_code == 401
        assert get(server, "/v1/models", Authorization="Bearer a-secret").status_code == 200
        assert get(server, "/metrics").status_code == 401
        assert get(server, "/healthz").status_code == 200
        assert reject(server) == 401
        protocols: Any = ["microturn", "microturn-key.a-secret"]  # what a browser can send
        with connect(f"{server.ws}/v1/echo/duplex", subprotocols=protocols) as socket:
            assert len(socket.recv()) == 9600


def test_a_browser_gets_a_secret_that_does_not_last() -> None:
    clock = VirtualClock()
    access = Access(KEYS, clock=clock)
    with served(access=access) as server:
        post = {"url": f"{server.http}/v1/live/client_secrets", "json": {"expires_after": 30}}
        assert httpx2.post(**post).status_code == 401  # type: ignore[arg-type]
        made = httpx2.post(**post, headers={"Authorization": "Bearer a-secret"}).json()  # type: ignore[arg-type]
        bearer = {"Authorization": f"Bearer {made['value']}"}
        assert get(server, "/v1/models", **bearer).status_code == 200
        refused = httpx2.post(**post, headers=bearer)  # type: ignore[arg-type]
        assert refused.status_code == get(server, "/metrics", **bearer).status_code == 403
        assert "wants the key" in refused.json()["error"]["message"]
        clock.advance(31)
        assert get(server, "/v1/models", **bearer).status_code == 401


def test_pages_of_others_and_names_of_others_are_kept_out() -> None:
    with served(access=Access(origins=["https://friend.example"])) as server:
        assert get(server, "/v1/models", Origin=server.http).status_code == 200
        assert get(server, "/v1/models", Origin="https://friend.example").status_code == 200
        assert get(server, "/v1/models", Origin="https://evil.example").status_code == 403
        assert get(server, "/v1/models", Host="evil.example").status_code == 403
        assert reject(server, Origin="https://evil.example") == 403


def test_sessions_of_one_key_are_not_there_for_another(tmp_path: Path) -> None:
    with served(access=Access(KEYS), journal=tmp_path / "journal.db") as server:
        ann, bob = ({"Authorization": f"Bearer {name}-secret"} for name in "ab")
        with connect(f"{server.ws}/v1/live/sessions", additional_headers=ann) as socket:
            socket.send(json.dumps({"type": "session.start", "session": {"model": "echo", "store": True}}))
            id = json.loads(socket.recv())["session"]["id"]
            assert get(server, f"/v1/live/sessions/{id}/content", **bob).status_code == 404
            assert get(server, f"/v1/live/sessions/{id}/content", **ann).status_code == 200
            url = f"{server.ws}/v1/live/sessions/{id}/attach"
            with pytest.raises(InvalidStatus, match="404"), connect(url, additional_headers=bob):
                pass


def test_a_secret_reaches_the_sessions_that_it_began_and_no_others(tmp_path: Path) -> None:
    def begin(secret: str, where: str = "", **session: Any) -> dict[str, Any]:
        """The server's first event."""
        headers = {"Authorization": f"Bearer {secret}"}
        with connect(f"{server.ws}/v1/live/sessions{where}", additional_headers=headers) as line:
            if "session_id" not in where:
                line.send(json.dumps({"type": "session.start", "session": session}))
            told: dict[str, Any] = json.loads(line.recv())
            with suppress(OSError):  # it was refused and is closed
                line.socket.shutdown(socket.SHUT_RDWR)
        return told

    access = Access(KEYS)
    with served(access=access, journal=tmp_path / "journal.db") as server:
        mine, other = (access.secret(KEYS[0], 60)[0] for _ in range(2))
        id = begin(mine, model="echo", store=True)["session"]["id"]
        for secret, begun in ((mine, True), (other, False), ("a-secret", True)):
            bearer = {"Authorization": f"Bearer {secret}"}
            told = begin(secret, f"?session_id={id}")
            assert (told["type"] == "session.started") is begun, told
            assert get(server, f"/v1/live/sessions/{id}/content", **bearer).is_success is begun
            ended = httpx2.post(f"{server.http}/v1/live/sessions/{id}/hangup", headers=bearer).status_code
            assert ended == (204 if begun else 404)
            assert (begin(secret, f"/{id}/fork")["type"] == "session.started") is (secret == "a-secret")
            with pytest.raises(InvalidStatus, match="404" if secret == "a-secret" else "403"):
                begin(secret, f"/{id}/attach")
            id = begin(mine, model="echo", store=True)["session"]["id"]


def test_a_key_has_limits() -> None:
    clock = VirtualClock()
    access, bob = Access(KEYS, clock=clock), KEYS[1]

    def denied() -> str:
        with pytest.raises(Denied) as caught:
            access.begin(bob)
        assert caught.value.status == 429
        return caught.value.code

    assert access.begin(bob) == 60.0
    assert denied() == "too_many_sessions"
    assert access.spend(bob, 45.0) == 15.0
    access.end(bob)
    assert access.begin(bob) == 15.0
    access.end(bob)
    assert denied() == "rate_limited"
    assert access.spend(bob, 15.0) == 0.0
    clock.advance(61)
    assert denied() == "minutes_used_up"
    clock.advance(86_400)
    assert access.begin(bob) == 60.0
    for _ in range(1000):
        access.begin(ANYBODY)


@pytest.mark.parametrize(
    ("limits", "least", "most"), [({"sessions": 1}, 20, 20), ({"minutes": 1 / 60}, 1, 8)]
)
def test_limits_hold_for_sessions_that_begin_and_go_on_together(
    limits: dict[str, Any], least: int, most: int
) -> None:
    async def ticks(url: str) -> int:
        with suppress(InvalidStatus):
            async with async_connect(url, additional_headers={"Authorization": "Bearer a-secret"}) as line:
                for _ in range(20):
                    await line.send(bytes(9600))
                await line.send(b"")
                return len([tick async for tick in line])
        return 0

    async def talk(url: str) -> int:
        return sum(await asyncio.gather(*(ticks(url) for _ in range(4))))

    with served(access=Access([Key("ann", digest("a-secret"), **limits)])) as server:
        assert least <= asyncio.run(talk(f"{server.ws}/v1/echo/duplex?pace=driven")) <= most
        assert not server.lobby.open


def test_a_bucket_lets_so_much_through_at_once_and_so_much_a_second() -> None:
    clock = VirtualClock()
    bucket = Bucket(rate=2.0, burst=10.0, clock=clock)
    assert bucket.take(10) == 0
    assert bucket.take(1) == pytest.approx(0.5)
    clock.advance(0.5)
    assert bucket.take(1) == 0
    clock.advance(1e6)
    assert bucket.take(11) == float("inf")


def test_keys_are_kept_as_hashes_only(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    value = new_key(file, "ann")
    assert value not in file.read_text()
    assert [key.name for key in read_keys(file)] == ["ann"]
    assert file.stat().st_mode & 0o077 == 0
    with pytest.raises(ValueError, match="name of its own"):
        new_key(file, "ann")
    for wrong, why in (("nonsense", "keys: "), ('{"name": "a", "hash": "b", "message": -1}', r"\$\.message")):
        file.write_text(wrong)
        with pytest.raises(ValueError, match=why):
            read_keys(file)


def test_it_listens_to_other_machines_only_with_keys(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", "--host", "0.0.0.0"]) == 2
    assert "--new-key NAME" in capsys.readouterr().err
    assert main(["serve", "--cert", "a.pem"]) == 2
    for option, value in (("--keep-days", "-1"), ("--grace", "nan")):  # -1 days would forget everything
        assert main(["serve", "--port", "0", option, value]) == 2
        assert "from 0 on" in capsys.readouterr().err
    assert main(["serve", "--keys", "/nowhere/keys"]) == 2


def test_a_port_that_is_taken_is_told_in_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(ValueError, match="--port"):
        listen("127.0.0.1", taken.getsockname()[1])


def test_what_is_large_is_refused() -> None:
    with served() as server:
        assert httpx2.post(f"{server.http}/v1/live/sessions", content=bytes(2 << 20)).status_code == 413
        for size in (2 << 20, 40 << 20):
            line = connect(f"{server.ws}/v1/echo/duplex")
            with pytest.raises(ConnectionClosed, match="1009"), line as socket:  # noqa: PT012
                socket.send(bytes(size))
                while True:
                    socket.recv()


def test_a_key_may_be_held_to_small_messages_and_pictures() -> None:
    def picture(side: int) -> str:
        return base64.b64encode(bytes(3 * side * side)).decode()

    small = Key("eve", digest("e-secret"), message=2000, pictures=200)
    with served(access=Access((*KEYS, small))) as server:
        for who, held in (("a", False), ("e", True)):
            bearer = {"Authorization": f"Bearer {who}-secret"}
            posted = httpx2.post(f"{server.http}/v1/live/sessions", content=b"x" * 2001, headers=bearer)
            assert posted.status_code == (413 if held else 400)
            with connect(f"{server.ws}/v1/echo/duplex", additional_headers=bearer) as line:
                line.send(bytes(2002))
                with pytest.raises(ConnectionClosed, match="1009") if held else nullcontext():
                    for _ in range(3):
                        line.recv()
            with connect(f"{server.ws}/v1/live/sessions", additional_headers=bearer) as line:
                client = Client(line)
                client.send("session.start", session={"model": "echo"})
                client.next("session.started")
                for side in (10, 15, 30):
                    client.send("session.input_video.append", image=picture(side), format="raw",
                                width=side, height=side, event_id=str(side))  # fmt: skip
                line.send(f'{{"type": "session.close", "more": "{"漢" * 660}"}}')  # three bytes each
                client.send("session.close")
                told = [client.next("error", "session.closed") for _ in range(4 if held else 2)]
            errors = [(event["error"]["code"], event.get("client_event_id")) for event in told[:-1]]
            too_much = [("invalid_value", "15"), ("too_large", None), ("too_large", None)]
            assert errors == (too_much if held else [("unknown_parameter", None)])


def test_health_readiness_and_metrics(tmp_path: Path) -> None:
    with served(slots=1, journal=tmp_path / "journal.db") as server:
        assert get(server, "/healthz").json() == {"status": "ok"}
        assert get(server, "/readyz").json() == {"status": "ready", "free": 1}
        with connect(f"{server.ws}/v1/echo/duplex") as socket:
            for _ in range(3):
                socket.recv()
            assert get(server, "/readyz").status_code == 503
            lines = get(server, "/metrics").text.splitlines()
        values = dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
        assert float(values["microturn_sessions"]) == float(values["microturn_slots"]) == 1
        assert float(values["microturn_ticks_total"]) >= 3
        assert float(values["microturn_first_audio_seconds_count"]) == 1
        for name in ("gather", "step", "reaction", "journal_lag"):
            assert f'microturn_{name}_seconds{{quantile="0.99"}}' in values
        for name in (
            "deadline_misses_total",
            "backlog_ticks",
            "delegations_total",
            "yield_seconds_count",
            "busy_total",
        ):
            assert f"microturn_{name}" in values


def test_the_page_comes_with_a_strict_policy() -> None:
    with served() as server:
        headers = get(server, "/").headers
        assert "script-src" not in headers["content-security-policy"]
        assert "default-src 'self'" in headers["content-security-policy"]
        own = server.ws.removeprefix("ws://")
        assert f"connect-src 'self' ws://{own} wss://{own};" in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"


def test_with_a_certificate_everything_is_encrypted(tmp_path: Path) -> None:
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    made = f"req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 -keyout {key} -out {cert}"
    command = ["openssl", *made.split(), "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run(command, check=True, capture_output=True)
    trusting = ssl.create_default_context(cafile=cert)
    with served(cert=cert, key=key) as server:
        where = server.http.removeprefix("http://")
        assert httpx2.get(f"https://{where}/healthz", verify=trusting).json() == {"status": "ok"}
        with connect(f"wss://{where}/v1/echo/duplex", ssl=trusting) as line:
            assert len(line.recv()) == 9600
        with pytest.raises(httpx2.TransportError):
            httpx2.get(f"http://{where}/healthz")


def test_logs_are_json_and_hold_no_secrets() -> None:
    record = logging.makeLogRecord(
        {"name": "microturn.server", "msg": "began", "levelname": "INFO", "session": "sess_1"}
    )
    line = json.loads(JsonLines().format(record))
    assert (line["message"], line["level"], line["session"]) == ("began", "info", "sess_1")


SCRIPT = """
import sys
sys.path.insert(0, sys.argv[1])
from microturn.server.access import Access, Key, digest
from microturn.server.serve import log_as_json
from serving import served
from websockets.sync.client import connect
log_as_json()
with served(access=Access([Key("ann", digest("a-secret"))])) as server:
    headers = {"Authorization": "Bearer a-secret"}
    with connect(server.ws + "/v1/echo/duplex?instructions=private", additional_headers=headers) as socket:
        socket.recv()
"""


def test_a_conversation_is_logged_without_its_words_and_keys() -> None:
    ran = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(Path(__file__).parent)], capture_output=True, text=True
    )
    lines = [json.loads(line) for line in ran.stderr.splitlines()]
    assert [line["message"] for line in lines] == ["began", "ended"]
    assert lines[0]["owner"] == "ann"
    assert "secret" not in ran.stderr
    assert "private" not in ran.stderr

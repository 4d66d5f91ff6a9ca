"""A real server on loopback for tests: uvicorn in a thread, a small model in the engine."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import openai.types.live as official
from pydantic import TypeAdapter
from websockets.sync.client import ClientConnection, connect

from echo_model import EchoModel
from microturn.background.connect import NewBackground
from microturn.engine import Engine
from microturn.server.access import Access
from microturn.server.app import make_app
from microturn.server.journal import Journal
from microturn.server.lobby import Limits, Lobby
from microturn.server.serve import listen, make_server
from microturn.streams import Decision, InteractionModel, TickOutput


class Scripted(EchoModel):
    """Decides as the script says, tick by tick, and listens otherwise."""

    def __init__(self, script: dict[int, Decision]) -> None:
        super().__init__()
        self._script = script

    def _answer(self, output: TickOutput, row: int, slot: int) -> None:
        tick = int(self._ticks[slot])
        super()._answer(output, row, slot)
        output.decision[row] = self._script.get(tick, Decision.LISTEN)


@dataclass
class Served:
    port: int
    lobby: Lobby
    engine: Engine

    @property
    def http(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def ws(self) -> str:
        return f"ws://127.0.0.1:{self.port}"


@contextmanager
def served(
    model: InteractionModel | None = None,
    *,
    slots: int = 4,
    access: Access | None = None,
    journal: Path | None = None,
    background: NewBackground | None = None,
    limits: Limits | None = None,
    cert: Path | None = None,
    key: Path | None = None,
) -> Iterator[Served]:
    engine = Engine(model or EchoModel(), slots=slots)
    engine.start()
    file = Journal(journal) if journal else None
    lobby = Lobby(engine, access, file, background, limits)
    server = make_server(make_app(lobby), cert, key)
    bound = listen("127.0.0.1", 0)
    thread = threading.Thread(target=server.run, args=([bound],), daemon=True)
    thread.start()
    while not server.started:  # uvicorn has no event to wait for
        time.sleep(0.01)
    try:
        yield Served(bound.getsockname()[1], lobby, engine)
    finally:
        server.should_exit = True
        thread.join()
        engine.close()
        if file:
            file.close()


SESSION = {"model": "gpt-live-1"}
VALID: TypeAdapter[official.ServerEvent] = TypeAdapter(official.ServerEvent)
OFFICIAL = {
    event.model_fields["type"].annotation.__args__[0] for event in get_args(get_args(official.ServerEvent)[0])
}


class Client:
    """A plain WebSocket and JSON, for what the SDK has no words for. What it has words for is what its types say."""

    def __init__(self, line: ClientConnection) -> None:
        self.socket = line

    def send(self, type: str, **fields: Any) -> None:
        self.socket.send(json.dumps({"type": type, **fields}))

    def next(self, *types: str) -> dict[str, Any]:
        """The next event of one of these types; others are passed over."""
        return self.until(lambda event: event["type"] in types)[-1]

    def until(self, last: Callable[[dict[str, Any]], bool]) -> list[dict[str, Any]]:
        """All events up to this one."""
        events: list[dict[str, Any]] = []
        while not events or not last(events[-1]):
            events.append(json.loads(self.socket.recv(5)))
            if events[-1]["type"] in OFFICIAL:
                VALID.validate_python(events[-1], strict=True)
        return events


@contextmanager
def opened(server: Served, **session: Any) -> Iterator[tuple[Client, dict[str, Any]]]:
    with connect(f"{server.ws}/v1/live/sessions") as line:
        client = Client(line)
        client.send("session.start", session=SESSION | session, event_id="first")
        yield client, client.next("session.started", "error")

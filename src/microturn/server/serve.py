"""`microturn serve`: its options, the engine's thread, and the web server around the app."""

from __future__ import annotations

import argparse

import uvicorn
from starlette.applications import Starlette

from microturn.engine import Engine
from microturn.server.app import make_app
from microturn.server.lobby import Lobby

SLOTS = 32


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = "Serve conversations: a page at http://HOST:PORT, a duplex socket, the Live API."
    parser.add_argument("--host", default="127.0.0.1", help="default: %(default)s")
    parser.add_argument("--port", type=int, default=8000, help="default: %(default)s")
    parser.add_argument("--model", default="nano", metavar="NAME|FILE", help="default: %(default)s")
    parser.add_argument(
        "--slots", type=int, default=SLOTS, help="most sessions at once; default: %(default)s"
    )


def run(args: argparse.Namespace) -> int:
    from microturn.model.checkpoint import load_model

    engine = Engine(load_model(args.model), slots=args.slots)
    engine.start()
    engine.warm_up()
    server = make_server(make_app(Lobby(engine)), args.host, args.port)
    server.run()
    engine.close()
    return 0


def make_server(app: Starlette, host: str, port: int) -> uvicorn.Server:
    config = uvicorn.Config(
        app, host, port, ws="websockets-sansio", ws_max_size=1 << 20, ws_per_message_deflate=False,
        ws_ping_interval=10.0, ws_ping_timeout=10.0, access_log=False, log_level="warning", server_header=False,
    )  # fmt: skip
    return uvicorn.Server(config)

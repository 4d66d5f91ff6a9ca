"""`microturn serve`: its options, the engine's thread, and the web server around the app."""

from __future__ import annotations

import argparse
import asyncio
import errno
import gc
import logging
import os
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import uvicorn
from starlette.applications import Starlette

from microturn.background import connect
from microturn.clock import calendar_s
from microturn.engine import Engine
from microturn.server.access import Access, Key, is_loopback, new_key, read_keys
from microturn.server.app import ending, make_app
from microturn.server.journal import Journal, default_path
from microturn.server.linger import Lingering
from microturn.server.lobby import TURN_SECRET, Ice, Limits, Lobby

SLOTS = 32
PING_S = 10.0  # between pings, and until one must have been answered
FORGET_S = 3600.0  # between looks for sessions that are too old to be kept


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = "Serve conversations: a page at http://HOST:PORT, a duplex socket, the Live API."
    add = parser.add_argument
    add("--host", default="127.0.0.1", help="anything but this machine needs --keys; default: %(default)s")
    add("--port", type=int, default=8000, help="default: %(default)s")
    add("--model", default="nano", metavar="NAME|FILE", help="default: %(default)s")
    add(
        "--voice",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="one more voice to choose from",
    )
    add("--device", default="cpu", help="default: %(default)s")
    add("--slots", type=int, default=SLOTS, help="most sessions at once; default: %(default)s")
    add("--keys", type=Path, metavar="FILE", help="who may come in: a file of hashed keys")
    add("--new-key", metavar="NAME", help="add a key to --keys, show it once, and stop")
    add("--origin", action="append", default=[], metavar="URL", help="another page that may come in")
    add("--cert", type=Path, metavar="PEM", help="TLS certificate")
    add("--key", type=Path, metavar="PEM", help="its private key")
    add(
        "--journal",
        type=Path,
        default=default_path(),
        metavar="FILE",
        help="stored sessions; default: %(default)s",
    )
    add("--keep-days", type=float, default=30.0, help="how long sessions stay stored; default: %(default)s")
    add("--grace", type=float, default=30.0, metavar="S", help="a lost connection may come back so long")
    add(
        "--ice",
        action="append",
        default=[],
        metavar="URL",
        help=f"stun:HOST:PORT or turn:USER@HOST:PORT, its secret in ${TURN_SECRET}",
    )
    connect.add_arguments(parser)


def run(args: argparse.Namespace) -> int:
    if args.new_key is not None:
        if args.keys is None:
            raise ValueError("--new-key needs --keys, the file to add it to")
        print(new_key(args.keys, args.new_key))
        return 0
    access = Access(_keys(args), args.origin)
    if (args.cert is None) is not (args.key is None):
        raise ValueError("--cert and --key go together")
    if not (args.keep_days >= 0 and args.grace >= 0):
        raise ValueError("--keep-days and --grace are numbers from 0 on")
    background = connect.settings(args)
    ice = tuple(Ice.of(given, os.environ.get(TURN_SECRET, "")) for given in args.ice)
    if len({one.url[:4] for one in ice}) < len(ice):
        raise ValueError("--ice: one stun: and one turn: at most")
    bound = listen(args.host, args.port)

    from microturn.model.checkpoint import load_model  # torch takes a second: arguments are checked before
    from microturn.model.voicefile import read_voice

    log_as_json()
    voices = {voice.name: voice.head() for voice in map(read_voice, args.voice)}
    engine = Engine(load_model(args.model, args.device, voices), slots=args.slots)
    engine.start()
    engine.warm_up(rounds=3)
    journal = Journal(args.journal)
    lobby = Lobby(engine, access, journal, limits=Limits(grace_s=args.grace, ice=ice))

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with connect.open_background(background) as lobby.background, ending(lobby):
            forgetting = asyncio.create_task(forget(journal, args.keep_days))
            host = "localhost" if is_loopback(args.host) else args.host
            settle()
            print(f"{args.model}: http{'s' if args.cert else ''}://{host}:{args.port}", flush=True)
            yield
            forgetting.cancel()
        await asyncio.to_thread(journal.flush)

    try:
        make_server(make_app(lobby, lifespan), args.cert, args.key).run([bound])
    finally:
        engine.close()
        journal.close()
    return 0


def _keys(args: argparse.Namespace) -> tuple[Key, ...]:
    keys = read_keys(args.keys) if args.keys else ()
    if not is_loopback(args.host) and not keys:
        raise ValueError(f"--host {args.host} lets other machines in: first --keys FILE --new-key NAME")
    return keys


def settle() -> None:
    """What has been loaded by now stays: to look through it for garbage took 150 ms, in which nothing moved."""
    gc.collect()
    gc.freeze()


async def forget(journal: Journal, days: float) -> None:
    while True:
        await asyncio.to_thread(journal.forget, days)
        await asyncio.sleep(FORGET_S)


def listen(host: str, port: int) -> socket.socket:
    """The server's socket. A client that reads nothing, or is gone without a word, is cut off by the kernel."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        bound = socket.create_server((host, port), family=family)
    except OverflowError:
        raise ValueError(f"--port {port}: ports are 0 to 65535") from None
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        raise ValueError(f"port {port} is taken: choose another with --port") from None
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 20_000)  # ms
    return bound


def make_server(app: Starlette, cert: Path | None = None, key: Path | None = None) -> uvicorn.Server:
    config = uvicorn.Config(
        app, ws=Lingering, ws_max_size=Limits.message, ws_per_message_deflate=False,
        ws_ping_interval=PING_S, ws_ping_timeout=PING_S, access_log=False, log_config=None, server_header=False,
        ssl_certfile=cert, ssl_keyfile=key, timeout_graceful_shutdown=3,
    )  # fmt: skip
    # uvicorn calls it an error when a WebSocket is refused with a proper HTTP answer
    logging.getLogger("uvicorn.error").addFilter(lambda record: "completing handshake" not in record.msg)
    return uvicorn.Server(config)


class JsonLines(logging.Formatter):
    """One JSON object a line: time, level, logger, message, and what `extra` names. Never headers or queries."""

    usual = frozenset(vars(logging.makeLogRecord({}))) | {"message", "taskName", "color_message"}

    def format(self, record: logging.LogRecord) -> str:
        line = {"time": round(calendar_s(), 3), "level": record.levelname.lower(), "logger": record.name}
        line |= {"message": record.getMessage()}
        line |= {name: value for name, value in vars(record).items() if name not in self.usual}
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return msgspec.json.encode(line, enc_hook=str).decode()


def log_as_json() -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    logging.getLogger("microturn").setLevel(logging.INFO)

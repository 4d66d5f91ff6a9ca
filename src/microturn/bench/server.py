"""`microturn bench server`: what the server and its sockets add to the engine, and how many it keeps in time.

Four things, over loopback WebSockets whose clients live in a process of their own:
  added    a whole tick in, its answer out, one session, driven: over the socket less straight at the engine
           (of the smallest model, because it does not depend on the model);
  live     sessions at once that send a tick every 200 ms (Live events): from sending one to the answer to it;
  busy     how long a full server takes to say so, a thousand times, and what those inside feel of it;
  churn    what the process holds in memory after some of many short sessions, and after all of them.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import gc
import json
import multiprocessing
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager, suppress
from multiprocessing.pool import Pool
from typing import Any

import numpy as np
import uvicorn
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus

from microturn.background import NewBackground
from microturn.bench.engine import rss_mb
from microturn.clock import HEAR_SAMPLES, TICK_MS, TICKS_PER_SECOND
from microturn.engine import Engine, Outbox, Pace
from microturn.model.checkpoint import load_model
from microturn.model.config import tiny
from microturn.model.interaction import random_model
from microturn.server.app import make_app
from microturn.server.lobby import Lobby
from microturn.server.serve import listen, make_server, settle
from microturn.server.sound import Ear, pcm16
from microturn.streams import Floats, InteractionModel

TICK_S = TICK_MS / 1000
SOUND = pcm16(np.random.default_rng(0).normal(0, 0.05, HEAR_SAMPLES).astype(np.float32))
START = json.dumps({
    "type": "session.start",
    "session": {
        "model": "microturn",
        "delegation": {"type": "client"},
        "audio": {"format": {"type": "audio/pcm", "rate": 16_000}},
        "microturn": {"ticks": True},
    },
})  # fmt: skip
LAST_S = 2.0  # for the last answers
AT_ONCE = 4  # of many short sessions
KNOCKS = 1000  # at the door of a full server
TURNS, TURN_TICKS = 10, 50  # of what is added
Times = list[float]  # seconds


def straight(engine: Engine, ticks: int) -> Times:
    """A tick in and its action out, without any server."""
    outbox, times, ear = Outbox(), [], Ear(16_000)
    session = engine.open(pace=Pace.DRIVEN, listener=outbox)
    for _ in range(ticks):
        began = time.perf_counter()
        session.push_audio(ear(SOUND))
        outbox.take(None)
        times.append(time.perf_counter() - began)
    session.close()
    return times


async def through_socket(url: str, ticks: int) -> Times:
    times = []
    async with connect(f"{url}?rate=16000&pace=driven", compression=None) as socket:
        for _ in range(ticks):
            began = time.perf_counter()
            await socket.send(SOUND)
            await socket.recv()
            times.append(time.perf_counter() - began)
    return times


async def live(
    url: str, sessions: int, seconds: float, work: str = "client", said: Sequence[Floats] = ()
) -> tuple[int, int, Times]:
    """How many were let in, how many ticks of sound had no answer, and how long the others waited for theirs.

    `work` says who does what is delegated, "client" or "responses"; `said` is what each hears, at 16 kHz, else noise.
    """
    async with AsyncExitStack() as stack:
        talks: list[asyncio.Task[tuple[int, Times]]] = []
        for number in range(sessions):
            line = await stack.enter_async_context(connect(url, compression=None))
            await line.send(START.replace('"client"', f'"{work}"'))
            if json.loads(await line.recv())["type"] != "session.started":
                break
            sound = pcm16(said[number]) if said else SOUND * round(seconds / TICK_S)
            talks.append(asyncio.create_task(_talk(line, sound)))
            await asyncio.sleep(TICK_S / sessions)  # clients begin at different moments of a tick
        found = await asyncio.gather(*talks)
        return len(talks), sum(none for none, _ in found), [taken for _, times in found for taken in times]


async def _talk(line: ClientConnection, sound: bytes) -> tuple[int, Times]:
    """Ticks in which nothing came answer nothing, so the k-th of the others answers the k-th sound."""
    sent: Times = []
    came: Times = []
    ticks = len(sound) // len(SOUND)

    async def send() -> None:
        began = time.perf_counter()
        for tick in range(ticks):
            audio = base64.b64encode(sound[tick * len(SOUND) : (tick + 1) * len(SOUND)]).decode()
            await asyncio.sleep(max(0.0, began + tick * TICK_S - time.perf_counter()))
            sent.append(time.perf_counter())
            await line.send(json.dumps({"type": "session.input_audio.append", "audio": audio}))

    sending = asyncio.create_task(send())
    with suppress(TimeoutError, ConnectionClosed):
        async with asyncio.timeout(ticks * TICK_S + LAST_S):
            while not sending.done() or len(came) < len(sent):
                event = json.loads(await line.recv())
                if event["type"] == "session.tick" and not event["missed"]:
                    came.append(time.perf_counter())
    await sending
    times = [there - begun for begun, there in zip(sent, came, strict=False)]
    return len(sent) - len(came), times[TICKS_PER_SECOND:]


async def busy(url: str, events: str, sessions: int, seconds: float) -> tuple[Times, Times]:
    """How long each of many at the door waited to be refused, and those inside for their answers meanwhile."""
    inside = asyncio.create_task(live(events, sessions, seconds + 2))
    await asyncio.sleep(2.0)
    times, began = [], time.perf_counter()
    for number in range(KNOCKS):
        await asyncio.sleep(max(0.0, began + number * seconds / KNOCKS - time.perf_counter()))
        asked = time.perf_counter()
        with suppress(InvalidStatus):
            async with connect(url):
                continue  # there was a place left
        times.append(time.perf_counter() - asked)
    return times, (await inside)[2]


async def come_and_go(url: str, first: int, sessions: int) -> list[str]:
    """Sessions of a tick each, a few at once, numbered from `first`. Which got no answer, and what they got."""
    left, without = iter(range(first, first + sessions)), []

    async def one_after_the_other() -> None:
        for number in left:
            began, doing, why = time.perf_counter(), "opening", "an empty message"
            answer: str | bytes = b""
            try:
                async with connect(f"{url}?rate=16000&pace=driven", compression=None) as socket:
                    doing = "waiting for the answer"
                    await socket.send(SOUND)
                    answer = await socket.recv()
            except InvalidStatus as refused:
                why = f"{refused.response.status_code} {refused.response.body.decode(errors='replace')[:200]}"
            except (
                InvalidHandshake,
                ConnectionClosed,
                OSError,
            ) as error:  # a TimeoutError while opening, too
                why = f"{type(error).__name__}: {error}"
            if not answer:
                without.append(f"session {number}, {doing} {time.perf_counter() - began:.1f} s: {why}")

    await asyncio.gather(*(one_after_the_other() for _ in range(AT_ONCE)))
    return without


def client(what: str, *given: Any) -> Any:
    """Runs in the process of the clients."""
    gc.freeze()  # its own pauses are nobody's waiting
    tasks = {"added": through_socket, "live": live, "busy": busy, "churn": come_and_go}
    return asyncio.run(tasks[what](*given))  # type: ignore[operator]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = "What the server adds to the engine, and how many sessions it keeps in time."
    add = parser.add_argument
    add("--model", default="nano", metavar="NAME|FILE", help="default: %(default)s")
    add("--sessions", default="1,8,16,32", help="live sessions at once; default: %(default)s")
    add("--seconds", type=float, default=10.0, help="of each load; default: %(default)s")
    add("--churn", type=int, default=0, metavar="N", help="instead: N sessions that come and go (Linux)")


@contextmanager
def serving(
    model: InteractionModel, slots: int, background: NewBackground | None = None
) -> Iterator[tuple[Engine, str]]:
    """An engine, and the address of the server around it."""
    engine = Engine(model, slots=slots)
    engine.start()
    engine.warm_up(rounds=3)
    server, bound = make_server(make_app(Lobby(engine, background=background))), listen("127.0.0.1", 0)
    thread = threading.Thread(target=uvicorn.Server.run, args=(server, [bound]), daemon=True)
    thread.start()
    try:
        yield engine, f"http://localhost:{bound.getsockname()[1]}/"
    finally:
        server.should_exit = True
        thread.join()
        engine.close()


@contextmanager
def duplex(
    model: InteractionModel, slots: int, background: NewBackground | None = None
) -> Iterator[tuple[Engine, str]]:
    """The same, with the address of its duplex socket."""
    with serving(model, slots, background) as (engine, url):
        yield engine, f"{url.replace('http', 'ws', 1)}v1/{engine.spec.name}/duplex"


def churn(clients: Pool, sessions: int) -> None:
    """Memory after every tenth of them."""
    with duplex(random_model(tiny()), 2 * AT_ONCE) as (_, url):
        held, began = [rss_mb()], time.perf_counter()
        without: list[str] = []
        tenth = -(-sessions // 10)
        for part in range(10):
            without += clients.apply(client, ("churn", url, part * tenth, tenth))
            held.append(rss_mb())
    spent = time.perf_counter() - began
    print(f"{10 * tenth - len(without)} of {10 * tenth} sessions answered in {spent:.0f} s")
    print("".join(f"no answer: {line}\n" for line in without), end="")
    tenths = ", ".join(f"{mb:.0f}" for mb in held[1:])
    print(f"memory after each tenth (MB): {tenths}; before {held[0]:.0f}")


def run(args: argparse.Namespace) -> int:
    if args.churn:
        with multiprocessing.get_context("spawn").Pool(1) as clients:
            churn(clients, args.churn)
        return 0
    loads = [int(part) for part in args.sessions.split(",") if part]
    with multiprocessing.get_context("spawn").Pool(1) as clients:
        with duplex(random_model(tiny()), 2) as (engine, url):
            alone, added, spent = Times(), Times(), 0.0
            for _ in range(TURNS):  # by turns, so that whatever else the machine does falls on both
                began = time.process_time()
                alone += straight(engine, TURN_TICKS)
                middle = time.process_time()
                added += clients.apply(client, ("added", url, TURN_TICKS))
                spent += time.process_time() - middle - (middle - began)
        for share in (50, 99):
            a, b = milliseconds(alone, share), milliseconds(added, share)
            print(f"p{share}: smallest model {a:.1f} ms, over the socket {b:.1f} ms, added {b - a:.1f} ms")
        print(f"added processor time: {1000 * spent / len(added):.2f} ms a tick of a session")
        with duplex(load_model(args.model), max(loads, default=1)) as (engine, url):
            settle()
            full = 1
            for sessions in loads:
                while engine.stats().sessions:  # of the load before, which hung up a moment ago
                    time.sleep(TICK_S)
                let_in, none, times = clients.apply(client, ("live", events_of(url), sessions, args.seconds))
                print(f"{let_in} of {sessions} live: {spread(times)}, {none} unanswered")
                full = max(full, let_in)
        with duplex(load_model(args.model), full) as (_, url):
            settle()
            times, inside = clients.apply(client, ("busy", url, events_of(url), full, args.seconds))
            print(
                f"busy, {len(times)} times in {args.seconds:g} s: p50 {milliseconds(times, 50):.1f} ms, "
                f"p99 {milliseconds(times, 99):.1f} ms, {1000 * max(times):.1f} ms at most, "
                f"{1000 * times[-1]:.1f} ms the last; the {full} inside meanwhile: {spread(inside)}"
            )
    return 0


def events_of(url: str) -> str:
    """The Live address of the server that this duplex socket belongs to."""
    return f"{url.partition('/v1/')[0]}/v1/live/sessions"


def spread(times: Times) -> str:
    late = sum(taken > TICK_S for taken in times)
    p50, p99 = milliseconds(times, 50), milliseconds(times, 99)
    return f"p50 {p50:.0f} ms, p99 {p99:.0f} ms, {late} of {len(times)} late"


def milliseconds(times: Times, share: int) -> float:
    return 1000 * float(np.percentile(times, share))

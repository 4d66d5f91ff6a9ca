"""`microturn bench background`: many delegations at once through the whole path, and what became of each.

Live sessions of the released model hear what the users of `bench weave` say, over loopback sockets. They are made to
delegate and to cancel, to a server that speaks like OpenAI's. Unless one is named that is our own, in a process of
its own: it answers after 0.1 to 60 s (times `--scale`), or is busy, breaks off, floods, or sends nonsense. With
`--backend local` it is SmolLM2 in llama.cpp, which means it.

  tick          from the last sample of a tick sent to its answer received, without delegations and with them
  at_once       delegations that were worked on at the same time
  sessions      that the engine let in; unfinished, unread: what was left of their work when time was up
  lost          finals, results or failures, that the model was never given to read; duplicate: given twice
  after_cancel  texts of cancelled work that the model was given, or three words of them that it said, afterwards
  over_the_user share of the pieces of words that it said while the user was speaking
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import multiprocessing
import os
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from importlib.util import find_spec
from itertools import count
from multiprocessing.pool import Pool
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from microturn.background import Background, Delegation, Inbox, Kind, Piece, State
from microturn.background.backends import OpenAI
from microturn.background.connect import KEY, local_server
from microturn.background.delegations import AT_ONCE
from microturn.bench.cast import test_cast
from microturn.bench.metrics import normalise
from microturn.bench.server import client, duplex, events_of, milliseconds
from microturn.bench.suites import RESERVED, cast_of, episodes, has
from microturn.bench.waves import Case, make_case
from microturn.clock import TICKS_PER_SECOND, tick_of
from microturn.events import Event
from microturn.model.checkpoint import RELEASED, load_model
from microturn.scenes.episode import Episode
from microturn.server.serve import listen, make_server
from microturn.streams import Channel, Decision, Ints, Perception, TextIn, TickInput, TickOutput

FIRST, EVERY = 2 * TICKS_PER_SECOND, 2  # ticks of the first delegation, and from one to the next
CANCELS = (3 * TICKS_PER_SECOND, 6 * TICKS_PER_SECOND)  # ticks after the first delegation
FATES = {"well": 6, "busy": 1, "drop": 1, "flood": 1, "nonsense": 1}
SHORTEST_S, LONGEST_S = 0.1, 60.0
FORCED = (Decision.DELEGATE, Decision.CANCEL)
NAMES = "sessions at_once done failed cancelled unfinished unread lost duplicate read_after_cancel said_after_cancel"
ANSWER = 400  # characters that are taken of an answer: it must be read within the time of a run


class Forced:
    """The released model with the decisions to hand work over and to take it back made for it, at ticks of a session.

    It knows of them as of its own.
    """

    def __init__(self, plan: dict[int, Decision], name: str = RELEASED) -> None:
        self.plan, self.tick = plan, 0  # the latest, of any session
        self._inner, self._ticks = load_model(name), Counter[int]()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def reset(self, slot: int, seed: int = 0, voice: str = "") -> None:
        self._ticks[slot] = 0
        self._inner.reset(slot, seed, voice)

    def step(self, slots: Ints, batch: TickInput) -> TickOutput:
        out = self._inner.step(slots, batch)
        for row in (slots >= 0).nonzero()[0]:
            slot = int(slots[row])
            self.tick = self._ticks[slot]
            own = Decision(int(out.decision[row]))
            due = self.plan.get(self.tick, Decision.LISTEN if own in FORCED else own)
            out.decision[row] = self._inner.slots.decided[slot] = int(due)
            self._ticks[slot] += 1
        return out


class Witnessed(Background):
    """Remembers what the model was given to read, what it said, and what was taken back when."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.read: list[tuple[int, str]] = []
        self.said: list[tuple[int, str]] = []
        self.cancelled: list[tuple[int, Delegation]] = []
        self.given: str | None = None  # last, and perhaps not read yet
        self.unfinished = self.at_once = 0
        self.over: list[bool] = []  # of all that it said, whether the user spoke
        self.user: Sequence[bool] = ()  # whether the user speaks, by ticks heard
        self._tick = self._heard = 0

    def follow(self, tick: int, perception: Perception, events: Sequence[Event]) -> TextIn | None:
        self._tick, self.at_once = tick, max(self.at_once, len(self.open))
        self._heard += perception.audio is not None
        self.read += [(tick, text.text) for text in perception.text if text.channel is Channel.BACKGROUND]
        said = [(tick, event.text or "") for event in events if event.type == "say"]
        self.said += said
        self.over += len(said) * [any(self.user[self._heard - 1 : self._heard])]
        if text := super().follow(tick, perception, events):
            self.given = text.text
        return text

    def cancel(self, id: str | None = None) -> Delegation | None:
        if taken := super().cancel(id):
            self.cancelled.append((self._tick, taken))
        return taken

    def stop(self) -> None:
        self.unfinished += len(self.open)
        super().stop()

    def account(self) -> Counter[str]:
        work = list(self.all.values())
        told = [d for d in work if d.state in (State.DONE, State.FAILED)]
        wanted = Counter(line for d in told for line in _finals(d))
        read = Counter(text for _, text in self.read if text.startswith("final"))
        others = Counter(line for _, d in self.cancelled for line in _finals(d))
        left = Counter(piece.line for d in told for piece in self.inbox.of(d.id))
        left.update(
            [self.given] if self.given and self.given not in (text for _, text in self.read[-1:]) else []
        )
        found = Counter(d.state.value for d in work)
        found += Counter(sessions=bool(self._tick), unfinished=self.unfinished, at_once=self.at_once)
        found += Counter(unread=left.total(), said=len(self.over), over_the_user=sum(self.over))
        found["cancelled"] -= self.unfinished
        found["lost"], found["duplicate"] = (wanted - read - left).total(), (read - wanted - others).total()
        for at, taken in self.cancelled:
            after = [text for tick, text in self.read if tick > at]
            found["read_after_cancel"] += sum(result in text for text in after for result in taken.results)
            said = _threes("".join(text for tick, text in self.said if tick > at + TICKS_PER_SECOND))
            found["said_after_cancel"] += len(said & _threes(" ".join(taken.results)))
        return found


def _finals(work: Delegation) -> list[str]:
    """What the model reads if the last of its results is final."""
    inbox = Inbox(lambda text: 1)
    inbox.put(Piece(Kind.FINAL, work.results[-1] if work.results else ""))
    return [piece.line for piece in inbox.of("")]


def _threes(text: str) -> set[tuple[str, ...]]:
    words = normalise(text)
    return {tuple(words[i : i + 3]) for i in range(len(words) - 2)}


def adversary(port: int, scale: float, seed: int) -> None:
    """Serves until it is ended."""
    rng, numbers = random.Random(seed), count(1)

    async def stream(fate: str, number: int) -> AsyncIterator[str]:
        for part in range({"flood": 10_000, "nonsense": 0}.get(fate, 2)):
            await asyncio.sleep(0)
            content = f"Result {number} has part {part}. "
            yield f"data: {json.dumps({'choices': [{'delta': {'content': content}}]})}\n\n"
        if fate != "drop":
            yield "data: {nonsense\n\n" if fate == "nonsense" else "data: [DONE]\n\n"

    async def complete(request: Request) -> Response:
        fate = rng.choices(list(FATES), list(FATES.values()))[0]
        await asyncio.sleep(scale * math.exp(rng.uniform(math.log(SHORTEST_S), math.log(LONGEST_S))))
        if fate == "busy":
            return Response(status_code=503)
        return StreamingResponse(stream(fate, next(numbers)), media_type="text/event-stream")

    app = Starlette(routes=[Route("/v1/chat/completions", complete, methods=["POST"])])
    make_server(app).run([listen("127.0.0.1", port)])


_serving: list[Any] = []  # of this process, as long as it lives


def real(gguf: str) -> dict[str, Any]:
    """Begins to serve a model that answers as it can: how `OpenAI` reaches it."""
    server, model = local_server(gguf)
    _serving.append(server)
    return {name: getattr(model, name) for name in ("url", "model", "key", "room", "brief")}


def speaking(episode: Episode) -> list[bool]:
    """Whether the user is, tick by tick."""
    spans = [(tick_of(p.at_ms), tick_of(p.end_ms - 1)) for p in episode.placed if p.who == 0]
    return [any(a <= tick <= b for a, b in spans) for tick in range(episode.ticks)]


def measure(
    args: argparse.Namespace, users: Sequence[Case], model: OpenAI, clients: Pool, each: int
) -> tuple[float, Counter[str]]:
    """The p99 of a tick in milliseconds, and what became of so many delegations of each session."""
    desks: list[Witnessed] = []
    plan = {FIRST + EVERY * i: Decision.DELEGATE for i in range(each)}
    plan |= {FIRST + after: Decision.CANCEL for after in CANCELS[: each // 2]}

    def new(ticks_to_read: Callable[[str], int]) -> Background:
        desks.append(Witnessed(ticks_to_read, model))
        desks[-1].user = speaking(users[len(desks) - 1].episode)
        return desks[-1]

    with duplex(Forced(plan, args.model), args.sessions, new) as (_, url):
        said = [case.samples for case in users]
        _, _, times = clients.apply(
            client, ("live", events_of(url), args.sessions, args.seconds, "responses", said)
        )
    return milliseconds(times, 99), sum((desk.account() for desk in desks), Counter())


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = "Many delegations at once: whether ticks stay in time, and what became of each."
    add = parser.add_argument
    add("--model", default=RELEASED, metavar="NAME|FILE", help="default: %(default)s")
    add("--backend", default="", metavar="URL", help=f"OpenAI-compatible server (key: ${KEY}), or `local`")
    add("--backend-model", default="", metavar="NAME", help="its model; a GGUF file if local")
    add("--sessions", type=int, default=4, help="default: %(default)s")
    add("--each", type=int, default=AT_ONCE, help="delegations of a session at once; default: %(default)s")
    add("--seconds", type=float, default=60.0, help="without delegations, and with; default: %(default)s")
    add("--scale", type=float, default=0.1, help="of our server's delays; default: %(default)s")
    add("--seed", type=int, default=1, help="of users and our server's moods; default: %(default)s")
    add("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    if args.sessions < 1 or not 0 < args.each <= AT_ONCE or args.seconds <= 0 or args.scale <= 0:
        raise ValueError(f"--sessions, --seconds and --scale must be more than 0, and --each 1 to {AT_ONCE}")
    local = args.backend == "local"
    if not local and bool(args.backend) != bool(args.backend_model):
        raise ValueError(
            "--backend and --backend-model belong together: a server, and a model at that server"
        )
    if local and find_spec("xllamacpp") is None:
        raise ValueError("--backend local needs xllamacpp: pip install -e '.[local]'")
    cast = cast_of(RESERVED) or test_cast()
    talks = episodes("weave", args.sessions, args.seed, cast, has("delegate"), args.seconds)
    users = [make_case(episode, args.seed + i) for i, episode in enumerate(talks)]
    spawn = multiprocessing.get_context("spawn")
    model = OpenAI(args.backend, args.backend_model, os.environ.get(KEY, ""), longest=ANSWER)
    with spawn.Pool(1) as clients, spawn.Pool(1) as other:
        if local:
            model = OpenAI(**other.apply(real, (args.backend_model,)), longest=ANSWER)
        elif not args.backend:
            with listen("127.0.0.1", 0) as bound:
                port = bound.getsockname()[1]
            other.apply_async(adversary, (port, args.scale, args.seed))
            round_s = args.scale * LONGEST_S + 5
            model = OpenAI(
                f"http://127.0.0.1:{port}/v1", "any", longest=ANSWER, round_s=round_s, pause_s=args.scale
            )
        without, _ = measure(args, users, model, clients, 0)
        with_them, found = measure(args, users, model, clients, args.each)
    report: dict[str, float] = {
        "tick_p99_ms": round(without, 1),
        "tick_p99_ms_with_delegations": round(with_them, 1),
    }
    report |= {name: found[name] for name in NAMES.split()}
    report["over_the_user"] = round(found["over_the_user"] / max(1, found["said"]), 3)
    print(json.dumps(report, indent=1) if args.json else "\n".join(f"{k}: {v}" for k, v in report.items()))
    return 0

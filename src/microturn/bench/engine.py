"""`microturn bench engine`: what a tick costs, how many sessions meet the deadline, and what an hour changes.

Four things are measured in one run, on one set of weights:
  load     sessions at once, all speaking all the time: the driven step, then real time: deadline misses
           and skipped ticks (--listening: all silent, which is what most sessions do most of the time);
  hour     one silent session, tick by tick through the hour: step time and memory then and at the start;
  rivals   the same tick as others would do it, after so many minutes of conversation (see bench/rivals.py):
           the whole conversation computed again, an ordinary cache that grows, one session at a time;
  roof     the fastest that this machine could do the arithmetic and the memory traffic of a step.
Speed does not depend on what the weights are, so random ones do; `--model` takes others. Loads are timed by
the wall clock. The hour and the rivals, which are about work and not about waiting, by the processor's
own, so that whatever else runs on the machine does not change the factors.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from microturn.bench.rivals import GrowingCache, OneAtATime, Recompute, backbone_of
from microturn.bench.roof import Work, measure_work
from microturn.clock import HEAR_SAMPLES, TICK_MS, TICKS_PER_SECOND
from microturn.engine import Engine, EngineFull, Pace, Session, Spread
from microturn.model.checkpoint import load_model
from microturn.model.config import find_config
from microturn.model.interaction import Interaction, random_model
from microturn.plan import Machine, measure_machine
from microturn.streams import Action, Floats

TICKS_PER_MINUTE = 60 * TICKS_PER_SECOND
URGE = 100.0  # eagerness at which every tick speaks, or with a minus none does


@dataclass(frozen=True)
class Load:
    sessions: int
    step: Spread  # driven, everybody ready at once
    gather: Spread
    deliver: Spread
    tick_ms: float  # wall time of one tick of everybody, all included
    batched_ms: float  # the same in processor time …
    one_at_a_time_ms: float  # … and when sessions are stepped one after the other, each alone
    roof_ms: float  # the fastest that this machine could step this batch
    live_ticks: int  # with the wall clock
    live_overdue: int  # later than a tick
    live_skipped: int
    live_reaction: Spread  # from whole tick to action
    rss_mb: float


@dataclass(frozen=True)
class Minute:
    """One session after so many minutes."""

    minute: int
    engine_ms: float  # processor time of the median tick of this engine
    recompute_ms: float
    growing_ms: float
    session_mb: float  # what the session keeps in memory here
    growing_mb: float  # and in a growing cache
    rss_mb: float  # of this engine's process then; the rivals come later

    @property
    def recompute_factor(self) -> float:
        return self.recompute_ms / self.engine_ms

    @property
    def growing_factor(self) -> float:
        return self.growing_ms / self.engine_ms


@dataclass(frozen=True)
class EngineReport:
    model: str
    machine: Machine
    work: Work
    loads: tuple[Load, ...]
    minutes: tuple[Minute, ...]
    admitted: int  # live sessions that the engine lets in before it says that it is full


# ---- the parts ----


def measure_load(model: Interaction, sessions: int, seconds: float, roof_ms: float, urge: float) -> Load:
    engine = Engine(model, slots=sessions)
    engine.warm_up(2)
    opened = [engine.open(pace=Pace.DRIVEN, listener=_take, eagerness=urge) for _ in range(sessions)]
    sound = _sound(sessions)
    ticks, began = 0, time.perf_counter()
    while ticks < 10 or time.perf_counter() - began < seconds / 2:
        for session, samples in zip(opened, sound, strict=True):
            session.push_audio(samples)
        engine.drain()
        ticks += 1
    tick_ms = 1000 * (time.perf_counter() - began) / ticks
    driven = engine.stats()
    engine.close()

    engine = Engine(model, slots=sessions)
    opened = [engine.open(listener=_take, eagerness=urge) for _ in range(sessions)]
    _live(engine, opened, sound, seconds)
    live = engine.stats()
    engine.close()
    return Load(
        sessions, driven.step, driven.gather, driven.deliver, tick_ms, _tick_ms(model, sessions),
        _tick_ms(OneAtATime(model), sessions), roof_ms,
        live.ticks, live.overdue, live.skipped, live.reaction, rss_mb(),
    )  # fmt: skip


def _live(engine: Engine, sessions: list[Session], sound: Floats, seconds: float) -> None:
    """Clients that began at different moments within a tick, in real time."""
    engine.start()
    start = engine.clock.now()
    step = TICK_MS / 1000 / len(sessions)
    for turn in range(round(seconds * TICKS_PER_SECOND) * len(sessions)):
        engine.clock.sleep_until(start + (turn + 1) * step)
        which = turn % len(sessions)
        sessions[which].push_audio(sound[which])


def measure_minutes(model: Interaction, minutes: list[int]) -> tuple[Minute, ...]:
    """This engine's session lives through every tick; the rivals are put into place and measured there."""
    c, marks, rows = model.config, _hour(model, minutes), []
    for minute, (engine_ms, rss) in zip(minutes, marks, strict=True):
        ticks = minute * TICKS_PER_MINUTE
        recompute, growing = _rival_ms(model, Recompute, ticks), _rival_ms(model, GrowingCache, ticks)
        _say(f"  minute {minute}: recomputed {recompute:.0f} ms, growing cache {growing:.1f} ms")
        place_mb = 2 * 4 * c.layers * c.kv_heads * c.head_dim / 1e6  # keys and values of one position
        rows.append(Minute(minute, engine_ms, recompute, growing, c.keys * place_mb, ticks * place_mb, rss))
    return tuple(rows)


def _hour(model: Interaction, minutes: list[int]) -> list[tuple[float, float]]:
    """Median tick (ms) of the minute that ends at each of `minutes`, and memory (MB) then."""
    engine = Engine(model, slots=1)
    session = engine.open(pace=Pace.DRIVEN, listener=_take, eagerness=-URGE)
    sound = _sound(16)
    marks = []
    recent: list[float] = []
    for tick in range(max(minutes) * TICKS_PER_MINUTE):
        began = time.process_time()
        session.push_audio(sound[tick % len(sound)])
        engine.run_once()
        recent.append(1000 * (time.process_time() - began))
        if (tick + 1) % TICKS_PER_MINUTE == 0:
            if (tick + 1) // TICKS_PER_MINUTE in minutes:
                marks.append((float(np.median(recent)), rss_mb()))
                _say(
                    f"  minute {(tick + 1) // TICKS_PER_MINUTE}: {marks[-1][0]:.1f} ms, {marks[-1][1]:.0f} MB"
                )
            recent.clear()
    engine.close()
    return marks


def _rival_ms(model: Interaction, kind: type[Recompute] | type[GrowingCache], ticks: int) -> float:
    with backbone_of(model, kind) as backbone:
        backbone.after(ticks)
        engine = Engine(model, slots=1)
        session = engine.open(pace=Pace.DRIVEN, listener=_take, eagerness=-URGE)
        sound = _sound(1)[0]
        spent: list[float] = []
        while len(spent) < 2 or (sum(spent) < 1500 and len(spent) < 30):
            began = time.process_time()
            session.push_audio(sound)
            engine.run_once()
            spent.append(1000 * (time.process_time() - began))
        engine.close()
    return float(np.median(spent[1:]))  # the first one warms up


def _tick_ms(model: Interaction, sessions: int) -> float:
    engine = Engine(model, slots=sessions)
    opened = [engine.open(pace=Pace.DRIVEN, listener=_take) for _ in range(sessions)]
    sound = _sound(sessions)

    def tick() -> None:
        for session, samples in zip(opened, sound, strict=True):
            session.push_audio(samples)
        engine.drain()

    tick()
    spent = []
    for _ in range(7):
        began = time.process_time()
        tick()
        spent.append(1000 * (time.process_time() - began))
    engine.close()
    return float(np.median(spent))


def measure_admission(model: Interaction, slots: int) -> int:
    engine = Engine(model, slots=slots)
    engine.warm_up()
    admitted = 0
    try:
        while admitted < slots:
            engine.open()
            admitted += 1
    except EngineFull:
        pass
    engine.close()
    return admitted


def _take(action: Action) -> bool:
    return True


def _sound(rows: int) -> Floats:
    noise = np.random.default_rng(0).normal(0, 0.05, (rows, HEAR_SAMPLES))
    return noise.astype(np.float32)


def rss_mb() -> float:
    """Memory of this process now, in MB."""
    return int(Path("/proc/self/statm").read_text("ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


# ---- the command ----


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", help="checkpoint to take instead of random weights")
    parser.add_argument("--config", default="nano", help="shape of the random weights (default: nano)")
    parser.add_argument("--sessions", default="1,8,32,64,128", help="sessions at once (default: %(default)s)")
    parser.add_argument("--minutes", default="1,10,60", help="moments of a long call (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=10.0, help="real time for each load (default: 10)")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads of a step (default: 1)")
    parser.add_argument(
        "--listening", action="store_true", help="nobody speaks (default: all do, all the time)"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    report = measure(args)
    print(json.dumps(asdict(report), indent=1) if args.json else table(report))
    return 0


def measure(args: argparse.Namespace) -> EngineReport:
    torch.set_num_threads(args.threads)
    model = load_model(args.model) if args.model else random_model(find_config(args.config))
    machine, work = measure_machine(), measure_work(model.config)
    sessions, minutes = _numbers(args.sessions), _numbers(args.minutes)
    long: tuple[Minute, ...] = ()
    if minutes:
        _say(f"one session through {max(minutes)} minutes, then its rivals")
        long = measure_minutes(model, minutes)
    loads = []
    urge = -URGE if args.listening else URGE
    for count in sessions:
        _say(f"{count} sessions")
        loads.append(measure_load(model, count, args.seconds, work.roof_ms(count, machine), urge))
    _say("admission")
    admitted = measure_admission(model, max(sessions, default=1))
    return EngineReport(model.spec.name, machine, work, tuple(loads), long, admitted)


def table(report: EngineReport) -> str:
    m = report.machine
    lines = [
        f"{report.model}, {report.work.parameters / 1e6:.1f} M parameters, {m.threads} thread(s): "
        f"{m.gflops:.0f} GFLOP/s, {m.gbytes_s:.1f} GB/s",
        "",
        "sessions  step p50   p95     p99  | roof  of roof | live ticks overdue skipped react p99 | RSS MB",
    ]
    for load in report.loads:
        step = load.step
        lines.append(
            f"{load.sessions:8} {step.p50_ms:9.1f} {step.p95_ms:7.1f} {step.p99_ms:7.1f} |"
            f"{load.roof_ms:6.1f} {load.roof_ms / step.p50_ms:8.0%} |"
            f"{load.live_ticks:11} {load.live_overdue:7} {load.live_skipped:7} "
            f"{load.live_reaction.p99_ms:9.0f} | {load.rss_mb:6.0f}"
        )
    if report.minutes:
        lines += [
            "",
            "minute   engine ms   recompute ms (×)      growing cache ms (×)   its MB  ours MB  RSS MB",
        ]
    for minute in report.minutes:
        lines.append(
            f"{minute.minute:6} {minute.engine_ms:11.1f} "
            f"{minute.recompute_ms:10.0f} ({minute.recompute_factor:7.1f}) "
            f"{minute.growing_ms:14.1f} ({minute.growing_factor:6.1f}) "
            f"{minute.growing_mb:12.1f} {minute.session_mb:8.1f} {minute.rss_mb:7.0f}"
        )
    lines += ["", "sessions   one at a time ms   batched ms   ×"]
    for load in report.loads:
        factor = load.one_at_a_time_ms / load.batched_ms
        lines.append(f"{load.sessions:8} {load.one_at_a_time_ms:16.1f} {load.batched_ms:12.1f} {factor:5.1f}")
    lines += ["", f"live sessions admitted: {report.admitted}"]
    return "\n".join(lines)


def _numbers(text: str) -> list[int]:
    try:
        numbers = sorted({int(part) for part in text.split(",") if part.strip()})
    except ValueError:
        raise ValueError(f"{text!r} is not a list of whole numbers, such as 1,8,32") from None
    if any(number < 1 for number in numbers):
        raise ValueError(f"{text!r}: every number must be 1 or more")
    return numbers


def _say(text: str) -> None:
    print(text + " …", file=sys.stderr, flush=True)

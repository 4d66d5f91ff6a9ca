"""`microturn plan`: what a model costs and how many sessions a device holds, before anything is built.

A step of B sessions takes at the least

    max(B · arithmetic ÷ FLOP/s, (weights + B · remembered) ÷ bytes/s) + operators · time to start one

and all sessions must be stepped within the engine's budget for a tick. Published peaks are never reached, so
a planned device is credited with a share of them; this machine is measured instead.
"""

import argparse
import json
import math
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace

import numpy as np
import torch

from microturn.clock import TICK_MS, TICKS_PER_SECOND
from microturn.cost import Cost, cost_of
from microturn.model.config import CONFIGS, ModelConfig, find_config

BUDGET_MS = TICK_MS / 2  # for the steps of all sessions; the rest of a tick is gathering, sending and slack
MOST_ROWS = 128  # in one step
ARITHMETIC_SHARE, BANDWIDTH_SHARE = 0.5, 0.75  # of published peaks
MOMENTS = (1.0, 10.0, 60.0)  # minutes
ROWS_CHECKED = (4, 16, 64)  # what --measure steps
MATRIX = 2048  # side of the matrix product that measures arithmetic
STREAM_BYTES = 256 << 20  # size of the copy that measures memory
MEASURABLE = 2e9  # parameters; more do not fit an ordinary machine's memory


@dataclass(frozen=True)
class Device:
    name: str
    what: str
    flops: float  # a second, in the precision of `number_bytes`
    bytes_s: float
    memory: float  # bytes
    number_bytes: int
    operator_s: float  # to start one operator
    share: tuple[float, float] = (ARITHMETIC_SHARE, BANDWIDTH_SHARE)


# Dense bf16 peaks, bandwidth and memory as the makers publish them; operators as kernels of a captured graph.
DEVICES = (
    Device("laptop", "8 Zen 4 cores, 3.8 GHz, LPDDR5X-7500", 8 * 32 * 3.8e9, 120e9, 32e9, 4, 3e-6),
    Device("h100", "NVIDIA H100 SXM, 80 GB", 989e12, 3.35e12, 80e9, 2, 2e-6),
    Device("h200", "NVIDIA H200 SXM, 141 GB", 989e12, 4.8e12, 141e9, 2, 2e-6),
    Device("b200", "NVIDIA B200, 180 GB", 2250e12, 8.0e12, 180e9, 2, 2e-6),
)
HERE = "cpu"


@dataclass(frozen=True)
class Machine:
    threads: int
    gflops: float  # large fp32 matrix product
    gbytes_s: float  # copy of a large tensor, reading and writing counted


@dataclass(frozen=True)
class Plan:
    """One config on one kind of device."""

    device: Device
    devices: int  # how many it takes to hold the weights
    sessions: int  # that all of them hold together
    step_ms: float  # with that many
    limit: str
    asked: int  # sessions that were asked about
    asked_ms: float
    asked_bytes: int

    @property
    def asked_fit(self) -> bool:
        return self.asked <= self.sessions


@dataclass(frozen=True)
class Check:
    """Planned against measured, on this machine."""

    sessions: int
    planned_ms: float
    measured_ms: float

    @property
    def ratio(self) -> float:
        return self.measured_ms / self.planned_ms


def step_s(cost: Cost, sessions: int, device: Device) -> tuple[float, float, float]:
    """Seconds when all speak and none sees: of arithmetic, of memory traffic, of starting operators."""
    total = [0.0, 0.0, 0.0]
    full, rest = divmod(sessions, MOST_ROWS)
    for rows, times in ((MOST_ROWS, full), (rest, 1 if rest else 0)):
        if not times:
            continue
        touched = 0.0
        if cost.experts:
            touched = cost.experts * (1 - (1 - cost.experts_active / cost.experts) ** rows)
        numbers = cost.weights + touched * cost.expert_weights + rows * cost.remembered
        total[0] += times * rows * (cost.flops + cost.voice_flops) / (device.flops * device.share[0])
        total[1] += times * numbers * device.number_bytes / (device.bytes_s * device.share[1])
        total[2] += times * cost.operators * device.operator_s
    return total[0], total[1], total[2]


def all_s(cost: Cost, sessions: int, device: Device) -> float:
    arithmetic, traffic, operators = step_s(cost, sessions, device)
    return max(arithmetic, traffic) + operators


def plan(cost: Cost, device: Device, asked: int, budget_ms: float = BUDGET_MS) -> Plan:
    """The most sessions whose steps fit the budget, on as few devices as hold the weights."""
    count = 1
    while cost.held_bytes(1, device.number_bytes) > count * device.memory:
        count *= 2
    # An ideal split: nothing is lost on the links between them.
    group = replace(
        device, flops=count * device.flops, bytes_s=count * device.bytes_s, memory=count * device.memory
    )

    def fits(sessions: int) -> bool:
        in_memory = cost.held_bytes(sessions, device.number_bytes) <= group.memory
        return in_memory and all_s(cost, sessions, group) * 1000 <= budget_ms

    most = 0
    for step in (1 << shift for shift in reversed(range(24))):
        if fits(most + step):
            most += step
    at = max(most, 1)
    times = dict(zip(("arithmetic", "bandwidth", "operators"), step_s(cost, at, group), strict=True))
    full = cost.held_bytes(most + 1, device.number_bytes) > group.memory
    return Plan(
        device=device,
        devices=count,
        sessions=most,
        step_ms=1000 * all_s(cost, at, group),
        limit="memory" if full else max(times, key=times.__getitem__),
        asked=asked,
        asked_ms=1000 * all_s(cost, asked, group),
        asked_bytes=cost.held_bytes(asked, device.number_bytes),
    )


def measure_machine() -> Machine:
    a = torch.randn(MATRIX, MATRIX)
    product_s = best_s(lambda: a @ a)
    source = torch.ones(STREAM_BYTES // 4)
    target = torch.empty_like(source)
    copy_s = best_s(lambda: target.copy_(source))
    return Machine(torch.get_num_threads(), 2 * MATRIX**3 / product_s / 1e9, 2 * STREAM_BYTES / copy_s / 1e9)


def best_s(work: Callable[[], object], rounds: int = 5) -> float:
    spent = []
    for _ in range(rounds):
        began = time.perf_counter()
        work()
        spent.append(time.perf_counter() - began)
    return min(spent)


def this_machine() -> Device:
    """Arithmetic, memory and the start of an operator, measured now with the threads that torch has."""
    machine = measure_machine()
    few = torch.zeros(4, 64)

    def many() -> None:
        with torch.inference_mode():
            for _ in range(1000):
                torch.add(few, few)

    threads = f"{machine.threads} thread{'s' if machine.threads > 1 else ''}, measured"
    return Device(
        HERE,
        threads,
        machine.gflops * 1e9,
        machine.gbytes_s * 1e9,
        float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")),
        4,
        best_s(many) / 1000,
        (1.0, 1.0),
    )


def check(c: ModelConfig, cost: Cost, here: Device) -> list[Check]:
    """Step random weights on this machine, some sessions at a time."""
    from microturn.model.interaction import random_model
    from microturn.streams import TickInput

    model = random_model(c)
    checks = []
    for rows in ROWS_CHECKED:
        model.allocate(rows)
        batch = TickInput.empty(rows, model.spec)
        batch.has_audio[:] = True
        batch.eagerness[:] = 1000  # all speak
        slots = np.arange(rows)
        for _ in range(3):
            model.step(slots, batch)
        measured = best_s(lambda s=slots, b=batch: model.step(s, b), rounds=10)  # type: ignore[misc]
        checks.append(Check(rows, 1000 * all_s(cost, rows, here), 1000 * measured))
    return checks


# ---- the command ----


def add_arguments(parser: argparse.ArgumentParser) -> None:
    names = ", ".join((HERE, *(d.name for d in DEVICES)))
    parser.description = "What a model costs, and how many sessions a device holds."
    parser.add_argument("config", help=f"{', '.join(CONFIGS)} or a JSON file")
    parser.add_argument("--device", metavar="NAME", help=f"one of {names} (default: all)")
    parser.add_argument(
        "--sessions", type=int, default=1, metavar="N", help="sessions to ask about (default: 1)"
    )
    parser.add_argument("--minutes", type=float, metavar="M", help="age of a call (default: 1, 10 and 60)")
    parser.add_argument(
        "--budget-ms", type=float, default=BUDGET_MS, metavar="MS", help="default: %(default)g"
    )
    parser.add_argument("--measure", action="store_true", help="step the model here and compare")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    c = find_config(args.config)
    known = {d.name for d in DEVICES} | {HERE}
    if args.device is not None and args.device not in known:
        raise ValueError(f"no device named {args.device!r}: use {', '.join(sorted(known))}")
    if (
        args.sessions < 1
        or not 0 < args.budget_ms <= TICK_MS
        or not (args.minutes is None or args.minutes > 0)
    ):
        raise ValueError(f"--sessions, --minutes must be positive and --budget-ms at most {TICK_MS}")
    cost = cost_of(c)
    if args.measure and cost.parameters > MEASURABLE:
        raise ValueError(
            f"{c.name} has {_parameters(cost.parameters)} parameters, too many to be measured here"
        )
    here = this_machine() if args.measure or args.device in (None, HERE) else None
    devices = [d for d in (here, *DEVICES) if d is not None and args.device in (None, d.name)]
    plans = [plan(cost, d, args.sessions, args.budget_ms) for d in devices]
    checks = check(c, cost, here) if args.measure and here is not None else []
    moments = MOMENTS if args.minutes is None else (args.minutes,)
    if args.json:
        caches = [
            {"minutes": m, "constant": cost.state_bytes(2), "growing": _growing(cost, m)} for m in moments
        ]
        report = {"cost": asdict(cost), "plans": [asdict(p) for p in plans], "cache_bytes_bf16": caches}
        report["checks"] = [{**asdict(one), "ratio": one.ratio} for one in checks]
        print(json.dumps(report, indent=1))
    else:
        print("\n".join(_lines(cost, plans, checks, moments, args.budget_ms)))
    return 0


def _growing(cost: Cost, minutes: float) -> int:
    """Bytes of an ordinary cache in bf16 that keeps every tick."""
    return round(cost.growth * minutes * 60 * TICKS_PER_SECOND * 2)


def _lines(
    cost: Cost, plans: list[Plan], checks: list[Check], moments: tuple[float, ...], budget_ms: float
) -> list[str]:
    whole, active = _parameters(cost.parameters), _parameters(cost.active)
    flops, voice, seeing = (_short(n) for n in (cost.flops, cost.voice_flops, cost.frame_flops))
    lines = [
        f"{cost.name}: {whole} parameters, {active} active in a tick",
        f"  arithmetic  {flops}FLOP a session a tick, {voice}FLOP more to speak, {seeing}FLOP more to see",
        f"  traffic     {_short(2 * cost.weights)}B of weights a step"
        + (f" and {_short(2 * cost.expert_weights)}B an expert" if cost.experts else "")
        + f", {_short(2 * cost.remembered)}B a session (bf16; twice that in fp32)",
        f"  state       {_short(cost.state_bytes(2))}B a session, for ever; a cache that keeps every tick: "
        + ", ".join(f"{_short(_growing(cost, m))}B after {m:g} min" for m in moments),
        "",
        f"sessions whose steps fit in {budget_ms:g} ms of every {TICK_MS} even when all speak:",
        f"  {'device':<14} {'sessions':>9} {'a device':>9} {'step':>10}  {'limit':<11} {'memory':>8}",
    ]
    for p in plans:
        name = p.device.name if p.devices == 1 else f"{p.devices} × {p.device.name}"
        held = cost.held_bytes(p.sessions, p.device.number_bytes)
        counts = f"{p.sessions:>9} {p.sessions / p.devices:>9.4g} {p.step_ms:>7.1f} ms"
        lines.append(f"  {name:<14} {counts}  {p.limit:<11} {_short(held):>7}B  {p.device.what}")
    if any(p.asked > 1 for p in plans):
        lines += ["", f"{plans[0].asked} sessions:"]
        lines += [
            f"  {p.device.name:<14} {'fit' if p.asked_fit else 'too many':<9} {p.asked_ms:>7.1f} ms a tick, "
            f"{_short(p.asked_bytes)}B"
            for p in plans
        ]
    if checks:
        lines += ["", "measured here, a step of random weights against the plan:"]
        lines += [
            f"  {k.sessions:>4} sessions  planned {k.planned_ms:7.1f} ms  measured {k.measured_ms:7.1f} ms  "
            f"ratio {k.ratio:.2f}"
            for k in checks
        ]
    shares = f"{ARITHMETIC_SHARE:.0%} of peak arithmetic and {BANDWIDTH_SHARE:.0%} of peak bandwidth"
    lines += ["", f"Published devices are credited with {shares}; groups of devices with ideal links."]
    return lines


def _short(number: float) -> str:
    """Three digits and a unit prefix, one blank between them."""
    if number <= 0:
        return "0 "
    power = min(max(int(math.log10(number)) // 3, 0), 5)
    return f"{number / 1000**power:.3g} {' kMGTP'[power].strip()}"


def _parameters(number: int) -> str:
    return _short(number).replace("G", "B").strip()

"""`python -m microturn.train.ablate`: what single choices are worth, on trainings small enough for an afternoon.

Every variant has the same processor time; its score after a quarter, half and all of it is shown, so that what is
only slower can be told from what is worse. Released weights had a thousand times as much: what shows here is a
direction, not a size. What is learned: small_worlds.py. A tick is a constant of the house, so each variant is a
process of its own, in which it was another from the start.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

Curve = list[dict[str, float]]


@dataclass(frozen=True)
class Variant:
    name: str
    tick_ms: int = 200
    window_s: float = 12.8
    memory: bool = True
    folded: bool = False  # silence is one more piece of the vocabulary, no decision of its own
    hop_ms: int = 0  # 0: the world of skills, else of words
    lossy: float = 0.0  # share of ticks that are dropped while it learns


VARIANTS = (
    Variant("tick 200 ms, window 12.8 s"),
    Variant("tick 100 ms", tick_ms=100),
    Variant("tick 400 ms", tick_ms=400),
    Variant("window 6.4 s", window_s=6.4),
    Variant("window 3.2 s", window_s=3.2),
    Variant("window 3.2 s, no memory", window_s=3.2, memory=False),
    Variant("decision folded into the words", folded=True),
    Variant("hop 10 ms", hop_ms=10),
    Variant("hop 25 ms", hop_ms=25),
    Variant("hop 50 ms", hop_ms=50),
    Variant("hop 10 ms, a tenth of the ticks lost", hop_ms=10, lossy=0.1),
)


def become(v: Variant) -> None:
    """Makes the constants of this process those of the variant, before anybody reads them."""
    from microturn import clock, streams

    clock.TICK_MS, clock.TICKS_PER_SECOND = v.tick_ms, 1000 // v.tick_ms
    clock.HEAR_SAMPLES = clock.HEAR_RATE * v.tick_ms // 1000
    clock.SPEAK_SAMPLES = clock.SPEAK_RATE * v.tick_ms // 1000
    streams.LEAD_TICKS = 400 // v.tick_ms
    from microturn.model import ears, memory

    hop_ms = v.hop_ms or 10
    ears.FRAMES, ears.HOP, ears.WINDOW = v.tick_ms // hop_ms, 16 * hop_ms, max(400, 32 * hop_ms)
    ears.CONTEXT, ears.FFT = ears.WINDOW - ears.HOP, max(512, 1 << (ears.WINDOW - 1).bit_length())
    ears._POWER_MEL = ears.PowerMel()
    if not v.memory:
        memory.schedule = lambda ticks, c: []
        memory.insert = lambda *entry: None


def table(found: dict[str, Curve]) -> Iterator[str]:
    for world in (False, True):
        rows = {v.name: found[v.name] for v in VARIANTS if bool(v.hop_ms) == world and v.name in found}
        names = list(dict.fromkeys(name for curve in rows.values() for name in curve[-1]))[2:]
        if rows:
            yield "| variant | steps | " + " | ".join(names) + " |\n|---|---" + "|---" * len(names) + "|"
        for name, curve in rows.items():
            cells = (" → ".join(f"{point[n]:.2f}" for point in curve) for n in names)
            yield f"| {name} | {curve[-1]['steps']:.0f} | " + " | ".join(cells) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m microturn.train.ablate")
    parser.add_argument("variants", nargs="*", help="parts of names (default: all)")
    parser.add_argument("--seconds", type=float, default=180.0, help="of processor time for each (180)")
    parser.add_argument("--tests", type=int, default=100, help="episodes that are scored (100)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--out", type=Path, default=Path("runs/out/ablations.json"), help="what is there is kept"
    )
    parser.add_argument("--one", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        (v,) = (v for v in VARIANTS if v.name == args.one)
        become(v)
        from microturn.train import small_worlds

        world = small_worlds.words if v.hop_ms else small_worlds.skills
        print(json.dumps(world(v, args.seconds, args.tests, args.seed)))
        return
    for part in args.variants:
        if not any(part in v.name for v in VARIANTS):
            parser.error(f"no variant is called {part!r}: {', '.join(v.name for v in VARIANTS)}")
    found: dict[str, Curve] = json.loads(args.out.read_text("utf-8")) if args.out.is_file() else {}
    same = [f"--{name}={getattr(args, name)}" for name in ("seconds", "tests", "seed")]
    for v in VARIANTS:
        if v.name not in found and any(part in v.name for part in args.variants or [""]):
            command = (sys.executable, "-m", "microturn.train.ablate", "--one", v.name, *same)
            done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
            found[v.name] = json.loads(done.stdout)
            args.out.parent.mkdir(parents=True, exist_ok=True)
            args.out.write_text(json.dumps(found, indent=1) + "\n", "utf-8")
    print("\n".join(table(found)))


if __name__ == "__main__":
    main()

"""`microturn bench experts`: at which batch does gathering the chosen experts' weights stop to pay?

A routed feed-forward can be computed by gathering weights (matrix-vector products that read only what the rows
chose) or by grouping rows (one matrix product per expert). Both give the same; which is faster depends on the
number of rows, and a server steps few. Times are medians on this machine, of both ways in one run.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from microturn.model.layers import Routed

ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
REPEATS = 15


@dataclass(frozen=True)
class Row:
    rows: int
    gathered_ms: float
    grouped_ms: float

    @property
    def factor(self) -> float:
        """How many times faster gathering is."""
        return self.grouped_ms / self.gathered_ms


def _median_ms(work: Callable[..., Tensor], *given: Tensor) -> float:
    work(*given)
    times = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        work(*given)
        times.append(time.perf_counter() - began)
    return statistics.median(times) * 1000


@torch.inference_mode()
def measure(dim: int, width: int, experts: int, active: int) -> list[Row]:
    torch.manual_seed(0)
    layer = Routed(dim, width, experts, active, shared=0).eval()
    found = []
    for rows in ROWS:
        x = torch.randn(rows, dim)
        given = x, *layer.route(x)
        found.append(Row(rows, _median_ms(layer.gathered, *given), _median_ms(layer.grouped, *given)))
    return found


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--dim", type=int, default=384)
    parser.add_argument("--width", type=int, default=512, help="of one expert")
    parser.add_argument("--experts", type=int, default=32)
    parser.add_argument("--active", type=int, default=2)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")


def run(args: argparse.Namespace) -> int:
    torch.set_num_threads(args.threads)
    found = measure(args.dim, args.width, args.experts, args.active)
    slower = [r.rows for r in found if r.factor < 1]
    if args.json:
        stops = slower[0] if slower else None
        print(json.dumps({"stops_to_pay_at": stops, "rows": [asdict(r) for r in found]}))
        return 0
    print(
        f"{args.experts} experts of {args.dim}×{args.width}, {args.active} active, {args.threads} thread(s)"
    )
    for r in found:
        both = f"gathered {r.gathered_ms:8.2f} ms, grouped {r.grouped_ms:8.2f} ms"
        print(f"{r.rows:4d} rows: {both}, ×{r.factor:.2f}")
    print(f"gathering {f'stops to pay at {slower[0]}' if slower else f'pays up to {ROWS[-1]}'} rows")
    return 0

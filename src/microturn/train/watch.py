"""What one sees of a run while it trains: a moving view, a line every half minute, scores, a picture of the curves.

Scores are those of `microturn bench`, on a few cases; real people first: they are what steers the data.
"""

import copy
import json
import time
from collections import deque
from collections.abc import Iterable
from pathlib import Path

from rich.console import Console
from rich.live import Live
from rich.table import Table

from microturn.bench.evaluate import evaluate
from microturn.model.interaction import Interaction
from microturn.model.network import Network
from microturn.model.tokenizer import PieceTokenizer
from microturn.train.mouth.look import curves

PRINT_SECONDS = 30
CASES = 16
HEADS = {"decision": "#2a6f97", "say": "#bc4749", "hear": "#6a994e", "sound": "#7d5ba6", "word": "#c08552"}
HEADS |= {"where": "#2a9d8f", "what": "#9b5de5", "moves": "#6c757d", "sight": "#2a9d8f"}
BARS = " ▁▂▃▄▅▆▇█"
SHOWN = 60  # steps in the moving view


class Watch:
    def __init__(self, folder: Path, suites: tuple[str, ...], seed: int) -> None:
        self.folder, self.suites, self.seed = folder, suites, seed
        self._printed = 0.0
        self._recent: list[dict[str, float]] = []
        self._last: deque[dict[str, float]] = deque(maxlen=SHOWN)
        self._view = Live(console=Console(), auto_refresh=False, transient=True)
        if self._view.console.is_terminal:
            self._view.start()

    def log(self, step: int, minutes: float, numbers: dict[str, float]) -> None:
        self._recent.append(numbers)
        self._last.append(numbers)
        if self._view.is_started:
            self._view.update(_moving(step, minutes, self._last), refresh=True)
        if time.monotonic() - self._printed < PRINT_SECONDS:
            return
        told = {
            k: [r[k] for r in self._recent if k in r]
            for k in dict.fromkeys(k for r in self._recent for k in r)
        }
        mean = {k: sum(values) / len(values) for k, values in told.items()}
        self._recent, self._printed = [], time.monotonic()
        shown = "  ".join(f"{k} {v:.3f}" for k, v in mean.items())
        print(f"step {step:6d} {minutes:6.1f} min  {shown}", flush=True)
        self._write({"step": step, "minutes": round(minutes, 2), **mean})

    def _write(self, row: dict[str, object]) -> None:
        with (self.folder / "log.jsonl").open("a", encoding="utf-8") as log:
            log.write(json.dumps(row) + "\n")

    def look(self, network: Network, step: int, minutes: float) -> None:
        """Score a copy of the network, free running."""
        interaction = Interaction(copy.deepcopy(network).to("cpu"), PieceTokenizer.load(), voice="")
        scores: dict[str, object] = {"step": step, "minutes": round(minutes, 2)}
        for suite in self.suites:
            try:
                rows = evaluate(interaction, suite, CASES, self.seed).rows
            except (ValueError, OSError) as error:  # no recordings here, say: no reason to stop learning
                print(f"   {suite}: {error}", flush=True)
                continue
            for measure in rows[0].measures:
                if measure.value is not None:
                    scores[f"{suite}.{measure.name}"] = round(measure.value, 3)
        print("   " + "  ".join(f"{k} {v}" for k, v in scores.items()), flush=True)
        self._write(scores)
        curves(self.folder, HEADS).save(self.folder / "curves.png")


def _moving(step: int, minutes: float, last: Iterable[dict[str, float]]) -> Table:
    """Each head's loss over the last steps."""
    table = Table(title=f"step {step}   {minutes:.1f} min", box=None)
    rows = list(last)
    for head, colour in HEADS.items():
        values = [row[head] for row in rows if head in row]
        if not values:
            continue
        low, high = min(values), max(values)
        scale = (len(BARS) - 1) / max(high - low, 1e-6)
        bars = "".join(BARS[round((value - low) * scale)] for value in values)
        table.add_row(head, f"{sum(values) / len(values):.3f}", f"[{colour}]{bars}")
    return table

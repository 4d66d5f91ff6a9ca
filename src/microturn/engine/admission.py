"""Would one more session still meet its deadline? Answered from measured step times.

The worst moment is the one in which every session is ready at once: then all must be stepped, in as many
rounds of the largest batch as it takes, within half a tick. The time of a round is the measured 99th
percentile for its batch size; for a size not measured lately it is bounded by its neighbours: a batch takes
no longer than a larger one, and growing it by a factor costs at most that factor.
"""

from microturn.clock import TICK_MS
from microturn.engine.stats import Histogram

STEP_BUDGET_S = TICK_MS / 1000 / 2  # of the 200 ms; the rest is gathering, sending and slack


class EngineFull(Exception):
    """No room for another session now; ask again after `retry_after_s`."""

    def __init__(self, reason: str, retry_after_s: float) -> None:
        super().__init__(f"{reason}; retry after {retry_after_s:g} s")
        self.retry_after_s = retry_after_s


class Admission:
    def __init__(self, batch_sizes: tuple[int, ...], budget_s: float = STEP_BUDGET_S) -> None:
        self._sizes = batch_sizes
        self._budget_s = budget_s
        self._steps = {size: Histogram() for size in batch_sizes}

    def record(self, size: int, seconds: float) -> None:
        self._steps[size].add(seconds)

    def size_for(self, sessions: int) -> int:
        """The smallest batch that holds so many, or the largest there is."""
        return next((size for size in self._sizes if size >= sessions), self._sizes[-1])

    def round_s(self, size: int) -> float:
        """Seconds that one step of `size` rows takes at worst; 0 when nothing was measured yet."""
        bounds = [
            steps.quantile(0.99) * max(1.0, size / measured)
            for measured, steps in self._steps.items()
            if steps.count
        ]
        return min(bounds, default=0.0)

    def all_at_once_s(self, sessions: int) -> float:
        rounds, rest = divmod(sessions, self._sizes[-1])
        return rounds * self.round_s(self._sizes[-1]) + (self.round_s(self.size_for(rest)) if rest else 0.0)

    def admits(self, sessions: int) -> bool:
        """The first session is always let in: an empty engine has no newer measurement to offer than none."""
        return sessions <= 1 or self.all_at_once_s(sessions) <= self._budget_s

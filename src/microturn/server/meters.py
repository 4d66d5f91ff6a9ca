"""What is measured, as Prometheus reads it: the engine's own figures, and those of the conversations."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Histogram, disable_created_metrics, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric, SummaryMetricFamily
from prometheus_client.registry import Collector

from microturn.background import Delegation
from microturn.clock import WallClock
from microturn.engine import EngineFull
from microturn.engine.stats import Spread
from microturn.server.conversation import Beat, Conversation
from microturn.streams import Decision

if TYPE_CHECKING:
    from microturn.server.lobby import Lobby

disable_created_metrics()  # type: ignore[no-untyped-call]
SECONDS = (0.1, 0.2, 0.3, 0.4, 0.6, 1.0, 2.0, 5.0, 10.0)


class Meters:
    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.sessions, self.delegations, self.busy, self.refused = (
            Counter(f"microturn_{name}", text, registry=self.registry)
            for name, text in (
                ("sessions_begun", "Conversations that were begun"),
                ("delegations", "Pieces of work that the model handed over"),
                ("busy", "Openings that were answered with busy"),
                ("refused", "Requests and openings that were refused for another reason"),
            )
        )
        self.first_audio = Histogram(
            "microturn_first_audio_seconds",
            "From opening to the first sound that is sent, silence included",
            buckets=SECONDS,
            registry=self.registry,
        )
        self.yielded = Histogram(
            "microturn_yield_seconds", "From deciding to listen to the first quiet tick sent",
            buckets=SECONDS, registry=self.registry,
        )  # fmt: skip
        self._clock = WallClock()

    def refuse(self, error: Exception) -> None:
        (self.busy if isinstance(error, EngineFull) else self.refused).inc()

    def watch(self, conversation: Conversation) -> Callable[[object], None]:
        self.sessions.inc()
        began, first = self._clock.now(), True
        listening: float | None = None  # since when, after having spoken, until it is quiet
        spoke = False

        def watch(note: object) -> None:
            nonlocal first, listening, spoke
            if isinstance(note, Delegation):
                self.delegations.inc()
            if not isinstance(note, Beat):
                return
            now = self._clock.now()
            if first:
                self.first_audio.observe(now - began)
                first = False
            if note.action.decision is Decision.SPEAK:
                spoke, listening = True, None
            elif spoke:
                listening = listening or now
                if note.action.speech is None:
                    self.yielded.observe(now - listening)
                    spoke, listening = False, None

        return watch

    def report(self, lobby: Lobby) -> bytes:
        registry = CollectorRegistry()
        registry.register(_Engine(lobby))
        return generate_latest(registry) + generate_latest(self.registry)


class _Engine(Collector):
    def __init__(self, lobby: Lobby) -> None:
        self._lobby = lobby

    def collect(self) -> Iterator[Metric]:
        stats = self._lobby.engine.stats()
        for name, text, value in (
            ("slots", "Sessions that the engine has room for", stats.slots),
            ("sessions", "Slots that are taken", stats.sessions),
            ("conversations", "Conversations that are open", len(self._lobby.open)),
            ("backlog_ticks", "Whole ticks waiting to be stepped", stats.backlog),
        ):
            yield GaugeMetricFamily(f"microturn_{name}", text, value)
        for name, text, value in (
            ("ticks", "Ticks that were stepped", stats.ticks),
            ("steps", "Calls of the model", stats.steps),
            ("missed_ticks", "Ticks in which no sound came", stats.missed),
            ("late_ticks", "Ticks of sound that came too late", stats.late),
            ("skipped_ticks", "Ticks that never happened", stats.skipped),
            ("deadline_misses", "Live actions that took longer than a tick", stats.overdue),
            ("failed_sessions", "Sessions ended by an error", stats.failed),
            ("refused_sessions", "Openings refused by the engine", stats.refused),
        ):
            yield CounterMetricFamily(f"microturn_{name}", text, value)
        for name in ("gather", "step", "deliver", "reaction"):
            yield from _spread(name, f"Seconds that {name} takes", getattr(stats, name))
        if self._lobby.journal:
            yield from _spread(
                "journal_lag", "Seconds from a tick to its commit", self._lobby.journal.lag.spread()
            )


def _spread(name: str, text: str, spread: Spread) -> Iterator[Metric]:
    summary = SummaryMetricFamily(f"microturn_{name}_seconds", text, spread.count, spread.sum_ms / 1000)
    for share, ms in ((0.5, spread.p50_ms), (0.95, spread.p95_ms), (0.99, spread.p99_ms)):
        summary.add_sample(f"microturn_{name}_seconds", {"quantile": str(share)}, ms / 1000)
    yield summary

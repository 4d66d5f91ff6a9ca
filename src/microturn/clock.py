"""Tick arithmetic and the injected clock. Nothing else in the code reads wall time."""

import time
from dataclasses import dataclass
from typing import Protocol

TICK_MS = 200
TICKS_PER_SECOND = 5
HEAR_RATE = 16_000  # Hz, what the model hears
SPEAK_RATE = 24_000  # Hz, what the model says
HEAR_SAMPLES = HEAR_RATE * TICK_MS // 1000  # 3,200 a tick
SPEAK_SAMPLES = SPEAK_RATE * TICK_MS // 1000  # 4,800 a tick


def tick_of(ms: float) -> int:
    """The tick that covers media time `ms`: tick k covers [200·k, 200·(k+1))."""
    return int(ms // TICK_MS)


def start_ms(tick: int) -> int:
    return tick * TICK_MS


def end_ms(tick: int) -> int:
    return (tick + 1) * TICK_MS


class Clock(Protocol):
    """Seconds from an arbitrary origin, never going back."""

    def now(self) -> float: ...

    def sleep_until(self, when: float) -> None: ...


class WallClock:
    """The one place that asks the operating system for the time."""

    def now(self) -> float:
        return time.monotonic()

    def sleep_until(self, when: float) -> None:
        delay = when - time.monotonic()
        if delay > 0:
            time.sleep(delay)


def calendar_s() -> float:
    """Seconds since 1970: for what is kept or shown, never for media time."""
    return time.time()


@dataclass
class VirtualClock:
    """A clock that a test moves by hand; sleeping advances it."""

    seconds: float = 0.0

    def now(self) -> float:
        return self.seconds

    def sleep_until(self, when: float) -> None:
        self.seconds = max(self.seconds, when)

    def advance(self, seconds: float) -> None:
        self.seconds += seconds

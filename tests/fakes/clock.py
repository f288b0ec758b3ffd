"""Time that a test moves."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

START = datetime(2026, 1, 1, 12, tzinfo=UTC)


class SteppedClock:
    """Implements the `Clock` port; stands still until told."""

    def __init__(self) -> None:
        self.seconds = 1000.0
        self.offset = 0.0
        """By how many seconds somebody set the wall clock ahead; timers do not see it."""

    def monotonic(self) -> float:
        return self.seconds

    def now(self) -> datetime:
        return START + timedelta(seconds=self.seconds + self.offset)

    def advance(self, seconds: float) -> None:
        """Let so many seconds pass."""
        self.seconds += seconds


class WallClock:
    """Implements the `Clock` port with real wall time, because file times are real. `ahead`: seconds that a test adds."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def monotonic(self) -> float:
        return self.ahead

    def now(self) -> datetime:
        return datetime.fromtimestamp(time.time() + self.ahead, UTC)

"""Time as a parameter: the only place that reads a clock.

Monotonic seconds for every wait and deadline; wall time only for what people read and for file times.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime


class SystemClock:
    """The machine's clocks."""

    def monotonic(self) -> float:
        """Seconds that never jump."""
        return time.monotonic()

    def now(self) -> datetime:
        """The time of day, aware, in UTC."""
        return datetime.now(UTC)

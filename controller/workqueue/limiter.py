"""How long a key that failed waits for its next try: exponential back-off per key, on tenacity's arithmetic.

It is for `WorkQueue.add_rate_limited`; it counts failures and answers delays, and waits for nothing itself.
What is a failure does not belong here, nor do limits over all keys: one bad key must not slow the others.
"""

from __future__ import annotations

import math
from collections.abc import Hashable
from random import Random
from typing import Generic, TypeVar

from tenacity import RetryCallState, Retrying
from tenacity.wait import wait_exponential

K = TypeVar("K", bound=Hashable)


class ExponentialBackoff(Generic[K]):
    """Delays of base, 2·base, 4·base, … per key, never more than max.

    With `jitter` given, each delay is drawn evenly between 0 and that ("full jitter").
    A key is remembered until `forget`, so forget on success, or the history grows for ever.
    Not safe for threads: a `WorkQueue` calls it with its lock held.
    """

    def __init__(self, base_seconds: float, max_seconds: float, jitter: Random | None = None) -> None:
        if not 0 < base_seconds <= max_seconds < math.inf:
            raise ValueError(f"want 0 < base <= max, both finite; got base {base_seconds}, max {max_seconds}")
        # tenacity's own jittered waits draw from the global random; drawn here, a seeded run can be repeated.
        self._wait = wait_exponential(multiplier=base_seconds, max=max_seconds)
        self._retrying = Retrying()  # only because a RetryCallState cannot be had without one
        self._jitter = jitter
        self._failures: dict[K, int] = {}

    def when(self, key: K) -> float:
        """Record a failure of `key` and answer how many seconds to wait before its next try."""
        earlier = self._failures.get(key, 0)
        self._failures[key] = earlier + 1
        ceiling = self.ceiling(earlier)
        return ceiling if self._jitter is None else self._jitter.uniform(0, ceiling)

    def forget(self, key: K) -> None:
        """Start `key` afresh, as after a success. No effect on a key without failures."""
        self._failures.pop(key, None)

    def num_requeues(self, key: K) -> int:
        """The failures of `key` recorded since the last `forget`."""
        return self._failures.get(key, 0)

    def ceiling(self, earlier_failures: int) -> float:
        """The longest delay that follows so many earlier failures: base·2ⁿ, capped. Records nothing."""
        attempt = RetryCallState(self._retrying, fn=None, args=(), kwargs={})
        attempt.attempt_number = earlier_failures + 1
        return self._wait(attempt)

"""The queue as a state machine: every rule of who runs when, with the time as an argument.

It is for the locked shell in `queue.py` and for simulations, which call it from one thread at a time.
Locks, threads, waiting and clocks do not belong here; how long to back off is the limiter's question.
"""

from __future__ import annotations

import heapq
import math
from collections import deque
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, Generic, Protocol, TypeVar

K = TypeVar("K", bound=Hashable)

# Ages of running work grow with no event to report them, so they are reported on this beat.
RUNNING_REPORT_SECONDS: Final = 0.5


class Clock(Protocol):
    """Where the shell reads the time; it never goes backwards and has no relation to the wall clock."""

    def monotonic(self) -> float: ...


class Metrics(Protocol):
    """What the queue tells about itself; the names in the docstrings are those Prometheus shows.

    It is called with the queue's lock held: an implementation must not block, raise, or call the queue.
    """

    def added(self, depth: int) -> None:
        """An add was accepted, not collapsed: `workqueue_adds_total` + 1, `workqueue_depth` = depth."""

    def got(self, depth: int, queued_seconds: float) -> None:
        """A key was handed out: `workqueue_depth` = depth, and `workqueue_queue_duration_seconds` observes.

        The time is that since the accepted add; for a key that was re-added while handed out, that re-add.
        """

    def finished(self, worked_seconds: float) -> None:
        """A key is done: `workqueue_work_duration_seconds` observes the time since its get."""

    def retried(self) -> None:
        """An add with a delay was asked for, zero included: `workqueue_retries_total` + 1."""

    def running(self, unfinished_seconds: float, longest_seconds: float) -> None:
        """Sum and maximum of the ages of the keys now handed out; they are set, not added.

        `workqueue_unfinished_work_seconds` and `workqueue_longest_running_processor_seconds`, each half
        second while any key is out, and once more for the zero.
        """


class _NoMetrics:
    def added(self, depth: int) -> None:
        pass

    def got(self, depth: int, queued_seconds: float) -> None:
        pass

    def finished(self, worked_seconds: float) -> None:
        pass

    def retried(self) -> None:
        pass

    def running(self, unfinished_seconds: float, longest_seconds: float) -> None:
        pass


NO_METRICS: Final[Metrics] = _NoMetrics()


@dataclass(frozen=True, slots=True, order=True)
class _Delayed(Generic[K]):
    due: float
    serial: int  # equal due times leave in the order in which they came
    key: K = field(compare=False)  # keys need not be orderable


class QueueState(Generic[K]):
    """Who is queued, who is handed out, who must run again, and who waits for a time.

    A key moves like this; `add` is the only way in, `done` the only way out:

        add_after --tick--> add --> dirty, queued --get--> processing --done--> gone
                                                            |  ^
                                        add while processing|  |done, get
                                                            v  |
                                                  processing, dirty

    Invariants, true between any two calls:

    - A key is queued exactly when it is dirty and not processing, and then exactly once.
    - So `depth`, the accepted adds minus the gets, is the number of dirty keys; it may exceed `len()`.
    - A key waits for at most one due time, the earliest asked for; it may be dirty or processing as well.
    - The head of the heap is the live entry of its key, so reading the next due time changes nothing.
    - Once shutting down, nothing enters from outside, nothing waits, and no running work is reported.

    Keys are immutable and hashable; `None` is not a key. `now` never decreases from call to call.
    Not safe for threads: the caller holds a lock or has but one thread.
    """

    def __init__(self, metrics: Metrics = NO_METRICS) -> None:
        self._metrics = metrics
        self._queue: deque[K] = deque()
        self._dirty: dict[K, float] = {}  # key -> when the add was accepted
        self._processing: dict[K, float] = {}  # key -> when it was handed out
        self._waiting: dict[K, _Delayed[K]] = {}  # key -> its one live entry
        self._heap: list[_Delayed[K]] = []  # live entries, and stale ones that an earlier due time replaced
        self._serial = 0
        self._report_at: float | None = None  # the next beat of `Metrics.running`; None while nothing runs
        self._shutting_down = False

    # -- transitions ------------------------------------------------------------------------------
    # Each tells the metrics last, when the state is whole again.

    def add(self, key: K, now: float) -> None:
        """Ask for a run of `key`. An add that finds the key dirty collapses; after shutdown it is dropped.

        A waiting entry of the same key stays and fires later: the caller asked for both.
        """
        if self._shutting_down or key in self._dirty:
            return
        self._dirty[key] = now
        if key not in self._processing:
            self._queue.append(key)
        self._metrics.added(self.depth)

    def add_after(self, key: K, delay: float, now: float) -> None:
        """Ask for a run of `key` in `delay` seconds, or now if that is not positive; `tick` makes it happen.

        Of two due times of one key the earlier one stands, whichever was asked for first.
        """
        if not math.isfinite(delay):
            raise ValueError(f"delay must be a finite number of seconds, not {delay}")
        if self._shutting_down:
            return
        if delay <= 0:
            self.add(key, now)
        else:
            self._wait_until(key, now + delay)
        self._metrics.retried()

    def tick(self, now: float) -> float | None:
        """Add the keys that are due, in due order; answer when the next tick has something to do, or None."""
        # A stale head is dropped whatever its time, see the invariant on the head.
        while self._heap and (self._heap[0].due <= now or self._is_stale(self._heap[0])):
            entry = heapq.heappop(self._heap)
            if not self._is_stale(entry):
                del self._waiting[entry.key]
                self.add(entry.key, now)
        if self._report_at is not None and self._report_at <= now:
            # The beat ends one report after the last key is done, so that the gauges come to rest at zero.
            self._report_at = now + RUNNING_REPORT_SECONDS if self._processing else None
            ages = [now - since for since in self._processing.values()]
            self._metrics.running(sum(ages), max(ages, default=0.0))
        return self.next_due

    def get(self, now: float) -> K | None:
        """Hand out the head, or None if nothing is queued. The caller owes exactly one `done` for the key."""
        if not self._queue:
            return None
        key = self._queue.popleft()
        added_at = self._dirty.pop(key)
        self._processing[key] = now
        # With no one listening there is no beat: an idle machine is not woken twice a second for nothing.
        if self._report_at is None and self._metrics is not NO_METRICS and not self._shutting_down:
            self._report_at = now + RUNNING_REPORT_SECONDS
        self._metrics.got(self.depth, now - added_at)
        return key

    def done(self, key: K, now: float) -> bool:
        """Take `key` back; if it is dirty again it joins the tail. False, and no change, if it is not out.

        Without that check a second `done` of a dirty key would queue it twice, and two workers would run it
        at once (kubernetes/kubernetes#79934).
        """
        if key not in self._processing:
            return False
        started_at = self._processing.pop(key)
        if key in self._dirty:
            # Also while shutting down: the add was accepted before, so its run is owed.
            self._queue.append(key)
        self._metrics.finished(now - started_at)
        return True

    def shut_down(self) -> None:
        """Take no more adds and drop what waits for a time. What is dirty is still handed out. Idempotent."""
        self._shutting_down = True
        self._waiting.clear()
        self._heap.clear()
        self._report_at = None

    # -- answers ----------------------------------------------------------------------------------

    def __len__(self) -> int:
        """The keys that `get` could hand out now. For display; never for control."""
        return len(self._queue)

    @property
    def depth(self) -> int:
        """Accepted adds minus gets: like `len()`, plus the keys that became dirty while handed out."""
        return len(self._dirty)

    @property
    def shutting_down(self) -> bool:
        return self._shutting_down

    @property
    def idle(self) -> bool:
        """Nothing queued and nothing handed out. What waits for a time does not count."""
        return not self._queue and not self._processing

    def holds(self, keys: Iterable[K]) -> bool:
        """Whether any of these keys is queued or handed out. What waits for a time does not count."""
        return any(key in self._dirty or key in self._processing for key in keys)

    @property
    def next_due(self) -> float | None:
        """When the next `tick` has something to do, or None while time alone changes nothing."""
        due, report_at = self._heap[0].due if self._heap else None, self._report_at
        if due is None or report_at is None:
            return due if report_at is None else report_at
        return min(due, report_at)

    @property
    def queued(self) -> tuple[K, ...]:
        """The keys in the order in which `get` will hand them out."""
        return tuple(self._queue)

    @property
    def dirty(self) -> frozenset[K]:
        return frozenset(self._dirty)

    @property
    def processing(self) -> tuple[K, ...]:
        """The keys handed out and not done, longest running first."""
        return tuple(self._processing)

    @property
    def waiting(self) -> Mapping[K, float]:
        """The due time of each key that waits for one."""
        return {key: entry.due for key, entry in self._waiting.items()}

    # -- the heap ---------------------------------------------------------------------------------

    def _wait_until(self, key: K, due: float) -> None:
        standing = self._waiting.get(key)
        if standing is not None and standing.due <= due:
            return
        self._serial += 1
        self._waiting[key] = entry = _Delayed(due, self._serial, key)
        # heapq cannot move an entry, so a replaced one stays behind as stale. It sorts after its replacement,
        # hence is never the head here; `tick` drops it when it gets there.
        heapq.heappush(self._heap, entry)
        if len(self._heap) > 2 * len(self._waiting):
            # Far-off stale entries would pile up behind near ones for as long as their time has not come.
            self._heap = sorted(self._waiting.values())  # a sorted list is a heap

    def _is_stale(self, entry: _Delayed[K]) -> bool:
        return self._waiting.get(entry.key) is not entry

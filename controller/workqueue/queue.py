"""The queue that threads share: `QueueState` inside one lock, and one thread that lets time pass for it.

It is for event sources, which add, and for workers, which loop over get, work, done.
Rules of order and collapse do not belong here but in `state.py`; this file only locks, waits and wakes.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Hashable, Iterable
from typing import Final, Generic, TypeVar

from controller.workqueue.limiter import ExponentialBackoff
from controller.workqueue.state import NO_METRICS, Clock, Metrics, QueueState

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")

TIMER_THREAD_NAME: Final = "homeport-queue-timer"

logger = logging.getLogger(__name__)


def log_misuse(key: object) -> None:
    """The default answer to a `done` too many: a programming error worth a line, not worth a crash."""
    logger.error("done of a key that is not handed out", extra={"key": key})


class WorkQueue(Generic[K]):
    """A queue of keys for several workers. A worker's whole duty:

        while (key := queue.get()) is not None:
            try:
                ...                     # forget(key) on success, add_rate_limited(key) on failure
            finally:
                queue.done(key)

    Invariants, beside those of `QueueState`:

    - There is one lock, and it guards every field that changes. Under it only the state, the limiter, the clock and
      the metrics are called; none of these does I/O or calls back.
    - Getters, the timer and drainers each wait on a condition of their own, for a predicate. Every change is made by
      `_change`, which wakes no more of them than have something to do: where a thousand events a second are taken in,
      to wake eight idle workers for each of them was a tenth of what the whole service did.
    - The timer thread lives from `start` to shutdown; both forms of shutdown have joined it when they return.
      It never takes a wake-up for proof that the time has come: it asks the clock again.

    Shutting down joins a thread that needs the lock, so do not call it from a signal handler, which may run
    in the middle of a call that holds the lock; let the handler set an event for which a thread waits.
    """

    def __init__(
        self,
        clock: Clock,
        limiter: ExponentialBackoff[K],
        *,
        metrics: Metrics = NO_METRICS,
        on_misuse: Callable[[K], None] = log_misuse,
    ) -> None:
        self._clock = clock
        self._on_misuse = on_misuse
        self._lock = threading.Lock()  # guards all that follows
        # For getters: a key can be handed out, or none will be.
        self._queued = threading.Condition(self._lock)
        # For the timer: the next time is another than the one that it sleeps for.
        self._sooner = threading.Condition(self._lock)
        # For drainers: the last key is done.
        self._at_rest = threading.Condition(self._lock)
        self._state: QueueState[K] = QueueState(metrics)
        self._limiter = limiter  # from here on it is the queue's alone
        self._timer: threading.Thread | None = None
        self._due: float | None = None  # what the timer sleeps for
        self._forced = 0  # plain shutdowns so far, see shut_down_with_drain

    def start(self) -> None:
        """Start the timer. Before this, add and get work, but delayed keys wait, however overdue."""
        with self._lock:
            if self._timer is not None:
                raise RuntimeError("the queue was started before")
            if self._state.shutting_down:
                return
            self._timer = threading.Thread(target=self._run_timer, name=TIMER_THREAD_NAME, daemon=True)
            self._timer.start()

    # -- for event sources ------------------------------------------------------------------------

    def add(self, key: K) -> None:
        """Ask for a run of `key`; see `QueueState.add`."""
        with self._lock:
            self._change(self._state.add, key)

    def add_after(self, key: K, delay: float) -> None:
        """Ask for a run of `key` in `delay` seconds; see `QueueState.add_after`."""
        with self._lock:
            self._change(self._state.add_after, key, delay)

    # -- for workers ------------------------------------------------------------------------------

    def get(self) -> K | None:
        """Wait for a key and hand it out; the caller owes one `done`, also after an exception.

        None means: shutting down and nothing queued, so the worker may go. A key that is dirty while another
        worker has it is that worker's to run again.
        """
        with self._lock:
            self._queued.wait_for(lambda: len(self._state) > 0 or self._state.shutting_down)
            return self._change(self._state.get)

    def done(self, key: K) -> None:
        """Give `key` back. If it is not handed out, nothing changes and `on_misuse` is told."""
        with self._lock:
            was_out = self._change(self._state.done, key)
        if not was_out:
            self._on_misuse(key)

    def add_rate_limited(self, key: K) -> None:
        """Record a failure of `key` and ask for its next run after the back-off."""
        with self._lock:
            self._change(self._state.add_after, key, self._limiter.when(key))

    def backoff(self, key: K) -> float:
        """Record a failure of `key` and answer the seconds to wait; the caller adds the key itself."""
        with self._lock:
            return self._limiter.when(key)

    def forget(self, key: K) -> None:
        """Clear the failures of `key`. It cancels no waiting entry, and `done` is still owed."""
        with self._lock:
            self._limiter.forget(key)

    def num_requeues(self, key: K) -> int:
        """The failures of `key` recorded since the last `forget`."""
        with self._lock:
            return self._limiter.num_requeues(key)

    # -- shutdown ---------------------------------------------------------------------------------

    def shut_down(self) -> None:
        """Take no more adds, drop delayed keys, wake everyone; do not wait for work in flight.

        Keys already queued are still handed out. It ends a drain that is under way. May be called again.
        """
        with self._lock:
            self._forced += 1
            self._state.shut_down()
            self._wake_all()
        self._join_timer()

    def shut_down_with_drain(self, timeout: float | None = None) -> bool:
        """Shut down, then wait until nothing is queued and nothing handed out; answer whether that is so.

        False: `timeout` real seconds were over, or a later `shut_down` asked not to wait. Without either, it
        waits for ever for a worker that never calls `done`.
        """
        with self._lock:
            # A count, not a flag: with a flag, a second drainer that clears it could hide it from the first.
            forced = self._forced
            self._state.shut_down()
            self._wake_all()
        self._join_timer()
        with self._lock:
            self._at_rest.wait_for(lambda: self._state.idle or self._forced != forced, timeout)
            return self._state.idle

    # -- for display ------------------------------------------------------------------------------

    def __len__(self) -> int:
        """The keys that `get` could hand out now. Out of date when read: for display, never for control."""
        with self._lock:
            return len(self._state)

    @property
    def depth(self) -> int:
        """Accepted adds minus gets; see `QueueState.depth`."""
        with self._lock:
            return self._state.depth

    @property
    def idle(self) -> bool:
        """Whether nothing is queued and nothing handed out, at one moment. Delayed keys do not count."""
        with self._lock:
            return self._state.idle

    def holds(self, keys: Iterable[K]) -> bool:
        """Whether any of these keys is queued or handed out."""
        with self._lock:
            return self._state.holds(keys)

    @property
    def processing(self) -> tuple[K, ...]:
        """The keys handed out and not done, longest running first, as of this moment."""
        with self._lock:
            return self._state.processing

    def timed(self) -> bool:
        """Whether the timer runs, without which delayed keys wait for ever."""
        # Without the lock: who asks whether a thread hangs must not hang with it.
        timer = self._timer
        return timer is not None and timer.is_alive()

    # -- who waits --------------------------------------------------------------------------------

    def _change(self, change: Callable[..., T], *what: object) -> T:
        """Under the lock: have the state changed as of now, and wake who has something to do by that.

        A getter for each key that came: one that takes a key for which another was woken has never waited. The timer also
        for the first key out, which starts the beat of the running-work metrics.
        """
        state = self._state
        queued = len(state)
        answer = change(*what, self._clock.monotonic())
        if (left := len(state)) > queued:
            self._queued.notify(left - queued)
        elif left == 0 and state.idle:
            self._at_rest.notify_all()
        if state.next_due != self._due:
            self._sooner.notify()
        return answer

    def _wake_all(self) -> None:
        for condition in (self._queued, self._sooner, self._at_rest):
            condition.notify_all()

    def _run_timer(self) -> None:
        with self._lock:
            while not self._state.shutting_down:
                self._due = due = self._change(self._state.tick)
                now = self._clock.monotonic()
                timeout = None if due is None else min(due - now, threading.TIMEOUT_MAX)
                self._sooner.wait_for(self._must_look_again, timeout)

    def _must_look_again(self) -> bool:
        return self._state.shutting_down or self._state.next_due != self._due

    def _join_timer(self) -> None:
        # Not under the lock: the timer needs it to see that it is over.
        with self._lock:
            timer = self._timer
        if timer is not None:
            timer.join()

"""The work queue: keys in, keys out, each key at most once at a time, with delay and back-off.

It is for anything reconciled by key: many adds collapse into one run, an add during a run gives one more.
What a key stands for, who works on it and what an error means do not belong here.
"""

from __future__ import annotations

from controller.workqueue.limiter import ExponentialBackoff
from controller.workqueue.queue import TIMER_THREAD_NAME, WorkQueue
from controller.workqueue.state import NO_METRICS, Clock, Metrics, QueueState

__all__ = [
    "NO_METRICS",
    "TIMER_THREAD_NAME",
    "Clock",
    "ExponentialBackoff",
    "Metrics",
    "QueueState",
    "WorkQueue",
]

"""Signals: SIGTERM and SIGINT set an event, and a second one ends the process at once.

What stopping means is the manager's.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from types import FrameType


@contextlib.contextmanager
def stopped_by_signals(stopped: threading.Event) -> Iterator[None]:
    """Within this block SIGTERM and SIGINT set the event; a second one ends the process at once.

    What counts is the byte that the interpreter writes the moment the signal arrives. A handler of ours would not do:
    it may run in the middle of anything, and when another thread than the main one took the signal it is not run
    at all for as long as the main one waits.
    """
    told, tell = os.pipe()
    os.set_blocking(tell, False)

    def handle(_number: int, _frame: FrameType | None) -> None:
        pass

    def listen() -> None:
        while (number := os.read(told, 1)) not in (b"", b"\0"):
            if stopped.is_set():
                os._exit(128 + number[0])
            stopped.set()

    listener = threading.Thread(target=listen, name="homeport-signals", daemon=True)
    listener.start()
    woken = signal.set_wakeup_fd(tell, warn_on_full_buffer=False)
    before = {number: signal.signal(number, handle) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        signal.set_wakeup_fd(woken)
        for number, old in before.items():
            signal.signal(number, old)
        os.write(tell, b"\0")
        listener.join()
        os.close(tell)
        os.close(told)

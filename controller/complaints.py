"""Complaints: what is wrong with the service as a whole, said when it begins and said when it is over.

Whoever looks again and again says what is found each time; what is told is only what has changed. What is wrong and what
follows from it is not known here.
"""

from __future__ import annotations

import threading
from typing import Protocol


class Tell(Protocol):
    """Says something about the service, in the log and in the events."""

    def __call__(self, name: str, message: str, level: str = "info", /) -> None: ...


class Complaints:
    """`_lock` guards `_said`; nothing is told under it."""

    def __init__(self, tell: Tell) -> None:
        self._tell = tell
        self._lock = threading.Lock()
        self._said: dict[str, str] = {}

    def say(self, name: str, message: str, level: str = "warning", *, anew: bool = True) -> bool:
        """It is wrong: told when that has just begun and, if it is to be said `anew`, when the message is another one.
        Answers whether it has just begun."""
        with self._lock:
            before = self._said.get(name)
            self._said[name] = message
        if before is None or (anew and before != message):
            self._tell(name, message, level)
        return before is None

    def over(self, name: str, back: str = "", message: str = "") -> bool:
        """It is not wrong, or not any more: then it is told as `back`, if that has a name. Answers whether it was."""
        with self._lock:
            was = self._said.pop(name, None) is not None
        if was and back:
            self._tell(back, message)
        return was

    def holds(self, name: str) -> bool:
        """Whether it is wrong at present."""
        with self._lock:
            return name in self._said

    def messages(self, *names: str) -> list[str]:
        """What was said last of those of these that are wrong at present."""
        with self._lock:
            return [self._said[name] for name in names if name in self._said]

"""What a command of this room refuses, and why.

A refusal comes before anything is written. How it is printed, and with which exit code, is the command line's.
"""

from __future__ import annotations

from collections.abc import Sequence

from controller.model.errors import HomeportError


class Refused(HomeportError):
    """The folders do not allow it; `lines` are all the reasons, each with what to do."""

    def __init__(self, lines: Sequence[str]) -> None:
        super().__init__("\n".join(lines))
        self.lines = tuple(lines)


class WrongUse(HomeportError):
    """What was asked for makes no sense as it was written; the message never holds a value."""

"""Builds: what the output of a build tells of its steps. No calls; who acts on it is `docker_engine`.

What a step prints is on stdout, whichever builder it is and also with `--quiet`; stderr only says that a step failed.
"""

from __future__ import annotations

import re
from collections.abc import Collection

_BEGUN = re.compile(rb" ---> Running in ([0-9a-f]{12})\r?$")
_GONE = re.compile(rb"Remov(?:ing|ed) intermediate container ([0-9a-f]{12})\r?$")
_MOST = 100  # containers; a step can print as many such lines as it likes
_RUNNING = "---> Running in "
_DONE = re.compile(r"Remov(?:ing|ed) intermediate container |^Step \d+/\d+ : ", re.MULTILINE)
"""What follows a step that did not fail."""
_FAILED = re.compile(r"^------\n > [^\n]*:\n(.*?)^------$", re.MULTILINE | re.DOTALL)
"""How BuildKit repeats at the end the last lines of a step that failed."""
_CLOCK = re.compile(r"^(?:#\d+ )?\d+\.\d+ ", re.MULTILINE)
"""What BuildKit puts before each of them: the step and its seconds."""


class Steps:
    """The containers that the classic builder ran steps in and has not removed. BuildKit has none. For one thread.

    It removes the container of a step that is done, and leaves that of a step that failed. Compose cannot ask for more:
    it has `--force-rm`, which does nothing.
    """

    def __init__(self) -> None:
        self._left: dict[str, None] = {}

    def hear(self, line: bytes) -> bytes:
        """One line of the build's output; answers with what is to be kept of it, which is all."""
        if begun := _BEGUN.search(line):
            self._left[begun[1].decode()] = None
            if len(self._left) > _MOST:
                del self._left[next(iter(self._left))]
        elif gone := _GONE.search(line):
            self._left.pop(gone[1].decode(), None)
        return line + b"\n"

    @property
    def left(self) -> Collection[str]:
        """The first twelve digits of the id of each."""
        return tuple(self._left)


def said(output: str) -> str:
    """What the step printed that failed or was not done; "" when there is none."""
    if failed := _FAILED.findall(output.replace("\r\n", "\n")):
        return _CLOCK.sub("", failed[-1])
    before, _, step = output.rpartition(_RUNNING)
    if not before or _DONE.search(step):
        return ""
    return step.partition("\n")[2]

"""A terminal of a given size for a command: what a person sees, as pyte draws it, and the bytes that drew it."""

from __future__ import annotations

import fcntl
import os
import pty
import signal
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import Callable, Mapping
from types import TracebackType

import pyte

from rig.waiting import wait_until


class Terminal:
    """`homeport` with some arguments on a terminal. `_lock` guards screen and bytes, which a thread fills.

    A context manager: at its end the command is ended if it has not ended, and the thread is joined.
    """

    def __init__(
        self, *arguments: str, columns: int = 80, rows: int = 60, env: Mapping[str, str] | None = None
    ) -> None:
        self._screen = pyte.Screen(columns, rows)
        self._stream = pyte.ByteStream(self._screen)
        self._raw = b""
        self._lock = threading.Lock()
        self._person, terminal = pty.openpty()
        self._size(columns, rows)
        clean = {
            key: value for key, value in os.environ.items() if key not in ("NO_COLOR", "COLUMNS", "LINES")
        }
        self._child = subprocess.Popen(
            [sys.executable, "-m", "controller", *arguments],
            stdin=terminal, stdout=terminal, stderr=terminal, start_new_session=True,
            env={**clean, "TERM": "xterm-256color", **(env or {})},
        )  # fmt: skip
        os.close(terminal)
        self._reader = threading.Thread(target=self._read, name="terminal", daemon=True)
        self._reader.start()

    @property
    def raw(self) -> bytes:
        """All that was written so far."""
        with self._lock:
            return self._raw

    @property
    def lines(self) -> list[str]:
        """What is on the screen now, without what is empty below."""
        with self._lock:
            return "\n".join(row.rstrip() for row in self._screen.display).rstrip().split("\n")

    def wait_for(self, shown: Callable[[list[str]], bool], what: str) -> None:
        """Until the screen is like that."""
        wait_until(lambda: shown(self.lines), f"{what} on the screen")

    def resize(self, columns: int, rows: int) -> None:
        """As a person who draws at the window's corner."""
        with self._lock:
            self._screen.resize(rows, columns)
            self._screen.reset()
        self._size(columns, rows)
        self._child.send_signal(signal.SIGWINCH)

    def interrupt(self) -> None:
        """Ctrl-C."""
        self._child.send_signal(signal.SIGINT)

    def end(self) -> int:
        """Wait for the command's end; its exit code."""
        code = self._child.wait(timeout=60)
        self._reader.join(timeout=10)
        return code

    def __enter__(self) -> Terminal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._child.poll() is None:
            self._child.kill()
        self.end()
        os.close(self._person)

    def _size(self, columns: int, rows: int) -> None:
        fcntl.ioctl(self._person, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def _read(self) -> None:
        while True:
            try:
                part = os.read(self._person, 65536)
            except OSError:  # EIO: nobody has it open any more
                return
            with self._lock:
                self._raw += part
                self._stream.feed(part)
            if not part:
                return


def run(*arguments: str, columns: int = 80, env: Mapping[str, str] | None = None) -> Terminal:
    """The command, which has ended."""
    with Terminal(*arguments, columns=columns, env=env) as terminal:
        terminal.end()
    return terminal

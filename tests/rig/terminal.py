"""A terminal of a given size for a command: what a person sees, as pyte draws it, and the bytes that drew it."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
from collections.abc import Mapping
from dataclasses import dataclass

import pyte


def set_size(terminal: int, columns: int, rows: int) -> None:
    """Of the terminal behind this file descriptor; its foreground is told so, as by a window."""
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


@dataclass(frozen=True)
class Shown:
    """How a command ended on its terminal."""

    code: int
    raw: bytes
    screen: pyte.Screen

    @property
    def lines(self) -> list[str]:
        """What is on the screen, without what is empty below."""
        return "\n".join(row.rstrip() for row in self.screen.display).rstrip().split("\n")


def run(*arguments: str, columns: int = 80, rows: int = 60, env: Mapping[str, str] | None = None) -> Shown:
    """`homeport` with these arguments on such a terminal, to its end."""
    person, terminal = pty.openpty()
    set_size(terminal, columns, rows)
    clean = {key: value for key, value in os.environ.items() if key not in ("NO_COLOR", "COLUMNS", "LINES")}
    with subprocess.Popen(
        [sys.executable, "-m", "controller", *arguments],
        stdin=terminal, stdout=terminal, stderr=terminal, env={**clean, "TERM": "xterm-256color", **(env or {})},
    ) as child:  # fmt: skip
        os.close(terminal)
        raw = read_all(person)
        code = child.wait(timeout=60)
    os.close(person)
    screen = pyte.Screen(columns, rows)
    pyte.ByteStream(screen).feed(raw)
    return Shown(code, raw, screen)


def read_all(person: int) -> bytes:
    """All that comes until the other side has closed the terminal."""
    parts: list[bytes] = []
    while True:
        try:
            part = os.read(person, 65536)
        except OSError:  # EIO: nobody has it open any more
            part = b""
        if not part:
            return b"".join(parts)
        parts.append(part)

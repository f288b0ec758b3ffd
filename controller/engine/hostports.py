"""Which ports of this machine something listens on, and what it is: read from /proc.

Trying to bind would answer as well, but takes the port away from others for a moment and names nobody.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

_STATES = {"tcp": "0A", "udp": "07"}  # listening; bound
_CONTAINER_ID = re.compile(rb"[0-9a-f]{64}")


@dataclass(frozen=True)
class Listener:
    """A socket that waits for peers."""

    protocol: str
    address: str
    port: int
    inode: str


@dataclass(frozen=True)
class Holder:
    """The process that has a socket open."""

    pid: int
    name: str
    container: str
    """Id of the container it runs in, or ""."""


def listeners(proc: Path = Path("/proc")) -> tuple[Listener, ...]:
    """All listening sockets of our network namespace; empty where /proc does not tell."""
    return tuple(
        listener
        for protocol in _STATES
        for family in ("", "6")
        for listener in _table(proc / "net" / f"{protocol}{family}", protocol)
    )


def holder(inode: str, proc: Path = Path("/proc")) -> Holder | None:
    """Who has this socket open; None when we may not see it."""
    wanted = f"socket:[{inode}]"
    for process in proc.glob("[0-9]*"):
        try:
            if any(str(fd.readlink()) == wanted for fd in (process / "fd").iterdir()):
                name = (process / "comm").read_text(errors="replace").strip()
                group = _CONTAINER_ID.search((process / "cgroup").read_bytes())
                return Holder(int(process.name), name, group.group().decode() if group else "")
        except OSError:
            continue  # it ended meanwhile, or is not ours to look into
    return None


def holders(found: Mapping[int, Listener], proc: Path = Path("/proc")) -> dict[int, Holder | None]:
    """`holder` for several ports."""
    return {port: holder(listener.inode, proc) for port, listener in found.items()}


def _table(path: Path, protocol: str) -> Iterator[Listener]:
    try:
        lines = path.read_text().splitlines()[1:]
    except OSError:
        return
    for line in lines:
        fields = line.split()
        if len(fields) > 9 and fields[3] == _STATES[protocol]:
            address, _, port = fields[1].partition(":")
            yield Listener(protocol, _address(address), int(port, 16), fields[9])


def _address(text: str) -> str:
    # Four bytes at a time in the machine's own order.
    raw = bytes.fromhex(text)
    words = b"".join(raw[i : i + 4][::-1] for i in range(0, len(raw), 4))
    return socket.inet_ntop(socket.AF_INET if len(words) == 4 else socket.AF_INET6, words)

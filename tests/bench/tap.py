"""Who asked the engine what, and when: a socket in front of it that passes everything on and notes each request."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from rig.proxy import EngineProxy

_REQUEST = re.compile(rb"(GET|HEAD|POST|PUT|DELETE) (\S+) HTTP/1\.[01]\r\n")
_COMPOSE = re.compile(rb"^user-agent:[^\r\n]*compose", re.IGNORECASE | re.MULTILINE)


@dataclass(frozen=True)
class Call:
    """One request. `at` is monotonic, the moment before it is passed on."""

    at: float
    method: str
    path: str
    """With its query, decoded."""
    text: str
    """Head and body, as much of it as came in one piece."""
    by_compose: bool

    @property
    def changes(self) -> bool:
        return self.method not in ("GET", "HEAD")

    def names(self, word: str) -> bool:
        """Whether this word is in it: an app, whose names are of one length, so none begins another; or a container."""
        return word in self.text


class Tap(EngineProxy):
    """Use `calls` at any time; it only grows, until `forget`."""

    def __init__(self, path: Path, engine: str) -> None:
        self.calls: list[Call] = []
        super().__init__(path, engine)
        self.answer = self._note

    def forget(self) -> None:
        """Begin anew."""
        self.calls = []

    def first(self, word: str, since: float, *, compose: bool = False, changing: bool = False) -> Call | None:
        """The first call with this word in it from that moment on; only such as Compose makes; only such that changes."""
        for call in self.calls:
            if (
                call.at >= since
                and call.names(word)
                and (call.by_compose or not compose)
                and (call.changes or not changing)
            ):
                return call
        return None

    def _note(self, data: bytes) -> bytes:
        at = time.monotonic()
        if found := _REQUEST.match(data):
            text = unquote(data.decode("utf-8", "replace"))
            path = unquote(found[2].decode("utf-8", "replace"))
            self.calls.append(Call(at, found[1].decode(), path, text, bool(_COMPOSE.search(data))))
        return b""

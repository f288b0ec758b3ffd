"""Layers: how far a pull has come, from the lines of JSON that Compose tells it in.

What failed is kept in the words that Compose has for it without JSON, so that a failure is judged as ever.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

_IMAGE = "Image "
_THERE = frozenset(
    {"Already exists", "Download complete", "Extracting", "Pull complete", "Verifying Checksum"}
)
"""Of a layer all of whose bytes have come."""


class Layers:
    """The layers of one pull. For one thread."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        """`tell` hears it in words whenever that has changed."""
        self._tell = tell
        self._told = ""
        self._layers: dict[str, tuple[int, int, bool]] = {}
        """Bytes that have come and bytes in all, as far as they are known, and whether all have."""

    def hear(self, line: bytes) -> bytes:
        """One line of Compose's; answers with what is to be kept of it."""
        try:
            said = json.loads(line)
        except ValueError:
            return line + b"\n"
        if not isinstance(said, dict):
            return line + b"\n"
        if "message" in said:
            return f"{said['message']}\n".encode("utf-8", "replace")
        name = str(said.get("id", ""))
        if not name.startswith(_IMAGE):
            self._note(name, said)
            return b""
        details = said.get("details", "")
        return f" {name} {said.get('text', '')} {details}".rstrip().encode("utf-8", "replace") + b"\n"

    def _note(self, layer: str, said: Mapping[str, Any]) -> None:
        current, total, there = self._layers.get(layer, (0, 0, False))
        text = said.get("text")
        there = there or text in _THERE
        if text == "Downloading":
            current, total = _count(said.get("current")), _count(said.get("total"))
        self._layers[layer] = (total if there else current, total, there)
        self._say()

    def _say(self) -> None:
        come = sum(current for current, _, _ in self._layers.values())
        total = sum(total for _, total, _ in self._layers.values())
        there = sum(1 for _, _, there in self._layers.values() if there)
        told = f"{there} of {len(self._layers)} layers"
        if total:
            told += f", {_mega(come)} of {_mega(total)} MB"
        if told != self._told:
            self._told = told
            self._tell(told)


def _count(value: object) -> int:
    return value if isinstance(value, int) and value > 0 else 0


def _mega(size: int) -> str:
    return f"{size / 1e6:.1f}"

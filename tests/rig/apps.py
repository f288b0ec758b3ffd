"""An apps tree of real files, on a clock that a test sets ahead."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from controller.model.desired import Invalid, Present
from controller.source.tree import AppsTree
from fakes.clock import WallClock
from fakes.tree import manifest

COMPOSE = "services:\n  main:\n    image: homeport/sample:1\n"


class Known(Collection[str]):
    """The apps on record, and how often somebody looked through all of them. No set: those are copied unseen."""

    def __init__(self) -> None:
        self._names: set[str] = set()
        self.looks = 0

    def add(self, app: str) -> None:
        self._names.add(app)

    def __contains__(self, app: object) -> bool:
        return app in self._names

    def __iter__(self) -> Iterator[str]:
        self.looks += 1
        return iter(self._names)

    def __len__(self) -> int:
        self.looks += 1
        return len(self._names)


class Apps:
    """An apps tree, and what it remembers."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "apps"
        self.root.mkdir()
        self.state = folder / "state"
        self.state.mkdir()
        self.clock = WallClock()
        self.known = Known()
        self.remembered: list[str] = []
        self.tree = self.another()

    def another(self) -> AppsTree:
        return AppsTree(
            self.root,
            self.clock,
            self.state,
            known=lambda: self.known,
            root_id=lambda: self.remembered[-1] if self.remembered else None,
            remember_root_id=self.remembered.append,
        )

    def put(self, name: str = "web", more: dict[str, str] | None = None, **fields: Any) -> Path:
        """An app of one service. `more`: other files, or these in place of its own."""
        folder = self.root / name
        texts = {
            "manifest.json": json.dumps(manifest(name, **fields)),
            "docker-compose.yaml": COMPOSE,
            **(more or {}),
        }
        for path, text in texts.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(text)
        return folder

    def present(self, name: str = "web") -> Present:
        desired = self.tree.load(name)
        assert isinstance(desired, Present), desired
        return desired

    def invalid(self, name: str = "web") -> Invalid:
        desired = self.tree.load(name)
        assert isinstance(desired, Invalid), desired
        return desired

    def revision(self, name: str = "web") -> str:
        desired = self.tree.load(name)
        assert isinstance(desired, Present | Invalid), desired
        return desired.revision

"""Which apps have to be installed, from which folders, and in which order: providers first.

Reads app folders and decides; writes nothing. What the folders hold beside the app's inputs, and whether there
is room for them, is not asked here.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from controller.catalog.errors import Refused, WrongUse
from controller.model.desired import LEAST_TRUST, Invalid, Present, Trust
from controller.model.names import APP_NAME
from controller.source.checking import check_folder, check_providers
from controller.source.manifest import FILE
from controller.source.reading import load_folder


@dataclass(frozen=True)
class Order:
    """What is to be installed, providers first; the app that was asked for is the last."""

    apps: tuple[Present, ...]
    there: tuple[str, ...]
    """Providers that are in the tree."""
    notes: tuple[str, ...]
    """What a person may want to know before a yes."""


def order(wanted: str, root: Path, catalogs: Sequence[Path], trust: Trust = LEAST_TRUST) -> Order:
    """The order for one app, by name or by path (whatever has a slash in it), and all providers that are missing.

    For a path, providers are looked for beside it and then in the catalogs. Raises `WrongUse` when the app
    cannot be found and `Refused` with everything that speaks against it.
    """
    if not root.is_dir():
        raise Refused(
            [
                f"apps tree {root}: there is no such folder; `homeport doctor` says what to do, --apps names another one"
            ]
        )
    folder: Path | None = None
    shelves = list(catalogs)
    if "/" in wanted or wanted in (".", ".."):
        folder = Path(os.path.abspath(wanted))  # noqa: PTH100 - `..` goes, links stay: the folder's name counts
        if not folder.is_dir():
            raise WrongUse(f"{folder}: there is no such folder")
        shelves.insert(0, folder.parent)
    name = folder.name if folder is not None else wanted
    if name and os.path.lexists(root / name):
        raise Refused([_in_the_way(root / name)])
    resolver = _Resolver(root, shelves, trust)
    folder = folder or resolver.named(name)
    resolver.visit(folder.name, (), folder)
    if resolver.problems:
        raise Refused(resolver.problems)
    return Order(tuple(resolver.chosen), tuple(sorted(resolver.there)), tuple(resolver.notes))


def _in_the_way(place: Path) -> str:
    if place.is_dir():
        return f"{place.name} is in the tree already; edit {place}, or take it out first: `homeport remove {place.name}`"
    return f"{place} is in the way and is no app folder; move it elsewhere"


class _Resolver:
    """One walk from an app to its providers, depth first; collects what is wrong instead of raising it."""

    def __init__(self, root: Path, shelves: Sequence[Path], trust: Trust) -> None:
        self._root = root
        self._trust = trust
        self._shelves = list(dict.fromkeys(shelves))
        self._done: set[str] = set()
        self.chosen: list[Present] = []
        self.there: set[str] = set()
        self.problems: list[str] = []
        self.notes = [
            f"catalog {shelf} is not there; it is passed over" for shelf in shelves if not shelf.is_dir()
        ]

    def named(self, name: str) -> Path:
        """The folder of the app that a person named. Raises `WrongUse`, with the nearest name there is."""
        found = self._find(name)
        if found is not None:
            return found
        if not self._shelves:
            raise WrongUse(
                f"{name}: no catalog is set; name one with --catalog or HOMEPORT_CATALOG, or give a path: ./{name}"
            )
        near = difflib.get_close_matches(name, self._names(), 1)
        hint = f"; did you mean {near[0]}?" if near else "; a folder is given as a path: ./" + name
        raise WrongUse(f"no app {name} in {self._places()}{hint}")

    def visit(self, name: str, chain: tuple[str, ...], folder: Path | None = None) -> None:
        """Take in an app, after its providers. `chain` is who needs it, from the app that was asked for on."""
        if name in chain:
            self.problems.append(
                f"{' -> '.join([*chain[chain.index(name) :], name])}: they require each other in a circle; "
                "take one `requires` out"
            )
            return
        if name in self._done:
            return
        place = self._root / name
        if place.is_dir():
            self.there.add(name)
            self._visit_there(name, chain)
        elif os.path.lexists(place):
            self.problems.append(_in_the_way(place))
        else:
            self._visit_new(name, chain, folder or self._find(name))
        self._done.add(name)

    def _visit_new(self, name: str, chain: tuple[str, ...], folder: Path | None) -> None:
        if folder is None:
            path = [*chain, name]
            needs = ", ".join(f"{one} needs {other}" for one, other in pairwise(path))
            where = " or in ".join(["the tree", *([self._places()] if self._shelves else [])])
            hint = "" if self._shelves else "; name a catalog with --catalog or HOMEPORT_CATALOG"
            self.problems.append(f"{needs}: no app {name} in {where}{hint}")
            return
        checked = check_folder(folder, self._trust)
        app = checked.app
        if isinstance(app, Invalid):
            self.problems += [f"{name}: {problem}" for problem in app.problems]
            return
        for asked in checked.requires:
            place = self._root / asked.app
            provider = place if place.is_dir() else self._find(asked.app)
            lacking, _ = check_providers(name, [asked], [provider.parent] if provider else [])
            self.problems += [f"{name}: {problem}" for problem in lacking]
        self.notes += [f"{name}: {line}" for line in (*app.warnings, *app.reaches)]
        for needed in _providers(app):
            self.visit(needed, (*chain, name))
        self.chosen.append(app)

    def _visit_there(self, name: str, chain: tuple[str, ...]) -> None:
        """An app in the tree counts as there, whatever it lacks itself; only a circle through it matters."""
        app = load_folder(self._root / name, self._trust)
        if isinstance(app, Invalid):
            self.notes.append(
                f"{name} is in the tree, but not in order: see `homeport validate {self._root / name}`"
            )
            return
        for provider in _providers(app):
            if provider in chain or (self._root / provider).is_dir():
                self.visit(provider, (*chain, name))

    def _find(self, name: str) -> Path | None:
        """The first folder of that name; says so when there are more."""
        if not APP_NAME.fullmatch(name):
            return None
        found = [shelf / name for shelf in self._shelves if (shelf / name / FILE).is_file()]
        if len(found) > 1:
            others = " and ".join(str(path) for path in found[1:])
            self.notes.append(f"{name} is taken from {found[0]}, not from {others}: the first one counts")
        return found[0] if found else None

    def _places(self) -> str:
        word = "catalog" if len(self._shelves) == 1 else "catalogs"
        return f"{word} {', '.join(map(str, self._shelves))}"

    def _names(self) -> Collection[str]:
        return {path.parent.name for shelf in self._shelves for path in _manifests(shelf)}


def _manifests(shelf: Path) -> Iterable[Path]:
    try:
        return list(shelf.glob(f"*/{FILE}"))
    except OSError:
        return ()


def _providers(app: Present) -> list[str]:
    return sorted(requirement.app for requirement in app.manifest.requires)

"""Signing: what shows, by stats alone, that an app's files may have changed. Asked again, it costs a few stats.

Most of the names that count in an app's folder are not there, and stay away as long as the folder that would hold
them is unchanged. What a change means is the tree's.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from controller.source import files

COARSE = 3.0
"""Seconds after a change of a folder in which another may leave the same times: some file systems count in twos."""

_Times = tuple[int, int, int, int]
Owned = tuple[int, int, int, int, int]
"""What changes when another takes its place, and with its owner, its group and its mode."""
_File = files.Signature
_Place = files.Place


@dataclass(frozen=True)
class Signed:
    """One look. Equal looks: nothing that counts has changed in between, as far as stats tell."""

    folders: tuple[Owned | None, ...]
    """The tree's root, the app's own, and those that hold the other paths that count."""
    files: tuple[_File | None, ...]
    """Of all paths that count, in their order; None for what is not there."""
    places: tuple[_Place | None, ...]
    """What stands at each mounted path that is a folder or data."""

    @property
    def without_places(self) -> tuple[object, ...]:
        """What of it a file of the app's has a part in."""
        return self.folders, self.files

    @cached_property
    def digest(self) -> str:
        """The look in a few characters, to be kept and compared with a later one."""
        return hashlib.blake2b(repr(self.told).encode(), digest_size=16).hexdigest()

    @cached_property
    def told(self) -> tuple[tuple[object, ...], tuple[object, ...], tuple[object, ...]]:
        """All of it."""
        return self.folders, self.files, self.places


@dataclass(frozen=True)
class _Last:
    signed: Signed
    quiet: Mapping[str, _Times]
    """Folders, and their times then: while these are the same, nothing has come into them or gone."""
    asked: tuple[int, ...]
    """The paths that have to be asked for while that is so; all others were not there."""


class Signer:
    """Signs one app's folder. Safe to be used by several threads: `_last` is replaced as a whole."""

    def __init__(self, folder: Path, looked_at: Iterable[Path], places: Iterable[Path]) -> None:
        self.folder = folder
        self.looked_at = frozenset(looked_at)
        self.places = tuple(sorted(places))
        own = str(folder)
        self._own = own + os.sep
        self._paths = tuple(str(path) for path in sorted(self.looked_at))
        self._placed = tuple(str(path) for path in self.places)
        self._all = tuple(range(len(self._paths)))
        self._holders = {os.path.dirname(path) for path in self._paths}  # noqa: PTH120
        # Who can write to any folder on the way can put something else there.
        self._folders = (own, *sorted(files.leading_to(self._paths) - files.leading_to([own]) - {own}))
        self._watchable: tuple[Path, ...] | None = None
        self._last: _Last | None = None

    def signs(self, looked_at: Set[Path], places: Set[Path]) -> bool:
        """Whether it is these that it looks at."""
        return self.looked_at == looked_at and set(self.places) == places

    def folders_between(self, scripts: Path) -> tuple[Path, ...]:
        """The folders in the app's that hold what counts, all below `scripts` among them; none that is mounted, nor
        what is in one."""
        if self._watchable is None:
            data = set(self.places) - {scripts}
            holders = {path.parent for path in self.looked_at}
            holders |= {path for path in self.looked_at if path.is_relative_to(scripts)}
            self._watchable = tuple(
                sorted(
                    holder
                    for holder in holders
                    if self.folder in holder.parents and data.isdisjoint({holder, *holder.parents})
                )
            )
        return self._watchable

    def sign(self, now: float, root: Owned | None = None, *, afresh: bool = False) -> Signed:
        """Look at everything that counts. `now`: the wall clock, in seconds. `root`: what `owned` says of the tree's.
        `afresh`: at every name, for there are file systems whose folders do not tell when something comes into them."""
        last = self._last
        # Before the files: what is put in after it shows at the next look.
        folders = {folder: files.stat_of(folder) for folder in self._folders}
        unmoved = last is not None and all(
            _times(folders[path]) == times for path, times in last.quiet.items()
        )
        if last is not None and unmoved and not afresh:
            quiet, asked = last.quiet, last.asked
        else:
            holders = {path: found for path, found in folders.items() if path in self._holders}
            quiet, asked = _quiet(holders, now), self._all
        found: list[_File | None] = [None] * len(self._paths)
        for n in asked:
            found[n] = _signature(self._paths[n])
        marks = (root, *map(_owned, folders.values()))
        told = marks, tuple(found), tuple(map(files.place, self._placed))
        if last is not None and told == last.signed.told:
            signed = last.signed  # with its digest
            if quiet is last.quiet:
                return signed
        else:
            signed = Signed(*told)
        there = tuple(n for n in self._all if found[n] is not None or not self._stays_away(n, quiet))
        self._last = _Last(signed, quiet, there)
        return signed

    def _stays_away(self, number: int, quiet: Mapping[str, _Times]) -> bool:
        """Whether nothing is there, not even a link to nothing, and nothing can come without a change of its folder."""
        path = self._paths[number]
        if os.path.dirname(path) not in quiet:  # noqa: PTH120
            return False
        try:
            os.lstat(path)
        except FileNotFoundError:
            return True
        except (OSError, ValueError):
            pass
        return False

    def times(self, signed: Signed, *, inside: bool = False) -> list[tuple[float, str]]:
        """When each file of this look was last changed, in seconds, and its path. `inside`: those in the app's folder."""
        found = zip(self._paths, signed.files, strict=True)
        return [
            (file[4] / 1e9, path)
            for path, file in found
            if file is not None and (not inside or path.startswith(self._own))
        ]


def _signature(path: str) -> _File | None:
    found = files.stat_of(path)
    return None if found is None else files.signature_of(found)


def owned(path: Path) -> Owned | None:
    """What changes when another folder takes the place of this one, and with its owner and its mode."""
    return _owned(files.stat_of(str(path)))


def _owned(found: os.stat_result | None) -> Owned | None:
    return None if found is None else (found.st_dev, found.st_ino, found.st_uid, found.st_gid, found.st_mode)


def _times(found: os.stat_result | None) -> _Times | None:
    if found is None or not stat.S_ISDIR(found.st_mode):
        return None
    return found.st_dev, found.st_ino, found.st_mtime_ns, found.st_ctime_ns


def _quiet(folders: Mapping[str, os.stat_result | None], now: float) -> dict[str, _Times]:
    """Those whose next change will surely show in their times."""
    seen = {path: times for path, found in folders.items() if (times := _times(found)) is not None}
    return {path: times for path, times in seen.items() if now - max(times[2:]) / 1e9 > COARSE}

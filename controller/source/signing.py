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
_Folder = tuple[int, int, int, int, int]
"""What changes when another takes its place, and with its owner, its group and its mode."""
_File = files.Signature
_Place = files.Place


@dataclass(frozen=True)
class Signed:
    """One look. Equal looks: nothing that counts has changed in between, as far as stats tell."""

    folders: tuple[_Folder | None, ...]
    """The tree's root, the app's folder and those in it that lead to a path that counts."""
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
        told = repr((self.folders, self.files, self.places))
        return hashlib.blake2b(told.encode(), digest_size=16).hexdigest()


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
        self._paths = tuple(str(path) for path in sorted(self.looked_at))
        self._placed = tuple(str(path) for path in self.places)
        inside = [n for n, path in enumerate(self._paths) if path.startswith(own + os.sep)]
        self._inside = tuple(inside)
        between = {os.path.dirname(self._paths[n]) for n in inside} - {own}  # noqa: PTH120
        self._folders = (str(folder.parent), own, *sorted(between))
        self._parents = tuple(dict.fromkeys(os.path.dirname(path) for path in self._paths))  # noqa: PTH120
        self._last: _Last | None = None

    def signs(self, looked_at: Set[Path], places: Set[Path]) -> bool:
        """Whether it is these that it looks at."""
        return self.looked_at == looked_at and set(self.places) == places

    def sign(self, now: float) -> Signed:
        """Look at everything that counts. `now`: the wall clock, in seconds."""
        last = self._last
        if last is not None and all(_times(folder) == times for folder, times in last.quiet.items()):
            quiet, asked = last.quiet, last.asked
        else:
            # Before the files: what is put in after it shows at the next look.
            quiet, asked = self._quiet_folders(now), tuple(range(len(self._paths)))
        found: list[_File | None] = [None] * len(self._paths)
        for n in asked:
            found[n] = _signature(self._paths[n])
        folders = tuple(map(_folder, self._folders))
        signed = Signed(folders, tuple(found), tuple(map(_place, self._placed)))
        if last is not None and signed == last.signed:
            signed = last.signed  # with its digest
        if last is None or signed is not last.signed or quiet is not last.quiet:
            numbers = range(len(found))
            there = [n for n in numbers if found[n] is not None or not self._stays_away(n, quiet)]
            self._last = _Last(signed, quiet, tuple(there))
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

    def times(self, signed: Signed, *, inside: bool = False) -> list[float]:
        """When each file of this look was last changed, in seconds. `inside`: those in the app's folder."""
        chosen = [signed.files[n] for n in self._inside] if inside else signed.files
        return [found[4] / 1e9 for found in chosen if found is not None]

    def _quiet_folders(self, now: float) -> dict[str, _Times]:
        """Those whose next change will surely show in their times."""
        seen = {folder: times for folder in self._parents if (times := _times(folder)) is not None}
        return {folder: times for folder, times in seen.items() if now - max(times[2:]) / 1e9 > COARSE}


# Plain functions on plain texts: a path object costs more than the call of the system that it is for.


def _stat(path: str) -> os.stat_result | None:
    try:
        return os.stat(path)  # noqa: PTH116
    except (OSError, ValueError):
        return None


def _signature(path: str) -> _File | None:
    found = _stat(path)
    return None if found is None else files.signature_of(found)


def _place(path: str) -> _Place | None:
    found = _stat(path)
    return None if found is None else files.place_of(found)


def _folder(path: str) -> _Folder | None:
    found = _stat(path)
    return None if found is None else (found.st_dev, found.st_ino, found.st_uid, found.st_gid, found.st_mode)


def _times(path: str) -> _Times | None:
    found = _stat(path)
    if found is None or not stat.S_ISDIR(found.st_mode):
        return None
    return found.st_dev, found.st_ino, found.st_mtime_ns, found.st_ctime_ns

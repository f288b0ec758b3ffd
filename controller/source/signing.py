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
_Stat = tuple[int, int, int, int, int, int, int, int]
"""All of what stands at a path that anything here is made of."""
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
    looked: tuple[tuple[str, _Stat | None], ...]
    """What stood at these and at all else that is asked for: while it is the same, so is the look."""


class Signer:
    """Signs one app's folder. Safe to be used by several threads: `_last` is replaced as a whole."""

    def __init__(self, folder: str, looked_at: Iterable[str], places: Iterable[str]) -> None:
        self.folder = folder
        self.looked_at = frozenset(looked_at)
        self.places = tuple(sorted(places))
        self._paths = tuple(sorted(self.looked_at))
        self._holder = tuple(map(files.holder, self._paths))
        self._holders = frozenset(self._holder)
        inside = len(folder) + len(os.sep)
        self._own = {self._paths[n][inside:]: n for n, holder in enumerate(self._holder) if holder == folder}
        """What counts in the app's folder itself."""
        self._elsewhere = tuple(n for n, holder in enumerate(self._holder) if holder != folder)
        # Who can write to any folder on the way can put something else there.
        self._folders = (
            folder,
            *sorted(files.leading_to(self._paths) - files.leading_to([folder]) - {folder}),
        )
        self._watchable: tuple[str, ...] | None = None
        self._last: _Last | None = None

    def signs(self, looked_at: Set[str], places: Set[str]) -> bool:
        """Whether it is these that it looks at."""
        return self.looked_at == looked_at and set(self.places) == places

    def folders_between(self, scripts: str) -> tuple[str, ...]:
        """The folders in the app's that hold what counts, all below `scripts` among them; none that is mounted, nor
        what is in one."""
        if self._watchable is None:
            data = set(self.places) - {scripts}
            holders = self._holders | {path for path in self.looked_at if files.is_at(path, scripts)}
            self._watchable = tuple(
                sorted(
                    holder
                    for holder in holders
                    if files.is_in(holder, self.folder)
                    and data.isdisjoint({holder, *files.leading_to([holder])})
                )
            )
        return self._watchable

    def sign(self, now: float, root: Owned | None = None, *, afresh: bool = False) -> Signed:
        """Look at everything that counts. `now`: the wall clock, in seconds. `root`: what `owned` says of the tree's.
        `afresh`: whatever the times of folders are, for there are file systems where they do not tell when something comes
        into one."""
        last = self._last
        if last is not None and not afresh and root == last.signed.folders[0] and _is_as_before(last.looked):
            return last.signed
        # Before the files: what is put in after it shows at the next look.
        folders = {folder: files.stat_of(folder) for folder in self._folders}
        unmoved = last is not None and all(
            _times(folders[path]) == times for path, times in last.quiet.items()
        )
        if last is not None and unmoved and not afresh:
            quiet, asked = last.quiet, last.asked
        else:
            holders = {path: folders[path] for path in self._holders & folders.keys()}
            quiet, asked = _quiet(holders, now), self._may_be_there()
        standing = {n: files.stat_of(self._paths[n]) for n in asked}
        found: list[_File | None] = [None] * len(self._paths)
        for n, status in standing.items():
            found[n] = None if status is None else files.signature_of(status)
        mounted = {path: files.stat_of(path) for path in self.places}
        marks = (root, *map(_owned, folders.values()))
        places = (None if status is None else files.place_of(status) for status in mounted.values())
        told = marks, tuple(found), tuple(places)
        # With its digest, where it is the same.
        signed = last.signed if last is not None and told == last.signed.told else Signed(*told)
        there = {n for n in asked if found[n] is not None or self._is_there(n)}
        # All but where nothing is that could come without a change of its folder.
        still = tuple(n for n, holder in enumerate(self._holder) if n in there or holder not in quiet)
        seen = (*folders.items(), *((self._paths[n], standing.get(n)) for n in still), *mounted.items())
        self._last = _Last(signed, quiet, still, tuple((path, _stat(status)) for path, status in seen))
        return signed

    def _may_be_there(self) -> tuple[int, ...]:
        """The paths at which something may be, by a look into the app's folder, where most of them would be."""
        listed = files.may_be_there(self.folder, self._own)
        return (*(self._own[name] for name in listed), *self._elsewhere)

    def _is_there(self, number: int) -> bool:
        """Whether anything may be there, be it a link to nothing."""
        try:
            os.lstat(self._paths[number])
        except FileNotFoundError:
            return False
        except (OSError, ValueError):
            pass
        return True

    def times(self, signed: Signed, *, inside: bool = False) -> list[tuple[float, str]]:
        """When each file of this look was last changed, in seconds, and its path. `inside`: those in the app's folder."""
        found = zip(self._paths, signed.files, strict=True)
        return [
            (file[4] / 1e9, path)
            for path, file in found
            if file is not None and (not inside or files.is_in(path, self.folder))
        ]


def _is_as_before(looked: Iterable[tuple[str, _Stat | None]]) -> bool:
    """Most often all of it is, for a thousand apps in turn: nothing else is worth its while."""
    return all(_stat(files.stat_of(path)) == before for path, before in looked)


def _stat(s: os.stat_result | None) -> _Stat | None:
    if s is None:
        return None
    return s.st_dev, s.st_ino, s.st_mode, s.st_uid, s.st_gid, s.st_size, s.st_mtime_ns, s.st_ctime_ns


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

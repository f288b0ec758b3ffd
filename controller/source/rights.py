"""Rights: who else can write what is acted on as root. What an app's files say, its containers can do to the host.

A group that may write was let in on purpose (umask 002 gives every file one); everyone was not. Only modes and
owners are looked at; what follows from them is the tree's.
"""

from __future__ import annotations

import os
import pwd
import shlex
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from controller.model.desired import Problem
from controller.source import environment, files

Mark = tuple[int, int, int] | None
_ENV = os.sep + environment.FILE


def mark(path: Path | str) -> Mark:
    """What changes with the owner, the group and the mode; None when it is not there."""
    found = files.stat_of(path)
    return None if found is None else (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode))


@dataclass(frozen=True)
class Reach:
    """The paths that decide who can change what is acted on as root: found once, looked at often."""

    folder: str
    root: str
    checked: tuple[str, ...]
    """The root, the app's folder, the files, and the folders in between."""
    outside: tuple[str, ...]
    """Folders that lead to a file elsewhere: who can write there can put another in its place."""

    @classmethod
    def of(cls, folder: Path, paths: Iterable[Path | str], root: Path | None = None) -> Reach:
        """Of these files of an app."""
        own, read = str(folder), {str(path) for path in paths}
        inside = {path for path in files.leading_to(read) if files.is_in(path, own)}
        elsewhere = {path for path in read if not files.is_in(path, own)}
        outside = files.leading_to(elsewhere) - files.leading_to([own]) - {own}
        first = (str(root),) if root else ()
        return cls(
            own, str(root or ""), (*first, own, *sorted({*read, *inside} - {own})), tuple(sorted(outside))
        )


def strangers(reach: Reach) -> tuple[Problem, ...]:
    """Which of these paths a stranger can write to.

    A stranger is everyone; and an owner who is neither root, nor this process, nor the owner of the app's folder or of
    the root, nor in the group that the folder lets write. Who owns `.env` is left to a warning.
    """
    found = {path: mark(path) for path in reach.checked}
    found |= {path: known for path in reach.outside if (known := mark(path)) and _is_open(known)}
    heads = [known for path in (reach.folder, reach.root) if (known := found.get(path))]
    trusted = {0, os.geteuid(), *(known[0] for known in heads)}
    problems = []
    for path, known in found.items():
        if known is None:
            continue
        name = path.removeprefix(reach.folder + os.sep)
        owner, _, mode = known
        if mode & stat.S_IWOTH:
            rule = f"everyone on this machine can write to it (mode {mode:04o}); say: chmod o-w {shlex.quote(path)}"
            problems.append(Problem(name, "", rule))
        elif owner not in trusted and not path.endswith(_ENV) and not _let_in(owner, found.get(reach.folder)):
            like = shlex.quote(reach.folder)
            rule = (
                f"belongs to user {owner}, a stranger here; say: chown --reference={like} {shlex.quote(path)}"
            )
            problems.append(Problem(name, "", rule))
    return tuple(problems)


def _is_open(known: tuple[int, int, int]) -> bool:
    """Whether everyone can put something else in the place of what is in this folder."""
    return bool(known[2] & stat.S_IWOTH) and not known[2] & stat.S_ISVTX


def open_folders(root: Path) -> tuple[Path, ...]:
    """The root, if everyone can write to it, and the folders above in which everyone could put another in its place."""
    found = [(place, mark(place)) for place in (root, *root.parents)]
    modes = [(place, known[2]) for place, known in found if known and known[2] & stat.S_IWOTH]
    return tuple(place for place, mode in modes if place == root or not mode & stat.S_ISVTX)


def _let_in(user: int, folder: Mark) -> bool:
    if folder is None or not folder[2] & stat.S_IWGRP:
        return False
    try:
        entry = pwd.getpwuid(user)
    except KeyError:
        return False
    return folder[1] in os.getgrouplist(entry.pw_name, entry.pw_gid)

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
from pathlib import Path

from controller.model.desired import Problem
from controller.source import environment

Mark = tuple[int, int, int] | None


def mark(path: Path) -> Mark:
    """What changes with the owner, the group and the mode; None when it is not there."""
    try:
        status = path.stat()
    except (OSError, ValueError):
        return None
    return status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)


def strangers(folder: Path, paths: Iterable[Path], root: Path | None = None) -> tuple[Problem, ...]:
    """Which of these files of an app, their folders, its own and the tree's `root` a stranger can write to.

    A stranger is everyone; and an owner who is neither root, nor this process, nor the owner of the app's folder or of
    the root, nor in the group that the folder lets write. Who owns `.env` is left to a warning.
    """
    inside = {parent for path in paths for parent in path.parents if folder in parent.parents}
    checked = [*([root] if root else []), folder, *sorted({*paths, *inside} - {folder})]
    # Of a file elsewhere also the folders that lead to it: who can write there can put another in its place.
    outside = {parent for path in paths if folder not in path.parents for parent in path.parents}
    outside -= {folder, *folder.parents}
    checked += sorted(place for place in outside if (found := mark(place)) and _is_open(found))
    trusted = {0, os.geteuid(), *(found[0] for place in (folder, root) if place and (found := mark(place)))}
    problems = []
    for path in checked:
        found = mark(path)
        if found is None:
            continue
        name = str(path.relative_to(folder)) if folder in path.parents else str(path)
        owner, _, mode = found
        if mode & stat.S_IWOTH:
            rule = (
                f"everyone on this machine can write to it (mode {mode:04o}); say: chmod o-w {_quoted(path)}"
            )
            problems.append(Problem(name, "", rule))
        elif owner not in trusted and path.name != environment.FILE and not _let_in(owner, folder):
            rule = f"belongs to user {owner}, a stranger here; say: chown --reference={_quoted(folder)} {_quoted(path)}"
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


def _quoted(path: Path) -> str:
    return shlex.quote(str(path))


def _let_in(user: int, folder: Path) -> bool:
    found = mark(folder)
    if found is None or not found[2] & stat.S_IWGRP:
        return False
    try:
        entry = pwd.getpwuid(user)
    except KeyError:
        return False
    return found[1] in os.getgrouplist(entry.pw_name, entry.pw_gid)

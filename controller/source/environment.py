"""An app's `.env`: what seeding would write, what a person still has to fill in. Pure.

Values are secrets: they are judged here and never quoted. Reading and writing the file is the tree's.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

from controller.model.desired import Problem
from controller.model.manifest import Manifest, Setting, is_placeholder
from controller.source import dotenv

FILE = ".env"
LIMIT = 256 * 1024
"""Bytes of `.env` and of its example: ten times what any honest one has, and read in moments whatever is in it."""
_FORBIDDEN = ("/etc", "/root", "/boot", "/proc", "/sys", "/dev", "/bin", "/sbin", "/usr/bin", "/usr/sbin")
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)


def missing_settings(manifest: Manifest, present: Mapping[str, str]) -> list[Setting]:
    """Settings that `.env` does not have yet."""
    return [setting for setting in manifest.settings if setting.name not in present]


def seeded(manifest: Manifest, env: str | None, example: str) -> str | None:
    """The text of `.env` after seeding, or None when nothing is to be written.

    A file that is not there begins as `.env.example`; then each setting that is not in it is appended with
    its default. What is there is never changed.
    """
    text = env if env is not None else example
    missing = missing_settings(manifest, dotenv.parse(text))
    if not missing and (env is not None or not example):
        return None
    return dotenv.merge(text, {setting.name: setting.default or "" for setting in missing})


def unset(manifest: Manifest, env: Mapping[str, str], state: Path) -> tuple[Problem, ...]:
    """What keeps the app from being started until a person edits `.env`: keys and rules, never values."""
    problems = [
        Problem(FILE, key, "is a placeholder; put in a value of your own")
        for key, value in sorted(env.items())
        if is_placeholder(value)
    ]
    for setting in manifest.settings:
        value = env.get(setting.name, "")
        if is_placeholder(value):
            continue
        rule = _broken_rule(setting, value, state)
        if rule:
            problems.append(Problem(FILE, setting.name, rule))
    return tuple(problems)


def _broken_rule(setting: Setting, value: str, state: Path) -> str:
    if not value.strip():
        return "is required and empty" if setting.required else ""
    if setting.type == "number" and not _NUMBER.fullmatch(value.strip()):
        return "must be a number"
    if setting.type == "path":
        return _broken_path(value, state)
    return ""


def _broken_path(value: str, state: Path) -> str:
    path = Path(value)
    if not path.is_absolute():
        return "must be an absolute path"
    try:
        real = path.resolve(strict=True)
    except (OSError, RuntimeError):
        return "names a folder that does not exist"
    if not real.is_dir():
        return "must name a folder"
    # Both sides resolved: `/bin` is a link on many machines, and so may be the state folder.
    for forbidden in (*map(Path, _FORBIDDEN), Path(os.path.realpath(state))):
        if real == forbidden or real.is_relative_to(forbidden):
            return f"must not lie in {forbidden}"
    return "must not be / itself" if real == Path("/") else ""

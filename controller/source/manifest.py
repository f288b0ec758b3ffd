"""`manifest.json` from bytes: all that is wrong with it at once, in words that name field and rule.

The rules themselves are the model's; here are JSON, the folder's name, and the wording.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable
from pathlib import PurePosixPath
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from controller.model.desired import Problem
from controller.model.manifest import Manifest, Requirement, Setting
from controller.source import files

FILE = "manifest.json"


def parse(data: bytes, folder: str) -> tuple[Manifest | None, list[Problem], list[str]]:
    """The manifest, or None and every problem; and warnings about fields that nobody knows."""
    try:
        loaded = json.loads(files.text(data), object_pairs_hook=_unique)
    except files.Unfit as error:
        return None, [Problem(FILE, "", str(error))], []
    except json.JSONDecodeError as error:
        return None, [Problem(FILE, "", f"is not JSON: {error.msg} (column {error.colno})", error.lineno)], []
    except (ValueError, RecursionError) as error:
        return None, [Problem(FILE, "", f"is not JSON: {error}")], []
    if not isinstance(loaded, dict):
        return None, [Problem(FILE, "", "must be a JSON object")], []
    problems: list[Problem] = []
    manifest: Manifest | None = None
    try:
        manifest = Manifest.model_validate(loaded)
    except ValidationError as error:
        problems += [_problem(details) for details in error.errors()]
    name = loaded.get("name")
    if isinstance(name, str) and name != folder:
        problems.append(
            Problem(FILE, "name", f"is {name!r}, but the folder is named {folder!r}; make them the same")
        )
    if manifest is not None:
        problems += _path_problems(manifest)
        if any(requirement.app == manifest.name for requirement in manifest.requires):
            problems.append(
                Problem(FILE, "requires", f"{manifest.name} requires itself; take that entry out")
            )
    return (None if problems else manifest), problems, _warnings(loaded)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    loaded: dict[str, Any] = {}
    for key, value in pairs:
        if key in loaded:
            raise ValueError(f"the field {key!r} is there twice")
        loaded[key] = value
    return loaded


def _problem(details: ErrorDetails) -> Problem:
    field = ""
    for part in details["loc"]:
        if isinstance(part, int):
            field += f"[{part}]"
        elif not part.startswith(("function-", "constrained-", "int", "float")) or not field:
            field += f".{part}" if field else part
    rule = details["msg"].removeprefix("Value error, ")
    if details["type"] == "missing":
        rule = "is missing"
    return Problem(FILE, field, rule[:1].lower() + rule[1:])


def _path_problems(manifest: Manifest) -> list[Problem]:
    paths = [("icon", manifest.icon)]
    for index, requirement in enumerate(manifest.requires):
        for event in ("on_install", "on_start", "on_update", "on_remove"):
            path = getattr(requirement, event)
            if path is not None:
                paths.append((f"requires[{index}].{event}", path))
    return [
        Problem(FILE, field, f"{path!r} must be a relative path that stays inside the folder")
        for field, path in paths
        if not path or "\0" in path or PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts
    ]


def _warnings(loaded: dict[str, Any]) -> list[str]:
    found = list(_unknown(loaded, Manifest, ""))
    for field, part in (("settings", Setting), ("requires", Requirement)):
        entries = loaded.get(field)
        for index, entry in enumerate(entries if isinstance(entries, list) else []):
            if isinstance(entry, dict):
                found += _unknown(entry, part, f"{field}[{index}].")
    return found


def _unknown(loaded: dict[str, Any], part: type[BaseModel], where: str) -> Iterable[str]:
    for key in loaded:
        if key not in part.model_fields:
            near = difflib.get_close_matches(key, part.model_fields, 1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            yield f"{FILE}: {where}{key}: nobody knows this field, it is ignored{hint}"

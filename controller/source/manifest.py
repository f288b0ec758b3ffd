"""`manifest.json` from bytes: all that is wrong with it at once, in words that name field and rule.

The rules themselves are the model's; here are JSON, the folder's name, and the wording.
"""

from __future__ import annotations

import difflib
import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import PurePosixPath
from typing import Any, Final

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from controller.model.desired import Problem
from controller.model.manifest import Manifest, Requirement, Setting
from controller.source import files

FILE = "manifest.json"
MOST: Final = 20
"""Of problems and of warnings; a person mends these first, and a status has to stay readable."""
VALUES: Final = 10_000
"""Values in a manifest, those within lists and objects counted."""
DEPTH: Final = 64

_HALF: Final = re.compile("[\ud800-\udfff]")
_TOO_DEEP: Final = f"is nested too deep (more than {DEPTH} levels)"
HOOKS: Final = ("on_install", "on_start", "on_update", "on_remove")
_RULES: Final = {
    "missing": "is missing",
    "string_type": "must be a string",
    "string_unicode": "holds half a character (a lone surrogate)",
    "list_type": "must be a list",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "bool_type": "must be true or false",
    "model_type": "must be an object",
    "model_attributes_type": "must be an object",
    "dict_type": "must be an object",
}
"""What pydantic's kinds of errors are called here."""


def parse(data: bytes, folder: str) -> tuple[Manifest | None, list[Problem], list[str]]:
    """The manifest, or None and every problem; and warnings about fields that nobody knows."""
    try:
        loaded = json.loads(
            files.text(data), object_pairs_hook=_unique, parse_constant=_no_constant, parse_float=_finite
        )
    except files.Unfit as error:
        return None, [Problem(FILE, "", str(error))], []
    except json.JSONDecodeError as error:
        return None, [Problem(FILE, "", f"is not JSON: {error.msg} (column {error.colno})", error.lineno)], []
    except RecursionError:
        return None, [Problem(FILE, "", _TOO_DEEP)], []
    except ValueError as error:
        return None, [Problem(FILE, "", f"is not JSON: {error}")], []
    if not isinstance(loaded, dict):
        return None, [Problem(FILE, "", "must be a JSON object")], []
    if excess := _excess(loaded):
        return None, [excess], []
    problems: dict[str, Problem] = {}
    manifest: Manifest | None = None
    try:
        manifest = Manifest.model_validate(loaded)
    except ValidationError as error:
        for details in error.errors(include_url=False, include_input=False):
            problem = _problem(details)
            # A value that fits neither branch of a union has an error for each.
            problems.setdefault(problem.field, problem)
    for problem in _more_problems(loaded, folder):
        problems.setdefault(problem.field, problem)
    found = list(problems.values())
    if len(found) > MOST:
        found = [*found[:MOST], Problem(FILE, "", f"and {len(found) - MOST} more problems like these")]
    return (None if found else manifest), found, _warnings(loaded)


@dataclass(frozen=True)
class Asked:
    """What one entry of `requires` asks of another app: scripts by the names of their hooks."""

    field: str
    app: str
    scripts: Mapping[str, str]


def asked(data: bytes) -> tuple[Asked, ...]:
    """The entries of `requires` that can be understood, whatever else is wrong with the manifest."""
    try:
        loaded = json.loads(data)
    except (ValueError, RecursionError):
        return ()
    if not isinstance(loaded, dict) or _excess(loaded):
        return ()
    found = []
    for index, entry in _entries(loaded, "requires"):
        if isinstance(entry.get("app"), str):
            scripts = {
                hook: path
                for hook in HOOKS
                if isinstance(path := entry.get(hook), str) and _stays_inside(path)
            }
            found.append(Asked(f"requires[{index}]", entry["app"], scripts))
    return tuple(found)


def _excess(loaded: dict[str, Any]) -> Problem | None:
    """What makes a document one that is not looked at further: too much in it, or text that no file can hold."""
    waiting: list[tuple[str, Any, int]] = [("", loaded, 1)]
    left = VALUES
    while waiting:
        where, value, depth = waiting.pop()
        if isinstance(value, str):
            if _HALF.search(value):
                return Problem(FILE, where, _RULES["string_unicode"])
        elif isinstance(value, dict | list):
            left -= len(value)
            if left < 0 or depth > DEPTH:
                return Problem(FILE, "", _TOO_DEEP if depth > DEPTH else f"holds more than {VALUES} values")
            waiting += [(inner, item, depth + 1) for inner, item in _named(where, value)]
    return None


def _named(where: str, value: dict[str, Any] | list[Any]) -> Iterator[tuple[str, Any]]:
    """What is in it, each with its place for a message; names of keys are foreign text, so short and printable."""
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield f"{where}[{index}]", item
        return
    for key, item in value.items():
        name = _shown(key)[1:-1]
        yield f"{where}.{name}" if where else name, key if _HALF.search(key) else item


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    loaded: dict[str, Any] = {}
    for key, value in pairs:
        if key in loaded:
            raise ValueError(f"the field {_shown(key)} is there twice")
        loaded[key] = value
    return loaded


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no number")


def _finite(digits: str) -> float:
    value = float(digits)
    if math.isinf(value):
        raise ValueError("a number is too large")
    return value


def _shown(value: str) -> str:
    """Foreign text for a message: short, on one line, and sure to be storable."""
    return (
        ascii(value if len(value) <= 60 else value[:60] + "…")
        if not value.isprintable()
        else repr(value[:60])
    )


def _problem(details: ErrorDetails) -> Problem:
    field = ""
    for part in details["loc"]:
        if isinstance(part, int):
            field += f"[{part}]"
        elif field == "health_timeout":
            break  # the branch of its union
        else:
            field += f".{part}" if field else part
    return Problem(FILE, field, _rule(field, details))


def _rule(field: str, details: ErrorDetails) -> str:
    context = details.get("ctx", {})
    if field == "health_timeout":
        return "must be a number of seconds above 0"
    match details["type"]:
        case "literal_error":
            return f"must be {context['expected']}"
        case "greater_than_equal":
            return f"must be at least {context['ge']}"
        case "less_than_equal":
            return f"must be at most {context['le']}"
        case "value_error":
            message = details["msg"].removeprefix("Value error, ")
            return message if message.isprintable() and len(message) <= 300 else ascii(message[:300])
        case kind:
            message = details["msg"]
            return _RULES.get(kind, message[:1].lower() + message[1:])


def _more_problems(loaded: dict[str, Any], folder: str) -> Iterator[Problem]:
    """What needs the folder, or more than one field. On raw values: all that is wrong is said at once."""
    name = loaded.get("name")
    if isinstance(name, str) and name != folder:
        yield Problem(
            FILE, "name", f"is {_shown(name)}, but the folder is named {folder!r}; make them the same"
        )
    paths: list[tuple[str, Any]] = [("icon", loaded.get("icon"))]
    for index, entry in _entries(loaded, "requires"):
        if folder == entry.get("app"):
            yield Problem(FILE, f"requires[{index}].app", f"{folder} requires itself; take that entry out")
        paths += [(f"requires[{index}].{hook}", entry.get(hook)) for hook in HOOKS]
    for field, path in paths:
        if isinstance(path, str) and not _stays_inside(path):
            yield Problem(FILE, field, f"{_shown(path)} must be a relative path that stays inside the folder")
    for index, entry in _entries(loaded, "settings"):
        if "\0" in str(entry.get("default")):
            yield Problem(FILE, f"settings[{index}].default", "holds a NUL character")


def _entries(loaded: dict[str, Any], field: str) -> Iterator[tuple[int, dict[str, Any]]]:
    entries = loaded.get(field)
    for index, entry in enumerate(entries if isinstance(entries, list) else []):
        if isinstance(entry, dict):
            yield index, entry


def _stays_inside(path: str) -> bool:
    pure = PurePosixPath(path)
    return bool(pure.parts) and "\0" not in path and not pure.is_absolute() and ".." not in pure.parts


def _warnings(loaded: dict[str, Any]) -> list[str]:
    found = list(islice(_unknown_fields(loaded), MOST + 1))
    return (
        found
        if len(found) <= MOST
        else [*found[:MOST], f"{FILE}: more fields that nobody knows are not listed"]
    )


def _unknown_fields(loaded: dict[str, Any]) -> Iterator[str]:
    yield from _unknown(loaded, Manifest, "")
    for field, part in (("settings", Setting), ("requires", Requirement)):
        for index, entry in _entries(loaded, field):
            yield from _unknown(entry, part, f"{field}[{index}].")


def _unknown(loaded: dict[str, Any], part: type[BaseModel], where: str) -> Iterator[str]:
    for key in loaded:
        if key not in part.model_fields:
            near = difflib.get_close_matches(key[:60].lower(), part.model_fields, 1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            yield f"{FILE}: {where}{_shown(key)[1:-1]}: nobody knows this field, it is ignored{hint}"

"""The sketch of a compose file: what a first manifest can take from it.

Which variables it asks for, which ports it publishes, which volumes it expects to be there. What a manifest
makes of that, and what an app needs in order to run, does not belong here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from controller.model.desired import Problem
from controller.model.values import replace
from controller.source import dotenv, environment, files, references
from controller.source.reading import BASES, OVERRIDES

MOST_OF_A_RANGE: Final = 100
"""Ports of one published range; beyond that a range says nothing to people."""

# An operand with variables of its own is left to the next match: `${A:-${B}}` asks for A and for B.
_VARIABLE: Final = re.compile(
    r"\$\$|\$(?P<plain>[A-Za-z_]\w*)"
    r"|\$\{(?P<name>[A-Za-z_]\w*)(?:(?P<operator>:?[-?+])(?:(?P<operand>[^${}]*)\})?)?",
    re.ASCII,
)
_PUBLISHED: Final = re.compile(r"(\d{1,5})(?:-(\d{1,5}))?", re.ASCII)


@dataclass(frozen=True)
class Variable:
    """A variable that a compose file puts in."""

    name: str
    required: bool
    """Nothing stands in for it when it has no value."""
    default: str | None = None


@dataclass(frozen=True)
class Sketch:
    """What one folder's compose files say about themselves, each list in order of appearance."""

    files: tuple[str, ...]
    variables: tuple[Variable, ...] = ()
    ports: tuple[int, ...] = ()
    """Published on the host."""
    external_volumes: tuple[str, ...] = ()
    """The full names of volumes that somebody else makes."""
    unknown: tuple[str, ...] = ()
    """What could not be told, in words for people."""


def sketch(folder: Path) -> Sketch | tuple[Problem, ...]:
    """The sketch of a folder, or what keeps its compose files from being read. Raises `files.Unreadable`."""
    documents: dict[str, Mapping[str, Any]] = {}
    problems: list[Problem] = []
    for name in (*BASES, *OVERRIDES):
        try:
            data = files.read(folder / name)
            if data is not None:
                documents[name], found = references.parse(name, files.text(data), as_text=True)
                problems += found
        except files.Unreadable as error:
            raise files.Unreadable(f"{folder / name} {error}") from error
        except files.Unfit as error:
            problems.append(Problem(name, "", str(error)))
    bases = [name for name in BASES if name in documents]
    if problems:
        return tuple(problems)
    if len(bases) != 1:
        rule = f"there is also {' and '.join(bases[1:])}; keep one of them" if bases else "is not there"
        return (Problem(bases[0] if bases else "a compose file", "", rule),)
    chosen = [*bases, *[name for name in OVERRIDES if name in documents][:1]]
    return _sketch({name: documents[name] for name in chosen}, _env(folder))


def _env(folder: Path) -> Mapping[str, str]:
    """Only to tell ports and names: a file that cannot be read is told when the app is."""
    try:
        data = files.read(folder / environment.FILE)
        return dotenv.parse(files.text(data)) if data is not None else {}
    except (files.Unfit, dotenv.DotenvError):
        return {}


def _sketch(documents: Mapping[str, Mapping[str, Any]], env: Mapping[str, str]) -> Sketch:
    variables: dict[str, Variable] = {}
    ports: dict[int, None] = {}
    volumes: dict[str, None] = {}
    unknown: list[str] = []
    for name, document in documents.items():
        for text in _texts(document):
            for variable in _variables(text):
                before = variables.get(variable.name)
                variables[variable.name] = _both(before, variable) if before else variable
        for where, mapping in _mappings(document):
            published = _published(mapping, env)
            if published is None:
                unknown.append(f"{name}: {where}: which ports are published could not be told")
            ports.update(dict.fromkeys(published or ()))
        for key, volume in _external(document):
            full = references.interpolate(volume, env)
            if full is None:
                unknown.append(f"{name}: volumes.{key}: its name could not be told")
            else:
                volumes[full] = None
        if "include" in document:
            unknown.append(f"{name}: what it includes was not looked into")
    return Sketch(tuple(documents), tuple(variables.values()), tuple(ports), tuple(volumes), tuple(unknown))


def _both(one: Variable, other: Variable) -> Variable:
    """Two uses of one variable: it is needed as soon as one use needs it; the first default is the default."""
    default = one.default if one.default is not None else other.default
    return replace(one, required=one.required or other.required, default=default)


def _texts(value: Any) -> Iterator[str]:
    """Every value that Compose would put variables into: keys stay as they are."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _texts(inner)


def _variables(text: str) -> Iterator[Variable]:
    for match in _VARIABLE.finditer(text):
        name = match["plain"] or match["name"]
        if name:
            operator = (match["operator"] or "?")[-1]
            yield Variable(name, operator == "?", match["operand"] if operator == "-" else None)


def _mappings(document: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    services = document.get("services")
    for name, service in services.items() if isinstance(services, dict) else ():
        ports = service.get("ports") if isinstance(service, dict) else None
        for index, mapping in enumerate(ports if isinstance(ports, list) else ()):
            yield f"services.{name}.ports[{index}]", mapping


def _published(mapping: Any, env: Mapping[str, str]) -> range | None:
    """The host's ports of one entry; empty when the engine chooses; None when it cannot be told."""
    written = mapping.get("published", "") if isinstance(mapping, dict) else mapping
    text = references.interpolate(written, env) if isinstance(written, str) else None
    if text is None:
        return None
    if not isinstance(mapping, dict):
        # [address:][published:]target[/protocol], where the address may have colons of its own
        text = [*text.partition("/")[0].rsplit(":", 2)[-2:-1], ""][0]
    if not text:
        return range(0)
    match = _PUBLISHED.fullmatch(text)
    if match is None:
        return None
    first, last = int(match[1]), int(match[2] or match[1])
    return range(first, last + 1) if 1 <= first <= last <= min(65535, first + MOST_OF_A_RANGE - 1) else None


def _external(document: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    volumes = document.get("volumes")
    for key, volume in volumes.items() if isinstance(volumes, dict) else ():
        if not isinstance(volume, dict):
            continue
        external = volume.get("external")
        old = external.get("name") if isinstance(external, dict) else None  # before Compose 2
        if old is not None or str(external).lower() in ("true", "yes", "on"):
            yield str(key), str(old or volume.get("name") or key)

"""The reference scan: which other files a compose file names, and what in it we refuse.

The only place that reads compose YAML; what it means is Compose's to say. `config` output no longer names
`include`, `extends` and `env_file`, so they are found here, in the raw file.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from controller.model.desired import Problem

NODES = 100_000
"""Nodes of a file after aliases are expanded; honest files stay far below, a "billion laughs" does not."""
DEPTH = 64

_REMOTE = re.compile(r"^(?:https?|git|ssh|oci)://|^git@|\.git(?:#|$)")
_VARIABLE = re.compile(r"\$\{(\w+)(?::?-([^}]*))?\}|\$(\w+)")


@dataclass
class References:
    """Files that a compose file names, as written (relative to its folder)."""

    needed: list[tuple[str, str]] = field(default_factory=list)
    """(field, path) of files that must be there."""
    optional: list[str] = field(default_factory=list)
    compose: list[str] = field(default_factory=list)
    """Those of them that are compose files themselves (`include`, `extends`)."""
    refused: list[tuple[str, str]] = field(default_factory=list)
    """(field, rule) of what is not allowed."""


class _Loader(yaml.CSafeLoader):
    """The safe loader, that takes Compose's own tags (`!reset`, `!override`) for plain values."""


def _plain(loader: _Loader, _suffix: str, node: yaml.Node) -> Any:
    if isinstance(node, yaml.MappingNode):
        return loader.construct_mapping(node, deep=True)
    if isinstance(node, yaml.SequenceNode):
        return loader.construct_sequence(node, deep=True)
    return loader.construct_scalar(node)  # type: ignore[arg-type]


_Loader.add_multi_constructor("!", _plain)


def parse(name: str, text: str) -> tuple[Any, list[Problem]]:
    """The YAML document, or None and what is wrong with it. Never takes more than moments, whatever is in it."""
    try:
        _guard(text)
        document = yaml.load(text, _Loader)  # noqa: S506 - a subclass of the safe loader
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        return None, [Problem(name, "", f"is not YAML: {error.problem}", mark.line + 1 if mark else None)]
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        return None, [Problem(name, "", f"is not YAML: {error}")]
    if not isinstance(document, dict):
        return None, [Problem(name, "", "must be a mapping with `services`")]
    return document, []


def _guard(text: str) -> None:
    """Refuse before building: aliases that multiply, endless depth, two keys of one name."""
    sizes: dict[str, int] = {}
    stack: list[tuple[str | None, int, set[str] | None, bool]] = []
    total = 0
    documents = 0
    for event in yaml.parse(text, yaml.CSafeLoader):
        if isinstance(event, yaml.DocumentStartEvent):
            documents += 1
            if documents > 1:
                raise ValueError("it holds more than one document")
            continue
        if isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent):
            anchor, before, _, _ = stack.pop()
            if anchor:
                sizes[anchor] = total - before
            _turn(stack)
            continue
        if isinstance(event, yaml.AliasEvent):
            total += sizes.get(event.anchor or "", 1)
            _turn(stack)
        elif isinstance(event, yaml.ScalarEvent):
            total += 1
            if event.anchor:
                sizes[event.anchor] = 1
            _key(stack, event)
            _turn(stack)
        elif isinstance(event, yaml.MappingStartEvent):
            total += 1
            stack.append((event.anchor, total, set(), True))
        elif isinstance(event, yaml.SequenceStartEvent):
            total += 1
            stack.append((event.anchor, total, None, False))
        if total > NODES or len(stack) > DEPTH:
            raise ValueError("it is too large or too deep once its aliases are expanded")


def _turn(stack: list[tuple[str | None, int, set[str] | None, bool]]) -> None:
    """In a mapping, keys and values take turns."""
    if stack and stack[-1][2] is not None:
        anchor, before, keys, is_key = stack[-1]
        stack[-1] = (anchor, before, keys, not is_key)


def _key(stack: list[tuple[str | None, int, set[str] | None, bool]], event: yaml.ScalarEvent) -> None:
    if not stack or stack[-1][2] is None or not stack[-1][3]:
        return
    keys = stack[-1][2]
    if event.value in keys and event.value != "<<":
        line = event.start_mark.line + 1 if event.start_mark else 0
        raise ValueError(f"line {line}: the key {event.value!r} is there twice")
    keys.add(event.value)


def scan(document: Mapping[str, Any], env: Mapping[str, str]) -> References:
    """All references of one compose document. Paths with variables that `.env` does not give are left out."""
    found = References()
    for where, path in _includes(document):
        _add(found, where, path, env, compose=True)
    services = document.get("services")
    for name, service in services.items() if isinstance(services, dict) else ():
        if isinstance(service, dict):
            _scan_service(found, f"services.{name}", service, env)
    for kind in ("configs", "secrets"):
        entries = document.get(kind)
        for name, entry in entries.items() if isinstance(entries, dict) else ():
            if isinstance(entry, dict) and isinstance(entry.get("file"), str):
                _add(found, f"{kind}.{name}.file", entry["file"], env)
    return found


def _includes(document: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    entries = document.get("include")
    for index, entry in enumerate(entries if isinstance(entries, list) else []):
        paths = entry.get("path") if isinstance(entry, dict) else entry
        for path in paths if isinstance(paths, list) else [paths]:
            if isinstance(path, str):
                yield f"include[{index}]", path


def _scan_service(found: References, where: str, service: Mapping[str, Any], env: Mapping[str, str]) -> None:
    if "provider" in service:
        found.refused.append((f"{where}.provider", "runs a program on the host as root; it is refused"))
    extends = service.get("extends")
    if isinstance(extends, dict) and isinstance(extends.get("file"), str):
        _add(found, f"{where}.extends.file", extends["file"], env, compose=True)
    entries = service.get("env_file")
    for entry in entries if isinstance(entries, list) else [entries]:
        path = entry.get("path") if isinstance(entry, dict) else entry
        required = entry.get("required", True) if isinstance(entry, dict) else True
        if isinstance(path, str):
            _add(found, f"{where}.env_file", path, env, required=bool(required))
    build = service.get("build")
    context = (
        build if isinstance(build, str) else build.get("context", ".") if isinstance(build, dict) else None
    )
    if isinstance(context, str) and not _REMOTE.search(context):
        dockerfile = build.get("dockerfile", "Dockerfile") if isinstance(build, dict) else "Dockerfile"
        inline = isinstance(build, dict) and "dockerfile_inline" in build
        if isinstance(dockerfile, str) and not inline:
            path = dockerfile if dockerfile.startswith("/") else f"{context.rstrip('/')}/{dockerfile}"
            _add(found, f"{where}.build", path, env)


def _add(
    found: References,
    where: str,
    path: str,
    env: Mapping[str, str],
    *,
    compose: bool = False,
    required: bool = True,
) -> None:
    if compose and _REMOTE.search(path):
        found.refused.append(
            (where, f"{path!r} would be fetched from elsewhere at each start; it is refused")
        )
        return
    known = interpolate(path, env)
    if known is None:
        return
    if required:
        found.needed.append((where, known))
    else:
        found.optional.append(known)
    if compose:
        found.compose.append(known)


def interpolate(text: str, env: Mapping[str, str]) -> str | None:
    """The text with simple variables put in, or None when one of them is not known."""
    unknown = False

    def value(match: re.Match[str]) -> str:
        nonlocal unknown
        name = match.group(1) or match.group(3)
        if env.get(name):
            return env[name]
        if match.group(2) is not None:
            return match.group(2)
        unknown = True
        return ""

    result = _VARIABLE.sub(value, text)
    return None if unknown or "$" in result else result

"""The reference scan: which other files a compose file names, what it mounts, and what in it we refuse.

The only place that reads compose YAML; what it means is Compose's to say. `config` output no longer names
`include`, `extends` and `env_file`, so they are found here, in the raw file.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import Any, Final, Literal

import yaml

from controller.model.desired import Problem, Trust

NODES: Final = 100_000
"""Nodes of a file after aliases are expanded; honest files stay far below, a "billion laughs" does not."""
DEPTH: Final = 64
TEXT: Final = 64
"""Characters of a scalar that count as one more node: an alias repeats a long text as cheaply as a short one."""
MOST: Final = 2000
"""Files and mounted paths that the compose files of an app name."""
LONGEST: Final = 4096
"""Characters of a name with its variables put in; no file has a longer one."""

_REMOTE: Final = re.compile(r"^(?:[\w.+-]+://|[\w.-]+@[\w.-]+:|github\.com/)|\.git(?:#|$)")
_TRUE: Final = frozenset({"true", "yes", "y", "on"})
_VARIABLE: Final = re.compile(
    r"\$(?:(?P<dollar>\$)|(?P<plain>[A-Za-z_]\w*)|\{(?P<name>[A-Za-z_]\w*)(?:(?P<operator>:?-)(?P<default>[^${}]*))?\})",
    re.ASCII,
)


@dataclass(frozen=True)
class Reference:
    """A file that a compose file names."""

    field: str
    path: str
    """As written, with variables put in; relative to the folder of the project that names it."""
    kind: Literal["compose", "env_file"]
    """`compose` is read for more references."""
    required: bool = True
    project: str | None = None
    """For `include`: the folder that paths in the included file are relative to; None: the file's own."""


@dataclass(frozen=True)
class Mount:
    """A path of the host that a compose file puts into containers; it may be a file, a folder, or not there."""

    field: str
    path: str
    """With variables put in; relative to the folder of the project that names it."""
    writable: bool = False
    required: bool = False
    """The file is wrong without it (`configs`, `secrets`)."""


@dataclass
class References:
    """What one compose file names and mounts, and what in it is refused."""

    files: list[Reference] = field(default_factory=list)
    mounts: list[Mount] = field(default_factory=list)
    refused: list[tuple[str, str]] = field(default_factory=list)
    """(field, rule) of what is not allowed."""
    powers: list[tuple[str, str]] = field(default_factory=list)
    """(field, what it gives) of what lets a container reach the host."""

    def add(self, reference: Reference, env: Mapping[str, str], trust: Trust) -> None:
        """Take in a reference; one whose variables `.env` does not give is no file, and no remote include."""
        path = interpolate(reference.path, env)
        if reference.kind == "compose" and trust.remote_include:
            if path is None or _REMOTE.search(path):
                return  # what Compose fetches is no file of ours
        elif reference.kind == "compose":
            # Compose fetches these already to read them: what may be a remote one after all is not let through.
            if path is None:
                rule = f"{reference.path!r} cannot be followed; write it with no variables, or simple ones from .env"
                self.refused.append((reference.field, rule))
                return
            if _REMOTE.search(path):
                rule = (
                    f"{path!r} would be fetched from elsewhere at each start; put a copy into the folder, "
                    "or allow it for all apps with --allow-remote-include"
                )
                self.refused.append((reference.field, rule))
                return
        if path:
            project = interpolate(reference.project, env) if reference.project is not None else None
            self.files.append(Reference(reference.field, path, reference.kind, reference.required, project))


class _Loader(yaml.CSafeLoader):
    """The safe loader, that takes Compose's own tags (`!reset`, `!override`) for plain values."""


def _plain(loader: _Loader, _suffix: str, node: yaml.Node) -> Any:
    if isinstance(node, yaml.MappingNode):
        return loader.construct_mapping(node, deep=True)
    if isinstance(node, yaml.SequenceNode):
        return loader.construct_sequence(node, deep=True)
    return loader.construct_scalar(node)  # type: ignore[arg-type]


def _as_written(loader: _Loader, node: yaml.ScalarNode) -> str:
    return str(loader.construct_scalar(node))


class _TextLoader(_Loader):
    """Every scalar stays the text that was written: to YAML 1.1 the port mapping `8022:22` is a number."""


_Loader.add_multi_constructor("!", _plain)
# A number stays text as well, whatever its tag: nobody asks for its value here. Large ones take long to read
# (`59:59:…`), and as keys they can be chosen so that all fall on one place of a dict.
for _kind in ("int", "float", "timestamp"):
    _Loader.add_constructor(f"tag:yaml.org,2002:{_kind}", _as_written)
for _loader, _kept in ((_Loader, ("merge", "bool", "null")), (_TextLoader, ("merge",))):
    _loader.yaml_implicit_resolvers = {
        first: [(tag, pattern) for tag, pattern in resolvers if tag.rpartition(":")[2] in _kept]
        for first, resolvers in yaml.CSafeLoader.yaml_implicit_resolvers.items()
    }


@dataclass
class Budget:
    """What the compose files of one app may still come to, together."""

    nodes: int = NODES


def parse(
    name: str, text: str, *, as_text: bool = False, budget: Budget | None = None
) -> tuple[Any, list[Problem]]:
    """The YAML document, or None and what is wrong with it. Never takes more than moments, whatever is in it.

    With `as_text` every scalar in it is a string, as it was written; else all but true, false and nothing are.
    """
    try:
        _guard(text, budget or Budget())
        document = yaml.load(text, _TextLoader if as_text else _Loader)  # noqa: S506 - subclasses of the safe loader
    except _Refused as error:
        return None, [Problem(name, "", str(error), error.line)]
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        return None, [
            Problem(name, "", f"is not YAML: {str(error.problem)[:200]}", mark.line + 1 if mark else None)
        ]
    except yaml.reader.ReaderError as error:
        return None, [Problem(name, "", f"is not YAML: {error.reason} (character {error.position + 1})")]
    except Exception as error:  # PyYAML lets through what int(), bool and dates raise for a tagged value
        return None, [Problem(name, "", f"is not YAML: a value cannot be read ({type(error).__name__})")]
    if not isinstance(document, dict):
        return None, [Problem(name, "", "must be a mapping with `services`")]
    return document, []


class _Refused(Exception):
    def __init__(self, rule: str, event: yaml.Event) -> None:
        super().__init__(rule)
        self.line = event.start_mark.line + 1 if event.start_mark else None


@dataclass
class _Open:
    """A list or mapping that has not ended yet."""

    anchor: str | None
    before: int
    keys: set[str] | None
    """Of a mapping: the keys so far."""
    is_key: bool = True


def _guard(text: str, budget: Budget) -> None:
    """Refuse before building: aliases that multiply, endless depth, two keys of one name."""
    sizes: dict[str, int | None] = {}
    """What each anchor expands to, itself included; None while it has not ended."""
    stack: list[_Open] = []
    total = documents = 0
    for event in yaml.parse(text, yaml.CSafeLoader):
        if isinstance(event, yaml.DocumentStartEvent):
            documents += 1
            if documents > 1:
                raise _Refused("it holds more than one document", event)
        elif isinstance(event, yaml.CollectionEndEvent):
            ended = stack.pop()
            sizes[ended.anchor or ""] = total - ended.before
            _turn(stack)
        elif isinstance(event, yaml.CollectionStartEvent):
            # The collection itself counts: empty ones multiply as well.
            keys: set[str] | None = set() if isinstance(event, yaml.MappingStartEvent) else None
            stack.append(_Open(event.anchor, total, keys))
            sizes[event.anchor or ""] = None
            total += 1
        elif isinstance(event, yaml.NodeEvent):
            total += _size(event, sizes)
            _key(stack, event)
            _turn(stack)
        if len(stack) > DEPTH:
            raise _Refused(f"is nested too deep (more than {DEPTH} levels)", event)
        if total > budget.nodes:
            rule = "is too large once its aliases are expanded, or together with the files that name it"
            raise _Refused(rule, event)
    budget.nodes -= total


def _size(event: yaml.NodeEvent, sizes: dict[str, int | None]) -> int:
    """How many nodes a scalar or an alias stands for."""
    if isinstance(event, yaml.ScalarEvent):
        size = 1 + len(event.value) // TEXT
        sizes[event.anchor or ""] = size
        return size
    known = sizes.get(event.anchor or "", 1)  # an alias to nothing is refused when the document is built
    if known is None:
        raise _Refused(f"the alias *{(event.anchor or '')[:60]} stands within itself", event)
    return known


def _turn(stack: list[_Open]) -> None:
    """In a mapping, keys and values take turns."""
    if stack:
        stack[-1].is_key = not stack[-1].is_key


def _key(stack: list[_Open], event: yaml.NodeEvent) -> None:
    if not stack or stack[-1].keys is None or not stack[-1].is_key or not isinstance(event, yaml.ScalarEvent):
        return
    if event.value in stack[-1].keys and event.value != "<<":
        raise _Refused(f"the key {event.value[:60]!r} is there twice", event)
    stack[-1].keys.add(event.value)


def scan(document: Mapping[str, Any], env: Mapping[str, str], trust: Trust) -> References:
    """All references of one compose document. Paths with variables that `.env` does not give are left out."""
    found = References()
    # One more than is allowed: who reads them all sees that it is too many.
    for reference in islice(chain(_includes(document), _services(found, document, trust)), MOST + 1):
        found.add(reference, env, trust)
    found.mounts += islice(chain(_binds(document, env), _contents(document, env)), MOST + 1)
    return found


def _includes(document: Mapping[str, Any]) -> Iterator[Reference]:
    for index, entry in enumerate(_items(document.get("include"))):
        where = f"include[{index}]"
        options = entry if isinstance(entry, dict) else {"path": entry}
        paths = [path for path in _items(options.get("path")) if isinstance(path, str)]
        project = options.get("project_directory")
        if not isinstance(project, str):
            # All files of one entry belong to the project of the first.
            project = paths[0].rpartition("/")[0] or "." if paths else "."
        for path in paths:
            yield Reference(where, path, "compose", project=project)
        if options.get("env_file") is None:
            yield Reference(f"{where}.env_file", f"{project}/.env", "env_file", required=False)
        for path in _items(options.get("env_file")):
            if isinstance(path, str):
                yield Reference(f"{where}.env_file", path, "env_file")


def _services(found: References, document: Mapping[str, Any], trust: Trust) -> Iterator[Reference]:
    for name, service in _entries(document, "services"):
        where = f"services.{name}"
        if "provider" in service and not trust.providers:
            rule = "runs a program on the host as root; take it out, or allow it for all apps with --allow-providers"
            found.refused.append((f"{where}.provider", rule))
        found.powers += _powers(where, service)
        extends = service.get("extends")
        if isinstance(extends, dict) and isinstance(extends.get("file"), str):
            yield Reference(f"{where}.extends.file", extends["file"], "compose")
        for key in ("env_file", "label_file"):
            for entry in _items(service.get(key)):
                path = entry.get("path") if isinstance(entry, dict) else entry
                required = entry.get("required", True) if isinstance(entry, dict) else True
                if isinstance(path, str):
                    yield Reference(f"{where}.{key}", path, "env_file", required=bool(required))
        yield from _dockerfile(where, service.get("build"))


def _powers(where: str, service: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if str(service.get("privileged", "")).lower() in _TRUE:
        yield f"{where}.privileged", "the container can do on the host whatever root can"
    for key in ("pid", "ipc", "network_mode", "userns_mode", "uts", "cgroup"):
        if service.get(key) == "host":
            yield f"{where}.{key}", "host: the container is not kept apart from the host in this"
    for key in ("cap_add", "devices"):
        if given := [str(item)[:60] for item in _items(service.get(key))]:
            yield f"{where}.{key}", f"the container gets {', '.join(given[:5])}"


def _dockerfile(where: str, build: Any) -> Iterator[Reference]:
    options = build if isinstance(build, dict) else {"context": build}
    context, dockerfile = options.get("context", "."), options.get("dockerfile", "Dockerfile")
    if not isinstance(context, str) or not isinstance(dockerfile, str) or "dockerfile_inline" in options:
        return
    if build is not None and not _REMOTE.search(context):
        path = dockerfile if dockerfile.startswith("/") else f"{context or '.'}/{dockerfile}"
        yield Reference(f"{where}.build", path, "env_file")


def _binds(document: Mapping[str, Any], env: Mapping[str, str]) -> Iterator[Mount]:
    for name, service in _entries(document, "services"):
        for entry in _items(service.get("volumes")):
            source, writable = _long_bind(entry, env) if isinstance(entry, dict) else _short_bind(entry, env)
            if source and not source.startswith("~"):
                yield Mount(f"services.{name}.volumes", source, writable)


def _short_bind(entry: Any, env: Mapping[str, str]) -> tuple[str, bool]:
    """Path ("" for a volume) and whether it can be written to, of `SOURCE:TARGET[:OPTION,…]`."""
    text = interpolate(entry, env) if isinstance(entry, str) else None
    source, *rest = (text or "").split(":")
    if not rest or not source.startswith((".", "/")):
        return "", True
    access = [option for option in ",".join(rest[1:]).split(",") if option in ("ro", "rw")]
    return source, access[-1:] != ["ro"]


def _long_bind(entry: Mapping[str, Any], env: Mapping[str, str]) -> tuple[str, bool]:
    source = entry.get("source")
    if entry.get("type") != "bind" or not isinstance(source, str):
        return "", True
    # YAML 1.1 makes a boolean of `yes`; in quotes, or from a variable, it is text and Compose makes the boolean.
    read_only = interpolate(str(entry.get("read_only", "")), env) or ""
    return interpolate(source, env) or "", read_only.lower() not in _TRUE


def _contents(document: Mapping[str, Any], env: Mapping[str, str]) -> Iterator[Mount]:
    for kind in ("configs", "secrets"):
        for name, entry in _entries(document, kind):
            path = interpolate(entry["file"], env) if isinstance(entry.get("file"), str) else None
            if path:
                yield Mount(f"{kind}.{name}.file", path, required=True)


def _entries(document: Mapping[str, Any], key: str) -> Iterator[tuple[str, dict[str, Any]]]:
    entries = document.get(key)
    for name, entry in entries.items() if isinstance(entries, dict) else ():
        if isinstance(entry, dict):
            yield str(name)[:60], entry


def _items(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def interpolate(text: str, env: Mapping[str, str]) -> str | None:
    """The text with simple variables put in, or None when one has no value, an expression is not simple, or it is
    too long for a name.

    Simple are `$NAME`, `${NAME}`, `${NAME-default}` and `${NAME:-default}`; `$$` is a dollar sign.
    """
    unknown, room = False, LONGEST

    def value(match: re.Match[str]) -> str:
        nonlocal unknown, room
        if match["dollar"]:
            return "$"
        given = env.get(match["plain"] or match["name"])
        if given or (given is not None and match["operator"] != ":-"):
            room -= len(given)
            if room < 0:
                unknown = True
                return ""
            return given
        if match["default"] is None:
            unknown = unknown or given is None
            return ""
        return match["default"]

    if len(text) > LONGEST or "$" in _VARIABLE.sub("", text):
        return None
    result = _VARIABLE.sub(value, text)
    return None if unknown else result

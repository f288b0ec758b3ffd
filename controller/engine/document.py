"""The resolved model that `config --format json` prints, made into the values that decisions need.

Pure: text in, `Rendered` out. Running Compose is `compose`'s, comparing is the planner's.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any

from controller.model.observed import Bind, Rendered, Service

ENVIRONMENT = "x-homeport-environment"
"""Where the document keeps the variables that its secrets and configs are taken from at each start."""
_NO = frozenset({"", "0", "false", "no", "off"})
_PUBLISHED = re.compile(r"(\d{1,5})(?:-(\d{1,5}))?", re.ASCII)
_COPIED = (("secrets", "/run/secrets/"), ("configs", "/"))  # and the folder each is in when none is named
_ESCAPED = re.compile(r"\\(?:u(d[89ab][0-9a-f]{2})\\ud[c-f][0-9a-f]{2}|.)")
"""An escape of JSON; a pair of surrogates, which stands for one character, as a whole."""

Json = Mapping[str, Any]


def complete(text: str, env: Mapping[str, str]) -> str:
    """The document in a form that needs no other input to be applied.

    `config` has left out the services of profiles that are off, but keeps the profiles of the others, which
    would be off when `.env` (COMPOSE_PROFILES) is not read; and a secret or config with `environment:` is
    read from `.env` at each `up`. Neither enters the services' hashes. Raises `ValueError` if not a model.
    """
    document = json.loads(text)
    if not isinstance(document, dict):
        raise ValueError("the model is not an object")
    for service in _services(document).values():
        service.pop("profiles", None)
    names = sorted(
        str(source["environment"])
        for kind in ("secrets", "configs")
        for source in (document.get(kind) or {}).values()
        if source.get("environment")
    )
    if names:
        document[ENVIRONMENT] = {name: env[name] for name in names if name in env}
    return _written(document)


def parse(app: str, revision: str, document: str) -> Rendered:
    """What a completed document says."""
    model = json.loads(document)
    services = _services(model)
    jobs = {
        name
        for service in services.values()
        for name, how in (service.get("depends_on") or {}).items()
        if how.get("condition") == "service_completed_successfully"
    }
    return Rendered(
        revision=revision,
        services=tuple(_service(app, name, services[name], name in jobs, model) for name in sorted(services)),
        document=document,
        external_volumes=tuple(
            sorted(str(v.get("name") or k) for k, v in _top(model, "volumes").items() if v.get("external"))
        ),
        own_volumes=tuple(
            sorted(
                str(v.get("name") or f"{app}_{k}")
                for k, v in _top(model, "volumes").items()
                if not v.get("external")
            )
        ),
    )


def redirected(document: str, pins: Mapping[str, str], sources: Mapping[str, str], *, build: bool) -> str:
    """The document with other images and mounted paths; the very same text when nothing is given.

    `pins`: service to the image id in place of its name, or "" where the name stands for the right one. A pinned
    service is neither pulled nor built; with `build` what is built from files and not pinned is built anew.
    `sources`: host path to the path in its place.
    """
    if not pins and not sources:
        return document
    model = json.loads(document)
    for name, service in _services(model).items():
        # The policy enters no config hash, so where the name is right nothing is made anew.
        if name in pins:
            service["pull_policy"] = "never"
        elif pins and build and service.get("build"):
            service["pull_policy"] = "build"
        if pins.get(name):
            service["image"] = pins[name]
            service.pop("build", None)
        for volume in service.get("volumes") or ():
            if volume.get("type") == "bind" and volume.get("source") in sources:
                volume["source"] = sources[volume["source"]]
    for kind, where in _COPIED:
        for name, source in _top(model, kind).items():
            if str(source.get("file")) in sources:
                _replace_file(model, kind, where, name, sources[str(source["file"])])
    return _written(model)


def _written(model: Mapping[str, Any]) -> str:
    """The model as JSON that Compose reads: it takes JSON for YAML, in which a pair of surrogates is no character."""

    def plain(match: re.Match[str]) -> str:
        return str(json.loads(f'"{match[0]}"')) if match[1] else match[0]

    return _ESCAPED.sub(plain, json.dumps(model, separators=(",", ":")))


def images(document: str) -> dict[str, list[str]]:
    """Name of an image to the services that run it; what is built under a name of Compose's is not in it."""
    found: dict[str, list[str]] = {}
    for name, service in sorted(_services(json.loads(document)).items()):
        if service.get("image"):
            found.setdefault(str(service["image"]), []).append(name)
    return found


def built(document: str) -> frozenset[str]:
    """Services whose image is made from the app's own files."""
    return frozenset(
        name for name, service in _services(json.loads(document)).items() if service.get("build")
    )


def providers(document: str) -> tuple[str, ...]:
    """Services that are no containers but made by a program on the host."""
    return tuple(
        sorted(name for name, service in _services(json.loads(document)).items() if "provider" in service)
    )


def environment(document: str) -> dict[str, str]:
    """The variables that a child needs in order to apply the document."""
    return {str(k): str(v) for k, v in (json.loads(document).get(ENVIRONMENT) or {}).items()}


def secret_values(document: str, env: Mapping[str, str]) -> tuple[str, ...]:
    """Values that may be secret: all of `.env`, what services get as environment, and what is read for secrets.

    What is a name, an image or a mounted path is none, for it is public; and without it no message would say what it
    is about (`POSTGRES_USER=postgres` beside a service of that name).
    """
    model = json.loads(document)
    values: set[str] = {*env.values(), *(str(value) for value in (model.get(ENVIRONMENT) or {}).values())}
    public = {str(model.get("name", ""))}
    for service in _services(model).values():
        values.update(str(v) for v in (service.get("environment") or {}).values() if v is not None)
        values.update(
            str(v) for v in ((service.get("build") or {}).get("args") or {}).values() if v is not None
        )
        public.update((str(service.get("image", "")), str(service.get("container_name", ""))))
        for bind in _binds(service, model):
            public.update((bind.source, *map(str, PurePosixPath(bind.source).parents)))
    for kind in ("secrets", "configs"):
        values.update(str(v["content"]) for v in _top(model, kind).values() if v.get("content"))
    for kind in ("services", "networks", "volumes", "secrets", "configs"):
        for name, entry in _top(model, kind).items():
            public.update((name, str(entry.get("name", ""))))
    return tuple(sorted(values - public))


def secret_files(document: str) -> tuple[str, ...]:
    """Paths of the files that secrets are made of."""
    model = json.loads(document)
    return tuple(sorted(str(v["file"]) for v in _top(model, "secrets").values() if v.get("file")))


def _services(model: Json) -> dict[str, dict[str, Any]]:
    return dict(model.get("services") or {})


def _top(model: Json, kind: str) -> dict[str, dict[str, Any]]:
    return {name: value or {} for name, value in (model.get(kind) or {}).items()}


def _service(app: str, name: str, service: Json, awaited: bool, model: Json) -> Service:
    scale = _scale(service)
    return Service(
        name=name,
        config_hash="",
        image=str(service.get("image") or f"{app}-{name}"),  # the name that Compose gives to what it builds
        scale=scale,
        restart=str(service.get("restart") or "no"),
        has_healthcheck=_has_healthcheck(service),
        is_job=awaited or _label(service, "homeport.job").lower() not in _NO,
        binds=tuple(_binds(service, model)),
        ports=tuple(_ports(service, scale)),
        shares_with=_shares_with(service),
        is_built=bool(service.get("build")),
        keeps_data=_keeps_data(service),
        container_name=str(service.get("container_name") or ""),
        contents=_contents(service, model),
    )


def _scale(service: Json) -> int:
    replicas = (service.get("deploy") or {}).get("replicas")
    scale = service.get("scale", replicas)
    return 1 if scale is None else int(scale)


def _has_healthcheck(service: Json) -> bool:
    check = service.get("healthcheck") or {}
    return bool(check.get("test")) and not check.get("disable") and check["test"] != ["NONE"]


def _label(service: Json, name: str) -> str:
    labels = service.get("labels") or {}
    return str(labels.get(name, "")) if isinstance(labels, dict) else ""


def _binds(service: Json, model: Json) -> Iterator[Bind]:
    for volume in service.get("volumes") or ():
        if volume.get("type") == "bind" and volume.get("source"):
            yield Bind(str(volume["source"]), str(volume["target"]), bool(volume.get("read_only")))
    # Secrets and configs made of files are bind mounts, too.
    for kind, where in _COPIED:
        for use in service.get(kind) or ():
            source = str(use["source"])
            file = _top(model, kind).get(source, {}).get("file")
            if file:
                yield Bind(str(file), str(use.get("target") or where + source), True)


def _keeps_data(service: Json) -> bool:
    mounted = any(
        volume.get("type") in ("bind", "volume") and not volume.get("read_only")
        for volume in service.get("volumes") or ()
    )
    return mounted or any(not str(source).endswith(":ro") for source in service.get("volumes_from") or ())


def _contents(service: Json, model: Json) -> str:
    values = model.get(ENVIRONMENT) or {}
    used = []
    for kind, _ in _COPIED:
        for use in service.get(kind) or ():
            source = _top(model, kind).get(str(use["source"]), {})
            if source.get("environment"):
                used.append((kind, use["source"], values.get(source["environment"])))
            elif "content" in source:
                used.append((kind, use["source"], source["content"]))
    return f"sha256:{_digest(json.dumps(sorted(used, key=repr)))}" if used else ""


def _replace_file(model: Json, kind: str, where: str, name: str, path: str) -> None:
    # A service's config hash has the name of a secret or config and not its file: under the same name the
    # containers that are there would be kept, with the file they have.
    other = f"{name}.{_digest(path)[:12]}"
    model[kind][other] = {**model[kind].pop(name), "file": path}
    for service in _services(model).values():
        for use in service.get(kind) or ():
            if use["source"] == name:
                use.update(source=other, target=use.get("target") or where + name)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _ports(service: Json, scale: int) -> Iterator[tuple[str, int, str]]:
    for port in service.get("ports") or ():
        found = _PUBLISHED.fullmatch(str(port.get("published") or ""))
        if found is None or int(found[1]) == 0:
            continue  # not published at a fixed port
        numbers = range(int(found[1]), min(int(found[2] or found[1]), 65535) + 1)
        if len(numbers) > max(1, scale):
            continue  # the engine takes whichever of them is free
        for number in numbers:
            yield str(port.get("host_ip") or ""), number, str(port.get("protocol") or "tcp")


def _shares_with(service: Json) -> str:
    for kind in ("network_mode", "ipc", "pid"):
        mode = str(service.get(kind) or "")
        if mode.startswith("service:"):
            return mode.removeprefix("service:")
    for source in service.get("volumes_from") or ():
        if not str(source).startswith("container:"):
            return str(source).partition(":")[0]
    return ""


_IN_NO_HASH = frozenset({"build", "depends_on", "profiles", "pull_policy", "scale"})
"""Keys of a service that Compose leaves out of its config hash: another value makes no container anew. Where a version leaves
out others, an edit is said to make one anew that stays."""


def differences(document: str, before: str) -> dict[str, str]:
    """Service to what of it is another in `document` than it was before, in words and without values: the image's name
    and published ports are said, of environment and labels the keys, of all else which it is."""
    old, new = (_services(json.loads(text or "{}")) for text in (before, document))
    told = {}
    for name in sorted(old.keys() & new.keys()):
        was, now = old[name], new[name]
        keys = sorted({*was, *now} - _IN_NO_HASH)
        parts = [_difference(key, was.get(key), now.get(key)) for key in keys]
        if words := "; ".join(part for part in parts if part):
            told[name] = words
    return told


def _difference(key: str, was: Any, now: Any) -> str:
    if key == "deploy":
        was, now = _without_replicas(was), _without_replicas(now)
    if was == now:
        return ""
    if key == "image" and was and now:
        return f"image {was} becomes {now}"
    if key == "ports":
        return f"ports {_ports_in_words(was)} become {_ports_in_words(now)}"
    if key in ("environment", "labels") and all(isinstance(part or {}, dict) for part in (was, now)):
        return f"{key} {_keys_in_words(was or {}, now or {})}"
    return str(key).replace("_", " ")


def _without_replicas(deploy: Any) -> Any:
    """How many there are is no part of what one is, as with `scale`."""
    rest = (
        {key: value for key, value in deploy.items() if key != "replicas"}
        if isinstance(deploy, dict)
        else deploy
    )
    return rest or None


def _ports_in_words(ports: Any) -> str:
    shown = [
        ":".join(str(port[part]) for part in ("host_ip", "published", "target") if port.get(part))
        for port in ports or ()
    ]
    return ", ".join(shown) or "none"


def _keys_in_words(was: Json, now: Json) -> str:
    changes = (
        ("changed", sorted(key for key in was.keys() & now.keys() if was[key] != now[key])),
        ("new", sorted(now.keys() - was.keys())),
        ("gone", sorted(was.keys() - now.keys())),
    )
    return ", ".join(f"{', '.join(keys)} {what}" for what, keys in changes if keys)


def changed_networks(document: str, before: str) -> tuple[str, ...]:
    """Full names of the networks that Compose makes anew when `document` follows on `before`."""
    old, new = _networks(before), _networks(document)
    return tuple(sorted(name for name, network in new.items() if old.get(name, network) != network))


def networks(document: str) -> str:
    """A document with nothing but the networks of this one."""
    return json.dumps({"networks": _networks(document)}, sort_keys=True)


def _networks(document: str) -> dict[str, object]:
    try:
        networks = json.loads(document).get("networks") or {}
    except ValueError:  # there is none from before
        return {}
    return {str(n["name"]): n for n in networks.values() if n and n.get("name") and not n.get("external")}

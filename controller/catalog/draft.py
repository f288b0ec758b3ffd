"""A first `manifest.json` for a folder that has only a compose file.

Takes what the compose file says and says what it could not; never touches a manifest that is there. What the
compose file means is the source room's.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from controller.catalog.errors import Refused, WrongUse
from controller.model.manifest import SETTING_NAME, VOLUME_NAME, Manifest, steers_tools
from controller.model.names import APP_NAME
from controller.source import files
from controller.source.manifest import FILE
from controller.source.sketch import Sketch, Variable, sketch

_SECRET: Final = re.compile(r"PASSWORD|PASSWD|PASSPHRASE|(^|_)PASS$|SECRET|TOKEN|API_?KEY")


@dataclass(frozen=True)
class Draft:
    """A manifest that can be written, and what a person should look at."""

    path: Path
    manifest: Mapping[str, Any]
    check: tuple[str, ...]

    @property
    def text(self) -> str:
        """As it is written."""
        return json.dumps(self.manifest, indent=2, ensure_ascii=False) + "\n"


def draft(folder: Path, name: str | None = None, *, volume_prefix: str) -> Draft:
    """What the manifest of this folder would be; `name` None: made from the folder's. Writes nothing.

    Raises `Refused` when there is a manifest or no compose file that can be read, `WrongUse` for a name that no
    app can have.
    """
    folder = Path(os.path.abspath(folder))  # noqa: PTH100 - `..` goes, links stay: the folder's name counts
    path = folder / FILE
    if path.is_symlink() or path.exists():
        raise Refused([f"{path} is there already; edit it, and check it with `homeport validate {folder}`"])
    app, check = _name(folder.name, name)
    try:
        found = sketch(folder)
    except files.Unreadable as error:
        raise Refused([str(error)]) from error
    if not isinstance(found, Sketch):
        raise Refused([f"{folder}: {problem}" for problem in found])
    volumes, more = _volumes(found, f"{volume_prefix}_{app}_")
    settings, still_more = _settings(found)
    manifest = {
        "name": app,
        "display_name": " ".join(word[:1].upper() + word[1:] for word in re.split("[-_]+", app) if word),
        "version": "1.0.0",
        "description": "",
        "volumes": volumes,
        "ports": list(found.ports),
        "icon": "icon.svg",
        "settings": settings,
    }
    Manifest.model_validate(manifest)
    return Draft(
        path,
        manifest,
        (*check, "description: one line on what it is for", *more, *still_more, *found.unknown),
    )


def write(drafted: Draft) -> None:
    """Write it, unless a manifest came meanwhile: then `Refused`. Raises `OSError`."""
    if not files.write_new(drafted.path, drafted.text.encode()):
        raise Refused([f"{drafted.path} is there already; it was left as it is"])


def _name(folder: str, name: str | None) -> tuple[str, list[str]]:
    if name is None:
        app = re.sub(r"[^a-z0-9_-]", "-", folder.lower()).lstrip("0123456789_-")[:63]
        if not app:
            raise WrongUse(f"no app can be named like the folder {folder!r}; say its name with --name")
    elif APP_NAME.fullmatch(name):
        app = name
    else:
        raise WrongUse(f"--name {name!r}: must match ^[a-z][a-z0-9_-]*$ and have at most 63 characters")
    same = app == folder
    return app, [] if same else [
        f"name: the app is {app}; rename the folder {folder} to {app}: the two must be the same"
    ]


def _volumes(found: Sketch, prefix: str) -> tuple[list[str], list[str]]:
    volumes, check = [], []
    for full in found.external_volumes:
        short = full.removeprefix(prefix)
        if short != full and VOLUME_NAME.fullmatch(short):
            volumes.append(short)
        else:
            check.append(
                f"volumes: {full} is external, but not named {prefix}…; Homeport makes only such ones, "
                "so it has to be there"
            )
    return volumes, check


def _settings(found: Sketch) -> tuple[list[dict[str, Any]], list[str]]:
    settings, check = [], []
    for variable in found.variables:
        if SETTING_NAME.fullmatch(variable.name) and not steers_tools(variable.name):
            settings.append(_setting(variable))
        else:
            check.append(
                f"settings: {variable.name} is no name for a setting (^[A-Z_][A-Z0-9_]*$, none that steers tools)"
            )
    if any(setting["required"] for setting in settings):
        check.append(
            "settings: required are those without a default; a person must fill them in before the app starts"
        )
    return settings, check


def _setting(variable: Variable) -> dict[str, Any]:
    return {
        "name": variable.name,
        "label": variable.name.replace("_", " ").strip().capitalize(),
        "description": "",
        "type": "password" if _SECRET.search(variable.name) else "text",
        "required": variable.required,
        "default": variable.default,
    }

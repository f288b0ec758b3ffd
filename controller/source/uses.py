"""Uses: which keys of an app's `.env` its files or its hooks name, so that a slip of the pen is told when it is made.

Words are looked for, not meanings: to name a key by accident costs a warning less. What values are right is `environment`'s.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

from controller.model.desired import Present
from controller.source import environment, files, manifest
from controller.source.checking import folder_of
from controller.source.reading import EXAMPLE

_WORD: Final = re.compile(r"[A-Z_][A-Z0-9_]*")
_VARIABLE: Final = re.compile(r"\$\{?([A-Z_][A-Z0-9_]*)")
_HANDED_TO_HOOK: Final = re.compile(r"FURTKA_CONSUMER_ENV_([A-Z_][A-Z0-9_]*)")
_NEAR: Final = 0.75


def unnamed(app: Present, keys: Iterable[str], places: Sequence[Path]) -> list[str]:
    """What to tell of each of these keys that nothing names, with the names that it may have been meant to be.

    `places`: where the folders of its providers are looked for, in this order. Where a compose file hands the whole `.env`
    to a container, and where the app is made of more files than are named, any key may be meant: only a slip is told then.
    """
    text = _text_of(app)
    settings = {setting.name for setting in app.manifest.settings}
    own = (
        settings
        | app.env.keys()
        | {key for hook in _hooks(app, places) for key in _HANDED_TO_HOOK.findall(hook)}
    )
    known = own | set(_WORD.findall(text))
    meant = sorted(own | set(_VARIABLE.findall(text)))
    handed_over = ("env_file" in text and environment.FILE in text) or not app.inputs
    told = []
    for key in keys:
        near = difflib.get_close_matches(key, meant, 2, _NEAR)
        hint = f"; did you mean {' or '.join(near)}?" if near else ""
        if key in known or (handed_over and not near):
            continue
        if handed_over:
            told.append(f"{key} is set, and is no setting of manifest.json{hint}")
        else:
            told.append(
                f"{key} is set, but neither the app's folder nor a hook in a provider of it names it{hint}"
            )
    return told


def _hooks(app: Present, places: Sequence[Path]) -> Iterator[str]:
    """The scripts that it asks its providers to run, as far as they can be read: they get its `.env`, too."""
    for requirement in app.manifest.requires:
        folder = folder_of(requirement.app, places)
        for path in (getattr(requirement, hook) for hook in manifest.HOOKS):
            if folder is None or path is None:
                continue
            try:
                yield files.text(files.read_inside(folder, path) or b"")
            except (files.Unfit, ValueError):
                continue


def _text_of(app: Present) -> str:
    """All that the app is made of, but for `.env` itself; what cannot be read as text names nothing."""
    folder = Path(app.folder)
    paths = {*map(Path, app.compose_files), folder / EXAMPLE, *(folder / name for name in app.inputs)}
    texts = []
    for path in sorted(paths - {folder / environment.FILE}):
        try:
            texts.append(files.text(files.read(path) or b""))
        except files.Unfit:
            continue
    return "\n".join(texts)

"""Uses: which keys of an app's `.env` something in its folder names, so that a slip of the pen is told when it is made.

Words are looked for, not meanings: to name a key by accident costs a warning less. What values are right is `environment`'s.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from controller.model.desired import Present
from controller.source import environment, files
from controller.source.reading import EXAMPLE

_WORD: Final = re.compile(r"[A-Z_][A-Z0-9_]*")
_VARIABLE: Final = re.compile(r"\$\{?([A-Z_][A-Z0-9_]*)")
_NEAR: Final = 0.75


def unnamed(app: Present, keys: Iterable[str]) -> list[str]:
    """What to tell of each of these keys that nothing names, with the names that it may have been meant to be.

    Where a compose file hands the whole `.env` to a container any key may be meant: only a slip is told then.
    """
    text = _text_of(app)
    settings = {setting.name for setting in app.manifest.settings}
    known = settings | app.env.keys() | set(_WORD.findall(text))
    meant = sorted(settings | app.env.keys() | set(_VARIABLE.findall(text)))
    handed_over = "env_file" in text and environment.FILE in text
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
                f"{key} is set, but neither a setting of manifest.json nor a file that the app is made of names it: "
                f"nothing reads it{hint}"
            )
    return told


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

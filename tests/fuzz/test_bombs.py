"""Files that ask for more than there is: each is read or refused within a second, in little memory, with a reason."""

from __future__ import annotations

from pathlib import Path

import pytest

from controller.model.desired import Invalid, Present
from controller.source.reading import load_folder
from controller.source.sketch import sketch
from rig.fuzzing import bounded, count
from rig.hostile import COMPOSE_BOMBS, ENV_BOMBS, MANIFEST_BOMBS, SAMPLE, manifest_text

READ = {
    "compose.yaml": {
        "a number of many parts", "a number of many digits", "a tagged number of many parts", "a time of many digits",
        "spaces before a time", "one long line", "many short lines", "escapes", "anchors", "fifty thousand honest keys",
        "keys that are all one number to a dict", "keys that are tagged as numbers", "ports without number",
        "names made of a long variable", "braces for a pattern", "dollars for a pattern",
        "carriage returns",
    },
    ".env": {"escapes", "octals", "dollars", "references", "closing braces", "spaces", "comments", "a key that never ends"},
    "manifest.json": {"a very long field"},
}  # fmt: skip
"""What is large and nothing worse."""
BOMBS = [
    (file, what, text)
    for file, bombs in (
        ("compose.yaml", COMPOSE_BOMBS),
        (".env", ENV_BOMBS),
        ("manifest.json", MANIFEST_BOMBS),
    )
    for what, text in bombs.items()
]


@pytest.mark.fault("B06")
@pytest.mark.parametrize(("file", "what", "text"), BOMBS, ids=[f"{file}-{what}" for file, what, _ in BOMBS])
def test_a_file_that_asks_for_more_than_there_is_costs_moments_and_is_told_by_name(
    tmp_path: Path, file: str, what: str, text: str
) -> None:
    folder = tmp_path / "web"
    folder.mkdir()
    (folder / "manifest.json").write_text(manifest_text(settings=[{"name": "NEW", "default": "x"}]))
    (folder / "compose.yaml").write_text(SAMPLE)
    (folder / ".env").write_text("LONG=" + "x" * 4000 + "\n")
    (folder / file).write_bytes(text.encode("latin-1"))
    count()
    with bounded():
        desired = load_folder(folder)
    count()
    with bounded():
        sketch(folder)
    if isinstance(desired, Invalid):
        assert what not in READ[file]
        assert 0 < len(desired.problems) <= 41
        assert all(problem.file for problem in desired.problems)
        assert any(problem.file == file for problem in desired.problems)
        assert all(problem.rule and len(str(problem)) < 1000 for problem in desired.problems), desired.message
        desired.message.encode()
    else:
        assert isinstance(desired, Present)
        assert what in READ[file]

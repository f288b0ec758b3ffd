"""The commands of docs/write-an-app.md, run as they stand there, by a shell, on a running service."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from rig.service import Home

PAGE = Path(__file__).parents[2] / "docs" / "write-an-app.md"


def script() -> list[str]:
    """Each command of the page, with what is typed into it."""
    commands: list[str] = []
    for block in re.findall(r"^```console\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL):
        for line in block.splitlines():
            if line.startswith("$ "):
                commands.append(line.removeprefix("$ "))
            else:
                commands[-1] += f"\n{line}"
    return commands


@pytest.mark.engine
def test_a_person_who_types_it_gets_what_it_says(home: Home, tmp_path: Path) -> None:
    home.start()
    folder = tmp_path / "typed"
    folder.mkdir()
    (folder / "homeport").write_text(f'#!/bin/sh\nexec {sys.executable} -m controller "$@"\n')
    (folder / "homeport").chmod(0o755)
    environment = {
        **home.environment(),
        "PATH": f"{folder}:{os.environ['PATH']}",
        "PYTHONPATH": str(PAGE.parents[1]),
    }
    said: dict[str, str] = {}
    for command in script():
        # The engine of the tests has one image, and holds apps of other tests.
        text = re.sub(
            r"\b(notes|shop)\b(?!\.)", rf"{home.prefix}\1", command.replace("busybox:1", "homeport/sample:1")
        )
        done = subprocess.run(
            ["bash", "-euc", text], cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=120
        )  # fmt: skip
        assert done.returncode == 0, f"$ {text}\n{done.stdout}{done.stderr}"
        said[command.splitlines()[0]] = done.stdout
    assert "Ready" in said["homeport status notes"]
    assert f"I am {home.prefix}shop" in said["homeport logs shop"]
    assert "is Ready" in said["homeport why shop"]
    assert not home.containers()

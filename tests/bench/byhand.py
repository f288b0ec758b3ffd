"""Compose as a person runs it: no service, one folder after the other or several at once."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from controller.engine.compose import find_compose
from rig.service import SLEEPER


def compose() -> tuple[str, ...]:
    """The same Compose that the service finds."""
    return find_compose(os.environ.get("PATH", os.defpath))


def environment(engine: str) -> dict[str, str]:
    return {**os.environ, "DOCKER_HOST": engine}


def up(folder: Path, engine: str) -> None:
    """`docker compose up -d` in this folder."""
    subprocess.run(
        [*compose(), "up", "-d"], cwd=folder, env=environment(engine), check=True, capture_output=True
    )


def down(folder: Path, engine: str) -> None:
    """`docker compose down` in this folder, at once."""
    subprocess.run(
        [*compose(), "down", "-t", "0"], cwd=folder, env=environment(engine), check=True, capture_output=True
    )


def up_all(folders: Sequence[Path], engine: str, at_once: int) -> None:
    """`up -d` in each of these, so many side by side, as `xargs -P` does it. Fails when one does."""
    script = f'cd "$1" && exec {" ".join(compose())} up -d'
    subprocess.run(
        ["xargs", "-0", "-n", "1", "-P", str(at_once), "sh", "-c", script, "sh"],
        input=b"\0".join(os.fsencode(folder) for folder in folders), env=environment(engine), check=True,
        capture_output=True,
    )  # fmt: skip


def put(root: Path, name: str, text: str = SLEEPER) -> Path:
    """A folder with a compose file and nothing else; the project has its name."""
    folder = root / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "docker-compose.yaml").write_text(text)
    return folder

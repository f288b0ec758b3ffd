"""The shell completes commands, options and names of apps, without anything heavy."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from rig.programs import find_program

Homeport = Callable[..., Result]


def complete(*words: str, **environment: str) -> list[str]:
    """What the script of bash is offered for a line that ends with these words."""
    line = ["homeport", *words]
    asked = {
        "_HOMEPORT_COMPLETE": "bash_complete",
        "COMP_WORDS": " ".join(line),
        "COMP_CWORD": str(len(words)),
    }
    done = subprocess.run(
        [sys.executable, "-m", "controller"], env={**os.environ, **asked, **environment},
        capture_output=True, text=True, timeout=30, check=True,
    )  # fmt: skip
    return [item.partition(",")[2] for item in done.stdout.split()]


@pytest.mark.usefixtures("homeport")
def test_names_of_apps_are_completed_from_the_tree_and_from_what_was_applied(apps: Path, state: Path) -> None:
    for folder in (apps / "wiki", apps / ".removed", state / "models" / "worker"):
        folder.mkdir(parents=True)
    (apps / "wrong.txt").touch()
    assert complete("status", "") == ["web", "wiki", "worker"]
    for command in ("why", "stop", "logs", "events", "plan", "reconcile", "remove", "purge", "set", "wait"):
        assert complete(command, "wi") == ["wiki"], command
    assert complete("status", "wiki", "w") == ["web", "worker"], "what is said already is not offered again"


def test_names_come_from_the_tree_that_the_line_names(apps: Path) -> None:
    assert complete("status", "--apps", str(apps), "") == ["web"]
    assert complete("status", "", HOMEPORT_APPS=str(apps)) == ["web"]
    assert (
        complete("status", "", HOMEPORT_APPS="/nonexistent/apps", HOMEPORT_STATE="/nonexistent/state") == []
    )
    assert complete("status", "", HOMEPORT_CONFIG="/nonexistent/file") == []


def test_commands_and_options_are_completed(apps: Path) -> None:
    assert complete("hist") == ["history"]
    assert complete("status", "--wa") == ["--watch"]
    assert complete("completion", "") == ["bash", "zsh", "fish"]


@pytest.mark.usefixtures("homeport")
def test_a_completion_loads_nothing_heavy() -> None:
    code = (
        "import atexit, sys;"
        "atexit.register(lambda: print([m for m in ('docker', 'pydantic', 'rich', 'sqlite3') if m in sys.modules]));"
        "from controller.cli.main import main; main()"
    )
    asked = {"_HOMEPORT_COMPLETE": "bash_complete", "COMP_WORDS": "homeport status ", "COMP_CWORD": "2"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **asked},
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert done.stdout.splitlines() == ["plain,web", "[]"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_has_its_script(homeport: Homeport, shell: str) -> None:
    result = homeport("completion", shell)
    assert result.exit_code == 0
    assert f"_HOMEPORT_COMPLETE={shell}_complete" in result.stdout
    assert "homeport" in result.stdout


def test_another_shell_is_wrong_use(homeport: Homeport) -> None:
    assert homeport("completion", "tcsh").exit_code == 2


def test_bash_completes_with_its_script(homeport: Homeport, apps: Path, tmp_path: Path) -> None:
    (apps / "wiki").mkdir()
    script = tmp_path / "homeport.bash"
    script.write_text(homeport("completion", "bash").stdout)
    beside = tmp_path / "homeport"
    beside.write_text(f'#!/bin/sh\nexec {sys.executable} -m controller "$@"\n')
    beside.chmod(0o755)
    asked = f"source {script}; COMP_WORDS=(homeport why wi); COMP_CWORD=2; _homeport_completion homeport; echo ${{COMPREPLY[@]}}"
    done = subprocess.run(
        [str(find_program("bash", "bash")), "-c", asked], capture_output=True, text=True, timeout=30, check=True,
        env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "PYTHONPATH": str(Path(__file__).parents[2])},
    )  # fmt: skip
    assert done.stdout == "wiki\n"

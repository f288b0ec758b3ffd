"""Harbormaster 0.5.0, which keeps Compose apps from git repositories: its first run, and one in which nothing changed.

Not in the default run: it is installed from PyPI, into var/bench. Its repositories are local and its images here, so
neither network nor registry is in the figures.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from bench import byhand, say
from bench.cold import Ground
from bench.fleet import Fleet
from bench.measure import Measure, repeated, timed
from rig.service import SLEEPER

VERSION = "0.5.0"
COMPOSE = SLEEPER + "    pull_policy: missing\n"
_GIT = ("git", "-c", "user.name=bench", "-c", "user.email=bench@localhost", "-c", "init.defaultBranch=master")


def measures(size: int, place: Path) -> Iterator[Measure]:
    program = installed(place)
    with Ground() as fleet:
        run = partial(_run, program, fleet, _config(fleet, size))
        first = timed(run)
        before = fleet.containers()
        assert len(before) == size
        again = repeated(partial(timed, run), seconds=30, least=2, most=5)
        assert fleet.containers() == before
    yield Measure(f"Harbormaster {VERSION}, first run, {size} apps", "s", [first])
    yield Measure(f"Harbormaster {VERSION}, a run in which nothing changed, {size} apps", "s", again)


def installed(place: Path) -> Path:
    """The command, in a virtual environment of its own."""
    program = place / "harbormaster" / "bin" / "harbormaster"
    if not program.exists():
        say(f"installing Harbormaster {VERSION} into {program.parents[1]}")
        subprocess.run([sys.executable, "-m", "venv", program.parents[1]], check=True)
        pip = [str(program.with_name("pip")), "--disable-pip-version-check", "--quiet", "install"]
        subprocess.run([*pip, f"docker-harbormaster=={VERSION}"], check=True)
    return program


def _config(fleet: Fleet, size: int) -> Path:
    """Its configuration, and a repository for each app."""
    names = [f"h{number:05}" for number in range(size)]
    lines = ["apps:"]
    for name in names:
        repository = byhand.put(fleet.directory / "git", name, COMPOSE)
        for words in (["init", "-q"], ["add", "."], ["commit", "-qm", "the app"]):
            subprocess.run([*_GIT, *words], cwd=repository, check=True)
        lines.append(f"  {name}: {{url: '{repository}'}}")
    config = fleet.directory / "harbormaster.yml"
    config.write_text("\n".join(lines) + "\n")
    return config


def _run(program: Path, fleet: Fleet, config: Path) -> None:
    plugins = fleet.directory / "docker" / "cli-plugins"
    plugins.mkdir(parents=True, exist_ok=True)
    if not (plugins / "docker-compose").exists():
        (plugins / "docker-compose").symlink_to(byhand.compose()[0])
    work, rest = fleet.directory / "work", fleet.directory / "rest"
    work.mkdir(exist_ok=True)
    rest.mkdir(exist_ok=True)
    # It leaves a folder for each app where it makes its temporary files.
    environment = {
        **byhand.environment(fleet.engine.host), "DOCKER_CONFIG": str(plugins.parent), "TMPDIR": str(rest),
    }  # fmt: skip
    command = [str(program), "run", "-c", str(config), "-d", str(work)]
    done = subprocess.run(command, env=environment, check=False, capture_output=True, text=True)
    if done.returncode:
        raise AssertionError(
            f"Harbormaster ended with {done.returncode}: {os.linesep.join(done.stdout.splitlines()[-5:])}"
        )

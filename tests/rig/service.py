"""The real service as a child process, an apps tree for it, and ways to look at what it does."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import docker.errors

from rig.engine import api
from rig.waiting import wait_until

QUICK = {
    "settle": "0.1", "settle-new": "0.3", "removal-settle": "1", "stable-after": "1", "rescan": "2",
    "backoff-base": "0.3", "backoff-max": "2", "workers": "4",
}  # fmt: skip
"""Settings with which a test need not wait for a person's sense of time."""

MANIFEST: dict[str, Any] = {
    "version": "1.0.0",
    "description": "a test app",
    "volumes": [],
    "ports": [],
    "icon": "icon.svg",
}

SLEEPER = """\
services:
  main:
    image: homeport/sample:1
    command: ["sleep", "100000"]
    init: true
    network_mode: none
    stop_grace_period: 0s
"""


SLOW_UP = (
    SLEEPER
    + """\
    depends_on: {first: {condition: service_healthy}}
  first:
    image: homeport/sample:1
    command: ["sh", "-c", "sleep 3; touch /tmp/up; exec sleep 100000"]
    init: true
    network_mode: none
    stop_grace_period: 0s
    healthcheck: {test: ["CMD", "test", "-e", "/tmp/up"], interval: 1s, retries: 30}
"""
)
"""Three seconds of `up`."""


def free_port() -> int:
    """A port of this machine that nobody listens on at this moment."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


class Home:
    """One apps tree with its state, the service that keeps it, and the engine it runs on."""

    def __init__(self, folder: Path, engine: str, prefix: str) -> None:
        self.apps = folder / "apps"
        self.apps.mkdir()
        self.state = folder / "state"
        self.engine = engine
        self.prefix = prefix
        self.log_file = folder / "homeport.log"
        self.process: subprocess.Popen[bytes] | None = None
        self.settings = dict(QUICK)
        self.wrapper: tuple[str, ...] = ()
        """A command that execs the service: other rights, other limits."""
        self.python = sys.executable
        self.module = "controller"
        """What is run as the service."""

    # -- the tree -------------------------------------------------------------------------------------

    def name(self, short: str) -> str:
        """The app's full name on the engine that all tests share."""
        return self.prefix + short

    def put(
        self,
        short: str,
        compose: str = SLEEPER,
        files: Mapping[str, str] | None = None,
        into: Path | None = None,
        **manifest: Any,
    ) -> Path:
        """Drop an app folder in, in one rename, as a careful person does. `@` in texts becomes the prefix."""
        name = self.name(short)
        parts = {
            "manifest.json": json.dumps(MANIFEST | {"name": name, "display_name": short} | manifest),
            "docker-compose.yaml": compose,
        }
        building = (into or self.apps.parent) / f".new-{name}"
        for path, text in {**parts, **(files or {})}.items():
            file = building / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text.replace("@", self.prefix))
        folder = (into or self.apps) / name
        building.rename(folder)
        return folder

    # -- the service ----------------------------------------------------------------------------------

    def environment(self) -> dict[str, str]:
        """For the service and for every command: this engine, this tree, this state."""
        return {
            **os.environ, "DOCKER_HOST": self.engine, "HOMEPORT_APPS": str(self.apps), "HOMEPORT_STATE": str(self.state),
            "PYTHONUNBUFFERED": "1",
        }  # fmt: skip

    def start(self, *extra: str) -> None:
        """Start the service; returns when it says so."""
        said = self._said("service.started")
        flags = [f"--{key}={value}" for key, value in self.settings.items()]
        with self.log_file.open("ab") as log:
            self.process = subprocess.Popen(
                [*self.wrapper, self.python, "-m", self.module, "run", "--log-format=json", *flags, *extra],
                env=self.environment(), stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        wait_until(
            lambda: self._said("service.started") > said or self.ended(), "the service has started", 60
        )
        assert not self.ended(), self.log_file.read_text()

    def _said(self, event: str) -> int:
        """How often that name stands in the log, whatever its format."""
        return self.log_file.read_text().count(event) if self.log_file.exists() else 0

    def ended(self) -> bool:
        return self.process is not None and self.process.poll() is not None

    def stop(self, number: int = signal.SIGTERM, timeout: float = 45) -> int:
        """End the service by a signal; answers with its exit code."""
        process, self.process = self.process, None
        if process is None:
            return 0
        process.send_signal(number)
        return process.wait(timeout)

    def kill9(self) -> None:
        """As a crash: the service and its children at once."""
        process, self.process = self.process, None
        assert process is not None
        os.kill(process.pid, signal.SIGKILL)
        process.wait(10)

    def run(self, *arguments: str, timeout: float = 60) -> subprocess.CompletedProcess[str]:
        """A `homeport` command of its own."""
        return subprocess.run(
            [self.python, "-m", "controller", *arguments], env=self.environment(), stdin=subprocess.DEVNULL,
            capture_output=True, text=True, timeout=timeout, check=False,
        )  # fmt: skip

    # -- what is seen ---------------------------------------------------------------------------------

    def log(self, event: str | None = None, short: str | None = None) -> list[dict[str, Any]]:
        """The log lines so far, as objects; one that is just being written is not there yet."""
        if not self.log_file.exists():
            return []
        *whole, _ = self.log_file.read_text().split("\n")
        lines = [json.loads(line) for line in whole if line.startswith("{")]
        return [
            line for line in lines
            if (event is None or line["event"] == event) and (short is None or line.get("app") == self.name(short))
        ]  # fmt: skip

    def failures(self) -> list[dict[str, Any]]:
        """The log lines of what failed, whatever became of it: tried again, taken back, or left."""
        names = ("app.failed", "app.rolling_back", "action.failed")
        return [line for line in self.log() if line["event"] in names]

    def status(self, short: str) -> dict[str, Any] | None:
        """One app's entry of `homeport status -o json`, straight from the store."""
        from controller.clock import SystemClock
        from controller.control.queries import status_document
        from controller.status.store import SqliteStore

        store = SqliteStore.open_readonly(self.state)
        try:
            document = status_document(store, {}, SystemClock().now(), 1e9)
        finally:
            store.close()
        found: list[dict[str, Any]] = [app for app in document["apps"] if app["name"] == self.name(short)]
        return found[0] if found else None

    def good(self, short: str) -> bool:
        """Whether the present revision was stable, so that it is one to go back to."""
        found = self.run("history", self.name(short), "-o", "json")
        return any(known["current"] and known["good"] for known in json.loads(found.stdout)["revisions"])

    def word(self, short: str) -> str:
        """The app's summary, or "" when it is not on record."""
        status = self.status(short)
        return str(status["summary"]) if status else ""

    def wait(self, short: str, *words: str, timeout: float = 60) -> dict[str, Any]:
        """Wait until the app's summary is one of these; answers with the very status that said so."""
        seen: dict[str, Any] = {}

        def there() -> bool:
            seen.clear()
            seen.update(self.status(short) or {})
            return seen.get("summary") in words

        try:
            wait_until(there, "", timeout)
        except AssertionError:
            tail = "".join(f"\n  {line}" for line in self.log_file.read_text().splitlines()[-25:])
            word = seen.get("summary")
            raise AssertionError(
                f"{self.name(short)} is {word!r}, not {words}; the log ends:{tail}"
            ) from None
        return seen

    def containers(self, short: str | None = None) -> dict[str, dict[str, Any]]:
        """The containers of one app, or of all: name to what the engine says of it."""
        with api(self.engine) as client:
            label = "com.docker.compose.project" + (f"={self.name(short)}" if short else "")
            found = client.containers(all=True, filters={"label": label})
            inspected = {}
            for container in found:
                if container["Labels"]["com.docker.compose.project"].startswith(self.prefix):
                    try:
                        details = client.inspect_container(container["Id"])
                    except docker.errors.NotFound:  # removed since it was listed
                        continue
                    inspected[details["Name"].lstrip("/")] = details
            return inspected

    def ids(self, short: str | None = None) -> dict[str, str]:
        """Names and identities of containers: equal before and after means nothing was re-created or restarted."""
        return {
            name: f"{c['Id'][:12]}@{c['State']['StartedAt']}" for name, c in self.containers(short).items()
        }

    def env_of(self, short: str, service: str = "main") -> dict[str, str]:
        """The environment a container was given; empty while there is none, as in the middle of a re-creation."""
        details = self.containers(short).get(f"{self.name(short)}-{service}-1")
        if details is None:
            return {}
        return dict(pair.split("=", 1) for pair in details["Config"]["Env"])

    def inside(self, short: str, path: str, service: str = "main") -> str:
        """A file as a service's container has it; nothing while that does not run.

        Read through the host's /proc: an exec that meets a restart can leave a container in which this engine's
        runc starts no other.
        """
        details = self.containers(short).get(f"{self.name(short)}-{service}-1")
        try:
            return Path(f"/proc/{details['State']['Pid']}/root{path}").read_text() if details else ""
        except OSError:
            return ""


def ready_of(status: Mapping[str, Any]) -> dict[str, Any]:
    """The Ready condition of an app's status."""
    found: dict[str, Any] = next(c for c in status["conditions"] if c["type"] == "Ready")
    return found

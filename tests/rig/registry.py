"""A real image registry, Debian's, on a port of the loopback that the engine of the tests reaches.

It listens in the network namespace of the test run, which is that of the tests' engine. Engines speak plain HTTP to
registries on the loopback, so no certificate is needed. What is pulled from it, and when, is the product's.
"""

from __future__ import annotations

import contextlib
import http.client
import shutil
import socket
import subprocess
import threading
from pathlib import Path

import docker.errors

from rig.engine import api
from rig.images import build_image
from rig.programs import find_program
from rig.waiting import wait_until

MARKER = "marker"
"""The file in each image that tells it from the others."""

_CONFIGURATION = """\
version: 0.1
log: {{level: error, accesslog: {{disabled: true}}}}
storage: {{filesystem: {{rootdirectory: {folder}/data}}}}
http: {{addr: "127.0.0.1:{port}", secret: nobody-else-pushes}}
"""


class Registry:
    """One registry with its images. It keeps its port and what was pushed while it is stopped."""

    def __init__(self, folder: Path, engine: str) -> None:
        """`engine` builds and pushes the images. Skips the test where the program is not installed."""
        self.engine = engine
        self._program = find_program("docker-registry", "docker-registry")
        self._folder = folder
        self._port = _free_port()
        self._process: subprocess.Popen[bytes] | None = None

    def reference(self, image: str) -> str:
        """What a compose file says to get `name:tag` from this registry."""
        return f"127.0.0.1:{self._port}/{image}"

    def start(self) -> None:
        """Returns when it answers."""
        configuration = self._folder / "config.yml"
        configuration.write_text(_CONFIGURATION.format(folder=self._folder, port=self._port))
        command = [str(self._program), "serve", str(configuration)]
        if threading.current_thread() is threading.main_thread() and shutil.which("setpriv"):
            command = ["setpriv", "--pdeathsig", "TERM", *command]
        log_file = self._folder / "registry.log"
        with log_file.open("ab") as log:
            process = self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        wait_until(lambda: self._answers() or process.poll() is not None, "the registry answers", 20)
        assert process.poll() is None, f"the registry ended: {log_file.read_text()[-2000:]}"

    def stop(self) -> None:
        """Returns when it is gone; fine when it does not run."""
        process, self._process = self._process, None
        if process is not None:
            process.terminate()
            process.wait(10)

    def push(self, image: str, content: str) -> str:
        """Puts an image with that content in its marker under `name:tag`, moving the tag when there is one.

        Answers with the image's id. On the engine nothing is left under the name that `reference` gives.
        """
        # Another name of the same registry: the engine's own tag of that reference must not move with ours.
        alias = f"localhost:{self._port}/{image}"
        # With the port in it no other test has the same image, which one of them would take away from the other.
        files = {MARKER: content.encode(), "registry": str(self._port).encode()}
        identity = build_image(self.engine, alias, files)
        with api(self.engine) as client:
            errors = [
                step["error"] for step in client.push(alias, stream=True, decode=True) if "error" in step
            ]
            client.remove_image(alias)
        assert not errors, f"the push of {alias} failed: {errors[0]}"
        return identity

    def forget_images(self) -> None:
        """Takes all of its images off the engine."""
        with api(self.engine) as client:
            names = [name for image in client.images() for name in image["RepoTags"] or ()]
            for name in names:
                if name.startswith(self.reference("")):
                    with contextlib.suppress(docker.errors.ImageNotFound):
                        client.remove_image(name, force=True)

    def _answers(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=2)
        try:
            connection.request("GET", "/v2/")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
    return port

"""A Docker engine of the tests' own.

It shares nothing with an engine that may run on the machine but the kernel: it has a folder, a socket, a
containerd, a bridge and an address pool of its own and touches neither docker0 nor the machine's firewall (but see
`_Passage`).
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import http.client
import importlib.util
import itertools
import os
import random
import re
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import docker

from rig.waiting import wait_until

SAMPLE_IMAGE = "homeport/sample:1"
REMOVAL = 30.0
"""Seconds that all containers have to be removed in, and one more for each."""
_PREFIX = "hpe-"
_REPOSITORY = Path(__file__).resolve().parents[2]


class EngineError(Exception):
    """The engine cannot be started; the text holds the end of its log."""


def unable() -> str | None:
    """Why this machine cannot run an engine of our own; None when it can."""
    if os.geteuid() != 0:
        return "an engine of the tests' own needs root"
    if shutil.which("dockerd") is None:
        return "there is no dockerd (on Debian: apt-get install docker.io iptables)"
    return None


def build_sample_image(host: str) -> None:
    """Makes `homeport/sample:1` on that engine, as `make image` does."""
    script = _REPOSITORY / "deploy" / "sample-image" / "build.py"
    spec = importlib.util.spec_from_file_location("homeport_sample_image", script)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.build(host)


@contextlib.contextmanager
def api(host: str) -> Iterator[Any]:
    """The low-level client of docker-py for that engine."""
    client = docker.APIClient(base_url=host, version="auto", timeout=60)
    try:
        yield client
    finally:
        client.close()


def answers(host: str, timeout: float = 2.0) -> bool:
    """True when an engine answers at this unix:// address."""
    connection = http.client.HTTPConnection("localhost", timeout=timeout)
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(timeout)
    connection.sock = sock
    try:
        sock.connect(host.removeprefix("unix://"))
        connection.request("GET", "/_ping")
        return connection.getresponse().read() == b"OK"
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
        sock.close()


class PrivateEngine:
    """One dockerd. `start`, `kill9`, `shut_down` and `stop` may be called in any order and return when it is so.

    Start it in the main thread if you can: then the kernel ends it, too, should the test run be killed.
    """

    def __init__(
        self, directory: Path | None = None, *, options: Sequence[str] = (), pool_bits: int = 16
    ) -> None:
        """`options`: more arguments for dockerd. `pool_bits`: size of its address pool, cut into networks of 26."""
        # A Unix socket's path must be short, so not below pytest's tmp_path.
        self.directory = directory or Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-", dir="/tmp"))
        self.host = f"unix://{self.directory}/d.sock"
        self.log = self.directory / "dockerd.log"
        self._pool = _free_pool().replace("/16", f"/{pool_bits}")
        self._options = tuple(options)
        self._passage = _Passage(self.directory.name)
        self._bridge = _Bridge()
        self._bridges: list[str] = []
        """Of the networks that there were when all was to be removed."""
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def running(self) -> bool:
        """True while dockerd lives."""
        return self._process is not None and self._process.poll() is None

    def start(self, timeout: float = 30) -> PrivateEngine:
        """Starts dockerd, over what an earlier one left, and returns when it answers, within `timeout` seconds.

        After `kill9` it first stops the containers that still run, each within its stop time: give them
        `stop_grace_period: 0s`, or it takes 10 s.
        """
        if self.running:
            return self
        # A pidfile whose process is gone, or a zombie that nobody reaps, would keep dockerd from starting.
        for stale in ("pid", "exec/containerd/containerd.pid"):
            (self.directory / stale).unlink(missing_ok=True)
        atexit.register(self.stop)
        self._bridge.make()
        self._passage.open()
        command = [
            "dockerd",
            f"--host={self.host}",
            f"--data-root={self.directory}/data",
            f"--exec-root={self.directory}/exec",
            f"--pidfile={self.directory}/pid",
            f"--bridge={self._bridge.name}",  # not `none`: that makes dockerd remove the machine's docker0
            "--iptables=false",  # the firewall is the machine's; ports are published by the userland proxy
            "--ip-masq=false",
            "--ip-forward=false",
            "--shutdown-timeout=3",
            "--log-level=warn",
            *self._options,
        ]
        if not (self.directory / "data").exists():
            # Room for 1024 networks; a stock engine has about 30. Only the first time: with this option a dockerd
            # that finds networks of an earlier one removes docker0, which is the machine's. New networks of an
            # engine that was killed and started again thus come from the stock pools.
            command.append(f"--default-address-pool=base={self._pool},size=26")
        if threading.current_thread() is threading.main_thread() and shutil.which("setpriv"):
            command = ["setpriv", "--pdeathsig", "TERM", *command]
        with self.log.open("ab") as log:
            process = self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env={**os.environ, "TMPDIR": str(self.directory)},
            )

        def settled() -> bool:
            return answers(self.host) or process.poll() is not None

        try:
            wait_until(settled, "the private engine answers", timeout)
        except AssertionError as error:
            raise EngineError(f"{error}\n{self.log_tail()}") from None
        if process.poll() is not None:
            raise EngineError(f"dockerd ended with {process.returncode}\n{self.log_tail()}")
        return self

    def kill9(self) -> None:
        """SIGKILL for dockerd; its containerd goes with it, the containers run on, as after a real crash."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self._end(lambda command: command.startswith((b"containerd\0", b"containerd ")))
        wait_until(lambda: not answers(self.host), "the killed engine is gone")

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """Within this block dockerd lives and answers nothing."""
        self.freeze()
        try:
            yield
        finally:
            self.thaw()

    def freeze(self) -> None:
        """SIGSTOP for dockerd: it takes connections and answers nothing, until `thaw`."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT; fine when it was not frozen."""
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)

    def shut_down(self) -> None:
        """Ends dockerd as a stop of its service does: it first stops every container."""
        if self.running:
            self._terminate()

    def stop(self) -> None:
        """Removes every container and network, ends dockerd and deletes its folder. Nothing is left; not even when that
        fails, which is raised: an engine that cannot be taken away tidily must not be in the way of the next run."""
        atexit.unregister(self.stop)
        self.thaw()
        if not self.directory.exists():
            return
        if not self.running and (self.directory / "data").exists():
            # A killed engine left containers and bridges; only an engine takes them away properly. It would
            # first give each running container its stop time (10 s).
            self._end(lambda _: True)
            with contextlib.suppress(EngineError):
                self.start()
                atexit.unregister(self.stop)
        if self.running:
            try:
                self._remove_all()
            except BaseException:
                self.throw_away()
                raise
            self._terminate()
        self._end(lambda _: True)
        self._leave()

    def throw_away(self) -> None:
        """As `stop`, but at once, also with a thousand containers: they are killed and not removed. For apps without a
        network of their own, whose bridges would stay."""
        atexit.unregister(self.stop)
        if not self.directory.exists():
            return
        identities = [path.name for path in (self.directory / "data" / "containers").glob("*")]
        self.kill9()
        self._end(lambda _: True)
        for identity in identities:
            # With its last process a cgroup is empty, and nobody removes it any more.
            for groups in (*Path("/sys/fs/cgroup").glob("*/docker"), Path("/sys/fs/cgroup/docker")):
                with contextlib.suppress(OSError):
                    (groups / identity).rmdir()
        for name in self._bridges:
            _Bridge(name).remove()
        self._leave()

    def _leave(self) -> None:
        self._passage.close()
        self._bridge.remove()
        self._unmount()
        shutil.rmtree(self.directory)

    def log_tail(self, lines: int = 20) -> str:
        """The end of dockerd's log."""
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        return "\n".join(text.splitlines()[-lines:])

    def _remove_all(self) -> None:
        with api(self.host) as client:
            self._bridges = [f"br-{network['Id'][:12]}" for network in client.networks()]

            def no_container() -> bool:
                containers = client.containers(all=True)
                for container in containers:
                    with contextlib.suppress(docker.errors.APIError):
                        client.remove_container(container["Id"], v=True, force=True)
                return not containers

            # A slow machine takes half a second for each.
            patience = REMOVAL + len(client.containers(all=True))
            wait_until(no_container, "the private engine has no container", patience)
            for network in client.networks():
                if network["Name"] not in ("bridge", "host", "none"):
                    client.remove_network(network["Id"])

    def _terminate(self) -> None:
        assert self._process is not None
        self._process.terminate()
        try:
            self._process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _end(self, chosen: Any) -> None:
        """SIGKILL for the chosen ones of this engine's processes: containerd, shims and what they run."""

        def left() -> list[int]:
            return [pid for pid, command in self._processes() if chosen(command)]

        def ended() -> bool:
            pids = left()
            for pid in pids:
                # A shim's container would outlive it.
                for child in (*children(pid), pid):
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(child, signal.SIGKILL)
            return not pids

        wait_until(ended, f"no process of the engine in {self.directory} is left")

    def _processes(self) -> Iterator[tuple[int, bytes]]:
        """The daemons of this engine, known by its folder in their arguments; zombies have none."""
        mark = f"{self.directory}/".encode()
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit() or int(entry.name) == os.getpid():
                continue
            with contextlib.suppress(OSError):
                command = (entry / "cmdline").read_bytes()
                program = command.split(b"\0", 1)[0].rsplit(b"/", 1)[-1]
                if mark in command and program.startswith((b"dockerd", b"containerd")):
                    yield int(entry.name), program + b"\0"

    def _unmount(self) -> None:
        mounts = [line.split(" ")[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
        for mount in sorted((m for m in mounts if m.startswith(f"{self.directory}/")), key=len, reverse=True):
            subprocess.run(["umount", "--lazy", mount], check=True)


class _Bridge:
    """The default bridge of one engine. Made by the kernel's own calls, since `ip` may not be installed."""

    _ADD, _DELETE, _SET_FLAGS = 0x89A0, 0x89A1, 0x8914  # SIOCBRADDBR, SIOCBRDELBR, SIOCSIFFLAGS
    _count = itertools.count(1)

    def __init__(self, name: str | None = None) -> None:
        self.name = name or f"hpe{os.getpid()}x{next(self._count)}"

    def make(self) -> None:
        if not self._exists():
            self._call(self._ADD, self.name.encode() + b"\0")

    def remove(self) -> None:
        if self._exists():
            self._call(self._SET_FLAGS, struct.pack("16sh14x", self.name.encode(), 0))  # down
            self._call(self._DELETE, self.name.encode() + b"\0")

    def _exists(self) -> bool:
        return Path("/sys/class/net", self.name).exists()

    def _call(self, request: int, argument: bytes) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            fcntl.ioctl(sock, request, argument)


class _Passage:
    """Lets our containers speak to each other where the machine's own engine forbids it.

    Docker sets the policy of the chain FORWARD to DROP, and that counts for the bridges of our engine as well. One
    rule, for packets that stay on one bridge, is put before it and taken back at the end. Where no engine runs,
    nothing is done.
    """

    def __init__(self, owner: str) -> None:
        bridged = ["-m", "physdev", "--physdev-is-bridged"]
        self._rule = ["FORWARD", *bridged, "-m", "comment", "--comment", owner, "-j", "ACCEPT"]
        self._open = False

    def open(self) -> None:
        if self._open or shutil.which("iptables") is None:
            return
        if "-P FORWARD DROP" in self.rules():
            subprocess.run(["iptables", "-w", "-I", *self._rule], check=True)
            self._open = True

    def close(self) -> None:
        if self._open:
            subprocess.run(["iptables", "-w", "-D", *self._rule], check=False, stderr=subprocess.DEVNULL)
            self._open = False

    @staticmethod
    def rules() -> list[str]:
        """The chain FORWARD, one rule a line."""
        show = ["iptables", "-w", "-S", "FORWARD"]
        return subprocess.run(show, check=False, capture_output=True, text=True).stdout.splitlines()


def sweep() -> None:
    """Takes away what the engines of killed test runs left: folders in /tmp, bridges, firewall rules."""
    for directory in Path("/tmp").glob(f"{_PREFIX}*-*"):
        if directory.owner() == "root" and _abandoned(directory.name):
            # What could not be removed by that engine went with it, and is no trouble of this run.
            with contextlib.suppress(AssertionError, OSError, docker.errors.DockerException):
                PrivateEngine(directory).stop()
    for link in Path("/sys/class/net").glob("hpe*x*"):
        if _abandoned(link.name):
            _Bridge(link.name).remove()
    for rule in _Passage.rules() if shutil.which("iptables") else ():
        words = rule.split()
        if any(_abandoned(word) for word in words):
            subprocess.run(["iptables", "-w", "-D", *words[1:]], check=False, stderr=subprocess.DEVNULL)


def _abandoned(name: str) -> bool:
    """True for the name of an engine whose test run is no more."""
    match = re.fullmatch(r"hpe-?(\d+)[-x]\w+", name.strip('"'))
    return match is not None and not Path("/proc", match[1]).exists()


def children(parent: int) -> list[int]:
    """The child processes of a process, zombies included: as the kernel lists them, thread by thread. A look at every
    process of the machine would cost each test seconds beside an engine with a thousand containers."""
    found: list[int] = []
    with contextlib.suppress(OSError):
        for thread in Path("/proc", str(parent), "task").iterdir():
            with contextlib.suppress(OSError):
                found += map(int, (thread / "children").read_text().split())
    return sorted(found)


def _free_pool() -> str:
    """A network of 65,536 addresses to which this machine has no route; engines of several workers differ."""
    routes = [line.split()[1] for line in Path("/proc/net/route").read_text().splitlines()[1:]]
    # Hexadecimal and little endian: the 10 is at the end.
    taken = {int(route[4:6], 16) for route in routes if route.endswith("0A")}
    return f"10.{random.choice([n for n in range(64, 255) if n not in taken])}.0.0/16"

"""Many apps of one sleeping container each, on an engine of their own, and the service that keeps them.

The service is the real command with the settings that it has by itself. It is looked at through its socket, its log and
/proc, and where engine calls count through a `Tap`; nothing here knows how it works inside.
"""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from bench import say
from bench.tap import Tap
from controller.api.client import ApiClient
from controller.model.errors import HomeportError
from rig.engine import PrivateEngine, api, build_sample_image
from rig.process import cpu_seconds
from rig.service import SLEEPER, Home
from rig.waiting import wait_until

PREFIX = "b-"
SETTLE = 0.3
"""Seconds: what `--settle` is when nobody says otherwise."""
STABLE = 10.0
"""Seconds, of `--stable-after`: so long after the last Ready something is still due."""
DATA = SLEEPER + "    volumes: ['./data:/data']\n"


class Fleet:
    """`grow` makes apps; `service` runs the service on them. `throw_away` takes all of it off the machine."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.engine = PrivateEngine()
        self.engine.start()
        build_sample_image(self.engine.host)
        self.home = Home(directory, self.engine.host, PREFIX)
        self.home.settings = {}
        self.tap = Tap(self.engine.directory / "tap.sock", self.engine.host)
        self.shorts: list[str] = []

    @property
    def folders(self) -> list[Path]:
        return [self.home.apps / self.home.name(short) for short in self.shorts]

    def put(self, size: int, compose: str = SLEEPER) -> None:
        """Folders for so many apps; the first one of all has a data folder."""
        for number in range(len(self.shorts), size):
            short = f"a{number:05}"
            self.home.put(short, DATA if number == 0 else compose, {"data/log": ""} if number == 0 else None)
            self.shorts.append(short)

    def grow(self, size: int) -> None:
        """So many apps, all Ready and at rest."""
        missing = size - len(self.shorts)
        if missing > 0:
            say(f"{missing} more apps are made")
            began = time.monotonic()
            with self.service() as service:
                self.put(size)
                service.wait_ready(self.shorts[-missing:], 60 + 3 * missing)
                time.sleep(STABLE)
                service.rest()
            say(f"{size} apps run after {time.monotonic() - began:.0f} s")

    @contextlib.contextmanager
    def service(self, *, tapped: bool = False, **settings: str) -> Iterator[Service]:
        """The service, from its exec on and until the block ends. `tapped`: its engine calls are noted in `tap`."""
        home = self.home
        home.log_file.unlink(missing_ok=True)
        home.log_file.touch()
        self.tap.forget()
        home.settings = dict(settings)
        home.engine = self.tap.host if tapped else self.engine.host
        log = Tail(home.log_file)
        try:
            began = time.monotonic()
            home.start()
            assert home.process is not None
            yield Service(home.process.pid, ApiClient(home.state / "homeport.sock"), log, began, home)
        finally:
            home.stop()
            log.close()
            home.engine = self.engine.host

    def containers(self) -> dict[str, str]:
        """Containers and since when they run, by one list."""
        with api(self.engine.host) as client:
            return {c["Id"]: f"{c['Created']} {c['State']}" for c in client.containers(all=True)}

    def events(self, since: float) -> list[dict[str, Any]]:
        """What happened to containers since that moment (of the wall clock)."""
        with api(self.engine.host) as client:
            told = client.events(
                since=int(since), until=int(time.time()) + 1, decode=True, filters={"type": "container"}
            )
            return list(told)

    def throw_away(self) -> None:
        """Whatever state all of it is in."""
        self.home.stop()
        self.tap.close()
        self.engine.throw_away()


class Service:
    """One run of the service."""

    def __init__(self, pid: int, client: ApiClient, log: Tail, began: float, home: Home) -> None:
        self.pid, self.client, self.log, self.began = pid, client, log, began
        self._home = home

    def answer(self, timeout: float = 60) -> None:
        """Wait until its socket answers."""

        def answers() -> bool:
            try:
                return self.client.answers()
            except HomeportError:
                return False

        wait_until(answers, "the service answers", timeout, interval=0.002)

    def rest(self, quiet: float = 1.0, timeout: float = 300) -> float:
        """Wait until it has done next to nothing for so long; answers with the moment at which it ceased to work."""
        last, worked = time.monotonic(), cpu_seconds(self.pid)

        def at_rest() -> bool:
            nonlocal last, worked
            now, spent = time.monotonic(), cpu_seconds(self.pid)
            if spent > worked + 0.004:
                last, worked = now, spent
            return now - last >= quiet

        wait_until(at_rest, "the service is at rest", timeout, interval=0.01)
        return last

    def wait_ready(self, shorts: Sequence[str], timeout: float, since: float = 0.0) -> float:
        """Wait until each of these was said to be Ready; answers with the moment of the last of them."""
        wanted = {self._home.name(short) for short in shorts}
        heard: dict[str, float] = {}

        def all_ready() -> bool:
            for at, line in self.log.lines:
                if line["event"] == "app.ready" and at >= since:
                    heard.setdefault(line["app"], at)
            return wanted <= heard.keys()

        try:
            wait_until(all_ready, "", timeout, interval=0.05 if len(wanted) > 1 else 0.005)
        except AssertionError:
            left = sorted(wanted - heard.keys())
            raise AssertionError(
                f"not Ready within {timeout:g} s: {len(left)} of {len(wanted)}, {', '.join(left[:5])}"
            ) from None
        return max(heard[name] for name in wanted)

    def wait_words(self, words: set[str], timeout: float = 300) -> None:
        """Wait until every app has one of these, and the service is at rest."""
        wait_until(lambda: self.words().keys() <= words, f"all apps are {words}", timeout, interval=1)
        self.rest()

    def words(self) -> dict[str, int]:
        """How many apps have which word."""
        counted: dict[str, int] = {}
        for app in self.client.status()["apps"]:
            counted[app["summary"]] = counted.get(app["summary"], 0) + 1
        return counted


class Tail:
    """Follows a log in a thread and notes when each line arrived (monotonic). `lines` only grows."""

    def __init__(self, path: Path) -> None:
        self.lines: list[tuple[float, dict[str, Any]]] = []
        self._file = path.open("rb")
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="tail", daemon=True)
        self._thread.start()

    def wait(self, event: str, app: str, timeout: float, since: float = 0.0) -> None:
        """Wait until this was said of that app, from that moment on."""

        def said() -> bool:
            return any(
                at >= since and line["event"] == event and line.get("app") == app for at, line in self.lines
            )

        wait_until(said, f"{app}: {event}", timeout)

    def close(self) -> None:
        self._over.set()
        self._thread.join()
        self._file.close()

    def _follow(self) -> None:
        rest = b""
        while not self._over.wait(0.001):
            if data := self._file.read():
                at = time.monotonic()
                *lines, rest = (rest + data).split(b"\n")
                self.lines += [(at, json.loads(line)) for line in lines if line.startswith(b"{")]

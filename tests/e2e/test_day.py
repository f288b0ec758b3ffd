"""A day in the life of a small server, told by the console log alone."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from rig.engine import PrivateEngine
from rig.pair import CONSUMER, put_consumer, put_provider
from rig.service import Home
from rig.waiting import wait_until

pytestmark = pytest.mark.engine

LINE = re.compile(r"(?P<time>\d\d-\d\d \d\d:\d\d:\d\d) (?P<level>\w+) +(?P<event>[a-z_.]+) +(?P<rest>.*)")
BROKEN = CONSUMER + '    healthcheck: {test: ["CMD", "test", "-e", "/never"], interval: 1s, retries: 2}\n'


class Day:
    """The service with a console log, and what was read of it so far."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self._read = 0

    def lines(self) -> list[str]:
        return self.home.log_file.read_text().splitlines()

    def since(self) -> list[str]:
        """What was written since this was asked last, without time and level."""
        lines = self.lines()
        new, self._read = lines[self._read :], len(lines)
        told = []
        for line in new:
            found = LINE.fullmatch(line)
            assert found, f"a line of another shape: {line!r}"
            told.append(f"{found['event']} {' '.join(found['rest'].split())}")
        return told

    def until(self, what: str) -> list[str]:
        """Wait for a line with this in it; what was written up to then."""
        try:
            wait_until(
                lambda: any(what in " ".join(line.split()) for line in self.lines()[self._read :]), what, 30
            )
        except AssertionError as error:
            raise AssertionError("\n".join([str(error), *self.lines()[self._read :]])) from error
        return self.since()


def in_order(told: list[str], *story: str) -> None:
    """Each of these is the beginning of a line, in this order; other lines may stand between."""
    left = iter(told)
    for chapter in story:
        assert any(line.startswith(chapter) for line in left), (
            f"{chapter!r} is not told in time:\n" + "\n".join(told)
        )


def write(folder: Path, compose: str) -> None:
    (folder / "docker-compose.yaml").write_text(compose)


def test_the_story_of_a_day_can_be_told_from_the_console_log_alone(
    private_engine: PrivateEngine, tmp_path: Path
) -> None:
    home = Home(tmp_path, private_engine.host, "d-")
    home.settings |= {"health-timeout": "4"}
    day = Day(home)
    try:
        put_consumer(home)
        home.start("--log-format=console")
        told = day.until("app.waiting d-app")
        in_order(
            told,
            "service.started Homeport ",
            "service.watching 1 app on disk or on record; 1 to be looked at",
            "app.discovered d-app new app folder",
            "app.waiting d-app waits for d-db",
        )

        put_provider(home)
        in_order(
            day.until("app.ready d-app"),
            "app.discovered d-db",
            "action.done d-db compose_up d-db",
            "app.progressing d-db service main: health check is starting; it has 4 s to get there",
            "app.ready d-db runs generation 1",
            "hook.done d-app hook d-app:d-db:on_install",
            "hook.done d-app hook d-app:d-db:on_start",
            "action.done d-app compose_up d-app: first start",
            "app.ready d-app runs generation 1",
        )
        write(home.apps / "d-app", CONSUMER.replace("@", "d-") + "    labels: {edited: '1'}\n")
        in_order(
            day.until("app.ready d-app"),
            "app.changed d-app docker-compose.yaml changed",
            "app.progressing d-app hook d-app:d-db:on_start (scripts/start.sh): before the start; compose_up d-app: ",
            "action.done d-app compose_up d-app: service main: ",
            "app.ready d-app runs generation 2",
        )
        wait_until(lambda: home.good("app"), "what runs is a revision to go back to")

        write(home.apps / "d-app", BROKEN)
        in_order(
            day.until("app.rolled_back d-app"),
            "app.changed d-app docker-compose.yaml changed",
            "app.progressing d-app service main: ",
            "app.rolling_back d-app",
            "app.rolled_back d-app",
        )

        write(home.apps / "d-app", CONSUMER.replace("@", "d-") + "    labels: {edited: '2'}\n")
        in_order(
            day.until("app.ready d-app"),
            "app.changed d-app docker-compose.yaml",
            "app.ready d-app runs generation 4",
        )

        private_engine.kill9()
        in_order(day.until("engine.lost"), "engine.lost the engine cannot be reached")
        private_engine.start()
        in_order(
            day.until("app.ready d-app"),
            "engine.back",
            "app.ready d-db",
            "hook.done d-app hook d-app:d-db:on_start",
            "app.ready d-app",
        )

        shutil.rmtree(home.apps / "d-app")
        in_order(
            day.until("app.removed d-app"),
            "app.missing d-app its folder is gone; if it stays so for 1 s it is removed",
            "app.removing d-app",
            "app.removed d-app containers and networks are gone",
        )
        assert home.stop() == 0
        in_order(day.since(), "service.stopping", "service.stopped")
        assert len(day.lines()) < 80, "a story, not a chronicle"
    finally:
        home.stop()

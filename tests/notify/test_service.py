"""What was told outlives the service: the next one compares it with what is so."""

from __future__ import annotations

import json
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from controller.manager import Manager
from controller.model.facts import ALL_SEEN, NOTIFIED
from controller.notify import digest
from controller.notify.digest import Message
from controller.settings import Settings
from rig.waiting import wait_until

LONG_AGO = "2026-01-01T12:00:00Z"


class Hears:
    """An address that takes everything."""

    name = "1 (hears)"

    def __init__(self) -> None:
        self.got: list[Message] = []

    def send(self, message: Message) -> bool:
        self.got.append(message)
        return True


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """No engine and no apps."""
    monkeypatch.setattr(digest, "QUIET", 0.05)
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    (tmp_path / "apps").mkdir()
    return Settings(apps=tmp_path / "apps", state=tmp_path / "state")


def test_a_service_tells_what_ended_while_it_was_away_and_not_what_still_holds(settings: Settings) -> None:
    lost = {"word": "Lost", "since": LONG_AGO, "others": ()}
    parts = ("the engine", "the new engine", "the tree", "the state")
    with closing(Manager(settings, lambda _event: None)) as before:
        before.store.put(NOTIFIED, json.dumps(dict.fromkeys(parts, lost)))
    hears = Hears()
    with closing(Manager(settings, lambda _event: None, addresses=(hears,))) as manager:
        try:
            manager.start()
            wait_until(lambda: bool(hears.got), "it is told", 20)
        finally:
            manager.stop()
        assert [line.split(",")[0] for line in hears.got[0].body.split("\n")] == [
            "The apps tree is back",
            "The state can be written again",
        ]
        # One that does not answer may still be the strange one.
        assert set(json.loads(manager.store.get(NOTIFIED) or "")) == {"the engine", "the new engine"}


def test_what_was_seen_is_written_down_before_a_message_is_waited_for(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(Manager(settings, lambda _event: None, addresses=(Hears(),))) as manager:
        assert manager.notifier is not None
        monkeypatch.setattr(manager.memory.looks, "all_seen_at", lambda: datetime(2026, 1, 1, tzinfo=UTC))
        found: list[str | None] = []
        monkeypatch.setattr(manager.notifier, "stop", lambda: found.append(manager.store.get(ALL_SEEN)))
        manager.stop()
        assert found == ["2026-01-01T00:00:00+00:00"]

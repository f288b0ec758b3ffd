"""A person who does not look is told, by the real service of real apps."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from rig.receiver import SECRET, Receiver
from rig.service import SLEEPER, Home

# Slow for the minute between two messages.
pytestmark = [pytest.mark.engine, pytest.mark.slow]
BROKEN = SLEEPER.replace("homeport/sample:1", "homeport/there-is-none:1")


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.close()


def test_a_provider_that_fails_is_told_with_who_waits_for_it_and_then_that_it_is_over(
    home: Home, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOMEPORT_NOTIFY", receiver.url)
    home.start()
    db = home.put("db", BROKEN)
    for short in ("web", "shop"):
        home.put(short, requires=[{"app": home.name("db")}])
    home.wait("shop", "Waiting")
    told = receiver.next()
    assert told["title"].endswith(f": {home.name('db')} is Failed")
    first, second = told["message"].splitlines()
    assert first.startswith(f"{home.name('db')} is Failed: ")
    assert second == f"  because of it are Waiting: {home.name('shop')}, {home.name('web')}"

    (db / "docker-compose.yaml").write_text(SLEEPER)
    home.wait("db", "Ready")
    # At most one message a minute.
    over = receiver.next(90)
    assert over["message"].splitlines()[0].startswith(f"{home.name('db')} is Ready again, after ")
    assert over["message"].splitlines()[1] == f"  and with it: {home.name('shop')}, {home.name('web')}"
    assert receiver.got.empty()
    assert home.stop() == 0
    assert SECRET not in home.log_file.read_text()

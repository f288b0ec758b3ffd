"""From what happens to one app to the first engine call for it: a consumer whose provider is Ready, a container that died."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

from bench.fleet import STABLE, Fleet, Service
from bench.measure import Measure, at_most, ms
from rig.engine import api
from rig.service import SLEEPER
from rig.waiting import wait_until

PAIRS = 20
DEATHS = 30
PATIENCE = 60.0

SLOW = (
    SLEEPER
    + """\
    healthcheck: {test: ["CMD", "true"], interval: 1s, retries: 30}
"""
)
"""Is running at once and healthy a second later, so that its consumer has to wait for it."""


def measures(fleet: Fleet) -> Iterator[Measure]:
    size = len(fleet.shorts)
    with fleet.service(tapped=True) as service, Events(fleet.engine.host) as events:
        service.answer()
        service.rest()
        looked: list[float] = []
        started: list[float] = []
        healthy: list[float] = []
        for number in range(PAIRS):
            ready, well, consumer = pair(fleet, service, events, number)
            looked.append(called(fleet, consumer, ready) - ready)
            started.append(called(fleet, consumer, ready, compose=True) - ready)
            healthy.append(ready - well)
        yield Measure("provider Ready → consumer's first engine call", "ms", ms(looked), [at_most(50, "p99")])
        yield Measure("provider Ready → consumer's first call by Compose", "ms", ms(started))
        yield Measure("engine says the provider is healthy → provider Ready", "ms", ms(healthy))
        calm(fleet, service)
        time.sleep(STABLE)
        service.rest()
        repaired = []
        for short in fleet.shorts[:DEATHS]:
            name = fleet.home.name(short)
            fleet.tap.forget()
            died, container = kill(fleet, events, name)
            service.log.wait("action.done", name, PATIENCE, since=died)
            repaired.append(called(fleet, container, died, changing=True) - died)
        bar = [at_most(100, "p99")]
        yield Measure(f"a container died → the call that starts it, {size} apps", "ms", ms(repaired), bar)
        service.wait_words({"Ready"})


def pair(fleet: Fleet, service: Service, events: Events, number: int) -> tuple[float, float, str]:
    """A consumer that waits, then its provider; when that was said to be Ready, when the engine found it healthy, and
    the consumer's name."""
    home = fleet.home
    provider, consumer = f"p{number:05}", f"q{number:05}"
    home.put(consumer, SLEEPER, requires=[{"app": home.name(provider)}])
    fleet.shorts += [consumer, provider]
    service.log.wait("app.waiting", home.name(consumer), PATIENCE)
    fleet.tap.forget()
    home.put(provider, SLOW)
    ready = service.wait_ready([provider], PATIENCE)
    service.wait_ready([consumer], PATIENCE)
    well = events.wait(home.name(provider), "health_status: healthy")
    return ready, well, home.name(consumer)


def calm(fleet: Fleet, service: Service) -> None:
    """The providers lose their health checks, which would be work for the engine in all that is measured later."""
    providers = [f"p{number:05}" for number in range(PAIRS)]
    began = time.monotonic()
    for short in providers:
        (fleet.home.apps / fleet.home.name(short) / "docker-compose.yaml").write_text(SLEEPER)
    service.wait_ready(providers, 5 * PATIENCE, since=began)


def called(fleet: Fleet, app: str, since: float, *, compose: bool = False, changing: bool = False) -> float:
    """When the first such call was made."""
    call = fleet.tap.first(app, since, compose=compose, changing=changing)
    assert call is not None, f"nothing was asked about {app}"
    return call.at


def kill(fleet: Fleet, events: Events, app: str) -> tuple[float, str]:
    """SIGKILL for the app's container; when the engine says that it died, and its id."""
    events.forget()
    with api(fleet.engine.host) as client:
        container: str = client.inspect_container(f"{app}-main-1")["Id"]
        client.kill(container)
    return events.wait(app, "die"), container


class Events:
    """What the engine says of containers, with the engine's own times as monotonic ones."""

    def __init__(self, host: str) -> None:
        self._host = host
        self._heard: list[tuple[float, dict[str, Any]]] = []

    def __enter__(self) -> Events:
        self._client = api(self._host)
        client = self._client.__enter__()
        self._stream = client.events(decode=True, filters={"type": "container"})
        self._thread = threading.Thread(target=self._follow, name="events", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()
        self._thread.join()
        self._client.__exit__(None, None, None)

    def forget(self) -> None:
        """Begin anew."""
        self._heard = []

    def wait(self, app: str, action: str) -> float:
        """When this happened to a container of that app."""

        def found() -> list[float]:
            return [
                at for at, event in self._heard
                if event["Action"] == action
                and event["Actor"]["Attributes"].get("com.docker.compose.project") == app
            ]  # fmt: skip

        return wait_until(found, f"{app}: {action}", PATIENCE, interval=0.005)[0]

    def _follow(self) -> None:
        for event in self._stream:
            ago = time.time() - event["timeNano"] / 1e9
            self._heard.append((time.monotonic() - ago, event))

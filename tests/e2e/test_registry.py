"""Images from a registry: what is pulled, what a pull that fails leaves, and what a tag that moves does."""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

import docker.errors
import pytest

from rig.cleanup import EngineCleanup
from rig.engine import api
from rig.registry import MARKER, Registry
from rig.service import SLEEPER, Home, ready_of
from rig.waiting import wait_until

pytestmark = pytest.mark.engine


@pytest.fixture
def registry(tmp_path: Path, engine_host: str, engine_cleanup: EngineCleanup) -> Iterator[Registry]:
    """A registry of this test's own, running and empty."""
    folder = tmp_path / "registry"
    folder.mkdir()
    registry = Registry(folder, engine_host)
    registry.start()
    try:
        yield registry
    finally:
        registry.stop()
        registry.forget_images()


def compose_of(registry: Registry, image: str) -> str:
    return SLEEPER.replace("homeport/sample:1", registry.reference(image))


def marker_of(home: Home, short: str) -> str:
    """What the image that really runs has in its marker."""
    pid = home.containers(short)[f"{home.name(short)}-main-1"]["State"]["Pid"]
    return Path(f"/proc/{pid}/root/{MARKER}").read_text()


def image_of(home: Home, short: str) -> str:
    """The id of the image that runs; "" while there is no container, as in the middle of a re-creation."""
    details = home.containers(short).get(f"{home.name(short)}-main-1", {})
    return str(details.get("Image", ""))


def is_here(home: Home, reference: str) -> bool:
    """Whether the engine has an image of that name."""
    with api(home.engine) as client:
        try:
            client.inspect_image(reference)
        except docker.errors.ImageNotFound:
            return False
    return True


def wait_until_pull_failed(home: Home, short: str, reference: str) -> str:
    """Waits until the pull has failed; answers with the message, which names the image."""
    wait_until(
        lambda: (
            reference in str(ready_of(home.status(short) or NOT_YET)["message"])
            and home.word(short) == "Failed"
        ),
        f"the pull of {reference} has failed",
        30,
    )
    condition = ready_of(home.wait(short, "Failed"))
    assert condition["reason"] == "PullFailed"
    return str(condition["message"])


NOT_YET = {"conditions": [{"type": "Ready", "message": ""}]}


def test_an_image_that_is_not_here_is_pulled(home: Home, registry: Registry) -> None:
    pushed = registry.push("web:1", "first")
    assert not is_here(home, registry.reference("web:1"))
    home.put("web", compose_of(registry, "web:1"))
    home.start()
    home.wait("web", "Ready", timeout=30)
    assert image_of(home, "web") == pushed
    assert marker_of(home, "web") == "first"


@pytest.mark.fault("B02")
@pytest.mark.fault("D09")
def test_a_tag_that_is_not_there_is_said_and_leaves_what_runs_untouched(
    home: Home, registry: Registry
) -> None:
    registry.push("web:1", "first")
    folder = home.put("web", compose_of(registry, "web:1"))
    home.put("other")
    home.start()
    home.wait("web", "Ready", timeout=30)
    before = home.ids("web")
    (folder / "docker-compose.yaml").write_text(compose_of(registry, "web:2"))
    message = wait_until_pull_failed(home, "web", registry.reference("web:2"))
    assert "not found" in message
    home.wait("other", "Ready")
    home.run("reconcile", home.name("web"))
    assert home.ids("web") == before

    pushed = registry.push("web:2", "second")
    home.wait("web", "Ready", timeout=30)
    assert image_of(home, "web") == pushed, "when the tag is there it is tried again by itself"


@pytest.mark.fault("B02")
@pytest.mark.fault("D09")
def test_a_registry_that_is_down_stops_nothing_and_is_tried_until_it_is_back(
    home: Home, registry: Registry
) -> None:
    registry.push("web:1", "first")
    second = registry.push("web:2", "second")
    third = registry.push("new:1", "third")
    folder = home.put("web", compose_of(registry, "web:1"))
    home.start()
    home.wait("web", "Ready", timeout=30)
    before = home.ids("web")
    registry.stop()
    (folder / "docker-compose.yaml").write_text(compose_of(registry, "web:2"))
    home.put("new", compose_of(registry, "new:1"))
    for short, image in (("web", "web:2"), ("new", "new:1")):
        wait_until_pull_failed(home, short, registry.reference(image))
    assert home.ids("web") == before
    assert not home.containers("new")

    registry.start()
    home.wait("web", "Ready", timeout=30)
    home.wait("new", "Ready", timeout=30)
    assert (image_of(home, "web"), image_of(home, "new")) == (second, third)


def test_a_tag_that_moves_re_creates_nothing_by_itself(home: Home, registry: Registry) -> None:
    first = registry.push("web:1", "first")
    home.put("web", compose_of(registry, "web:1"))
    home.start()
    home.wait("web", "Ready", timeout=30)
    before = home.ids("web")

    second = registry.push("web:1", "second")
    assert second != first
    home.run("reconcile")
    assert home.ids("web") == before, "moved in the registry"

    with api(home.engine) as client:
        client.pull(registry.reference("web:1"))
        assert client.inspect_image(registry.reference("web:1"))["Id"] == second
    home.run("reconcile")
    assert home.ids("web") == before, "moved on this machine, too"

    home.stop()
    home.start()
    home.run("reconcile")
    assert home.ids("web") == before, "and the service knows nothing of earlier"
    assert home.word("web") == "Ready"


def test_update_applies_a_tag_that_moved_and_nothing_else(home: Home, registry: Registry) -> None:
    registry.push("web:1", "first")
    home.put("web", compose_of(registry, "web:1"))
    home.put("other")
    home.start()
    home.wait("web", "Ready", timeout=30)
    home.wait("other", "Ready")
    before, other = home.ids("web"), home.ids("other")

    done = home.run("update", home.name("web"))
    assert done.returncode == 0, done.stderr
    home.run("reconcile")
    assert home.ids("web") == before, "the tag has not moved"

    second = registry.push("web:1", "second")
    done = home.run("update", home.name("web"))
    assert done.returncode == 0, done.stderr
    wait_until(lambda: image_of(home, "web") == second, "what moved runs", 30)
    home.wait("web", "Ready")
    assert marker_of(home, "web") == "second"
    assert home.ids("other") == other


CHECKED = '["sh", "-c", "grep -q good /marker || { echo bad image; exit 3; }; exec sleep 100000"]'


def test_a_tag_that_moved_to_a_bad_image_is_taken_back_to_the_image_of_before(
    home: Home, registry: Registry
) -> None:
    first = registry.push("web:1", "good")
    home.put("web", compose_of(registry, "web:1").replace('["sleep", "100000"]', CHECKED))
    home.start()
    home.wait("web", "Ready", timeout=30)
    wait_until(lambda: kept(home, first), "a good image is kept by a name of ours")
    second = registry.push("web:1", "evil")
    home.run("update", home.name("web"))
    message = ready_of(home.wait("web", "RolledBack", timeout=30))["message"]
    assert "bad image" in message
    assert image_of(home, "web") == first
    with api(home.engine) as client:
        assert client.inspect_image(registry.reference("web:1"))["Id"] == second
    before = home.ids("web")
    assert home.stop() == 0
    home.start()
    home.run("reconcile")
    assert home.ids("web") == before

    registry.push("web:1", "good again")
    home.run("update", home.name("web"))
    home.wait("web", "Ready", timeout=30)
    assert marker_of(home, "web") == "good again", "a person asks for what is newer: it is tried"


def kept(home: Home, image: str) -> bool:
    """Whether `docker image prune` leaves it, once no container runs it and its own name has moved on."""
    with api(home.engine) as client:
        names = client.inspect_image(image)["RepoTags"]
    return any(name.startswith("homeport.local/keep/") for name in names)


def test_what_is_healed_runs_the_image_that_was_applied_though_its_tag_has_moved(
    home: Home, registry: Registry
) -> None:
    first = registry.push("web:1", "first")
    home.put("web", compose_of(registry, "web:1"))
    home.start()
    home.wait("web", "Ready", timeout=30)
    wait_until(lambda: kept(home, first), "it is good")
    registry.push("web:1", "second")
    name = f"{home.name('web')}-main-1"
    with api(home.engine) as client:
        client.pull(registry.reference("web:1"))
        for trouble in (client.kill, lambda c: client.remove_container(c, force=True)):
            before = home.ids("web")
            trouble(name)
            wait_until(lambda old=before: home.ids("web") not in (old, {}), "it is another run")
            wait_until(lambda: image_of(home, "web") == first, "of the same image")
            home.wait("web", "Ready")
            assert marker_of(home, "web") == "first"


def test_an_update_from_a_registry_that_is_down_is_told_and_leaves_what_runs_until_it_is_asked_for_again(
    home: Home, registry: Registry
) -> None:
    registry.push("web:1", "first")
    home.put("web", compose_of(registry, "web:1"))
    home.start()
    home.wait("web", "Ready", timeout=30)
    before = home.ids("web")
    second = registry.push("web:1", "second")
    registry.stop()
    done = home.run("update", home.name("web"))
    assert done.returncode == 1
    assert "PullFailed" in done.stdout + done.stderr
    home.wait("web", "Ready")
    assert home.ids("web") == before
    registry.start()
    assert home.run("update", home.name("web")).returncode == 0
    wait_until(lambda: image_of(home, "web") == second, "what a person asked for is done", 30)
    home.wait("web", "Ready")


@pytest.mark.fault("B02")
def test_what_is_pulled_is_there_before_the_old_version_is_stopped(home: Home, registry: Registry) -> None:
    registry.push("web:1", "first")
    second = registry.push("web:2", "second")
    folder = home.put("web", compose_of(registry, "web:1"))
    home.start()
    home.wait("web", "Ready", timeout=30)
    since = time.time()
    (folder / "docker-compose.yaml").write_text(compose_of(registry, "web:2"))
    wait_until(lambda: image_of(home, "web") == second, "by an edit", 30)
    home.wait("web", "Ready")
    third = registry.push("web:2", "third")
    home.run("update", home.name("web"))
    wait_until(lambda: image_of(home, "web") == third, "by command", 30)
    home.wait("web", "Ready")
    assert engine_told(home, registry, since) == ["pull", "die", "pull", "die"]


def engine_told(home: Home, registry: Registry, since: float) -> list[str]:
    """Pulls from the registry and ends of the app's containers, in the order in which they happened."""
    with api(home.engine) as client:
        events = list(client.events(since=since, until=time.time(), decode=True))
    told = []
    for event in sorted(events, key=lambda e: int(e["timeNano"])):
        project = event["Actor"]["Attributes"].get("com.docker.compose.project")
        pulled = event["Action"] == "pull" and event["Actor"]["ID"].startswith(registry.reference(""))
        if pulled or (event["Action"] == "die" and project == home.name("web")):
            told.append(event["Action"])
    return [action for action, _ in groupby(told)]  # what is stopped with no grace is told twice

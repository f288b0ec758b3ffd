"""Drift: what runs is brought back to the target, a plan says each difference, and what is suspended is left alone."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from rig.engine import SAMPLE_IMAGE, api
from rig.images import build_image
from rig.pair import put_consumer, put_provider
from rig.service import SLEEPER, Home, ready_of
from rig.waiting import wait_until

pytestmark = pytest.mark.engine

SERVICE = SLEEPER.removeprefix("services:\n  main:\n")
"""A service's fields, for compose files with several services."""
TWO = f"""\
services:
  main:
{SERVICE}    volumes: ["./app.conf:/app.conf:ro"]
  other:
{SERVICE}"""


def by_hand(home: Home, short: str, *arguments: str, compose: str | None = None) -> None:
    """A person at work with `docker compose` in the app's folder, or with a compose file of their own for it."""
    folder = home.apps / home.name(short)
    file = folder / "docker-compose.yaml"
    if compose is not None:
        file = home.apps.parent / "by-hand.yaml"
        file.write_text(compose)
    binary = shutil.which("docker-compose", path=str(Path(sys.executable).parent))
    assert binary is not None
    subprocess.run(
        [binary, "-p", home.name(short), "--project-directory", str(folder), "-f", str(file), *arguments],
        env=home.environment(), check=True, capture_output=True,
    )  # fmt: skip


def planned(home: Home, short: str) -> list[str]:
    """`homeport plan` of an app: its lines as `kind: cause`, or what is said instead."""
    answer = home.run("plan", home.name(short), "-o", "json")
    (entry,) = json.loads(answer.stdout)["plans"]
    return [
        f"{action['kind']}: {action['cause'] or action['detail'] or action['target']}"
        for action in entry["actions"]
    ]


def tag(home: Home, image: str, name: str) -> str:
    """Gives an image the name `repository:1`, whatever had it; answers with the image's id."""
    with api(home.engine) as client:
        client.tag(image, name.removesuffix(":1"), "1", force=True)
        identity: str = client.inspect_image(name)["Id"]
    return identity


def forget_images(home: Home) -> None:
    """Takes the names that begin with this test's prefix off the engine."""
    with api(home.engine) as client:
        for image in client.images():
            for name in image["RepoTags"] or ():
                if name.startswith(home.prefix):
                    client.remove_image(name, force=True)


def kill(home: Home, container: str) -> None:
    with api(home.engine) as client:
        client.kill(container)


@pytest.mark.fault("D10")
def test_what_a_person_changed_by_hand_is_brought_back_to_the_target(home: Home) -> None:
    compose = SLEEPER.replace("    network_mode: none\n", "")
    image = f"{home.name('hand')}:1"
    compose = compose.replace(SAMPLE_IMAGE, image)
    applied = tag(home, SAMPLE_IMAGE, image)
    home.start()
    home.put("hand", compose)
    home.wait("hand", "Ready")
    main, network = f"{home.name('hand')}-main-1", f"{home.name('hand')}_default"

    def as_it_was() -> bool:
        containers = home.containers("hand")
        if set(containers) != {main} or not containers[main]["State"]["Running"]:
            return False
        networks = containers[main]["NetworkSettings"]["Networks"]
        return (
            containers[main]["Image"] == applied
            and "BY" not in home.env_of("hand")
            and set(networks) == {network}
        )

    def network_removed() -> None:
        with api(home.engine) as client:
            client.disconnect_container_from_network(main, network, force=True)
            client.remove_network(network)

    def up_with_the_tag_moved() -> None:
        tag(home, build_image(home.engine, f"{home.name('moved')}:1", {"moved": b""}), image)
        by_hand(home, "hand", "up", "-d")

    edited = compose + "    environment: {BY: hand}\n"
    ways = {
        "its configuration is not": lambda: by_hand(home, "hand", "up", "-d", compose=edited),
        "its image is not": up_with_the_tag_moved,
        "containers, 1 wanted": lambda: by_hand(home, "hand", "up", "-d", "--scale", "main=3"),
        "is not on its networks": network_removed,
    }
    try:
        for cause, do in ways.items():
            done = len(home.log("action.done", "hand"))
            # Suspended while the person is at work: a container that is missing for a moment would be made at once.
            home.run("suspend", home.name("hand"))
            do()
            home.run("resume", home.name("hand"))
            wait_until(
                lambda cause=cause, done=done: any(
                    cause in line["message"] for line in home.log("action.done", "hand")[done:]
                ),
                f"brought back, because {cause}",
            )
            wait_until(as_it_was, f"as it was, after {cause}")
            home.wait("hand", "Ready")
    finally:
        forget_images(home)


def test_a_plan_says_each_difference_with_its_cause_while_the_service_is_down(home: Home) -> None:
    image = f"{home.name('plan')}:1"
    tag(home, SAMPLE_IMAGE, image)
    folder = home.put("plan", TWO.replace(SAMPLE_IMAGE, image, 1), {"app.conf": "0"})
    compose = folder / "docker-compose.yaml"
    text = compose.read_text()
    home.start()
    home.wait("plan", "Ready")
    home.stop()
    main, other = f"{home.name('plan')}-main-1", f"{home.name('plan')}-other-1"
    try:
        assert planned(home, "plan") == []

        (folder / "app.conf").write_text("1")
        assert planned(home, "plan") == [
            f"restart: service main: bind-mounted file {folder}/app.conf changed"
        ]
        compose.write_text(text + "    environment: {EDIT: '1'}\n")
        assert planned(home, "plan") == [
            "compose_up: service other: config hash differs (environment EDIT new)"
        ]
        compose.write_text(text[: text.index("  other:")])
        assert any("service other is no longer in the files" in line for line in planned(home, "plan"))
        compose.write_text(text)
        (folder / "app.conf").write_text("0")

        tag(home, build_image(home.engine, f"{home.name('moved')}:1", {"moved": b""}), image)
        assert planned(home, "plan") == [
            f"skip: service main: {image} is another image now; `homeport update {home.name('plan')}` applies it"
        ]
        tag(home, SAMPLE_IMAGE, image)
        with api(home.engine) as client:
            client.remove_container(other, force=True)
        assert planned(home, "plan") == ["compose_up: service other: no container"]
        kill(home, main)
        assert planned(home, "plan") == [
            "compose_up: service main: container exited (137); service other: no container"
        ]
    finally:
        forget_images(home)


def test_edits_made_while_the_service_is_down_are_applied_once_at_its_start(home: Home) -> None:
    files = {"app.conf": "0", ".env": "WORD=0\n"}
    folders = [
        home.put(short, TWO + "    environment: {WORD: '${WORD}'}\n", files) for short in ("file", "word")
    ]
    home.start()
    for short in ("file", "word"):
        home.wait(short, "Ready")
    home.stop()
    before, done = home.ids("file"), len(home.log("action.done"))
    (folders[0] / "app.conf").write_text("1")
    (folders[1] / "app.conf").write_text("1")
    (folders[1] / ".env").write_text("WORD=1\n")
    for _ in range(2):
        home.start()
        for short in ("file", "word"):
            wait_until(
                lambda s=short: home.word(s) == "Ready" and (home.status(s) or {})["observedGeneration"] == 2,
                "applied",
            )
            assert home.inside(short, "/app.conf") == "1"
        home.run("reconcile")
        home.stop()
    assert home.env_of("word", "other")["WORD"] == "1"
    after = home.ids("file")
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {f"{home.name('file')}-main-1"}
    assert sorted(line["kind"] for line in home.log("action.done", "file")) == ["compose_up", "restart"]
    assert [line["kind"] for line in home.log("action.done")][done:].count("compose_up") == 1


@pytest.mark.fault("D10")
@pytest.mark.parametrize("how", ["by command", "by its manifest"])
def test_a_suspended_app_is_left_as_it_is_says_its_drift_and_catches_up_when_resumed(
    home: Home, how: str
) -> None:
    home.start()
    folder = home.put("rest", TWO, {"app.conf": "0"})
    home.wait("rest", "Ready")
    manifest, compose = folder / "manifest.json", folder / "docker-compose.yaml"
    lively = manifest.read_text()

    def suspend(suspended: bool) -> None:
        if how == "by command":
            assert home.run("suspend" if suspended else "resume", home.name("rest")).returncode == 0
        else:
            manifest.write_text(json.dumps({**json.loads(lively), "suspend": True}) if suspended else lively)

    suspend(True)
    home.wait("rest", "Suspended")
    done, before = len(home.log("action.done")), home.ids("rest")

    def said(*parts: str) -> None:
        """Waits until the status says that much of the drift."""
        wait_until(lambda: all(part in drift_of(home, "rest") for part in parts), f"the status says {parts}")

    (folder / "app.conf").write_text("1")
    said(f"bind-mounted file {folder}/app.conf changed")
    assert any("app.conf changed" in line for line in planned(home, "rest"))
    kill(home, f"{home.name('rest')}-main-1")
    said("service main: container exited (137)")
    compose.write_text(TWO + "    environment: {EDIT: '1'}\n")
    said("service other: config hash differs")
    home.stop()
    home.start()
    home.run("reconcile", home.name("rest"))
    assert home.word("rest") == "Suspended"
    assert home.ids("rest") == before
    assert not home.containers("rest")[f"{home.name('rest')}-main-1"]["State"]["Running"]
    assert len(home.log("action.done")) == done

    suspend(False)
    home.wait("rest", "Ready")
    assert home.env_of("rest", "other")["EDIT"] == "1"
    assert home.inside("rest", "/app.conf") == "1"


def drift_of(home: Home, short: str) -> str:
    """What the status of a suspended app says of its drift."""
    status = home.status(short) or {"conditions": []}
    return str(next((c["message"] for c in status["conditions"] if c["type"] == "Suspended"), ""))


def test_a_suspended_provider_serves_its_consumers_hooks_and_all(home: Home) -> None:
    put_provider(home)
    home.start()
    home.wait("db", "Ready")
    assert home.run("suspend", home.name("db")).returncode == 0
    home.wait("db", "Suspended")
    before = home.ids("db")
    put_consumer(home)
    home.wait("app", "Ready")
    assert home.env_of("app")["USER_"] == home.name("app")
    assert home.ids("db") == before


def test_a_mounted_file_that_is_missing_is_waited_for(home: Home) -> None:
    home.start()
    folder = home.put("late", TWO)
    status = home.wait("late", "Invalid")
    assert ready_of(status)["reason"] == "Incomplete"
    assert "app.conf" in ready_of(status)["message"]
    assert not (folder / "app.conf").exists(), "nobody made a folder of it"
    (folder / "app.conf").write_text("here")
    home.wait("late", "Ready")
    assert home.inside("late", "/app.conf") == "here"

    before = home.ids("late")
    (folder / "app.conf").unlink()
    home.run("reconcile", home.name("late"))
    assert home.ids("late") == before, "what runs goes on with the file that it has"
    (folder / "app.conf").write_text("back")
    wait_until(lambda: home.inside("late", "/app.conf") == "back", "it is taken up again")
    home.wait("late", "Ready")

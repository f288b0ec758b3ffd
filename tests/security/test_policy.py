"""What compose files may not ask for: programs of the host, and files that are fetched from elsewhere."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from controller.cli.main import cli
from controller.clock import SystemClock
from controller.engine.docker_engine import DockerEngine
from controller.engine.endpoint import Endpoint
from controller.model.desired import LEAST_TRUST, Invalid, Present, Trust
from controller.model.errors import InputInvalid
from controller.model.manifest import Manifest
from controller.source.reading import load_folder
from fakes.tree import manifest
from rig.service import SLEEPER, Home, ready_of
from rig.waiting import wait_until

pytestmark = pytest.mark.fault("B09")

PROVIDER = "  evil:\n    provider: {type: ./evil}\n"


@dataclass
class Elsewhere:
    """A server that only counts who comes."""

    port: int
    calls: list[object] = field(default_factory=list)


@pytest.fixture
def elsewhere() -> Iterator[Elsewhere]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        found = Elsewhere(server.getsockname()[1])

        def count() -> None:
            while True:
                try:
                    connection, address = server.accept()
                except OSError:
                    return
                found.calls.append(address)
                connection.close()

        thread = threading.Thread(target=count)
        thread.start()
        yield found
        server.shutdown(socket.SHUT_RDWR)
        thread.join(10)


def app(folder: Path, compose: str, **files: str) -> Path:
    folder.mkdir(exist_ok=True)
    name = folder.name
    parts = {
        "manifest.json": Manifest.model_validate(manifest(name)).model_dump_json(),
        "compose.yaml": compose,
    }
    for path, text in (parts | files).items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    return folder


def evil_program(folder: Path, marker: Path) -> None:
    program = folder / "evil"
    program.write_text(f"#!/bin/sh\ntouch {marker}\n")
    program.chmod(0o755)


def write_whole(path: Path, text: str) -> None:
    """As an editor does: no half of it is ever seen."""
    new = path.with_name(f"{path.name}~")
    new.write_text(text)
    new.rename(path)


def forms(port: int) -> dict[str, dict[str, str]]:
    """Ways to ask for what is refused: files by their names."""
    git, oci = f"https://127.0.0.1:{port}/x.git", f"oci://127.0.0.1:{port}/x:1"
    return {
        "a provider": {"docker-compose.yaml": SLEEPER + PROVIDER},
        "a provider that a file brings in": {
            "docker-compose.yaml": SLEEPER + "include: [more.yaml]\n",
            "more.yaml": "services:\n" + PROVIDER,
        },
        "a provider that is extended": {
            "docker-compose.yaml": SLEEPER + "  other:\n    extends: {file: more.yaml, service: evil}\n",
            "more.yaml": "services:\n" + PROVIDER,
        },
        "a provider by an alias": {
            "docker-compose.yaml": "x-a: &a {provider: {type: ./evil}}\n" + SLEEPER + "  evil: {<<: *a}\n"
        },
        "a repository": {"docker-compose.yaml": SLEEPER + f"include: ['{git}']\n"},
        "an artifact": {"docker-compose.yaml": SLEEPER + f"include: ['{oci}']\n"},
        "an artifact that a file brings in": {
            "docker-compose.yaml": SLEEPER + "include: [more.yaml]\n",
            "more.yaml": f"include: [{{path: '{oci}'}}]\n",
        },
        "a repository that is extended": {
            "docker-compose.yaml": SLEEPER + f"  other:\n    extends: {{file: '{git}', service: x}}\n"
        },
    }


@pytest.mark.engine
def test_a_program_of_the_host_and_a_file_from_elsewhere_are_refused_and_what_runs_goes_on(
    home: Home, elsewhere: Elsewhere, tmp_path: Path
) -> None:
    marker = tmp_path / "it-was-run"
    home.put("other")
    folder = home.put("web")
    evil_program(folder, marker)
    home.start()
    home.wait("web", "Ready", timeout=60)
    home.wait("other", "Ready", timeout=60)
    before = home.ids()
    for what, files in forms(elsewhere.port).items():
        generation = home.wait("web", "Ready", "Invalid", timeout=60)["observedGeneration"]
        for path, text in files.items():
            write_whole(folder / path, text)
        seen = wait_until(lambda: _newer(home, generation), what, 60)  # noqa: B023 - asked within the turn
        condition = ready_of(seen)
        assert (seen["summary"], condition["reason"]) == ("Invalid", "PolicyDenied"), (what, condition)
        assert "--allow-" in condition["message"], what
        assert home.ids() == before, what
    write_whole(folder / "docker-compose.yaml", SLEEPER)
    home.wait("web", "Ready", timeout=60)
    assert not elsewhere.calls
    assert not marker.exists()
    assert home.ids() == before


def _newer(home: Home, generation: int) -> dict[str, Any] | None:
    status = home.status("web")
    return status if status and status["observedGeneration"] > generation else None


@pytest.mark.parametrize(
    ("compose", "trust"),
    [
        ("services:\n" + PROVIDER, Trust(providers=True)),
        ("include: ['https://127.0.0.1:9/x.git']\nservices: {a: {image: x}}\n", Trust(remote_include=True)),
        ("include: ['${A:+b}']\nservices: {a: {image: x}}\n", Trust(remote_include=True)),
    ],
)
def test_each_is_allowed_by_its_own_switch_and_by_no_other(
    tmp_path: Path, compose: str, trust: Trust
) -> None:
    folder = app(tmp_path / "web", compose)
    assert isinstance(load_folder(folder, trust), Present)
    other = Trust(not trust.providers, not trust.remote_include, any_writer=True)
    for less in (other, LEAST_TRUST):
        found = load_folder(folder, less)
        assert isinstance(found, Invalid)
        assert found.reason == "PolicyDenied"


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[DockerEngine]:
    """An engine room that needs no engine: it only renders."""
    endpoint = Endpoint("unix:///nonexistent.sock", home=str(tmp_path), path=os.environ["PATH"])
    engine = DockerEngine(endpoint, tmp_path / "work", SystemClock())
    yield engine
    engine.close()


@pytest.mark.parametrize(
    "form", ["a provider", "a provider that a file brings in", "a provider that is extended"]
)
def test_a_provider_that_came_in_after_the_files_were_judged_is_not_applied_either(
    engine: DockerEngine, tmp_path: Path, form: str
) -> None:
    folder = app(tmp_path / "web", SLEEPER)
    judged = load_folder(folder)
    assert isinstance(judged, Present)
    files = forms(9)[form]
    for path, text in files.items():
        (folder / path.replace("docker-compose", "compose")).write_text(text)
    with pytest.raises(InputInvalid, match="on the host") as caught:
        engine.render(judged)
    assert caught.value.reason == "PolicyDenied"


@pytest.mark.parametrize("form", ["a repository", "an artifact", "a repository that is extended"])
def test_nothing_is_fetched_for_a_file_that_changed_after_it_was_judged(
    engine: DockerEngine, tmp_path: Path, elsewhere: Elsewhere, form: str
) -> None:
    folder = app(tmp_path / "web", SLEEPER)
    judged = load_folder(folder)
    assert isinstance(judged, Present)
    (folder / "compose.yaml").write_text(forms(elsewhere.port)[form]["docker-compose.yaml"])
    with pytest.raises(InputInvalid, match="disabled"):
        engine.render(judged)
    assert not elsewhere.calls


@pytest.mark.parametrize("key", ["LD_PRELOAD", "DOCKER_HOST", "COMPOSE_FILE", "PATH"])
def test_no_secret_of_an_app_steers_the_tools_that_apply_it(
    engine: DockerEngine, tmp_path: Path, key: str
) -> None:
    compose = f"{SLEEPER}    secrets: [s]\nsecrets: {{s: {{environment: {key}}}}}\n"
    judged = load_folder(app(tmp_path / "web", compose, **{".env": f"{key}=/evil\n"}))
    assert isinstance(judged, Present)
    with pytest.raises(InputInvalid, match=key) as caught:
        engine.render(judged)
    assert caught.value.reason == "PolicyDenied"


def test_validate_says_what_is_reached_outside_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compose = """\
include: [../shared.yaml]
services:
  main:
    image: x
    privileged: true
    pid: host
    cap_add: [SYS_ADMIN]
    env_file: /etc/hostname
    extends: {file: ../base.yaml, service: base}
    volumes: ["/:/host:ro", "/var/run/docker.sock:/s", ".:/self", "./data:/data"]
"""
    (tmp_path / "apps").mkdir()
    folder = app(tmp_path / "apps" / "web", compose)
    (tmp_path / "apps" / "shared.yaml").write_text("services: {other: {image: x}}\n")
    (tmp_path / "apps" / "base.yaml").write_text("services: {base: {image: x}}\n")
    monkeypatch.setenv("HOMEPORT_APPS", str(tmp_path / "apps"))
    monkeypatch.setenv("HOMEPORT_STATE", str(tmp_path / "state"))
    found = CliRunner().invoke(cli, ["validate", str(folder)])
    assert found.exit_code == 0, found.output
    warnings = [line for line in found.output.splitlines() if "warning" in line]
    for part in (
        "include[0]: reads", "main.privileged", "main.pid: host", "main.cap_add: the container gets SYS_ADMIN",
        "reads /etc/hostname", "extends.file: reads", "mounts /, outside the folder, read-only",
        "as good as root", "the app's own folder",
    ):  # fmt: skip
        assert sum(part in line for line in warnings) == 1, (part, warnings)
    assert not any("./data" in line or f"{folder}/data" in line for line in warnings)

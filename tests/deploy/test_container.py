"""deploy/Dockerfile and deploy/compose.yaml, as far as they can be judged without a registry to build from."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import yaml

from controller.engine.compose import find_compose
from controller.settings import Settings

DEPLOY = Path(__file__).parents[2] / "deploy"
COMPOSE = DEPLOY / "compose.yaml"


def service() -> dict[str, object]:
    done = subprocess.run(
        [*find_compose("/usr/bin:/bin"), "-f", str(COMPOSE), "config"], capture_output=True, text=True, check=False, timeout=60
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found: dict[str, object] = yaml.safe_load(done.stdout)["services"]["homeport"]
    return found


def test_compose_takes_the_file_and_every_folder_is_at_its_own_place() -> None:
    mounts = service()["volumes"]
    assert isinstance(mounts, list)
    assert {mount["source"]: mount["target"] for mount in mounts} == {
        "/var/run/docker.sock": "/var/run/docker.sock",
        "/var/lib/homeport": "/var/lib/homeport",
    }
    defaults = Settings.model_fields
    assert all(str(defaults[field].default).startswith("/var/lib/homeport/") for field in ("apps", "state"))


def test_a_running_compose_gets_its_time_before_the_container_is_killed() -> None:
    assert service()["stop_grace_period"] == "45s"
    assert Settings.model_fields["shutdown_grace"].default < 45


def test_the_image_is_made_of_files_that_the_engine_is_sent() -> None:
    text = (DEPLOY / "Dockerfile").read_text()
    copied = [
        name for line in re.findall(r"^COPY (?!--)(.*)$", text, re.MULTILINE) for name in line.split()[:-1]
    ]
    sent = [
        line[1:]
        for line in (DEPLOY.parent / ".dockerignore").read_text().splitlines()
        if line.startswith("!")
    ]
    assert sorted(copied) == sorted(sent)
    assert all((DEPLOY.parent / name).exists() for name in copied)

"""What `make clean` does: takes away what `make run` made, on the engine and below var/.

Containers and networks of the compose projects that live in var/apps; the volumes that Homeport made for those
apps, and for those that were removed from it (var/apps is a scratch tree: this is the one place where volumes are removed
without being named); var/state; var/apps. A tree that differs from the samples is not deleted but moved to var/removed/.
What is left, because other things may use it by now (the engine, the image of the samples, what was built of the apps' own
files), is said.

    .venv/bin/python deploy/clean.py
"""

from __future__ import annotations

import contextlib
import filecmp
import json
import re
import shutil
import socket
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import docker
import docker.errors
import requests
import yaml

from controller.control.volumes import left
from controller.model.errors import HomeportError
from controller.status.store import SqliteStore

ROOT = Path(__file__).resolve().parent.parent
APPS = ROOT / "var" / "apps"
STATE = ROOT / "var" / "state"
SAMPLES = ROOT / "manifests"
PROJECT = "com.docker.compose.project"
FOLDER = "com.docker.compose.project.working_dir"
IMAGE = "homeport/sample:1"
ENGINE = ROOT / "var" / "engine" / "dockerd.pid"  # of deploy/ensure-engine
OWN_FILES = {".env", ".homeport"}  # written by Homeport, not by a person


def main() -> int:
    """The command."""
    if _service_runs():
        print("clean: the service still runs; stop it first (Ctrl-C where `make run` runs)", file=sys.stderr)
        return 1
    images: list[str] = []
    if APPS.exists() or STATE.exists():
        try:
            client = docker.from_env(timeout=60)
        except docker.errors.DockerException as error:
            print(f"clean: no Docker engine answers, so its containers stay: {error}", file=sys.stderr)
            return 3
        with contextlib.closing(client):
            try:
                _clean_engine(client.api)
                images = [name for name in (IMAGE, *_built()) if client.api.images(name=name)]
            except (docker.errors.DockerException, requests.RequestException) as error:
                print(f"clean: the engine refused: {error}", file=sys.stderr)
                return 3
    _clean_folders()
    if left := _left(images):
        print(left)
    return 0


def _left(images: list[str]) -> str:
    """What of `make run` is still there, and how it is taken away: the images first, while there is an engine."""
    some = f"the image{'s' if len(images) > 1 else ''}"
    names = " ".join(images)
    found = [f"{some} {names} (`docker image rm {names}`)"] if images else []
    if _engine_runs():
        found.append("the Docker engine that was started for it (`kill $(cat var/engine/dockerd.pid)`)")
    return f"clean: left: {', and '.join(found)}" if found else ""


def _engine_runs() -> bool:
    try:
        return Path("/proc", ENGINE.read_text().strip() or "none", "comm").read_text() == "dockerd\n"
    except OSError:
        return False


def _service_runs() -> bool:
    with socket.socket(socket.AF_UNIX) as sock:
        try:
            sock.connect(str(STATE / "homeport.sock"))
        except OSError:
            return False
        return True


def _clean_engine(api: Any) -> None:
    containers = api.containers(all=True, filters={"label": PROJECT})
    ours = [c for c in containers if Path(c["Labels"].get(FOLDER, "/")).is_relative_to(APPS)]
    foreign = {c["Labels"][PROJECT] for c in containers if c not in ours}
    for container in ours:
        api.remove_container(container["Id"], v=True, force=True)
        print(f"clean: removed container {container['Names'][0].lstrip('/')}")

    folders = {folder.name for folder in APPS.iterdir() if folder.is_dir()} if APPS.exists() else set()
    projects = ({c["Labels"][PROJECT] for c in ours} | folders) - foreign
    for image in api.images(filters={"reference": "homeport.local/keep/*"}):
        for tag in image["RepoTags"] or ():
            if tag.removeprefix("homeport.local/keep/").partition(":")[0] in projects:
                api.remove_image(tag, noprune=True)
    for network in api.networks(filters={"label": PROJECT}):
        if network["Labels"][PROJECT] in projects:
            api.remove_network(network["Id"])
            print(f"clean: removed network {network['Name']}")

    names = {f"{app}_{volume}" for app in projects for volume in _volumes(app)}
    on_record = _volumes_on_record()
    for volume in api.volumes()["Volumes"] or []:
        made_by_us = any(label == "io.homeport.managed" for label in volume["Labels"] or {})
        if made_by_us and (volume["Name"].partition("_")[2] in names or volume["Name"] in on_record):
            api.remove_volume(volume["Name"])
            print(f"clean: removed volume {volume['Name']} with its data")
        elif (volume["Labels"] or {}).get(PROJECT) in projects:
            print(f"clean: left volume {volume['Name']}: made by a compose file, not by Homeport")


def _volumes_on_record() -> set[str]:
    """Full names of the volumes of all apps that the state knows, those that are removed since among them."""
    try:
        with SqliteStore.open_readonly(STATE) as store:
            volumes = {volume for record in store.records() for volume in record.volumes}
            return volumes.union(*left(store).values())
    except HomeportError as error:
        print(f"clean: volumes of removed apps stay: {error}", file=sys.stderr)
        return set()


def _volumes(app: str) -> list[str]:
    for tree in (APPS, SAMPLES):  # the folder may have been taken out since
        try:
            return [str(name) for name in json.loads((tree / app / "manifest.json").read_text())["volumes"]]
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return []


def _built() -> list[str]:
    """Names of the images that are built of the files in var/apps, as far as these can be read."""
    names: list[str] = []
    for file in sorted(APPS.glob("*/*compose.y*ml")):
        with contextlib.suppress(OSError, ValueError, LookupError, TypeError, AttributeError, yaml.YAMLError):
            for service, wanted in yaml.safe_load(file.read_text())["services"].items():
                name = str(wanted.get("image") or f"{file.parent.name}-{service}")
                if "build" in wanted and re.fullmatch(r"[\w./:@-]+", name):
                    names.append(name)
    return names


def _clean_folders() -> None:
    if STATE.exists():
        shutil.rmtree(STATE)
        print("clean: removed var/state")
    if not APPS.exists():
        return
    if _only_samples():
        shutil.rmtree(APPS)
        print("clean: removed var/apps")
    else:
        removed = ROOT / "var" / "removed"
        removed.mkdir(exist_ok=True)
        kept = Path(tempfile.mkdtemp(prefix=time.strftime("apps-%Y%m%d-%H%M%S-"), dir=removed))
        APPS.rename(kept)  # an empty folder gives way
        print(f"clean: var/apps holds work of yours; moved to {kept.relative_to(ROOT)}")


def _only_samples() -> bool:
    """True when nothing in var/apps was added or edited by a person."""

    for path in APPS.rglob("*"):
        sample = SAMPLES / path.relative_to(APPS)
        if path.name in OWN_FILES or (path.is_dir() and sample.is_dir()):
            continue
        if not (path.is_file() and sample.is_file() and filecmp.cmp(path, sample, shallow=False)):
            return False
    # An .env is ours as long as it holds only what the example said and what a hook added.
    for env in APPS.glob("*/.env"):
        example = SAMPLES / env.parent.name / ".env.example"
        lines = example.read_text().splitlines() if example.exists() else []
        if not set(lines) <= set(env.read_text().splitlines()):
            return False
    return True


if __name__ == "__main__":
    sys.exit(main())

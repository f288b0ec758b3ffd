"""Builds `homeport/sample:1`, the image of the sample apps and of the tests.

It holds Debian's busybox-static and nothing else, so it needs no registry. It goes through the engine's API
alone: no docker command, no buildx and no network are needed. The second time it changes nothing.

    .venv/bin/python deploy/sample-image/build.py [--host unix:///var/run/docker.sock]
"""

from __future__ import annotations

import argparse
import hashlib
import io
import os
import shutil
import struct
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import docker
import docker.errors

IMAGE = "homeport/sample:1"
LABEL = "homeport.sample.digest"
HERE = Path(__file__).resolve().parent
_PT_INTERP = 3


class BuildError(Exception):
    """The image cannot be made; the text says what to do."""


def build(host: str | None = None) -> bool:
    """Makes the image on the engine at `host` (default: DOCKER_HOST); False when it was there already."""
    busybox = find_busybox().read_bytes()
    dockerfile = (HERE / "Dockerfile").read_bytes()
    digest = hashlib.sha256(dockerfile + b"\0" + busybox).hexdigest()
    client = _connect(host)
    try:
        if _digest_of_image(client) == digest:
            return False
        context = _context({"Dockerfile": (dockerfile, 0o644), "busybox": (busybox, 0o755)})
        steps: list[dict[str, Any]] = list(
            client.build(
                fileobj=context,
                custom_context=True,
                tag=IMAGE,
                labels={LABEL: digest},
                network_mode="none",  # an engine without a bridge builds it as well
                rm=True,
                forcerm=True,
                decode=True,
            )
        )
        errors = [step["error"] for step in steps if "error" in step]
        if errors:
            raise BuildError(f"the build of {IMAGE} failed: {errors[0]}")
        return True
    except docker.errors.APIError as error:
        raise BuildError(f"the engine refused the build of {IMAGE}: {error}") from error
    finally:
        client.close()


def find_busybox() -> Path:
    """The machine's static busybox; as root on a Debian-like system it is installed when it is missing."""
    found = _static_busybox()
    if found is None and os.geteuid() == 0 and shutil.which("apt-get"):
        print("sample image: no static busybox here; installing busybox-static with apt-get", flush=True)
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        for arguments in (["update"], ["install", "-y", "--no-install-recommends", "busybox-static"]):
            command = ["apt-get", "-q", *arguments]
            if subprocess.run(command, check=False, stdout=subprocess.DEVNULL, env=environment).returncode:
                raise BuildError(f"`{' '.join(command)}` failed (see above)")
        found = _static_busybox()
    if found is None:
        raise BuildError("no static busybox here: `apt-get install busybox-static`, or your system's equal")
    return found


def _static_busybox() -> Path | None:
    places = (shutil.which("busybox"), "/bin/busybox", "/usr/bin/busybox", shutil.which("busybox-static"))
    return next((Path(place) for place in places if place and _is_static(Path(place))), None)


def _is_static(program: Path) -> bool:
    """True for an ELF program that asks for no interpreter (dynamic loader)."""
    try:
        data = program.read_bytes()
    except OSError:
        return False
    if data[:4] != b"\x7fELF":
        return False
    wide, order = data[4] == 2, "<" if data[5] == 1 else ">"
    offset = struct.unpack_from(order + ("Q" if wide else "I"), data, 0x20 if wide else 0x1C)[0]
    size, count = struct.unpack_from(order + "HH", data, 0x36 if wide else 0x2A)
    types = (struct.unpack_from(order + "I", data, offset + n * size)[0] for n in range(count))
    return _PT_INTERP not in types


def _connect(host: str | None) -> Any:
    try:
        if host is not None:
            return docker.APIClient(base_url=host, version="auto", timeout=60)
        return docker.from_env(version="auto", timeout=60).api
    except docker.errors.DockerException as error:
        place = host or os.environ.get("DOCKER_HOST", "its default place")
        raise BuildError(f"no engine answers at {place}: {error}") from error


def _digest_of_image(client: Any) -> str | None:
    try:
        labels = client.inspect_image(IMAGE)["Config"].get("Labels") or {}
    except docker.errors.ImageNotFound:
        return None
    value = labels.get(LABEL)
    return str(value) if value else None


def _context(files: dict[str, tuple[bytes, int]]) -> io.BytesIO:
    result = io.BytesIO()
    with tarfile.open(fileobj=result, mode="w") as archive:
        for name, (content, mode) in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), mode
            archive.addfile(entry, io.BytesIO(content))
    result.seek(0)
    return result


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=f"Builds {IMAGE}.")
    parser.add_argument("--host", help="the engine, e.g. unix:///var/run/docker.sock (default: DOCKER_HOST)")
    host = parser.parse_args().host
    try:
        made = build(host)
    except BuildError as error:
        print(f"sample image: {error}", file=sys.stderr)
        return 1
    if made:
        print(f"sample image: built {IMAGE}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

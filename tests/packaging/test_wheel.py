"""The package as people get it: built as for a release, installed by pip where there is no checkout, and run."""

from __future__ import annotations

import email
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

from controller import __version__
from rig.programs import missing
from rig.shared import once
from rig.waiting import wait_until

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the source archive and the wheel in `dist`; what the tools said is in `said` beside it."""
    return once(tmp_path_factory, "built", _build)


def _build(folder: Path) -> None:
    # From a copy: a build leaves folders behind, and an old `build/` would find its way into the wheel.
    source = folder / "source"
    ignored = shutil.ignore_patterns(
        ".git", ".venv", "var", "build", "dist", ".*_cache", "*.egg-info", "__pycache__"
    )
    shutil.copytree(ROOT, source, ignore=ignored)
    done = subprocess.run(
        [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder / "dist"), str(source)],
        capture_output=True, text=True, check=False, timeout=120,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "", "PYTHONWARNINGS": "default"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    (folder / "said").write_text(done.stdout + done.stderr)


@pytest.fixture(scope="session")
def installed(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `homeport` program of a virtual environment that knows nothing of this checkout."""
    (wheel,) = (built / "dist").glob("*.whl")

    def make(folder: Path) -> None:
        venv.create(folder / "venv", with_pip=True)
        done = subprocess.run(
            [str(folder / "venv/bin/python"), "-m", "pip", "--disable-pip-version-check", "install", "-q",
             "-c", str(ROOT / "constraints.txt"), str(wheel)],
            capture_output=True, text=True, check=False, timeout=300, cwd=folder,
        )  # fmt: skip
        if done.returncode and "No matching distribution" in done.stderr:
            missing(f"needs a package index: {done.stderr.strip().splitlines()[-1]}")
        assert done.returncode == 0, done.stderr

    return once(tmp_path_factory, "installed", make) / "venv/bin/homeport"


def _run(program: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(program), *arguments], env=_environment(program), cwd=program.parent,
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip


def _environment(program: Path) -> dict[str, str]:
    home = program.parents[2]
    return {
        "PATH": "/usr/bin:/bin", "DOCKER_HOST": "unix:///nonexistent.sock",
        "HOMEPORT_APPS": str(home / "apps"), "HOMEPORT_STATE": str(home / "state"),
    }  # fmt: skip


def test_the_build_says_no_word_of_warning(built: Path) -> None:
    said = (built / "said").read_text()
    assert not [line for line in said.splitlines() if "warning" in line.lower() or "deprecat" in line.lower()]


def test_the_wheel_holds_the_typed_package_and_nothing_else(built: Path) -> None:
    (wheel,) = (built / "dist").glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names} == {"controller", f"homeport-{__version__}.dist-info"}
    assert "controller/py.typed" in names
    packed = {name for name in names if name.startswith("controller/")}
    there = {
        str(path.relative_to(ROOT)) for path in (ROOT / "controller").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }  # fmt: skip
    assert packed == there


def test_the_version_is_said_in_one_place(built: Path) -> None:
    (wheel,) = (built / "dist").glob("*.whl")
    metadata = zipfile.ZipFile(wheel).read(f"homeport-{__version__}.dist-info/METADATA").decode()
    assert email.message_from_string(metadata)["Version"] == __version__
    assert f'"{__version__}"' not in (ROOT / "setup.cfg").read_text()
    assert f"version = {__version__}" not in (ROOT / "setup.cfg").read_text()


def test_the_source_archive_is_the_checkout(built: Path) -> None:
    (archive,) = (built / "dist").glob("*.tar.gz")
    with tarfile.open(archive) as tar:
        packed = {name.partition("/")[2] for name in tar.getnames() if "/" in name}
    if not (ROOT / ".git").exists():
        pytest.skip("this is no checkout: the archive has nothing to be compared with")
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True)
    there = {name for name in listed.stdout.splitlines() if (ROOT / name).exists()}
    assert there - packed == set()


def test_what_is_installed_runs_where_there_is_no_checkout(installed: Path) -> None:
    assert f"homeport {__version__}" in _run(installed, "version").stdout
    assert "Keeps Docker Compose apps" in _run(installed, "--help").stdout
    assert '"display_name"' in _run(installed, "schema").stdout
    good = _run(installed, "validate", str(ROOT / "manifests/hello"))
    assert good.returncode == 0, good.stdout + good.stderr
    doctor = _run(installed, "doctor")
    assert doctor.returncode == 1
    assert "engine" in doctor.stdout


def test_what_is_installed_serves_until_it_is_told_to_stop(installed: Path) -> None:
    folder = installed.parents[2]
    (folder / "apps").mkdir(exist_ok=True)
    log = folder / "log"
    with log.open("wb") as out:
        service = subprocess.Popen(
            [str(installed), "run", "--log-format=json"], env=_environment(installed), stdout=out, stderr=out,
            stdin=subprocess.DEVNULL, cwd=folder,
        )  # fmt: skip
    try:
        wait_until(
            lambda: "engine.lost" in log.read_text() or service.poll() is not None,
            "it looks for its engine",
            30,
        )
        status = _run(installed, "status", "-o", "json")
        assert '"running": true' in status.stdout, log.read_text() + status.stderr
        service.send_signal(signal.SIGTERM)
        assert service.wait(30) == 0
    finally:
        service.kill()
        service.wait()
    assert "service.stopped" in log.read_text()

"""deploy/install.sh and deploy/uninstall.sh, run for real in a folder that stands for the root of a machine."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from controller import __version__
from rig.programs import find_program, missing
from rig.shared import once

ROOT = Path(__file__).parents[2]
SCRIPTS = [ROOT / "deploy" / name for name in ("install.sh", "uninstall.sh", "ensure-engine")]
UNIT = "etc/systemd/system/homeport.service"


def run(
    script: str, *arguments: str, checkout: Path = ROOT, **environment: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(checkout / "deploy" / script), *arguments], env={**os.environ, **environment}, stdin=subprocess.DEVNULL,
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip


def install(root: Path, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    done = run("install.sh", "--root", str(root), *arguments, **more)
    if done.returncode and "No matching distribution" in done.stderr:
        missing(f"needs a package index: {done.stderr.strip().splitlines()[-1]}")
    return done


def snapshot(root: Path) -> dict[str, object]:
    """All that there is, with what tells a file from one that was written anew."""
    return {
        str(path.relative_to(root)): path.readlink() if path.is_symlink() else (path.lstat().st_ino, path.lstat().st_mtime_ns)
        for path in root.rglob("*")
        if "__pycache__" not in path.parts and not path.is_dir()
    }  # fmt: skip


@pytest.fixture(scope="session")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root into which Homeport was installed. It takes seconds, so all tests share it, and none changes it."""

    def make(root: Path) -> None:
        done = install(root)
        assert done.returncode == 0, done.stdout + done.stderr

    return once(tmp_path_factory, "machine", make)


@pytest.fixture
def copy(machine: Path, tmp_path: Path) -> Path:
    """The same for one test alone; the release in it is a link to the shared one."""
    root = tmp_path / "root"
    (release,) = (machine / "opt/homeport/releases").iterdir()
    shutil.copytree(
        machine, root, symlinks=True, ignore=lambda folder, _: [release.name] * folder.endswith("releases")
    )
    (root / "opt/homeport/releases" / release.name).symlink_to(release)
    return root


def test_what_is_installed_runs_and_starts_at_boot(machine: Path) -> None:
    program = machine / "opt/homeport/current/bin/homeport"
    said = subprocess.run(
        [program, "version"], capture_output=True, text=True, check=False, timeout=60
    ).stdout
    assert f"homeport {__version__}" in said
    assert (machine / "usr/local/bin/homeport").readlink() == Path("/opt/homeport/current/bin/homeport")
    assert (machine / UNIT).read_bytes() == (ROOT / "deploy/homeport.service").read_bytes()
    assert "ExecStart=/opt/homeport/current/bin/homeport run\n" in (machine / UNIT).read_text()
    if shutil.which("systemctl"):
        assert (machine / "etc/systemd/system/multi-user.target.wants/homeport.service").is_symlink()


def test_only_root_reads_the_state_and_the_settings(machine: Path) -> None:
    assert (machine / "var/lib/homeport/state").stat().st_mode & 0o777 == 0o700
    assert (machine / "etc/homeport/homeport.toml").stat().st_mode & 0o777 == 0o640
    assert not (machine / "var/lib/homeport/apps").stat().st_mode & 0o022


def test_the_sample_settings_are_settings(machine: Path) -> None:
    from controller.places import read_file
    from controller.settings import Settings

    sample = (machine / "etc/homeport/homeport.toml").read_text()
    said = [
        line.removeprefix("# ") for line in sample.splitlines() if line.startswith("# ") and " = " in line
    ]
    assert len(said) > 3
    file = machine.parent / "sample.toml"
    file.write_text("\n".join(said))
    Settings(**read_file(file))


def test_installing_again_changes_nothing(machine: Path) -> None:
    before = snapshot(machine)
    done = install(machine)
    assert done.returncode == 0
    assert "installed already" in done.stdout
    assert snapshot(machine) == before


def test_a_dry_run_does_nothing_and_says_what_would_be_done(tmp_path: Path) -> None:
    done = install(tmp_path, "--dry-run")
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.iterdir()) == []
    assert f"would install Homeport {__version__}" in done.stdout
    assert "homeport.service" in done.stdout


def test_settings_and_the_apps_are_never_touched_again(copy: Path) -> None:
    settings, app = copy / "etc/homeport/homeport.toml", copy / "var/lib/homeport/apps/web"
    settings.write_text("workers = 2\n")
    app.mkdir()
    (app / "manifest.json").write_text("{}")
    assert install(copy).returncode == 0
    assert run("uninstall.sh", "--root", str(copy)).returncode == 0
    assert settings.read_text() == "workers = 2\n"
    assert (app / "manifest.json").exists()


def test_an_upgrade_that_fails_leaves_what_was_installed(copy: Path, tmp_path: Path) -> None:
    newer = tmp_path / "newer"
    ignored = shutil.ignore_patterns(".git", ".venv", "var", "__pycache__", ".*_cache")
    shutil.copytree(ROOT, newer, ignore=ignored)
    package = newer / "controller/__init__.py"
    package.write_text(package.read_text().replace(__version__, "99.0.0"))
    before = (copy / "opt/homeport/current").readlink()
    done = run("install.sh", "--root", str(copy), checkout=newer, PIP_NO_INDEX="1", PIP_FIND_LINKS="")
    assert done.returncode == 1
    assert "what was installed before is as it was" in done.stderr
    assert (copy / "opt/homeport/current").readlink() == before
    assert [path.name for path in (copy / "opt/homeport/releases").iterdir()] == [before.name]


def test_an_upgrade_keeps_the_release_before_it_and_no_older_ones(copy: Path) -> None:
    releases = copy / "opt/homeport/releases"
    for earlier in ("0.0.1-aaa", "0.0.2-bbb"):
        (releases / earlier).mkdir()
    current = copy / "opt/homeport/current"
    now = current.readlink()
    current.unlink()
    current.symlink_to("releases/0.0.2-bbb")
    assert install(copy).returncode == 0
    assert current.readlink() == now
    assert {path.name for path in releases.iterdir()} == {"0.0.2-bbb", now.name}


def test_uninstalling_takes_the_program_and_leaves_what_is_the_persons(copy: Path) -> None:
    (copy / "opt/homeport/notes").write_text("mine")
    done = run("uninstall.sh", "--root", str(copy))
    assert done.returncode == 0, done.stderr
    left = {name.split("/", 3)[0] + "/" + name.split("/", 3)[1] for name in snapshot(copy)}
    assert left == {"etc/homeport", "opt/homeport"}
    assert (copy / "opt/homeport/notes").exists()
    assert (copy / "var/lib/homeport/apps").is_dir()
    assert (copy / "var/lib/homeport/state").is_dir()
    assert str(copy / "var/lib/homeport/apps") in done.stdout
    again = run("uninstall.sh", "--root", str(copy))
    assert again.returncode == 0, again.stderr


def test_another_program_of_that_name_stays(copy: Path) -> None:
    command = copy / "usr/local/bin/homeport"
    command.unlink()
    command.write_text("#!/bin/sh\n")
    assert "is another program, and stays" in install(copy).stdout
    assert run("uninstall.sh", "--root", str(copy)).returncode == 0
    assert command.read_text() == "#!/bin/sh\n"


def test_a_python_that_is_too_old_is_said_with_what_to_do(tmp_path: Path) -> None:
    old = tmp_path / "python3.9"
    old.write_text('#!/bin/sh\n[ "$1" = --version ] && echo "Python 3.9.2" && exit 0\nexit 1\n')
    old.chmod(0o755)
    done = install(tmp_path, PYTHON=str(old))
    assert done.returncode == 3
    assert "Python 3.9.2 is older than 3.11" in done.stderr


@pytest.mark.parametrize("script", ["install.sh", "uninstall.sh"])
@pytest.mark.parametrize("wrong", [["--help"], ["--root"], ["--root", "/nonexistent"], ["now"]])
def test_wrong_use_says_the_right_one_and_does_nothing(script: str, wrong: list[str]) -> None:
    done = run(script, *wrong)
    assert done.returncode == 2
    assert "--root" in done.stderr


@pytest.mark.parametrize("script", ["install.sh", "uninstall.sh"])
def test_without_root_it_asks_for_it(script: str) -> None:
    nobody: Callable[[], None] | None = (lambda: os.setuid(65534)) if os.geteuid() == 0 else None
    done = subprocess.run(
        ["bash", "-s"], input=(ROOT / "deploy" / script).read_text(), capture_output=True, text=True, check=False,
        timeout=30, preexec_fn=nobody, cwd="/",
    )  # fmt: skip
    assert done.returncode == 3
    assert "this needs root" in done.stderr


def test_the_scripts_are_clean_for_shellcheck() -> None:
    program = find_program("shellcheck", "shellcheck")
    done = subprocess.run(
        [program, *SCRIPTS, ROOT / ".ci/run"], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.stdout == ""
    assert done.returncode == 0

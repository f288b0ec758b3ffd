"""Watching and reading under trouble: what the kernel drops, limits, covers or refuses, and what people do to files."""

from __future__ import annotations

import mmap
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from controller.manager import Manager
from rig.engine import children
from rig.inside import service_in_this_process
from rig.service import SLEEPER, Home, ready_of
from rig.waiting import wait_until

pytestmark = pytest.mark.engine

until = partial(wait_until, timeout=40.0)
"""A busy machine takes its time."""

NEVER = "3600"
"""Seconds until a scan that is not to find anything before the test has ended."""


def word(number: int | str) -> str:
    """A compose file with this word in it."""
    return SLEEPER + f"    environment: {{WORD: '{number}'}}\n"


def edit(folder: Path, number: int | str) -> None:
    """As a careful person saves: in one rename."""
    new = folder / ".docker-compose.yaml.swp"
    new.write_text(word(number))
    new.replace(folder / "docker-compose.yaml")


def arrives(home: Home, short: str, number: int | str, timeout: float = 40) -> None:
    until(
        lambda: home.env_of(short).get("WORD") == str(number),
        f"{number} arrives in {short}; the log ends: {home.log()[-3:]}",
        timeout=timeout,
    )
    home.wait(short, "Ready")


def said(home: Home, event: str, words: str) -> bool:
    return any(words in line["message"] for line in home.log(event))


def ups(home: Home, short: str) -> int:
    return sum(line["kind"] == "compose_up" for line in home.log("action.done", short))


# -- the kernel says too little --------------------------------------------------------------------------


@pytest.mark.fault("A01")
def test_what_was_dropped_by_an_overflow_is_found_at_once_and_said(home: Home) -> None:
    home.settings |= {"rescan": NEVER, "resync": NEVER}
    folder = home.put("web", word(1))
    home.put("other")
    home.start()
    arrives(home, "web", 1)
    home.wait("other", "Ready")
    before = home.ids("other")
    assert home.process is not None
    home.process.send_signal(signal.SIGSTOP)
    try:
        limit = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
        noise = folder / "noise"
        for _ in range(limit // 3 + 1000):  # made, closed and gone: three events each
            os.close(os.open(noise, os.O_CREAT | os.O_WRONLY))
            noise.unlink()
        edit(folder, 2)
        home.put("new", word(3))
    finally:
        home.process.send_signal(signal.SIGCONT)
    arrives(home, "web", 2)
    arrives(home, "new", 3)
    assert said(home, "tree.overflow", "the kernel dropped events")
    edit(folder, 4)  # and is heard again
    arrives(home, "web", 4)
    assert home.ids("other") == before
    assert len(home.log("tree.overflow")) == 1


def limited(name: str, value: int) -> tuple[str, ...]:
    """Runs the service in a user namespace of its own, with this limit of inotify; the machine's is as it was."""
    script = f'echo {value} > /proc/sys/user/{name} && exec "$@"'
    return ("unshare", "--user", "--map-root-user", "sh", "-c", script, "sh")


def raise_limit(home: Home, name: str) -> None:
    assert home.process is not None
    script = f"echo 10000 > /proc/sys/user/{name}"
    subprocess.run(
        ["nsenter", f"--target={home.process.pid}", "--user", "--preserve-credentials", "sh", "-c", script],
        check=True,
    )


@pytest.mark.fault("A02")
@pytest.mark.fault("A10")
@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("max_inotify_watches", 2, "fs.inotify.max_user_watches"),
        ("max_inotify_instances", 0, "fs.inotify.max_user_instances"),
    ],
)
def test_without_inotify_every_edit_is_found_by_the_scan_until_the_limit_is_raised(
    home: Home, name: str, value: int, words: str
) -> None:
    home.settings["rescan"] = "0.5"
    home.wrapper = limited(name, value)
    folders = {short: home.put(short, word(1)) for short in ("a", "b", "c", "d")}
    home.start()
    for short in folders:
        arrives(home, short, 1)
    (line,) = home.log("tree.unwatched")
    assert words in line["message"]
    assert "changes are found by a scan every 0.5 s" in line["message"]
    assert words in home.run("status").stdout
    before = home.ids("a")
    for short in ("b", "d"):
        edit(folders[short], 2)
    for short in ("b", "d"):
        arrives(home, short, 2)
    # An edit by way of another mount namespace, as from another container or machine.
    script = f"sed -i s/\"'1'\"/\"'2'\"/ {folders['c']}/docker-compose.yaml"
    subprocess.run(["unshare", "--mount", "sh", "-c", script], check=True)
    arrives(home, "c", 2)
    raise_limit(home, name)
    until(lambda: home.log("tree.watched"), "the log says that all is watched")
    assert home.ids("a") == before
    assert len(home.log("tree.unwatched")) == 1, "it is said once"
    assert not home.log("tree.overflow"), "a limit is none"
    assert words not in home.run("status").stdout


# -- the watcher breaks ----------------------------------------------------------------------------------


def lose_the_descriptor(manager: Manager) -> None:
    assert manager.watcher is not None
    assert manager.watcher._reader is not None
    with open(os.devnull, "rb") as other:  # noqa: PTH123
        os.dup2(other.fileno(), manager.watcher._reader._inotify_fd)


def end_the_thread(manager: Manager) -> None:
    assert manager.watcher is not None
    with manager.watcher._lock:  # no scan looks between the two: a reader that is about to end is deaf
        reader = manager.watcher._reader
        assert reader is not None
        reader.stop()
        reader.join(5)


def make_the_handler_raise(manager: Manager) -> None:
    watcher = manager.watcher
    assert watcher is not None
    tell = watcher._on_key

    def raises_once(key: str) -> None:
        watcher._on_key = tell
        raise RuntimeError(f"no room for {key}")

    watcher._on_key = raises_once


@pytest.mark.fault("A03")
@pytest.mark.parametrize(
    ("trouble", "words"),
    [
        (make_the_handler_raise, "an event could not be handled"),
        (end_the_thread, "the thread of the watcher had ended"),
        (lose_the_descriptor, "the watcher had gone deaf"),
    ],
)
def test_a_watcher_that_breaks_is_replaced_said_and_nothing_is_missed(
    home: Home, monkeypatch: pytest.MonkeyPatch, trouble: Callable[[Manager], None], words: str
) -> None:
    folder = home.put("web", word(1))
    with service_in_this_process(home, rescan="1", resync=NEVER) as (manager, told):
        arrives(home, "web", 1)
        trouble(manager)
        edit(folder, 2)
        arrives(home, "web", 2)
        until(lambda: any(words in event.message for event in told), f"it is said: {words}")
        assert manager.watcher is not None
        until(lambda: manager.watcher and not manager.watcher.healthy(), "all is watched")
        assert sum(event.name == "tree.unheard" for event in told) == 1
        assert not {"tree.overflow", "tree.replaced", "tree.unwatched"} & {event.name for event in told}
        # By the watcher alone, and no scan:
        monkeypatch.setattr(manager, "rescan", lambda: None)
        edit(folder, 3)
        arrives(home, "web", 3)


# -- the root ----------------------------------------------------------------------------------------------


@pytest.mark.fault("A04")
def test_a_root_that_is_renamed_and_made_anew_is_followed_by_its_path_and_restarts_nothing(
    home: Home,
) -> None:
    home.settings |= {"rescan": "0.5", "removal-settle": "2"}
    for short in ("a", "b", "c"):
        home.put(short, word(1))
    home.start()
    for short in ("a", "b", "c"):
        arrives(home, short, 1)
    before = home.ids()
    old = home.apps.with_name("apps.old")
    home.apps.rename(old)
    shutil.copytree(old, home.apps, symlinks=True)
    edit(old / home.name("a"), "old")
    edit(home.apps / home.name("b"), 2)
    arrives(home, "b", 2)
    edit(old / home.name("b"), "old")

    for entry in list(
        home.apps.iterdir()
    ):  # what `rm -rf apps; cp -a` does, with the root gone for a moment, too
        shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
    home.apps.rmdir()
    until(lambda: home.log("tree.lost"), "the log says so")
    new = home.apps.with_name("apps.new")
    shutil.copytree(old, new, symlinks=True)
    edit(new / home.name("a"), 1)
    edit(new / home.name("b"), 2)
    new.rename(home.apps)
    until(lambda: home.log("tree.back"), "the log says so")
    edit(home.apps / home.name("c"), 3)
    arrives(home, "c", 3)
    edit(old / home.name("c"), "old")
    edit(home.apps / home.name("b"), 4)  # whatever the edit of the old tree had caused would have come before
    arrives(home, "b", 4)
    assert home.ids("a") == {name: who for name, who in before.items() if name.startswith(home.name("a"))}
    assert "old" not in {home.env_of(short)["WORD"] for short in ("a", "b", "c")}
    assert not home.log("app.removed")
    assert not home.log("app.removing")


@contextmanager
def covered(folder: Path) -> Iterator[None]:
    """Another disk is mounted there; at the end it is unmounted as people do, and nobody may keep it busy."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m,mode=0755", "cover", str(folder)], check=True)
    try:
        yield
    except BaseException:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
        raise
    if busy := subprocess.run(["umount", str(folder)], check=False, capture_output=True).stderr:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
        pytest.fail(f"it cannot be unmounted: {busy!r}")


@pytest.mark.fault("A05")
def test_the_root_of_another_homeport_mounted_over_ours_is_left_to_it(home: Home, tmp_path: Path) -> None:
    home.settings |= {"rescan": "0.5"}
    home.put("a", word(1))
    home.start()
    arrives(home, "a", 1)
    before = home.ids()
    (tmp_path / "other").mkdir()
    other = Home(tmp_path / "other", home.engine, home.prefix)
    shutil.copy(home.apps / ".homeport", other.apps)
    other.start()
    try:
        subprocess.run(["mount", "--bind", other.apps, home.apps], check=True)
        try:
            until(lambda: said(home, "tree.lost", f"Homeport, pid {other.process.pid}"), "it is said")  # type: ignore[union-attr]
            shutil.copytree(home.put("a", word(2), into=tmp_path), other.apps / home.name("a"))
            other.wait("a", "Invalid")  # a project of that name runs from elsewhere
            home.run("reconcile")
            status = home.wait("a", "Unknown")
            assert "is kept by a running Homeport" in ready_of(status)["message"]
            assert home.ids() == before
            shutil.rmtree(other.apps / home.name("a"))
            other.stop()
            until(lambda: home.log("tree.back"), "whoever is left keeps it")
        finally:
            subprocess.run(["umount", "--lazy", home.apps], check=True)
        edit(home.apps / home.name("a"), 3)
        arrives(home, "a", 3)
    finally:
        other.stop()


@pytest.mark.fault("A05")
def test_a_root_that_something_is_mounted_over_stops_nothing_and_every_app_says_so(home: Home) -> None:
    home.settings |= {"rescan": "0.5", "removal-settle": "1"}
    for short in ("a", "b"):
        home.put(short, word(1))
    home.start()
    for short in ("a", "b"):
        arrives(home, short, 1)
    before = home.ids()
    with covered(home.apps):
        until(lambda: home.log("tree.lost"), "the log says so")
        for short in ("a", "b"):
            status = home.wait(short, "Unknown")
            assert ready_of(status)["reason"] == "SourceUnavailable"
            assert "is its disk mounted?" in ready_of(status)["message"]
        home.kill9()
        home.start()  # while it is covered, too
        until(lambda: len(home.log("tree.lost")) == 2, "the log says so again")
        home.run("reconcile")
        assert home.ids() == before
        assert not list(home.apps.iterdir()), "nothing was written into what is not ours"
    until(lambda: home.log("tree.back"), "the log says so")
    edit(home.apps / home.name("a"), 2)
    arrives(home, "a", 2)
    home.wait("b", "Ready")
    assert home.ids("b") == {name: who for name, who in before.items() if name.startswith(home.name("b"))}
    assert not home.log("app.removing")


# -- what cannot be read ----------------------------------------------------------------------------------

MERE_ROOT = ("setpriv", "--bounding-set=-dac_override,-dac_read_search")
"""Runs the service as a root to whom the modes of files apply, as for one in a container without these rights."""


@contextmanager
def mode(path: Path, bits: int) -> Iterator[None]:
    before = path.stat().st_mode & 0o7777
    path.chmod(bits)
    try:
        yield
    finally:
        path.chmod(before)


@contextmanager
def dead_mount(folder: Path) -> Iterator[None]:
    """A file system whose server has died, as a network share: each look at it is an ENOTCONN."""
    device = os.open("/dev/fuse", os.O_RDWR)
    try:
        options = f"fd={device},rootmode=40000,user_id=0,group_id=0"
        subprocess.run(
            ["mount", "-i", "-t", "fuse", "-o", options, "dead", str(folder)], check=True, pass_fds=[device]
        )
    finally:
        os.close(device)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.fault("A06")
@pytest.mark.parametrize(
    ("trouble", "what", "words"),
    [
        (lambda path: mode(path, 0), "", "cannot be read: Permission denied"),
        (lambda path: mode(path, 0), "docker-compose.yaml", "cannot be read: Permission denied"),
        pytest.param(
            lambda path: mode(path, 0),
            "scripts",
            "cannot be read: Permission denied",
            marks=pytest.mark.slow,
        ),
        (dead_mount, "", "Transport endpoint is not connected"),
    ],
    ids=["folder", "file", "inner folder", "dead mount"],
)
def test_an_app_that_cannot_be_read_is_unknown_and_all_others_go_on(
    home: Home, trouble: Callable[[Path], Any], what: str, words: str
) -> None:
    home.settings |= {"rescan": "0.5", "resync": "2", "removal-settle": "1"}
    home.wrapper = MERE_ROOT
    folder = home.put("sick", word(1), {"scripts/hook.sh": "true\n"})
    home.put("fine", word(1))
    home.start()
    for short in ("sick", "fine"):
        arrives(home, short, 1)
    before = home.ids()
    with trouble(folder / what if what else folder):
        status = home.wait("sick", "Unknown")
        assert ready_of(status)["reason"] == "SourceUnavailable"
        assert words in ready_of(status)["message"]
        assert home.name("sick") in ready_of(status)["message"]
        home.put("new", word(1))
        arrives(home, "new", 1)
        edit(home.apps / home.name("new"), 2)
        arrives(home, "new", 2)
        said_before = len(home.log(short="sick"))
        home.run("reconcile")
        assert len(home.log(short="sick")) == said_before, "what stays as it is is not said again"
    home.wait("sick", "Ready")
    assert {name: who for name, who in home.ids().items() if name in before} == before
    assert not home.log("app.removing")
    assert not said(home, "tree.unwatched", "cannot be listed"), "the others are watched all the while"
    edit(folder, 2)
    arrives(home, "sick", 2)


@pytest.mark.fault("A06")
def test_a_root_that_cannot_be_read_is_lost_and_stops_nothing(home: Home) -> None:
    home.settings |= {"rescan": "0.5", "removal-settle": "1"}
    home.wrapper = MERE_ROOT
    for short in ("a", "b"):
        home.put(short)
    home.start()
    for short in ("a", "b"):
        home.wait(short, "Ready")
    before = home.ids()
    with mode(home.apps, 0):
        until(lambda: said(home, "tree.lost", "cannot be read; check its owner and mode"), "it is said")
        for short in ("a", "b"):
            home.wait(short, "Unknown")
    until(lambda: home.log("tree.back"), "the log says so")
    for short in ("a", "b"):
        home.wait(short, "Ready")
    assert home.ids() == before


# -- how people and tools save ------------------------------------------------------------------------------

THREE = "services:\n" + "".join(
    f"  {name}:\n" + SLEEPER.removeprefix("services:\n").removeprefix("  main:\n")
    for name in ("one", "two", "three")
)


def written_in_pieces(file: Path, text: str, pauses: dict[int, float]) -> None:
    """As a slow link does, in place; `pauses` are seconds after so many bytes."""
    with file.open("r+b", buffering=0) as out:
        out.truncate(0)
        for at in range(0, len(text), 16):
            out.write(text.encode()[at : at + 16])
            time.sleep(sum(pause for after, pause in pauses.items() if at <= after < at + 16) or 0.05)


@pytest.mark.fault("A07")
def test_a_slow_save_is_acted_on_once_and_a_pause_in_it_takes_down_no_service(home: Home) -> None:
    home.settings |= {"settle": "0.3", "removal-settle": "4"}
    folder = home.put("slow", THREE)
    home.put("other")
    home.start()
    home.wait("slow", "Ready")
    home.wait("other", "Ready")
    before = home.ids()
    text = THREE.replace('["sleep", "100000"]', '["sleep", "200000"]', 1)
    cut = text.index("  three:")  # what is there until then is a whole app, of two services
    ended = next(at for at in range(0, cut, 16) if at + 16 > cut)
    text = text[:cut].ljust(ended + 16, "\n") + text[cut:]  # the piece ends where that app does
    written_in_pieces(folder / "docker-compose.yaml", text, {ended: 2.0})
    until(
        lambda: (
            (home.status("slow") or {}).get("summary") == "Ready"
            and home.containers("slow")[f"{home.name('slow')}-one-1"]["Config"]["Cmd"][1] == "200000"
        ),
        "what was written last runs",
    )
    assert any(
        "service three is no longer in the files" in line["message"] for line in home.log(short="slow")
    )
    after = home.ids()
    changed = {name for name in before if after[name] != before[name]}
    assert changed == {f"{home.name('slow')}-one-1"}
    assert ups(home, "slow") == 2, "the install and one re-creation"


def vim(file: Path, number: int) -> None:
    change = f"%s/WORD: '[0-9]*'/WORD: '{number}'/"
    command = [
        "vim",
        "-u",
        "NONE",
        "-N",
        "-es",
        "-c",
        "set backup writebackup swapfile",
        "-c",
        change,
        "-c",
        "wq",
    ]
    subprocess.run([*command, file.name], cwd=file.parent, check=True, stdin=subprocess.DEVNULL)


def ed(file: Path, number: int) -> None:
    script = f",s/WORD: '[0-9]*'/WORD: '{number}'/\nw\nq\n"
    subprocess.run(["ed", "-s", str(file)], input=script, text=True, check=True)


def sed(file: Path, number: int) -> None:
    subprocess.run(["sed", "-i.bak", f"s/WORD: '[0-9]*'/WORD: '{number}'/", str(file)], check=True)


def code(file: Path, number: int) -> None:
    """As editors of today: beside it, then renamed over it."""
    new = file.with_name(f"{file.name}.tmp.1234")
    new.write_text(word(number))
    new.replace(file)


def link_and_unlink(file: Path, number: int) -> None:
    """As emacs with backups by copying: the old file stays as a backup, and a lock is a link to nothing."""
    lock = file.with_name(f".#{file.name}")
    lock.symlink_to("me@host.1:1")
    shutil.copy2(file, file.with_name(f"{file.name}~"))
    file.write_text(word(number))
    lock.unlink()


@pytest.mark.fault("A08")
def test_each_save_of_a_real_editor_is_one_generation_and_what_it_leaves_is_no_app(home: Home) -> None:
    home.settings["settle"] = "0.5"
    folder = home.put("web", word(0))
    home.start()
    arrives(home, "web", 0)
    ways = [way for way in (vim, ed, sed) if shutil.which(way.__name__)] + [code, link_and_unlink]
    for number, way in enumerate(ways, 1):
        way(folder / "docker-compose.yaml", number)
        arrives(home, "web", number)
        assert (home.status("web") or {})["generation"] == number + 1, f"{way.__name__} saves once"
    for junk in (".compose.yaml.swp", "compose.yaml~", "4913", "compose.yaml.rpmnew", "docker-compose.yaml.bak",
                 ".~lock.compose.yaml#", ".DS_Store", ".#compose.yaml"):  # fmt: skip
        (folder / junk).write_text("services: {rogue: {image: 'homeport/sample:1'}}\n")
    for copy in (f"{folder.name}~", f".{folder.name}.swp", f"{folder.name}.bak", f"_{folder.name}"):
        shutil.copytree(folder, home.apps / copy)
    before = home.ids()
    edit(folder, 99)
    arrives(home, "web", 99)
    assert set(home.ids()) == set(before) == {f"{home.name('web')}-main-1"}
    assert (home.status("web") or {})["generation"] == len(ways) + 2
    assert {line["app"] for line in home.log("app.discovered")} == {home.name("web")}


@pytest.mark.fault("A09")
@pytest.mark.slow
def test_steady_noise_in_one_app_starves_neither_it_nor_its_neighbour(home: Home) -> None:
    noisy = home.put("noisy", word(0) + "    volumes: ['./data.db:/data.db']\n", {"data.db": "0"})
    calm = home.put("calm", word(0))
    home.start()
    for short in ("noisy", "calm"):
        arrives(home, short, 0)
    began, number, heard = time.monotonic(), 0, False
    while time.monotonic() - began < 14:  # longer than an edit may be put off by the next one
        number += 1
        (noisy / "data.db").write_text(str(number))
        new = noisy / ".docker-compose.yaml.swp"
        new.write_text(word(number) + "    volumes: ['./data.db:/data.db']\n")
        new.replace(noisy / "docker-compose.yaml")
        if number == 100:
            edit(calm, 1)
        time.sleep(0.005)
        if number % 50 == 0 and number > 100:
            heard = heard or home.env_of("calm")["WORD"] == "1"
    assert heard, "the neighbour's edit arrived while the noise went on"
    arrives(home, "noisy", number)
    assert len(home.log("app.changed", "noisy")) <= 4


STUBBORN = SLEEPER.replace(
    '["sleep", "100000"]', """["sh", "-c", "trap '' TERM; while :; do sleep 0.1; done"]"""
).replace("stop_grace_period: 0s", "stop_grace_period: 2s")
"""Takes two seconds to stop, and so to re-create."""


def composes(home: Home) -> int:
    """How many Compose children of the service are changing something at this moment."""
    assert home.process is not None
    found = 0
    for pid in children(home.process.pid):
        with suppress(OSError):
            found += b"\0up\0" in Path("/proc", str(pid), "cmdline").read_bytes()
    return found


@pytest.mark.fault("A11")
@pytest.mark.slow
def test_edits_while_an_edit_is_applied_end_at_the_last_one_and_one_compose_runs_at_a_time(
    home: Home,
) -> None:
    home.settings |= {"settle": "0.3", "rollback": "never"}

    def put(number: int) -> None:
        (folder / "docker-compose.yaml").write_text(STUBBORN + f"    environment: {{WORD: '{number}'}}\n")

    def is_applied() -> bool:
        return composes(home) > 0

    folder = home.put("web", STUBBORN + "    environment: {WORD: '1'}\n")
    home.put("other")
    home.start()
    arrives(home, "web", 1)
    home.wait("other", "Ready")
    other, most = home.ids("other"), 0
    put(2)
    until(is_applied, "2 is being applied")
    put(3)
    put(4)

    def ended(number: int) -> bool:
        nonlocal most
        most = max(most, composes(home))
        return home.env_of("web").get("WORD") == str(number) and home.word("web") == "Ready"

    until(lambda: ended(4), "4 runs")
    put(5)
    until(is_applied, "5 is being applied")
    put(4)
    until(lambda: len(home.log("app.changed", "web")) == 4, "back to 4 is seen")
    until(lambda: ended(4), "4 runs again")
    before, done = home.ids("web"), ups(home, "web")
    put(6)
    put(4)  # within the quiet period: nothing happened
    home.run("reconcile", home.name("web"))
    assert (home.ids("web"), ups(home, "web")) == (before, done)
    assert home.ids("other") == other
    assert most == 1


@pytest.mark.fault("A12")
def test_content_is_found_whatever_size_and_times_say(home: Home, tmp_path: Path) -> None:
    home.settings |= {"rescan": "0.5", "resync": "2"}
    folder = home.put("web", word(1))
    home.start()
    arrives(home, "web", 1)
    file = folder / "docker-compose.yaml"
    was = file.stat()
    file.write_text(word(2))  # as long as the one before, and then as old
    os.utime(file, ns=(was.st_atime_ns, was.st_mtime_ns))
    assert (file.stat().st_size, file.stat().st_mtime_ns) == (was.st_size, was.st_mtime_ns)
    arrives(home, "web", 2)

    for number, moment in ((3, 2**31 + 1000), (4, 0)):  # 2038 and 1970
        file.write_text(word(number))
        os.utime(file, (moment, moment))
        arrives(home, "web", number)

    elsewhere = tmp_path / "elsewhere.yaml"
    os.link(file, elsewhere)  # a change by that name is no event in the app's folder
    elsewhere.write_text(word(5))
    arrives(home, "web", 5)


@pytest.mark.fault("A12")
def test_what_is_written_through_a_memory_map_is_found_by_the_resync(home: Home) -> None:
    home.settings |= {"rescan": "0.5", "resync": "1"}
    with covered(
        home.apps
    ):  # in memory, where such a write changes no time at all; on a disk it is a matter of luck
        folder = home.put("web", word(1), into=home.apps)
        home.start()
        arrives(home, "web", 1)
        file = folder / "docker-compose.yaml"
        was = file.stat()
        with file.open("r+b") as opened, mmap.mmap(opened.fileno(), 0) as mapped:
            at = mapped.find(b"'1'") + 1
            mapped[at : at + 1] = b"2"
        now = file.stat()
        assert (now.st_mtime_ns, now.st_ctime_ns, now.st_size) == (
            was.st_mtime_ns,
            was.st_ctime_ns,
            was.st_size,
        )
        arrives(home, "web", 2)
        home.stop()

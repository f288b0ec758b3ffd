"""Hooks and `.env`: what a script, a provider or a disk does in the middle of it never costs a value or an app."""

from __future__ import annotations

import json
import os
import random
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from controller.source import dotenv
from rig.disks import fill, make_room, read_only, small_disk
from rig.engine import api
from rig.pair import CONSUMER, PROVIDER, hook_processes, in_provider, put_consumer, put_provider
from rig.service import SLEEPER, Home, ready_of
from rig.waiting import wait_until

pytestmark = pytest.mark.engine

GOOD = "echo DB_USER=u\necho DB_PASSWORD=p\necho DB_PORT=1\n"
UPDATED = SLEEPER + '    environment: {VALUE_: "${VALUE:-none}"}\n'


def update(home: Home, script: str) -> Path:
    """Give the consumer's next version an on_update hook that is this script."""
    scripts = home.apps / home.name("db") / "scripts"
    (scripts / ".new").write_text(script)
    (scripts / ".new").rename(scripts / "update.sh")
    folder = home.apps / home.name("app")
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / ".manifest.new").write_text(json.dumps(manifest | {"version": manifest["version"] + "1"}))
    (folder / ".manifest.new").rename(folder / "manifest.json")
    return folder


def put_pair(home: Home) -> Path:
    """A provider, a consumer that runs and has an on_update hook, and an app that has nothing to do with them."""
    into, env = home.apps, "# mine\nKEPT=as it is\n"  # the tree may be a disk of its own
    home.put("db", PROVIDER, {"scripts/update.sh": "true\n"}, into, volumes=["data"])
    requires = [{"app": home.name("db"), "on_update": "scripts/update.sh"}]
    folder = home.put("app", UPDATED, {".env": env}, into, requires=requires)
    home.put("calm", into=into)
    home.start()
    for short in ("db", "app", "calm"):
        home.wait(short, "Ready")
    return folder


def arrives(home: Home, value: str) -> None:
    wait_until(lambda: home.env_of("app").get("VALUE_") == value, f"{value} is in the container", 20)
    home.wait("app", "Ready")


# -- scripts that do not end, or say too much ---------------------------------------------------------


@pytest.mark.fault("C01")
def test_a_hook_that_never_ends_is_ended_and_what_runs_goes_on(home: Home) -> None:
    home.settings["install-timeout"] = "1"
    folder = put_pair(home)
    before, env = home.ids(), (folder / ".env").read_bytes()
    update(home, "trap '' TERM INT HUP\necho VALUE=half\ncat\nwhile :; do sleep 1000; done\n")
    status = home.wait("app", "Failed")
    assert ready_of(status)["reason"] == "HookTimeout"
    assert "within 1 s" in ready_of(status)["message"]
    home.put("new")
    home.wait("new", "Ready")  # no worker is held
    assert home.ids().items() >= before.items()
    assert (folder / ".env").read_bytes() == env
    update(home, "echo VALUE=whole\n")
    arrives(home, "whole")
    wait_until(lambda: not hook_processes(home), "nothing of the script is left")
    assert (folder / ".env").read_bytes().startswith(env)


def resident(pid: int) -> int:
    """Kilobytes that a process has had in memory at most."""
    (line,) = [
        line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmHWM")
    ]
    return int(line.split()[1])


@pytest.mark.fault("C03")
@pytest.mark.slow  # errors without end, until the hook's time is over
def test_a_flood_of_output_costs_neither_memory_nor_a_value(home: Home) -> None:
    home.settings["install-timeout"] = "5"
    folder = put_pair(home)
    before, env = home.ids(), (folder / ".env").read_bytes()
    assert home.process is not None
    memory = resident(home.process.pid)
    floods = {
        "one line without an end": ("echo VALUE=half; tr '\\0' x </dev/zero", "HookOutputInvalid"),
        "a million lines": ("echo VALUE=half; yes 'OTHER=some value' | head -n 1000000", "HookOutputInvalid"),
        "errors without an end": ("echo VALUE=half; yes trouble >&2", "HookTimeout"),
    }
    for what, (script, reason) in floods.items():
        update(home, script)
        wait_until(lambda r=reason: str((home.status("app") or {})["lastError"]).startswith(r), what, 40)
        assert home.ids() == before, what
        assert (folder / ".env").read_bytes() == env, what
    assert resident(home.process.pid) - memory < 32 * 1024
    update(home, "echo VALUE=whole\n")
    arrives(home, "whole")
    wait_until(lambda: not hook_processes(home), "nothing of them is left")


@pytest.mark.fault("C04")
def test_what_is_no_pair_gives_nothing_and_errors_are_never_values(home: Home) -> None:
    folder = put_pair(home)
    before, env = home.ids(), (folder / ".env").read_bytes()
    bad = {
        "carriage returns alone": ("printf 'VALUE=1\\rOTHER=2\\r'", "HookOutputInvalid", "line break"),
        "another encoding": ("printf 'VALUE=\\374\\n'", "HookOutputInvalid", "not UTF-8"),
        "half of it and a failure": ("echo VALUE=half; exit 126", "HookFailed", "exit status 126"),
    }
    for what, (script, reason, message) in bad.items():
        update(home, script)
        wait_until(
            lambda r=reason, m=message: (
                (ready := ready_of(home.status("app") or {}))["reason"] == r and m in ready["message"]
            ),
            what,
        )
        assert (folder / ".env").read_bytes() == env, what
    assert home.ids() == before
    update(
        home,
        "printf '\\357\\273\\277VALUE=whole\\n'; echo OTHER=1 >&2; printf '\\033[1mTHIRD=1\\033[0m\\n'",
    )
    arrives(home, "whole")
    assert (folder / ".env").read_bytes() == env + b"VALUE=whole\n"
    told = home.log("app.warning", "app")[-1]["message"]
    assert "printed 1 lines" in told, "the coloured one; what went to the errors is no output"


@pytest.mark.fault("C04")
def test_a_container_without_a_shell_fails_its_consumer_with_no_value_of_the_engines_words(
    home: Home,
) -> None:
    folder = put_pair(home)
    before, env = home.ids(), (folder / ".env").read_bytes()
    in_provider(home, "mv", "/bin/sh", "/bin/sh-away")
    update(home, "echo VALUE=whole\n")
    assert ready_of(home.wait("app", "Failed"))["reason"] == "HookFailed"
    assert (folder / ".env").read_bytes() == env
    assert home.ids() == before
    in_provider(home, "mv", "/bin/sh-away", "/bin/sh")
    arrives(home, "whole")


# -- whose key it is ----------------------------------------------------------------------------------


@pytest.mark.fault("C06")
def test_a_key_that_two_providers_give_is_refused_and_both_are_named(home: Home) -> None:
    second = PROVIDER.replace("@db_data", "@cache_data")
    home.put("db", PROVIDER, {"scripts/install.sh": GOOD}, volumes=["data"])
    home.put("cache", second, {"scripts/install.sh": "echo CACHE=c\necho DB_USER=other\n"}, volumes=["data"])
    requires = [{"app": home.name(app), "on_install": "scripts/install.sh"} for app in ("cache", "db")]
    folder = home.put("app", CONSUMER, {".env": "OWN=1\n"}, requires=requires)
    home.put("calm")
    home.start()
    message = ready_of(home.wait("app", "Failed"))["message"]
    assert "DB_USER comes from" in message
    assert home.name("db") in message
    assert home.name("cache") in message
    assert not home.containers("app")
    home.wait("calm", "Ready")
    script = home.apps / home.name("db") / "scripts" / "install.sh"
    script.write_text(GOOD.replace("DB_USER", "DB_OTHER"))
    home.run("reconcile", home.name("app"))
    home.wait("app", "Ready")
    assert home.env_of("app")["USER_"] == "other"
    assert (folder / ".env").read_text().startswith("OWN=1\n")


# -- every value arrives ------------------------------------------------------------------------------

ALPHABET = "abzAZ09 \t\n\r\\\"'`$#{}()[]<>:=-?+!%&|;*~^,./@_éßЖ漢€\u2028\ufeff\u200b\x01\x1b\x7f😀"


@pytest.mark.fault("C05")
@pytest.mark.slow
def test_nearly_ten_thousand_random_values_are_in_the_container_byte_for_byte(home: Home) -> None:
    dice = random.Random(20261123)
    pieces = [
        "${X}",
        "$X",
        "$$",
        "\\n",
        "\\$",
        "#",
        " #",
        "${X:-y}",
        "''",
        '""',
        "\\\\",
        "$(id)",
        "%s",
        *ALPHABET,
    ]
    values = {f"K{number}": "".join(dice.choices(pieces, k=dice.randrange(1, 14))) for number in range(9_990)}
    compose = SLEEPER + "    env_file: [.env]\n"
    (home.put("many", compose) / ".env").write_text(dotenv.merge("# mine\nX=never\n", values), newline="")
    home.start()
    home.wait("many", "Ready", timeout=60)
    (details,) = home.containers("many").values()
    raw = Path(f"/proc/{details['State']['Pid']}/environ").read_bytes()
    found = dict(pair.split(b"=", 1) for pair in raw.split(b"\0") if pair)
    wrong = {k: v for k, v in values.items() if found.get(k.encode()) != v.encode()}
    assert not wrong, f"{len(wrong)} of {len(values)}, such as {list(wrong.items())[:3]!r}"
    known = {b"X", b"PATH", b"HOSTNAME", b"HOME", b"TERM"}
    assert {key for key in found if key not in known} == {key.encode() for key in values}, "no other variable"


# -- tries that fail ----------------------------------------------------------------------------------


@pytest.mark.fault("C07")
def test_a_hook_that_fails_half_way_merges_nothing_and_its_third_try_is_whole(home: Home) -> None:
    folder = put_pair(home)
    before, env = home.ids(), (folder / ".env").read_bytes()
    script = """\
echo run >>/data/runs
echo VALUE=half
case "$(grep -c run /data/runs)" in
  1) exit 1 ;;
  2) [ -e /data/go ] || { kill -9 $$; } ;;
esac
[ -e /data/go ] || exit 1
echo VALUE=whole
"""
    update(home, script)
    wait_until(lambda: len(home.log("hook.failed", "app")) >= 2, "two tries failed", 20)
    assert (folder / ".env").read_bytes() == env
    assert home.ids() == before
    told = " ".join(line["message"] for line in home.log("hook.failed", "app"))
    assert "exit status 1" in told
    assert "exit status 137" in told
    assert all(line["retry_in"] >= 0 for line in home.log("app.failed", "app"))
    in_provider(home, "touch", "/data/go")
    arrives(home, "whole")
    assert (folder / ".env").read_bytes() == env + b"VALUE=whole\n"
    assert home.ids("calm").items() <= before.items()


@pytest.mark.fault("C08")
@pytest.mark.parametrize("how", ["killed", "re-created", pytest.param("paused", marks=pytest.mark.slow)])
def test_a_provider_that_goes_away_under_a_hook_leaves_nothing_half(home: Home, how: str) -> None:
    home.settings["install-timeout"] = "3"
    folder = put_pair(home)
    before, env = home.ids(), (folder / ".env").read_bytes()
    update(
        home,
        "echo run >>/data/runs\necho VALUE=half\nuntil [ -e /data/go ]; do sleep 0.1; done\necho VALUE=whole\n",
    )
    wait_until(lambda: hook_processes(home), "the hook runs", 20)
    provider = f"{home.name('db')}-main-1"
    with api(home.engine) as client:
        if how == "killed":
            client.kill(provider)
        elif how == "re-created":
            client.remove_container(provider, force=True)
        else:
            client.pause(provider)
    wait_until(lambda: home.log("hook.failed", "app"), "the hook failed, and the worker is free", 30)
    assert (folder / ".env").read_bytes() == env
    assert {n: i for n, i in home.ids().items() if "-db-" not in n} == {
        n: i for n, i in before.items() if "-db-" not in n
    }
    if how == "paused":
        with api(home.engine) as client:
            if client.inspect_container(provider)["State"]["Paused"]:
                client.unpause(provider)
    wait_until(lambda: home.containers("db") and home.word("db") == "Ready", "the provider is back", 20)
    wait_until(lambda: in_provider(home, "sh", "-c", "touch /data/go && echo done"), "it takes commands", 20)
    arrives(home, "whole")
    assert (folder / ".env").read_bytes() == env + b"VALUE=whole\n"
    assert home.ids("calm").items() <= before.items()
    wait_until(lambda: not hook_processes(home), "nothing of the first try is left", 20)


# -- an `.env` that cannot be written -----------------------------------------------------------------


@pytest.fixture
def disk(home: Home) -> Iterator[Path]:
    """The apps tree of this home is a small disk of its own; the service is stopped before it goes."""
    with small_disk(home.apps) as folder:
        yield folder
        home.stop()


@pytest.mark.fault("C09")
@pytest.mark.parametrize("how", ["full", "read-only"])
def test_an_env_on_a_disk_that_takes_nothing_is_whole_and_written_when_it_can_be(
    home: Home, disk: Path, how: str
) -> None:
    folder = put_pair(home)
    before, env = home.ids(), (folder / ".env").read_bytes()
    update(home, "until [ -e /data/go ]; do sleep 0.1; done; echo VALUE=whole\n")
    wait_until(lambda: hook_processes(home), "the hook runs", 20)

    def trouble() -> None:
        in_provider(home, "touch", "/data/go")
        status = home.wait("app", "Failed")
        assert ready_of(status)["reason"] == "EnvWriteFailed"
        assert "the old file is whole" in ready_of(status)["message"]
        assert (folder / ".env").read_bytes() == env
        assert home.ids() == before
        assert [file.name for file in folder.iterdir() if file.name.startswith(".homeport")] == []

    if how == "full":
        fill(disk)
        trouble()
        make_room(disk)
    else:
        with read_only(disk):
            trouble()
    arrives(home, "whole")
    assert (folder / ".env").read_bytes() == env + b"VALUE=whole\n"
    assert stat.S_IMODE((folder / ".env").stat().st_mode) == 0o600
    assert home.ids("calm").items() <= before.items()


@pytest.mark.fault("C09")
def test_an_env_that_is_a_link_or_another_users_is_never_written_through_and_keeps_its_owner(
    home: Home, tmp_path: Path
) -> None:
    folder = put_pair(home)
    before, elsewhere = home.ids(), tmp_path / "elsewhere"
    env = (folder / ".env").read_bytes()
    elsewhere.write_bytes(env)
    (folder / ".env").unlink()
    (folder / ".env").symlink_to(elsewhere)
    update(home, "echo VALUE=whole\n")
    status = home.wait("app", "Failed")
    assert "is a link; put a plain file in its place" in ready_of(status)["message"]
    assert elsewhere.read_bytes() == env
    assert home.ids() == before
    shutil.copy(elsewhere, folder / ".env.new")
    os.chown(folder / ".env.new", 1234, 1234)
    (folder / ".env.new").chmod(0o644)
    (folder / ".env.new").rename(folder / ".env")
    arrives(home, "whole")
    status_now = (folder / ".env").stat()
    assert (status_now.st_uid, status_now.st_gid, stat.S_IMODE(status_now.st_mode)) == (1234, 1234, 0o600)
    assert elsewhere.read_bytes() == env


# -- a person and a hook at once ----------------------------------------------------------------------


@pytest.mark.fault("C10")
def test_a_person_who_edits_env_while_a_hook_runs_loses_no_line(home: Home) -> None:
    folder = put_pair(home)
    before = home.ids()
    update(home, "until [ -e /data/go ]; do sleep 0.1; done; echo VALUE=whole\n")
    wait_until(lambda: hook_processes(home), "the hook runs", 20)
    mine = "# mine\nKEPT=another # why\n\n# new\nADDED=1\n"
    (folder / ".env.new").write_text(mine)
    (folder / ".env.new").rename(folder / ".env")
    in_provider(home, "touch", "/data/go")
    arrives(home, "whole")
    assert (folder / ".env").read_text() == mine + "VALUE=whole\n"
    assert home.ids("calm").items() <= before.items()


@pytest.mark.fault("C10")
def test_output_that_changes_with_each_run_and_output_that_does_not_cause_no_further_write(
    home: Home,
) -> None:
    put_provider(home, install=GOOD + 'echo "STAMP=$(date +%s%N)"\n', start="date +%s%N\n")
    put_consumer(home, compose=CONSUMER)
    home.start()
    home.wait("app", "Ready")
    env, before = home.apps / home.name("app") / ".env", home.ids()
    was, text = env.stat(), env.read_bytes()
    for _ in range(3):
        home.run("reconcile")
    home.stop()
    home.start()
    home.run("reconcile", home.name("app"))
    assert home.ids() == before
    assert (env.stat().st_ino, env.stat().st_mtime_ns, env.read_bytes()) == (
        was.st_ino,
        was.st_mtime_ns,
        text,
    )

"""Updates that cannot hurt: what a bad edit leaves running, what is taken back, and what a person may say of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from controller.model.record import Record
from controller.status.store import SqliteStore
from rig.engine import SAMPLE_IMAGE, api
from rig.images import build_image
from rig.service import SLEEPER, Home, ready_of
from rig.waiting import wait_until

pytestmark = pytest.mark.engine

SLEEP = '["sleep", "100000"]'
PLAIN = SLEEPER.replace(
    "    init: true\n", ""
)  # with an init, a command that is not there is the init's failure
NETWORKED = SLEEPER.replace("    network_mode: none\n", "")
DATA = 'volumes: {data: {name: "furtka_@_data", external: true}}\n'
REMEMBERS = '["sh", "-c", "[ -e /data/first ] || date +%N > /data/first; exec sleep 100000"]'


def edit(folder: Path, compose: str, prefix: str = "") -> None:
    (folder / "docker-compose.yaml").write_text(compose.replace("@", prefix))


def record_of(home: Home, short: str) -> Record:
    store = SqliteStore.open_readonly(home.state)
    try:
        record = store.record(home.name(short))
    finally:
        store.close()
    assert record is not None
    return record


def is_good(home: Home, short: str) -> bool:
    """Whether what runs now is what an update that fails would be taken back to."""
    target = record_of(home, short).target
    return target is not None and target.good and target.generation == record_of(home, short).generation


def wait_good(home: Home, *shorts: str) -> None:
    for short in shorts:
        home.wait(short, "Ready")
        wait_until(lambda s=short: is_good(home, s), f"{short} runs a good revision")


def wait_generation(
    home: Home, short: str, generation: int, *words: str, timeout: float = 20
) -> dict[str, Any]:
    """Waits for one of these words, said of that generation or a later one."""
    return wait_until(
        lambda: next(
            (
                s
                for s in [home.status(short)]
                if s and s["generation"] >= generation and s["summary"] in words
            ),
            None,
        ),
        f"{short} is {words} at generation {generation}; it is {home.word(short)}",
        timeout,
    )


def wait_mended(home: Home, *shorts: str, generation: int = 3) -> None:
    for short in shorts:
        wait_generation(home, short, generation, "Ready")


def said(home: Home, short: str) -> str:
    condition = ready_of(home.status(short) or {})
    return f"{condition['reason']}: {condition['message']}"


def inside(home: Home, short: str, path: str) -> str:
    """A file as the app's container has it. An exec that meets a start can spoil all later ones in this engine."""
    pid = home.containers(short)[f"{home.name(short)}-main-1"]["State"]["Pid"]
    return Path(f"/proc/{pid}/root{path}").read_text().strip()


def count(home: Home, event: str, short: str) -> int:
    return len(home.log(event, short))


# -- found before anything is touched -------------------------------------------------------------------


@pytest.fixture
def bystander(home: Home) -> Iterator[int]:
    """A container that is nobody's app; it holds its name, `<prefix>bystander`, and the host port given here."""
    with api(home.engine) as client:
        config = client.create_host_config(port_bindings={80: ("127.0.0.1", None)})
        made = client.create_container(
            SAMPLE_IMAGE, ["sleep", "1000"], name=f"{home.prefix}bystander", ports=[80], host_config=config
        )
        client.start(made["Id"])
        ports = client.inspect_container(made["Id"])["NetworkSettings"]["Ports"]
        try:
            yield int(ports["80/tcp"][0]["HostPort"])
        finally:
            client.remove_container(made["Id"], force=True)


@pytest.mark.fault("B02")
@pytest.mark.fault("B05")
@pytest.mark.fault("B08")
def test_an_edit_that_cannot_be_started_touches_nothing_until_it_is_mended(
    home: Home, bystander: int
) -> None:
    bad = {
        "yaml": ("Invalid", SLEEPER + "   oops: [\n", "SourceInvalid"),
        "image": ("Failed", SLEEPER.replace(SAMPLE_IMAGE, "127.0.0.1:1/none:1"), "127.0.0.1:1/none:1"),
        "bind": ("Invalid", SLEEPER + "    volumes: ['./none.conf:/c.conf:ro']\n", "none.conf: mounted by"),
        "port": ("Failed", NETWORKED + f"    ports: ['127.0.0.1:{bystander}:80']\n", f"host port {bystander} is held by"),
        "name": ("Failed", SLEEPER + "    container_name: @bystander\n", f"name {home.prefix}bystander is held by"),
    }  # fmt: skip
    folders = {short: home.put(short) for short in bad}
    home.start()
    wait_good(home, *bad)
    before = home.ids()
    for short, (_, compose, _) in bad.items():
        edit(folders[short], compose, home.prefix)
    for short, (word, _, words) in bad.items():
        wait_generation(home, short, 2, word)
        wait_until(
            lambda s=short, w=words: w in said(home, s), f"{short} says {words}; it says {said(home, short)}"
        )
    home.run("reconcile")
    assert home.ids() == before
    assert not home.log("app.rolling_back")
    for short, folder in folders.items():
        edit(folder, SLEEPER + f"    labels: {{mended: {short}}}\n")
    wait_mended(home, *bad)


# -- taken back ---------------------------------------------------------------------------------------


def keeper(command: str = REMEMBERS, more: str = "", short: str = "") -> str:
    """An app that keeps data. `@` is its full name."""
    return (
        PLAIN.replace(SLEEP, command) + "    volumes: ['data:/data']\n" + more + DATA
    ).replace("@", f"@{short}")  # fmt: skip


CHECK = "    healthcheck: {test: ['CMD', 'test', '-e', '/tmp/well'], interval: 1s, retries: 1}\n"
BROKEN: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "nocmd": ('["no-such-command"]', "", ("ApplyFailed", "no-such-command")),
    "exits": ('["sh", "-c", "echo going; echo gone away; exit 3"]', "", ("(3)", "gone away")),
    "loops": ('["sh", "-c", "echo no luck; exit 4"]', "    restart: always\n", ("exit 4", "no luck")),
    "sick": ('["sh", "-c", "echo poorly; exec sleep 100000"]', CHECK, ("health check fails", "poorly")),
}
"""App to a command that does not work, what else its service says, and words that tell what is wrong."""


@pytest.mark.fault("B03")
@pytest.mark.fault("B04")
def test_an_update_that_does_not_work_is_taken_back_with_its_data_and_not_tried_again(home: Home) -> None:
    home.settings["resync"] = "1"
    home.settings["stable-after"] = "4"  # on a busy machine a process takes a while to end
    folders = {
        short: home.put(short, keeper(short=short), volumes=["data"], health_timeout=2.5) for short in BROKEN
    }
    home.start()
    wait_good(home, *BROKEN)
    data = {short: inside(home, short, "/data/first") for short in BROKEN}
    for short, (command, more, _) in BROKEN.items():
        edit(folders[short], keeper(command, more, short), home.prefix)
    for short, (_, _, words) in BROKEN.items():
        message = ready_of(home.wait(short, "RolledBack", timeout=30))["message"]
        assert "generation 2 failed" in message
        assert "generation 1 runs again" in message
        for word in words:
            assert word in message, f"{short}: {message}"
        assert inside(home, short, "/data/first") == data[short]
        wait_until(lambda s=short: count(home, "app.rolled_back", s) == 1, "the log says so")

    before = home.ids()
    home.run("reconcile")
    home.kill9()
    home.start()
    home.run("reconcile")
    assert home.stop() == 0
    home.start()
    home.run("reconcile")
    assert home.ids() == before
    for short in BROKEN:
        assert home.word(short) == "RolledBack"
        assert count(home, "app.rolling_back", short) == 1

    home.run("reconcile", home.name("exits"))
    wait_until(lambda: count(home, "app.rolled_back", "exits") >= 2, "tried again, for a person asked")
    for short in BROKEN:
        edit(folders[short], keeper(REMEMBERS, "    labels: {mended: '1'}\n", short), home.prefix)
    wait_mended(home, *BROKEN)
    assert {short: inside(home, short, "/data/first") for short in BROKEN} == data


SIDE = SLEEPER.partition("services:\n")[2].replace("main:", "side:")


def test_what_an_update_leaves_alone_is_not_touched_by_taking_it_back(home: Home) -> None:
    awaits = "    depends_on: {side: {condition: service_healthy}}\n"
    bad = {
        "added": SLEEPER + SIDE.replace(SLEEP, '["sh", "-c", "exit 3"]'),
        "starting": SLEEPER + SIDE + CHECK.replace("retries: 1", "start_period: 60s"),
        "awaited": SLEEPER.replace(SLEEP, '["sleep", "200000"]') + awaits + SIDE + CHECK,
    }
    folders = {short: home.put(short, health_timeout=3) for short in bad}
    home.start()
    wait_good(home, *bad)
    before = {short: home.ids(short) for short in bad}
    for short, compose in bad.items():
        edit(folders[short], compose)
    for short in bad:
        home.wait(short, "RolledBack", timeout=30)
        assert list(home.containers(short)) == [f"{home.name(short)}-main-1"]
        assert running(home, short)
    assert home.ids("added") == before["added"]
    assert home.ids("starting") == before["starting"]


def test_each_bad_edit_in_a_row_leaves_the_last_good_revision_which_is_healed_all_the_while(
    home: Home,
) -> None:
    good = SLEEPER + "    environment: {V: good}\n"
    folder = home.put("web", good)
    home.start()
    wait_good(home, "web")
    bad = SLEEPER.replace(SLEEP, '["sh", "-c", "exit 3"]')
    for generation, (compose, word) in enumerate(
        [(bad, "RolledBack"), (bad + "    labels: {a: b}\n", "RolledBack"), (bad + "   oops: [", "Invalid")],
        2,
    ):
        edit(folder, compose)
        wait_generation(home, "web", generation, word)
        with api(home.engine) as client:
            client.remove_container(f"{home.name('web')}-main-1", force=True)
        wait_until(lambda: home.env_of("web").get("V") == "good", f"healed at generation {generation}")
        wait_generation(home, "web", generation, word)
    before = home.ids("web")
    edit(folder, good)
    wait_generation(home, "web", 5, "Ready")
    assert home.ids("web") == before, "it ran already"


def test_an_edit_of_env_that_breaks_the_app_is_taken_back_and_no_value_is_told(home: Home) -> None:
    command = '["sh", "-c", "echo got $$TOKEN; case $$TOKEN in good*) exec sleep 100000;; esac; exit 5"]'
    compose = SLEEPER.replace(SLEEP, command) + '    environment: {TOKEN: "${TOKEN:?}"}\n'
    folder = home.put("env", compose, {".env": "TOKEN=good-4711\n"})
    home.start()
    wait_good(home, "env")
    bad = "# mine\nTOKEN=worse-canary\n"
    (folder / ".env").write_text(bad)
    message = ready_of(home.wait("env", "RolledBack"))["message"]
    assert "(5)" in message
    assert "got ***" in message
    assert home.env_of("env")["TOKEN"] == "good-4711"
    assert (folder / ".env").read_text() == bad
    with api(home.engine) as client:
        client.remove_container(f"{home.name('env')}-main-1", force=True)
    wait_until(
        lambda: home.env_of("env").get("TOKEN") == "good-4711", "what is healed is the earlier one, too"
    )
    told = home.log_file.read_text() + json.dumps(home.status("env")) + home.run("events").stdout
    assert "4711" not in told
    assert "canary" not in told
    (folder / ".env").write_text("TOKEN=good-4713\n")
    wait_mended(home, "env")
    assert home.env_of("env")["TOKEN"] == "good-4713"


@pytest.mark.fault("B04")
def test_an_update_that_is_slow_to_become_healthy_is_not_taken_back(home: Home) -> None:
    folder = home.put("slow", health_timeout=15)
    home.start()
    wait_good(home, "slow")
    edit(
        folder, SLEEPER.replace(SLEEP, '["sh", "-c", "sleep 3; touch /tmp/well; exec sleep 100000"]') + CHECK
    )

    def health() -> str:
        containers = list(home.containers("slow").values())
        return str(containers[0]["State"].get("Health", {}).get("Status")) if containers else ""

    wait_until(lambda: health() == "unhealthy", "its check fails at first")
    wait_mended(home, "slow", generation=2)
    assert not home.log("app.rolling_back")


@pytest.fixture
def other_image(home: Home) -> Iterator[str]:
    name = f"homeport/{home.prefix}other:1"
    build_image(home.engine, name, {"other": home.prefix.encode()})
    yield name
    with api(home.engine) as client:
        client.remove_image(name, force=True)


def test_whether_an_update_is_taken_back_by_itself_is_said_in_the_manifest(
    home: Home, other_image: str
) -> None:
    ways = ("never", "always", "auto")
    folders = {way: home.put(way, keeper(short=way), volumes=["data"], rollback=way) for way in ways}
    home.start()
    wait_good(home, *ways)
    for way in ways:
        bad = keeper('["sh", "-c", "exit 3"]', short=way).replace(SAMPLE_IMAGE, other_image)
        edit(folders[way], bad, home.prefix)
    home.wait("always", "RolledBack")
    for way, words in (
        ("never", "rollback is off"),
        ("auto", "service main keeps data and got another image"),
    ):
        home.wait(way, "Failed")
        choice = f"`homeport rollback {home.name(way)}` goes back to generation 1"
        # In one and the same look: it is tried again meanwhile, and says that then.
        wait_until(
            lambda w=way, parts=(choice, words): all(
                part in text for text in [said(home, w)] for part in parts
            ),
            f"{way} says why, and what a person can do: {said(home, way)}",
        )
        assert not home.log("app.rolling_back", way)

    done = home.run("rollback", home.name("auto"))
    assert done.returncode == 0, done.stderr
    home.wait("auto", "RolledBack")
    assert [c["Config"]["Image"] for c in home.containers("auto").values()] == [SAMPLE_IMAGE]
    shown = home.run("history", home.name("auto")).stdout
    assert "Generation 2 is not tried again" in shown
    assert [line.split()[1] for line in shown.splitlines() if line.startswith("*")] == ["1"]


def test_a_rollback_by_hand_holds_over_restarts_until_an_input_changes(home: Home) -> None:
    folder = home.put("web", SLEEPER + "    environment: {V: '1'}\n")
    home.start()
    wait_good(home, "web")
    for number in (2, 3):
        edit(folder, SLEEPER + f"    environment: {{V: '{number}'}}\n")
        wait_mended(home, "web", generation=number)
        wait_good(home, "web")
    for arguments, version in (((), "2"), (("1",), "1")):
        done = home.run("rollback", home.name("web"), *arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        wait_until(lambda v=version: home.env_of("web").get("V") == v, f"back to {version}")
        home.wait("web", "RolledBack")
    assert "homeport history" in home.run("rollback", home.name("web"), "77").stderr
    before = home.ids("web")
    home.kill9()
    home.start()
    home.run("reconcile")
    assert home.stop() == 0
    home.start()
    home.run("reconcile")
    assert (home.word("web"), home.ids("web")) == ("RolledBack", before)
    document = json.loads(home.run("history", home.name("web"), "-o", "json").stdout)
    assert sorted(r["generation"] for r in document["revisions"]) == [1, 2, 3]
    assert [r["generation"] for r in document["revisions"] if r["current"]] == [1]
    edit(folder, SLEEPER + "    environment: {V: '4'}\n")
    wait_mended(home, "web", generation=4)
    assert home.env_of("web")["V"] == "4"


# -- mounted files --------------------------------------------------------------------------------------


def test_a_bad_mounted_file_is_taken_back_to_its_copy_until_a_good_one_is_there(home: Home) -> None:
    command = '["sh", "-c", "grep -q good /c.conf || { echo unknown directive; exit 6; }; exec sleep 100000"]'
    compose = SLEEPER.replace(SLEEP, command) + "    volumes: ['./c.conf:/c.conf:ro']\n"
    folder = home.put("conf", compose, {"c.conf": "good 1\n"})
    home.start()
    wait_good(home, "conf")
    file = folder / "c.conf"
    file.write_text("bad\n")
    message = ready_of(home.wait("conf", "RolledBack"))["message"]
    assert "unknown directive" in message
    assert inside(home, "conf", "/c.conf") == "good 1"
    assert file.read_text() == "bad\n"
    with api(home.engine) as client:
        client.remove_container(f"{home.name('conf')}-main-1", force=True)
    wait_until(lambda: running(home, "conf"), "healed from the copy")
    home.wait("conf", "RolledBack")
    file.write_text("good 2\n")
    wait_mended(home, "conf")
    assert inside(home, "conf", "/c.conf") == "good 2"
    mounts = [m["Source"] for c in home.containers("conf").values() for m in c["Mounts"]]
    assert mounts == [str(file)]
    wait_good(home, "conf")
    file.write_text("good 3\n")
    wait_mended(home, "conf", generation=4)
    assert inside(home, "conf", "/c.conf") == "good 3"


def running(home: Home, short: str) -> bool:
    containers = home.containers(short).values()
    return bool(containers) and all(c["State"]["Running"] for c in containers)


# -- a first install, and services that come and go -------------------------------------------------------


@pytest.mark.fault("B04")
def test_a_first_install_that_fails_is_retried_and_says_that_there_is_nothing_to_go_back_to(
    home: Home,
) -> None:
    folder = home.put("new", SLEEPER.replace(SLEEP, '["sh", "-c", "echo no database; exit 7"]'))
    loop = SLEEPER.replace(SLEEP, '["sh", "-c", "echo no peace; exit 8"]') + "    restart: always\n"
    looping = home.put("loop", loop)
    home.start()
    wait_until(lambda: (home.status("new") or {}).get("retries", 0) >= 3, "tried again and again", 20)
    home.wait("new", "Failed")
    for words in ("(7)", "no database", "there is no earlier revision to go back to"):
        assert words in said(home, "new")
    waits = [line["retry_in"] for line in home.log("app.failed", "new")]
    assert max(waits) <= float(home.settings["backoff-max"])

    home.wait("loop", "Degraded", "Failed")
    wait_until(lambda: "exit 8" in said(home, "loop"), "it says how it ended")
    wait_until(lambda: "no peace" in said(home, "loop"), "and what it said last")
    wait_until(
        lambda: (home.status("loop") or {})["observed"]["services"]["main"]["restarts"] >= 2, "counted"
    )
    document = json.loads(home.run("status", home.name("loop"), "-o", "json").stdout)
    assert document["apps"][0]["observed"]["services"]["main"]["restarts"] >= 2
    for one in (folder, looping):
        edit(one, SLEEPER)
    wait_mended(home, "new", "loop", generation=2)


@pytest.mark.fault("B12")
def test_a_service_renamed_with_its_port_and_one_that_is_taken_out_arrive_whole(
    home: Home, free_port: int
) -> None:
    port = f"    ports: ['127.0.0.1:{free_port}:80']\n"
    side = SLEEPER.partition("services:\n")[2].replace("main:", "side:")
    renamed = home.put("renamed", NETWORKED + port)
    fewer = home.put("fewer", SLEEPER + side)
    home.start()
    wait_good(home, "renamed", "fewer")
    before = home.ids("fewer")
    edit(renamed, (NETWORKED + port).replace("main:", "site:"))
    edit(fewer, SLEEPER)
    wait_mended(home, "renamed", "fewer", generation=2)
    assert list(home.containers("renamed")) == [f"{home.name('renamed')}-site-1"]
    assert running(home, "renamed")
    main = f"{home.name('fewer')}-main-1"
    assert home.ids("fewer") == {main: before[main]}
    assert not home.failures()


# -- crashes ------------------------------------------------------------------------------------------


@pytest.mark.fault("E01")
def test_kill_9_in_the_middle_of_an_update_and_of_a_rollback_ends_in_the_same_state(home: Home) -> None:
    folder = home.put("web", SLEEPER + "    environment: {V: '0'}\n")
    home.start()
    moments = ("app.changed", "app.progressing", "action.done", "app.rolling_back", "app.rolled_back")
    for number, moment in enumerate(moments):
        wait_good(home, "web")
        seen = count(home, moment, "web")
        edit(folder, SLEEPER.replace(SLEEP, f'["sh", "-c", "sleep 0.2; exit {number + 3}"]'))
        wait_until(lambda m=moment, s=seen: count(home, m, "web") > s, moment)
        home.kill9()
        home.start()
        wait_generation(home, "web", 2 * number + 2, "RolledBack")
        assert home.env_of("web")["V"] == str(number)
        assert running(home, "web")
        edit(folder, SLEEPER + f"    environment: {{V: '{number + 1}'}}\n")
        wait_generation(home, "web", 2 * number + 3, "Ready")
    assert list(home.containers("web")) == [f"{home.name('web')}-main-1"]

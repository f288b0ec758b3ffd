"""What scripts of a provider do for its consumers beside the first install: updates, removals, restarts; and what
they may print."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from rig.engine import api
from rig.pair import CONSUMER, PROVIDER, hook_processes, in_provider
from rig.service import SLEEPER, Home, ready_of
from rig.waiting import wait_until

pytestmark = pytest.mark.engine

SCRIPTS = {
    "install": 'echo "DB_USER=$FURTKA_CONSUMER_APP"; echo DB_PASSWORD=pw; echo DB_PORT=1',
    "update": 'echo "$FURTKA_CONSUMER_VERSION" >>/data/update; echo "SCHEMA=for-$FURTKA_CONSUMER_VERSION"',
    "start": "echo start >>/data/start",
    "remove": 'echo "$FURTKA_CONSUMER_APP $FURTKA_CONSUMER_ENV_DB_USER" >>/data/remove',
}
MIGRATED = CONSUMER.replace("{USER_", '{SCHEMA_: "${SCHEMA:-none}", USER_')


def put_provider(home: Home, **scripts: str) -> Path:
    files = {f"scripts/{name}.sh": text + "\n" for name, text in {**SCRIPTS, **scripts}.items()}
    return home.put("db", PROVIDER, files, volumes=["data"])


def put_consumer(
    home: Home, *events: str, short: str = "app", restart: bool = False, compose: str = MIGRATED
) -> Path:
    hooks = {f"on_{event}": f"scripts/{event}.sh" for event in events}
    return home.put(short, compose, requires=[{"app": home.name("db"), "restart": restart, **hooks}])


def noted(home: Home, hook: str) -> list[str]:
    """What a hook's runs wrote down in the provider, a line each."""
    return in_provider(home, "sh", "-c", f"cat /data/{hook} 2>/dev/null").splitlines()


def set_version(folder: Path, version: str) -> None:
    manifest = folder / "manifest.json"
    new = folder / ".manifest.new"
    new.write_text(json.dumps({**json.loads(manifest.read_text()), "version": version}))
    new.replace(manifest)


def done(home: Home, short: str, since: int = 0) -> list[str]:
    """What was done for an app, in order: hooks by their events, other actions by their kinds."""
    lines = home.log(short=short)[since:]
    return [
        line["target"].rpartition(":")[2] if line["kind"] == "hook" else line["kind"]
        for line in lines
        if line["event"] in ("action.done", "hook.done")
    ]


# -- updates ------------------------------------------------------------------------------------------


def test_on_update_runs_once_for_each_new_version_before_it_starts_and_its_values_arrive(home: Home) -> None:
    put_provider(home)
    folder = put_consumer(home, "install", "update", "start")
    home.start()
    home.wait("app", "Ready")
    assert noted(home, "update") == [], "a first start is no update"
    assert home.env_of("app")["SCHEMA_"] == "none"

    since = len(home.log(short="app"))
    set_version(folder, "2.0.0")
    wait_until(lambda: home.env_of("app").get("SCHEMA_") == "for-2.0.0", "the update arrived")
    status = home.wait("app", "Ready")
    assert (status["version"], status["generation"], status["observedGeneration"]) == ("2.0.0", 2, 2)
    assert done(home, "app", since) == ["on_update", "on_start", "compose_up"]

    compose = folder / "docker-compose.yaml"
    compose.write_text(compose.read_text() + "    labels: {edited: 'yes'}\n")
    wait_until(lambda: (home.status("app") or {}).get("observedGeneration") == 3, "an edit was applied")
    home.wait("app", "Ready")
    home.run("reconcile", home.name("app"))
    assert noted(home, "update") == ["2.0.0"], "the version is the same"

    set_version(folder, "2.1.0")
    wait_until(lambda: home.env_of("app").get("SCHEMA_") == "for-2.1.0", "the next update arrived")
    assert noted(home, "update") == ["2.0.0", "2.1.0"]


@pytest.mark.fault("C07")
def test_an_on_update_that_fails_leaves_the_old_version_untouched_and_is_tried_again(home: Home) -> None:
    provider = put_provider(home, update="echo SCHEMA=half; exit 3")
    folder = put_consumer(home, "install", "update")
    home.start()
    home.wait("app", "Ready")
    before, env = home.ids(), (folder / ".env").read_bytes()
    set_version(folder, "2.0.0")
    status = home.wait("app", "Failed")
    assert ready_of(status)["reason"] == "HookFailed"
    assert "exit status 3" in ready_of(status)["message"]
    wait_until(lambda: (home.status("app") or {})["retries"] >= 2, "it is tried again")
    assert home.ids() == before
    assert (folder / ".env").read_bytes() == env
    (provider / "scripts" / "update.sh").write_text(SCRIPTS["update"])
    wait_until(lambda: home.env_of("app").get("SCHEMA_") == "for-2.0.0", "the mended script is taken up")
    home.wait("app", "Ready")
    assert noted(home, "update") == ["2.0.0"]


def test_an_app_whose_update_hook_fails_is_still_healed(home: Home) -> None:
    put_provider(home, update="exit 3")
    folder = put_consumer(home, "install", "update")
    home.start()
    home.wait("app", "Ready")
    set_version(folder, "2.0.0")
    home.wait("app", "Failed")
    with api(home.engine) as client:
        client.remove_container(f"{home.name('app')}-main-1", force=True)
    wait_until(lambda: home.env_of("app").get("SCHEMA_") == "none", "the old version runs again")
    assert home.wait("app", "Failed")["retries"] >= 1


# -- removals -----------------------------------------------------------------------------------------


@pytest.mark.fault("G05")
def test_on_remove_runs_with_the_last_values_once_the_app_is_down_though_its_folder_is_gone(
    home: Home,
) -> None:
    put_provider(home, remove="sleep 1\n" + SCRIPTS["remove"])
    folder = put_consumer(home, "install", "remove")
    home.put("other")
    home.start()
    home.wait("app", "Ready")
    home.wait("other", "Ready")
    folder.rename(
        home.apps.parent / "away"
    )  # at once: of a folder that goes file by file the hooks may run once more
    wait_until(lambda: hook_processes(home), "the hook runs")
    assert not home.containers("app")
    assert home.word("app") == "Removing"
    wait_until(lambda: home.log("app.removed", "app"), "it is removed")
    assert noted(home, "remove") == [f"{home.name('app')} {home.name('app')}"]
    assert home.word("db") == "Ready"


@pytest.mark.fault("G05")
def test_an_on_remove_that_always_fails_is_given_up_and_the_app_is_removed_all_the_same(home: Home) -> None:
    put_provider(home, remove="exit 5")
    folder = put_consumer(home, "install", "remove")
    home.put("other")
    home.start()
    home.wait("app", "Ready")
    home.wait("other", "Ready")
    shutil.rmtree(folder)
    wait_until(lambda: home.log("app.removed", "app"), "it is removed")
    assert [line["level"] for line in home.log("hook.failed", "app")] == ["error"] * 3
    assert "goes on without it" in home.log("app.warning", "app")[-1]["message"]
    assert home.status("app") is None
    assert not home.containers("app")
    assert home.word("db") == "Ready"


# -- the provider's containers are new ----------------------------------------------------------------


def test_new_containers_of_a_provider_run_on_start_and_restart_once_who_asks_for_it_and_health_nobody(
    home: Home,
) -> None:
    put_provider(home)
    put_consumer(home, "install", "start", restart=True)
    put_consumer(home, "install", "start", short="calm")
    home.start()
    for short in ("app", "calm"):
        home.wait(short, "Ready")
    calm = home.ids("calm")
    for how in ("removed", "restarted"):
        before, since, was = home.ids("app"), len(home.log(short="app")), len(home.log(short="calm"))
        with api(home.engine) as client:
            name = f"{home.name('db')}-main-1"
            client.remove_container(name, force=True) if how == "removed" else client.restart(name, timeout=1)
        wait_until(lambda s=since: "restart" in done(home, "app", s), f"it follows a provider {how}")
        wait_until(lambda w=was: done(home, "calm", w), "the hook runs for both")
        for short in ("db", "app", "calm"):
            home.wait(short, "Ready")
        home.run("reconcile")
        assert done(home, "app", since) == ["on_start", "restart"]
        assert done(home, "calm", was) == ["on_start"]
        after = home.ids("app")
        assert {n: i.split("@")[0] for n, i in after.items()} == {
            n: i.split("@")[0] for n, i in before.items()
        }
        assert after != before
    before = home.ids()
    since = len(home.log(short="app"))
    for _ in range(2):
        in_provider(home, "rm", "/data/up")
        home.wait("app", "Degraded")
        in_provider(home, "touch", "/data/up")
        home.wait("app", "Ready")
    home.run("reconcile")
    assert home.ids() == before
    assert done(home, "app", since) == []
    assert home.ids("calm") == calm


# -- values stay where they belong --------------------------------------------------------------------


def command_lines() -> str:
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            found.append((process / "cmdline").read_bytes().decode(errors="replace"))
        except OSError:
            continue
    return "\n".join(found)


def test_no_value_of_a_hook_is_in_the_list_of_processes_nor_in_anything_people_read(home: Home) -> None:
    given, made = f"given-{home.prefix}{'x' * 9}", f"made-{home.prefix}{'y' * 9}"
    tell = 'sleep 1\necho "$FURTKA_CONSUMER_ENV_TOKEN" >&2\necho "$FURTKA_CONSUMER_ENV_TOKEN ignored"\n'
    put_provider(
        home,
        install=tell + SCRIPTS["install"].replace("=pw", "=made-@yyyyyyyyy"),
        start=tell + "echo $FURTKA_CONSUMER_ENV_DB_PASSWORD; [ -e /data/good ]",
    )
    requires = [
        {"app": home.name("db"), "on_install": "scripts/install.sh", "on_start": "scripts/start.sh"},
    ]
    home.put("app", CONSUMER, {".env": f"TOKEN={given}\n"}, requires=requires)
    home.start("--log-level=debug")
    wait_until(lambda: home.word("db") == "Ready", "the provider is there", 20)
    looks = 0
    while not home.log("hook.failed", "app"):  # each look is taken while a hook runs, or just before or after
        lines = command_lines()
        assert given not in lines
        assert made not in lines
        looks += 1
    assert looks > 3
    in_provider(home, "touch", "/data/good")
    home.wait("app", "Ready")
    assert home.env_of("app")["PASSWORD_"] == made
    said = home.log_file.read_text() + "".join(
        home.run(*command).stdout
        for command in (["status", "-o", "json"], ["events", "-o", "json"], ["why", home.name("app")])
    )
    assert "printed 1 lines" in said
    assert given not in said
    assert made not in said


# -- what a hook may print ------------------------------------------------------------------------------

GOOD = """\
echo hello
echo 'A=first'
echo 'FURTKA_JSON: {"A": "second = \\"2\\"", "B": 1.50, "C": true, "D": 7}'
echo 'D=1e400'
printf 'no key here\\nE=\\r\\n'
"""
BAD = {
    "a key in small letters": ("echo lower=hush", "key 'lower' must match"),
    "a key that steers tools": ("echo LD_PRELOAD=hush", "key LD_PRELOAD steers the tools"),
    "a line break": ("""echo 'FURTKA_JSON: {"KEY": "hush\\nhush"}'""", "value of KEY holds a line break"),
    "a NUL": ("printf 'KEY=hu\\0sh\\n'", "a NUL byte"),
    "a placeholder": ("echo 'KEY=\"Change-Me\"'", "value of KEY is a placeholder"),
    "a list": ("""echo 'FURTKA_JSON: {"KEY": ["hush"]}'""", "'KEY': a value must be a string"),
    "no JSON": ("echo 'FURTKA_JSON: {hush}'", "is not JSON"),
    "bytes that are no text": ("printf 'KEY=\\377\\n'", "not UTF-8"),
}


@pytest.mark.fault("C04")
@pytest.mark.fault("C06")
def test_output_of_a_hook_is_taken_as_a_whole_or_refused_as_a_whole(home: Home) -> None:
    bad = {f"bad{number}": case for number, case in enumerate(BAD.values())}
    put_provider(home, good=GOOD, **{short: f"echo FINE=1\n{script}" for short, (script, _) in bad.items()})
    env = "# kept\nA=old\nZ=kept  # as it is\n"

    def put(short: str) -> Path:
        requires = [{"app": home.name("db"), "on_install": f"scripts/{short}.sh"}]
        compose = SLEEPER + "    env_file: [.env]\n"
        return home.put(short, compose, {".env": env}, requires=requires)

    for short in ("good", *bad):
        put(short)
    home.start()
    home.wait("good", "Ready")
    values = home.env_of("good")
    wanted: dict[str, Any] = {
        "A": 'second = "2"',
        "B": "1.50",
        "C": "true",
        "D": "1e400",
        "E": "",
        "Z": "kept",
    }
    assert {key: values[key] for key in wanted} == wanted
    text = (home.apps / home.name("good") / ".env").read_text()
    assert text.startswith("# kept\nA=")
    assert "\nZ=kept  # as it is\n" in text
    assert "printed 2 lines" in home.log("app.warning", "good")[-1]["message"]
    for short, (_, message) in bad.items():
        ready = ready_of(home.wait(short, "Failed"))
        assert ready["reason"] == "HookOutputInvalid"
        assert message in ready["message"]
        assert "nothing was merged" in ready["message"]
        assert (home.apps / home.name(short) / ".env").read_text() == env
        assert not home.containers(short)
    assert "hush" not in home.log_file.read_text()

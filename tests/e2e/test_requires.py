"""Apps that require each other, and the hooks between them, on a real engine."""

from __future__ import annotations

import shutil

import pytest

from rig.engine import api
from rig.pair import hook_processes, in_provider, put_consumer, put_provider
from rig.service import SLEEPER, Home, ready_of
from rig.waiting import wait_until

pytestmark = pytest.mark.engine


@pytest.mark.fault("B10")
def test_a_consumer_that_comes_first_waits_and_gets_what_the_hook_made(home: Home) -> None:
    home.start()
    put_consumer(home)
    status = home.wait("app", "Waiting")
    assert ready_of(status)["reason"] == "DependencyMissing"
    assert home.name("db") in ready_of(status)["message"]
    assert not home.containers("app")

    put_provider(home)
    home.wait("app", "Ready")
    home.wait("db", "Ready")
    env = home.env_of("app")
    assert (env["USER_"], env["PASSWORD_"], env["PORT_"]) == (home.name("app"), 'p$w "q', "1.50")
    assert in_provider(home, "cat", "/data/installs") == home.name("app") + "\n"
    assert home.name("app") in in_provider(home, "cat", "/data/starts")

    (provider,), (consumer,) = home.containers("db").values(), home.containers("app").values()
    healthy = provider["State"]["Health"]["Log"][0]["End"]
    assert consumer["Created"] > healthy[: len(consumer["Created"]) - 1], (
        "created only after the provider was healthy"
    )
    status = home.status("app")
    assert status is not None
    assert status["generation"] == status["observedGeneration"] == 1, "our own merge is no new generation"
    assert "p$w" not in home.log_file.read_text()


def test_on_install_is_not_run_again_by_an_edit_and_on_start_is_run_before_each_start(home: Home) -> None:
    put_provider(home)
    put_consumer(home)
    home.start()
    home.wait("app", "Ready")
    starts = in_provider(home, "cat", "/data/starts")
    compose = home.apps / home.name("app") / "docker-compose.yaml"
    compose.write_text(compose.read_text() + "    labels: {edited: 'yes'}\n")
    wait_until(lambda: (home.status("app") or {}).get("observedGeneration") == 2, "the edit was applied")
    home.wait("app", "Ready")
    assert in_provider(home, "cat", "/data/installs").count("\n") == 1
    assert in_provider(home, "cat", "/data/starts").count("\n") == starts.count("\n") + 1


@pytest.mark.fault("C08")
def test_on_start_runs_again_when_the_providers_container_is_new_and_the_consumer_runs_on(home: Home) -> None:
    put_provider(home)
    put_consumer(home)
    home.start()
    home.wait("app", "Ready")
    before = home.ids("app")
    starts = in_provider(home, "cat", "/data/starts").count("\n")
    with api(home.engine) as client:
        client.remove_container(f"{home.name('db')}-main-1", force=True)
    wait_until(lambda: len(home.containers("db")) == 1, "the provider is back")
    wait_until(lambda: in_provider(home, "cat", "/data/starts").count("\n") > starts, "on_start ran again")
    home.wait("app", "Ready")
    assert home.ids("app") == before


BAD_HOOKS = {
    "exits with 1": ("echo DB_USER=x; exit 1", "HookFailed"),
    "sleeps for ever": ("trap '' TERM; sleep 4000 & sleep 5000", "HookTimeout"),
    "prints a megabyte": ("yes 0123456789 | head -c 1100000; echo DB_USER=x", "HookOutputInvalid"),
    "prints a placeholder": ("echo DB_USER=changeme", "HookOutputInvalid"),
}


@pytest.mark.fault("C01")
@pytest.mark.fault("C03")
@pytest.mark.fault("C07")
@pytest.mark.parametrize("kind", BAD_HOOKS)
def test_a_bad_hook_is_an_error_of_its_consumer_alone(home: Home, kind: str) -> None:
    script, reason = BAD_HOOKS[kind]
    home.settings["install-timeout"] = "1"
    put_provider(home, install=script)
    put_consumer(home)
    home.put("other", SLEEPER)
    home.start()
    status = home.wait("app", "Failed")
    assert ready_of(status)["reason"] == reason
    assert home.log("hook.failed", "app")
    home.wait("db", "Ready")
    home.wait("other", "Ready")
    assert not home.containers("app")
    assert not (home.apps / home.name("app") / ".env").exists()
    home.stop()
    wait_until(lambda: not hook_processes(home), "no process of the hook is left")


@pytest.mark.fault("B10")
@pytest.mark.fault("G05")
def test_a_provider_that_goes_away_is_kept_while_it_is_required(home: Home) -> None:
    put_provider(home)
    put_consumer(home)
    home.put("other")
    home.start()
    home.wait("app", "Ready")
    home.wait("other", "Ready")
    before = home.ids()
    shutil.move(home.apps / home.name("db"), home.apps.parent / "aside")
    status = home.wait("db", "RemovalBlocked")
    assert home.name("app") in ready_of(status)["message"]
    assert home.ids() == before
    shutil.rmtree(home.apps / home.name("app"))
    wait_until(
        lambda: not home.containers("db") and not home.containers("app"), "both are gone, the consumer first"
    )


@pytest.mark.fault("B10")
def test_a_cycle_is_named_in_full_and_everyone_else_goes_on(home: Home) -> None:
    home.start()
    home.put("x", requires=[{"app": home.name("y")}])
    home.put("y", requires=[{"app": home.name("x")}])
    home.put("z")
    home.wait("z", "Ready")
    first = home.wait("x", "Invalid")
    second = home.wait("y", "Invalid")
    x, y = home.name("x"), home.name("y")
    assert f"{x} -> {y} -> {x}" in ready_of(first)["message"]
    assert ready_of(second)["reason"] == "DependencyCycle"

"""Every word of the status, reached for real, and what `homeport why` says of it to a person who is tired."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from rig.engine import PrivateEngine, api
from rig.pair import in_provider, put_provider
from rig.service import SLEEPER, Home
from rig.waiting import wait_until

pytestmark = pytest.mark.engine

CHECKED = SLEEPER.replace('["sleep", "100000"]', '["sh", "-c", "touch /tmp/up; exec sleep 100000"]') + (
    '    healthcheck: {test: ["CMD", "test", "-e", "/tmp/up"], interval: 1s, retries: 1, start_period: 60s}\n'
)
"""Healthy while /tmp/up is there."""
SLOW_RETRIES = {"backoff-base": "30000", "backoff-max": "30000"}
"""What has failed stays so for long enough to be asked about."""
NEVER_HEALTHY = CHECKED.replace("touch /tmp/up; ", "")


def ending(word: str, code: int) -> str:
    """A compose file whose container says a word and ends."""
    return SLEEPER.replace('["sleep", "100000"]', f'["sh", "-c", "echo {word}; exit {code}"]')


def explain(
    home: Home, short: str, word: str, phrases: Sequence[str], chain: Sequence[tuple[str, str]] = ()
) -> None:
    """Waits for the word; `why` then has these phrases, and for programs this chain of apps and reasons.

    `@` in a phrase stands for the prefix. A person finds in it: what, why, what runs, what comes, what to do.
    """
    name = home.name(short)
    if word != "Unknown":
        home.wait(short, word)
    told = home.run("why", name)
    document = json.loads(home.run("why", name, "-o", "json").stdout)
    assert told.returncode == 0, told.stderr
    assert told.stdout.startswith(f"{name} is {word}")
    assert document["summary"] == word
    for phrase in phrases:
        assert phrase.replace("@", home.prefix) in told.stdout
    if chain:
        assert [(link["app"], link["reason"]) for link in document["chain"]] == [
            (home.name(app), reason) for app, reason in chain
        ]
    if word != "Ready":
        assert all(part in told.stdout for part in ("Runs:", "Next:", "To do:"))
        assert document["next"]
        assert document["advice"]


def in_container(home: Home, short: str, *command: str) -> None:
    with api(home.engine) as client:
        client.exec_start(client.exec_create(f"{home.name(short)}-main-1", list(command))["Id"])


def test_what_files_lead_to_is_explained(home: Home) -> None:
    home.settings |= SLOW_RETRIES
    home.put("fine")
    home.put("slow", NEVER_HEALTHY)
    home.put("last", requires=[{"app": home.name("middle")}])
    home.put("middle", requires=[{"app": home.name("nobody")}])
    home.put("form", settings=[{"name": "OWNER", "label": "Owner", "required": True}])
    (home.put("torn") / "manifest.json").write_text('{\n"name": 1')
    home.put("image", SLEEPER.replace("homeport/sample:1", "127.0.0.1:1/none:1"))
    home.put(
        "built",
        SLEEPER.replace("image: homeport/sample:1", "build: ."),
        {"Dockerfile": "FROM homeport/sample:1\nRUN cat /no/such/dir; exit 3\n"},
    )
    home.put("quit", ending("no such device", 3))
    home.start()
    explain(home, "fine", "Ready", ["generation 1", "main running"], [("fine", "ReconciliationSucceeded")])
    explain(
        home, "slow", "Progressing",
        ["service main: health check is starting", "main running (starting)", "`homeport events @slow -f`"],
        [("slow", "Progressing")],
    )  # fmt: skip
    explain(
        home, "last", "Waiting",
        [
            "because @middle is Waiting: it needs @nobody", "because @nobody is Missing",
            "it was never started", "@last goes on by itself once @middle is available", "`homeport install @nobody`",
        ],
        [("last", "DependencyNotReady"), ("middle", "DependencyMissing"), ("nobody", "DependencyMissing")],
    )  # fmt: skip
    explain(
        home, "form", "NeedsConfiguration",
        ["OWNER: is required and empty", "@form/.env is complete", "`homeport set @form KEY`"],
        [("form", "NeedsConfiguration")],
    )  # fmt: skip
    explain(
        home, "torn", "Invalid",
        ["manifest.json: line 2: is not JSON", "as soon as a file in", "`homeport validate "],
        [("torn", "SourceInvalid")],
    )  # fmt: skip
    explain(
        home, "image", "Failed",
        [
            "image 127.0.0.1:1/none:1 of service main cannot be pulled", "connection refused",
            "tries again", "check the image's name", "`homeport reconcile @image` tries again now",
        ],
        [("image", "PullFailed")],
    )  # fmt: skip
    explain(
        home, "built", "Failed",
        [
            "returned a non-zero code: 3; the build said last: cat: can't open '/no/such/dir': No such file or directory",
            "tries again", "mend its Dockerfile in", "`docker compose build` in", "`homeport reconcile @built` tries again now",
        ],
        [("built", "BuildFailed")],
    )  # fmt: skip
    assert home.run("reconcile", home.name("quit")).returncode == 1, "it ended once more"
    explain(
        home, "quit", "Failed",
        ["container exited (3); main said last: no such device; there is no earlier", "`homeport logs @quit`"],
    )  # fmt: skip
    assert home.run("why", home.name("quit")).stdout.count("no earlier revision") == 1


def test_what_trouble_and_commands_lead_to_is_explained(home: Home) -> None:
    home.put("still")
    home.put("halt")
    home.put("sick", CHECKED)
    older = home.put("older")
    home.start()
    for short in ("still", "halt", "sick", "older"):
        home.wait(short, "Ready")
        wait_until(lambda s=short: "good" in home.run("history", home.name(s)).stdout.split("\n")[1], "good")
    assert home.run("suspend", home.name("still")).returncode == 0
    assert home.run("stop", home.name("halt")).returncode == 0
    in_container(home, "sick", "rm", "/tmp/up")
    (older / "docker-compose.yaml").write_text(ending("bad flag", 4))
    explain(
        home, "still", "Suspended",
        ["by `homeport suspend`", "main running", "leaves it exactly as it is", "`homeport resume @still`"],
        [("still", "Suspended")],
    )  # fmt: skip
    explain(
        home, "halt", "Stopped",
        ["stopped by `homeport stop`", "Runs:  nothing of @halt", "`homeport start @halt` starts it again"],
        [("halt", "Stopped")],
    )  # fmt: skip
    explain(
        home, "sick", "Degraded",
        ["health check fails", "main running (unhealthy)", "`homeport logs @sick`", "@sick-main-1"],
        [("sick", "HealthCheckFailed")],
    )  # fmt: skip
    explain(
        home, "older", "RolledBack",
        [
            "generation 2 failed (CrashLooping: service main: container exited (4); main said last: bad flag)",
            "Runs:  generation 1", "does not try generation 2 again until a file", "`homeport reconcile @older`",
        ],
        [("older", "RolledBack")],
    )  # fmt: skip
    in_container(home, "sick", "touch", "/tmp/up")
    home.wait("sick", "Ready")


def test_what_a_folder_that_is_gone_leads_to_is_explained(home: Home) -> None:
    put_provider(home)
    cleanup = home.apps / home.name("db") / "scripts" / "remove.sh"
    cleanup.write_text("until [ -e /data/go ]; do sleep 0.1; done; exit 7\n")
    home.put("app", requires=[{"app": home.name("db"), "on_remove": "scripts/remove.sh"}])
    home.put("still")
    home.settings |= {"removal-settle": "0.5", **SLOW_RETRIES}
    home.start()
    for short in ("app", "still"):
        home.wait(short, "Ready")

    home.run("suspend", home.name("still"))
    home.wait("still", "Suspended")
    shutil.rmtree(home.apps / home.name("still"))
    explain(
        home, "still", "Held",
        ["it is suspended", "main running", "removes nothing", "back, and it goes on", "`homeport prune --approve`"],
        [("still", "RemovalHeld")],
    )  # fmt: skip

    shutil.move(home.apps / home.name("db"), home.apps.parent / "aside")
    explain(
        home, "db", "RemovalBlocked",
        ["required by @app", "main running", "keeps it running", "`homeport remove @app`"],
        [("db", "RemovalBlocked")],
    )  # fmt: skip
    shutil.move(home.apps.parent / "aside", home.apps / home.name("db"))
    home.wait("db", "Ready")

    shutil.rmtree(home.apps / home.name("app"))
    wait_until(lambda: "now runs" in home.run("why", home.name("app")).stdout, "the hook runs")
    explain(
        home, "app", "Removing",
        ["its containers are gone; now runs: on_remove hook of @db (scripts/remove.sh) for @app", "nothing of @app"],
        [("app", "Removing")],
    )  # fmt: skip
    in_provider(home, "touch", "/data/go")
    wait_until(lambda: home.log("app.failed", "app"), "the hook has failed")
    explain(home, "app", "Removing", ["exit status 7", "tried ", "tries again "], [("app", "Removing")])


def test_what_the_brake_holds_is_explained_and_why_works_while_the_service_is_down(home: Home) -> None:
    home.settings["removal-settle"] = "0.5"
    folders = [home.put(f"n{number}") for number in range(5)]
    home.start()
    for number in range(5):
        home.wait(f"n{number}", "Ready")
    for folder in folders[:4]:
        shutil.rmtree(folder)
    for number in range(4):
        home.wait(f"n{number}", "Held")
    phrases = [
        "nothing is removed",
        "main running",
        "let go all that is held (@n0, @n1, @n2, @n3)",
        "--approve`",
    ]
    explain(home, "n0", "Held", phrases, [("n0", "RemovalHeld")])
    home.stop()
    told = home.run("why", home.name("n0")).stdout
    assert "Next:  nothing: the service is not running" in told
    assert "To do: start the service" in told


def test_an_orphan_and_a_tree_that_is_away_are_explained_and_nothing_is_removed(home: Home) -> None:
    folder = home.put("stray")
    binary = shutil.which("docker-compose", path=str(Path(sys.executable).parent))
    assert binary is not None
    subprocess.run(
        [binary, "-p", folder.name, "--project-directory", str(folder), "up", "-d"],
        env=home.environment(), check=True, capture_output=True,
    )  # fmt: skip
    shutil.rmtree(folder)
    home.put("fine")
    home.start()
    phrases = [
        "neither a folder nor a record",
        "Runs:  its containers",
        "never removed by itself",
        "`homeport remove @stray`",
    ]
    explain(home, "stray", "Orphaned", phrases, [("stray", "Orphaned")])
    home.wait("fine", "Ready")
    before = home.ids()

    aside = home.apps.rename(home.apps.parent / "aside")
    wait_until(lambda: home.log("tree.lost"), "the log says so")
    home.run("reconcile")
    phrases = [
        "is not there; is its disk mounted?",
        "main running",
        "stops and removes nothing",
        "`homeport doctor`",
    ]
    for short in ("fine", "stray"):
        explain(home, short, "Unknown", phrases, [(short, "SourceUnavailable")])
    aside.rename(home.apps)
    wait_until(lambda: home.log("tree.back"), "the log says so")
    home.wait("fine", "Ready")
    home.wait("stray", "Orphaned")
    home.run("reconcile")
    assert home.ids() == before
    assert home.run("remove", folder.name, "--yes").returncode == 0
    assert not home.containers("stray")


def test_an_engine_that_is_away_is_explained_and_what_was_stopped_stays_so(
    private_engine: PrivateEngine, tmp_path: Path
) -> None:
    home = Home(tmp_path, private_engine.host, "k-")
    home.put("fine")
    home.put("halt")
    home.start()
    try:
        home.wait("fine", "Ready")
        home.wait("halt", "Ready")
        assert home.run("stop", "k-halt").returncode == 0
        private_engine.kill9()
        wait_until(lambda: home.log("engine.lost"), "the log says so", 20)
        phrases = [
            "the container engine does not answer",
            "when it was Ready",
            "as soon as the engine answers",
            "`homeport doctor`",
        ]
        explain(home, "fine", "Unknown", phrases, [("fine", "EngineUnreachable")])
        for command in (
            ["reconcile"],
            ["plan"],
            ["restart", "k-fine"],
            ["update", "k-fine"],
            ["logs", "k-fine"],
        ):
            done = home.run(*command)
            assert (done.returncode, done.stdout) == (3, ""), command
            assert "does not answer" in done.stderr
            assert ("It is remembered" in done.stderr) == (command[0] in ("restart", "update"))
        waited = home.run("wait", "k-fine", "--timeout", "0s")
        assert (waited.returncode, "the engine cannot be reached" in waited.stderr) == (1, True)

        private_engine.start()
        home.wait("fine", "Ready", timeout=40)  # although no registry answers that update
        home.wait("halt", "Stopped")
        home.stop()
        home.start()
        home.wait("halt", "Stopped")
        assert not any(c["State"]["Running"] for c in home.containers("halt").values())
        assert home.run("start", "k-halt").returncode == 0
        home.wait("halt", "Ready")
    finally:
        home.stop()

"""The commands that need no engine, as a person calls them."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from controller import __version__
from controller.cli import screens, serve
from controller.cli.layout import Page, age, aligned
from controller.cli.main import cli
from controller.cli.options import ALL_SETTINGS, SETTINGS, SWITCHES
from controller.cli.plain import clean
from controller.cli.questions import since_time
from controller.model.errors import EngineUnreachable
from controller.model.facts import APPROVED, ROOT_ID, SUSPENDED
from controller.model.observed import EngineInfo
from controller.model.plan import Action, Plan
from controller.settings import Settings
from controller.status.lock import StateLock
from controller.status.store import SqliteStore
from fakes.build import NOON, at, record

Homeport = Callable[..., Result]
COMMANDS = sorted(cli.commands)


def fact(state: Path, key: str) -> str | None:
    store = SqliteStore.open_readonly(state)
    try:
        return store.get(key)
    finally:
        store.close()


# -- help and errors ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_an_example_and_the_common_options(homeport: Homeport, command: str) -> None:
    result = homeport(command, "--help")
    assert result.exit_code == 0
    assert f"Example: homeport {command}" in result.stdout
    for option in ("--apps", "--state", "--config", "--debug"):
        assert option in result.stdout


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys; from controller.cli.main import cli; cli(['run', '--help'], standalone_mode=False);"
        "print([m for m in ('docker', 'watchdog', 'pydantic', 'rich', 'structlog', 'sqlite3', 'uvicorn', 'starlette',"
        "  'prometheus_client') if m in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30
    )
    assert result.stdout.splitlines()[-1] == "[]"


@pytest.mark.usefixtures("homeport", "recorded")
@pytest.mark.parametrize(
    "arguments", [["status"], ["status", "web"], ["why", "old"], ["events"], ["history", "web"]]
)
def test_a_question_loads_neither_pydantic_nor_rich(arguments: Sequence[str]) -> None:
    code = "import sys; from controller.cli.main import cli; cli(sys.argv[1:], standalone_mode=False)"
    watched = f"import sys, atexit; atexit.register(lambda: print([m for m in ('docker', 'pydantic', 'rich') if m in sys.modules])); {code}"
    result = subprocess.run(
        [sys.executable, "-c", watched, *arguments], capture_output=True, text=True, check=True, timeout=30
    )
    assert result.stdout.splitlines()[-1] == "[]"


@pytest.mark.usefixtures("homeport", "service")
def test_the_status_of_a_service_is_shown_without_a_record_being_read() -> None:
    code = (
        "import atexit, sys; from controller.cli.main import cli;"
        "atexit.register(lambda: print([m for m in ('sqlite3', 'controller.model.record') if m in sys.modules]));"
        "cli(['status'], standalone_mode=False)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30
    )
    assert "Unknown (was Ready)" in result.stdout
    assert result.stdout.splitlines()[-1] == "[]"


def test_run_has_every_setting_with_its_default() -> None:
    others = {"apps", "state", "config", "catalog", "notify", "prune"}
    for name, default, _ in SWITCHES:
        field = name.replace("-", "_")
        assert Settings.model_fields[field].default is default
        others.add(field)
    assert set(SETTINGS) == set(Settings.model_fields) - others
    assert set(Settings.model_fields) == ALL_SETTINGS
    for name, (kind, default, _) in SETTINGS.items():
        real = Settings.model_fields[name].default
        if real is not None:
            assert kind is not None
            assert default == (f"{real:g}" if isinstance(real, int | float) else real), name


@pytest.mark.parametrize(
    "arguments", [("nothing",), ("status", "--nothing"), ("suspend",), ("status", "-o", "xml")]
)
def test_wrong_use_is_2(homeport: Homeport, arguments: Sequence[str]) -> None:
    assert homeport(*arguments).exit_code == 2


def test_a_wrong_setting_is_2_and_says_which(homeport: Homeport, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOMEPORT_WORKERS", "none")
    result = homeport("status")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "HOMEPORT_WORKERS" in result.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("status", "wev"),
        ("events", "wev"),
        ("suspend", "wev"),
        ("reconcile", "wev"),
        ("plan", "wev"),
        ("stop", "wev"),
        ("remove", "wev", "--yes"),
        ("purge", "wev", "data", "--yes"),
        ("set", "wev", "A=1"),
        ("wait", "wev"),
        ("history", "wev"),
        ("logs", "wev"),
    ],
)
def test_an_unknown_app_is_2_with_a_hint(
    homeport: Homeport, recorded: Path, arguments: Sequence[str]
) -> None:
    result = homeport(*arguments)
    assert result.exit_code == 2
    assert "Did you mean web?" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_traceback_only_with_debug(homeport: Homeport, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> EngineInfo:
        raise ZeroDivisionError("oops")

    monkeypatch.setattr(serve, "engine_info", fail)
    result = homeport("version")
    assert (result.exit_code, "Traceback" in result.stderr) == (1, False)
    assert "ZeroDivisionError: oops" in result.stderr
    assert "Traceback" in homeport("version", "--debug").stderr


# -- status and events --------------------------------------------------------------------------------------


@pytest.mark.usefixtures("recorded")
def test_status_from_the_store_says_that_nothing_runs(homeport: Homeport) -> None:
    result = homeport("status")
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[0].startswith("The service is not running")
    assert lines[1].startswith("Removals held: old")
    assert lines[2].split() == ["APP", "STATUS", "GENERATION", "SINCE", "MESSAGE"]
    assert lines[3].split()[:3] == ["old", "Held", "1"]
    assert lines[4].split()[:3] == ["web", "Ready", "1"]
    assert lines[4].endswith("all; is well")
    assert "\x1b" not in result.stdout


@pytest.mark.usefixtures("recorded")
def test_status_as_json_is_json_alone(homeport: Homeport) -> None:
    result = homeport("status", "web", "-o", "json")
    document = json.loads(result.stdout)
    assert [app["name"] for app in document["apps"]] == ["web"]
    assert document["service"]["running"] is False
    assert document["service"]["held"] == ["old"]
    assert document["service"]["version"] == __version__
    assert "not running" in result.stderr


@pytest.mark.usefixtures("recorded")
def test_status_wide_has_more_columns(homeport: Homeport) -> None:
    assert "REVISION" in homeport("status", "-o", "wide").stdout


def test_status_without_any_state(homeport: Homeport, state: Path) -> None:
    result = homeport("status")
    assert (result.exit_code, "No apps yet" in result.stdout) == (0, True)
    assert not state.exists()


@pytest.mark.usefixtures("recorded")
def test_events(homeport: Homeport) -> None:
    lines = homeport("events", "web").stdout.splitlines()
    assert [line.split()[2] for line in lines] == ["app.discovered", "app.ready"]
    found = json.loads(homeport("events", "--since", "1h", "-o", "json").stdout)["events"]
    assert [(event["event"], event["fields"]) for event in found] == [("app.ready", {"generation": 1})]


@pytest.mark.usefixtures("recorded")
def test_status_of_several_apps_is_a_list_of_them(homeport: Homeport) -> None:
    lines = homeport("status", "web", "old").stdout.splitlines()
    assert [line.split()[0] for line in lines[-2:]] == ["old", "web"]
    result = homeport("status", "web", "odl")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "Did you mean old?" in result.stderr


@pytest.mark.usefixtures("recorded")
def test_status_of_one_app_tells_all_that_is_known_of_it(homeport: Homeport) -> None:
    told = homeport("status", "web").stdout
    for part in ("web\n", "Status: Ready since ", "Conditions\n", "Last events\n", "app.ready"):
        assert part in told
    assert "homeport why" not in told
    assert "`homeport why old`" in homeport("status", "old").stdout


def test_an_app_that_was_never_looked_at_is_the_same_to_all_commands(homeport: Homeport, apps: Path) -> None:
    manifest(apps / "web")
    for arguments in (("status",), ("status", "web"), ("why", "web")):
        told = homeport(*arguments).stdout
        assert "Unknown" in told, arguments
        assert "it was never looked at" in told, arguments
    document = json.loads(homeport("status", "web", "-o", "json").stdout)
    assert [(app["name"], app["summary"]) for app in document["apps"]] == [("web", "Unknown")]


def test_a_folder_whose_name_no_app_can_have_is_told_the_rule_by_all_commands(
    homeport: Homeport, apps: Path, recorded: Path
) -> None:
    (apps / "MyApp").mkdir()
    manifest(apps / "MyApp")
    rule = "MyApp is not an app name (^[a-z][a-z0-9_-]*$, at most 63 characters)"
    for arguments in (("status",), ("status", "MyApp"), ("why", "MyApp")):
        assert f"it is never looked at: {rule}" in homeport(*arguments).stdout, arguments
    assert rule in homeport("wait", "MyApp", "--timeout", "0s").stderr
    assert f"rename {apps}/MyApp" in homeport("why", "MyApp").stdout


def test_since() -> None:
    assert since_time("90s", at(90)) == NOON
    assert since_time("2h", at(7200)) == NOON
    assert since_time("2026-01-01T12:00:00Z", at(5)) == NOON


@pytest.mark.usefixtures("recorded")
def test_a_wrong_since_is_2(homeport: Homeport) -> None:
    assert homeport("events", "--since", "yesterday").exit_code == 2


# -- verbs without a service --------------------------------------------------------------------------------


def test_suspend_and_resume_offline(homeport: Homeport, recorded: Path) -> None:
    result = homeport("suspend", "web")
    assert (result.exit_code, "next start" in result.stderr) == (0, True)
    assert fact(recorded, SUSPENDED + "web") is not None
    assert homeport("resume", "web").exit_code == 0
    assert fact(recorded, SUSPENDED + "web") is None


def test_prune_offline(homeport: Homeport, recorded: Path) -> None:
    assert homeport("prune").stdout == "old: removal held\n"
    assert fact(recorded, APPROVED + "old") is None
    assert homeport("prune", "--approve").stdout == "old: let go\n"
    assert fact(recorded, APPROVED + "old") == "1"


def test_a_locked_state_that_does_not_answer_is_3(homeport: Homeport, recorded: Path) -> None:
    with StateLock(recorded):
        assert homeport("suspend", "web").exit_code == 3


def test_reconcile_prints_actions_and_errors_are_1(
    homeport: Homeport, monkeypatch: pytest.MonkeyPatch
) -> None:
    actions = [Action("compose_up", "web", "1 service")]
    asked: list[object] = []

    def sweep(
        _settings: object, names: tuple[str, ...], dry_run: bool, *, lift: bool = False, **_: object
    ) -> list[Action]:
        asked.append((names, dry_run, lift))
        return actions

    monkeypatch.setattr(serve, "sweep", sweep)
    result = homeport("reconcile", "web", "--dry-run")
    assert (result.exit_code, result.stdout) == (0, "compose_up     web (1 service)\n")
    actions.append(Action("error", "web", "broken"))
    assert homeport("reconcile").exit_code == 1
    assert asked == [(("web",), True, False), ((), False, False)]
    assert [a["kind"] for a in json.loads(homeport("reconcile", "-o", "json").stdout)["actions"]] == [
        "compose_up",
        "error",
    ]


def test_no_engine_is_3(homeport: Homeport, monkeypatch: pytest.MonkeyPatch) -> None:
    def sweep(*_: object, **__: object) -> list[Action]:
        raise EngineUnreachable("no engine answers at x")

    monkeypatch.setattr(serve, "sweep", sweep)
    result = homeport("reconcile")
    assert (result.exit_code, result.stderr) == (3, "homeport: no engine answers at x\n")


def test_plan_says_why(homeport: Homeport, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = Plan((Action("compose_up", "web", cause="it was never applied"),))
    monkeypatch.setattr(serve, "plans", lambda *_: [("db", Plan()), ("web", plan)])
    assert homeport("plan").stdout == "web:\n  compose_up     web - it was never applied\n"
    monkeypatch.setattr(serve, "plans", lambda *_: [("db", Plan())])
    assert homeport("plan").stdout == "Nothing to do.\n"


# -- verbs with a service -----------------------------------------------------------------------------------


def test_a_running_service_is_asked(homeport: Homeport, service: Any) -> None:
    assert homeport("reconcile", "web").stdout == "wait           web (by the service)\n"
    assert "by the service" in homeport("plan").stdout
    assert homeport("suspend", "web").exit_code == 0
    assert homeport("resume", "wev").exit_code == 2
    assert homeport("prune", "--approve").stdout == "old: let go\n"
    assert service.requeued == ["web", "old"]


@pytest.mark.usefixtures("service")
def test_status_takes_the_service_at_its_word(homeport: Homeport) -> None:
    document = json.loads(homeport("status", "-o", "json").stdout)
    assert document["service"]["running"] is True
    assert {app["summary"] for app in document["apps"]} == {"Unknown"}
    result = homeport("status")
    assert result.stdout.startswith("The engine cannot be reached")
    assert "Unknown (was Ready)" in result.stdout


# -- checks -------------------------------------------------------------------------------------------------


def manifest(folder: Path, **fields: object) -> None:
    whole = {
        "name": folder.name,
        "display_name": "W",
        "version": "1",
        "description": "d",
        "volumes": [],
        "ports": [],
    }
    (folder / "manifest.json").write_text(json.dumps({**whole, "icon": "i.svg", **fields}))
    (folder / "docker-compose.yaml").write_text("services:\n  main:\n    image: x\n")


def test_the_help_cuts_no_description_at_80_columns(homeport: Homeport) -> None:
    lines = homeport("--help").stdout.splitlines()
    commands = lines[lines.index("Commands:") + 1 :]
    assert len(commands) == len(cli.commands)
    assert [line for line in commands if line.endswith("...") or len(line) > 80] == []


def test_validate(homeport: Homeport, apps: Path) -> None:
    manifest(apps / "web")
    result = homeport("validate")
    assert (result.exit_code, result.stdout.splitlines()[0]) == (0, "web: fine")
    manifest(apps / "web", ports="none")
    result = homeport("validate", str(apps / "web"))
    assert result.exit_code == 1
    assert "manifest.json" in result.stderr
    assert "ports" in result.stderr
    document = json.loads(homeport("validate", "-o", "json").stdout)
    assert document["apps"][0]["valid"] is False


def test_validate_says_what_compose_finds_wrong(homeport: Homeport, tmp_path: Path) -> None:
    folder = tmp_path / "notes"
    folder.mkdir()
    manifest(folder)
    (folder / "docker-compose.yaml").write_text("services: {web: {image: x, innit: true}}\n")
    result = homeport("validate", str(folder))
    assert result.exit_code == 1
    assert "notes: docker-compose.yaml: " in result.stderr
    assert "innit" in result.stderr
    (folder / "docker-compose.yaml").write_text("services: {web: {image: x, init: true}}\n")
    assert homeport("validate", str(folder)).exit_code == 0


def test_validate_takes_a_manifest_for_its_folder(homeport: Homeport, apps: Path) -> None:
    manifest(apps / "web")
    assert homeport("validate", str(apps / "web" / "manifest.json")).stdout == "web: fine\n"
    result = homeport("validate", str(apps / "web" / "docker-compose.yaml"))
    assert (result.exit_code, "neither an app's folder nor its manifest.json" in result.stderr) == (2, True)


def test_validate_warns_of_volumes_that_nobody_uses_or_makes(homeport: Homeport, apps: Path) -> None:
    manifest(apps / "web", volumes=["data", "spare"])
    compose = "services: {main: {image: x, volumes: ['furtka_web_data:/d', 'other:/o']}}\n"
    volumes = "volumes: {furtka_web_data: {external: true}, other: {external: true}}\n"
    (apps / "web" / "docker-compose.yaml").write_text(compose + volumes)
    result = homeport("validate")
    lines = result.stdout.splitlines()
    assert (result.exit_code, lines[0], len(lines)) == (0, "web: fine", 3)
    assert lines[1].startswith("web: warning: manifest.json: volumes: spare: no compose file names it")
    assert lines[2].startswith("web: warning: docker-compose.yaml: volumes: other is external")


def test_validate_tells_what_is_wrong_in_all_files_at_once(homeport: Homeport, apps: Path) -> None:
    db, web = apps / "db", apps / "web"
    db.mkdir()
    manifest(db)
    requires = [
        {"app": "db", "on_install": "scripts/make.sh", "on_start": "scripts/there.sh"},
        {"app": "queue", "on_install": "scripts/x.sh"},
        {"app": "../db", "on_install": "manifest.json"},
    ]
    (db / "scripts").mkdir()
    (db / "scripts" / "there.sh").write_text("echo\n")
    manifest(web, ports="none", requires=requires)
    (web / "docker-compose.yaml").write_text("services: {main: {image: x, innit: true}}\n")
    document = json.loads(homeport("validate", str(web), "-o", "json").stdout)
    (result,) = document["apps"]
    assert [(problem["file"], problem["field"]) for problem in result["problems"]] == [
        ("manifest.json", "ports"),
        ("manifest.json", "requires[2].app"),
        ("docker-compose.yaml", ""),
        ("manifest.json", "requires[0].on_install"),
    ]
    assert "innit" in result["problems"][2]["rule"]
    assert (
        f"db has no scripts/make.sh: the hook would fail; put the script into {db}"
        in result["problems"][3]["rule"]
    )
    (warning,) = (text for text in result["warnings"] if "queue" in text)
    assert warning.startswith("manifest.json: requires[1].app: queue is not in the apps tree")
    # And a file that Compose cannot be asked about keeps nothing else from being told.
    (web / ".env").write_text("A='1\n")
    document = json.loads(homeport("validate", str(web), "-o", "json").stdout)
    found = [problem["file"] for problem in document["apps"][0]["problems"]]
    assert found == ["manifest.json", "manifest.json", ".env", "manifest.json"]


def test_validate_asks_compose_also_while_a_setting_is_empty(homeport: Homeport, apps: Path) -> None:
    settings = [{"name": "PORT", "required": True}]
    manifest(apps / "web", settings=settings)
    compose = "services: {main: {image: x, ports: ['${PORT}:80'], %s: true}}\n"
    (apps / "web" / "docker-compose.yaml").write_text(compose % "init")
    result = homeport("validate")
    assert (result.exit_code, "to be configured: .env: PORT: is required" in result.stdout) == (0, True)
    (apps / "web" / "docker-compose.yaml").write_text(compose % "innit")
    result = homeport("validate")
    assert (result.exit_code, "innit" in result.stderr) == (1, True)
    manifest(apps / "web", settings=settings, icon=3)
    (apps / "web" / "docker-compose.yaml").write_text(compose % "init")
    result = homeport("validate")
    assert (result.exit_code, result.stderr) == (1, "web: manifest.json: icon: must be a string\n")


@pytest.mark.parametrize("place", ["beside it", "in the tree", "in a catalog"])
def test_validate_finds_a_provider_where_install_would(
    homeport: Homeport, apps: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    monkeypatch.setenv("HOMEPORT_CATALOG", str(tmp_path / "shelf"))
    provider = {"beside it": tmp_path / "mine", "in the tree": apps, "in a catalog": tmp_path / "shelf"}[
        place
    ] / "db"
    (provider / "scripts").mkdir(parents=True)
    manifest(provider)
    (provider / "scripts" / "make.sh").write_text("echo\n")
    folder = tmp_path / "mine" / "shop"
    folder.mkdir(parents=True)
    manifest(folder, requires=[{"app": "db", "on_install": "scripts/make.sh"}])
    result = homeport("validate", str(folder))
    assert (result.exit_code, result.output) == (0, "shop: fine\n")


def test_validate_finds_an_app_that_comes_to_require_itself(homeport: Homeport, apps: Path) -> None:
    for name, required in (("web", "db"), ("db", "cache"), ("cache", "web"), ("blog", "web")):
        (apps / name).mkdir(exist_ok=True)
        manifest(apps / name, requires=[{"app": required}])
    result = homeport("validate")
    assert (result.exit_code, result.stdout) == (1, "blog: fine\n"), (
        "who only waits for them is in order itself"
    )
    assert result.stderr.splitlines() == [
        f"{chain[0]}: manifest.json: requires: requires itself: {' -> '.join(chain)}; take one of these out of `requires`"
        for chain in (
            ("cache", "web", "db", "cache"),
            ("db", "cache", "web", "db"),
            ("web", "db", "cache", "web"),
        )
    ]
    assert homeport("validate", str(apps / "db")).exit_code == 1, (
        "the others are read though only one is asked about"
    )
    edited = apps.parent / "edited"
    for name, requires in (("db", []), ("web", [{"app": "db"}])):
        (edited / name).mkdir(parents=True)
        manifest(edited / name, requires=requires)
    together = [str(edited / "web"), str(edited / "db")]
    assert homeport("validate", *together).exit_code == 0, "an edit that mends it"
    assert homeport("validate", together[0]).exit_code == 1, "without the other half of it"
    (apps / "cache" / "manifest.json").write_text("{")
    assert "requires itself" not in homeport("validate").stderr


def test_validate_follows_however_many_requirements_there_are(homeport: Homeport, apps: Path) -> None:
    names = [f"p{number}" for number in range(25)]
    for name in names:
        (apps / name).mkdir()
        manifest(apps / name, requires=[{"app": "web"}] if name == "p24" else [])
    manifest(apps / "web", requires=[{"app": name} for name in names])
    assert "requires itself: web -> p24 -> web" in homeport("validate", str(apps / "web")).stderr


def test_validate_warns_of_what_only_one_of_several_apps_can_have(homeport: Homeport, apps: Path) -> None:
    services = {
        "blog": "ports: ['127.0.0.1:8080:80'], container_name: front",
        "shop": "ports: ['127.0.0.2:8080:80', '8080:80/udp']",
        "web": "ports: ['8080:80', '9000:90'], container_name: front",
        "wiki": "ports: ['8080:80'], scale: 0",
    }
    for name, lines in services.items():
        (apps / name).mkdir(exist_ok=True)
        manifest(apps / name)
        (apps / name / "docker-compose.yaml").write_text(f"services: {{main: {{image: x, {lines}}}}}\n")
    document = json.loads(homeport("validate", "-o", "json").stdout)
    end = "(service main) wants, too: only one of the two can have it"
    assert {app["name"]: app["warnings"] for app in document["apps"]} == {
        "blog": [
            f"services.main: host port 8080/tcp is what web {end}",
            f"services.main: container name front is what web {end}",
        ],
        "shop": [f"services.main: host port 8080/tcp is what web {end}"],
        "web": [
            f"services.main: host port 8080/tcp is what blog {end}",
            f"services.main: host port 8080/tcp is what shop {end}",
            f"services.main: container name front is what blog {end}",
        ],
        "wiki": [],
    }
    assert all(app["valid"] for app in document["apps"]), "each of them can run"
    assert homeport("validate", str(apps / "web")).stdout == "web: fine\n"
    edited = apps.parent / "edited" / "blog"
    edited.mkdir(parents=True)
    manifest(edited)
    result = homeport("validate", str(apps / "blog"), str(edited), str(apps / "web"))
    assert result.stdout.count("host port 8080/tcp is what blog") == 1, (
        "the other folder of that name has no port"
    )
    assert len(result.stdout.splitlines()) == 3 + 4, "and two versions of one app are no rivals"


def test_validate_holds_the_port_of_a_job_against_what_runs(homeport: Homeport, apps: Path) -> None:
    job = "job: {image: x, labels: {homeport.job: 'true'}, ports: ['8080:80']}"
    for name, services in (("one", job), ("two", job), ("web", "main: {image: x, ports: ['8080:80']}")):
        (apps / name).mkdir(exist_ok=True)
        manifest(apps / name)
        (apps / name / "docker-compose.yaml").write_text(f"services: {{{services}}}\n")
    document = json.loads(homeport("validate", "-o", "json").stdout)
    assert {app["name"]: len(app["warnings"]) for app in document["apps"]} == {"one": 1, "two": 1, "web": 2}


def test_validate_of_no_folder_is_2(homeport: Homeport, tmp_path: Path) -> None:
    assert homeport("validate", str(tmp_path / "nothing")).exit_code == 2


def test_version(homeport: Homeport, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serve, "engine_info", lambda _: EngineInfo("28.0", "5.1"))
    document = json.loads(homeport("version", "-o", "json").stdout)
    assert document == {"homeport": __version__, "compose": "5.1", "engine": "28.0"}


def test_doctor(homeport: Homeport, apps: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serve, "engine_info", lambda _: EngineInfo("28.0", "5.1"))
    env = apps / "web" / ".env"
    env.write_text("A=1\n")
    env.chmod(0o644)
    result = homeport("doctor")
    assert f"chmod 600 {env}" in result.stdout
    assert "ok   engine: Docker 28.0" in result.stdout
    assert {line.split()[0] for line in result.stdout.splitlines()} <= {"ok", "warn", "fail"}


def test_doctor_without_an_engine_is_1(homeport: Homeport, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: object) -> EngineInfo:
        raise EngineUnreachable("no engine")

    monkeypatch.setattr(serve, "engine_info", fail)
    result = homeport("doctor", "-o", "json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["checks"][0]["level"] == "fail"


def test_a_tree_that_was_never_there_is_to_be_made_and_one_that_held_apps_is_not(
    homeport: Homeport, apps: Path, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serve, "engine_info", lambda _: EngineInfo("28.0", "5.1"))
    shutil.rmtree(apps)
    for command in ("doctor", "status"):
        told = " ".join(homeport(command).stdout.split())
        assert f"{apps} is not there, and no app of it is on record: `mkdir -p {apps}` makes it" in told
        assert "mount" not in told
        assert "No apps yet" not in told
    with SqliteStore(state) as store:
        store.save(record("web", generation=1))
        store.put(ROOT_ID, "ours")
    for command in ("doctor", "status"):
        told = " ".join(homeport(command).stdout.split())
        assert f"{apps} is not there; is its disk mounted? It held 1 app that is on record" in told
        assert "mkdir" not in told
    apps.mkdir()  # and that is not it
    assert "holds none of the 1 known apps" in homeport("doctor").stdout
    assert not list(apps.iterdir()), "who only looks marks no tree"


def test_what_a_tree_held_is_not_known_where_the_state_cannot_be_read(
    homeport: Homeport, apps: Path, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serve, "engine_info", lambda _: EngineInfo("28.0", "5.1"))
    shutil.rmtree(apps)
    state.mkdir()
    (state / "homeport.db").write_text("rubbish " * 1000)
    told = " ".join(homeport("doctor").stdout.split())
    assert (
        f"{apps} is not there, and whether it held apps cannot be known: mount it, or make it if it never was"
        in told
    )
    assert "`homeport doctor`" not in told, "who reads this has called it"
    assert "owner and mode" not in told
    apps.write_text("a file")
    assert f"{apps} is not a folder" in " ".join(homeport("doctor").stdout.split())


def test_the_tree_of_a_service_is_told_as_the_service_found_it() -> None:
    service = {"running": True, "appsRoot": "/apps", "tree": {"readable": False, "message": "is not there"}}
    document = {"service": service, "apps": [], "left": {}}
    assert screens.status(document, NOON, Page()) == ["The apps tree /apps is not there."]


@pytest.mark.usefixtures("no_engine")
def test_what_a_tree_that_is_not_there_would_need_is_no_nothing(homeport: Homeport, apps: Path) -> None:
    shutil.rmtree(apps)
    for command in (["plan"], ["reconcile", "--dry-run"]):
        result = homeport(*command)
        assert (result.exit_code, f"apps tree {apps} (is not there" in result.stdout) == (1, True), command
    assert homeport("plan").stdout.startswith("apps tree:\n")
    (plan,) = json.loads(homeport("plan", "-o", "json").stdout)["plans"]
    assert (plan["app"], plan["actions"][0]["kind"]) == ("", "error"), (
        "a name is an app's that can be asked for"
    )


# -- looks --------------------------------------------------------------------------------------------------


def test_small_printing() -> None:
    assert [age(at(0), at(s)) for s in (5, 600, 7200, 172800)] == ["5s", "10m", "2h", "2d"]
    assert age(None, NOON) == "-"
    assert aligned([["A", "B"], ["long", ""]]) == ["A     B", "long"]
    assert clean("a\nb\x1b[31m") == "a; b [31m"

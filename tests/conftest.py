"""The ground every test stands on.

One Docker engine of the tests' own is started for the whole run, before the workers of pytest-xdist, and
`DOCKER_HOST` leads to it: no test can touch the engine of the machine by mistake. `HOMEPORT_TEST_ENGINE` chooses
another way:

    private     an engine of our own, or none
    reachable   the engine of the machine
    none        no engine
    (not set)   an engine of our own; where that cannot be, the engine of the machine; else none

Without an engine the tests marked `engine` are skipped, said in one line at the end; with `CI` set they fail.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import docker
import docker.errors
import hypothesis
import pytest

from rig.cleanup import EngineCleanup
from rig.engine import EngineError, PrivateEngine, answers, api, build_sample_image, children, sweep, unable
from rig.service import Home, free_port
from rig.waiting import wait_until

CHOICE = "HOMEPORT_TEST_ENGINE"
HOST = "HOMEPORT_TEST_DOCKER_HOST"
REASON = "HOMEPORT_TEST_NO_ENGINE"
PATIENCE = float(os.environ.get("HOMEPORT_TEST_PATIENCE", "5"))  # seconds for a thread or a child to end
NOWHERE = "unix:///nonexistent/no-engine-in-this-test-run.sock"

session_engine: pytest.StashKey[PrivateEngine] = pytest.StashKey()

# Four workers on two cores: a time limit for each example would measure the neighbours.
hypothesis.settings.register_profile("homeport", deadline=None, print_blob=True)
hypothesis.settings.load_profile("homeport")


# ---- the engine of the run ----


def pytest_configure(config: pytest.Config) -> None:
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        # So a shell starts what runs in the background, and so would every child of ours: Ctrl-C would end none.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if hasattr(config, "workerinput") or not _runs_engine_tests(config):
        return
    os.environ.pop(HOST, None)
    try:
        host = _find_engine(config)
        build_sample_image(host)
        os.environ[HOST] = os.environ["DOCKER_HOST"] = host
        os.environ.pop(REASON, None)
    except Exception as error:  # whatever it is: the tests that need no engine can run
        os.environ[REASON] = str(error)
        os.environ["DOCKER_HOST"] = NOWHERE
    os.environ.pop("DOCKER_CONTEXT", None)


def _runs_engine_tests(config: pytest.Config) -> bool:
    option = config.option
    if option.collectonly or option.help or option.version or getattr(option, "markers", False):
        return False
    if option.markexpr.strip() == "not engine":
        os.environ["DOCKER_HOST"] = NOWHERE
        return False
    return True


def _find_engine(config: pytest.Config) -> str:
    choice = os.environ.get(CHOICE, "")
    if choice not in ("", "private", "reachable", "none"):
        raise EngineError(f"{CHOICE}={choice}: not one of private, reachable, none")
    if choice == "none":
        raise EngineError(f"{CHOICE}=none")
    reason = unable()
    if choice != "reachable" and reason is None:
        sweep()
        engine = config.stash[session_engine] = PrivateEngine()
        return engine.start().host
    if choice == "private":
        raise EngineError(str(reason))
    try:
        client = docker.from_env(timeout=5)
        try:
            client.ping()
        finally:
            client.close()
    except docker.errors.DockerException as error:
        raise EngineError(f"{reason or 'chosen: reachable'}, and no engine answers: {error}") from error
    return os.environ.get("DOCKER_HOST") or "unix:///var/run/docker.sock"


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    engine = session.config.stash.get(session_engine, None)
    if engine is not None and engine.running and answers(engine.host):
        with api(engine.host) as client:
            left = [(container["Names"] or ["?"])[0] for container in client.containers(all=True)]
        if left and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
            print(f"\nleft on the engine of the tests: {', '.join(left)}")


def pytest_unconfigure(config: pytest.Config) -> None:
    engine = config.stash.get(session_engine, None)
    if engine is not None:
        engine.stop()


# ---- tests that need it ----


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("engine") and HOST not in os.environ:
        _without_engine()


def _without_engine() -> None:
    text = f"needs a Docker engine: {os.environ.get(REASON, 'none was started')}"
    if os.environ.get("CI"):
        pytest.fail(f"{text} (CI is set, so this is no reason to skip)", pytrace=False)
    pytest.skip(text)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    reports = terminalreporter.getreports("skipped")
    skipped = sum("needs a Docker engine" in str(report.longrepr) for report in reports)
    if skipped:
        reason = os.environ.get(REASON, "none was started").splitlines()[0]
        line = f"NO DOCKER ENGINE: {skipped} tests that need one were SKIPPED ({reason})"
        terminalreporter.write_line(line, red=True, bold=True)


@pytest.fixture(scope="session")
def engine_host() -> str:
    """Address of the engine of this run (unix://…); `homeport/sample:1` is there. All tests share it."""
    if HOST not in os.environ:
        _without_engine()
    return os.environ[HOST]


@pytest.fixture
def private_engine() -> Iterator[PrivateEngine]:
    """A running engine for this test alone, with `homeport/sample:1`, for tests that kill it or fill it."""
    if os.environ.get(CHOICE) == "none" or unable():
        os.environ.setdefault(REASON, unable() or f"{CHOICE}=none")
        _without_engine()
    engine = PrivateEngine()
    try:
        engine.start()
        build_sample_image(engine.host)
        yield engine
    finally:
        engine.stop()


@pytest.fixture
def app_prefix() -> str:
    """What the names of this test's apps on the shared engine begin with, e.g. `t3f9a01-`."""
    return f"t{uuid4().hex[:6]}-"


@pytest.fixture
def engine_cleanup(engine_host: str, app_prefix: str) -> Iterator[EngineCleanup]:
    """Looks at, and after the test removes, all that apps with this test's prefix have on the shared engine.

    Every test marked `engine` has it, asked for or not, unless it works on a `private_engine` only. It fails
    when something cannot be removed or comes back: then something the test started still runs.
    """
    cleanup = EngineCleanup(engine_host, app_prefix)
    yield cleanup
    cleanup.remove_all()


# ---- nothing is left behind ----


@pytest.fixture(autouse=True)
def _no_leaks() -> Iterator[None]:
    """Fails a test that leaves a thread or a child process behind."""
    threads, processes = set(threading.enumerate()), set(children(os.getpid()))

    def leaks() -> list[str]:
        new_threads = [f"thread {t.name}" for t in threading.enumerate() if t not in threads]
        return new_threads + [_describe(pid) for pid in children(os.getpid()) if pid not in processes]

    yield
    try:
        wait_until(lambda: not leaks(), "no thread and no child process is left", timeout=PATIENCE)
    except AssertionError:
        pytest.fail(f"left behind by this test: {', '.join(leaks())}", pytrace=False)


@pytest.fixture(autouse=True)
def _engine_left_clean(request: pytest.FixtureRequest, _no_leaks: None) -> None:
    if request.node.get_closest_marker("engine") is None:
        return
    if "private_engine" in request.fixturenames and "engine_host" not in request.fixturenames:
        return
    request.getfixturevalue("engine_cleanup")


def _describe(pid: int) -> str:
    try:
        command = Path("/proc", str(pid), "cmdline").read_text(errors="replace").replace("\0", " ").strip()
    except OSError:
        command = ""
    return f"process {pid} ({command or 'a zombie that nobody waited for'})"


@pytest.fixture
def home(tmp_path: Path, engine_host: str, app_prefix: str, engine_cleanup: EngineCleanup) -> Iterator[Home]:
    """A home of its own on the engine that all tests share: an empty apps tree; the test starts the service when it
    likes. Stopped at the end."""
    home = Home(tmp_path, engine_host, app_prefix)
    yield home
    home.stop()


@pytest.fixture(name="free_port")
def _free_port() -> int:
    """A port of this machine that nobody listens on at this moment."""
    return free_port()

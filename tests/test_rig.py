"""The rig itself: what the other tests rely on."""

from __future__ import annotations

import re
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import docker
import pytest

from rig.cleanup import EngineCleanup
from rig.engine import SAMPLE_IMAGE, PrivateEngine, answers, api
from rig.waiting import wait_until

PROJECT = "com.docker.compose.project"


def run(client: Any, name: str, command: list[str], **host_config: Any) -> str:
    """Starts a container of the sample image, labelled as compose would label it."""
    project = name.rpartition("-web")[0] or name
    container = client.create_container(
        SAMPLE_IMAGE,
        command,
        name=name,
        labels={PROJECT: project},
        stop_timeout=0,
        ports=list(host_config.get("port_bindings", {})),
        host_config=client.create_host_config(**host_config),
    )
    client.start(container["Id"])
    return str(container["Id"])


@pytest.mark.engine
def test_the_engine_answers_and_has_the_sample_image(engine_host: str) -> None:
    assert answers(engine_host)
    with api(engine_host) as client:
        assert SAMPLE_IMAGE in client.inspect_image(SAMPLE_IMAGE)["RepoTags"]


@pytest.mark.engine
def test_cleanup_removes_what_a_test_left(engine_host: str, engine_cleanup: EngineCleanup) -> None:
    prefix = engine_cleanup.prefix
    assert re.fullmatch("[a-z][a-z0-9_-]*", prefix)
    with api(engine_host) as client:
        client.create_network(f"{prefix}a_default", labels={PROJECT: f"{prefix}a"})
        client.create_volume(f"furtka_{prefix}a_data")
        run(client, f"{prefix}a-web-1", ["sleep", "infinity"], network_mode=f"{prefix}a_default")
    assert engine_cleanup.containers() == [f"{prefix}a-web-1"]
    assert engine_cleanup.networks() == [f"{prefix}a_default"]
    assert engine_cleanup.volumes() == [f"furtka_{prefix}a_data"]
    engine_cleanup.remove_all()
    assert engine_cleanup.left() == []


@pytest.mark.engine
def test_containers_find_each_other_by_name_and_publish_ports(private_engine: PrivateEngine) -> None:
    with api(private_engine.host) as client:
        for n in range(40):  # a stock engine ends at about 30
            client.create_network(f"n{n}")
        server = ["sh", "-c", "echo hello >/srv/index.html; exec httpd -f -p 80 -h /srv"]
        client.create_network("shared")
        one = run(client, "one", server, network_mode="shared", port_bindings={80: ("127.0.0.1", None)})
        port = client.port(one, 80)[0]["HostPort"]

        def page() -> bytes:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=2) as answer:
                    return bytes(answer.read())
            except OSError:
                return b""

        assert wait_until(page, "the published port answers") == b"hello\n"
        two = run(client, "two", ["timeout", "5", "wget", "-qO-", "http://one/"], network_mode="shared")
        assert client.wait(two)["StatusCode"] == 0
        assert client.logs(two) == b"hello\n"


@pytest.mark.engine
def test_an_engine_that_was_killed_starts_again(private_engine: PrivateEngine) -> None:
    server = ["sh", "-c", "echo hello >/srv/index.html; exec httpd -f -p 80 -h /srv"]
    with api(private_engine.host) as client:
        client.create_network("old")
        name = run(client, "one", server, restart_policy={"Name": "always"}, network_mode="old")
    private_engine.kill9()
    assert not answers(private_engine.host)
    private_engine.start()
    with api(private_engine.host) as client:
        wait_until(lambda: client.inspect_container(name)["State"]["Running"], "the container runs again")
        client.create_network("new")
        client.connect_container_to_network(name, "new")
        for network in ("old", "new"):
            asks = run(
                client,
                f"asks-{network}",
                ["timeout", "5", "wget", "-qO-", "http://one/"],
                network_mode=network,
            )
            assert client.wait(asks)["StatusCode"] == 0


@pytest.mark.engine
def test_docker0_of_the_machine_is_left_alone(private_engine: PrivateEngine) -> None:
    """dockerd removes it with `--bridge=none`, and when it is started again with an address pool."""
    docker0 = Path("/sys/class/net/docker0")
    if not docker0.exists():
        pytest.skip("this machine has none")
    identity = (docker0 / "ifindex").read_text()
    private_engine.kill9()
    private_engine.start()
    private_engine.stop()
    assert (docker0 / "ifindex").read_text() == identity


@pytest.mark.engine
def test_stop_leaves_nothing_even_after_a_kill(private_engine: PrivateEngine) -> None:
    with api(private_engine.host) as client:
        client.create_network("left")
        run(client, "web", ["sleep", "infinity"], network_mode="left")
        bridge = f"br-{client.inspect_network('left')['Id'][:12]}"
    assert Path("/sys/class/net", bridge).exists()
    private_engine.kill9()
    private_engine.stop()
    assert not private_engine.directory.exists()
    assert not Path("/sys/class/net", bridge).exists()
    assert list(private_engine._processes()) == []
    assert str(private_engine.directory) not in Path("/proc/self/mountinfo").read_text()


LEAKS = {
    "thread": """
import threading
def test_it():
    threading.Thread(target=threading.Event().wait, args=(30,), daemon=True).start()
""",
    "process": """
import subprocess
kept = []
def test_it():
    kept.append(subprocess.Popen(["sleep", "2"]))
""",
}


@pytest.mark.parametrize("kind", LEAKS)
def test_a_test_that_leaks_fails(kind: str, tmp_path: Path) -> None:
    module = tmp_path / "test_leak.py"
    module.write_text(LEAKS[kind])
    here = Path(__file__).parent
    options: list[str | Path] = [
        "-c",
        here.parent / "setup.cfg",
        f"--rootdir={here.parent}",
        "-p",
        "conftest",
        "-m",
        "not engine",
    ]
    result = subprocess.run(
        [sys.executable, "-m", "pytest", *options, module],
        cwd=here,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(here), "HOMEPORT_TEST_PATIENCE": "0.2"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 1, result.stdout + result.stderr
    assert re.search(rf"left behind by this test: {kind} ", result.stdout)


@pytest.mark.engine
def test_an_engine_that_can_remove_nothing_any_more_is_taken_away_all_the_same_and_says_so(
    private_engine: PrivateEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    with api(private_engine.host) as client:
        bridge = f"br-{client.create_network('left')['Id'][:12]}"
        run(client, "stuck-web-1", ["sleep", "infinity"])
    assert Path("/sys/class/net", bridge).exists()
    monkeypatch.setattr(docker.APIClient, "remove_container", lambda *_a, **_o: None)
    monkeypatch.setattr("rig.engine.REMOVAL", 0.5)
    with pytest.raises(AssertionError, match="has no container"):
        private_engine.stop()
    assert not private_engine.directory.exists()
    assert not Path("/sys/class/net", bridge).exists()
    assert list(private_engine._processes()) == []

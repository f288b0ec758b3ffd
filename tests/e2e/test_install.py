"""Apps from a catalog, and folders that people bring along: installed by command, run by the service."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from rig.pair import CONSUMER, INSTALL, PROVIDER
from rig.service import SLEEPER, Home, ready_of
from rig.waiting import wait_until

pytestmark = pytest.mark.engine


@pytest.fixture
def catalog(home: Home) -> Path:
    """A catalog of its own beside the tree."""
    folder = home.apps.parent / "catalog"
    folder.mkdir()
    return folder


def tree(home: Home) -> set[str]:
    """What is in the apps tree, except the service's own files."""
    return {entry.name for entry in home.apps.iterdir()} - {".homeport", ".homeport.lock"}


def test_install_brings_providers_first_runs_their_hooks_and_all_is_ready(home: Home, catalog: Path) -> None:
    settings = [{"name": "OWNER", "label": "Owner", "required": True}]
    requires = [{"app": home.name("db"), "on_install": "scripts/install.sh"}]
    home.put("db", PROVIDER, {"scripts/install.sh": INSTALL}, into=catalog, volumes=["data"])
    compose = CONSUMER.replace("environment: {", 'environment: {OWNER_: "${OWNER:?}", ')
    home.put("app", compose, into=catalog, requires=requires, settings=settings)
    home.start()
    db, app = home.name("db"), home.name("app")
    done = home.run("install", app, "--catalog", str(catalog), "--set", "OWNER=s3cret me", "--yes")
    assert done.returncode == 0, done.stderr
    assert done.stdout.index(f"  {db}") < done.stdout.index(f"  {app}"), "providers first"
    assert "s3cret" not in done.stdout + done.stderr
    waited = home.run("wait", app, "--for", "Ready", "--timeout", "30s")
    assert (waited.returncode, waited.stdout) == (0, f"{app} is Ready.\n")
    home.wait("db", "Ready")
    env = home.env_of("app")
    assert (env["OWNER_"], env["USER_"], env["PASSWORD_"]) == ("s3cret me", app, 'p$w "q')
    assert (home.apps / app / ".env").stat().st_mode & 0o777 == 0o600
    assert "s3cret" not in home.log_file.read_text()
    assert home.run("install", app, "--catalog", str(catalog), "--yes").returncode == 1, "it is there already"


def test_what_cannot_be_installed_is_refused_with_its_chain_and_nothing_is_written(
    home: Home, catalog: Path
) -> None:
    x, y, z = (home.name(short) for short in "xyz")
    home.put("x", into=catalog, requires=[{"app": y}])
    home.put("y", into=catalog, requires=[{"app": x}])
    home.put("z", into=catalog, requires=[{"app": "nobody-has-it"}])
    home.start()
    wait_until(lambda: home.log("service.watching"), "the tree has its id")
    before = tree(home)
    for app, chain in ((x, f"{x} -> {y} -> {x}"), (z, f"{z} needs nobody-has-it")):
        done = home.run("install", app, "--catalog", str(catalog), "--yes")
        assert done.returncode == 1
        assert chain in done.stderr
    assert home.run("install", "nobody-has-it", "--catalog", str(catalog), "--yes").returncode == 2
    assert tree(home) == before


def test_an_install_that_is_killed_leaves_a_dot_folder_that_no_app_comes_from(
    home: Home, catalog: Path
) -> None:
    big = home.put("big", into=catalog)
    for number in range(2000):
        (big / f"file{number}").write_bytes(b"x" * 10_000)
    home.start()
    with subprocess.Popen(
        [sys.executable, "-m", "controller", "install", str(big), "--yes"],
        env=home.environment(), stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL,
    ) as process:  # fmt: skip
        wait_until(lambda: list(home.apps.glob(".homeport-install-*/*/file1")), "it copies", interval=0.001)
        os.kill(process.pid, signal.SIGKILL)
    (left,) = tree(home)
    assert left.startswith(".homeport-install-")
    home.run("reconcile")
    assert home.status("big") is None
    assert not home.containers()
    assert home.run("install", str(big), "--yes").returncode == 0
    home.wait("big", "Ready")


def test_init_makes_a_manifest_for_a_compose_file_that_runs_when_it_is_dropped_in(home: Home) -> None:
    folder = home.apps.parent / home.name("bare")
    folder.mkdir()
    compose = SLEEPER + '    environment: {GREETING: "${GREETING:-hello}", TOKEN: "${API_TOKEN:?}"}\n'
    compose += f"    volumes: ['data:/data']\nvolumes: {{data: {{name: furtka_{folder.name}_data, external: true}}}}\n"
    (folder / "compose.yaml").write_text(compose)
    assert home.run("validate", str(folder)).returncode == 1
    assert home.run("init", str(folder)).returncode == 0
    assert home.run("init", str(folder)).returncode == 1, "a manifest that is there is not touched"
    checked = home.run("validate", str(folder))
    assert (checked.returncode, f"{folder.name}: fine" in checked.stdout) == (0, True), checked.stderr
    assert json.loads((folder / "manifest.json").read_text())["volumes"] == ["data"]
    home.start()
    folder.rename(home.apps / folder.name)
    status = home.wait("bare", "NeedsConfiguration")
    assert "API_TOKEN" in ready_of(status)["message"]
    assert home.run("set", folder.name, "API_TOKEN=t0ken").returncode == 0
    home.wait("bare", "Ready")
    assert home.env_of("bare")["TOKEN"] == "t0ken"


def test_schema_prints_what_is_shipped(home: Home) -> None:
    shipped = Path(__file__).parents[2] / "manifests" / "manifest.schema.json"
    assert home.run("schema").stdout == shipped.read_text()


BROKER = """\
services:
  mosquitto:
    image: homeport/sample:1
    container_name: "@mosquitto"
    restart: unless-stopped
    command: ["sh", "-c", "cat /mosquitto/config/mosquitto.conf; exec sleep 100000"]
    init: true
    network_mode: none
    stop_grace_period: 0s
    volumes: ["data:/mosquitto/data", "./mosquitto.conf:/mosquitto/config/mosquitto.conf:ro"]
volumes: {data: {name: "furtka_@mosquitto_data", external: true}}
"""
ADD_USER = """\
set -eu
password=${FURTKA_CONSUMER_ENV_MQTT_PASSWORD:-$(od -An -tx1 -N12 /dev/urandom | tr -d ' \\n')}
echo "$FURTKA_CONSUMER_APP:$password" >> /mosquitto/data/password_file
echo "MQTT_USER=$FURTKA_CONSUMER_APP"
echo "MQTT_PASSWORD=$password"
"""
BRIDGE = """\
services:
  zigbee2mqtt:
    image: homeport/sample:1
    command: ["sleep", "100000"]
    init: true
    network_mode: none
    stop_grace_period: 0s
    environment: {SERIAL: "${SERIAL_PORT}", USER: "${MQTT_USER}", PASS: "${MQTT_PASSWORD}", TOPIC: "${BASE_TOPIC}"}
    volumes: ["data:/app/data"]
volumes: {data: {name: "furtka_@zigbee2mqtt_data", external: true}}
"""
BRIDGE_SETTINGS = [
    {"name": "SERIAL_PORT", "label": "Stick", "required": True},
    {"name": "BASE_TOPIC", "label": "Topic", "default": "zigbee2mqtt"},
    {"name": "MQTT_USER", "label": "User", "required": True},
    {"name": "MQTT_PASSWORD", "label": "Password", "type": "password", "required": True},
]


def test_a_bridge_and_its_broker_are_put_in_edited_broken_and_mended_and_taken_out(home: Home) -> None:
    requires = [{"app": home.name("mosquitto"), "on_install": "scripts/add-user.sh"}]
    example = {".env.example": "# the stick\nSERIAL_PORT=changeme\nMQTT_USER=\nMQTT_PASSWORD=\n"}
    bridge = home.put(
        "zigbee2mqtt", BRIDGE, example, volumes=["data"], settings=BRIDGE_SETTINGS, requires=requires
    )
    files = {"mosquitto.conf": "listener 1883\n", "scripts/add-user.sh": ADD_USER}
    broker = home.put("mosquitto", BROKER, files, volumes=["data"], ports=[1883])
    home.start()
    message = ready_of(home.wait("zigbee2mqtt", "NeedsConfiguration"))["message"]
    assert "SERIAL_PORT: is a placeholder" in message
    assert "MQTT" not in message, "what the hook gives need not be filled in"
    assert home.run("set", bridge.name, "SERIAL_PORT=/dev/ttyUSB0").returncode == 0
    home.wait("zigbee2mqtt", "Ready")
    env = home.env_of("zigbee2mqtt", "zigbee2mqtt")
    assert (env["SERIAL"], env["USER"], env["TOPIC"]) == ("/dev/ttyUSB0", bridge.name, "zigbee2mqtt")
    # A person who writes the file anew leaves out what a hook had put there: it is seeded empty, and made again.
    (bridge / ".env").write_text("SERIAL_PORT=/dev/ttyACM0\n")
    wait_until(
        lambda: home.env_of("zigbee2mqtt", "zigbee2mqtt").get("SERIAL") == "/dev/ttyACM0", "applied", 20
    )
    home.wait("zigbee2mqtt", "Ready")
    assert len(home.env_of("zigbee2mqtt", "zigbee2mqtt")["PASS"]) == 24

    before = home.ids("zigbee2mqtt")
    (broker / "mosquitto.conf").write_text("listener 1884\n")
    wait_until(lambda: "listener 1884" in home.run("logs", broker.name).stdout, "the broker read it")
    home.wait("mosquitto", "Ready")
    running = home.ids("mosquitto")
    (broker / "mosquitto.conf").unlink()
    status = home.wait("mosquitto", "Invalid")
    assert "mosquitto.conf: mounted by a service but not there" in ready_of(status)["message"]
    assert home.ids("mosquitto") == running, "what runs goes on"
    (broker / "mosquitto.conf").write_text("listener 1884\n")
    home.wait("mosquitto", "Ready")
    assert home.ids("zigbee2mqtt") == before

    for folder in (bridge, broker):
        assert home.run("remove", folder.name, "--yes").returncode == 0
    assert not home.containers()
    assert env["PASS"] not in home.log_file.read_text()

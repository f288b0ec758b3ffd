"""A provider and a consumer with both hooks, for the tests that need two apps that know each other."""

from __future__ import annotations

import docker.errors

from rig.engine import api
from rig.service import SLEEPER, Home

PROVIDER = """\
services:
  main:
    image: homeport/sample:1
    command: ["sh", "-c", "mkdir -p /data && touch /data/up && exec sleep 100000"]
    init: true
    network_mode: none
    stop_grace_period: 0s
    healthcheck: {test: ["CMD", "test", "-e", "/data/up"], interval: 1s, retries: 3}
    volumes: ["data:/data"]
volumes: {data: {name: "furtka_@db_data", external: true}}
"""

INSTALL = """\
echo "$FURTKA_CONSUMER_APP" >> /data/installs
echo "DB_USER=$FURTKA_CONSUMER_APP"
echo 'FURTKA_JSON: {"DB_PASSWORD": "p$w \\"q", "DB_PORT": 1.50}'
"""
START = 'echo "$FURTKA_CONSUMER_ENV_DB_USER" >> /data/starts\n'

CONSUMER = (
    SLEEPER
    + '    environment: {USER_: "${DB_USER:?}", PASSWORD_: "${DB_PASSWORD:?}", PORT_: "${DB_PORT:?}"}\n'
)


def put_provider(home: Home, install: str = INSTALL, start: str = START) -> None:
    home.put("db", PROVIDER, {"scripts/install.sh": install, "scripts/start.sh": start}, volumes=["data"])


def put_consumer(home: Home, short: str = "app", compose: str = CONSUMER) -> None:
    requires = [{"app": home.name("db"), "on_install": "scripts/install.sh", "on_start": "scripts/start.sh"}]
    home.put(short, compose, requires=requires)


def in_provider(home: Home, *command: str) -> str:
    """What a command in the provider's container prints; nothing while the container does not run."""
    with api(home.engine) as client:
        try:
            execution = client.exec_create(f"{home.name('db')}-main-1", list(command))
            output: bytes = client.exec_start(execution["Id"])
        except docker.errors.APIError:
            return ""
    return output.decode()


NO_HOOKS = ("sleep 100000", "init", "test -e /data/up")
"""Parts of the command lines of the provider itself, of processes that just begin (`runc init`), and of its health check."""


def hook_processes(home: Home) -> list[str]:
    """Processes in the provider's container that are neither its own nor this look.

    `ps` shows a process that begins or ends, and so has no command line, by its name in brackets: `[test]`. It may
    be the health check's.
    """
    with api(home.engine) as client:
        table = client.top(f"{home.name('db')}-main-1", "-eo pid,args")
    lines = [row[-1] for row in table["Processes"]]
    return [line for line in lines if not line.startswith("[") and not any(part in line for part in NO_HOOKS)]

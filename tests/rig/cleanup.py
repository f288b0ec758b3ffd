"""Nothing of a test is left on the engine."""

from __future__ import annotations

import contextlib
from typing import Any

import docker.errors

from rig.engine import api
from rig.waiting import wait_until

PROJECT = "com.docker.compose.project"


class EngineCleanup:
    """What the apps of one test, known by the prefix of their names, have on the engine."""

    def __init__(self, host: str, prefix: str) -> None:
        self.host = host
        self.prefix = prefix

    def containers(self) -> list[str]:
        """Names of the containers, stopped ones included."""
        with api(self.host) as client:
            return [name for _, name in self._containers(client)]

    def networks(self) -> list[str]:
        """Names of the networks."""
        with api(self.host) as client:
            return [name for _, name in self._networks(client)]

    def volumes(self) -> list[str]:
        """Names of the volumes: those of compose projects, and those named `<prefix>_<app>_<short>`."""
        with api(self.host) as client:
            return self._volumes(client)

    def left(self) -> list[str]:
        """Everything there is, as `kind name`."""
        with api(self.host) as client:
            return [
                *(f"container {name}" for _, name in self._containers(client)),
                *(f"network {name}" for _, name in self._networks(client)),
                *(f"volume {name}" for name in self._volumes(client)),
            ]

    def remove_all(self) -> None:
        """Removes everything, and fails when something stays or comes back."""
        with api(self.host) as client:

            def removed() -> bool:
                for identity, _ in self._containers(client):
                    with contextlib.suppress(docker.errors.APIError):
                        client.remove_container(identity, v=True, force=True)
                for identity, _ in self._networks(client):
                    with contextlib.suppress(docker.errors.APIError):
                        client.remove_network(identity)
                for name in self._volumes(client):
                    with contextlib.suppress(docker.errors.APIError):
                        client.remove_volume(name)
                return not (self._containers(client) or self._networks(client) or self._volumes(client))

            try:
                wait_until(removed, "the engine is clean", timeout=15)
            except AssertionError:
                raise AssertionError(f"left on the engine: {', '.join(self.left())}") from None

    def _ours(self, labels: dict[str, str] | None) -> bool:
        return (labels or {}).get(PROJECT, "").startswith(self.prefix)

    def _containers(self, client: Any) -> list[tuple[str, str]]:
        found = client.containers(all=True, filters={"label": PROJECT})
        return [(c["Id"], (c["Names"] or ["?"])[0].lstrip("/")) for c in found if self._ours(c["Labels"])]

    def _networks(self, client: Any) -> list[tuple[str, str]]:
        found = client.networks(filters={"label": PROJECT})
        return [(n["Id"], n["Name"]) for n in found if self._ours(n["Labels"])]

    def _volumes(self, client: Any) -> list[str]:
        found = client.volumes()["Volumes"] or []
        return [v["Name"] for v in found if self._ours(v["Labels"]) or f"_{self.prefix}" in v["Name"]]

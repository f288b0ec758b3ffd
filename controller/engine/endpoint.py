"""The one engine everything talks to: resolved once, given alike to the SDK and to Compose.

Two tools that resolve DOCKER_HOST and contexts each by themselves sooner or later talk to two engines.
Reading contexts is here; connections are made in `client` and `stream`.
"""

from __future__ import annotations

import hashlib
import json
import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from controller.model.errors import EngineUnreachable

DEFAULT_HOST = "unix:///var/run/docker.sock"


@dataclass(frozen=True)
class Endpoint:
    """Where the engine listens, and what a child needs in order to find the same one."""

    host: str = DEFAULT_HOST
    """`unix:///path` or `tcp://host:port`."""
    cert_path: str = ""
    """Folder with ca.pem, cert.pem and key.pem; empty: no TLS."""
    tls_verify: bool = True
    config_dir: str = ""
    """Docker's configuration folder, for the logins to registries."""
    path: str = os.defpath
    home: str = "/"

    @property
    def is_local(self) -> bool:
        """Whether the engine is on this machine, so that the host's ports and processes are its own."""
        return self.host.startswith("unix://")

    @property
    def socket_path(self) -> str:
        """The Unix socket's path, or "" for tcp."""
        return self.host.removeprefix("unix://") if self.is_local else ""

    @property
    def address(self) -> tuple[str, int]:
        """Host and port of a tcp endpoint."""
        parts = urlsplit(self.host)
        return parts.hostname or "127.0.0.1", parts.port or (2376 if self.cert_path else 2375)

    def child_env(self) -> dict[str, str]:
        """The whole environment of a child, built from nothing.

        A COMPOSE_* or DOCKER_* variable of ours would steer Compose; any other could be spliced into an
        app by `${…}`.
        """
        env = {
            "PATH": self.path,
            "HOME": self.home,
            "LANG": "C.UTF-8",
            "DOCKER_HOST": self.host,
            "DOCKER_CONFIG": self.config_dir,
        }
        if self.cert_path:
            env["DOCKER_CERT_PATH"] = self.cert_path
            if self.tls_verify:
                env["DOCKER_TLS_VERIFY"] = "1"
            else:
                env["DOCKER_TLS"] = "1"
        return env

    def tls_files(self) -> tuple[str, str, str]:
        """Paths of ca.pem, cert.pem, key.pem."""
        folder = Path(self.cert_path)
        return str(folder / "ca.pem"), str(folder / "cert.pem"), str(folder / "key.pem")

    def ssl_context(self) -> ssl.SSLContext:
        """For the connections that the SDK does not make."""
        ca, cert, key = self.tls_files()
        context = ssl.create_default_context(cafile=ca if self.tls_verify else None)
        if not self.tls_verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        context.load_cert_chain(cert, key)
        return context


def resolve_endpoint(environ: Mapping[str, str] | None = None) -> Endpoint:
    """DOCKER_HOST, else DOCKER_CONTEXT or the current context, else the default socket.

    The precedence is the docker command's own. Raises `EngineUnreachable` for a context that does not
    exist and for an endpoint of another kind than unix and tcp.
    """
    environ = os.environ if environ is None else environ
    home = environ.get("HOME") or str(Path("~").expanduser())
    config_dir = environ.get("DOCKER_CONFIG") or str(Path(home) / ".docker")
    host, cert_path, verify = environ.get("DOCKER_HOST", ""), "", True
    if host:
        if environ.get("DOCKER_TLS_VERIFY"):
            cert_path = environ.get("DOCKER_CERT_PATH") or config_dir
    else:
        name = environ.get("DOCKER_CONTEXT") or _current_context(config_dir)
        if name not in ("", "default"):
            host, cert_path, verify = _context(config_dir, name)
    host = host or DEFAULT_HOST
    if urlsplit(host).scheme not in ("unix", "tcp"):
        raise EngineUnreachable(
            f"engine endpoint {host} is not supported: Homeport manages the machine it runs on; "
            f"set DOCKER_HOST to unix:///path/to/docker.sock or tcp://host:port"
        )
    return Endpoint(host, cert_path, verify, config_dir, environ.get("PATH") or os.defpath, home)


def _current_context(config_dir: str) -> str:
    try:
        config = json.loads((Path(config_dir) / "config.json").read_bytes())
    except (OSError, ValueError):
        return ""
    name = config.get("currentContext", "") if isinstance(config, dict) else ""
    return name if isinstance(name, str) else ""


def _context(config_dir: str, name: str) -> tuple[str, str, bool]:
    """Host, TLS folder and whether to verify, of a docker context.

    Read here and not by the SDK, which looks for the folder by rules of its own and opens certificates.
    """
    digest = hashlib.sha256(name.encode()).hexdigest()
    contexts = Path(config_dir) / "contexts"
    try:
        meta = json.loads((contexts / "meta" / digest / "meta.json").read_bytes())
        endpoint = meta["Endpoints"]["docker"]
        host = str(endpoint["Host"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise EngineUnreachable(f"docker context {name!r} cannot be read; see: docker context ls") from error
    certificates = contexts / "tls" / digest / "docker"
    return host, str(certificates) if certificates.is_dir() else "", not endpoint.get("SkipTLSVerify", False)

"""Settings: what the user set, from flags, environment, file and defaults, checked in one place.

A flag wins over the environment, that over the file, that over the default. What a setting does is the business
of whoever takes it; nothing here acts on one.
"""

from __future__ import annotations

import difflib
import ipaddress
import os
import re
from collections.abc import Mapping, Set
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from controller import places
from controller.model.desired import Trust
from controller.places import SettingsInvalid, absolute


def _split(value: Any) -> Any:
    return [part for part in value.split(":") if part] if isinstance(value, str) else value


class TcpAddress(NamedTuple):
    """A TCP address that no other machine reaches."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def tcp_address(text: str) -> TcpAddress:
    """`127.0.0.1:PORT` or `[::1]:PORT`. Raises `ValueError` for all else: a name may stand for anything."""
    match = re.fullmatch(r"(?:\[([0-9a-fA-F:.]+)\]|([0-9.]+)):([0-9]{1,5})", text)
    if match is None or not 1 <= int(match[3]) <= 65535:
        raise ValueError("is not like 127.0.0.1:9707 or [::1]:9707")
    host = match[1] or match[2]
    try:
        loopback = ipaddress.ip_address(host).is_loopback
    except ValueError as problem:
        raise ValueError(f"{host} is no IP address") from problem
    if not loopback:
        raise ValueError(
            "is not a loopback address: other machines could ask. Take 127.0.0.1:PORT, and a proxy that knows who may"
        )
    return TcpAddress(host, int(match[3]))


def _words(value: Any) -> Any:
    # Not by `:`, of which an address has some.
    return value.split() if isinstance(value, str) else value


Location = Annotated[Path, AfterValidator(absolute)]
Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Period = Annotated[float, Field(gt=0, allow_inf_nan=False)]
"""Seconds between two of something: never zero."""


class Settings(BaseModel):
    """All settings, checked. Paths are absolute, times are seconds. `load` gives errors for people."""

    # What is wrong is told by `_explain`, which knows what may be shown.
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    config: Annotated[Location, Field(description="the file with settings (TOML)")] = places.DEFAULT_CONFIG
    apps: Annotated[Location, Field(description="the apps tree: a folder for each app")] = places.DEFAULT_APPS
    state: Annotated[Location, Field(description="the folder of the recorded state")] = places.DEFAULT_STATE
    catalog: Annotated[
        tuple[Location, ...],
        BeforeValidator(_split),
        Field(description="a folder of apps to install from; may be given more than once"),
    ] = ()
    workers: Annotated[
        int, Field(ge=1, le=256, description="how many apps are worked on at the same time")
    ] = 8
    settle: Annotated[
        Seconds, Field(description="quiet period before an addition or a change is acted on")
    ] = 0.3
    settle_new: Annotated[
        Seconds, Field(description="quiet period of a new folder that was not renamed in whole")
    ] = 2.0
    removal_settle: Annotated[
        Seconds, Field(description="quiet period before an app or a service that is missing is removed")
    ] = 10.0
    rescan: Annotated[
        Period, Field(description="how often the tree is scanned for what the watcher missed")
    ] = 30.0
    resync: Annotated[
        Period, Field(description="how often all inputs are read again and all containers compared")
    ] = places.DEFAULT_RESYNC
    backoff_base: Annotated[Period, Field(description="wait after the first failure of an app")] = 1.0
    backoff_max: Annotated[Period, Field(description="longest wait between two tries")] = 300.0
    health_timeout: Annotated[Period, Field(description="how long an app may take to become healthy")] = 300.0
    install_timeout: Annotated[Period, Field(description="how long an on_install hook may take")] = 300.0
    start_timeout: Annotated[Period, Field(description="how long an on_start hook may take")] = 30.0
    remove_timeout: Annotated[Period, Field(description="how long an on_remove hook may take")] = 60.0
    rollback: Annotated[
        Literal["auto", "always", "never"],
        Field(description="when a failed update is taken back; an app's manifest wins"),
    ] = "auto"
    stable_after: Annotated[
        Seconds, Field(description="how long Ready before a revision is the last good one")
    ] = 10.0
    prune: Annotated[
        bool, Field(description="remove apps whose folder is gone; many at once are held in any case")
    ] = True
    allow_providers: Annotated[
        bool,
        Field(description="compose files may name a `provider:`, a program that runs on the host as root"),
    ] = False
    allow_remote_include: Annotated[
        bool, Field(description="compose files may include files from elsewhere, fetched at each start")
    ] = False
    check_rights: Annotated[
        bool, Field(description="refuse an app whose files everyone, or a stranger, can write")
    ] = True
    volume_prefix: Annotated[
        str, Field(pattern=r"^[a-z0-9][a-z0-9_.-]*$", description="what the names of all volumes begin with")
    ] = "furtka"
    shutdown_grace: Annotated[
        Seconds, Field(description="how long a running compose call may go on when the service stops")
    ] = 30.0
    log_format: Annotated[
        Literal["auto", "console", "json"],
        Field(description="auto: console on a terminal, else json"),
    ] = "auto"
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"], Field(description="the least level that is logged")
    ] = "info"
    log_file: Annotated[
        Location | None, Field(description="log into this file instead of standard error")
    ] = None
    notify: Annotated[
        tuple[str, ...],
        BeforeValidator(_words),
        Field(
            description="where a person is told of trouble: Apprise URLs; may be given more than once",
            repr=False,
        ),
    ] = ()
    listen: Annotated[
        Location | None,
        Field(description="the Unix socket of the service [homeport.sock in the state folder]"),
    ] = None

    listen_tcp: Annotated[
        str | None,
        Field(description="also answer questions on this loopback address: 127.0.0.1:PORT or [::1]:PORT"),
    ] = None

    @field_validator("listen_tcp")
    @classmethod
    def _loopback(cls, text: str | None) -> str | None:
        if text is not None:
            tcp_address(text)
        return text

    @property
    def tcp(self) -> TcpAddress | None:
        """Where the service answers questions over TCP, too."""
        return None if self.listen_tcp is None else tcp_address(self.listen_tcp)

    @property
    def socket(self) -> Path:
        """Where the service listens."""
        return self.listen or self.state / "homeport.sock"

    @property
    def trust(self) -> Trust:
        """What the apps tree is trusted with."""
        return Trust(self.allow_providers, self.allow_remote_include, not self.check_rights)

    @model_validator(mode="after")
    def _fit_together(self) -> Settings:
        places.check_apart(self.apps, self.state)
        if self.backoff_max < self.backoff_base:
            raise ValueError(
                f"backoff-max ({self.backoff_max:g}) must not be less than backoff-base ({self.backoff_base:g})"
            )
        return self

    @classmethod
    def load(cls, flags: Mapping[str, Any] | None = None) -> Settings:
        """The settings of this process; `flags` are the values given on the command line, by field name.

        Raises `SettingsInvalid` with all that is wrong.
        """
        given = {name: value for name, value in (flags or {}).items() if value is not None}
        file = places.config_file(given)
        from_file = _read_checked(file, cls.model_fields.keys() - {"config"}) if file is not None else {}
        try:
            return cls(**{**from_file, **places.from_environment(cls.model_fields), **given})
        except ValidationError as error:
            problems = [_explain(problem, given) for problem in error.errors()]
            raise SettingsInvalid("\n".join(problems)) from error


def _read_checked(path: Path, fields: Set[str]) -> dict[str, Any]:
    """What the file sets; raises `SettingsInvalid` also for a key that is no setting."""
    values = places.read_file(path)
    for name in values:
        if name not in fields:
            near = difflib.get_close_matches(name, fields, 1)
            hint = f"; did you mean {near[0].replace('_', '-')}?" if near else ""
            raise SettingsInvalid(
                f"settings file {path}: {name.replace('_', '-')}: there is no such setting{hint}"
            )
    return values


def _explain(problem: Any, flags: Mapping[str, Any]) -> str:
    message = str(problem["msg"]).removeprefix("Value error, ")
    if not problem["loc"]:
        return message
    name = str(problem["loc"][0])
    told = f"{message[:1].lower()}{message[1:]}"
    if name == "notify":  # it may hold a password
        return f"{_origin(name, flags)}: {told}"
    return f"{_origin(name, flags)}: {problem['input']!s:.200}: {told}"


def _origin(name: str, flags: Mapping[str, Any]) -> str:
    """Where the value of that setting comes from, as its user would write it."""
    flag = name.replace("_", "-")
    if name in flags:
        return f"--{flag}"
    if os.environ.get(places.PREFIX + name.upper()):
        return f"{places.PREFIX}{name.upper()} (environment)"
    if name == "apps" and os.environ.get(places.FURTKA_APPS):
        return f"{places.FURTKA_APPS} (environment)"
    return f"{places.config_file(flags)}: {flag}"

"""`manifest.json` as a value: the fields of the app format and their rules.

Checks what one manifest can say of itself. What needs the folder (paths, names) or other apps (cycles,
providers) is checked where those are known; reading the file is the source room's work.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictInt, StrictStr, field_validator

from controller.model.names import APP_NAME, NO_APP_NAME

VOLUME_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]*")
SETTING_NAME = re.compile(r"[A-Z_][A-Z0-9_]*")

PLACEHOLDERS = frozenset(
    {"changeme", "change-me", "change_me", "replaceme", "replace-me", "replace_me", "fixme"}
)
"""Values that mean "nobody has filled this in yet" (compared without quotes and case)."""

_STEERING = frozenset(
    {"PATH", "LD_PRELOAD", "LD_LIBRARY_PATH", "HOME", "SHELL", "IFS"}
    | {"DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_CONFIG", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH"}
)


def is_placeholder(value: str) -> bool:
    """Whether a value stands for "not configured yet"."""
    return value.strip().strip("\"'").lower() in PLACEHOLDERS


def steers_tools(key: str) -> bool:
    """Whether a key would steer Compose, the engine's client or the loader rather than the app."""
    return key in _STEERING or key.startswith("COMPOSE_")


def _unique(values: list[str], what: str) -> list[str]:
    seen: set[str] = set()
    for value in values:
        if value in seen:
            raise ValueError(f"{what} {value!r} is listed twice; keep one")
        seen.add(value)
    return values


class _Part(BaseModel):
    # Unknown fields are kept, so that a newer Furtka manifest loads here; the loader warns about them.
    model_config = ConfigDict(extra="allow", frozen=True)


class Setting(_Part):
    """One entry of `settings`: a key in the app's `.env` that a person may fill in."""

    name: StrictStr = Field(description="The key in .env; upper case.")
    label: StrictStr = Field("", description="What people are shown instead of the key.")
    description: StrictStr = Field("", description="What to fill in, for people.")
    type: Literal["text", "password", "number", "path"] = Field(
        "text", description="What values are right; a path is an absolute path of a folder on this machine."
    )
    required: StrictBool = Field(False, description="true: the app is not started while the value is empty.")
    default: StrictStr | None = Field(None, description="What .env begins with.")

    @field_validator("name")
    @classmethod
    def _name(cls, value: str) -> str:
        if not SETTING_NAME.fullmatch(value):
            raise ValueError(f"{value!r} must match ^[A-Z_][A-Z0-9_]*$")
        if steers_tools(value):
            raise ValueError(f"{value!r} steers the tools that run the app, not the app; use another name")
        return value


class Requirement(_Part):
    """One entry of `requires`: a provider, and the hooks of ours that run inside it."""

    app: StrictStr = Field(description="The provider: an app that must be there and healthy first.")
    on_install: StrictStr | None = Field(
        None,
        description="Script in the provider's folder that runs in its container once, before this app's first "
        "start; the KEY=VALUE lines that it prints go into this app's .env.",
    )
    on_start: StrictStr | None = Field(
        None,
        description="Script in the provider's folder that runs in its container before each start of this app.",
    )
    on_update: StrictStr | None = Field(
        None, description="The same when this app's version has changed; what it prints goes into .env."
    )
    on_remove: StrictStr | None = Field(
        None, description="The same after this app is removed, while the provider still runs."
    )
    restart: StrictBool = Field(
        False, description="true: restart this app after the provider's containers are new."
    )

    @field_validator("app")
    @classmethod
    def _app(cls, value: str) -> str:
        if not APP_NAME.fullmatch(value):
            raise ValueError(f"{value!r} {NO_APP_NAME}")
        return value


class Manifest(_Part):
    """A whole manifest. Lists are kept in the order in which people wrote them."""

    name: StrictStr = Field(description="The app's name; the same as its folder's. At most 63 characters.")
    display_name: StrictStr = Field(description="The name that people are shown.")
    version: StrictStr = Field(description="Free form; another version is an update.")
    description: StrictStr = Field(description="One line on what the app is for.")
    volumes: list[StrictStr] = Field(
        description="Short names of volumes: `files` of the app `share` is the Docker volume `furtka_share_files`, "
        "made when absent and never removed. The compose file names it as external."
    )
    ports: list[Annotated[StrictInt, Field(ge=1, le=65535)]] = Field(
        description="Ports on this machine, for information; the compose file binds them."
    )
    icon: StrictStr = Field(description="A file in the app's folder; it may be absent.")
    description_long: StrictStr | None = Field(None, description="More than one line on it.")
    open_url: StrictStr | None = Field(
        None, description="Where the app is opened; {host} stands for this machine's name."
    )
    settings: list[Setting] = Field([], description="What people may or must fill in: keys of .env.")
    requires: list[Requirement] = Field(
        [], description="Apps that must be there and healthy before this one."
    )
    suspend: StrictBool = Field(False, description="true: leave the app exactly as it is.")
    exec_service: StrictStr | None = Field(
        None, description="The compose service in which hooks of apps that require this one run."
    )
    health_timeout: Annotated[float, Field(gt=0, strict=True)] | Annotated[StrictInt, Field(gt=0)] | None = (
        Field(None, description="Seconds that the app may take to become healthy.")
    )
    rollback: Literal["auto", "always", "never"] | None = Field(
        None, description="When a failed update is taken back by itself."
    )
    snapshot: StrictBool = Field(False, description="Read and checked; it has no effect yet.")

    @field_validator("name")
    @classmethod
    def _name(cls, value: str) -> str:
        if not APP_NAME.fullmatch(value):
            raise ValueError(f"{value!r} must match ^[a-z][a-z0-9_-]*$ and have at most 63 characters")
        return value

    @field_validator("volumes")
    @classmethod
    def _volumes(cls, values: list[str]) -> list[str]:
        for value in values:
            if not VOLUME_NAME.fullmatch(value):
                raise ValueError(f"volume {value!r} must match ^[a-z0-9][a-z0-9_.-]*$")
        return _unique(values, "volume")

    @field_validator("settings")
    @classmethod
    def _settings(cls, values: list[Setting]) -> list[Setting]:
        _unique([setting.name for setting in values], "setting")
        return values

    @field_validator("requires")
    @classmethod
    def _requires(cls, values: list[Requirement]) -> list[Requirement]:
        _unique([requirement.app for requirement in values], "provider")
        return values

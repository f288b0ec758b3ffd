"""Options: what all commands share, their flags, how errors are told, and which exit code says what.

No command belongs here. Imports stay small: `homeport --help` loads this module and click alone.
"""

from __future__ import annotations

import functools
import os
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from controller.model.errors import EngineUnreachable, HomeportError, StateLocked

if TYPE_CHECKING:
    from controller.places import Where
    from controller.settings import Settings

FINE, APP_WRONG, WRONG_USE, UNREACHABLE = 0, 1, 2, 3

SETTINGS: dict[str, tuple[Any, str, str]] = {
    "workers": (int, "8", "apps reconciled at a time"),
    "settle": (float, "0.3", "seconds of quiet before an addition or a change is acted on"),
    "settle_new": (float, "2", "seconds of quiet of a new folder that was not renamed in whole"),
    "removal_settle": (float, "10", "seconds before an app or a service that is missing is removed"),
    "rescan": (float, "30", "seconds between scans of the tree, with jitter"),
    "resync": (float, "300", "seconds between looks at everything, with jitter"),
    "backoff_base": (float, "1", "seconds before a failed app is tried again; doubles"),
    "backoff_max": (float, "300", "seconds that the wait between tries grows to at most"),
    "health_timeout": (float, "300", "seconds an app may take to become healthy"),
    "install_timeout": (float, "300", "seconds an on_install hook may take"),
    "start_timeout": (float, "30", "seconds an on_start hook may take"),
    "remove_timeout": (float, "60", "seconds an on_remove hook may take"),
    "rollback": (
        click.Choice(["auto", "always", "never"]),
        "auto",
        "go back to the last good revision when an update fails; a manifest wins",
    ),
    "stable_after": (float, "10", "seconds Ready before a revision is the last good one"),
    "volume_prefix": (str, "furtka", "what the names of volumes begin with"),
    "log_format": (
        click.Choice(["auto", "console", "json"]),
        "auto",
        "auto: console on a terminal, else json",
    ),
    "log_level": (click.Choice(["debug", "info", "warning", "error"]), "info", "what is logged"),
    "log_file": (Path, "standard error", "where the log goes"),
    "listen": (Path, "homeport.sock in the state folder", "the Unix socket for the other commands"),
    "listen_tcp": (str, "off", "also answer questions on 127.0.0.1:PORT or [::1]:PORT, for Prometheus"),
    "shutdown_grace": (float, "30", "seconds for running steps when the service stops"),
}
"""The settings of `run` beyond the common ones: type, default as told to people, help."""

SWITCHES = (
    ("allow-providers", False, "compose files may run a program on the host (`provider:`)"),
    ("allow-remote-include", False, "compose files may include files that Compose fetches from elsewhere"),
    ("check-rights", True, "refuse an app whose files everyone, or a stranger, can write"),
)
"""Settings that are on or off: flag, default, help."""

ALL_SETTINGS = frozenset(
    {"config", "apps", "state", "catalog", "notify", "prune", *SETTINGS}
    | {switch.replace("-", "_") for switch, _, _ in SWITCHES}
)
"""Names of all settings there are."""

Command = Callable[..., int | None]


@dataclass(frozen=True)
class Common:
    """What the common options said."""

    apps: Path | None
    state: Path | None
    config: Path | None
    debug: bool

    def settings(self, **flags: Any) -> Settings:
        """All settings; flags that were not given are left to the environment, the file and the defaults."""
        from controller.settings import Settings

        return Settings.load({"config": self.config, "apps": self.apps, "state": self.state, **flags})

    def places(self) -> Where:
        """Where things are, for who only asks; all settings where more is set than that, and has to be checked."""
        from controller import places

        flags = {"config": self.config, "apps": self.apps, "state": self.state}
        found = places.find(flags, ALL_SETTINGS)
        return found or self.settings()


def common(function: Command) -> Callable[..., None]:
    """Give a command the common options, and turn what it raises into one message and an exit code."""

    @click.option(
        "--apps", type=click.Path(path_type=Path), help="the apps tree  [default: /var/lib/homeport/apps]"
    )
    @click.option(
        "--state",
        type=click.Path(path_type=Path),
        help="the recorded state  [default: /var/lib/homeport/state]",
    )
    @click.option(
        "--config",
        type=click.Path(path_type=Path),
        help="the settings file  [default: /etc/homeport/homeport.toml]",
    )
    @click.option("--debug", is_flag=True, help="show a traceback with errors")
    @functools.wraps(function)
    def wrapper(apps: Path | None, state: Path | None, config: Path | None, debug: bool, **rest: Any) -> None:
        try:
            _say_closed(config)
            code = function(Common(apps, state, config, debug), **rest)
        except (click.ClickException, click.Abort, click.exceptions.Exit, BrokenPipeError):
            raise
        except Exception as problem:  # the last place where anything can be told to a person
            if debug:
                traceback.print_exc()
            from controller.cli.printing import note

            for line in f"homeport: {_told(problem)}".split("\n"):
                note(line)
            code = code_of(problem)
        sys.exit(code or FINE)

    return wrapper


def _say_closed(config: Path | None) -> None:
    from controller import places

    named = config or os.environ.get(f"{places.PREFIX}CONFIG")
    if not named and places.is_closed(places.DEFAULT_CONFIG):
        text = f"homeport: {places.DEFAULT_CONFIG} is not for you to read; the defaults count (sudo, or --config)"
        click.echo(text, err=True)


def code_of(problem: Exception) -> int:
    """The exit code that says what kind of trouble this is."""
    from controller.api.client import ServiceUnreachable
    from controller.control.errors import UnknownApp

    if isinstance(problem, (EngineUnreachable, StateLocked, ServiceUnreachable)):
        return UNREACHABLE
    # By name: only a command that reads settings has paid for the import of pydantic.
    if isinstance(problem, UnknownApp) or type(problem).__name__ in ("SettingsInvalid", "NotifyUnusable"):
        return WRONG_USE
    return APP_WRONG


def _told(problem: Exception) -> str:
    if isinstance(problem, HomeportError):
        return str(problem)
    if isinstance(problem, OSError):
        where = f"{problem.filename}: " if problem.filename else ""
        return f"{where}{problem.strerror or problem}. See `homeport doctor`"
    return (
        f"a mistake in Homeport: {type(problem).__name__}: {problem}. Run it again with --debug and report it"
    )


def catalog_flag(function: Callable[..., None]) -> Callable[..., None]:
    """`--catalog`, as often as wanted; None when it is not given, so that the environment and the file count."""
    return click.option(
        "--catalog",
        type=click.Path(path_type=Path),
        multiple=True,
        callback=lambda _context, _parameter, value: value or None,
        help="a folder of apps to install from; may be repeated, the first match wins  [default: none]",
    )(function)


def notify_flag(function: Callable[..., None]) -> Callable[..., None]:
    """`--notify`, as often as wanted; None when it is not given, so that the environment and the file count."""
    return click.option(
        "--notify",
        multiple=True,
        callback=lambda _context, _parameter, value: value or None,
        help="where to tell of trouble, an Apprise URL; may be repeated. It holds a password and is seen in the list of "
        "processes: better in HOMEPORT_NOTIFY or the settings file  [default: none]",
    )(function)


def setting_flags(function: Callable[..., None]) -> Callable[..., None]:
    """Every setting as a flag, with its default in the help."""
    for name, (kind, default, text) in reversed(SETTINGS.items()):
        parameter = click.Path(path_type=Path) if kind is Path else kind
        shown = f"{text}  [default: {default}]" if default else text
        function = click.option(
            f"--{name.replace('_', '-')}", name, type=parameter, default=None, help=shown
        )(function)
    function = click.option(
        "--prune/--no-prune",
        default=None,
        help="remove apps whose folder is gone  [default: prune, with the brake]",
    )(function)
    for switch, on, about in SWITCHES:
        flags = f"--{switch}/--no-{switch}"
        function = click.option(
            flags, default=None, help=f"{about}  [default: {'' if on else 'no-'}{switch}]"
        )(function)
    return catalog_flag(notify_flag(function))


def output(*forms: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """`-o`, with these forms; the first is the default."""
    return click.option(
        "-o",
        "--output",
        "form",
        type=click.Choice(forms),
        default=forms[0],
        show_default=True,
        help="how it is printed",
    )

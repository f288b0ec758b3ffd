"""Hooks: when one is due, what goes into its environment, and what its output means.

The rules of the Furtka app format, section 5. Running a hook and merging its values are effects.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from controller.model.errors import AppError
from controller.model.manifest import SETTING_NAME, Requirement, is_placeholder, steers_tools
from controller.model.observed import ExecResult
from controller.model.record import LedgerEntry, Record, Target
from controller.planner.gates import Provider

JSON_PREFIX = "FURTKA_JSON:"
_PAIR = re.compile(r"[A-Za-z_][A-Za-z0-9_]*=")
_HALF = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True)
class HookOutput:
    """The pairs a hook gave, and how many lines were neither a pair nor JSON."""

    values: Mapping[str, str] = field(repr=False)
    ignored_lines: int = 0


def install_due(
    requirement: Requirement, entry: LedgerEntry | None, volumes: str, env: Mapping[str, str]
) -> str:
    """Why `on_install` is due for this provider, or "".

    Once for each (installation of the consumer, provider, volumes of the provider). A changed script is no
    reason; a key it gave that is missing from `.env`, or empty as it is seeded, is.
    """
    if requirement.on_install is None:
        return ""
    if entry is None:
        return f"has not run in {requirement.app} for this installation"
    if entry.phase != "done":
        return "has not succeeded yet"
    if entry.volumes and entry.volumes != volumes:
        return f"the volumes of {requirement.app} are new"
    gone = sorted(key for key in entry.keys if not env.get(key))
    return f"{', '.join(gone)} is missing from .env" if gone else ""


def update_due(
    requirement: Requirement, entry: LedgerEntry | None, target: Target | None, version: str
) -> str:
    """Why `on_update` is due for this provider, or "": the version is not the one that was applied.

    A first start is no update; that is what `on_install` is for.
    """
    if requirement.on_update is None or target is None or not target.version or target.version == version:
        return ""
    if entry is not None and entry.phase == "done" and entry.version == version:
        return ""
    return f"version {target.version} becomes {version}"


def restart_due(requirement: Requirement, provider: Provider, record: Record) -> bool:
    """Whether this app's containers were started before those of a provider that they follow (`restart: true`)."""
    was = record.started_with.get(requirement.app)
    return requirement.restart and provider.available and was is not None and was != provider.incarnation


def start_due(requirement: Requirement, last_incarnation: str, incarnation: str, starting: bool) -> str:
    """Why `on_start` is due for this provider, or "". `starting`: the consumer is about to be started."""
    if requirement.on_start is None:
        return ""
    if starting:
        return "before the start"
    return (
        f"containers of {requirement.app} are new or were started again"
        if last_incarnation != incarnation
        else ""
    )


def environment(name: str, version: str, env: Mapping[str, str]) -> dict[str, str]:
    """The environment a hook gets: who asks, and the consumer's UPPER_SNAKE_CASE values."""
    values = {"FURTKA_CONSUMER_APP": name, "FURTKA_CONSUMER_VERSION": version}
    for key, value in env.items():
        if SETTING_NAME.fullmatch(key):
            values[f"FURTKA_CONSUMER_ENV_{key}"] = value
    return values


def digest(script: bytes) -> str:
    """Identifies a script's content in the ledger."""
    return "sha256:" + hashlib.sha256(script).hexdigest()


def check_ended(result: ExecResult, who: str, timeout: float) -> None:
    """Raise the `AppError` that says how the hook failed; `who` names hook and script. Output is never quoted."""
    if result.timed_out:
        raise AppError(
            "HookTimeout", f"{who} did not end within {timeout:g} s; it was ended in the container"
        )
    if result.overflow:
        raise AppError("HookOutputInvalid", f"{who} printed more than 256 KiB; nothing was taken from it")
    if result.exit_code != 0:
        raise AppError("HookFailed", f"{who} ended with exit status {result.exit_code}")


def parse_output(result: ExecResult, who: str) -> HookOutput:
    """What a merged hook printed: `KEY=VALUE` lines and `FURTKA_JSON: {…}` lines, a later one wins.

    Raises `AppError("HookOutputInvalid", …)` for the whole output: values are never taken in part, and
    never quoted in a message.
    """
    try:
        text = result.stdout.decode("utf-8-sig")  # a byte order mark must not cost the first key
    except UnicodeDecodeError:
        raise _refused(who, "it is not UTF-8") from None
    if "\0" in text:
        raise _refused(who, "it holds a NUL byte")
    values: dict[str, str] = {}
    ignored = 0
    for line in text.split("\n"):
        line = line.removesuffix("\r")
        if line.startswith(JSON_PREFIX):
            values.update(_json_pairs(line.removeprefix(JSON_PREFIX), who))
        elif _PAIR.match(line):
            key, _, value = line.partition("=")
            values[key] = value
        elif line.strip():
            ignored += 1
    for key, value in values.items():
        _check_pair(key, value, who)
    return HookOutput(values, ignored)


def check_owners(output: HookOutput, who: str, others: Mapping[str, LedgerEntry]) -> None:
    """Raise `AppError` when a key belongs to another provider (name to what it gave): they would overwrite each other
    for ever, and the app would run with whichever came last."""
    for other, entry in sorted(others.items()):
        if both := sorted(output.values.keys() & set(entry.keys)):
            raise _refused(
                who, f"{', '.join(both)} comes from {other} already; give it another name in one of them"
            )


def _json_pairs(text: str, who: str) -> dict[str, str]:
    try:
        # Numbers as written: 1.10 must not become 1.1.
        loaded = json.loads(text, parse_float=str, parse_int=str, parse_constant=str)
    except ValueError:
        raise _refused(who, f"a {JSON_PREFIX} line is not JSON") from None
    except RecursionError:
        raise _refused(who, f"a {JSON_PREFIX} line is nested too deep") from None
    if not isinstance(loaded, dict):
        raise _refused(who, f"a {JSON_PREFIX} line is not a JSON object")
    pairs: dict[str, str] = {}
    for key, value in loaded.items():
        if isinstance(value, bool):
            pairs[key] = "true" if value else "false"
        elif isinstance(value, str):
            pairs[key] = value
        else:
            raise _refused(who, f"{key!a}: a value must be a string, a number, true or false")
    return pairs


def _check_pair(key: str, value: str, who: str) -> None:
    if not SETTING_NAME.fullmatch(key):
        raise _refused(who, f"key {key!a} must match ^[A-Z_][A-Z0-9_]*$")
    if steers_tools(key):
        raise _refused(who, f"key {key} steers the tools that run the app and is refused")
    if "\n" in value or "\r" in value or "\0" in value:
        raise _refused(who, f"the value of {key} holds a line break or NUL")
    if "\x1b" in value:
        raise _refused(who, f"the value of {key} holds an escape sequence, as coloured output does")
    if _HALF.search(value):
        raise _refused(who, f"the value of {key} holds half a character (a lone surrogate)")
    if is_placeholder(value):
        raise _refused(who, f"the value of {key} is a placeholder")


def _refused(who: str, why: str) -> AppError:
    return AppError("HookOutputInvalid", f"{who}: output refused, {why}; nothing was merged")

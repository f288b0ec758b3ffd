"""Foreign failures become ours, here and nowhere else: the SDK's exceptions, and what Compose prints.

Each function answers which of our errors a failure is. Retries are bounded to seconds and only for reads;
anything longer is the work queue's.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from controller.engine.builds import said
from controller.engine.redaction import LINE_LIMIT, last_lines, redact, shorten
from controller.model.errors import AppError, EngineUnreachable, HomeportError

_CAUSES: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("DiskFull", re.compile(r"no space left on device|disk quota exceeded", re.IGNORECASE)),
    (
        "NoAddressPool",
        re.compile(
            r"non-overlapping IPv4 address pool|predefined address pools have been fully subnetted",
            re.IGNORECASE,
        ),
    ),
    (
        "PullFailed",
        re.compile(
            r"pull access denied|manifest unknown|manifest for \S+ not found|failed to resolve reference"
            r"|repository does not exist|repository \S+ not found|toomanyrequests|no basic auth credentials"
            r"|unauthorized: |no matching manifest|failed to copy: httpReadSeeker|No such image"
            r"|Error response from daemon: Get \"?https?://"
            r"|error pulling image|failed to pull|failed to resolve source metadata",
            re.IGNORECASE,
        ),
    ),
    (
        "BuildFailed",
        re.compile(
            r"returned a non-zero code: \d|did not complete successfully: exit code|failed to solve"
            r"|(?:COPY|ADD) failed: |dockerfile parse error|unable to prepare context"
            r"|Cannot locate specified Dockerfile|failed to read dockerfile",
            re.IGNORECASE,
        ),
    ),
)
_UNREACHABLE = re.compile(
    r"cannot connect to the docker daemon|is the docker daemon running|error during connect"
    r"|docker\.sock: (connect|connection refused)|failed to connect to the docker API",
    re.IGNORECASE,
)
_UNKNOWN_KEY = re.compile(r"validating (?P<file>\S+): (?P<place>\S+)\.(?P<key>[\w-]+) false schema")
# ` Container app-web-1  Creating`: what Compose reports of its progress, not why it failed.
_PROGRESS = re.compile(r"^\s*(Container|Network|Volume|Image|Service)\s+\S+\s+[A-Z][a-z]+(\s+[\d.]+m?s)?\s*$")
# ` Image nginx:1 Error manifest unknown`: the only line that says which of them it was.
_IMAGE_FAILED = re.compile(
    r"^\s*Image (?P<image>\S+) Error (?:response from daemon: )?(?P<why>\S.*)$", re.MULTILINE
)
_LOGFMT = re.compile(r'^time="[^"]*" level=(?P<level>\w+) msg="(?P<text>(?:[^"\\]|\\.)*)".*$')
_COMPARED = 20  # lines; a child may have said thousands
_MAY_NOT = (
    "the user that Homeport runs as may not use its socket: run it as root, or `usermod -aG docker USER` (which is as "
    "good as root) and start it again"
)
_HINTS = {
    "NoAddressPool": "remove networks that nothing uses (`docker network ls`), or widen the pools in "
    '/etc/docker/daemon.json, as in {"default-address-pools": [{"base": "10.201.0.0/16", "size": 24}]}, and restart '
    "the engine",
    "DiskFull": "make room: `df -h`, `docker system df`, `docker image prune`; never `docker volume prune`, it deletes data",
}
"""By the reason, what to do about it: of these two the engine's own words say nothing of a way out."""


def unreachable(cause: object, host: str = "") -> EngineUnreachable:
    """The engine does not answer, in words for people."""
    why = shorten(redact(str(cause)), 200)
    fix = _MAY_NOT if "permission denied" in why.lower() else "start it, or set DOCKER_HOST"
    return EngineUnreachable(
        f"the Docker engine{f' at {host}' if host else ''} does not answer ({why}); {fix}"
    )


def last_words(stderr: bytes, secrets: Iterable[str] = (), lines: int = 3) -> str:
    """The last lines of a child's output that say something, in one line, redacted."""
    said: list[str] = []
    warned: list[str] = []
    for line in redact(stderr.decode("utf-8", "replace"), secrets).splitlines():
        text = line.strip()
        if not text or _PROGRESS.match(line):
            continue
        logged = _LOGFMT.match(text)
        if logged and logged["level"] in ("warning", "info", "debug"):
            warned.append(logged["text"])
        else:
            said.append(logged["text"] if logged else text)
    unique = list(dict.fromkeys(said or warned))[-_COMPARED:]
    # Compose says most failures twice: with the name of what failed, and once more at the end without.
    whole = [text for text in unique if not any(text != other and text in other for other in unique)]
    return shorten("; ".join(whole[-lines:]))


def plain(words: str) -> str:
    """What Compose finds wrong with a model, without the terms of its schema."""
    return _UNKNOWN_KEY.sub(r"\g<file>: \g<place> has no key `\g<key>`", words)


def compose_failure(
    what: str,
    default: str,
    stderr: bytes,
    secrets: Iterable[str] = (),
    images: Mapping[str, Sequence[str]] | None = None,
    stdout: bytes = b"",
) -> HomeportError:
    """Which error a failed Compose call is. `default` is the reason when the words tell nothing more.
    `stdout`: what a build printed, if it is one that failed.
    `images`: name of an image that can be pulled to the services that run it.
    """
    text = stderr.decode("utf-8", "replace")
    if _UNREACHABLE.search(text):
        return unreachable("Compose cannot connect to it")
    secrets = tuple(secrets)
    failed = next((m for m in _IMAGE_FAILED.finditer(text) if m["image"] in (images or {})), None)
    if images and failed:
        services = images[failed["image"]]
        of = f"service{'s' if len(services) > 1 else ''} {', '.join(services)}"
        why = shorten(redact(failed["why"].strip(), secrets))
        reason = reason_of(failed["why"], "PullFailed")
        return AppError(
            reason, hinted(reason, f"{what}: image {failed['image']} of {of} cannot be pulled: {why}")
        )
    message = last_words(stderr, secrets) or "Compose said nothing"
    reason = reason_of(text, default)
    return AppError(reason, hinted(reason, f"{what}: {message}{said_by_step(stdout, secrets)}"))


def said_by_step(stdout: bytes, secrets: Iterable[str] = ()) -> str:
    """The last lines of the step that a build failed in, to be put behind what failed; "" when there are none."""
    lines = last_lines(said(stdout.decode("utf-8", "replace")), secrets, 3, LINE_LIMIT)
    return f"; the build said last: {' | '.join(lines)}" if lines else ""


def reason_of(text: str, default: str) -> str:
    """The reason for a status that an engine's or Compose's words stand for."""
    return next((reason for reason, pattern in _CAUSES if pattern.search(text)), default)


def hinted(reason: str, message: str) -> str:
    """The message with what to do about it, where that can be said for all that fails for this reason."""
    return f"{message}; {_HINTS[reason]}" if reason in _HINTS else message


@contextmanager
def translated(
    what: str, reason: str | None = None, host: str = "", *, missing: bool = False
) -> Iterator[None]:
    """Turn the SDK's exceptions into ours. With `reason`, a refusal is an `AppError`; else, as nothing but
    an engine in trouble refuses to be read, `EngineUnreachable`. With `missing` the SDK's `NotFound` passes:
    the caller has an answer to it.
    """
    import requests
    import urllib3
    from docker import errors

    try:
        yield
    except errors.APIError as error:
        if missing and isinstance(error, errors.NotFound):
            raise
        raise _refusal(what, reason, host, error) from error
    except (
        errors.DockerException,
        requests.RequestException,
        urllib3.exceptions.HTTPError,
        OSError,
    ) as error:
        raise unreachable(_root(error), host) from error


def _refusal(what: str, reason: str | None, host: str, error: Any) -> HomeportError:
    text = str(error.explanation or error)
    if reason is None:
        return unreachable(f"{what}: {text}", host)
    reason = reason_of(text, reason)
    return AppError(reason, hinted(reason, shorten(f"{what}: {redact(text)}")))


def _root(error: BaseException) -> str:
    # requests wraps urllib3 wraps the OSError that says it in four words.
    seen: BaseException = error
    for arg in _chain(error):
        seen = arg
    return getattr(seen, "strerror", None) or str(seen) or type(seen).__name__


def _chain(error: BaseException) -> Iterator[BaseException]:
    current: BaseException | None = error
    for _ in range(8):
        if current is None:
            return
        yield current
        inner = next((arg for arg in current.args if isinstance(arg, BaseException)), None)
        current = inner or getattr(current, "reason", None)
        if not isinstance(current, BaseException):
            return

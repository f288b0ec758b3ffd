"""What other programs say, made fit for a status or a log: no secrets, no control characters, not endless.

Compose prints parts of values in its errors, and images choose what their processes print.
Which values are secret is the caller's knowledge; what the text means is `failures`'.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import groupby

MESSAGE_LIMIT = 600
"""Characters of a message that people read."""
LINE_LIMIT = 200
"""Characters of one line that a container or a build wrote."""
_SHORTEST = 6  # a shorter value is found in too many innocent words

_ESCAPES = re.compile(r"\x1b(?:\[[0-9;?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\-_])")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")
_PIECES = re.compile(r"[$\s\"'\\]+")


def secrets_in(values: Iterable[str]) -> tuple[str, ...]:
    """The strings to hide for these values, longest first.

    Besides each value also its pieces: Compose names `$`-separated parts of a hash in its warnings, and
    breaks off a value at the quote or line end that it could not parse.
    """
    found: set[str] = set()
    for value in values:
        found.update((value, value.replace("$", "$$"), *_PIECES.split(value)))
    return tuple(sorted((f for f in found if len(f) >= _SHORTEST), key=lambda f: (-len(f), f)))


def redact(text: str, values: Iterable[str] = ()) -> str:
    """The text without these values (six characters or longer), escape sequences and control characters."""
    text = _ESCAPES.sub("", text)
    for secret in secrets_in(values):
        text = text.replace(secret, "***")
    return _CONTROL.sub(" ", text)


def shorten(text: str, limit: int = MESSAGE_LIMIT) -> str:
    """The text with at most `limit` characters; its middle goes, for the cause stands at either end."""
    if len(text) <= limit:
        return text
    head = limit // 2 - 1
    return text[:head] + " … " + text[-(limit - head - 3) :]


def last_lines(text: str, values: Iterable[str], lines: int, limit: int) -> tuple[str, ...]:
    """The last lines of a log that are not empty, redacted, each at most `limit` characters long.

    A line that is there again and again, as after each start of a crash loop, is there once.
    """
    # A bare carriage return is how a progress bar ends its line.
    clean = redact(text.replace("\r", "\n"), values)
    said = [line for line, _ in groupby(line.strip() for line in clean.splitlines() if line.strip())]
    return tuple(shorten(line, limit) for line in said[-lines:]) if lines > 0 else ()

"""`.env` files read as Compose reads them, and written so that Compose reads back what was meant.

One difference: a variable without a name, which Compose makes of stray text, is dropped. Where the file lies,
who may write it and which values are secrets does not belong here; no message holds a value.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

_BLANK: Final = "\t\v\f\r \x85\xa0"
"""White space that does not end a line."""
_SPACE: Final = _BLANK + "\n\u1680\u2028\u2029\u202f\u205f\u3000" + "".join(map(chr, range(0x2000, 0x200B)))

_EXPORT: Final = re.compile(f"export[{_BLANK}]+")
_QUOTED: Final = {
    '"': re.compile(r'"((?:[^"\\]|\\.)*+)"', re.DOTALL),
    "'": re.compile(r"'((?:[^'\\]|\\.)*+)'", re.DOTALL),
}
_ESCAPE: Final = re.compile(r'\\(?:[abcfnrtv$"\\]|0[0-9]{0,3})')
_ESCAPED: Final = {
    r"\a": "\a",
    r"\b": "\b",
    r"\f": "\f",
    r"\n": "\n",
    r"\r": "\r",
    r"\t": "\t",
    r"\v": "\v",
    r"\$": "$$",
    r"\"": '"',
    r"\\": "\\",
}
_DOLLAR: Final = re.compile(r"\$(?:(?P<escaped>\$)|(?P<name>[A-Za-z_][A-Za-z0-9_]*)|(?P<brace>\{))")
_BRACED: Final = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)(?:(:?[-+?])(.*))?")

_KEY: Final = re.compile(r"[A-Za-z0-9_.\-\[\]]+")
_PLAIN: Final = re.compile(r"[A-Za-z0-9_./:@+,-]+")
_ENCODED: Final = str.maketrans({"\\": "\\\\", '"': '\\"', "$": "$$", "\n": "\\n", "\r": "\\r"})
_DEPTH: Final = 50
MOST: Final = 10_000
"""Assignments in one file."""
MOST_TEXT: Final = 1024 * 1024
"""Characters of all values together, with variables put in: ten lines of `$A$A…` can ask for gigabytes."""


class DotenvError(Exception):
    """A file that Compose would not read. The message never holds a value."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(f"line {line}: {message}")
        self.line = line
        self.message = message


@dataclass
class _Scope:
    """The variables so far, and how many characters may still be put in for their names."""

    values: dict[str, str] = field(default_factory=dict)
    left: int = MOST_TEXT

    def take(self, text: str, line: int) -> str:
        self.left -= len(text)
        if self.left < 0:
            raise DotenvError(
                line, f"with variables put in, the values have more than {MOST_TEXT} characters"
            )
        return text


@dataclass(frozen=True)
class _Assignment:
    key: str
    line: int
    quote: str
    raw: str
    """The value without its quotes, before escapes and variables."""
    start: int
    end: int
    """Where the value with its quotes stands in the text."""

    def value(self, scope: _Scope) -> str:
        if self.quote == "'":
            return self.raw
        return _expand(_unescape(self.raw) if self.quote else self.raw, scope, self.line)


def parse(text: str) -> dict[str, str]:
    """The variables of a file; later assignments win.

    `$NAME` means an earlier variable of the same file, never one of this process. Raises `DotenvError`.
    """
    scope = _Scope()
    for assignment in _assignments(text):
        scope.values[assignment.key] = assignment.value(scope)
    scope.values.pop("", None)
    return scope.values


def encode(value: str) -> str:
    """How a value is written after `KEY=`. Raises `ValueError` when it holds a NUL."""
    return value if _PLAIN.fullmatch(value) else _quote(value)


def merge(text: str, values: Mapping[str, str]) -> str:
    """The text with these values: the last assignment of a key is replaced, a new key goes to the end.

    All else stays byte for byte, also the key's own comment. Raises `DotenvError` when the text cannot be read,
    `ValueError` for a key or a value that no file can hold.
    """
    for key in values:
        if not _KEY.fullmatch(key):
            raise ValueError(f"not a name for a variable: {key!r}")
    assignments = list(_assignments(text))
    last = {assignment.key: index for index, assignment in enumerate(assignments)}
    scope = _Scope()
    parts: list[str] = []
    done = 0
    for index, found in enumerate(assignments):
        try:
            value: str | None = found.value(scope)
        except DotenvError:
            value = None
        if last[found.key] == index and found.key in values and value != values[found.key]:
            value = values[found.key]
            rest = text[found.end :].split("\n", 1)[0].strip(_SPACE)
            # What follows a closing quote would become part of a value without quotes.
            parts += [text[done : found.start], _quote(value) if found.quote and rest else encode(value)]
            done = found.end
        if value is not None:
            scope.values[found.key] = value
    parts.append(text[done:])
    new = [f"{key}={encode(value)}" for key, value in values.items() if key not in last]
    if new:
        newline = "\r\n" if text.partition("\n")[0].endswith("\r") and "\n" in text else "\n"
        if text and not text.endswith("\n"):
            parts.append(newline)
        parts += [line + newline for line in new]
    merged = "".join(parts)
    for _ in _assignments(merged):  # stray text at the very end is a mistake once a line follows it
        pass
    return merged


def _quote(value: str) -> str:
    if "\0" in value:
        raise ValueError("a variable cannot hold a NUL")
    return f'"{value.translate(_ENCODED)}"'


def _assignments(text: str) -> Iterator[_Assignment]:
    at = 1 if text.startswith("\ufeff") else 0
    counted, line, count = 0, 1, 0
    while True:
        at = _skip(text, at, _SPACE)
        if at >= len(text):
            return
        if text[at] == "#":
            at = _line_end(text, at)
            continue
        line += text.count("\n", counted, at)
        counted = at
        count += 1
        if count > MOST:
            raise DotenvError(line, f"more than {MOST} variables")
        if export := _EXPORT.match(text, at):
            at = _skip(text, export.end(), _BLANK)
        key, after, bare = _key(text, at, line)
        if bare:
            at = after
            continue
        found = _assignment(text, key, after, line)
        yield found
        at = found.end if found.quote else _line_end(text, found.end)


def _key(text: str, at: int, line: int) -> tuple[str, int, bool]:
    """The key, where what follows it begins, and whether it stands alone.

    A key that the text ends with is, to Compose, the value of a variable without a name.
    """
    for index in range(at, len(text)):
        char = text[index]
        if char in "=:\n":
            key = text[at:index].rstrip(_SPACE)
            if " " in key:
                raise DotenvError(line, "a key cannot contain a space")
            return key, index + 1, char == "\n"
        if char not in _BLANK and char not in "_.-[]" and unicodedata.category(char)[0] not in "LN":
            raise DotenvError(line, "a character that no key can have")
    return "", at, False


def _assignment(text: str, key: str, after: int, line: int) -> _Assignment:
    start = _skip(text, after, _BLANK)
    quote = text[start : start + 1]
    if quote in _QUOTED:
        match = _QUOTED[quote].match(text, start)
        if match is None:
            raise DotenvError(line, f"a quote that is not closed, at {key}")
        return _Assignment(key, line, quote, _unescape_quote(match[1], quote), start, match.end())
    raw = text[start : _line_end(text, start)].split(" #", 1)[0].rstrip(_SPACE)
    if not raw:
        start = after  # before a carriage return
    return _Assignment(key, line, "", raw, start, start + len(raw))


def _unescape_quote(raw: str, quote: str) -> str:
    return re.sub(r"\\(.)", lambda match: quote if match[1] == quote else match[0], raw, flags=re.DOTALL)


def _unescape(raw: str) -> str:
    def one(match: re.Match[str]) -> str:
        sequence = match[0]
        if not sequence.startswith("\\0"):
            return _ESCAPED.get(sequence, sequence)
        digits = sequence[2:]
        if re.fullmatch("[0-3][0-7][0-7]", digits):
            return chr(int(digits, 8))
        return "\\" + digits

    return _ESCAPE.sub(one, raw)


def _expand(value: str, scope: _Scope, line: int, depth: int = 0) -> str:
    if depth > _DEPTH:
        raise DotenvError(line, "variables within variables, too deep")
    parts: list[str] = []
    at = 0
    while match := _DOLLAR.search(value, at):
        parts.append(value[at : match.start()])
        at = match.end()
        if match["escaped"]:
            parts.append("$")
        elif match["name"]:
            parts.append(scope.take(scope.values.get(match["name"], ""), line))
        else:
            end = _closing_brace(value, at)
            found = _BRACED.fullmatch(value, at, end) if end >= 0 else None
            if found is None:
                raise DotenvError(line, "a ${…} that cannot be read")
            parts.append(_braced(found, scope, line, depth))
            at = end + 1
    return "".join([*parts, value[at:]])


def _closing_brace(value: str, at: int) -> int:
    depth = 1
    for match in re.compile(r"\$\{|\}").finditer(value, at):
        depth += 1 if match[0] == "${" else -1
        if not depth:
            return match.start()
    return -1


def _braced(found: re.Match[str], scope: _Scope, line: int, depth: int) -> str:
    name, operator, operand = found.groups()
    value = scope.values.get(name)
    if operator is None:
        return scope.take(value or "", line)
    # Taken as well: what is nested is looked at once more on each level.
    other = _expand(scope.take(operand, line), scope, line, depth + 1)
    missing = value is None or (operator.startswith(":") and not value)
    if operator.endswith("+"):
        return "" if missing else other
    if not missing:
        return scope.take(value or "", line)
    if operator.endswith("?"):
        raise DotenvError(line, f"{name} has no value, and must have one")
    return other


def _skip(text: str, at: int, chars: str) -> int:
    while at < len(text) and text[at] in chars:
        at += 1
    return at


def _line_end(text: str, at: int) -> int:
    end = text.find("\n", at)
    return len(text) if end < 0 else end

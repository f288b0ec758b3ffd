"""The log: one line for each thing that changed. A constant event name, all else as fields.

Console lines are for a tired person (time, level, event, app, message first), json lines for programs. What is
worth a line is decided where it happens.
"""

from __future__ import annotations

import contextlib
import os
import select
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, Protocol, TextIO

import structlog

from controller.telemetry.escape import escape

Level = Literal["debug", "info", "warning", "error"]
_LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}
RECORD = 16 * 1024
"""Characters of a line at most, whatever somebody puts into it."""
_FIELD = (4000, 1000, 200)  # characters of one field, the first with which the line fits
_FIRST = ("timestamp", "level", "event", "app", "reconcile_id", "message")
_FOR_MACHINES = frozenset({"reconcile_id", "kind", "target", "reason", "revision", "files", "volumes"})
"""Fields that a person reads in the message already, or never: the console leaves them out."""
PATIENCE = 1.0
"""Seconds that a reader of the log may keep everybody waiting, once."""
_GREY = "38;5;244"
"""Of the 256 colours, as those of the levels: they can be read on black and on white, which yellow and faint text cannot."""
_COLOURS = {
    "debug": _GREY, "info": "38;5;28", "warning": "38;5;130", "error": "38;5;160", "critical": "38;5;160",
}  # fmt: skip


_Render = Callable[[Any, str, MutableMapping[str, Any]], str]


class Told(Protocol):
    """What is told: `controller.model.record.Event`, and anything with these fields."""

    @property
    def time(self) -> datetime: ...
    @property
    def app(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def level(self) -> str: ...
    @property
    def message(self) -> str: ...
    @property
    def fields(self) -> Mapping[str, object]: ...


class LogListener:
    """Writes each event as one log line; implements the `Listener` port."""

    def __init__(self) -> None:
        self._log = structlog.get_logger("homeport")

    def __call__(self, event: Told) -> None:
        """Log the event at its own time and level. Never raises for what the event holds."""
        fields = {(f"{key}_" if key in _FIRST else key): value for key, value in event.fields.items()}
        if event.app:
            fields["app"] = event.app
        self._log.log(
            _LEVELS.get(event.level, 20),
            event.name,
            timestamp=_rfc3339(event.time),
            message=event.message,
            **fields,
        )


@contextlib.contextmanager
def logging_to(
    log_format: Literal["auto", "console", "json"] = "auto",
    level: Level = "info",
    log_file: Path | None = None,
    stream: TextIO | None = None,
) -> Iterator[None]:
    """Within this block the log goes to `log_file`, else to `stream`, else to standard error.

    `auto` is console on a terminal and json elsewhere. Raises `OSError` when the file cannot be opened; a log
    that cannot be written later on, or that nobody reads, stops nothing: the lines that it lost are counted in the
    first one that it takes again.
    """
    sink = _Sink(stream or sys.stderr, log_file)
    if log_format == "auto":
        log_format = "console" if sink.is_terminal else "json"
    render: _Render = console_line(colours=sink.colours) if log_format == "console" else json_line()
    sink.tell_lost = lambda count: render(None, "warning", _lost(count))
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.MaybeTimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            render,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        logger_factory=lambda *_: sink,
        cache_logger_on_first_use=False,
    )
    try:
        yield
    finally:
        structlog.reset_defaults()
        sink.close()


class _Sink:
    """Where lines go: whole lines, one at a time. `_lock` guards the fields, so that lines never mix."""

    def __init__(self, stream: TextIO, path: Path | None) -> None:
        self._lock = threading.Lock()
        self._path = path
        self._stream = _open(path) if path is not None else stream
        self._dropped = 0
        self._torn = False
        self.tell_lost: Callable[[int], str] = "{} lines were lost".format
        """Makes the line that says how many could not be written."""

    @property
    def is_terminal(self) -> bool:
        return self._path is None and self._stream.isatty()

    @property
    def colours(self) -> bool:
        return self.is_terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"

    def msg(self, line: str) -> None:
        # A full disk, a closed terminal or a pipe that nobody reads must not stop the service, hence the silence.
        with self._lock:
            try:
                self._follow_rename()
                if self._dropped:
                    self._write(self.tell_lost(self._dropped))
                    self._dropped = 0
                self._write(line)
            except (OSError, ValueError):
                self._dropped += 1

    def _write(self, line: str) -> None:
        """Raises `OSError` (`TimeoutError` when nobody reads) and `ValueError`."""
        try:
            fd = self._stream.fileno()
        except OSError:  # a stream in memory
            self._stream.write(line + "\n")
            return
        # Not through the stream's buffers: they would keep what could not be written, and grow or say it twice.
        data = ("\n" if self._torn else "").encode() + line.encode("utf-8", "backslashreplace") + b"\n"
        poll = select.poll()
        poll.register(fd, select.POLLOUT)
        while data:
            # Once, a reader that is slow is waited for; while it is stuck, nobody waits.
            if not poll.poll(0 if self._dropped else PATIENCE * 1000):
                raise TimeoutError("nobody reads the log")
            # As many bytes as a pipe that has room takes without blocking.
            written = os.write(fd, data[: select.PIPE_BUF])
            data = data[written:]
            self._torn = bool(data)

    debug = info = warning = error = critical = log = msg

    def close(self) -> None:
        if self._path is not None:
            with self._lock, contextlib.suppress(OSError):
                self._stream.close()

    def _follow_rename(self) -> None:
        """logrotate moves the file away; the next line begins a new one."""
        if self._path is None:
            return
        try:
            same = os.path.samestat(os.fstat(self._stream.fileno()), self._path.stat())
        except OSError:
            same = False
        if not same:
            renewed = _open(self._path)
            self._stream.close()
            self._stream = renewed


def _open(path: Path) -> TextIO:
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o640)
    return os.fdopen(fd, "a", encoding="utf-8", errors="backslashreplace")


class json_line:  # noqa: N801 - a structlog processor, used like a function
    """One JSON object, the fields that people look for first."""

    def __init__(self) -> None:
        self._render = structlog.processors.JSONRenderer(default=str)

    def __call__(self, logger: Any, method: str, event: MutableMapping[str, Any]) -> str:
        """The line, without its end."""

        def render(fields: dict[str, Any]) -> str:
            text = self._render(logger, method, fields)
            # JSON lets DEL through.
            return (text if isinstance(text, str) else text.decode()).replace("\x7f", "\\u007f")

        return _fitted(render, _in_order(event))


class console_line:  # noqa: N801 - a structlog processor, used like a function
    """`01-31 12:00:05 info    app.ready            web  everything runs  generation=3`."""

    def __init__(self, *, colours: bool) -> None:
        self._colours = colours

    def __call__(self, logger: Any, method: str, event: MutableMapping[str, Any]) -> str:
        """The line; a traceback follows, indented."""
        return _fitted(lambda fields: self._line(method, fields), _in_order(event))

    def _line(self, method: str, fields: dict[str, Any]) -> str:
        fields = dict(fields)
        level = str(fields.pop("level", method))
        name = escape(str(fields.pop("event", "")))
        app = escape(str(fields.pop("app", "")))
        message = escape(str(fields.pop("message", "")))
        time = _local(str(fields.pop("timestamp", "")))
        trace = str(fields.pop("exception", ""))
        rest = " ".join(f"{key}={_shown(fields[key])}" for key in fields if key not in _FOR_MACHINES)
        parts = [
            self._paint(time, _GREY),
            self._paint(f"{level:<7}", _COLOURS.get(level, "0")),
            self._paint(f"{name:<20}", "1"),
            f"{app:<16}",
            message,
            self._paint(rest, _GREY) if rest else "",
        ]
        line = " ".join(part for part in parts if part).rstrip()
        return "\n    ".join([line, *(escape(row) for row in trace.splitlines())])

    def _paint(self, text: str, code: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self._colours else text


def _fitted(render: Callable[[dict[str, Any]], str], fields: dict[str, Any]) -> str:
    """The line that `render` makes, its fields shortened until it is a record of bounded size."""
    for limit in _FIELD:
        line = render({key: _short(value, limit) for key, value in fields.items()})
        if len(line) <= RECORD:
            return line
    return render({key: _short(fields[key], _FIELD[-1]) for key in _FIRST if key in fields})


def _short(value: object, limit: int) -> object:
    if value is None or isinstance(value, bool | int | float):
        return value
    text = value if isinstance(value, str) else str(value)
    if len(text) <= limit:
        return value
    return f"{text[:limit]}… ({len(text)} characters)"


def _lost(count: int) -> dict[str, Any]:
    message = f"{count} lines of this log could not be written; `homeport events` has what happened"
    return {
        "timestamp": _rfc3339(datetime.now(UTC)),
        "level": "warning",
        "event": "log.lost",
        "message": message,
        "count": count,
    }


def _in_order(event: MutableMapping[str, Any]) -> dict[str, Any]:
    first = {key: event[key] for key in _FIRST if key in event}
    return first | {key: value for key, value in event.items() if key not in first}


def _shown(value: object) -> str:
    if isinstance(value, list | tuple):
        text = ",".join(str(item) for item in value)
    else:
        text = f"{value:.3g}" if isinstance(value, float) else str(value)
    text = escape(text)
    return f'"{text}"' if not text or " " in text or '"' in text else text


def _rfc3339(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _local(timestamp: str) -> str:
    try:
        return datetime.fromisoformat(timestamp).astimezone().strftime("%m-%d %H:%M:%S")
    except ValueError:
        return timestamp

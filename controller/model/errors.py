"""Everything that can go wrong, as a small tree; each error carries the reason that a status will show.

    HomeportError
    ├── StateLocked            another service holds the state folder
    ├── StateUnusable          the state folder cannot be read or written
    ├── EngineUnreachable      no engine answers; nothing is wrong with any app
    ├── AppError               one app's step failed; `reason` is the condition's reason
    │   ├── InputInvalid       wrong input: no retry will help until a file changes
    │   └── WriteFailed        a file of the app could not be written
    ├── Superseded             files were edited while they were read; look again
    └── Interrupted            the service is stopping; the step was ended, not failed

Foreign exceptions are translated where they enter (engine, source, store) and nowhere else.
"""

from __future__ import annotations


class HomeportError(Exception):
    """The root: a message for people, with what to do next in it."""


class StateLocked(HomeportError):
    """Another process holds the lock of the state folder; the message names its pid."""


class StateUnusable(HomeportError):
    """The state folder or the database in it cannot be used; the message says how to mend it."""


class EngineUnreachable(HomeportError):
    """The engine does not answer. Says nothing of any app: what runs goes on running."""


class Interrupted(HomeportError):
    """A step was ended because the service is stopping; the next start takes it up again."""


class Superseded(HomeportError):
    """An app's files were edited while they were being read: what came of it belongs to no revision."""


class AppError(HomeportError):
    """A step for one app failed and may succeed later. `reason` is one CamelCase word (docs/architecture.md)."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class InputInvalid(AppError):
    """The app's own files are wrong; trying again without an edit cannot help."""


class WriteFailed(AppError):
    """A file in the app's folder could not be written; the old file is whole."""

    def __init__(self, message: str) -> None:
        super().__init__("EnvWriteFailed", message)

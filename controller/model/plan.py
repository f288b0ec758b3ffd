"""Plan: the actions that close the gap for one app, in order, each with its cause; and what a run came to.

The kinds are the words people see in `reconcile`, `plan` and the log. What to do is decided in the
planner room, doing it is the reconciler's; here are only the values and their text form.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal[
    "ensure_volume", "seed_env", "hook", "pull", "compose_up", "rollback", "restart", "stop", "compose_down",
    "remove", "wait", "skip", "error",
]  # fmt: skip


@dataclass(frozen=True)
class Action:
    """One step. `str()` is the line that `homeport reconcile` prints; `cause` says why it is due."""

    kind: Kind
    target: str
    detail: str = ""
    cause: str = ""
    app: str = ""
    provider: str = ""
    event: str = ""
    """For hooks: on_install, on_update, on_start or on_remove."""
    script: str = ""
    services: tuple[str, ...] = ()
    """For compose_up and restart: these services only; empty means the whole app."""
    force: bool = False
    """For compose_up: re-create even if the configuration is the same."""

    revives: tuple[str, ...] = ()
    """For compose_up: ids of containers that are there and have only ended; to start these is all that there is to do."""
    mends: bool = False
    """For compose_up: what was applied is made whole again; it is no edit."""
    asked: bool = False
    """A person asks for it: a restart with which the wish is fulfilled, or the error of what is tried but once."""

    @property
    def changes_inputs(self) -> bool:
        """Whether it writes into the app's folder: the run ends after it and the next one plans afresh."""
        return self.kind == "seed_env" or (self.kind == "hook" and self.event in ("on_install", "on_update"))

    @property
    def starts_all(self) -> bool:
        """Whether it applies a whole model, and not single services of it."""
        return self.kind in ("compose_up", "rollback") and not self.services

    @property
    def ends_run(self) -> bool:
        """Whether what comes next depends on what it gave: the next run plans afresh."""
        return self.changes_inputs or self.kind == "pull"

    def __str__(self) -> str:
        return f"{self.kind:<14} {self.target}" + (f" ({self.detail})" if self.detail else "")


@dataclass(frozen=True)
class Plan:
    """Actions in the order in which they are to be done. Empty: everything desired is observed."""

    actions: tuple[Action, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.actions)

    def describe(self) -> str:
        """The plan as people and tests read it: one line an action, its cause behind a dash."""
        return "\n".join(str(a) + (f" - {a.cause}" if a.cause else "") for a in self.actions)


@dataclass(frozen=True)
class Result:
    """What a run did, and when the key is to be looked at again."""

    word: str = ""
    actions: tuple[Action, ...] = ()
    after: float | None = None
    """Look again in so many seconds; None: only when something happens."""
    failed: bool = False
    """Counts as a failure: the backoff is kept."""
    pending: bool = False
    """Will move on by itself soon (settling, becoming healthy): a sweep waits for it."""
    parked: bool = False
    """The engine is unreachable; everything is looked at again when it is back."""

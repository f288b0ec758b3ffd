"""What one run is given, carries along, and is held up by.

It can be seen afresh, saved and told; the steps that decide are in the modules beside this one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from controller.model import effects as fx
from controller.model.desired import Desired
from controller.model.effects import Moment, Run, ask
from controller.model.observed import Container, Observed
from controller.model.plan import Action
from controller.model.record import Event, Record
from controller.planner.plan import Wishes
from controller.planner.rollback import Mode
from controller.status.transition import with_since


@dataclass(frozen=True)
class Policy:
    """What the user set, as far as a reconcile needs it. Seconds throughout."""

    settle: float = 0.3
    settle_new: float = 2.0
    removal_settle: float = 10.0
    stable_after: float = 10.0
    health_timeout: float = 300.0
    install_timeout: float = 300.0
    start_timeout: float = 30.0
    volume_prefix: str = "furtka"
    remove_timeout: float = 60.0
    rollback: Mode = "auto"
    prune: bool = True
    poll_incomplete: float = 2.0
    """How soon to look again for a path that a service mounts and that is not there yet."""


@dataclass
class Work:
    """The state of one run; made at its start, gone with it."""

    name: str
    moment: Moment
    before: Record
    record: Record
    desired: Desired
    observed: Observed = field(default_factory=Observed)
    before_start: Observed = field(default_factory=Observed)
    """What there was right before a start of this run began."""
    wishes: Wishes = field(default_factory=Wishes)
    mounts: Mapping[str, str] = field(default_factory=dict)
    """What is at the mounted paths of the model that is converged to: digests of files, identities of directories."""
    differences: Mapping[str, str] = field(default_factory=dict)
    """Service to what of it an edit changes, in words."""
    ended_first: bool = False
    """This run saw the end of a container that had run for long, and that had not ended lately: it waits for nothing."""
    ended_again: bool = False
    """This run saw another end of a container that does not run any more: its next start goes through the backoff."""
    at_once: bool = False
    """A person asks for a try now, by a command or an edit, or what the last one failed against is another by now."""
    to_look_into: list[Container] = field(default_factory=list)
    """What this run took for first ends: whether somebody wanted them is asked when they are repaired."""
    done: list[Action] = field(default_factory=list)
    news: list[Event] = field(default_factory=list)
    """Told with the first thing that is saved: a run that changes nothing says nothing."""

    told: bool = False
    """What the app's last run told is what it saved."""

    def __post_init__(self) -> None:
        self._saved = self.before
        self.began = self.moment.now
        """When the app's folder was read, or a moment before; `moment` moves on."""

    def event(self, name: str, message: str, level: str = "info", /, **fields: object) -> Event:
        return Event(self.moment.now, self.name, name, level, message, fields)

    def folders(self) -> tuple[str, ...]:
        """Where the app's containers may have been started from."""
        return folders_of(self.record)

    def observe(self) -> Run[None]:
        """Look at the app's containers and volumes afresh."""
        self.observed = yield from ask(fx.Observe(self.name, self.folders(), self.record.volumes))

    def save(self) -> Run[None]:
        """Remember the record as it stands. The news come first: cut off in between they are told twice, and not
        never; and who sees a status finds in the log what led to it."""
        for event in self.news:
            yield from ask(fx.Tell(event))
        self.news.clear()
        self.record = with_since(self.record, self._saved, self.before, self.moment.now)
        yield from ask(fx.SaveRecord(self.record))
        self._saved = self.record

    def tell(self, name: str, message: str, level: str = "info", /, **fields: object) -> Run[None]:
        """Say something now, after the news that came before it."""
        for event in (*self.news, self.event(name, message, level, **fields)):
            yield from ask(fx.Tell(event))
        self.news.clear()


@dataclass(frozen=True)
class Blocked:
    """Why the app on disk is not converged to; what runs is kept as it is, and repaired."""

    word: str
    reason: str
    message: str
    after: float | None = None
    pending: bool = False
    by_brake: bool = False

    def action(self, app: str) -> Action:
        """The line that says why nothing is done: `wait` for what will come, `skip` for what needs a person."""
        return Action("wait" if self.word == "Waiting" else "skip", app, self.message, app=app)


def folders_of(record: Record) -> tuple[str, ...]:
    """The app's folder, and those it had before."""
    return tuple(dict.fromkeys(folder for folder in (record.folder, *record.folders) if folder))

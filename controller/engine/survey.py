"""Survey: what one list of all containers tells, and whether an app in it is still as it was observed. Pure.

A list gives no start times; it gives the state in words (`Up 3 hours (healthy)`), and these are made again from what was
observed. What the words cannot tell from it, or an engine that words it otherwise, is an app that has to be looked at.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from controller.engine import observation as seen
from controller.model.observed import Container, Observed

_SLACK = (0.0, -1.0, 1.0, -2.0, 2.0)
"""Seconds by which the engine's clock at the moment of its answer may differ from ours."""
_HEALTH = {"starting": "health: starting"}

Json = Mapping[str, Any]


class ListedAll:
    """See `controller.model.ports.Survey`. Made of what `GET /containers/json` and `GET /volumes` said at `now`."""

    def __init__(self, containers: Iterable[Json], volumes: Iterable[Json], created: str, now: float) -> None:
        """`created` is the label that tells a volume from an earlier one of its name; `now` in Unix seconds."""
        self._now = now
        self._volumes = {str(v["Name"]): str((v.get("Labels") or {}).get(created, "")) for v in volumes}
        self._of: dict[str, dict[str, Json]] = {}
        for summary in containers:
            project = seen.labels_of(summary).get(seen.PROJECT)
            if project is not None and not seen.is_oneoff(seen.labels_of(summary)):
                self._of.setdefault(project, {})[str(summary["Id"])] = summary

    def projects(self) -> Mapping[str, tuple[str, ...]]:
        """See `Survey.projects`."""
        return {
            project: tuple(sorted({seen.labels_of(s).get(seen.FOLDER, "") for s in summaries.values()}))
            for project, summaries in self._of.items()
        }

    def shows(self, app: str, observed: Observed, since: datetime) -> bool:
        """See `Survey.shows`. The same containers are of the same folder: that label is theirs for life."""
        listed = self._of.get(app, {})
        if observed.foreign or len(listed) != len(observed.containers):
            return False
        return all(
            (summary := listed.get(container.id)) is not None
            and _is_as(container, summary, self._now, since.timestamp())
            for container in observed.containers
        ) and all(self._volumes.get(name) == created for name, created in observed.volumes.items())


def _is_as(container: Container, summary: Json, now: float, known: float) -> bool:
    return (
        summary.get("State") == container.state
        and summary.get("Status") in _words(container, now, known)
        and seen.name_of(summary) == container.name
        and seen.networks_of(summary) == container.networks
    )


def _words(container: Container, now: float, known: float) -> set[str]:
    """What the engine may say of a container that is in its state since it was observed, and of none that came to it
    since the moment `known`: `Up 3 hours` says nothing of a start within these hours."""
    if container.state == "created":
        return {"Created"}
    begin, after, stamp = "", "", ""
    if container.state == "running":
        begin, after = (
            "Up ",
            f" ({_HEALTH.get(container.health, container.health)})" if container.health else "",
        )
        stamp = container.started_at
    elif container.state == "exited":
        begin, after, stamp = f"Exited ({container.exit_code}) ", " ago", container.finished_at
    # Known in the future: the clock was set back, and says nothing of what was before what.
    if not stamp or known > now + _SLACK[-1]:
        return set()
    since = seen.seconds(stamp)
    then = {spoken(now - since + slack) for slack in _SLACK}
    later = {spoken(now - known + slack) for slack in _SLACK}
    return {f"{begin}{words}{after}" for words in then - later}


def spoken(seconds: float) -> str:
    """A time as the engine says it: `HumanDuration` of docker/go-units."""
    whole = int(seconds)
    minutes, hours = whole // 60, int(seconds / 3600 + 0.5)
    if whole < 1:
        return "Less than a second"
    if whole == 1:
        return "1 second"
    if whole < 60:
        return f"{whole} seconds"
    if minutes == 1:
        return "About a minute"
    if minutes < 60:
        return f"{minutes} minutes"
    if hours == 1:
        return "About an hour"
    if hours < 48:
        return f"{hours} hours"
    if hours < 24 * 7 * 2:
        return f"{hours // 24} days"
    if hours < 24 * 30 * 2:
        return f"{hours // 24 // 7} weeks"
    if hours < 24 * 365 * 2:
        return f"{hours // 24 // 30} months"
    return f"{int(seconds / 3600) // 24 // 365} years"

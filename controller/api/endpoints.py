"""Endpoints: what can be asked over HTTP, one value each: path, fields, and the one function that answers.

The routes, the checks of what is sent and the OpenAPI document are all made from this table. HTTP itself and threads do
not belong here.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from http import HTTPStatus
from typing import Any, Final, Literal

from controller.control import health, queries, verbs, why
from controller.control.reading import SHOWN
from controller.control.service import RunningService, Waiter, always
from controller.model.errors import HomeportError
from controller.model.record import Record

JSON: Final = "application/json"
METRICS: Final = "text/plain; version=0.0.4; charset=utf-8"
STREAM: Final = "text/event-stream"

Kind = Literal["names", "name", "text", "flag"]
Sort = Literal["probe", "question", "verb", "stream"]
SORTS: Final[tuple[Sort, ...]] = ("probe", "question", "verb", "stream")


KINDS: Final[Mapping[HTTPStatus, str]] = {
    HTTPStatus.BAD_REQUEST: "BadRequest",
    HTTPStatus.FORBIDDEN: "Forbidden",
    HTTPStatus.NOT_FOUND: "NotFound",
    HTTPStatus.METHOD_NOT_ALLOWED: "MethodNotAllowed",
    HTTPStatus.REQUEST_TIMEOUT: "RequestTimeout",
    HTTPStatus.LENGTH_REQUIRED: "LengthRequired",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "TooLarge",
    HTTPStatus.SERVICE_UNAVAILABLE: "Busy",
}
"""What clients read of a request that is not answered, by the status that says so."""


class BadRequest(HomeportError):
    """The request is not one that we answer; `status` is the HTTP status that says so, `kind` the same as a word."""

    def __init__(self, message: str, status: HTTPStatus = HTTPStatus.BAD_REQUEST) -> None:
        super().__init__(message)
        self.status = status
        self.kind = KINDS.get(status, KINDS[HTTPStatus.BAD_REQUEST])


@dataclass(frozen=True)
class Field:
    """One value that may be sent, in the body's JSON object or in the query."""

    kind: Kind
    about: str


@dataclass(frozen=True)
class Asked:
    """What was sent, checked: only fields that the endpoint has, each of its kind."""

    app: str = ""
    """From the path."""
    fields: Mapping[str, Any] = field(default_factory=dict)
    wanted: Waiter = always
    """Whether the client still waits."""

    def names(self, key: str) -> tuple[str, ...]:
        return tuple(self.fields.get(key, ()))

    def flag(self, key: str) -> bool:
        return bool(self.fields.get(key, False))

    def text(self, key: str) -> str:
        return str(self.fields.get(key, ""))


@dataclass(frozen=True)
class Answer:
    """What goes back."""

    body: bytes
    status: HTTPStatus = HTTPStatus.OK
    media: str = JSON


Act = Callable[[RunningService, Asked], Answer]


@dataclass(frozen=True)
class Endpoint:
    """One of them. GET changes nothing; POST may, or costs more than a look at what is recorded."""

    method: Literal["GET", "POST"]
    path: str
    about: str
    act: Act | None
    """None: a stream of events, which is no single answer."""
    answer: str
    """The name of the answer's schema in the OpenAPI document."""
    fields: Mapping[str, Field] = field(default_factory=dict)
    """Of the body (POST) or of the query (GET)."""
    media: str = JSON
    may: tuple[HTTPStatus, ...] = ()
    """The other statuses it answers with by its nature."""
    probe: bool = False
    """Whether monitoring lives on it: it is answered while all else is taken, and asks nothing of the engine."""

    @property
    def sort(self) -> Sort:
        """With which others it shares what there is of threads."""
        if self.probe:
            return "probe"
        if self.act is None:
            return "stream"
        return "question" if self.method == "GET" else "verb"


def document(found: Mapping[str, Any], status: HTTPStatus = HTTPStatus.OK) -> Answer:
    """An answer in JSON."""
    return Answer(json.dumps(found, default=str).encode(), status)


def error(problem: Exception, status: HTTPStatus) -> Answer:
    """What went wrong, as clients read it."""
    text = str(problem)
    if not isinstance(problem, HomeportError):
        text = f"the service made a mistake: {type(problem).__name__}: {text}"
    kind = problem.kind if isinstance(problem, BadRequest) else type(problem).__name__
    return document({"error": text, "kind": kind}, status)


def check(sent: Mapping[str, Any], endpoint: Endpoint) -> Mapping[str, Any]:
    """The fields that were sent. Raises `BadRequest` for one that the endpoint does not have, or of another kind."""
    for key, value in sent.items():
        known = endpoint.fields.get(key)
        if known is None:
            there = f"there are {', '.join(endpoint.fields)}" if endpoint.fields else "it takes none"
            raise BadRequest(f'{endpoint.path} has no "{key}"; {there}')
        if not _is(known.kind, value):
            raise BadRequest(f'"{key}" is not {_WORDS[known.kind]}')
    return sent


_WORDS: Final[Mapping[Kind, str]] = {
    "names": "a list of names", "name": "a name", "text": "a text", "flag": "true or false",
}  # fmt: skip


def _is(kind: Kind, value: object) -> bool:
    match kind:
        case "names":
            return isinstance(value, list) and all(isinstance(name, str) and name for name in value)
        case "flag":
            return isinstance(value, bool)
        case "name":
            return isinstance(value, str) and value != ""
        case "text":
            return isinstance(value, str)


# -- questions ----------------------------------------------------------------------------------------------


def _healthz(service: RunningService, _asked: Asked) -> Answer:
    found = service.health()
    word = "healthy" if found.healthy else "unhealthy"
    return document(health.to_document(found.alive, word), _ok_if(found.healthy))


def _readyz(service: RunningService, _asked: Asked) -> Answer:
    found = service.health()
    word = "ready" if found.ready else "not ready"
    return document(health.to_document((*found.alive, *found.able), word), _ok_if(found.ready))


def _ok_if(fine: bool) -> HTTPStatus:
    return HTTPStatus.OK if fine else HTTPStatus.SERVICE_UNAVAILABLE


def _metrics(service: RunningService, _asked: Asked) -> Answer:
    return Answer(service.metrics(), media=METRICS)


def _status_document(service: RunningService) -> dict[str, Any]:
    return queries.status_document(service.store, service.describe(), service.clock.now(), None)


def _status(service: RunningService, _asked: Asked) -> Answer:
    return document(_status_document(service))


def _apps(service: RunningService, _asked: Asked) -> Answer:
    return document({"apps": _status_document(service)["apps"]})


def _app(service: RunningService, asked: Asked) -> Answer:
    for entry in _status_document(service)["apps"]:
        if entry["name"] == asked.app:
            return document(entry)
    verbs.check_known((asked.app,), service)
    raise BadRequest(f"{asked.app} was not looked at yet", HTTPStatus.NOT_FOUND)


def _history(service: RunningService, asked: Asked) -> Answer:
    record = service.store.record(asked.app)
    if record is None:
        verbs.check_known((asked.app,), service)
    return document(queries.history_document(record or Record(asked.app)))


def _why(service: RunningService, asked: Asked) -> Answer:
    records = {record.name: record for record in service.store.records()}
    if asked.app not in records:
        verbs.check_known((asked.app,), service)
    about = {**service.describe(), "held": list(verbs.held(service.store))}
    answer = why.explain(records, asked.app, service.clock.now(), about, service.stale_after())
    return document(why.to_document(answer))


def _openapi(_service: RunningService, _asked: Asked) -> Answer:
    from controller.api.openapi import openapi

    return document(openapi())


# -- verbs --------------------------------------------------------------------------------------------------


def _reconcile(service: RunningService, asked: Asked) -> Answer:
    verb = verbs.Reconcile(asked.names("apps"), asked.flag("dryRun"), asked.flag("newEngine"))
    return _actions(verbs.reconcile(service, verb, asked.wanted))


def _reconcile_app(service: RunningService, asked: Asked) -> Answer:
    return _actions(
        verbs.reconcile(service, verbs.Reconcile((asked.app,), asked.flag("dryRun")), asked.wanted)
    )


def _plan(service: RunningService, asked: Asked) -> Answer:
    plans = verbs.plan(service, verbs.PlanQuery(asked.names("apps")))
    return document(
        {
            "plans": [
                {"app": app, "actions": [queries.action_document(action) for action in plan.actions]}
                for app, plan in plans
            ]
        }
    )


def _prune(service: RunningService, asked: Asked) -> Answer:
    verb = verbs.Prune(asked.flag("approve"))
    return document({"held": list(verbs.prune(service, verb)), "approved": verb.approve})


def _suspend(service: RunningService, asked: Asked) -> Answer:
    verbs.suspend(service, verbs.Suspend(asked.app))
    return document({"app": asked.app, "suspended": True})


def _resume(service: RunningService, asked: Asked) -> Answer:
    verbs.resume(service, verbs.Resume(asked.app))
    return document({"app": asked.app, "suspended": False})


def _wish(kind: type[verbs.Wish], service: RunningService, asked: Asked) -> Answer:
    wish = verbs.Rollback(asked.app, asked.text("revision")) if kind is verbs.Rollback else kind(asked.app)
    return _actions(verbs.act(service, wish, asked.wanted))


def _purge(service: RunningService, asked: Asked) -> Answer:
    purged = verbs.purge(service, verbs.Purge(asked.app, asked.names("volumes")))
    return document({"purged": list(purged)})


def _actions(done: tuple[Any, ...]) -> Answer:
    return document({"actions": [queries.action_document(action) for action in done]})


# -- the table ----------------------------------------------------------------------------------------------

_UNAVAILABLE: Final = (HTTPStatus.SERVICE_UNAVAILABLE,)
_UNKNOWN: Final = (HTTPStatus.NOT_FOUND,)
_REFUSED: Final = (HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT, HTTPStatus.SERVICE_UNAVAILABLE)
_APPS: Final = Field("names", "these apps; all of them when there are none")
_DRY: Final = Field("flag", "say what would be done, and do nothing")
_REVISION: Final = Field(
    "text",
    f"a generation, or the first 4 to {SHOWN} digits of a revision; the last good one when there is none",
)

_WISHES: Final[Mapping[str, str]] = {
    "stop": "Stop its containers, and leave them stopped until it is started",
    "start": "No longer leave it stopped",
    "restart": "Stop and start all its containers, once",
    "update": "Pull its images and apply what has moved, once",
    "adopt": "Take over the running project of that name, whose folder is another one",
    "rollback": "Go back to an earlier revision, until its files change",
    "remove": "Take it away; its folder is kept in `.removed/`, its volumes stay",
}

ENDPOINTS: Final[tuple[Endpoint, ...]] = (
    Endpoint("GET", "/healthz", "Whether every part of the service does its work; if not, a restart helps",
             _healthz, "Checks", may=_UNAVAILABLE, probe=True),
    Endpoint("GET", "/readyz", "Whether it can act: healthy, and the engine, the tree and the state can be used",
             _readyz, "Checks", may=_UNAVAILABLE, probe=True),
    Endpoint("GET", "/metrics", "Metrics in the text format of Prometheus", _metrics, "Metrics", media=METRICS, probe=True),
    Endpoint("GET", "/status", "The document of `homeport status -o json`", _status, "Status"),
    Endpoint("GET", "/apps", "All apps on record, with their status", _apps, "Apps"),
    Endpoint("GET", "/apps/{name}", "The status of one app", _app, "App", may=_UNKNOWN),
    Endpoint("GET", "/apps/{name}/history", "What runs, and what ran before it", _history, "History", may=_UNKNOWN),
    Endpoint("GET", "/apps/{name}/why", "Why it is not Ready, down to the root cause, and what helps",
             _why, "Why", may=_UNKNOWN),
    Endpoint("GET", "/events", "What happens, as server-sent events; `Last-Event-ID` goes on after that one",
             None, "Event", {"app": Field("name", "of this app alone"),
                             "since": Field("text", "first those since then: 30s, 10m, 1h, 2d, or a time like "
                                                    "2026-01-31T12:00:00Z; without it only new ones")},
             media=STREAM, may=_UNAVAILABLE),
    Endpoint("GET", "/openapi.json", "This API, as an OpenAPI document", _openapi, "OpenAPI"),
    Endpoint("POST", "/plan", "What a sweep would do, and why; it touches nothing",
             _plan, "Plans", {"apps": _APPS}, may=_REFUSED),
    Endpoint("POST", "/reconcile", "One sweep; the answer comes when each app is Ready or can get no further by itself",
             _reconcile, "Actions", {"apps": _APPS, "dryRun": _DRY, "newEngine": Field(
                 "flag", "install everything on an engine that has nothing of what is on record")}, may=_REFUSED),
    Endpoint("POST", "/prune", "The removals that are held; with `approve` they are let go",
             _prune, "Held", {"approve": Field("flag", "let them go")}),
    Endpoint("POST", "/apps/{name}/reconcile", "Look at it now, whatever its backoff; a generation that is kept out "
             "is tried again", _reconcile_app, "Actions", {"dryRun": _DRY}, may=_REFUSED),
    Endpoint("POST", "/apps/{name}/suspend", "Leave it exactly as it is", _suspend, "Suspended", may=_UNKNOWN),
    Endpoint("POST", "/apps/{name}/resume", "Take it up again", _resume, "Suspended", may=_UNKNOWN),
    *(
        Endpoint("POST", f"/apps/{{name}}/{word}", _WISHES[word], partial(_wish, kind), "Actions",
                 {"revision": _REVISION} if kind is verbs.Rollback else {}, may=_REFUSED)
        for word, kind in verbs.WISHES.items()
    ),
    Endpoint("POST", "/apps/{name}/purge", "Delete volumes of it, with all that is in them",
             _purge, "Purged", {"volumes": Field("names", "these volumes, by full or short names")}, may=_REFUSED),
)  # fmt: skip
"""All there are."""

"""Application: takes a request apart, has the endpoint answer in a thread, and streams events.

An endpoint may block for minutes, the loop never does. Sockets and connections do not belong here.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import json
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from concurrent.futures import Future, InvalidStateError
from datetime import datetime
from functools import partial
from http import HTTPStatus
from itertools import count
from typing import Any, TypeVar
from urllib.parse import urlsplit

import structlog
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from controller.api.endpoints import (
    ENDPOINTS,
    SORTS,
    STREAM,
    Answer,
    Asked,
    BadRequest,
    Endpoint,
    Sort,
    check,
    error,
)
from controller.control import queries
from controller.control.errors import Refused, UnknownApp
from controller.control.service import RunningService, Waiter
from controller.model.errors import AppError, EngineUnreachable, HomeportError, Interrupted, StateUnusable

log = structlog.get_logger("homeport")

T = TypeVar("T")

BODY_LIMIT = 1024 * 1024
"""Bytes of a request's body that are read."""
BODY_PATIENCE = 30.0
"""Seconds for the whole of it."""
ANSWERS = 16
"""Answers of each sort that are worked out at a time, at each door; one more is answered with 503."""
STREAMS = 16
"""Streams of events at a time, at each door."""
HEARTBEAT = 15.0
"""Seconds after which a stream in which nothing happens shows that it is alive."""
BATCH = 500
"""Events that a stream reads at a time."""

_HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
_numbers = count(1)


class Helpers:
    """Threads for what may block, each for one call. They are named and known, so that a stop can wait for them.

    `_guard` protects `_threads`. A thread of each call costs less than keeping some that wait.
    """

    def __init__(self, most: int = ANSWERS) -> None:
        self._most = most
        self._guard = threading.Lock()
        self._threads: set[threading.Thread] = set()

    async def run(self, call: Callable[[], T]) -> T:
        """The call's answer, or what it raises. Raises `BadRequest` (503) when too many are under way."""
        answer: Future[T] = Future()

        def work() -> None:
            settle: Callable[[], None]
            try:
                settle = partial(answer.set_result, call())
            except Exception as problem:
                settle = partial(answer.set_exception, problem)
            except BaseException as problem:  # who waits has to hear of it; as it is, it would end the loop
                settle = partial(answer.set_exception, RuntimeError(repr(problem)))
            with self._guard:
                self._threads.discard(threading.current_thread())
            with contextlib.suppress(InvalidStateError):  # nobody waits any more
                settle()

        thread = threading.Thread(target=work, name=f"homeport-api-{next(_numbers)}", daemon=True)
        with self._guard:
            full = len(self._threads) >= self._most
            if not full:
                self._threads.add(thread)
                try:
                    thread.start()
                except RuntimeError:  # no more threads on this machine
                    self._threads.discard(thread)
                    full = True
        if full:
            raise BadRequest(
                f"the service works out {self._most} answers; try again", HTTPStatus.SERVICE_UNAVAILABLE
            )
        return await asyncio.wrap_future(answer)

    def threads(self) -> tuple[threading.Thread, ...]:
        """Those that are under way."""
        with self._guard:
            return tuple(self._threads)


class News:
    """Wakes the streams when there is something new. `tell` may be called from any thread; all else is the loop's."""

    def __init__(self) -> None:
        self._followers: set[asyncio.Event] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self.over = False

    def __len__(self) -> int:
        return len(self._followers)

    def tell(self) -> None:
        """An event was told. With nobody to follow it costs nothing."""
        loop = self._loop
        if self._followers and loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(self._wake)

    def end(self) -> None:
        """End all streams."""
        self.over = True
        self._wake()

    def _wake(self) -> None:
        for follower in self._followers:
            follower.set()

    @contextlib.contextmanager
    def follow(self) -> Iterator[asyncio.Event]:
        """An event that is set whenever there is something new."""
        self._loop = asyncio.get_running_loop()
        follower = asyncio.Event()
        self._followers.add(follower)
        try:
            yield follower
        finally:
            self._followers.discard(follower)


class Desk:
    """What the answers at one door share."""

    def __init__(self) -> None:
        self.news = News()
        # One event has every stream look at once: they take no thread from those who ask, and none is left without.
        self.helpers: Mapping[Sort, Helpers] = {
            sort: Helpers(STREAMS if sort == "stream" else ANSWERS) for sort in SORTS
        }

    def threads(self) -> tuple[threading.Thread, ...]:
        """In which an answer is worked out just now."""
        return tuple(thread for helpers in self.helpers.values() for thread in helpers.threads())


def application(service: RunningService, desk: Desk, *, questions_only: bool) -> Any:
    """What answers at one door, as ASGI. `questions_only`: where anybody of this machine may ask, nothing can be done."""
    shown = [endpoint for endpoint in ENDPOINTS if endpoint.method == "GET" or not questions_only]
    routes = [
        Route(endpoint.path, _route(endpoint, service, desk), methods=[endpoint.method]) for endpoint in shown
    ]
    app = Starlette(routes=routes, exception_handlers={HTTPException: _not_routed})
    app.router.redirect_slashes = False
    return _only_this_machine(app) if questions_only else app


def _route(endpoint: Endpoint, service: RunningService, desk: Desk) -> Callable[..., Any]:
    helpers = desk.helpers[endpoint.sort]

    async def answer(request: Request) -> Response:
        try:
            if endpoint.act is None:
                return await _events(request, endpoint, service, desk.news, helpers)
            return _response(await _answer(request, endpoint, service, helpers))
        except ClientDisconnect:
            return Response()  # nobody reads it
        except Exception as problem:
            return _response(_failed(endpoint, problem), close=isinstance(problem, BadRequest))

    return answer


def _response(answer: Answer, *, close: bool = False) -> Response:
    # After a request that was not read to its end nothing can follow on that connection.
    headers = {**_HEADERS, "Connection": "close"} if close else _HEADERS
    return Response(answer.body, answer.status, headers, answer.media)


def _failed(endpoint: Endpoint, problem: Exception) -> Answer:
    match problem:
        case BadRequest():
            return error(problem, problem.status)
        case UnknownApp():
            return error(problem, HTTPStatus.NOT_FOUND)
        case EngineUnreachable() | Interrupted() | StateUnusable():
            return error(problem, HTTPStatus.SERVICE_UNAVAILABLE)
        case AppError() | Refused():
            return error(problem, HTTPStatus.CONFLICT)
        case HomeportError():
            return error(problem, HTTPStatus.INTERNAL_SERVER_ERROR)
        case OSError():
            return error(
                HomeportError(f"{endpoint.path} failed: {problem}"), HTTPStatus.INTERNAL_SERVER_ERROR
            )
        case _:
            log.error(
                "api.failed", message=f"a fault in Homeport itself, at {endpoint.path}", exc_info=problem
            )
            return error(problem, HTTPStatus.INTERNAL_SERVER_ERROR)


async def _answer(request: Request, endpoint: Endpoint, service: RunningService, helpers: Helpers) -> Answer:
    act = endpoint.act
    assert act is not None  # noqa: S101 - a stream has none
    sent = check(_query(request) if endpoint.method == "GET" else await _body(request), endpoint)
    wanted = Waiter()
    asked = Asked(request.path_params.get("name", ""), sent, wanted)

    async def listen() -> None:
        """Nothing more is to be read: what comes is that the client has hung up."""
        while (await request.receive())["type"] != "http.disconnect":
            pass
        wanted.end()

    listening = asyncio.create_task(listen()) if endpoint.method == "POST" else None
    try:
        return await helpers.run(lambda: act(service, asked))
    finally:
        wanted.end()
        if listening is not None:
            listening.cancel()


async def _body(request: Request) -> Mapping[str, Any]:
    if request.url.query:
        raise BadRequest("what is to be done is said in the body, not in the query")
    if "transfer-encoding" in request.headers:
        raise BadRequest("send a Content-Length, not a Transfer-Encoding", HTTPStatus.LENGTH_REQUIRED)
    # uvicorn lets no other through than a number, and no longer body than it says.
    if int(request.headers.get("content-length", "0")) > BODY_LIMIT:
        raise BadRequest(f"the body is over {BODY_LIMIT} bytes", HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
    raw = bytearray()
    try:
        async with asyncio.timeout(BODY_PATIENCE):
            async for piece in request.stream():
                raw += piece
    except TimeoutError as problem:
        raise BadRequest(
            f"the body did not come within {BODY_PATIENCE:g} s", HTTPStatus.REQUEST_TIMEOUT
        ) from problem
    try:
        body = json.loads(raw) if raw else {}
    except (ValueError, RecursionError) as problem:
        raise BadRequest(f"the body is not JSON: {problem}") from problem
    if not isinstance(body, dict):
        raise BadRequest("the body is not a JSON object")
    return body


def _query(request: Request) -> Mapping[str, Any]:
    sent = request.query_params.multi_items()
    if len({key for key, _ in sent}) != len(sent):
        raise BadRequest("a parameter is given twice")
    return dict(sent)


# -- events ---------------------------------------------------------------------------------------------------


async def _events(
    request: Request, endpoint: Endpoint, service: RunningService, news: News, helpers: Helpers
) -> Response:
    sent = check(_query(request), endpoint)
    since: datetime | None = None
    if "since" in sent:
        since = queries.parse_since(sent["since"], service.clock.now())
        if since is None:
            raise BadRequest(f"since={sent['since']} is neither like 1h nor a time like 2026-01-31T12:00:00Z")
    last = request.headers.get("last-event-id")
    if last is not None and not (last.isascii() and last.isdigit() and len(last) < 19):
        raise BadRequest(f"Last-Event-ID is {last!r}, not a number")
    if len(news) >= STREAMS:
        raise BadRequest(
            f"the service has {STREAMS} streams of events; try again", HTTPStatus.SERVICE_UNAVAILABLE
        )
    with contextlib.ExitStack() as place:
        follower = place.enter_context(news.follow())  # before anything is waited for: the place is taken
        newest = await helpers.run(service.store.newest_event)
        if last is not None:
            # A database that was made anew counts from the beginning.
            after, since = int(last) if int(last) <= newest else 0, None
        else:
            after = newest if since is None else 0
        if request.method == "HEAD":
            return Response(headers=_HEADERS, media_type=STREAM)
        stream = _stream(service, news, follower, helpers, sent.get("app"), since, after)
        return _Following(stream, place.pop_all())


class _Following(StreamingResponse):
    """A stream that gives its place back however it ends, be it before it has begun."""

    def __init__(self, stream: AsyncIterator[bytes], place: contextlib.ExitStack) -> None:
        super().__init__(stream, headers=_HEADERS, media_type=STREAM)
        self._place = place

    async def __call__(self, *connection: Any) -> None:
        with self._place:
            await super().__call__(*connection)


async def _stream(
    service: RunningService, news: News, follower: asyncio.Event, helpers: Helpers,
    app: str | None, since: datetime | None, after: int,
) -> AsyncIterator[bytes]:  # fmt: skip
    def look() -> tuple[int, list[dict[str, Any]]]:
        # The newest first: what is told between the two is in the batch, or found by the next look.
        return service.store.newest_event(), queries.events_list(service.store, app, since, after, BATCH)

    yield b": events of Homeport\n\n"
    while not news.over:
        follower.clear()
        try:
            newest, batch = await helpers.run(look)
        except HomeportError as problem:
            yield b": " + str(problem).encode("ascii", "replace").replace(b"\n", b" ") + b"\n\n"
            return  # the client comes back with the id of the last event that it has
        for event in batch:
            after = event["id"]
            yield b"id: %d\ndata: %s\n\n" % (after, json.dumps(event).encode())
        if len(batch) < BATCH:
            after = max(after, newest)  # all up to there was looked through
            while not await _set_within(follower, HEARTBEAT):
                yield b":\n\n"


async def _set_within(follower: asyncio.Event, seconds: float) -> bool:
    try:
        await asyncio.wait_for(follower.wait(), seconds)
    except TimeoutError:
        return False
    return True


# -- what is not routed -----------------------------------------------------------------------------------------


async def _not_routed(request: Request, problem: Exception) -> Response:
    assert isinstance(problem, HTTPException)  # noqa: S101 - for no other is it registered
    status = HTTPStatus(problem.status_code)
    text = f"{request.url.path}: {status.phrase}; GET /openapi.json says what there is"
    response = _response(error(BadRequest(text, status), status), close=True)
    response.headers.update(problem.headers or {})
    return response


def _only_this_machine(app: Any) -> Any:
    """Before a TCP port of this machine: a browser can be made to send what its user never asked for, under the name of
    any site. It says which name it used and where the request comes from."""

    async def guarded(scope: Any, receive: Any, send: Any) -> None:
        refusal = _stranger(Request(scope)) if scope["type"] == "http" else ""
        if refusal:
            answer = error(BadRequest(refusal, HTTPStatus.FORBIDDEN), HTTPStatus.FORBIDDEN)
            await _response(answer, close=True)(scope, receive, send)
        else:
            await app(scope, receive, send)

    return guarded


def _stranger(request: Request) -> str:
    """Why this request is not answered, or ""."""
    hosts = request.headers.getlist("host")
    if len(hosts) != 1 or not is_loopback(_host("//" + hosts[0])):
        return f"Host is {', '.join(hosts)!r}; ask for 127.0.0.1, [::1] or localhost"
    origin = request.headers.get("origin")
    if origin is not None and not is_loopback(_host(origin)):
        return f"a page of {origin} has no say here"
    if request.headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
        return "a page of another site has no say here"
    if request.method not in ("GET", "HEAD"):
        return "over TCP nothing can be changed; use the Unix socket"
    return ""


def _host(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def is_loopback(host: str) -> bool:
    """Whether this names no other machine, without asking anybody what it stands for."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False

"""Serving: uvicorn with a loop that sleeps until there is something to do, and that stops within a time.

Importing this costs the whole HTTP stack; commands do without. Sockets are made by the server, answers by the application.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from functools import partial
from pathlib import Path
from typing import Any, cast

import structlog
import uvicorn

from controller.api.application import Desk, application
from controller.api.connection import Connection, Door
from controller.api.server import BACKLOG, GRACE
from controller.control.service import RunningService

log = structlog.get_logger("homeport")

CONNECTIONS = 96
"""At a time, at each door. More than there are answers and streams, so that monitoring is let in."""


class Serving:
    """One life of the API: `run` in a thread of its own, `end` from any other."""

    def __init__(self, service: RunningService, path: Path, sockets: list[socket.socket]) -> None:
        self._sockets = sockets
        self._up = threading.Event()
        """Set when the loop can be called, or never will be."""
        self._loop: asyncio.AbstractEventLoop | None = None
        self._server: _Server | None = None
        self._doors: dict[int, Door] = {}
        self._desks: list[Desk] = []
        for one in sockets:
            local = one.family == socket.AF_UNIX
            desk = Desk()
            app = application(service, desk, questions_only=not local)
            self._doors[one.family] = Door(app, CONNECTIONS, path if local else None)
            self._desks.append(desk)

    def run(self) -> None:
        """Answer until `end`."""
        try:
            asyncio.run(self._serve())
        except BaseException:
            # Nobody looks after this thread; that it has ended is seen by whoever asks about health.
            log.exception("api.ended", message="the API has ended; restart the service to have it again")
        finally:
            self._up.set()
            for one in self._sockets:
                one.close()  # who comes now is told so, and does not wait

    def end(self) -> None:
        """Take no more, end the streams, let answers out for a while, then cut. Does not wait."""
        self._up.wait()
        self._call(self._begin_end)

    def tell_news(self) -> None:
        """An event was told: the streams look for it. From any thread."""
        for desk in self._desks:
            desk.news.tell()

    def comes_round(self, patience: float) -> bool:
        """Whether the loop does what it is called for within so many seconds."""
        came = threading.Event()
        return self._up.wait(patience) and self._call(came.set) and came.wait(patience)

    def helpers(self) -> tuple[threading.Thread, ...]:
        """Threads in which an answer is worked out still."""
        return tuple(thread for desk in self._desks for thread in desk.threads())

    def _call(self, what: Any) -> bool:
        try:
            if self._loop is not None:
                self._loop.call_soon_threadsafe(what)
                return True
        except RuntimeError:
            pass  # it has ended
        return False

    def _begin_end(self) -> None:
        for desk in self._desks:
            desk.news.end()
        if self._server is not None:
            self._server.stopping.set()

    async def _serve(self) -> None:
        config = uvicorn.Config(
            _unrouted,
            http=cast("Any", partial(Connection, doors=self._doors)),
            ws="none", lifespan="off", loop="asyncio", interface="asgi3", proxy_headers=False, server_header=False,
            date_header=False, access_log=False, log_config=None, log_level="critical", backlog=BACKLOG,
            timeout_graceful_shutdown=GRACE,  # type: ignore[arg-type]
        )  # fmt: skip
        self._server = _Server(config)
        self._loop = asyncio.get_running_loop()
        self._up.set()
        await self._server.serve(self._sockets)
        for connection in tuple(self._server.server_state.connections):
            connection.transport.abort()
        # What the loop was told to close it closes when it comes round.
        await asyncio.sleep(0)


class _Server(uvicorn.Server):
    """uvicorn's own loop looks ten times a second whether it is to stop. This one is told."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.stopping = asyncio.Event()

    async def main_loop(self) -> None:
        """Until it is to stop."""
        await self.stopping.wait()
        # Who was just let in has to be there before the door is closed: asyncio (3.11) forgets to close it otherwise.
        for server in self.servers:
            for one in server.sockets:
                asyncio.get_running_loop().remove_reader(one)
        await asyncio.sleep(0)


async def _unrouted(scope: Any, receive: Any, send: Any) -> None:
    raise AssertionError("each connection is given the application of its door")

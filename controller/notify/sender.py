"""Sender: the thread that waits until there is something to tell, and the addresses that it goes to.

Apprise knows the services; an address holds their passwords, so none is ever logged or shown. What is told is the digest's.
"""

from __future__ import annotations

import logging
import re
import socket
import threading
import warnings
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import structlog

from controller.model.effects import Moment
from controller.model.errors import HomeportError
from controller.model.ports import Clock
from controller.model.record import Event
from controller.notify.digest import GAP, HEARD, Digest, Message
from controller.notify.sight import Sight

log = structlog.get_logger("homeport")

RETRIES = (5.0, 30.0, 120.0)
"""Seconds after which a message that could not be sent is tried again, each address for itself; then it is given up."""
HELD = 1000
"""Events that wait at most; what is told is what is so at its time, so that old ones are no loss."""
PATIENCE = 5.0
"""Seconds for which the end waits for a message that is on its way."""
INSTALL = "pip install 'homeport[notify]'"
_SCHEME = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]*):/?/?")


class NotifyUnusable(HomeportError):
    """What `--notify` names cannot be used; the message names the address by its number and kind, and never shows it."""


class Address(Protocol):
    """One place that messages go to."""

    @property
    def name(self) -> str:
        """For the log: its number and kind."""

    def send(self, message: Message) -> bool:
        """Whether it was taken. Never raises; ends within seconds."""


class Remember(Protocol):
    """Keeps what was told beyond the process; raises nothing."""

    def __call__(self, memory: str, /) -> None: ...


class AppriseAddress:
    """An address of a service that Apprise knows."""

    def __init__(self, name: str, server: Any, kinds: Any) -> None:
        self.name = name
        self._server, self._kinds = server, kinds

    def send(self, message: Message) -> bool:
        """See `Address.send`."""
        try:
            title = f"{socket.gethostname()}: {message.title}"
            return bool(
                self._server.notify(title=title, body=message.body, notify_type=self._kinds(message.kind))
            )
        except Exception:  # a plugin of a hundred: whatever it is, the traceback may hold the address
            return False


def open_addresses(urls: Sequence[str]) -> tuple[AppriseAddress, ...]:
    """The addresses of these Apprise URLs. Takes a quarter of a second. Raises `NotifyUnusable`."""
    if not urls:
        return ()
    try:
        import apprise
    except ImportError as error:
        raise NotifyUnusable(
            f"--notify needs the library Apprise, which is not installed: {INSTALL}"
        ) from error
    # It would print addresses.
    logging.getLogger("apprise").disabled = True
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a hundred plugins' imports, which nobody here can mend
        return tuple(_open(apprise, number, url) for number, url in enumerate(urls, 1))


def _open(apprise: Any, number: int, url: str) -> AppriseAddress:
    name = f"{number} ({_kind(url)})"
    server = apprise.Apprise.instantiate(url)
    if server is None:
        raise NotifyUnusable(
            f"--notify: address {name} is none that Apprise understands; it is not shown here, as it may hold a password. See "
            "https://github.com/caronc/apprise/wiki for how they are written"
        )
    return AppriseAddress(name, server, apprise.NotifyType)


def _kind(url: str) -> str:
    found = _SCHEME.match(url)
    return found[1] if found else "without a kind"


class Notifier:
    """Hears events in whatever thread tells them, and never holds that up; looks, digests and sends in a thread of its own.

    `_changed` guards `_heard` and `_stopping`.
    """

    def __init__(
        self,
        addresses: Sequence[Address],
        look: Callable[[], Mapping[str, Sight]],
        clock: Clock,
        memory: str | None = None,
        remember: Remember = lambda _memory: None,
        retries: Sequence[float] = RETRIES,
        wrong: Callable[[], Mapping[str, str]] = dict,
    ) -> None:
        """`look`: how all apps are at this moment. `memory`: what an earlier process gave to `remember`. `wrong`: what is
        wrong with the service at this moment, or may still be, by the event that says so."""
        self._addresses, self._clock, self._retries = addresses, clock, retries
        self._look, self._wrong = look, wrong
        self._digest = Digest.recall(memory)
        self._remember = remember
        self._changed = threading.Condition()
        self._heard: deque[tuple[Event, float]] = deque(maxlen=HELD)
        self._stopping = False
        self._thread = threading.Thread(target=self._work, name="homeport-notifier", daemon=True)

    def __call__(self, event: Event) -> None:
        """An event: a `Listener`."""
        if event.name in HEARD:
            with self._changed:
                self._heard.append((event, self._clock.monotonic()))
                self._changed.notify_all()

    def start(self) -> None:
        """Begin, when it is known how the service itself is: what was told and what is so are compared once."""
        self._digest.begin(self._clock.monotonic())
        self._thread.start()

    def alive(self) -> bool:
        """Whether its thread lives."""
        return self._thread.is_alive()

    def stop(self) -> None:
        """End the thread. A message that is on its way to one address is waited for, `PATIENCE` at most, and then left to
        end with the process; it goes to no other address. What nobody took is told by the next process, if it is still so."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        if self._thread.ident is not None:
            self._thread.join(PATIENCE)

    def _work(self) -> None:
        while True:
            due = self._digest.due()
            left = None if due is None else max(0.0, due - self._clock.monotonic())
            with self._changed:
                self._changed.wait_for(lambda: self._stopping or bool(self._heard), left)
                if self._stopping:
                    return
                heard, self._heard = self._heard, deque(maxlen=HELD)
            try:
                self._go_on(heard)
            except Exception:
                # Nobody looks after this thread; the next event finds all that is still so.
                log.exception(
                    "notify.failed", message="a fault in Homeport itself; it is tried again in a minute"
                )
                with self._changed:
                    self._changed.wait_for(lambda: self._stopping, GAP)

    def _go_on(self, heard: deque[tuple[Event, float]]) -> None:
        for event, at in heard:
            self._digest.hear(event, at)
        moment = Moment(self._clock.monotonic(), self._clock.now())
        due = self._digest.due()
        if due is None or due > moment.monotonic:
            return
        before = dict(self._digest.told)
        message = self._digest.take(self._look(), self._wrong(), moment)
        if message is not None and not self._send(message):
            self._digest.told = before  # the next event or the next process tells it
        self._remember(self._digest.memory())

    def _send(self, message: Message) -> bool:
        """Answers whether anybody took it."""
        left = self._offer(message, self._addresses)
        for wait in self._retries:
            if not left or self._ends_within(wait):
                break
            left = self._offer(message, left)
        if left:
            names = ", ".join(address.name for address in left)
            log.error("notify.failed", message=f"not sent: {message.title}; address {names} did not take it")
        else:
            log.info("notify.sent", message=message.title)
        return len(left) < len(self._addresses)

    def _offer(self, message: Message, addresses: Sequence[Address]) -> list[Address]:
        """Answers with those that did not take it; none is asked once the end has begun."""
        return [address for address in addresses if self._ends_within(0.0) or not address.send(message)]

    def _ends_within(self, seconds: float) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: self._stopping, seconds)

"""Digest: from what happens and what is, to the few messages that a person gets. Pure; time is passed in.

Events only say that there is something to look at; what is told is what is so when the time to tell has come. How a message
travels does not belong here.
"""

from __future__ import annotations

import json
from collections import defaultdict, deque
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import Literal

from controller.model.effects import Moment
from controller.model.record import Event
from controller.model.values import replace
from controller.notify.sight import MISSING, Sight
from controller.status.codec import as_kept

QUIET = 10.0
"""Seconds without news before anything is told: what mends itself by then is not."""
GATHER = 60.0
"""Seconds after which it is told although the news go on."""
GAP = 60.0
"""Seconds between two messages at least."""
FLAPS = 3
"""What goes wrong that often within an hour is told once, with the count, and then not until it is steady."""
HOUR = 3600.0
STEADY = 900.0
"""Seconds without a change after which what flapped counts as steady."""
NAMES, BLOCKS, LENGTH = 8, 10, 300
"""Names in a list, blocks in a message, characters of what an app says: at most."""
_APART = 3
"""Apps in the same trouble that are told one by one; more are one block."""
_FALLS_KEPT = 100

_BAD = frozenset(
    {"app.failed", "app.degraded", "app.rolled_back", "app.invalid", "app.needs_configuration", "removal.held", "removal.blocked"}
)  # fmt: skip
_OTHER = frozenset({"app.ready", "app.stopped", "app.suspended", "app.removed"})
"""May end what was told."""
_SERVICE_BAD = {
    "engine.lost": "the engine",
    "engine.strange": "the new engine",
    "tree.lost": "the tree",
    "state.lost": "the state",
}
_SERVICE_GOOD = {
    "engine.back": "the engine",
    "engine.known": "the new engine",
    "engine.taken": "the new engine",
    "tree.back": "the tree",
    "state.back": "the state",
}
_ONCE = frozenset({"state.rebuilt", "service.unwell"})
HEARD = _BAD | _OTHER | _SERVICE_BAD.keys() | _SERVICE_GOOD.keys() | _ONCE
"""The events that count; no other need be passed on."""
_PARTS = {
    "the engine": ("The engine is lost", "The engine answers again"),
    "the new engine": ("The engine has nothing of ours", "The engine is the one on record"),
    "the tree": ("The apps tree is lost", "The apps tree is back"),
    "the state": ("The state cannot be written", "The state can be written again"),
}
"""What is said of a part of the service, bad and good. No app has such a name: there is a space in it."""


@dataclass(frozen=True)
class Message:
    """What is sent: a headline, and blocks of text."""

    kind: Literal["failure", "success", "info"]
    title: str
    body: str


@dataclass(frozen=True)
class Told:
    """What a person knows of an app or a part of the service: its word, and since when (RFC 3339)."""

    word: str
    since: str
    others: tuple[str, ...] = ()
    """That were in trouble because of it."""
    reason: str = ""


_NOTHING = Told("", "")
_LOST, _FLAPS_NOW = "Lost", "Flaps"
"""Words that no app has."""


@dataclass
class Digest:
    """Fed with `hear`; when `due` has come, `take` gives the message, or nothing if all is well by then.

    Times are monotonic seconds. `told` outlives the process: see `memory`.
    """

    told: dict[str, Told] = field(default_factory=dict)
    _parts: dict[str, str] = field(default_factory=dict)
    """Parts of the service that are in trouble, and what was said of that."""
    _unheard: set[str] = field(default_factory=set)
    """Parts that an earlier process told of, and of which nothing was heard since: how they are is to be looked at."""
    _dirty: set[str] = field(default_factory=set)
    _once: list[str] = field(default_factory=list)
    _bad: set[str] = field(default_factory=set)
    _falls: dict[str, deque[float]] = field(default_factory=dict)
    _flaps: dict[str, float] = field(default_factory=dict)
    """What goes wrong again and again, and when it last changed: nothing is told of it until it is steady."""
    _first: float | None = None
    _last: float = 0.0
    _sent: float | None = None

    # -- in -------------------------------------------------------------------------------------------

    def begin(self, at: float) -> None:
        """The process starts: what began or ended around that is told without an event of it."""
        self._touch("", at)

    def hear(self, event: Event, at: float) -> None:
        """Something happened that may have to be told."""
        name, app = event.name, event.app
        if name in _ONCE:
            self._once.append(_short(event.message))
            del self._once[:-BLOCKS]
            self._touch("", at)
        elif (part := _SERVICE_BAD.get(name)) is not None:
            self._parts[part] = event.message
            self._note(part, True, at)
        elif (part := _SERVICE_GOOD.get(name)) is not None:
            self._parts.pop(part, None)
            self._note(part, False, at)
        elif app and name in _BAD:
            self._note(app, True, at)
        elif app and name in _OTHER:
            self._note(app, False, at)

    def _note(self, key: str, bad: bool, at: float) -> None:
        self._unheard.discard(key)
        news = bad != (key in self._bad)
        if bad and news:
            self._bad.add(key)
            self._falls.setdefault(key, deque(maxlen=_FALLS_KEPT)).append(at)
        elif not bad:
            self._bad.discard(key)
        # One more failed try is no news: it puts nothing off.
        if key in self._flaps:
            if news:
                self._flaps[key] = at
        elif (bad or key in self.told or key in self._dirty) and (news or key not in self._dirty):
            self._touch(key, at)

    def _touch(self, key: str, at: float) -> None:
        if key:
            self._dirty.add(key)
        self._first = at if self._first is None else self._first
        self._last = at

    def due(self) -> float | None:
        """When there may be something to tell; None: not before something is heard."""
        times = [changed + STEADY for changed in self._flaps.values()]
        if self._first is not None:
            times.append(min(self._last + QUIET, self._first + GATHER))
        if not times:
            return None
        soonest = min(times)
        return soonest if self._sent is None else max(soonest, self._sent + GAP)

    # -- out ------------------------------------------------------------------------------------------

    def take(self, sights: Mapping[str, Sight], wrong: Mapping[str, str], moment: Moment) -> Message | None:
        """What is to be told at this moment, given how all apps are; it counts as told.

        `wrong`: what is wrong with the service, or may still be, by the event that says so.
        """
        at = moment.monotonic
        self._look_at_unheard(wrong)
        troubles, self._once = self._once, []
        mended: list[str] = []
        fallen = self._end_flapping(at)
        flapping = self._tell_flapping(sights, moment)
        for part in _PARTS:
            self._tell_part(part, moment, troubles, mended)
        # Else nothing is known of the apps, and what changes with that is no news of theirs.
        if not self._parts:
            groups = _by_root(sights)
            troubles += self._tell_troubles(groups, sights, moment)
            mended += self._tell_mended(groups, sights, moment, fallen)
        self._first = None
        self._dirty.clear()
        if self._unheard:  # what they come to may never be heard of
            self._touch("", at + GAP - QUIET)
        self._forget(at)
        blocks = [*troubles, *flapping, *mended]
        if not blocks:
            return None
        self._sent = at
        return Message("failure" if troubles or flapping else "success", _title(blocks), _body(blocks))

    def _look_at_unheard(self, wrong: Mapping[str, str]) -> None:
        still = {part: wrong[name] for name, part in _SERVICE_BAD.items() if name in wrong}
        for part in self._unheard:
            self._parts.pop(part, None)
        self._unheard &= still.keys()
        self._parts.update({part: still[part] for part in self._unheard})

    def _tell_part(self, part: str, moment: Moment, troubles: list[str], mended: list[str]) -> None:
        bad, good = _PARTS[part]
        if part in self._flaps:
            return
        if part in self._parts and (told := self.told.get(part, _NOTHING)).word != _LOST:
            self.told[part] = Told(_LOST, told.since or as_kept(moment.now))
            troubles.append(f"{bad}: {_short(self._parts[part])}")
        elif part not in self._parts and (over := self.told.pop(part, None)):
            mended.append(f"{good}{_after(over, moment.now)}")

    def _end_flapping(self, at: float) -> dict[str, int]:
        """What is steady now is told as anything else again. Answers with how often each of them went wrong."""
        steady = [key for key, changed in self._flaps.items() if at >= changed + STEADY]
        for key in steady:
            del self._flaps[key]
        return {key: len(self._falls.pop(key, ())) for key in steady}

    def _tell_flapping(self, sights: Mapping[str, Sight], moment: Moment) -> list[str]:
        """What went wrong too often. Who requires it falls with it, and is named with it."""
        falling = {key for key in self._dirty - self._flaps.keys() if len(self._lately(key, moment)) >= FLAPS}
        known = falling | self._flaps.keys()
        followers = {
            key for key in falling if (sight := sights.get(key)) and known.intersection(sight.requires)
        }
        leaders = sorted(falling - followers)
        blocks = []
        for key in falling:
            self._flaps[key] = self._falls[key][-1]
        for key in leaders:
            falls = self._lately(key, moment)
            since = moment.now - timedelta(seconds=moment.monotonic - falls[0])
            # What was told of it before is over: what it comes to in the end is news.
            self.told[key] = Told(_FLAPS_NOW, as_kept(since))
            blocks.append(
                f"{_name(key)} goes wrong and comes back: {len(falls)} times in {_span(moment.monotonic - falls[0])}. It is "
                f"told again when it has been the same for {_span(STEADY)}{_with(sorted(followers)) if len(leaders) == 1 else ''}"
            )
        return blocks

    def _lately(self, key: str, moment: Moment) -> list[float]:
        return [fall for fall in self._falls.get(key, ()) if fall > moment.monotonic - HOUR]

    def _tell_troubles(
        self, groups: Mapping[str, Sequence[str]], sights: Mapping[str, Sight], moment: Moment
    ) -> list[str]:
        news: dict[tuple[str, str], list[str]] = defaultdict(list)
        for root, others in sorted(groups.items()):
            word, told = _word_of(root, others, sights), self.told.get(root)
            if root in self._flaps:
                continue
            sight = sights.get(root)
            # Between two starts of a crash loop an app is Failed, and Degraded while it runs: it is one trouble.
            reason = sight.reason if sight is not None else ""
            if told is None or (told.word != word and not (told.reason == reason == "CrashLooping")):
                news[word, reason].append(root)
            since = told.since if told else as_kept(moment.now)
            self.told[root] = Told(word, since, tuple(others), reason)
        blocks = []
        for (word, reason), roots in news.items():
            if len(roots) > _APART:
                others = sorted({other for root in roots for other in groups[root]})
                block = f"{len(roots)} apps are {word}{f' ({reason})' if reason else ''}: {_listed(roots)}"
                block += f"\n  {roots[0]}: {_short(sights[roots[0]].message)}" if roots[0] in sights else ""
                blocks.append(block + _because(others, sights))
                continue
            for root in roots:
                said = f": {_short(sights[root].message)}" if root in sights and sights[root].message else ""
                blocks.append(f"{root} is {word}{said}{_because(groups[root], sights)}")
        return blocks

    def _tell_mended(
        self,
        groups: Mapping[str, Sequence[str]],
        sights: Mapping[str, Sight],
        moment: Moment,
        fallen: Mapping[str, int],
    ) -> list[str]:
        back: list[tuple[str, Told]] = []
        for key in sorted(self.told.keys() - groups.keys() - _PARTS.keys() - self._flaps.keys()):
            sight = sights.get(key)
            if sight is not None and sight.word in ("Progressing", "Unknown", "Waiting", "Removing"):
                continue  # on its way: that it ends well is what is told
            told = self.told.pop(key)
            if sight is not None and sight.word == "Ready":
                with_it = (o for o in told.others if o in sights and sights[o].word == "Ready")
                back.append((key, replace(told, others=tuple(with_it))))
            # Else it was removed, stopped or suspended: by whoever knows.
        if len(back) > _APART:
            others = sorted({other for _, told in back for other in told.others} - {key for key, _ in back})
            return [f"{len(back)} apps are Ready again: {_listed([key for key, _ in back])}{_with(others)}"]
        return [
            f"{key} is Ready again{_after(told, moment.now)}{_times(fallen.get(key))}{_with(told.others)}"
            for key, told in back
        ]

    def _forget(self, at: float) -> None:
        """What fell longer ago than counts; so that apps that come and go leave nothing."""
        for key, falls in list(self._falls.items()):
            if key not in self._flaps and falls[-1] <= at - HOUR:
                del self._falls[key]

    # -- what outlives the process ----------------------------------------------------------------------

    def memory(self) -> str:
        """What was told and is not over, as text; "" for nothing."""
        return json.dumps({key: asdict(told) for key, told in sorted(self.told.items())}) if self.told else ""

    @classmethod
    def recall(cls, memory: str | None) -> Digest:
        """A digest that knows what an earlier process told; of a memory that makes no sense, nothing."""
        try:
            told = {
                str(key): Told(
                    str(one["word"]), str(one["since"]), tuple(map(str, one["others"])), str(one.get("reason", ""))
                )
                for key, one in json.loads(memory or "{}").items()
            }  # fmt: skip
        except (ValueError, TypeError, KeyError, AttributeError):
            told = {}
        return cls(told, _unheard=told.keys() & _PARTS.keys())


# -- how it is said -------------------------------------------------------------------------------------------


def _by_root(sights: Mapping[str, Sight]) -> dict[str, list[str]]:
    """Each app at the root of a trouble, with those that are not Ready because of it."""
    groups: dict[str, list[str]] = {
        name: [] for name, sight in sights.items() if sight.trouble and not sight.root
    }
    followers = [(name, sight) for name, sight in sorted(sights.items()) if sight.root]
    for _, sight in followers:
        if sight.trouble:
            groups.setdefault(sight.root, [])
    for name, sight in followers:
        # Who only waits is no trouble of its own, but belongs to one that is.
        if sight.root in groups:
            groups[sight.root].append(name)
    return groups


def _word_of(root: str, others: Sequence[str], sights: Mapping[str, Sight]) -> str:
    if (sight := sights.get(root)) is not None:
        return sight.word
    return next((sights[other].root_word for other in others), MISSING)


def _because(others: Sequence[str], sights: Mapping[str, Sight]) -> str:
    if not others:
        return ""
    words = [
        word for word in ("Degraded", "Waiting", "Failed") if any(sights[o].word == word for o in others)
    ]
    if len(words) == 1:
        return f"\n  because of it {'is' if len(others) == 1 else 'are'} {words[0]}: {_listed(others)}"
    return f"\n  because of it not Ready: {_listed([f'{o} ({sights[o].word})' for o in others])}"


def _with(others: Sequence[str]) -> str:
    return f"\n  and with it: {_listed(others)}" if others else ""


def _listed(names: Sequence[str]) -> str:
    shown = list(names[:NAMES])
    return ", ".join(shown) + (f" and {len(names) - len(shown)} more" if len(names) > len(shown) else "")


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= LENGTH else text[: LENGTH - 1] + "…"


def _times(falls: int | None) -> str:
    return f"; it went wrong {falls} times" if falls else ""


def _name(key: str) -> str:
    return key.capitalize() if key in _PARTS else key


def _after(told: Told, now: datetime) -> str:
    try:
        gone = now - datetime.fromisoformat(told.since)
    except ValueError:
        return ""
    return f", after {_span(gone.total_seconds())}" if gone > timedelta(0) else ""


def _span(seconds: float) -> str:
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size or (seconds >= size and seconds % size < 1):
            return f"{seconds // size:.0f} {unit}"
    return f"{max(0.0, seconds):.0f} s"


def _title(blocks: Sequence[str]) -> str:
    head = blocks[0].split("\n")[0].split(": ")[0].split(". ")[0]
    return head + (f", and {len(blocks) - 1} more" if len(blocks) > 1 else "")


def _body(blocks: Sequence[str]) -> str:
    shown = [*blocks[:BLOCKS], *([f"and {len(blocks) - BLOCKS} more"] if len(blocks) > BLOCKS else [])]
    return "\n".join(shown)

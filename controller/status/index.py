"""Index: which apps need this one, and whose folder that was, found without a look at all records.

Kept with the records as they come and go. What a record means for a decision is not known here.
"""

from __future__ import annotations

from collections.abc import Iterable

from controller.model.record import Record


class Index:
    """Names of apps by what their records name. Not thread-safe: whoever holds the records guards it with them."""

    def __init__(self, records: Iterable[Record] = ()) -> None:
        self._consumers: dict[str, set[str]] = {}
        self._identities: dict[str, set[str]] = {}
        for record in records:
            self.replace(None, record)

    def replace(self, before: Record | None, record: Record | None) -> None:
        """A record took the place of another of its app; None: there was none, there is none any more."""
        if before is not None:
            for provider in before.needs:
                _drop(self._consumers, provider, before.name)
            _drop(self._identities, before.identity, before.name)
        if record is not None:
            for provider in record.needs:
                self._consumers.setdefault(provider, set()).add(record.name)
            self._identities.setdefault(record.identity, set()).add(record.name)

    def consumers(self, provider: str) -> tuple[str, ...]:
        """The apps to which the state of this one counts, by name."""
        return tuple(sorted(self._consumers.get(provider, ())))

    def with_identity(self, identity: str) -> tuple[str, ...]:
        """The apps whose folder was the one of this identity when they were looked at last, by name; none for ""."""
        return tuple(sorted(self._identities.get(identity, ()))) if identity else ()


def _drop(names: dict[str, set[str]], key: str, name: str) -> None:
    names[key].discard(name)
    if not names[key]:
        del names[key]

"""Taken in: the apps on record whose folders were, as a collection of names that looks them up when it is asked.

Whoever asks about one app does not look at all.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

from controller.model.ports import Store


class TakenIn(Collection[str]):
    """A record without a generation is of no folder, or of one that was not taken in yet: its app is not among them."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def __contains__(self, app: object) -> bool:
        record = self._store.record(str(app))
        return record is not None and record.generation > 0

    def __iter__(self) -> Iterator[str]:
        return (record.name for record in self._store.records() if record.generation)

    def __len__(self) -> int:
        return sum(1 for _ in self)

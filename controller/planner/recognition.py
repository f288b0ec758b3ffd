"""Recognition: whether the engine that answers can be the one that the records speak of. Pure.

Data is the evidence, not the engine's id: that outlives a wiped disk, and changes with an upgrade. An engine whose
disk was not mounted is as empty as one that was wiped. What is made anew on it gets empty volumes, and new passwords
over those of the old ones.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from controller.model.observed import Observed
from controller.model.record import Record

Look = Callable[[Record, Sequence[str]], Observed]
"""What the engine has of the app of this record, and which of these volumes."""


def what_is_strange(records: Sequence[Record], look: Look) -> str:
    """Why this engine cannot be the one that the records speak of, or "". The first sign of ours settles it."""
    applied = [record for record in records if record.target is not None]
    volumes = sorted({volume for record in applied for volume in (*record.volumes, *record.own_volumes)})
    if not volumes:
        return ""
    for record in applied:
        seen = look(record, volumes)
        if seen.containers or seen.volumes:
            return ""
    return (
        f"the engine that answers has none of the {len(applied)} apps on record and none of their volumes "
        f"({', '.join(volumes[:3])}{', …' if len(volumes) > 3 else ''}). Nothing is installed or removed on it. If its "
        "disk is not mounted, or it is another engine than before: mend that and start the engine again. If all of that "
        "is really gone and is to be installed anew, with empty volumes: `homeport reconcile --new-engine`"
    )

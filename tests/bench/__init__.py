"""How fast the service is, measured from outside, beside what people would use in its place: `make bench`.

A module for each family of measures: `sweep`, `start`, `edit`, … What they share is `measure` (values, statistics, the
table), `fleet` (many apps on an engine of their own, and the service that keeps them), `tap` (who asked the engine
what, and when) and `byhand` (Compose without a service). No test: a bar that is missed is shown and fails nothing.
"""

from __future__ import annotations

import sys


def say(text: str) -> None:
    """Tell the person who waits; the results alone go to standard output."""
    print(f"bench: {text}", file=sys.stderr, flush=True)

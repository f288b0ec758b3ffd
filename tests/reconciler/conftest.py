"""What the rules of the reconcile share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from fakes.world import World


@pytest.fixture
def world() -> Iterator[World]:
    with World() as made:
        yield made

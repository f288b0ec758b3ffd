"""What the tests of the API share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from fakes.service import Asked


@pytest.fixture
def service() -> Iterator[Asked]:
    made = Asked()
    yield made
    if made.gate is not None:  # whoever waits behind it ends with the test
        made.gate.set()
    made.store.close()

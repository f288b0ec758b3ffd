"""The fault catalogue in docs/reliability.md and the tests that hold it name the same cases."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
_MARKER = re.compile(r'fault\("([A-Z]\d\d)"\)')
_ROW = re.compile(r"^\| ((?:[A-Z]\d\d(?:, )?)+) \|", re.MULTILINE)


def test_every_case_of_the_catalogue_has_a_test_and_every_test_a_case() -> None:
    files = [p for p in (ROOT / "tests").rglob("test_*.py") if p != Path(__file__)]
    tested = {case for file in files for case in _MARKER.findall(file.read_text())}
    rows = _ROW.findall((ROOT / "docs" / "reliability.md").read_text())
    told = {case for row in rows for case in row.split(", ")}
    assert told == tested
    assert len(told) > 60

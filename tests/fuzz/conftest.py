"""How many inputs were tried, said at the end of the run; and how to try the same ones again."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from rig.fuzzing import counted


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    before = counted()
    try:
        yield
    finally:
        item.user_properties.append(("inputs", counted() - before))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    reports = [report for kind in ("passed", "failed") for report in terminalreporter.getreports(kind)]
    total = sum(number for report in reports for name, number in report.user_properties if name == "inputs")
    seed = config.getoption("--hypothesis-seed", None)
    again = f"; the same again: make fuzz SEED={seed}" if seed is not None else ""
    if total:
        terminalreporter.write_line(f"fuzz: {total:,} inputs{again}")

"""The reference says all that there is in the code, and nothing that is not."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from controller.control.remedies import REMEDIES, WENT_BACK
from controller.status.conditions import ORDER
from controller.status.summary import WORDS
from rig.reference import FOLDER, pages

CODE = Path(__file__).parents[2] / "controller"
TELLERS = {
    "tell", "_tell", "event", "say", "over", "told", "Event",  # events, and what is said once
    "debug", "info", "warning", "error", "exception",  # the log
}  # fmt: skip
NAME = re.compile(r"[a-z]+\.[a-z_]+")


def trees() -> Iterator[ast.AST]:
    for file in sorted(CODE.rglob("*.py")):
        yield ast.parse(file.read_text())


def called(call: ast.Call) -> str:
    return call.func.id if isinstance(call.func, ast.Name) else getattr(call.func, "attr", "")


def texts(node: ast.AST) -> Iterator[str]:
    for inner in ast.walk(node):
        if isinstance(inner, ast.Constant) and isinstance(inner.value, str):
            yield inner.value


def events_said() -> set[str]:
    """Names given to whoever tells, also by way of a table or a variable of the same family."""
    said: set[str] = set()
    everything: set[str] = set()
    for tree in trees():
        everything |= {text for text in texts(tree) if NAME.fullmatch(text)}
        for call in ast.walk(tree):
            if isinstance(call, ast.Call) and called(call) in TELLERS:
                said |= {text for argument in call.args for text in texts(argument) if NAME.fullmatch(text)}
            if isinstance(call, ast.Tuple):  # a row of a table: the name and its level
                row = [item.value for item in call.elts if isinstance(item, ast.Constant)]
                if len(row) == 2 and row[1] in TELLERS and NAME.fullmatch(str(row[0])):
                    said.add(str(row[0]))
            if isinstance(call, ast.Dict):  # a line of the log that is made by hand
                pairs = zip(call.keys, call.values, strict=True)
                said |= {
                    value.value for key, value in pairs
                    if isinstance(key, ast.Constant) and key.value == "event"
                    and isinstance(value, ast.Constant) and isinstance(value.value, str)
                }  # fmt: skip
    families = {name.partition(".")[0] for name in said}
    return {name for name in everything if name.partition(".")[0] in families}


def in_tables(page: str) -> set[str]:
    """What stands in code marks in the first columns of its tables."""
    rows = [line for line in (FOLDER / page).read_text().splitlines() if line.startswith("| `")]
    return {name for row in rows for name in re.findall(r"`([^`]+)`", row.split("|")[1])}


@pytest.mark.parametrize("page", sorted(pages()))
def test_what_is_made_of_the_code_is_what_it_is_today(page: str) -> None:
    assert (FOLDER / page).read_text() == pages()[page], "say: make reference"


def test_every_event_that_is_said_is_in_the_reference_and_no_other() -> None:
    said = events_said()
    assert {"app.ready", "tree.lost", "notify.failed", "log.lost", "hook.done"} <= said, (
        "they are found in the code"
    )
    assert in_tables("events.md") == said


def test_every_condition_word_and_reason_is_in_the_reference_and_no_other() -> None:
    reasons = set(REMEDIES) - {WENT_BACK}
    places = {"Blocked": 1, "Verdict": 1, "AppError": 0, "InputInvalid": 0}
    for tree in trees():
        for call in ast.walk(tree):
            place = places.get(called(call)) if isinstance(call, ast.Call) else None
            if place is not None and isinstance(call, ast.Call) and len(call.args) > place:
                argument = call.args[place]
                if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
                    reasons.add(argument.value)
    assert {"ApplyFailed", "OwnProject", "DependencyCycle"} <= reasons
    page = (FOLDER / "conditions.md").read_text()
    of_why = set(re.findall(r"`(\w+)`", page.rpartition("`homeport why` gives these")[2]))
    assert in_tables("conditions.md") | of_why == reasons | set(WORDS) | set(ORDER)


def test_every_reason_has_its_advice() -> None:
    reasons = {name for name in in_tables("conditions.md") if name not in ORDER and name not in WORDS}
    assert reasons - set(REMEDIES) == {"VolumeInUse"}

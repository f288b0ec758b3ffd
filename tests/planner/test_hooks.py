"""What a hook's output means, to the letter of the format."""

from __future__ import annotations

import pytest

from controller.model.errors import AppError
from controller.model.observed import ExecResult
from controller.planner.hooks import check_ended, environment, parse_output


def output(text: str | bytes) -> dict[str, str]:
    raw = text.encode() if isinstance(text, str) else text
    return dict(parse_output(ExecResult(0, raw), "hook").values)


def test_pairs_and_json_a_later_line_wins() -> None:
    assert output('A=1\nB=x=y\nFURTKA_JSON: {"A": "2", "N": 1.10, "T": true}\n') == {
        "A": "2",
        "B": "x=y",
        "N": "1.10",
        "T": "true",
    }


def test_other_lines_are_ignored_and_counted() -> None:
    parsed = parse_output(ExecResult(0, b"hello\n# c\n\nA=1\r\n"), "hook")
    assert (dict(parsed.values), parsed.ignored_lines) == ({"A": "1"}, 2)


@pytest.mark.fault("C04")
@pytest.mark.fault("C06")
@pytest.mark.parametrize(
    "text",
    ["lower=1", "PATH=/x", "COMPOSE_FILE=x", "LD_PRELOAD=x", "DOCKER_HOST=x", "A=changeme", "A='ChangeMe'", 'FURTKA_JSON: {"A": null}',
     'FURTKA_JSON: {"A": [1]}', "FURTKA_JSON: [1]", "FURTKA_JSON: {", 'FURTKA_JSON: {"A": "x\\ny"}', "A=1\0", b"A=\xff"],
)  # fmt: skip
def test_a_bad_pair_refuses_the_whole_output_and_quotes_no_value(text: str | bytes) -> None:
    raw = text.encode() if isinstance(text, str) else text
    with pytest.raises(AppError) as caught:
        parse_output(ExecResult(0, b"GOOD=hunter2\n" + raw), "hook")
    assert caught.value.reason == "HookOutputInvalid"
    assert "hunter2" not in str(caught.value)


def test_influxdb_style_docker_keys_are_allowed() -> None:
    assert output("DOCKER_INFLUXDB_INIT_MODE=setup") == {"DOCKER_INFLUXDB_INIT_MODE": "setup"}


def test_only_upper_snake_case_values_go_to_the_hook() -> None:
    assert environment("web", "2", {"A_B": "x", "lower": "y"}) == {
        "FURTKA_CONSUMER_APP": "web", "FURTKA_CONSUMER_VERSION": "2", "FURTKA_CONSUMER_ENV_A_B": "x",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("result", "reason"),
    [
        (ExecResult(1, b"A=1"), "HookFailed"),
        (ExecResult(137, b"", timed_out=True), "HookTimeout"),
        (ExecResult(137, b"", overflow=True), "HookOutputInvalid"),
    ],
)
def test_a_hook_that_did_not_end_well_says_how(result: ExecResult, reason: str) -> None:
    with pytest.raises(AppError) as caught:
        check_ended(result, "hook", 30)
    assert caught.value.reason == reason

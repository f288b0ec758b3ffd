"""The schema that editors use says what the model says."""

from __future__ import annotations

import json
import operator
import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from controller.catalog import schema
from controller.model.manifest import Manifest, Requirement, Setting

MANIFESTS = Path(__file__).parents[2] / "manifests"
SAMPLES = sorted(MANIFESTS.glob("*/manifest.json"))
MINIMAL = {
    "name": "web",
    "display_name": "W",
    "version": "1",
    "description": "",
    "volumes": [],
    "ports": [],
    "icon": "i.svg",
}
TYPES = {
    "string": str,
    "array": list,
    "object": dict,
    "boolean": bool,
    "integer": int,
    "number": float,
    "null": type(None),
}

LIMITS = {"minimum": operator.ge, "maximum": operator.le, "exclusiveMinimum": operator.gt}


def fits(value: Any, part: dict[str, Any], whole: dict[str, Any]) -> bool:
    """The few words of JSON Schema that ours uses; any other one is an error here."""
    known = {"$schema", "$defs", "title", "description", "default", "additionalProperties"}
    rest = {word: rule for word, rule in part.items() if word not in known}
    return all(_fits(value, word, rule, whole) for word, rule in rest.items())


def _fits(value: Any, word: str, rule: Any, whole: dict[str, Any]) -> bool:
    match word:
        case "$ref":
            return fits(value, whole["$defs"][rule.removeprefix("#/$defs/")], whole)
        case "anyOf":
            return any(fits(value, part, whole) for part in rule)
        case "type":
            kind = (int, float) if rule == "number" else TYPES[rule]
            return isinstance(value, kind) and (rule == "boolean" or not isinstance(value, bool))
        case "enum":
            return value in rule
        case "pattern":
            return not isinstance(value, str) or re.search(rule, value) is not None
        case "minimum" | "maximum" | "exclusiveMinimum":
            return not isinstance(value, int | float) or LIMITS[word](value, rule)
        case "required":
            return set(rule) <= set(value)
        case "properties":
            return all(fits(value[key], part, whole) for key, part in rule.items() if key in value)
        case "items":
            return not isinstance(value, list) or all(fits(item, rule, whole) for item in value)
        case "uniqueItems":
            return not isinstance(value, list) or len(value) == len(set(map(str, value)))
    raise AssertionError(f"{word}: teach this test the word")


def test_the_schema_that_is_shipped_is_current() -> None:
    assert (MANIFESTS / "manifest.schema.json").read_text() == schema.text(), (
        "renew it: homeport schema > manifests/manifest.schema.json"
    )


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.parent.name)
def test_the_samples_fit_the_schema(path: Path) -> None:
    whole = schema.document()
    assert fits(json.loads(path.read_text()), whole, whole)


@pytest.mark.parametrize(
    "change",
    [
        {"name": "Web"}, {"name": "a" * 64}, {"name": 1}, {"volumes": ["-x"]}, {"volumes": ["a", "a"]}, {"volumes": "a"},
        {"ports": [0]}, {"ports": [65536]}, {"ports": [True]}, {"ports": ["80"]}, {"suspend": "no"}, {"rollback": "maybe"},
        {"health_timeout": 0}, {"health_timeout": "1"}, {"settings": [{"name": "lower"}]}, {"settings": [{}]},
        {"settings": [{"name": "A", "type": "date"}]}, {"requires": [{"app": "Keybox"}]}, {"requires": [{}]},
        {"requires": [{"app": "b", "on_start": 1}]},
    ],
    ids=str,
)  # fmt: skip
def test_what_the_model_refuses_the_schema_refuses(change: dict[str, object]) -> None:
    whole = schema.document()
    with pytest.raises(ValidationError):
        Manifest.model_validate({**MINIMAL, **change})
    assert not fits({**MINIMAL, **change}, whole, whole)


@pytest.mark.parametrize("missing", MINIMAL)
def test_a_field_that_must_be_there_is_required(missing: str) -> None:
    whole = schema.document()
    assert not fits({key: value for key, value in MINIMAL.items() if key != missing}, whole, whole)


@pytest.mark.parametrize(
    "change",
    [
        {}, {"of_tomorrow": {"x": 1}}, {"health_timeout": 2}, {"health_timeout": 0.5}, {"open_url": None},
        {"settings": [{"name": "A", "default": None, "of_tomorrow": 1}]}, {"requires": [{"app": "b", "on_start": None}]},
    ],
    ids=str,
)  # fmt: skip
def test_what_the_model_takes_the_schema_takes(change: dict[str, object]) -> None:
    whole = schema.document()
    Manifest.model_validate({**MINIMAL, **change})
    assert fits({**MINIMAL, **change}, whole, whole)


def test_every_field_says_what_it_is_for() -> None:
    fields = [
        (part.__name__, name, field)
        for part in (Manifest, Setting, Requirement)
        for name, field in part.model_fields.items()
    ]
    assert [(part, name) for part, name, field in fields if not field.description] == []

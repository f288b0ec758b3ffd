"""The OpenAPI document says what the API does: every route, every field, every shape of an answer."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from controller.api.application import Desk, application
from controller.api.endpoints import ENDPOINTS, KINDS
from controller.api.openapi import SCHEMAS, openapi
from fakes.build import record, target
from fakes.service import Asked, served
from rig.http import ask

DOCS = Path(__file__).parents[2] / "docs" / "api.md"


@pytest.fixture(scope="module")
def service() -> Iterator[Asked]:
    made = Asked()
    made.store.save(record("db", target=target()))
    yield made
    made.store.close()


@pytest.fixture(scope="module")
def path(service: Asked, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    path = tmp_path_factory.mktemp("api") / "s"
    with served(service, path):
        yield path


def operations() -> dict[tuple[str, str], Any]:
    return {
        (method.upper(), path): operation
        for path, methods in openapi()["paths"].items()
        for method, operation in methods.items()
    }


def test_the_document_has_the_routes_that_are_served_and_no_others(service: Asked) -> None:
    app = application(service, Desk(), questions_only=False)
    served = {(method, route.path) for route in app.routes for method in route.methods - {"HEAD"}}
    assert set(operations()) == served
    assert len(ENDPOINTS) == len(served)


def test_the_documentation_has_every_endpoint_with_an_example_and_no_other() -> None:
    text = DOCS.read_text()
    shown = {
        (method, re.sub(r"\?.*", "", path))
        for method, path in re.findall(r"^### (GET|POST) (\S+)", text, re.MULTILINE)
    }
    assert shown == set(operations())
    for method, path in shown:
        section = text.split(f"### {method} {path}\n", 1)[1].split("\n### ", 1)[0]
        example = re.search(r"^\$ curl (.*)$", section, re.MULTILINE)
        assert example, path
        asked = re.search(r"http://localhost(/[^\s'?]*)", example[1])
        assert asked, path
        assert re.fullmatch(re.sub(r"{\w+}", "[a-z]+", path), asked[1]), path
        assert ("-X POST" in example[1] or "-d" in example[1]) is (method == "POST"), path


def test_every_operation_has_a_name_of_its_own() -> None:
    names = [operation["operationId"] for operation in operations().values()]
    assert len(set(names)) == len(names)


def test_every_reference_leads_somewhere_and_no_schema_is_left_over() -> None:
    document = openapi()
    found = set(re.findall(r"#/components/schemas/(\w+)", repr(document)))
    assert found == set(document["components"]["schemas"]) == set(SCHEMAS)


@pytest.mark.parametrize(("method", "route"), sorted(operations()))
def test_an_answer_has_the_shape_that_the_document_says(path: Path, method: str, route: str) -> None:
    operation = operations()[method, route]
    ((media, content),) = operation["responses"]["200"]["content"].items()
    if media != "application/json":
        return  # the text of metrics and the stream have tests of their own
    body = {"volumes": []} if route.endswith("purge") else {} if method == "POST" else None
    answer = ask(path, method, route.replace("{name}", "db" if method == "GET" else "web"), body)
    assert str(answer.status) in operation["responses"]
    schema = operation["responses"][str(answer.status)]["content"][media]["schema"]
    _check(answer.json, content["schema"] if answer.status == 200 else schema, route)


def _check(value: Any, schema: Any, where: str) -> None:
    """The part of JSON Schema that the document uses."""
    if "$ref" in schema:
        return _check(value, SCHEMAS[schema["$ref"].rpartition("/")[2]], where)
    kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    python = {
        "string": str,
        "boolean": bool,
        "integer": int,
        "object": dict,
        "array": list,
        "null": type(None),
    }
    assert any(type(value) is python[kind] for kind in kinds), f"{where}: {value!r} is none of {kinds}"
    if isinstance(value, dict):
        assert set(schema.get("required", ())) <= set(value), where
        for key, inner in schema.get("properties", {}).items():
            _check(value[key], inner, f"{where}.{key}")
    if isinstance(value, list):
        for item in value:
            _check(item, schema["items"], f"{where}[]")
    return None


@pytest.mark.parametrize(("method", "route"), sorted(key for key in operations() if key[0] == "POST"))
def test_a_field_that_the_document_does_not_have_is_refused(path: Path, method: str, route: str) -> None:
    answer = ask(path, method, route.replace("{name}", "web"), {"surprise": True})
    assert answer.status == 400
    assert "surprise" in answer.json["error"]


def test_an_endpoint_that_finds_no_app_says_what_there_is(path: Path) -> None:
    for method, route in operations():
        if "{name}" in route:
            answer = ask(path, method, route.replace("{name}", "wev"), None)
            assert (answer.status, answer.json["kind"]) == (404, "UnknownApp"), route
            assert "Did you mean web?" in answer.json["error"]


def test_the_kinds_of_refusals_are_in_the_document_and_in_the_documentation() -> None:
    described, text = SCHEMAS["Error"]["properties"]["kind"]["description"], DOCS.read_text()
    for status, kind in KINDS.items():
        assert kind in described
        assert re.search(rf"`{kind}`[\w ]* {status.value}\b", text), kind


def test_head_is_get_without_a_body(path: Path) -> None:
    for asked in ("/healthz", "/events"):
        answer = ask(path, "HEAD", asked)
        assert (answer.status, answer.body) == (200, b"")

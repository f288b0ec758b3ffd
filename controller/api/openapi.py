"""OpenAPI: the API as a document that programs read, made from the table of endpoints.

Shapes of answers are here; what is in them is decided in the control room.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from controller import __version__
from controller.api.endpoints import ENDPOINTS, JSON, KINDS, STREAM, Endpoint, Kind

_Schema = Mapping[str, Any]

_TEXT: _Schema = {"type": "string"}
_APP_OR_NONE: _Schema = {**_TEXT, "description": "empty where it is of the apps tree as a whole"}
_FLAG: _Schema = {"type": "boolean"}
_WHOLE: _Schema = {"type": "integer"}
_TIME: _Schema = {"type": ["string", "null"], "format": "date-time"}
_OBJECT: _Schema = {"type": "object"}
_MAYBE: _Schema = {"type": ["object", "null"]}

_KINDS: Mapping[Kind, _Schema] = {
    "names": {"type": "array", "items": {"type": "string", "minLength": 1}},
    "name": {"type": "string", "minLength": 1},
    "text": _TEXT,
    "flag": _FLAG,
}


def _object(**properties: _Schema) -> _Schema:
    return {"type": "object", "required": list(properties), "properties": properties}


def _list(items: _Schema) -> _Schema:
    return {"type": "array", "items": items}


def _ref(name: str) -> _Schema:
    return {"$ref": f"#/components/schemas/{name}"}


_KINDS_OF_ERRORS = (
    f"{', '.join(KINDS.values())} for a request that is not answered; else the error's own name: UnknownApp, Refused, "
    "EngineUnreachable, …"
)

SCHEMAS: Mapping[str, _Schema] = {
    "Error": _object(error=_TEXT, kind={**_TEXT, "description": _KINDS_OF_ERRORS}),
    "Checks": _object(
        status=_TEXT, checks=_list(_object(name=_TEXT, ok=_FLAG, message=_TEXT, toDo=_TEXT))
    ),
    "Metrics": _TEXT,
    "Condition": _object(
        type=_TEXT, status=_TEXT, reason=_TEXT, message=_TEXT, lastTransitionTime=_TIME, observedGeneration=_WHOLE
    ),
    "App": _object(
        name=_TEXT, displayName=_TEXT, version=_TEXT, summary=_TEXT, generation=_WHOLE, observedGeneration=_WHOLE,
        target=_MAYBE, desired=_OBJECT, observed=_OBJECT, requires=_list(_TEXT), requiredBy=_list(_TEXT),
        stopped=_FLAG, quarantine=_MAYBE, conditions=_list(_ref("Condition")), retries=_WHOLE, nextTryTime=_TIME,
        lastError={"type": ["string", "null"]}, lastReconcileTime=_TIME, lastChangeTime=_TIME,
    ),
    "Apps": _object(apps=_list(_ref("App"))),
    "Status": _object(service=_OBJECT, apps=_list(_ref("App")), left=_OBJECT),
    "History": _object(app=_TEXT, revisions=_list(_OBJECT), quarantine=_MAYBE),
    "Why": _object(
        app=_TEXT, summary=_TEXT, time=_TIME, serviceRunning=_FLAG, chain=_list(_OBJECT), running=_OBJECT,
        next=_TEXT, nextTryTime=_TIME, advice=_list(_TEXT),
    ),
    "Event": _object(id=_WHOLE, time=_TIME, app=_TEXT, event=_TEXT, level=_TEXT, message=_TEXT, fields=_OBJECT),
    "Action": _object(kind=_TEXT, target=_TEXT, detail=_TEXT, cause=_TEXT, app=_APP_OR_NONE, line=_TEXT),
    "Actions": _object(actions=_list(_ref("Action"))),
    "Plans": _object(plans=_list(_object(app=_APP_OR_NONE, actions=_list(_ref("Action"))))),
    "Held": _object(held=_list(_TEXT), approved=_FLAG),
    "Suspended": _object(app=_TEXT, suspended=_FLAG),
    "Purged": _object(purged=_list(_TEXT)),
    "OpenAPI": _OBJECT,
}  # fmt: skip
"""The shapes of all answers, by name."""


def openapi() -> dict[str, Any]:
    """The document, in version 3.1."""
    paths: dict[str, dict[str, Any]] = {}
    for endpoint in ENDPOINTS:
        paths.setdefault(endpoint.path, {})[endpoint.method.lower()] = _operation(endpoint)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Homeport",
            "version": __version__,
            "description": "On the Unix socket: everything. On loopback TCP, when that is on: GET alone.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [
            {"url": "http://localhost", "description": "the Unix socket homeport.sock in the state folder"}
        ],
        "paths": paths,
        "components": {"schemas": dict(SCHEMAS)},
    }


def _operation(endpoint: Endpoint) -> dict[str, Any]:
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": _TEXT}
        for name in re.findall(r"{(\w+)}", endpoint.path)
    ]
    operation: dict[str, Any] = {
        "operationId": _identity(endpoint),
        "summary": endpoint.about,
        "responses": _responses(endpoint),
    }
    if endpoint.method == "GET":
        parameters += [
            {"name": name, "in": "query", "description": field.about, "schema": _KINDS[field.kind]}
            for name, field in endpoint.fields.items()
        ]
        if endpoint.media == STREAM:
            parameters.append({"name": "Last-Event-ID", "in": "header", "schema": _WHOLE})
    else:
        properties = {
            name: {**_KINDS[field.kind], "description": field.about}
            for name, field in endpoint.fields.items()
        }
        schema = {"type": "object", "properties": properties, "additionalProperties": False}
        operation["requestBody"] = {"required": False, "content": {JSON: {"schema": schema}}}
    if parameters:
        operation["parameters"] = parameters
    return operation


def _responses(endpoint: Endpoint) -> dict[str, Any]:
    media = endpoint.media.partition(";")[0]
    found = {"200": {"description": "OK", "content": {media: {"schema": _ref(endpoint.answer)}}}}
    for status in endpoint.may:
        # Both questions about health answer 503 with the same document.
        name = endpoint.answer if endpoint.answer == "Checks" else "Error"
        found[str(int(status))] = {"description": status.phrase, "content": {JSON: {"schema": _ref(name)}}}
    wrong = {"description": HTTPStatus.BAD_REQUEST.phrase, "content": {JSON: {"schema": _ref("Error")}}}
    return {**found, "400": wrong} if endpoint.fields or endpoint.method == "POST" else found


def _identity(endpoint: Endpoint) -> str:
    words = re.findall(r"[a-z]+", endpoint.path.replace("{name}", "app").replace(".json", ""))
    return "_".join([endpoint.method.lower(), *words])

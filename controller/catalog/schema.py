"""The JSON Schema of `manifest.json`, for editors, made from the model.

It says what one manifest can say of itself. Rules that need the folder or other apps are `homeport validate`'s.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final

from controller.model.manifest import SETTING_NAME, VOLUME_NAME, Manifest
from controller.model.names import APP_NAME

_PATTERNS: Final[tuple[tuple[tuple[str, ...], re.Pattern[str]], ...]] = (
    (("properties", "name"), APP_NAME),
    (("properties", "volumes", "items"), VOLUME_NAME),
    (("$defs", "Setting", "properties", "name"), SETTING_NAME),
    (("$defs", "Requirement", "properties", "app"), APP_NAME),
)
"""Where the rules of names belong, which the model holds as code."""


def document() -> dict[str, Any]:
    """The schema. Fields that it does not know are allowed: they are kept."""
    schema = Manifest.model_json_schema()
    for path, pattern in _PATTERNS:
        part = schema
        for key in path:
            part = part[key]
        part["pattern"] = f"^{pattern.pattern}$"
    schema["properties"]["volumes"]["uniqueItems"] = True
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **schema,
        "title": "Homeport app manifest",
        "description": "manifest.json of an app folder; the folder has the same name as the app.",
    }


def text() -> str:
    """The schema as it is printed and shipped."""
    return json.dumps(document(), indent=2, ensure_ascii=False) + "\n"

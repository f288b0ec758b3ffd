"""Names: which words can be an app's. No manifest is needed to tell, and so nothing that checks one is loaded."""

from __future__ import annotations

import re

APP_NAME = re.compile(r"[a-z][a-z0-9_-]{0,62}")
NO_APP_NAME = "is not an app name (^[a-z][a-z0-9_-]*$, at most 63 characters)"
"""The rule, as it is told of a name that breaks it."""

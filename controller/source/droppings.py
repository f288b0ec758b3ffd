"""Names that editors and package tools leave beside a file for a moment or for good.

What makes a change to them no change of an app. Which other files count is for the tree to say.
"""

from __future__ import annotations

import re
from fnmatch import translate
from typing import Final

DROPPINGS: Final = (
    *("*.swp", "*.swo", "*.swx", "*~", "4913"),  # vim
    *(".#*", "#*#"),  # emacs
    *(".goutputstream-*", ".~lock.*", "*___jb_*___", ".DS_Store"),  # desktops
    "sed" + "[A-Za-z0-9]" * 6,  # sed -i
    *("*.bak", "*.orig", "*.rpmnew", "*.dpkg-*"),  # kept by hand or by a package tool
    ".nfs*",
    ".homeport-*",  # our own, before they are renamed into place
)
"""Patterns of such names."""

_PATTERN: Final = re.compile("|".join(translate(pattern) for pattern in DROPPINGS))


def is_dropping(name: str) -> bool:
    """Whether this name, without folders, is one of `DROPPINGS`."""
    return _PATTERN.match(name) is not None

"""Plain: text that others wrote, made fit to be shown. It loads nothing, so that every command may have it.

How text is laid out does not belong here.
"""

from __future__ import annotations


def clean(text: object) -> str:
    """One line without control characters: names and messages come from files that others wrote."""
    line = str(text).replace("\n", "; ")
    return line if line.isprintable() else "".join(c if c.isprintable() else " " for c in line)

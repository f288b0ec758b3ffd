"""Escape: text from outside made safe for one line of a terminal or a log.

An app's name, a container's output or a file name may hold line breaks and control sequences; they are shown,
never obeyed. Colours and columns are not made here.
"""

from __future__ import annotations


def escape(text: str) -> str:
    """The text in one line: what is not printable (control, format and separator characters) is written out."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)

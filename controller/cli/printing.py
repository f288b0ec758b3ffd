"""Printing: where lines go: a terminal of some width, in colour or not, or a pipe; and JSON for programs.

What the lines say is in `screens`, how they are fitted in `layout`.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Iterable

import click

from controller.cli.layout import INDENT, Page
from controller.cli.plain import clean


def wants_colour() -> bool:
    """Whether what is printed is looked at on a terminal that has colours and whose owner did not say no."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def page() -> Page:
    """Where standard output goes now: terminals change their size."""
    if not sys.stdout.isatty():
        return Page()
    return Page(shutil.get_terminal_size().columns, wants_colour())


def show(lines: Iterable[str]) -> None:
    """Lines that are clean already, as they are."""
    text = "\n".join(lines)
    if text:
        click.echo(text)


def note(text: str) -> None:
    """A line for the person and not for the program that reads standard output."""
    page = Page(shutil.get_terminal_size().columns if sys.stderr.isatty() else None)
    click.echo("\n".join(page.wrap(clean(text), "", INDENT)), err=True)


def as_json(document: object) -> None:
    """For programs."""
    click.echo(json_text(document, indent=2))


def json_text(document: object, indent: int | None = None) -> str:
    """JSON as people can read it, for it may go to a terminal as well: what is not printable is written out."""
    text = json.dumps(document, indent=indent, default=str, ensure_ascii=False)
    return "".join(c if c.isprintable() or c == "\n" else _written_out(c) for c in text)


def _written_out(char: str) -> str:
    # json leaves DEL as it is.
    return json.dumps(char)[1:-1] if char != "\x7f" else "\\u007f"

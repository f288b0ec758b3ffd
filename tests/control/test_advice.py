"""Whatever Homeport advises can be typed."""

from __future__ import annotations

import re
from pathlib import Path

import controller
from controller.cli.main import cli

NAMED = re.compile(r"`homeport(?: -[^`\s]+)* ([a-z]+)")


def test_every_command_that_a_message_names_is_there() -> None:
    folder = Path(controller.__file__).parent
    named = {
        (file.name, word) for file in folder.rglob("*.py") for word in NAMED.findall(file.read_text("utf-8"))
    }
    assert len(named) > 20, "there is something to check"
    assert {word for _, word in named} - set(cli.commands) == set()


def test_every_command_that_the_documents_name_is_there() -> None:
    root = Path(controller.__file__).parents[1]
    words = {
        word
        for file in [*root.glob("docs/*.md"), root / "README.md"]
        for word in NAMED.findall(file.read_text("utf-8"))
    }
    assert len(words) > 10
    assert words - set(cli.commands) == set()

"""Nothing in the documentation leads nowhere: links, anchors, commands, flags, targets of make, files of the project."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from controller.cli.main import cli

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
MADE = {ROOT / "docs/reference/commands.md"}
"""Their code is held by what makes them."""
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def pages() -> pytest.MarkDecorator:
    return pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def prose(page: Path) -> str:
    return FENCE.sub("", page.read_text())


def anchors(page: Path) -> set[str]:
    """As GitHub makes them of headings."""
    found: set[str] = set()
    for heading in re.findall(r"^#+ (.*)$", prose(page), re.MULTILINE):
        text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
        found.add(re.sub(r"[^\w\- ]", "", text).strip().replace(" ", "-"))
    return found


@pages()
def test_every_link_leads_to_a_file_and_a_heading_that_are_there(page: Path) -> None:
    broken = []
    for target in LINK.findall(prose(page)):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        if not file.exists() or (anchor and file.suffix == ".md" and anchor not in anchors(file)):
            broken.append(target)
    assert broken == []


def shell_lines(page: Path) -> Iterator[str]:
    """What a person types: the first line of each command, without its comment."""
    for kind, block in FENCE.findall(page.read_text()):
        if kind == "console":
            for line in block.splitlines():
                if line.startswith("$ "):
                    yield line.removeprefix("$ ")


def named_commands(page: Path) -> Iterator[str]:
    """Commands of Homeport that stand in a sentence or a table, as `homeport wait APP --for Ready`."""
    for code in re.findall(r"`([^`\n]+)`", prose(page)):
        if code.startswith("homeport ") and not code.startswith("homeport -"):
            yield code.replace("\\|", "|")


def words_of(line: str) -> list[str]:
    lexer = shlex.shlex(line, posix=True, punctuation_chars=";|&<>")
    lexer.whitespace_split = True
    lexer.commenters = "#"
    words = list(lexer)
    end = next((index for index, word in enumerate(words) if set(word) <= set(";|&<>")), len(words))
    return words[:end]


def check_homeport(words: list[str]) -> str:
    """What is wrong with these arguments, or ""."""
    group: click.Group = cli
    name = "homeport"
    while words and isinstance(group, click.Group):
        if words[0] in ("--help", "-h"):
            return ""
        if words[0] not in group.commands:
            return f"{name} has no command {words[0]}"
        name, command, words = f"{name} {words[0]}", group.commands[words[0]], words[1:]
        if not isinstance(command, click.Group):
            return check_flags(command, words)
        group = command
    return ""


def check_flags(command: click.Command, words: list[str]) -> str:
    known = {
        flag for p in command.params if isinstance(p, click.Option) for flag in (*p.opts, *p.secondary_opts)
    }
    known |= {"--help", "-h"}
    strange = [
        word for word in words if word.startswith("-") and word.split("=")[0].rstrip(",;") not in known
    ]
    return f"homeport {command.name} has no {', '.join(strange)}" if strange else ""


@pages()
def test_every_command_that_is_typed_exists_with_its_flags(page: Path) -> None:
    targets = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    wrong = []
    for line in shell_lines(page):
        words = words_of(line)
        if not words:
            continue
        if words[0] == "homeport" and (problem := check_homeport(words[1:])):
            wrong.append(problem)
        if words[0] == "make":
            wrong += [
                f"make {word}"
                for word in words[1:]
                if word.islower() and "=" not in word and word not in targets
            ]
        if words[0].startswith("deploy/"):
            script = ROOT / words[0]
            wrong += [] if script.exists() else [words[0]]
            wrong += [f for f in words[1:] if f.startswith("--") and f"{f})" not in script.read_text()]
    assert wrong == []


@pages()
def test_every_command_that_is_named_exists_with_its_flags(page: Path) -> None:
    if page in MADE:
        return
    wrong = []
    for code in named_commands(page):
        words = re.sub(r"[\[\]…]", " ", code).replace("|", " ").split()[1:]
        if words and words[0].islower() and (problem := check_homeport(words)):
            wrong.append(f"{code}: {problem}")
    assert wrong == []


@pages()
def test_every_file_of_the_project_that_is_named_is_there(page: Path) -> None:
    if page.name == "CHANGELOG.md":
        return  # it speaks of what was
    named = re.findall(r"`((?:deploy|docs|manifests|controller)/[\w./-]+)`", page.read_text())
    assert [name for name in named if not (ROOT / name).exists() and not (page.parent / name).exists()] == []


def test_every_page_can_be_reached_from_the_readme() -> None:
    seen, todo = set[Path](), [ROOT / "README.md"]
    while todo:
        page = todo.pop()
        if page in seen:
            continue
        seen.add(page)
        for target in LINK.findall(prose(page)):
            file = (page.parent / target.partition("#")[0]).resolve()
            if file.suffix == ".md" and file.exists():
                todo.append(file)
    assert set(PAGES) - seen == set()


def test_the_readme_names_every_command() -> None:
    text = (ROOT / "README.md").read_text()
    table = text.partition("## Commands")[2].partition("\n## ")[0]
    missing = [name for name in cli.commands if not re.search(rf"`(?:homeport )?{name}\b", table)]
    assert missing == []

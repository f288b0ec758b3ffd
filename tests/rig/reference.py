"""The reference in docs/reference that is made of the code: settings, commands, the manifest. `make reference` writes it.

    PYTHONPATH=tests python -m rig.reference

What needs a person's words (events, conditions) is written by hand; `tests/docs` holds it against the code.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from controller.catalog.schema import document as manifest_schema
from controller.cli.main import cli
from controller.places import PREFIX
from controller.settings import Settings

FOLDER = Path(__file__).parents[2] / "docs" / "reference"
_MADE = "<!-- Made of the code by `make reference`; an edit here is lost. -->\n"
_DEFAULT = re.compile(r"^(.*?)\s*\[default: (.*)\]$", re.DOTALL)
COMMON = ("apps", "state", "config", "debug", "help")
"""Options that every command has."""


def pages() -> dict[str, str]:
    """File name to its text."""
    return {"settings.md": _settings(), "commands.md": _commands(), "manifest.md": _manifest()}


def commands(group: click.Group = cli, before: str = "homeport") -> Iterator[tuple[str, click.Command]]:
    """All commands by their full names."""
    for name, command in sorted(group.commands.items()):
        yield f"{before} {name}", command
        if isinstance(command, click.Group):
            yield from commands(command, f"{before} {name}")


def flags_of(option: click.Option) -> str:
    """As a person writes it: `--prune / --no-prune`, `-o, --output FORM`."""
    if option.secondary_opts:
        return f"{', '.join(option.opts)} / {', '.join(option.secondary_opts)}"
    if option.is_flag or option.count:
        return ", ".join(option.opts)
    kind = option.type
    value = (
        "\\|".join(kind.choices) if isinstance(kind, click.Choice) else (option.metavar or kind.name).upper()
    )
    value = {"FLOAT": "SECONDS", "INTEGER": "N"}.get(value, value)
    return f"{', '.join(option.opts)} {value}"


def _options(command: click.Command) -> list[click.Option]:
    return [p for p in command.params if isinstance(p, click.Option) and not p.hidden]


def _help(option: click.Option) -> tuple[str, str]:
    """What it is for, and its default as told to people."""
    text = " ".join((option.help or "").split())
    found = _DEFAULT.match(text)
    return (found[1], found[2]) if found else (text, "")


def _cell(text: str) -> str:
    return re.sub(r"(?<!\\)\|", r"\\|", text)


def _settings() -> str:
    run = cli.commands["run"]
    options = {p.name: p for p in _options(run)}
    rows = []
    for name, field in Settings.model_fields.items():
        option = options[name]
        _, default = _help(option)
        about = re.sub(r"\s*\[.*\]$", "", str(field.description))
        rows.append(
            f"| `{_cell(flags_of(option))}` | `{PREFIX}{name.upper()}` | {default or '-'} | {_cell(about)} |"
        )
    return f"""# Settings

{_MADE}
A flag wins over the environment, that over the file, that over the default. In the file (TOML, `/etc/homeport/homeport.toml` or
`--config`) a setting is written as its flag, without the dashes: `health-timeout = 120`, `prune = false`,
`catalog = ["/srv/catalog"]`. Times are seconds. What is set wrongly is said with where it comes from, and nothing is started.

| flag of `homeport run` | environment | default | what it is for |
|---|---|---|---|
{chr(10).join(rows)}

In the environment several catalogs are parted by `:`, several addresses to notify by spaces; a switch is `1` or `0`.
`FURTKA_APPS_DIR` counts as `HOMEPORT_APPS` where that is not set. `DOCKER_HOST` and Docker contexts are honoured.
"""


def _commands() -> str:
    first = (
        f"# Commands\n\n{_MADE}\n"
        "Every command has `--help`. Exit status: 0 fine, 1 something is wrong with an app or an action failed, 2 wrong use, 3 the\n"
        "service or the engine cannot be reached.\n\n"
        "Every command takes `--apps`, `--state` and `--config` ([settings](settings.md)) and `--debug`, which shows a traceback with\n"
        "errors.\n"
    )
    parts = [first]
    for name, command in commands():
        text, example = _prose(command)
        shown = [p for p in _options(command) if p.name not in COMMON]
        context = click.Context(command, info_name=name)
        usage = " ".join(piece for piece in command.collect_usage_pieces(context) if piece)
        part = f"## {name}\n\n    {name} {usage}\n\n{text}\n"
        if example:
            part += f"\n```console\n$ {example}\n```\n"
        if name == "homeport run":
            once = [p for p in shown if p.name not in Settings.model_fields]
            part += "\nIts flags are the [settings](settings.md), and these:\n"
            shown = once
        if shown:
            part += "\n| option | default | what it does |\n|---|---|---|\n"
            for option in shown:
                about, default = _help(option)
                if not default and option.show_default and isinstance(option.default, str):
                    default = option.default
                part += f"| `{flags_of(option)}` | {default or '-'} | {_cell(about)} |\n"
        parts.append(part)
    return "\n".join(parts)


def _prose(command: click.Command) -> tuple[str, str]:
    """The help text in paragraphs, and its example."""
    lines = [line.strip() for line in (command.help or "").replace("\b", "").split("\n")]
    example = next((line.removeprefix("Example: ") for line in lines if line.startswith("Example: ")), "")
    kept = "\n".join(line for line in lines if not line.startswith("Example: "))
    return re.sub(r"\n{3,}", "\n\n", kept).strip(), example


def _manifest() -> str:
    schema = manifest_schema()
    definitions: Mapping[str, Any] = schema["$defs"]
    first = (
        f"# The manifest\n\n{_MADE}\n"
        "`manifest.json`, one in each app's folder: [what an app is](../app-format.md). `homeport schema` prints the JSON Schema of\n"
        "it for editors; unknown fields are ignored with a warning.\n"
    )
    parts = [first, _fields(schema)]
    for name, definition in definitions.items():
        about = " ".join(str(definition.get("description", "")).split())
        parts.append(f"## {name}\n\n{about}\n\n{_fields(definition)}")
    return "\n".join(parts)


def _fields(schema: Mapping[str, Any]) -> str:
    rows = ["| field | type | required | what it is for |", "|---|---|---|---|"]
    for name, field in schema["properties"].items():
        needed = "yes" if name in schema.get("required", ()) else "-"
        about = " ".join(str(field.get("description", "")).split())
        rows.append(f"| `{name}` | {_cell(_type(field))} | {needed} | {_cell(about) or '-'} |")
    return "\n".join(rows) + "\n"


def _type(field: Mapping[str, Any]) -> str:
    if "$ref" in field:
        return f"[{field['$ref'].rpartition('/')[2]}](#{field['$ref'].rpartition('/')[2].lower()})"
    if "anyOf" in field:
        return " or ".join(_type(one) for one in field["anyOf"] if one.get("type") != "null")
    if "enum" in field:
        return ", ".join(f"`{value}`" for value in field["enum"])
    if "const" in field:
        return f"`{field['const']}`"
    if field.get("type") == "array":
        return f"list of {_type(field.get('items', {}))}"
    return str(field.get("type", "any"))


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    for name, text in pages().items():
        (FOLDER / name).write_text(text)
        print(f"reference: wrote docs/reference/{name}")


if __name__ == "__main__":
    main()

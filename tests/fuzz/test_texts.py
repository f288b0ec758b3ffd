"""Random manifests, `.env` files, hook output, compose files and settings: each is read, or refused with a reason."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from random import Random
from typing import Any

import pytest
import yaml
from hypothesis import strategies as st

from controller.model.desired import LEAST_TRUST
from controller.model.errors import AppError
from controller.model.manifest import SETTING_NAME, Manifest, steers_tools
from controller.model.observed import ExecResult
from controller.planner.hooks import parse_output
from controller.settings import Settings, SettingsInvalid
from controller.source import dotenv, environment, files, manifest, references
from controller.source.dotenv import DotenvError
from controller.source.sketch import _sketch
from rig.fuzzing import fuzz, rolled
from rig.hostile import HARD_TEXTS, any_text, hard_text, json_values, names, plain_text

FIELDS = sorted(Manifest.model_fields)
GOOD: dict[str, Any] = {
    "name": "web", "display_name": "Web", "version": "1", "description": "d", "volumes": ["data"], "ports": [80],
    "icon": "icon.svg", "settings": [{"name": "KEY", "default": "x"}], "requires": [{"app": "db", "on_start": "s.sh"}],
}  # fmt: skip


# ---- manifests ----


def check_manifest(data: bytes) -> None:
    read, problems, warnings = manifest.parse(data, "web")
    assert (read is None) == bool(problems)
    assert all(p.file == "manifest.json" and p.rule and len(str(p)) < 1000 for p in problems), problems
    assert len(problems) <= 21
    assert len(warnings) <= 21
    assert all(len(warning) < 1000 for warning in warnings)
    ";".join([*map(str, problems), *warnings]).encode()
    if read is not None:
        read.model_dump_json()  # what is in it can be written
        assert read.name == "web"
        assert not any(steers_tools(setting.name) for setting in read.settings)


@fuzz(
    1.5,
    fields=st.dictionaries(st.sampled_from(FIELDS) | any_text, json_values, max_size=4),
    without=st.sets(st.sampled_from(FIELDS), max_size=1),
)
def test_a_manifest_with_any_values_is_read_or_refused_by_field(
    fields: Mapping[str, Any], without: set[str]
) -> None:
    document = {key: value for key, value in (GOOD | dict(fields)).items() if key not in without}
    check_manifest(json.dumps(document).encode())


@fuzz(
    1,
    part=st.sampled_from(["settings", "requires"]),
    entries=st.lists(
        st.dictionaries(
            st.sampled_from(
                ["name", "app", "type", "default", "required", "label", "on_install", "on_start", "restart"]
            )
            | any_text,
            json_values | st.sampled_from(["KEY", "db", "../x.sh", "s.sh", "/x", "path", "number"]),
            max_size=4,
        )
        | json_values,
        max_size=4,
    ),
)
def test_the_parts_of_a_manifest_are_read_or_refused_by_field(part: str, entries: list[Any]) -> None:
    check_manifest(json.dumps(GOOD | {part: entries}).encode())


@fuzz(
    1,
    at=st.integers(0, 300),
    cut=st.integers(0, 12),
    new=st.binary(max_size=6) | any_text.map(lambda t: t.encode("utf-8", "surrogatepass")),
)
def test_a_manifest_with_any_bytes_is_read_or_refused(at: int, cut: int, new: bytes) -> None:
    whole = json.dumps(GOOD).encode()
    check_manifest(whole[:at] + new + whole[at + cut :])


# ---- .env ----

env_lines = st.one_of(
    st.tuples(
        names | any_text,
        st.sampled_from(["=", ": ", " = ", "", "= '", '="', "=\t"]),
        any_text,
        st.sampled_from(["", '"', "'", " # c", "\r"]),
    ).map("".join),
    hard_text,
)
env_texts = st.lists(env_lines, max_size=6).map("\n".join).map(lambda text: text.replace("\0", ""))


def read_env(text: str) -> dict[str, str] | None:
    try:
        values = dotenv.parse(text)
    except DotenvError as error:
        assert 1 <= error.line <= text.count("\n") + 1
        assert len(str(error)) < 500
        return None
    assert sum(map(len, values.values())) <= dotenv.MOST_TEXT + len(text)
    return values


@fuzz(2, text=env_texts | st.text(alphabet="AB=:'\"\\$#{}-? \n\r\t0x\ufeff\u2028", max_size=60))
def test_an_env_file_is_read_or_refused_with_its_line(text: str) -> None:
    read_env(text)


@fuzz(1, data=st.binary(max_size=40) | env_texts.map(lambda text: text.encode("utf-16")))
def test_an_env_file_of_any_bytes_is_read_or_refused(data: bytes) -> None:
    try:
        text = files.text(data)
    except files.Unfit as error:
        assert str(error)
    else:
        read_env(text)


@fuzz(2, values=st.dictionaries(names, plain_text, max_size=8))
def test_every_value_that_is_written_is_read_back_and_nothing_else(values: dict[str, str]) -> None:
    text = dotenv.merge("", values)
    assert dotenv.parse(text) == values
    assert dotenv.merge(text, values) == text
    assert text.count("\n") == len(values)


@fuzz(2, text=env_texts, values=st.dictionaries(names, plain_text, min_size=1, max_size=3))
def test_a_merge_puts_in_its_values_and_leaves_the_rest(text: str, values: dict[str, str]) -> None:
    check_merge(text, values)


def check_merge(text: str, values: Mapping[str, str]) -> None:
    before = read_env(text)
    try:
        merged = dotenv.merge(text, values)
    except DotenvError:
        # Stray text at the end, which Compose takes only where nothing follows, or a file that cannot be read.
        assert before is None or not text.endswith("\n")
        return
    after = read_env(merged)
    if after is None:
        # A variable that is needed elsewhere was made empty by the merge, or it was unreadable before.
        assert before is None or "$" in text
        return
    assert {key: after[key] for key in values} == values
    assert dotenv.merge(merged, values) == merged
    if before is not None and "$" not in text:
        assert {k: v for k, v in after.items() if k not in values} == {
            k: v for k, v in before.items() if k not in values
        }


@fuzz(
    1,
    settings=st.dictionaries(
        names.filter(lambda name: not steers_tools(name)), st.none() | plain_text, max_size=4
    ),
    env=st.none() | env_texts,
    example=st.just("") | env_texts,
)
def test_seeding_completes_what_is_there_and_changes_nothing_of_it(
    settings: dict[str, str | None], env: str | None, example: str
) -> None:
    described = Manifest.model_validate(
        GOOD | {"settings": [{"name": name, "default": default} for name, default in settings.items()]}
    )
    try:
        seeded = environment.seeded(described, env, example)
    except DotenvError:
        return
    if seeded is None:
        assert env is not None or not example
        return
    assert seeded.startswith((env if env is not None else example).removesuffix("\n"))
    values = read_env(seeded)
    if values is not None:
        assert not environment.missing_settings(described, values)
        environment.unset(described, values, Path("/nonexistent"))


@fuzz(
    0.5,
    values=st.dictionaries(names, plain_text, max_size=6),
    kind=st.sampled_from(["text", "path", "number", "password"]),
)
def test_what_a_person_has_to_mend_is_told_by_key_and_never_by_value(
    values: dict[str, str], kind: str
) -> None:
    described = Manifest.model_validate(
        GOOD | {"settings": [{"name": "KEY", "type": kind, "required": True}]}
    )
    for problem in environment.unset(described, values, Path("/nonexistent")):
        assert problem.file == ".env"
        assert problem.field in {*values, "KEY"}
        assert len(problem.rule) < 100


# ---- what hooks print ----

lines = st.one_of(
    st.tuples(names | any_text, st.just("="), any_text).map("".join),
    st.dictionaries(names | any_text, json_values, max_size=3).map(
        lambda pairs: "FURTKA_JSON: " + json.dumps(pairs)
    ),
    any_text.map("FURTKA_JSON:".__add__),
    any_text,
)
printed = st.lists(lines, max_size=5).map("\n".join).map(lambda text: text.encode("utf-8", "surrogatepass"))


@pytest.mark.fault("C04")
@pytest.mark.fault("C06")
@fuzz(
    2,
    output=printed
    | st.binary(max_size=40)
    | st.integers(1, 200_000).map(lambda n: b"FURTKA_JSON: " + b"[" * n),
)
def test_what_a_hook_prints_is_taken_as_a_whole_or_refused_as_a_whole(output: bytes) -> None:
    check_output(output)


def check_output(output: bytes) -> None:
    try:
        taken = parse_output(ExecResult(0, output), "the hook")
    except AppError as error:
        assert error.reason == "HookOutputInvalid"
        assert "nothing was merged" in str(error)
        str(error).encode()
        return
    for key, value in taken.values.items():
        assert SETTING_NAME.fullmatch(key)
        assert not steers_tools(key)
        assert not set(value) & set("\n\r\0\x1b")
    merged = dotenv.merge("# theirs\nZ=1\n", taken.values)
    assert dotenv.parse(files.text(merged.encode())) == {"Z": "1"} | dict(taken.values)


# ---- compose files ----

paths = st.sampled_from(
    ["a.env", "./data", "../x", "/etc/shadow", "$A", "${A:-x}", "~/x", "a\0b", "x" * 300, ".", "", "https://x/y.git", "compose.yaml"]
) | any_text  # fmt: skip
mounts = st.tuples(paths, st.sampled_from([":/x", ":/x:ro", "", ":", ":/x:rw,ro"])).map("".join)
entries = st.one_of(
    paths, mounts, json_values,
    st.dictionaries(
        st.sampled_from(["path", "required", "type", "source", "target", "read_only", "file", "project_directory", "env_file", "context",
                         "dockerfile", "published", "name", "external"]),
        paths | json_values, max_size=4),
)  # fmt: skip
service = st.dictionaries(
    st.sampled_from(["image", "env_file", "label_file", "volumes", "extends", "build", "ports", "provider", "configs", "secrets"]),
    entries | st.lists(entries, max_size=3), max_size=4,
)  # fmt: skip
documents = st.dictionaries(
    st.sampled_from(["services", "include", "volumes", "configs", "secrets", "name", "x-a"]),
    st.dictionaries(any_text, service | entries, max_size=3) | st.lists(entries, max_size=3) | json_values, max_size=4,
)  # fmt: skip
yaml_pieces = st.sampled_from(
    ["a", ": ", "\n", "  ", "- ", "[", "]", "{", "}", ",", "&a ", "*a", "<<: ", "? ", "| ", "> ", "'", '"', "#", "---\n", "...\n", "!!int ",
     "!!set ", "!!omap ", "!!binary ", "!x ", "%YAML 1.1\n", "\t", "\r", "1", "~", "@", "`", "\\x", "\ufeff", "\x85", "services", "include"]
)  # fmt: skip


def check_compose(text: str, env: Mapping[str, str]) -> None:
    for as_text in (False, True):
        document, problems = references.parse("compose.yaml", text, as_text=as_text)
        assert (document is None) == bool(problems)
        assert all(p.file == "compose.yaml" and p.rule and len(str(p)) < 500 for p in problems)
        ";".join(map(str, problems)).encode()
        if document is not None and as_text:
            _sketch({"compose.yaml": document}, env)
        elif document is not None:
            found = references.scan(document, env, LEAST_TRUST)
            assert all(rule and "\n" not in where for where, rule in found.refused if where.isprintable())


@fuzz(
    1.5,
    pieces=st.lists(yaml_pieces | any_text, max_size=25),
    env=st.dictionaries(names, any_text, max_size=2),
)
def test_a_compose_file_of_any_text_is_read_or_refused(pieces: list[str], env: dict[str, str]) -> None:
    check_compose("".join(pieces), env)


@fuzz(1.5, document=documents, env=st.dictionaries(names, any_text, max_size=2))
def test_a_compose_file_with_any_values_is_read_or_refused(document: Any, env: dict[str, str]) -> None:
    check_compose(json.dumps(document), env)
    check_compose(yaml.safe_dump(json.loads(json.dumps(document)), allow_unicode=True), env)


# ---- all of them, of pieces ----

PIECES = (
    *HARD_TEXTS,
    *"Ax1==[]{},&*?-:\n\n",
    "KEY",
    "name",
    "services",
    ": ",
    "  ",
    "- ",
    '"',
    "'",
    "\\",
    "&a ",
    "*a",
    "| ",
    "> ",
    "? ",
    "!!int ",
    "---\n",
    "FURTKA_JSON: ",
    '{"A": 1}',
    '"name": "web"',
    "export ",
    "${",
    "}",
    ":-",
    "\\n",
    "\\u",
    "d800",
    "1",
)


def of_pieces(chance: Random) -> str:
    return "".join(chance.choices(PIECES, k=chance.randint(0, 30)))


@rolled(11)
def test_a_manifest_of_any_pieces_is_read_or_refused(chance: Random) -> None:
    whole = json.dumps(GOOD)
    at, cut = chance.randint(0, len(whole)), chance.randint(0, 20)
    text = whole[:at] + of_pieces(chance)[:20] + whole[at + cut :]
    check_manifest((text if chance.random() < 0.9 else of_pieces(chance)).encode())


@rolled(13)
def test_an_env_file_of_any_pieces_is_read_or_refused_and_takes_what_is_merged(chance: Random) -> None:
    check_merge(
        of_pieces(chance).replace("\0", ""), {chance.choice("ABC"): of_pieces(chance).replace("\0", "")}
    )


@rolled(11)
def test_hook_output_of_any_pieces_is_taken_or_refused_as_a_whole(chance: Random) -> None:
    check_output("\n".join(of_pieces(chance) for _ in range(chance.randint(1, 3))).encode())


@rolled(11)
def test_a_compose_file_of_any_pieces_is_read_or_refused(chance: Random) -> None:
    check_compose(of_pieces(chance), {"A": of_pieces(chance)})


# ---- settings ----

SETTINGS = sorted(Settings.model_fields)
tame_text = any_text.map(lambda text: text.encode("utf-8", "ignore").decode().replace("\0", ""))
toml_pieces = st.sampled_from(
    [
        *SETTINGS,
        *(name.replace("_", "-") for name in SETTINGS),
        " = ",
        "\n",
        '"',
        "'",
        "[",
        "]",
        "{",
        "}",
        "1",
        "inf",
        "nan",
        "true",
        "2001-01-01",
        ".",
        ",",
        '"""',
        "#",
        "\\u",
        "\r",
    ]
)


@fuzz(
    1,
    flags=st.dictionaries(
        st.sampled_from(SETTINGS).filter("config".__ne__), json_values | any_text, max_size=3
    ),
    env=st.dictionaries(st.sampled_from(SETTINGS).filter("config".__ne__), tame_text, max_size=3),
    file=st.none()
    | st.lists(toml_pieces | tame_text, max_size=12).map("".join)
    | st.integers(1, 50_000).map(lambda n: "apps = " + "[" * n),
)
def test_settings_are_taken_or_refused_by_name(
    tmp_path: Path, flags: dict[str, Any], env: dict[str, str], file: str | None
) -> None:
    config = tmp_path / "homeport.toml"
    with pytest.MonkeyPatch.context() as patch:
        for name in os.environ:
            if name.startswith(("HOMEPORT_", "FURTKA_")):
                patch.delenv(name)
        for name, value in env.items():
            patch.setenv(f"HOMEPORT_{name.upper()}", value)
        if file is not None:
            config.write_text(file)
            patch.setenv("HOMEPORT_CONFIG", str(config))
        try:
            settings = Settings.load(flags)
        except SettingsInvalid as error:
            assert str(error)
            return
    for path in (settings.apps, settings.state, *settings.catalog):
        assert path.is_absolute()
    assert settings.workers >= 1

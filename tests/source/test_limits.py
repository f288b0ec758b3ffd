"""Limits of what is read of one app, over all its files together; and what is said to who goes beyond them."""

from __future__ import annotations

import json
import os
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from controller.clock import SystemClock
from controller.model.desired import Invalid, Present
from controller.model.errors import WriteFailed
from controller.source import environment, files, reading, references
from controller.source.reading import load_folder
from controller.source.tree import AppsTree
from fakes.tree import manifest
from rig.fuzzing import opened

COMPOSE = "services:\n  main:\n    image: homeport/sample:1\n"
HONEST = (
    "x-base: &base {image: homeport/sample:1, restart: always}\nx-env: &env {A: '1', B: '2', C: '3', D: '4'}\n"
    "services:\n" + "".join(f"  s{n}:\n    <<: *base\n    environment: {{<<: *env}}\n" for n in range(26))
)
"""53 uses of aliases and about 440 nodes of theirs, as real files of large apps have."""


def put(folder: Path, compose: str = COMPOSE, files: dict[str, str] | None = None, **fields: Any) -> Path:
    app = folder / "web"
    for name, text in {
        "manifest.json": json.dumps(manifest("web", **fields)),
        "compose.yaml": compose,
        **(files or {}),
    }.items():
        (app / name).parent.mkdir(parents=True, exist_ok=True)
        (app / name).write_text(text)
    return app


def refusal(folder: Path) -> str:
    loaded = load_folder(folder)
    assert isinstance(loaded, Invalid), loaded
    return loaded.message


@pytest.mark.fault("B06")
def test_an_honest_file_full_of_aliases_is_read(tmp_path: Path) -> None:
    assert isinstance(load_folder(put(tmp_path, HONEST)), Present)


def test_compose_files_are_small_enough_together_and_not_only_each(tmp_path: Path) -> None:
    large = COMPOSE + "x: [" + "1," * 40_000 + "]\n"
    includes = {f"{n}.yaml": large for n in range(3)}
    said = refusal(put(tmp_path, "include: [0.yaml, 1.yaml, 2.yaml]\n" + COMPOSE, includes))
    assert said.startswith("2.yaml: line 4: is too large once its aliases are expanded, or together with")


def test_a_provider_behind_ever_more_files_is_refused_with_them(tmp_path: Path) -> None:
    # Each file includes the next: what was not read beyond the two-hundredth was not refused either.
    chain = {f"{n}.yaml": f"include: [{n + 1}.yaml]\n" for n in range(reading.MOST_COMPOSE_FILES + 5)}
    last = {f"{len(chain)}.yaml": "services: {evil: {provider: {type: /bin/true}}}\n"}
    said = refusal(put(tmp_path, "include: [0.yaml]\n" + COMPOSE, chain | last))
    assert f"compose.yaml: leads to more than {reading.MOST_COMPOSE_FILES} compose files" in said


def test_more_files_and_mounts_than_any_app_has_are_refused(tmp_path: Path) -> None:
    many = ",".join(f"{{path: f{n}, required: false}}" for n in range(references.MOST + 1))
    assert "more than 2000 files or mounted paths" in refusal(
        put(tmp_path, "services: {a: {image: x, env_file: [" + many + "]}}\n")
    )


def test_a_report_on_a_compose_file_stays_readable_however_much_is_wrong(tmp_path: Path) -> None:
    services = ",".join(f"s{n}: {{provider: x}}" for n in range(500))
    said = refusal(put(tmp_path, "services: {" + services + "}\n"))
    assert said.endswith("and 460 more problems like these")
    assert len(refusal(put(tmp_path, COMPOSE + f"x: *{'a' * 10_000}\n"))) < 300
    assert "…" in refusal(put(tmp_path, f"include: ['{'a@b:' * 20_000}']\n"))


def test_scripts_without_number_are_refused_folders_as_well(tmp_path: Path) -> None:
    folder = put(tmp_path)
    for n in range(reading.MOST_SCRIPTS + 1):
        (folder / "scripts" / str(n)).mkdir(parents=True)
    assert "scripts: holds more than 1000 files and folders" in refusal(folder)


def test_large_files_are_digested_up_to_a_total(tmp_path: Path) -> None:
    folder = put(tmp_path, files={"scripts/a.sh": ""})
    for n in range(6):
        with (folder / "scripts" / f"{n}.bin").open("wb") as file:
            file.truncate(60 << 20)
    assert "scripts/5.bin: is beyond the 256 MiB that are read" in refusal(folder)


def test_a_name_that_is_too_long_is_a_mistake_and_no_trouble_with_the_disk(tmp_path: Path) -> None:
    said = refusal(put(tmp_path, "services: {a: {image: x, env_file: " + "x" * 300 + "}}\n"))
    assert "has a name that no file can have" in said
    put(tmp_path, "services: {a: {image: x, env_file: " + "x" * 300 + "/a}}\n")
    tree = AppsTree(
        tmp_path, SystemClock(), tmp_path, known=lambda: (), root_id=lambda: "", remember_root_id=None
    )
    assert isinstance(tree.load("web"), Invalid)
    assert (tmp_path / "web", "web") in list(tree.folders())


def test_a_name_made_of_long_variables_is_none(tmp_path: Path) -> None:
    app = put(
        tmp_path, "services: {a: {image: x, env_file: '" + "$A" * 1000 + "'}}\n", {".env": "A=" + "x" * 9000}
    )
    assert isinstance(load_folder(app), Present)  # Compose says what it thinks of it


def test_numbers_are_left_to_compose_whatever_they_are(tmp_path: Path) -> None:
    numbers = (
        "x: [1:59:59, !!int '', !!float x, 2001-99-99, !!timestamp x, " + "1" * 5000 + "]\n5: x\n'5': y\n"
    )
    assert "the key '5' is there twice" in refusal(put(tmp_path, COMPOSE + numbers))
    assert isinstance(load_folder(put(tmp_path, COMPOSE + numbers.partition("5: x")[0])), Present)


@pytest.mark.parametrize("kind", ["device", "link"])
def test_a_device_is_not_even_opened(tmp_path: Path, kind: str) -> None:
    folder = put(tmp_path)
    path = folder / ".env"
    if kind == "device":
        os.mkfifo(path)  # stands for one that only root can make
    else:
        path.symlink_to("/dev/zero")
    with opened() as paths:
        assert ".env: is not a regular file" in refusal(folder)
    assert str(path) not in paths
    assert str(folder / "compose.yaml") in paths


def test_text_that_no_file_can_hold_is_refused_wherever_it_is(tmp_path: Path) -> None:
    for fields, field in (
        ({"display_name": "\ud800"}, "display_name"),
        ({"settings": [{"name": "A", "default": "\udfff"}]}, "settings[0].default"),
        ({"x": {"\ud800": [1]}}, "x.\\ud800"),
    ):
        assert f"manifest.json: {field}: holds half a character" in refusal(put(tmp_path, **fields))


def test_names_of_any_bytes_are_said_so_that_they_can_be_stored(tmp_path: Path) -> None:
    folder = put(tmp_path, files={"scripts/a.sh": ""})
    with open(os.path.join(os.fsencode(folder), b"scripts/\xff\n.bin"), "wb") as file:  # noqa: PTH118, PTH123 - bytes
        file.truncate(100 << 20)
    said = refusal(folder)
    assert said.isprintable()
    said.encode()


def test_env_is_never_written_larger_than_it_can_be_read(tmp_path: Path) -> None:
    folder = put(tmp_path, files={".env": "# " + "x" * (environment.LIMIT - 100) + "\n"})
    tree = AppsTree(
        tmp_path,
        SystemClock(),
        tmp_path / "state",
        known=lambda: (),
        root_id=lambda: "id",
        remember_root_id=None,
    )
    app = load_folder(folder)
    assert isinstance(app, Present)
    before = (folder / ".env").read_bytes()
    with pytest.raises(WriteFailed, match="at most 262144 are read"):
        tree.merge_env(app, {"A": "y" * 200})
    assert (folder / ".env").read_bytes() == before
    (folder / ".env").write_text("x" * environment.LIMIT + "\n")
    assert "at most 262144 are read" in refusal(folder)


def test_a_small_file_is_read_in_little_memory(tmp_path: Path) -> None:
    (tmp_path / "small").write_text("x")
    tracemalloc.start()
    try:
        assert files.read(tmp_path / "small") == b"x"
        assert files.digest(tmp_path / "small") is not None
        assert tracemalloc.get_traced_memory()[1] < 256 << 10
    finally:
        tracemalloc.stop()

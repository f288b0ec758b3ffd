"""The folder of the documents that are applied, and what is remembered of what files mean. Compose runs; no engine."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from controller.clock import SystemClock
from controller.engine.child import Children
from controller.engine.compose import Compose
from controller.engine.endpoint import Endpoint
from controller.engine.rendering import Renderer, WorkFolder
from controller.model.desired import Present
from controller.model.errors import InputInvalid
from controller.source.reading import load_folder
from rig.service import MANIFEST, SLEEPER


def test_documents_of_killed_processes_are_taken_away_and_those_of_others_stay(tmp_path: Path) -> None:
    folder = WorkFolder(tmp_path)
    with folder.temporary("{}") as own:
        kept = folder.keep("web", "{}")
        gone, other = tmp_path / ".4194305-abc.json", tmp_path / f".{os.getppid()}-abc.json"
        gone.touch()  # no process has a number above 4194304
        other.touch()
        folder.tidy()
        assert not own.exists(), "a new process has the number of the one that was killed, as in a container"
        assert sorted(tmp_path.iterdir()) == sorted([kept, other])


@pytest.fixture
def renderer(tmp_path: Path) -> Renderer:
    clock = SystemClock()
    compose = Compose(Endpoint("unix:///nonexistent.sock"), Children(clock))
    return Renderer(compose, WorkFolder(tmp_path / "work"), clock)


def edited(tmp_path: Path, edit: int) -> Present:
    folder = tmp_path / "web"
    folder.mkdir(exist_ok=True)
    (folder / "manifest.json").write_text(json.dumps(MANIFEST | {"name": "web", "display_name": "web"}))
    (folder / "compose.yaml").write_text(SLEEPER + f"    environment: {{EDIT: '{edit}'}}\n")
    present = load_folder(folder)
    assert isinstance(present, Present), present
    return present


def test_files_that_did_not_change_are_read_once_and_old_revisions_are_forgotten(
    renderer: Renderer, tmp_path: Path
) -> None:
    first = edited(tmp_path, 0)
    rendered = renderer.render(first)
    assert renderer.render(first) is rendered
    for edit in range(1, 9):
        newest = edited(tmp_path, edit)
        renderer.render(newest)
    assert renderer.render(newest) is renderer.render(newest)
    assert renderer.render(first) is not rendered, "months of edits do not fill the memory"
    latest = renderer.render(newest)
    renderer.forget("web")
    assert renderer.render(newest) is not latest


@pytest.mark.parametrize(
    ("compose", "others", "found"),
    [
        ("environment: {A: '${GOGC:-100}'}", {}, "100"),
        ("environment: {A: '${SOME}'}", {".env": "SOME=${GOGC:-100}"}, "100"),
        ("environment: {A: '${GOGC}'}", {".env": "GOGC=77"}, "77"),
        ("env_file: [more.env]", {"more.env": "A=1\nGOGC\n"}, "1"),
        (
            "extends: {file: more.yaml, service: base}",
            {"more.yaml": "services: {base: {environment: {A: '${GOGC:-100}'}}}"},
            "100",
        ),
        ("env_file: [../outside.env]", {"../outside.env": "A=1\nGOMEMLIMIT\n"}, "1"),
    ],
)
def test_what_our_children_are_told_of_go_is_no_value_of_an_app(
    renderer: Renderer, tmp_path: Path, compose: str, others: dict[str, str], found: str
) -> None:
    edited(tmp_path, 0)
    for name, text in others.items():
        (tmp_path / "web" / name).write_text(text)
    (tmp_path / "web" / "compose.yaml").write_text(SLEEPER + "    " + compose + "\n")
    present = load_folder(tmp_path / "web")
    assert isinstance(present, Present), present
    environment = json.loads(renderer.render(present).document)["services"]["main"]["environment"]
    assert environment == {"A": found}


def test_a_key_that_compose_does_not_know_is_said_in_plain_words(renderer: Renderer, tmp_path: Path) -> None:
    edited(tmp_path, 0)
    file = tmp_path / "web" / "compose.yaml"
    file.write_text(SLEEPER + "    imagee: b\n")
    present = load_folder(tmp_path / "web")
    assert isinstance(present, Present), present
    with pytest.raises(InputInvalid) as refused:
        renderer.render(present)
    assert str(refused.value) == f"{file}: services.main has no key `imagee`"

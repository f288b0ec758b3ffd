"""The apps tree on real files: what a folder asks for, what counts as a change, and when the root is lost."""

from __future__ import annotations

import json
import os
import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from controller.model.desired import Absent, Invalid, Unreadable
from controller.model.errors import AppError, WriteFailed
from controller.source.reading import load_folder
from controller.source.signing import Signer
from fakes.tree import manifest
from rig.apps import COMPOSE, Apps

# -- what a folder asks for ---------------------------------------------------------------------------


def test_each_input_is_known_by_name_and_a_part_of_its_digest_so_that_the_one_that_changes_can_be_named(
    apps: Apps,
) -> None:
    folder = apps.put(more={".env": "A=1\n", "scripts/on.sh": "true\n", "notes.txt": "no input\n"})
    before = apps.present().inputs
    assert set(before) == {"manifest.json", "docker-compose.yaml", ".env", "scripts/on.sh"}
    (folder / ".env").write_text("A=2\n")
    apps.clock.ahead += 10
    now = apps.present().inputs
    assert {name for name in now if now[name] != before[name]} == {".env"}
    (folder / "docker-compose.yaml").write_text("services: [")
    apps.clock.ahead += 10
    assert set(apps.invalid().inputs) >= {"manifest.json", "docker-compose.yaml"}


def test_compose_may_be_tuned_only_where_nothing_that_it_reads_can_name_what_tunes_it(apps: Apps) -> None:
    apps.put("plain", {".env": "A=1\n", "docker-compose.yaml": f"{COMPOSE}    env_file: [.env]\n"})
    assert apps.present("plain").tunable
    apps.put("more", {"more.env": "A=1\n", "docker-compose.yaml": f"{COMPOSE}    env_file: [more.env]\n"})
    assert not apps.present("more").tunable, "what is in it is not known"
    apps.put("named", {".env": "GOGC=1\n"})
    assert not apps.present("named").tunable


def test_of_very_many_inputs_none_is_named(apps: Apps) -> None:
    names = [f"conf/{number}" for number in range(60)]
    volumes = "".join(f"      - ./{name}:/{name}:ro\n" for name in names)
    apps.put(more={**dict.fromkeys(names, "x"), "docker-compose.yaml": f"{COMPOSE}    volumes:\n{volumes}"})
    assert apps.present().inputs == {}


def test_a_whole_folder_is_present(apps: Apps) -> None:
    folder = apps.put(more={"docker-compose.override.yaml": "services: {}\n"})
    app = apps.present()
    assert [Path(path).name for path in app.compose_files] == [
        "docker-compose.yaml",
        "docker-compose.override.yaml",
    ]
    assert app.folder == str(folder)


def test_a_folder_that_is_not_there_is_absent_and_one_without_files_is_incomplete(apps: Apps) -> None:
    assert isinstance(apps.tree.load("web"), Absent)
    (apps.root / "web").mkdir()
    assert apps.invalid().reason == "Incomplete"
    (apps.root / "web" / "manifest.json").write_text("")
    assert apps.invalid().reason == "Incomplete", "made, but not filled yet"


def test_of_a_folder_without_a_manifest_it_is_said_what_writes_one(apps: Apps) -> None:
    folder = apps.put()
    (folder / "manifest.json").unlink()
    first = f"manifest.json: is not there; `homeport init {folder}` writes a first one, from the compose file"
    assert apps.invalid().message == first
    (folder / "docker-compose.yaml").unlink()
    assert apps.invalid().message == f"{first}; docker-compose.yaml: there is no compose file"
    (folder / "manifest.json").write_text("")
    assert "homeport init" not in apps.invalid().message, "it writes over nothing"


def test_the_command_that_writes_a_manifest_can_be_typed_whatever_the_folder_is_called(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "my apps" / "web"
    folder.mkdir(parents=True)
    found = load_folder(folder)
    assert isinstance(found, Invalid)
    assert f"`homeport init '{folder}'`" in found.message


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"name": "other"}, "name: is 'other', but the folder is named 'web'"),
        ({"version": 1}, "version: "),
        ({"ports": [True]}, "ports[0]"),
        ({"ports": [70000]}, "ports[0]"),
        ({"volumes": ["a", "a"]}, "volume 'a' is listed twice"),
        ({"volumes": ["A"]}, "volume 'A' must match"),
        ({"requires": [{"app": "web"}]}, "web requires itself"),
        ({"requires": [{"app": "db"}, {"app": "db"}]}, "provider 'db' is listed twice"),
        (
            {"requires": [{"app": "db", "on_install": "../x.sh"}]},
            "requires[0].on_install: '../x.sh' must be a relative",
        ),
        ({"settings": [{"name": "lower"}]}, "settings[0].name: 'lower' must match"),
        ({"settings": [{"name": "COMPOSE_FILE"}]}, "steers the tools"),
        ({"icon": "/etc/passwd"}, "icon: '/etc/passwd' must be a relative path"),
        ({"health_timeout": -1}, "health_timeout"),
    ],
)
def test_a_broken_rule_names_file_field_and_rule(apps: Apps, fields: dict[str, Any], expected: str) -> None:
    apps.put()
    (apps.root / "web" / "manifest.json").write_text(json.dumps(manifest("web") | fields))
    desired = apps.invalid()
    assert desired.reason == "SourceInvalid"
    assert "manifest.json: " in desired.message
    assert expected in desired.message


def test_all_problems_of_a_manifest_are_reported_together(apps: Apps) -> None:
    apps.put()
    (apps.root / "web" / "manifest.json").write_text('{"name": "web", "ports": ["x"], "volumes": 1}')
    fields = {problem.field for problem in apps.invalid().problems}
    assert {"display_name", "version", "description", "icon", "ports[0]", "volumes"} <= fields


def test_unknown_fields_are_warned_about_with_a_guess(apps: Apps) -> None:
    apps.put(descripton_long="x")
    assert "did you mean 'description_long'?" in apps.present().warnings[0]


@pytest.mark.parametrize(
    "text", ["{", '{"name": "a", "name": "b"}', "[]", '{"a": 1}\n{"b": 2}', "\ufeffnope"]
)
@pytest.mark.fault("B01")
def test_what_is_not_a_json_object_is_invalid(apps: Apps, text: str) -> None:
    apps.put()
    (apps.root / "web" / "manifest.json").write_text(text)
    assert apps.invalid().problems[0].file == "manifest.json"


@pytest.mark.parametrize(
    ("compose", "expected"),
    [
        ("services: [\n", "is not YAML"),
        ("services:\n\tmain: {image: i}\n", "docker-compose.yaml: line 2: is not YAML"),
        ("services: {}\n\0", "holds a NUL byte"),
        ("hello\n", "must be a mapping"),
        ("", "docker-compose.yaml: is empty"),
        ("a: 1\na: 2\n", "the key 'a' is there twice"),
        ("- a\n", "must be a mapping"),
        ("a: 1\n---\nb: 2\n", "more than one document"),
        ("services:\n  x:\n    provider: {type: ./evil}\n", "services.x.provider"),
        ("include: ['https://example.invalid/x.git']\nservices: {}\n", "include[0]"),
    ],
)
@pytest.mark.fault("B01")
def test_a_broken_compose_file_is_invalid(apps: Apps, compose: str, expected: str) -> None:
    apps.put(more={"docker-compose.yaml": compose})
    assert expected in apps.invalid().message


@pytest.mark.fault("B01")
def test_two_base_files_are_invalid_and_both_are_named(apps: Apps) -> None:
    apps.put(more={"compose.yaml": COMPOSE})
    assert "compose.yaml: there is also docker-compose.yaml" in apps.invalid().message


@pytest.mark.fault("B06")
def test_a_bomb_of_aliases_is_refused_quickly_and_honest_aliases_are_not(apps: Apps) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 9)]
    apps.put(more={"docker-compose.yaml": "\n".join(lines) + "\n"})
    assert "too large once its aliases are expanded" in apps.invalid().message
    honest = "x-base: &base {image: i}\nservices:\n" + "".join(f"  s{n}: *base\n" for n in range(400))
    (apps.root / "web" / "docker-compose.yaml").write_text(honest)
    assert apps.present()


def test_composes_own_tags_are_no_mistake(apps: Apps) -> None:
    apps.put(
        more={
            "docker-compose.override.yaml": "services:\n  main:\n    ports: !reset []\n    x: !override {a: 1}\n"
        }
    )
    assert apps.present()


@pytest.mark.fault("B07")
@pytest.mark.parametrize("name", ["manifest.json", "docker-compose.yaml", ".env"])
def test_what_is_not_a_regular_file_neither_hangs_nor_is_read(apps: Apps, name: str) -> None:
    folder = apps.put()
    (folder / name).unlink(missing_ok=True)
    os.mkfifo(folder / name)
    assert f"{name}: is not a regular file" in apps.invalid().message


def test_a_named_file_that_is_not_there_is_incomplete(apps: Apps) -> None:
    folder = apps.put(
        more={"docker-compose.yaml": COMPOSE + "    env_file: [a.env, {path: b.env, required: false}]\n"}
    )
    desired = apps.invalid()
    assert (desired.reason, "names a.env, which is not there" in desired.message) == ("Incomplete", True)
    (folder / "a.env").write_text("A=1\n")
    assert apps.present()


# -- what counts as a change ----------------------------------------------------------------------------


def test_the_revision_is_over_bytes_not_times_modes_or_droppings(apps: Apps) -> None:
    folder = apps.put(more={".env": "A=1\n", "scripts/hook.sh": "true\n"})
    before = apps.revision()
    for name in ("manifest.json", "docker-compose.yaml", ".env", "scripts/hook.sh"):
        os.utime(folder / name, (1, 1))
        (folder / name).chmod(0o600)
        (folder / name).write_bytes((folder / name).read_bytes())
    (folder / "data").mkdir()
    for name in (
        ".manifest.json.swp",
        "docker-compose.yaml~",
        "4913",
        "app.db",
        "data/x",
        "scripts/.hook.sh.swp",
    ):
        (folder / name).write_text("x")
    assert apps.revision() == before


@pytest.mark.parametrize(
    "name",
    ["manifest.json", "docker-compose.yaml", ".env", "scripts/hook.sh", "docker-compose.override.yml", "x.env", "inc.yaml", "secret.txt",
     "Dockerfile"],
)  # fmt: skip
def test_every_input_is_part_of_the_revision(apps: Apps, name: str) -> None:
    compose = "include: [inc.yaml]\nservices:\n  main:\n    build: .\n    env_file: x.env\nsecrets: {s: {file: ./secret.txt}}\n"
    files = dict.fromkeys(("docker-compose.override.yml", "inc.yaml"), "{}\n")
    texts = dict.fromkeys((".env", "scripts/hook.sh", "x.env", "secret.txt", "Dockerfile"), "A=1\n")
    folder = apps.put(more={"docker-compose.yaml": compose, **files, **texts})
    before = apps.present().revision
    (folder / name).write_text((folder / name).read_text() + "\n")
    assert apps.revision() != before


def test_a_moved_tree_keeps_its_revisions(apps: Apps, tmp_path: Path) -> None:
    folder = apps.put(more={".env": "A=1\n"})
    moved = tmp_path / "else" / "web"
    shutil.copytree(folder, moved)
    assert load_folder(moved).revision == apps.revision()


def test_an_invalid_folder_has_a_revision_too(apps: Apps) -> None:
    folder = apps.put()
    (folder / "manifest.json").write_text("{")
    first = apps.invalid().revision
    (folder / "manifest.json").write_text("{{")
    assert apps.invalid().revision != first


def test_a_new_folder_is_quiet_when_its_files_are_and_at_once_after_a_rename(apps: Apps) -> None:
    folder = apps.put(more={"html/index.html": "x"})
    assert apps.present().quiet < 1
    apps.clock.ahead = 5
    assert apps.present().quiet >= 5
    (folder / "html" / "new.html").write_text("x")
    apps.clock.ahead = 0
    assert apps.present().quiet < 1
    apps.clock.ahead = 60
    aside = folder.with_name(".web")
    folder.rename(aside)
    aside.rename(folder)
    assert apps.present().quiet > 50, "a rename in whole is quiet at once"


def test_data_written_beside_a_known_apps_inputs_does_not_make_it_unquiet(apps: Apps) -> None:
    folder = apps.put()
    apps.known.add("web")
    apps.present()
    apps.clock.ahead = 5
    (folder / "app.db").write_text("x")
    assert apps.present().quiet >= 5


@pytest.mark.fault("A07")
def test_a_change_that_no_files_time_explains_is_timed_by_our_own_looks(
    apps: Apps, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that is being truncated is empty for a moment before its times say that it changed."""
    folder = apps.put(more={".env": "A=1\n"})
    apps.known.add("web")
    apps.clock.ahead = 5
    assert apps.present().quiet >= 5
    (folder / ".env").write_text("")
    monkeypatch.setattr(Signer, "times", lambda *_look, inside=False: [(time.time() - 60, "")])
    assert apps.present().quiet < 1
    apps.clock.ahead = 6
    assert apps.present().quiet >= 1


@pytest.mark.fault("A12")
def test_files_from_the_future_are_quiet_once_they_look_the_same_for_long_enough(apps: Apps) -> None:
    apps.put()
    apps.clock.ahead = -1000
    assert apps.present().quiet == 0
    apps.clock.ahead = -990
    assert apps.present().quiet == 10


# -- `.env` ---------------------------------------------------------------------------------------------


def test_env_is_seeded_from_the_example_and_the_settings_with_mode_0600(apps: Apps) -> None:
    settings = [{"name": "PORT", "default": "80"}, {"name": "A"}]
    folder = apps.put(more={".env.example": "# c\nA=1\n"}, settings=settings)
    assert apps.present().seeds == (".env",)
    assert apps.tree.seed_env(apps.present()) == ("A", "PORT")
    env = folder / ".env"
    assert env.read_text() == "# c\nA=1\nPORT=80\n"
    assert env.stat().st_mode & 0o777 == 0o600
    assert apps.present().seeds == ()
    inode = env.stat().st_ino
    assert apps.tree.seed_env(apps.present()) == ()
    assert env.stat().st_ino == inode


def test_a_new_setting_of_a_later_version_is_appended(apps: Apps) -> None:
    folder = apps.put(more={".env": "# mine\nA=1"}, settings=[{"name": "B", "default": "2"}])
    assert apps.present().seeds == ("B",)
    apps.tree.seed_env(apps.present())
    assert (folder / ".env").read_text() == "# mine\nA=1\nB=2\n"


@pytest.mark.fault("C10")
def test_a_merge_keeps_everything_else_and_writes_nothing_when_nothing_changes(apps: Apps) -> None:
    folder = apps.put(more={".env": "# c\nA=1\n\nB='x y'\n"})
    assert apps.tree.merge_env(apps.present(), {"B": "x y"}) == ()
    before = (folder / ".env").stat().st_ino
    assert apps.tree.merge_env(apps.present(), {"B": "x y"}) == ()
    assert (folder / ".env").stat().st_ino == before
    assert apps.tree.merge_env(apps.present(), {"C": "a$b"}) == ("C",)
    assert (folder / ".env").read_text().startswith("# c\nA=1\n\nB='x y'\n")
    assert apps.present().env["C"] == "a$b"


@pytest.mark.fault("C09")
def test_a_link_in_place_of_env_is_not_followed(apps: Apps, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("A=1\n")
    folder = apps.put()
    (folder / ".env").symlink_to(victim)
    with pytest.raises(WriteFailed, match="is a link"):
        apps.tree.merge_env(apps.present(), {"A": "2"})
    assert victim.read_text() == "A=1\n"


@pytest.mark.parametrize(
    ("setting", "value", "rule"),
    [
        ({"required": True}, "", "is required and empty"),
        ({}, "ChangeMe", "is a placeholder"),
        ({"type": "number"}, "x", "must be a number"),
        ({"type": "path"}, "relative", "must be an absolute path"),
        ({"type": "path"}, "/etc/../etc", "must not lie in /etc"),
        ({"type": "path"}, "/", "must not be / itself"),
        ({"type": "path"}, "/nonexistent", "does not exist"),
    ],
)
def test_a_value_that_a_person_has_to_mend_is_named_and_never_quoted(
    apps: Apps, setting: dict[str, Any], value: str, rule: str
) -> None:
    apps.put(more={".env": f"KEY={value}\n"}, settings=[{"name": "KEY", **setting}])
    (problem,) = apps.present().unset
    assert (problem.field, rule in problem.rule) == ("KEY", True)
    if len(value) > 1:
        assert value not in problem.rule or value.startswith("/etc")


@pytest.mark.fault("H02")
@pytest.mark.fault("B07")
def test_a_hook_script_may_not_leave_its_folder(apps: Apps, tmp_path: Path) -> None:
    folder = apps.put(more={"scripts/ok.sh": "true\n"})
    (tmp_path / "out.sh").write_text("evil")
    (folder / "scripts" / "link.sh").symlink_to(tmp_path / "out.sh")
    assert apps.tree.read_script("web", "scripts/ok.sh") == b"true\n"
    for path in ("scripts/link.sh", "../../out.sh", "scripts/none.sh", "scripts"):
        with pytest.raises(AppError) as caught:
            apps.tree.read_script("web", path)
        assert caught.value.reason == "HookFailed"


# -- the root ---------------------------------------------------------------------------------------------


def test_the_root_is_known_by_its_marker(apps: Apps) -> None:
    apps.put()
    assert apps.tree.census().names == {"web"}
    assert (apps.root / ".homeport").read_text().strip() == apps.remembered[-1]


@pytest.mark.fault("B07")
def test_names_that_are_no_apps_are_left_out_and_said(apps: Apps) -> None:
    apps.put()
    for name in (".git", "_drafts", "Bad Name"):
        (apps.root / name).mkdir()
    (apps.root / "file").write_text("")
    census = apps.tree.census()
    assert census.names == {"web"}
    assert list(census.ignored) == ["Bad Name"]


@pytest.mark.parametrize("how", ["gone", "replaced", "emptied", "another", "a file"])
@pytest.mark.fault("A05")
def test_a_root_that_is_not_surely_ours_is_lost_and_nothing_is_absent(apps: Apps, how: str) -> None:
    apps.put()
    apps.known.add("web")
    apps.tree.census()
    shutil.rmtree(apps.root)
    if how == "a file":
        apps.root.write_text("")
    elif how != "gone":
        apps.root.mkdir()
    if how == "another":
        (apps.root / ".homeport").write_text("0123\n")
        apps.put()
    if how == "replaced":
        apps.put("other")
    assert apps.tree.census().lost
    assert isinstance(apps.tree.load("web"), Unreadable)


def test_a_copy_of_the_tree_and_a_lost_marker_are_taken_for_ours(apps: Apps) -> None:
    apps.put()
    apps.known.add("web")
    apps.tree.census()
    old = apps.root.rename(apps.root.with_name("old"))
    shutil.copytree(old, apps.root)
    assert not apps.tree.census().lost
    (apps.root / ".homeport").unlink()
    assert not apps.tree.census().lost
    assert (apps.root / ".homeport").exists()


@pytest.mark.fault("A12")
def test_signatures_change_with_an_input_and_with_nothing_else(apps: Apps) -> None:
    folder = apps.put()
    apps.present()
    before = apps.tree.signatures()
    (folder / "app.db").write_text("x")
    assert apps.tree.signatures() == before
    (folder / ".env").write_text("A=1\n")
    assert apps.tree.signatures() != before


def test_only_folders_that_hold_inputs_are_watched(apps: Apps) -> None:
    compose = COMPOSE + "    env_file: conf/a.env\n"
    folder = apps.put(
        more={"docker-compose.yaml": compose, "conf/a.env": "A=1\n", "data/x/y": "", "scripts/h.sh": ""}
    )
    apps.present()
    assert sorted(path for path, _ in apps.tree.folders()) == [
        apps.root,
        folder,
        folder / "conf",
        folder / "scripts",
    ]
    assert apps.tree.is_input("web", "conf/a.env")
    assert not apps.tree.is_input("web", "app.db-wal")
    assert not apps.tree.is_input("web", "scripts/.h.sh.swp")

"""The apps tree when something is odd about it: links, devices, bombs, races, disks that fail."""

from __future__ import annotations

import errno
import json
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from controller.model.desired import Absent, Invalid, Present, Unreadable
from controller.model.errors import AppError, WriteFailed
from controller.source import files
from controller.source.reading import load_folder
from fakes.tree import manifest
from rig.apps import COMPOSE, Apps


def failing_open(monkeypatch: pytest.MonkeyPatch, path: Path, code: int) -> None:
    """From now on this path cannot be opened."""
    real = os.open

    def fake(name: Any, *args: Any, **kwargs: Any) -> int:
        if Path(name) == path:
            raise OSError(code, os.strerror(code))
        return real(name, *args, **kwargs)

    monkeypatch.setattr(files.os, "open", fake)


# -- folders and links ------------------------------------------------------------------------------------


def test_one_odd_entry_does_not_cost_the_whole_tree(apps: Apps) -> None:
    apps.put()
    (apps.root / "loop").symlink_to("loop")
    census = apps.tree.census()
    assert not census.lost
    assert "web" in census.names


def test_an_app_behind_a_link_is_an_app(apps: Apps, tmp_path: Path) -> None:
    apps.put()
    (apps.root / "web").rename(tmp_path / "elsewhere")
    (apps.root / "web").symlink_to(tmp_path / "elsewhere")
    assert apps.tree.census().names == {"web"}
    assert apps.present().folder == str(apps.root / "web")


def test_an_app_behind_a_link_to_nothing_is_unreadable_and_never_absent(apps: Apps, tmp_path: Path) -> None:
    (apps.root / "web").symlink_to(tmp_path / "unmounted" / "web")
    assert "web" in apps.tree.census().names
    assert isinstance(apps.tree.load("web"), Unreadable)


@pytest.mark.parametrize("name", ["..", ".", "../apps/web", "", "Web", "a/b", "x\0y"])
def test_a_name_that_cannot_be_an_app_leads_nowhere(apps: Apps, name: str) -> None:
    apps.put()
    assert apps.tree.load(name) == Absent(name)


def test_names_of_any_bytes_can_be_printed(apps: Apps) -> None:
    (apps.root / os.fsdecode(b"bad\xff\n")).mkdir()
    (ignored,) = apps.tree.census().ignored
    assert ignored.isprintable()
    ignored.encode()


def test_a_root_that_goes_between_two_looks_makes_nothing_absent(
    apps: Apps, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = iter([("", False), ("is not there", False)])
    monkeypatch.setattr(apps.tree._guard, "look", lambda: next(answers))
    assert isinstance(apps.tree.load("web"), Unreadable)


def test_a_file_is_no_app_but_in_place_of_a_known_apps_folder_it_is_invalid_and_never_absent(
    apps: Apps,
) -> None:
    (apps.root / "web").write_text("")
    assert isinstance(apps.tree.load("web"), Absent)
    apps.known.add("web")
    assert "web" in apps.invalid().message


@pytest.mark.parametrize("name", ["manifest.json", "docker-compose.yaml", ".env"])
@pytest.mark.parametrize("code", [errno.EIO, errno.EACCES, errno.ENOTCONN])
@pytest.mark.fault("A06")
def test_a_disk_that_fails_says_nothing_about_the_app_and_is_asked_again(
    apps: Apps, monkeypatch: pytest.MonkeyPatch, name: str, code: int
) -> None:
    folder = apps.put(more={".env": "A=1\n"})
    with monkeypatch.context() as patch:
        failing_open(patch, folder / name, code)
        desired = apps.tree.load("web")
        assert isinstance(desired, Unreadable)
        assert name in desired.message
        assert os.strerror(code) in desired.message
        assert isinstance(load_folder(folder), Invalid)
    assert apps.present().env == {"A": "1"}


# -- the root's marker ------------------------------------------------------------------------------------


def test_a_tree_that_cannot_be_written_is_remembered_once(
    apps: Apps, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, "read-only")

    monkeypatch.setattr(files.os, "fsync", full)
    monkeypatch.setattr(Path, "write_text", full)
    for _ in range(3):
        assert not apps.tree.census().lost
    assert len(apps.remembered) == 1
    assert [entry.name for entry in apps.root.iterdir()] == []


def test_a_marker_that_is_gone_comes_back_with_the_same_id(apps: Apps) -> None:
    apps.tree.census()
    (apps.root / ".homeport").unlink()
    assert not apps.tree.census().lost
    assert [(apps.root / ".homeport").read_text().strip()] == apps.remembered


def test_an_empty_marker_is_one_that_is_gone(apps: Apps) -> None:
    apps.put()
    apps.known.add("web")
    apps.tree.census()
    (apps.root / ".homeport").write_text("")
    assert not apps.tree.census().lost
    assert [(apps.root / ".homeport").read_text().strip()] == apps.remembered


def test_another_tree_is_taken_when_no_app_is_known_and_refused_with_a_way_out_when_one_is(
    apps: Apps,
) -> None:
    apps.tree.census()
    (apps.root / ".homeport").write_text("other\n")
    assert not apps.tree.census().lost
    assert apps.remembered[-1] == "other"
    apps.put()
    apps.known.add("web")
    (apps.root / ".homeport").write_text("third\n")
    assert f"remove {apps.root / '.homeport'}" in apps.tree.census().lost
    (apps.root / ".homeport").unlink()
    assert not apps.tree.census().lost


def test_one_of_many_known_apps_that_is_a_link_to_nothing_still_marks_the_root(
    apps: Apps, tmp_path: Path
) -> None:
    apps.tree.census()
    (apps.root / ".homeport").unlink()
    apps.known.add("web")
    apps.known.add("db")
    assert apps.tree.census().lost
    (apps.root / "web").symlink_to(tmp_path / "unmounted")
    assert not apps.tree.census().lost


# -- manifests --------------------------------------------------------------------------------------------


def test_wrong_types_missing_fields_and_bad_paths_are_one_report(apps: Apps) -> None:
    (folder := apps.put()).joinpath("manifest.json").write_text(
        json.dumps({
            "name": "other", "display_name": 1, "version": "1", "volumes": ["a", "a"], "ports": [True, 70000, "x"],
            "icon": "../icon.svg", "requires": [{"app": "web", "on_start": "/x"}, {"on_install": 5}],
            "settings": [{"name": "A", "type": "blob"}, 3], "health_timeout": -1, "rollback": "no", "snapshot": "x",
        })
    )  # fmt: skip
    assert sorted(str(problem).removeprefix("manifest.json: ") for problem in apps.invalid().problems) == [
        "description: is missing",
        "display_name: must be a string",
        "health_timeout: must be a number of seconds above 0",
        "icon: '../icon.svg' must be a relative path that stays inside the folder",
        "name: is 'other', but the folder is named 'web'; make them the same",
        "ports[0]: must be a whole number",
        "ports[1]: must be at most 65535",
        "ports[2]: must be a whole number",
        "requires[0].app: web requires itself; take that entry out",
        "requires[0].on_start: '/x' must be a relative path that stays inside the folder",
        "requires[1].app: is missing",
        "requires[1].on_install: must be a string",
        "rollback: must be 'auto', 'always' or 'never'",
        "settings[0].type: must be 'text', 'password', 'number' or 'path'",
        "settings[1]: must be an object",
        "snapshot: must be true or false",
        "volumes: volume 'a' is listed twice; keep one",
    ]
    assert folder.exists()


@pytest.mark.fault("B10")
def test_an_app_that_requires_itself_is_told_so_with_all_else_that_is_wrong(apps: Apps) -> None:
    apps.put(requires=[{"app": "db"}, {"app": "web"}], version=1)
    assert [(p.field, p.rule) for p in apps.invalid().problems] == [
        ("version", "must be a string"),
        ("requires[1].app", "web requires itself; take that entry out"),
    ]


@pytest.mark.parametrize(
    "text", ['"health_timeout": Infinity', '"health_timeout": NaN', '"health_timeout": 1e999']
)
def test_only_finite_numbers_are_json(apps: Apps, text: str) -> None:
    fields = json.dumps(manifest("web"))
    (apps.put() / "manifest.json").write_text(fields.removesuffix("}") + f", {text}}}")
    assert apps.invalid().problems


@pytest.mark.parametrize(
    "fields",
    [
        {"settings": [{"name": "A", "default": "a\0b"}]},
        {"display_name": "\ud800"},
        {"\ud800": 1},
        {"settings": [{"name": "A", "default": "\udcff"}]},
        {"icon": "a\0b"},
    ],
)
def test_text_that_no_file_can_hold_is_invalid_or_harmless(apps: Apps, fields: dict[str, Any]) -> None:
    apps.put(**fields)
    desired = apps.tree.load("web")
    assert isinstance(desired, Invalid | Present)
    said = desired.message if isinstance(desired, Invalid) else "".join(desired.warnings)
    said.encode()


def test_a_report_stays_readable_however_much_is_wrong(apps: Apps) -> None:
    apps.put(ports=["x"] * 2_000)
    assert len(apps.invalid().message) < 10_000
    assert "and 1980 more" in apps.invalid().message
    apps.put("db", **{f"field_{n}": 1 for n in range(2_000)})
    assert len(apps.present("db").warnings) < 50


def test_the_guess_for_an_unknown_field_does_not_mind_case(apps: Apps) -> None:
    apps.put(Suspend=True)
    assert "did you mean 'suspend'?" in apps.present().warnings[0]


# -- compose files ----------------------------------------------------------------------------------------


def deep(leaf: str, levels: int = 9) -> str:
    lines = [f"x-0: &a0 {leaf}"]
    lines += [f"x-{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, levels)]
    return COMPOSE + "\n".join(lines) + "\n"


@pytest.mark.fault("B06")
@pytest.mark.parametrize("leaf", ["[]", "{}", "x", '""', "[x]"])
def test_a_bomb_of_aliases_is_refused_whatever_its_core(apps: Apps, leaf: str) -> None:
    apps.put(more={"docker-compose.yaml": deep(leaf)})
    assert "aliases" in apps.invalid().message


@pytest.mark.fault("B06")
@pytest.mark.parametrize("text", ["x: &a [*a]\n", "x: &a {b: *a}\n"])
def test_an_alias_within_itself_is_refused(apps: Apps, text: str) -> None:
    apps.put(more={"docker-compose.yaml": COMPOSE + text})
    assert "itself" in apps.invalid().message


@pytest.mark.parametrize(
    "value",
    [
        "!!bool x",
        "!!binary é",
        "!!python/name:os.system",
        "*no",
        "!!omap x",
    ],
)
def test_values_that_cannot_be_built_are_a_mistake_and_no_crash(apps: Apps, value: str) -> None:
    apps.put(more={"docker-compose.yaml": COMPOSE + f"x-a: {value}\n"})
    assert "docker-compose.yaml" in apps.invalid().message


@pytest.mark.parametrize(
    "path",
    [
        "https://example.org/a.yaml",
        "git@example.org:a",
        "oci://example.org/a",
        "github.com/a/b",
        "${A:-https}://example.org/a",
        "${SCHEME}://example.org/a",
        "${SCHEME:+https}://example.org/a",
        "${A:-${SCHEME}}://example.org/a",
    ],
)
@pytest.mark.parametrize(
    "form", ["include: ['{}']", "include: [{{path: '{}'}}]", "include: [{{path: [a.yaml, '{}']}}]"]
)
@pytest.mark.fault("B09")
def test_a_remote_include_is_refused_however_it_is_written(apps: Apps, form: str, path: str) -> None:
    more = {
        "docker-compose.yaml": COMPOSE + form.format(path) + "\n",
        ".env": "SCHEME=https\n",
        "a.yaml": COMPOSE,
    }
    apps.put(more=more)
    assert "include[0]" in apps.invalid().message
    assert apps.invalid().reason == "PolicyDenied"


@pytest.mark.fault("B09")
def test_a_provider_is_refused_in_an_included_file_too(apps: Apps) -> None:
    more = {
        "docker-compose.yaml": COMPOSE + "include: [sub/more.yaml]\n",
        "sub/more.yaml": "services:\n  x: {provider: {type: ./evil}}\n",
    }
    apps.put(more=more)
    (problem,) = apps.invalid().problems
    assert problem.file == "sub/more.yaml"
    assert problem.field == "services.x.provider"


def test_an_included_file_has_a_project_folder_and_env_files_of_its_own(apps: Apps) -> None:
    more = {
        "docker-compose.yaml": COMPOSE
        + "include:\n- sub/a.yaml\n- {path: b.yaml, project_directory: other, env_file: [b.env]}\n",
        "sub/a.yaml": "services:\n  a: {image: 'x:${TAG}', label_file: l.env}\n",
        "sub/.env": "TAG=1\n",
        "sub/l.env": "l=1\n",
        "b.yaml": "services:\n  b: {image: x, env_file: e.env}\n",
        "b.env": "X=1\n",
        "other/e.env": "E=1\n",
    }
    folder = apps.put(more=more)
    before = apps.present().revision
    for path in more:
        text = (folder / path).read_text()
        (folder / path).write_text(text + "# changed\n")
        now = apps.present().revision
        assert now != before, path
        before = now


@pytest.mark.parametrize(
    ("key", "named", "rest"),
    [("secrets", "keys", "keys/a"), ("configs", "conf", "conf/b")],
)
def test_a_named_folder_is_no_file_and_no_mistake(apps: Apps, key: str, named: str, rest: str) -> None:
    apps.put(more={"docker-compose.yaml": COMPOSE + f"{key}:\n  x: {{file: ./{named}}}\n", rest: "1"})
    apps.present()


def test_an_env_file_of_the_host_may_be_a_device(apps: Apps) -> None:
    apps.put(more={"docker-compose.yaml": COMPOSE + "    env_file: /dev/null\n"})
    apps.present()


def test_a_file_outside_that_is_there_is_an_input_and_one_that_is_not_is_composes_business(
    apps: Apps, tmp_path: Path
) -> None:
    outside = tmp_path / "shared.env"
    apps.put(more={"docker-compose.yaml": COMPOSE + f"    env_file: {outside}\n"})
    without = apps.present().revision
    outside.write_text("A=1\n")
    assert apps.present().revision != without


def test_a_link_to_nothing_is_a_file_that_is_not_there(apps: Apps) -> None:
    folder = apps.put(more={"docker-compose.yaml": COMPOSE + "    env_file: app.env\n"})
    (folder / "app.env").symlink_to("nowhere")
    assert apps.invalid().reason == "Incomplete"


def test_all_base_files_are_named_and_only_the_first_override_counts(apps: Apps) -> None:
    folder = apps.put(more={"docker-compose.override.yml": COMPOSE, "compose.override.yaml": COMPOSE})
    assert [Path(path).name for path in apps.present().compose_files] == [
        "docker-compose.yaml",
        "compose.override.yaml",
    ]
    assert "docker-compose.override.yml" in apps.present().warnings[0]
    for name in ("compose.yaml", "docker-compose.yml"):
        (folder / name).write_text(COMPOSE)
    for name in ("compose.yaml", "docker-compose.yml", "docker-compose.yaml"):
        assert name in apps.invalid().message


# -- what counts as a change ------------------------------------------------------------------------------


@pytest.mark.fault("A12")
def test_edits_faster_than_the_clock_of_the_disk_are_seen(apps: Apps) -> None:
    folder = apps.put()
    seen = set()
    for n in range(100, 200):
        with (folder / "docker-compose.yaml").open("r+") as file:
            file.write(f"# {n}\n")
        seen.add(apps.revision())
    assert len(seen) == 100


def test_an_app_that_did_not_change_is_not_read_again(apps: Apps, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = apps.put(more={".env": "A=1\n", "scripts/x.sh": "true"})
    apps.clock.ahead = 60
    before = apps.present()
    monkeypatch.setattr(files, "read", _refuse(folder))
    assert apps.present().revision == before.revision


def _refuse(folder: Path) -> Callable[..., bytes | None]:
    real = files.read

    def read(path: Path, *args: Any, **kwargs: Any) -> bytes | None:
        assert not path.is_relative_to(folder), path
        return real(path, *args, **kwargs)

    return read


def test_every_script_counts_however_deep_and_large_and_no_dropping_does(apps: Apps) -> None:
    folder = apps.put(more={"scripts/a.sh": "true"})
    (folder / "scripts/dump.sql").write_bytes(b"x" * 3_000_000)
    revisions = [apps.present().revision]
    (folder / "scripts/lib").mkdir()
    (folder / "scripts/lib/b.sh").write_text("1")
    revisions.append(apps.present().revision)
    with (folder / "scripts/dump.sql").open("r+") as file:
        file.write("y")
    revisions.append(apps.present().revision)
    assert len(set(revisions)) == 3
    os.mkfifo(folder / "scripts/pipe")
    (folder / "scripts/.a.sh.swp").write_text("x")
    (folder / "scripts/lib/loop").symlink_to("..")
    assert apps.present().revision == revisions[-1]


def test_an_input_taken_away_from_a_known_app_is_a_change_that_has_to_settle(apps: Apps) -> None:
    folder = apps.put(more={"compose.override.yaml": COMPOSE})
    apps.known.add("web")
    apps.clock.ahead = 100
    assert apps.present().quiet > 90
    (folder / "compose.override.yaml").unlink()
    assert apps.present().quiet < 1
    apps.clock.ahead = 105
    assert 4 < apps.present().quiet < 10


def test_whether_one_app_is_on_record_needs_no_look_at_all_records(apps: Apps) -> None:
    for n in range(20):
        apps.put(f"app{n}")
        if n % 2:
            apps.known.add(f"app{n}")
    for n in range(20):
        apps.present(f"app{n}")
        apps.present(f"app{n}")
    assert apps.known.looks == 0


def test_the_folder_of_a_missing_file_is_watched_for(apps: Apps) -> None:
    apps.put(more={"docker-compose.yaml": COMPOSE + "    env_file: conf/a.env\n"})
    assert apps.invalid().reason == "Incomplete"
    assert apps.tree.is_input("web", "conf")
    assert apps.tree.is_input("web", "conf/a.env")
    assert not apps.tree.is_input("web", "con")


# -- `.env` -----------------------------------------------------------------------------------------------


def test_a_path_that_a_person_makes_later_needs_no_edit(apps: Apps, tmp_path: Path) -> None:
    media = tmp_path / "media"
    apps.put(more={".env": f"MEDIA={media}\n"}, settings=[{"name": "MEDIA", "type": "path"}])
    assert apps.present().unset
    media.mkdir()
    assert not apps.present().unset


def test_the_services_own_state_is_no_place_for_an_app_under_any_name(apps: Apps, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(apps.state)
    apps.state = tmp_path / "link"
    apps.tree = apps.another()
    for path in (tmp_path / "state", tmp_path / "link"):
        apps.put(more={".env": f"MEDIA={path}\n"}, settings=[{"name": "MEDIA", "type": "path"}])
        assert "must not lie in" in str(apps.present().unset)


@pytest.mark.parametrize(
    ("value", "fine"),
    [
        ("5", True),
        ("-1.5", True),
        ("1e3", True),
        (".5", True),
        ("nan", False),
        ("inf", False),
        ("1_000", False),
        ("0x1f", False),
    ],
)
def test_a_number_is_one_as_people_write_it(apps: Apps, value: str, fine: bool) -> None:
    apps.put(more={".env": f"N={value}\n"}, settings=[{"name": "N", "type": "number"}])
    assert bool(apps.present().unset) is not fine


def test_blank_is_empty_for_a_required_setting(apps: Apps) -> None:
    apps.put(more={".env": 'N="  "\n'}, settings=[{"name": "N", "required": True}])
    assert "is required and empty" in str(apps.present().unset)


@pytest.mark.fault("C10")
def test_what_a_person_saves_during_a_merge_is_kept(apps: Apps, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = apps.put(more={".env": "A=1\n"})
    real, saves = os.fsync, iter(["A=1\n# by hand\nB=2\n", "A=1\n# by hand\nB=3\n"])

    def fsync(descriptor: int) -> None:
        if (text := next(saves, None)) is not None:
            (folder / "new").write_text(text)
            (folder / "new").replace(folder / ".env")
        real(descriptor)

    monkeypatch.setattr(files.os, "fsync", fsync)
    assert apps.tree.merge_env(apps.present(), {"A": "x y", "C": "4"}) == ("A", "C")
    assert (folder / ".env").read_text() == 'A="x y"\n# by hand\nB=3\nC=4\n'
    assert [entry.name for entry in folder.iterdir() if entry.name.startswith(".homeport-")] == []


@pytest.mark.fault("C10")
def test_no_line_is_lost_while_a_person_saves_again_and_again(apps: Apps) -> None:
    folder = apps.put(more={".env": "N=0\n"})
    app = apps.present()
    done = threading.Event()
    lost = []

    def person() -> None:
        for n in range(1, 150):
            while True:
                before = (folder / ".env").read_text()
                text = before.replace(f"N={n - 1}\n", f"N={n}\n")
                (folder / "new").write_text(text)
                if (folder / ".env").read_text() == before:
                    break
            (folder / "new").replace(folder / ".env")
            time.sleep(0.0005)
            if f"N={n}\n" not in (folder / ".env").read_text():
                lost.append(n)
                return
        done.set()

    thread = threading.Thread(target=person)
    thread.start()
    merged = 0
    while thread.is_alive():
        try:
            apps.tree.merge_env(app, {"H": str(merged)})
        except WriteFailed:
            continue
        merged += 1
    thread.join()
    assert not lost
    assert done.is_set()


@pytest.mark.fault("C09")
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EIO])
def test_a_write_that_fails_leaves_the_old_file_whole_and_nothing_else(
    apps: Apps, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    folder = apps.put(more={".env": "A=1\n"})
    app = apps.present()

    def full(_: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(WriteFailed, match=os.strerror(code)):
        apps.tree.merge_env(app, {"A": "2"})
    assert (folder / ".env").read_text() == "A=1\n"
    assert [entry.name for entry in folder.iterdir() if entry.name.startswith(".homeport-")] == []


def test_what_a_crash_left_is_replaced_and_never_written_through(apps: Apps, tmp_path: Path) -> None:
    folder = apps.put(more={".env": "A=1\n"})
    victim = tmp_path / "victim"
    victim.write_text("precious")
    os.link(victim, folder / ".homeport-.env.new")
    apps.tree.merge_env(apps.present(), {"A": "2"})
    assert victim.read_text() == "precious"
    assert (folder / ".env").read_text() == "A=2\n"


@pytest.mark.fault("C09")
@pytest.mark.fault("B07")
@pytest.mark.parametrize("kind", ["folder", "fifo", "link", "link to nothing"])
def test_only_a_plain_env_file_is_written(apps: Apps, kind: str) -> None:
    folder = apps.put()
    app = apps.present()
    match kind:
        case "folder":
            (folder / ".env").mkdir()
        case "fifo":
            os.mkfifo(folder / ".env")
        case "link":
            (folder / ".env").symlink_to("docker-compose.yaml")
        case _:
            (folder / ".env").symlink_to("nowhere")
    with pytest.raises(WriteFailed) as caught:
        apps.tree.merge_env(app, {"A": "2"})
    assert caught.value.reason == "EnvWriteFailed"
    assert (folder / "docker-compose.yaml").read_text() == COMPOSE
    assert not (folder / "nowhere").exists()


def test_values_that_cannot_be_written_are_a_failed_write(apps: Apps) -> None:
    apps.put()
    with pytest.raises(WriteFailed):
        apps.tree.merge_env(apps.present(), {"A": "x\0y"})


@pytest.mark.fault("B07")
@pytest.mark.parametrize("path", ["scripts/loop", "scripts/x\0.sh", "scripts", "scripts/pipe"])
def test_an_odd_script_is_a_failed_hook_and_no_crash(apps: Apps, path: str) -> None:
    folder = apps.put(more={"scripts/a.sh": "true"})
    (folder / "scripts/loop").symlink_to("loop")
    os.mkfifo(folder / "scripts/pipe")
    with pytest.raises(AppError) as caught:
        apps.tree.read_script("web", path)
    assert caught.value.reason == "HookFailed"


def test_a_mounted_path_that_is_a_link_to_nothing_is_missing(apps: Apps, tmp_path: Path) -> None:
    (tmp_path / "dangling").symlink_to("nowhere")
    paths = [str(tmp_path), str(tmp_path / "dangling"), str(tmp_path / "none")]
    assert apps.tree.missing_paths(paths) == tuple(paths[1:])


def test_a_folder_that_is_not_there_cannot_be_checked(tmp_path: Path) -> None:
    checked = load_folder(tmp_path / "none")
    assert isinstance(checked, Invalid)
    assert "there is no such folder" in checked.message

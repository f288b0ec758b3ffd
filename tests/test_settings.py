"""Flag before environment before file before default; and a wrong value says where it came from."""

from __future__ import annotations

import os
import traceback
from pathlib import Path

import pytest

from controller import places
from controller.settings import Settings, SettingsInvalid


@pytest.fixture(autouse=True)
def _bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in os.environ:
        if name.startswith(("HOMEPORT_", "FURTKA_")):
            monkeypatch.delenv(name)
    monkeypatch.setattr(places, "DEFAULT_CONFIG", tmp_path / "default.toml")


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "homeport.toml"
    path.write_text('workers = 2\nsettle-new = 5\nrollback = "never"\ncatalog = ["/a", "/b"]\n')
    return path


def test_the_defaults_are_those_of_the_documentation() -> None:
    found = Settings.load()
    assert (found.apps, found.state) == (Path("/var/lib/homeport/apps"), Path("/var/lib/homeport/state"))
    assert (found.settle, found.settle_new, found.removal_settle) == (0.3, 2, 10)
    assert (found.rescan, found.resync, found.backoff_base, found.backoff_max) == (30, 300, 1, 300)
    assert (found.health_timeout, found.install_timeout, found.start_timeout) == (300, 300, 30)
    assert (found.workers, found.stable_after, found.shutdown_grace, found.prune) == (8, 10, 30, True)
    assert (found.rollback, found.volume_prefix, found.catalog) == ("auto", "furtka", ())
    assert (found.log_format, found.log_level, found.log_file, found.listen) == ("auto", "info", None, None)


def test_each_source_wins_over_the_next(monkeypatch: pytest.MonkeyPatch, config: Path) -> None:
    assert Settings.load({"config": config}).workers == 2
    monkeypatch.setenv("HOMEPORT_WORKERS", "3")
    assert Settings.load({"config": config}).workers == 3
    assert Settings.load({"config": config, "workers": 4}).workers == 4
    assert Settings.load({"config": config, "workers": None}).workers == 3


def test_a_file_may_spell_a_setting_as_the_flag_is_spelt(config: Path) -> None:
    found = Settings.load({"config": config})
    assert (found.settle_new, found.rollback, found.catalog) == (5, "never", (Path("/a"), Path("/b")))


def test_the_default_file_is_read_where_it_exists(tmp_path: Path) -> None:
    (tmp_path / "default.toml").write_text("workers = 5")
    assert Settings.load().workers == 5


def test_furtkas_variable_names_the_apps_unless_ours_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FURTKA_APPS_DIR", "/furtka")
    assert Settings.load().apps == Path("/furtka")
    monkeypatch.setenv("HOMEPORT_APPS", "/ours")
    assert Settings.load().apps == Path("/ours")
    assert Settings.load({"apps": "/flag"}).apps == Path("/flag")


def test_furtkas_variable_wins_over_the_file(monkeypatch: pytest.MonkeyPatch, config: Path) -> None:
    config.write_text('apps = "/file"')
    monkeypatch.setenv("FURTKA_APPS_DIR", "/furtka")
    assert Settings.load({"config": config}).apps == Path("/furtka")


def test_an_empty_variable_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOMEPORT_WORKERS", "")
    monkeypatch.setenv("FURTKA_APPS_DIR", "")
    assert (Settings.load().workers, Settings.load().apps) == (8, Path("/var/lib/homeport/apps"))


def test_the_catalog_of_the_environment_is_split_at_colons(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOMEPORT_CATALOG", "/a:/b c:")
    assert Settings.load().catalog == (Path("/a"), Path("/b c"))


def test_paths_are_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    found = Settings.load(
        {"apps": "apps", "state": "s", "log_file": "log", "listen": "sock", "catalog": ("c",)}
    )
    assert (found.apps, found.state, found.catalog) == (tmp_path / "apps", tmp_path / "s", (tmp_path / "c",))
    assert (found.log_file, found.listen) == (tmp_path / "log", tmp_path / "sock")


@pytest.mark.parametrize(
    ("name", "value"),
    [("workers", 0), ("settle", -1), ("stable_after", "nan"), ("rescan", 0), ("rollback", "maybe"), ("prune", "what"),
     ("log_format", "xml"), ("volume_prefix", "a/b"), ("health_timeout", "soon")],
)  # fmt: skip
def test_a_wrong_value_names_the_setting_and_where_it_came_from(
    name: str, value: object, monkeypatch: pytest.MonkeyPatch, config: Path
) -> None:
    with pytest.raises(SettingsInvalid, match=f"--{name.replace('_', '-')}"):
        Settings.load({name: value})
    config.write_text(f'{name} = "{value}"')
    with pytest.raises(SettingsInvalid, match=str(config)):
        Settings.load({"config": config})
    monkeypatch.setenv(f"HOMEPORT_{name.upper()}", str(value))
    with pytest.raises(SettingsInvalid, match=f"HOMEPORT_{name.upper()}"):
        Settings.load()


@pytest.mark.parametrize("content", ["workers = ", "wokers = 3", "[workers]\nx = 1"])
def test_a_wrong_file_is_named(content: str, config: Path) -> None:
    config.write_text(content)
    with pytest.raises(SettingsInvalid, match=str(config)):
        Settings.load({"config": config})


def test_a_file_that_was_asked_for_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(SettingsInvalid, match="no\\.toml"):
        Settings.load({"config": tmp_path / "no.toml"})


def test_every_setting_says_what_it_is_for() -> None:
    assert [name for name, field in Settings.model_fields.items() if not field.description] == []


def test_a_settings_file_that_is_no_file_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(SettingsInvalid, match="pipe: is not a regular file"):
        Settings.load({"config": tmp_path / "pipe"})


def test_a_path_that_cannot_be_followed_is_refused_by_name() -> None:
    with pytest.raises(SettingsInvalid, match=r"--apps: .*cannot be followed"):
        Settings.load({"apps": "~nobody-of-that-name/apps"})


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:9707", ("127.0.0.1", 9707)),
        ("127.8.9.1:1", ("127.8.9.1", 1)),
        ("[::1]:65535", ("::1", 65535)),
    ],
)
def test_the_api_listens_on_a_loopback_address_when_asked(text: str, address: tuple[str, int]) -> None:
    found = Settings.load({"listen_tcp": text})
    assert found.tcp == address
    assert str(found.tcp) == text


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("0.0.0.0:9707", "other machines could ask"),
        ("[::]:9707", "other machines could ask"),
        ("192.168.1.1:9707", "other machines could ask"),
        ("[fe80::1]:9707", "other machines could ask"),
        ("localhost:9707", "is not like 127.0.0.1:9707"),
        ("9707", "is not like 127.0.0.1:9707"),
        ("127.0.0.1", "is not like 127.0.0.1:9707"),
        ("127.0.0.1:0", "is not like 127.0.0.1:9707"),
        ("127.0.0.1:65536", "is not like 127.0.0.1:9707"),
        ("127.0.0.1:\uff19", "is not like 127.0.0.1:9707"),
        ("::1:9707", "is not like 127.0.0.1:9707"),
        ("127.1:9707", "no IP address"),
        ("[127.0.0.1:9707", "is not like 127.0.0.1:9707"),
    ],
)
def test_an_address_that_is_not_surely_loopback_is_refused(text: str, rule: str) -> None:
    with pytest.raises(SettingsInvalid, match=rule) as told:
        Settings.load({"listen_tcp": text})
    assert "--listen-tcp" in str(told.value)


def test_without_being_asked_the_api_has_no_port() -> None:
    assert Settings().tcp is None


def test_a_default_file_that_others_alone_may_read_is_as_one_that_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "default.toml"
    file.write_text("settle = 7\n")
    assert Settings.load().settle == 7
    monkeypatch.setattr(places, "is_closed", lambda path: path == file)  # nothing is closed to root
    assert Settings.load().settle == Settings().settle


# -- places: what a command needs that only asks ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flags", "environment"),
    [
        ({}, {}),
        ({"apps": Path("a/../b"), "state": Path("/s")}, {"HOMEPORT_APPS": "/other"}),
        ({}, {"HOMEPORT_APPS": "~/apps", "HOMEPORT_STATE": "/s", "HOMEPORT_LISTEN": "/run/h.sock"}),
        ({}, {"FURTKA_APPS_DIR": "/furtka"}),
        ({}, {"HOMEPORT_APPS": "/apps", "FURTKA_APPS_DIR": "/furtka", "HOMEPORT_WORKERS": ""}),
    ],
)
def test_places_are_those_of_the_settings(
    flags: dict[str, Path], environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    quick, whole = places.find(flags, Settings.model_fields), Settings.load(flags)
    assert quick is not None
    assert (quick.apps, quick.state, quick.socket, quick.resync) == (
        whole.apps, whole.state, whole.socket, whole.resync,
    )  # fmt: skip


def test_places_in_a_file_count_and_anything_else_in_it_wants_all_settings(tmp_path: Path) -> None:
    file = tmp_path / "default.toml"
    file.write_text(f'apps = "{tmp_path}/apps"\n')
    found = places.find({}, Settings.model_fields)
    assert found is not None
    assert found.apps == tmp_path / "apps"
    file.write_text("resync = 30\n")
    assert places.find({}, Settings.model_fields) is None


@pytest.mark.parametrize(
    "environment",
    [
        {"HOMEPORT_WORKERS": "none"},
        {"HOMEPORT_APPS": "/a", "HOMEPORT_STATE": "/a/s"},
        {"HOMEPORT_APPS": "~nobody-has-it/a"},
    ],
)
def test_what_may_be_wrong_is_left_to_the_settings(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert places.find({}, Settings.model_fields) is None


def test_addresses_to_notify_are_parted_by_space_and_never_shown(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOMEPORT_NOTIFY", "ntfy://a:secret@host/x\n json://other:8080/y,z")
    settings = Settings.load()
    assert settings.notify == ("ntfy://a:secret@host/x", "json://other:8080/y,z")
    assert "secret" not in repr(settings)
    monkeypatch.delenv("HOMEPORT_NOTIFY")
    file = tmp_path / "homeport.toml"
    for wrong in ('notify = {url = "json://secret"}', 'notify = [["json://secret"]]'):
        file.write_text(wrong)
        with pytest.raises(SettingsInvalid) as raised:
            Settings.load({"config": file})
        assert "notify" in str(raised.value)
        assert "secret" not in "".join(traceback.format_exception(raised.value))

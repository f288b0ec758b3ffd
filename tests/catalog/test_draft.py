"""A first manifest says what the compose file says, and what it could not tell."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from controller.catalog.draft import Draft, draft, write
from controller.catalog.errors import Refused, WrongUse
from controller.model.desired import Present
from controller.source.reading import load_folder


def folder(parent: Path, compose: str, name: str = "web", file: str = "docker-compose.yaml") -> Path:
    path = parent / name
    path.mkdir(exist_ok=True)
    (path / file).write_text(compose)
    return path


def drafted(path: Path, name: str | None = None) -> Draft:
    return draft(path, name, volume_prefix="furtka")


def ports(parent: Path, *mappings: str) -> object:
    lines = "".join(f"\n      - {mapping}" for mapping in mappings)
    return drafted(folder(parent, f"services:\n  a:\n    image: x\n    ports:{lines}\n")).manifest["ports"]


def settings(parent: Path, compose: str) -> dict[str, tuple[object, object]]:
    found = drafted(folder(parent, compose)).manifest["settings"]
    return {setting["name"]: (setting["required"], setting["default"]) for setting in found}


def test_what_is_written_is_a_valid_app(tmp_path: Path) -> None:
    path = folder(
        tmp_path,
        "services:\n  a:\n    image: x:${TAG:-1}\n    ports: ['${PORT:-8080}:80']\n    volumes: ['d:/d']\n"
        "volumes:\n  d: {name: furtka_web_data, external: true}\n",
    )
    write(drafted(path))
    app = load_folder(path)
    assert isinstance(app, Present)
    assert (app.manifest.name, app.manifest.display_name, app.manifest.version) == ("web", "Web", "1.0.0")
    assert (app.manifest.volumes, app.manifest.ports, app.manifest.icon) == (["data"], [8080], "icon.svg")
    assert (app.env, app.warnings) == ({"TAG": "1", "PORT": "8080"}, ())


def test_a_manifest_that_is_there_is_left_alone(tmp_path: Path) -> None:
    path = folder(tmp_path, "services: {}\n")
    late = drafted(path)
    (path / "manifest.json").write_text("mine")
    with pytest.raises(Refused, match=r"manifest\.json is there already; edit it"):
        drafted(path)
    with pytest.raises(Refused, match="is there already"):
        write(late)
    assert (path / "manifest.json").read_text() == "mine"
    assert {entry.name for entry in path.iterdir()} == {"manifest.json", "docker-compose.yaml"}


@pytest.mark.parametrize(
    ("written", "name"),
    [("My App", "my-app"), ("9lives", "lives"), ("Nginx.old", "nginx-old"), ("web", "web")],
)
def test_the_name_is_the_folders_made_valid_and_a_change_is_told(
    tmp_path: Path, written: str, name: str
) -> None:
    found = drafted(folder(tmp_path, "services: {}\n", written))
    assert found.manifest["name"] == name
    assert any(f"rename the folder {written} to {name}" in line for line in found.check) == (written != name)


def test_a_folder_that_gives_no_name_needs_one(tmp_path: Path) -> None:
    path = folder(tmp_path, "services: {}\n", "123")
    with pytest.raises(WrongUse, match="--name"):
        drafted(path)
    with pytest.raises(WrongUse, match=r"\^\[a-z\]"):
        drafted(path, "No")
    assert drafted(path, "numbers").manifest["name"] == "numbers"


def test_settings_are_the_variables_in_order_of_appearance(tmp_path: Path) -> None:
    compose = (
        "# ${IN_A_COMMENT}\nservices:\n  a:\n    image: x:${TAG:-1.2}\n    environment:\n      ${NOT_A_KEY}: a\n"
        "      B: ${MUST:?say it}\n      C: $PLAIN and $$NOT and $${NOT}\n      D: ${MAYBE:+set}\n      E: ${EMPTY-}\n"
        "      F: ${OUTER:-${INNER:-deep}}\n      G: ${LATER:-x} ${LATER}\n      H: ${TAG}\n"
    )
    assert settings(tmp_path, compose) == {
        "TAG": (True, "1.2"),
        "MUST": (True, None),
        "PLAIN": (True, None),
        "MAYBE": (False, None),
        "EMPTY": (False, ""),
        "OUTER": (False, None),
        "INNER": (False, "deep"),
        "LATER": (True, "x"),
    }


def test_the_override_file_counts_and_another_one_does_not(tmp_path: Path) -> None:
    folder(tmp_path, "services: {a: {image: '${O}'}}\n", file="docker-compose.override.yaml")
    folder(tmp_path, "services: {a: {image: '${N}'}}\n", file="docker-compose.prod.yaml")
    assert list(settings(tmp_path, "services: {a: {image: '${B}'}}\n")) == ["B", "O"]


def test_a_secret_is_shown_as_one(tmp_path: Path) -> None:
    found = drafted(folder(tmp_path, "services: {a: {image: '${DB_PASSWORD}${API_TOKEN}${COMPASS}'}}\n"))
    assert [setting["type"] for setting in found.manifest["settings"]] == ["password", "password", "text"]


@pytest.mark.parametrize("name", ["lower", "COMPOSE_PROJECT_NAME", "HOME", "DOCKER_HOST"])
def test_a_variable_that_cannot_be_a_setting_is_told(tmp_path: Path, name: str) -> None:
    found = drafted(folder(tmp_path, f"services: {{a: {{image: '${{{name}}}'}}}}\n"))
    assert found.manifest["settings"] == []
    assert any(line.startswith(f"settings: {name} is no name") for line in found.check)


def test_ports_are_those_of_the_host(tmp_path: Path) -> None:
    assert ports(tmp_path, "'80'", "80", "127.0.0.1::80") == []
    assert ports(tmp_path, "8022:22", "22:22", "'[::1]:8080:80/tcp'", "127.0.0.1:53:53/udp", "22:2222") == [
        8022,
        22,
        8080,
        53,
    ]
    assert ports(tmp_path, "3000-3002:3000-3002") == [3000, 3001, 3002]
    assert ports(
        tmp_path, "{target: 80, published: '8443'}", "{target: 81, published: 9}", "{target: 1}"
    ) == [8443, 9]


@pytest.mark.parametrize("mapping", ["'${P}:80'", "1-60000:1-60000", "99999:80", "[1]", "x:80"])
def test_a_port_that_cannot_be_told_is_said(tmp_path: Path, mapping: str) -> None:
    found = drafted(folder(tmp_path, f"services:\n  a:\n    ports:\n      - {mapping}\n"))
    assert found.manifest["ports"] == []
    assert any("services.a.ports[0]" in line for line in found.check)


def test_a_port_is_looked_up_in_env(tmp_path: Path) -> None:
    path = folder(tmp_path, "services: {a: {ports: ['${P}:80']}}\n")
    (path / ".env").write_text("P=8081\n")
    assert drafted(path).manifest["ports"] == [8081]


def test_volumes_are_the_external_ones_of_this_app(tmp_path: Path) -> None:
    compose = (
        "services: {}\nvolumes:\n  own:\n  furtka_web_a: {external: true}\n  b: {external: {name: furtka_web_b}}\n"
        "  c: {name: furtka_web_c}\n  d: {external: false, name: furtka_web_d}\n  e: {external: true, name: other}\n"
    )
    found = drafted(folder(tmp_path, compose))
    assert found.manifest["volumes"] == ["a", "b"]
    assert [line for line in found.check if "volumes" in line] == [
        "volumes: other is external, but not named furtka_web_…; Homeport makes only such ones, so it has to be there"
    ]


@pytest.mark.parametrize(
    ("file", "compose", "rule"),
    [
        ("readme.txt", "", "a compose file: is not there"),
        ("compose.yaml", "services: {\n", "compose.yaml: line 2: is not YAML"),
        ("compose.yaml", "- a\n", "must be a mapping"),
        ("compose.yaml", "a: 1\na: 2\n", "is there twice"),
    ],
)
def test_without_a_readable_compose_file_nothing_is_drafted(
    tmp_path: Path, file: str, compose: str, rule: str
) -> None:
    with pytest.raises(Refused, match=rule):
        drafted(folder(tmp_path, compose, file=file))


def test_two_compose_files_are_refused(tmp_path: Path) -> None:
    folder(tmp_path, "services: {}\n", file="compose.yaml")
    with pytest.raises(Refused, match=r"there is also docker-compose\.yaml; keep one"):
        drafted(folder(tmp_path, "services: {}\n"))


def test_the_drafts_of_the_samples_agree_with_their_manifests(tmp_path: Path) -> None:
    samples = Path(__file__).parents[2] / "manifests"
    for sample in sorted(path.parent for path in samples.glob("*/manifest.json")):
        real = json.loads((sample / "manifest.json").read_text())
        found = drafted(folder(tmp_path, (sample / "docker-compose.yaml").read_text(), sample.name)).manifest
        assert {key: found[key] for key in ("name", "display_name", "volumes", "ports", "icon")} == {
            key: real[key] for key in ("name", "display_name", "volumes", "ports", "icon")
        }
        assert {entry["name"] for entry in real.get("settings", [])} <= {
            entry["name"] for entry in found["settings"]
        }

"""Broken and odd manifests and compose files: what runs goes on, and what is wrong is said so that it can be mended."""

from __future__ import annotations

import json
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from controller.model.facts import LAST_RESYNC
from controller.status.store import SqliteStore
from rig.engine import api
from rig.service import SLEEPER, Home, ready_of
from rig.waiting import wait_until

pytestmark = pytest.mark.engine

until = partial(wait_until, timeout=40.0)
"""A busy machine takes its time."""

SLEEP = '["sleep", "100000"]'
SERVICE = SLEEPER.removeprefix("services:\n").removeprefix("  main:\n")
"""A service's fields, for compose files with several services."""
NETWORKED = SLEEPER.replace("    network_mode: none\n", "")
WORD = SLEEPER + "    environment: {WORD: '1'}\n"


def edit(folder: Path, compose: str | bytes, name: str = "docker-compose.yaml") -> None:
    """As a careful person saves: in one rename."""
    new = folder / f".{name}.swp"
    new.write_bytes(compose.encode() if isinstance(compose, str) else compose)
    new.replace(folder / name)


def wait_generation(home: Home, short: str, generation: int, *words: str, timeout: float = 40) -> str:
    """Waits for one of these words said of that generation; answers with reason and message."""
    found: dict[str, Any] = {}

    def there() -> bool:
        found.update(home.status(short) or {})
        return found.get("generation") == generation and found["summary"] in words

    try:
        until(there, "", timeout=timeout)
    except AssertionError:
        said = f"{found.get('summary')} at generation {found.get('generation')}: {ready_of(found)['message']}"
        raise AssertionError(f"{short} is not {words} at generation {generation} but {said}") from None
    condition = ready_of(found)
    return f"{condition['reason']}: {condition['message']}"


def start_all(home: Home, *shorts: str) -> None:
    home.start()
    for short in shorts:
        home.wait(short, "Ready", timeout=40)


def is_good(home: Home, short: str) -> bool:
    """Whether what runs now is what an update that fails would be taken back to."""
    with closing(SqliteStore.open_readonly(home.state)) as store:
        record = store.record(home.name(short))
    return record is not None and record.target is not None and record.target.good


def last_resync(home: Home) -> str:
    with closing(SqliteStore.open_readonly(home.state)) as store:
        return store.get(LAST_RESYNC) or ""


def of(ids: dict[str, str], home: Home, short: str) -> dict[str, str]:
    return {name: who for name, who in ids.items() if name.startswith(f"{home.name(short)}-")}


# -- forms of text -------------------------------------------------------------------------------------------

EDITED = WORD.replace("'1'", "'2'")
BROKEN: dict[str, tuple[bytes, tuple[str, ...]]] = {
    "yaml": (f"{EDITED}   oops: [\n".encode(), ("docker-compose.yaml", "line 9")),
    "utf16": (EDITED.encode("utf-16"), ("docker-compose.yaml", "is not UTF-8")),
    "empty": (b"", ("docker-compose.yaml", "is empty")),
    "twice": ((EDITED + "    environment: {}\n").encode(), ("docker-compose.yaml", "environment", "line 9")),
}
HARMLESS = {
    "bom": b"\xef\xbb\xbf" + EDITED.encode(),
    "crlf": EDITED.replace("\n", "\r\n").encode(),
}


@pytest.mark.fault("B01")
def test_every_broken_form_of_a_file_keeps_what_runs_and_names_file_and_place(home: Home) -> None:
    home.settings["resync"] = "2"
    shorts = [*BROKEN, *HARMLESS, "both", "json", "fine"]
    folders = {short: home.put(short, WORD) for short in shorts}
    start_all(home, *shorts)
    before = home.ids()
    wrong: dict[str, tuple[str, ...]] = {short: words for short, (_, words) in BROKEN.items()}
    for short, (data, _) in BROKEN.items():
        edit(folders[short], data)
    for short, data in HARMLESS.items():
        edit(folders[short], data)
    edit(folders["both"], EDITED, "compose.yaml")
    wrong["both"] = ("compose.yaml", "there is also docker-compose.yaml", "keep one")
    manifest = (folders["json"] / "manifest.json").read_text()
    edit(folders["json"], manifest[:-1] + ",}", "manifest.json")
    wrong["json"] = ("manifest.json", "line 1")
    for short, words in wrong.items():
        text = wait_generation(home, short, 2, "Invalid")
        assert all(word in text for word in words), f"{short} says {text}"
    for short in HARMLESS:
        wait_generation(home, short, 2, "Ready")
        assert home.env_of(short)["WORD"] == "2"
    for short in (*wrong, "fine"):
        assert of(home.ids(), home, short) == of(before, home, short)
    lines = {short: len(home.log(short=short)) for short in wrong}
    synced = last_resync(home)
    until(lambda: last_resync(home) > synced, "everything is looked at again")
    home.run("reconcile")
    assert lines == {short: len(home.log(short=short)) for short in wrong}, (
        "what is as it was is not said again"
    )
    assert not home.failures()
    for short in BROKEN:
        edit(folders[short], EDITED)
    (folders["both"] / "compose.yaml").unlink()
    edit(folders["json"], manifest, "manifest.json")
    for short in wrong:
        wait_generation(home, short, 3, "Ready")


# -- containers that cannot be ----------------------------------------------------------------------------------


@pytest.mark.fault("B03")
@pytest.mark.fault("B04")
def test_a_container_that_the_engine_will_not_start_leaves_the_last_good_one_or_brings_it_back(
    home: Home,
) -> None:
    home.settings["stable-after"] = "2"
    plain = WORD.replace("    init: true\n", "")
    bad = {
        "user": (plain + "    user: nosuchuser\n", "nosuchuser"),
        "device": (plain + "    devices: ['/dev/nosuch:/dev/nosuch']\n", "/dev/nosuch"),
        "exits0": (plain.replace(SLEEP, '["true"]') + "    restart: unless-stopped\n", "exit 0"),
    }
    refused = {"memory": (plain + "    mem_limit: 1m\n", "memory limit")}
    folders = {short: home.put(short, WORD) for short in (*bad, *refused, "fine")}
    start_all(home, *folders)
    for short in (*bad, *refused):
        until(lambda s=short: is_good(home, s), f"{short} is good")
    before = home.ids()
    for short, (compose, _) in {**bad, **refused}.items():
        edit(folders[short], compose)
    for short, (_, words) in bad.items():
        text = wait_generation(home, short, 2, "RolledBack", timeout=60)
        assert words in text, f"{short} says {text}"
        assert "generation 1 runs again" in text
        assert home.env_of(short)["WORD"] == "1"
    text = wait_generation(home, "memory", 2, "Failed", "RolledBack")
    assert refused["memory"][1] in text.lower()
    for short in ("memory", "fine"):
        assert of(home.ids(), home, short) == of(before, home, short), "it was never down"
    for folder in folders.values():
        edit(folder, WORD + "    labels: {mended: '1'}\n")
    for short in (*bad, *refused):
        wait_generation(home, short, 3, "Ready")


# -- ports ---------------------------------------------------------------------------------------------------------


@pytest.mark.fault("B05")
def test_a_port_that_another_app_or_a_sibling_has_is_said_before_anything_is_touched(
    home: Home, free_port: int
) -> None:
    port = f"    ports: ['127.0.0.1:{free_port}:80']\n"
    side = NETWORKED.partition("services:\n")[2].replace("main:", "side:")
    first = home.put("first", NETWORKED + port)
    second = home.put("second", NETWORKED)
    twice = home.put("twice", NETWORKED)
    start_all(home, "first", "second", "twice")
    before = home.ids()
    edit(second, NETWORKED + port)
    edit(
        twice,
        NETWORKED + port.replace(str(free_port), "45999") + side + port.replace(str(free_port), "45999"),
    )
    text = wait_generation(home, "second", 2, "Failed")
    assert f"{free_port} is held by app {home.name('first')}" in text
    text = wait_generation(home, "twice", 2, "Failed", "Invalid")
    assert "45999" in text
    assert "side" in text
    assert home.ids() == before
    edit(first, NETWORKED)
    wait_generation(home, "first", 2, "Ready")
    wait_generation(home, "second", 2, "Ready")
    edit(twice, NETWORKED)
    wait_generation(home, "twice", 3, "Ready")
    assert of(home.ids(), home, "twice") == of(before, home, "twice")


# -- names -----------------------------------------------------------------------------------------------------------


@pytest.mark.fault("B08")
@pytest.mark.slow
def test_a_name_that_another_app_has_stays_with_it_and_the_second_says_whose_it_is(home: Home) -> None:
    volume = "    volumes: ['data:/data']\nvolumes: {data: {name: '@shared'}}\n"
    network = "    networks: [net]\nnetworks: {net: {name: '@shared-net'}}\n"
    keeps = SLEEPER.replace(
        SLEEP, '["sh", "-c", "[ -e /data/first ] || date +%N >/data/first; exec sleep 100000"]'
    )
    composes = {
        "project": "name: same\n" + SLEEPER,
        "fixed": SLEEPER + "    container_name: @fixed\n",
        "volume": keeps + volume,
        "network": NETWORKED + network,
    }
    for kind, compose in composes.items():
        home.put(f"{kind}-a", compose)
    start_all(home, *(f"{kind}-a" for kind in composes))
    before, first = home.ids(), home.inside("volume-a", "/data/first")
    assert first
    for kind, compose in composes.items():
        home.put(f"{kind}-b", compose)
    home.wait("project-b", "Ready")  # a project is named after its folder, whatever the file says
    home.wait("volume-b", "Ready")  # a volume or network by its full name is shared, as Compose means it
    home.wait("network-b", "Ready")
    text = wait_generation(home, "fixed-b", 1, "Failed")
    assert f"{home.prefix}fixed is held by app {home.name('fixed-a')}" in text
    assert {name: who for name, who in home.ids().items() if name in before} == before
    assert home.inside("volume-b", "/data/first") == first
    for kind in composes:  # the second owner goes: what the first one stands on stays
        assert home.run("remove", home.name(f"{kind}-b"), "--yes").returncode == 0
    until(lambda: home.ids() == before, "the first ones are left alone")
    assert home.inside("volume-a", "/data/first") == first
    with api(home.engine) as client:
        assert client.inspect_network(f"{home.prefix}shared-net")["Containers"]

    home.put("network-c", composes["network"])
    home.wait("network-c", "Ready")
    third = home.ids("network-c")
    assert home.run("remove", home.name("network-a"), "--yes").returncode == 0
    until(lambda: not home.containers("network-a"), "the owner's containers are gone")
    until(lambda: home.log("app.removed", "network-a"), "it is removed")
    assert home.ids("network-c") == third
    with api(home.engine) as client:  # somebody else is on it: it stays
        assert client.inspect_network(f"{home.prefix}shared-net")["Containers"]


# -- providers --------------------------------------------------------------------------------------------------------


@pytest.mark.fault("B10")
def test_a_circle_that_an_edit_makes_stops_nobody_and_ends_with_the_edit(home: Home) -> None:
    x = home.put("x", SLEEPER)
    home.put("y", SLEEPER, requires=[{"app": home.name("x")}])
    home.put("z", SLEEPER)
    start_all(home, "x", "y", "z")
    before = home.ids()
    manifest = json.loads((x / "manifest.json").read_text())
    edit(x, json.dumps(manifest | {"requires": [{"app": home.name("y")}]}), "manifest.json")
    text = wait_generation(home, "x", 2, "Invalid", "Ready", "Degraded")
    for requires in ([{"app": home.name("x")}], [{"app": home.name("nowhere")}]):
        generation = (home.status("x") or {})["generation"] + 1
        edit(x, json.dumps(manifest | {"requires": requires}), "manifest.json")
        text = wait_generation(home, "x", generation, "Invalid", "Waiting", "Degraded")
        assert requires[0]["app"] in text
        assert home.ids() == before
    generation = (home.status("x") or {})["generation"] + 1
    edit(x, json.dumps(manifest), "manifest.json")
    for short in ("x", "y", "z"):
        home.wait(short, "Ready")
    assert home.ids() == before


# -- volumes -----------------------------------------------------------------------------------------------------------

KEEPS = SLEEPER.replace(
    SLEEP, '["sh", "-c", "[ -e /data/first ] || date +%N >/data/first; exec sleep 100000"]'
)


@pytest.mark.fault("B11")
def test_whatever_is_edited_about_a_volume_its_data_stay_and_the_difference_is_said(home: Home) -> None:
    mount = "    volumes: ['data:/data']\n"
    definitions = {
        "label": "volumes: {data: {labels: {kind: new}}}\n",
        "options": "volumes: {data: {driver_opts: {type: tmpfs, device: tmpfs, o: 'size=1m'}}}\n",
        "external": "volumes: {data: {external: true, name: '@external_data'}}\n",
    }
    folders = {
        short: home.put(short, KEEPS + mount + "volumes: {data: {}}\n")
        for short in (*definitions, "renamed", "gone")
    }
    start_all(home, *folders)
    data = {short: home.inside(short, "/data/first") for short in folders}
    assert all(data.values())
    for short, definition in definitions.items():
        edit(folders[short], (KEEPS + mount + definition).replace("@", home.prefix))
    edit(folders["renamed"], KEEPS + "    volumes: ['other:/data']\nvolumes: {other: {}}\n")
    edit(folders["gone"], SLEEPER)
    for short in folders:
        wait_generation(home, short, 2, "Ready")
    for short in definitions:
        assert home.inside(short, "/data/first") == data[short]
    for short in ("label", "options"):
        (line,) = home.log("app.warning", short)
        assert f"{home.name(short)}_data" in line["message"]
        assert "is kept as it is" in line["message"]
    with api(home.engine) as client:
        for short in ("renamed", "gone"):  # nobody mounts it any more; what was in it is still there
            where = client.inspect_volume(f"{home.name(short)}_data")["Mountpoint"]
            assert Path(where, "first").read_text() == data[short]


# -- services that go ---------------------------------------------------------------------------------------------------


@pytest.mark.fault("B12")
def test_a_service_goes_only_when_the_settled_file_lacks_it_and_its_volume_stays(home: Home) -> None:
    home.settings["removal-settle"] = "3"
    side = f"  side:\n{SERVICE.replace(SLEEP, KEEPS.partition('command: ')[2].partition(chr(10))[0])}"
    both = SLEEPER + side + "    volumes: ['data:/data']\nvolumes: {data: {}}\n"
    profile = both.replace("  side:\n", "  side:\n    profiles: [extra]\n")
    folders = {short: home.put(short, both) for short in ("blip", "off")}
    folders["scaled"] = home.put("scaled", SLEEPER + "    scale: 3\n")
    folders["profile"] = home.put("profile", profile, {".env": "COMPOSE_PROFILES=extra\n"})
    start_all(home, *folders)
    before = home.ids()
    edit(folders["blip"], SLEEPER)
    edit(folders["off"], SLEEPER)
    edit(folders["profile"], "\n", ".env")
    edit(folders["scaled"], SLEEPER)
    until(
        lambda: any("side is no longer" in line["message"] for line in home.log(short="blip")), "it is said"
    )
    edit(folders["blip"], both)
    wait_generation(home, "scaled", 2, "Ready")
    assert of(home.ids(), home, "scaled").items() <= of(before, home, "scaled").items()
    assert len(of(home.ids(), home, "scaled")) == 1
    for short in ("off", "profile"):
        wait_generation(home, short, 2, "Ready")
        main = f"{home.name(short)}-main-1"
        assert of(home.ids(), home, short) == {main: before[main]}
        with api(home.engine) as client:
            where = client.inspect_volume(f"{home.name(short)}_data")["Mountpoint"]
        assert Path(where, "first").read_text()
    wait_generation(home, "blip", 3, "Ready")
    assert of(home.ids(), home, "blip") == of(before, home, "blip")

"""The project that the service itself runs in: shown, and never applied, stopped or removed."""

from __future__ import annotations

from pathlib import Path

import pytest

from controller.control.errors import Refused
from controller.control.verbs import Adopt, Remove, Restart, Rollback, Stop, Update, Wish, remember
from controller.engine.own import own_container
from controller.model.effects import drive
from controller.model.facts import REMOVE, STOPPED
from fakes.world import World

ID = "4b825dc642cb6eb9a060e54bf8d69288fbee4904f2f36ad5b3d1cd8e1a06a3f1"


def run_in_it(world: World) -> None:
    """The service is started anew, and now runs in the project `web`."""
    world.engine.own = "web"
    world.engine.mutations.clear()
    world.crash()
    world.resync()


def test_its_own_project_is_never_applied_and_says_why(world: World) -> None:
    world.engine.own = "web"
    world.boot()
    world.put("web")
    world.until_quiet()
    assert world.engine.mutations == []
    assert world.word("web") == "Invalid"
    assert world.message("web").startswith(
        "OwnProject: Homeport itself runs in the compose project of this name"
    )


def test_other_apps_go_on_beside_it(world: World) -> None:
    world.engine.own = "web"
    world.boot()
    world.put("web")
    world.put("db")
    world.until_quiet()
    assert (world.word("web"), world.word("db")) == ("Invalid", "Ready")


def test_its_own_project_survives_its_folder_and_every_word_about_it(world: World) -> None:
    world.put("web")
    world.until_quiet()
    run_in_it(world)
    for said in (REMOVE, STOPPED):  # by an earlier Homeport, that ran outside
        world.store.put(said + "web", "1")
    world.until_quiet()
    del world.tree.folders["web"]
    world.resync()
    world.until_quiet()
    assert world.engine.mutations == []
    assert world.running_services("web") == ["main"]
    assert world.store.record("web") is None
    assert world.store.get(REMOVE + "web") is None


def test_a_container_of_its_own_that_is_edited_is_not_made_anew(world: World) -> None:
    folder = world.put("web")
    world.until_quiet()
    run_in_it(world)
    folder.compose += "."
    world.resync()
    world.until_quiet()
    assert world.engine.mutations == []
    assert world.record("web").observed_services["main"]["state"] == "running", (
        "what runs is shown all the same"
    )


def test_a_look_that_finds_it_as_it_was_writes_nothing(world: World) -> None:
    world.engine.own = "web"
    world.boot()
    world.put("web")
    world.until_quiet()
    before = world.record("web"), len(world.events)
    world.clock.advance(500)
    world.resync()
    world.until_quiet()
    assert (world.record("web"), len(world.events)) == before


def test_a_plan_shows_that_nothing_is_done_with_it(world: World) -> None:
    world.engine.own = "web"
    world.boot()
    world.put("web")
    (told,) = drive(world.reconciler.run("web", dry_run=True), world.host).actions
    assert told.kind == "skip"
    assert "Homeport itself runs" in told.detail


@pytest.mark.parametrize("wish", [Stop, Restart, Update, Rollback, Remove, Adopt])
def test_a_command_about_it_is_refused(world: World, wish: type[Wish]) -> None:
    class Service:
        store, clock = world.store, world.clock

        @staticmethod
        def names() -> list[str]:
            return ["web"]

    world.engine.own = "web"
    world.boot()
    world.put("web")
    world.until_quiet()
    with pytest.raises(Refused, match="Homeport itself runs in"):
        remember(Service(), wish("web"))  # type: ignore[arg-type]


def test_the_kernel_tells_in_which_container_a_process_runs(tmp_path: Path) -> None:
    mounts = tmp_path / "mountinfo"
    root = "1203 1010 0:55 / / rw,relatime master:1 - overlay overlay rw\n"
    inside = (
        f"{root}1211 1203 8:1 /var/lib/docker/containers/{ID}/hostname /etc/hostname rw - ext4 /dev/sda1 rw\n"
    )
    mounts.write_text(inside)
    assert own_container(mounts) == ID
    # Of a host, the mounts of its containers are other things; and somebody may have mounted a file there.
    mounts.write_text(
        f"{root}301 29 0:61 / /var/lib/docker/containers/{ID}/mounts/shm rw - tmpfs shm rw\n"
        "302 29 8:1 /srv/names/hostname /etc/hostname rw - ext4 /dev/sda1 rw\n"
    )
    assert own_container(mounts) == ""
    assert own_container(tmp_path / "nothing") == ""

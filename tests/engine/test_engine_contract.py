"""What every engine promises, told of the fake and of Docker: the fake may stand in where both keep it."""

from __future__ import annotations

import io
import json
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from controller.clock import SystemClock
from controller.engine import observation as seen
from controller.engine.client import Clients
from controller.engine.docker_engine import DockerEngine
from controller.engine.endpoint import Endpoint, resolve_endpoint
from controller.engine.events import Events
from controller.engine.hooks import Hooks
from controller.model.desired import Present
from controller.model.errors import AppError, EngineUnreachable, InputInvalid, Interrupted, Superseded
from controller.model.manifest import Manifest
from controller.model.observed import Container, EngineEvent, Observed, Rendered
from fakes.engine import FakeEngine
from fakes.tree import manifest
from rig.engine import PrivateEngine, api
from rig.waiting import wait_until

SLEEPER = """
    image: homeport/sample:1
    command: ["sleep", "1000"]
    network_mode: none
    stop_grace_period: 0s
"""
WEB = f"services:\n  web:{SLEEPER}"
BAND = f"services:\n  web:{SLEEPER}\n  side:{SLEEPER}"
TALKER = b'echo "A=$ASKED"; echo trouble >&2; exit "${CODE:-0}"'


@dataclass
class World:
    """An engine, and a hand in its world that is the same for both."""

    engine: Any
    folder: Path
    prefix: str
    host: str = ""
    images: list[str] = field(default_factory=list)
    """Names of those that this test has made."""

    @property
    def app(self) -> str:
        return f"{self.prefix}app"

    @property
    def fake(self) -> FakeEngine | None:
        return self.engine if isinstance(self.engine, FakeEngine) else None

    def write(self, text: str, app: str = "", **env: str) -> Present:
        """An app whose files say so."""
        name = app or self.app
        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        file = folder / "compose.yaml"
        file.write_text(text)
        if env:
            (folder / ".env").write_text("".join(f'{k}="{v}"\n' for k, v in env.items()))
        revision = f"sha256:{hash((text, tuple(env.items())))}"
        return Present(
            name, str(folder), Manifest.model_validate(manifest(name)), revision, (str(file),), env
        )

    def apply(self, text: str, app: str = "", services: tuple[str, ...] = (), **options: Any) -> Rendered:
        present = self.write(text, app)
        rendered: Rendered = self.engine.render(present)
        self.engine.apply(present.name, present.folder, rendered, services, **options)
        return rendered

    def look(self, app: str = "", volumes: tuple[str, ...] = ()) -> Observed:
        name = app or self.app
        seen: Observed = self.engine.observe(name, (str(self.folder / name),), volumes)
        return seen

    def one(self, service: str = "web", app: str = "") -> Container:
        """The only container of that service."""
        (container,) = self.look(app).of(service)
        return container

    def until(self, condition: Callable[[], bool], what: str) -> None:
        def holds() -> bool:
            if self.fake:
                self.fake.settle()
            return condition()

        wait_until(holds, what)

    def on_docker(self, act: Callable[[Any], Any]) -> Any:
        with api(self.host) as client:
            return act(client)

    def kill(self, service: str = "web") -> None:
        one = self.one(service)
        if self.fake:
            self.fake.kill(self.app, service)
        else:
            self.on_docker(lambda client: client.kill(one.id))

    def pause(self, service: str = "web") -> None:
        one = self.one(service)
        if self.fake:
            self.fake.pause(self.app, service)
        else:
            self.on_docker(lambda client: client.pause(one.id))

    @property
    def image(self) -> str:
        """The name of an image that is this test's alone."""
        return f"homeport/{self.prefix}image:1"

    def move(self, content: str) -> str:
        """The name stands for an image with this content from now on; answers with its id."""
        if self.fake:
            self.fake.move_tag(self.image, f"sha256:{content}")
            return f"sha256:{content}"
        file = f"FROM homeport/sample:1\nLABEL of={self.prefix}{content}\n"

        def build(client: Any) -> str:
            for _ in client.build(fileobj=io.BytesIO(file.encode()), tag=self.image, rm=True, decode=True):
                pass
            return str(client.inspect_image(self.image)["Id"])

        self.images.append(self.image)
        return str(self.on_docker(build))

    def kept(self, app: str) -> set[str]:
        """Ids of the images that are kept for the app."""
        if self.fake:
            return self.fake.kept_images.get(app, set())
        found = self.on_docker(lambda client: client.images(name=f"homeport.local/keep/{app}"))
        return {str(image["Id"]) for image in found}

    def kill_all(self) -> None:
        """Everything that runs, so that nobody waits for a long stop time."""
        for container in self.look().containers:
            if container.state == "running":
                self.on_docker(lambda client, one=container.id: client.kill(one))

    def stop(self, service: str = "web") -> None:
        one = self.one(service)
        if self.fake:
            self.fake.stop_container(self.app, service)
        else:
            self.on_docker(lambda client: client.stop(one.id, timeout=5))

    def plant_leftover(self, state: str) -> None:
        """What an `up` leaves that is ended after it made (or started) web's successor."""
        if self.fake:
            self.fake.plant_leftover(self.app, "web", state)
            return
        old = self.one()

        def plant(client: Any) -> None:
            config = client.inspect_container(old.id)["Config"]
            host = client.create_host_config(network_mode="none")
            name = f"{old.id[:12]}_{old.name}"
            made = client.create_container(
                config["Image"],
                config["Cmd"],
                name=name,
                labels=config["Labels"],
                host_config=host,
                stop_signal="KILL",
            )
            if state == "running":
                client.remove_container(old.id, force=True)
                client.start(made["Id"])

        self.on_docker(plant)

    def fake_source(self, target: str, service: str = "web") -> str:
        """The host path that the fake has mounted there."""
        assert self.fake is not None
        binds = self.fake.service_of(self.one(service)).binds
        return next(bind.source for bind in binds if bind.target == target)

    def script(self, script: bytes, answer: Callable[[Any, Any], Any]) -> bytes:
        """A script that the fake knows as well."""
        if self.fake:
            self.fake.scripts[script] = answer
        return script


@pytest.fixture(params=["fake", pytest.param("docker", marks=pytest.mark.engine)])
def world(request: pytest.FixtureRequest, tmp_path: Path, app_prefix: str) -> Iterator[World]:
    if request.param == "fake":
        yield World(FakeEngine(SystemClock()), tmp_path, app_prefix)
        return
    yield from _docker(request.getfixturevalue("engine_host"), tmp_path, app_prefix)


@pytest.fixture
def docker_world(engine_host: str, tmp_path: Path, app_prefix: str) -> Iterator[World]:
    yield from _docker(engine_host, tmp_path, app_prefix)


def _docker(host: str, tmp_path: Path, prefix: str) -> Iterator[World]:
    engine = DockerEngine(replace(resolve_endpoint(), host=host), tmp_path / "work", SystemClock())
    world = World(engine, tmp_path, prefix, host)
    yield world
    engine.close()
    for image in set(world.images):
        world.on_docker(lambda client, name=image: client.remove_image(name, force=True))


# ---- apply and observe ----


def test_what_is_applied_runs_with_a_hash_of_its_own(world: World) -> None:
    world.apply(WEB)
    web = world.one()
    assert (web.state, web.image) == ("running", "homeport/sample:1")
    assert web.config_hash
    assert web.started_at
    assert not web.finished_at
    assert web.image_id.startswith("sha256:")


def test_applied_twice_it_makes_nothing_new(world: World) -> None:
    world.apply(BAND)
    before = [c.incarnation for c in world.look().containers]
    world.apply(BAND)
    assert [c.incarnation for c in world.look().containers] == before


def test_only_the_service_that_changed_is_made_anew(world: World) -> None:
    world.apply(BAND)
    web, side = world.one("web"), world.one("side")
    world.apply(BAND + "    environment: {A: b}\n")
    assert world.one("web").id == web.id
    assert world.one("side").id != side.id


def test_forced_it_is_made_anew(world: World) -> None:
    world.apply(BAND)
    web, side = world.one("web"), world.one("side")
    world.apply(BAND, services=("web",), force=True)
    assert world.one("web").id != web.id
    assert world.one("side").incarnation == side.incarnation


def test_a_service_that_is_gone_from_the_files_is_removed_with_the_whole_app_only(world: World) -> None:
    world.apply(BAND)
    world.apply(WEB, services=("web",))
    assert world.one("side").state == "running"
    world.apply(WEB)
    assert world.look().of("side") == ()


def test_as_many_containers_run_as_the_scale_says(world: World) -> None:
    world.apply(WEB + "    scale: 3\n")
    assert [c.number for c in world.look().of("web")] == [1, 2, 3]
    world.apply(WEB)
    assert [c.number for c in world.look().of("web")] == [1]


def test_a_killed_container_is_seen_and_healed(world: World) -> None:
    world.apply(BAND)
    before = world.one()
    world.kill()
    world.until(lambda: world.one().state == "exited", "the kill is seen")
    killed = world.one()
    assert (killed.exit_code, killed.ended_by_itself) == (137, False)
    assert killed.finished_at > killed.started_at
    world.apply(BAND, services=("web",))
    assert world.one().state == "running"
    assert world.one().incarnation != before.incarnation


def test_health_becomes_healthy(world: World) -> None:
    rendered = world.apply(WEB + '    healthcheck: {test: ["CMD", "true"], interval: 1s}\n')
    assert rendered.services[0].has_healthcheck
    assert world.one().health == "starting"
    world.until(lambda: world.one().health == "healthy", "web is healthy")


def test_who_lives_in_anothers_namespaces_says_so(world: World) -> None:
    guest = SLEEPER.replace("none", "service:web")
    rendered = world.apply(f"services:\n  web:{SLEEPER}\n  guest:{guest}")
    assert [(s.name, s.shares_with) for s in rendered.services] == [("guest", "web"), ("web", "")]
    assert world.one("guest").shares_with == world.one("web").id


def test_networks_are_the_same_for_all_containers_of_an_app(world: World) -> None:
    world.apply(BAND.replace("network_mode: none", "init: true"))
    web, side = world.one("web"), world.one("side")
    assert len(web.networks) == 1
    assert web.networks == side.networks
    world.engine.remove(world.app, (str(world.folder / world.app),))


def test_a_job_is_done_when_apply_returns(world: World) -> None:
    job = SLEEPER.replace('["sleep", "1000"]', '["true"]')
    text = f"services:\n  job:{job}\n  web:{SLEEPER}    depends_on: {{job: {{condition: service_completed_successfully}}}}\n"
    rendered = world.apply(text)
    assert [s.name for s in rendered.services if s.is_job] == ["job"]
    done = world.one("job")
    assert (done.state, done.exit_code, done.ended_by_itself) == ("exited", 0, True)
    world.apply(text, services=("web",), force=True)
    assert world.one("job").incarnation == done.incarnation


def test_who_ends_by_itself_is_told_from_who_is_stopped(world: World) -> None:
    if world.fake:
        world.fake.behaviour[(world.app, "once")] = "exit"
    once = SLEEPER.replace('["sleep", "1000"]', '["true"]')
    polite = SLEEPER.replace(
        '["sleep", "1000"]', """["sh", "-c", "trap 'exit 0' TERM; while :; do sleep 0.1; done"]"""
    )
    world.apply(f"services:\n  once:{once}\n  web:{polite.replace('0s', '5s')}")
    world.until(lambda: world.one("once").state == "exited", "once has ended")
    world.stop()
    stopped = world.one()
    assert (stopped.state, stopped.exit_code) == ("exited", 0)
    assert not stopped.ended_by_itself
    assert world.one("once").ended_by_itself


def test_a_bad_file_is_the_fault_of_the_files(world: World) -> None:
    with pytest.raises(InputInvalid) as caught:
        world.engine.render(world.write("services: [not a mapping\n"))
    assert caught.value.reason == "SourceInvalid"


def test_a_variable_that_must_be_there_and_is_not_is_named(world: World) -> None:
    with pytest.raises(InputInvalid, match="TOKEN"):
        world.engine.render(world.write(WEB.replace("1000", "${TOKEN:?missing}")))


def test_a_revision_is_rendered_once(world: World) -> None:
    present = world.write(WEB)
    assert world.engine.render(present) is world.engine.render(present)


@pytest.mark.parametrize("meanwhile", [WEB.replace("1000", "2000"), "services: [not a mapping\n"])
def test_what_was_read_while_the_files_were_edited_is_not_taken_for_the_revision_before(
    world: World, meanwhile: str
) -> None:
    before = world.write(WEB)
    world.write(meanwhile)
    with pytest.raises(Superseded):
        world.engine.render(before, lambda: False)
    wanted = world.engine.render(world.write(WEB.replace("1000", "3000"))).document
    world.write(WEB.replace("1000", "3000"))
    assert world.engine.render(before).document == wanted, "nothing was remembered: it is read anew"


# ---- which image runs ----


def test_a_name_that_was_moved_is_followed_unless_the_image_is_named(world: World) -> None:
    text = WEB.replace("homeport/sample:1", world.image)
    old = world.move("old")
    rendered = world.apply(text)
    assert world.engine.image_ids(rendered) == {"web": old}
    new = world.move("new")
    assert world.one().image_id == old
    assert world.engine.image_ids(rendered) == {"web": new}
    world.kill()
    world.until(lambda: world.one().state == "exited", "the kill is seen")
    world.apply(text, services=("web",), images={"web": old})
    healed = world.one()
    assert (healed.state, healed.image_id) == ("running", old)
    world.apply(text, images={"web": old})
    assert world.one().incarnation == healed.incarnation
    world.apply(text)
    assert world.one().image_id == new


def test_where_a_name_stands_for_the_named_image_nothing_is_made_anew(world: World) -> None:
    # With this policy Compose would ask a registry for it, in vain.
    text = WEB.replace("homeport/sample:1", world.image) + "    pull_policy: always\n"
    image = world.move("only")
    world.apply(text, images={"web": image})
    before = world.one()
    assert before.image == world.image
    world.apply(text, images={"web": image})
    assert world.one().incarnation == before.incarnation


def test_an_image_that_is_gone_is_not_replaced_by_another(world: World) -> None:
    text = WEB.replace("homeport/sample:1", world.image)
    world.move("only")
    with pytest.raises(AppError, match="that service web has to run is gone") as caught:
        world.apply(text, images={"web": f"sha256:{'0' * 64}"})
    assert caught.value.reason == "ApplyFailed"
    assert world.look().containers == ()


def test_only_the_images_of_the_services_that_are_applied_count(world: World) -> None:
    world.apply(BAND, services=("web",), images={"side": f"sha256:{'0' * 64}"})
    assert [c.service for c in world.look().containers] == ["web"]


def test_kept_images_are_those_that_were_named_last(world: World) -> None:
    old, new = world.move("old"), world.move("new")
    other = f"{world.app}-other"
    try:
        world.engine.keep_images(world.app, {old, f"sha256:{'0' * 64}"})
        world.engine.keep_images(other, {old, new})
        assert (world.kept(world.app), world.kept(other)) == ({old}, {old, new})
        world.engine.keep_images(world.app, {new})
        assert (world.kept(world.app), world.kept(other)) == ({new}, {old, new})
    finally:
        for app in (world.app, other):
            world.engine.keep_images(app, ())
    assert (world.kept(world.app), world.kept(other)) == (set(), set())


# ---- what is mounted ----


def test_a_mounted_path_can_be_replaced_and_comes_back(world: World) -> None:
    copy = world.folder / "copy"
    copy.write_text("old")
    text = WEB + "    volumes: [./conf:/conf:ro]\n"
    conf = Path(world.write(text).folder) / "conf"
    conf.write_text("new")

    def content() -> bytes:
        script = world.script(b"cat /conf", lambda *_: Path(world.fake_source("/conf")).read_bytes())
        return bytes(world.engine.exec(world.one().id, script, {}, 10).stdout)

    for _ in range(2):
        world.apply(text)
        assert content() == b"new"
        world.apply(text, sources={str(conf): str(copy), "/elsewhere": "/x"})
        assert content() == b"old"
    before = world.one()
    world.apply(text, sources={str(conf): str(copy)})
    assert world.one().incarnation == before.incarnation


def test_who_mounts_what_can_be_written_keeps_data(world: World) -> None:
    mounts = {"a": "[./data:/d]", "b": "[data:/d]", "c": "[./conf:/c:ro]", "d": "[]"}
    text = "\n".join(f"  {name}:{SLEEPER}    volumes: {what}" for name, what in mounts.items())
    rendered = world.engine.render(world.write(f"services:\n{text}\nvolumes: {{data: }}\n"))
    assert [s.name for s in rendered.services if s.keeps_data] == ["a", "b"]


def test_contents_change_with_what_is_copied_into_a_container_and_with_nothing_else(world: World) -> None:
    def contents(inline: str, token: str, other: str = "x") -> str:
        text = (
            f"{WEB}    configs: [{{source: conf, target: /c}}]\n    secrets: [token]\n"
            f"configs: {{conf: {{content: {inline}}}, unused: {{content: {other}}}}}\n"
            "secrets: {token: {environment: TOKEN}}\n"
        )
        rendered: Rendered = world.engine.render(world.write(text, TOKEN=token))
        assert token not in repr(rendered)
        return rendered.services[0].contents

    assert world.engine.render(world.write(WEB)).services[0].contents == ""
    first = contents("one", "hunter2-and-more")
    assert first
    assert contents("one", "hunter2-and-more", "y") == first
    assert len({first, contents("two", "hunter2-and-more"), contents("one", "hunter3-and-more")}) == 3


# ---- what an interrupted apply leaves ----


@pytest.mark.fault("D11")
def test_a_successor_that_never_ran_is_removed_ahead_of_an_apply(world: World) -> None:
    world.apply(WEB)
    before = world.one()
    world.plant_leftover("created")
    assert len(world.look().of("web")) == 2
    world.apply(WEB)
    assert world.one().incarnation == before.incarnation


@pytest.mark.fault("D11")
def test_a_successor_that_runs_under_its_temporary_name_gets_its_own(world: World) -> None:
    world.apply(WEB)
    name = world.one().name
    world.plant_leftover("running")
    assert world.one().name != name
    world.apply(WEB)
    assert (world.one().name, world.one().state) == (name, "running")


# ---- restart and remove ----


def test_a_restart_is_another_incarnation_of_the_same_container(world: World) -> None:
    world.apply(BAND)
    web, side = world.one("web"), world.one("side")
    world.engine.restart(world.app, [web.id])
    assert world.one("web").id == web.id
    assert world.one("web").incarnation != web.incarnation
    assert world.one("web").started_at > web.started_at
    assert world.one("side").incarnation == side.incarnation


def test_a_container_that_is_gone_cannot_be_restarted(world: World) -> None:
    world.apply(WEB)
    with pytest.raises(AppError, match="gone"):
        world.engine.restart(world.app, ["0" * 64])


def test_a_restart_of_what_has_ended_starts_the_same_container(world: World) -> None:
    world.apply(WEB)
    web = world.one()
    world.engine.stop(world.app, [web.id])
    world.engine.restart(world.app, [web.id])
    assert (world.one().id, world.one().state) == (web.id, "running")
    assert world.one().incarnation != web.incarnation


def test_what_is_stopped_stays_and_did_not_end_by_itself(world: World) -> None:
    world.apply(BAND)
    web, side = world.one("web"), world.one("side")
    world.engine.stop(world.app, [web.id, "0" * 64])
    stopped = world.one("web")
    assert (stopped.id, stopped.state, stopped.ended_by_itself) == (web.id, "exited", False)
    assert world.one("side").incarnation == side.incarnation
    world.engine.stop(world.app, [web.id])
    assert world.one("web") == stopped


def test_a_paused_container_can_be_stopped_and_restarted(world: World) -> None:
    world.apply(WEB)
    web = world.one()
    world.pause()
    assert world.one().state == "paused"
    world.engine.restart(world.app, [web.id])
    assert world.one().state == "running"
    world.pause()
    world.engine.stop(world.app, [web.id])
    assert (world.one().id, world.one().state) == (web.id, "exited")


def test_removed_means_no_container_and_all_volumes(world: World) -> None:
    volume = f"{world.prefix}data"
    world.engine.ensure_volume(volume, world.app)
    world.apply(f"{WEB}    volumes: [data:/data]\nvolumes: {{data: {{external: true, name: {volume}}}}}\n")
    folders = (str(world.folder / world.app),)
    world.engine.remove(world.app, folders)
    assert world.look().containers == ()
    assert volume in world.look(volumes=(volume,)).volumes
    world.engine.remove(world.app, folders)


def test_nothing_is_applied_over_a_project_of_that_name_that_has_come_up_from_elsewhere(world: World) -> None:
    rendered = world.apply(WEB)
    before = world.one()
    elsewhere = str(world.folder / "elsewhere")
    with pytest.raises(AppError, match="has come up from") as refused:
        world.engine.apply(world.app, elsewhere, rendered)
    assert refused.value.reason == "NameConflict"
    assert world.one() == before
    world.engine.apply(world.app, elsewhere, rendered, folders=(str(world.folder / world.app),))
    assert world.one().state == "running"


def test_a_project_of_the_same_name_elsewhere_is_seen_and_left_alone(world: World) -> None:
    world.apply(WEB)
    before = world.one()
    elsewhere = str(world.folder / "elsewhere")
    seen = world.engine.observe(world.app, (elsewhere,), ())
    assert (seen.containers, seen.foreign) == ((), (str(world.folder / world.app),))
    world.engine.remove(world.app, (elsewhere,))
    assert world.one().incarnation == before.incarnation


def test_all_projects_are_known_with_their_folders(world: World) -> None:
    world.apply(WEB)
    assert world.engine.survey(volumes=False).projects()[world.app] == (str(world.folder / world.app),)


# ---- survey ----

HEALTHY = '    healthcheck: {test: ["CMD", "test", "!", "-e", "/tmp/ill"], interval: 1s, retries: 1}\n'


def shown(world: World, observed: Observed, known: datetime) -> bool:
    """By one list, whether the app is as it was observed, and was known to be at that moment."""
    answer: bool = world.engine.survey(volumes=bool(observed.volumes)).shows(world.app, observed, known)
    return answer


def rested(world: World) -> tuple[Observed, datetime]:
    """The app, once it has run for so long that a start since then would show."""
    observed = world.look()
    world.until(lambda: shown(world, observed, datetime.now(UTC)), "it has run for a moment")
    return observed, datetime.now(UTC)


def test_what_has_not_changed_is_shown_so_by_one_list(world: World) -> None:
    world.apply(BAND.replace("network_mode: none", "init: true"))
    observed, known = rested(world)
    assert shown(world, observed, known)
    world.engine.remove(world.app, (str(world.folder / world.app),))
    assert not shown(world, observed, known)


def test_a_container_that_is_down_or_another_is_shown_to_differ(world: World) -> None:
    world.apply(BAND)
    observed, known = rested(world)
    world.kill()
    world.until(lambda: not shown(world, observed, known), "the kill is shown")
    down = world.look()
    world.apply(BAND, services=("web",))
    assert not shown(world, observed, known), "it runs again, since another moment"
    assert not shown(world, down, known)


def test_what_ended_and_stays_so_is_shown_so(world: World) -> None:
    world.apply(WEB)
    world.kill()
    world.until(lambda: world.one().state == "exited", "the kill is seen")
    observed, known = rested(world)
    assert shown(world, observed, known)
    world.apply(WEB)
    assert not shown(world, observed, known)


def test_a_change_of_health_is_shown(world: World) -> None:
    world.apply(WEB + HEALTHY)
    starting = world.look()
    world.until(lambda: world.one().health == "healthy", "web is healthy")
    observed, known = rested(world)
    assert shown(world, observed, known)
    assert not shown(world, starting, known)


def test_a_volume_that_is_another_or_gone_is_shown(world: World) -> None:
    volume = f"{world.prefix}data"
    world.apply(WEB)
    world.engine.ensure_volume(volume, world.app)
    observed = world.look(volumes=(volume,))
    assert observed.volumes
    world.until(lambda: shown(world, observed, datetime.now(UTC)), "it has run for a moment")
    known = datetime.now(UTC)
    world.engine.remove_volume(volume)
    assert not shown(world, observed, known)
    world.engine.ensure_volume(volume, world.app)
    assert not shown(world, observed, known)
    world.engine.remove_volume(volume)


def test_a_lost_network_and_another_name_are_shown(docker_world: World) -> None:
    world = docker_world
    world.apply(BAND.replace("network_mode: none", "init: true"))
    observed, known = rested(world)
    one = world.one()
    world.on_docker(lambda client: client.rename(one.id, f"{world.prefix}other"))
    assert not shown(world, observed, known)
    world.on_docker(lambda client: client.rename(one.id, one.name))
    assert shown(world, observed, known)
    world.on_docker(lambda client: client.disconnect_container_from_network(one.id, one.networks[0]))
    assert not shown(world, observed, known)
    world.engine.remove(world.app, (str(world.folder / world.app),))


# ---- volumes, images, ports ----


def test_a_volume_is_made_once(world: World) -> None:
    volume = f"{world.prefix}data"
    assert world.look(volumes=(volume,)).volumes == {}
    assert world.engine.ensure_volume(volume, world.app) is True
    assert world.engine.ensure_volume(volume, world.app) is False
    # A name that is part of another's is not it.
    assert list(world.look(volumes=(volume, volume[:-1])).volumes) == [volume]
    assert world.look(volumes=(volume,)).volumes[volume]


def test_a_volume_that_a_container_has_is_not_removed_and_who_has_it_is_named(world: World) -> None:
    volume = f"{world.prefix}data"
    world.engine.ensure_volume(volume, world.app)
    world.apply(f"{WEB}    volumes: [data:/data]\nvolumes: {{data: {{external: true, name: {volume}}}}}\n")
    world.kill()
    with pytest.raises(AppError, match=world.one().name) as caught:
        world.engine.remove_volume(volume)
    assert caught.value.reason == "VolumeInUse"
    assert volume in world.look(volumes=(volume,)).volumes
    world.engine.remove(world.app, (str(world.folder / world.app),))
    world.engine.remove_volume(volume)
    assert world.look(volumes=(volume,)).volumes == {}
    world.engine.remove_volume(volume)


@pytest.mark.fault("B11")
def test_without_its_external_volume_nothing_is_started(world: World) -> None:
    volume = f"{world.prefix}none"
    text = f"{WEB}    volumes: [data:/data]\nvolumes: {{data: {{external: true, name: {volume}}}}}\n"
    assert world.engine.render(world.write(text)).external_volumes == (volume,)
    with pytest.raises(AppError, match=volume) as caught:
        world.apply(text)
    assert caught.value.reason == "ApplyFailed"
    assert world.look().of("web") == ()


@pytest.mark.fault("B02")
def test_an_image_that_is_nowhere_is_missing_and_cannot_be_pulled(world: World) -> None:
    image = "localhost:1/nowhere:1"
    if world.fake:
        world.fake.absent_images.add(image)
        world.fake.unpullable.add(image)
    present = world.write(BAND.replace("homeport/sample:1", image, 1))
    rendered = world.engine.render(present)
    assert world.engine.missing_images(rendered) == ("web",)
    assert list(world.engine.image_ids(rendered)) == ["side"]
    for ask in (
        lambda: world.engine.pull(present, rendered, ("web",)),
        lambda: world.engine.apply(present.name, present.folder, rendered),
    ):
        with pytest.raises(AppError, match=f"image {image} of service web cannot be pulled: ") as caught:
            ask()
        assert caught.value.reason == "PullFailed"
        assert world.fake or str(caught.value).count("refused") == 1


@pytest.mark.fault("B05")
def test_a_port_that_another_app_holds_is_named(world: World) -> None:
    port = _free_port()
    text = WEB.replace("network_mode: none", f'ports: ["{port}:80"]')
    rendered = world.apply(text)
    assert rendered.services[0].ports == (("", port, "tcp"),)
    wanted = [("", port, "tcp"), ("", _free_port(), "tcp")]
    busy = world.engine.busy_ports(wanted, "another-app")
    assert list(busy) == [port]
    assert world.app in busy[port]
    assert world.engine.busy_ports(wanted, world.app) == {}
    world.engine.remove(world.app, (str(world.folder / world.app),))


@pytest.mark.fault("B08")
def test_a_container_name_that_another_app_holds_is_named(world: World) -> None:
    name = f"{world.prefix}fixed"
    rendered = world.apply(f"{WEB}    container_name: {name}\n")
    assert rendered.services[0].container_name == name
    assert world.one().name == name
    names = [name, name[:-1]]
    busy = world.engine.busy_names(names, "another-app")
    assert list(busy) == [name]
    assert world.app in busy[name]
    assert world.engine.busy_names(names, world.app) == {}
    assert world.engine.busy_names([], "another-app") == {}
    other = f"{world.prefix}other"
    with pytest.raises(AppError, match=name):
        world.apply(f"{WEB}    container_name: {name}\n", other)


def test_the_last_lines_are_those_of_one_container(world: World) -> None:
    if world.fake:
        world.fake.lines[(world.app, "web")] = ["two", "three"]
    chatty = SLEEPER.replace(
        '["sleep", "1000"]', """["sh", "-c", "printf 'one\\n\\ntwo\\nthree\\n'; sleep 1000"]"""
    )
    rendered = world.apply(f"services:\n  web:{chatty}\n  side:{SLEEPER}")
    web, side = world.one("web"), world.one("side")
    world.until(lambda: bool(world.engine.last_lines(web.id, rendered)), "web has spoken")
    assert world.engine.last_lines(web.id, rendered, 2) == ("two", "three")
    assert world.engine.last_lines(web.id, rendered, 1) == ("three",)
    assert world.engine.last_lines(side.id, rendered) == ()
    assert world.engine.last_lines("0" * 64, rendered) == ()


def test_what_runs_again_tells_with_what_it_ended_and_what_it_said_until_then(world: World) -> None:
    first, second = "echo out of memory; touch /tmp/ended; sleep 1; exit 9", "echo second run; sleep 1000"
    script = f'["sh", "-c", "if [ -e /tmp/ended ]; then {second}; else {first}; fi"]'
    looping = SLEEPER.replace('["sleep", "1000"]', script)
    rendered = world.apply(f"services:\n  web:{looping}    restart: unless-stopped\n")
    if world.fake:
        world.fake.lines[world.app, "web"] = ["out of memory"]
        world.fake.crash(world.app, "web", 9)
        world.fake.lines[world.app, "web"] = ["out of memory", "second run"]
    world.until(lambda: world.one().restarts == 1 and world.one().state == "running", "it runs again")
    again = world.one()
    assert again.exit_code == 0, "the engine shows it no more"
    assert again.finished_at < again.started_at
    assert world.engine.exit_code(again.id, again.finished_at) == 9
    assert world.engine.exit_code(again.id, "2001-01-01T00:00:00.000000000Z") is None
    assert world.engine.exit_code("0" * 64, again.finished_at) is None
    world.until(lambda: "second run" in world.engine.last_lines(again.id, rendered), "it has spoken")
    assert world.engine.last_lines(again.id, rendered, until=again.finished_at) == ("out of memory",)


def test_only_who_ended_by_itself_has_an_exit_code_and_a_kill_of_an_earlier_run_does_not_count(
    world: World,
) -> None:
    waits = "while [ ! -e /tmp/end ]; do sleep 0.05; done; rm /tmp/end; exit 7"
    ends = SLEEPER.replace('"sleep", "1000"', f'"sh", "-c", "{waits}"')
    world.apply(f"services:\n  web:{ends}")
    world.kill()
    killed = world.one()
    assert world.engine.exit_code(killed.id, killed.finished_at) is None
    world.engine.restart(world.app, [killed.id])
    if world.fake:
        world.fake.crash(world.app, "web", 7)
    else:
        world.engine.exec(killed.id, b"touch /tmp/end", {}, 10)
    world.until(lambda: world.one().state == "exited", "it has ended")
    crashed = world.one()
    assert crashed.id == killed.id
    assert world.engine.exit_code(crashed.id, crashed.finished_at) == 7
    assert world.engine.exit_code(crashed.id, "") is None
    assert world.engine.exit_code(killed.id, killed.finished_at) is None


@pytest.mark.engine
def test_a_signal_by_which_files_are_read_again_is_no_cause_of_an_end(docker_world: World) -> None:
    waits = "trap 'touch /tmp/heard' HUP; while [ ! -e /tmp/end ]; do sleep 0.05; done; exit 7"
    ends = SLEEPER.replace('"sleep", "1000"', f'"sh", "-c", {json.dumps(waits)}')
    docker_world.apply(f"services:\n  web:{ends}")
    one = docker_world.one()
    docker_world.on_docker(lambda client: client.kill(one.id, "HUP"))
    docker_world.engine.exec(
        one.id, b"while [ ! -e /tmp/heard ]; do sleep 0.05; done; touch /tmp/end", {}, 10
    )
    docker_world.until(lambda: docker_world.one().state == "exited", "it has ended")
    assert docker_world.engine.exit_code(one.id, docker_world.one().finished_at) == 7


@pytest.mark.engine
def test_what_ended_before_the_clock_was_set_back_is_not_waited_for(docker_world: World) -> None:
    ahead = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    once = SLEEPER.replace('["sleep", "1000"]', '["true"]')
    docker_world.apply(f"services:\n  web:{once}")
    docker_world.until(lambda: docker_world.one().ended_by_itself, "it has ended by itself")
    one = docker_world.one()
    inspected = docker_world.on_docker(lambda client: client.inspect_container(one.id))
    inspected["State"]["FinishedAt"] = ahead
    endpoint = replace(resolve_endpoint(), host=docker_world.host)
    clients = Clients(endpoint)
    try:
        assert not Events(endpoint, clients, SystemClock()).ended_by_itself(inspected)
    finally:
        clients.close()
    assert docker_world.engine.exit_code(one.id, ahead) is None


# ---- hooks ----


def test_a_script_gives_its_output_and_exit_status(world: World) -> None:
    from controller.model.observed import ExecResult

    world.apply(WEB)
    script = world.script(
        TALKER,
        lambda env, _: ExecResult(int(env.get("CODE", 0)), f"A={env['ASKED']}\n".encode(), "trouble\n"),
    )
    asked = "two words $HOME 'quoted' \n and a line"
    result = world.engine.exec(world.one().id, script, {"ASKED": asked}, 10)
    assert (result.exit_code, result.stdout) == (0, f"A={asked}\n".encode())
    assert result.stderr_tail.strip() == "trouble"
    assert world.engine.exec(world.one().id, script, {"ASKED": "", "CODE": "3"}, 10).exit_code == 3


def test_a_container_that_does_not_run_runs_no_script(world: World) -> None:
    world.apply(WEB)
    web = world.one()
    world.kill()
    world.until(lambda: world.one().state == "exited", "the kill is seen")
    for container in (web.id, "0" * 64):
        with pytest.raises(AppError) as caught:
            world.engine.exec(container, TALKER, {}, 10)
        assert caught.value.reason == "HookFailed"


def test_after_an_interrupt_nothing_is_begun(world: World) -> None:
    rendered = world.apply(WEB)
    web = world.one()
    world.engine.interrupt(0)
    with pytest.raises(Interrupted):
        world.engine.exec(web.id, TALKER, {}, 10)
    with pytest.raises(Interrupted):
        world.engine.apply(world.app, str(world.folder / world.app), rendered)
    assert world.one().incarnation == web.incarnation


# ---- events ----


def test_events_begin_with_connected_and_end_when_closed(world: World) -> None:
    heard: list[EngineEvent] = []
    connected = threading.Event()

    def listen() -> None:
        for event in world.engine.events():
            heard.append(event)
            connected.set()

    listener = threading.Thread(target=listen)
    listener.start()
    try:
        assert connected.wait(10)
        world.apply(WEB)
        world.kill()

        def actions() -> set[str]:
            return {
                e.action for e in heard if (e.app, e.folder) == (world.app, str(world.folder / world.app))
            }

        world.until(lambda: {"start", "die"} <= actions(), "start and die are heard")
        assert heard[0].action == "connected"
        assert all(e.at is not None and e.at.tzinfo is not None for e in heard)
    finally:
        world.engine.close_events()
        listener.join(5)
    assert not listener.is_alive()
    assert list(world.engine.events()) == []


# ---- what only a real engine can show ----


@pytest.mark.engine
def test_an_edited_network_that_was_tried_in_vain_before_still_differs_from_the_one_that_runs(
    docker_world: World,
) -> None:
    networked = WEB.replace("network_mode: none", "init: true")
    docker_world.apply(networked)
    before = docker_world.one().incarnation
    edited = networked + "networks: {default: {labels: {new: '1'}}}\n"
    with pytest.raises(AppError):
        docker_world.apply(edited.replace("homeport/sample:1", "homeport/there-is-none:1"))
    network = f"{docker_world.app}_default"
    guest = docker_world.on_docker(
        lambda client: client.create_container(
            "homeport/sample:1", ["sleep", "1000"], name=f"{docker_world.app}-guest"
        )
    )["Id"]
    try:
        docker_world.on_docker(lambda client: client.connect_container_to_network(guest, network))
        docker_world.on_docker(lambda client: client.start(guest))
        with pytest.raises(AppError, match=f"others hang on it: .*{network}"):
            docker_world.apply(edited)
        assert docker_world.one().incarnation == before
        docker_world.on_docker(
            lambda client: client.disconnect_container_from_network(guest, network, force=True)
        )
        docker_world.apply(edited)
        assert docker_world.one().incarnation != before
    finally:
        docker_world.on_docker(lambda client: client.remove_container(guest, force=True))
        docker_world.engine.remove(docker_world.app, (str(docker_world.folder / docker_world.app),))


def _processes(world: World, marker: str) -> list[str]:
    """Command lines in web that hold this text, as the engine sees them."""
    top = world.on_docker(lambda client: client.top(world.one().id))
    return [line[-1] for line in top["Processes"] if marker in line[-1]]


@pytest.mark.fault("C01")
@pytest.mark.fault("C02")
@pytest.mark.engine
@pytest.mark.parametrize(
    "script",
    [
        b"sleep 7001",
        b"trap '' TERM; sleep 7001; sleep 7001",
        b"(setsid sleep 7001 &) ; (sleep 7001 &) ; sleep 7001",
        b"while :; do sleep 7001 & sleep 0.01; done",
    ],
    ids=["plain", "ignores-term", "daemons", "breeds"],
)
def test_at_its_deadline_nothing_of_a_script_is_left(docker_world: World, script: bytes) -> None:
    docker_world.apply(WEB)
    started = SystemClock().monotonic()
    result = docker_world.engine.exec(docker_world.one().id, script, {}, 1)
    assert result.timed_out
    assert result.exit_code != 0
    assert SystemClock().monotonic() - started < 6
    wait_until(lambda: not _processes(docker_world, "7001"), "no process is left")


@pytest.mark.fault("C02")
@pytest.mark.engine
def test_what_a_script_leaves_in_the_background_is_ended(docker_world: World) -> None:
    docker_world.apply(WEB)
    result = docker_world.engine.exec(docker_world.one().id, b"(setsid sleep 7002 &); echo A=1", {}, 20)
    assert (result.exit_code, result.stdout, result.timed_out) == (0, b"A=1\n", False)
    wait_until(lambda: not _processes(docker_world, "7002"), "no process is left")


@pytest.mark.fault("C02")
@pytest.mark.engine
def test_what_a_script_detaches_and_takes_its_mark_off_stays_through_every_clean_up(
    docker_world: World,
) -> None:
    docker_world.apply(WEB)
    web, engine = docker_world.one().id, docker_world.engine
    script = b"env -u HOMEPORT_HOOK setsid sleep 7005 </dev/null >/dev/null 2>&1 & echo A=1"
    assert engine.exec(web, script, {}, 20).stdout == b"A=1\n"
    assert engine.exec(web, b"sleep 7006", {}, 1).timed_out
    later = Hooks(engine._endpoint, engine._clients, SystemClock())
    assert later.run(web, b"echo B=1", {}, 20).stdout == b"B=1\n", "a service that was started after a crash"
    assert _processes(docker_world, "7005")
    wait_until(lambda: not _processes(docker_world, "7006"), "what is marked is ended")


@pytest.mark.fault("C03")
@pytest.mark.engine
def test_endless_output_is_an_overflow(docker_world: World) -> None:
    docker_world.apply(WEB)
    result = docker_world.engine.exec(docker_world.one().id, b"while :; do echo 7003; done", {}, 20)
    assert result.overflow
    assert result.exit_code != 0
    assert len(result.stdout) == 256 * 1024
    assert docker_world.engine.exec(docker_world.one().id, b"echo on", {}, 20).stdout == b"on\n"


@pytest.mark.fault("C01")
@pytest.mark.engine
def test_a_command_that_reads_its_input_does_not_eat_the_script(docker_world: World) -> None:
    docker_world.apply(WEB)
    script = b"cat\nread line || echo none\n" + b"# a comment\n" * 20_000 + b"echo end"
    assert docker_world.engine.exec(docker_world.one().id, script, {}, 20).stdout == b"none\nend\n"


@pytest.mark.fault("C08")
@pytest.mark.engine
def test_a_container_that_dies_under_a_script_is_no_success(docker_world: World) -> None:
    docker_world.apply(WEB)
    web = docker_world.one()
    reaper = threading.Timer(0.5, lambda: docker_world.on_docker(lambda client: client.kill(web.id)))
    reaper.start()
    result = docker_world.engine.exec(web.id, b"echo A=1; sleep 30; true", {}, 20)
    reaper.join()
    assert result.exit_code != 0
    assert not result.timed_out


@pytest.mark.engine
def test_an_interrupt_ends_a_script_at_once(docker_world: World) -> None:
    docker_world.apply(WEB)
    web = docker_world.one()
    threading.Timer(0.3, docker_world.engine.interrupt, [30]).start()
    started = SystemClock().monotonic()
    with pytest.raises(Interrupted):
        docker_world.engine.exec(web.id, b"sleep 7004", {}, 60)
    assert SystemClock().monotonic() - started < 5


@pytest.mark.engine
def test_an_interrupt_ends_an_apply_after_its_grace_and_the_next_makes_it_whole(docker_world: World) -> None:
    slow = SLEEPER.replace("0s", "20s")
    docker_world.apply(f"services:\n  web:{slow}")
    threading.Timer(0.3, docker_world.engine.interrupt, [0.2]).start()
    with pytest.raises(Interrupted):
        docker_world.apply(f"services:\n  web:{SLEEPER}    environment: {{A: b}}\n")
    again = World(
        DockerEngine(Endpoint(docker_world.host), docker_world.folder / "work", SystemClock()),
        docker_world.folder, docker_world.prefix, docker_world.host,
    )  # fmt: skip
    with closing(again.engine):
        docker_world.kill_all()
        again.apply(f"services:\n  web:{SLEEPER}    environment: {{A: b}}\n")
        assert again.one().state == "running"
        assert again.one().name == f"{docker_world.app}-web-1"


@pytest.mark.fault("D03")
@pytest.mark.engine
def test_an_apply_that_takes_too_long_is_ended(docker_world: World) -> None:
    docker_world.apply(f"services:\n  web:{SLEEPER.replace('0s', '20s')}")
    with pytest.raises(AppError, match="not done in 1 s") as caught:
        docker_world.apply(f"services:\n  web:{SLEEPER}    environment: {{A: b}}\n", deadline=1)
    assert caught.value.reason == "ApplyFailed"
    docker_world.kill_all()


@pytest.mark.engine
@pytest.mark.fault("H01")
def test_no_secret_is_in_a_failure(docker_world: World) -> None:
    secret = "hunter2-and-more"
    present = docker_world.write(
        WEB.replace('"sleep"', '"/no/${SECRET}"') + "    environment: [SECRET]\n", SECRET=secret
    )
    rendered = docker_world.engine.render(present)
    with pytest.raises(AppError) as caught:
        docker_world.engine.apply(present.name, present.folder, rendered)
    assert secret in rendered.document
    assert secret not in str(caught.value)
    assert "***" in str(caught.value)
    assert secret not in repr(rendered)


@pytest.mark.engine
def test_the_document_alone_brings_profiles_and_secrets(docker_world: World) -> None:
    text = f"{WEB}    profiles: [extra]\n    secrets: [token]\nsecrets: {{token: {{environment: TOKEN}}}}\n"
    present = docker_world.write(text, COMPOSE_PROFILES="extra", TOKEN="hunter2-and-more")
    rendered = docker_world.engine.render(present)
    (Path(present.folder) / ".env").unlink()
    docker_world.engine.apply(present.name, present.folder, rendered)
    assert docker_world.one().state == "running"
    told = docker_world.engine.exec(docker_world.one().id, b"cat /run/secrets/token", {}, 10)
    assert told.stdout == b"hunter2-and-more"
    out = docker_world.engine.exec(docker_world.one().id, b"cat /run/secrets/token", {}, 10).stdout
    assert out == b"hunter2-and-more"


@pytest.mark.engine
def test_what_a_failing_health_check_printed_is_among_the_last_lines(docker_world: World) -> None:
    check = '{test: ["CMD-SHELL", "echo no way; exit 1"], interval: 1s, retries: 1}'
    rendered = docker_world.apply(f"{WEB}    healthcheck: {check}\n")
    one = docker_world.one()
    wait_until(
        lambda: docker_world.engine.last_lines(one.id, rendered) == ("its health check: no way",),
        "what the check printed is told", 15,
    )  # fmt: skip


@pytest.mark.engine
def test_a_container_takes_commands_after_each_restart_though_it_is_given_no_time_to_stop(
    docker_world: World,
) -> None:
    docker_world.apply(f"{WEB}    init: true\n")
    one = docker_world.one()
    for _ in range(5):
        docker_world.engine.restart(docker_world.app, [one.id])
        assert docker_world.engine.exec(one.id, b"echo here", {}, 10).stdout == b"here\n"


@pytest.mark.engine
def test_what_is_built_is_built_anew_with_the_app(docker_world: World) -> None:
    app = docker_world.app
    text = f"services:\n  web:{SLEEPER.replace('image: homeport/sample:1', 'build: .')}"
    folder = Path(docker_world.write(text).folder)
    ids = []
    try:
        for label in ("one", "two"):
            (folder / "Dockerfile").write_text(
                f"FROM homeport/sample:1\nLABEL of={docker_world.prefix}{label}\n"
            )
            rendered = docker_world.apply(text)
            assert docker_world.engine.missing_images(rendered) == ()
            ids.append(docker_world.one().image_id)
        assert len(set(ids)) == 2
    finally:
        docker_world.engine.remove(app, (str(folder),))
        docker_world.on_docker(lambda client: [client.remove_image(i, force=True) for i in ids])


@pytest.mark.engine
def test_what_was_built_is_not_built_anew_when_its_image_is_named(docker_world: World) -> None:
    text = f"services:\n  web:{SLEEPER.replace('image: homeport/sample:1', 'build: .')}"
    folder = Path(docker_world.write(text).folder)
    file = folder / "Dockerfile"
    ids = []
    try:
        file.write_text(f"FROM homeport/sample:1\nLABEL of={docker_world.prefix}one\n")
        rendered = docker_world.apply(text)
        first = docker_world.one()
        ids.append(first.image_id)
        assert docker_world.engine.image_ids(rendered) == {"web": first.image_id}
        file.write_text(f"FROM homeport/sample:1\nLABEL of={docker_world.prefix}two\n")
        docker_world.apply(text, images={"web": first.image_id})
        assert docker_world.one().incarnation == first.incarnation
        docker_world.apply(text)
        ids.append(docker_world.one().image_id)
        assert ids[0] != ids[1]
        file.unlink()
        docker_world.apply(text, images={"web": first.image_id})
        assert docker_world.one().image_id == first.image_id
    finally:
        docker_world.engine.remove(docker_world.app, (str(folder),))
        docker_world.on_docker(lambda client: [client.remove_image(i, force=True) for i in ids])


@pytest.mark.engine
def test_a_pull_builds_what_is_made_of_the_apps_own_files_and_touches_no_container(
    docker_world: World,
) -> None:
    text = f"services:\n  web:{SLEEPER.replace('image: homeport/sample:1', 'build: .')}"
    present = docker_world.write(text)
    file = Path(present.folder) / "Dockerfile"
    ids: set[str] = set()
    try:
        file.write_text(f"FROM homeport/sample:1\nLABEL of={docker_world.prefix}one\n")
        rendered = docker_world.apply(text)
        first = docker_world.one()
        file.write_text(f"FROM homeport/sample:1\nLABEL of={docker_world.prefix}two\n")
        docker_world.engine.pull(present, rendered, ["web"])
        ids = {first.image_id, docker_world.engine.image_ids(rendered)["web"]}
        assert len(ids) == 2
        assert docker_world.one().incarnation == first.incarnation
    finally:
        docker_world.engine.remove(docker_world.app, (present.folder,))
        docker_world.on_docker(lambda client: [client.remove_image(i, force=True) for i in ids])


@pytest.mark.engine
def test_what_is_not_named_is_built_anew_beside_what_is(docker_world: World) -> None:
    built = SLEEPER.replace("image: homeport/sample:1", "build: .")
    text = f"services:\n  web:{built}\n  side:{built}"
    folder = Path(docker_world.write(text).folder)
    ids: set[str] = set()
    try:
        (folder / "Dockerfile").write_text(f"FROM homeport/sample:1\nLABEL of={docker_world.prefix}one\n")
        docker_world.apply(text)
        web, side = docker_world.one("web"), docker_world.one("side")
        (folder / "Dockerfile").write_text(f"FROM homeport/sample:1\nLABEL of={docker_world.prefix}two\n")
        docker_world.apply(text, images={"web": web.image_id})
        ids = {web.image_id, side.image_id, docker_world.one("side").image_id}
        assert docker_world.one("web").incarnation == web.incarnation
        assert docker_world.one("side").image_id != side.image_id
    finally:
        docker_world.engine.remove(docker_world.app, (str(folder),))
        docker_world.on_docker(lambda client: [client.remove_image(i, force=True) for i in ids])


BUILT = "services:\n  web:" + SLEEPER.replace("image: homeport/sample:1", "build: .")


def builds(world: World, text: str, **env: str) -> tuple[Callable[[], None], Callable[[], None]]:
    """Two ways to come to a build with this Dockerfile: an apply, and the pull of an update."""
    present = world.write(BUILT + "    environment: [SECRET]\n", **{"SECRET": "", **env})
    (Path(present.folder) / "Dockerfile").write_text(f"FROM homeport/sample:1\n{text}\n")
    rendered = world.engine.render(present)
    return (
        lambda: world.engine.apply(present.name, present.folder, rendered),
        lambda: world.engine.pull(present, rendered, ("web",)),
    )


@pytest.mark.engine
def test_a_build_that_fails_is_told_with_the_last_lines_it_printed_and_no_secret(docker_world: World) -> None:
    step = "RUN echo begin; echo of hunter2-and-more; cat /no/such/dir; exit 3"
    for build in builds(docker_world, step, SECRET="hunter2-and-more"):
        with pytest.raises(AppError) as caught:
            build()
        assert caught.value.reason == "BuildFailed"
        what, _, last = str(caught.value).partition("; the build said last: ")
        assert what.endswith("exit 3' returned a non-zero code: 3")
        # The engine reads a step's two streams side by side.
        missing = "cat: can't open '/no/such/dir': No such file or directory"
        assert sorted(last.split(" | ")) == ["begin", missing, "of ***"]


@pytest.mark.engine
def test_a_build_that_fails_again_and_again_leaves_nothing_behind(docker_world: World) -> None:
    mine = {"label": f"of={docker_world.prefix}"}
    file = f"LABEL of={docker_world.prefix}\nRUN mkdir /mine && echo {docker_world.prefix} >/mine/of\nVOLUME /mine\nRUN exit 3"

    def there(client: Any) -> tuple[list[str], list[str], list[str]]:
        of = [Path(v["Mountpoint"], "of") for v in client.volumes()["Volumes"] or ()]
        return (
            [c["Id"] for c in client.containers(all=True, filters=mine)],
            [str(path) for path in of if path.exists() and docker_world.prefix in path.read_text()],
            sorted(i["Id"] for i in client.images(all=True, filters=mine)),
        )

    ways = builds(docker_world, file)
    seen = []
    for build in (*ways, *ways, *ways):
        with pytest.raises(AppError, match="code: 3"):
            build()
        seen.append(docker_world.on_docker(there))
    for containers, volumes, images in seen:
        assert (containers, volumes) == ([], [])
        assert images == seen[0][2], "the steps that were done are the builder's cache, and are made once"


@pytest.mark.engine
def test_a_build_that_takes_too_long_leaves_no_container_and_tells_how_far_it_came(
    docker_world: World,
) -> None:
    mine = {"label": f"of={docker_world.prefix}"}
    present = docker_world.write(BUILT)
    step = "RUN echo waiting for godot; sleep 1000"
    (Path(present.folder) / "Dockerfile").write_text(
        f"FROM homeport/sample:1\nLABEL of={docker_world.prefix}\n{step}\n"
    )
    rendered = docker_world.engine.render(present)
    with pytest.raises(AppError, match=r"not done in 4 s and was ended.*said last: waiting for godot"):
        docker_world.engine.apply(present.name, present.folder, rendered, deadline=4)
    docker_world.until(
        lambda: docker_world.on_docker(lambda client: not client.containers(all=True, filters=mine)),
        "the engine has ended the step itself",
    )


@pytest.mark.engine
def test_a_step_that_prints_the_id_of_another_container_takes_nothing_away(docker_world: World) -> None:
    def make(client: Any) -> str:
        return str(client.create_container("homeport/sample:1", ["true"])["Id"])

    stranger = docker_world.on_docker(make)
    try:
        for build in builds(docker_world, f"RUN echo ' ---> Running in {stranger[:12]}'; exit 3"):
            with pytest.raises(AppError, match="code: 3"):
                build()
            assert docker_world.on_docker(lambda client: client.inspect_container(stranger)["Id"]) == stranger
    finally:
        docker_world.on_docker(lambda client: client.remove_container(stranger))


@pytest.mark.engine
@pytest.mark.parametrize("runs", [True, False], ids=["runs", "of Compose"])
def test_a_step_that_prints_the_id_of_one_that_came_meanwhile_takes_away_neither_what_runs_nor_what_is_an_apps(
    docker_world: World, runs: bool
) -> None:
    mine = {"label": f"of={docker_world.prefix}"}
    step = "RUN while [ ! -e /told ]; do sleep 0.05; done; cat /told; exit 3"
    build, _ = builds(docker_world, f"LABEL of={docker_world.prefix}\n{step}")
    labels = {} if runs else {seen.FOLDER: "/srv/apps/other"}
    with ThreadPoolExecutor(1) as beside, api(docker_world.host) as client:
        built = beside.submit(build)
        wait_until(lambda: client.containers(filters=mine), "the step runs")
        other = client.create_container("homeport/sample:1", ["sleep", "1000"], labels=labels)["Id"]
        try:
            if runs:
                client.start(other)
            tell = f"echo ' ---> Running in {other[:12]}' >/new; mv /new /told"
            told = client.exec_create(client.containers(filters=mine)[0]["Id"], ["sh", "-c", tell])
            client.exec_start(told)
            with pytest.raises(AppError, match="code: 3"):
                built.result()
            assert client.inspect_container(other)["State"]["Running"] is runs
        finally:
            client.remove_container(other, force=True)


@pytest.mark.engine
def test_a_kept_image_outlives_its_name_and_goes_when_it_is_kept_no_more(docker_world: World) -> None:
    from docker.errors import ImageNotFound

    old = docker_world.move("old")
    docker_world.engine.keep_images(docker_world.app, {old})
    docker_world.move("new")

    def tags() -> list[str]:
        return list(docker_world.on_docker(lambda client: client.inspect_image(old)["RepoTags"]))

    tag = f"homeport.local/keep/{docker_world.app}:{old.removeprefix('sha256:')[:12]}"
    assert tags() == [tag]
    docker_world.apply(WEB.replace("homeport/sample:1", docker_world.image), images={"web": old})
    docker_world.engine.keep_images(docker_world.app, ())
    assert tags() == [tag], "a container needs it, so it waits for the next time"
    docker_world.engine.remove(docker_world.app, (str(docker_world.folder / docker_world.app),))
    docker_world.engine.keep_images(docker_world.app, ())
    with pytest.raises(ImageNotFound):
        tags()


@pytest.mark.engine
@pytest.mark.parametrize("end", ["-", "_-x", "___x"])
def test_an_app_whose_name_no_repository_can_have_keeps_its_images_too(docker_world: World, end: str) -> None:
    image = docker_world.move("only")
    docker_world.engine.keep_images(docker_world.app + end, {image})
    tags = docker_world.on_docker(lambda client: client.inspect_image(image)["RepoTags"])
    assert len([tag for tag in tags if tag.startswith("homeport.local/keep/")]) == 1
    docker_world.engine.keep_images(docker_world.app + end, ())
    tags = docker_world.on_docker(lambda client: client.inspect_image(image)["RepoTags"])
    assert tags == [docker_world.image]


@pytest.mark.engine
def test_the_file_of_a_secret_and_of_a_config_can_be_replaced_and_comes_back(docker_world: World) -> None:
    text = (
        f"{WEB}    secrets: [token]\n    configs: [conf, {{source: conf, target: /etc/conf}}]\n"
        "secrets: {token: {file: ./file}}\nconfigs: {conf: {file: ./file}}\n"
    )
    file = Path(docker_world.write(text).folder) / "file"
    file.write_text("new")
    copy = docker_world.folder / "copy"
    copy.write_text("old")
    script = b"cat /run/secrets/token /conf /etc/conf"
    for sources, content in (({}, b"new"), ({str(file): str(copy)}, b"old"), ({}, b"new")):
        docker_world.apply(text, sources=sources)
        assert docker_world.engine.exec(docker_world.one().id, script, {}, 10).stdout == content * 3


@pytest.mark.engine
@pytest.mark.parametrize("tty", ["true", "false"])
@pytest.mark.fault("H01")
def test_no_secret_and_no_control_character_is_in_the_last_lines(docker_world: World, tty: str) -> None:
    say = (
        r"printf 'early\n\033[31mA=%s\033[0m\rdone \007\n' $$A; "
        # The engine reads two streams: what is written to both at one moment may change places.
        r"sleep 0.5; echo B is $$B >&2; sleep 0.5; head -c 40000 /dev/zero | tr '\0' y; echo; sleep 1000"
    )
    chatty = SLEEPER.replace('["sleep", "1000"]', json.dumps(["sh", "-c", say]))
    text = f"services:\n  web:{chatty}    tty: {tty}\n    environment: {{A: hunter2-and-more, B: '${{B}}'}}\n"
    present = docker_world.write(text, B="hunter3-and-more")
    rendered = replace(docker_world.engine.render(present), env=present.env)
    docker_world.engine.apply(present.name, present.folder, rendered)
    web = docker_world.one().id
    wait_until(lambda: "yyy" in "".join(docker_world.engine.last_lines(web, rendered)), "web has spoken")
    *short, long = docker_world.engine.last_lines(web, rendered, 5)
    assert short == ["early", "A=***", "done", "B is ***"]
    assert len(long) == 200


@pytest.mark.engine
@pytest.mark.fault("H01")
def test_what_the_file_of_a_secret_holds_is_not_in_the_last_lines(docker_world: World) -> None:
    say = "sed 's/^/key: /' /run/secrets/key; sleep 1000"
    chatty = SLEEPER.replace('["sleep", "1000"]', json.dumps(["sh", "-c", say]))
    text = f"services:\n  web:{chatty}    secrets: [key]\nsecrets: {{key: {{file: ./key}}}}\n"
    (Path(docker_world.write(text).folder) / "key").write_text("hunter2-and-more\nhunter3-and-more\n")
    rendered = docker_world.apply(text)
    web = docker_world.one().id
    said = wait_until(lambda: docker_world.engine.last_lines(web, rendered), "web has spoken")
    assert said == ("key: ***",), "and what is there again and again is there once"


@pytest.mark.engine
def test_a_log_that_cannot_be_read_back_has_no_last_lines(docker_world: World) -> None:
    rendered = docker_world.apply(f"{WEB}    logging: {{driver: none}}\n")
    assert docker_world.engine.last_lines(docker_world.one().id, rendered) == ()


@pytest.mark.fault("D11")
@pytest.mark.engine
def test_a_foreign_container_keeps_its_network_when_ours_go(docker_world: World) -> None:
    text = WEB.replace("network_mode: none", "init: true")
    docker_world.apply(text)
    ours = docker_world.one()

    def plant(client: Any) -> str:
        labels = {**client.inspect_container(ours.id)["Config"]["Labels"]}
        labels["com.docker.compose.project.working_dir"] = "/somewhere/else"
        network = f"{docker_world.app}_default"
        made = client.create_container(
            "homeport/sample:1", ["sleep", "1000"], name=f"{docker_world.app}-theirs", labels=labels,
            host_config=client.create_host_config(network_mode=network), stop_signal="KILL",
        )  # fmt: skip
        client.start(made["Id"])
        return str(made["Id"])

    theirs = docker_world.on_docker(plant)
    docker_world.engine.remove(docker_world.app, (str(docker_world.folder / docker_world.app),))
    seen = docker_world.look()
    assert (seen.containers, seen.foreign) == ((), ("/somewhere/else",))
    assert docker_world.on_docker(lambda client: client.inspect_container(theirs)["State"]["Running"])


@pytest.mark.engine
@pytest.mark.fault("B05")
def test_a_process_that_holds_a_port_is_named(docker_world: World) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        port = server.getsockname()[1]
        busy = docker_world.engine.busy_ports([("", port, "tcp"), ("", port, "udp")], docker_world.app)
    assert list(busy) == [port]
    assert busy[port].startswith("process ")


@pytest.mark.fault("D01")
@pytest.mark.engine
def test_an_engine_that_was_killed_is_lost_and_found_again(
    private_engine: PrivateEngine, tmp_path: Path, app_prefix: str
) -> None:
    for world in _docker(private_engine.host, tmp_path, app_prefix):
        world.apply(WEB)
        before = world.one()
        stream = world.engine.events()
        assert next(stream).action == "connected"
        private_engine.kill9()
        assert [e.action for e in stream if e.action == "connected"] == []
        with pytest.raises(EngineUnreachable):
            world.look()
        with pytest.raises(EngineUnreachable):
            world.apply(WEB)
        private_engine.start()
        # The connections of before are all dead; nobody is to notice.
        assert world.one().id == before.id
        world.apply(WEB, services=("web",))
        assert world.one().state == "running"
        assert world.one().incarnation != before.incarnation


def test_an_engine_that_is_not_there_is_unreachable_and_says_where(tmp_path: Path) -> None:
    socket_path = tmp_path / "nobody.sock"
    engine = DockerEngine(Endpoint(f"unix://{socket_path}"), tmp_path / "work", SystemClock())
    try:
        for ask in (
            engine.info,
            lambda: engine.survey(volumes=False),
            lambda: engine.observe("web", (), ()),
            lambda: engine.ensure_volume("v", "web"),
            lambda: engine.exec("c", b"", {}, 1),
            lambda: list(engine.events()),
        ):
            with pytest.raises(EngineUnreachable, match=str(socket_path)):
                ask()
    finally:
        engine.close()


def _free_port() -> int:
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        port: int = server.getsockname()[1]
        return port

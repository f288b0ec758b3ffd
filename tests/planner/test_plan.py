"""The planner by printed plan: what is due, in which order, and why."""

from __future__ import annotations

import textwrap
from dataclasses import replace

import pytest

from controller.model.plan import Action
from controller.model.record import Quarantine
from controller.planner.plan import View, Wishes, plan, plan_stop
from fakes.build import container, ledger, observed, present, provider, record, rendered, service, target

STARTED = "id-proxy@2026-01-01T11:00:00Z"
HOOKED = [{"app": "db", "on_install": "scripts/i.sh", "on_start": "scripts/s.sh"}]


def printed(view: View) -> str:
    return plan(view).describe()


def block(text: str) -> str:
    return textwrap.dedent(text).strip()


def test_a_new_app_gets_its_volumes_then_its_env_and_then_starts() -> None:
    view = View(
        record(generation=1), observed(), present(volumes=["files"], seeds=(".env",)), None,
        volumes=("furtka_web_files",), providers={},
    )  # fmt: skip
    assert printed(view) == block("""
        ensure_volume  furtka_web_files - it does not exist
        seed_env       web (.env) - .env does not exist
        compose_up     web - first start
    """)


def test_on_install_comes_before_on_start_and_both_before_the_start() -> None:
    view = View(record(), observed(), present(requires=HOOKED), None, providers={"db": provider()})
    assert printed(view) == block("""
        hook           web:db:on_install (scripts/i.sh) - has not run in db for this installation
        hook           web:db:on_start (scripts/s.sh) - before the start
        compose_up     web - first start
    """)


def test_on_install_runs_once() -> None:
    view = View(
        record(on_install={"db": ledger("KEY")}), observed(), present(requires=HOOKED, env={"KEY": "x"}), rendered(),
        providers={"db": provider()},
    )  # fmt: skip
    assert printed(view) == block("""
        hook           web:db:on_start (scripts/s.sh) - before the start
        compose_up     web - first start
    """)


def test_on_install_runs_again_when_it_was_cut_off() -> None:
    view = View(
        record(on_install={"db": ledger(phase="started")}),
        observed(),
        present(requires=HOOKED),
        None,
        providers={"db": provider()},
    )
    assert "on_install (scripts/i.sh) - has not succeeded yet" in printed(view)


@pytest.mark.parametrize("env", [{}, {"KEY": ""}])
def test_on_install_runs_again_when_a_key_it_gave_is_missing_or_empty(env: dict[str, str]) -> None:
    view = View(
        record(on_install={"db": ledger("KEY")}),
        observed(),
        present(requires=HOOKED, env=env),
        None,
        providers={"db": provider()},
    )
    assert "on_install (scripts/i.sh) - KEY is missing from .env" in printed(view)


def test_on_install_runs_again_when_the_providers_volumes_are_new() -> None:
    view = View(
        record(on_install={"db": ledger("KEY", volumes="v@0")}), observed(), present(requires=HOOKED, env={"KEY": "x"}), None,
        providers={"db": provider()},
    )  # fmt: skip
    assert "on_install (scripts/i.sh) - the volumes of db are new" in printed(view)


def test_nothing_is_due_when_what_was_applied_runs() -> None:
    view = View(
        record(target=target(), on_start={"db": "i1"}, on_install={"db": ledger()}), observed(container()),
        present(requires=HOOKED), rendered(), providers={"db": provider()},
    )  # fmt: skip
    assert printed(view) == ""


def test_on_start_runs_alone_when_only_the_provider_is_new() -> None:
    view = View(
        record(target=target(), on_start={"db": "i0"}, on_install={"db": ledger()}), observed(container()),
        present(requires=HOOKED), rendered(), providers={"db": provider()},
    )  # fmt: skip
    assert (
        printed(view)
        == "hook           web:db:on_start (scripts/s.sh) - containers of db are new or were started again"
    )


def test_an_edit_names_the_services_that_differ() -> None:
    view = View(
        record(target=target("web", "old", revision="rev1")), observed(container()), present(),
        rendered(service("web", "h2"), service("new", "h3")), providers={}, differences={"web": ""},
    )  # fmt: skip
    assert printed(view) == block("""
        compose_up     web - service web: config hash differs; service new: new; service old: no longer there
    """)


def test_what_an_edit_changes_of_a_service_is_told_where_it_is_known() -> None:
    view = View(
        record(target=target("web", revision="rev1")), observed(container()), present(), rendered(service("web", "h2")),
        differences={"web": "image a:1 becomes a:2", "other": "command"},
    )  # fmt: skip
    assert printed(view) == "compose_up     web - service web: config hash differs (image a:1 becomes a:2)"


def test_behind_a_block_only_the_target_is_repaired() -> None:
    view = View(
        record(target=target(revision="rev1")), observed(), present(requires=HOOKED, volumes=["files"]),
        rendered(revision="rev1"), apply=False, volumes=("furtka_web_files",), providers={"db": provider(available=False)},
    )  # fmt: skip
    assert printed(view) == "compose_up     web (web) - service web: no container"


def test_a_repair_starts_only_the_services_that_are_down() -> None:
    view = View(
        record(target=target("web", "db")),
        observed(container("web"), container("db", state="exited", exit_code=137)), present(),
        rendered(service("web"), service("db")), providers={},
    )  # fmt: skip
    assert printed(view) == "compose_up     web (db) - service db: container exited (137)"


def test_containers_too_many_are_taken_away_without_touching_the_siblings() -> None:
    view = View(
        record(target=target("web", "db")),
        observed(container("web"), replace(container("web"), id="id-web-2", number=2), container("db")), present(),
        rendered(service("web"), service("db")), providers={},
    )  # fmt: skip
    assert printed(view) == "compose_up     web (web) - service web: 2 containers, 1 wanted"


def test_a_lost_network_forces_a_new_container() -> None:
    view = View(
        record(target=target()), observed(container(networks=())), present(), rendered(), providers={}
    )
    (action,) = plan(view).actions
    assert action.force
    assert action.services == ("web",)


def test_a_sidecar_is_restarted_when_the_owner_of_its_network_was() -> None:
    services = (service("web"), service("side", shares_with="web"))
    applied = target("web", "side")
    side = replace(applied.services["side"], owner="id-web@2026-01-01T10:00:00Z", networks=())
    applied = replace(applied, services={**applied.services, "side": side})
    view = View(
        record(target=applied),
        observed(
            container("web", started_at="2026-01-01T11:30:00Z"),
            container("side", started_at="2026-01-01T11:00:00Z", networks=(), shares_with="id-web"),
        ),
        present(), rendered(*services), providers={},
    )  # fmt: skip
    assert (
        printed(view)
        == "restart        web (side) - service side: web, whose network it shares, was restarted"
    )


def test_a_finished_job_is_not_started_again() -> None:
    view = View(
        record(target=target("web", "job")), observed(container("web"), container("job", state="exited")), present(),
        rendered(service("web"), service("job", is_job=True)), providers={},
    )  # fmt: skip
    assert printed(view) == ""


def test_exit_0_of_a_server_is_an_end_to_repair_unless_it_ended_by_itself() -> None:
    def due(restart: str, by_itself: bool) -> str:
        ended = container(state="exited", ended_by_itself=by_itself)
        return printed(
            View(
                record(target=target()),
                observed(ended),
                present(),
                rendered(service(restart=restart)),
                providers={},
            )
        )

    assert due("no", by_itself=True) == ""
    assert due("on-failure", by_itself=True) == ""
    assert "container exited (0)" in due("no", by_itself=False)
    assert "container exited (0)" in due("always", by_itself=True)


def test_action_lines_are_those_of_the_seed() -> None:
    assert str(Action("ensure_volume", "furtka_fileshare_files")) == "ensure_volume  furtka_fileshare_files"
    hook = Action("hook", "zigbee2mqtt:mosquitto:on_start", "scripts/ensure-client.sh")
    assert str(hook) == "hook           zigbee2mqtt:mosquitto:on_start (scripts/ensure-client.sh)"
    assert str(Action("compose_up", "zigbee2mqtt")) == "compose_up     zigbee2mqtt"
    assert str(Action("skip", "broken", "manifest.json: …")) == "skip           broken (manifest.json: …)"
    assert str(Action("error", "web", "…")) == "error          web (…)"


def test_a_sidecar_gets_a_new_container_when_the_owner_of_its_network_is_another_one() -> None:
    services = (service("web"), service("side", shares_with="web"))
    applied = target("web", "side")
    side = replace(applied.services["side"], owner="id-old@2026-01-01T10:00:00Z", networks=())
    applied = replace(applied, services={**applied.services, "side": side})
    view = View(
        record(target=applied),
        observed(container("web"), container("side", networks=(), shares_with="id-old")),
        present(), rendered(*services), providers={},
    )  # fmt: skip
    (action,) = plan(view).actions
    assert (action.kind, action.services, action.force) == ("compose_up", ("side",), True)
    assert action.cause == "service side: the container of web, whose network it shares, is gone"


def test_a_changed_mounted_file_restarts_the_service_that_mounts_it_and_its_sharers_only() -> None:
    was = target("proxy", "sidecar", "web")
    services = {
        **was.services,
        "proxy": replace(
            was.services["proxy"], mounts={"/apps/web/nginx.conf": "sha256:old"}, started=STARTED
        ),
    }
    view = View(
        record(target=replace(was, services=services)),
        observed(container("proxy"), container("sidecar"), container("web")),
        present(),
        rendered(service("proxy"), service("sidecar", shares_with="proxy"), service("web")),
        mounts={"/apps/web/nginx.conf": "sha256:new"},
    )
    assert printed(view) == block("""
        restart        web (proxy, sidecar) - service proxy: bind-mounted file /apps/web/nginx.conf changed
    """)


def test_a_service_that_somebody_started_again_has_mounted_what_is_there() -> None:
    was = target()
    mounts = {"/apps/web/conf": "8:1"}
    services = {"web": replace(was.services["web"], mounts=mounts, started="id-web@earlier")}
    view = View(
        record(target=replace(was, services=services)), observed(container()), present(), rendered(),
        mounts={"/apps/web/conf": "8:2"},
    )  # fmt: skip
    assert printed(view) == ""


def test_new_content_of_an_inline_config_re_creates_the_service() -> None:
    view = View(
        record(target=target(contents="sha256:old")), observed(container()), present(),
        rendered(service(contents="sha256:new")),
    )  # fmt: skip
    (action,) = plan(view).actions
    assert action.force
    assert printed(view) == block("""
        compose_up     web (web) - service web: the content of its configs or secrets changed
    """)


def test_an_edit_that_changes_only_the_content_of_a_config_says_so() -> None:
    view = View(
        record(target=target(contents="sha256:old", revision="rev1")), observed(container()), present(),
        rendered(service(contents="sha256:new")),
    )  # fmt: skip
    assert printed(view) == block("""
        compose_up     web - service web: the content of its configs or secrets changed
    """)


def test_another_image_behind_our_back_is_mended() -> None:
    view = View(
        record(target=target()), observed(replace(container(), image_id="sha256:i2")), present(), rendered()
    )
    assert printed(view) == block("""
        compose_up     web (web) - service web: its image is not the one that was applied
    """)


def test_on_update_runs_when_the_version_changed_and_once_for_each_version() -> None:
    hooked = [{"app": "db", "on_update": "scripts/u.sh"}]
    updated = present(requires=hooked, version="2.0.0")
    was = replace(target(revision="rev1"), version="1.0.0")
    view = View(record(target=was), observed(container()), updated, None, providers={"db": provider()})
    assert printed(view).startswith(
        "hook           web:db:on_update (scripts/u.sh) - version 1.0.0 becomes 2.0.0"
    )
    done = replace(ledger(), version="2.0.0")
    again = replace(view, record=record(target=was, on_update={"db": done}), rendered=rendered())
    assert "on_update" not in printed(again)
    first = replace(view, record=record())
    assert "on_update" not in printed(first)


def test_a_restart_that_a_person_asks_for_is_a_start_for_on_start_hooks() -> None:
    view = View(
        record(target=target(), on_start={"db": "i1"}, on_install={"db": ledger()}), observed(container()),
        present(requires=HOOKED), rendered(), providers={"db": provider()}, wishes=Wishes(restart="now"),
    )  # fmt: skip
    assert printed(view) == block("""
        hook           web:db:on_start (scripts/s.sh) - before the start
        restart        web (web) - a person asks for it
    """)


def test_a_consumer_that_follows_its_provider_is_restarted_after_its_on_start_hook() -> None:
    follows = [{"app": "db", "on_start": "scripts/s.sh", "restart": True}]
    view = View(
        record(target=target(), on_start={"db": "i0"}, started_with={"db": "i0"}),
        observed(container()), present(requires=follows), rendered(), providers={"db": provider()},
    )  # fmt: skip
    assert printed(view) == block("""
        hook           web:db:on_start (scripts/s.sh) - containers of db are new or were started again
        restart        web (web) - containers of db are new or were started again (restart: true)
    """)


def test_an_app_goes_back_with_what_it_ran_and_installs_nothing_on_the_way() -> None:
    good = replace(target(revision="rev1"), generation=1)
    quarantine = Quarantine(2, good, "CrashLooping", "generation 2 failed")
    view = View(
        record(generation=2, target=target(revision="rev2", good=False), quarantine=quarantine),
        observed(container(state="exited", exit_code=3)),
        present(volumes=["new"], seeds=(".env",)),
        rendered(revision="rev1"),
        volumes=("furtka_web_new",),
        back_to=good,
    )
    assert printed(view) == "rollback       web (generation 1) - generation 2 failed (CrashLooping)"


def test_an_app_that_runs_from_copies_is_applied_from_its_folder_when_that_says_the_same() -> None:
    view = View(record(target=replace(target(), detached=True)), observed(container()), present(), rendered())
    assert printed(view) == "compose_up     web - it ran from copies of an earlier revision"


def test_containers_that_run_already_are_taken_over() -> None:
    view = View(record(), observed(container()), present(), rendered())
    assert printed(view) == "compose_up     web - its containers run already; they are taken over"


def test_an_update_pulls_first_and_applies_what_moved() -> None:
    view = View(
        record(target=target()), observed(container()), present(), rendered(), wishes=Wishes(pull=True)
    )
    assert printed(view) == "pull           web - a person asks for it"
    assert (
        printed(replace(view, wishes=Wishes(moved=("web",))))
        == "compose_up     web - service web: its image has moved"
    )


def test_no_hook_runs_for_an_update_before_its_images_are_here() -> None:
    app = present(requires=[{"app": "db", "on_update": "scripts/u.sh"}], version="2.0.0")
    was = record(target=replace(target(), version="1.0.0"))
    view = View(was, observed(container()), app, rendered(), providers={"db": provider()})
    assert "on_update" in printed(view)
    assert printed(replace(view, wishes=Wishes(pull=True))) == "pull           web - a person asks for it"


def test_stopping_stops_what_runs_and_nothing_else() -> None:
    seen = observed(container("web"), container("job", state="exited"))
    assert plan_stop(record(), seen).describe() == "stop           web (web) - a person asks for it"
    assert not plan_stop(record(), observed(container(state="exited")))

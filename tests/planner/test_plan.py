"""The planner by printed plan: what is due, in which order, and why."""

from __future__ import annotations

import textwrap
from dataclasses import replace

from controller.model.plan import Action
from controller.planner.plan import View, plan
from fakes.build import container, ledger, observed, present, provider, record, rendered, service, target

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
    assert "on_install (scripts/i.sh) - was interrupted" in printed(view)


def test_on_install_runs_again_when_a_key_it_gave_is_missing() -> None:
    view = View(
        record(on_install={"db": ledger("KEY")}),
        observed(),
        present(requires=HOOKED),
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
        rendered(service("web", "h2"), service("new", "h3")), providers={},
    )  # fmt: skip
    assert printed(view) == block("""
        compose_up     web - service web: config hash differs; service new: new; service old: no longer there
    """)


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

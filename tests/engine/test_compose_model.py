"""What Compose's resolved model means, which engine is talked to, and what is read off the machine's ports."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from controller.engine import document as documents
from controller.engine import hostports, observation
from controller.engine.endpoint import resolve_endpoint
from controller.model import hostport
from controller.model.errors import EngineUnreachable
from controller.model.observed import Bind, Rendered, Service


def parse(services: dict[str, dict[str, Any]], **top: Any) -> Rendered:
    text = json.dumps({"name": "app", "services": services, **top})
    return documents.parse("app", "r1", documents.complete(text, {}))


def one(**fields: Any) -> Service:
    (service,) = parse({"web": {"image": "i:1", **fields}}).services
    return service


def test_services_come_in_the_order_of_their_names() -> None:
    rendered = parse({"web": {"image": "i:1"}, "db": {"image": "i:2"}})
    assert [(s.name, s.image) for s in rendered.services] == [("db", "i:2"), ("web", "i:1")]


@pytest.mark.parametrize(
    ("fields", "scale"),
    [
        ({}, 1),
        ({"scale": 3}, 3),
        ({"deploy": {"replicas": 2}}, 2),
        ({"scale": 0}, 0),
        ({"deploy": {"replicas": 0}}, 0),
    ],
)
def test_scale(fields: dict[str, Any], scale: int) -> None:
    assert one(**fields).scale == scale


@pytest.mark.parametrize(
    ("check", "has"),
    [
        (None, False),
        ({"test": ["CMD", "true"]}, True),
        ({"test": ["NONE"]}, False),
        ({"disable": True}, False),
        ({"test": ["CMD", "true"], "disable": True}, False),
        ({"interval": "1s"}, False),
    ],
)
def test_a_health_check_is_one_that_is_on(check: dict[str, Any] | None, has: bool) -> None:
    assert one(healthcheck=check).has_healthcheck is has


def test_a_job_is_awaited_by_a_sibling_or_says_so() -> None:
    awaited = {
        "depends_on": {
            "a": {"condition": "service_completed_successfully"},
            "b": {"condition": "service_started"},
        }
    }
    rendered = parse(
        {
            "a": {},
            "b": {},
            "c": {"labels": {"homeport.job": "true"}},
            "d": {"labels": {"homeport.job": "false"}},
            "e": awaited,
        }
    )
    assert [s.name for s in rendered.services if s.is_job] == ["a", "c"]


def test_binds_are_host_paths_and_files_of_secrets_and_configs() -> None:
    (web,) = parse(
        {
            "web": {
                "volumes": [
                    {
                        "type": "bind",
                        "source": "/a/f",
                        "target": "/f",
                        "read_only": True,
                        "bind": {"create_host_path": False},
                    },
                    {"type": "bind", "source": "/a/d", "target": "/d"},
                    {"type": "volume", "source": "data", "target": "/v"},
                    {"type": "tmpfs", "target": "/t"},
                ],
                "secrets": [{"source": "token"}, {"source": "made"}],
                "configs": [{"source": "conf", "target": "/etc/conf"}],
            }
        },
        secrets={"token": {"file": "/a/token"}, "made": {"environment": "MADE"}},
        configs={"conf": {"file": "/a/conf"}},
    ).services
    assert web.binds == (
        Bind("/a/f", "/f", True),
        Bind("/a/d", "/d", False),
        Bind("/a/token", "/run/secrets/token", True),
        Bind("/a/conf", "/etc/conf", True),
    )


def test_ports_are_those_that_are_certainly_taken() -> None:
    ports = [
        {"target": 80, "published": "8080", "protocol": "tcp"},
        {"target": 53, "published": "53", "protocol": "udp", "host_ip": "127.0.0.1"},
        {"target": 81, "published": ""},
        {"target": 82, "published": "0"},
        {"target": 83, "published": "9000-9001", "protocol": "tcp"},
    ]
    assert one(ports=ports).ports == (("", 8080, "tcp"), ("127.0.0.1", 53, "udp"))
    assert one(ports=ports[-1:], scale=2).ports == (("", 9000, "tcp"), ("", 9001, "tcp"))


@pytest.mark.parametrize(
    "fields",
    [
        {"network_mode": "service:db"},
        {"ipc": "service:db"},
        {"pid": "service:db"},
        {"volumes_from": ["db:ro"]},
    ],
)
def test_who_shares_with_a_sibling(fields: dict[str, Any]) -> None:
    assert one(**fields).shares_with == "db"


@pytest.mark.parametrize(
    "fields", [{"network_mode": "host"}, {"ipc": "private"}, {"volumes_from": ["container:x"]}]
)
def test_who_shares_with_no_sibling(fields: dict[str, Any]) -> None:
    assert one(**fields).shares_with == ""


def test_external_volumes_have_their_real_names() -> None:
    rendered = parse({}, volumes={"a": {"name": "app_a"}, "b": {"name": "furtka_app_b", "external": True}})
    assert rendered.external_volumes == ("furtka_app_b",)
    assert rendered.own_volumes == ("app_a",)


@pytest.mark.parametrize(
    ("fields", "keeps"),
    [
        ({}, False),
        ({"volumes": [{"type": "tmpfs", "target": "/t"}]}, False),
        ({"volumes": [{"type": "bind", "source": "/a", "target": "/t", "read_only": True}]}, False),
        ({"volumes": [{"type": "bind", "source": "/a", "target": "/t"}]}, True),
        ({"volumes": [{"type": "volume", "source": "v", "target": "/t"}]}, True),
        ({"volumes": [{"type": "volume", "target": "/t"}]}, True),
        ({"volumes_from": ["db:ro"]}, False),
        ({"volumes_from": ["db"]}, True),
    ],
)
def test_data_is_kept_where_something_lasting_can_be_written(fields: dict[str, Any], keeps: bool) -> None:
    assert one(**fields).keeps_data is keeps


def test_a_document_to_which_nothing_is_done_is_the_same_text() -> None:
    text = '{"services": {"web":{"image":"i:1","build":{"context":"/a"}}}}'
    assert documents.redirected(text, {}, {}, build=True) is text


def test_a_pinned_service_is_neither_pulled_nor_built_and_one_that_is_not_is_built() -> None:
    built = {"build": {"context": "/a"}, "pull_policy": "build"}
    text = json.dumps(
        {"services": {"moved": built, "there": {"image": "i:1"}, "free": {"build": {}, "x": 1}}}
    )
    pins = {"moved": "sha256:1", "there": ""}
    services = json.loads(documents.redirected(text, pins, {}, build=True))["services"]
    assert services["moved"] == {"image": "sha256:1", "pull_policy": "never"}
    assert services["there"] == {"image": "i:1", "pull_policy": "never"}
    assert "pull_policy" not in services["free"], "there is nothing to build"
    text = json.dumps({"services": {"there": {"image": "i:1"}, "free": {"build": {"context": "/a"}}}})
    for build, policy in ((True, "build"), (False, None)):
        document = documents.redirected(text, {"there": ""}, {}, build=build)
        assert json.loads(document)["services"]["free"].get("pull_policy") == policy


def test_a_replaced_file_of_a_secret_stays_where_it_is_in_the_container() -> None:
    text = json.dumps(
        {
            "services": {
                "web": {"secrets": [{"source": "a"}, {"source": "b", "target": "/b"}, {"source": "c"}]}
            },
            "secrets": {"a": {"file": "/f"}, "b": {"file": "/f"}, "c": {"file": "/g"}},
        }
    )
    document = documents.redirected(text, {}, {"/f": "/copy"}, build=False)
    (web,) = documents.parse("app", "r1", document).services
    assert web.binds == (
        Bind("/copy", "/run/secrets/a", True),
        Bind("/copy", "/b", True),
        Bind("/g", "/run/secrets/c", True),
    )


def test_what_is_built_has_the_name_that_compose_gives_it() -> None:
    rendered = parse({"web": {"build": {"context": "/a"}}})
    assert rendered.services[0].image == "app-web"
    assert documents.built(rendered.document) == {"web"}


def test_the_document_needs_no_other_file() -> None:
    text = json.dumps(
        {
            "services": {"web": {"profiles": ["extra"]}},
            "secrets": {"s": {"environment": "TOKEN"}, "f": {"file": "/f"}},
            "configs": {"c": {"environment": "MISSING"}},
        }
    )
    document = documents.complete(text, {"TOKEN": "hunter2", "OTHER": "x"})
    assert documents.environment(document) == {"TOKEN": "hunter2"}
    assert "profiles" not in json.loads(document)["services"]["web"]


@pytest.mark.fault("C05")
def test_compose_reads_every_character_of_a_document_as_it_was(tmp_path: Path) -> None:
    points = [
        *range(1, 0x250),
        0x2028,
        0x2029,
        0xD7FF,
        0xE000,
        0xFEFF,
        0xFFFD,
        0xFFFE,
        0xFFFF,
        0x1F600,
        0x10FFFF,
    ]
    values = {f"V{point:X}": f"a{chr(point)}b" for point in points} | {
        "TEXT": "\\ud83d\\ude00 \\\\ud83d\\ude00"
    }
    model = {"name": "app", "services": {"web": {"image": "i:1", "environment": values}}}
    file = tmp_path / "document.json"
    file.write_text(documents.complete(json.dumps(model).replace("$", "$$"), {}))
    compose = Path(sys.executable).with_name("docker-compose")
    done = subprocess.run(
        [compose, "-p", "app", "-f", file, "config", "--format", "json"], capture_output=True, check=True
    )
    read = json.loads(done.stdout)["services"]["web"]["environment"]
    assert {key: value.replace("$$", "$") for key, value in read.items()} == values


def test_secrets_of_a_document_are_all_values_but_paths_that_are_mounted() -> None:
    rendered = parse(
        {
            "web": {
                "image": "i:1",
                "environment": {"A": "hunter2", "B": None, "WHERE": "/srv/data"},
                "volumes": [{"type": "bind", "source": "/srv/data", "target": "/d"}],
                "build": {"context": "/a", "args": {"KEY": "built-in"}},
            }
        },
        configs={"c": {"content": "inline"}},
    )
    assert documents.secret_values(rendered.document, {}) == ("built-in", "hunter2", "inline")


# ---- which engine ----


def context(folder: Path, name: str, host: str, current: bool = True) -> None:
    digest = hashlib.sha256(name.encode()).hexdigest()
    meta = folder / "contexts" / "meta" / digest
    meta.mkdir(parents=True)
    (meta / "meta.json").write_text(json.dumps({"Name": name, "Endpoints": {"docker": {"Host": host}}}))
    (folder / "config.json").write_text(json.dumps({"currentContext": name} if current else {}))


def test_without_anything_it_is_the_usual_socket(tmp_path: Path) -> None:
    assert resolve_endpoint({"HOME": str(tmp_path)}).host == "unix:///var/run/docker.sock"


def test_docker_host_wins_over_a_context(tmp_path: Path) -> None:
    context(tmp_path, "there", "unix:///there.sock")
    env = {
        "HOME": "/x",
        "DOCKER_CONFIG": str(tmp_path),
        "DOCKER_CONTEXT": "there",
        "DOCKER_HOST": "unix:///here.sock",
    }
    assert resolve_endpoint(env).host == "unix:///here.sock"


def test_the_current_context_is_followed_and_the_named_one_first(tmp_path: Path) -> None:
    context(tmp_path, "there", "unix:///there.sock")
    env = {"HOME": "/x", "DOCKER_CONFIG": str(tmp_path)}
    assert resolve_endpoint(env).host == "unix:///there.sock"
    assert resolve_endpoint({**env, "DOCKER_CONTEXT": "default"}).host == "unix:///var/run/docker.sock"
    with pytest.raises(EngineUnreachable, match="elsewhere"):
        resolve_endpoint({**env, "DOCKER_CONTEXT": "elsewhere"})


def test_another_machine_by_ssh_is_refused() -> None:
    with pytest.raises(EngineUnreachable, match="not supported"):
        resolve_endpoint({"HOME": "/x", "DOCKER_HOST": "ssh://me@there"})


def test_a_child_gets_the_endpoint_and_nothing_that_steers_compose() -> None:
    env = {
        "HOME": "/h",
        "PATH": "/bin",
        "DOCKER_HOST": "unix:///s",
        "COMPOSE_FILE": "x",
        "DOCKER_CONTEXT": "y",
        "SECRET": "z",
    }
    assert resolve_endpoint(env).child_env() == {
        "PATH": "/bin", "HOME": "/h", "LANG": "C.UTF-8", "DOCKER_HOST": "unix:///s", "DOCKER_CONFIG": "/h/.docker",
    }  # fmt: skip


def test_tls_is_told_to_the_child(tmp_path: Path) -> None:
    env = {
        "HOME": "/h",
        "DOCKER_HOST": "tcp://127.0.0.1:2376",
        "DOCKER_TLS_VERIFY": "1",
        "DOCKER_CERT_PATH": str(tmp_path),
    }
    child = resolve_endpoint(env).child_env()
    assert (child["DOCKER_TLS_VERIFY"], child["DOCKER_CERT_PATH"]) == ("1", str(tmp_path))


# ---- what the engine and the machine say ----


def test_times_sort_as_text() -> None:
    texts = [
        "2026-01-01T00:00:05Z",
        "2026-01-01T00:00:05.1Z",
        "2026-01-01T00:00:05.12Z",
        "2026-01-01T00:00:05.123456789Z",
    ]
    assert sorted(map(observation.stamp, reversed(texts))) == [observation.stamp(t) for t in texts]
    assert observation.stamp("0001-01-01T00:00:00Z") == ""
    assert observation.seconds(observation.stamp(texts[1])) == pytest.approx(1767225605.1)


def test_listening_sockets_are_read_in_both_families(tmp_path: Path) -> None:
    net = tmp_path / "net"
    net.mkdir()
    head = (
        "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
    )
    rest = "00000000:00000000 00:00000000 00000000     0        0 4242 1\n"
    (net / "tcp").write_text(
        f"{head}   0: 0100007F:1F90 00000000:0000 0A {rest}   1: 0100007F:1F91 0100007F:1F90 01 {rest}"
    )
    (net / "tcp6").write_text(f"{head}   0: 00000000000000000000000001000000:0050 {'0' * 32}:0000 0A {rest}")
    (net / "udp").write_text(f"{head}   0: 00000000:0035 00000000:0000 07 {rest}")
    assert hostports.listeners(tmp_path) == (
        hostports.Listener("tcp", "127.0.0.1", 8080, "4242"),
        hostports.Listener("tcp", "::1", 80, "4242"),
        hostports.Listener("udp", "0.0.0.0", 53, "4242"),  # noqa: S104
    )


@pytest.mark.parametrize(
    ("one", "other", "clash"),
    [
        ("", "127.0.0.1", True),
        ("127.0.0.1", "::", True),
        ("127.0.0.1", "127.0.0.1", True),
        ("127.0.0.1", "::ffff:127.0.0.1", True),
        ("127.0.0.1", "192.0.2.1", False),
    ],
)
def test_addresses_that_clash(one: str, other: str, clash: bool) -> None:
    assert hostport.clash((one, 80, "tcp"), (other, 80, "tcp")) is clash
    assert not hostport.clash((one, 80, "tcp"), (other, 80, "udp"))


def test_differences_are_told_in_words_and_without_values() -> None:
    before = parse({
        "web": {
            "image": "a:1", "command": ["run", "--password", "s3cret"], "ports": [{"published": "80", "target": 8080}],
            "environment": {"KEPT": "x", "PASSWORD": "s3cret", "OLD": "s3cret"}, "mem_limit": "64m",
        },
        "same": {"image": "b:1", "environment": {"A": "s3cret"}},
        "gone": {"image": "c:1"},
    })  # fmt: skip
    after = parse({
        "web": {
            "image": "a:2", "command": ["run", "--password", "other-s3cret"], "mem_limit": "128m",
            "environment": {"KEPT": "x", "PASSWORD": "other-s3cret", "NEW": "s3cret"},
        },
        "same": {"image": "b:1", "environment": {"A": "s3cret"}},
        "new": {"image": "d:1"},
    })  # fmt: skip
    assert documents.differences(after.document, before.document) == {
        "web": "command; environment PASSWORD changed, NEW new, OLD gone; image a:1 becomes a:2; mem limit; "
        "ports 80:8080 become none"
    }
    assert documents.differences("", before.document) == {}


def test_to_whom_a_port_is_open_is_part_of_what_is_told() -> None:
    published = {"published": "80", "target": 8080}
    before = parse({"web": {"image": "a:1", "ports": [{**published, "host_ip": "127.0.0.1"}]}})
    after = parse({"web": {"image": "a:1", "ports": [published]}})
    told = documents.differences(after.document, before.document)
    assert told == {"web": "ports 127.0.0.1:80:8080 become 80:8080"}


def test_what_makes_no_container_anew_is_no_difference_of_it() -> None:
    before = parse({"web": {"image": "a:1"}, "db": {"image": "b:1"}})
    after = parse(
        {
            "web": {
                "image": "a:1",
                "depends_on": {"db": {"condition": "service_started"}},
                "pull_policy": "always",
            },
            "db": {"image": "b:1", "build": {"context": "/a"}, "deploy": {"replicas": 2}},
        }
    )
    assert documents.differences(after.document, before.document) == {}

"""Random models of Compose's: each is understood or refused in a known way, and what is understood can be worked with."""

from __future__ import annotations

import contextlib
import json
from pathlib import PurePosixPath
from typing import Any

from hypothesis import strategies as st

from controller.engine import document as documents
from controller.engine.rendering import NOT_UNDERSTOOD
from rig.fuzzing import fuzz
from rig.hostile import any_text, json_values

NAMES = st.sampled_from(["a", "b", "c"])
WORDS = st.sampled_from(["", "x", "service:a", "no", "/host/path", "host", "container:c", "a:ro"]) | any_text


def objects(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Some of these fields."""
    return st.fixed_dictionaries({}, optional=fields)


PORTS = st.sampled_from(["", "80", "8000-8005", "0", "1-65535", "99999", "5-1", "1-" + "9" * 30, "²", "a-b"])
USES = st.lists(
    st.builds(lambda source, more: {"source": source} | more, NAMES, objects(target=WORDS)), max_size=2
)
SOURCES = st.dictionaries(
    NAMES,
    objects(file=WORDS, environment=st.sampled_from(["KEY", "NONE"]), content=any_text, name=any_text),
    max_size=2,
)
SERVICES = objects(
    image=WORDS,
    build=objects(context=WORDS, args=st.dictionaries(NAMES, st.none() | any_text)),
    restart=WORDS,
    container_name=WORDS,
    depends_on=st.dictionaries(
        NAMES,
        objects(condition=st.sampled_from(["service_started", "service_completed_successfully"])),
        max_size=2,
    ),
    environment=st.dictionaries(NAMES, st.none() | any_text, max_size=3),
    labels=st.dictionaries(st.just("homeport.job"), any_text),
    volumes=st.lists(
        st.builds(
            lambda target, more: {"target": target} | more,
            WORDS,
            objects(type=st.sampled_from(["bind", "volume"]), source=WORDS, read_only=st.booleans()),
        ),
        max_size=2,
    ),
    ports=st.lists(
        objects(published=PORTS, host_ip=WORDS, protocol=st.sampled_from(["tcp", "udp"])), max_size=2
    ),
    secrets=USES,
    configs=USES,
    healthcheck=objects(test=st.lists(any_text, min_size=1, max_size=2), disable=st.booleans()),
    network_mode=WORDS,
    ipc=WORDS,
    pid=WORDS,
    volumes_from=st.lists(WORDS, max_size=2),
    scale=st.integers(0, 100_000),
    deploy=objects(replicas=st.integers(0, 100_000)),
    profiles=st.lists(WORDS),
)
VOLUMES = st.dictionaries(NAMES, st.none() | objects(name=any_text, external=st.booleans()), max_size=2)
MODELS = objects(
    services=st.dictionaries(NAMES, SERVICES, max_size=3),
    secrets=SOURCES,
    configs=SOURCES,
    volumes=VOLUMES,
    networks=st.just({}),
)


def work_with(document: str) -> None:
    """All that is done with a document once it is understood."""
    assert documents.redirected(document, {}, {}, build=True) == document
    pinned = documents.redirected(
        document, {"a": "sha256:x", "b": ""}, {"/host/path": "/copy", "x": "/y"}, build=True
    )
    again = documents.parse("web", "rev1", pinned)
    assert "/host/path" not in {bind.source for service in again.services for bind in service.binds}
    documents.images(pinned)
    documents.built(pinned)
    documents.environment(pinned)
    documents.secret_values(pinned, {"KEY": "v"})
    documents.secret_files(pinned)


@fuzz(1.5, model=MODELS)
def test_a_model_as_compose_prints_it_is_understood(model: dict[str, Any]) -> None:
    document = documents.complete(json.dumps(model), {"KEY": "v"})
    rendered = documents.parse("web", "rev1", document)
    assert [service.name for service in rendered.services] == sorted(model.get("services", {}))
    for service in rendered.services:
        assert all(0 < number <= 65535 for _, number, _ in service.ports)
        given = {
            str(v) for v in model["services"][service.name].get("environment", {}).values() if v is not None
        }
        binds = [PurePosixPath(bind.source) for other in rendered.services for bind in other.binds]
        public = {str(path) for bind in binds for path in (bind, *bind.parents)} | {
            str(model.get("name", ""))
        }
        for name, other in model["services"].items():
            public |= {name, str(other.get("image", "")), str(other.get("container_name", ""))}
        for kind in ("networks", "volumes", "secrets", "configs"):
            for name, entry in (model.get(kind) or {}).items():
                public |= {name, str((entry or {}).get("name", ""))}
        assert given - public <= set(documents.secret_values(document, {}))
    assert documents.complete(document, {"KEY": "v"}) == document
    work_with(document)


@fuzz(
    1,
    text=json_values.map(json.dumps)
    | st.dictionaries(
        st.sampled_from(["services", "secrets", "volumes"]), st.dictionaries(NAMES, json_values), max_size=2
    ).map(json.dumps)
    | st.integers(1, 100_000).map(lambda n: '{"services":' * n)
    | any_text
    | st.sampled_from(['{"services": {"a": {"scale": 1e999}}}', '{"services": {"a": {"scale": NaN}}}']),
)
def test_a_model_that_is_none_is_refused_in_a_way_that_is_known(text: str) -> None:
    with contextlib.suppress(*NOT_UNDERSTOOD):
        documents.parse("web", "rev1", documents.complete(text, {}))

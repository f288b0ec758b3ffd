"""What is in deploy/ for Prometheus and Grafana, and the table of metrics in the documentation, speak of what is exported."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from controller.clock import SystemClock
from controller.metering import Meter
from controller.status.summary import WORDS
from controller.telemetry.metrics import Seen

ROOT = Path(__file__).parents[1]
ALERTS, CONFIG, DASHBOARD = (
    ROOT / "deploy" / name for name in ("alerts.yaml", "prometheus.yaml", "grafana-dashboard.json")
)
DOCS = ROOT / "docs" / "api.md"
OF_PROMETHEUS = {"up": {"job", "instance"}}
"""What Prometheus itself knows of whom it asks; it adds these labels to all else, too."""
SEEN = Seen(
    apps=dict.fromkeys(WORDS, 0), ready={"web": True}, healthy=True, service_ready=True, engine_reachable=True,
    tree_lost=False, tree_watched=True, state_writable=True, held=0, last_resync=1.0,
)  # fmt: skip


@pytest.fixture(scope="module")
def exported() -> dict[str, set[str]]:
    """Every series that a scrape gives, with its labels."""
    text = Meter("1", SystemClock(), lambda: SEEN).text().decode()
    found: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found


def rules() -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]]


def queries() -> Iterator[tuple[str, str]]:
    """Every query, with where it stands."""
    for rule in rules():
        yield rule["alert"], rule["expr"]
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        for target in panel["targets"]:
            yield panel["title"], target["expr"]


QUERIES = list(queries())


@pytest.mark.parametrize("query", [query for _, query in QUERIES], ids=[where for where, _ in QUERIES])
def test_a_query_asks_for_what_is_exported(exported: Mapping[str, set[str]], query: str) -> None:
    promql_parser.parse(query)
    known = {**exported, **OF_PROMETHEUS}
    names = set(re.findall(r"\b(?:homeport|workqueue|process)_\w+|\bup\b", query))
    assert names
    assert names <= set(known)
    labels = set(re.findall(r'(\w+)\s*(?:=~|!~|!=|=)\s*"', query))
    for group in re.findall(r"\bby \(([^)]*)\)", query):
        labels.update(label.strip() for label in group.split(","))
    assert labels <= set.union(*(known[name] for name in names)) | {"job"}


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule["alert"])
def test_an_alert_says_what_is_wrong_and_what_to_do(
    exported: Mapping[str, set[str]], rule: dict[str, Any]
) -> None:
    assert set(rule) == {"alert", "expr", "for", "labels", "annotations"}
    assert set(rule["annotations"]) == {"summary", "description"}
    assert rule["labels"]["severity"] in ("critical", "warning")
    assert re.fullmatch(r"\d+[sm]", rule["for"])
    assert (
        re.search(r"`|/healthz", rule["annotations"]["description"])
        or "Mount" in rule["annotations"]["description"]
    )
    everything = set.union(*exported.values())
    for label in re.findall(r"\$labels\.(\w+)", json.dumps(rule["annotations"])):
        assert label in everything


def test_alerts_have_names_of_their_own() -> None:
    names = [rule["alert"] for rule in rules()]
    assert len(names) == len(set(names))


def test_prometheus_itself_takes_the_rules_and_the_configuration() -> None:
    config = yaml.safe_load(CONFIG.read_text())
    assert config["rule_files"] == [ALERTS.name]
    (scrape,) = config["scrape_configs"]
    assert scrape["job_name"] == "homeport"
    promtool = shutil.which("promtool")
    if promtool is not None:
        for what in (("rules", ALERTS), ("config", CONFIG)):
            done = subprocess.run(
                [promtool, "check", *map(str, what)], capture_output=True, text=True, timeout=60, check=False
            )
            assert done.returncode == 0, done.stdout + done.stderr


def test_the_dashboard_has_places_for_all_its_panels() -> None:
    document = json.loads(DASHBOARD.read_text())
    panels = document["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken = [
        (x, y)
        for panel in panels
        for place in [panel["gridPos"]]
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(taken) == len(set(taken))
    assert max(x for x, _ in taken) < 24
    (source,) = document["templating"]["list"]
    assert {panel["datasource"]["uid"] for panel in panels} == {f"${{{source['name']}}}"}


def test_the_documentation_has_every_metric_with_its_labels_and_no_other(
    exported: Mapping[str, set[str]],
) -> None:
    text = Meter("1", SystemClock(), lambda: SEEN).text().decode()
    families = {
        family.name + ("_total" if family.type == "counter" else ""): (
            family.type,
            {label for sample in family.samples for label in sample.labels} - {"le"},
        )
        for family in text_string_to_metric_families(text)
    }
    ours = {name: what for name, what in families.items() if not name.startswith("process_")}
    table = re.findall(r"^\| `(\w+)` \| (\w+) \|([^|]*)\|", DOCS.read_text(), re.MULTILINE)
    documented = {name: (kind, set(re.findall(r"`(\w+)`", labels))) for name, kind, labels in table}
    assert documented == ours
    assert {name for name in families if name.startswith("process_")} == set(
        re.findall(r"`(process_\w+)`", DOCS.read_text())
    )

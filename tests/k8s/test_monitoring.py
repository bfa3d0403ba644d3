"""What the monitoring asks for exists, each alert has its page, and the rules ring when they should."""

import importlib
import json
import pkgutil
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import prometheus_client
import pytest
import yaml
from prometheus_client import REGISTRY

from core.model.quarantine import QuarantineReason
from tests.each import each
from tests.k8s.conftest import CHECKOUT, Rendered, labels_of, render
from tests.rooms import PRODUCT

COMPONENTS = CHECKOUT / "k8s" / "components"
MONITORING = COMPONENTS / "monitoring"
# As promtool's test names them.
RULES: dict[str, dict[str, Any]] = {
    name: yaml.safe_load((COMPONENTS / component / "rules.yaml").read_text("utf-8"))["spec"]
    for name, component in (
        ("rules.yaml", "monitoring"),
        ("rules-of-the-database.yaml", "monitoring-cnpg"),
        ("rules-of-mqtt.yaml", "monitoring-mqtt"),
    )
}
ALERTS = [rule for rules in RULES.values() for group in rules["groups"] for rule in group["rules"]]
FOREIGN: dict[str, str] = yaml.safe_load((CHECKOUT / "tests" / "k8s" / "foreign_series.yaml").read_text("utf-8"))
DASHBOARDS = sorted((MONITORING / "dashboards").glob("*.json"))
NAME = re.compile(r"\bterritoire_\w+")
SELECTED = re.compile(r"\b(territoire_\w+)\{([^}]*)\}")
GROUPED = re.compile(r"\b(?:by|without) \(([^)]*)\)")
# What Prometheus and the operator say of whom they scrape; a label of ours that is called so is renamed.
TARGET = frozenset({"app_kubernetes_io_name", "container", "endpoint", "instance", "job", "namespace", "pod"})
# What others add to their series.
ADDED = TARGET - {"job"} | {"le", "name", "persistentvolumeclaim"}


def exported() -> dict[str, set[str]]:
    """Every series that a process of ours can show, with its own labels."""
    for package in map(importlib.import_module, PRODUCT):
        for info in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not info.name.endswith("__main__"):
                importlib.import_module(info.name)
    found: dict[str, set[str]] = {}
    for name, collector in prometheus_client.REGISTRY._names_to_collectors.items():
        found[name] = set(getattr(collector, "_labelnames", ()))
    return found


EXPORTED = exported()


def expressions() -> list[str]:
    """Of the alerts and of every panel."""
    told = [rule["expr"] for rule in ALERTS]
    for file in DASHBOARDS:
        for panel in json.loads(file.read_text("utf-8"))["panels"]:
            told += [target["expr"] for target in panel.get("targets", [])]
    return told


@each(sorted(set(expressions())))
def test_what_is_asked_for_is_exported_under_these_labels(expression: str) -> None:
    assert set(NAME.findall(expression)) <= EXPORTED.keys()
    for name, selected in SELECTED.findall(expression):
        labels = {part.split("=")[0].strip().rstrip("!~") for part in selected.split(",") if part}
        assert labels <= EXPORTED[name] | ADDED
    for grouped in GROUPED.findall(expression):
        own = set().union(*(EXPORTED[name] for name in NAME.findall(expression)), ADDED)
        assert {label.strip() for label in grouped.split(",")} <= own


def test_no_label_of_ours_is_one_that_the_scrape_has_for_itself() -> None:
    assert {name: labels & TARGET for name, labels in EXPORTED.items() if labels & TARGET} == {}


@each([rule["expr"] for rule in ALERTS])
def test_what_is_counted_is_shown_before_the_first_time(expression: str) -> None:
    """A counter that appears with its first event has not risen, and rings at the second."""
    for name, selected in SELECTED.findall(expression):
        label, _, values = selected.replace("~", "").partition("=")
        if name.endswith("_total") and "gateway_id" not in EXPORTED[name]:  # Of gateways: test_known_gateways.py.
            for value in values.strip('"').split("|"):
                assert REGISTRY.get_sample_value(name, {label: value}) is not None, f"{name} {value}"


def test_denials_and_quarantined_items_are_shown_before_the_first() -> None:
    shown = {"territoire_bus_denied_total": {"operation": ("publish", "subscription")},
             "territoire_ingest_quarantined_total": {"reason": tuple(QuarantineReason)}}  # fmt: skip
    for name, labels in shown.items():
        for label, values in labels.items():
            for value in values:
                assert REGISTRY.get_sample_value(name, {label: value}) is not None, f"{name} {value}"


def test_every_alert_has_its_page_and_no_page_is_left_over() -> None:
    pages = re.findall(r"^### (\w+)$", (CHECKOUT / "docs" / "exploitation.md").read_text("utf-8"), re.MULTILINE)

    assert pages == [rule["alert"] for rule in ALERTS]


def test_what_wakes_somebody_is_written_down() -> None:
    page = (CHECKOUT / "docs" / "exploitation.md").read_text("utf-8")
    [listed] = re.findall(r"^Réveillent :\n(.*?)\n\n", page, re.MULTILINE | re.DOTALL)

    critical = [rule["alert"] for rule in ALERTS if rule["labels"]["severity"] == "critical"]
    assert re.findall(r"\w+", listed) == critical
    assert {rule["labels"]["severity"] for rule in ALERTS} == {"critical", "warning"}
    # By which Alertmanager, and an AlertmanagerConfig of this namespace, know them: sums keep none.
    assert {rule["labels"]["namespace"] for rule in ALERTS} == {"territoire"}


def test_the_eight_dashboards_have_titles_in_french_and_panels_with_data() -> None:
    titles = {json.loads(file.read_text("utf-8"))["title"] for file in DASHBOARDS}

    assert titles == {
        "Vue d'ensemble", "Passerelles", "LoRaWAN", "Ingestion", "Alertes et webhooks", "Éclairage",
        "API et console", "PostgreSQL et TimescaleDB",
    }  # fmt: skip
    for file in DASHBOARDS:
        panels = json.loads(file.read_text("utf-8"))["panels"]
        assert all(panel["targets"] and panel["title"] for panel in panels if panel["type"] != "row")


@pytest.mark.starts_processes
def test_the_rules_ring_when_they_should(tmp_path: Path) -> None:
    for name, rules in RULES.items():
        (tmp_path / name).write_text(yaml.safe_dump(rules), "utf-8")
    tests = ("rules_test.yaml", "rules_of_days_test.yaml")
    for test in tests:
        shutil.copy(CHECKOUT / "tests" / "k8s" / test, tmp_path)

    done = subprocess.run(
        ["promtool", "test", "rules", *tests], cwd=tmp_path, capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stdout + done.stderr


SERIES = re.compile(r"\b(?:up|(?:kubelet|certmanager|cnpg|barman|kube|container|node)_\w+)\b")


@each([rule["expr"] for rule in ALERTS])
def test_what_is_not_ours_has_a_source(expression: str) -> None:
    assert set(SERIES.findall(expression)) <= FOREIGN.keys()


def test_no_source_is_left_over() -> None:
    asked = {name for rule in ALERTS for name in SERIES.findall(rule["expr"])}

    assert asked == FOREIGN.keys()


@pytest.mark.parametrize("overlay", ["staging", "production"])
def test_every_process_is_missed_when_all_of_it_is_gone(overlay: str) -> None:
    rendered = render(overlay)
    rules = [
        rule for one in rendered.of("PrometheusRule") for group in one["spec"]["groups"] for rule in group["rules"]
    ]
    absent = re.compile(r'absent\(up\{namespace="territoire",app_kubernetes_io_name="([^"]+)"\}\)')
    missed = {
        name for rule in rules if rule["labels"]["severity"] == "critical" for name in absent.findall(rule["expr"])
    }

    assert missed == {
        labels_of(one)["app.kubernetes.io/name"] for one in rendered.ours if one["kind"] == "Deployment"
    }


def test_what_the_rules_ask_for_is_scraped_and_let_through(rendered: Rendered) -> None:
    """Of our processes, and where CloudNativePG runs the database of its instances, too."""
    if rendered.overlay == "demo":
        assert not rendered.of("PrometheusRule")
        return
    assert {one["metadata"]["name"] for one in rendered.of("PrometheusRule")} == {
        "territoire",
        "territoire-database",
        "territoire-mqtt",
    }
    assert {one["metadata"]["name"] for one in rendered.of("PodMonitor")} == {"territoire", "database"}
    from_monitoring = rendered.named("NetworkPolicy", "database-from-monitoring")["spec"]
    assert from_monitoring["podSelector"]["matchLabels"] == {"cnpg.io/cluster": "database"}
    assert from_monitoring["ingress"][0]["ports"] == [{"port": 9187, "protocol": "TCP"}]
    # The rule wants two replicas beside the primary.
    assert rendered.named("Cluster", "database")["spec"]["instances"] == 3

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

from tests.each import each
from tests.k8s.conftest import CHECKOUT
from tests.rooms import PRODUCT

MONITORING = CHECKOUT / "k8s" / "components" / "monitoring"
RULES: dict[str, Any] = yaml.safe_load((MONITORING / "rules.yaml").read_text("utf-8"))["spec"]
ALERTS = [rule for group in RULES["groups"] for rule in group["rules"]]
DASHBOARDS = sorted((MONITORING / "dashboards").glob("*.json"))
NAME = re.compile(r"\bterritoire_\w+")
SELECTED = re.compile(r"\b(territoire_\w+)\{([^}]*)\}")
GROUPED = re.compile(r"\b(?:by|without) \(([^)]*)\)")
# What Prometheus, the operator and Kubernetes add to every series.
ADDED = frozenset({"app_kubernetes_io_name", "job", "pod", "namespace", "instance", "le", "name"})


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


def test_every_alert_has_its_page_and_no_page_is_left_over() -> None:
    pages = re.findall(r"^### (\w+)$", (CHECKOUT / "docs" / "exploitation.md").read_text("utf-8"), re.MULTILINE)

    assert pages == [rule["alert"] for rule in ALERTS]


def test_the_eight_dashboards_have_titles_in_french_and_panels_with_data() -> None:
    titles = {json.loads(file.read_text("utf-8"))["title"] for file in DASHBOARDS}

    assert titles == {
        "Vue d'ensemble", "Passerelles", "LoRaWAN", "Ingestion", "Alertes et webhooks", "Éclairage",
        "API et console", "PostgreSQL et TimescaleDB",
    }  # fmt: skip
    for file in DASHBOARDS:
        panels = json.loads(file.read_text("utf-8"))["panels"]
        assert all(panel["targets"] and panel["title"] for panel in panels if panel["type"] != "row")


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is in Debian's package prometheus")
def test_the_rules_ring_when_they_should(tmp_path: Path) -> None:
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(RULES), "utf-8")
    shutil.copy(CHECKOUT / "tests" / "k8s" / "rules_test.yaml", tmp_path)

    done = subprocess.run(
        ["promtool", "test", "rules", "rules_test.yaml"], cwd=tmp_path, capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stdout + done.stderr

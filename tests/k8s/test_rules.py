"""What must hold of everything that runs, whatever the schema allows."""

import importlib
from pathlib import Path
from typing import Any

import pytest
from pydantic_settings import BaseSettings

from core.runtime.lifetime import DRAIN_DEADLINE_S
from services.supervisor.mosquitto import ACL, SIMULATOR
from tests.k8s.conftest import CHECKOUT, PART_OF, WORKLOADS, Manifest, Rendered, containers_of, labels_of, render

SHARDS_AT_MOST = 16
PREFIX = "TERRITOIRE_"


def settings_of(module: str) -> type[BaseSettings]:
    """The settings class that a process reads, by the module it is started as."""
    entry = importlib.import_module(f"{module}.__main__")
    [found] = {
        value
        for value in vars(entry).values()
        if isinstance(value, type) and issubclass(value, BaseSettings) and value is not BaseSettings
    }
    return found


def known_settings() -> set[str]:
    services = [folder.name for folder in (CHECKOUT / "services").iterdir() if (folder / "__main__.py").exists()]
    known: set[str] = set()
    for service in set(services) - {"cli", "simulator", "supervisor"}:
        known |= {PREFIX + name.upper() for name in settings_of(f"services.{service}").model_fields}
    return known


def environment_of(rendered: Rendered, container: Manifest) -> dict[str, Any]:
    """Name to value, or to the reference it comes from."""
    told: dict[str, Any] = {}
    for source in container.get("envFrom", []):
        told |= rendered.named("ConfigMap", source["configMapRef"]["name"])["data"]
    for entry in container.get("env", []):
        told[entry["name"]] = entry.get("value", entry.get("valueFrom"))
    return told


def selects(selector: Manifest, labels: dict[str, str]) -> bool:
    matched = all(labels.get(key) == value for key, value in selector.get("matchLabels", {}).items())
    for rule in selector.get("matchExpressions", []):
        assert rule["operator"] == "In"
        matched = matched and labels.get(rule["key"]) in rule["values"]
    return matched


def test_every_process_has_all_its_settings_and_no_other(rendered: Rendered) -> None:
    known = known_settings()
    for workload in rendered.ours:
        [container] = containers_of(workload)
        [module] = container["args"]
        told = environment_of(rendered, container)
        needed = {
            PREFIX + name.upper()
            for name, field in settings_of(module).model_fields.items()
            if field.is_required()
        }
        name = workload["metadata"]["name"]
        assert needed <= told.keys(), f"{name} lacks {needed - told.keys()}"
        unknown = {key for key in told if key.startswith(PREFIX)} - known
        assert not unknown, f"{name} is told {unknown}, which nobody reads"


def test_every_process_of_the_platform_is_there(rendered: Rendered) -> None:
    started = {containers_of(workload)[0]["args"][0].removeprefix("services.") for workload in rendered.ours}

    assert started == {
        "gateway_bridge", "network", "intake", "ingest", "alerting", "lighting", "maintenance", "api", "migrate",
    }  # fmt: skip


def test_no_secret_is_written_down(rendered: Rendered) -> None:
    assert not rendered.of("Secret")
    for workload in rendered.of(*WORKLOADS):
        for container in containers_of(workload):
            for entry in container.get("env", []):
                secret = any(word in entry["name"] for word in ("PASSWORD", "KEK", "_KEY", "_URL"))
                is_public = entry["name"] in {"TERRITOIRE_STATION_URL", "TERRITOIRE_PUBLIC_URL"}
                assert "valueFrom" in entry or not secret or is_public, entry["name"]


@pytest.mark.parametrize("overlay", ["staging", "production"])  # Those of demo are made by hand.
def test_every_secret_that_is_asked_for_is_brought_from_the_vault_or_signed(overlay: str) -> None:
    rendered = render(overlay)
    brought = {
        (secret["metadata"]["name"], entry["secretKey"])
        for secret in rendered.of("ExternalSecret")
        for entry in secret["spec"]["data"]
    }
    for workload in rendered.of(*WORKLOADS):
        for container in containers_of(workload):
            for entry in container.get("env", []):
                reference = entry.get("valueFrom", {}).get("secretKeyRef")
                if reference:
                    assert (reference["name"], reference["key"]) in brought
    signed = {certificate["spec"]["secretName"] for certificate in rendered.of("Certificate")}
    there = signed | {name for name, _ in brought}
    for workload in rendered.of(*WORKLOADS):
        volumes = workload["spec"]["template"]["spec"]["volumes"]
        assert {volume["secret"]["secretName"] for volume in volumes if "secret" in volume} <= there
    cluster = rendered.named("Cluster", "database")["spec"]
    assert {*cluster["certificates"].values(), cluster["bootstrap"]["initdb"]["secret"]["name"]} <= there


def test_every_pod_is_restricted(rendered: Rendered) -> None:
    for workload in rendered.of(*WORKLOADS):
        pod = workload["spec"]["template"]["spec"]
        name = workload["metadata"]["name"]
        assert pod["automountServiceAccountToken"] is False, name
        assert pod["securityContext"]["runAsNonRoot"] is True, name
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, name
        for container in containers_of(workload):
            context = container["securityContext"]
            assert context["readOnlyRootFilesystem"] is True, name
            assert context["allowPrivilegeEscalation"] is False, name
            assert context["capabilities"] == {"drop": ["ALL"]}, name


def test_every_container_has_limits_and_a_pinned_image(rendered: Rendered) -> None:
    for workload in rendered.of(*WORKLOADS):
        for container in containers_of(workload):
            resources = container["resources"]
            assert resources["requests"].keys() == resources["limits"].keys() == {"cpu", "memory"}
            name, _, tag = container["image"].rpartition(":")
            assert name, container["image"]
            assert tag not in {"", "latest"}
    for cluster in rendered.of("Cluster"):
        assert ":" in cluster["spec"]["imageName"]


def test_every_deployment_is_probed_budgeted_and_drained(rendered: Rendered) -> None:
    budgets = rendered.of("PodDisruptionBudget")
    for deployment in rendered.of("Deployment"):
        [container] = containers_of(deployment)
        assert container["livenessProbe"]["httpGet"]["path"] == "/livez"
        assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"
        assert container["startupProbe"]["httpGet"]["path"] == "/readyz"
        labels = labels_of(deployment)
        assert any(selects(budget["spec"]["selector"], labels) for budget in budgets)
        pause = container["lifecycle"]["preStop"]["sleep"]["seconds"]
        assert deployment["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] > DRAIN_DEADLINE_S + pause


def test_selectors_find_their_pods(rendered: Rendered) -> None:
    pods = [(labels_of(workload), workload) for workload in rendered.of(*WORKLOADS)]
    for workload in rendered.of("Deployment", "StatefulSet"):
        assert selects(workload["spec"]["selector"], labels_of(workload))
    for service in rendered.of("Service"):
        name = service["metadata"]["name"]
        found = [
            workload for labels, workload in pods if selects({"matchLabels": service["spec"]["selector"]}, labels)
        ]
        assert len(found) == (0 if name == "nowhere" else 1), name
        for workload in found:
            ports = {port["name"]: port for container in containers_of(workload) for port in container["ports"]}
            for port in service["spec"]["ports"]:
                target = ports[port["targetPort"]]
                assert target.get("protocol", "TCP") == port.get("protocol", "TCP")
    for budget in rendered.of("PodDisruptionBudget"):
        assert any(selects(budget["spec"]["selector"], labels) for labels, _ in pods)


def test_nothing_is_allowed_but_what_a_policy_names(rendered: Rendered) -> None:
    policies = rendered.of("NetworkPolicy")
    [everything] = [policy for policy in policies if policy["spec"]["podSelector"] == {}
                    and "ingress" not in policy["spec"] and "egress" not in policy["spec"]]  # fmt: skip
    assert sorted(everything["spec"]["policyTypes"]) == ["Egress", "Ingress"]
    for workload in rendered.ours:
        reached = {
            port["port"]
            for policy in policies
            if selects(policy["spec"]["podSelector"], labels_of(workload))
            for rule in policy["spec"].get("egress", [])
            for port in rule["ports"]
        }
        assert {53, 4222, 5432} <= reached, workload["metadata"]["name"]


def test_webhooks_and_lns_are_reached_outside_and_nowhere_within(rendered: Rendered) -> None:
    for name in ("alerting", "intake"):
        [rule] = rendered.named("NetworkPolicy", name)["spec"]["egress"]
        [four] = [to["ipBlock"] for to in rule["to"] if to["ipBlock"]["cidr"] == "0.0.0.0/0"]
        assert {"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", "100.64.0.0/10"} <= set(
            four["except"]
        )


def test_more_replicas_than_shards_own_nothing(rendered: Rendered) -> None:
    for scaled in rendered.of("ScaledObject"):
        deployment = rendered.named("Deployment", scaled["spec"]["scaleTargetRef"]["name"])
        assert "replicas" not in deployment["spec"]
        assert scaled["spec"]["maxReplicaCount"] <= SHARDS_AT_MOST


def test_streams_have_a_copy_on_each_bus_server(rendered: Rendered) -> None:
    told = environment_of(rendered, containers_of(rendered.named("Job", "migrate"))[0])

    assert int(told["TERRITOIRE_BUS_REPLICAS"]) == rendered.named("StatefulSet", "nats")["spec"]["replicas"]


def test_the_bus_refuses_before_its_disk_is_full(rendered: Rendered) -> None:
    [configuration] = [
        config["data"]["nats.conf"] for config in rendered.of("ConfigMap") if "nats.conf" in config["data"]
    ]
    [claim] = rendered.named("StatefulSet", "nats")["spec"]["volumeClaimTemplates"]
    disk_gib = int(claim["spec"]["resources"]["requests"]["storage"].removesuffix("Gi"))
    [store] = [line.split()[1] for line in configuration.splitlines() if line.strip().startswith("max_file_store")]

    assert int(store.removesuffix("GB")) <= 0.8 * disk_gib


def test_gateways_may_do_at_the_edge_what_they_may_on_one_machine() -> None:
    written = (CHECKOUT / "k8s" / "components" / "mosquitto" / "acl").read_text("utf-8")

    assert written.strip() == ACL.partition(f"user {SIMULATOR}")[0].strip()


def test_all_that_is_labelled_ours_runs_our_image(rendered: Rendered) -> None:
    for workload in rendered.of(*WORKLOADS):
        images = {Path(container["image"]).name.partition(":")[0] for container in containers_of(workload)}
        assert (images == {"territoire"}) == (labels_of(workload).get(PART_OF) == "territoire")

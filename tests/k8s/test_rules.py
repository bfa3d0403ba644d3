"""What must hold of everything that runs, whatever the schema allows."""

import importlib
import os
import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from pydantic_settings import BaseSettings

from core.runtime.lifetime import DRAIN_DEADLINE_S, UNWIND_S
from core.runtime.settings import KeySettings
from core.runtime.streams import MEASUREMENTS_STREAM, STREAMS
from services.gateway_bridge.settings import Settings
from services.supervisor.mosquitto import ACL, SIMULATOR
from tests.k8s.conftest import (
    CHECKOUT,
    PART_OF,
    WORKLOADS,
    Manifest,
    Rendered,
    containers_of,
    labels_of,
    render,
    rendered_from,
)
from tests.k8s.policies import selects

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
        "gateway_bridge", "network", "intake", "ingest", "alerting", "lighting", "maintenance",
        "indicators", "api", "migrate",
    }  # fmt: skip


def test_no_secret_is_written_down(rendered: Rendered) -> None:
    assert not rendered.of("Secret")
    for workload in rendered.of(*WORKLOADS):
        for container in containers_of(workload):
            for entry in container.get("env", []):
                secret = any(word in entry["name"] for word in ("PASSWORD", "KEK", "_KEY", "_URL"))
                is_public = entry["name"] in {"TERRITOIRE_STATION_URL", "TERRITOIRE_PUBLIC_URL"}
                is_reference = "valueFrom" in entry or re.fullmatch(r'"?\$\(\w+\)"?', entry["value"])
                assert is_reference or not secret or is_public, entry["name"]


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
    [store] = rendered.of("ObjectStore")
    for reference in store["spec"]["configuration"]["s3Credentials"].values():
        assert (reference["name"], reference["key"]) in brought
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
        # The radio's door stays open while the database or the bus is away: what comes in is kept in memory.
        is_radio = deployment["metadata"]["name"] == "gateway-bridge"
        assert container["livenessProbe"]["httpGet"]["path"] == "/livez"
        assert container["readinessProbe"]["httpGet"]["path"] == ("/livez" if is_radio else "/readyz")
        assert container["startupProbe"]["httpGet"]["path"] == "/readyz"
        labels = labels_of(deployment)
        assert any(selects(budget["spec"]["selector"], labels) for budget in budgets)
        pause = container["lifecycle"]["preStop"]["sleep"]["seconds"]
        period = deployment["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
        told = {variable["name"]: variable.get("value") for variable in container["env"]}
        lingers_s = float(told.get("TERRITOIRE_UDP_READ_ON_S", 0))
        assert (lingers_s >= 30) == is_radio
        assert period > pause + lingers_s + DRAIN_DEADLINE_S + UNWIND_S


def test_no_budget_holds_a_node_that_is_to_be_emptied(rendered: Rendered) -> None:
    for budget in rendered.of("PodDisruptionBudget"):
        spec = budget["spec"]
        assert spec["maxUnavailable"] == 1
        assert "minAvailable" not in spec
        # While the database is away no process is ready and no disruption would be left. Of the bus it is so: the
        # second server is not taken while the first catches up.
        expected = None if budget["metadata"]["name"] == "nats" else "AlwaysAllow"
        assert spec.get("unhealthyPodEvictionPolicy") == expected


def test_replicas_are_of_several_nodes_and_zones_and_replaced_one_by_one(rendered: Rendered) -> None:
    for deployment in rendered.of("Deployment"):
        pod = deployment["spec"]["template"]["spec"]
        if deployment["spec"]["strategy"] == {"type": "Recreate"}:
            assert deployment["spec"]["replicas"] == 1
            continue
        assert deployment["spec"]["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}
        spread = {constraint["topologyKey"]: constraint for constraint in pod["topologySpreadConstraints"]}
        assert spread.keys() == {"topology.kubernetes.io/zone", "kubernetes.io/hostname"}
        for constraint in spread.values():
            assert selects(constraint["labelSelector"], labels_of(deployment))


@pytest.mark.parametrize("overlay", ["staging", "production"])
def test_what_has_a_quorum_is_on_as_many_nodes_and_in_as_many_zones_as_it_can(overlay: str) -> None:
    rendered = render(overlay)
    bus = rendered.named("StatefulSet", "nats")["spec"]["template"]["spec"]
    database = rendered.named("Cluster", "database")["spec"]
    [apart] = bus["affinity"]["podAntiAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]

    assert apart["topologyKey"] == database["affinity"]["topologyKey"] == "kubernetes.io/hostname"
    assert selects(apart["labelSelector"], labels_of(rendered.named("StatefulSet", "nats")))
    assert database["affinity"]["podAntiAffinityType"] == "required"
    for spec, labels in (
        (bus, labels_of(rendered.named("StatefulSet", "nats"))), (database, {"cnpg.io/cluster": "database"}),
    ):  # fmt: skip
        [zones] = spec["topologySpreadConstraints"]
        assert zones["topologyKey"] == "topology.kubernetes.io/zone"
        assert selects(zones["labelSelector"], labels)


def test_the_radio_and_what_it_needs_is_evicted_last(rendered: Rendered) -> None:
    [priority] = rendered.of("PriorityClass")
    first = {
        workload["metadata"]["name"]
        for workload in rendered.of(*WORKLOADS)
        if workload["spec"]["template"]["spec"].get("priorityClassName") == priority["metadata"]["name"]
    }

    assert {"gateway-bridge", "network", "nats"} <= first
    assert first <= {"gateway-bridge", "gateway-bridge-mqtt", "network", "nats", "mosquitto"}
    assert all(
        cluster["spec"]["priorityClassName"] == priority["metadata"]["name"] for cluster in rendered.of("Cluster")
    )


def test_the_key_encryption_key_is_apart_and_with_those_only_that_open_keys(rendered: Rendered) -> None:
    for workload in rendered.ours:
        [container] = containers_of(workload)
        holders = {
            entry["name"]: entry["valueFrom"]["secretKeyRef"]["name"]
            for entry in container["env"]
            if "secretKeyRef" in entry.get("valueFrom", {})
        }
        assert ("TERRITOIRE_KEK" in holders) == issubclass(settings_of(container["args"][0]), KeySettings)
        assert {name for name, secret in holders.items() if secret == "territoire-kek"} <= {"TERRITOIRE_KEK"}


def test_private_keys_and_accounts_are_for_the_server_s_own_group(rendered: Rendered) -> None:
    for workload in rendered.of("StatefulSet"):
        pod = workload["spec"]["template"]["spec"]
        for volume in pod["volumes"]:
            if "secret" in volume:
                assert volume["secret"]["defaultMode"] == 0o440
                assert pod["securityContext"]["fsGroup"] == pod["securityContext"]["runAsGroup"]


def test_selectors_find_their_pods(rendered: Rendered) -> None:
    pods = [(labels_of(workload), workload) for workload in rendered.of(*WORKLOADS)]
    for workload in rendered.of("Deployment", "StatefulSet"):
        assert selects(workload["spec"]["selector"], labels_of(workload))
    for service in rendered.of("Service"):
        name = service["metadata"]["name"]
        found = [
            workload for labels, workload in pods if selects({"matchLabels": service["spec"]["selector"]}, labels)
        ]
        assert len(found) == 1, name
        for workload in found:
            ports = {
                port["name"]: port for container in containers_of(workload) for port in container.get("ports", [])
            }
            for port in service["spec"]["ports"]:
                target = ports[port["targetPort"]]
                assert target.get("protocol", "TCP") == port.get("protocol", "TCP")
    for budget in rendered.of("PodDisruptionBudget"):
        assert any(selects(budget["spec"]["selector"], labels) for labels, _ in pods)


def test_nothing_is_allowed_but_what_a_policy_names(rendered: Rendered) -> None:
    [everything] = [policy for policy in rendered.of("NetworkPolicy") if policy["spec"]["podSelector"] == {}
                    and "ingress" not in policy["spec"] and "egress" not in policy["spec"]]  # fmt: skip
    assert sorted(everything["spec"]["policyTypes"]) == ["Egress", "Ingress"]


def test_webhooks_and_lns_are_reached_outside_and_nowhere_within(rendered: Rendered) -> None:
    for name in ("alerting", "intake"):
        [rule] = rendered.named("NetworkPolicy", name)["spec"]["egress"]
        [four] = [to["ipBlock"] for to in rule["to"] if to["ipBlock"]["cidr"] == "0.0.0.0/0"]
        assert {"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", "100.64.0.0/10"} <= set(
            four["except"]
        )


def test_more_replicas_than_shards_own_nothing_and_one_only_says_how_many(rendered: Rendered) -> None:
    scaled = [
        (scaler["spec"]["scaleTargetRef"]["name"], scaler["spec"].get("maxReplicaCount", SHARDS_AT_MOST))
        for scaler in rendered.of("ScaledObject", "HorizontalPodAutoscaler")
    ]
    assert len(dict(scaled)) == len(scaled)
    for name, most in scaled:
        assert "replicas" not in rendered.named("Deployment", name)["spec"]
        assert most <= SHARDS_AT_MOST


def test_streams_have_a_copy_on_each_bus_server(rendered: Rendered) -> None:
    told = environment_of(rendered, containers_of(rendered.named("Job", "migrate"))[0])

    assert int(told["TERRITOIRE_BUS_REPLICAS"]) == rendered.named("StatefulSet", "nats")["spec"]["replicas"]


def bus_of(rendered: Rendered) -> tuple[dict[str, str], Manifest]:
    """What its configuration says, by name, and its stateful set."""
    [text] = [config["data"]["nats.conf"] for config in rendered.of("ConfigMap") if "nats.conf" in config["data"]]
    said = [line.strip().partition(":") for line in text.splitlines() if ":" in line]
    return {name: value.strip() for name, _, value in said}, rendered.named("StatefulSet", "nats")


def test_the_bus_holds_its_streams_and_rejects_before_its_disk_is_full(rendered: Rendered) -> None:
    said, bus = bus_of(rendered)
    [claim] = bus["spec"]["volumeClaimTemplates"]
    disk_gib = int(claim["spec"]["resources"]["requests"]["storage"].removesuffix("Gi"))
    store_gib = int(said["max_file_store"].removesuffix("GB"))
    memory_mib = int(said["max_memory_store"].removesuffix("MB"))

    assert store_gib <= 0.8 * disk_gib
    # Each server has a copy of each.
    assert sum(stream.max_bytes or 0 for stream in STREAMS) <= store_gib << 30
    assert (MEASUREMENTS_STREAM.max_bytes or 0) <= memory_mib << 20
    assert containers_of(bus)[0]["resources"]["limits"]["memory"] == "1Gi"
    assert memory_mib <= 512


def test_the_bus_reads_any_password_as_text(rendered: Rendered) -> None:
    """6e05 would be a number to it (tests/k8s/test_backlog.py starts one with such a password)."""
    told = environment_of(rendered, containers_of(rendered.named("StatefulSet", "nats"))[0])

    assert told["NATS_PASSWORD"] == '"$(BUS_PASSWORD)"'
    assert told["BUS_PASSWORD"]["secretKeyRef"]["name"] == "territoire-bus"


@pytest.mark.parametrize("overlay", ["staging", "production"])
def test_a_bus_server_that_stops_has_the_time_to_send_everybody_away(overlay: str) -> None:
    said, bus = bus_of(render(overlay))
    pod = bus["spec"]["template"]["spec"]
    server = containers_of(bus)[0]

    assert server["lifecycle"]["preStop"]["exec"]["command"][-1] == f"ldm={said['pid_file'].strip(chr(34))}"
    before_s = 10  # nats-server's own lame_duck_grace_period.
    assert pod["terminationGracePeriodSeconds"] > before_s + int(said["lame_duck_duration"].removesuffix("s"))
    # Its certificate has every name by which it is called.
    names = set(render(overlay).named("Certificate", "nats")["spec"]["dnsNames"])
    servers = {f"nats-{index}.nats" for index in range(bus["spec"]["replicas"])}
    assert {"nats", *servers} <= names
    assert servers == set(re.findall(r"nats://([^:]+):6222", said["routes"]))
    assert said["no_advertise"] == "true"


@pytest.mark.parametrize("overlay", ["staging", "production"])
def test_addresses_for_people_and_stations_are_names_that_the_ingress_serves_with_tls(overlay: str) -> None:
    rendered = render(overlay)
    told = rendered.settings
    for ingress, setting in (("api", "TERRITOIRE_PUBLIC_URL"), ("stations", "TERRITOIRE_STATION_URL")):
        spec = rendered.named("Ingress", ingress)["spec"]
        [rule] = spec["rules"]
        url = urlsplit(told[setting])
        assert url.scheme in {"https", "wss"}
        assert url.port in {None, 443}
        assert url.hostname == rule["host"]
        assert [rule["host"]] == spec["tls"][0]["hosts"]
    Settings(database_url="postgresql://x", nats_url="nats://x", station_url=told["TERRITOIRE_STATION_URL"])  # type: ignore[arg-type]
    broker = rendered.named("Certificate", "mosquitto")["spec"]["dnsNames"]
    assert f"mqtt.{urlsplit(told['TERRITOIRE_PUBLIC_URL']).hostname}" in broker


@pytest.mark.parametrize("overlay", ["staging", "production"])
def test_a_commit_is_on_two_disks_and_the_log_in_the_store(overlay: str) -> None:
    rendered = render(overlay)
    cluster = rendered.named("Cluster", "database")["spec"]
    [scheduled] = rendered.of("ScheduledBackup")

    assert cluster["instances"] == 3
    assert cluster["postgresql"]["synchronous"] == {"method": "any", "number": 1, "dataDurability": "required"}
    assert cluster["postgresql"]["shared_preload_libraries"] == ["timescaledb"]
    assert "CREATE EXTENSION IF NOT EXISTS timescaledb" in cluster["bootstrap"]["initdb"]["postInitApplicationSQL"]
    assert cluster["walStorage"]["size"] != cluster["storage"]["size"]
    [plugin] = cluster["plugins"]
    assert plugin["isWALArchiver"] is True
    assert plugin["name"] == scheduled["spec"]["pluginConfiguration"]["name"]
    assert rendered.named("ObjectStore", plugin["parameters"]["barmanObjectName"])
    reloaded = rendered.named("Certificate", "database")["spec"]["secretTemplate"]["labels"]
    assert "cnpg.io/reload" in reloaded


def test_gateways_may_do_at_the_edge_what_they_may_on_one_machine() -> None:
    written = (CHECKOUT / "k8s" / "components" / "mosquitto" / "acl").read_text("utf-8")

    assert written.strip() == ACL.partition(f"user {SIMULATOR}")[0].strip()


def test_all_that_is_labelled_ours_runs_our_image(rendered: Rendered) -> None:
    for workload in rendered.of(*WORKLOADS):
        images = {Path(container["image"]).name.partition(":")[0] for container in containers_of(workload)}
        assert (images == {"territoire"}) == (labels_of(workload).get(PART_OF) == "territoire")


def test_a_setting_that_changes_starts_the_pods_anew(tmp_path: Path) -> None:
    production = Path(os.path.relpath(CHECKOUT / "k8s" / "overlays" / "production", tmp_path))
    (tmp_path / "kustomization.yaml").write_text(
        f"""resources: [{production}]
patches:
  - patch: |
      apiVersion: v1
      kind: ConfigMap
      metadata: {{name: territoire, namespace: territoire}}
      data: {{TERRITOIRE_LOG_LEVEL: DEBUG}}
""",
        "utf-8",
    )
    former, changed = render("production"), rendered_from("production", tmp_path)

    assert changed.settings == {**former.settings, "TERRITOIRE_LOG_LEVEL": "DEBUG"}
    for workload in former.ours:
        name = workload["metadata"]["name"]
        assert workload["spec"]["template"] != changed.named(workload["kind"], name)["spec"]["template"], name


@pytest.mark.parametrize("overlay", ["staging", "production"])
def test_applications_are_given_the_broker_s_own_public_name(overlay: str) -> None:
    rendered = render(overlay)
    address = urlsplit(rendered.settings["TERRITOIRE_MQTT_PUBLIC_URL"])

    assert (address.scheme, address.port) == ("mqtts", 8883)
    assert address.hostname in rendered.named("Certificate", "mosquitto")["spec"]["dnsNames"]


@pytest.mark.parametrize("overlay", ["staging", "production"])
def test_a_restore_is_tried_every_month_by_who_may_do_nothing_else(overlay: str) -> None:
    rendered = render(overlay)
    job = rendered.named("CronJob", "restore-drill")
    pod = job["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    [container] = pod["containers"]
    role = rendered.named("Role", "restore-drill")
    [archive] = rendered.of("ObjectStore")
    cluster = rendered.named("Cluster", "database")["spec"]

    assert job["spec"]["schedule"].split()[3:] == ["*", "*"]
    assert container["args"] == ["cli", "pitr", "drill", "--cluster", "database"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    told = {entry["name"]: entry["valueFrom"] for entry in container["env"]}
    assert told.pop("TERRITOIRE_DATABASE_URL")["secretKeyRef"]["name"] == cluster["superuserSecret"]["name"]
    assert told == {
        "POD_NAME": {"fieldRef": {"fieldPath": "metadata.name"}},
        "POD_UID": {"fieldRef": {"fieldPath": "metadata.uid"}},
    }
    # Whom a node throws out has tried nothing: another pod does. What fails by itself is not tried again.
    assert job["spec"]["jobTemplate"]["spec"]["backoffLimit"] == 0
    assert job["spec"]["jobTemplate"]["spec"]["podFailurePolicy"]["rules"] == [
        {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}
    ]
    assert cluster["postgresql"]["parameters"]["archive_timeout"] == "30s"
    for what in ("wal", "data"):
        assert archive["spec"]["configuration"][what]["encryption"] == "AES256"
    may = {verb: rule.get("resourceNames") for rule in role["rules"] for verb in rule["verbs"]}
    assert may == {"get": ["database", "database-drill"], "delete": ["database-drill"], "create": None}

"""Everything that has to speak may, and nothing else: default-deny cuts what nobody thought of."""

import os
from pathlib import Path

import pytest

from tests.k8s.conftest import CHECKOUT, OVERLAYS, Rendered, containers_of, render, rendered_from
from tests.k8s.policies import Party, allows, workload

INTERNET = Party(address="203.0.113.7")
PRIVATE = (Party(address="10.12.0.9"), Party(address="192.168.1.20"), Party(address="169.254.169.254"))
DNS = Party({"k8s-app": "kube-dns"}, "kube-system")
OPERATOR = Party({"app.kubernetes.io/name": "cloudnative-pg"}, "cnpg-system")
INGRESS = Party({"app.kubernetes.io/name": "traefik"}, "traefik")
PROMETHEUS = Party({"app.kubernetes.io/name": "prometheus"}, "monitoring")
KEDA = Party({"app": "keda-operator"}, "keda")
STRANGER = Party({"app": "web"}, "default")
# As CloudNativePG labels its instances, and the jobs that make and join them.
INSTANCE = Party({"cnpg.io/cluster": "database", "cnpg.io/podRole": "instance"})
SOLVER = Party({"acme.cert-manager.io/http01-solver": "true"})
KUBERNETES = Party(address="10.96.0.1")
WITH_ALL = ("staging", "production")


@pytest.fixture(params=WITH_ALL)
def whole(request: pytest.FixtureRequest) -> Rendered:
    return render(request.param)


def database_of(rendered: Rendered) -> Party:
    return workload(rendered, "StatefulSet", "database") if rendered.overlay == "demo" else INSTANCE


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_process_reaches_database_bus_and_names_and_no_other_server(overlay: str) -> None:
    rendered = render(overlay)
    database, bus = database_of(rendered), workload(rendered, "StatefulSet", "nats")
    for manifest in rendered.ours:
        process = workload(rendered, manifest["kind"], manifest["metadata"]["name"])
        assert allows(rendered, process, database, 5432)
        assert allows(rendered, process, bus, 4222)
        assert allows(rendered, process, DNS, 53, "UDP")
        assert allows(rendered, process, DNS, 53)
        for port in (6222, 8222):
            assert not allows(rendered, process, bus, port), port
        assert not any(allows(rendered, process, away, 443) for away in PRIVATE)
        assert not allows(rendered, process, STRANGER, 443)
    for server in (database, bus):
        assert allows(rendered, server, DNS, 53, "UDP")
        for port in (4222, 5432, 8222):
            assert not allows(rendered, INTERNET, server, port)
            assert not allows(rendered, STRANGER, server, port)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_packet_forwarders_come_from_anywhere_and_only_to_the_bridge(overlay: str) -> None:
    rendered = render(overlay)
    bridge = workload(rendered, "Deployment", "gateway-bridge")

    assert allows(rendered, INTERNET, bridge, 1700, "UDP")
    for manifest in rendered.ours:
        name = manifest["metadata"]["name"]
        process = workload(rendered, manifest["kind"], name)
        for port in (1700, 3001, 3002, 8080, 8081, 8090):
            if name != "gateway-bridge" or port != 1700:
                assert not allows(rendered, INTERNET, process, port), (name, port)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_only_webhooks_mail_and_other_networks_go_outside(overlay: str) -> None:
    rendered = render(overlay)
    outside = {"alerting": {443, 465, 587}, "intake": {443, 1883, 8883}}
    for manifest in rendered.ours:
        name = manifest["metadata"]["name"]
        process = workload(rendered, manifest["kind"], name)
        open_to = {port for port in (25, 80, 443, 465, 587, 1883, 5432, 8883)
                   if allows(rendered, process, INTERNET, port)}  # fmt: skip
        assert open_to == outside.get(name, set()), name


def test_bus_servers_form_a_cluster(whole: Rendered) -> None:
    bus = workload(whole, "StatefulSet", "nats")

    assert allows(whole, bus, bus, 6222)


def test_gateways_and_their_bridge_meet_at_the_broker_and_nobody_else(whole: Rendered) -> None:
    broker = workload(whole, "StatefulSet", "mosquitto")

    assert allows(whole, INTERNET, broker, 8883)
    for manifest in whole.ours:
        name = manifest["metadata"]["name"]
        process = workload(whole, manifest["kind"], name)
        assert allows(whole, process, broker, 8883) == (name in {"gateway-bridge-mqtt", "intake"}), name


def test_the_ingress_reaches_what_it_serves_and_the_answer_to_its_certificate(whole: Rendered) -> None:
    served = {
        path["backend"]["service"]["name"]
        for ingress in whole.of("Ingress")
        for rule in ingress["spec"]["rules"]
        for path in rule["http"]["paths"]
    }
    assert served == {"api", "intake", "gateway-station"}
    of_bridge = [("gateway-bridge", 3001), ("gateway-bridge", 3002)]
    for name, port in (("api", 8080), ("intake", 8081), *of_bridge):
        process = workload(whole, "Deployment", name)
        assert allows(whole, INGRESS, process, port)
        assert not allows(whole, STRANGER, process, port)
    assert allows(whole, INGRESS, SOLVER, 8089)
    assert not allows(whole, INTERNET, SOLVER, 8089)


def test_prometheus_scrapes_every_process_of_its_configuration(whole: Rendered) -> None:
    for deployment in whole.of("Deployment"):
        process = workload(whole, "Deployment", deployment["metadata"]["name"])
        assert allows(whole, PROMETHEUS, process, process.ports["health"])
        assert not allows(whole, STRANGER, process, process.ports["health"])


def test_keda_reads_the_backlog_and_writes_nothing() -> None:
    rendered = render("production")
    bus = workload(rendered, "StatefulSet", "nats")

    assert allows(rendered, KEDA, bus, 8222)
    assert not allows(rendered, KEDA, bus, 4222)


def test_cloudnativepg_replicates_joins_fails_over_and_archives(whole: Rendered) -> None:
    for port in (5432, 8000):
        assert allows(whole, OPERATOR, INSTANCE, port)
        assert allows(whole, INSTANCE, INSTANCE, port)
    for port in (443, 6443):
        assert allows(whole, INSTANCE, KUBERNETES, port)
    [store] = whole.of("ObjectStore")
    assert store["spec"]["configuration"]["endpointURL"].startswith("https://")
    assert allows(whole, INSTANCE, INTERNET, 443)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_named_container_ports_are_those_that_the_process_is_set_to_listen_on(overlay: str) -> None:
    settings = {
        "health": "TERRITOIRE_HEALTH_PORT", "semtech-udp": "TERRITOIRE_UDP_PORT",
        "station": "TERRITOIRE_STATION_PORT", "cups": "TERRITOIRE_CUPS_PORT",
    }  # fmt: skip
    rendered = render(overlay)
    common = rendered.settings
    for manifest in rendered.ours:
        [container] = containers_of(manifest)
        told = common | {entry["name"]: entry.get("value") for entry in container["env"]}
        for port in container.get("ports", []):
            service = container["args"][0].removeprefix("services.").upper()
            name = settings.get(port["name"], f"TERRITOIRE_{service}_PORT")
            assert told[name] == str(port["containerPort"])


def test_a_database_that_others_run_is_reached_and_nothing_beside_it(tmp_path: Path) -> None:
    """The component that no overlay of ours takes."""
    (tmp_path / "kustomization.yaml").write_text(
        f"""resources: [{relative(tmp_path, "base")}]
components:
  - {relative(tmp_path, "components/database-external")}
  - {relative(tmp_path, "components/nats-cluster")}
  - {relative(tmp_path, "components/process")}
""",
        "utf-8",
    )
    rendered = rendered_from("external", tmp_path)
    database = Party(address="192.0.2.10")  # In the network that the overlay replaces.
    for manifest in rendered.ours:
        process = workload(rendered, manifest["kind"], manifest["metadata"]["name"])
        assert allows(rendered, process, database, 5432)
        assert not allows(rendered, process, INTERNET, 5432)
        assert not allows(rendered, process, database, 22)


def relative(start: Path, place: str) -> str:
    """kustomize takes no absolute path."""
    return os.path.relpath(CHECKOUT / "k8s" / place, start.resolve())

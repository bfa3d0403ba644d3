"""What an installation may want beyond the rest has a component, which opens what that needs and nothing else."""

import re
from pathlib import Path

import pytest

from core.runtime import sftp, syslog
from tests.k8s.conftest import CHECKOUT, Rendered, render, rendered_from
from tests.k8s.policies import Party, allows, workload
from tests.k8s.test_policies import INSTANCE, INTERNET, PRIVATE, relative
from tests.k8s.test_rules import settings_of

INSIDE = Party(address="192.0.2.10")  # In the network that the overlay replaces.
COPY = Party({"cnpg.io/cluster": "database-drill", "cnpg.io/podRole": "instance"})
# Whom each component lets out, where to, and by which ports.
OPENED: dict[str, tuple[str, Party, set[tuple[int, str]]]] = {
    "oidc": ("api", INTERNET, {(443, "TCP")}),
    "invitation-mail": ("api", INTERNET, {(465, "TCP"), (587, "TCP")}),
    "sftp-drops": ("maintenance", INTERNET, {(port, "TCP") for port in sftp.PUBLIC_PORTS}),
    "audit-syslog": ("maintenance", INSIDE, {(514, "UDP"), (601, "TCP"), (6514, "TCP")}),
    "road-distances": ("api", INSIDE, {(5000, "TCP")}),
}
PORTS = {22, 25, 80, 443, 465, 514, 587, 601, 1883, 2222, 5000, 6514, 8883, 9000}
# Settings that name another machine: with which component, or what says why none is needed.
NAMES_A_MACHINE = {
    "oidc_issuer": "oidc",
    "smtp_url": "invitation-mail",  # Of alerting: its own policy.
    "audit_export": "audit-syslog",
    "osrm_url": "road-distances",
    "database_url": "database-external",
    "nats_url": "nats-cluster",
    "mqtt_url": "mqtt-bridge",
    "mqtt_accounts_url": "mosquitto",
    "mqtt_events_url": "mosquitto",
    "chirpstack_url": None,  # docs/kubernetes.md says which policy it takes.
    # Asked by people's browsers, or only written into a message.
    "map_tiles_url": None, "public_url": None, "alert_url": None, "mqtt_public_url": None, "station_url": None,
}  # fmt: skip


def production_with(component: str, folder: Path) -> Rendered:
    (folder / "kustomization.yaml").write_text(
        f"resources: [{relative(folder, 'overlays/production')}]\n"
        f"components: [{relative(folder, f'components/{component}')}]\nnamespace: territoire\n",
        "utf-8",
    )
    return rendered_from(component, folder)


def opened(rendered: Rendered) -> set[tuple[str, str | None, int, str]]:
    """Every connection outwards that the policies let a process make."""
    return {
        (manifest["metadata"]["name"], target.address, port, protocol)
        for manifest in rendered.ours
        for target in (INTERNET, INSIDE, *PRIVATE)
        for port in PORTS
        for protocol in ("TCP", "UDP")
        if allows(
            rendered, workload(rendered, manifest["kind"], manifest["metadata"]["name"]), target, port, protocol
        )
    }


@pytest.mark.parametrize("component", OPENED)
def test_a_component_opens_what_its_feature_needs_and_nothing_else(component: str, tmp_path: Path) -> None:
    process, target, ports = OPENED[component]
    before, after = opened(render("production")), opened(production_with(component, tmp_path))
    # A network that is to be replaced is itself part of the internet.
    targets = {target.address, INSIDE.address} if target is INTERNET else {target.address}

    assert after - before == {(process, to, port, protocol) for to in targets for port, protocol in ports}
    assert before <= after


def test_the_ports_are_those_that_the_programs_use() -> None:
    assert set(syslog.USUAL_PORTS.values()) == {514, 601, 6514}


def test_a_store_on_another_port_is_reached_by_all_that_keep_something_there(tmp_path: Path) -> None:
    """The monthly drill restores into a Cluster of its own, whose policy is its own."""
    plain, rendered = render("production"), production_with("backup-port", tmp_path)

    for pod in (INSTANCE, COPY, Party({"app.kubernetes.io/name": "erasure-ledger"})):
        assert not allows(plain, pod, INTERNET, 9000)
        assert allows(rendered, pod, INTERNET, 9000)
        assert allows(rendered, pod, PRIVATE[0], 9000)
    assert opened(rendered) == opened(plain)


def test_what_a_feature_is_set_with_reaches_its_process(tmp_path: Path) -> None:
    for component, setting in (("oidc", "OIDC_CLIENT_SECRET"), ("invitation-mail", "SMTP_URL")):
        folder = tmp_path / component
        folder.mkdir()
        [container] = production_with(component, folder).named("Deployment", "api")["spec"]["template"]["spec"][
            "containers"
        ]
        assert f"TERRITOIRE_{setting}" in {entry["name"] for entry in container["env"]}


def test_every_setting_that_names_another_machine_is_thought_of() -> None:
    services = [file.parent.name for file in (CHECKOUT / "services").glob("*/__main__.py")]
    fields = {
        name
        for service in set(services) - {"cli", "simulator", "supervisor"}
        for name in settings_of(f"services.{service}").model_fields
    }

    assert {name for name in fields if re.search(r"_(url|issuer)$|^audit_export$", name)} == NAMES_A_MACHINE.keys()
    for component in filter(None, NAMES_A_MACHINE.values()):
        assert (CHECKOUT / "k8s" / "components" / component / "kustomization.yaml").exists()


def test_each_is_in_the_page() -> None:
    page = (CHECKOUT / "docs" / "kubernetes.md").read_text("utf-8")
    table = page.partition("## Ce qui peut se parler")[2].partition("\n## ")[0]

    for component in (*OPENED, "backup-port"):
        assert f"| `{component}` |" in table, component

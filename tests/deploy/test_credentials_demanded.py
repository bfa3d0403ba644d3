"""The set-ups that we deliver demand credentials: what a stranger on the network reaches, and is believed."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateways.settings import FrontendSettings
from services.api.settings import ApiSettings
from tests.k8s.conftest import OVERLAYS, Manifest, containers_of, labels_of, render

CHECKOUT = Path(__file__).resolve().parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((CHECKOUT / "deploy" / "compose.yaml").read_text("utf-8"))
SYSTEMD = (CHECKOUT / "deploy" / "systemd" / "territoire.env").read_text("utf-8")
NEEDED = {"database_url": "postgresql://a", "nats_url": "nats://a", "kek": "00" * 32}
# Where Semtech UDP and the broker (TLS and an account) are, which is all that is reached from anywhere.
OPEN_PORTS = {1700, "semtech-udp", 8883, "mqtts"}


def of_systemd() -> dict[str, str]:
    lines = [line for line in SYSTEMD.splitlines() if line.startswith("TERRITOIRE_")]
    return dict(line.split("=", 1) for line in lines)


def of_overlay(overlay: str, name: str) -> dict[str, str]:
    """What a process is told there, without what comes from a secret."""
    rendered = render(overlay)
    shared = rendered.settings if overlay != "demo" else {}
    [container] = [one for one in containers_of(rendered.named("Deployment", name)) if one["name"] == "service"]
    return shared | {one["name"]: one["value"] for one in container["env"] if "value" in one}


SETUPS = {
    "systemd": (of_systemd, of_systemd),
    "compose": (
        lambda: COMPOSE["services"]["gateway-bridge"]["environment"],
        lambda: COMPOSE["services"]["api"]["environment"],
    ),
    "production": (lambda: of_overlay("production", "gateway-bridge"), lambda: of_overlay("production", "api")),
    "staging": (lambda: of_overlay("staging", "gateway-bridge"), lambda: of_overlay("staging", "api")),
}


def read_as(kind: type[Any], environment: dict[str, str]) -> Any:
    told = {
        name.removeprefix("TERRITOIRE_").lower(): value for name, value in environment.items() if "$" not in value
    }
    return kind.model_validate({name: told[name] for name in kind.model_fields if name in told} | NEEDED)


@pytest.mark.parametrize("setup", SETUPS)
def test_a_station_must_prove_itself_and_only_our_own_proxies_say_where_anybody_comes_from(setup: str) -> None:
    of_bridge, of_api = SETUPS[setup]
    bridge, api = read_as(FrontendSettings, of_bridge()), read_as(ApiSettings, of_api())

    assert bridge.station_credentials == "required"
    for proxies in (bridge.station_proxies, api.api_trusted_proxies):
        assert proxies, "everybody would have the proxy's address"
        assert all(network.is_private for network in proxies)
    # Where TLS ends in a proxy, and nothing of ours waits for a header that it does not send.
    assert (bridge.station_proxy_protocol, api.api_proxy_protocol) == ((), ())


def opened_to_all(policies: list[Manifest]) -> Iterator[int | str]:
    for policy in policies:
        for rule in policy["spec"].get("ingress") or ():
            if not rule.get("from"):
                yield from (port["port"] for port in rule.get("ports") or [{"port": "every"}])


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_from_anywhere_only_packet_forwarders_and_the_broker_are_reached(overlay: str) -> None:
    rendered = render(overlay)
    solver = "acme.cert-manager.io/http01-solver"
    policies = [one for one in rendered.of("NetworkPolicy") if solver not in str(one["spec"]["podSelector"])]

    assert any(one["spec"]["podSelector"] == {} for one in policies), "what is not allowed is refused"
    assert set(opened_to_all(policies)) <= OPEN_PORTS
    for service in rendered.of("Service"):
        if service["spec"].get("type") in {"LoadBalancer", "NodePort"}:
            assert {port["port"] for port in service["spec"]["ports"]} <= OPEN_PORTS
    assert {labels_of(one)["app.kubernetes.io/name"] for one in rendered.ours} >= {"gateway-bridge", "api"}


def test_with_compose_everything_else_is_on_the_loopback_and_every_server_asks_for_a_password() -> None:
    for name, service in COMPOSE["services"].items():
        for port in service.get("ports", ()):
            assert port.startswith("127.0.0.1:") or port in {"1700:1700/udp", "8883:8883"}, name
        for setting, value in service.get("environment", {}).items():
            if setting.endswith(("DATABASE_URL", "NATS_URL", "MQTT_URL")):
                assert ":${" in value.split("//")[1].split("@")[0], (name, setting)

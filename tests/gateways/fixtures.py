"""A bridge on real servers, for its own tests and for the contracts of its frontends."""

import secrets
from collections.abc import AsyncGenerator

import pytest

from core.runtime.postgres import Pool
from gateways import known_gateways
from lorawan.identifiers import GatewayId
from services.gateway_bridge.settings import Settings
from services.supervisor.ports import LOOPBACK, free_tcp_port, udp_port
from tests.gateways.stations import Rig, open_rig


@pytest.fixture
def bridge_settings(database_url: str, nats_url: str, mqtt_url: str, monkeypatch: pytest.MonkeyPatch) -> Settings:
    save_at_once(monkeypatch)
    return settings_of_bridge(database_url, nats_url, mqtt_url)


def save_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a bridge in this process has seen is written at once; how often is no part of what it writes."""
    monkeypatch.setattr(known_gateways, "SAVE_EVERY_S", 0.2)


def settings_of_bridge(database_url: str, nats_url: str, mqtt_url: str) -> Settings:
    return Settings(
        database_url=database_url,
        nats_url=nats_url,
        mqtt_url=mqtt_url,
        mqtt_client_id=f"bridge-{secrets.token_hex(6)}",
        udp_host=LOOPBACK,
        udp_port=udp_port(0, LOOPBACK),
        station_host=LOOPBACK,
        station_port=free_tcp_port(),
        station_credentials="none",  # Those who prove who they are have tests of their own.
        health_port=free_tcp_port(),
    )


@pytest.fixture
async def rig(bridge_settings: Settings, pool: Pool, gateway_mqtt_url: str) -> AsyncGenerator[Rig]:
    async with open_rig(bridge_settings, pool, gateway_mqtt_url) as opened:
        yield opened


@pytest.fixture
def gateway_id() -> GatewayId:
    return GatewayId(secrets.token_bytes(8))

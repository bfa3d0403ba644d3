"""The simulated station against the bridge: a token, uplinks of each kind, answers in the right window."""

import asyncio
import contextlib
import random
from collections.abc import AsyncGenerator
from datetime import timedelta

import pytest

from core.messages import topics
from core.runtime.postgres import Pool
from lab.gateway.station import StationGateway, message_of
from lab.radio.clock import now_us
from lab.radio.medium import RadioMedium
from lab.radio.transmission import Reception, Transmission
from lorawan.identifiers import GatewayId
from registry.gateway_tokens import create_token
from services.gateway_bridge.settings import Settings
from tests.gateways.fixtures import bridge_settings, gateway_id
from tests.gateways.stations import JOIN_REQUEST, UPLINK, Rig, downlink, open_rig, register
from tests.gateways.ws_station import message_of as independent_message_of

__all__ = ["bridge_settings", "gateway_id"]

PROPRIETARY = b"\xe0" + b"\x55" * 20


@pytest.fixture
async def rig(bridge_settings: Settings, pool: Pool, gateway_mqtt_url: str) -> AsyncGenerator[Rig]:
    settings = bridge_settings.model_copy(update={"station_credentials": "required"})
    async with open_rig(settings, pool, gateway_mqtt_url) as opened:
        yield opened


def received(phy_payload: bytes) -> Reception:
    transmission = Transmission(phy_payload, 868_100_000, 7, now_us() - 60_000, 60_000)
    return Reception(transmission, snr=8.25, rssi=-71.0)


async def test_a_simulated_station_brings_frames_and_transmits_what_it_is_asked_for(
    rig: Rig, gateway_id: GatewayId
) -> None:
    await register(rig.pool, gateway_id)
    async with rig.pool.acquire() as connection, connection.transaction():
        row = await connection.fetchval("SELECT id FROM gateway")
        token = await create_token(connection, row, timedelta(0))
    await rig.bus.nudge(topics.REGISTRY_CHANGED)
    medium = RadioMedium(random.Random(1), uplink_loss=0, downlink_loss=0, fading_db=0)
    station = StationGateway(gateway_id, "essai", 48.4, -4.5, medium, url=rig.station_url, token=token)
    running = asyncio.create_task(station.run())
    try:
        await rig.reachable(gateway_id)
        sent = [UPLINK, JOIN_REQUEST]
        for phy_payload in sent:
            assert station.receive(received(phy_payload))
        frames = await rig.frames(len(sent))
        at_once = await rig.transmit(gateway_id, downlink(gateway_id, latest_at_us=now_us() + 2_000_000))
        first = frames[0]
        in_rx1 = await rig.transmit(
            gateway_id, downlink(gateway_id, uplink_at_us=first.received_at_us, context=first.context), 20
        )

        assert [frame.phy_payload for frame in frames] == sent
        assert (at_once.status, in_rx1.status, in_rx1.index) == ("OK", "OK", 0)
        assert station.account.emitted == 2
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running


@pytest.mark.parametrize("phy_payload", [UPLINK, JOIN_REQUEST, PROPRIETARY])
def test_a_frame_is_written_as_a_real_station_writes_it(phy_payload: bytes) -> None:
    common = {"RefTime", "DR", "Freq", "upinfo"}
    expected = {key: value for key, value in independent_message_of(phy_payload, {}).items() if key not in common}

    assert message_of(phy_payload) == expected

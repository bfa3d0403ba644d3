"""How stations come, stay, come back and go, on real connections to a whole bridge."""

import asyncio
import contextlib
import json

import pytest
from websockets.exceptions import ConnectionClosed

from core.messages import topics
from core.runtime.bus import NoResponders
from gateways import basics_station
from lorawan.identifiers import GatewayId
from services.gateway_bridge.settings import Settings
from services.supervisor.ports import LOOPBACK
from tests.gateways.stations import UPLINK, Rig, downlink, now_us, register, replica, running_bridge, until
from tests.gateways.ws_station import WsStation, connect_to, counted, on_the_air, ws_station


async def obey(station: WsStation) -> None:
    while True:
        await station.transmitted(await station.downlinks.get(), "RX2")


async def without_path(rig: Rig, gateway_id: GatewayId) -> None:
    """Return once nobody answers for the gateway: a close of 10 s, a sweep of 5 s, a busy machine."""

    async def is_gone() -> bool:
        try:
            await rig.transmit(gateway_id, downlink(gateway_id, latest_at_us=1))
        except NoResponders:
            return True
        except TimeoutError:  # The bridge still waits for the station, which does not read.
            return False
        return False

    await until(is_gone, within_s=80)


async def test_a_new_connection_takes_over_from_one_that_seems_alive(rig: Rig, gateway_id: GatewayId) -> None:
    async with ws_station(rig.station_url, gateway_id) as former:
        await on_the_air(rig, gateway_id)
        async with ws_station(rig.station_url, gateway_id) as station:
            async with asyncio.timeout(5):
                await former.connection.wait_closed()
            await station.receive(UPLINK)
            asking = asyncio.create_task(
                rig.transmit(gateway_id, downlink(gateway_id, latest_at_us=now_us() + 1_000_000))
            )
            await station.transmitted(await station.downlink(), "RX2")

            assert [frame.phy_payload for frame in await rig.frames(1)] == [UPLINK]
            assert (await asking).status == "OK"


async def test_a_station_that_comes_back_at_another_replica_is_reached_there(
    rig: Rig, bridge_settings: Settings, gateway_id: GatewayId
) -> None:
    other = replica(bridge_settings, "other")
    async with ws_station(rig.station_url, gateway_id) as former, running_bridge(other):
        await on_the_air(rig, gateway_id)
        # The first replica does not know yet that its connection is dead.
        async with ws_station(f"ws://{LOOPBACK}:{other.station_port}", gateway_id) as station:
            obeying = asyncio.create_task(obey(station))

            async def is_reached() -> bool:  # Until the first replica knows of it, it may answer.
                request = downlink(gateway_id, latest_at_us=now_us() + 1_000_000)
                return (await rig.transmit(gateway_id, request)).status == "OK"

            await until(is_reached)
            lost = former.downlinks.qsize()
            assert all([await is_reached() for _ in range(3)])
            assert former.downlinks.qsize() == lost
            obeying.cancel()


async def test_a_station_that_goes_has_no_path(rig: Rig, gateway_id: GatewayId) -> None:
    async with ws_station(rig.station_url, gateway_id):
        await on_the_air(rig, gateway_id)

    await without_path(rig, gateway_id)

    async def is_noted() -> bool:
        return await rig.pool.fetchval("SELECT stats ->> 'online' FROM gateway_state") == "false"

    await until(is_noted, within_s=30)


async def test_a_bridge_that_stops_says_so(rig: Rig, bridge_settings: Settings, gateway_id: GatewayId) -> None:
    stopping = replica(bridge_settings, "stopping")
    await register(rig.pool, gateway_id)
    async with contextlib.AsyncExitStack() as bridge:
        await bridge.enter_async_context(running_bridge(stopping))
        async with ws_station(f"ws://{LOOPBACK}:{stopping.station_port}", gateway_id) as station:
            await rig.reachable(gateway_id)
            await station.receive(UPLINK)
            await station.speak()  # What was said before this is with the bridge.
            await bridge.aclose()

            assert station.connection.close_code == 1001
            assert [frame.phy_payload for frame in await rig.frames(1)] == [UPLINK]


async def test_a_connection_on_which_nobody_answers_is_ended(
    rig: Rig, gateway_id: GatewayId, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(basics_station, "PONG_WITHIN_S", 1.0)
    monkeypatch.setattr(basics_station, "PING_EVERY_S", 0.1)
    async with ws_station(rig.station_url, gateway_id) as station:
        await on_the_air(rig, gateway_id)
        station.connection.transport.pause_reading()  # As a radio link that is gone: no octet moves.

        await without_path(rig, gateway_id)


async def test_a_connection_that_never_says_what_it_is_has_no_place(
    rig: Rig, gateway_id: GatewayId, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(basics_station, "VERSION_WITHIN_S", 0.2)
    monkeypatch.setattr(basics_station, "PING_EVERY_S", 0.1)
    async with connect_to(f"{rig.station_url}/gateway/{gateway_id.hex()}") as connection:
        async with asyncio.timeout(5):
            await connection.wait_closed()

    assert await counted(rig, "version", "missing") >= 1


async def test_unknown_gateways_cannot_take_every_place(
    rig: Rig, gateway_id: GatewayId, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(basics_station, "MAX_UNKNOWN", 1)
    ours = GatewayId(bytes(8))

    async def is_known() -> bool:
        return await rig.metric("territoire_gateway_bridge_gateways_registered") == 1

    await register(rig.pool, ours)
    await rig.bus.nudge(topics.REGISTRY_CHANGED)
    await until(is_known)
    async with ws_station(rig.station_url, gateway_id):
        async with connect_to(f"{rig.station_url}/gateway/0102030405060708") as turned_away:
            async with asyncio.timeout(5):
                await turned_away.wait_closed()

        async with ws_station(rig.station_url, ours):
            await rig.reachable(ours)

    assert turned_away.close_code == 1013


async def test_a_flood_costs_the_station_its_own_messages_only(rig: Rig, gateway_id: GatewayId) -> None:
    other = GatewayId(gateway_id[::-1])
    async with (
        ws_station(rig.station_url, gateway_id) as flooding,
        ws_station(rig.station_url, other) as calm,
    ):
        await on_the_air(rig, other)
        before = await counted(rig, "other", "rate_limited")
        for _ in range(basics_station.MESSAGES_AT_ONCE + 500):
            await flooding.send({"msgtype": "event"})
        await flooding.speak()
        await calm.receive(UPLINK)

        assert await counted(rig, "other", "rate_limited") > before
        assert [frame.gateway_id for frame in await rig.frames(1)] == [other]


async def test_a_message_that_is_too_long_ends_the_connection_and_the_next_one_is_served(
    rig: Rig, gateway_id: GatewayId
) -> None:
    async with ws_station(rig.station_url, gateway_id) as station:
        await on_the_air(rig, gateway_id)
        with contextlib.suppress(ConnectionClosed):
            await station.connection.send(json.dumps({"msgtype": "updf", "FRMPayload": "00" * 100_000}))
            await station.connection.wait_closed()

    async with ws_station(rig.station_url, gateway_id) as station:
        await station.receive(UPLINK)

        assert [frame.phy_payload for frame in await rig.frames(1)] == [UPLINK]

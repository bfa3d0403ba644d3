"""Who speaks in a live gateway's name, from elsewhere and by whatever protocol, gets nothing, and is listed."""

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from lorawan.identifiers import GatewayId
from services.gateway_bridge import app
from services.gateway_bridge.settings import Settings
from tests.gateways.station_face import Station
from tests.gateways.stations import UPLINK, Rig, downlink, now_us, on_the_air, replica, running_bridge, until
from tests.gateways.ws_station import WsStation, connect_to, ws_station

ELSEWHERE = "127.0.0.2"
ASKED = 4
OWNERS = ["semtech_udp", "chirpstack_mqtt", "basics_station"]


@asynccontextmanager
async def speaking(rig: Rig, frontend: str, gateway_id: GatewayId) -> AsyncGenerator[Station]:
    """A gateway that speaks from where it always has."""
    match frontend:
        case "semtech_udp":
            opened = rig.udp_station(gateway_id)
        case "chirpstack_mqtt":
            opened = rig.mqtt_station(gateway_id)
        case _:
            opened = ws_station(rig.station_url, gateway_id)
    async with opened as station:
        yield station


async def obey(station: Station, done: list[bytes]) -> None:
    while True:
        with contextlib.suppress(TimeoutError):
            command = await station.command()
            done.append(command.phy_payload)
            await station.answer(command, "OK")


async def intrude(rig: Rig, gateway_id: GatewayId, stack: AsyncExitStack, owner: str) -> list[Station]:
    """Strangers by every protocol; those that were not let in are not among the returned."""
    inside: list[Station] = []
    udp = await stack.enter_async_context(rig.udp_station(gateway_id, ELSEWHERE))
    await udp.speak()
    await udp.receive(UPLINK)
    inside.append(udp)
    if owner != "chirpstack_mqtt":  # Of two clients with one account the broker cannot know which is the gateway.
        mqtt = await stack.enter_async_context(rig.mqtt_station(gateway_id))
        await mqtt.speak()
        await mqtt.receive(UPLINK)
        inside.append(mqtt)
    with contextlib.suppress(ConnectionClosed, InvalidStatus, TimeoutError):
        connection = await stack.enter_async_context(
            connect_to(f"{rig.station_url}/gateway/{gateway_id.hex()}", local_addr=(ELSEWHERE, 0))
        )
        station = WsStation(gateway_id, connection)
        listening = asyncio.create_task(station.listen())
        stack.callback(listening.cancel)
        async with asyncio.timeout(2):
            await station.introduce()
        await station.receive(UPLINK)
        inside.append(station)
    return inside


@pytest.mark.parametrize("owner", OWNERS)
async def test_a_stranger_gets_no_downlink_of_a_live_gateway_by_any_protocol_and_is_listed(
    rig: Rig, gateway_id: GatewayId, owner: str
) -> None:
    async def rejected() -> set[Any]:
        rows = await rig.pool.fetch("SELECT frontend, address FROM gateway_address_change WHERE refused")
        return {(row["frontend"], row["address"]) for row in rows}

    expected = {("semtech_udp", ELSEWHERE), ("basics_station", ELSEWHERE)}
    if owner != "chirpstack_mqtt":
        expected.add(("chirpstack_mqtt", "mqtt eu868"))
    async with speaking(rig, owner, gateway_id) as station, AsyncExitStack() as strangers:
        await on_the_air(rig, station)
        done: list[bytes] = []
        stolen: list[bytes] = []
        obeying = [asyncio.create_task(obey(station, done))]
        obeying += [
            asyncio.create_task(obey(stranger, stolen))
            for stranger in await intrude(rig, gateway_id, strangers, owner)
        ]
        answers = [
            await rig.transmit(gateway_id, downlink(gateway_id, latest_at_us=now_us() + 2_000_000))
            for _ in range(ASKED)
        ]
        await station.receive(UPLINK)
        frames = await rig.frames(1)
        for task in obeying:
            task.cancel()

        assert (len(done), stolen) == (ASKED, [])
        assert {answer.status for answer in answers} == {"OK"}
        assert [frame.context for frame in frames] == [station.traits.context]  # The owner's, and nobody's else.

        async def is_listed() -> bool:
            return await rejected() >= expected

        await until(is_listed, within_s=15)
        assert await rig.pool.fetchval("SELECT count(*) FROM alert_request WHERE kind = 'gateway_address'") > 0


@pytest.mark.parametrize("remembered_s", [0.0, app.REMEMBERED_S])
async def test_a_stranger_at_another_replica_or_after_a_restart_gets_no_gateway_that_lives(
    rig: Rig,
    bridge_settings: Settings,
    gateway_id: GatewayId,
    monkeypatch: pytest.MonkeyPatch,
    remembered_s: float,
) -> None:
    monkeypatch.setattr(app, "REMEMBERED_S", remembered_s)
    other = replica(bridge_settings, "other")
    there = dataclasses.replace(rig, udp_port=other.udp_port, station_port=other.station_port or 0)

    async def listed() -> int:
        return await rig.pool.fetchval(
            "SELECT count(DISTINCT frontend) FROM gateway_address_change WHERE refused AND address = $1", ELSEWHERE
        )

    async def is_listed() -> bool:
        return await listed() == 2

    async with ws_station(rig.station_url, gateway_id) as station, AsyncExitStack() as strangers:
        await on_the_air(rig, station)
        await station.receive(UPLINK)
        await until(lambda: rig.pool.fetchval("SELECT count(*) FROM gateway_state"))
        # It starts, and knows what the registry remembers, or nothing but what the first replica answers it.
        await strangers.enter_async_context(running_bridge(other))
        stolen: list[bytes] = []
        inside = await intrude(there, gateway_id, strangers, "chirpstack_mqtt")
        stealing = [asyncio.create_task(obey(stranger, stolen)) for stranger in inside]
        done: list[bytes] = []
        obeying = asyncio.create_task(obey(station, done))
        await until(is_listed)
        for _ in range(ASKED):
            await rig.transmit(gateway_id, downlink(gateway_id, latest_at_us=now_us() + 2_000_000))
        for task in [obeying, *stealing]:
            task.cancel()

        assert (len(done), stolen) == (ASKED, [])

"""Who speaks in a live gateway's name, from elsewhere and by whatever protocol, gets nothing, and is listed."""

import asyncio
import contextlib
import dataclasses
import json
import os
from collections import Counter
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from lorawan.identifiers import GatewayId
from services.gateway_bridge import app
from services.gateway_bridge.settings import Settings
from tests.gateways.station_face import Station
from tests.gateways.stations import UPLINK, Rig, downlink, now_us, on_the_air, replica, running_bridge, until
from tests.gateways.ws_station import WsStation, connect_to, ws_station

ELSEWHERE = "127.0.0.2"
# `./territoire bench takeover` asks for a thousand.
ASKED = int(os.environ.get("TERRITOIRE_TEST_TAKEOVER_DOWNLINKS", "4"))
PATIENCE_S = 60 + ASKED
STRANGERS_LISTED = """
SELECT frontend, times FROM gateway_address_change WHERE refused AND address IN ($1, 'mqtt eu868')
"""
OWNER_REJECTED = """
SELECT count(*) FROM gateway_address_change WHERE refused AND address NOT IN ($1, 'mqtt eu868')
"""
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


async def try_again(rig: Rig, gateway_id: GatewayId, inside: list[Station], attempts: Counter[str]) -> None:
    """Strangers speak in the gateway's name once more: each by its own protocol, over WebSocket anew."""
    for station in inside:
        await station.speak()
        attempts[station.traits.name] += 1
    with contextlib.suppress(ConnectionClosed, InvalidStatus):
        async with connect_to(f"{rig.station_url}/gateway/{gateway_id.hex()}", local_addr=(ELSEWHERE, 0)) as again:
            await again.wait_closed()
    attempts["basics_station"] += 1


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


@pytest.mark.timeout(60 + 10 * PATIENCE_S)
@pytest.mark.parametrize("owner", OWNERS)
async def test_a_stranger_gets_no_downlink_of_a_live_gateway_by_any_protocol_and_is_listed(
    rig: Rig, gateway_id: GatewayId, owner: str, record_testsuite_property: Callable[[str, object], None]
) -> None:
    async def listed() -> dict[str, int]:
        query = (
            "SELECT frontend, times FROM gateway_address_change WHERE refused AND address IN ($1, 'mqtt eu868')"
        )
        return {row["frontend"]: row["times"] for row in await rig.pool.fetch(query, ELSEWHERE)}

    async with speaking(rig, owner, gateway_id) as station, AsyncExitStack() as strangers:
        await on_the_air(rig, station)
        await station.receive(UPLINK)
        await rig.frames(1)
        done: list[bytes] = []
        stolen: list[bytes] = []
        obeying = [asyncio.create_task(obey(station, done))]
        inside = await intrude(rig, gateway_id, strangers, owner)
        attempts = Counter({stranger.traits.name: 1 for stranger in inside} | {"basics_station": 1})
        obeying += [asyncio.create_task(obey(stranger, stolen)) for stranger in inside]
        statuses: Counter[str] = Counter()
        for _ in range(ASKED):
            await try_again(rig, gateway_id, inside, attempts)
            await station.speak()
            asked = downlink(gateway_id, latest_at_us=now_us() + 2_000_000, spreading_factor=7)
            statuses[(await rig.transmit(gateway_id, asked)).status] += 1
        await station.receive(UPLINK)
        frames = await rig.frames(1)
        for task in obeying:
            task.cancel()

        assert (len(done), stolen, statuses) == (ASKED, [], {"OK": ASKED})
        assert [frame.context for frame in frames] == [station.traits.context]  # The owner's, and nobody's else.
        assert not await rig.pool.fetchval(OWNER_REJECTED, ELSEWHERE)

        async def is_listed() -> bool:
            found = await listed()
            return all(found.get(name, 0) >= times for name, times in attempts.items())

        await until(is_listed, within_s=15)
        assert await rig.pool.fetchval("SELECT count(*) FROM alert_request WHERE kind = 'gateway_address'") > 0
    figures = {"owner": owner, "done": len(done), "stolen": len(stolen), "attempts": dict(attempts)}
    record_testsuite_property(f"takeover_{owner}", json.dumps(figures | {"listed": await listed()}))


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

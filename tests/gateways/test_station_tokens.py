"""Stations with a token, and those that have none or somebody else's."""

import asyncio
from collections.abc import AsyncGenerator
from datetime import timedelta
from ipaddress import ip_network
from typing import Any

import pytest
from websockets.exceptions import InvalidStatus

from core.messages import topics
from core.runtime.http.origin import client_address
from core.runtime.postgres import Pool
from gateways.known_gateways import Gateways
from lorawan.identifiers import GatewayId
from registry.gateway_tokens import create_token, delete_token
from registry.keys import KeyWrap
from registry.mqtt_accounts import create_gateway_account, delete_gateway_account
from services.gateway_bridge.settings import Settings
from tests.gateways.stations import UPLINK, Rig, downlink, now_us, open_rig, register, until
from tests.gateways.ws_station import connect_to, dashed, discover, ws_station

ELSEWHERE = "127.0.0.2"
DAY = timedelta(days=1)


@pytest.fixture
async def strict_rig(bridge_settings: Settings, pool: Pool, gateway_mqtt_url: str) -> AsyncGenerator[Rig]:
    settings = bridge_settings.model_copy(update={"station_credentials": "required"})
    async with open_rig(settings, pool, gateway_mqtt_url) as opened:
        yield opened


def shown(token: str, host: str = "127.0.0.1") -> dict[str, Any]:
    return {"additional_headers": {"Authorization": token}, "local_addr": (host, 0)}


async def make_token(rig: Rig, gateway_id: bytes, keep: timedelta = DAY) -> str:
    """As the API does it, and known to the bridge."""
    async with rig.pool.acquire() as connection, connection.transaction():
        row = await connection.fetchval("SELECT id FROM gateway WHERE gateway_id = $1", gateway_id)
        token = await create_token(connection, row, keep)
    await rig.bus.nudge(topics.REGISTRY_CHANGED)

    async def is_known() -> bool:
        # Of a gateway that it does not know the bridge asks nothing.
        without = await discover(rig.station_url, dashed(gateway_id))
        return "error" in without and "uri" in await discover(rig.station_url, dashed(gateway_id), **shown(token))

    await until(is_known)
    return token


async def turned_away(rig: Rig, gateway_id: bytes, **options: Any) -> int:
    with pytest.raises(InvalidStatus) as refused:
        async with connect_to(f"{rig.station_url}/gateway/{gateway_id.hex()}", **options):
            pass
    return refused.value.response.status_code


async def is_reached(rig: Rig, station: Any) -> bool:
    asking = asyncio.create_task(
        rig.transmit(station.gateway_id, downlink(station.gateway_id, latest_at_us=now_us() + 1_000_000))
    )
    await station.transmitted(await station.downlink(20), "RX2")
    return (await asking).status == "OK"


async def test_a_token_is_the_pin_from_any_address_and_nothing_less_is_believed(
    strict_rig: Rig, gateway_id: GatewayId
) -> None:
    rig, other = strict_rig, GatewayId(gateway_id[::-1])
    await register(rig.pool, gateway_id)
    await register(rig.pool, other)
    token, others = await make_token(rig, gateway_id), await make_token(rig, other)

    async with ws_station(rig.station_url, gateway_id, **shown(f"Bearer {token}")) as former:
        await rig.reachable(gateway_id)
        await until(lambda: rig.pool.fetchval("SELECT count(*) FROM gateway_state"))
        wrong = [token[:-1] + "_", others, "", token.replace("tgw_", "")]
        statuses = [await turned_away(rig, gateway_id, **shown(one, ELSEWHERE)) for one in wrong]
        statuses.append(await turned_away(rig, gateway_id, local_addr=(ELSEWHERE, 0)))
        assert await is_reached(rig, former)
        async with ws_station(rig.station_url, gateway_id, **shown(token, "127.0.0.3")) as station:
            assert await is_reached(rig, station)  # It has gone over to 4G; its former connection knows nothing.
            await station.receive(UPLINK)
            assert len(await rig.frames(1)) == 1
    # Gone, and known by its token: who speaks without one has no chance, however long it waits.
    async with rig.udp_station(gateway_id, ELSEWHERE) as stranger:
        await stranger.speak()
        await stranger.receive(UPLINK)

        async def listed() -> dict[Any, int]:
            rows = await rig.pool.fetch("SELECT frontend, address, refused, times FROM gateway_address_change")
            return {(row["frontend"], row["address"], row["refused"]): row["times"] for row in rows}

        async def is_listed() -> bool:
            found = await listed()
            return (
                found.get(("basics_station", ELSEWHERE, True), 0) == len(statuses)
                and ("semtech_udp", ELSEWHERE, True) in found
                and ("basics_station", "127.0.0.3", False) in found
            )

        await until(is_listed)
        assert stranger.commands.empty()
    assert statuses == [401] * 5
    assert await rig.pool.fetchval("SELECT count(*) FROM gateway_token WHERE last_used_at IS NOT NULL") == 1


async def test_two_tokens_are_valid_during_a_rotation_and_a_withdrawn_one_ends_its_connection(
    strict_rig: Rig, gateway_id: GatewayId
) -> None:
    rig = strict_rig
    await register(rig.pool, gateway_id)
    first = await make_token(rig, gateway_id)
    second = await make_token(rig, gateway_id)

    async with ws_station(rig.station_url, gateway_id, **shown(first)):
        await rig.reachable(gateway_id)
    async with ws_station(rig.station_url, gateway_id, **shown(second)) as station:
        async with rig.pool.acquire() as connection:
            row = await connection.fetchval("SELECT id FROM gateway WHERE gateway_id = $1", gateway_id)
            await delete_token(connection, row, second.split("_")[1])
        async with asyncio.timeout(20):
            await station.connection.wait_closed()  # No nudge: the poll finds it.

    assert await turned_away(rig, gateway_id, **shown(second)) == 401
    assert "token" in (await discover(rig.station_url, dashed(gateway_id), **shown(second)))["error"]


async def test_a_station_of_before_may_come_without_a_credential_until_its_time_is_over(
    strict_rig: Rig, gateway_id: GatewayId
) -> None:
    rig = strict_rig
    await register(rig.pool, gateway_id)
    await rig.pool.execute("UPDATE gateway SET unproved_until = now() + interval '1 day'")
    await rig.bus.nudge(topics.REGISTRY_CHANGED)

    async def is_answered() -> bool:
        return "uri" in await discover(rig.station_url, dashed(gateway_id))

    await until(is_answered)
    async with ws_station(rig.station_url, gateway_id) as station:
        await rig.reachable(gateway_id)
        await rig.pool.execute("UPDATE gateway SET unproved_until = now()")
        async with asyncio.timeout(20):
            await station.connection.wait_closed()

    assert await turned_away(rig, gateway_id) == 401


@pytest.mark.parametrize(
    ("peer", "said", "address"),
    [
        ("10.0.0.7", "198.51.100.4", "198.51.100.4"),
        ("10.0.0.7", "192.0.2.1, 198.51.100.4", "198.51.100.4"),  # What the station itself said is not believed.
        ("10.0.0.7", "198.51.100.4, 10.0.0.8", "198.51.100.4"),
        ("198.51.100.9", "192.0.2.1", "198.51.100.9"),
        ("10.0.0.7", "nonsense", "10.0.0.7"),
        ("10.0.0.7", "", "10.0.0.7"),
    ],
)
def test_only_our_own_proxies_say_where_a_station_comes_from(peer: str, said: str, address: str) -> None:
    assert client_address(peer, [said], [ip_network("10.0.0.0/8")]) == address


async def test_a_gateway_that_was_heard_under_its_mqtt_account_is_believed_nothing_less_until_it_is_withdrawn(
    bridge_settings: Settings, pool: Pool, gateway_mqtt_url: str, gateway_id: GatewayId
) -> None:
    async def needs_proof() -> bool:
        gateways = Gateways(pool)  # As every replica reads them.
        await gateways.load()
        return gateways.needs_proof(gateway_id)

    async def is_proved() -> bool:
        await station.speak()
        return await pool.fetchval("SELECT proved_at IS NOT NULL FROM mqtt_account")

    await register(pool, gateway_id)
    async with pool.acquire() as connection:
        row = await connection.fetchval("SELECT id FROM gateway")
        account = await create_gateway_account(connection, KeyWrap("kek-1", bytes(16)), row, DAY)
    # One that was never used takes nothing away from the protocol of before.
    assert not await needs_proof()
    settings = bridge_settings.model_copy(update={"mqtt_accounts": "per_gateway"})
    async with open_rig(settings, pool, gateway_mqtt_url) as rig, rig.mqtt_station(gateway_id) as station:
        await until(is_proved)

    assert await needs_proof()
    async with pool.acquire() as connection:
        await delete_gateway_account(connection, row, account.id)
    assert not await needs_proof()

"""The radios of a replica, on a real ledger."""

import asyncio

from core.model.entities import Gateway
from core.registry.gateways import read_gateways
from core.runtime.postgres import Pool
from lorawan.identifiers import GatewayId
from services.gateway_bridge.radio import Radios
from services.gateway_bridge.round_trip import RoundTrips
from services.gateway_bridge.store import Statuses
from tests.services.gateway_bridge.stations import register


async def registered(pool: Pool, gateway_id: GatewayId) -> Gateway:
    await register(pool, gateway_id)
    return (await read_gateways(pool))[gateway_id]


async def test_requests_to_one_gateway_share_its_radio(pool: Pool, gateway_id: GatewayId) -> None:
    gateway, radios = await registered(pool, gateway_id), Radios(pool, Statuses(pool), RoundTrips())

    first, second = await asyncio.gather(radios.of(gateway), radios.of(gateway))

    assert first is second


async def test_a_radio_that_is_forgotten_while_its_ledger_is_read_is_not_kept(
    pool: Pool, gateway_id: GatewayId
) -> None:
    gateway, radios = await registered(pool, gateway_id), Radios(pool, Statuses(pool), RoundTrips())
    making = asyncio.create_task(radios.of(gateway))
    await asyncio.sleep(0)  # It has asked for the ledger.

    radios.forget(gateway_id)
    forgotten = await making

    assert await radios.of(gateway) is not forgotten

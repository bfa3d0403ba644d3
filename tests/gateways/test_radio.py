"""The radios of a replica, on a real ledger."""

import asyncio

from prometheus_client import REGISTRY

from core.model.entities import Gateway
from core.runtime.postgres import Pool
from gateways import gateway_metrics
from gateways.gateway_times import RoundTrips
from gateways.radio import Radios
from gateways.transmission_store import Statuses
from lorawan.identifiers import GatewayId
from registry.gateways import read_gateways
from tests.gateways.stations import register


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


async def test_how_much_of_an_hour_is_used_up_is_shown_for_each_sub_band(
    pool: Pool, gateway_id: GatewayId
) -> None:
    gateway, radios = await registered(pool, gateway_id), Radios(pool, Statuses(pool), RoundTrips())
    await pool.execute(
        "INSERT INTO transmission (gateway_id, starts_at, frequency, airtime_us, priority, status) "
        "VALUES ($1, now() - interval '1 minute', 868100000, 9000000, 1, 'OK')",
        gateway_id,
    )

    gateway_metrics.show_duty_cycle(gateway_id, (await radios.of(gateway)).usage())

    def used(low_hz: str) -> float | None:
        labels = {"gateway_id": gateway_id.hex(), "sub_band_hz": low_hz}
        return REGISTRY.get_sample_value("territoire_gateway_bridge_duty_cycle_ratio", labels)

    # One percent of an hour is 36 s.
    assert (used("868000000"), used("869400000")) == (0.25, 0.0)
    gateway_metrics.forget(gateway_id)
    assert used("868000000") is None

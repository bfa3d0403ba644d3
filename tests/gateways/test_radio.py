"""The radios of a replica, on a real ledger."""

import asyncio

import pytest
from prometheus_client import REGISTRY

from core.messages.downlinks import TransmitRequest
from core.model.entities import Gateway
from core.runtime.clock import wall_clock_us
from core.runtime.postgres import Pool
from gateways import gateway_metrics
from gateways.frontend import OK, ChosenTransmission
from gateways.gateway_times import RoundTrips
from gateways.radio import Radios
from gateways.transmission_store import Statuses
from lorawan.identifiers import GatewayId
from registry.gateways import read_gateways
from tests.gateways.stations import downlink, register


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


class SettableClock:
    """A wall clock that may be set, and one that counts on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.wall_us, self.counted_us = wall_clock_us(), 1_000_000
        monkeypatch.setattr("gateways.radio.wall_clock_us", lambda: self.wall_us)
        monkeypatch.setattr("gateways.radio.monotonic_us", lambda: self.counted_us)

    def passes(self, seconds: float, *, and_is_set_by_s: float = 0) -> None:
        self.counted_us += round(seconds * 1e6)
        self.wall_us += round((seconds + and_is_set_by_s) * 1e6)


class Forwarder:
    """Takes every frame at once."""

    name, answers_at_once = "fake", True

    async def transmit(self, radio_request: ChosenTransmission) -> str:
        return OK


def in_windows(gateway_id: GatewayId, clock: SettableClock) -> TransmitRequest:
    return downlink(gateway_id, uplink_at_us=clock.wall_us - 100_000)


@pytest.mark.parametrize("hours", [1, -1])
async def test_a_clock_that_was_wrong_for_a_while_keeps_no_downlink_back(
    pool: Pool, gateway_id: GatewayId, monkeypatch: pytest.MonkeyPatch, hours: int
) -> None:
    gateway, clock = await registered(pool, gateway_id), SettableClock(monkeypatch)
    radio = await Radios(pool, Statuses(pool), RoundTrips()).of(gateway)
    statuses: list[str] = []
    for set_by_s in (hours * 3_600, -hours * 3_600, 0):
        statuses.append((await radio.transmit(Forwarder(), in_windows(gateway_id, clock))).status)
        clock.passes(30, and_is_set_by_s=set_by_s)
    statuses.append((await radio.transmit(Forwarder(), in_windows(gateway_id, clock))).status)

    assert statuses == [OK] * 4


async def test_what_was_transmitted_before_a_clock_was_set_still_counts_for_an_hour(
    pool: Pool, gateway_id: GatewayId, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway, clock = await registered(pool, gateway_id), SettableClock(monkeypatch)
    radio = await Radios(pool, Statuses(pool), RoundTrips()).of(gateway)
    await radio.transmit(Forwarder(), in_windows(gateway_id, clock))
    [used] = [one.used_us for one in radio.usage() if one.used_us]

    clock.passes(60, and_is_set_by_s=2 * 3_600)
    after_it_was_set = [one.used_us for one in radio.usage() if one.used_us]
    clock.passes(3_000, and_is_set_by_s=-2 * 3_600)
    before_the_hour_is_over = [one.used_us for one in radio.usage() if one.used_us]
    clock.passes(600)
    afterwards = [one.used_us for one in radio.usage() if one.used_us]

    assert (after_it_was_set, before_the_hour_is_over, afterwards) == ([used], [used], [])

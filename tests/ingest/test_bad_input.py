"""What is wrong with an instant, a value, a unit, an owner or a process: each has a defined answer."""

import struct
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from core.messages.measurements import Flag
from core.messages.uplinks import Uplink
from core.model.quantities import QUANTITIES
from core.runtime.bus import Bus
from core.runtime.postgres import Pool
from decoders.canonical import Decoded, Reading
from decoders.codec import Codec
from ingest import prepare as steps
from ingest.batch import UplinkMessage
from ingest.pipeline import interpret
from ingest.prepare import Registry, prepare
from ingest.registry_cache import KnownDevices, KnownGateways
from ingest.store import Store
from registry.changes import RegistryWatcher
from registry.sharing import History
from tests.entering import transfer

MakeUplink = Callable[..., Uplink]
NOW_US = 1_795_597_200_000_000  # 2026-11-25
DAY_US = 86_400_000_000
BATTERY = bytes.fromhex("01755c")  # README of em400-udl: battery, 92 %.


def microseconds(instant: datetime) -> int:
    return (instant - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


async def store(pool: Pool, *uplinks: Uplink, decode: Callable[[int], Decoded] | None = None) -> None:
    """Through the write path, read by `decode` (time of the uplink -> what it says) if given."""
    codecs: Mapping[str, Codec] | None = None
    if decode is not None:
        codecs = {"acme.test": Codec("acme.test", 1, lambda _port, _payload, time_us, _options: decode(time_us))}
    devices = KnownDevices(pool) if codecs is None else KnownDevices(pool, codecs)
    registry = Registry(pool, devices, KnownGateways(pool))
    await Store(pool).write([], await prepare([UplinkMessage("s", 1, uplinks)], registry))


async def measured(pool: Pool) -> list[tuple[str, datetime, float, int]]:
    rows = await pool.fetch(
        "SELECT d.quantity, m.time, m.value, m.flags FROM observation.measurement m "
        "JOIN datastream d ON d.id = m.datastream_id ORDER BY d.quantity, m.time"
    )
    return [tuple(row) for row in rows]


@pytest.mark.parametrize("year", [1980, 2106])
async def test_an_uplink_of_1980_or_2106_goes_to_quarantine_and_its_neighbours_are_stored(
    planted: Any, make_uplink: MakeUplink, year: int
) -> None:
    device_id = await planted.device(await planted.profile("milesight.em400"))
    wrong_us = microseconds(datetime(year, 1, 6, tzinfo=UTC))

    await store(
        planted.pool,
        make_uplink(device_id, 1, time_us=wrong_us),
        make_uplink(device_id, 2, received_at_us=wrong_us),
        make_uplink(device_id, 3),
    )

    assert await planted.pool.fetchval("SELECT f_cnt FROM observation.uplink") == 3
    reasons = await planted.pool.fetch("SELECT reason FROM observation.quarantine")
    assert len(reasons) == 2
    assert {row["reason"] for row in reasons} == {"impossible_field"}


@pytest.mark.parametrize("off_us", [-400 * DAY_US, 366 * DAY_US, -46 * 366 * DAY_US, 80 * 366 * DAY_US])
async def test_a_device_clock_that_is_years_off_gives_the_uplink_s_instant_and_says_so(
    planted: Any, make_uplink: MakeUplink, off_us: int
) -> None:
    device_id = await planted.device(await planted.profile("acme.test"))

    await store(
        planted.pool,
        make_uplink(device_id),
        decode=lambda time_us: Decoded([Reading(time_us + off_us, "", "temperature", 20.0)]),
    )

    ((quantity, time, value, flags),) = await measured(planted.pool)
    assert (quantity, value, flags) == ("temperature", 20.0, Flag.TIME_SUSPECT)
    assert microseconds(time) == NOW_US + 1_000_000


async def test_what_is_no_number_and_what_is_no_quantity_become_warnings_beside_what_is_sound(
    planted: Any, make_uplink: MakeUplink
) -> None:
    device_id = await planted.device(await planted.profile("acme.test"))
    values = (("temperature", float("nan")), ("co2", float("inf")), ("phlogiston", 1.0), ("distance", 7.0))

    await store(
        planted.pool,
        make_uplink(device_id),
        decode=lambda time_us: Decoded([Reading(time_us, "", name, value) for name, value in values]),
    )

    assert [row[0] for row in await measured(planted.pool)] == ["distance"]
    row = await planted.pool.fetchrow("SELECT status, decoded FROM observation.uplink")
    assert row["status"] == "decoded"
    assert len(row["decoded"]["warnings"]) == 3


async def test_the_unit_of_a_datastream_is_the_catalogue_s_whatever_made_it(
    planted: Any, make_uplink: MakeUplink
) -> None:
    device_id = await planted.device(await planted.profile("acme.test"))

    await store(
        planted.pool,
        make_uplink(device_id),
        decode=lambda time_us: Decoded([Reading(time_us, "", name, 1.0) for name in QUANTITIES]),
    )

    made = await planted.pool.fetch("SELECT quantity, unit FROM datastream")
    assert {row["quantity"]: row["unit"] for row in made} == {
        name: quantity.unit for name, quantity in QUANTITIES.items()
    }


@pytest.mark.parametrize("history", list(History))
async def test_what_was_measured_before_a_transfer_stays_with_its_datastream_also_when_it_comes_late(
    planted: Any, bus: Bus, make_uplink: MakeUplink, history: History
) -> None:
    pool: Pool = planted.pool
    receiver = await pool.fetchval("INSERT INTO tenant (slug, name) VALUES ('lyon', 'Lyon') RETURNING id")
    asset_id = await planted.asset()
    device_id = await planted.device(await planted.profile("milesight.em400"), asset_id)
    registry = Registry(pool, KnownDevices(pool), KnownGateways(pool))
    watcher = RegistryWatcher(pool, bus, registry.apply)
    store_ = Store(pool)
    now_us = microseconds(datetime.now(UTC))

    async def send(f_cnt: int, time_us: int) -> None:
        uplink = make_uplink(device_id, f_cnt, BATTERY, time_us=time_us, received_at_us=now_us + 60_000_000)
        await watcher.poll()
        await store_.write([], await prepare([UplinkMessage("s", f_cnt, [uplink])], registry))

    await send(1, now_us - DAY_US)
    await transfer(pool, planted.tenant_id, asset_id, receiver, history)
    await send(2, now_us - DAY_US // 2)  # It comes after the transfer and is of the time before.
    await send(3, now_us + 60_000_000)

    rows = await pool.fetch(
        "SELECT d.tenant_id, count(*) FROM observation.measurement m JOIN datastream d ON d.id = m.datastream_id "
        "GROUP BY d.tenant_id"
    )
    stays = {planted.tenant_id: 2, receiver: 1}
    assert dict(map(tuple, rows)) == (stays if history is History.STAYS else {receiver: 3})


async def test_a_late_uplink_of_a_replaced_device_does_not_take_the_datastream_back(
    planted: Any, make_uplink: MakeUplink
) -> None:
    pool: Pool = planted.pool
    profile_id, asset_id = await planted.profile("milesight.em400"), await planted.asset()
    former = await planted.device(profile_id, asset_id)
    await pool.execute("UPDATE assignment SET during = tstzrange('2020-01-01', now())")
    current = await planted.device(profile_id)
    await pool.execute(
        "INSERT INTO assignment (tenant_id, asset_id, device_id, during) "
        "VALUES ($1, $2, $3, tstzrange(now(), NULL))",
        planted.tenant_id,
        asset_id,
        current,
    )
    now_us = microseconds(datetime.now(UTC))
    await store(pool, make_uplink(current, 1, BATTERY, time_us=now_us, received_at_us=now_us))

    before_us = now_us - DAY_US
    await store(pool, make_uplink(former, 1, BATTERY, time_us=before_us, received_at_us=now_us))

    assert await pool.fetchval("SELECT device_id FROM datastream") == current
    assert len(await measured(pool)) == 2


@pytest.mark.parametrize("defect", [struct.error("int too large"), KeyError("x"), RecursionError()])
async def test_a_defect_in_preparing_one_uplink_costs_that_uplink_only(
    planted: Any,
    send: Callable[..., Awaitable[None]],
    make_uplink: MakeUplink,
    ingesting: Callable[..., AbstractAsyncContextManager[None]],
    until_drained: Callable[[], Awaitable[None]],
    monkeypatch: pytest.MonkeyPatch,
    defect: Exception,
) -> None:
    device_id = await planted.device(await planted.profile("milesight.em400"))

    def broken(uplink: Uplink, device: Any, read: Any) -> Any:
        if uplink.f_cnt == 2:
            raise defect
        return interpret(uplink, device, read)

    monkeypatch.setattr(steps, "interpret", broken)
    async with ingesting():
        await send(*(make_uplink(device_id, f_cnt) for f_cnt in (1, 2, 3)))
        await until_drained()

    rows = await planted.pool.fetch("SELECT f_cnt FROM observation.uplink ORDER BY f_cnt")
    assert [row["f_cnt"] for row in rows] == [1, 3]
    [kept] = await planted.pool.fetch("SELECT reason, detail FROM observation.quarantine")
    assert kept["reason"] == "defect"
    assert kept["detail"].startswith(type(defect).__name__)


async def test_rows_that_cannot_be_packed_cost_their_uplink_only(
    planted: Any,
    send: Callable[..., Awaitable[None]],
    make_uplink: MakeUplink,
    ingesting: Callable[..., AbstractAsyncContextManager[None]],
    until_drained: Callable[[], Awaitable[None]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    device_id = await planted.device(await planted.profile("milesight.em400"))

    def broken(uplink: Uplink, device: Any, read: Any) -> Any:
        interpreted = interpret(uplink, device, read)
        if uplink.f_cnt == 2:
            interpreted.codec_version = 1 << 40
        return interpreted

    monkeypatch.setattr(steps, "interpret", broken)
    async with ingesting():
        await send(*(make_uplink(device_id, f_cnt) for f_cnt in (1, 2, 3)))
        await until_drained()

    rows = await planted.pool.fetch("SELECT f_cnt FROM observation.uplink ORDER BY f_cnt")
    assert [row["f_cnt"] for row in rows] == [1, 3]
    assert await planted.count("quarantine") == 1

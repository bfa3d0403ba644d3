"""Uplinks in, rows and measurements out, on the real bus and the real database."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

import pytest

from core.messages import topics
from core.messages.batch import encode_batch
from core.messages.measurements import MEASUREMENT_BATCHES, Measurement
from core.messages.topics import shard_of_slot, slot_of_asset
from core.messages.uplinks import UPLINK_BATCHES, Reception, Uplink
from core.runtime.bus import Bus
from core.runtime.lease import take_lease
from core.runtime.ownership import ShardsLost
from core.runtime.postgres import Pool, connect
from ingest.batch import UplinkMessage
from ingest.prepare import Registry, prepare
from ingest.registry_cache import KnownDevices, KnownGateways
from ingest.store import Store
from lorawan.instants import from_us

Ingesting = Callable[..., AbstractAsyncContextManager[None]]
MakeUplink = Callable[..., Uplink]
Send = Callable[..., Awaitable[None]]
UntilDrained = Callable[[], Awaitable[None]]
EM310 = bytes.fromhex("01755c03824408040001")  # README of em310-udl: 92 %, 2116 mm, tilted.
CONTAINER = {"container": {"empty_distance_mm": 2_400, "full_distance_mm": 400}}
# The vendor's example: an index with fifteen hourly differences, of 2021.
W1 = bytes.fromhex(
    "bfc7e7600028950100c0e8e660f79301001e0004000f000b00200005001d0054002d000f000a000a00000003000300"
)
NOW_US = 1_795_597_200_000_000  # 2026-11-25
W1_US = 1_625_802_690_000_000
LAST_SEEN = "SELECT last_seen_at FROM observation.expectation"
NEWEST = "SELECT max(time) FROM observation.latest"


class Planted(Protocol):
    """What the fixture of the same name does."""

    pool: Pool
    tenant_id: int
    gateways: list[int]

    async def profile(self, codec: str, options: dict[str, Any] | None = None) -> int: ...
    async def asset(self, attributes: dict[str, Any] | None = None) -> int: ...
    async def device(self, profile_id: int, asset_id: int | None = None) -> int: ...
    async def assign(self, device_id: int, asset_id: int) -> None: ...
    async def count(self, table: str) -> int: ...


async def published(bus: Bus, shard: int) -> list[Measurement]:
    """All that MEASUREMENTS holds for a shard, in order."""
    reader = await bus.read_shard(topics.MEASUREMENTS, topics.measurements(shard), f"test-{shard}")
    found: list[Measurement] = []
    while messages := await reader.fetch(100, 0.2):
        for message in messages:
            found += MEASUREMENT_BATCHES.decode(message.data)
    return found


async def test_an_uplink_becomes_rows_a_latest_value_and_a_published_measurement(
    planted: Planted,
    bus: Bus,
    send: Send,
    make_uplink: MakeUplink,
    ingesting: Ingesting,
    until_drained: UntilDrained,
) -> None:
    asset_id = await planted.asset(CONTAINER)
    device_id = await planted.device(await planted.profile("milesight.em400"), asset_id)
    uplink = make_uplink(device_id)

    async with ingesting():
        await send(uplink)
        await until_drained()

    row = await planted.pool.fetchrow("SELECT * FROM observation.uplink")
    assert row is not None
    assert (row["device_id"], row["uplink_id"].bytes, row["f_cnt"]) == (device_id, uplink.uplink_id, 1)
    assert (row["status"], row["codec"], row["payload"]) == ("decoded", "milesight.em400", uplink.payload)
    assert row["radio"] == {
        "frequency": 868_100_000,
        "spreading_factor": 7,
        "bandwidth": 125_000,
        "confirmed": False,
    }
    reception = await planted.pool.fetchrow("SELECT * FROM observation.reception")
    assert reception is not None  # The gateway that is not registered is passed over.
    assert (reception["gateway_id"], reception["rssi"], reception["snr"]) == (planted.gateways[0], -100.0, 5.5)
    latest = await planted.pool.fetch(
        "SELECT d.quantity, d.unit, d.asset_id, l.value, l.time FROM observation.latest l "
        "JOIN datastream d ON d.id = l.datastream_id"
    )
    assert {entry["quantity"]: entry["value"] for entry in latest} == {
        "battery_level": 92.0,
        "temperature": pytest.approx(25.7),
        "distance": 2116.0,
        "tilt": 1.0,
        "fill_level": pytest.approx(14.2),
    }
    assert {entry["asset_id"] for entry in latest} == {asset_id}
    assert {entry["time"] for entry in latest} == {row["time"]}
    shard = shard_of_slot(slot_of_asset(asset_id), 4)
    stored = await planted.pool.fetch("SELECT datastream_id, value FROM observation.measurement")
    assert {(m.datastream_id, m.value) for m in await published(bus, shard)} == {
        (entry["datastream_id"], entry["value"]) for entry in stored
    }


async def test_the_same_uplinks_again_also_cut_differently_add_nothing_and_are_published_again(
    planted: Planted,
    bus: Bus,
    send: Send,
    make_uplink: MakeUplink,
    ingesting: Ingesting,
    until_drained: UntilDrained,
) -> None:
    device_id = await planted.device(await planted.profile("milesight.em400"))
    uplinks = [make_uplink(device_id, f_cnt) for f_cnt in range(1, 31)]

    async with ingesting():
        await send(*uplinks[:20])
        await until_drained()
        await send(*uplinks[:20])
        await send(*uplinks[10:], *uplinks[5:15], slot=1)
        await until_drained()

    assert await planted.count("uplink") == 30
    assert await planted.count("reception") == 30
    assert await planted.count("measurement") == 120
    assert await planted.count("latest") == 4
    assert {m.time_us for m in await published(bus, shard_of_slot(slot_of_asset(device_id), 4))} == {
        uplink.time_us for uplink in uplinks
    }


async def test_a_kill_between_commit_and_acknowledgement_loses_and_repeats_nothing(
    planted: Planted,
    bus: Bus,
    send: Send,
    make_uplink: MakeUplink,
    ingesting: Ingesting,
    until_drained: UntilDrained,
) -> None:
    device_id = await planted.device(await planted.profile("milesight.em400"))
    await send(*(make_uplink(device_id, f_cnt) for f_cnt in range(1, 11)))
    await send(*(make_uplink(device_id, f_cnt) for f_cnt in range(11, 21)))
    registry = Registry(planted.pool, KnownDevices(planted.pool), KnownGateways(planted.pool))
    killed = await take_lease(planted.pool, "ingest", 0, "a")
    assert killed is not None
    reader = await bus.read_shard(topics.UPLINKS, topics.uplinks(0), "ingest-0-1")
    (message,) = await reader.fetch(1)
    delivered = UplinkMessage(message.subject, message.sequence, UPLINK_BATCHES.decode(message.data))
    await Store(planted.pool).write([killed], await prepare([delivered], registry))

    async with ingesting():  # The same instance, started again: it takes its shard back with a new epoch.
        await until_drained()

    assert await planted.count("uplink") == 20
    assert await planted.count("measurement") == 80
    assert len(await published(bus, shard_of_slot(slot_of_asset(device_id), 4))) == 80
    with pytest.raises(ShardsLost):
        await Store(planted.pool).write([killed], await prepare([delivered], registry))


async def test_what_one_uplink_does_leaves_its_neighbours_alone(
    planted: Planted,
    send: Send,
    make_uplink: MakeUplink,
    ingesting: Ingesting,
    until_drained: UntilDrained,
) -> None:
    good = await planted.device(await planted.profile("milesight.em400"))
    orphan = await planted.device(await planted.profile("acme.forgotten"))

    async with ingesting():
        await send(
            make_uplink(good, 1),
            make_uplink(good, 2, b"\x01\x75"),
            make_uplink(orphan, 1),
            make_uplink(good, 3, f_port=0),
            make_uplink(999_999, 1),
            make_uplink(good, 4, time_us=10**19),
            make_uplink(good, 5, uplink_id=b"?"),
            make_uplink(good, 6, receptions=[Reception(b"", -5, 1e300, 0.0)]),
            make_uplink(good, 7),
        )
        await until_drained()

    rows = await planted.pool.fetch(
        "SELECT device_id, f_cnt, status, reason FROM observation.uplink ORDER BY device_id, f_cnt"
    )
    assert {(row["device_id"], row["f_cnt"]): row["status"] for row in rows} == {
        (good, 1): "decoded",
        (good, 2): "undecodable",
        (good, 3): "empty",
        (good, 6): "decoded",
        (good, 7): "decoded",
        (orphan, 1): "undecodable",
    }
    reasons = {(row["device_id"], row["f_cnt"]): row["reason"] for row in rows}
    assert (reasons[good, 2], reasons[orphan, 1]) == ("unreadable", "unknown_codec")
    quarantined = await planted.pool.fetch("SELECT service, reason, data FROM observation.quarantine ORDER BY id")
    assert [entry["reason"] for entry in quarantined] == ["unknown_device", "impossible_field", "impossible_field"]
    assert {entry["service"] for entry in quarantined} == {"ingest"}


async def test_a_message_that_nobody_can_read_goes_to_quarantine_and_leaves_the_stream(
    planted: Planted,
    bus: Bus,
    send: Send,
    make_uplink: MakeUplink,
    ingesting: Ingesting,
    until_drained: UntilDrained,
) -> None:
    device_id = await planted.device(await planted.profile("milesight.em400"))

    async with ingesting():
        await bus.publish(topics.uplinks(0), b"\x09not ours")
        await bus.publish(topics.uplinks(0), encode_batch([["half", "an", "uplink"]]))
        await send(make_uplink(device_id))
        await until_drained()

    quarantined = await planted.pool.fetch(
        "SELECT subject, sequence, reason, data FROM observation.quarantine ORDER BY id"
    )
    assert [(entry["subject"], entry["sequence"]) for entry in quarantined] == [
        (topics.uplinks(0), 1),
        (topics.uplinks(0), 2),
    ]
    assert quarantined[0]["data"] == b"\x09not ours"
    assert {entry["reason"] for entry in quarantined} == {"unreadable_batch"}
    assert await planted.count("uplink") == 1


async def test_uplinks_of_this_version_and_of_the_one_before_are_stored_and_a_later_one_is_kept(
    planted: Planted, bus: Bus, make_uplink: MakeUplink, ingesting: Ingesting, until_drained: UntilDrained
) -> None:
    device_id = await planted.device(await planted.profile("milesight.em400"))

    async with ingesting():
        for version in (1, 2, 3):
            octets = encode_batch([make_uplink(device_id, f_cnt=version)])
            await bus.publish(topics.uplinks(0), bytes((version,)) + octets[1:])
        await until_drained()

    stored = await planted.pool.fetch("SELECT f_cnt, status FROM observation.uplink ORDER BY f_cnt")
    assert [tuple(row) for row in stored] == [(1, "decoded"), (2, "decoded")]
    quarantined = await planted.pool.fetch("SELECT sequence, reason, data FROM observation.quarantine")
    assert [(row["sequence"], row["reason"], row["data"][0]) for row in quarantined] == [
        (3, "unreadable_batch", 3)
    ]


async def test_a_value_that_the_database_rejects_costs_its_own_uplink_only(
    planted: Planted,
    database: Any,
    send: Send,
    make_uplink: MakeUplink,
    ingesting: Ingesting,
    until_drained: UntilDrained,
) -> None:
    device_id = await planted.device(await planted.profile("milesight.em400"))
    admin = await connect(database.admin_url)
    await admin.execute("ALTER TABLE observation.uplink ADD CHECK (f_cnt <> 666)")
    await admin.close()

    async with ingesting():
        await send(make_uplink(device_id, 665), make_uplink(device_id, 666), make_uplink(device_id, 667))
        await until_drained()

    assert await planted.count("uplink") == 2
    assert await planted.count("measurement") == 8
    reason = await planted.pool.fetchval("SELECT reason FROM observation.quarantine")
    assert reason == "refused_value"


async def test_a_meter_s_history_becomes_measurements_at_their_own_instants_once(
    planted: Planted,
    bus: Bus,
    send: Send,
    make_uplink: MakeUplink,
    ingesting: Ingesting,
    until_drained: UntilDrained,
) -> None:
    device_id = await planted.device(await planted.profile("axioma.w1"), await planted.asset())
    first = make_uplink(device_id, 1, W1, f_port=100, time_us=W1_US, received_at_us=W1_US)
    again = make_uplink(device_id, 2, W1, f_port=100, time_us=W1_US + 9, received_at_us=W1_US + 9)

    async with ingesting():
        await send(first)
        await until_drained()
        await send(again)
        await until_drained()

    volumes = await planted.pool.fetch(
        "SELECT m.time, m.value FROM observation.measurement m JOIN datastream d ON d.id = m.datastream_id "
        "WHERE d.quantity = 'water_volume' ORDER BY m.time"
    )
    assert len(volumes) == 17
    assert [volumes[0]["value"], volumes[-1]["value"]] == [103_415.0, 103_720.0]
    latest = await planted.pool.fetchrow(
        "SELECT l.time, l.value FROM observation.latest l JOIN datastream d ON d.id = l.datastream_id "
        "WHERE d.quantity = 'water_volume'"
    )
    assert latest is not None
    assert (latest["time"], latest["value"]) == (volumes[-1]["time"], 103_720.0)
    assert await planted.pool.fetchval(LAST_SEEN) == await planted.pool.fetchval(NEWEST)
    for shard in range(4):
        times = [m.time_us for m in await published(bus, shard)]
        half = len(times) // 2
        assert times[:half] == sorted(times[:half])


async def test_live_ingest_never_overwrites_a_measurement_nor_takes_latest_back(
    planted: Planted,
    send: Send,
    make_uplink: MakeUplink,
    ingesting: Ingesting,
    until_drained: UntilDrained,
) -> None:
    device_id = await planted.device(await planted.profile("milesight.em400"), await planted.asset())

    async with ingesting():
        await send(make_uplink(device_id, 5))
        await until_drained()
        await planted.pool.execute("UPDATE observation.measurement SET value = -1, flags = 8")
        await send(make_uplink(device_id, 5, bytes.fromhex("017501"), uplink_id=bytes(16)))
        await send(make_uplink(device_id, 4, bytes.fromhex("017502")))
        await until_drained()

    values = await planted.pool.fetch(
        "SELECT m.value, m.flags, l.value AS latest FROM observation.measurement m "
        "JOIN datastream d ON d.id = m.datastream_id JOIN observation.latest l ON l.datastream_id = d.id "
        "WHERE d.quantity = 'battery_level' ORDER BY m.time"
    )
    assert [(row["value"], row["flags"], row["latest"]) for row in values] == [(2.0, 0, 92.0), (-1.0, 8, 92.0)]
    assert await planted.pool.fetchval(LAST_SEEN) == from_us(NOW_US + 5 * 1_000_000)


async def test_a_late_copy_adds_its_receptions_and_nothing_else(
    planted: Planted,
    send: Send,
    make_uplink: MakeUplink,
    ingesting: Ingesting,
    until_drained: UntilDrained,
) -> None:
    device_id = await planted.device(await planted.profile("milesight.em400"))
    late = make_uplink(
        device_id, 1, late=True, receptions=[Reception(bytes([0, 128, 0, 0, 0, 0, 0, 1]), 0, -110.0, -3.0)]
    )

    async with ingesting():
        await send(make_uplink(device_id, 1))
        await send(late, late)
        await until_drained()
        await send(late)
        await until_drained()

    receptions = await planted.pool.fetch("SELECT gateway_id FROM observation.reception ORDER BY gateway_id")
    assert [row["gateway_id"] for row in receptions] == planted.gateways
    assert await planted.count("uplink") == 1


async def test_rows_of_every_kind_read_back_as_they_were_written_by_copy(
    planted: Planted,
    send: Send,
    make_uplink: MakeUplink,
    ingesting: Ingesting,
    until_drained: UntilDrained,
) -> None:
    device_id = await planted.device(await planted.profile("milesight.em400"))
    uplink = make_uplink(
        device_id, (1 << 32) - 1, b"\xfe", session_id=0, f_port=-1, time_us=NOW_US + 7, received_at_us=NOW_US + 9
    )

    async with ingesting():
        await send(uplink)
        await until_drained()

    row = await planted.pool.fetchrow(
        "SELECT *, (extract(epoch FROM time) * 1000000)::bigint AS us, "
        "(extract(epoch FROM received_at) * 1000000)::bigint AS received_us FROM observation.uplink"
    )
    assert row is not None
    assert (row["session_id"], row["f_port"], row["f_cnt"]) == (None, None, (1 << 32) - 1)
    assert (row["us"], row["received_us"]) == (uplink.time_us, uplink.received_at_us)
    assert (row["decoded"], row["reason"], row["codec"], row["codec_version"]) == (None, None, None, None)
    assert json.dumps(row["radio"])
    assert not await asyncio.wait_for(planted.count("quarantine"), 5)

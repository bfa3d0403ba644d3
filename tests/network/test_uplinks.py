"""From frames on the bus to uplinks on the bus, with crashes in between."""

import asyncio
import math

import msgspec
import pytest
from prometheus_client import REGISTRY

from core.messages import topics
from core.messages.batch import encode_batch
from core.messages.topics import shard_of_slot
from core.model.quarantine import Quarantined, QuarantineReason
from core.runtime.postgres import connect
from lorawan.frame import routing_slot
from lorawan.session import MAX_F_CNT_GAP
from registry.quarantine import quarantine

HOUR_US = 3_600_000_000


def frames_counted(mtype: str, outcome: str) -> float:
    labels = {"mtype": mtype, "outcome": outcome}
    return REGISTRY.get_sample_value("territoire_network_frames_total", labels) or 0.0


def passes_retried() -> float:
    return REGISTRY.get_sample_value("territoire_network_passes_retried_total", {"cause": "database"}) or 0.0


async def test_one_frame_received_by_three_gateways_is_one_uplink(network) -> None:
    device = await network.joined()

    await network.receive(device.uplink(b"data"), [bytes([0xAA] * 7 + [n]) for n in (1, 2, 3)])
    uplink = await network.next_uplink()

    assert uplink.payload == b"data"
    assert uplink.device_id == device.id
    assert uplink.f_cnt == 1
    assert not uplink.late
    assert [heard.snr for heard in uplink.receptions] == [8.0, 7.0, 6.0]
    await network.all_acknowledged()


async def test_a_replayed_frame_is_rejected(network) -> None:
    device = await network.joined()
    old = device.uplink(b"one")
    await network.receive(old)
    await network.next_uplink()
    await network.receive(device.uplink(b"two"))
    await network.next_uplink()
    before = frames_counted("unconfirmed_data_up", "replay")

    await network.receive(old)
    await network.all_acknowledged()

    assert network.uplinks.empty()
    assert frames_counted("unconfirmed_data_up", "replay") == before + 1


async def test_a_copy_after_the_window_adds_its_reception_to_the_same_uplink(network) -> None:
    device = await network.joined()
    phy = device.uplink(b"data")
    await network.receive(phy)
    first = await network.next_uplink()

    await network.receive(phy, [bytes([0xAA] * 7 + [2])])
    late = await network.next_uplink()

    assert late.late
    assert (late.uplink_id, late.time_us, late.f_cnt) == (first.uplink_id, first.time_us, first.f_cnt)
    assert late.payload == b""
    assert [heard.gateway_id[-1] for heard in late.receptions] == [2]


async def test_a_crash_between_publish_and_commit_makes_the_same_uplink_again(network) -> None:
    device = await network.joined()
    before = frames_counted("unconfirmed_data_up", "replay")
    async with network.pool.acquire() as connection, connection.transaction():
        await connection.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
        await connection.fetch("SELECT * FROM session WHERE device_id = $1 FOR UPDATE", device.id)
        await network.receive(device.uplink(b"data"))
        first = await network.next_uplink()
        await network.crash()

    await network.start()
    await network.all_acknowledged()
    # The bus absorbs the same octets; the session shows that the frame was carried out once.
    f_cnt_up = await network.pool.fetchval("SELECT f_cnt_up FROM session WHERE device_id = $1", device.id)
    stored = await network.pool.fetchval("SELECT last_uplink_id FROM session WHERE device_id = $1", device.id)

    assert f_cnt_up == 2
    assert stored.bytes == first.uplink_id
    assert frames_counted("unconfirmed_data_up", "replay") == before


async def test_a_frame_redelivered_after_its_commit_is_no_second_uplink_and_no_replay(network) -> None:
    device = await network.joined()
    phy = device.uplink(b"data")
    await network.receive(phy)
    first = await network.next_uplink()
    await network.all_acknowledged()
    before = frames_counted("unconfirmed_data_up", "replay")
    await network.crash()
    await network.receive(phy, time_us=first.time_us)  # What was not acknowledged comes again.

    await network.start()
    again = await network.next_uplink()

    assert again.late
    assert again.uplink_id == first.uplink_id
    assert frames_counted("unconfirmed_data_up", "replay") == before


async def test_octets_that_are_no_batch_go_to_quarantine_and_the_shard_goes_on(network) -> None:
    device = await network.joined()
    phy = device.uplink(b"data")
    slot = routing_slot(phy)
    assert slot is not None
    subject = topics.frames(shard_of_slot(slot, 4))
    await network.bus.publish(subject, b"\x09poison")
    await network.bus.publish(subject, encode_batch([*network.frames_of(b""), *network.frames_of(b"\xff" * 20)]))

    await network.receive(phy)
    uplink = await network.next_uplink()
    await network.all_acknowledged()
    row = await network.pool.fetchrow("SELECT * FROM observation.quarantine")

    assert uplink.payload == b"data"
    assert (row["service"], row["subject"], row["data"]) == ("network", subject, b"\x09poison")
    assert row["reason"] == "unreadable_batch"
    assert "version byte 09" in row["detail"]


async def test_octets_that_were_quarantined_before_a_crash_come_again_and_stop_nothing(idle_network) -> None:
    network = idle_network
    subject, octets = topics.frames(0), b"\x09poison"
    sequence = await network.bus.publish(subject, octets)
    async with network.pool.acquire() as connection:  # As an owner did that died before it acknowledged.
        unread = Quarantined(subject, sequence, QuarantineReason.UNREADABLE_BATCH, octets, "version byte 09")
        await quarantine(connection, "network", [unread])

    await network.start()
    await network.all_acknowledged()

    assert await network.pool.fetchval("SELECT count(*) FROM observation.quarantine") == 1


async def test_a_disabled_device_is_rejected_within_seconds(network) -> None:
    device = await network.joined()
    before = frames_counted("unconfirmed_data_up", "disabled")
    await network.pool.execute("UPDATE device SET enabled = false WHERE id = $1", device.id)
    await network.bus.nudge(topics.REGISTRY_CHANGED)

    async with asyncio.timeout(10):
        while frames_counted("unconfirmed_data_up", "disabled") == before:
            await network.receive(device.uplink(b"data"))
            await network.all_acknowledged()

    assert frames_counted("unconfirmed_data_up", "disabled") == before + 1


async def test_mac_commands_under_f_port_0_are_no_application_data(network) -> None:
    device = await network.joined()

    await network.receive(device.uplink(b"\x02", f_port=0))
    uplink = await network.next_uplink()

    assert (uplink.f_port, uplink.payload) == (0, b"")


async def test_a_database_outage_stops_the_shard_and_loses_nothing(network) -> None:
    device = await network.joined()
    terminate = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'network'"
    payloads = [bytes([number]) for number in range(10)]

    for payload in payloads:
        await network.receive(device.uplink(payload))
        await network.pool.fetch(terminate)
    await network.all_acknowledged()
    heard = [uplink for _ in range(network.uplinks.qsize()) if not (uplink := network.uplinks.get_nowait()).late]
    f_cnt_up = await network.pool.fetchval("SELECT f_cnt_up FROM session WHERE device_id = $1", device.id)

    assert list(dict.fromkeys(uplink.payload for uplink in heard)) == payloads
    assert len({uplink.uplink_id for uplink in heard}) == len(payloads)
    assert f_cnt_up == 11


async def test_a_database_that_rejects_every_batch_stops_the_shard_and_quarantines_nothing(
    network, database
) -> None:
    device = await network.joined()
    before = passes_retried()
    admin = await connect(database.admin_url)
    try:
        await admin.execute("REVOKE UPDATE ON session FROM territoire_service")
        await network.receive(device.uplink(b"data"))
        async with asyncio.timeout(30):
            while passes_retried() < before + 2:  # noqa: ASYNC110 - a counter has no event.
                await asyncio.sleep(0.02)
        await admin.execute("GRANT UPDATE ON session TO territoire_service")
    finally:
        await admin.close()
    await network.all_acknowledged()

    assert await network.pool.fetchval("SELECT f_cnt_up FROM session WHERE device_id = $1", device.id) == 2
    assert await network.pool.fetchval("SELECT count(*) FROM observation.quarantine") == 0


async def test_a_clean_stop_lets_go_of_the_shards_at_once(network) -> None:
    await network.stop()

    free = await network.pool.fetchval("SELECT count(*) FROM shard_lease WHERE expires_at < now()")

    assert free == 4


async def test_a_gateway_that_reports_no_number_costs_neither_the_uplink_nor_the_next_start(network) -> None:
    device = await network.joined()
    phy_payload = device.uplink(b"heard", f_opts=b"\x02")
    (copy,) = network.frames_of(phy_payload)  # With LinkCheckReq, whose answer is reckoned from the SNR.
    frames = encode_batch([msgspec.structs.replace(copy, snr=math.nan)])
    await network.bus.publish(topics.frames(shard_of_slot(routing_slot(phy_payload), 4)), frames)
    heard = await network.next_uplink()
    await network.all_acknowledged()

    await network.crash()
    await network.start()
    await network.receive(device.uplink(b"after"))
    after = await network.next_uplink()

    assert (heard.payload, after.payload) == (b"heard", b"after")
    assert await network.pool.fetchval("SELECT count(*) FROM observation.quarantine") == 0


@pytest.mark.parametrize("error_us", [HOUR_US, -HOUR_US], ids=["ahead", "behind"])
async def test_with_a_clock_an_hour_off_uplinks_go_on_under_the_bridge_s_time_and_counters_hold(
    network, error_us: int
) -> None:
    device = await network.joined()
    heard_at_us = network.clock()
    network.clock.advance(error_us / 1_000_000)

    await network.receive(device.uplink(b"one"), time_us=heard_at_us)
    await network.receive(device.uplink(b"two"), time_us=heard_at_us + 1)
    uplinks = [await network.next_uplink() for _ in range(2)]
    await network.all_acknowledged()

    assert [(uplink.payload, uplink.f_cnt) for uplink in uplinks] == [(b"one", 1), (b"two", 2)]
    assert [uplink.time_us for uplink in uplinks] == [heard_at_us, heard_at_us + 1]


async def test_a_gap_in_the_counter_that_older_devices_may_not_make_is_accepted_and_counted(network) -> None:
    device = await network.joined()
    before = REGISTRY.get_sample_value("territoire_network_f_cnt_gaps_total") or 0.0

    device.f_cnt += MAX_F_CNT_GAP + 1
    await network.receive(device.uplink(b"after a gap"))
    uplink = await network.next_uplink()
    await network.all_acknowledged()

    assert (uplink.payload, uplink.f_cnt) == (b"after a gap", MAX_F_CNT_GAP + 2)
    assert REGISTRY.get_sample_value("territoire_network_f_cnt_gaps_total") == before + 1

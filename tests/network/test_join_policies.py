"""Which joins are let in, and what is remembered of the others, on the real service."""

from datetime import timedelta
from typing import Any

import pytest
from prometheus_client import REGISTRY

from lorawan.join import JoinRequest
from network import join_flood, join_handler, rejections
from tests.entering import tenant_transaction
from tests.network.conftest import eventually

A_WRONG_KEY = bytes(16)


def rejected(result: str) -> float:
    return REGISTRY.get_sample_value("territoire_network_joins_total", {"result": result}) or 0.0


@pytest.fixture(autouse=True)
def _rejections_are_written_at_once(monkeypatch) -> None:
    monkeypatch.setattr(rejections, "SAVE_EVERY_S", 0.02)


async def rejection_of(network, device) -> tuple | None:
    """As its tenant reads it."""
    tenant_id = await network.pool.fetchval("SELECT tenant_id FROM device WHERE id = $1", device.id)
    async with tenant_transaction(network.pool, tenant_id) as connection:
        row = await connection.fetchrow("SELECT * FROM join_diagnosis($1)", device.id)
    return (row["reason"], row["dev_nonce"], row["times"]) if row["reason"] else None


async def is_rejected(network, device, *expected: Any) -> bool:
    """Whether its tenant comes to read so."""

    async def shown() -> bool:
        return await rejection_of(network, device) == (expected or None)

    await eventually(shown)
    return True


async def open_sessions(network, device) -> list[int]:
    rows = await network.pool.fetch(
        "SELECT id FROM session WHERE device_id = $1 AND closed_at IS NULL ORDER BY id", device.id
    )
    return [row["id"] for row in rows]


async def test_a_1_0_4_device_must_count_upwards_and_a_1_0_3_device_need_not(network) -> None:
    device = await network.device()
    await network.pool.execute("UPDATE device_profile SET mac_version = '1.0.4'")
    await network.receive(device.join(dev_nonce=10))
    await network.bridge.next()
    await network.all_acknowledged()

    await network.receive(device.join(dev_nonce=9))
    await network.all_acknowledged()
    assert await is_rejected(network, device, "dev_nonce_not_increasing", 9, 1)
    await network.pool.execute("UPDATE device_profile SET mac_version = '1.0.3'")
    await network.receive(device.join(dev_nonce=9))
    request = await network.bridge.next()

    assert device.receive_accept(request.transmissions[0].phy_payload).join_nonce == 2


async def test_two_joins_of_one_batch_are_judged_one_after_the_other(idle_network) -> None:
    network = idle_network
    device = await network.device()
    await network.pool.execute("UPDATE device_profile SET mac_version = '1.0.4'")
    await network.receive(device.join(dev_nonce=10))
    await network.receive(device.join(dev_nonce=9))

    await network.start()
    await network.bridge.next()
    await network.all_acknowledged()

    assert await network.pool.fetch("SELECT dev_nonce FROM dev_nonce") == [(10,)]
    assert await is_rejected(network, device, "dev_nonce_not_increasing", 9, 1)


async def test_rejections_in_a_row_are_counted_and_forgotten_with_the_next_join(network) -> None:
    device = await network.joined()
    for _ in range(3):
        await network.receive(device.join(dev_nonce=1))
        await network.all_acknowledged()
    assert await is_rejected(network, device, "dev_nonce_used", 1, 3)

    await network.receive(device.join(dev_nonce=2))
    await network.bridge.next()
    await network.all_acknowledged()

    assert await is_rejected(network, device)
    # What was rejected is still there for the operator.
    assert await network.pool.fetchval("SELECT times FROM frame_refusal") == 3


async def test_a_rejection_that_is_not_saved_yet_is_cleared_by_the_next_accepted_join(
    network, monkeypatch
) -> None:
    device = await network.joined()
    await network.stop()
    monkeypatch.setattr(rejections, "SAVE_EVERY_S", 3600)
    await network.start()

    await network.receive(device.join(dev_nonce=1))
    await network.receive(device.join(dev_nonce=2))
    await network.bridge.next()
    await network.all_acknowledged()
    await network.stop()  # Now it is.

    assert await rejection_of(network, device) is None
    assert await network.pool.fetchval("SELECT times FROM frame_refusal") == 1


async def test_a_wrong_mic_that_anybody_can_send_does_not_hide_the_devices_own_rejection(network) -> None:
    device = await network.joined()
    await network.receive(device.join(dev_nonce=1))
    await network.all_acknowledged()
    forged = [JoinRequest.signed(A_WRONG_KEY, bytes(8), device.dev_eui, nonce).to_bytes() for nonce in (7, 8)]

    assert await is_rejected(network, device, "dev_nonce_used", 1, 1)
    await network.receive(forged[0])
    await network.all_acknowledged()
    await eventually(lambda: network.pool.fetchval("SELECT count(*) = 2 FROM frame_refusal"))
    at_once = await rejection_of(network, device)
    await network.pool.execute("UPDATE frame_refusal SET last_at = last_at - interval '61 minutes'")
    await network.receive(forged[1])
    await network.all_acknowledged()

    assert at_once == ("dev_nonce_used", 1, 1)
    assert await is_rejected(network, device, "mic", 8, 2)


async def test_a_device_that_joins_without_end_is_answered_so_many_times_in_ten_minutes(
    network, monkeypatch
) -> None:
    monkeypatch.setattr(join_handler, "MOST_RECENT_JOINS", 2)
    device = await network.device()
    before = rejected("device_flood")
    for _ in range(2):
        await network.receive(device.join())
        await network.bridge.next()
        await network.all_acknowledged()

    await network.receive(device.join())
    await network.all_acknowledged()
    assert await is_rejected(network, device, "device_flood", 3, 1)
    await network.pool.execute("UPDATE dev_nonce SET used_at = used_at - $1::interval", timedelta(minutes=10))
    await network.receive(device.join(dev_nonce=3))
    later = await network.bridge.next()

    assert rejected("device_flood") == before + 1
    assert device.receive_accept(later.transmissions[0].phy_payload).join_nonce == 3


async def test_a_gateway_that_floods_is_not_listened_to_and_the_others_are(idle_network, monkeypatch) -> None:
    monkeypatch.setattr(join_flood.JoinFlood.__init__, "__defaults__", (0.001, 1))
    network = idle_network
    await network.start()
    flooding, calm = (bytes([0xAA] * 7 + [number]) for number in (1, 2))
    device = await network.device()
    before = rejected("gateway_flood")
    await network.receive(JoinRequest.signed(A_WRONG_KEY, bytes(8), b"\x01" * 8, 1).to_bytes(), [flooding])
    await network.all_acknowledged()

    await network.receive(device.join(), [flooding])
    await network.all_acknowledged()
    await network.receive(device.join(), [flooding, calm])
    request = await network.bridge.next()

    assert rejected("gateway_flood") == before + 1
    assert await network.pool.fetch("SELECT dev_nonce FROM dev_nonce") == [(2,)]
    assert device.receive_accept(request.transmissions[0].phy_payload).join_nonce == 1


async def test_of_the_sessions_that_a_device_never_used_the_last_three_stay_open(network) -> None:
    device = await network.joined()
    in_use = await open_sessions(network, device)
    for _ in range(5):
        await network.receive(device.join())
        request = await network.bridge.next()
    await network.all_acknowledged()
    unused = (await open_sessions(network, device))[1:]

    device.receive_accept(request.transmissions[0].phy_payload)
    await network.receive(device.uplink(b"at last"))
    uplink = await network.next_uplink()

    assert len(in_use) == 1
    assert len(unused) == 3
    assert uplink.session_id == unused[-1]
    assert uplink.payload == b"at last"

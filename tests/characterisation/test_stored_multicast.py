"""A multicast message that the former program left half said is said to its end, under its number."""

import json
from typing import Any

from tests.network.conftest import GATEWAYS, Network, eventually

GROUP_KEYS = (
    bytes.fromhex("a8118f802ebf08dc6237c30463a2facbf887aa31902385c1"),  # 16 times 11, wrapped by kek-1.
    bytes.fromhex("39114098a15d6f92d7f013215b5b41a8982dac5934763618"),  # 16 times 22.
)
HALF_SAID = bytes.fromhex("60eeffc0000071110a33edbf662ed7e1").hex()  # FCnt 70001, FPort 10, "dim".
NEXT = bytes.fromhex("60eeffc0000072110a0cb5f96bd31844").hex()  # FCnt 70002, the same.
EMISSIONS = """[
  {"gateway_id": "aaaaaaaaaaaaaa01", "repeat": 0, "status": "OK", "at_us": 1795597200123456},
  {"gateway_id": "aaaaaaaaaaaaaa02", "repeat": 0, "status": "COLLISION_PACKET", "at_us": 1795597200123457}
]"""
HEARD_BY = (
    '[["qqqqqqqqqgE=", "AAAAAQ==", 1795597200130001, 868100000, 7, 125000, -80.0, 8.0, 0]]',
    '[["qqqqqqqqqgI=", "AAAAAQ==", 1795597200130001, 868100000, 7, 125000, -80.0, 8.0]]',
)
GROUP = """
INSERT INTO multicast_group (tenant_id, name, dev_addr, nwk_s_key_wrapped, app_s_key_wrapped, kek_id, data_rate,
                             frequency, repeats, f_cnt)
VALUES ($1, 'rue', '\\x00c0ffee', $2, $3, 'kek-1', 4, 869525000, 2, 70002)
RETURNING id
"""
MESSAGE = """
INSERT INTO multicast_message (tenant_id, group_id, slot, f_port, payload, priority, not_after, state, f_cnt,
                               emissions)
SELECT tenant_id, id, slot, 10, 'dim'::bytea, 2, now() + interval '1 hour', $2::text::downlink_state, $3,
       $4::text::jsonb
FROM multicast_group WHERE id = $1 RETURNING id
"""
MEMBER = """
WITH d AS (
    INSERT INTO device (tenant_id, dev_eui, join_eui, name, device_profile_id, slot, activation)
    SELECT $1, $2, '\\x0000000000000002', 'd', id, 13, 'ABP' FROM device_profile RETURNING id
), s AS (
    INSERT INTO session (device_id, dev_addr, nwk_s_key_wrapped, app_s_key_wrapped, kek_id, last_heard_by,
                         last_uplink_at, first_uplink_at)
    SELECT id, '\\x0135abcd', $4, $5, 'kek-1', $3::text::jsonb, now(), now() FROM d
)
INSERT INTO multicast_member (group_id, device_id, tenant_id) SELECT $6, id, $1 FROM d
"""


async def plant(network: Network) -> tuple[int, int]:
    """A group, its two members, and the ids of a message that is half said and of one that waits behind it."""
    pool = network.pool
    tenant_id = await pool.fetchval("INSERT INTO tenant (slug, name) VALUES ('brest', 'Brest') RETURNING id")
    await pool.execute(
        "INSERT INTO device_profile (tenant_id, name, vendor, model, codec, device_class) "
        "VALUES ($1, 'p', 'v', 'm', 'c', 'C')",
        tenant_id,
    )
    group_id = await pool.fetchval(GROUP, tenant_id, *GROUP_KEYS)
    for number, heard_by in enumerate(HEARD_BY):
        await pool.execute(MEMBER, tenant_id, bytes(7) + bytes([number]), heard_by, *GROUP_KEYS, group_id)
    half_said = await pool.fetchval(MESSAGE, group_id, "sending", 70_001, EMISSIONS)
    return half_said, await pool.fetchval(MESSAGE, group_id, "queued", None, "[]")


async def test_multicast_message_half_transmitted_goes_on_where_it_was(idle_network: Network) -> None:
    network = idle_network
    half_said, waiting = await plant(network)
    await network.start()

    async def both_ended() -> bool:
        return await network.pool.fetchval("SELECT count(*) = 2 FROM multicast_message WHERE state = 'sent'")

    await eventually(both_ended)
    requests = [network.bridge.requests.get_nowait() for _ in range(network.bridge.requests.qsize())]
    rows = {row["id"]: row for row in await network.pool.fetch("SELECT * FROM multicast_message")}

    said = [(request.gateway_id, request.transmissions[0].phy_payload.hex()) for request in requests]
    assert said == [
        (GATEWAYS[0], HALF_SAID),
        (GATEWAYS[1], HALF_SAID),
        (GATEWAYS[0], NEXT),
        (GATEWAYS[1], NEXT),
        (GATEWAYS[0], NEXT),
        (GATEWAYS[1], NEXT),
    ]
    (way,) = {
        (way.frequency, way.spreading_factor, way.bandwidth, way.immediate)
        for request in requests
        for way in request.transmissions
    }
    assert way == (869_525_000, 8, 125_000, True)
    assert {request.priority for request in requests} == {2}
    before: Any = json.loads(EMISSIONS)
    first, second = rows[half_said], rows[waiting]
    assert (first["f_cnt"], first["reason"], second["f_cnt"], second["reason"]) == (70_001, None, 70_002, None)
    assert first["emissions"][:2] == before
    assert [set(one) for one in first["emissions"]] == [{"gateway_id", "repeat", "status", "at_us"}] * 4
    assert [(one["gateway_id"], one["repeat"], one["status"]) for one in second["emissions"]] == [
        ("aaaaaaaaaaaaaa01", 0, "OK"),
        ("aaaaaaaaaaaaaa02", 0, "OK"),
        ("aaaaaaaaaaaaaa01", 1, "OK"),
        ("aaaaaaaaaaaaaa02", 1, "OK"),
    ]
    assert await network.pool.fetchval("SELECT f_cnt FROM multicast_group") == 70_003

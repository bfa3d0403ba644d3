"""A device that was registered, and had joined, under the former program joins again under the next."""

from core.messages import topics
from core.messages.batch import encode_batch
from lorawan.join import JoinAccept
from tests.network.conftest import Network

APP_KEY = bytes([0x11]) * 16
# Join-requests under that key of DevEUI 70b3d50000000001 (slot 14, shard 2) and JoinEUI 2, with DevNonce 7 and 8.
USED = bytes.fromhex("0002000000000000000100000000d5b3700700dbfa23ea")
FRESH = bytes.fromhex("0002000000000000000100000000d5b370080043ff05f0")
SHARD = 2
PLANT = """
WITH t AS (INSERT INTO tenant (slug, name) VALUES ('brest', 'Brest') RETURNING id),
p AS (INSERT INTO device_profile (tenant_id, name, vendor, model, codec) SELECT id, 'p', 'v', 'm', 'c' FROM t
      RETURNING id, tenant_id),
d AS (INSERT INTO device (tenant_id, dev_eui, join_eui, name, device_profile_id, slot, app_key_wrapped, kek_id)
      SELECT tenant_id, '\\x70b3d50000000001', '\\x0000000000000002', 'd', id, 14,
             '\\xa8118f802ebf08dc6237c30463a2facbf887aa31902385c1', 'kek-1' FROM p
      RETURNING id),
n AS (INSERT INTO dev_nonce (device_id, dev_nonce, used_at) SELECT id, 7, '2026-11-25 09:00+00' FROM d)
INSERT INTO join_nonce (device_id, last_join_nonce) SELECT id, 41 FROM d
"""


async def test_join_nonces_of_the_former_program_are_gone_on_from(idle_network: Network) -> None:
    network = idle_network
    await network.pool.execute(PLANT)
    await network.start()

    for phy_payload in (USED, FRESH):
        await network.bus.publish(topics.frames(SHARD), encode_batch(network.frames_of(phy_payload)))
        await network.all_acknowledged()
    request = await network.bridge.next()

    accept = JoinAccept.from_bytes(request.transmissions[0].phy_payload, APP_KEY)
    assert accept.join_nonce == 42
    assert network.bridge.requests.empty()
    assert await network.pool.fetchval("SELECT last_join_nonce FROM join_nonce") == 42
    nonces = await network.pool.fetch("SELECT dev_nonce FROM dev_nonce ORDER BY dev_nonce")
    assert [row["dev_nonce"] for row in nonces] == [7, 8]
    (session,) = await network.pool.fetch("SELECT dev_addr, kek_id, f_cnt_up, f_cnt_down FROM session")
    assert tuple(session) == (accept.dev_addr, "kek-1", 0, 0)

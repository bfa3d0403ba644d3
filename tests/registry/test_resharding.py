"""Another number of shards: only while nothing works, and then everything finds the new one."""

import pytest

from core.messages import topics
from core.runtime.bus import connect_bus
from core.runtime.lease import read_shards
from core.runtime.postgres import Pool, connect
from registry.releases import announced
from registry.resharding import StillAtWork, reshard
from registry.schema import migrations

HOLD = """
INSERT INTO shard_lease (service, shard, epoch, owner, expires_at)
VALUES ('network', 3, 7, 'network-1', '-infinity')
"""


async def test_it_is_refused_while_a_service_lives(pool: Pool, database, nats_url: str) -> None:
    connection = await connect(database.admin_url)
    async with connect_bus(nats_url, "test") as bus:
        await bus.ensure_streams()
        async with announced(pool, "gateway_bridge", "bridge-1", len(migrations())):
            with pytest.raises(StillAtWork, match="gateway_bridge"):
                await reshard(connection, bus, 16, "admin (serveur)")
        unchanged = await read_shards(connection)
        former = await reshard(connection, bus, 16, "admin (serveur)")
        changed = await read_shards(connection)
    await connection.close()

    assert (unchanged, former, changed) == (4, 4, 16)


@pytest.mark.parametrize("subject", [topics.frames(3), topics.uplinks(1)])
async def test_it_is_refused_while_a_message_waits(database, nats_url: str, subject: str) -> None:
    connection = await connect(database.admin_url)
    async with connect_bus(nats_url, "test") as bus:
        await bus.ensure_streams()
        await bus.publish(subject, b"waiting")
        with pytest.raises(StillAtWork, match="holds 1 messages") as refused:
            await reshard(connection, bus, 16, "admin (serveur)")
        unchanged = await read_shards(connection)
    await connection.close()

    assert unchanged == 4
    assert "démarrez network et ingest" in refused.value.french


async def test_leases_and_readers_of_before_are_gone_and_it_is_in_the_audit(database, nats_url: str) -> None:
    connection = await connect(database.admin_url)
    await connection.execute(HOLD)
    async with connect_bus(nats_url, "test") as bus:
        await bus.ensure_streams()
        former = await bus.read_shard(topics.FRAMES, topics.frames(3), "network-3-7")
        await reshard(connection, bus, 16, "admin (serveur)")
        # A work queue has one reader of a subject: this one would be refused while that one is there.
        reader = await bus.read_shard(topics.FRAMES, topics.frames(3), "network-3-8")
        await bus.publish(topics.frames(3), b"new")
        [message] = await reader.fetch(10, 5)
        await former.close()
    leases = await connection.fetchval("SELECT count(*) FROM shard_lease")
    said = await connection.fetchrow("SELECT actor, action, details::text FROM audit ORDER BY id DESC LIMIT 1")
    await connection.close()

    assert message.data == b"new"
    assert leases == 0
    assert (said["actor"], said["action"]) == ("admin (serveur)", "reshard")
    assert '"shards": 16' in said["details"]

"""Keys of before the upgrade open after it; sealed anew, under another key, they open for their owner alone."""

import asyncio
import signal
import sys
from datetime import datetime

from core.runtime.postgres import Connection, connect
from lorawan.crypto import wrap_key
from registry.decoding_keys import read_device_keys
from registry.key_rotation import BATCH, ROWS_PER_SECOND, Pace, check, count_stale, rotate
from registry.keys import KeyWrap, device_owner
from registry.schema import migrate
from registry.sealed_columns import SEALED_TABLES, read_sealed
from tests.core.runtime.versions import migrate_up_to

OLD, NEW = bytes(16), bytes(range(32))
BEFORE, DURING, AFTER = KeyWrap("kek-1", OLD), KeyWrap("kek-2", NEW, {"kek-1": OLD}), KeyWrap("kek-2", NEW)
DEVICES = 30
# The last schema in which RFC 3394 wrapped everything.
UNOWNED = 54
PLANT = """
WITH t AS (INSERT INTO tenant (slug, name) VALUES ('metz', 'Metz') RETURNING id),
p AS (INSERT INTO device_profile (tenant_id, name, vendor, model, codec) SELECT id, 'p', 'v', 'm', 'c' FROM t
      RETURNING id, tenant_id),
d AS (INSERT INTO device (tenant_id, dev_eui, join_eui, name, device_profile_id, slot, app_key_wrapped, kek_id)
      SELECT tenant_id, int8send(n), '\\x0000000000000000', n::text, p.id, 0, '\\x{key}', 'kek-1'
      FROM p, generate_series(1::bigint, {devices}) n RETURNING id),
s AS (INSERT INTO session (device_id, dev_addr, nwk_s_key_wrapped, app_s_key_wrapped, kek_id)
      SELECT id, int4send(id), '\\x{key}', '\\x{key}', 'kek-1' FROM d),
k AS (INSERT INTO device_decoding_key (device_id, meter_id, key_wrapped, kek_id)
      SELECT min(id), meter, '\\x{key}', 'kek-1' FROM d, unnest(ARRAY['', '12345678']) meter GROUP BY meter),
q AS (INSERT INTO profile_decoding_key (tenant_id, device_profile_id, key_wrapped, kek_id)
      SELECT tenant_id, id, '\\x{key}', 'kek-1' FROM p),
w AS (INSERT INTO webhook_endpoint (tenant_id, url, secret_wrapped, previous_secret_wrapped, kek_id)
      SELECT id, 'https://mairie.fr/x', '\\x{key}', '\\x{key}', 'kek-1' FROM t),
e AS (INSERT INTO event_source (tenant_id, name, secret_wrapped, kek_id)
      SELECT id, 'e', '\\x{key}', 'kek-1' FROM t),
l AS (INSERT INTO lns_source (tenant_id, kind, transport, name, token_sha256, secret_wrapped, kek_id)
      SELECT id, 'generic', 'http', 'l', sha256(''), '\\x{key}', 'kek-1' FROM t),
a AS (INSERT INTO application (tenant_id, name, mqtt_url, secret_wrapped, kek_id)
      SELECT id, 'a', 'mqtt://x', '\\x{key}', 'kek-1' FROM t)
INSERT INTO multicast_group (tenant_id, name, dev_addr, nwk_s_key_wrapped, app_s_key_wrapped, kek_id)
SELECT id, 'm', '\\x01020304', '\\x{key}', '\\x{key}', 'kek-1' FROM t
"""
ROWS = 2 * DEVICES + 2 + 1 + 1 + 1 + 1 + 1 + 1
VALUES = DEVICES + 2 * DEVICES + 2 + 1 + 2 + 1 + 1 + 1 + 2
# Rotates one row after the other, and prints a line for each.
ROTATE_SLOWLY = """
import asyncio, sys
from core.runtime.postgres import connect
from registry.key_rotation import rotate
from registry.keys import KeyWrap
async def main():
    keys = KeyWrap("kek-2", bytes(range(32)), {"kek-1": bytes(16)})
    await rotate(await connect(sys.argv[1]), keys, batch=1, on_progress=lambda rows: print(rows, flush=True))
asyncio.run(main())
"""


async def killed_after(rows: int, url: str) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-P", "-c", ROTATE_SLOWLY, url, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    for _ in range(rows):
        assert await process.stdout.readline()
    process.send_signal(signal.SIGKILL)
    await process.wait()


async def test_keys_of_before_are_sealed_for_their_owners_by_a_rotation_that_survives_kill_9(
    empty_database_url: str,
) -> None:
    await migrate_up_to(UNOWNED, empty_database_url)
    connection = await connect(empty_database_url)
    await connection.execute(
        PLANT.replace("{key}", wrap_key(OLD, bytes(16)).hex()).replace("{devices}", str(DEVICES))
    )
    await migrate(empty_database_url)
    of_before = await check(connection, BEFORE)
    changes = await connection.fetchval("SELECT count(*) FROM registry_change")
    stale = await count_stale(connection, DURING)

    await killed_after(5, empty_database_url)
    half_way = await check(connection, DURING)
    done = await rotate(connection, DURING, batch=7, rows_per_second=10_000)
    after = await check(connection, AFTER)

    assert (of_before.counts, of_before.unowned, of_before.closed) == ({"kek-1": VALUES}, VALUES, [])
    assert stale == ROWS
    assert 0 < half_way.unowned < VALUES
    assert half_way.closed == []
    assert 5 <= ROWS - done.sealed < ROWS
    assert (done.closed, done.left) == ([], 0)
    assert (after.counts, after.unowned, after.closed) == ({"kek-2": VALUES}, 0, [])
    assert await count_stale(connection, AFTER) == 0
    # Nobody has to read anything again.
    assert await connection.fetchval("SELECT count(*) FROM registry_change") == changes
    await a_former_value_planted_afterwards_is_rejected_and_counted(connection, of_before.former_rejected_since)
    await a_copied_value_opens_nowhere(connection)
    await a_device_that_changes_hands_keeps_its_default_key(connection)
    await connection.close()


async def a_former_value_planted_afterwards_is_rejected_and_counted(
    connection: Connection, since_before: datetime | None
) -> None:
    """With the very key-encryption key that wrapped it, and whatever is written to the row that refuses it."""
    plant = "UPDATE device SET app_key_wrapped = $1 WHERE name = '4' RETURNING 1"
    sealed = await connection.fetchval("SELECT app_key_wrapped FROM device WHERE name = '4'")
    await connection.fetchval(plant, wrap_key(OLD, bytes(16)))
    await connection.execute("UPDATE deployment SET keys_sealed_at = NULL")

    found = await check(connection, DURING)
    again = await rotate(connection, DURING)
    await connection.fetchval(plant, sealed)

    planted = [device_owner((4).to_bytes(8), "app_key")]
    assert since_before is None
    assert found.former_rejected_since is not None
    assert (found.closed, found.former_rejected, again.closed, again.sealed) == (planted, 1, planted, 0)
    DURING.former_format.is_rejected = False


async def a_copied_value_opens_nowhere(connection: Connection) -> None:
    """Of each table with two rows, and of each row with two values."""
    await connection.execute("UPDATE device d SET app_key_wrapped = o.app_key_wrapped FROM device o "
                             "WHERE d.name = '1' AND o.name = '2'")  # fmt: skip
    await connection.execute("UPDATE session SET nwk_s_key_wrapped = app_s_key_wrapped WHERE id = 1")
    await connection.execute("UPDATE device_decoding_key d SET key_wrapped = o.key_wrapped "
                             "FROM device_decoding_key o WHERE d.meter_id = '' AND o.meter_id <> ''")  # fmt: skip
    await connection.execute("UPDATE event_source SET secret_wrapped = "
                             "(SELECT secret_wrapped FROM webhook_endpoint)")  # fmt: skip

    found = await check(connection, AFTER)

    assert len(found.closed) == 4
    assert device_owner((1).to_bytes(8), "app_key") in found.closed


async def a_device_that_changes_hands_keeps_its_default_key(connection: Connection) -> None:
    device_id = await connection.fetchval("SELECT id FROM device WHERE name = '3'")
    await connection.execute(
        "WITH t AS (INSERT INTO tenant (slug, name) VALUES ('nancy', 'Nancy') RETURNING id) "
        "UPDATE device SET tenant_id = t.id FROM t WHERE device.id = $1",
        device_id,
    )

    kept = await read_device_keys(connection, [device_id], AFTER)
    sealed_for = await connection.fetchval(
        "SELECT sealed_for FROM device_decoding_key WHERE device_id = $1", device_id
    )
    await rotate(connection, AFTER)
    own = await read_device_keys(connection, [device_id], AFTER)

    assert sealed_for is not None
    assert kept == own == {device_id: {"key": bytes(16).hex()}}
    assert not await connection.fetchval(
        "SELECT sealed_for FROM device_decoding_key WHERE device_id = $1", device_id
    )


def test_a_rotation_of_100_000_rows_takes_just_below_five_minutes_and_rests_as_long_as_a_slow_batch() -> None:
    pace = Pace(BATCH, ROWS_PER_SECOND)

    batches = 100_000 / BATCH
    assert 240 < batches * (0.005 + pace.rest_s(0.005)) < 300
    assert pace.rest_s(0.2) == 0.2


async def test_every_wrapped_column_of_the_schema_is_checked_and_rotated(database) -> None:
    connection = await connect(database.admin_url)
    there = await connection.fetch(
        "SELECT table_name, column_name FROM information_schema.columns "
        "WHERE table_schema = 'public' AND column_name ~ 'wrapped$'"
    )
    empty = await read_sealed(connection)
    await connection.close()

    known = {(table.name, column.name) for table in SEALED_TABLES for column in table.columns}
    assert {(row["table_name"], row["column_name"]) for row in there} == known
    assert empty == []

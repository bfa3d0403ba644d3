"""Rollups and chunks of schema 41 are there after the upgrade, and what can still be known of states is made."""

from datetime import UTC, datetime, timedelta

from core.runtime.postgres import connect, open_pool
from ingest.recount import recount
from ingest.rollups import roll_up
from registry.schema import migrate
from tests.core.runtime.versions import migrate_up_to

HOUR = timedelta(hours=1)
AT = datetime(2026, 3, 2, 10, tzinfo=UTC)
PLANT = """
WITH t AS (INSERT INTO tenant (slug, name) VALUES ('metz', 'Metz') RETURNING id),
p AS (INSERT INTO device_profile (tenant_id, name, vendor, model, codec)
      SELECT id, 'p', 'v', 'm', 'elsys.ers' FROM t RETURNING id, tenant_id),
d AS (INSERT INTO device (tenant_id, dev_eui, join_eui, name, device_profile_id, slot, app_key_wrapped, kek_id)
      SELECT tenant_id, '\\x0102030405060708', '\\x0000000000000000', 'd', id, 0, 'x', 'kek-1' FROM p
      RETURNING id, tenant_id)
INSERT INTO datastream (tenant_id, device_id, channel, quantity, unit)
SELECT tenant_id, id, '', unnest(ARRAY['open', 'water_volume', 'temperature']), '1' FROM d RETURNING id
"""
# As the program of then rolled them up.
ROLL_UP = """
INSERT INTO observation.{table} (datastream_id, bucket, n, suspects, sum, min, max, first, last)
SELECT datastream_id, $1, count(*), 0, sum(value), min(value), max(value), first(value, time), last(value, time)
FROM observation.measurement WHERE time > $1 GROUP BY datastream_id
"""


async def test_rollups_and_chunks_survive_and_states_are_weighted_where_raw_is_there(
    empty_database_url: str,
) -> None:
    await migrate_up_to(41, empty_database_url)
    connection = await connect(empty_database_url)
    door, meter, room = (row["id"] for row in await connection.fetch(PLANT))
    for stream, values in ((door, (1, 0)), (meter, (100, 7)), (room, (20, 22))):
        for place, value in enumerate(values, 1):
            at = AT + place * HOUR / 4
            await connection.execute("INSERT INTO observation.measurement VALUES ($1, $2, $3)", stream, at, value)
    await connection.execute(ROLL_UP.format(table="rollup_hour"), AT)
    await connection.execute(ROLL_UP.format(table="rollup_day"), AT - 11 * HOUR)
    # Of an hour a year before, raw is gone.
    await connection.execute(
        "INSERT INTO observation.rollup_hour VALUES ($1, $2, 3, 0, 1, 0, 1, 0, 1)", door, AT - timedelta(days=365)
    )
    await connection.execute(
        "INSERT INTO observation.forgotten VALUES ('measurement', 0, $1)", AT - timedelta(days=300)
    )
    await connection.execute(
        "INSERT INTO lns_source (tenant_id, kind, transport, name, token_sha256) "
        "SELECT id, 'generic', 'http', 'a', sha256('a') FROM tenant"
    )
    before = await connection.fetch("SELECT * FROM observation.measurement ORDER BY 1, 2")
    await connection.close()

    await migrate(empty_database_url)

    async with open_pool(empty_database_url, "test", size=2) as pool:
        assert await pool.fetch("SELECT * FROM observation.measurement ORDER BY 1, 2") == before
        hours = "SELECT bucket, datastream_id, n, seconds FROM observation.rollup_hour ORDER BY 1, 2"
        assert [tuple(row)[1:] for row in await pool.fetch(hours)] == [
            (door, 3, None),
            (door, 2, None),
            (meter, 2, None),
            (room, 2, None),
        ]
        assert await pool.fetch("SELECT hour, datastream_ids FROM observation.dirty") == [(AT, [door])]
        assert await pool.fetchval("SELECT moduli FROM device_profile") == {}
        # What was measured before is corrected as anything else, by nobody that is not said to be right.
        keep, source = (
            "SELECT observation.keep_correction($1, $2, $3, 0::smallint, $4)",
            "SELECT id FROM lns_source",
        )
        assert await pool.fetchval("SELECT count(*) FROM observation.correction") == 0
        stated = meter, AT + HOUR / 4, 100.5, await pool.fetchval(source)
        assert await pool.fetchval(keep, *stated) == 1
        await pool.execute("UPDATE lns_source SET authoritative = true")
        assert [await pool.fetchval(keep, *stated) for _ in range(2)] == [2, 0]
        assert {row["value"] for row in await pool.fetch("SELECT value FROM observation.correction")} == {
            100,
            100.5,
        }
        await pool.execute("UPDATE observation.measurement SET value = 100, flags = 0 WHERE value = 100.5")
        await pool.execute("DELETE FROM observation.dirty WHERE datastream_ids = ARRAY[$1::int]", meter)
        await roll_up(pool)
        weighted = await pool.fetch("SELECT seconds, weighted FROM observation.rollup_hour WHERE n = 2 ORDER BY 1")
        assert [tuple(row) for row in weighted] == [(2700, 900), (None, None), (None, None)]
        assert [one for one in await recount(pool, AT - HOUR) if one.table != "latest"] == []


async def test_an_antenna_gain_of_before_is_read_as_it_was_said(empty_database_url: str) -> None:
    await migrate_up_to(41, empty_database_url)
    connection = await connect(empty_database_url)
    await connection.execute(
        "WITH t AS (INSERT INTO tenant (slug, name) VALUES ('metz', 'Metz') RETURNING id) "
        "INSERT INTO gateway (tenant_id, gateway_id, name, antenna_gain) "
        "SELECT id, '\\x0102030405060708', 'g', 2.3 FROM t"
    )

    await migrate(empty_database_url)

    assert await connection.fetchval("SELECT antenna_gain FROM gateway") == 2.3
    await connection.close()

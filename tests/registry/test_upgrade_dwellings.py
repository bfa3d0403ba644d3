"""Dwellings and meters of schema 63 keep their class and terms until somebody confirms another one."""

from datetime import UTC, datetime, timedelta

from core.runtime.postgres import connect, open_pool
from ingest.maintenance.jobs import keep_house
from ingest.maintenance.settings import RetentionSettings
from registry.schema import migrate
from tests.core.runtime.versions import migrate_up_to
from tests.entering import LET_EVERYBODY_SEAL, enter_tenant

NOW = datetime.now(UTC)
DAY = timedelta(days=1)
PLANT = """
WITH t AS (INSERT INTO tenant (slug, name) VALUES ('metz', 'Metz') RETURNING id),
p AS (INSERT INTO device_profile (tenant_id, name, vendor, model, codec)
      SELECT id, 'p', 'v', 'm', 'linky.tic' FROM t RETURNING id, tenant_id),
d AS (INSERT INTO device (tenant_id, dev_eui, join_eui, name, device_profile_id, slot, app_key_wrapped, kek_id)
      SELECT tenant_id, '\\x0102030405060708', '\\x0000000000000000', 'd', id, 0, 'x', 'kek-1' FROM p
      RETURNING id, tenant_id),
a AS (INSERT INTO asset (tenant_id, kind, name, privacy_class)
      SELECT id, kind, kind, class FROM t, (VALUES ('dwelling', 0), ('house', 2), ('water_meter', 1), ('bin', 0))
          AS of (kind, class)
      RETURNING id, tenant_id, kind)
INSERT INTO datastream (tenant_id, asset_id, device_id, channel, quantity, unit)
SELECT a.tenant_id, a.id, d.id, a.kind, 'water_volume', '1' FROM a, d
UNION ALL SELECT d.tenant_id, NULL, d.id, 'none', 'active_energy_import', '1' FROM d
RETURNING id, channel
"""
CLASSES = "SELECT channel, privacy_class FROM datastream ORDER BY id"


async def test_dwellings_and_meters_keep_class_and_data_until_they_are_confirmed(empty_database_url: str) -> None:
    await migrate_up_to(63, empty_database_url)
    connection = await connect(empty_database_url)
    streams = {row["channel"]: row["id"] for row in await connection.fetch(PLANT)}
    for stream in streams.values():
        for table in ("rollup_hour", "rollup_day"):
            await connection.execute(
                f"INSERT INTO observation.{table} (datastream_id, bucket, n, suspects) VALUES ($1, $2, 1, 0)",
                stream,
                NOW - 1500 * DAY,
            )
    hours = "SELECT datastream_id FROM observation.rollup_hour ORDER BY 1"

    await migrate(empty_database_url)

    async with open_pool(empty_database_url, "test", size=2) as pool:
        settings = RetentionSettings.model_construct()
        await keep_house(pool, settings)
        assert [tuple(row) for row in await pool.fetch(CLASSES)] == [
            ("dwelling", 0),
            ("house", 2),
            ("water_meter", 1),
            ("bin", 0),
            ("none", 0),
        ]
        kept = [streams[name] for name in ("dwelling", "water_meter", "bin", "none")]
        assert [row[0] for row in await pool.fetch(hours)] == kept
        await pool.execute("UPDATE asset SET name = name || ' 1', street = 'rue'")  # Nothing of it in passing.
        await connection.execute(LET_EVERYBODY_SEAL)
        async with connection.transaction():
            await enter_tenant(connection, 1)
            proposed = await connection.fetch("SELECT * FROM class_proposals()")
            names = {row["id"]: row["kind"] for row in await connection.fetch("SELECT id, kind FROM asset")}
            dwelling = next(id_ for id_, kind in names.items() if kind == "dwelling")
            await connection.execute("SELECT confirm_class($1, NULL, 2::smallint)", dwelling)
        assert {names.get(row["asset_id"], row["datastream_id"]) for row in proposed} == {
            "dwelling",
            "water_meter",
            streams["none"],
        }
        # A new quantity of a meter of before is of the others' class.
        await pool.execute(
            "INSERT INTO datastream (tenant_id, device_id, channel, quantity, unit) SELECT tenant_id, id, 'new', "
            "'gas_volume', '1' FROM device"
        )
        await keep_house(pool, settings)
        assert [tuple(row) for row in await pool.fetch(CLASSES)][::5] == [("dwelling", 2), ("new", 0)]
        assert [row[0] for row in await pool.fetch(hours)] == kept[1:]
    await connection.close()

"""What a database of schema 74 holds is published, drawn, photographed and found after the upgrade to 77."""

from core.runtime.postgres import connect, open_pool
from registry.schema import migrate
from tests.core.runtime.versions import migrate_up_to
from tests.entering import LET_EVERYBODY_SEAL, tenant_transaction

PLANT = """
WITH t AS (INSERT INTO tenant (slug, name) VALUES ('metz', 'Metz'), ('nancy', 'Nancy') RETURNING id, slug),
p AS (INSERT INTO device_profile (tenant_id, name, vendor, model, codec)
      SELECT id, 'p', 'v', 'm', 'milesight.em400' FROM t WHERE slug = 'metz' RETURNING id, tenant_id),
d AS (INSERT INTO device (tenant_id, dev_eui, join_eui, name, device_profile_id, slot, app_key_wrapped, kek_id)
      SELECT tenant_id, '\\x0102030405060708', '\\x0000000000000000', 'd', id, 0, 'x', 'kek-1' FROM p
      RETURNING id, tenant_id),
s AS (INSERT INTO session (device_id, dev_addr, nwk_s_key_wrapped, app_s_key_wrapped, kek_id)
      SELECT id, '\\x01020304', 'x', 'x', 'kek-1' FROM d),
o AS (INSERT INTO asset (tenant_id, kind, name, commune) SELECT tenant_id, 'room', 'Salle', 'Metz' FROM d),
a AS (INSERT INTO asset (tenant_id, kind, name, commune)
      SELECT tenant_id, 'glass_container', 'Borne', 'Metz' FROM d RETURNING id, tenant_id)
INSERT INTO datastream (tenant_id, asset_id, device_id, channel, quantity, unit)
SELECT a.tenant_id, a.id, d.id, '', 'fill_level', '%' FROM a, d RETURNING asset_id
"""
PUBLISH = """
INSERT INTO publication (tenant_id, asset_id, slug, name, quantities, published_by)
SELECT tenant_id, id, 'borne', name, '{fill_level}', 'A' FROM asset WHERE name = 'Borne' RETURNING privacy_class
"""
PHOTOGRAPH = """
INSERT INTO asset_photo (tenant_id, asset_id, taken_by, content)
SELECT tenant_id, id, 'A', '\\xffd8ffd9' FROM asset RETURNING octets
"""
OUTLINE = """
INSERT INTO commune_outline (tenant_id, insee, name, polygons, west, south, east, north)
SELECT tenant_id, '57463', commune, '[]', 6, 49, 7, 50 FROM asset LIMIT 1
"""
DEVICES = "SELECT devices_with_dev_addr('\\x01020304')"


async def test_assets_and_devices_of_before_are_published_photographed_and_found(empty_database_url: str) -> None:
    await migrate_up_to(74, empty_database_url)
    connection = await connect(empty_database_url)
    asset = await connection.fetchval(PLANT)
    every = "SELECT * FROM asset ORDER BY id"
    before = [dict(row) for row in await connection.fetch(every)]

    await migrate(empty_database_url)

    await connection.execute(LET_EVERYBODY_SEAL)
    after = await connection.fetch(every)
    assert [{name: row[name] for name in former} for row, former in zip(after, before, strict=True)] == before
    async with open_pool(empty_database_url, "test", size=1) as pool:
        assert await pool.fetchval(PUBLISH) == 0
        assert [row["octets"] for row in await pool.fetch(PHOTOGRAPH)] == [4, 4]
        await pool.execute(OUTLINE)
        for tenant_id, photos, outlines, devices in ((1, 2, 1, 1), (2, 0, 0, 0)):
            async with tenant_transaction(pool, tenant_id) as inside:
                await inside.execute("SET LOCAL ROLE territoire_api")
                assert await inside.fetchval("SELECT count(*) FROM asset_photo") == photos
                assert await inside.fetchval("SELECT count(*) FROM commune_outline") == outlines
                assert len(await inside.fetch(DEVICES)) == devices
        # A class that rises withdraws what was public; an asset that goes takes its photo along.
        await pool.execute("UPDATE asset SET privacy_class = 2 WHERE id = $1", asset)
        assert await pool.fetchval("SELECT withdrawn_reason FROM publication") == "class"
        await pool.execute("UPDATE asset SET tenant_id = 2 WHERE name = 'Salle'")
        assert await pool.fetchval("SELECT count(*) FROM asset_photo WHERE tenant_id = 2") == 1
        assert await pool.fetchval("SELECT most FROM quota_default WHERE kind = 'photos'") == 5000
    await connection.close()

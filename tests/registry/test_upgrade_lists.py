"""Keys, tenants, meters and lists of schema 101 are what they were after 104, and can do what is new."""

from core.runtime.postgres import connect
from registry.schema import migrate
from tests.core.runtime.versions import migrate_up_to
from tests.entering import LET_EVERYBODY_SEAL, enter_tenant

BEFORE = 101
PLANT = """
WITH t AS (INSERT INTO tenant (slug, name) VALUES ('reseau', 'Réseau'), ('metz', 'Metz') RETURNING id, slug),
k AS (INSERT INTO api_key (id, tenant_id, name, secret_sha256, roles)
      SELECT slug, id, slug, sha256('x'), '{read}' FROM t),
m AS (SELECT id AS tenant_id FROM t WHERE slug = 'metz'),
u AS (INSERT INTO person (email, name) VALUES ('a@metz.example', 'A') RETURNING id),
b AS (INSERT INTO membership (person_id, tenant_id, role) SELECT u.id, tenant_id, 'service_manager' FROM u, m),
p AS (INSERT INTO device_profile (tenant_id, name, vendor, model, codec)
      SELECT tenant_id, 'p', 'v', 'm', 'milesight.em400' FROM m RETURNING id, tenant_id),
d AS (INSERT INTO device (tenant_id, dev_eui, join_eui, name, device_profile_id, slot, app_key_wrapped, kek_id)
      SELECT tenant_id, decode(v || '02030405060708', 'hex'), '\\x0000000000000000', v, id, 0, 'x', 'kek-1'
      FROM p, unnest('{01,02}'::text[]) v RETURNING id, tenant_id, name),
s AS (INSERT INTO session (device_id, dev_addr, nwk_s_key_wrapped, app_s_key_wrapped, kek_id, last_uplink_at)
      SELECT id, '\\x01020304', 'x', 'x', 'kek-1', now() + interval '1 s' FROM d WHERE name = '01'),
a AS (INSERT INTO asset (tenant_id, kind, name, street, external_reference)
      SELECT tenant_id, 'water_meter', v, 'Rue des Éperviers', 'PL-' || length(v)
      FROM m, unnest('{École 10,École 2,Zoo}'::text[]) v RETURNING id, tenant_id, name),
f AS (INSERT INTO datastream (tenant_id, asset_id, device_id, channel, quantity, unit)
      SELECT a.tenant_id, a.id, d.id, '', 'water_volume', 'L' FROM a, d WHERE a.name = 'Zoo' AND d.name = '01'
      RETURNING id)
INSERT INTO observation.meter_change (datastream_id, at, final_index, initial_index, cause, note)
SELECT id, '2026-11-01', 100, 0, 'manual', 'vu' FROM f RETURNING id
"""
KEYS = (
    "SELECT k.id FROM api_key k, authenticate_api_key(k.id, sha256('x')) found WHERE found.origins = $1 ORDER BY 1"
)
MEMBERSHIPS = "SELECT slug FROM memberships_of((SELECT id FROM person))"
COMPLETE = "SELECT complete_meter_change($1, NULL, 3, NULL, $2)"
CHANGES = "SELECT final_index, initial_index, note FROM observation.meter_change"


async def test_what_was_before_is_listed_and_tenants_of_before_are_closed(empty_database_url: str) -> None:
    await migrate_up_to(BEFORE, empty_database_url)
    connection = await connect(empty_database_url)
    change = await connection.fetchval(PLANT)
    every = "SELECT * FROM asset ORDER BY id"
    before = [dict(row) for row in await connection.fetch(every)]

    await migrate(empty_database_url)

    await connection.execute(LET_EVERYBODY_SEAL)
    # 102: keys of before are no page's; one that is given an origin is.
    assert [row["id"] for row in await connection.fetch(KEYS, [])] == ["metz", "reseau"]
    assert await connection.fetch("SELECT origins_of_keys()") == []
    await connection.execute("UPDATE api_key SET origins = '{https://carte.example}' WHERE id = 'metz'")
    assert await connection.fetchval("SELECT origins_of_keys()") == "https://carte.example"

    # 103: of a change of meter what is given is written, NULL too; the rest stays.
    tenants = {row["slug"]: row["id"] for row in await connection.fetch("SELECT id, slug FROM tenant")}
    async with connection.transaction():
        await enter_tenant(connection, tenants["metz"])
        assert await connection.fetchval(COMPLETE, change, ["final_index", "initial_index"]) is True
    assert [tuple(row) for row in await connection.fetch(CHANGES)] == [(None, 3.0, "vu")]

    # 104: each asset is as it was, is found by folded words, and sorted as in French; who was heard is said.
    after = [dict(row) for row in await connection.fetch(every)]
    assert [{name: row[name] for name in former} for row, former in zip(after, before, strict=True)] == before
    assert {(row["quarter"], row["words"]) for row in after if row["name"] == "Zoo"} == {
        ("", "zoo\nrue des eperviers\npl-3")
    }
    names = await connection.fetch("SELECT name FROM asset ORDER BY name COLLATE french")
    assert [row["name"] for row in names] == ["École 2", "École 10", "Zoo"]
    async with connection.transaction():
        await enter_tenant(connection, tenants["metz"])
        heard = await connection.fetch("SELECT device_id, last_seen_at FROM device_heard(NULL, 'seen') ORDER BY 1")
    assert [row["last_seen_at"] is not None for row in heard] == [True, False]

    # 103: nobody was closed; whom the operator closes enters no more, and has nothing sent.
    assert await connection.fetchval("SELECT count(*) FROM tenant WHERE closed_at IS NOT NULL") == 0
    assert await connection.fetchval(MEMBERSHIPS) == "metz"
    async with connection.transaction():
        await enter_tenant(connection, tenants["reseau"], is_operator=True)
        assert await connection.fetchval("SELECT close_tenant($1, true)", tenants["metz"]) is True
    assert await connection.fetchval(MEMBERSHIPS) is None
    assert [row["id"] for row in await connection.fetch(KEYS, [])] == ["reseau"]
    assert await connection.fetch("SELECT origins_of_keys()") == []
    await connection.close()

"""The upgrade that says by columns what the platform did takes it from the words that it used."""

from core.runtime.postgres import connect
from registry.schema import migrate, migrations
from tests.core.runtime.versions import migrate_up_to

PLANT = """
WITH t AS (INSERT INTO tenant (slug, name) VALUES ('metz', 'Metz') RETURNING id),
p AS (INSERT INTO device_profile (tenant_id, name, vendor, model, codec, device_class, capabilities)
      SELECT id, 'p', 'v', 'm', 'watteco.triphaso', 'C', '{switch}' FROM t RETURNING id, tenant_id),
d AS (INSERT INTO device (tenant_id, dev_eui, join_eui, name, device_profile_id, slot, app_key_wrapped, kek_id)
      SELECT tenant_id, '\\x0102030405060708', '\\x0000000000000000', 'd', id, 0, 'x', 'kek-1' FROM p RETURNING *),
a AS (INSERT INTO asset (tenant_id, kind, name) SELECT id, 'lighting_cabinet', n
      FROM t, unnest('{a,b,c}'::text[]) n RETURNING *),
l AS (INSERT INTO downlink (tenant_id, device_id, slot, f_port, payload, not_after)
      SELECT tenant_id, id, 0, 125, '\\x1150000600', now() + interval '1 hour' FROM d RETURNING id),
c AS (INSERT INTO lighting_command (tenant_id, asset_id, device_id, action, requested_by, reason, downlink_id,
                                  not_after)
      SELECT a.tenant_id, a.id, d.id, 'on', v.who, v.why, l.id, now() FROM a, d, l, (VALUES
          ('programme', 'allumage du programme'), ('programme', 'essai'),
          ('territoire', 'fin de l''extinction demandée (commande 4)'), ('territoire', '')) AS v (who, why)
      WHERE a.name = 'a'),
g AS (INSERT INTO lighting_program (tenant_id, name) SELECT id, n FROM t, unnest('{x,y}'::text[]) n RETURNING *),
v AS (INSERT INTO lighting_program_version (tenant_id, program_id, version, program, remark, author)
      SELECT tenant_id, id, 1, '{}', CASE name WHEN 'x' THEN 'Repris des attributs' ELSE '' END, 'mise à jour'
      FROM g RETURNING *)
INSERT INTO lighting_assignment (tenant_id, asset_id, version_id, assigned_by, assigned_at, ended_by, ended_at)
SELECT a.tenant_id, a.id, v.id, w.who, w.at, CASE WHEN w.until IS NOT NULL THEN 'cession' END, w.until
FROM a, v, (VALUES ('a', true, 'mise à jour', now(), NULL), ('b', false, 'mise à jour', now(), NULL),
                   ('c', true, 'mise à jour', now() - interval '1 day', now()), ('c', true, 'cession', now(), NULL)
     ) AS w (asset, upgraded, who, at, until)
WHERE w.asset = a.name AND w.upgraded = (v.remark <> '')
"""


async def test_of_commands_and_assignments_of_before_those_of_the_platform_are_known(
    empty_database_url: str,
) -> None:
    before = next(place for place, one in enumerate(migrations()) if one.name.endswith("_who_switches_lamps.sql"))
    await migrate_up_to(before, empty_database_url)
    connection = await connect(empty_database_url)
    await connection.execute(PLANT)

    await migrate(empty_database_url)

    commands = await connection.fetch(
        "SELECT is_automatic FROM lighting_command ORDER BY requested_by, reason DESC"
    )
    assignments = await connection.fetch(
        "SELECT a.name, g.switches FROM lighting_assignment g JOIN asset a ON a.id = g.asset_id "
        "WHERE g.ended_at IS NULL ORDER BY 1"
    )
    await connection.close()
    assert [row[0] for row in commands] == [False, True, True, False]
    assert [tuple(row) for row in assignments] == [("a", False), ("b", True), ("c", False)]

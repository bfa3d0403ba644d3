"""Campaigns, bounds and multicast of before programs, delegation and groups of lighting are what they were."""

from core.runtime.postgres import connect
from registry.schema import migrate, migrations
from tests.core.runtime.versions import migrate_up_to

PLANT = """
WITH t AS (INSERT INTO tenant (slug, name) VALUES ('sdem', 'SDEM'), ('metz', 'Metz') RETURNING id, slug),
m AS (SELECT id FROM t WHERE slug = 'metz'), s AS (SELECT id FROM t WHERE slug = 'sdem'),
b AS (INSERT INTO lighting_bounds (tenant_id, member_id, earliest_cut, set_by)
      SELECT s.id, m.id, 1380, 'x' FROM s, m),
p AS (INSERT INTO device_profile (tenant_id, name, vendor, model, codec, device_class, capabilities)
      SELECT id, 'p', 'v', 'm', 'territoire.clock', 'C', '{switch}' FROM m RETURNING id, tenant_id),
d AS (INSERT INTO device (tenant_id, dev_eui, join_eui, name, device_profile_id, slot, app_key_wrapped, kek_id)
      SELECT tenant_id, '\\x0102030405060708', '\\x0000000000000000', 'd', id, 0, 'x', 'kek-1' FROM p RETURNING *),
a AS (INSERT INTO asset (tenant_id, kind, name) SELECT id, 'lighting_cabinet', 'a' FROM m RETURNING *),
l AS (INSERT INTO downlink (tenant_id, device_id, slot, f_port, payload, not_after)
      SELECT tenant_id, id, 0, 62, '\\x01', now() + interval '1 hour' FROM d RETURNING *),
k AS (INSERT INTO lighting_command (tenant_id, asset_id, device_id, action, requested_by, reason, downlink_id,
                                    not_after)
      SELECT a.tenant_id, a.id, d.id, 'on', 'x', '', l.id, now() FROM a, d, l RETURNING *),
c AS (INSERT INTO lighting_campaign (tenant_id, name, action, reason, state, author, author_id, approved_by,
                                     approver_id, approved_at, not_after)
      SELECT m.id, 'c' || n, 'on', '', CASE n WHEN 0 THEN 'running' ELSE 'draft' END, 'x', 'x',
             CASE n WHEN 0 THEN 'y' END, CASE n WHEN 0 THEN 'y' END, CASE n WHEN 0 THEN now() END,
             now() + interval '1 hour'
      FROM m, generate_series(0, 44) AS n RETURNING *),
g AS (INSERT INTO multicast_group (tenant_id, name, dev_addr, nwk_s_key_wrapped, app_s_key_wrapped, kek_id)
      SELECT id, 'g', '\\x00000001', 'x', 'x', 'kek-1' FROM m RETURNING *),
r AS (INSERT INTO multicast_member (group_id, device_id, tenant_id) SELECT g.id, d.id, d.tenant_id FROM g, d),
e AS (INSERT INTO multicast_message (tenant_id, group_id, slot, f_port, payload, not_after)
      SELECT tenant_id, id, slot, 62, '\\x02', now() + interval '1 hour' FROM g)
INSERT INTO lighting_campaign_target (campaign_id, tenant_id, asset_id, gateway, airtime_us, octets, released_at,
                                      command_id)
SELECT c.id, c.tenant_id, a.id, 'g', 1000, '{}', now(), k.id FROM c, a, k WHERE c.name = 'c0'
"""


async def test_campaigns_bounds_groups_and_downlinks_of_before_go_on_as_they_were(empty_database_url: str) -> None:
    before = next(place for place, one in enumerate(migrations()) if one.name.endswith("_program_campaigns.sql"))
    await migrate_up_to(before, empty_database_url)
    connection = await connect(empty_database_url)
    await connection.execute(PLANT)

    await migrate(empty_database_url)

    campaigns = await connection.fetch(
        "SELECT state, count(*), bool_and(decided_by IS NULL AND proposed_by = '' AND then_decided_by = '{}') "
        "FROM lighting_campaign GROUP BY state ORDER BY state"
    )
    target = await connection.fetchrow(
        "SELECT airtime_us, state, attempts, repeat_due, command_id IS NOT NULL FROM lighting_campaign_target"
    )
    downlinks = await connection.fetch(
        "SELECT payload, by_lighting, multicast_message_id, keys_of_group FROM downlink"
    )
    message = await connection.fetchrow("SELECT payload, state::text, by_lighting FROM multicast_message")
    member = await connection.fetchrow("SELECT keys_given_at, keys_acknowledged_at FROM multicast_member")
    bounds = await connection.fetchrow("SELECT earliest_cut, former FROM lighting_bounds")
    quota = await connection.fetchval("SELECT most FROM quota WHERE kind = 'campaign_drafts'")
    await connection.close()
    assert [tuple(row) for row in campaigns] == [("draft", 44, True), ("running", 1, True)]
    assert tuple(target) == (1000, None, 0, False, True)
    assert [tuple(row) for row in downlinks] == [(b"\x01", False, None, None)]
    assert tuple(message) == (b"\x02", "queued", False)
    assert tuple(member) == (None, None)
    assert tuple(bounds) == (1380, None)
    # A quarter more than it has already: what was prepared does not stop others.
    assert quota == 55

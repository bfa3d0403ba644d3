"""The upgrade that gives lighting commands a meter's word: the relay's, which was called so, is `applied`."""

from datetime import UTC, datetime, timedelta

from core.runtime.postgres import connect, open_pool
from lighting.command_store import list_commands
from lighting.sweep import advance_commands, confirm_applied, relight
from registry.schema import migrate
from tests.core.runtime.versions import migrate_up_to

BEFORE = 77
STATES = ("queued", "sent", "confirmed", "failed", "expired", "superseded")
PLANT = """
WITH t AS (INSERT INTO tenant (slug, name) VALUES ('metz', 'Metz') RETURNING id),
p AS (INSERT INTO device_profile (tenant_id, name, vendor, model, codec, device_class, capabilities)
      SELECT id, 'p', 'v', 'm', 'watteco.triphaso', 'C', '{switch}' FROM t RETURNING id, tenant_id),
d AS (INSERT INTO device (tenant_id, dev_eui, join_eui, name, device_profile_id, slot, app_key_wrapped, kek_id)
      SELECT tenant_id, '\\x0102030405060708', '\\x0000000000000000', 'd', id, 0, 'x', 'kek-1' FROM p RETURNING *),
a AS (INSERT INTO asset (tenant_id, kind, name) SELECT id, 'lighting_cabinet', 'A1' FROM t RETURNING *),
g AS (INSERT INTO assignment (tenant_id, asset_id, device_id) SELECT d.tenant_id, a.id, d.id FROM d, a),
l AS (INSERT INTO downlink (tenant_id, device_id, slot, f_port, payload, not_after, state, sent_at)
      SELECT tenant_id, id, 0, 125, '\\x1150000600', now(), 'sent', now() FROM d RETURNING id)
INSERT INTO lighting_command (tenant_id, asset_id, device_id, action, off_until, requested_by, state, downlink_id,
                              not_after, sent_at, confirmed_at, relight_at)
SELECT a.tenant_id, a.id, d.id, 'off', now() + interval '1 hour', 'x', s::lighting_command_state, l.id,
       now(), now(), CASE s WHEN 'confirmed' THEN now() END,
       CASE s WHEN 'confirmed' THEN now() + interval '1 hour' END
FROM a, d, l, unnest($1::text[]) AS s
"""

WAITING = """
INSERT INTO downlink (tenant_id, device_id, slot, f_port, payload, not_after)
SELECT tenant_id, id, 0, 125, '\\x115000060000', now() + interval '30 days' FROM device
"""


async def test_what_was_confirmed_by_a_relay_is_applied_and_what_it_owes_is_still_lit(
    empty_database_url: str,
) -> None:
    await migrate_up_to(BEFORE, empty_database_url)
    connection = await connect(empty_database_url)
    await connection.execute(PLANT, STATES)
    await connection.execute(WAITING)

    await migrate(empty_database_url)

    async with open_pool(empty_database_url, "upgrade") as pool:
        now = datetime.now(UTC)
        commands = {one.id: one for one in await list_commands(pool)}
        states = [commands[number].state for number in sorted(commands)]
        applied = next(one for one in commands.values() if one.state == "applied")
        await confirm_applied(pool, now)
        await advance_commands(pool, now)
        relit = await relight(pool, now + timedelta(hours=2))
        sent = await pool.fetchval("SELECT encode(payload, 'hex') FROM downlink ORDER BY id DESC LIMIT 1")
        acts = await pool.fetchval("SELECT count(*) FROM lighting_unknown_act")
    await connection.close()

    assert states == ["queued", "sent", "applied", "failed", "expired", "superseded"]
    assert (applied.applied_at is not None, applied.confirmed_at) == (True, None)
    assert applied.unconfirmed == "not_compared"
    assert relit.outcomes == ["relit"]
    assert (sent, acts) == ("1150000601", 1)

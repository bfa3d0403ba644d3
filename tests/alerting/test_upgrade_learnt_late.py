"""Open alerts, and where rules stand with what they watch, survive the upgrade of schema 41."""

from datetime import UTC, datetime

from alerting.alert_store import list_alerts
from alerting.engine_store import StateKey, read_states_of_datastreams, save_states
from alerting.rules.model import Condition, RuleState
from core.runtime.postgres import connect, open_pool
from registry.schema import migrate
from tests.core.runtime.versions import migrate_up_to

AT = datetime(2026, 11, 25, 9, tzinfo=UTC)
PLANT = """
WITH t AS (INSERT INTO tenant (slug, name) VALUES ('metz', 'Metz') RETURNING id),
p AS (INSERT INTO device_profile (tenant_id, name, vendor, model, codec)
      SELECT id, 'p', 'v', 'm', 'elsys.ers' FROM t RETURNING id, tenant_id),
d AS (INSERT INTO device (tenant_id, dev_eui, join_eui, name, device_profile_id, slot, app_key_wrapped, kek_id)
      SELECT tenant_id, '\\x0102030405060708', '\\x0000000000000000', 'd', id, 0, 'x', 'kek-1' FROM p
      RETURNING id, tenant_id),
s AS (INSERT INTO datastream (tenant_id, device_id, channel, quantity, unit)
      SELECT tenant_id, id, '1', 'fill_level', '%' FROM d RETURNING id, tenant_id),
r AS (INSERT INTO alert_rule (tenant_id, name, kind, quantity, severity, message, fire_op, fire_value,
                             clear_op, clear_value)
      SELECT id, 'bin', 'threshold', 'fill_level', 'warning', 'm', '>=', 75, '<=', 60 FROM t
      RETURNING id, tenant_id),
a AS (INSERT INTO alert (tenant_id, rule_id, datastream_id, severity, message, condition, opened_at, fired_at)
      SELECT s.tenant_id, r.id, s.id, 'warning', 'plein', 'firing', $1, $1 FROM s, r RETURNING id)
INSERT INTO rule_state (tenant_id, rule_id, datastream_id, condition, since, recent, evaluated_until, value,
                        alert_id, memo)
SELECT s.tenant_id, r.id, s.id, 'firing', $1, 3, $1, 80, a.id, '\\x01' FROM s, r, a
RETURNING rule_id, datastream_id
"""


async def test_open_alerts_and_states_are_read_and_written_after_the_upgrade(empty_database_url: str) -> None:
    await migrate_up_to(41, empty_database_url)
    connection = await connect(empty_database_url)
    planted = await connection.fetchrow(PLANT, AT)
    await connection.close()
    assert planted is not None
    key = StateKey(planted["rule_id"], planted["datastream_id"])

    await migrate(empty_database_url)

    async with open_pool(empty_database_url, "test", size=1) as pool:
        states = await read_states_of_datastreams(pool, [key])
        async with pool.acquire() as connection:
            await save_states(connection, states)
        again = await read_states_of_datastreams(pool, [key])
        alerts = await list_alerts(pool)

    assert states[key].state == RuleState(Condition.FIRING, AT, 3, AT, 80.0, alerting=True, memo=b"\x01")
    assert again == states
    assert [(alert.message, alert.opened_at, alert.learnt_at) for alert in alerts] == [("plein", AT, None)]

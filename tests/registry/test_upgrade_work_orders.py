"""What lighting had asked people to look at before schema 105 is a work order, and no message."""

from core.runtime.postgres import connect
from registry.schema import migrate
from tests.core.runtime.versions import migrate_up_to

PLANT = """
WITH t AS (INSERT INTO tenant (slug, name) VALUES ('metz', 'Metz') RETURNING id),
a AS (INSERT INTO asset (tenant_id, kind, name, commune) SELECT id, 'lighting_cabinet', 'Armoire', 'Metz' FROM t
      RETURNING id),
r AS (INSERT INTO alert_rule (tenant_id, name, kind, severity, message)
      SELECT t.id, k, k, 'major', 'm' FROM t, unnest('{relight_failed,codec}'::text[]) AS k
      RETURNING id, kind),
s AS (INSERT INTO event_source (tenant_id, name, secret_wrapped, kek_id)
      SELECT id, 'Centrale', 'x', 'kek-1' FROM t)
INSERT INTO alert (tenant_id, rule_id, asset_id, severity, message, condition, opened_at, workflow, resolved_at,
                   assignee, subject)
SELECT t.id, r.id, a.id, 'major', r.kind || ' ' || v.workflow, 'firing', '2026-11-20 18:00+00',
       v.workflow::alert_workflow, CASE WHEN v.workflow = 'resolved' THEN now() END, v.assignee, v.workflow
FROM t, a, r, (VALUES ('open', NULL), ('in_progress', 'Voirie'), ('resolved', NULL)) AS v (workflow, assignee)
"""


async def test_open_alerts_of_what_did_not_light_again_are_work_orders(empty_database_url: str) -> None:
    await migrate_up_to(98, empty_database_url)
    connection = await connect(empty_database_url)
    await connection.execute(PLANT)

    await migrate(empty_database_url)

    orders = await connection.fetch(
        "SELECT w.state, w.origin, w.priority, w.title, w.assignee, "
        "w.created_at = '2026-11-20 18:00+00' AS is_dated, "
        "(SELECT count(*) FROM work_order_link l WHERE l.work_order_id = w.id) AS links, "
        "(SELECT count(*) FROM work_order_event e WHERE e.work_order_id = w.id AND sent_at IS NOT NULL) AS events "
        "FROM work_order w ORDER BY w.id"
    )
    assert [tuple(row) for row in orders] == [
        ("open", "lighting", "high", "relight_failed open", None, True, 2, 1),
        ("in_progress", "lighting", "high", "relight_failed in_progress", "Voirie", True, 2, 1),
    ]
    rules = await connection.fetch("SELECT kind, opens_work_order FROM alert_rule ORDER BY kind")
    assert [tuple(row) for row in rules] == [("codec", False), ("relight_failed", True)]
    assert await connection.fetchval("SELECT purpose FROM event_source") == "alarms"
    await connection.close()

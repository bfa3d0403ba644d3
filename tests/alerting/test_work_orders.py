"""Work orders of alerts, and the webhook messages about them: each once, in the order of the changes."""

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from alerting import alert_store, work_orders
from alerting.queue import decode_message
from alerting.requested_alerts import open_requested_alerts
from alerting.work_order_dispatch import dispatch_work_orders
from alerting.work_orders import Actor
from api.webhook_messages import WorkOrderMessage
from core.runtime.postgres import Pool
from registry.alert_requests import request_relight_alert
from tests.alerting.conftest import KEYS, Place
from tests.proved import create_proved_endpoint

ALERT = """
INSERT INTO alert (tenant_id, rule_id, asset_id, severity, message, condition, opened_at, fired_at,
                   notified_severity, muted_by)
SELECT tenant_id, id, $2, 'critical', 'Bac 12 : plus de 60 °C.', 'firing', $3, $3, severity, $4
FROM alert_rule WHERE id = $1 RETURNING id
"""
NOON = datetime(2026, 11, 28, 12, tzinfo=UTC)


async def queued(pool: Pool) -> list[dict[str, Any]]:
    rows = await pool.fetch("DELETE FROM jobs.pgqueuer RETURNING id, payload")
    messages = [decode_message(row["payload"]) for row in sorted(rows, key=lambda row: row["id"])]
    for message in messages:
        WorkOrderMessage.model_validate_json(message.body)
    return [{"id": message.message_id} | msgspec.json.decode(message.body) for message in messages]


async def test_an_alert_of_a_rule_that_opens_work_orders_has_one_and_software_follows_it(
    place: Place, pool: Pool
) -> None:
    for form in ("standard", "cloudevents", "chat"):
        await create_proved_endpoint(pool, KEYS, place.tenant_id, f"https://{form}.example/", form=form)
    rule = await place.rule("bin_fire")
    quiet = await place.rule("bin_75")
    await pool.execute("UPDATE alert_rule SET opens_work_order = true WHERE id = $1", rule)
    first = await pool.fetchval(ALERT, rule, place.asset_id, NOON, None)
    await pool.fetchval(ALERT, rule, None, NOON, "silence n° 1")  # Muted.
    await pool.fetchval(ALERT, quiet, place.asset_id, NOON, None)  # Its rule opens none.

    assert await dispatch_work_orders(pool) == (1, 1)
    assert await dispatch_work_orders(pool) == (0, 0)

    opened = await queued(pool)
    (order,) = await work_orders.list_work_orders(pool)  # pyright: ignore[reportArgumentType]
    assert (order.origin, order.priority, order.state, order.title) == (
        "rule",
        "urgent",
        "open",
        "Bac 12 : plus de 60 °C.",
    )
    assert (order.asset_ids, order.alert_ids, order.commune) == ((place.asset_id,), (first,), "Brest")
    assert [message["type"] for message in opened] == ["work_order.opened"] * 2
    assert len({message["id"] for message in opened}) == 1
    assert opened[0]["data"]["link"] == f"/interventions/{order.id}"

    async with pool.acquire() as connection, connection.transaction():
        somebody = Actor("M. Le Goff")
        await work_orders.update_work_order(connection, order.id, somebody, {"state": "in_progress"})
        await work_orders.update_work_order(
            connection, order.id, somebody, {"state": "in_progress"}
        )  # Nothing new.
        done = {"state": "done", "resolution": "éteint"}
        await work_orders.update_work_order(connection, order.id, somebody, done)
    assert await dispatch_work_orders(pool) == (0, 2)
    sent = (await queued(pool))[::2]
    assert [(m["type"], m["data"]["state"], m["data"]["sequence"]) for m in sent] == [
        ("work_order.changed", "done", 2),
        ("work_order.closed", "done", 3),
    ]
    assert sent[1]["data"]["comment"] == "éteint"
    # What it was about has ended with it; fired again it is another intervention.
    alert = await alert_store.read_alert(pool, first)
    assert alert is not None
    assert (alert.workflow, alert.resolved_by, alert.resolved_cause) == ("resolved", "M. Le Goff", "éteint")
    await pool.execute(
        "UPDATE alert SET workflow = 'open', fired_at = $2, resolved_at = NULL WHERE id = $1",
        first,
        NOON + timedelta(hours=1),
    )
    assert await dispatch_work_orders(pool) == (1, 1)


async def test_what_lighting_gave_up_is_a_work_order(place: Place, pool: Pool) -> None:
    async with pool.acquire() as connection, connection.transaction():
        await request_relight_alert(connection, place.asset_id, "aucune relecture", NOON)
        await open_requested_alerts(connection)
    assert await dispatch_work_orders(pool) == (0, 0)  # The engine has not notified of it.

    await pool.execute("UPDATE alert SET notified_severity = severity")
    assert await dispatch_work_orders(pool) == (1, 1)

    (order,) = await work_orders.list_work_orders(pool)  # pyright: ignore[reportArgumentType]
    assert (order.origin, order.priority) == ("lighting", "high")
    assert order.asset_ids == (place.asset_id,)
    assert "aucune relecture" in order.description

"""Work orders of alerts, and the webhook messages about them: each once, in the order of the changes."""

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from alerting import alert_store, work_orders
from alerting.message_formats import render
from alerting.queue import decode_message
from alerting.requested_alerts import open_requested_alerts
from alerting.work_order_dispatch import dispatch_work_orders
from alerting.work_orders import Actor
from api.webhook_messages import WorkOrderMessage
from core.runtime.postgres import Pool
from registry.alert_requests import request_relight_alert
from tests.alerting.conftest import KEYS, MakePlace, Place
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
        if b'"lines"' in message.body:  # Of people: rendered, never sent as it is.
            continue
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
    ((order,), _) = await work_orders.list_work_orders(pool)  # pyright: ignore[reportArgumentType]
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

    ((order,), _) = await work_orders.list_work_orders(pool)  # pyright: ignore[reportArgumentType]
    assert (order.origin, order.priority) == ("lighting", "high")
    assert order.asset_ids == (place.asset_id,)
    assert "aucune relecture" in order.description


async def test_a_team_is_told_of_what_somebody_gives_it_and_another_s_asset_is_named_while_it_is_shared(
    make_place: MakePlace, pool: Pool
) -> None:
    own, other = await make_place("ville"), await make_place("voisine")
    await pool.execute("UPDATE asset SET name = 'Armoire voisine' WHERE id = $1", other.asset_id)
    await create_proved_endpoint(pool, KEYS, own.tenant_id, "https://gmao.example/")
    chat, _ = await create_proved_endpoint(pool, KEYS, own.tenant_id, "https://chat.example/", form="chat")
    team = await pool.fetchval(
        "WITH made AS (INSERT INTO team (tenant_id, name) VALUES ($1, 'Voirie') RETURNING id) "
        "INSERT INTO contact (tenant_id, team_id, name, webhook_endpoint_id) SELECT $1, id, 'c', $2 FROM made "
        "RETURNING team_id",
        own.tenant_id,
        chat.id,
    )
    grant = await pool.fetchval(
        "INSERT INTO access_grant (tenant_id, grantee_id, asset_id, role, valid, granted_by) "
        "VALUES ($1, $2, $3, 'reader', '(,)', 'x') RETURNING id",
        other.tenant_id,
        own.tenant_id,
        other.asset_id,
    )
    accepted = "UPDATE access_grant SET grantee_id = offered_to, accepted_at = now() WHERE id = $1"
    await pool.execute(accepted, grant)
    given = {"title": "Voir", "asset_ids": [other.asset_id], "description": "Échelle"}

    async def said(change: dict[str, Any] | None = None) -> list[dict[str, Any]]:
        nonlocal order_id
        async with pool.acquire() as connection, connection.transaction():
            if change is None:
                made = await work_orders.create_work_order(connection, own.tenant_id, Actor("A"), given)
                order_id = made.id
            else:
                await work_orders.update_work_order(connection, order_id, Actor("A"), change)
        await dispatch_work_orders(pool)
        return await queued(pool)

    order_id = 0
    to_nobody = await said()
    software, people = await said({"team_id": team})
    (unchanged,) = await said({"priority": "high"})
    await pool.execute("UPDATE access_grant SET revoked_at = now(), revoked_by = 'x' WHERE id = $1", grant)
    (ended,) = await said({"priority": "low"})
    given["team_id"] = team
    assert len(await said()) == 2

    assert [one["data"]["asset"] for one in (*to_nobody, software, unchanged)] == ["Armoire voisine"] * 3
    assert (ended["data"]["asset"], ended["data"]["street"], ended["data"]["commune"]) == (None, "", "")
    text = msgspec.json.decode(render("chat", "m", msgspec.json.encode(people)).body)["text"]
    assert text.splitlines()[:4] == [
        "*À faire*",
        f"Intervention n° {people['data']['work_order']}, ouverte : Voir",
        "Échelle",
        "Armoire voisine, 3 rue de Siam, Brest",
    ]

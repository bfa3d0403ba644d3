"""Alerts that schema 41 had open are notified as they were, and what went wrong for them then is made good."""

from datetime import UTC, datetime

import msgspec
import pytest

from core.runtime.postgres import Connection, connect
from registry.schema import migrate
from tests.core.runtime.versions import migrate_up_to

AT = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
PLANT = """
WITH t AS (INSERT INTO tenant (slug, name) VALUES ('metz', 'Metz') RETURNING id),
e AS (INSERT INTO webhook_endpoint (tenant_id, url, secret_wrapped, kek_id)
      SELECT id, 'https://a.example', 'x', 'kek-1' FROM t)
INSERT INTO alert_rule (tenant_id, name, kind, severity, message)
SELECT id, 'r_' || n, 'silence', 'warning', 'm' FROM t, generate_series(1, 6) AS n
"""
ALERT = """
INSERT INTO alert (tenant_id, rule_id, severity, message, condition, opened_at, told, workflow, resolved_at)
SELECT tenant_id, id, $2::alert_severity, $1, 'firing', now(), $3, $4::alert_workflow,
       CASE WHEN $4 = 'resolved' THEN now() END
FROM alert_rule WHERE name = $1 RETURNING id
"""
NOTICE = """
INSERT INTO alert_notice (id, tenant_id, alert_id, event, severity, cadence, at, message, body)
SELECT gen_random_uuid(), tenant_id, id, $2, $3::alert_severity, 'now', now(), 'm', '{}' FROM alert WHERE id = $1
RETURNING 'msg_' || replace(id::text, '-', '')
"""
ATTEMPT = """
INSERT INTO webhook_attempt (tenant_id, endpoint_id, message_id, alert_id, attempt, at, outcome, duration_ms)
SELECT tenant_id, id, $1, $2, 1, now(), $3, 5 FROM webhook_endpoint
"""
JOB = """
INSERT INTO jobs.pgqueuer (priority, entrypoint, payload, status)
SELECT 0, 'webhook/' || id, $1, $2::text::jobs.pgqueuer_status FROM webhook_endpoint
"""


async def plant(connection: Connection, name: str, severity: str = "warning", workflow: str = "open") -> int:
    return await connection.fetchval(ALERT, name, severity, name != "r_5", workflow)


async def queue(connection: Connection, message_id: str, alert_id: int, status: str) -> None:
    endpoint = await connection.fetchval("SELECT id FROM webhook_endpoint")
    message = {"message_id": message_id, "endpoint_id": endpoint, "alert_id": alert_id, "body": b"{}"}
    await connection.execute(JOB, msgspec.msgpack.encode(message), status)


@pytest.fixture
async def upgraded(empty_database_url: str) -> Connection:
    """1 delivered; 2 waits, its rise is a dead letter; 3 rose in a silence; 4 reached nobody; 5 muted; 6 over."""
    await migrate_up_to(41, empty_database_url)
    connection = await connect(empty_database_url)
    await connection.execute(PLANT)
    one, two = await plant(connection, "r_1"), await plant(connection, "r_2", "major")
    three, four = await plant(connection, "r_3", "critical"), await plant(connection, "r_4")
    await plant(connection, "r_5")
    six = await plant(connection, "r_6", workflow="resolved")
    for alert in (one, three, six):
        await connection.execute(
            ATTEMPT, await connection.fetchval(NOTICE, alert, "alert.opened", "warning"), alert, "delivered"
        )
    await queue(connection, await connection.fetchval(NOTICE, two, "alert.opened", "warning"), two, "queued")
    await queue(connection, await connection.fetchval(NOTICE, two, "alert.raised", "major"), two, "failed")
    await connection.fetchval(NOTICE, four, "alert.opened", "warning")
    await migrate(empty_database_url)
    return connection


async def test_open_alerts_keep_who_was_notified_at_which_severity(upgraded: Connection) -> None:
    recipients = await upgraded.fetch(
        "SELECT a.message, r.sequence, r.state FROM alert_notice_recipient r JOIN alert a ON a.id = r.alert_id "
        "ORDER BY 1, 2"
    )
    alerts = await upgraded.fetch(
        "SELECT message, notified_severity::text, sequence, due_at IS NOT NULL AS is_due FROM alert ORDER BY 1"
    )
    nobody = await upgraded.fetch(
        "SELECT a.message FROM alert_notice n JOIN alert a ON a.id = n.alert_id WHERE n.nobody_since IS NOT NULL"
    )
    await upgraded.close()

    assert [tuple(row) for row in recipients] == [
        ("r_1", 1, "delivered"),
        ("r_2", 1, "queued"),
        ("r_2", 2, "abandoned"),
        ("r_3", 1, "delivered"),
    ]
    assert [tuple(row) for row in alerts] == [
        ("r_1", "warning", 1, False),
        ("r_2", "major", 2, False),
        ("r_3", "warning", 1, True),  # Its rise is notified now.
        ("r_4", "warning", 1, False),
        ("r_5", None, 0, False),
        ("r_6", "warning", 1, False),
    ]
    assert [row["message"] for row in nobody] == ["r_4"]


async def test_messages_that_wait_have_the_priority_of_their_severity_and_a_key(upgraded: Connection) -> None:
    rows = await upgraded.fetch(
        "SELECT status::text, priority, dedupe_key ~ '^msg_[0-9a-f]{32}/[0-9]+$' AS has_key "
        "FROM jobs.pgqueuer ORDER BY id"
    )
    await upgraded.close()

    assert [tuple(row) for row in rows] == [("queued", 1, True), ("failed", 2, True)]

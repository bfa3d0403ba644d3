from datetime import UTC, datetime, timedelta
from uuid import UUID

import msgspec
import pytest
from pydantic import SecretStr

from alerting.queue import WebhookMessage
from core.runtime.postgres import Pool
from ingest.maintenance.pruning import Prune, prune, prunes
from registry.outages import recorded_since
from services.maintenance.settings import MaintenanceSettings

SETTINGS = MaintenanceSettings(
    database_url=SecretStr("postgresql://x"), nats_url=SecretStr("nats://x"), kek=SecretStr("00" * 16)
)
# How a row of each table is made that is `$1` old.
ROWS = {
    "uplink_seen": "INSERT INTO observation.uplink_seen (device_id, f_cnt, digest, time, uplink_id) "
    "SELECT 1, 1, extract(epoch FROM $1::interval), now() - $1, gen_random_uuid()",
    # Transactions follow each other in time.
    "feed": "INSERT INTO observation.feed (xid, at, datastream_ids, times) "
    "SELECT (100000000 - extract(epoch FROM $1::interval)::int)::text::xid8, now() - $1, '{1}', '{now}'",
    "transmission": "INSERT INTO transmission (gateway_id, starts_at, frequency, airtime_us, priority) "
    "SELECT '', now() - $1::interval, 0, 0, 0",
    "registry_change": "INSERT INTO registry_change (changed_at, entity, entity_id) "
    "SELECT now() - $1::interval, 'device', 1",
    "webhook_attempt": "INSERT INTO webhook_attempt "
    "(tenant_id, endpoint_id, message_id, alert_id, attempt, at, outcome, duration_ms) "
    "SELECT tenant_id, id, $1::interval::text, 1, 1, now() - $1::interval, 'delivered', 1 FROM webhook_endpoint",
    "alert_notice": "INSERT INTO alert_notice "
    "(id, tenant_id, alert_id, event, severity, cadence, at, message, body) "
    "SELECT gen_random_uuid(), tenant_id, id, 'alert.opened', severity, 'now', now() - $1::interval, '', '' "
    "FROM alert WHERE workflow = 'resolved'",
    "job_log": "INSERT INTO jobs.pgqueuer_log (created, job_id, status, priority, entrypoint) "
    "SELECT now() - $1::interval, 1, 'successful', 0, 'e'",
    "job_statistics": "INSERT INTO jobs.pgqueuer_statistics (created, count, priority, status, entrypoint) "
    "SELECT now() - $1::interval, 1, 0, 'successful', 'e'",
    "idempotency_key": "INSERT INTO idempotency_key "
    "(tenant_id, principal, key_digest, request_digest, started_at) "
    "SELECT id, 'k', sha256($1::interval::text::bytea), sha256('r'), now() - $1::interval FROM tenant",
    "unknown_gateway": "INSERT INTO unknown_gateway "
    "SELECT decode(lpad(to_hex(extract(epoch FROM $1::interval)::int), 16, '0'), 'hex'), 'udp', '', now(), "
    "now() - $1::interval",
    "frame_refusal": "INSERT INTO frame_refusal (subject, reason, gateway_id, first_at, last_at) "
    "SELECT decode(lpad(to_hex(extract(epoch FROM $1::interval)::int), 8, '0'), 'hex'), '', '', now(), now() - $1",
    "gateway_address_change": "INSERT INTO gateway_address_change "
    "(gateway_id, frontend, former, address, refused, first_at, last_at) "
    "SELECT id, '', '', $1::interval::text, false, now(), now() - $1 FROM gateway",
    "gateway_hour": "INSERT INTO gateway_hour (gateway_id, hour) SELECT id, now() - $1::interval FROM gateway",
    "lns_unknown_device": "INSERT INTO lns_unknown_device "
    "(source_id, tenant_id, dev_eui, first_seen_at, last_seen_at) SELECT id, tenant_id, "
    "decode(lpad(to_hex(extract(epoch FROM $1::interval)::int), 16, '0'), 'hex'), now(), now() - $1 "
    "FROM lns_source",
    "outage": "INSERT INTO outage (what, began_at, ended_at) "
    "SELECT 'bridge', now() - $1::interval - interval '1 hour', now() - $1::interval",
    "service_replica": "INSERT INTO service_replica SELECT 's', $1::interval::text, now() - $1::interval",
    "service_release": "INSERT INTO service_release "
    "SELECT 's', $1::interval::text, '0.1.0', 1, now() - $1::interval",
    "login_failure": "INSERT INTO login_failure (account, address, failures, first_at) "
    "SELECT '', $1::interval::text, 1, now() - $1::interval",
    "rejected_login": "INSERT INTO rejected_login SELECT $1::interval::text, now() - $1::interval, 0",
    "personal_read": "WITH t AS (SELECT id FROM tenant LIMIT 1), a AS (INSERT INTO asset (tenant_id, kind, name) "
    "SELECT id, 'k', $1::interval::text FROM t RETURNING id) "
    "INSERT INTO personal_read SELECT id, 'r', current_date, now() - $1::interval FROM a",
    "person_session": "WITH p AS (INSERT INTO person (email, name) SELECT $1::interval::text || '@', '' "
    "RETURNING id) INSERT INTO person_session (token_sha256, person_id, tenant_id, address, expires_at) "
    "SELECT sha256($1::interval::text::bytea), p.id, t.id, '', now() - $1::interval FROM p, tenant t",
    "password_reset": "WITH p AS (INSERT INTO person (email, name) SELECT $1::interval::text || '@', '' "
    "RETURNING id) INSERT INTO password_reset SELECT sha256($1::interval::text::bytea), p.id, "
    "now() - $1::interval FROM p",
    "import_job": "INSERT INTO import_job (tenant_id, kind, format, coordinates, dry_run, requested_by, ended_at) "
    "SELECT id, 'cabinets', 'csv', 'wgs84', false, 'x', now() - $1::interval FROM tenant",
    "import_part": "WITH j AS (INSERT INTO import_job (tenant_id, kind, format, coordinates, dry_run, "
    "requested_by, ended_at) SELECT id, 'cabinets', 'csv', 'wgs84', true, 'x', now() - $1::interval FROM tenant "
    "RETURNING id, tenant_id) INSERT INTO import_part SELECT id, tenant_id, 1, 1, '', 'k' FROM j",
    "photo_upload": "WITH a AS (INSERT INTO asset (tenant_id, kind, name) "
    "SELECT id, 'k', 'upload ' || $1::interval FROM tenant LIMIT 1 RETURNING id, tenant_id) "
    "INSERT INTO photo_upload (tenant_id, asset_id, octets, requested_by, created_at) "
    "SELECT tenant_id, id, 4, 'x', now() - $1::interval FROM a",
    "measurement_batch": "WITH w AS (INSERT INTO measurement_webhook (tenant_id, endpoint_id, person_id, epoch, "
    "xid, number, place) SELECT tenant_id, id, 1, 'e', 1, 0, 0 FROM webhook_endpoint RETURNING id, tenant_id) "
    "INSERT INTO measurement_batch SELECT id, tenant_id, 1, 'm', now() - $1::interval, 1, now(), now() FROM w",
    "export_drop": "WITH s AS (INSERT INTO export_schedule (tenant_id, name, format, frequency, covers, "
    "file_name, target, requested_by, next_at) SELECT id, $1::interval::text, 'csv', 'day', 'previous', 'f', "
    "'folder', 'x', now() FROM tenant RETURNING id, tenant_id) "
    "INSERT INTO export_drop (schedule_id, tenant_id, since, until, file_name, state, ended_at) "
    "SELECT id, tenant_id, now() - interval '1 day', now(), 'f', 'done', now() - $1::interval FROM s",
    "export_job": "INSERT INTO export_job (tenant_id, format, since, until, requested_by, streams, ended_at) "
    "SELECT id, 'csv', now() - interval '1 day', now(), 'x', 1, now() - $1::interval FROM tenant",
    "export_part": "WITH j AS (INSERT INTO export_job (tenant_id, format, since, until, requested_by, streams, "
    "ended_at) SELECT id, 'csv', now() - interval '1 day', now(), 'x', 1, now() - $1::interval FROM tenant "
    "RETURNING id, tenant_id) INSERT INTO export_part SELECT id, tenant_id, 0, 1, 'x' FROM j",
    "invitation": "INSERT INTO invitation (tenant_id, token_sha256, email, name, role, invited_by, expires_at) "
    "SELECT id, sha256($1::interval::text::bytea), '', '', '', '', now() - $1::interval FROM tenant",
    "quarantine": "INSERT INTO observation.quarantine (at, service, subject, sequence, reason, data) "
    "SELECT now() - $1::interval, 's', $1::interval::text, 1, '', ''",
    "application_event": "INSERT INTO observation.application_event "
    "(application_id, device_id, kind, time, queued_at) VALUES (1, 1, 'join', now(), now() - $1::interval)",
    "session": "INSERT INTO session "
    "(device_id, dev_addr, nwk_s_key_wrapped, app_s_key_wrapped, kek_id, closed_at) "
    "SELECT id, '\\x00000001', '', '', 'k', now() - $1::interval FROM device LIMIT 1",
}
ALERT = """
WITH rule AS (
    INSERT INTO alert_rule (tenant_id, name, kind, severity, message)
    SELECT id, $1, 'silence', 'major', 'm' FROM tenant RETURNING id, tenant_id
)
INSERT INTO alert (tenant_id, rule_id, severity, message, condition, opened_at, workflow, resolved_at)
SELECT tenant_id, id, 'major', '', 'ok', now(), $1::text::alert_workflow,
       CASE WHEN $1 = 'resolved' THEN now() END FROM rule RETURNING id
"""
TABLES = {
    "feed": "observation.feed",
    "quarantine": "observation.quarantine",
    "uplink_seen": "observation.uplink_seen",
} | {
    "job_log": "jobs.pgqueuer_log",
    "job_statistics": "jobs.pgqueuer_statistics",
    "application_event": "observation.application_event",
}


@pytest.mark.parametrize("what", prunes(SETTINGS), ids=lambda what: what.table)
async def test_old_rows_go_and_others_stay(pool: Pool, measuring, what: Prune) -> None:
    await measuring.datastreams("temperature")
    await pool.execute("INSERT INTO observation.forgotten VALUES ('uplink', 0, now())")
    await pool.execute(
        "INSERT INTO webhook_endpoint (tenant_id, url, secret_wrapped, kek_id) "
        "SELECT id, 'https://a.example', '', 'k' FROM tenant"
    )
    await pool.execute(
        "INSERT INTO lns_source (tenant_id, kind, transport, name, token_sha256) "
        "SELECT id, 'generic', 'http', 's', sha256('x') FROM tenant"
    )
    await pool.execute(
        "INSERT INTO gateway (tenant_id, gateway_id, name) SELECT id, '\\x0102030405060708', 'g' FROM tenant"
    )
    await pool.execute(ALERT, "resolved")
    table = TABLES.get(what.table, what.table)
    await pool.execute(f"DELETE FROM {table}")
    for minutes in (-1, 1, 2, 3):
        await pool.execute(ROWS[what.table], what.keep + timedelta(minutes=minutes))

    deleted = await prune(pool, what, most_at_once=2)

    assert deleted == 3
    assert await pool.fetchval(f"SELECT count(*) FROM {table}") == 1


async def test_since_when_outages_are_known_is_known_for_ever(pool: Pool) -> None:
    [what] = [one for one in prunes(SETTINGS) if one.table == "outage"]
    await pool.execute(
        "UPDATE outage SET began_at = began_at - $1::interval, ended_at = ended_at - $1::interval", 2 * what.keep
    )
    known_since = await recorded_since(pool)
    await pool.execute(
        "INSERT INTO outage (what, began_at) SELECT 'bridge', now() - $1::interval", 2 * what.keep
    )  # It lasts.

    assert await prune(pool, what) == 0
    assert await recorded_since(pool) == known_since


async def test_a_closed_session_stays_while_uplinks_may_name_it(pool: Pool, measuring) -> None:
    await measuring.datastreams("temperature")
    for days in (100, 500):
        await pool.execute(ROWS["session"], timedelta(days=days))
    [what] = [one for one in prunes(SETTINGS) if one.table == "session"]

    kept_for_ever = await prune(pool, what)
    await pool.execute("INSERT INTO observation.forgotten VALUES ('uplink', 0, now() - interval '400 days')")

    assert kept_for_ever == 0
    assert await prune(pool, what) == 1


async def test_only_the_latest_rejections_of_unknown_devices_and_changed_addresses_stay(
    pool: Pool, measuring
) -> None:
    await measuring.datastreams("temperature")
    gateway_id = await pool.fetchval(
        "INSERT INTO gateway (tenant_id, gateway_id, name) SELECT id, '\\x0102030405060708', 'g' FROM tenant "
        "RETURNING id"
    )
    await pool.execute(
        "INSERT INTO frame_refusal (subject, reason, gateway_id, first_at, last_at) "
        "SELECT decode(lpad(to_hex(n), 8, '0'), 'hex'), '', '', now(), now() - n * interval '1 s' "
        "FROM generate_series(1, 100002) n"
    )
    await pool.execute(
        "INSERT INTO gateway_address_change (gateway_id, frontend, former, address, refused, first_at, last_at) "
        "SELECT $1, '', '', n::text, true, now(), now() - n * interval '1 s' FROM generate_series(1, 103) n",
        gateway_id,
    )
    by_table = {one.table: one for one in prunes(SETTINGS)}

    assert await prune(pool, by_table["frame_refusal"]) == 2
    assert await prune(pool, by_table["gateway_address_change"]) == 3
    assert await pool.fetchval("SELECT max(address::int) FROM gateway_address_change") == 100


async def test_notifications_of_an_alert_stay_while_anything_of_it_is_pending(pool: Pool, measuring) -> None:
    """An alert that is open or to be reopened; a notification that waits for the digest, or is being sent."""
    await measuring.datastreams("temperature")
    over, open_ = await pool.fetchval(ALERT, "resolved"), await pool.fetchval(ALERT, "open")
    [what] = [one for one in prunes(SETTINGS) if one.table == "alert_notice"]
    now = datetime.now(UTC)
    old = now - what.keep - timedelta(days=1)

    async def insert_notification(
        alert: int, held_until: datetime | None = None, digested_at: datetime | None = None
    ) -> UUID:
        return await pool.fetchval(
            "INSERT INTO alert_notice (id, tenant_id, alert_id, event, severity, cadence, at, message, body, "
            "held_until, digested_at) SELECT gen_random_uuid(), tenant_id, id, 'alert.opened', severity, 'now', "
            "$2, '', '', $3, $4 FROM alert WHERE id = $1 RETURNING id",
            alert, old, held_until, digested_at,
        )  # fmt: skip

    done, digested = await insert_notification(over), await insert_notification(over, old, old)
    stays = {
        await insert_notification(open_),
        await insert_notification(over, old),
        sent := await insert_notification(over),
    }
    await queued(pool, f"msg_{sent.hex}")
    await pool.execute("UPDATE alert SET reopen_at = $2, due_at = $2 WHERE id = $1", over, now)
    none = await prune(pool, what)
    await pool.execute("UPDATE alert SET reopen_at = NULL, due_at = NULL")

    assert none == 0
    assert await prune(pool, what) == 2
    assert {row["id"] for row in await pool.fetch("SELECT id FROM alert_notice")} == stays
    assert {done, digested}.isdisjoint(stays)


async def test_attempts_at_a_message_stay_as_long_as_it_waits_or_may_be_sent_again(pool: Pool, measuring) -> None:
    await measuring.datastreams("temperature")
    endpoint = await pool.fetchval(
        "INSERT INTO webhook_endpoint (tenant_id, url, secret_wrapped, kek_id) "
        "SELECT id, 'https://a.example', '', 'k' FROM tenant RETURNING id"
    )
    [what] = [one for one in prunes(SETTINGS) if one.table == "webhook_attempt"]
    messages = [f"msg_{number:032x}" for number in range(4)]
    for message in messages:
        await pool.execute(
            "INSERT INTO webhook_attempt (tenant_id, endpoint_id, message_id, alert_id, attempt, at, outcome, "
            "duration_ms) SELECT tenant_id, id, $2, 1, 1, $3, 'failed', 1 FROM webhook_endpoint WHERE id = $1",
            endpoint, message, datetime.now(UTC) - what.keep - timedelta(days=1),
        )  # fmt: skip
    for message, status in zip(messages, ("queued", "picked", "failed"), strict=False):
        await queued(pool, message, status)
    deleted = await prune(pool, what)
    left = await pool.fetch("SELECT message_id FROM webhook_attempt ORDER BY message_id")

    assert deleted == 1
    assert [row["message_id"] for row in left] == messages[:3]


async def queued(pool: Pool, message_id: str, status: str = "queued") -> bool:
    message = WebhookMessage(message_id, 1, 1, b"{}")
    return await pool.fetchval(
        "INSERT INTO jobs.pgqueuer (priority, status, entrypoint, payload) "
        "VALUES (0, $1::text::jobs.pgqueuer_status, 'webhook/1', $2) RETURNING true",
        status, msgspec.msgpack.encode(message),
    )  # fmt: skip

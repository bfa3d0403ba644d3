"""Deletes rows of small tables by age, in small transactions."""

from dataclasses import dataclass
from datetime import timedelta

from core.runtime.postgres import Pool
from ingest.exports.store import KEPT_FOR
from ingest.maintenance.leader import leading
from ingest.maintenance.settings import RetentionSettings
from ingest.maintenance.telemetry import PRUNED_ROWS
from registry.outages import FORGET_OLD_OUTAGES

MOST_AT_ONCE = 50_000


def _older(table: str, instant: str) -> str:
    """The statement for a table of which any old row may go; by ctid, since none of them is a hypertable."""
    return f"""
DELETE FROM {table} WHERE ctid = ANY(ARRAY(
    SELECT ctid FROM {table} WHERE {instant} < now() - $1::interval LIMIT $2))
"""


# In each, $1 is how long rows are kept, and $2 how many may go at once.
UPLINK_SEEN = _older("observation.uplink_seen", "time")
TRANSMISSION = _older("transmission", "starts_at")
REGISTRY_CHANGE = _older("registry_change", "changed_at")
# Ids of the messages that wait, are on their way or may be sent again (alerting.queue.WebhookMessage as msgpack).
QUEUED = """
SELECT substring(encode(substring(payload FOR 100), 'escape') FROM 'msg_[0-9a-f]{32}') AS message_id
FROM jobs.pgqueuer WHERE starts_with(entrypoint, 'webhook/')
"""
# The attempts of a message say where in its schedule it is, and show people what went wrong.
WEBHOOK_ATTEMPT = f"""
WITH queued AS MATERIALIZED ({QUEUED})
DELETE FROM webhook_attempt WHERE ctid = ANY(ARRAY(
    SELECT ctid FROM webhook_attempt
    WHERE at < now() - $1::interval
      AND message_id NOT IN (SELECT message_id FROM queued WHERE message_id IS NOT NULL)
    LIMIT $2))
"""
# Of alerts that have ended and of which nothing is pending: no digest, escalation, reopening or delivery.
ALERT_NOTICE = f"""
WITH queued AS MATERIALIZED ({QUEUED})
DELETE FROM alert_notice WHERE id = ANY(ARRAY(
    SELECT n.id FROM alert_notice n JOIN alert a ON a.id = n.alert_id
    WHERE n.at < now() - $1::interval AND (n.held_until IS NULL OR n.digested_at IS NOT NULL)
      AND n.nobody_since IS NULL
      AND a.workflow IN ('resolved', 'closed') AND a.due_at IS NULL
      AND 'msg_' || replace(n.id::text, '-', '')
          NOT IN (SELECT message_id FROM queued WHERE message_id IS NOT NULL)
    LIMIT $2))
"""
# The oldest ones, by the order of their key; how far it went is kept, so that a reader behind it is told.
FEED = """
WITH old AS MATERIALIZED (
    SELECT xid, number FROM (SELECT xid, number, at FROM observation.feed ORDER BY xid, number LIMIT $2) f
    WHERE at < now() - $1::interval
), last AS (SELECT xid, number FROM old ORDER BY xid DESC, number DESC LIMIT 1), told AS (
    UPDATE observation.feed_state s SET forgotten_xid = last.xid, forgotten_number = last.number FROM last
    WHERE (s.forgotten_xid, s.forgotten_number) < (last.xid, last.number)
)
DELETE FROM observation.feed f USING old WHERE f.xid = old.xid AND f.number = old.number
"""
JOB_LOG = _older("jobs.pgqueuer_log", "created")
# What pgqueuer adds up of that log; nobody reads it.
JOB_STATISTICS = _older("jobs.pgqueuer_statistics", "created")
IDEMPOTENCY_KEY = _older("idempotency_key", "started_at")
UNKNOWN_GATEWAY = _older("unknown_gateway", "last_seen_at")
# Anybody can send frames of devices that do not exist: the latest hundred thousand rows stay at most.
FRAME_REFUSAL = """
DELETE FROM frame_refusal WHERE ctid = ANY(ARRAY(
    SELECT ctid FROM (SELECT ctid, last_at, row_number() OVER (ORDER BY last_at DESC) AS place
                      FROM frame_refusal) r
    WHERE last_at < now() - $1::interval OR place > 100000 LIMIT $2))
"""
# Anybody can send in a gateway's name: the latest hundred of each stay at most.
GATEWAY_ADDRESS_CHANGE = """
DELETE FROM gateway_address_change WHERE id = ANY(ARRAY(
    SELECT id FROM (SELECT id, last_at, row_number() OVER (PARTITION BY gateway_id ORDER BY last_at DESC) AS place
                    FROM gateway_address_change) c
    WHERE last_at < now() - $1::interval OR place > 100 LIMIT $2))
"""
GATEWAY_HOUR = """
DELETE FROM gateway_hour WHERE (gateway_id, hour) IN (
    SELECT gateway_id, hour FROM gateway_hour WHERE hour < now() - $1::interval LIMIT $2)
"""
# Rows that anybody with a source's token can cause, by inventing devices.
LNS_UNKNOWN_DEVICE = _older("lns_unknown_device", "last_seen_at")
# Events that could not be delivered to an application, and those of applications that are gone.
APPLICATION_EVENT = _older("observation.application_event", "queued_at")
SERVICE_REPLICA = _older("service_replica", "seen_at")
SERVICE_RELEASE = _older("service_release", "seen_at")
LOGIN_FAILURE = _older("login_failure", "first_at")
REJECTED_LOGIN = _older("rejected_login", "minute")
PERSONAL_READ = _older("personal_read", "at")
PERSON_SESSION = _older("person_session", "expires_at")
PASSWORD_RESET = _older("password_reset", "expires_at")
INVITATION = _older("invitation", "expires_at")
# With what they refused. One that nobody has started, too.
IMPORT_JOB = _older("import_job", "coalesce(ended_at, CASE state WHEN 'receiving' THEN created_at END)")
# The file of a trial that nobody has confirmed.
IMPORT_PART = """
DELETE FROM import_part WHERE ctid = ANY(ARRAY(
    SELECT p.ctid FROM import_part p JOIN import_job j ON j.id = p.job_id
    WHERE coalesce(j.ended_at, CASE j.state WHEN 'receiving' THEN j.created_at END) < now() - $1::interval
    LIMIT $2))
"""
PHOTO_UPLOAD = _older("photo_upload", "created_at")
MEASUREMENT_BATCH = _older("measurement_batch", "made_at")
EXPORT_DROP = _older("export_drop", "ended_at")
EXPORT_JOB = _older("export_job", "ended_at")
# The file of an export.
EXPORT_PART = """
DELETE FROM export_part WHERE ctid = ANY(ARRAY(
    SELECT p.ctid FROM export_part p JOIN export_job j ON j.id = p.job_id
    WHERE j.ended_at < now() - $1::interval LIMIT $2))
"""
QUARANTINE = _older("observation.quarantine", "at")
# A closed session is named by the uplinks that it carried: it goes when those are gone, if ever.
SESSION = """
DELETE FROM session WHERE id = ANY(ARRAY(
    SELECT id FROM session
    WHERE closed_at < now() - $1::interval
      AND closed_at < (SELECT before FROM observation.forgotten WHERE hypertable = 'uplink' AND id = 0)
    LIMIT $2))
"""


@dataclass(frozen=True, slots=True)
class Prune:
    """A table, the statement that deletes its old rows, and how old they get."""

    table: str
    statement: str
    keep: timedelta


def prunes(settings: RetentionSettings) -> tuple[Prune, ...]:
    """Every table that is pruned by age.

    DevNonces stay: each may be used once in a device's life. Alerts, downlinks, commands, audit are records.
    """
    days = timedelta(days=1)
    return (
        Prune("uplink_seen", UPLINK_SEEN, 8 * days),
        Prune("transmission", TRANSMISSION, 7 * days),  # The ledger of an hour, and what a console shows.
        Prune("registry_change", REGISTRY_CHANGE, 1 * days),
        Prune("webhook_attempt", WEBHOOK_ATTEMPT, settings.keep_webhook_attempts_days * days),
        Prune("measurement_batch", MEASUREMENT_BATCH, settings.keep_webhook_attempts_days * days),
        Prune("alert_notice", ALERT_NOTICE, settings.keep_alert_notices_days * days),
        Prune("feed", FEED, 7 * days),
        Prune("job_log", JOB_LOG, 7 * days),
        Prune("job_statistics", JOB_STATISTICS, 7 * days),
        Prune("idempotency_key", IDEMPOTENCY_KEY, 1 * days),
        Prune("unknown_gateway", UNKNOWN_GATEWAY, 30 * days),
        Prune("frame_refusal", FRAME_REFUSAL, 30 * days),
        Prune("gateway_address_change", GATEWAY_ADDRESS_CHANGE, 90 * days),
        Prune("gateway_hour", GATEWAY_HOUR, 90 * days),
        Prune("outage", FORGET_OLD_OUTAGES, 90 * days),  # A backtest looks back on thirty.
        Prune("lns_unknown_device", LNS_UNKNOWN_DEVICE, 30 * days),
        Prune("application_event", APPLICATION_EVENT, 7 * days),
        Prune("service_replica", SERVICE_REPLICA, 1 * days),
        Prune("service_release", SERVICE_RELEASE, 1 * days),
        Prune("login_failure", LOGIN_FAILURE, 1 * days),
        Prune("rejected_login", REJECTED_LOGIN, 1 * days),
        Prune("personal_read", PERSONAL_READ, 2 * days),
        Prune("person_session", PERSON_SESSION, 1 * days),
        Prune("password_reset", PASSWORD_RESET, 30 * days),
        Prune("invitation", INVITATION, 90 * days),
        Prune("import_job", IMPORT_JOB, 30 * days),
        Prune("import_part", IMPORT_PART, 1 * days),
        Prune("photo_upload", PHOTO_UPLOAD, 1 * days),
        Prune("export_drop", EXPORT_DROP, 400 * days),
        Prune("export_job", EXPORT_JOB, 30 * days),
        Prune("export_part", EXPORT_PART, KEPT_FOR),
        Prune("quarantine", QUARANTINE, settings.keep_quarantine_days * days),
        Prune("session", SESSION, 8 * days),  # uplink_seen names sessions, too.
    )


async def prune(pool: Pool, what: Prune, *, most_at_once: int = MOST_AT_ONCE) -> int:
    """Delete the table's old rows; returns how many.

    Raises:
        NotLeader: another replica runs these jobs.
    """
    total, deleted = 0, most_at_once
    while deleted == most_at_once:
        async with leading(pool) as connection:
            status = await connection.execute(what.statement, what.keep, most_at_once)
        deleted = int(status.rsplit(" ", 1)[1])
        PRUNED_ROWS.labels(what.table).inc(deleted)
        total += deleted
    return total

"""SQL of alerts for the engine: the latest alert of a fingerprint, its lifecycle, its events, what is due."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from operator import attrgetter
from typing import Any

from alerting.engine_store import About
from alerting.rules.alert_lifecycle import AlertLifecycle, Workflow
from alerting.rules.model import Condition
from alerting.wording import Subject
from core.runtime.postgres import Connection, Pool, Record
from registry.rows import entity, fetch_all

COLUMNS = """a.id, a.tenant_id, a.rule_id, a.asset_id, a.device_id, a.datastream_id, a.gateway_id, a.team_id,
a.severity::text AS severity, a.message, a.condition::text AS condition, a.workflow::text AS workflow, a.opened_at,
a.fired_at, a.value, a.threshold, a.occurrences, a.resolved_at,
a.resolved_cause, a.notified_severity::text AS notified_severity,
a.end_pending, a.muted_by, a.muted_until, a.transitions, a.is_flapping, a.untold_transitions,
a.digest_at, a.reopen_at, a.learnt_at"""
# The asset is compared by equality where there is one: IS NOT DISTINCT FROM uses no index.
OF_FINGERPRINT = """a.device_id IS NOT DISTINCT FROM $3::int AND a.datastream_id IS NOT DISTINCT FROM $4::int
  AND a.gateway_id IS NOT DISTINCT FROM $5::int AND a.tenant_id = $6
ORDER BY a.id DESC LIMIT 1 FOR UPDATE"""
LOCK_LAST_OF_ASSET = f"SELECT {COLUMNS} FROM alert a WHERE a.rule_id = $1 AND a.asset_id = $2 AND {OF_FINGERPRINT}"
LOCK_LAST_OF_NONE = f"""
SELECT {COLUMNS} FROM alert a WHERE a.rule_id = $1 AND a.asset_id IS NULL AND $2::int IS NULL AND {OF_FINGERPRINT}
"""
LOCK = f"SELECT {COLUMNS} FROM alert a WHERE a.id = $1 FOR UPDATE"
# Alerts of these slots whose deadline has passed; rows that another transaction has locked are waited for.
LOCK_DUE = f"""
SELECT {COLUMNS} FROM alert a WHERE a.due_at <= $1 AND a.slot = ANY($2::smallint[])
ORDER BY a.due_at, a.id LIMIT $3 FOR UPDATE
"""
# A rule may be removed while its last values are evaluated.
HOLD_RULE = "SELECT true FROM alert_rule WHERE id = $1 FOR KEY SHARE"
INSERT = """
INSERT INTO alert (tenant_id, rule_id, asset_id, device_id, datastream_id, gateway_id, team_id, slot, severity,
                   message, condition, opened_at, fired_at, value, threshold, learnt_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9::alert_severity, '', 'firing', $10, $10, $11, $12, $13)
RETURNING id
"""
# A reopened alert (workflow open) has neither acknowledgement nor assignee: it is open to everybody again.
SAVE_LIFE = """
UPDATE alert SET workflow = $2::alert_workflow, resolved_at = $3, occurrences = $4,
       notified_severity = $5::alert_severity, end_pending = $6, muted_by = $7, muted_until = $8, transitions = $9,
       is_flapping = $10, untold_transitions = $11, digest_at = $12, reopen_at = $13, due_at = $14,
       updated_at = now(),
       acknowledged_at = CASE WHEN $2 = 'open' THEN NULL ELSE acknowledged_at END,
       acknowledged_by = CASE WHEN $2 = 'open' THEN NULL ELSE acknowledged_by END,
       assignee = CASE WHEN $2 = 'open' THEN NULL ELSE assignee END,
       resolved_by = CASE WHEN $2 IN ('resolved', 'closed') THEN resolved_by END,
       resolved_cause = CASE WHEN $2 IN ('resolved', 'closed') THEN resolved_cause END,
       closed_at = CASE WHEN $2 = 'closed' THEN closed_at END,
       closed_by = CASE WHEN $2 = 'closed' THEN closed_by END,
       closed_reason = CASE WHEN $2 = 'closed' THEN closed_reason END
WHERE id = $1
"""
SET_FIRING = """
UPDATE alert SET condition = 'firing', fired_at = $2, value = $3, threshold = $4, severity = $5::alert_severity,
       team_id = $6, message = $7, learnt_at = $8 WHERE id = $1
"""
SET_SEVERITY = "UPDATE alert SET severity = $2::alert_severity, value = $3, message = $4 WHERE id = $1"
SET_MESSAGE = "UPDATE alert SET message = $2 WHERE id = $1"
SET_OVER = """
UPDATE alert SET condition = CASE WHEN $2 THEN 'ok'::alert_condition ELSE condition END,
       value = coalesce($3, value),
       resolved_cause = CASE WHEN workflow IN ('resolved', 'closed') THEN resolved_cause ELSE $4 END
WHERE id = $1
"""
TOUCH = """
UPDATE alert SET condition = now_known.condition, value = coalesce(now_known.value, alert.value),
       updated_at = now()
FROM unnest($1::bigint[], $2::alert_condition[], $3::float8[]) AS now_known (id, condition, value)
WHERE alert.id = now_known.id AND (alert.workflow NOT IN ('resolved', 'closed') OR alert.reopen_at IS NOT NULL)
"""
# Of a place whose device was replaced. What the former measured is over; what the next one has measured since is
# judged anew, at once, though it may say nothing more for long.
START_OVER = """
UPDATE rule_state st
SET alert_id = NULL, rung = 0, since = greatest(st.since, n.since),
    condition = CASE WHEN st.evaluated_until < n.since THEN 'ok' ELSE st.condition END,
    recent = CASE WHEN st.evaluated_until < n.since THEN 0 ELSE st.recent END,
    memo = CASE WHEN st.evaluated_until < n.since THEN '' ELSE st.memo END,
    past = CASE WHEN st.evaluated_until < n.since THEN '' ELSE st.past END,
    due_at = CASE WHEN st.evaluated_until < n.since THEN NULL ELSE $2::timestamptz END
FROM (SELECT s.id, lower(g.during) AS since FROM datastream s
      JOIN assignment g ON g.asset_id = s.asset_id AND g.position = s.position AND g.during @> now()) n
WHERE st.alert_id = $1 AND n.id = st.datastream_id
"""
# Of an asset that was archived: taken out again, it is judged anew.
DROP_STATES = "DELETE FROM rule_state WHERE alert_id = $1"
FORGET = "UPDATE rule_state SET alert_id = NULL WHERE alert_id = $1"
ADD_EVENT = "INSERT INTO alert_event (tenant_id, alert_id, at, action, note) VALUES ($1, $2, $3, $4, $5)"
READ_SUBJECT = """
SELECT t.slug AS tenant, a.id AS asset_id, a.kind AS asset_kind, a.name AS asset, coalesce(a.street, '') AS street,
       coalesce(a.commune, '') AS commune, d.name AS device, g.name AS gateway, coalesce(s.unit, '') AS unit,
       t.department, (SELECT timezone FROM deployment) AS timezone, coalesce(s.channel, '') AS channel
FROM tenant t
LEFT JOIN asset a ON a.id = $2
LEFT JOIN datastream s ON s.id = $4
LEFT JOIN device d ON d.id = coalesce($3, s.device_id)
LEFT JOIN gateway g ON g.id = $5
WHERE t.id = $1
"""
# The last word of the relay of a cabinet's lamps, of circuits the one that says on. $2: not said before.
READ_RELAY = """
SELECT max(l.value) FROM datastream s JOIN observation.latest l ON l.datastream_id = s.id AND l.time >= $2
WHERE s.quantity = 'switch_state'
  AND (s.asset_id = $1 OR s.asset_id IN (SELECT id FROM asset WHERE parent_id = $1 AND kind = 'lighting_circuit'))
"""
# Open alerts of a rule that was switched off, or that the engine has no longer in its memory.
READ_RULE_NAME = "SELECT name FROM alert_rule WHERE id = $1"
# Alerts whose rule was switched off or watches something else by now, or whose asset was archived or went to
# another tenant; silences whose device was disabled or serves another place; what a device measured that was
# replaced: nobody would ever resolve them. And what a partner or a lighting clock has said to be over.
IS_NARROWED = """(r.kind NOT IN ('gateway', 'gateway_address', 'codec', 'clock', 'relight_failed',
                              'program_mismatch', 'export_drop', 'partner') AND (
       NOT coalesce(t.kind = ANY(r.asset_kinds), r.asset_kinds IS NULL)
       OR r.tags <> '{}' AND NOT coalesce(r.tags && t.tags, false)
       OR (a.datastream_id IS NULL AND a.device_id IS NOT NULL) <> (r.kind IN ('silence', 'loss'))
       OR s.quantity <> r.quantity))"""
# Another device serves the place of datastream {stream} than when {alert} began to fire.
IS_REPLACED = """EXISTS (
    SELECT FROM assignment g JOIN assignment f ON f.asset_id = g.asset_id AND f.position = g.position
    WHERE g.asset_id = {stream}.asset_id AND g.position = {stream}.position AND g.during @> now()
      AND lower(g.during) > {alert}.fired_at AND upper(f.during) <= lower(g.during)
      AND f.device_id <> g.device_id)"""
IS_OF_REPLACED = f"""(
    s.asset_id IS NOT NULL AND {IS_REPLACED.format(stream="s", alert="a")}
    OR r.scope = 'asset' AND a.datastream_id IS NULL AND a.device_id IS NULL
       AND EXISTS (SELECT FROM rule_state st WHERE st.alert_id = a.id)
       AND NOT EXISTS (SELECT FROM rule_state st JOIN datastream q ON q.id = st.datastream_id
                       WHERE st.alert_id = a.id AND NOT {IS_REPLACED.format(stream="q", alert="a")}))"""
FIND_ORPHANS = f"""
SELECT a.id,
       CASE WHEN r.kind = 'partner' AND a.condition = 'ok' THEN 'partner_cleared'
            WHEN r.kind = 'program_mismatch' AND a.condition = 'ok' THEN 'program_reported'
            WHEN r.kind = 'export_drop' AND a.condition = 'ok' THEN 'export_dropped'
            WHEN NOT r.enabled THEN 'rule_disabled' WHEN NOT v.enabled THEN 'device_disabled'
            WHEN t.archived_at IS NOT NULL THEN 'asset_archived'
            WHEN t.tenant_id <> a.tenant_id THEN 'asset_transferred'
            WHEN {IS_NARROWED} THEN 'rule_narrowed'
            WHEN a.device_id IS NOT NULL AND a.asset_id IS NULL THEN 'device_assigned'
            ELSE 'device_replaced' END AS cause
FROM alert a JOIN alert_rule r ON r.id = a.rule_id
LEFT JOIN datastream s ON s.id = a.datastream_id
LEFT JOIN device v ON v.id = a.device_id
LEFT JOIN asset t ON t.id = a.asset_id
WHERE a.workflow NOT IN ('resolved', 'closed') AND a.slot = ANY($1::smallint[])
  AND (r.kind IN ('partner', 'program_mismatch', 'export_drop') AND a.condition = 'ok' OR NOT r.enabled
       OR NOT v.enabled OR t.tenant_id <> a.tenant_id OR t.archived_at IS NOT NULL OR {IS_NARROWED}
       OR (a.device_id IS NOT NULL AND a.asset_id IS NOT NULL
           AND NOT EXISTS (SELECT FROM assignment g WHERE g.device_id = a.device_id AND g.asset_id = a.asset_id
                           AND g.during @> now()))
       OR (a.device_id IS NOT NULL AND a.asset_id IS NULL AND r.kind IN ('silence', 'loss')
           AND EXISTS (SELECT FROM assignment g WHERE g.device_id = a.device_id AND g.during @> now()))
       OR {IS_OF_REPLACED})
ORDER BY a.id LIMIT $2
"""
COUNT_OPEN = """
SELECT severity::text, count(*) AS n FROM alert WHERE workflow NOT IN ('resolved', 'closed') GROUP BY severity
"""
OF_NEW = attrgetter("team_id", "slot", "severity", "since", "value", "threshold", "learnt_at")
OF_LIFE = attrgetter(
    "workflow", "ended_at", "occurrences", "notified", "is_end_pending", "muted_by", "muted_until", "transitions",
    "is_flapping", "pending_changes", "digest_at", "reopen_at", "due_at",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class AlertRow:
    """An alert's row, locked until the transaction ends, with its lifecycle."""

    id: int
    tenant_id: int
    rule_id: int
    about: About
    team_id: int | None
    severity: str
    message: str
    condition: Condition
    opened_at: datetime
    fired_at: datetime
    value: float | None
    threshold: float | None
    cause: str | None  # Of its end.
    lifecycle: AlertLifecycle
    learnt_at: datetime | None = None  # Of what was learnt late.

    @property
    def is_firing(self) -> bool:
        """Whether the alert's condition is firing, or unknown after it fired."""
        return self.condition is not Condition.OK


@dataclass(frozen=True, slots=True)
class NewAlert:
    """The columns of an alert that is being opened."""

    tenant_id: int
    rule_id: int
    about: About
    team_id: int | None
    slot: int
    severity: str
    since: datetime
    value: float | None
    threshold: float | None
    learnt_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Orphan:
    """An open alert that nothing will resolve any more."""

    id: int
    cause: str


def _alert(row: Record) -> AlertRow:
    life = AlertLifecycle(
        Workflow(row["workflow"]),
        row["resolved_at"],
        row["occurrences"],
        row["notified_severity"],
        row["end_pending"],
        row["muted_by"],
        row["muted_until"],
        tuple(row["transitions"]),
        row["is_flapping"],
        row["untold_transitions"],
        row["digest_at"],
        row["reopen_at"],
    )
    return AlertRow(
        row["id"],
        row["tenant_id"],
        row["rule_id"],
        About(row["asset_id"], row["device_id"], row["datastream_id"], row["gateway_id"]),
        row["team_id"],
        row["severity"],
        row["message"],
        Condition(row["condition"]),
        row["opened_at"],
        row["fired_at"],
        row["value"],
        row["threshold"],
        row["resolved_cause"],
        life,
        row["learnt_at"],
    )


async def hold_rule(connection: Connection, rule_id: int) -> bool:
    """Whether the rule exists; if so, its row is locked against deletion until the transaction ends."""
    return await connection.fetchval(HOLD_RULE, rule_id) is True


async def lock_last(connection: Connection, tenant_id: int, rule_id: int, about: About) -> AlertRow | None:
    """The latest alert of this fingerprint (tenant, rule, object), ended or not, locked; None: there was none."""
    statement = LOCK_LAST_OF_NONE if about.asset_id is None else LOCK_LAST_OF_ASSET
    row = await connection.fetchrow(statement, rule_id, *about, tenant_id)
    return None if row is None else _alert(row)


async def lock_alert(connection: Connection, alert_id: int) -> AlertRow | None:
    """One alert, locked; None when there is none of this id."""
    row = await connection.fetchrow(LOCK, alert_id)
    return None if row is None else _alert(row)


async def lock_due(connection: Connection, now: datetime, slots: Sequence[int], most: int) -> list[AlertRow]:
    """The alerts of these slots whose deadline has passed at `now`, locked, at most `most`."""
    return [_alert(row) for row in await connection.fetch(LOCK_DUE, now, slots, most)]


async def insert_alert(connection: Connection, new: NewAlert) -> int:
    """The id of a new alert; `set_message` writes its text and `save_lifecycle` its lifecycle."""
    return await connection.fetchval(INSERT, new.tenant_id, new.rule_id, *new.about, *OF_NEW(new))


async def save_lifecycle(connection: Connection, alert_id: int, lifecycle: AlertLifecycle) -> None:
    """Write the alert's workflow, and what was notified, suppressed and counted of it."""
    await connection.execute(SAVE_LIFE, alert_id, *OF_LIFE(lifecycle))


async def set_firing(connection: Connection, alert_id: int, new: NewAlert, message: str) -> None:
    """Set the alert to firing again, with the present severity, value, threshold, team and text."""
    await connection.execute(
        SET_FIRING,
        alert_id,
        new.since,
        new.value,
        new.threshold,
        new.severity,
        new.team_id,
        message,
        new.learnt_at,
    )


async def set_severity(
    connection: Connection, alert_id: int, severity: str, value: float | None, message: str
) -> None:
    """Set a higher severity, with the value and the text that belong to it."""
    await connection.execute(SET_SEVERITY, alert_id, severity, value, message)


async def set_message(connection: Connection, alert_id: int, message: str) -> None:
    """Set the alert's text, as it is shown and notified."""
    await connection.execute(SET_MESSAGE, alert_id, message)


async def set_over(connection: Connection, alert_id: int, cause: str, value: float | None, *, is_ok: bool) -> None:
    """Record why and with which value the alert's condition ended; `is_ok` False leaves the condition as it is."""
    await connection.execute(SET_OVER, alert_id, is_ok, value, cause)


async def touch_alerts(connection: Connection, changes: Sequence[tuple[int, Condition, float | None]]) -> None:
    """Write the condition and the last value of open alerts: (id, condition, value)."""
    if changes:
        await connection.execute(TOUCH, *(list(column) for column in zip(*changes, strict=True)))


async def start_over(connection: Connection, alert_id: int, now: datetime) -> None:
    """The states of this alert are those of another device from now on."""
    await connection.execute(START_OVER, alert_id, now)


async def drop_states(connection: Connection, alert_id: int) -> None:
    """Remove the states of this alert."""
    await connection.execute(DROP_STATES, alert_id)


async def forget_alert(connection: Connection, alert_id: int) -> None:
    """Remove the alert's id from every state of a rule that refers to it."""
    await connection.execute(FORGET, alert_id)


async def add_event(
    connection: Connection, tenant_id: int, alert_id: int, at: datetime, action: str, note: str = ""
) -> None:
    """Add a line to the alert's history, with the engine as its author."""
    await connection.execute(ADD_EVENT, tenant_id, alert_id, at, action, note[:1000])


async def read_subject(connection: Connection, tenant_id: int, about: About) -> Subject:
    """The names of the alert's object (asset, device, gateway, quantity), for its text."""
    row: Any = await connection.fetchrow(READ_SUBJECT, tenant_id, *about)
    return entity(Subject, row)


async def read_relay(connection: Connection, asset_id: int, since: datetime) -> float | None:
    """What the relay of a cabinet or circuit has said since then: 1 on, 0 off; None: nothing."""
    return await connection.fetchval(READ_RELAY, asset_id, since)


async def read_rule_name(connection: Connection, rule_id: int) -> str:
    """The name of a rule, enabled or not."""
    return await connection.fetchval(READ_RULE_NAME, rule_id)


async def find_orphans(connection: Connection | Pool, slots: Sequence[int], most: int) -> list[Orphan]:
    """Open alerts of these slots whose rule was switched off, or whose silent device serves another place."""
    return await fetch_all(connection, Orphan, FIND_ORPHANS, slots, most)


async def count_open(connection: Connection | Pool) -> dict[str, int]:
    """Alerts that are not resolved, by severity."""
    return {row["severity"]: row["n"] for row in await connection.fetch(COUNT_OPEN)}

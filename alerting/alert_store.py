"""SQL of alerts for people: lists, history, and the steps of the workflow. Row security bounds every statement."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from core.runtime.postgres import Connection, Pool, Record
from registry.listing import Ask, Key, Listing, Part, rows_in_order
from registry.places import ANYWHERE, Place, distance, in_commune, values_of, within
from registry.rows import fetch_all, fetch_one

# An alert that was notified to nobody, because no address was in service, is not notified.
IS_NOTIFIED = """(a.notified_severity IS NOT NULL AND NOT EXISTS (
    SELECT FROM alert_notice n WHERE n.alert_id = a.id AND n.nobody_since IS NOT NULL))"""
COLUMNS = f"""a.id, a.tenant_id, a.rule_id, coalesce(r.name, '') AS rule, a.asset_id, a.device_id, a.datastream_id,
a.gateway_id, a.subject, a.team_id, a.severity::text AS severity, a.message, a.condition::text AS condition,
a.workflow::text AS workflow, a.opened_at, a.fired_at, a.acknowledged_at, a.acknowledged_by, a.assignee,
a.resolved_at, a.resolved_by, a.resolved_cause, a.closed_at, a.closed_by, a.closed_reason, a.reopen_at, a.value,
a.threshold, a.occurrences, {IS_NOTIFIED} AS told, a.muted_by, a.muted_until, a.is_flapping, a.created_at,
a.updated_at, a.learnt_at, s.name AS asset, coalesce(s.commune, '') AS commune, coalesce(s.street, '') AS street,
g.name AS gateway, g.gateway_id AS gateway_eui, s.kind, coalesce(s.longitude, g.longitude) AS longitude,
coalesce(s.latitude, g.latitude) AS latitude"""
OF_ALERTS = """alert a LEFT JOIN alert_rule r ON r.id = a.rule_id LEFT JOIN asset s ON s.id = a.asset_id
LEFT JOIN gateway g ON g.id = a.gateway_id"""
# How `muted_by` names the alert that explains another (`alerting.silences`).
EXPLAINED = "expliquée par l''alerte n° %s"
# Where the asset is, or else the gateway.
PLACED = "(SELECT coalesce(s.longitude, g.longitude) AS longitude, coalesce(s.latitude, g.latitude) AS latitude)"
WANTED = f"""
(:workflow::text[] IS NULL OR a.workflow::text = ANY(:workflow))
  AND (:severity::text[] IS NULL OR a.severity::text = ANY(:severity))
  AND (:asset_id::int IS NULL OR a.asset_id = :asset_id) AND (:rule_id::int IS NULL OR a.rule_id = :rule_id)
  AND (:rule::text IS NULL OR r.name = :rule) AND (:team_id::int IS NULL OR a.team_id = :team_id)
  AND (:explained_by::bigint IS NULL OR a.muted_by = format('{EXPLAINED}', :explained_by::bigint))
  AND (:gateway_eui::bytea IS NULL OR g.gateway_id = :gateway_eui)
  AND (:kind::text IS NULL OR s.kind = :kind) AND (:tag::text IS NULL OR :tag = ANY(s.tags))
  AND (:quarter::text IS NULL OR s.quarter = :quarter)
  AND (:since::timestamptz IS NULL OR a.opened_at >= :since)
  AND (:until::timestamptz IS NULL OR a.opened_at < :until)
  AND {in_commune("s")} AND {within("place")}
"""
KEYS = {
    "opened_at": Key("opened_at", "timestamptz"),
    "fired_at": Key("fired_at", "timestamptz"),
    "severity": Key("severity", "alert_severity"),
    "rule": Key("rule COLLATE french", "text"),
    "asset": Key("asset COLLATE french", "text"),
    "commune": Key("commune COLLATE french", "text"),
    "distance": Key("distance", "float8"),
}
LIST = Listing(
    f"""
SELECT a.id, a.opened_at, a.fired_at, a.severity, r.name AS rule, s.name AS asset, s.commune,
       CASE WHEN :near_radius::float8 IS NOT NULL THEN {distance("place")} END AS distance
FROM {OF_ALERTS} CROSS JOIN LATERAL {PLACED} place WHERE {WANTED}
""",
    KEYS,
)
READ_THESE = f"SELECT {COLUMNS} FROM {OF_ALERTS} WHERE a.id = ANY($1)"
READ = f"SELECT {COLUMNS} FROM {OF_ALERTS} WHERE a.id = $1"
COUNT_BY_RULE = """
SELECT rule_id, count(*) FILTER (WHERE workflow IN ('open', 'acknowledged', 'in_progress'))::int AS unended,
       count(*)::int AS known
FROM alert GROUP BY rule_id ORDER BY rule_id
"""
ACKNOWLEDGE = """
UPDATE alert SET workflow = 'acknowledged', acknowledged_at = now(), acknowledged_by = $2, updated_at = now()
WHERE id = $1 AND workflow = 'open' RETURNING tenant_id
"""
ASSIGN = """
UPDATE alert SET workflow = 'in_progress', assignee = $3, updated_at = now(),
       acknowledged_at = coalesce(acknowledged_at, now()), acknowledged_by = coalesce(acknowledged_by, $2)
WHERE id = $1 AND workflow IN ('open', 'acknowledged', 'in_progress') RETURNING tenant_id
"""
# Ended by a person while it fires (or nobody knows): the engine looks at it again at `reopen_at`, but for a change
# of address or a suspended codec, which only a person ends. Muting ends with it, unless an end is still to be
# notified; the digest of what comes and goes does not.
REOPEN_AT = """CASE WHEN a.condition <> 'ok'
          AND r.kind NOT IN ('gateway_address', 'codec', 'clock', 'relight_failed')
     THEN now() + make_interval(secs => r.reopen_after_seconds) END"""
# Those who were notified of it are notified of this end, too: by the engine, which looks at it at once.
ENDS_NOTIFIED = f"a.workflow IN ('open', 'acknowledged', 'in_progress') AND {IS_NOTIFIED}"
MUTED_UNTIL = f"CASE WHEN a.end_pending THEN a.muted_until WHEN {ENDS_NOTIFIED} THEN now() END"
END_COLUMNS = f"""
resolved_at = coalesce(a.resolved_at, now()), end_pending = a.end_pending OR {ENDS_NOTIFIED},
muted_until = {MUTED_UNTIL}, updated_at = now(),
reopen_at = {REOPEN_AT}, due_at = least(a.digest_at, {REOPEN_AT}, {MUTED_UNTIL})
"""
RESOLVE = f"""
UPDATE alert a SET workflow = 'resolved', resolved_by = $2, resolved_cause = $3, {END_COLUMNS}
FROM alert_rule r WHERE a.id = $1 AND r.id = a.rule_id AND a.workflow IN ('open', 'acknowledged', 'in_progress')
RETURNING a.tenant_id
"""
CLOSE = f"""
UPDATE alert a SET workflow = 'closed', closed_at = now(), closed_by = $2, closed_reason = $3,
       resolved_by = CASE WHEN a.resolved_at IS NULL THEN $2 ELSE a.resolved_by END,
       resolved_cause = coalesce(a.resolved_cause, $3), {END_COLUMNS}
FROM alert_rule r WHERE a.id = $1 AND r.id = a.rule_id AND a.workflow <> 'closed'
RETURNING a.tenant_id
"""
ADD_EVENT = """
INSERT INTO alert_event (tenant_id, alert_id, at, actor, action, note)
VALUES ($1, $2, clock_timestamp(), $3, $4, $5)
"""
LIST_EVENTS = """
SELECT id, alert_id, at, actor, action, note FROM alert_event WHERE alert_id = $1 ORDER BY id LIMIT 1000
"""


@dataclass(frozen=True, slots=True)
class Alert:
    """An alert as the API shows it. `condition` follows the measurements, `workflow` what people do about it."""

    id: int
    tenant_id: int
    rule_id: int
    rule: str
    asset_id: int | None
    device_id: int | None
    datastream_id: int | None
    gateway_id: int | None
    subject: str | None  # What a partner calls the thing that its alarm is about.
    team_id: int | None
    severity: str
    message: str
    condition: str
    workflow: str
    opened_at: datetime
    fired_at: datetime
    acknowledged_at: datetime | None
    acknowledged_by: str | None
    assignee: str | None
    resolved_at: datetime | None
    resolved_by: str | None
    resolved_cause: str | None
    closed_at: datetime | None
    closed_by: str | None
    closed_reason: str | None
    reopen_at: datetime | None
    value: float | None
    threshold: float | None
    occurrences: int
    told: bool
    muted_by: str | None
    muted_until: datetime | None
    is_flapping: bool
    created_at: datetime
    updated_at: datetime
    learnt_at: datetime | None
    asset: str | None  # Its name.
    commune: str
    street: str
    gateway: str | None  # Its name.
    gateway_eui: bytes | None
    kind: str | None  # Of the asset.
    longitude: float | None  # Of the asset, or else of the gateway.
    latitude: float | None


@dataclass(frozen=True, slots=True)
class WantedAlerts:
    """Which alerts a list is asked for; None: whatever they are. The period is that in which they have opened."""

    workflow: Sequence[str] | None = None
    severity: Sequence[str] | None = None
    asset_id: int | None = None
    rule_id: int | None = None
    rule: str | None = None
    team_id: int | None = None
    explained_by: int | None = None  # Muted because of this alert.
    gateway_eui: bytes | None = None
    kind: str | None = None  # Of the asset, as the next two and the commune.
    tag: str | None = None
    quarter: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    place: Place = ANYWHERE

    def values(self) -> dict[str, Any]:
        """By the names of the statement's parameters."""
        return values_of(self)


EVERY_ALERT, NEWEST_FIRST = WantedAlerts(), Ask("-id", None, 100)


@dataclass(frozen=True, slots=True)
class AlertCount:
    """How many alerts a rule has: those that nobody has declared ended, and all that are kept."""

    rule_id: int
    unended: int
    known: int


@dataclass(frozen=True, slots=True)
class AlertEvent:
    """A line of an alert's history. `actor` None: the engine."""

    id: int
    alert_id: int
    at: datetime
    actor: str | None
    action: str
    note: str


async def find_alerts(connection: Connection | Pool, ask: Ask, wanted: WantedAlerts) -> Part:
    """The ids of a page of visible alerts."""
    return await LIST.page(connection, ask, wanted.values())


async def read_in_order(connection: Connection | Pool, ids: Sequence[int]) -> list[Alert]:
    """These alerts, in this order."""
    return await rows_in_order(connection, Alert, READ_THESE, ids)


async def list_alerts(
    connection: Connection | Pool, wanted: WantedAlerts = EVERY_ALERT, ask: Ask = NEWEST_FIRST
) -> list[Alert]:
    """A page of visible alerts; without more the newest hundred."""
    return await read_in_order(connection, (await find_alerts(connection, ask, wanted)).ids)


async def count_by_rule(connection: Connection | Pool) -> list[AlertCount]:
    """How many visible alerts each rule has; a rule that has none is not in it."""
    return await fetch_all(connection, AlertCount, COUNT_BY_RULE)


async def read_alert(connection: Connection | Pool, alert_id: int) -> Alert | None:
    """One alert as it stands."""
    return await fetch_one(connection, Alert, READ, alert_id)


async def list_events(connection: Connection | Pool, alert_id: int) -> list[AlertEvent]:
    """What happened to an alert, and what people said of it, in order."""
    return await fetch_all(connection, AlertEvent, LIST_EVENTS, alert_id)


async def acknowledge(connection: Connection, alert_id: int, by: str) -> Alert | None:
    """The alert after `by` acknowledged it; one in a later state of the workflow stays as it is."""
    row = await connection.fetchrow(ACKNOWLEDGE, alert_id, by)
    return await _noted(connection, row, alert_id, by, "acknowledged", "")


async def assign(connection: Connection, alert_id: int, by: str, assignee: str) -> Alert | None:
    """The alert after `by` assigned it to `assignee`; one that has ended stays as it is."""
    row = await connection.fetchrow(ASSIGN, alert_id, by, assignee)
    return await _noted(connection, row, alert_id, by, "assigned", assignee)


async def comment(connection: Connection, alert: Alert, by: str, text: str) -> None:
    """Add a comment to the alert's history."""
    await connection.execute(ADD_EVENT, alert.tenant_id, alert.id, by, "commented", text)


async def resolve(connection: Connection, alert_id: int, by: str, cause: str) -> Alert | None:
    """The alert after `by` resolved it; while its condition fires it opens again after `reopen_after`."""
    row = await connection.fetchrow(RESOLVE, alert_id, by, cause)
    return await _noted(connection, row, alert_id, by, "resolved", cause)


async def close(connection: Connection, alert_id: int, by: str, reason: str) -> Alert | None:
    """The alert after `by` closed it; while its condition fires it opens again after the rule's `reopen_after`."""
    row = await connection.fetchrow(CLOSE, alert_id, by, reason)
    return await _noted(connection, row, alert_id, by, "closed", reason)


async def _noted(
    connection: Connection, changed: Record | None, alert_id: int, by: str, action: str, note: str
) -> Alert | None:
    if changed is not None:
        await connection.execute(ADD_EVENT, changed["tenant_id"], alert_id, by, action, note)
    return await read_alert(connection, alert_id)

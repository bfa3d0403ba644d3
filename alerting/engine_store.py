"""SQL of the engine: what it watches, its states, the alerts that it opens and resolves."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from alerting.rules import Condition, Rule, RuleState
from alerting.wording import Subject
from core.registry.rows import entity
from core.runtime.postgres import Connection, Pool, Record

READ_RULES = """
SELECT id, tenant_id, name, kind, asset_kinds[1] AS asset_kind, quantity, fire_op, fire_value, clear_op,
       clear_value, for_readings, for_seconds, clear_on_emptying, silence_intervals, severity::text AS severity,
       message, enabled
FROM alert_rule WHERE enabled ORDER BY id
"""
READ_WATCHED = """
SELECT s.id, s.tenant_id, s.asset_id, s.device_id, s.quantity, a.kind AS asset_kind, p.expected_interval
FROM datastream s
JOIN device d ON d.id = s.device_id
JOIN device_profile p ON p.id = d.device_profile_id
LEFT JOIN asset a ON a.id = s.asset_id
WHERE s.id = ANY($1::int[])
"""
STATE_COLUMNS = """st.rule_id, st.datastream_id, st.device_id, st.condition::text AS condition, st.since,
bit_count(st.recent::bit(64))::int AS readings, st.evaluated_until, st.value, st.alert_id"""
READ_STATES = f"""
SELECT {STATE_COLUMNS} FROM rule_state st
JOIN unnest($1::int[], $2::int[]) AS key (rule_id, datastream_id)
  ON st.rule_id = key.rule_id AND st.datastream_id = key.datastream_id
"""
LOCK_SILENCE_STATES = f"""
SELECT {STATE_COLUMNS} FROM rule_state st
JOIN unnest($1::int[], $2::int[]) AS key (rule_id, device_id)
  ON st.rule_id = key.rule_id AND st.device_id = key.device_id
ORDER BY st.rule_id, st.device_id FOR UPDATE OF st
"""
LOCK_STATES_OF_DEVICES = f"""
SELECT {STATE_COLUMNS} FROM rule_state st JOIN datastream s ON s.id = st.datastream_id
WHERE s.device_id = ANY($1::int[]) ORDER BY st.rule_id, st.datastream_id FOR UPDATE OF st
"""
# What was evaluated just before its asset went to another tenant is void.
SAVE_STATES = """
INSERT INTO rule_state (tenant_id, rule_id, datastream_id, device_id, condition, since, recent, evaluated_until,
                        value, alert_id)
SELECT v.tenant_id, v.rule_id, v.datastream_id, v.device_id, v.condition, v.since, (1::bigint << v.readings) - 1,
       v.evaluated_until, v.value, v.alert_id
FROM unnest($1::int[], $2::int[], $3::int[], $4::int[], $5::alert_condition[], $6::timestamptz[], $7::smallint[],
            $8::timestamptz[], $9::float8[], $10::bigint[])
     AS v (tenant_id, rule_id, datastream_id, device_id, condition, since, readings, evaluated_until, value,
           alert_id)
LEFT JOIN datastream s ON s.id = v.datastream_id
WHERE v.datastream_id IS NULL OR s.tenant_id = v.tenant_id
ON CONFLICT (rule_id, datastream_id, device_id, gateway_id) DO UPDATE
SET condition = excluded.condition, since = excluded.since, recent = excluded.recent,
    evaluated_until = excluded.evaluated_until, value = excluded.value, alert_id = excluded.alert_id
"""
OPEN_ALERT = """
INSERT INTO alert (tenant_id, rule_id, asset_id, device_id, datastream_id, severity, message, condition, opened_at,
                   value, threshold)
VALUES ($1, $2, $3, $4, $5, $6::alert_severity, '', 'firing', $7, $8, $9)
ON CONFLICT (tenant_id, rule_id, asset_id, datastream_id, device_id, gateway_id)
    WHERE workflow NOT IN ('resolved', 'closed')
DO UPDATE SET condition = 'firing', value = excluded.value, occurrences = alert.occurrences + 1, updated_at = now()
RETURNING id, xmax = 0 AS is_new
"""
SET_MESSAGE = "UPDATE alert SET message = $2 WHERE id = $1"
TOUCH_ALERTS = """
UPDATE alert SET condition = now_known.condition, value = coalesce(now_known.value, alert.value),
       occurrences = alert.occurrences + now_known.again, updated_at = now()
FROM unnest($1::bigint[], $2::alert_condition[], $3::float8[], $4::int[])
     AS now_known (id, condition, value, again)
WHERE alert.id = now_known.id AND alert.workflow NOT IN ('resolved', 'closed')
"""
RESOLVE_ALERT = """
UPDATE alert SET workflow = 'resolved', condition = CASE WHEN $5 THEN 'ok'::alert_condition ELSE condition END,
       resolved_at = $2, resolved_cause = $3, value = coalesce($4, value), updated_at = now()
WHERE id = $1 AND workflow NOT IN ('resolved', 'closed')
RETURNING id, tenant_id, rule_id, asset_id, device_id, datastream_id, severity::text AS severity, opened_at, value,
          threshold
"""
FORGET_ALERT = "UPDATE rule_state SET alert_id = NULL WHERE alert_id = $1"
READ_SUBJECT = """
SELECT t.slug AS tenant, a.id AS asset_id, a.kind AS asset_kind, a.name AS asset, coalesce(a.street, '') AS street,
       coalesce(a.commune, '') AS commune, d.name AS device, coalesce(s.unit, '') AS unit
FROM tenant t
LEFT JOIN asset a ON a.id = $2
LEFT JOIN datastream s ON s.id = $3
LEFT JOIN device d ON d.id = coalesce($4, s.device_id)
WHERE t.id = $1
"""
READ_RULE_NAME = "SELECT name FROM alert_rule WHERE id = $1"
ENABLED_ENDPOINTS = "SELECT id FROM webhook_endpoint WHERE tenant_id = $1 AND state = 'enabled' ORDER BY id"
# Alerts whose rule was switched off or whose asset went to another tenant, and silences whose device was disabled
# or no longer serves the place: nobody would ever resolve them.
FIND_ORPHANS = """
SELECT a.id, a.asset_id, coalesce(a.device_id, s.device_id) AS device_id,
       CASE WHEN NOT r.enabled THEN 'rule_disabled' WHEN NOT v.enabled THEN 'device_disabled'
            WHEN t.tenant_id <> a.tenant_id THEN 'asset_transferred' ELSE 'device_replaced' END AS cause
FROM alert a JOIN alert_rule r ON r.id = a.rule_id
LEFT JOIN datastream s ON s.id = a.datastream_id
LEFT JOIN device v ON v.id = a.device_id
LEFT JOIN asset t ON t.id = a.asset_id
WHERE a.workflow NOT IN ('resolved', 'closed')
  AND (NOT r.enabled OR NOT v.enabled OR t.tenant_id <> a.tenant_id
       OR (a.device_id IS NOT NULL AND a.asset_id IS NOT NULL
           AND NOT EXISTS (SELECT FROM assignment g WHERE g.device_id = a.device_id AND g.asset_id = a.asset_id
                           AND g.during @> now())))
ORDER BY a.id LIMIT 200
"""
COUNT_OPEN = """
SELECT severity::text, count(*) AS n FROM alert WHERE workflow NOT IN ('resolved', 'closed') GROUP BY severity
"""


@dataclass(frozen=True, slots=True)
class Watched:
    """A datastream as the engine needs it."""

    id: int
    tenant_id: int
    asset_id: int | None
    device_id: int
    quantity: str
    asset_kind: str | None
    expected_interval: timedelta


class StateKey(NamedTuple):
    """One fingerprint: a rule with a datastream, or with a device (silence)."""

    rule_id: int
    datastream_id: int | None
    device_id: int | None


class StateRow(NamedTuple):
    """Where a fingerprint stands, and its open alert."""

    tenant_id: int
    key: StateKey
    state: RuleState
    alert_id: int | None


@dataclass(frozen=True, slots=True)
class ResolvedAlert:
    """An alert that has just been resolved."""

    id: int
    tenant_id: int
    rule_id: int
    asset_id: int | None
    device_id: int | None
    datastream_id: int | None
    severity: str
    opened_at: datetime
    value: float | None
    threshold: float | None


async def read_rules(connection: Connection | Pool) -> list[Rule]:
    """Every enabled rule of every tenant."""
    return [entity(Rule, row) for row in await connection.fetch(READ_RULES)]


async def read_watched(connection: Connection | Pool, ids: Sequence[int]) -> list[Watched]:
    """Datastreams by id."""
    return [entity(Watched, row) for row in await connection.fetch(READ_WATCHED, ids)]


def _state(row: Record) -> tuple[StateKey, RuleState, int | None]:
    key = StateKey(row["rule_id"], row["datastream_id"], row["device_id"])
    state = RuleState(
        Condition(row["condition"]),
        row["since"],
        row["readings"],
        row["evaluated_until"],
        row["value"],
        alerting=row["alert_id"] is not None,
    )
    return key, state, row["alert_id"]


States = dict[StateKey, tuple[RuleState, int | None]]


async def read_states(connection: Connection | Pool, keys: Sequence[StateKey]) -> States:
    """The states of these fingerprints of datastreams; new ones are absent."""
    rows = await connection.fetch(READ_STATES, [key.rule_id for key in keys], [key.datastream_id for key in keys])
    return {key: (state, alert_id) for key, state, alert_id in map(_state, rows)}


async def lock_silence_states(connection: Connection, keys: Sequence[StateKey]) -> States:
    """The states of these fingerprints of devices, locked; new ones are absent."""
    if not keys:
        return {}
    rows = await connection.fetch(
        LOCK_SILENCE_STATES, [key.rule_id for key in keys], [key.device_id for key in keys]
    )
    return {key: (state, alert_id) for key, state, alert_id in map(_state, rows)}


async def lock_states_of_devices(connection: Connection, device_ids: Sequence[int]) -> States:
    """The states of every datastream that these devices serve now."""
    rows = await connection.fetch(LOCK_STATES_OF_DEVICES, device_ids)
    return {key: (state, alert_id) for key, state, alert_id in map(_state, rows)}


async def save_states(connection: Connection, rows: Sequence[StateRow]) -> None:
    """Write each fingerprint's state; one row per fingerprint."""
    await connection.execute(
        SAVE_STATES,
        [row.tenant_id for row in rows],
        [row.key.rule_id for row in rows],
        [row.key.datastream_id for row in rows],
        [row.key.device_id for row in rows],
        [row.state.condition for row in rows],
        [row.state.since for row in rows],
        [row.state.readings for row in rows],
        [row.state.evaluated_until for row in rows],
        [row.state.value for row in rows],
        [row.alert_id for row in rows],
    )


async def touch_alerts(
    connection: Connection, changes: Sequence[tuple[int, Condition, float | None, int]]
) -> None:
    """Open alerts follow what they are about: (id, condition, value, how many times it fired again)."""
    if changes:
        await connection.execute(
            TOUCH_ALERTS,
            [change[0] for change in changes],
            [change[1] for change in changes],
            [change[2] for change in changes],
            [change[3] for change in changes],
        )


async def open_alert(
    connection: Connection, rule: Rule, watched: tuple[int | None, int | None, int | None], since: datetime,
    value: float | None,
) -> tuple[int, bool]:  # fmt: skip
    """The open alert about (asset, device, datastream), and whether it is a new one."""
    asset_id, device_id, datastream_id = watched
    row: Any = await connection.fetchrow(
        OPEN_ALERT, rule.tenant_id, rule.id, asset_id, device_id, datastream_id, rule.severity, since, value,
        rule.fire_value,
    )  # fmt: skip
    return row["id"], row["is_new"]


async def set_message(connection: Connection, alert_id: int, message: str) -> None:
    """The text that people read."""
    await connection.execute(SET_MESSAGE, alert_id, message)


async def resolve_alert(
    connection: Connection, alert_id: int, at: datetime, cause: str, value: float | None, *, is_ok: bool = True
) -> ResolvedAlert | None:
    """Resolve an alert that is open still; `is_ok` False leaves the condition as it was last known."""
    row = await connection.fetchrow(RESOLVE_ALERT, alert_id, at, cause, value, is_ok)
    return None if row is None else entity(ResolvedAlert, row)


async def forget_alert(connection: Connection, alert_id: int) -> None:
    """No state points at this alert any more."""
    await connection.execute(FORGET_ALERT, alert_id)


async def read_subject(
    connection: Connection, tenant_id: int, watched: tuple[int | None, int | None, int | None]
) -> Subject:
    """The names of (asset, device, datastream)."""
    asset_id, device_id, datastream_id = watched
    row: Any = await connection.fetchrow(READ_SUBJECT, tenant_id, asset_id, datastream_id, device_id)
    return entity(Subject, row)


async def read_rule_name(connection: Connection, rule_id: int) -> str:
    """The name of a rule, enabled or not."""
    return await connection.fetchval(READ_RULE_NAME, rule_id)


async def enabled_endpoints(connection: Connection, tenant_id: int) -> list[int]:
    """Where this tenant's messages go."""
    return [row["id"] for row in await connection.fetch(ENABLED_ENDPOINTS, tenant_id)]


@dataclass(frozen=True, slots=True)
class Orphan:
    """An open alert that nothing will resolve any more."""

    id: int
    asset_id: int | None
    device_id: int | None
    cause: str


async def find_orphans(connection: Connection | Pool) -> list[Orphan]:
    """Open alerts whose rule was switched off, or whose silent device was disabled or serves another place."""
    return [entity(Orphan, row) for row in await connection.fetch(FIND_ORPHANS)]


async def count_open(connection: Connection | Pool) -> dict[str, int]:
    """Alerts that are not resolved, by severity."""
    return {row["severity"]: row["n"] for row in await connection.fetch(COUNT_OPEN)}

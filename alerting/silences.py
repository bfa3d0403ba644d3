"""Why an alert is not notified now: silences, maintenance, an ordered switch-off, a cause that is known.

A gateway that is down explains missing data of the devices that it alone receives. A cabinet without power
explains alerts of what it feeds; a sensor without data explains missing data only, because what still measures
speaks for itself.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeVar

from alerting.engine_store import About
from alerting.rules.alert_lifecycle import Suppression
from alerting.rules.faults import EXPLAINED_BY, FAULT_SQL, Fault, dimmed_to_at_most, fault_of
from alerting.rules.model import Rule
from core.model.unknown_time import UNKNOWN_AFTER_INTERVALS
from core.runtime.postgres import Connection, Pool
from registry.rows import Written, columns_of, fetch_all, fetch_one

# A cause that lasts is evaluated again after this time.
LOOK_AGAIN = timedelta(minutes=5)
# A gateway's status comes every half minute; one that missed four explains a device that has just fallen silent.
GATEWAY_LATE = timedelta(minutes=2)
# The gateways that explain a device's missing data are those that received it within this time.
HEARD_WITHIN = timedelta(days=3)
# Missing data waits for the next uplink of what feeds the device, if that sends at least this often.
SPEAKS_WITHIN = timedelta(hours=2)
# After the cause has ended, a device has 1.5 periods to be received, and a value 15 minutes to be measured.
COME_BACK = 1.5
MEASURED_WITHIN = timedelta(minutes=15)
# A clock ends an override after so long at the latest, and a program has switched by then.
LONGEST_DIM = timedelta(hours=12)
# How its history begins to say that an alert was muted since no gateway could hear the device: this alone tells.
GATEWAY = "passerelle"
# What somebody does at the cabinet explains less light; that a street is dark is said all the same.
BY_HAND = (Fault.FEWER_LAMPS, Fault.LOST_PHASE, Fault.LOST_CURRENT)

# $1 tenant, $2 rule, $3 asset, $4 at, $5 whether an ordered switch-off explains it, $6 when to look again, $7
# since when it fires, $8 how long a cause that has ended still explains it, $9 whether it may be a lack of power,
# $10 whether it is a silence, $11 whether it is critical, $12 how often a thing speaks for which a silence waits,
# $13 which faults of the same lamps explain it, $14 up to which level an order to dim does, $15 since when such an
# order holds, $16 whether somebody's hand at the cabinet does.
FIND_MUTE = f"""
WITH RECURSIVE above (id, parent_id, depth) AS (
    SELECT a.id, a.parent_id, 0 FROM asset a WHERE a.id = $3 AND a.tenant_id = $1
    UNION ALL
    SELECT a.id, a.parent_id, above.depth + 1 FROM asset a JOIN above ON a.id = above.parent_id
    WHERE a.tenant_id = $1 AND above.depth < 8
), thing AS (SELECT kind, tags, commune FROM asset WHERE id = $3)
SELECT by, until, rank >= 3 AS is_cause FROM (
    SELECT 1 AS rank, format('silence n° %s : %s', s.id, s.reason) AS by, s.ends_at AS until
    FROM silence s LEFT JOIN thing ON true
    WHERE s.tenant_id = $1 AND s.starts_at <= $4 AND s.ends_at > $4
      AND (s.rule_id IS NULL OR s.rule_id = $2)
      AND (s.asset_id IS NULL OR s.asset_id IN (SELECT id FROM above))
      AND (s.asset_kind IS NULL OR s.asset_kind = thing.kind)
      AND (s.tag IS NULL OR s.tag = ANY(thing.tags))
      AND (s.commune IS NULL OR s.commune = thing.commune)
    UNION ALL
    SELECT 2, format('maintenance n° %s : %s', w.id, w.reason), w.ends_at
    FROM maintenance_window w JOIN above ON above.id = w.asset_id
    WHERE w.tenant_id = $1 AND w.starts_at <= $4 AND w.ends_at > $4
    UNION ALL
    SELECT 3, format('extinction n° %s demandée par %s', c.id, c.requested_by), c.off_until
    FROM lighting_command c
    WHERE $5 AND (c.asset_id IN (SELECT id FROM above)
                  OR c.asset_id IN (SELECT id FROM asset WHERE parent_id = $3 AND kind = 'lighting_circuit'))
      AND c.action = 'off' AND c.state IN ('sent', 'acknowledged', 'applied', 'confirmed', 'unproven')
      AND c.off_until > $4
    UNION ALL
    SELECT 3, format('gradation n° %s demandée par %s', c.id, c.requested_by),
           coalesce(c.off_until, $4 + $6::interval)
    FROM lighting_command c
    WHERE $14::float8 > 0 AND (c.asset_id IN (SELECT id FROM above)
                       OR c.asset_id IN (SELECT id FROM asset WHERE parent_id = $3 AND kind = 'lighting_circuit'))
      AND c.action = 'dim' AND c.level <= $14 AND c.created_at > $15 AND (c.off_until IS NULL OR c.off_until > $4)
      AND c.state IN ('sent', 'acknowledged', 'applied', 'confirmed', 'unproven')
      AND NOT EXISTS (SELECT FROM lighting_command n WHERE n.asset_id = c.asset_id AND n.id > c.id
                      AND n.state IN ('sent', 'acknowledged', 'applied', 'confirmed', 'unproven'))
    UNION ALL
    SELECT 3, 'forçage sur place', $4 + $6::interval
    FROM datastream s JOIN observation.latest l ON l.datastream_id = s.id
    WHERE $16::boolean AND s.quantity = 'local_override' AND l.value = 1 AND s.asset_id IN (SELECT id FROM above)
    UNION ALL
    SELECT 4, format('expliquée par l''alerte n° %s', p.id),
           coalesce(p.resolved_at + $8::interval, $4 + $6::interval)
    FROM alert p JOIN alert_rule r ON r.id = p.rule_id AND {FAULT_SQL} = ANY($13::text[])
    WHERE p.tenant_id = $1
      AND (p.asset_id IN (SELECT id FROM above)
           OR p.asset_id IN (SELECT id FROM asset WHERE parent_id = $3 AND kind = 'lighting_circuit'))
      AND (p.workflow NOT IN ('resolved', 'closed')
           OR (p.resolved_at > $7 AND p.resolved_at + $8::interval > $4 AND p.resolved_by IS NULL))
    UNION ALL
    SELECT 4, format('expliquée par l''alerte n° %s', p.id),
           coalesce(p.resolved_at + $8::interval, $4 + $6::interval)
    FROM alert p JOIN alert_rule r ON r.id = p.rule_id AND r.inhibits
    JOIN above ON above.id = p.asset_id AND above.depth > 0
    WHERE p.tenant_id = $1
      AND ($9 OR r.kind <> 'silence' AND NOT $11)
      AND (p.workflow NOT IN ('resolved', 'closed')
           OR (p.resolved_at > $7 AND p.resolved_at + $8::interval > $4 AND p.resolved_by IS NULL))
    UNION ALL
    SELECT 5, format('en attente de %s, dont cela dépend', root.name), $4 + $6::interval
    FROM above JOIN asset root USING (id)
    WHERE $9 AND above.depth > 0 AND (
        EXISTS (SELECT FROM datastream s
                JOIN device v ON v.id = s.device_id JOIN device_profile f ON f.id = v.device_profile_id
                JOIN rule_state st ON st.datastream_id = s.id AND st.condition = 'pending'
                     AND st.evaluated_until + {UNKNOWN_AFTER_INTERVALS} * f.expected_interval > $4
                JOIN alert_rule r ON r.id = st.rule_id AND r.inhibits AND r.enabled
                WHERE s.asset_id = root.id)
        OR $10 AND EXISTS (SELECT FROM deadline d
                JOIN alert_rule r ON r.id = d.rule_id AND r.inhibits AND r.enabled
                JOIN device v ON v.id = d.device_id AND v.enabled
                JOIN device_profile f ON f.id = v.device_profile_id AND f.expected_interval <= $12::interval
                WHERE d.asset_id = root.id AND d.due_at IS NOT NULL AND greatest(d.heard_at, (
                    SELECT max(l.time) FROM datastream s JOIN observation.latest l ON l.datastream_id = s.id
                    WHERE s.device_id = d.device_id AND l.flags & 4 = 0)) <= $7::timestamptz + $8::interval))
) AS found ORDER BY rank, until DESC LIMIT 1
"""
# The gateways that received a device lately: whether each is gone, and when an alert about it last ended.
GATEWAYS_OF_DEVICE = """
SELECT g.name, coalesce(s.last_seen_at, '-infinity') < $2::timestamptz - $3::interval OR EXISTS (
           SELECT FROM alert a WHERE a.gateway_id = g.id AND a.workflow NOT IN ('resolved', 'closed')) AS is_gone,
       (SELECT max(a.resolved_at) FROM alert a WHERE a.gateway_id = g.id) AS back_at
FROM gateway g LEFT JOIN gateway_state s ON s.gateway_id = g.id
WHERE g.id IN (SELECT DISTINCT r.gateway_id FROM observation.reception r
               WHERE r.device_id = $1 AND r.time > $4::timestamptz - $5::interval AND r.time <= $4)
ORDER BY g.id
"""
READ_INTERVAL = """
SELECT p.expected_interval FROM device d JOIN device_profile p ON p.id = d.device_profile_id WHERE d.id = $1
"""


Ended = TypeVar("Ended")


@dataclass(frozen=True, slots=True)
class _Quiet:
    id: int
    tenant_id: int
    author: str
    reason: str
    starts_at: datetime
    ends_at: datetime
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Silence(_Quiet):
    """No notification for what matches all that is given, until `ends_at`."""

    rule_id: int | None
    asset_id: int | None
    asset_kind: str | None
    tag: str | None
    commune: str | None


@dataclass(frozen=True, slots=True)
class MaintenanceWindow(_Quiet):
    """Work on an asset and on all that it contains: no notification about them."""

    asset_id: int


SILENCE_COLUMNS, WINDOW_COLUMNS = columns_of(Silence), columns_of(MaintenanceWindow)
SILENCE_WRITTEN = Written("reason, starts_at, ends_at, rule_id, asset_id, asset_kind, tag, commune")
WINDOW_WRITTEN = Written("asset_id, reason, starts_at, ends_at")
LIST_SILENCES = f"""
SELECT {SILENCE_COLUMNS} FROM silence WHERE $1 OR ends_at > now() ORDER BY ends_at DESC, id DESC LIMIT 500
"""
READ_SILENCE = f"SELECT {SILENCE_COLUMNS} FROM silence WHERE id = $1"
CREATE_SILENCE = f"""
INSERT INTO silence (tenant_id, author, {SILENCE_WRITTEN.columns})
SELECT $1, $2, $3, coalesce($4, now()), $5, $6, $7, $8, $9, $10
WHERE ($6::int IS NULL OR EXISTS (SELECT FROM alert_rule WHERE id = $6 AND tenant_id = $1))
  AND ($7::int IS NULL OR EXISTS (SELECT FROM asset WHERE id = $7 AND tenant_id = $1))
RETURNING {SILENCE_COLUMNS}
"""
LIST_WINDOWS = f"""
SELECT {WINDOW_COLUMNS} FROM maintenance_window
WHERE ($1 OR ends_at > now()) AND ($2::int IS NULL OR asset_id = $2)
ORDER BY ends_at DESC, id DESC LIMIT 500
"""
READ_WINDOW = f"SELECT {WINDOW_COLUMNS} FROM maintenance_window WHERE id = $1"
CREATE_WINDOW = f"""
INSERT INTO maintenance_window (tenant_id, author, {WINDOW_WRITTEN.columns})
SELECT $1, $2, id, $4, coalesce($5, now()), $6 FROM asset WHERE id = $3 AND tenant_id = $1
RETURNING {WINDOW_COLUMNS}
"""
# Alerts that it suppressed are evaluated again at once.
END_SILENCE, END_WINDOW = (
    f"""
UPDATE {table} SET ends_at = greatest(now(), starts_at + interval '1 microsecond')
WHERE id = $1 AND ends_at > now() RETURNING {columns}
"""
    for table, columns in (("silence", SILENCE_COLUMNS), ("maintenance_window", WINDOW_COLUMNS))
)
WAKE_MUTED = """
UPDATE alert SET muted_until = now(), due_at = least(due_at, now())
WHERE muted_until > now()
"""


async def find_suppression(
    connection: Connection, tenant_id: int, rule: Rule, about: About, severity: str, since: datetime, now: datetime
) -> Suppression | None:
    """Why notifications of this alert, which has fired `since`, are suppressed now; None: they are not."""
    is_switched, is_silence, grace = rule.schedule == "lit", rule.kind == "silence", MEASURED_WITHIN
    if is_silence:
        grace = COME_BACK * await connection.fetchval(READ_INTERVAL, about.device_id)
    is_power = rule.kind in ("silence", "loss") or rule.inhibits
    fault = fault_of(rule)
    row = await connection.fetchrow(
        FIND_MUTE, tenant_id, rule.id, about.asset_id, now, is_switched, LOOK_AGAIN, since, grace, is_power,
        is_silence, severity == "critical", SPEAKS_WITHIN, list(EXPLAINED_BY.get(fault, ())) if fault else [],
        dimmed_to_at_most(rule), now - LONGEST_DIM, fault in BY_HAND,
    )  # fmt: skip
    if row is not None:
        return Suppression(row["by"], row["until"], row["is_cause"])
    if is_silence and about.device_id is not None:
        return await _explained_by_gateways(connection, about.device_id, since, now, grace)
    return None


async def _explained_by_gateways(
    connection: Connection, device_id: int, since: datetime, now: datetime, grace: timedelta
) -> Suppression | None:
    gateways = await connection.fetch(GATEWAYS_OF_DEVICE, device_id, now, GATEWAY_LATE, since, HEARD_WITHIN)
    if not gateways:
        return None  # Received by another network, or not by radio.
    explained = [row["is_gone"] or (row["back_at"] is not None and row["back_at"] > since) for row in gateways]
    if not all(explained):
        return None
    back = [row["back_at"] for row in gateways if not row["is_gone"]]
    if not back:
        return Suppression(f"{GATEWAY} {gateways[0]['name']} muette", now + LOOK_AGAIN, is_cause=True)
    until = max(back) + grace
    return (
        Suppression(f"{GATEWAY} de retour, en attente du capteur", until, is_cause=True) if until > now else None
    )


async def list_silences(connection: Connection | Pool, *, ended: bool) -> list[Silence]:
    """Visible silences that have not ended, or all, the last to end first."""
    return await fetch_all(connection, Silence, LIST_SILENCES, ended)


async def read_silence(connection: Connection | Pool, silence_id: int) -> Silence | None:
    """One silence."""
    return await fetch_one(connection, Silence, READ_SILENCE, silence_id)


async def create_silence(
    connection: Connection, tenant_id: int, author: str, silence: Mapping[str, Any]
) -> Silence | None:
    """A silence, of columns in `SILENCE_WRITTEN`; None when the rule or the asset is not this tenant's."""
    values = SILENCE_WRITTEN.values(silence, partial=True)
    return await fetch_one(connection, Silence, CREATE_SILENCE, tenant_id, author, *values)


async def end_silence(connection: Connection, silence_id: int) -> Silence | None:
    """End it now, unless it has ended: what it muted is looked at again. None when it is not there."""
    return await _end(connection, Silence, END_SILENCE, silence_id) or await read_silence(connection, silence_id)


async def list_windows(
    connection: Connection | Pool, *, ended: bool, asset_id: int | None = None
) -> list[MaintenanceWindow]:
    """Visible maintenance windows that have not ended, or all, the last to end first."""
    return await fetch_all(connection, MaintenanceWindow, LIST_WINDOWS, ended, asset_id)


async def read_window(connection: Connection | Pool, window_id: int) -> MaintenanceWindow | None:
    """One maintenance window."""
    return await fetch_one(connection, MaintenanceWindow, READ_WINDOW, window_id)


async def create_window(
    connection: Connection, tenant_id: int, author: str, window: Mapping[str, Any]
) -> MaintenanceWindow | None:
    """A maintenance window, of columns in `WINDOW_WRITTEN`; None when the asset is not this tenant's."""
    values = WINDOW_WRITTEN.values(window, partial=True)
    return await fetch_one(connection, MaintenanceWindow, CREATE_WINDOW, tenant_id, author, *values)


async def end_window(connection: Connection, window_id: int) -> MaintenanceWindow | None:
    """End it now, as `end_silence`."""
    ended = await _end(connection, MaintenanceWindow, END_WINDOW, window_id)
    return ended or await read_window(connection, window_id)


async def _end(connection: Connection, kind: type[Ended], statement: str, ended_id: int) -> Ended | None:
    ended = await fetch_one(connection, kind, statement, ended_id)
    if ended is not None:
        await connection.execute(WAKE_MUTED)
    return ended

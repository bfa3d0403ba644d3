"""SQL of deadlines, and of readings that were stored while no engine ran."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from core.model.unknown_time import UNKNOWN_AFTER_INTERVALS
from core.runtime.postgres import Connection, Pool
from registry.rows import entity, fetch_all

LOCK_DEADLINES = """
SELECT d.rule_id, d.device_id, d.asset_id, d.heard_at, d.due_at FROM deadline d
JOIN unnest($1::int[], $2::int[]) AS key (rule_id, device_id)
  ON d.rule_id = key.rule_id AND d.device_id = key.device_id
ORDER BY d.rule_id, d.device_id FOR UPDATE OF d
"""
SAVE_DEADLINES = """
INSERT INTO deadline (rule_id, device_id, tenant_id, asset_id, slot, heard_at, due_at)
SELECT * FROM unnest($1::int[], $2::int[], $3::int[], $4::int[], $5::smallint[], $6::timestamptz[],
                     $7::timestamptz[])
ON CONFLICT (rule_id, device_id) DO UPDATE
SET asset_id = excluded.asset_id, slot = excluded.slot, heard_at = excluded.heard_at, due_at = excluded.due_at
"""
DROP_DEADLINE = "DELETE FROM deadline WHERE rule_id = $1 AND device_id = $2"
# A device has no data only if no reading of it was stored either, readable or not; one that owes values of a
# quantity, if no value of that quantity was stored. A value that a person typed (flag 4) is not of the device.
# An uplink is one when it was received, be it days after it was sent.
LOCK_DUE = """
SELECT d.rule_id, d.device_id, d.tenant_id, d.asset_id, d.heard_at, d.due_at, p.expected_interval, v.enabled,
       greatest((SELECT max(l.time) FROM datastream s JOIN observation.latest l ON l.datastream_id = s.id
                 WHERE s.device_id = d.device_id AND l.flags & 4 = 0
                   AND (r.quantity IS NULL OR s.quantity = r.quantity)),
                (SELECT max(u.received_at) FROM observation.uplink u
                 WHERE u.device_id = d.device_id AND u.time > d.heard_at - interval '3 days'
                   AND r.quantity IS NULL)) AS stored_at,
       (d.asset_id IS NULL OR EXISTS (SELECT FROM assignment g WHERE g.device_id = d.device_id
                                      AND g.asset_id = d.asset_id AND g.tenant_id = d.tenant_id
                                      AND g.during @> now()))
       AND coalesce(a.kind = ANY(r.asset_kinds), r.asset_kinds IS NULL)
       AND (r.tags = '{}' OR coalesce(r.tags && a.tags, false)) AND a.archived_at IS NULL AS serves
FROM deadline d
JOIN alert_rule r ON r.id = d.rule_id
LEFT JOIN asset a ON a.id = d.asset_id
JOIN device v ON v.id = d.device_id
JOIN device_profile p ON p.id = v.device_profile_id
WHERE d.due_at <= $1 AND d.slot = ANY($2::smallint[])
ORDER BY d.due_at, d.rule_id, d.device_id LIMIT $3
FOR UPDATE OF d SKIP LOCKED
"""
# Whether there is anything to lock: asked every second for all shards at once, where nearly never anything is due.
READ_DUE_SLOTS = """
SELECT slot FROM deadline WHERE due_at <= $1 AND slot = ANY($2::smallint[])
UNION SELECT slot FROM rule_state WHERE due_at <= $1 AND slot = ANY($2::smallint[]) AND datastream_id IS NOT NULL
UNION SELECT slot FROM alert WHERE due_at <= $1 AND slot = ANY($2::smallint[])
"""
# Devices that are waited for since they were assigned, or registered and never assigned, and of which nothing was
# heard since: no deadline is there, or that of another place. $1: now. One that was missed, and whose alert has
# ended although nothing was heard (its rule or the device was switched off meanwhile), is missed again. Values of
# a quantity are waited for where something has measured it before, or where the profile's mapping gives it.
FIND_UNWATCHED = """
SELECT r.id AS rule_id, d.id AS device_id, d.tenant_id, g.asset_id,
       greatest(s.since, k.heard_at) AS heard_at,
       greatest(s.since, p.deadlines_from, k.heard_at) + f.expected_interval * r.silence_intervals AS due_at
FROM alert_rule r
JOIN device d ON d.tenant_id = r.tenant_id AND d.enabled
JOIN device_profile f ON f.id = d.device_profile_id
CROSS JOIN deployment p
LEFT JOIN assignment g ON g.device_id = d.id AND g.tenant_id = d.tenant_id AND g.during @> $1::timestamptz
LEFT JOIN asset a ON a.id = g.asset_id
LEFT JOIN deadline k ON k.rule_id = r.id AND k.device_id = d.id
CROSS JOIN LATERAL (SELECT coalesce(lower(g.during), d.created_at) AS since) s
WHERE r.enabled AND r.kind = 'silence' AND (
      r.quantity IS NULL
      OR EXISTS (SELECT FROM datastream q WHERE q.quantity = r.quantity AND (
             q.asset_id = g.asset_id AND q.position = g.position OR g.id IS NULL AND q.device_id = d.id))
      OR EXISTS (SELECT FROM jsonb_array_elements(f.mapping) AS m
                 WHERE m ->> 'quantity' = r.quantity AND NOT m ? 'to_confirm'))
  AND coalesce(a.kind = ANY(r.asset_kinds), r.asset_kinds IS NULL)
  AND (r.tags = '{}' OR coalesce(r.tags && a.tags, false)) AND a.archived_at IS NULL
  AND (g.id IS NOT NULL OR d.created_at >= p.deadlines_from
                           AND NOT EXISTS (SELECT FROM assignment e WHERE e.device_id = d.id))
  AND (k.rule_id IS NULL OR k.asset_id IS DISTINCT FROM g.asset_id AND k.heard_at < s.since
       OR k.due_at IS NULL AND NOT EXISTS (SELECT FROM rule_state st WHERE st.rule_id = k.rule_id
                                           AND st.device_id = k.device_id AND st.alert_id IS NOT NULL))
ORDER BY r.id, d.id
"""
# A sign of life that came meanwhile is newer.
BEGIN_DEADLINES = """
INSERT INTO deadline (rule_id, device_id, tenant_id, asset_id, slot, heard_at, due_at)
SELECT v.* FROM unnest($1::int[], $2::int[], $3::int[], $4::int[], $5::smallint[], $6::timestamptz[],
                       $7::timestamptz[]) AS v (rule_id, device_id, tenant_id, asset_id, slot, heard_at, due_at)
JOIN alert_rule r ON r.id = v.rule_id JOIN device d ON d.id = v.device_id
ORDER BY v.rule_id, v.device_id FOR KEY SHARE OF r, d
ON CONFLICT (rule_id, device_id) DO UPDATE
SET asset_id = excluded.asset_id, slot = excluded.slot, heard_at = excluded.heard_at, due_at = excluded.due_at
WHERE deadline.heard_at < excluded.heard_at OR deadline.due_at IS NULL AND deadline.heard_at = excluded.heard_at
"""
# What was stored and not evaluated: after a start, a gap of the stream or a new one. A value of a suspect instant
# is nobody's last, and judged all the same by the rules for such values.
BEHIND = """
SELECT s.id, s.asset_id, s.device_id, min(coalesce(st.evaluated_until, h.since)) AS since
FROM alert_rule r
JOIN datastream s ON s.tenant_id = r.tenant_id AND s.quantity = r.quantity
JOIN device v ON v.id = s.device_id
JOIN device_profile p ON p.id = v.device_profile_id
LEFT JOIN observation.latest l ON l.datastream_id = s.id
CROSS JOIN LATERAL (SELECT $1::timestamptz - greatest($2::interval, $3 * p.expected_interval) AS since) h
LEFT JOIN LATERAL (SELECT time FROM observation.measurement
                   WHERE r.judges_improbable AND datastream_id = s.id AND time > h.since
                   ORDER BY time DESC LIMIT 1) AS m ON true
LEFT JOIN asset a ON a.id = s.asset_id
LEFT JOIN rule_state st ON st.rule_id = r.id AND st.datastream_id = s.id
WHERE r.enabled AND r.kind NOT IN ('silence', 'gateway', 'loss')
  AND (r.asset_kinds IS NULL OR a.kind = ANY(r.asset_kinds)) AND (r.tags = '{}' OR r.tags && a.tags)
  AND a.archived_at IS NULL
GROUP BY s.id, l.time
HAVING greatest(l.time, max(m.time)) > min(coalesce(st.evaluated_until, h.since))
ORDER BY s.id
"""
# $3, $4: between which to look, so that a year is not read at once. Not what was decoded again (8):
# old values raise no alert.
READ_SINCE = """
SELECT m.datastream_id, m.time, m.value, m.flags
FROM unnest($1::int[], $2::timestamptz[]) AS behind (id, since)
JOIN observation.measurement m ON m.datastream_id = behind.id AND m.time > behind.since
WHERE m.time > $3::timestamptz AND m.time <= $4::timestamptz AND m.flags & 8 = 0
ORDER BY m.time, m.datastream_id
"""
HEARD_SINCE = """
SELECT min(s.id) AS datastream_id, s.device_id, s.asset_id, r.quantity, max(l.time) AS heard_at
FROM datastream s
JOIN observation.latest l ON l.datastream_id = s.id AND l.flags & 4 = 0
JOIN alert_rule r ON r.tenant_id = s.tenant_id AND r.kind = 'silence' AND r.enabled
     AND (r.quantity IS NULL OR r.quantity = s.quantity)
LEFT JOIN deadline d ON d.rule_id = r.id AND d.device_id = s.device_id
GROUP BY s.device_id, s.asset_id, r.quantity
HAVING max(l.time) > min(coalesce(d.heard_at, '-infinity'))
ORDER BY s.device_id
"""
# Of devices whose tenant has a frame loss rule: the share of a day's uplinks that FCnt counts and that were not
# received, in percent. $4: with fewer uplinks sent there is no percentage.
READ_LOSSES = """
WITH watched AS (
    SELECT min(s.id) AS datastream_id, s.device_id, s.asset_id FROM datastream s
    WHERE s.tenant_id = ANY($1::int[]) AND s.device_id > $5
      -- What was lost by one that serves there no more is nobody's concern.
      AND (s.asset_id IS NULL OR EXISTS (SELECT FROM assignment g WHERE g.device_id = s.device_id
                                         AND g.asset_id = s.asset_id AND g.during @> now()))
      AND NOT EXISTS (SELECT FROM asset a WHERE a.id = s.asset_id AND a.archived_at IS NOT NULL)
    GROUP BY s.device_id, s.asset_id ORDER BY s.device_id LIMIT $6
), counted AS (
    SELECT u.device_id, u.session_id, count(DISTINCT u.f_cnt) AS heard, max(u.f_cnt) - min(u.f_cnt) + 1 AS sent
    FROM watched w JOIN observation.uplink u ON u.device_id = w.device_id
    WHERE u.time > $2::timestamptz AND u.time <= $3::timestamptz AND u.f_cnt IS NOT NULL
    GROUP BY u.device_id, u.session_id
)
SELECT w.datastream_id, w.device_id, w.asset_id, $3::timestamptz AS at,
       CASE WHEN sum(c.sent) >= $4 THEN 100 * (1 - sum(c.heard) / sum(c.sent))::float8 END AS percent
FROM watched w LEFT JOIN counted c ON c.device_id = w.device_id
GROUP BY w.datastream_id, w.device_id, w.asset_id ORDER BY w.device_id
"""


@dataclass(frozen=True, slots=True)
class Deadline:
    """Until when a rule waits for data of a device; `due_at` None: the device has no data."""

    rule_id: int
    device_id: int
    asset_id: int | None
    heard_at: datetime
    due_at: datetime | None


@dataclass(frozen=True, slots=True)
class DueDeadline:
    """A deadline that has passed, with what is needed to judge it."""

    rule_id: int
    device_id: int
    tenant_id: int
    asset_id: int | None
    heard_at: datetime
    due_at: datetime
    expected_interval: timedelta
    enabled: bool
    stored_at: datetime | None
    serves: bool


@dataclass(frozen=True, slots=True)
class NewDeadline:
    """The deadline of a device that nobody has heard where it is now; `heard_at`: since when it is there."""

    rule_id: int
    device_id: int
    tenant_id: int
    asset_id: int | None
    heard_at: datetime
    due_at: datetime


@dataclass(frozen=True, slots=True)
class Behind:
    """A datastream with stored measurements after `since` that were not evaluated."""

    id: int
    asset_id: int | None
    device_id: int
    since: datetime


@dataclass(frozen=True, slots=True)
class Stored:
    """A measurement as the table has it."""

    datastream_id: int
    time: datetime
    value: float
    flags: int


@dataclass(frozen=True, slots=True)
class ReportingDevice:
    """A device of which something, or a value of a quantity, was stored after its deadline was last set."""

    datastream_id: int
    device_id: int
    asset_id: int | None
    quantity: str | None
    heard_at: datetime


@dataclass(frozen=True, slots=True)
class Loss:
    """Which share of a device's messages of the last day was lost."""

    datastream_id: int
    device_id: int
    asset_id: int | None
    at: datetime
    percent: float


async def lock_deadlines(
    connection: Connection, keys: Sequence[tuple[int, int]]
) -> dict[tuple[int, int], Deadline]:
    """Deadlines by (rule, device), locked; new ones are absent."""
    rows = await connection.fetch(LOCK_DEADLINES, [key[0] for key in keys], [key[1] for key in keys])
    return {(row["rule_id"], row["device_id"]): entity(Deadline, row) for row in rows}


async def save_deadlines(connection: Connection, rows: Sequence[tuple[Deadline, int, int]]) -> None:
    """Write deadlines with their tenant and slot."""
    if rows:
        await connection.execute(
            SAVE_DEADLINES,
            [deadline.rule_id for deadline, _, _ in rows],
            [deadline.device_id for deadline, _, _ in rows],
            [tenant_id for _, tenant_id, _ in rows],
            [deadline.asset_id for deadline, _, _ in rows],
            [slot for _, _, slot in rows],
            [deadline.heard_at for deadline, _, _ in rows],
            [deadline.due_at for deadline, _, _ in rows],
        )


async def find_unwatched(connection: Connection | Pool, now: datetime) -> list[NewDeadline]:
    """Deadlines that assignments and registrations begin."""
    return await fetch_all(connection, NewDeadline, FIND_UNWATCHED, now)


async def begin_deadlines(connection: Connection, rows: Sequence[tuple[NewDeadline, int]]) -> None:
    """Write such deadlines, each with its slot."""
    await connection.execute(
        BEGIN_DEADLINES,
        [deadline.rule_id for deadline, _ in rows],
        [deadline.device_id for deadline, _ in rows],
        [deadline.tenant_id for deadline, _ in rows],
        [deadline.asset_id for deadline, _ in rows],
        [slot for _, slot in rows],
        [deadline.heard_at for deadline, _ in rows],
        [deadline.due_at for deadline, _ in rows],
    )


async def drop_deadline(connection: Connection, rule_id: int, device_id: int) -> None:
    """Remove the deadline of this device under this rule."""
    await connection.execute(DROP_DEADLINE, rule_id, device_id)


async def lock_due(connection: Connection, now: datetime, slots: Sequence[int], most: int) -> list[DueDeadline]:
    """Deadlines of these slots that have passed."""
    return await fetch_all(connection, DueDeadline, LOCK_DUE, now, slots, most)


async def read_due_slots(connection: Connection | Pool, now: datetime, slots: Sequence[int]) -> set[int]:
    """Those of these slots that have a deadline, a state or an alert to be looked at."""
    return {row["slot"] for row in await connection.fetch(READ_DUE_SLOTS, now, slots)}


async def read_behind(connection: Connection | Pool, now: datetime, notify_up_to: timedelta) -> list[Behind]:
    """Watched datastreams that have stored more than was evaluated; of a new one, since when that notifies."""
    return await fetch_all(connection, Behind, BEHIND, now, notify_up_to, UNKNOWN_AFTER_INTERVALS)


async def read_since(
    connection: Connection | Pool, behind: Sequence[Behind], after: datetime, until: datetime
) -> list[Stored]:
    """What these datastreams stored since, as far as it lies between these instants, oldest first."""
    ids, since = [one.id for one in behind], [one.since for one in behind]
    return await fetch_all(connection, Stored, READ_SINCE, ids, since, after, until)


async def read_reporting_devices(connection: Connection | Pool) -> list[ReportingDevice]:
    """Devices that a no-data rule watches and of which something was stored after their deadline was last set."""
    return await fetch_all(connection, ReportingDevice, HEARD_SINCE)


async def read_frame_loss(
    connection: Connection | Pool, tenant_ids: Sequence[int], until: datetime, least: int, after: int, most: int
) -> tuple[list[Loss], int | None]:
    """Frame loss of these devices in the day before `until`, and the last device of the page (None: no more).

    `after`, `most`: a page of devices by id. A device that sent fewer than `least` messages is absent.
    """
    rows = await connection.fetch(READ_LOSSES, tenant_ids, until - timedelta(days=1), until, least, after, most)
    losses = [entity(Loss, row) for row in rows if row["percent"] is not None]
    return losses, rows[-1]["device_id"] if len(rows) == most else None

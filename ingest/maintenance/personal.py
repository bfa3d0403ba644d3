"""Deletes what is finer than days, then days, of dwellings: by terms, and by the end of a consent.

Of a day whose hours have begun to go no rollup is made anew, whatever comes in late: `observation.forgotten` says
up to when (docs/decisions/0062-dwellings.md). The time is an argument; nothing here asks for another one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import structlog

from core.runtime.postgres import Connection, Pool
from ingest.maintenance.leader import leading
from ingest.maintenance.retention import MOST_AT_ONCE, NOTE_FORGOTTEN, count_of
from ingest.maintenance.settings import RetentionSettings
from ingest.maintenance.telemetry import PRUNED_ROWS
from ingest.rollups import LOCK as ROLLUPS_LOCK
from ingest.rollups import WAIT_FOR_LOCK

# People read in the API what the settings say here.
STATE_TERMS = """
UPDATE personal_term SET measurements = $1, hours = $2, days = $3, uplinks = $4
WHERE (measurements, hours, days, uplinks) IS DISTINCT FROM ($1, $2, $3, $4)
"""
# $1: beyond this datastream; $2, $3: the terms of hours and days, 0 for ever; $4: the time. Before which instant
# readings, hours and days go, NULL: none. Readings: where a consent has ended or a term of its own is shorter; the
# class's term is that of whole chunks. The day at which a consent ends is kept until it is over.
CUTS = """
SELECT id, greatest(own, ended) AS readings, greatest(hours, own, ended) AS hours, days
FROM (
    SELECT d.id, $4::timestamptz - make_interval(months => nullif($2::int, 0)) AS hours,
           $4 - make_interval(months => d.keep_hours_months) AS own,
           $4 - make_interval(months => least(nullif($3::int, 0), d.keep_days_months)) AS days,
           CASE WHEN d.fine_until < today THEN today END AS ended
    FROM datastream d, (SELECT date_trunc('day', $4, timezone) AS today FROM deployment) AS t
    WHERE d.privacy_class = 2 AND d.id > $1 ORDER BY d.id LIMIT $5
) AS cut
"""
UNROLLED = "SELECT min(hour) FROM observation.dirty WHERE datastream_ids && $1::int[] AND hour < $2"
NOTE_READINGS = """
INSERT INTO observation.forgotten AS f (hypertable, id, before)
SELECT 'measurement', id, before FROM unnest($1::int[], $2::timestamptz[]) AS cut (id, before)
ON CONFLICT (hypertable, id) DO UPDATE SET before = greatest(f.before, excluded.before)
"""
NOTE_HOURS = """
INSERT INTO observation.forgotten AS f (hypertable, id, before)
SELECT 'rollup_hour', id, date_add(date_trunc('day', before - interval '1 microsecond', timezone),
                                   interval '1 day', timezone)
FROM unnest($1::int[], $2::timestamptz[]) AS cut (id, before), deployment
ON CONFLICT (hypertable, id) DO UPDATE SET before = greatest(f.before, excluded.before)
"""
FORGET_READINGS = """
DELETE FROM observation.measurement m USING unnest($1::int[], $2::timestamptz[]) AS cut (id, before)
WHERE m.datastream_id = cut.id AND m.time < cut.before
"""
FORGET_CORRECTIONS = """
DELETE FROM observation.correction c USING unnest($1::int[], $2::timestamptz[]) AS cut (id, before)
WHERE c.datastream_id = cut.id AND c.time < cut.before
"""
FORGET_LATEST = """
DELETE FROM observation.latest l USING unnest($1::int[], $2::timestamptz[]) AS cut (id, before)
WHERE l.datastream_id = cut.id AND l.time < cut.before
"""
# $3: before which instant all of it goes: later parts of the table are not looked at.
FORGET_HOURS = """
DELETE FROM observation.rollup_hour r USING unnest($1::int[], $2::timestamptz[]) AS cut (id, before)
WHERE r.datastream_id = cut.id AND r.bucket < cut.before AND r.bucket < $3::timestamptz
"""
FORGET_DAYS = """
DELETE FROM observation.rollup_day r USING unnest($1::int[], $2::timestamptz[]) AS cut (id, before)
WHERE r.datastream_id = cut.id AND r.bucket < cut.before AND r.bucket < $3::timestamptz
"""
FORGET_METER_CHANGES = """
DELETE FROM observation.meter_change c USING unnest($1::int[], $2::timestamptz[]) AS cut (id, before)
WHERE c.datastream_id = cut.id AND c.at < cut.before
"""
FORGET_DWELLING_DAYS = """
DELETE FROM observation.dwelling_day WHERE since < $2::timestamptz - make_interval(months => $1)
"""
# Devices whose readings may no longer be finer than days: their frames tell as much.
DEVICES_ENDED = """
SELECT d.id, today
FROM device d, (SELECT date_trunc('day', $1::timestamptz, timezone) AS today FROM deployment) AS t
WHERE d.fine_until < today AND NOT EXISTS (
    SELECT FROM observation.forgotten f WHERE f.hypertable = 'uplink' AND f.id = d.id AND f.before >= today)
ORDER BY d.id LIMIT $2
"""
FORGET_UPLINKS = "DELETE FROM observation.uplink WHERE device_id = ANY($1::int[]) AND time < $2"

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class _Cuts:
    """Datastreams, and before which instants rows of a kind go."""

    ids: list[int]
    before: list[datetime]

    @property
    def last(self) -> datetime:
        return max(self.before)


async def state_terms(pool: Pool, settings: RetentionSettings) -> None:
    """Write down which terms of class 2 are in force, for people who ask."""
    await pool.execute(
        STATE_TERMS,
        settings.keep_personal_measurements_months,
        settings.keep_personal_hours_months,
        settings.keep_personal_days_months,
        settings.keep_personal_uplinks_months,
    )


async def forget_personal(pool: Pool, hours_months: int, days_months: int, now: datetime) -> None:
    """Delete hours, last values and days of dwellings by their terms (0: for ever), readings that end before.

    Raises:
        NotLeader: another replica runs these jobs.
    """
    done = 0
    while rows := await pool.fetch(CUTS, done, hours_months, days_months, now, MOST_AT_ONCE):
        done = rows[-1]["id"]
        readings, hours, days = (
            _Cuts([row["id"] for row in rows if row[kind]], [row[kind] for row in rows if row[kind]])
            for kind in ("readings", "hours", "days")
        )
        async with leading(pool) as connection:
            if hours.ids and await _is_rolled_up(connection, hours):
                if readings.ids:
                    await connection.execute(NOTE_READINGS, readings.ids, readings.before)
                    await _delete(connection, "measurement", FORGET_READINGS, readings)
                    await _delete(connection, "correction", FORGET_CORRECTIONS, readings)
                await connection.execute(NOTE_HOURS, hours.ids, hours.before)
                await _delete(connection, "rollup_hour", FORGET_HOURS, hours, hours.last)
                await _delete(connection, "latest", FORGET_LATEST, hours)
            if days.ids:
                await _delete(connection, "rollup_day", FORGET_DAYS, days, days.last)
                await _delete(connection, "meter_change", FORGET_METER_CHANGES, days)
    if days_months:
        async with leading(pool) as connection:
            await connection.execute(FORGET_DWELLING_DAYS, days_months, now)


async def forget_ended_uplinks(pool: Pool, now: datetime) -> None:
    """Delete the frames of days that are over of devices whose consent has ended.

    Raises:
        NotLeader: another replica runs these jobs.
    """
    while True:
        async with leading(pool) as connection:
            rows = await connection.fetch(DEVICES_ENDED, now, MOST_AT_ONCE)
            if not rows:
                return
            ids, today = [row["id"] for row in rows], rows[0]["today"]
            deleted = count_of(await connection.execute(FORGET_UPLINKS, ids, today))
            await connection.execute(NOTE_FORGOTTEN, "uplink", ids, today)
        _record("uplink", deleted, today, ids)


async def _is_rolled_up(connection: Connection, hours: _Cuts) -> bool:
    """Whether the rollups of these are up to date; from now to the end of the transaction none are made."""
    await connection.execute(WAIT_FOR_LOCK, ROLLUPS_LOCK)
    dirty = await connection.fetchval(UNROLLED, hours.ids, hours.last)
    if dirty is not None:
        log.warning("retention_put_off", dirty_hour=dirty.isoformat(), before=hours.last.isoformat())
    return dirty is None


async def _delete(connection: Connection, table: str, statement: str, cuts: _Cuts, *bound: datetime) -> None:
    deleted = count_of(await connection.execute(statement, cuts.ids, cuts.before, *bound))
    _record(table, deleted, cuts.last, cuts.ids)


def _record(table: str, deleted: int, before: datetime, ids: Sequence[int]) -> None:
    PRUNED_ROWS.labels(table).inc(deleted)
    if deleted:
        log.info("rows_forgotten", table=table, before=before.isoformat(), of=len(ids), rows=deleted)

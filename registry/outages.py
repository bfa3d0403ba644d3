"""Outages of gateways, of the bridge and of the platform itself: written here alone, read by what judges gaps.

The bridge and alerting leave a sign of life every two seconds. An outage begins at the last sign before it. A
process that was killed writes nothing: its next start does.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

from core.runtime.postgres import Connection, Pool
from core.runtime.repeating import repeat
from registry.rows import columns_of, fetch_all

What = Literal["gateway", "bridge", "platform"]

BEAT_EVERY_S = 2.0
WATCH_EVERY_S = 10.0
# A new process was away for longer than between two signs of life; one that runs on may be slow for a while.
AWAY_AT_START = timedelta(seconds=3)
AWAY_AFTER = timedelta(seconds=15)
# A gateway's status comes every half minute; one that missed four is away.
GATEWAY_AWAY_AFTER = timedelta(minutes=2)

# $1 what, $2 now, $3 since when the process runs. While the database was away the bridge went on hearing gateways;
# the platform judged and stored nothing.
BEAT = """
WITH before AS MATERIALIZED (SELECT at FROM heartbeat WHERE what = $1 FOR UPDATE),
denied AS (DELETE FROM outage WHERE what = $1 AND ended_at IS NULL AND $1 = 'bridge' AND began_at >= $3),
ended AS (UPDATE outage SET ended_at = greatest(began_at, $2)
          WHERE what = $1 AND ended_at IS NULL AND NOT ($1 = 'bridge' AND began_at >= $3) RETURNING began_at),
noted AS (INSERT INTO outage (what, began_at, ended_at)
          SELECT $1, at, $2 FROM before
          WHERE $2 - at > CASE WHEN at < $3 THEN $4::interval WHEN $1 = 'platform' THEN $5::interval END
            AND NOT EXISTS (SELECT FROM ended))
INSERT INTO heartbeat AS known (what, at)
SELECT $1, greatest($2::timestamptz, (SELECT at FROM before))  -- Which is read before it is written.
ON CONFLICT (what) DO UPDATE SET at = greatest(known.at, excluded.at)
"""
BEGIN_OF_BRIDGE = """
INSERT INTO outage (what, began_at)
SELECT 'bridge', at FROM heartbeat WHERE what = 'bridge' AND at < $1::timestamptz - $2::interval
ON CONFLICT DO NOTHING
"""
# Without the bridge nobody sees a gateway, and after its return each has the time to be seen.
BEGIN_OF_GATEWAYS = """
INSERT INTO outage (what, gateway_id, began_at)
SELECT 'gateway', s.gateway_id, s.last_seen_at FROM gateway_state s
WHERE s.last_seen_at < $1::timestamptz - $2::interval
  AND EXISTS (SELECT FROM heartbeat WHERE what = 'bridge' AND at > $1::timestamptz - $3::interval)
  AND NOT EXISTS (SELECT FROM outage o WHERE o.what = 'bridge'
                  AND coalesce(o.ended_at, 'infinity') > $1::timestamptz - $2::interval)
ON CONFLICT DO NOTHING
"""
END_OF_GATEWAYS = """
UPDATE outage o SET ended_at = s.last_seen_at FROM gateway_state s
WHERE o.what = 'gateway' AND o.ended_at IS NULL AND s.gateway_id = o.gateway_id AND s.last_seen_at > o.began_at
"""
# For maintenance: $1 how long they are kept, $2 how many may go at once. One that lasts has no end; the platform's
# first stays, since it says since when outages are known.
FORGET_OLD_OUTAGES = """
DELETE FROM outage WHERE ctid = ANY(ARRAY(
    SELECT ctid FROM outage
    WHERE ended_at < now() - $1::interval
      AND id NOT IN (SELECT id FROM outage WHERE what = 'platform' ORDER BY ended_at, id LIMIT 1)
    LIMIT $2))
"""
RECORDED_SINCE = "SELECT min(ended_at) FROM outage WHERE what = 'platform'"


@dataclass(frozen=True, slots=True)
class Outage:
    """Something was away from `began_at` until `ended_at`; None: it still is."""

    what: What
    gateway_id: int | None
    began_at: datetime
    ended_at: datetime | None


READ = f"""
SELECT {columns_of(Outage)} FROM outage
WHERE began_at < $2 AND coalesce(ended_at, 'infinity') > $1 AND ended_at IS DISTINCT FROM began_at
  AND ($3::int[] IS NULL OR gateway_id IS NULL OR gateway_id = ANY($3))
ORDER BY began_at, id
"""


async def beat(
    connection: Connection | Pool, what: Literal["bridge", "platform"], now: datetime, started_at: datetime
) -> None:
    """A sign of life of a process that runs since `started_at`; an outage that it ends is written with it."""
    await connection.execute(BEAT, what, now, started_at, AWAY_AT_START, AWAY_AFTER)


async def watch_outages(connection: Connection | Pool, now: datetime) -> None:
    """Begin and end outages of gateways, and begin one of the bridge while it lasts."""
    await connection.execute(BEGIN_OF_BRIDGE, now, AWAY_AFTER)
    await connection.execute(END_OF_GATEWAYS)
    await connection.execute(BEGIN_OF_GATEWAYS, now, GATEWAY_AWAY_AFTER, AWAY_AFTER)


async def read_outages(
    connection: Connection | Pool, since: datetime, until: datetime, gateway_ids: Sequence[int] | None = None
) -> list[Outage]:
    """Those that touch this time, the first to begin first; of these gateways, None: of all that are visible."""
    return await fetch_all(connection, Outage, READ, since, until, gateway_ids)


async def recorded_since(connection: Connection | Pool) -> datetime | None:
    """Since when outages are recorded: of before nobody knows."""
    return await connection.fetchval(RECORDED_SINCE)


async def keep_beating(pool: Pool, what: Literal["bridge", "platform"]) -> None:
    """Leave a sign of life every two seconds, until cancelled."""
    started_at = datetime.now(UTC)
    await repeat(lambda: beat(pool, what, datetime.now(UTC), started_at), BEAT_EVERY_S, "sign_of_life_put_off")


async def keep_watching_outages(pool: Pool) -> None:
    """Look every ten seconds for what went away or came back, until cancelled."""
    await repeat(lambda: watch_outages(pool, datetime.now(UTC)), WATCH_EVERY_S, "outages_put_off")

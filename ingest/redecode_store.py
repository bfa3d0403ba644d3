"""SQL of decoding again: the next job, a day's stored uplinks, and what replaces their measurements."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from core.messages.measurements import Flag
from core.runtime.postgres import Connection, Pool, uuid_of
from ingest.batch import HOUR_US
from ingest.pipeline import Interpreted, Row
from lorawan.instants import from_us
from registry.redecodes import COLUMNS, Redecode
from registry.rows import entity

# A replica that gives no sign of life for so long is replaced; one of the same name goes on at once.
HELD_FOR = timedelta(seconds=60)

STAYS = Flag.MANUAL | Flag.CORRECTED

TAKE = f"""
UPDATE redecode SET state = 'running', started_at = coalesce(started_at, now()), taken_by = $1,
                    taken_until = now() + $2::interval
WHERE id = (SELECT id FROM redecode
            WHERE state IN ('waiting', 'running') AND (coalesce(taken_until, '-infinity') < now() OR taken_by = $1)
            ORDER BY id FOR UPDATE SKIP LOCKED LIMIT 1)
RETURNING {COLUMNS}
"""
KEEP = """
UPDATE redecode SET taken_until = now() + $3::interval
WHERE id = $1 AND taken_by = $2 AND state = 'running' RETURNING true
"""
COUNT_FRAMES = """
UPDATE redecode SET frames = (
    SELECT count(*) FROM observation.uplink
    WHERE device_id = ANY($3::int[]) AND time >= since AND time < until AND status <> 'empty'
      AND (NOT only_failed OR status = 'undecodable')
)
WHERE id = $1 AND taken_by = $2
"""
DEVICES = """
SELECT id FROM device
WHERE tenant_id = $1 AND id >= $2 AND ($3::int IS NULL OR id = $3) AND ($4::int IS NULL OR device_profile_id = $4)
ORDER BY id
"""
FRAMES = """
SELECT uplink_id, (extract(epoch FROM time) * 1000000)::bigint AS us, session_id, f_cnt, f_port, payload,
       (extract(epoch FROM received_at) * 1000000)::bigint AS received_us, status, codec, codec_version,
       (radio -> 'stated_us')::bigint AS stated_us
FROM observation.uplink
WHERE device_id = $1 AND time >= $2 AND time < $3 AND status <> 'empty' AND ($4 OR status = 'undecodable')
ORDER BY time, uplink_id LIMIT $5
"""
VERSION_CALLED = """
SELECT v.id FROM codec_version v JOIN codec c ON c.id = v.codec_id
WHERE c.name = $2 AND v.version = $3 AND (c.tenant_id IS NULL OR c.tenant_id = $1)
ORDER BY c.tenant_id LIMIT 1
"""
STREAMS = """
SELECT asset_id, position, channel, quantity, id FROM datastream
WHERE asset_id = ANY($1::int[]) OR (device_id = $2 AND asset_id IS NULL)
"""
PROGRESS = """
UPDATE redecode SET reached_device_id = $3, reached_at = $4, frames_done = frames_done + $5,
                    frames_decoded = frames_decoded + $6, frames_failed = frames_failed + $7,
                    values_removed = values_removed + $8, values_written = values_written + $9,
                    taken_until = now() + $10::interval
WHERE id = $1 AND taken_by = $2 AND state = 'running' RETURNING true
"""
# On behalf of who asked for it: the line is written with the end.
END = """
WITH ended AS (
    UPDATE redecode SET state = $3, reason = $4, ended_at = now(), taken_until = NULL
    WHERE id = $1 AND taken_by = $2 AND state = 'running'
    RETURNING id, tenant_id, requested_by, state, reason, frames_done, values_removed, values_written
)
INSERT INTO audit (tenant_id, actor, action, entity, entity_id, details)
SELECT e.tenant_id, 'redécodage', 'redecode.end', 'redecode', e.id::text,
       jsonb_build_object('on_behalf_of', e.requested_by, 'before', jsonb_build_object('state', 'running'),
                          'after', to_jsonb(e) - 'tenant_id' - 'requested_by' - 'id')
FROM ended e
"""
# A plan for the very bounds at hand looks at their chunks only. Live ingest goes first. What a power cut takes
# back it takes with the job's progress, and the commit that ends the job waits for all of them.
CAREFULLY = """
SELECT set_config('plan_cache_mode', 'force_custom_plan', true), set_config('lock_timeout', '2s', true),
       set_config('synchronous_commit', 'off', true)
"""
STORED = """
SELECT datastream_id, (extract(epoch FROM time) * 1000000)::bigint AS us, value, flags
FROM observation.measurement
WHERE datastream_id = ANY($1::int[]) AND time >= $2 AND time < $3
"""
STORED_AT = """
SELECT m.datastream_id, (extract(epoch FROM m.time) * 1000000)::bigint AS us, m.value, m.flags
FROM unnest($1::int[], $2::bigint[]) AS w (id, us)
JOIN observation.measurement m
  ON m.datastream_id = w.id AND m.time = timestamptz 'epoch' + w.us * interval '1 microsecond'
WHERE m.time >= $3 AND m.time < $4
"""
REMOVE = """
DELETE FROM observation.measurement m USING unnest($1::int[], $2::bigint[]) AS w (id, us)
WHERE m.datastream_id = w.id AND m.time = timestamptz 'epoch' + w.us * interval '1 microsecond'
  AND m.time >= $3 AND m.time < $4
"""
# A reading that somebody typed stays what it is, and so does one that has corrected another.
REPLACE = f"""
INSERT INTO observation.measurement AS m (datastream_id, time, value, flags)
SELECT id, timestamptz 'epoch' + us * interval '1 microsecond', value, flags
FROM unnest($1::int[], $2::bigint[], $3::float8[], $4::smallint[]) AS of (id, us, value, flags)
ON CONFLICT (datastream_id, time) DO UPDATE SET value = excluded.value, flags = excluded.flags
WHERE m.flags & {STAYS.value} = 0
"""
FEED = """
INSERT INTO observation.feed (origin, n, datastream_ids, times)
SELECT 'redecoded', count(*), array_agg(id), array_agg(timestamptz 'epoch' + us * interval '1 microsecond')
FROM unnest($1::int[], $2::bigint[]) AS of (id, us)
"""
UPDATE_UPLINKS = """
UPDATE observation.uplink u
SET status = w.status, reason = w.reason, decoded = convert_from(w.decoded, 'UTF8')::jsonb, codec = w.codec,
    codec_version = w.version, detail = w.detail
FROM unnest($2::bigint[], $3::uuid[], $4::text[], $5::text[], $6::bytea[], $7::text[], $8::int[],
            $11::text[])
     AS w (us, id, status, reason, decoded, codec, version, detail)
WHERE u.device_id = $1 AND u.time >= $9 AND u.time < $10
  AND u.time = timestamptz 'epoch' + w.us * interval '1 microsecond' AND u.uplink_id = w.id
  AND (u.status, u.reason, u.detail, u.decoded, u.codec, u.codec_version)
      IS DISTINCT FROM (w.status, w.reason, w.detail, convert_from(w.decoded, 'UTF8')::jsonb, w.codec, w.version)
"""
MARK = """
INSERT INTO observation.dirty (hour, datastream_ids)
SELECT to_timestamp(hour * 3600), array_agg(id ORDER BY id) FROM unnest($1::bigint[], $2::int[]) AS of (hour, id)
GROUP BY hour
"""
KNOWN_LATEST = """
SELECT datastream_id, (extract(epoch FROM time) * 1000000)::bigint AS us FROM observation.latest
WHERE datastream_id = ANY($1::int[])
"""
# Live ingest may have measured something newer meanwhile.
SET_LATEST = """
INSERT INTO observation.latest AS l (datastream_id, time, value, flags)
SELECT id, timestamptz 'epoch' + us * interval '1 microsecond', value, flags
FROM unnest($1::int[], $2::bigint[], $3::float8[], $4::smallint[]) AS of (id, us, value, flags)
ON CONFLICT (datastream_id) DO UPDATE SET time = excluded.time, value = excluded.value, flags = excluded.flags
WHERE l.time <= excluded.time
"""
RAISE_LAST_SEEN = "SELECT raise_last_seen($1::int[])"
# The last values of these were removed: whatever is the last one now, or none.
DROP_LATEST = """
DELETE FROM observation.latest l USING unnest($1::int[], $2::bigint[]) AS of (id, us)
WHERE l.datastream_id = of.id AND l.time = timestamptz 'epoch' + of.us * interval '1 microsecond'
"""
FIND_LATEST = """
INSERT INTO observation.latest AS l (datastream_id, time, value, flags)
SELECT w.id, m.time, m.value, m.flags
FROM unnest($1::int[]) AS w (id)
CROSS JOIN LATERAL (SELECT time, value, flags FROM observation.measurement
                    WHERE datastream_id = w.id AND flags & 2 = 0 ORDER BY time DESC LIMIT 1) AS m
ORDER BY w.id
ON CONFLICT (datastream_id) DO UPDATE SET time = excluded.time, value = excluded.value, flags = excluded.flags
WHERE l.time < excluded.time
"""


class NotOurs(Exception):
    """The job was cancelled, or another replica has it; what was about to be written is void."""


class StoredUplink(NamedTuple):
    """A stored uplink: what it is decoded from, and what was made of it so far."""

    uplink_id: bytes
    time_us: int
    session_id: int
    f_cnt: int
    f_port: int
    payload: bytes
    received_at_us: int
    status: str
    codec: str | None
    codec_version: int | None
    stated_us: int | None


class Day(NamedTuple):
    """What one transaction replaces: frames of one device that are of one day (UTC)."""

    device_id: int
    interpreted: Sequence[Interpreted]
    own: dict[int, set[int]]  # The frames' instants, and the datastreams whose values there are theirs.
    former: set[tuple[int, int]]  # Datastream and instant of what the former codec had made of them.
    next_us: int  # Frames of this device before it are done with this day.


async def claim_job(pool: Pool, owner: str) -> Redecode | None:
    """The oldest job that nobody is at; None when there is none."""
    row = await pool.fetchrow(TAKE, owner, HELD_FOR)
    return None if row is None else entity(Redecode, row)


async def read_frames(
    pool: Pool, device_id: int, since: datetime, until: datetime, *, only_failed: bool, most: int
) -> list[StoredUplink]:
    """Stored frames of a device in the order of their time, the empty ones apart."""
    rows = await pool.fetch(FRAMES, device_id, since, until, not only_failed, most)
    return [
        StoredUplink(
            row["uplink_id"].bytes,
            row["us"],
            row["session_id"] or 0,
            row["f_cnt"] or 0,
            -1 if row["f_port"] is None else row["f_port"],
            row["payload"],
            row["received_us"],
            row["status"],
            row["codec"],
            row["codec_version"],
            row["stated_us"],
        )
        for row in rows
    ]


async def read_streams(
    pool: Pool, device_id: int, asset_ids: Iterable[int]
) -> dict[tuple[int | None, str], list[tuple[str, str, int]]]:
    """Datastreams (channel, quantity, id) by asset and position; of the device itself under (None, "")."""
    found: dict[tuple[int | None, str], list[tuple[str, str, int]]] = {}
    for row in await pool.fetch(STREAMS, sorted(asset_ids), device_id):
        place = (row["asset_id"], row["position"] if row["asset_id"] is not None else "")
        found.setdefault(place, []).append((row["channel"], row["quantity"], row["id"]))
    return found


async def replace_day(pool: Pool, job: Redecode, owner: str, day: Day) -> None:
    """Replace what a day's frames had given by what they give now, with the job's progress, or nothing of it.

    Raises:
        NotOurs: the job was cancelled, or taken over.
    """
    count = len(day.interpreted)
    failed = sum(one.status != "decoded" for one in day.interpreted)
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute(CAREFULLY)
        removed, written = await _replace_values(connection, day)
        await _update_uplinks(connection, day)
        going_on = await connection.fetchval(
            PROGRESS,
            job.id,
            owner,
            day.device_id,
            from_us(day.next_us),
            count,
            count - failed,
            failed,
            removed,
            written,
            HELD_FOR,
        )
        if going_on is None:
            raise NotOurs(f"redecode {job.id}")


async def _replace_values(connection: Connection, day: Day) -> tuple[int, int]:
    """Remove and write; how many of each. What is there already, with its flag, stays."""
    wanted: dict[tuple[int, int], Row] = {}
    for one in day.interpreted:
        for id_, time_us, value, flags in (*one.rows.values(), *one.history):
            wanted.setdefault((id_, time_us), (id_, time_us, value, int(flags | Flag.REDECODED)))
    stored = await _stored(connection, day, {*wanted, *day.former})
    removed = [key for key in stored if key not in wanted]
    changed = [row for key, row in wanted.items() if stored.get(key) != row]
    touched = sorted({*removed, *(row[:2] for row in changed)})
    if not touched:
        return 0, 0
    first, last = min(us for _, us in touched), max(us for _, us in touched)
    if removed:
        await connection.execute(
            REMOVE, *map(list, zip(*sorted(removed), strict=True)), from_us(first), from_us(last + 1)
        )
    if changed:
        await connection.execute(REPLACE, *map(list, zip(*sorted(changed), strict=True)))
    await connection.execute(FEED, *map(list, zip(*touched, strict=True)))
    await _mark(connection, touched)
    await _update_latest(connection, set(removed), changed)
    return len(removed) + sum(row[:2] in stored for row in changed), len(changed)


async def _stored(connection: Connection, day: Day, keys: set[tuple[int, int]]) -> dict[tuple[int, int], Row]:
    """What is stored of these frames: at their own instants, and at those that were or are in them."""
    first, last = min(day.own), max(day.own)
    streams = {id_ for of_serving in day.own.values() for id_ in of_serving}
    rows = list(await connection.fetch(STORED, sorted(streams), from_us(first), from_us(last + 1)))
    apart = sorted(key for key in keys if not first <= key[1] <= last or key[0] not in streams)
    if apart:
        times = [us for _, us in apart]
        rows += await connection.fetch(
            STORED_AT, *map(list, zip(*apart, strict=True)), from_us(min(times)), from_us(max(times) + 1)
        )
    stored: dict[tuple[int, int], Row] = {}
    for id_, us, value, flags in rows:
        if not flags & STAYS and ((id_, us) in keys or id_ in day.own.get(us, ())):
            stored[id_, us] = (id_, us, value, flags)
    return stored


async def _update_latest(connection: Connection, removed: set[tuple[int, int]], changed: Sequence[Row]) -> None:
    """The last values of the datastreams that were touched: most of them are newer than what was touched."""
    newest: dict[int, Row] = {}
    for row in changed:
        if row[3] & Flag.TIME_SUSPECT:
            continue
        if row[0] not in newest or newest[row[0]][1] < row[1]:
            newest[row[0]] = row
    ids = sorted({*newest, *(id_ for id_, _ in removed)})
    known = {row["datastream_id"]: row["us"] for row in await connection.fetch(KNOWN_LATEST, ids)}
    gone = sorted((id_, us) for id_, us in known.items() if (id_, us) in removed)
    if gone:
        await connection.execute(DROP_LATEST, *map(list, zip(*gone, strict=True)))
        await connection.execute(FIND_LATEST, [id_ for id_, _ in gone])
    newer = [newest[id_] for id_ in sorted(newest) if id_ not in known or known[id_] <= newest[id_][1]]
    if newer:
        await connection.execute(SET_LATEST, *map(list, zip(*newer, strict=True)))
        await connection.execute(RAISE_LAST_SEEN, [row[0] for row in newer])


async def _update_uplinks(connection: Connection, day: Day) -> None:
    of = day.interpreted
    times = [one.uplink.time_us for one in of]
    await connection.execute(
        UPDATE_UPLINKS,
        day.device_id,
        times,
        [uuid_of(one.uplink.uplink_id) for one in of],
        [one.status for one in of],
        [one.reason for one in of],
        [one.document for one in of],
        [one.codec for one in of],
        [one.codec_version for one in of],
        from_us(min(times)),
        from_us(max(times) + 1),
        [one.detail for one in of],
    )


async def _mark(connection: Connection, touched: Iterable[tuple[int, int]]) -> None:
    """Their hours are to be made anew; a counter's value at the very edge ends the hour before."""
    marks = {(hour, id_) for id_, us in touched for hour in (us // HOUR_US, (us - 1) // HOUR_US)}
    await connection.execute(MARK, *map(list, zip(*sorted(marks), strict=True)))

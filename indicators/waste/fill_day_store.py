"""SQL of the days of bins: which are to be made anew, from what, and the one writer of them (decision 0106)."""

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

from core.messages.measurements import SOUND
from core.model.unknown_time import UNKNOWN_AFTER_INTERVALS, known_for
from core.runtime.postgres import Connection
from indicators.waste.emptyings import MOST_FALLS, Emptying
from indicators.waste.fill_days import FillDay, Hold, LevelReading
from registry.feed import FeedState, Position

QUANTITY = "fill_level"
# A sensor that was silent for longer says nothing of when.
LOOK_BACK = timedelta(days=60)
EMPTYING_COLUMNS = ("at", "not_before", "before", "after", "suspect")

READ_CLOCK = "SELECT timezone, (now() AT TIME ZONE timezone)::date AS today FROM deployment"
# As `feed_position()`, which is for those who may not read the table.
READ_FEED_STATE = """
SELECT epoch, pg_snapshot_xmin(pg_current_snapshot()) AS settled, pg_snapshot_xmax(pg_current_snapshot()) AS ahead,
       forgotten_xid, forgotten_number
FROM observation.feed_state
"""
READ_POSITION = "SELECT epoch, xid, number FROM observation.fill_day_reader"
SAVE_POSITION = "UPDATE observation.fill_day_reader SET epoch = $1, xid = $2, number = $3"
# Levels that count, and for how many days after its own a reading of theirs may stand.
_STREAM = f"""
stream AS (
    SELECT d.id, {UNKNOWN_AFTER_INTERVALS} * max(p.expected_interval) AS held_for
    FROM datastream d LEFT JOIN assignment s ON s.asset_id = d.asset_id AND s.position = d.position
    JOIN device v ON v.id IN (d.device_id, s.device_id) JOIN device_profile p ON p.id = v.device_profile_id
    WHERE d.quantity = '{QUANTITY}' AND d.privacy_class < 2
    GROUP BY d.id
)"""
# $1, $2: from which entry of the feed on; $3: below which transaction all is there; $4: how many; $5: time zone.
# An emptying is judged by the readings before it, however long ago, up to $6: by $7 of them.
MARK_CHANGES = f"""
WITH batch AS MATERIALIZED (
    SELECT xid, number, datastream_ids, times FROM observation.feed
    WHERE (xid, number) >= ($1::xid8, $2::bigint) AND xid < $3::xid8 ORDER BY xid, number LIMIT $4
), {_STREAM}, touched AS (
    SELECT u.id, (u.time AT TIME ZONE $5)::date AS first, max(u.time) AS time, max(s.held_for) AS held_for
    FROM batch b CROSS JOIN LATERAL unnest(b.datastream_ids, b.times) AS u (id, time) JOIN stream s ON s.id = u.id
    GROUP BY 1, 2
), day AS (
    SELECT t.id, t.first + n AS day
    FROM touched t
    CROSS JOIN LATERAL generate_series(0, ((t.time + t.held_for) AT TIME ZONE $5)::date - t.first) AS n
    UNION
    SELECT t.id, (m.time AT TIME ZONE $5)::date
    FROM touched t CROSS JOIN LATERAL (
        SELECT m.time FROM observation.measurement m
        WHERE m.datastream_id = t.id AND m.time > t.time AND m.time < t.time + $6::interval AND m.{SOUND}
        ORDER BY m.time LIMIT $7
    ) AS m
), marked AS (
    INSERT INTO observation.fill_day_due (datastream_id, day) SELECT id, day FROM day ON CONFLICT DO NOTHING
)
SELECT xid, number, (SELECT count(*) FROM batch) AS batches FROM batch ORDER BY xid DESC, number DESC LIMIT 1
"""
# Days that have readings, by their rollups or before they have any, with those after them; and those that had some
# when they were made.
MARK_ALL = f"""
WITH {_STREAM}, known AS (
    SELECT r.datastream_id AS id, (r.bucket AT TIME ZONE $1)::date AS day
    FROM observation.rollup_day r WHERE r.n > 0 AND r.datastream_id IN (SELECT id FROM stream)
    UNION
    SELECT u.id, (y.hour AT TIME ZONE $1)::date
    FROM observation.dirty y CROSS JOIN LATERAL unnest(y.datastream_ids) AS u (id)
    WHERE u.id IN (SELECT id FROM stream)
)
INSERT INTO observation.fill_day_due (datastream_id, day)
SELECT k.id, k.day + n
FROM known k JOIN stream s ON s.id = k.id
CROSS JOIN LATERAL generate_series(0, ceil(extract(epoch FROM s.held_for) / 82800)::int) AS n
UNION
SELECT datastream_id, day FROM observation.fill_day
ON CONFLICT DO NOTHING
"""
# Those of one datastream together; $1: days before it are over.
TAKE_DUE = """
WITH taken AS (
    DELETE FROM observation.fill_day_due WHERE ctid = ANY(ARRAY(
        SELECT ctid FROM observation.fill_day_due WHERE day < $1 ORDER BY datastream_id, day LIMIT $2))
    RETURNING datastream_id, day
)
SELECT datastream_id, day FROM taken ORDER BY datastream_id, day
"""
READ_HOLDS = f"""
SELECT d.id, coalesce(lower(s.during), '-infinity') AS since, p.expected_interval
FROM datastream d LEFT JOIN assignment s ON s.asset_id = d.asset_id AND s.position = d.position
JOIN device v ON v.id = coalesce(s.device_id, d.device_id) JOIN device_profile p ON p.id = v.device_profile_id
WHERE d.id = ANY($1::int[]) AND d.quantity = '{QUANTITY}' AND d.privacy_class < 2
ORDER BY d.id, since
"""
READ_FORGOTTEN = """
SELECT id, before FROM observation.forgotten WHERE hypertable = 'measurement' AND (id = 0 OR id = ANY($1::int[]))
"""
# A plan for the very bounds at hand: only chunks within them are looked at.
PLAN_ANEW = "SET LOCAL plan_cache_mode = force_custom_plan"
# $1 to $3: datastreams, from when and until when; $4, $5: between which all of it lies.
READ_LEVELS = f"""
SELECT w.place::int AS place, m.time, m.value
FROM unnest($1::int[], $2::timestamptz[], $3::timestamptz[]) WITH ORDINALITY AS w (id, since, until, place)
JOIN observation.measurement m ON m.datastream_id = w.id AND m.time >= w.since AND m.time < w.until
WHERE m.time >= $4::timestamptz AND m.time < $5::timestamptz AND m.{SOUND}
ORDER BY 1, 2
"""
# As many before a range as one emptying may take, however long ago; $3: not before it.
READ_FORMER = f"""
SELECT w.place::int AS place, m.time, m.value
FROM unnest($1::int[], $2::timestamptz[], $3::timestamptz[]) WITH ORDINALITY AS w (id, since, earliest, place)
CROSS JOIN LATERAL (
    SELECT m.time, m.value FROM observation.measurement m
    WHERE m.datastream_id = w.id AND m.time < w.since AND m.time >= w.earliest AND m.{SOUND}
    ORDER BY m.time DESC LIMIT $4
) AS m
ORDER BY 1, 2
"""
REPLACE_DAY = """
INSERT INTO observation.fill_day AS f (datastream_id, day, seconds, known, at_or_above) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (datastream_id, day) DO UPDATE
SET seconds = excluded.seconds, known = excluded.known, at_or_above = excluded.at_or_above
WHERE (f.seconds, f.known, f.at_or_above) IS DISTINCT FROM (excluded.seconds, excluded.known, excluded.at_or_above)
"""
REMOVE_DAYS = """
DELETE FROM observation.fill_day f USING unnest($1::int[], $2::date[]) AS w (id, day)
WHERE f.datastream_id = w.id AND f.day = w.day
"""
# By the key: there are few of them, and the tables are long.
_PERSONAL = f"SELECT id FROM datastream WHERE quantity = '{QUANTITY}' AND privacy_class = 2"
REMOVE_PERSONAL = f"""
DELETE FROM observation.fill_day WHERE datastream_id = ANY(ARRAY({_PERSONAL}))
"""
REMOVE_PERSONAL_EMPTYINGS = f"""
DELETE FROM observation.emptying WHERE datastream_id = ANY(ARRAY({_PERSONAL}))
"""


REMOVE_EMPTYINGS = """
DELETE FROM observation.emptying WHERE datastream_id = $1 AND at >= $2 AND at < $3 AND at <> ALL($4::timestamptz[])
"""
REPLACE_EMPTYINGS = """
INSERT INTO observation.emptying AS e (datastream_id, at, not_before, before, after, suspect)
SELECT $1, f.* FROM unnest($2::timestamptz[], $3::timestamptz[], $4::float8[], $5::float8[], $6::boolean[]) AS f
ON CONFLICT (datastream_id, at) DO UPDATE
SET not_before = excluded.not_before, before = excluded.before, after = excluded.after, suspect = excluded.suspect
WHERE (e.not_before, e.before, e.after, e.suspect)
      IS DISTINCT FROM (excluded.not_before, excluded.before, excluded.after, excluded.suspect)
"""


class DueDay(NamedTuple):
    """A local day of a datastream."""

    datastream_id: int
    day: date


class LevelRange(NamedTuple):
    """Of a datastream, from when and until when."""

    datastream_id: int
    since: datetime
    until: datetime


async def read_clock(connection: Connection) -> tuple[ZoneInfo, date]:
    """The deployment's time zone, and the local day that goes on."""
    row = await connection.fetchrow(READ_CLOCK)
    assert row is not None  # noqa: S101 - The first migration wrote it.
    return ZoneInfo(row["timezone"]), row["today"]


async def read_feed_state(connection: Connection) -> FeedState:
    """Where the feed is."""
    return FeedState(*(await connection.fetchrow(READ_FEED_STATE) or ()))


async def read_position(connection: Connection) -> tuple[str, Position]:
    """Where our reading of the feed is, and of which database's."""
    row = await connection.fetchrow(READ_POSITION)
    assert row is not None  # noqa: S101 - A migration wrote it.
    return row["epoch"], Position(row["xid"], row["number"], 0)


async def save_position(connection: Connection, epoch: str, position: Position) -> None:
    """From where to go on next time."""
    await connection.execute(SAVE_POSITION, epoch, position.xid, position.number)


async def mark_changes(
    connection: Connection, since: Position, settled: int, most: int, zone: ZoneInfo
) -> Position | None:
    """Mark the days that entries from `since` on touch; returns from where to go on when there is more to read."""
    last = await connection.fetchrow(
        MARK_CHANGES, since.xid, since.number, settled, most, zone.key, LOOK_BACK, MOST_FALLS + 1
    )
    if last is None or last["batches"] < most:
        return None
    return Position(last["xid"], last["number"] + 1, 0)


async def mark_all(connection: Connection, zone: ZoneInfo) -> None:
    """Mark every day of which something is or was known."""
    await connection.execute(MARK_ALL, zone.key)


async def take_due(connection: Connection, today: date, most: int) -> list[DueDay]:
    """Days that are over and to be made anew, in order; they are marked no more."""
    return [DueDay(*row) for row in await connection.fetch(TAKE_DUE, today, most)]


async def read_holds(connection: Connection, datastreams: Sequence[int]) -> dict[int, list[Hold]]:
    """For how long readings of each of these stand, which are levels of bins; others are left out."""
    holds: dict[int, list[Hold]] = {}
    for id_, since, interval in await connection.fetch(READ_HOLDS, datastreams):
        holds.setdefault(id_, []).append(Hold(since, known_for(interval)))
    return holds


async def read_forgotten(connection: Connection, datastreams: Sequence[int]) -> dict[int, datetime]:
    """Before when readings of a datastream were deleted by age; of 0: of all."""
    return {row["id"]: row["before"] for row in await connection.fetch(READ_FORGOTTEN, datastreams)}


async def read_levels(connection: Connection, ranges: Sequence[LevelRange]) -> list[list[LevelReading]]:
    """Sound readings of each of these, in order."""
    found: list[list[LevelReading]] = [list[LevelReading]() for _ in ranges]
    if ranges:
        await connection.execute(PLAN_ANEW)
        ids, begins, ends = ([one[column] for one in ranges] for column in range(3))
        rows = await connection.fetch(READ_LEVELS, ids, begins, ends, min(begins), max(ends))
        for row in rows:
            place: int = row["place"]
            found[place - 1].append(LevelReading(row["time"], row["value"]))
    return found


async def replace_days(connection: Connection, made: Sequence[tuple[int, FillDay]]) -> None:
    """These days are now so; one of which nothing is known has no row."""
    nothing = [(id_, day.day) for id_, day in made if not day.known]
    if nothing:
        await connection.execute(REMOVE_DAYS, [one[0] for one in nothing], [one[1] for one in nothing])
    rows = [(id_, day.day, day.seconds, day.known, day.at_or_above) for id_, day in made if day.known]
    await connection.executemany(REPLACE_DAY, rows)


async def read_former(connection: Connection, ranges: Sequence[LevelRange], most: int) -> list[list[LevelReading]]:
    """The last sound readings before each of these, in order: at most so many, of the last two months."""
    found: list[list[LevelReading]] = [list[LevelReading]() for _ in ranges]
    if ranges:
        ids, begins = [one.datastream_id for one in ranges], [one.since for one in ranges]
        earliest = [since - LOOK_BACK for since in begins]
        for row in await connection.fetch(READ_FORMER, ids, begins, earliest, most):
            place: int = row["place"]
            found[place - 1].append(LevelReading(row["time"], row["value"]))
    return found


async def replace_emptyings(
    connection: Connection, found: Sequence[tuple[LevelRange, Sequence[Emptying]]]
) -> None:
    """In each of these times the bin was emptied then, and at no other instant."""
    for within, ones in found:
        columns = [[getattr(one, name) for one in ones] for name in EMPTYING_COLUMNS]
        await connection.execute(REMOVE_EMPTYINGS, *within, columns[0])
        if ones:
            await connection.execute(REPLACE_EMPTYINGS, within.datastream_id, *columns)


async def remove_personal(connection: Connection) -> None:
    """Of a dwelling nothing is kept here."""
    await connection.execute(REMOVE_PERSONAL)
    await connection.execute(REMOVE_PERSONAL_EMPTYINGS)


def longest(holds: Sequence[Hold]) -> timedelta:
    """The longest for which a reading may stand."""
    return max(hold.held_for for hold in holds)

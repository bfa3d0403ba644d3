"""Days of many datastreams at once, in the deployment's calendar: from rollups, and today from hours and raw."""

from bisect import insort
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

from core.messages.measurements import SOUND, UNSOUND
from core.model.consumption import Bucket
from core.model.quantities import QUANTITIES, Kind
from core.model.time_weighted import StatePiece, StateReading, state_means
from core.model.unknown_time import known_for
from core.runtime.postgres import Connection
from ingest.series.buckets import HOUR

DAY_AT_MOST = timedelta(hours=25)
COUNTERS = sorted(name for name, quantity in QUANTITIES.items() if quantity.kind is Kind.COUNTER)

# What a rollup holds of raw measurements; suspects (flags 1 and 2) are counted only.
AGGREGATED = f"""
           (count(*) FILTER (WHERE {SOUND}))::int AS n,
           (count(*) FILTER (WHERE {UNSOUND}))::int AS suspects,
           sum(value) FILTER (WHERE {SOUND}) AS sum,
           min(value) FILTER (WHERE {SOUND}) AS min, max(value) FILTER (WHERE {SOUND}) AS max,
           first(value, time) FILTER (WHERE {SOUND}) AS first,
           last(value, time) FILTER (WHERE {SOUND}) AS last
"""
SELECT_DATASTREAMS = """
SELECT d.id, d.asset_id, d.quantity FROM datastream d LEFT JOIN asset a ON a.id = d.asset_id
WHERE ($1::int[] IS NULL OR d.id = ANY($1)) AND ($2::text IS NULL OR a.kind = $2)
  AND ($3::text IS NULL OR d.quantity = $3)
ORDER BY d.id LIMIT $4
"""
# The whole days that touch the range, and from which on they are not over.
FRAME = """
SELECT date_trunc('day', $1::timestamptz, timezone) AS since,
       date_add(date_trunc('day', $2::timestamptz - interval '1 microsecond', timezone),
                interval '1 day', timezone) AS until,
       now() AS now, date_trunc('hour', now(), 'UTC') AS open, date_trunc('day', now(), timezone) AS today,
       date_add(date_trunc('day', now(), timezone), interval '1 day', timezone) AS tomorrow, timezone
FROM deployment
"""
# Hours whose rollups are behind, and the days that hold them.
STALE = """
SELECT DISTINCT datastream_id, hour, date_trunc('day', hour, $4) AS day FROM unrolled
WHERE datastream_id = ANY($1::int[]) AND hour >= $2 AND hour < $3
"""
# $1: datastreams; $2 to $3: days. Arrays, for what costs is the row: sixty thousand days are two thousand rows.
READY_DAYS = """
SELECT datastream_id, array_agg(bucket), array_agg(n), array_agg(suspects), array_agg(min), array_agg(max),
       array_agg(sum / nullif(n, 0)), array_agg(first), array_agg(last)
FROM rollup_day
WHERE datastream_id = ANY($1::int[]) AND bucket >= $2 AND bucket < $3
GROUP BY datastream_id ORDER BY datastream_id
"""
INDEXES = "SELECT id FROM datastream WHERE id = ANY($1::int[]) AND quantity = ANY($2::text[])"
# $1, $2: datastreams and days to put together; $3: time zone; $4: from when on all is raw; $5, $6: datastreams and
# hours before that are raw, between $7 and $8; $9: whose raw from $4 to $10 belongs to it; $11: which are indexes;
# $12: the first of the days.
TORN_DAYS = f"""
WITH piece AS (
    SELECT h.datastream_id AS id, h.bucket, h.n, h.suspects, h.sum, h.min, h.max, h.first, h.last
    FROM unnest($1::int[], $2::timestamptz[]) AS t (id, day)
    JOIN rollup_hour h ON h.datastream_id = t.id AND h.bucket >= t.day
         AND h.bucket < least(date_add(t.day, interval '1 day', $3), $4::timestamptz)
         AND h.bucket >= $12::timestamptz AND h.bucket < $4
    WHERE NOT EXISTS (SELECT FROM unnest($5::int[], $6::timestamptz[]) AS s (id, hour)
                      WHERE s.id = h.datastream_id AND s.hour = h.bucket)
    UNION ALL
    SELECT s.id, s.hour, {AGGREGATED}
    FROM unnest($5::int[], $6::timestamptz[]) AS s (id, hour)
    JOIN measurement m ON m.datastream_id = s.id
         AND m.time >= s.hour AND m.time <= s.hour + interval '1 hour'
    WHERE m.time >= $7::timestamptz AND m.time <= $8::timestamptz
      AND CASE WHEN m.datastream_id = ANY($11::int[])
          THEN m.time > s.hour ELSE m.time < s.hour + interval '1 hour' END
    GROUP BY s.id, s.hour
    UNION ALL
    SELECT datastream_id, date_trunc('hour', time - edge, 'UTC'), {AGGREGATED}
    FROM (
        SELECT datastream_id, time, value, flags,
               CASE WHEN datastream_id = ANY($11) THEN interval '1 microsecond' ELSE interval '0' END AS edge
        FROM measurement WHERE datastream_id = ANY($9::int[]) AND time >= $4 AND time <= $10::timestamptz
    ) AS reading
    WHERE time - edge >= $4 AND time - edge < $10
    GROUP BY 1, 2
)
SELECT id AS datastream_id, date_trunc('day', bucket, $3) AS day, sum(n)::int AS readings,
       sum(suspects)::int AS suspects, min(min) AS minimum, max(max) AS maximum,
       sum(sum) / nullif(sum(n), 0) AS mean,
       first(first, bucket) FILTER (WHERE n > 0) AS first, last(last, bucket) FILTER (WHERE n > 0) AS last
FROM piece GROUP BY 1, 2
"""
STATE_QUANTITIES = sorted(name for name, quantity in QUANTITIES.items() if quantity.kind is Kind.BOOLEAN)
STATES = """
SELECT d.id, (SELECT p.expected_interval FROM counter_profiles(d.id) p ORDER BY p.since DESC LIMIT 1)
FROM datastream d WHERE d.id = ANY($1::int[]) AND d.quantity = ANY($2::text[])
"""
# How long states were known and what they were, by ready day, else by hour.
# $1, $2: datastreams, and how long each is known after a reading; $3: from when on, before the first day;
# $4: days before it are ready but those of $6 and $7; $5: the end; $8: time zone; $9: from when on all is raw;
# $10, $11: raw hours before, the first one is $12.
STATE_PIECES = f"""
SELECT r.datastream_id AS id, r.bucket, date_add(r.bucket, interval '1 day', $8) AS ends, r.first_at, r.last_at,
       r.last, r.seconds, r.weighted
FROM rollup_day r
WHERE r.datastream_id = ANY($1::int[]) AND r.bucket >= $3 AND r.bucket < $4 AND r.n > 0
  AND NOT EXISTS (SELECT FROM unnest($6::int[], $7::timestamptz[]) AS t (id, day)
                  WHERE t.id = r.datastream_id AND t.day = r.bucket)
UNION ALL
SELECT h.datastream_id, h.bucket, h.bucket + interval '1 hour', h.first_at, h.last_at, h.last, h.seconds,
       h.weighted
FROM unnest($6::int[], $7::timestamptz[]) AS t (id, day)
JOIN rollup_hour h ON h.datastream_id = t.id AND h.bucket >= t.day
     AND h.bucket < least(date_add(t.day, interval '1 day', $8), $9::timestamptz)
     AND h.bucket >= $3 AND h.bucket < $9
WHERE h.n > 0 AND NOT EXISTS (SELECT FROM unnest($10::int[], $11::timestamptz[]) AS s (id, hour)
                              WHERE s.id = h.datastream_id AND s.hour = h.bucket)
UNION ALL
SELECT id, bucket, bucket + interval '1 hour', min(time), max(time), last(value, time), sum(seconds),
       sum(seconds * value)
FROM (
    SELECT id, bucket, time, value,
           greatest(0, extract(epoch FROM least(lead(time) OVER in_time, bucket + interval '1 hour',
                                                time + held_for, now()) - time))::float8 AS seconds
    FROM (
        SELECT s.id, date_trunc('hour', m.time, 'UTC') AS bucket, m.time, m.value, s.held_for
        FROM unnest($1, $2::interval[]) AS s (id, held_for) JOIN measurement m ON m.datastream_id = s.id
        WHERE m.time >= $12::timestamptz AND m.time < $5::timestamptz AND m.{SOUND}
          AND (m.time >= $9 OR EXISTS (SELECT FROM unnest($10, $11) AS x (id, hour)
                                       WHERE x.id = s.id AND x.hour = date_trunc('hour', m.time, 'UTC')))
    ) AS raw
    WINDOW in_time AS (PARTITION BY id, bucket ORDER BY time)
) AS reading GROUP BY id, bucket
ORDER BY 1, 2
"""
# The days before may be behind what is raw.
STATES_BEFORE = f"""
SELECT s.id, m.time, m.value
FROM unnest($1::int[], $2::interval[]) AS s (id, held_for)
CROSS JOIN LATERAL (SELECT time, value FROM measurement
                    WHERE datastream_id = s.id AND time < $3 AND time >= $3 - s.held_for AND time >= $4
                      AND {SOUND}
                    ORDER BY time DESC LIMIT 1) AS m
"""


class Selected(NamedTuple):
    """A datastream that is visible and asked for."""

    id: int
    asset_id: int | None
    quantity: str


class Day(NamedTuple):
    """A datastream's sound readings of one local day, which begins at `since`; suspects are counted only."""

    since: datetime
    readings: int
    suspects: int
    minimum: float | None
    maximum: float | None
    mean: float | None
    first: float | None
    last: float | None


@dataclass(frozen=True, slots=True)
class _BucketRange:
    since: datetime
    until: datetime
    now: datetime
    open: datetime
    today: datetime
    tomorrow: datetime
    timezone: str

    @property
    def ready(self) -> datetime:
        """Days before are over."""
        return max(self.since, min(self.until, self.today))


@dataclass(frozen=True, slots=True)
class _Torn:
    """What is not ready made: the days to put together, and their hours that are to be read from raw."""

    days: set[tuple[int, datetime]]
    hours: list[tuple[int, datetime]]


async def select_datastreams(
    connection: Connection,
    datastream_ids: Sequence[int] | None,
    *,
    asset_kind: str | None = None,
    quantity: str | None = None,
    most: int,
) -> list[Selected]:
    """Those of these datastreams that are visible, by id; None: of all."""
    rows = await connection.fetch(SELECT_DATASTREAMS, datastream_ids, asset_kind, quantity, most)
    return [Selected(*row) for row in rows]


async def read_daily(
    connection: Connection, datastream_ids: Sequence[int], since: datetime, until: datetime
) -> dict[int, list[Day]]:
    """The days that touch the range and have readings, in order, of each datastream that has any."""
    frame, torn = await _frame(connection, datastream_ids, since, until)
    daily: dict[int, list[Day]] = {}
    for datastream_id, *columns in await connection.fetch(READY_DAYS, datastream_ids, frame.since, frame.ready):
        daily[datastream_id] = sorted(map(Day._make, zip(*columns, strict=True)))
    if torn.days:
        for datastream_id in {datastream_id for datastream_id, _ in torn.days} & daily.keys():
            days = daily[datastream_id]
            daily[datastream_id] = [day for day in days if (datastream_id, day.since) not in torn.days]
        for datastream_id, day in await _put_together(connection, frame, torn):
            insort(daily.setdefault(datastream_id, []), day)
    await _average_states(connection, frame, torn, daily)
    return {datastream_id: daily[datastream_id] for datastream_id in sorted(daily) if daily[datastream_id]}


async def _average_states(
    connection: Connection, frame: _BucketRange, torn: _Torn, daily: dict[int, list[Day]]
) -> None:
    """The means of states are those of the time that they lasted."""
    expected = await connection.fetch(STATES, list(daily), STATE_QUANTITIES)
    if not expected:
        return
    held = {row["id"]: known_for(row["expected_interval"]) for row in expected}
    days, hours = (
        sorted(day for day in torn.days if day[0] in held),
        [hour for hour in torn.hours if hour[0] in held],
    )
    rows = await connection.fetch(
        STATE_PIECES,
        list(held),
        list(held.values()),
        frame.since - max(held.values()),
        frame.ready,
        frame.until,
        [day[0] for day in days],
        [day[1] for day in days],
        frame.timezone,
        frame.open,
        [hour[0] for hour in hours],
        [hour[1] for hour in hours],
        min([frame.open, *(hour[1] for hour in hours)]),
    )
    pieces: dict[int, list[StatePiece]] = {}
    before: dict[int, StateReading] = {}
    for id_, bucket, *piece in rows:
        one = StatePiece(*piece)
        if bucket >= frame.since:
            pieces.setdefault(id_, []).append(one)
        elif one.last_at is not None:
            before[id_] = StateReading(one.last_at, one.last)
    longest = frame.since - max(held.values())
    for id_, at, value in await connection.fetch(
        STATES_BEFORE, list(held), list(held.values()), frame.since, longest
    ):
        if id_ not in before or before[id_].at <= at:
            before[id_] = StateReading(at, value)
    zone = ZoneInfo(frame.timezone)
    for id_, held_for in held.items():
        buckets = [Bucket(day.since, _end_of_day(day.since, zone)) for day in daily[id_]]
        of_days = [piece for piece in pieces.get(id_, []) if piece.until <= buckets[-1].until]
        means = state_means(buckets, of_days, before.get(id_), held_for, min(frame.until, frame.now))
        daily[id_] = [day._replace(mean=mean) for day, mean in zip(daily[id_], means, strict=True)]


def _end_of_day(since: datetime, zone: ZoneInfo) -> datetime:
    following = since.astimezone(zone).date() + timedelta(days=1)
    return datetime.combine(following, datetime.min.time(), zone).astimezone(UTC)


async def _frame(
    connection: Connection, datastream_ids: Sequence[int], since: datetime, until: datetime
) -> tuple[_BucketRange, _Torn]:
    row = await connection.fetchrow(FRAME, since, until)
    assert row is not None  # noqa: S101 - The first migration wrote it.
    frame = _BucketRange(**dict(row.items()))
    closed = min(frame.until, frame.open)
    stale = await connection.fetch(STALE, datastream_ids, frame.since, closed, frame.timezone)
    days = {(row["datastream_id"], row["day"]) for row in stale}
    # Ingest takes no instant from further ahead than a clock may be fast: today and tomorrow go on, no other day.
    for day in (frame.today, frame.tomorrow):
        if frame.since <= day < frame.until:
            days |= {(datastream_id, day) for datastream_id in datastream_ids}
    return frame, _Torn(days, [(row["datastream_id"], row["hour"]) for row in stale])


async def _put_together(connection: Connection, frame: _BucketRange, torn: _Torn) -> list[tuple[int, Day]]:
    ids, days = [day[0] for day in torn.days], [day[1] for day in torn.days]
    hours = [hour for _, hour in torn.hours]
    indexes = [row["id"] for row in await connection.fetch(INDEXES, sorted(set(ids)), COUNTERS)]
    today = sorted({day[0] for day in torn.days if day[1] >= frame.ready})
    rows = await connection.fetch(
        TORN_DAYS,
        ids,
        days,
        frame.timezone,
        frame.open,
        [datastream_id for datastream_id, _ in torn.hours],
        hours,
        min(hours, default=frame.open),
        max(hours, default=frame.open) + HOUR,
        today,
        min(frame.until, max(frame.open, *days) + DAY_AT_MOST) if today else frame.open,
        indexes,
        min(days, default=frame.open),
    )
    return [(id_, Day._make(day)) for id_, *day in rows if (id_, day[0]) in torn.days]

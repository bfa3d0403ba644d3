"""What many indexes have counted yesterday, this week and last week, by the rules of a single one."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby, pairwise
from operator import itemgetter

from api.daily_store import STALE
from core.messages.measurements import SOUND
from core.model.consumption import Amount, Bucket, IndexReading, MeterChange, Modulus, consumption
from core.model.unknown_time import known_for
from core.runtime.postgres import Connection, Record
from ingest.series.buckets import HOUR, Piece, finite, indexes_of
from ingest.series.series_statements import CHANGES_OF_MANY

# Days and weeks of the deployment's calendar. What was read in the days before last week begins the count.
CALENDAR = """
SELECT timezone, now() AS now, date_trunc('hour', now(), 'UTC') AS open, today,
       date_add(today, interval '-1 day', timezone) AS yesterday,
       date_add(today, interval '1 day', timezone) AS tomorrow,
       week, date_add(week, interval '-7 days', timezone) AS last_week,
       date_add(week, interval '7 days', timezone) AS next_week,
       date_add(week, interval '-15 days', timezone) AS beginning
FROM (SELECT timezone, date_trunc('day', now(), timezone) AS today, date_trunc('week', now(), timezone) AS week
      FROM deployment) AS calendar
"""
ROLLED_UP = "n, suspects, min, max, first, last, first_at, last_at, seconds, weighted, falls"
# $1: indexes; $2 to $3: days that are over; $4: from when on all is raw; $5, $6: indexes and hours before it that
# are raw; $7: days to put together from hours, beside $8; $9: time zone; $10: the first raw instant.
PIECES_OF_MANY = f"""
SELECT datastream_id, bucket, date_add(bucket, interval '1 day', $9) AS ends, {ROLLED_UP} FROM rollup_day r
WHERE datastream_id = ANY($1::int[]) AND bucket >= $2 AND bucket < $3 AND n > 0
  AND NOT EXISTS (SELECT FROM unnest($8::int[], $7::timestamptz[]) AS t (id, day)
                  WHERE t.id = r.datastream_id AND t.day = r.bucket)
UNION ALL
SELECT h.datastream_id, h.bucket, h.bucket + interval '1 hour', {ROLLED_UP}
FROM unnest($8, $7) AS t (id, day)
JOIN rollup_hour h ON h.datastream_id = t.id AND h.bucket >= t.day
     AND h.bucket < least(date_add(t.day, interval '1 day', $9), $4::timestamptz)
     AND h.bucket >= $2 AND h.bucket < $4
WHERE n > 0 AND NOT EXISTS (SELECT FROM unnest($5::int[], $6::timestamptz[]) AS s (id, hour)
                            WHERE s.id = h.datastream_id AND s.hour = h.bucket)
UNION ALL
SELECT m.datastream_id, m.time, m.time, 1, 0, m.value, m.value, m.value, m.value, m.time, m.time,
       NULL::float8, NULL::float8, NULL::float8[]
FROM measurement m
WHERE m.datastream_id = ANY($1) AND m.time > $10::timestamptz AND m.{SOUND}
  AND (m.time > $4 OR EXISTS (SELECT FROM unnest($5, $6) AS s (id, hour)
                              WHERE s.id = m.datastream_id AND m.time > s.hour
                                AND m.time <= s.hour + interval '1 hour'))
ORDER BY 1, 3
"""
PROFILES_OF_MANY = """
SELECT s.id, p.since, p.modulus, p.expected_interval
FROM unnest($1::int[]) AS s (id) CROSS JOIN LATERAL counter_profiles(s.id) AS p ORDER BY s.id, p.since
"""


@dataclass(frozen=True, slots=True)
class Consumed:
    """What an index has counted; None where no two readings say it. What gaps took is in no other figure."""

    yesterday: float | None
    week: float | None
    last_week: float | None
    gaps: tuple[Amount, ...] = ()
    yesterday_is_whole: bool = True
    """No gap has taken a part of yesterday; `gaps` are those that reach over a week's edge or fill a week."""


@dataclass(frozen=True, slots=True)
class _Calendar:
    timezone: str
    now: datetime
    open: datetime
    today: datetime
    yesterday: datetime
    tomorrow: datetime
    week: datetime
    last_week: datetime
    next_week: datetime
    beginning: datetime

    def days(self) -> list[Bucket]:
        """All before yesterday, yesterday, today."""
        return _between(self.beginning, self.yesterday, self.today, self.tomorrow)

    def weeks(self) -> list[Bucket]:
        """The days before last week, last week, this one."""
        return _between(self.beginning, self.last_week, self.week, self.next_week)


def _between(*edges: datetime) -> list[Bucket]:
    return [Bucket(since, until) for since, until in pairwise(edges)]


async def read_consumed(connection: Connection, datastream_ids: Sequence[int]) -> dict[int, Consumed]:
    """Of each of these indexes that was read since the days before last week."""
    row = await connection.fetchrow(CALENDAR)
    assert row is not None  # noqa: S101 - The first migration wrote it.
    calendar = _Calendar(**dict(row.items()))
    stale = await connection.fetch(STALE, datastream_ids, calendar.beginning, calendar.open, calendar.timezone)
    hours = [(one["datastream_id"], one["hour"]) for one in stale]
    torn = {(one["datastream_id"], one["day"]) for one in stale}
    torn |= {(datastream_id, calendar.today) for datastream_id in datastream_ids}
    rows = await connection.fetch(
        PIECES_OF_MANY,
        datastream_ids,
        calendar.beginning,
        calendar.today,
        calendar.open,
        [id_ for id_, _ in hours],
        [hour for _, hour in hours],
        [day for _, day in torn],
        [id_ for id_, _ in torn],
        calendar.timezone,
        min([calendar.open, *(hour for _, hour in hours)]),
    )
    changes: dict[int, list[MeterChange]] = {}
    for id_, *change in await connection.fetch(CHANGES_OF_MANY, datastream_ids):
        changes.setdefault(id_, []).append(MeterChange(*change))
    moduli: dict[int, list[Modulus]] = {}
    expected: dict[int, timedelta] = {}
    for id_, since, modulus, interval in await connection.fetch(PROFILES_OF_MANY, datastream_ids):
        moduli.setdefault(id_, []).append(Modulus(finite(since), modulus))
        expected[id_] = interval
    return {
        id_: _consumed(calendar, pieces, changes.get(id_, []), moduli.get(id_, []), expected.get(id_, HOUR))
        for id_, pieces in groupby(rows, itemgetter(0))
    }


def _consumed(
    calendar: _Calendar,
    rows: Iterable[Record],
    changes: list[MeterChange],
    moduli: list[Modulus],
    expected: timedelta,
) -> Consumed:
    readings: list[IndexReading] = []
    for _, *row in rows:
        piece = Piece(*row)
        readings += indexes_of(piece, [one for one in changes if piece.since < one.at <= piece.until])
    known = [change for change in changes if readings and change.at > readings[0].at]
    of_days = consumption(calendar.days(), readings, known, moduli, known_for(expected))
    of_weeks = consumption(calendar.weeks(), readings, known, moduli, known_for(expected))
    _, yesterday, _ = of_days.by_bucket
    _, last_week, week = of_weeks.by_bucket
    gaps = [gap for gap in of_weeks.gaps if gap.until > calendar.last_week]
    is_whole = not any(gap.since < calendar.today and gap.until > calendar.yesterday for gap in of_days.gaps)
    return Consumed(yesterday, week, last_week, tuple(gaps), is_whole)

"""SQL of buckets of many datastreams: what rollups hold of them, and raw where these are behind."""

from core.messages.measurements import SOUND

# With it, in one round trip: to the end of the transaction statements are planned for their bounds. A plan for
# any, which a connection would go over to after five times, locks every part of the tables that there is.
CLOCK = """
SELECT now() AS now, date_trunc('hour', now(), 'UTC') AS open, timezone,
       set_config('plan_cache_mode', 'force_custom_plan', true)
FROM deployment
"""
CHANGES_OF_MANY = """
SELECT datastream_id, at, final_index, initial_index FROM meter_change WHERE datastream_id = ANY($1::int[])
ORDER BY datastream_id, at
"""
# Hours whose rollups are behind, whenever they were.
STALE = "SELECT DISTINCT datastream_id, hour FROM unrolled WHERE datastream_id = ANY($1::int[]) AND hour < $2"


def _arrays(table: str, columns: str, also: str = "") -> str:
    # $1: datastreams; $2 to $3: buckets. One after the other: together they would be joined with their policies
    # row by row, and sorted, which takes a fifth longer for days and two fifths for years.
    aggregated = ", ".join(f"array_agg({column})" for column in columns.split(", "))
    return f"""
SELECT s.id, a.* FROM unnest($1::int[]) AS s (id) CROSS JOIN LATERAL (
    SELECT {aggregated}{also} FROM {table}
    WHERE datastream_id = s.id AND bucket >= $2 AND bucket < $3 HAVING count(*) > 0) AS a
"""


COLUMNS = "bucket, n, suspects, min, max, first, last"
ORDERED = "first_at, last_at, seconds, weighted"
FALLS = """,
       array_agg(bucket) FILTER (WHERE falls IS NOT NULL),
       array_agg(falls::text) FILTER (WHERE falls IS NOT NULL)"""
DAYS = _arrays("rollup_day", f"{COLUMNS}, sum")
HOURS = _arrays("rollup_hour", f"{COLUMNS}, sum")
DAYS_IN_ORDER = _arrays("rollup_day", f"{COLUMNS}, {ORDERED}", FALLS)
HOURS_IN_ORDER = _arrays("rollup_hour", f"{COLUMNS}, {ORDERED}", FALLS)
# Of datastreams that may be read whole: their policy is asked once and not for each row (migration 0135).
# $1: datastreams; $2 to $3: buckets.
PACKED_DAYS = "SELECT * FROM packed_days($1, $2, $3)"
PACKED_HOURS = "SELECT * FROM packed_hours($1, $2, $3)"
PACKED_INDEXES = "SELECT * FROM packed_indexes($1, $2, $3)"
# $1, $2: datastreams and days that are to be put together from their hours; $3: time zone; $4 to $5: between which
# all of them lie, so that no other part of the table is looked at.
HOURS_OF_DAYS = f"""
SELECT h.datastream_id, {COLUMNS}, sum, {ORDERED}, falls
FROM unnest($1::int[], $2::timestamptz[]) AS t (id, day)
JOIN rollup_hour h ON h.datastream_id = t.id AND h.bucket >= t.day
     AND h.bucket < date_add(t.day, interval '1 day', $3)
     AND h.bucket >= $4::timestamptz AND h.bucket < $5::timestamptz
"""
# $1: datastreams; $2 to $3: instants, both of them included.
RAW = f"""
SELECT datastream_id, time, value, {SOUND} AS is_sound, NULL::timestamptz AS hour FROM measurement
WHERE datastream_id = ANY($1::int[]) AND time >= $2 AND time <= $3
"""
# $1, $2: datastreams and hours; $3 to $4: between which all of them lie.
RAW_OF_HOURS = f"""
SELECT s.id AS datastream_id, m.time, m.value, m.{SOUND} AS is_sound, s.hour
FROM unnest($1::int[], $2::timestamptz[]) AS s (id, hour)
JOIN measurement m ON m.datastream_id = s.id AND m.time >= s.hour AND m.time <= s.hour + interval '1 hour'
WHERE m.time >= $3::timestamptz AND m.time <= $4::timestamptz
"""
# The last hours with a reading from $4 on and before $3, of each of $1 so many as $2 says.
HOURS_BEFORE = """
SELECT s.id, b.bucket, coalesce(b.last_at, b.bucket + interval '1 hour') AS at, b.last, b.last_at IS NOT NULL
FROM unnest($1::int[], $2::int[]) AS s (id, most)
CROSS JOIN LATERAL (SELECT bucket, last, last_at FROM rollup_hour
                    WHERE datastream_id = s.id AND bucket < $3 AND bucket >= $4::timestamptz AND n > 0
                    ORDER BY bucket DESC LIMIT s.most) AS b
ORDER BY 1, 2 DESC
"""
# The very readings of a piece in which a meter was changed.
RAW_INDEXES = f"""
SELECT time, value FROM measurement
WHERE datastream_id = $1 AND time > $2 AND time <= $3 AND {SOUND} ORDER BY time
"""

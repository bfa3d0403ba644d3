"""Keeps a second, different value for one instant beside the first; SQL decides which of them counts."""

from collections.abc import Iterable

from core.messages.measurements import Flag
from core.messages.uplinks import Uplink
from core.runtime.postgres import Connection
from ingest.pipeline import Interpreted, Row
from lorawan.instants import from_us

# What was stated of an instant: datastream, time in microseconds since 1970 UTC, value.
Stated = tuple[int, int, float]

# What is stored otherwise, of new uplinks ($4), or is a correction that is known already. $5 and $6 bound the
# time, so that only the chunks in question are planned for.
FIND = """
SELECT w.place
FROM unnest($1::int[], $2::bigint[], $3::float8[], $4::boolean[]) WITH ORDINALITY
     AS w (id, us, value, is_new, place)
JOIN observation.measurement m
  ON m.datastream_id = w.id AND m.time = timestamptz 'epoch' + w.us * interval '1 microsecond'
WHERE m.time >= $5::timestamptz AND m.time <= $6::timestamptz
  AND (w.is_new AND m.value <> w.value
       OR EXISTS (SELECT FROM observation.correction c
                  WHERE c.datastream_id = w.id AND c.time = m.time AND c.value = w.value
                    AND c.received_at IS NOT NULL))
ORDER BY w.place
"""
KEEP = "SELECT observation.keep_correction($1, $2, $3, $4, $5)"


async def keep_corrections(
    connection: Connection, uplinks: Iterable[Interpreted], new: Iterable[Interpreted]
) -> set[Stated]:
    """Keep what the new ones of these uplinks say otherwise than is stored, in their order.

    Returns which of their values are corrections, now or since an earlier delivery: nobody is notified of them.
    An instant that was put in the place of an incredible one says nothing of itself.
    """
    new_ids = {interpreted.uplink.uplink_id for interpreted in new}
    stated: list[tuple[Row, Uplink]] = []
    for interpreted in uplinks:
        rows = [*interpreted.rows.values(), *interpreted.history]
        stated += [(row, interpreted.uplink) for row in rows if not row[3] & Flag.TIME_SUSPECT]
    if not stated:
        return set()
    ids, times, values = (
        [row[0] for row, _ in stated],
        [row[1] for row, _ in stated],
        [row[2] for row, _ in stated],
    )
    is_new = [uplink.uplink_id in new_ids for _, uplink in stated]
    found = await connection.fetch(FIND, ids, times, values, is_new, from_us(min(times)), from_us(max(times)))
    corrections: set[Stated] = set()
    places: list[int] = [one["place"] - 1 for one in found]
    for place in places:
        row, uplink = stated[place]
        datastream_id, time_us, value, flags = row
        if uplink.uplink_id in new_ids:
            source_id = uplink.source_id or None
            await connection.fetchval(KEEP, datastream_id, from_us(time_us), value, int(flags), source_id)
        corrections.add((datastream_id, time_us, value))
    return corrections

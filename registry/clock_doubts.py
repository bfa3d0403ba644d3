"""Who states instants that are not credible, counted; what repeats it is asked to be alerted of."""

from collections.abc import Sequence
from typing import NamedTuple

from core.runtime.postgres import Connection
from registry.alert_requests import request_clock_alerts

REPEATED = 3  # One wrong instant is a restart; this many, with less than a day between them, are a wrong clock.
COUNT = """
INSERT INTO clock_doubt AS known (tenant_id, source_id, device_id, times, last_at)
SELECT tenant_id, source_id, device_id, count(*), timestamptz 'epoch' + max(us) * interval '1 microsecond'
FROM unnest($1::int[], $2::int[], $3::int[], $4::bigint[]) AS doubt (tenant_id, source_id, device_id, us)
GROUP BY tenant_id, source_id, device_id ORDER BY tenant_id, source_id, device_id
ON CONFLICT (tenant_id, source_id, device_id) DO UPDATE
SET times = excluded.times
          + CASE WHEN excluded.last_at - known.last_at < interval '1 day' THEN known.times ELSE 0 END,
    last_at = greatest(known.last_at, excluded.last_at)
"""
# Asked for anew once a day, in case somebody has ended the alert although the clock is still wrong.
REPEATING = """
UPDATE clock_doubt d SET requested_at = d.last_at
FROM unnest($1::int[], $2::int[], $3::int[]) AS doubt (tenant_id, source_id, device_id)
WHERE (d.tenant_id, d.source_id, d.device_id) = (doubt.tenant_id, doubt.source_id, doubt.device_id)
  AND d.times >= $4 AND (d.requested_at IS NULL OR d.last_at - d.requested_at >= interval '1 day')
RETURNING d.tenant_id, nullif(d.source_id, 0) AS source_id, nullif(d.device_id, 0) AS device_id, d.last_at
"""


class ClockDoubt(NamedTuple):
    """An uplink with an instant that is not credible, by the clock of a source or (0) of the device."""

    tenant_id: int
    source_id: int
    device_id: int
    received_at_us: int


async def count_doubts(connection: Connection, doubts: Sequence[ClockDoubt]) -> None:
    """Count them, and ask for an alert of each clock that is wrong again and again."""
    await connection.execute(COUNT, *map(list, zip(*doubts, strict=True)))
    clocks = sorted({doubt[:3] for doubt in doubts})
    repeating = await connection.fetch(REPEATING, *map(list, zip(*clocks, strict=True)), REPEATED)
    if repeating:
        await request_clock_alerts(connection, [tuple(row) for row in repeating])

"""How long uplinks took from datagram to commit, by PostgreSQL's own instants."""

from dataclasses import dataclass

from core.runtime.postgres import Pool
from lorawan.instants import from_us

READ_LATENCY = """
WITH committed AS (
    SELECT time, pg_xact_commit_timestamp(xmin) AS at FROM observation.uplink WHERE time >= $1 AND time <= $2
)
SELECT count(*) AS stored,
       count(*) FILTER (WHERE at <= $2) AS in_time,
       percentile_disc(ARRAY[0.5, 0.95, 0.99]) WITHIN GROUP (ORDER BY extract(epoch FROM at - time)) AS seconds
FROM committed
"""


@dataclass(frozen=True, slots=True)
class Latency:
    """From datagram (`uplink.time`) to commit, of one play; what was committed before its end."""

    stored: int
    committed_in_time: int
    p50_ms: float
    p95_ms: float
    p99_ms: float


async def read_latency(pool: Pool, began_us: int, ended_us: int) -> Latency:
    """Percentiles over the uplinks of a play; needs track_commit_timestamp."""
    row = await pool.fetchrow(READ_LATENCY, from_us(began_us), from_us(ended_us), timeout=120)
    assert row is not None
    p50, p95, p99 = (float(seconds) * 1000 for seconds in row["seconds"] or (0, 0, 0))
    return Latency(row["stored"], row["in_time"], p50, p95, p99)

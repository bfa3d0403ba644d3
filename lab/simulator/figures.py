"""What the stack itself says of the fleet: stored uplinks, alerts, commands, streams."""

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum

from core.messages import topics
from core.runtime.bus import BUS_AWAY, Bus
from core.runtime.postgres import Pool

READ_FIGURES = """
SELECT (SELECT count(*) FROM observation.uplink u JOIN device d ON d.id = u.device_id
        WHERE d.tenant_id = $1) AS stored,
       (SELECT count(*) FROM alert WHERE tenant_id = $1) AS alerts,
       (SELECT count(*) FROM lighting_command WHERE tenant_id = $1) AS commands,
       (SELECT count(*) FROM lighting_command
        WHERE tenant_id = $1 AND state IN ('applied', 'confirmed')) AS confirmed
"""
READ_BIN_ALERTS = """
SELECT count(DISTINCT a.asset_id) AS bins,
       coalesce(extract(epoch FROM now() - min(a.created_at)), 0)::float8 AS first_s_ago
FROM alert a JOIN alert_rule r ON r.id = a.rule_id
WHERE a.tenant_id = $1 AND r.quantity = 'fill_level'
"""
POLL_S = 0.25


@dataclass(frozen=True, slots=True)
class Figures:
    """One reading."""

    stored: int
    alerts: int
    commands: int
    confirmed: int


async def read_figures(pool: Pool, tenant_id: int) -> Figures:
    """What is in the tables now."""
    row = await pool.fetchrow(READ_FIGURES, tenant_id)
    assert row is not None
    return Figures(**dict(row))


async def read_bin_alerts(pool: Pool, tenant_id: int) -> tuple[int, float]:
    """How many bins crossed their threshold, and how many seconds ago the first alert of one was opened."""
    row = await pool.fetchrow(READ_BIN_ALERTS, tenant_id)
    assert row is not None
    return row["bins"], row["first_s_ago"]


class Draining(Enum):
    """What became of the streams within the time that they were given."""

    EMPTY = "empty"
    SHRINKING = "shrinking"
    STUCK = "stuck"


async def wait_until_empty(bus: Bus, most_s: float) -> Draining:
    """Wait until nothing is left in the streams, at most for so long."""
    first: int | None = None
    waiting: int | None = None
    try:
        async with asyncio.timeout(most_s):
            while True:
                with suppress(*BUS_AWAY):
                    waiting = sum(
                        [await bus.stream_messages(stream) for stream in (topics.FRAMES, topics.UPLINKS)]
                    )
                    first = waiting if first is None else first
                if waiting == 0:
                    return Draining.EMPTY
                await asyncio.sleep(POLL_S)
    except TimeoutError:
        return Draining.SHRINKING if waiting is not None and first and waiting < first else Draining.STUCK

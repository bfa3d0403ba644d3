"""What the stack itself says of the fleet: stored uplinks, alerts, commands, streams."""

import asyncio
from dataclasses import dataclass

from core.messages import topics
from core.runtime.bus import BUS_AWAY, Bus
from core.runtime.postgres import Pool

READ_FIGURES = """
SELECT (SELECT count(*) FROM observation.uplink u JOIN device d ON d.id = u.device_id
        WHERE d.tenant_id = $1) AS stored,
       (SELECT count(*) FROM alert WHERE tenant_id = $1) AS alerts,
       (SELECT count(*) FROM lighting_command WHERE tenant_id = $1) AS commands,
       (SELECT count(*) FROM lighting_command WHERE tenant_id = $1 AND state = 'confirmed') AS confirmed
"""
COUNT_BIN_ALERTS = """
SELECT count(DISTINCT a.asset_id) FROM alert a JOIN alert_rule r ON r.id = a.rule_id
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


async def count_bin_alerts(pool: Pool, tenant_id: int) -> int:
    """How many bins crossed their threshold."""
    return await pool.fetchval(COUNT_BIN_ALERTS, tenant_id)


async def wait_until_empty(bus: Bus, most_s: float) -> bool:
    """Whether the streams have become empty within this time."""
    try:
        async with asyncio.timeout(most_s):
            while True:
                try:
                    waiting = [await bus.stream_messages(stream) for stream in (topics.FRAMES, topics.UPLINKS)]
                except BUS_AWAY:
                    waiting = [1]
                if not any(waiting):
                    return True
                await asyncio.sleep(POLL_S)
    except TimeoutError:
        return False

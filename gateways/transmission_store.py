"""SQL of `transmission`, the ledger of every gateway's radio."""

import asyncio
from collections.abc import Sequence

import structlog

from core.runtime.errors import describe
from core.runtime.postgres import DATABASE_AWAY, Connection, Pool
from lorawan.airtime import Transmission
from lorawan.identifiers import GatewayId
from lorawan.instants import from_us, to_us

WRITE_TIMEOUT_S = 0.5
FLUSH_EVERY_S = 1.0

# Without a status the radio may have transmitted: its bridge died, or the gateway did not answer.
READ_EMISSIONS = """
SELECT starts_at, airtime_us, frequency FROM transmission
WHERE gateway_id = $1 AND starts_at > now() - interval '61 minutes'
  AND (status IS NULL OR status IN ('OK', 'NO_ACK'))
ORDER BY starts_at
"""
WRITE = """
INSERT INTO transmission (gateway_id, starts_at, frequency, airtime_us, priority, downlink_id)
VALUES ($1, $2, $3, $4, $5, nullif($6::bigint, 0)) RETURNING id
"""
NOTE_STATUSES = """
UPDATE transmission t SET status = s.status
FROM unnest($1::bigint[], $2::text[]) AS s (id, status) WHERE t.id = s.id
"""


log = structlog.get_logger()


async def read_transmissions(connection: Connection | Pool, gateway_id: GatewayId) -> list[Transmission]:
    """What a gateway may have transmitted in the last hour, or is still to transmit."""
    rows = await connection.fetch(READ_EMISSIONS, gateway_id, timeout=WRITE_TIMEOUT_S)
    return [Transmission(to_us(row["starts_at"]), row["airtime_us"], row["frequency"]) for row in rows]


async def write_transmission(
    connection: Connection | Pool, gateway_id: GatewayId, entry: Transmission, priority: int, downlink_id: int
) -> int:
    """Note what the radio is about to be asked for; returns the row's id.

    Raises:
        DATABASE_AWAY: not within half a second; the radio must not be asked.
    """
    starts_at = from_us(entry.start_us)
    return await connection.fetchval(
        WRITE,
        gateway_id,
        starts_at,
        entry.frequency,
        entry.airtime_us,
        priority,
        downlink_id,
        timeout=WRITE_TIMEOUT_S,
    )


async def save_statuses(connection: Connection | Pool, statuses: Sequence[tuple[int, str]]) -> None:
    """Note what became of transmissions, by row id."""
    await connection.execute(NOTE_STATUSES, [row_id for row_id, _ in statuses], [status for _, status in statuses])


class Statuses:
    """What became of transmissions, written every second: an answer does not wait for the database."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._waiting: list[tuple[int, str]] = []

    def record_status(self, row_id: int, status: str) -> None:
        """Remember a status."""
        self._waiting.append((row_id, status))

    async def run(self) -> None:
        """Write until cancelled."""
        while True:
            await asyncio.sleep(FLUSH_EVERY_S)
            await self.save()

    async def save(self) -> None:
        """Write what waits."""
        waiting, self._waiting = self._waiting, []
        if not waiting:
            return
        try:
            await save_statuses(self._pool, waiting)
        except asyncio.CancelledError:  # The bridge ends, and saves once more.
            self._waiting = waiting + self._waiting
            raise
        except DATABASE_AWAY as away:
            log.warning("statuses_not_saved", error=describe(away))
            self._waiting = waiting + self._waiting

"""Makes up for what ingest of a former version has written: last values, not when assets were last heard."""

from core.runtime.postgres import Pool
from ingest.maintenance.leader import leading

RAISE_LAST_SEEN = "SELECT raise_last_seen(NULL)"


async def raise_last_seen(pool: Pool) -> None:
    """Let no asset be said to be silent for longer than its last values are old.

    Raises:
        NotLeader: another replica runs these jobs.
    """
    async with leading(pool) as connection:
        await connection.execute(RAISE_LAST_SEEN)

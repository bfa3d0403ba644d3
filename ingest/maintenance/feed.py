"""Watches the feed: a transaction that writes and does not end keeps every reader waiting (decision 0096)."""

from datetime import datetime, timedelta

import structlog

from core.runtime.postgres import Pool
from ingest.maintenance.telemetry import FEED_HELD

HELD_AFTER = timedelta(seconds=10)

# The oldest transaction that writes, when newer ones have ended, and whose it is: every role may read that.
READ_OLDEST = """
SELECT now() AS now, s.xid, coalesce(
    (SELECT format('%s (processus %s)', a.usename, a.pid) FROM pg_stat_activity a
     WHERE a.backend_xid = xid(s.xid) LIMIT 1),
    (SELECT 'transaction préparée ' || p.gid FROM pg_prepared_xacts p WHERE p.transaction = xid(s.xid)),
    '') AS holder
FROM (SELECT pg_snapshot_xmin(pg_current_snapshot()) AS xid) AS s
WHERE s.xid < pg_snapshot_xmax(pg_current_snapshot())
"""
HOLD = "UPDATE observation.feed_state SET held_xid = $1, held_since = $2, holder = $3"
RELEASE = "UPDATE observation.feed_state SET held_xid = NULL, held_since = NULL, holder = ''"
IS_HELD = "SELECT held_xid FROM observation.feed_state"

log = structlog.get_logger()


class FeedWatch:
    """Remembers since when the oldest transaction has been open: since the first look that found it."""

    def __init__(self) -> None:
        self._oldest: tuple[int, datetime] | None = None

    async def look(self, pool: Pool) -> timedelta:
        """How long the feed has been held, when that is more than ten seconds; others read it in the database."""
        row = await pool.fetchrow(READ_OLDEST)
        if row is None:
            self._oldest = None
        elif self._oldest is None or self._oldest[0] != row["xid"]:
            self._oldest = (row["xid"], row["now"])
        held = timedelta() if row is None or self._oldest is None else row["now"] - self._oldest[1]
        stated: int | None = await pool.fetchval(IS_HELD)
        if row is None or self._oldest is None or held < HELD_AFTER:
            FEED_HELD.set(0)
            if stated is not None:
                await pool.execute(RELEASE)
            return timedelta()
        FEED_HELD.set(held.total_seconds())
        if stated != row["xid"]:
            await pool.execute(HOLD, *self._oldest, row["holder"])
            log.warning("feed_held", holder=row["holder"], seconds=round(held.total_seconds()))
        return held

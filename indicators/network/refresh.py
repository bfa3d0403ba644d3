"""Keeps the daily rows of the radio: each day once it is over, and once more a day later for what came late."""

from datetime import date, timedelta
from zoneinfo import ZoneInfo

import structlog

from core.runtime.leader import leading
from core.runtime.postgres import Pool
from indicators.network.store import refresh
from lorawan.regions import EU868

# Arbitrary, ours: the advisory lock of the days of the radio.
LOCK = 0x7E44174
# How far back days are made that nobody has made: uplinks are kept for longer.
BACK = timedelta(days=30)
# Bridges and other network servers send what they kept within a day.
LATE = timedelta(days=2)

READ_CALENDAR = "SELECT (now() AT TIME ZONE timezone)::date AS today, timezone FROM deployment"
READ_MADE = "SELECT DISTINCT day FROM observation.network_day WHERE day >= $1"

log = structlog.get_logger()


class NetworkDays:
    """Remembers which days this process has made: a day without any uplink has no rows that would say so."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._made_on: dict[date, date] = {}

    async def refresh(self) -> int:
        """Make what is missing, a transaction a day; how many days.

        Raises:
            NotLeader: another replica does.
        """
        async with leading(self._pool, LOCK) as connection:
            row = await connection.fetchrow(READ_CALENDAR)
            assert row is not None  # noqa: S101 - The first migration wrote it.
            today: date = row["today"]
            made = {known["day"] for known in await connection.fetch(READ_MADE, today - BACK)}
        zone, count = ZoneInfo(row["timezone"]), 0
        for back in range(1, BACK.days + 1):
            day = today - timedelta(days=back)
            if not self._is_due(day, today, is_made=day in made):
                continue
            async with leading(self._pool, LOCK) as connection:
                devices = await refresh(connection, day, zone, EU868)
            self._made_on[day] = today
            log.info("network_day_made", day=day.isoformat(), devices=devices)
            count += 1
        self._made_on = {day: on for day, on in self._made_on.items() if day >= today - BACK}
        return count

    def _is_due(self, day: date, today: date, *, is_made: bool) -> bool:
        made_on = self._made_on.get(day)
        if today - day <= LATE:
            return made_on != today
        return made_on is None and not is_made

"""The reports of the month that is over, for every tenant, from the second of the next on.

Each day they are read anew, until the next month is over: a version is kept where a figure differs.
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from zoneinfo import ZoneInfo

import structlog

from api.reporting.asked import Shared
from api.reporting.making import keep, read_signed
from api.reporting.reading import PATIENCE, Commune, ask, list_communes, read_report
from core.model.calendar_buckets import last_month, named
from core.model.region import region_of
from core.runtime.errors import describe
from core.runtime.leader import leading
from core.runtime.postgres import DATABASE_AWAY, Connection, Pool, PostgresError
from indicators.reports import store
from indicators.reports.model import SERVICES, Service
from indicators.reports.store import Wanted
from registry.entering import NotAdmitted, reading_as
from registry.rows import fetch_all

# Arbitrary, ours: the advisory lock of the reports.
LOCK = 0x7E44176
# Gateways and other networks send what they kept within a day: nothing is made on the first.
FIRST_DAY = 2

TENANTS = """
SELECT t.id, t.department, d.timezone FROM tenant t CROSS JOIN deployment d WHERE t.closed_at IS NULL ORDER BY t.id
"""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class _Tenant:
    id: int
    department: str | None
    timezone: str

    @property
    def zone(self) -> ZoneInfo:
        return region_of(self.department, self.timezone).zone


class MonthlyReports:
    """Remembers on which day this process has looked at a tenant's: once a day is enough."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._looked_on: dict[int, date] = {}

    async def make(self, now: datetime) -> int:
        """Make what is missing or has changed, a transaction each; how many versions.

        Raises:
            NotLeader: another replica does.
        """
        async with leading(self._pool, LOCK) as connection:
            tenants = await fetch_all(connection, _Tenant, TENANTS)
        made = 0
        for tenant in tenants:
            today = now.astimezone(tenant.zone).date()
            if today.day < FIRST_DAY or self._looked_on.get(tenant.id) == today:
                continue
            try:
                made += await self._make_of(tenant, last_month(now, tenant.zone), now)
            except NotAdmitted:
                continue  # It was closed a moment ago.
            except DATABASE_AWAY:
                raise
            except PostgresError as failed:
                # One tenant's report is no reason for the others to have none; it is tried again.
                log.error("reports_not_made", tenant=tenant.id, error=describe(failed))
                continue
            self._looked_on[tenant.id] = today
        return made

    async def _make_of(self, tenant: _Tenant, month: date, now: datetime) -> int:
        async with reading_as(self._pool, tenant.id) as connection:
            communes = await list_communes(connection)
        made, shared = 0, Shared()
        for commune in communes:
            began = time.monotonic()
            async with leading(self._pool, LOCK) as connection:
                await connection.execute(PATIENCE)
                wanted = await store.list_wanted(connection, tenant.id)
                for service in _services(wanted, commune):
                    made += await self._make(connection, tenant, commune, service, month, now, shared)
            # Nobody waits for them: what they took of the database is left to the others for as long again.
            await asyncio.sleep(time.monotonic() - began)
        async with leading(self._pool, LOCK) as connection:
            await store.record_month_made(connection, tenant.id, month)
        if made:
            log.info("reports_made", tenant=tenant.id, month=named(month), versions=made)
        return made

    async def _make(
        self,
        connection: Connection,
        tenant: _Tenant,
        commune: Commune,
        service: Service,
        month: date,
        now: datetime,
        shared: Shared,
    ) -> bool:
        async with reading_as(self._pool, tenant.id) as reading:
            asked = await ask(reading, tenant.id, commune, service, month, now, shared)
            report = await read_report(reading, asked)
            signed = await read_signed(reading, tenant.id)
        return await keep(connection, report, signed, asked) is not None


def _services(wanted: Sequence[Wanted], commune: Commune) -> list[Service]:
    """A report of everything, and one of each service that somebody receives alone."""
    alone = {one.service for one in wanted if one.commune in {None, commune.commune}}
    return [one for one in SERVICES if one == "all" or one in alone]

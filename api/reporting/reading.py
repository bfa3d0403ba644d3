"""Reads a whole monthly report, in a transaction of the reader's rights."""

from dataclasses import dataclass
from datetime import date, datetime

from api.reporting.alerts import read_alerts, read_sensors
from api.reporting.asked import Asked, Shared
from api.reporting.buildings import read_buildings
from api.reporting.cost import read_cost
from api.reporting.lighting import read_lighting
from api.reporting.network import read_network
from api.reporting.waste import read_waste
from core.model.calendar_buckets import named
from core.model.region import region_of
from core.runtime.postgres import Connection
from indicators.reports.model import Report, Section, Service
from registry.rows import fetch_all
from registry.tenants import read_with_timezone

# Of assets of the tenants that are seen; a commune has one code.
COMMUNES = """
SELECT commune, min(insee) AS insee FROM asset
WHERE archived_at IS NULL AND commune <> '' AND tenant_id = ANY((SELECT visible_tenants())::int[])
  AND ($1::text IS NULL OR commune = $1 OR insee = $1)
GROUP BY commune ORDER BY commune
"""
# What is personal data, or measured so: it is in no figure of a report.
PERSONAL = """
SELECT a.id FROM asset a
WHERE a.commune = $1 AND (a.privacy_class = 2 OR EXISTS (
    SELECT FROM datastream d WHERE d.asset_id = a.id AND d.privacy_class = 2))
"""
# Computing between two statements may take seconds; nothing that others wait for is locked.
PATIENCE = "SET LOCAL idle_in_transaction_session_timeout = '120s'"


@dataclass(frozen=True, slots=True)
class Commune:
    """One in which something stands."""

    commune: str
    insee: str | None


async def list_communes(connection: Connection, wanted: str | None = None) -> list[Commune]:
    """All that are seen, or the one of this name or code, by name."""
    return await fetch_all(connection, Commune, COMMUNES, wanted)


async def ask(
    connection: Connection,
    tenant_id: int,
    commune: Commune,
    service: Service,
    month: date,
    now: datetime,
    shared: Shared | None = None,
) -> Asked:
    """The report, in the calendar of the tenant. `shared`: of the tenant's other reports that are made now."""
    tenant, timezone = await read_with_timezone(connection, tenant_id)
    region = region_of(tenant.department, timezone)
    return Asked(tenant_id, commune.commune, commune.insee, service, month, region, now, shared or Shared())


async def read_report(connection: Connection, asked: Asked) -> Report:
    """Its sections: those of which there is something to say."""
    await connection.execute(PATIENCE)
    personal = frozenset(row["id"] for row in await connection.fetch(PERSONAL, asked.commune))
    sections: list[Section | None] = []
    if asked.service in {"all", "waste"}:
        sections.append(await read_waste(connection, asked))
    if asked.service in {"all", "buildings"}:
        sections.append(await read_buildings(connection, asked, personal))
    if asked.service in {"all", "lighting"}:
        sections.append(await read_lighting(connection, asked))
    if asked.service in {"all", "network"}:
        sections.append(await read_network(connection, asked, personal))
    if asked.service in {"all", "cost"}:
        sections.append(await read_cost(connection, asked))
    if asked.service != "cost":
        sections += [await read_alerts(connection, asked), await read_sensors(connection, asked, personal)]
    found = tuple(one for one in sections if one is not None)
    return Report(asked.commune, asked.insee, asked.service, named(asked.month), found)

"""Makes a version of a report, figures and file, where late data has changed something or there is none."""

import asyncio
from dataclasses import dataclass

from api.report_print import Look, printed
from api.reporting.asked import Asked
from core.runtime.postgres import Connection
from indicators.reports import store
from indicators.reports.model import Change, Report, changes_between
from indicators.reports.store import Identity
from registry.tenants import read_with_timezone


@dataclass(frozen=True, slots=True)
class Signed:
    """Whose name is on a report, with its look."""

    name: str
    identity: Identity


async def read_signed(connection: Connection, tenant_id: int) -> Signed:
    """The name that the tenant wants on its reports, or its own."""
    identity = await store.read_identity(connection, tenant_id)
    if identity.name:
        return Signed(identity.name, identity)
    tenant, _ = await read_with_timezone(connection, tenant_id)
    return Signed(tenant.name, identity)


async def render(report: Report, changes: list[Change], signed: Signed, asked: Asked, version: int) -> bytes:
    """The file, made beside the loop."""
    look = Look(
        signed.name, signed.identity.language, signed.identity.logo, asked.now.astimezone(asked.zone), version
    )
    return await asyncio.to_thread(printed, report, changes, look)


async def keep(connection: Connection, report: Report, signed: Signed, asked: Asked) -> int | None:
    """A new version's id; None: nothing of the month has changed since the last one."""
    await store.take_turn(connection, asked.tenant_id, report, asked.month)
    former = await store.former_version(connection, asked.tenant_id, report, asked.month)
    changes = [] if former is None else changes_between(former.report, report)
    if former is not None and not changes:
        return None
    version = 1 if former is None else former.version + 1
    pdf = await render(report, changes, signed, asked, version)
    return await store.add_version(
        connection, asked.tenant_id, report, asked.month, version, changes, pdf, signed.identity.language
    )


def file_name(report: Report, ending: str) -> str:
    """Of what is downloaded."""
    place = "".join(one if one.isalnum() else "-" for one in report.commune.lower())
    service = "" if report.service == "all" else f"-{report.service}"
    return f"rapport-{report.month}-{place}{service}.{ending}"

"""SQL of reports: kept as they were made, who receives them, how they look. Of this folder alone."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime

import msgspec

from core.runtime.postgres import Connection
from indicators.reports.model import Change, Report, Service
from indicators.reports.summary import highlights, title_of
from indicators.reports.words import Language
from registry.rows import fetch_all, fetch_one

# One version of a report at a time: two that are made at once are two versions, or the same.
TAKE_TURN = """
SELECT pg_advisory_xact_lock(hashtextextended(concat_ws(' ', 'report', $1::int, $2::text, $3::text, $4::date), 0))
"""
KEPT = """id, tenant_id, title, commune, insee, service, month, version, jsonb_array_length(changes) AS changed,
octet_length(pdf) AS octets, made_at, sent_at"""
LIST = f"""
SELECT {KEPT}, version = max(version) OVER (PARTITION BY tenant_id, commune, service, month) AS is_latest
FROM report
WHERE ($1::date IS NULL OR month = $1) AND ($2::text IS NULL OR commune = $2 OR insee = $2)
  AND ($3::text IS NULL OR service = $3)
"""
LIST_PAGE = f"""
SELECT * FROM ({LIST}) AS r
WHERE ($4::boolean OR is_latest) AND ($5::int IS NULL OR id < $5) ORDER BY id DESC LIMIT $6
"""
READ = f"SELECT * FROM ({LIST}) AS r WHERE id = $4"
VERSIONS = f"""
SELECT {KEPT}, o.version = max(o.version) OVER () AS is_latest
FROM report o WHERE (o.tenant_id, o.commune, o.service, o.month) = (
    SELECT tenant_id, commune, service, month FROM report WHERE id = $1)
ORDER BY o.version DESC
"""
READ_FIGURES = "SELECT figures FROM report WHERE id = $1"
READ_CHANGES = "SELECT changes FROM report WHERE id = $1"
READ_PDF = "SELECT pdf FROM report WHERE id = $1"
FORMER = """
SELECT id, version, figures FROM report
WHERE tenant_id = $1 AND commune = $2 AND service = $3 AND month = $4 ORDER BY version DESC LIMIT 1
"""
ADD = """
INSERT INTO report (tenant_id, commune, insee, service, month, version, figures, changes, pdf, title, summary)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) RETURNING id
"""


@dataclass(frozen=True, slots=True)
class KeptReport:
    """A version of a report, without figures and file. `changed`: how many figures late data has changed."""

    id: int
    tenant_id: int
    title: str
    commune: str
    insee: str | None
    service: Service
    month: date
    version: int
    changed: int
    octets: int
    made_at: datetime
    sent_at: datetime | None
    is_latest: bool


@dataclass(frozen=True, slots=True)
class Former:
    """The last version of a report."""

    id: int
    version: int
    report: Report


@dataclass(frozen=True, slots=True)
class Recipient:
    """A team that receives reports on the second of each month; `commune` None: one of each."""

    id: int
    tenant_id: int
    team_id: int
    team: str
    commune: str | None
    service: Service
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Wanted:
    """A service of which somebody receives a report of its own, in a commune (None: in each)."""

    commune: str | None
    service: Service


@dataclass(frozen=True, slots=True)
class Identity:
    """How a tenant's reports look: whose name is on them, in which language, with which logo."""

    name: str
    language: Language
    logo: bytes | None


PLAIN = Identity("", "fr", None)
LIST_RECIPIENTS = """
SELECT r.id, r.tenant_id, r.team_id, t.name AS team, r.commune, r.service, r.created_at
FROM report_recipient r JOIN team t ON t.id = r.team_id
WHERE $1::int IS NULL OR r.id = $1 ORDER BY t.name, r.commune NULLS FIRST, r.id
"""
ADD_RECIPIENT = """
INSERT INTO report_recipient (tenant_id, team_id, commune, service)
SELECT $1, t.id, $3, $4 FROM team t WHERE t.id = $2 AND t.tenant_id = $1 RETURNING id
"""
DELETE_RECIPIENT = "DELETE FROM report_recipient WHERE id = $1 RETURNING true"
WANTED = "SELECT commune, service FROM report_recipient WHERE tenant_id = $1 AND service <> 'all'"
RECORD_MONTH_MADE = "INSERT INTO report_month (tenant_id, month) VALUES ($1, $2) ON CONFLICT DO NOTHING"
READ_IDENTITY = "SELECT name, language, logo FROM report_identity WHERE tenant_id = $1"
WRITE_IDENTITY = """
INSERT INTO report_identity (tenant_id, name, language) VALUES ($1, $2, $3)
ON CONFLICT (tenant_id) DO UPDATE SET name = excluded.name, language = excluded.language, updated_at = now()
"""
WRITE_LOGO = """
INSERT INTO report_identity (tenant_id, name, language, logo) VALUES ($1, '', 'fr', $2)
ON CONFLICT (tenant_id) DO UPDATE SET logo = excluded.logo, updated_at = now()
"""


async def list_reports(
    connection: Connection,
    *,
    month: date | None,
    commune: str | None,
    service: Service | None,
    every_version: bool,
    before: int | None,
    most: int,
) -> list[KeptReport]:
    """Those that are asked for, the last made first, below the id `before`."""
    return await fetch_all(connection, KeptReport, LIST_PAGE, month, commune, service, every_version, before, most)


async def read_report(connection: Connection, report_id: int) -> KeptReport | None:
    """One version."""
    return await fetch_one(connection, KeptReport, READ, None, None, None, report_id)


async def list_versions(connection: Connection, report_id: int) -> list[KeptReport]:
    """All versions of the report that this is one of, the last first."""
    return await fetch_all(connection, KeptReport, VERSIONS, report_id)


async def read_figures(connection: Connection, report_id: int) -> Report:
    """What a version says; it is visible."""
    return msgspec.convert(await connection.fetchval(READ_FIGURES, report_id), Report)


async def read_changes(connection: Connection, report_id: int) -> list[Change]:
    """What differs from the version before."""
    return msgspec.convert(await connection.fetchval(READ_CHANGES, report_id), list[Change])


async def read_pdf(connection: Connection, report_id: int) -> bytes:
    """The file of a version; it is visible."""
    return await connection.fetchval(READ_PDF, report_id)


async def take_turn(connection: Connection, tenant_id: int, report: Report, month: date) -> None:
    """Until the end of this transaction nobody else keeps a version of this report."""
    await connection.execute(TAKE_TURN, tenant_id, report.commune, report.service, month)


async def former_version(connection: Connection, tenant_id: int, report: Report, month: date) -> Former | None:
    """The last version that was kept of this report."""
    row = await connection.fetchrow(FORMER, tenant_id, report.commune, report.service, month)
    return None if row is None else Former(row["id"], row["version"], msgspec.convert(row["figures"], Report))


async def add_version(
    connection: Connection,
    tenant_id: int,
    report: Report,
    month: date,
    version: int,
    changes: Sequence[Change],
    pdf: bytes,
    language: Language,
) -> int:
    """Keep a version: its id."""
    figures, changed = msgspec.to_builtins(report), msgspec.to_builtins(list(changes))
    return await connection.fetchval(
        ADD,
        tenant_id,
        report.commune,
        report.insee,
        report.service,
        month,
        version,
        figures,
        changed,
        pdf,
        title_of(report, language),
        highlights(report, language),
    )


async def list_recipients(connection: Connection, recipient_id: int | None = None) -> list[Recipient]:
    """Who receives reports, by the name of the team."""
    return await fetch_all(connection, Recipient, LIST_RECIPIENTS, recipient_id)


async def add_recipient(
    connection: Connection, tenant_id: int, team_id: int, commune: str | None, service: Service
) -> Recipient | None:
    """A team receives them from the next month on; None: there is no such team.

    Raises UniqueViolationError when it does already.
    """
    made = await connection.fetchval(ADD_RECIPIENT, tenant_id, team_id, commune, service)
    return None if made is None else (await list_recipients(connection, made))[0]


async def delete_recipient(connection: Connection, recipient_id: int) -> bool:
    """A team receives them no more."""
    return await connection.fetchval(DELETE_RECIPIENT, recipient_id) is True


async def list_wanted(connection: Connection, tenant_id: int) -> list[Wanted]:
    """Reports of one service that somebody receives."""
    return await fetch_all(connection, Wanted, WANTED, tenant_id)


async def record_month_made(connection: Connection, tenant_id: int, month: date) -> None:
    """All of a tenant's reports of the month are made: they may be sent."""
    await connection.execute(RECORD_MONTH_MADE, tenant_id, month)


async def read_identity(connection: Connection, tenant_id: int) -> Identity:
    """How its reports look; French, under its own name, without a logo, until somebody says otherwise."""
    return await fetch_one(connection, Identity, READ_IDENTITY, tenant_id) or PLAIN


async def write_identity(connection: Connection, tenant_id: int, name: str, language: Language) -> None:
    """From the next report on."""
    await connection.execute(WRITE_IDENTITY, tenant_id, name, language)


async def write_logo(connection: Connection, tenant_id: int, logo: bytes | None) -> None:
    """From the next report on; None: none."""
    await connection.execute(WRITE_LOGO, tenant_id, logo)

"""Monthly reports of communes: as they were made and sent, as they would be made now, as JSON, CSV and PDF."""

from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Response
from pydantic import Field

from api.auth import Caller, Manager, Reader
from api.extent import CommuneOrCode
from api.fields import PRINTABLE, Body, Id, Name, example
from api.months import MONTH, first_of, last_month, named
from api.pages import Page, Paged, page_of
from api.printed import PDF
from api.report_answers import (
    ReportAnswer,
    ReportContent,
    ReportVersionAnswer,
    WholeReportAnswer,
    content_answer,
    kept_answer,
    version_answer,
    whole_answer,
)
from api.reporting.asked import Asked
from api.reporting.making import Signed, file_name, keep, read_signed, render
from api.reporting.reading import ask, list_communes, read_report
from api.resources import Resource
from core.runtime.http.errors import PROBLEM_RESPONSES, FieldError, Problem
from core.runtime.postgres import Connection
from indicators.reports import store
from indicators.reports.model import Report, Service
from indicators.reports.summary import csv_rows
from indicators.reports.words import Language
from registry.bulk_imports.kinds import csv_lines, harmless

router = APIRouter(prefix="/v1", tags=["reports"], responses=PROBLEM_RESPONSES)

CSV = "text/csv; charset=utf-8"
MARK = "\ufeff"
FIRST_YEAR = 2000
SERVICE_TEXT = "`all` : tous les services, une rubrique chacun ; sinon un seul"

MonthQuery = Annotated[
    str | None, Query(pattern=MONTH, description="Un mois ; absent : tous", examples=["2026-10"])
]
ServiceQuery = Annotated[Service, Query(description=SERVICE_TEXT)]
PDF_RESPONSES = {200: {"content": {PDF: {"schema": {"type": "string", "format": "binary"}}}}}
CSV_RESPONSES = {200: {"content": {"text/csv": {"schema": {"type": "string"}}}}}

REPORTS = Resource("report", "rapport", store.read_report, kept_answer)


@dataclass(frozen=True, slots=True)
class WantedReport:
    """Of which commune, month and service."""

    commune: Annotated[
        str,
        Query(
            max_length=200, min_length=1, pattern=PRINTABLE, description="Nom ou code INSEE", examples=["29103"]
        ),
    ]
    month: Annotated[
        str | None, Query(pattern=MONTH, description="Absent : le dernier fini", examples=["2026-10"])
    ] = None
    service: ServiceQuery = "all"


Wanted = Annotated[WantedReport, Depends()]


class ReportBody(Body):
    """Le rapport à faire."""

    model_config = example({"commune": "Landerneau", "month": "2026-10"})

    commune: Name = Field(description="Nom ou code INSEE", examples=["Landerneau"])
    month: str = Field(pattern=MONTH, examples=["2026-10"])
    service: Service = Field("all", description=SERVICE_TEXT)


def _wrong(field: str, code: str, message: str) -> Problem:
    return Problem(422, message, errors=[FieldError(field=field, code=code, message=message)])


async def asked_of(
    caller: Caller, connection: Connection, commune: str, month: str | None, service: Service, where: str
) -> Asked:
    """The report that is asked for in `where` (query or body).

    Raises:
        Problem: 422, nothing stands in the commune, or the month is not over.
    """
    if caller.principal.asset_kinds:
        raise Problem(403, "un rapport porte sur tous les types d'actifs : cette clé est limitée à certains")
    found = await list_communes(connection, commune)
    if not found:
        raise _wrong(f"{where}.commune", "unknown", f"rien n'est suivi dans la commune « {commune} »")
    now = datetime.now(UTC)
    asked = await ask(connection, caller.principal.tenant_id, found[0], service, date.min, now)
    last = last_month(now, asked.zone)
    first = last if month is None else first_of(month)
    if not first.year >= FIRST_YEAR or first > last:
        raise _wrong(f"{where}.month", "range", f"un mois fini, jusqu'à {named(last)}")
    return replace(asked, month=first)


async def _preview(caller: Caller, wanted: WantedReport) -> tuple[Report, Signed, Asked]:
    async with caller.reading_alone() as connection:
        asked = await asked_of(caller, connection, wanted.commune, wanted.month, wanted.service, "query")
        return await read_report(connection, asked), await read_signed(connection, asked.tenant_id), asked


async def _language(caller: Caller, connection: Connection) -> Language:
    return (await store.read_identity(connection, caller.principal.tenant_id)).language


def _pdf(octets: bytes, name: str) -> Response:
    return Response(octets, media_type=PDF, headers={"Content-Disposition": f'inline; filename="{_ascii(name)}"'})


def _csv(report: Report, language: Language) -> Response:
    text = MARK + csv_lines([harmless(cell) for cell in row] for row in csv_rows(report, language))
    name = _ascii(file_name(report, "csv"))
    return Response(text, media_type=CSV, headers={"Content-Disposition": f'attachment; filename="{name}"'})


def _ascii(name: str) -> str:
    return name.encode("ascii", "replace").decode().replace("?", "-")


@router.get("/reports", operation_id="listReports", summary="Lister les rapports mensuels")
async def list_reports(
    caller: Reader,
    paging: Paged,
    month: MonthQuery = None,
    commune: CommuneOrCode = None,
    service: Annotated[Service | None, Query(description="Absent : tous")] = None,
    every_version: Annotated[bool, Query(description="Aussi les versions que d'autres ont remplacées")] = False,
) -> Page[ReportAnswer]:
    """Les vôtres et ceux de vos membres, le dernier fait d'abord ; sans `every_version` la dernière version."""
    async with caller.reading() as connection:
        found = await store.list_reports(
            connection,
            month=None if month is None else first_of(month),
            commune=commune,
            service=service,
            every_version=every_version,
            before=paging.before,
            most=paging.most,
        )
    return page_of(found, paging.limit, kept_answer)


@router.post("/reports", status_code=201, operation_id="createReport", summary="Faire une version d'un rapport")
async def create_report(body: ReportBody, caller: Manager) -> WholeReportAnswer:
    """La figer, chiffres et PDF. 409 si rien n'a changé depuis la dernière version.

    Ceux du mois fini se font seuls, le 2 du mois suivant, et de nouveau quand des données tardives les changent.
    """
    async with caller.changing() as change:
        connection = change.connection
        asked = await asked_of(caller, connection, body.commune, body.month, body.service, "body")
        report = await read_report(connection, asked)
        signed = await read_signed(connection, asked.tenant_id)
        made = await keep(connection, report, signed, asked)
        if made is None:
            raise Problem(409, "rien n'a changé depuis la dernière version de ce rapport")
        kept = await REPORTS.get(connection, made)
        await change.audit("create", REPORTS.entity, made, after=kept_answer(kept))
        changes = await store.read_changes(connection, made)
    return whole_answer(kept, report, changes, signed.identity.language)


@router.get(
    "/reports/preview", operation_id="previewReport", summary="Voir un rapport comme il serait fait maintenant"
)
async def preview_report(caller: Reader, wanted: Wanted) -> ReportContent:
    """Rien n'en est gardé."""
    report, signed, _ = await _preview(caller, wanted)
    return content_answer(report, signed.identity.language)


@router.get(
    "/reports/preview/report.pdf",
    operation_id="printReportPreview",
    summary="Imprimer un rapport comme il serait fait maintenant",
    response_class=Response,
    responses=PDF_RESPONSES,
)
async def print_preview(caller: Reader, wanted: Wanted) -> Response:
    """Le PDF, dont rien n'est gardé."""
    report, signed, asked = await _preview(caller, wanted)
    return _pdf(await render(report, [], signed, asked, 0), file_name(report, "pdf"))


@router.get(
    "/reports/preview/report.csv",
    operation_id="exportReportPreview",
    summary="Exporter un rapport comme il serait fait maintenant",
    response_class=Response,
    responses=CSV_RESPONSES,
)
async def export_preview(caller: Reader, wanted: Wanted) -> Response:
    """Pour un tableur, dont rien n'est gardé."""
    report, signed, _ = await _preview(caller, wanted)
    return _csv(report, signed.identity.language)


@router.get("/reports/{id}", operation_id="getReport", summary="Lire un rapport")
async def read_whole(id: Id, caller: Reader) -> WholeReportAnswer:
    """Une version, comme elle a été faite et envoyée."""
    async with caller.reading() as connection:
        kept = await REPORTS.get(connection, id)
        report = await store.read_figures(connection, id)
        changes = await store.read_changes(connection, id)
        language = await _language(caller, connection)
    return whole_answer(kept, report, changes, language)


@router.get(
    "/reports/{id}/versions", operation_id="listReportVersions", summary="Lister les versions d'un rapport"
)
async def list_versions(id: Id, caller: Reader) -> Page[ReportVersionAnswer]:
    """La dernière d'abord, chacune avec ce que des données tardives y ont changé."""
    async with caller.reading() as connection:
        await REPORTS.get(connection, id)
        versions = await store.list_versions(connection, id)
        language = await _language(caller, connection)
        items = [version_answer(one, await store.read_changes(connection, one.id), language) for one in versions]
    return Page(items=items, next=None)


@router.get(
    "/reports/{id}/report.pdf",
    operation_id="printReport",
    summary="Imprimer un rapport",
    response_class=Response,
    responses=PDF_RESPONSES,
)
async def print_report(id: Id, caller: Reader) -> Response:
    """Le PDF de cette version, tel qu'il a été envoyé."""
    async with caller.reading() as connection:
        kept = await REPORTS.get(connection, id)
        octets = await store.read_pdf(connection, id)
        report = await store.read_figures(connection, id)
    return _pdf(octets, file_name(report, "pdf").replace(".pdf", f"-v{kept.version}.pdf"))


@router.get(
    "/reports/{id}/report.csv",
    operation_id="exportReport",
    summary="Exporter un rapport",
    response_class=Response,
    responses=CSV_RESPONSES,
)
async def export_report(id: Id, caller: Reader) -> Response:
    """Les chiffres de cette version, pour un tableur."""
    async with caller.reading() as connection:
        await REPORTS.get(connection, id)
        report = await store.read_figures(connection, id)
        language = await _language(caller, connection)
    return _csv(report, language)

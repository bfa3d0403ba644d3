"""Who receives monthly reports, and how a tenant's look: its name, its language, its logo."""

import asyncio
from struct import unpack_from

from fastapi import APIRouter, Response
from pydantic import Base64Bytes, Field

from api.auth import Change, Manager, Reader
from api.fields import Answer, Body, Id, IdRef, Label, Name, answer_of, example
from api.pages import Page
from api.report_print import Look, printed
from api.resources import Resource
from core.runtime.http.errors import PROBLEM_RESPONSES, invalid, not_found
from core.runtime.postgres import Connection
from indicators.reports import store
from indicators.reports.model import Report, Service
from indicators.reports.store import Recipient
from indicators.reports.words import Language
from lorawan.instants import from_us

router = APIRouter(prefix="/v1", tags=["reports"], responses=PROBLEM_RESPONSES)

PNG = "image/png"
PNG_BEGINS = b"\x89PNG\r\n\x1a\n"
LOGO_OCTETS_MOST, LOGO_PIXELS_MOST = 256 << 10, 2_000
NO_LOGO = f"un logo est un PNG de 256 ko et de {LOGO_PIXELS_MOST} pixels de côté au plus"


class ReportRecipientBody(Body):
    """Une équipe qui reçoit des rapports."""

    model_config = example({"team_id": 42, "commune": "Landerneau"})

    team_id: IdRef
    commune: Name | None = Field(None, description="Null : un rapport par commune")
    service: Service = Field("all", description="`all` : tous les services en un rapport")


class ReportRecipientAnswer(answer_of(Recipient, {"tenant_id"})):
    """Une équipe qui reçoit des rapports le 2 du mois, à l'heure de son résumé."""

    commune: str | None = Field(description="Null : un rapport par commune")


class ReportIdentityBody(Body):
    """Le nom et la langue des rapports."""

    model_config = example({"name": "Communauté de communes du Pays de Landerneau", "language": "fr"})

    name: Label = Field("", description="En tête des rapports ; vide : le nom de la collectivité")
    language: Language = "fr"


class ReportIdentityAnswer(Answer):
    """À quoi ressemblent les rapports."""

    name: str
    language: Language
    has_logo: bool


class ReportLogoBody(Body):
    """Le logo des rapports."""

    model_config = example({"content": "iVBORw0KGgo="})

    content: Base64Bytes = Field(description="Un PNG en Base64, 256 ko et 2 000 pixels de côté au plus")


async def _recipient(connection: Connection, recipient_id: int) -> Recipient | None:
    return next(iter(await store.list_recipients(connection, recipient_id)), None)


RECIPIENTS = Resource(
    "report_recipient",
    "destinataire de rapports",
    _recipient,
    ReportRecipientAnswer.model_validate,
)


@router.get("/report-recipients", operation_id="listReportRecipients", summary="Lister qui reçoit des rapports")
async def list_recipients(caller: Reader) -> Page[ReportRecipientAnswer]:
    """Par équipe."""
    return await RECIPIENTS.list(caller, store.list_recipients)


@router.post(
    "/report-recipients",
    status_code=201,
    operation_id="createReportRecipient",
    summary="Envoyer des rapports à une équipe",
)
async def create_recipient(body: ReportRecipientBody, caller: Manager) -> ReportRecipientAnswer:
    """À partir du prochain 2 du mois, aux contacts d'échelon 0, le PDF joint au courrier."""

    async def create(change: Change) -> Recipient:
        made = await store.add_recipient(
            change.connection, change.tenant_id, body.team_id, body.commune, body.service
        )
        if made is None:
            raise invalid("team_id", "unknown", f"équipe {body.team_id} introuvable")
        return made

    return await RECIPIENTS.create(caller, create)


@router.delete(
    "/report-recipients/{id}",
    status_code=204,
    operation_id="deleteReportRecipient",
    summary="Ne plus envoyer de rapports à une équipe",
)
async def delete_recipient(id: Id, caller: Manager) -> Response:
    """Ceux qui ont été envoyés restent."""
    return await RECIPIENTS.delete(caller, id, store.delete_recipient)


async def _identity(connection: Connection, tenant_id: int) -> ReportIdentityAnswer:
    found = await store.read_identity(connection, tenant_id)
    return ReportIdentityAnswer(name=found.name, language=found.language, has_logo=found.logo is not None)


@router.get("/report-identity", operation_id="getReportIdentity", summary="Lire à quoi ressemblent les rapports")
async def read_identity(caller: Reader) -> ReportIdentityAnswer:
    """Le nom, la langue et s'il y a un logo."""
    async with caller.reading() as connection:
        return await _identity(connection, caller.principal.tenant_id)


@router.put(
    "/report-identity", operation_id="replaceReportIdentity", summary="Donner un nom et une langue aux rapports"
)
async def replace_identity(body: ReportIdentityBody, caller: Manager) -> ReportIdentityAnswer:
    """À partir du prochain ; ceux qui sont faits restent tels quels."""
    async with caller.changing() as change:
        before = await _identity(change.connection, change.tenant_id)
        await store.write_identity(change.connection, change.tenant_id, body.name, body.language)
        after = await _identity(change.connection, change.tenant_id)
        await change.audit("update", "report_identity", change.tenant_id, before=before, after=after)
    return after


@router.get(
    "/report-identity/logo",
    operation_id="getReportLogo",
    summary="Voir le logo des rapports",
    response_class=Response,
    responses={200: {"content": {PNG: {"schema": {"type": "string", "format": "binary"}}}}},
)
async def read_logo(caller: Reader) -> Response:
    """Le PNG ; 404 : il n'y en a pas."""
    async with caller.reading() as connection:
        found = await store.read_identity(connection, caller.principal.tenant_id)
    if found.logo is None:
        raise not_found("logo")
    return Response(found.logo, media_type=PNG)


@router.put("/report-identity/logo", operation_id="replaceReportLogo", summary="Donner un logo aux rapports")
async def replace_logo(body: ReportLogoBody, caller: Manager) -> ReportIdentityAnswer:
    """En tête de la première page, à droite."""
    if not await asyncio.to_thread(is_logo, body.content):
        raise invalid("content", "png", NO_LOGO)
    return await _write_logo(caller, body.content)


@router.delete("/report-identity/logo", operation_id="deleteReportLogo", summary="Retirer le logo des rapports")
async def delete_logo(caller: Manager) -> ReportIdentityAnswer:
    """À partir du prochain."""
    return await _write_logo(caller, None)


async def _write_logo(caller: Manager, logo: bytes | None) -> ReportIdentityAnswer:
    async with caller.changing() as change:
        before = await _identity(change.connection, change.tenant_id)
        await store.write_logo(change.connection, change.tenant_id, logo)
        after = await _identity(change.connection, change.tenant_id)
        await change.audit("update", "report_identity", change.tenant_id, before=before, after=after)
    return after


def is_logo(octets: bytes) -> bool:
    """Whether it is a picture that a report can have: one is printed with it."""
    if not octets.startswith(PNG_BEGINS) or not 24 <= len(octets) <= LOGO_OCTETS_MOST:  # noqa: PLR2004 - To IHDR.
        return False
    width, height = unpack_from(">II", octets, 16)
    if not (0 < width <= LOGO_PIXELS_MOST and 0 < height <= LOGO_PIXELS_MOST):
        return False
    look = Look("", "fr", octets, from_us(0), 1)
    try:
        printed(Report("Essai", None, "all", "2026-01", ()), [], look)
    except Exception:  # noqa: BLE001 - Whatever it is that the maker of PDFs cannot read.
        return False
    return True

"""Bulk imports: a file received in parts, read in the background, with what it refused; models and exports."""

import hashlib
from collections.abc import AsyncGenerator, Awaitable, Callable
from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Response
from fastapi.responses import StreamingResponse
from pydantic import Base64Bytes, Field

from api.auth import Caller, Change, Manager, Reader
from api.fields import Answer, Body, Id, Label, answer_of, example
from api.pages import Cursor, Limit, Page, Paging
from api.resources import Resource
from core.runtime.http.errors import PROBLEM_RESPONSES, Problem, invalid, not_found
from core.runtime.postgres import Connection
from registry.bulk_imports import exports, store
from registry.bulk_imports.files import OCTETS_MOST, REPORTED
from registry.bulk_imports.kinds import KINDS, ImportKind, csv_lines, harmless, model_file
from registry.bulk_imports.store import ImportJob

router = APIRouter(prefix="/v1", tags=["imports"], responses=PROBLEM_RESPONSES)

# In Base64, with its frame, below what a request may have.
PART_MOST = 720_000
CSV = "text/csv; charset=utf-8"
# By which a spreadsheet knows what the letters are.
MARK = "\ufeff"
CSV_ANSWER: dict[int | str, dict[str, Any]] = {200: {"content": {"text/csv": {"schema": {"type": "string"}}}}}
Kind = Literal[
    "cabinets",
    "circuits",
    "light-points",
    "devices",
    "assets",
    "gateways",
    "contacts",
    "rules",
    "commune-outlines",
    "weather-days",
    "weighings",
]
KindPath = Annotated[Kind, Path(description="Ce que le fichier contient")]


class NewImportJob(Body):
    """Un fichier à importer, dont les morceaux suivent."""

    model_config = example({"kind": "cabinets", "file_name": "armoires.csv", "dry_run": True})

    kind: Kind = Field(
        description="`cabinets` armoires, `circuits`, `light-points` points lumineux, `devices` capteurs, "
        "`assets` actifs de tout type, `gateways` passerelles, `contacts`, `rules` règles, "
        "`commune-outlines` contours, `weather-days` températures journalières, "
        "`weighings` pesées"
    )
    format: Literal["csv", "geojson"] = "csv"
    coordinates: Literal["wgs84", "lambert93"] = Field(
        "wgs84", description="Celles d'un GeoJSON qui ne le dit pas lui-même"
    )
    dry_run: bool = Field(False, description="true : tout vérifier et tout dire, ne rien écrire")
    file_name: Label = Field("", examples=["armoires.csv"])


class NewImportPart(Body):
    """Un morceau du fichier."""

    model_config = example({"content": "ZXh0ZXJuYWxfcmVmZXJlbmNlO25hbWUKQVJNLTE7QXJtb2lyZSAxCg=="})

    content: Base64Bytes = Field(
        description=f"Des octets du fichier, en Base64, {PART_MOST} au plus ; il se coupe n'importe où"
    )


class ImportJobAnswer(answer_of(ImportJob, {"tenant_id", "header"})):
    """Un import et où il en est."""

    state: Literal["receiving", "waiting", "running", "done", "failed", "cancelled"]
    reason: str | None = Field(description="Pourquoi il a échoué")
    lines: int | None = Field(description="Lignes du fichier, comptées au début")
    reached: int = Field(description="Lignes faites")
    refused: int = Field(description="Lignes refusées : `GET /v1/imports/{id}/rejected.csv` dit pourquoi")
    progress: float | None = Field(description="De 0 à 1 ; null tant que rien n'est compté")
    started_at: datetime | None
    ended_at: datetime | None


class ImportPartAnswer(Answer):
    """Ce qui a été reçu."""

    number: int
    octets: int
    received: int = Field(description="Octets de tous les morceaux reçus")


class ImportColumnAnswer(Answer):
    """Une colonne."""

    name: str
    text: str
    example: str
    required: bool = Field(description="Il la faut pour créer")


class ImportKindAnswer(Answer):
    """Ce qu'un fichier d'un type contient ; `key` est la colonne qui retrouve une ligne à l'import suivant."""

    kind: Kind
    text: str
    key: str
    columns: list[ImportColumnAnswer]


IMPORTS = Resource("import", "import", store.read_import, ImportJobAnswer.model_validate)


@router.get("/import-kinds", operation_id="listImportKinds", summary="Lister ce qui s'importe, avec ses colonnes")
async def list_kinds(caller: Reader) -> Page[ImportKindAnswer]:
    """Les types de fichiers et leurs colonnes."""
    del caller
    kinds = [
        ImportKindAnswer.model_validate(
            {
                "kind": kind.name,
                "text": kind.french,
                "key": kind.key,
                "columns": [
                    ImportColumnAnswer(
                        name=one.name, text=one.french, example=one.example, required=one.is_required
                    )
                    for one in kind.columns
                ],
            }
        )
        for kind in KINDS.values()
    ]
    return Page(items=kinds, next=None)


@router.get(
    "/import-kinds/{kind}/model.csv",
    operation_id="getImportModel",
    summary="Télécharger un fichier modèle",
    response_class=Response,
    responses=CSV_ANSWER,
)
async def read_model(kind: KindPath, caller: Reader) -> Response:
    """Les titres des colonnes, et une ligne d'exemple."""
    del caller
    return Response(MARK + model_file(KINDS[kind]), media_type=CSV, headers=_named(f"{kind}-modele.csv"))


@router.get(
    "/import-kinds/{kind}/export.csv",
    operation_id="exportInventory",
    summary="Exporter ce qui s'importe",
    response_class=StreamingResponse,
    responses=CSV_ANSWER,
)
async def export(kind: KindPath, caller: Manager) -> StreamingResponse:
    """Tout ce que la collectivité a de ce type, avec les colonnes de l'import ; aucune clé n'en sort."""
    wanted = KINDS[kind]
    return StreamingResponse(_exported(wanted, caller), media_type=CSV, headers=_named(f"{kind}.csv"))


async def _exported(kind: ImportKind, caller: Caller) -> AsyncGenerator[str]:
    yield MARK + csv_lines([[column.name for column in kind.columns]])
    after, is_end = 0, False
    while not is_end:
        async with caller.reading() as connection:
            rows = await exports.read_rows(connection, caller.principal.tenant_id, kind, after)
            shown = [row.id for row in rows]
            if kind.asset_kind or kind.name == "devices":
                await caller.audit_personal(connection, **{"assets" if kind.asset_kind else "devices": shown})
        if rows:
            after = rows[-1].id
            yield csv_lines([[harmless(cell) for cell in row.cells] for row in rows])
        is_end = len(rows) < exports.at_once(kind)


def _named(file: str) -> dict[str, str]:
    return {"Content-Disposition": f'attachment; filename="{file}"'}


@router.post("/imports", operation_id="createImport", status_code=201, summary="Commencer un import")
async def create(body: NewImportJob, caller: Manager) -> ImportJobAnswer:
    """Envoyez ensuite les morceaux du fichier, puis `start`. Le même fichier deux fois ne change rien."""
    async with caller.changing() as change:
        job = await store.request_import(
            change.connection, change.tenant_id, requested_by=change.actor, **body.model_dump()
        )
        shown = IMPORTS.show(job)
        await change.audit("import.request", "import", job.id, after=shown)
    return shown


@router.put("/imports/{id}/parts/{number}", operation_id="putImportPart", summary="Envoyer un morceau du fichier")
async def put_part(
    id: Id,
    number: Annotated[int, Path(ge=1, le=store.PARTS_MOST, description="1, 2, 3…, sans trou")],
    body: NewImportPart,
    caller: Manager,
) -> ImportPartAnswer:
    """Le même numéro remplace le morceau. Il est gardé chiffré, jusqu'à la fin de l'import."""
    if len(body.content) > PART_MOST:
        raise invalid("content", "too_long", f"{PART_MOST} octets au plus par morceau")
    async with caller.changing() as change:
        await IMPORTS.own(change, id)
        if not await store.put_part(change.connection, caller.platform.keys, id, number, body.content):
            raise Problem(409, "cet import ne reçoit plus rien")
        received = sum((await store.list_received(change.connection, id)).values())
        if received > OCTETS_MOST:
            raise Problem(413, f"un fichier compte {OCTETS_MOST >> 20} Mo au plus : partagez-le")
        shown = ImportPartAnswer(number=number, octets=len(body.content), received=received)
        digest = hashlib.sha256(body.content).hexdigest()
        await change.audit("import.part", "import", id, {"sha256": digest}, after=shown)
    return shown


async def _moved(
    change: Change,
    former: ImportJob,
    action: str,
    moved: Callable[[Connection, int], Awaitable[ImportJob | None]],
    too_late: str,
) -> ImportJobAnswer:
    """A job of the caller's own after `moved`; 409 with `too_late` when it moved nothing."""
    job = await moved(change.connection, former.id)
    if job is None:
        raise Problem(409, too_late)
    shown = IMPORTS.show(job)
    await change.audit(f"import.{action}", "import", former.id, before=IMPORTS.show(former), after=shown)
    return shown


@router.post("/imports/{id}/start", operation_id="startImport", summary="Lire le fichier")
async def start(id: Id, caller: Manager) -> ImportJobAnswer:
    """Tous les morceaux sont là : l'import attend son tour, et se suit par `GET /v1/imports/{id}`."""
    async with caller.changing() as change:
        former = await IMPORTS.own(change, id)
        numbers = list(await store.list_received(change.connection, id))
        if not numbers:
            raise Problem(409, "le fichier n'a pas encore de morceau")
        missing = next((place for place, number in enumerate(numbers, 1) if place != number), None)
        if missing is not None:
            raise Problem(409, f"le morceau {missing} manque")
        return await _moved(change, former, "start", store.start_import, "il a déjà commencé")


@router.post("/imports/{id}/confirm", operation_id="confirmImport", summary="Importer pour de bon, après un essai")
async def confirm(id: Id, caller: Manager) -> ImportJobAnswer:
    """Un essai terminé depuis moins d'un jour devient l'import lui-même, sans renvoyer le fichier."""
    too_late = "ce n'est pas un essai terminé, ou son fichier n'est plus là : renvoyez-le"
    async with caller.changing() as change:
        return await _moved(change, await IMPORTS.own(change, id), "confirm", store.confirm_import, too_late)


@router.post("/imports/{id}/cancel", operation_id="cancelImport", summary="Arrêter un import")
async def cancel(id: Id, caller: Manager) -> ImportJobAnswer:
    """Ce qui est écrit le reste ; rien d'autre ne l'est plus. Le même fichier, plus tard, va au bout."""
    async with caller.changing() as change:
        return await _moved(
            change, await IMPORTS.own(change, id), "cancel", store.cancel_import, "il est déjà terminé"
        )


@router.get("/imports", operation_id="listImports", summary="Lister les imports")
async def list_all(caller: Reader, cursor: Cursor = None, limit: Limit = 100) -> Page[ImportJobAnswer]:
    """Ceux de la collectivité, le dernier d'abord ; un import se garde 30 jours."""
    paging = Paging(limit, cursor)
    return await IMPORTS.page(caller, paging, store.list_imports, before=paging.before, most=paging.most)


@router.get("/imports/{id}", operation_id="getImport", summary="Suivre un import")
async def read(id: Id, caller: Reader) -> ImportJobAnswer:
    """Où il en est."""
    return await IMPORTS.read(caller, id)


@router.get(
    "/imports/{id}/rejected.csv",
    operation_id="getImportRejectedLines",
    summary="Télécharger les lignes refusées",
    response_class=StreamingResponse,
    responses=CSV_ANSWER,
)
async def read_rejected(id: Id, caller: Manager) -> StreamingResponse:
    """Ligne, colonne et motif, puis les cellules du fichier, sans les clés : corrigé, il s'importe tel quel."""
    async with caller.reading() as connection:
        job = await IMPORTS.get(connection, id)
    if job.tenant_id != caller.principal.tenant_id:
        raise not_found(f"import {id}")
    return StreamingResponse(_rejected(job, caller), media_type=CSV, headers=_named(f"import-{id}-refus.csv"))


async def _rejected(job: ImportJob, caller: Caller) -> AsyncGenerator[str]:
    header = [name for name in job.header if name not in REPORTED]
    places = [place for place, name in enumerate(job.header) if name not in REPORTED]
    yield MARK + csv_lines([[*REPORTED, *header]])
    after, is_end = (0, 0), False
    while not is_end:
        async with caller.reading() as connection:
            found = await store.list_rejections(connection, job.id, after=after)
        if found:
            after = (found[-1].rejection.line, found[-1].place)
            yield csv_lines(
                [
                    map(harmless, (str(one.line), one.column, one.reason, *_chosen(one.cells, places)))
                    for one in (row.rejection for row in found)
                ]
            )
        is_end = len(found) < store.REJECTIONS_AT_ONCE


def _chosen(cells: tuple[str, ...], places: list[int]) -> list[str]:
    return [cells[place] if place < len(cells) else "" for place in places]

"""Exports of measurements: a file that is written in the background, and small ones that are sent at once."""

from base64 import b64encode
from collections.abc import AsyncGenerator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import Field

from api.auth import Caller, Reader
from api.extent import CommuneOrCode
from api.fields import INT4_MOST, AssetKind, Body, Id, Instant, ShortText, answer_of, example
from api.file_ranges import Span, is_same, names_tag, span_of
from api.list_fields import Tag
from api.pages import Cursor, Limit, Page, Paging
from api.periods import period
from api.resources import Resource
from api.routes.datastreams import QuantityName
from api.routes.measurements import AssetIds, From, To
from core.model.calendar_buckets import Unit
from core.runtime.http.errors import PROBLEM_RESPONSES, FieldError, Problem, invalid
from core.runtime.postgres import Connection
from ingest.exports import parquet, store
from ingest.exports.lines import line_form
from ingest.exports.store import ExportJob, Selection

router = APIRouter(prefix="/v1", tags=["exports"], responses=PROBLEM_RESPONSES)

LONGEST = timedelta(days=7305)
IDS_MOST = store.STREAMS_MOST
# Of what is sent at once: beyond it a file is asked for.
LINES_MOST, LINES_AT_ONCE = 200_000, 10_000
MEDIA = {
    "csv": "text/csv; charset=utf-8",
    "ndjson": "application/x-ndjson",
    "parquet": "application/vnd.apache.parquet",
}
FILE_ANSWER: dict[int | str, dict[str, Any]] = {
    200: {"content": {name.partition(";")[0]: {"schema": {"type": "string"}} for name in MEDIA.values()}},
    206: {"description": "Une partie du fichier"},
    416: {"description": "Rien du fichier n'est dans cette partie"},
}
LINES_ANSWER: dict[int | str, dict[str, Any]] = {
    200: {"content": {MEDIA[form].partition(";")[0]: {"schema": {"type": "string"}} for form in ("csv", "ndjson")}}
}
WITHDRAWN_TEXT = "un droit sur une partie de ces mesures a été retiré depuis : demandez un nouvel export"
Ids = Annotated[list[Annotated[int, Field(ge=1, le=INT4_MOST)]], Field(min_length=1, max_length=IDS_MOST)]
FILTERS = {"datastream_ids", "asset_ids", "kind", "quantity", "tag", "commune"}
SPREADSHEET_TEXT = (
    "CSV pour tableur français : point-virgule, virgule décimale, marque UTF-8, heure locale, titres en français"
)
BUCKET_TEXT = (
    "Absent : les mesures une à une ; `hour`, `day`, `week`, `month` ou `year` du calendrier de la collectivité : "
    "une ligne par intervalle, entier, avec sa complétude, comme `/v1/measurements/series`"
)


class Withdrawn(Exception):
    """A right, or the file, has gone while it was being sent: the answer is cut short."""


class ExportChoice(Body):
    """Ce qu'un fichier contient, et sa forme ; sans filtre, tout ce que l'appelant voit."""

    format: Literal["csv", "ndjson", "parquet"] = "csv"
    spreadsheet: bool = Field(False, description=SPREADSHEET_TEXT)
    bucket: Unit | None = Field(None, description=BUCKET_TEXT)
    datastream_ids: Ids | None = Field(None, description="Ces flux")
    asset_ids: Ids | None = Field(None, description="Les flux de ces actifs")
    kind: ShortText | None = Field(None, description="Type d'actif")
    quantity: ShortText | None = Field(None, description="Grandeur, de /v1/quantities")
    tag: ShortText | None = Field(None, description="Étiquette de l'actif")
    commune: ShortText | None = Field(None, description="Commune, par son nom ou son code INSEE")

    def selection(self) -> dict[str, Any]:
        """The filters that were given."""
        return self.model_dump(include=FILTERS, exclude_none=True)

    def check_form(self) -> None:
        """Raises 422 for a form that this server does not write, or that nobody reads so."""
        if self.format == "parquet" and not parquet.is_available():
            raise invalid("format", "parquet", parquet.MISSING_TEXT)
        if self.spreadsheet and self.format != "csv":
            raise invalid("spreadsheet", "csv", "un tableur lit du CSV : « format » doit être csv")


class NewExport(ExportChoice):
    """Un fichier de mesures ; sans filtre, tout ce que l'appelant voit."""

    model_config = example(
        {"format": "csv", "from": "2026-01-01T00:00:00Z", "to": "2027-01-01T00:00:00Z", "quantity": "fill_level"}
    )

    since: Instant = Field(alias="from", description="Début, compris")
    until: Instant | None = Field(None, alias="to", description="Fin, non comprise ; absente : maintenant")


class ExportAnswer(answer_of(ExportJob, {"tenant_id", "key_id", "person_id", "digest"})):
    """Un export et où il en est."""

    state: Literal["waiting", "running", "done", "failed", "cancelled"]
    format: Literal["csv", "ndjson", "parquet"]
    since: datetime = Field(serialization_alias="from")
    until: datetime = Field(serialization_alias="to")
    selection: dict[str, Any] = Field(description="Les filtres demandés")
    reason: str | None = Field(description="Pourquoi il a échoué")
    streams: int = Field(description="Flux choisis")
    bucket: Unit | None = Field(description="Intervalle ; null : des mesures une à une")
    reached: int = Field(description="Flux écrits")
    readings: int = Field(description="Mesures écrites, ou intervalles")
    octets: int = Field(description="Taille du fichier")
    progress: float = Field(description="De 0 à 1")
    expires_at: datetime | None = Field(description="Jusqu'à quand le fichier est là : un jour après sa fin")


EXPORTS = Resource("export", "export", store.read_export, ExportAnswer.model_validate)


@router.post("/exports", operation_id="createExport", status_code=201, summary="Demander un export de mesures")
async def create(body: NewExport, caller: Reader) -> ExportAnswer:
    """20 ans et 5 000 flux au plus. Le fichier s'écrit en tâche de fond, avec les droits de qui le demande."""
    body.check_form()
    since, until = period(body.since, body.until, usual=LONGEST, longest=LONGEST)
    chosen = body.selection()
    principal = caller.principal
    async with caller.changing() as change:
        streams = await choose(change.connection, Selection(**chosen), "body")
        await caller.audit_personal(change.connection, streams=streams)
        job = await store.request_export(
            change.connection,
            change.tenant_id,
            streams,
            form=body.format,
            is_spreadsheet=body.spreadsheet,
            since=since,
            until=until,
            selection=chosen,
            bucket=body.bucket,
            requested_by=change.actor,
            key_id=principal.key_id or None,
            person_id=principal.person_id,
        )
        shown = EXPORTS.show(job)
        await change.audit("export.request", "export", job.id, after=shown)
    return shown


async def choose(connection: Connection, wanted: Selection, where: str) -> list[int]:
    """The datastreams; raises 422 for an id that the caller does not see, for none, and for too many."""
    missing = await store.unknown(connection, wanted)
    if missing is not None:
        what = "flux" if missing[0] == "datastream_ids" else "actif"
        raise _rejected(where, missing[0], "unknown", f"{what} {missing[1]} introuvable")
    streams = await store.choose(connection, wanted)
    if not streams:
        raise _rejected(where, "datastream_ids", "empty", "aucun flux ne correspond à ces filtres")
    if len(streams) > store.STREAMS_MOST:
        message = f"plus de {store.STREAMS_MOST} flux correspondent : choisissez un type, une commune"
        raise _rejected(where, "datastream_ids", "too_many", message)
    return streams


def _rejected(where: str, field: str, code: str, message: str) -> Problem:
    return Problem(422, message, errors=[FieldError(field=f"{where}.{field}", code=code, message=message)])


@router.get("/exports", operation_id="listExports", summary="Lister les exports")
async def list_all(caller: Reader, cursor: Cursor = None, limit: Limit = 100) -> Page[ExportAnswer]:
    """Ceux de la collectivité, le dernier d'abord ; un export se garde 30 jours, son fichier un jour."""
    paging = Paging(limit, cursor)
    return await EXPORTS.page(caller, paging, store.list_exports, before=paging.before, most=paging.most)


@router.get("/exports/{id}", operation_id="getExport", summary="Suivre un export")
async def read(id: Id, caller: Reader) -> ExportAnswer:
    """Où il en est."""
    return await EXPORTS.read(caller, id)


@router.post(
    "/exports/{id}/cancel", operation_id="cancelExport", summary="Arrêter un export, ou effacer son fichier"
)
async def cancel(id: Id, caller: Reader) -> ExportAnswer:
    """Par qui l'a demandé, ou par qui gère la collectivité (`manage`)."""
    async with caller.changing() as change:
        former = await EXPORTS.own(change, id)
        principal = caller.principal
        if (former.key_id, former.person_id) != (principal.key_id or None, principal.person_id):
            caller.demand("manage")
        job = await store.cancel_export(change.connection, id)
        if job is None:
            raise Problem(409, "il est déjà terminé, et n'a plus de fichier")
        shown = EXPORTS.show(job)
        await change.audit("export.cancel", "export", id, before=EXPORTS.show(former), after=shown)
    return shown


@router.get(
    "/exports/{id}/file",
    operation_id="getExportFile",
    summary="Télécharger le fichier d'un export",
    response_class=StreamingResponse,
    responses=FILE_ANSWER,
)
async def read_file(id: Id, caller: Reader, request: Request) -> Response:
    """Entier, ou une partie (`Range`, `If-Range`) : un téléchargement interrompu se reprend.

    Les droits sont vérifiés de nouveau, du début à la fin. `ETag` et `Repr-Digest` : son empreinte, entier.
    """
    async with caller.reading() as connection:
        job = await EXPORTS.get(connection, id)
        if job.state != "done" or job.digest is None:
            raise Problem(409, "il n'y a pas de fichier" + (f" : {job.reason}" if job.reason else " (encore)"))
        if not await store.is_whole(connection, id):
            raise Problem(410, "ce fichier n'est plus là : un export se garde un jour, demandez-le de nouveau")
        if not await store.is_readable(connection, id):
            raise Problem(403, WITHDRAWN_TEXT)
        await caller.audit_personal(connection, streams=await store.written_streams(connection, id))
    tag = f'"{job.digest.hex()}"'
    headers = {
        "ETag": tag,
        "Accept-Ranges": "bytes",
        "Cache-Control": "private, no-cache",
        "Repr-Digest": f"sha-256=:{b64encode(job.digest).decode()}:",
        "Content-Disposition": f'attachment; filename="export-{id}.{job.format}"',
    }
    if names_tag(request.headers.get("if-none-match"), tag):
        return Response(status_code=304, headers=headers)
    asked = request.headers.get("range") if is_same(request.headers.get("if-range"), tag) else None
    try:
        span = span_of(asked, job.octets)
    except ValueError as outside:
        raise Problem(416, "rien du fichier n'est là", headers={"Content-Range": str(outside)}) from None
    whole = Span(0, job.octets)
    if span is not None:
        headers["Content-Range"] = f"bytes {span.begin}-{span.end - 1}/{job.octets}"
    begin, end = span or whole
    headers["Content-Length"] = str(end - begin)
    return StreamingResponse(
        _octets(caller, id, Span(begin, end)),
        status_code=200 if span is None else 206,
        media_type=MEDIA[job.format],
        headers=headers,
    )


async def _octets(caller: Caller, job_id: int, span: Span) -> AsyncGenerator[bytes]:
    """Part by part, each in a transaction of its own: who reads slowly holds no connection."""
    size = store.PART_OCTETS
    for number in range(span.begin // size, (span.end + size - 1) // size):
        async with caller.reading() as connection:
            part = await store.read_part(connection, job_id, number)
        if part is None:
            raise Withdrawn(f"export {job_id}")
        yield part[max(0, span.begin - number * size) : span.end - number * size]


@router.get(
    "/measurements/export",
    operation_id="exportMeasurements",
    summary="Télécharger des mesures, tout de suite",
    response_class=StreamingResponse,
    responses=LINES_ANSWER,
)
async def export_now(
    caller: Reader,
    since: From = None,
    until: To = None,
    datastream_id: Annotated[
        list[Annotated[int, Field(ge=1, le=INT4_MOST)]] | None,
        Query(max_length=1000, description="Identifiant du flux ; répétable"),
    ] = None,
    asset_id: AssetIds = None,
    kind: AssetKind = None,
    quantity: QuantityName = None,
    tag: Tag = None,
    commune: CommuneOrCode = None,
    format: Annotated[Literal["csv", "ndjson"], Query(description="Forme du fichier")] = "csv",
    spreadsheet: Annotated[bool, Query(description=SPREADSHEET_TEXT)] = False,
) -> StreamingResponse:
    """200 000 mesures au plus (par défaut, de 31 jours), ligne par ligne ; au-delà, `POST /v1/exports`."""
    begin, end = period(since, until, usual=timedelta(days=31), longest=LONGEST)
    if spreadsheet and format != "csv":
        raise _rejected("query", "spreadsheet", "csv", "un tableur lit du CSV : « format » doit être csv")
    wanted = Selection(datastream_id, asset_id, kind, quantity, tag, commune)
    async with caller.reading() as connection:
        ids = await choose(connection, wanted, "query")
        if await store.count_up_to(connection, ids, begin, end, LINES_MOST + 1) > LINES_MOST:
            message = f"plus de {LINES_MOST} mesures : demandez un fichier (POST /v1/exports), ou moins"
            raise _rejected("query", "from", "too_many", message)
        await caller.audit_personal(connection, streams=ids)
    return StreamingResponse(
        _lines(caller, ids, begin, end, format, is_spreadsheet=spreadsheet),
        media_type=MEDIA[format],
        headers={"Content-Disposition": f'attachment; filename="mesures.{format}"'},
    )


async def _lines(
    caller: Caller, ids: Sequence[int], since: datetime, until: datetime, form_name: str, *, is_spreadsheet: bool
) -> AsyncGenerator[str]:
    """Page by page, each in a transaction of its own, in which it is asked anew what may be read."""
    async with caller.reading() as connection:
        zone = await store.zone_of(connection)
    form = line_form(form_name, is_spreadsheet=is_spreadsheet, zone=zone)
    yield form.header
    left, reached = list(ids), since
    while left:
        async with caller.reading() as connection:
            streams = [one.stream for one in await store.readable(connection, left)]
            begins = [reached if stream.id == left[0] else since for stream in streams]
            found = await store.page_of_lines(connection, form, streams, begins, until, LINES_AT_ONCE)
        if found:
            yield "\n".join(line for *_, line in found) + "\n"
        if len(found) < LINES_AT_ONCE:
            return
        place, instant, _ = found[-1]
        left = left[left.index(streams[place].id) :]
        reached = instant.astimezone(UTC) + timedelta(microseconds=1)

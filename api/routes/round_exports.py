"""A round to take along: files for satnavs, maps and spreadsheets, and the sheet on paper."""

import asyncio
from typing import Any
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Response

from api import round_files, round_sheet
from api.auth import Caller, Reader
from api.fields import Id
from api.printed import PDF
from api.round_types import RoundStopAnswer
from api.routes.rounds import ROUNDS, zone_of
from core.runtime.http.errors import PROBLEM_RESPONSES
from indicators.waste.rounds import store
from indicators.waste.rounds.store import RoundStop, WasteRound

router = APIRouter(prefix="/v1/rounds", tags=["waste"], responses=PROBLEM_RESPONSES)


def _file_of(media: str, form: str = "") -> dict[int | str, dict[str, Any]]:
    schema = {"type": "string"} | ({"format": form} if form else {})
    return {200: {"content": {media.partition(";")[0]: {"schema": schema}}}}


def _file(content: bytes | str, media: str, id_: int, ending: str, shown: str = "attachment") -> Response:
    name = f'{shown}; filename="tournee-{id_}.{ending}"'
    return Response(content, media_type=media, headers={"Content-Disposition": name})


async def _read(caller: Caller, id_: int) -> tuple[WasteRound, list[RoundStop], ZoneInfo]:
    async with caller.reading() as connection:
        found = await ROUNDS.get(connection, id_)
        return found, await store.list_stops(connection, id_), await zone_of(caller, connection)


@router.get(
    "/{id}/round.gpx",
    operation_id="exportRoundGpx",
    summary="Exporter une tournée en GPX",
    response_class=Response,
    responses=_file_of(round_files.GPX, "binary"),
)
async def export_gpx(id: Id, caller: Reader) -> Response:
    """GPX 1.1, pour un GPS : un point par borne, une route par camion."""
    found, stops, _ = await _read(caller, id)
    return _file(round_files.as_gpx(found, stops), round_files.GPX, id, "gpx")


@router.get(
    "/{id}/round.geojson",
    operation_id="exportRoundGeojson",
    summary="Exporter une tournée en GeoJSON",
    response_class=Response,
    responses=_file_of(round_files.GEOJSON),
)
async def export_geojson(id: Id, caller: Reader) -> Response:
    """Un point par borne, une ligne par camion : droite, les routes ne sont pas gardées."""
    found, stops, _ = await _read(caller, id)
    shown = [RoundStopAnswer.model_validate(stop).model_dump(mode="json") for stop in stops]
    return _file(round_files.as_geojson(found, stops, shown), round_files.GEOJSON, id, "geojson")


@router.get(
    "/{id}/round.csv",
    operation_id="exportRoundCsv",
    summary="Exporter une tournée pour un tableur",
    response_class=Response,
    responses=_file_of(round_files.CSV),
)
async def export_csv(id: Id, caller: Reader) -> Response:
    """Pour un tableur français : points-virgules, virgules, heures locales."""
    _, stops, zone = await _read(caller, id)
    return _file(round_files.as_csv(stops, zone), round_files.CSV, id, "csv")


@router.get(
    "/{id}/round.pdf",
    operation_id="printRound",
    summary="Imprimer la feuille de route",
    response_class=Response,
    responses=_file_of(PDF, "binary"),
)
async def print_round(id: Id, caller: Reader) -> Response:
    """Pour le chauffeur : l'ordre, les adresses, les niveaux, des cases à cocher ; un camion par page."""
    found, stops, zone = await _read(caller, id)
    octets = await asyncio.to_thread(round_sheet.printed, found, stops, zone)
    return _file(octets, PDF, id, "pdf", "inline")

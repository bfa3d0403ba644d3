"""What bins held when they were emptied, in tonnes, and the weighbridge's tickets that calibrate it."""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Response
from pydantic import Field

from api.auth import FieldAgent, Reader
from api.fields import INT4_MOST, PRINTABLE, Answer, Body, Id, Instant, answer_of, example
from api.pages import Page, Paged, page_of
from api.routes.waste import MOST_YEARS, WantedQuery
from core.runtime.http.errors import PROBLEM_RESPONSES, Problem, invalid, not_found
from core.runtime.postgres import ForeignKeyViolationError
from indicators.waste import tonnage, tonnage_store
from indicators.waste.tonnage import Calibration, EmptiedBin, Grouping, Tonnage, Weighing
from registry import weighings
from registry.weighings import WeighedLoad

MOST_KG = 60_000

router = APIRouter(prefix="/v1", tags=["waste"], responses=PROBLEM_RESPONSES)


class TonnageAnswer(Answer):
    """Ce qui a été vidé. Null : ce par quoi ce n'est pas groupé."""

    asset_id: int | None
    name: str | None
    commune: str | None
    insee: str | None
    month: str | None = Field(examples=["2026-10"])
    stream: str | None = Field(description="Le type de conteneur sans `_container`", examples=["glass"])
    emptyings: int = Field(description="n : vidages dont on sait le volume")
    unknown: int = Field(
        description="Vidages suspects, ou de bornes sans `volume_l` : dans aucun autre chiffre, et pas zéro"
    )
    cubic_metres: float = Field(description="Volume vidé", examples=[99.0])
    tonnes: float = Field(description="Volume x masse volumique x calage du flux", examples=[32.67])
    low: float | None = Field(description="L'incertitude du calage, à 95 % ; null : moins de trois charges pesées")
    high: float | None
    weighed_tonnes: float | None = Field(
        description="Ce que les bons de pesée en disent ; null : groupé par borne ou commune, ou filtré"
    )
    weighings: int | None = Field(description="Combien de bons")


class StreamCalibration(Answer):
    """Par quoi les estimations d'un flux sont multipliées, et pourquoi."""

    stream: str
    source: Literal["weighed", "default"] = Field(
        description="`default` : aucune charge pesée, la masse volumique de la borne ou 0,33 t/m³ telle quelle"
    )
    factor: float = Field(description="Somme des pesées / somme des estimations", examples=[1.08])
    low: float | None
    high: float | None
    density: float | None = Field(description="t/m³, calage compris ; null : rien de connu n'a été vidé")
    loads: int = Field(description="n : charges pesées qui calent")
    set_aside: int = Field(description="Charges écartées : à plus de cinq écarts robustes de la médiane")
    unmatched: int = Field(description="Charges auxquelles aucun vidage, ou trop peu de connus, ne répond")


class TonnagePage(Page[TonnageAnswer]):
    """Les tonnages, et les calages dont ils viennent."""

    since: date = Field(alias="from")
    until: date = Field(alias="to", description="Non compris : le jour en cours ne compte pas encore")
    calibrations: list[StreamCalibration]


@router.get("/waste/tonnage", operation_id="listTonnage", summary="Dire combien de tonnes ont été vidées")
async def list_tonnage(
    caller: Reader,
    wanted: WantedQuery,
    by: Annotated[
        list[Grouping] | None,
        Query(max_length=4, description="Par mois, commune, flux, borne ; répétable ; absent : par mois"),
    ] = None,
) -> TonnagePage:
    """Volume x masse volumique de chaque vidage (0,33 t/m³ par défaut), calé par flux sur les pesées d'un an.

    Une pesée répond aux vidages de sa tournée, ou sans tournée à tous ceux du flux ce jour-là.
    """
    groups = by or ["month"]
    async with caller.reading() as connection:
        since, until = await wanted.period(connection, MOST_YEARS)
        containers, emptied, weighed, calibrations = await tonnage_store.read_loads(connection, (since, until))
        bins = {*containers} if wanted.is_whole else {one.asset_id for one in await wanted.bins(connection)}
    chosen = [one for one in emptied if one.day >= since and one.bin.asset_id in bins]
    is_whole = wanted.is_whole and not {"bin", "commune"} & {*groups}
    counted = [one for one in weighed if one.day >= since] if is_whole else None
    whole = {"from": since, "to": until, "calibrations": _calibrations(emptied, calibrations)}
    items = [_answer(one, counted) for one in tonnage.tonnages(chosen, calibrations, groups)]
    return TonnagePage.model_validate(whole | {"items": items})


def _answer(group: Tonnage, weighed: Sequence[Weighing] | None) -> TonnageAnswer:
    one = group.bin
    own = [
        weighing.tonnes
        for weighing in weighed or ()
        if group.stream in (None, weighing.stream) and group.month in (None, weighing.day.replace(day=1))
    ]
    return TonnageAnswer(
        asset_id=None if one is None else one.asset_id,
        name=None if one is None else one.name,
        commune=group.commune,
        insee=group.insee,
        month=None if group.month is None else f"{group.month:%Y-%m}",
        stream=group.stream,
        emptyings=group.emptyings,
        unknown=group.unknown,
        cubic_metres=round(group.cubic_metres, 3),
        tonnes=round(group.tonnes, 4),
        low=_rounded(group.low if group.emptyings else None),
        high=_rounded(group.high if group.emptyings else None),
        weighed_tonnes=None if weighed is None else round(sum(own), 4),
        weighings=None if weighed is None else len(own),
    )


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def _calibrations(
    emptied: Sequence[EmptiedBin], calibrations: Mapping[str, Calibration]
) -> list[StreamCalibration]:
    streams = sorted({one.stream for one in emptied} | calibrations.keys())
    return [_calibration(stream, emptied, calibrations.get(stream, Calibration())) for stream in streams]


def _calibration(stream: str, emptied: Sequence[EmptiedBin], one: Calibration) -> StreamCalibration:
    of_stream = [e for e in emptied if e.stream == stream]
    volume = sum(e.cubic_metres or 0.0 for e in of_stream)
    stated = sum(e.tonnes or 0.0 for e in of_stream)
    return StreamCalibration(
        stream=stream,
        source="weighed" if one.is_calibrated else "default",
        factor=round(one.factor, 4),
        low=_rounded(one.low),
        high=_rounded(one.high),
        density=_rounded(one.factor * stated / volume) if volume else None,
        loads=one.loads,
        set_aside=one.set_aside,
        unmatched=one.unmatched,
    )


class NewWeighing(Body):
    """Un bon de pesée."""

    model_config = example(
        {"ticket": "B-2026-0412", "stream": "glass", "weighed_at": "2026-11-25T14:05:00Z", "net_kg": 8460}
    )

    ticket: Annotated[str, Field(min_length=1, max_length=100, pattern=PRINTABLE, examples=["B-2026-0412"])] = (
        Field(description="Son numéro, unique")
    )
    stream: Annotated[str, Field(max_length=63, pattern=r"^[a-z0-9][a-z0-9_.-]*$", examples=["glass"])] = Field(
        description="Le type de conteneur sans `_container`"
    )
    weighed_at: Instant = Field(examples=["2026-11-25T14:05:00Z"])
    net_kg: Annotated[float, Field(gt=0, le=MOST_KG, examples=[8460])] = Field(description="Poids net, kg")
    round_id: Annotated[int, Field(ge=1, le=INT4_MOST)] | None = Field(
        None, description="La tournée ; absente : tout ce qui a été vidé de ce flux ce jour-là"
    )


class WeighingAnswer(answer_of(WeighedLoad)):
    """Un bon de pesée."""

    round_id: int | None = Field(description="Null : tout ce qui a été vidé de ce flux ce jour-là")


@router.get("/weighings", operation_id="listWeighings", summary="Lister les bons de pesée")
async def list_weighings(caller: Reader, paging: Paged) -> Page[WeighingAnswer]:
    """Le dernier saisi d'abord."""
    async with caller.reading() as connection:
        found = await weighings.list_weighings(connection, paging.before, paging.most)
    return page_of(found, paging.limit, WeighingAnswer.model_validate)


@router.post("/weighings", operation_id="createWeighing", status_code=201, summary="Saisir un bon de pesée")
async def create_weighing(body: NewWeighing, caller: FieldAgent) -> WeighingAnswer:
    """Les tonnages du flux en tiennent compte aussitôt ; beaucoup de bons s'importent (`weighings`)."""
    async with caller.changing() as change:
        given = body.ticket, body.stream, body.weighed_at, body.net_kg, body.round_id
        try:
            made = await weighings.create_weighing(change.connection, change.tenant_id, *given)
        except ForeignKeyViolationError:
            raise invalid("round_id", "unknown", f"tournée {body.round_id} introuvable") from None
        if made is None:
            raise Problem(409, f"le bon « {body.ticket} » est déjà saisi : retirez-le pour le corriger")
        shown = WeighingAnswer.model_validate(made)
        await change.audit("create", "weighing", made.id, after=shown)
    return shown


@router.delete(
    "/weighings/{id}", operation_id="deleteWeighing", status_code=204, summary="Retirer un bon de pesée"
)
async def delete_weighing(id: Id, caller: FieldAgent) -> Response:
    """Un bon saisi par erreur."""
    async with caller.changing() as change:
        former = await weighings.find_weighing(change.connection, id)
        if former is None or not await weighings.delete_weighing(change.connection, id):
            raise not_found(f"bon de pesée {id}")
        await change.audit("delete", "weighing", id, before=WeighingAnswer.model_validate(former))
    return Response(status_code=204)

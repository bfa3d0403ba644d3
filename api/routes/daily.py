"""Many datastreams at once, by local day of the deployment's calendar."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Annotated, Literal

import msgspec
from fastapi import APIRouter, Query, Response
from pydantic import Field

from api.auth import Reader
from api.daily_store import Day, Selected, read_daily, select_datastreams
from api.fields import INT4_MOST, Answer, AssetKind, Instant, answer_of
from api.periods import period
from api.routes.datastreams import QuantityName
from core.model.quantities import QUANTITIES, Kind
from core.runtime.http.errors import PROBLEM_RESPONSES, FieldError, Problem
from core.runtime.postgres import Connection
from ingest.series.values import AVERAGED

MOST = 2000
LONGEST_DAYS = timedelta(days=92)

router = APIRouter(prefix="/v1", tags=["measurements"], responses=PROBLEM_RESPONSES)

From = Annotated[
    Instant, Query(alias="from", description="Début, dans le premier jour", examples=["2026-11-01T00:00:00Z"])
]
To = Annotated[Instant | None, Query(alias="to", description="Fin, dans le dernier jour ; absente : maintenant")]
DatastreamIds = Annotated[
    list[Annotated[int, Field(ge=1, le=INT4_MOST)]] | None,
    Query(max_length=MOST, description="Identifiant du flux ; répétable ; absent : tous", examples=[[42]]),
]


class _DayItem(msgspec.Struct, rename={"since": "from"}, gc=False):
    """What DayAnswer describes; sixty thousand of them are encoded in one go."""

    datastream_id: int
    since: datetime
    readings: int
    suspects: int
    minimum: float | None
    maximum: float | None
    mean: float | None
    first: float | None
    last: float | None
    mean_by: Literal["time", "count"] | None


class DayAnswer(answer_of(_DayItem)):
    """Un jour local d'un flux. Les mesures suspectes sont comptées, et laissées de côté."""

    since: datetime = Field(alias="from")
    mean: float | None = Field(
        description="Null pour un index et pour une énumération ; d'un état, null là où les mesures brutes ont "
        "été effacées avant que sa durée soit retenue"
    )
    mean_by: Literal["time", "count"] | None = Field(
        description="Ce qui pondère `mean` : `time`, la durée de chaque état ; `count`, chaque mesure compte "
        "autant"
    )


class DaysAnswer(Answer):
    """Les jours qui ont des mesures, par flux puis par jour."""

    items: list[DayAnswer]


async def _select(
    connection: Connection, datastream_ids: list[int] | None, kind: str | None, quantity: str | None
) -> list[Selected]:
    selected = await select_datastreams(
        connection, datastream_ids, asset_kind=kind, quantity=quantity, most=MOST + 1
    )
    if len(selected) > MOST:
        message = f"plus de {MOST} flux : précisez « datastream_id », « kind » ou « quantity »"
        raise Problem(
            422, message, errors=[FieldError(field="query.datastream_id", code="too_long", message=message)]
        )
    return selected


def _items(one: Selected, days: Sequence[Day]) -> Iterator[_DayItem]:
    known = QUANTITIES.get(one.quantity)
    mean_by = AVERAGED.get(Kind.GAUGE if known is None else known.kind)
    if mean_by is not None:
        return (_DayItem(one.id, *day, mean_by) for day in days)
    return (_DayItem(one.id, *day._replace(mean=None), None) for day in days)


@router.get(
    "/measurements/daily",
    operation_id="listDailyMeasurements",
    summary="Lister les jours de plusieurs flux",
    response_model=DaysAnswer,
)
async def list_days(
    caller: Reader,
    since: From,
    until: To = None,
    datastream_id: DatastreamIds = None,
    kind: AssetKind = None,
    quantity: QuantityName = None,
) -> Response:
    """Par jour local de la plateforme, jusqu'à 2 000 flux et 92 jours par requête ; les jours entiers."""
    begin, end = period(since, until, usual=LONGEST_DAYS, longest=LONGEST_DAYS)
    async with caller.reading() as connection:
        selected = await _select(connection, datastream_id, kind, quantity)
        await caller.audit_personal(connection, streams=[one.id for one in selected])
        daily = await read_daily(connection, [one.id for one in selected], begin, end)
    items = [item for one in selected for item in _items(one, daily.get(one.id, []))]
    return Response(msgspec.json.encode({"items": items}), media_type="application/json")

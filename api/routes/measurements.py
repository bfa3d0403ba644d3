"""What was measured: ranges, hours and local days, last values."""

from datetime import datetime, timedelta
from typing import Annotated, Literal

from fastapi import APIRouter, Query
from pydantic import Field

from api import bucket_store, store
from api.auth import Reader
from api.bucket_store import Bucket
from api.differences import differences
from api.fields import INT4_MOST, Answer, AssetKind, Id, Instant, answer_of
from api.pages import (
    Cursor,
    Limit,
    Page,
    after_id,
    cursor_instant,
    instant_cursor,
    page_of,
)
from api.periods import period
from api.routes.datastreams import DATASTREAMS, DatastreamAnswer, QuantityName
from api.store import Reading
from core.messages.measurements import Flag
from core.model.quantities import QUANTITIES, Kind
from core.runtime.http.errors import PROBLEM_RESPONSES

LONGEST_RAW = timedelta(days=31)
LONGEST_BY = {"hour": timedelta(days=366), "day": timedelta(days=3653)}

router = APIRouter(prefix="/v1", tags=["Mesures"], responses=PROBLEM_RESPONSES)

From = Annotated[
    Instant | None, Query(alias="from", description="Début, compris", examples=["2026-11-24T00:00:00Z"])
]
To = Annotated[Instant | None, Query(alias="to", description="Fin, non comprise ; absente : maintenant")]
AssetIds = Annotated[
    list[Annotated[int, Field(ge=1, le=INT4_MOST)]] | None,
    Query(max_length=1000, description="Identifiant de l'actif ; répétable"),
]


class MeasurementAnswer(Answer):
    """Une mesure ; `flags` : suspect, time_suspect, manual, redecoded."""

    time: datetime
    value: float
    flags: list[str]


class MeasurementsAnswer(Page[MeasurementAnswer]):
    """Une page de mesures d'un flux."""

    datastream: DatastreamAnswer


class AggregateAnswer(answer_of(Bucket)):
    """Une heure ou un jour local. Les mesures suspectes sont comptées, et laissées de côté."""

    since: datetime = Field(serialization_alias="from")
    until: datetime = Field(serialization_alias="to")
    mean: float | None = Field(description="Null pour un index et pour une énumération")
    difference: float | None = Field(
        description="Pour un index : sa progression d'un bord à l'autre ; null s'il a reculé"
    )


class AggregatesAnswer(Answer):
    """Les heures ou les jours qui ont des mesures."""

    datastream: DatastreamAnswer
    bucket: str
    timezone: str
    items: list[AggregateAnswer]


class LatestAnswer(DatastreamAnswer):
    """La dernière mesure d'un flux."""

    time: datetime
    value: float
    flags: list[str]
    stale: bool = Field(description="Le capteur a été remplacé, et le nouveau n'a pas mesuré cette grandeur")


def _flags(flags: int) -> list[str]:
    return [(flag.name or "").lower() for flag in Flag if flags & flag]


def _measurement(reading: Reading) -> MeasurementAnswer:
    return MeasurementAnswer(time=reading.time, value=reading.value, flags=_flags(reading.flags))


@router.get("/datastreams/{id}/measurements", summary="Lister les mesures d'un flux")
async def list_measurements(
    id: Id,
    caller: Reader,
    since: From = None,
    until: To = None,
    order: Annotated[
        Literal["asc", "desc"], Query(description="`asc` : de la plus ancienne à la plus récente")
    ] = "asc",
    limit: Limit = 1000,
    cursor: Cursor = None,
) -> MeasurementsAnswer:
    """Les mesures d'un flux, 31 jours au plus par requête (par défaut : les dernières 24 heures)."""
    begin, end = period(since, until, usual=timedelta(days=1), longest=LONGEST_RAW)
    reached = cursor_instant(cursor)
    if reached is not None:
        begin, end = (
            (begin, min(end, reached))
            if order == "desc"
            else (max(begin, reached + timedelta(microseconds=1)), end)
        )
    async with caller.reading() as connection:
        datastream = await DATASTREAMS.get(connection, id)
        rows = await store.list_readings(connection, id, begin, end, newest_first=order == "desc", most=limit + 1)
    page = page_of(rows, limit, _measurement, lambda reading: instant_cursor(reading.time))
    return MeasurementsAnswer(datastream=DATASTREAMS.show(datastream), items=page.items, next=page.next)


@router.get("/datastreams/{id}/aggregates", summary="Agréger les mesures d'un flux par heure ou par jour")
async def list_aggregates(
    id: Id,
    caller: Reader,
    bucket: Annotated[Literal["hour", "day"], Query(description="`hour` par heure, `day` par jour")],
    since: From = None,
    until: To = None,
    timezone: Annotated[
        str,
        Query(
            max_length=64,
            pattern="^[A-Za-z][A-Za-z0-9_+/-]*$",
            description="Fuseau des jours",
            examples=["Europe/Paris"],
        ),
    ] = "Europe/Paris",
) -> AggregatesAnswer:
    """Par heure (366 jours au plus) ou par jour local (10 ans au plus) ; les heures et jours entiers."""
    begin, end = period(since, until, usual=timedelta(days=7), longest=LONGEST_BY[bucket])
    async with caller.reading() as connection:
        datastream = await DATASTREAMS.get(connection, id)
        known = QUANTITIES.get(datastream.quantity)
        kind = Kind.GAUGE if known is None else known.kind
        buckets, before = await bucket_store.read_buckets(
            connection, id, begin, end, bucket=bucket, timezone=timezone, is_index=kind is Kind.COUNTER
        )
    risen = differences(buckets, before) if kind is Kind.COUNTER else [None] * len(buckets)
    return AggregatesAnswer(
        datastream=DATASTREAMS.show(datastream),
        bucket=bucket,
        timezone=timezone,
        items=[_aggregate(one, kind, difference) for one, difference in zip(buckets, risen, strict=True)],
    )


def _aggregate(bucket: Bucket, kind: Kind, difference: float | None) -> AggregateAnswer:
    mean = bucket.mean if kind in {Kind.GAUGE, Kind.BOOLEAN} else None
    return AggregateAnswer.model_validate(bucket._asdict() | {"mean": mean, "difference": difference})


@router.get("/measurements/latest", summary="Lister les dernières mesures")
async def list_latest(
    caller: Reader,
    asset_id: AssetIds = None,
    kind: AssetKind = None,
    quantity: QuantityName = None,
    limit: Limit = 1000,
    cursor: Cursor = None,
) -> Page[LatestAnswer]:
    """La dernière mesure de chaque flux, par actif, type d'actif ou grandeur."""
    async with caller.reading() as connection:
        rows = await store.list_datastreams(
            connection,
            after=after_id(cursor),
            asset_ids=asset_id,
            quantity=quantity,
            asset_kind=kind,
            most=limit + 1,
        )
        ids = [row.id for row in rows[:limit]]
        latest, stale = await store.read_latest(connection, ids), await store.read_stale(connection, ids)
    page = page_of(rows, limit, DATASTREAMS.show)
    return Page(
        items=[
            LatestAnswer(
                **datastream.model_dump(),
                time=reading.time,
                value=reading.value,
                flags=_flags(reading.flags),
                stale=row.id in stale,
            )
            for row, datastream in zip(rows, page.items, strict=False)
            if (reading := latest.get(row.id)) is not None
        ],
        next=page.next,
    )

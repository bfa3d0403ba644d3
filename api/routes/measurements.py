"""What was measured: ranges, hours and local days, last values."""

from datetime import datetime, timedelta
from typing import Annotated, Literal

from fastapi import APIRouter, Query
from pydantic import Field

from api import store
from api.auth import Reader
from api.extent import Placed
from api.fields import INT4_MOST, Answer, AssetKind, Id, Instant, answer_of
from api.list_fields import SORT_TEXT, Quarter, Tag
from api.pages import (
    Cursor,
    Limit,
    Page,
    Paging,
    ask_of,
    cursor_instant,
    cursor_of,
    instant_cursor,
    page_of,
)
from api.periods import period, zone_named
from api.routes.datastreams import DATASTREAMS, DatastreamAnswer, QuantityName
from api.store import Reading
from core.messages.measurements import flag_names
from core.model.calendar_buckets import any_edges_of
from core.runtime.http.errors import PROBLEM_RESPONSES
from ingest.series.buckets import Bucket
from ingest.series.series_choice import Series
from ingest.series.series_store import read_one
from ingest.series.values import AVERAGED
from registry.places import ANYWHERE
from registry.wanted_datastreams import WantedDatastreams

LONGEST_RAW = timedelta(days=31)
LONGEST_HOURS, LONGEST = timedelta(days=366), timedelta(days=3653)

router = APIRouter(prefix="/v1", tags=["measurements"], responses=PROBLEM_RESPONSES)

From = Annotated[
    Instant | None, Query(alias="from", description="Début, compris", examples=["2026-11-24T00:00:00Z"])
]
To = Annotated[Instant | None, Query(alias="to", description="Fin, non comprise ; absente : maintenant")]
AssetIds = Annotated[
    list[Annotated[int, Field(ge=1, le=INT4_MOST)]] | None,
    Query(max_length=1000, description="Identifiant de l'actif ; répétable"),
]


class MeasurementAnswer(Answer):
    """Une mesure ; `flags` : suspect, time_suspect, manual, redecoded, corrected."""

    time: datetime
    value: float
    flags: list[str]


class MeasurementsAnswer(Page[MeasurementAnswer]):
    """Une page de mesures d'un flux."""

    datastream: DatastreamAnswer


class AggregateAnswer(answer_of(Bucket)):
    """Une heure, un jour, une semaine, un mois ou une année du calendrier local.

    Les mesures suspectes sont comptées, et laissées de côté.
    """

    since: datetime = Field(serialization_alias="from")
    until: datetime = Field(serialization_alias="to")
    mean: float | None = Field(
        description="Null pour un index et pour une énumération ; d'un état, null là où les mesures brutes ont "
        "été effacées avant que sa durée soit retenue"
    )
    difference: float | None = Field(
        description="Pour un index : sa progression d'un bord à l'autre, à travers remises à zéro, retours à zéro "
        "par débordement et changements de compteur ; null sans deux relevés. Sans les lacunes (`gaps`)"
    )


class GapAnswer(Answer):
    """Ce qu'un index a progressé pendant une lacune : on sait combien, non quel jour."""

    since: datetime = Field(serialization_alias="from", description="Dernier relevé avant la lacune")
    until: datetime = Field(serialization_alias="to", description="Premier relevé après")
    difference: float


class AggregatesAnswer(Answer):
    """Les heures, jours, semaines, mois ou années qui ont des mesures."""

    datastream: DatastreamAnswer
    bucket: str
    timezone: str
    mean_by: Literal["time", "count"] | None = Field(
        description="Ce qui pondère `mean` : `time`, la durée de chaque état ; `count`, chaque mesure compte "
        "autant ; null : pas de moyenne"
    )
    items: list[AggregateAnswer]
    gaps: list[GapAnswer] = Field(
        description="Pour un index : ce qui a été consommé pendant une lacune, en une fois, et n'est dans aucun "
        "`difference`"
    )


class LatestAnswer(DatastreamAnswer):
    """La dernière mesure d'un flux."""

    time: datetime
    value: float
    flags: list[str]
    stale: bool = Field(description="Le capteur a été remplacé, et le nouveau n'a pas mesuré cette grandeur")


LatestSort = Literal[
    "id", "-id", "asset", "-asset", "quantity", "-quantity", "commune", "-commune", "distance", "-distance",
    "time", "-time", "value", "-value",
]  # fmt: skip


def _measurement(reading: Reading) -> MeasurementAnswer:
    return MeasurementAnswer(time=reading.time, value=reading.value, flags=[*flag_names(reading.flags)])


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
        await caller.audit_personal(connection, streams=[id])
        rows = await store.list_readings(connection, id, begin, end, newest_first=order == "desc", most=limit + 1)
    page = page_of(rows, limit, _measurement, lambda reading: instant_cursor(reading.time))
    return MeasurementsAnswer(datastream=DATASTREAMS.show(datastream), items=page.items, next=page.next)


class CorrectionAnswer(Answer):
    """Une valeur d'un instant qui en a reçu plusieurs."""

    time: datetime
    value: float
    flags: list[str]
    source_id: int | None = Field(description="La source qui l'a apportée ; null : notre réseau, ou à la main")
    received_at: datetime | None = Field(description="Null : la première valeur")
    in_force: bool = Field(description="C'est elle qui compte")


@router.get("/datastreams/{id}/corrections", summary="Lister les corrections d'un flux")
async def list_corrections(
    id: Id,
    caller: Reader,
    since: From = None,
    until: To = None,
    limit: Limit = 1000,
) -> Page[CorrectionAnswer]:
    """Les instants qui ont reçu plusieurs valeurs, toutes gardées, du dernier au premier (366 jours au plus).

    Une seconde valeur l'emporte si elle est manuelle, ou si l'exploitant a marqué sa source comme faisant foi.
    """
    begin, end = period(since, until, usual=LONGEST_HOURS, longest=LONGEST_HOURS)
    async with caller.reading() as connection:
        await DATASTREAMS.get(connection, id)
        await caller.audit_personal(connection, streams=[id])
        rows = await store.list_corrections(connection, id, begin, end, most=limit)
    items = [
        CorrectionAnswer(
            time=row.time,
            value=row.value,
            flags=[*flag_names(row.flags)],
            source_id=row.source_id,
            received_at=row.received_at,
            in_force=row.in_force,
        )
        for row in rows
    ]
    return Page(items=items, next=None)


@router.get(
    "/datastreams/{id}/aggregates", summary="Agréger les mesures d'un flux par heure, jour, semaine, mois ou année"
)
async def list_aggregates(
    id: Id,
    caller: Reader,
    bucket: Annotated[
        Literal["hour", "day", "week", "month", "year"],
        Query(description="`hour` par heure, `day`, `week` (du lundi), `month`, `year` du calendrier local"),
    ],
    since: From = None,
    until: To = None,
    timezone: Annotated[
        str,
        Query(
            max_length=64,
            pattern="^[A-Za-z][A-Za-z0-9_+/-]*$",
            description="Fuseau du calendrier",
            examples=["Europe/Paris"],
        ),
    ] = "Europe/Paris",
) -> AggregatesAnswer:
    """Par heure (366 jours au plus), jour, semaine, mois ou année locale (10 ans au plus), toujours entiers."""
    longest = LONGEST_HOURS if bucket == "hour" else LONGEST
    zone = zone_named(timezone)
    begin, end = period(since, until, usual=timedelta(days=7), longest=longest)
    async with caller.reading() as connection:
        datastream = await DATASTREAMS.get(connection, id)
        await caller.audit_personal(connection, streams=[id])
        one = Series(id, datastream.asset_id, None, datastream.quantity, datastream.unit)
        found = await read_one(connection, one, any_edges_of(begin, end, bucket, zone), bucket, zone)
    mean_by = AVERAGED.get(one.kind)
    return AggregatesAnswer(
        datastream=DATASTREAMS.show(datastream),
        bucket=bucket,
        timezone=timezone,
        mean_by=mean_by,
        items=[
            AggregateAnswer.model_validate(one if mean_by else one._replace(mean=None)) for one in found.buckets
        ],
        gaps=[GapAnswer(since=since, until=until, difference=amount) for since, until, amount in found.gaps],
    )


@router.get("/measurements/latest", operation_id="listLatestMeasurements", summary="Lister les dernières mesures")
async def list_latest(
    caller: Reader,
    asset_id: AssetIds = None,
    kind: AssetKind = None,
    quantity: QuantityName = None,
    tag: Tag = None,
    quarter: Quarter = None,
    sort: Annotated[LatestSort, Query(description=SORT_TEXT)] = "id",
    limit: Limit = 1000,
    cursor: Cursor = None,
    place: Placed = ANYWHERE,
) -> Page[LatestAnswer]:
    """La dernière mesure de chaque flux, par actif, type d'actif, grandeur ou lieu."""
    wanted = WantedDatastreams(asset_id, None, quantity, kind, tag, quarter, place)
    ask = ask_of(Paging(limit, cursor), sort, store.LIST_LATEST)
    async with caller.reading() as connection:
        part = await store.list_latest(connection, ask, wanted)
        rows = await store.read_in_order(connection, part.ids)
        await caller.audit_personal(connection, streams=part.ids)
        latest = await store.read_latest(connection, part.ids)
        stale = await store.read_stale(connection, part.ids)
    return Page(
        items=[
            LatestAnswer(
                **DATASTREAMS.show(row).model_dump(),
                time=reading.time,
                value=reading.value,
                flags=[*flag_names(reading.flags)],
                stale=row.id in stale,
            )
            for row in rows
            if (reading := latest.get(row.id)) is not None
        ],
        next=cursor_of(sort, part.following),
    )

"""A year of a datastream by local day, with the same dates of the year before beside them."""

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated, Literal
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Query
from pydantic import Field

from api.auth import Reader
from api.fields import EARLIEST, LATEST, Answer, Day, Id
from api.routes.datastreams import DATASTREAMS, DatastreamAnswer
from core.model.calendar_buckets import a_year_before, any_edges_of
from core.model.region import region_of
from core.runtime.http.errors import PROBLEM_RESPONSES
from ingest.series.series_choice import Series
from ingest.series.series_store import read_one
from ingest.series.values import value_is, value_of
from registry.tenants import read_with_timezone

router = APIRouter(prefix="/v1", tags=["measurements"], responses=PROBLEM_RESPONSES)

A_DAY = timedelta(days=1)
FEBRUARY, LEAP_DAY = 2, 29
FIRST_YEAR, LAST_YEAR = EARLIEST.year + 2, LATEST.year - 1


class YearDayAnswer(Answer):
    """Un jour local, et le même quantième de l'année d'avant."""

    day: date
    value: float | None = Field(description="Null : rien de connu ce jour-là")
    former_day: date | None = Field(
        description="La même date un an plus tôt ; null pour un 29 février qui n'en a pas"
    )
    former: float | None


class DatastreamYearAnswer(Answer):
    """Une année d'un flux, jour par jour, à côté de la précédente."""

    datastream: DatastreamAnswer
    timezone: str
    value_is: Literal["mean", "difference"] | None = Field(
        description="`mean` moyenne du jour (d'un état, la part du temps) ; `difference` progression d'un index ; "
        "null pour une énumération, qui n'a ni l'une ni l'autre"
    )
    items: list[YearDayAnswer]


def days_of_year(last: date) -> list[date]:
    """A year of days that ends with `last`: 365, or 366 when a 29 February is among them."""
    first = last.replace(
        year=last.year - 1, day=28 if (last.month, last.day) == (FEBRUARY, LEAP_DAY) else last.day
    )
    return [first + A_DAY * number for number in range(1, (last - first).days + 1)]


def beside(days: Sequence[date], values: Mapping[date, float | None]) -> list[YearDayAnswer]:
    """Each day with its value, and with that of the same date of the year before."""
    return [
        YearDayAnswer(
            day=day,
            value=values.get(day),
            former_day=former,
            former=None if former is None else values.get(former),
        )
        for day, former in ((day, a_year_before(day)) for day in days)
    ]


@router.get(
    "/datastreams/{id}/year",
    operation_id="getDatastreamYear",
    summary="Lire une année d'un flux, à côté de la précédente",
)
async def read_year(
    id: Id,
    caller: Reader,
    last: Annotated[
        Day | None, Query(alias="to", description="Dernier jour ; absent : aujourd'hui", examples=["2026-11-27"])
    ] = None,
) -> DatastreamYearAnswer:
    """Par jour local de la collectivité. À côté, la même date de l'année d'avant, non le même jour de semaine.

    Un 29 février n'a pas de correspondant ; celui de l'année d'avant n'est à côté de rien.
    """
    async with caller.reading() as connection:
        datastream = await DATASTREAMS.get(connection, id)
        await caller.audit_personal(connection, streams=[id])
        tenant, timezone = await read_with_timezone(connection, caller.principal.tenant_id)
        zone = region_of(tenant.department, timezone).zone
        end = datetime.now(UTC).astimezone(zone).date() if last is None else last
        end = min(max(end, date(FIRST_YEAR, 1, 1)), date(LAST_YEAR, 12, 31))
        days = days_of_year(end)
        one = Series(id, datastream.asset_id, None, datastream.quantity, datastream.unit)
        begin = _midnight(days_of_year(days[0] - A_DAY)[0], zone)
        edges = any_edges_of(begin, _midnight(end + A_DAY, zone), "day", zone)
        found = await read_one(connection, one, edges, "day", zone)
    kind = one.kind
    values = {bucket.since.astimezone(zone).date(): value_of(bucket, kind) for bucket in found.buckets}
    return DatastreamYearAnswer(
        datastream=DATASTREAMS.show(datastream),
        timezone=zone.key,
        value_is=value_is(kind),
        items=beside(days, values),
    )


def _midnight(day: date, zone: ZoneInfo) -> datetime:
    return datetime.combine(day, time(), zone).astimezone(UTC)

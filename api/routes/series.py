"""Several datastreams in one request: by bucket of the local calendar, beside another period, or by reading."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Annotated, Any
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import Field

from api import readings_store
from api.auth import Caller, Reader
from api.closed_answers import NOT_MODIFIED, answer_of_period
from api.extent import Placed
from api.fields import INT4_MOST, Answer, AssetKind, answer_of
from api.list_fields import Quarter, Tag
from api.pages import Cursor, Page
from api.periods import period, zone_named
from api.routes.datastreams import QuantityName
from api.routes.measurements import LONGEST, LONGEST_HOURS, AssetIds, From, To
from api.series_items import Beside, Item, Question, items_of
from core.messages.measurements import flag_names
from core.model.calendar_buckets import Comparison, UnevenZone, Unit, counterparts, edges_of
from core.model.consumption import Amount
from core.model.region import region_of
from core.runtime.http.errors import PROBLEM_RESPONSES, FieldError, Problem
from core.runtime.postgres import Connection
from ingest.series.buckets import Aggregated
from ingest.series.series_choice import Series, select_series, unknown_assets, with_profiles
from ingest.series.series_store import read_series
from ingest.series.values import ValueIs
from registry.places import ANYWHERE
from registry.tenants import read_with_timezone
from registry.wanted_datastreams import WantedDatastreams

MOST_SERIES, MOST_BUCKETS, MOST_READINGS = 2_000, 100_000, 10_000
HOUR = timedelta(hours=1)
# Of another calendar than the deployment's, days are put together from hours.
MOST_HOURS = 2_000_000

router = APIRouter(prefix="/v1", tags=["measurements"], responses=PROBLEM_RESPONSES)

DatastreamIds = Annotated[
    list[Annotated[int, Field(ge=1, le=INT4_MOST)]] | None,
    Query(max_length=MOST_SERIES, description="Identifiant du flux ; répétable ; absent : tous", examples=[[42]]),
]
Timezone = Annotated[
    str | None,
    Query(
        max_length=64,
        pattern="^[A-Za-z][A-Za-z0-9_+/-]*$",
        description="Fuseau du calendrier ; absent : celui de la collectivité",
        examples=["Europe/Paris"],
    ),
]


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which datastreams: all that is given is to hold."""

    datastream_id: DatastreamIds = None
    asset_id: AssetIds = None
    kind: AssetKind = None
    quantity: QuantityName = None
    tag: Tag = None
    quarter: Quarter = None
    place: Placed = ANYWHERE

    async def select(self, connection: Connection) -> list[Series]:
        """Raises 422 for what nobody here has, and for too many."""
        filters = WantedDatastreams(
            self.asset_id, None, self.quantity, self.kind, self.tag, self.quarter, self.place
        )
        found = await select_series(connection, self.datastream_id, filters, MOST_SERIES + 1)
        if len(found) > MOST_SERIES:
            raise _wrong("datastream_id", "too_long", f"plus de {MOST_SERIES} flux : précisez la demande")
        if self.asset_id is not None:
            _require_known("asset_id", "actif", await unknown_assets(connection, self.asset_id))
        if self.datastream_id is not None and len(found) < len(set(self.datastream_id)):
            every = await select_series(connection, self.datastream_id, WantedDatastreams(), MOST_SERIES)
            missing = sorted(set(self.datastream_id) - {one.id for one in every})
            _require_known("datastream_id", "flux", missing)
        return found


def _require_known(parameter: str, noun: str, missing: Sequence[int]) -> None:
    if missing:
        named = ", ".join(map(str, missing[:5])) + ("…" if len(missing) > 5 else "")  # noqa: PLR2004
        raise _wrong(parameter, "unknown", f"{noun} inconnu : {named}")


def _wrong(parameter: str, code: str, message: str) -> Problem:
    return Problem(422, message, errors=[FieldError(field=f"query.{parameter}", code=code, message=message)])


class BesideAnswer(answer_of(Beside)):
    """Le même intervalle, une période ou une année plus tôt."""

    since: datetime = Field(serialization_alias="from")
    until: datetime = Field(serialization_alias="to")


class SeriesItem(answer_of(Item, {"previous_period", "previous_year"})):
    """Un flux dans une heure, un jour, une semaine, un mois ou une année du calendrier local.

    Les mesures suspectes sont comptées, et laissées de côté.
    """

    since: datetime = Field(serialization_alias="from")
    until: datetime = Field(serialization_alias="to")
    completeness: float | None = Field(
        description="Part des relevés attendus de l'intervalle que prévoit le profil, jusqu'à maintenant ; null : "
        "pas encore commencé, ou plus court que cet intervalle"
    )
    value: float | None = Field(description="Ce que `value_is` en dit ; null : rien de connu")
    value_is: ValueIs | None = Field(
        description="`mean` la moyenne (d'un état, la part du temps) ; `difference` la progression d'un index, "
        "sans les lacunes ; null : une énumération, qui n'a ni l'une ni l'autre"
    )
    in_gap: bool = Field(description="D'un index : une lacune (`gaps`) en couvre une partie")
    previous_period: BesideAnswer | None = Field(None, description="La période d'avant ; null : non demandée")
    previous_year: BesideAnswer | None = Field(
        None, description="L'année d'avant ; null : non demandée, ou rien en face (29 février, 53e semaine)"
    )


class SeriesGapAnswer(Answer):
    """Ce qu'un index a progressé pendant une lacune : on sait combien, non quand."""

    datastream_id: int
    since: datetime = Field(serialization_alias="from", description="Dernier relevé avant la lacune")
    until: datetime = Field(serialization_alias="to", description="Premier relevé après")
    difference: float


class SeriesAnswer(Page[SeriesItem]):
    """Les intervalles de tous les flux demandés, par flux puis par date, aussi ceux où rien n'a été relevé."""

    bucket: str
    timezone: str
    gaps: list[SeriesGapAnswer]


@router.get(
    "/measurements/series",
    operation_id="listMeasurementSeries",
    summary="Agréger plusieurs flux par heure, jour, semaine, mois ou année",
    response_model=SeriesAnswer,
    responses=NOT_MODIFIED,
)
async def list_series(
    request: Request,
    caller: Reader,
    wanted: Annotated[Wanted, Depends()],
    bucket: Annotated[
        Unit,
        Query(description="`hour` par heure, `day`, `week` (du lundi), `month`, `year` du calendrier local"),
    ],
    since: From = None,
    until: To = None,
    timezone: Timezone = None,
    compare: Annotated[
        list[Comparison] | None,
        Query(
            max_length=2,
            description="`previous_period` autant d'intervalles plus tôt ; `previous_year` la même date, heure, "
            "semaine ISO ou le même mois un an plus tôt ; répétable",
        ),
    ] = None,
) -> Response:
    """Jusqu'à 2 000 flux et 100 000 intervalles (ceux comparés compris), toujours entiers.

    Par heure 366 jours au plus, sinon 10 ans. D'une période close la réponse a un `ETag`.
    """
    begin, end = period(
        since, until, usual=timedelta(days=7), longest=LONGEST_HOURS if bucket == "hour" else LONGEST
    )
    found = await ask_series(caller, wanted, bucket, begin, end, timezone, compare or [])
    answer = {
        "items": found.items,
        "next": None,
        "bucket": bucket,
        "timezone": found.timezone,
        "gaps": [
            {"datastream_id": id_, "from": gap.since, "to": gap.until, "difference": gap.amount}
            for id_, gap in found.gaps
        ],
    }
    return answer_of_period(request, answer, is_closed=found.is_closed)


@dataclass(frozen=True, slots=True)
class Found:
    """What a question about several datastreams is answered by."""

    items: list[Item]
    gaps: list[tuple[int, Amount]]
    timezone: str
    is_closed: bool


async def ask_series(
    caller: Caller,
    wanted: Wanted,
    unit: Unit,
    begin: datetime,
    end: datetime,
    timezone: str | None,
    compare: Sequence[Comparison],
) -> Found:
    """The buckets of these datastreams, beside others; raises 422 for what cannot be answered."""
    async with caller.reading() as connection:
        zone = await _zone(caller, connection, timezone)
        question = _ask(begin, end, unit, zone, compare)
        series = await wanted.select(connection)
        ranges = question.ranges()
        _require_few(series, ranges, unit)
        await caller.audit_personal(connection, streams=[one.id for one in series])
        series = await with_profiles(connection, series)
        read = [await read_series(connection, series, edges, unit, zone) for edges in ranges]
    found = _joined([one.series for one in read])
    untils = {since: until for edges in ranges for since, until in pairwise(edges)}
    now = datetime.now(UTC)
    first, last = question.edges[0], question.edges[-1]
    return Found(
        [item for one in series for item in items_of(one, question, untils, found.get(one.id), now)],
        [
            (id_, gap)
            for id_, one in sorted(found.items())
            for gap in one.gaps
            if gap.since < last and gap.until > first
        ],
        zone.key,
        all(one.is_closed for one in read),
    )


async def _zone(caller: Caller, connection: Connection, named: str | None) -> ZoneInfo:
    if named is None:
        tenant, timezone = await read_with_timezone(connection, caller.principal.tenant_id)
        return region_of(tenant.department, timezone).zone
    return zone_named(named)


def _ask(begin: datetime, end: datetime, unit: Unit, zone: ZoneInfo, compare: Iterable[Comparison]) -> Question:
    try:
        edges = edges_of(begin, end, unit, zone)
        return Question(unit, zone, edges, {one: counterparts(edges, unit, zone, one) for one in compare})
    except UnevenZone:
        message = (
            f"« {zone.key} » n'est pas à un nombre entier d'heures d'UTC : voir /v1/datastreams/{{id}}/aggregates"
        )
        raise _wrong("timezone", "timezone", message) from None
    except (OverflowError, ValueError):
        raise _wrong("from", "range", "une date de la comparaison n'existe pas") from None


def _require_few(series: Sequence[Series], ranges: Sequence[Sequence[datetime]], unit: Unit) -> None:
    buckets = len(series) * sum(len(edges) - 1 for edges in ranges)
    hours = len(series) * sum((edges[-1] - edges[0]) // HOUR for edges in ranges)
    if buckets > MOST_BUCKETS or (unit == "hour" and hours > MOST_HOURS):
        message = (
            f"{buckets} intervalles demandés, {MOST_BUCKETS} au plus : moins de flux, une période plus courte ou "
            "des intervalles plus longs"
        )
        raise _wrong("bucket", "too_long", message)


def _joined(found: Sequence[Mapping[int, Aggregated]]) -> dict[int, Aggregated]:
    joined: dict[int, Aggregated] = {}
    for part in found:
        for id_, one in part.items():
            joined.setdefault(id_, Aggregated()).extend(one)
    return joined


class SeriesReading(Answer):
    """Une mesure d'un des flux ; `flags` : suspect, time_suspect, manual, redecoded, corrected."""

    datastream_id: int
    asset_id: int | None
    quantity: str
    unit: str
    time: datetime
    value: float
    flags: list[str]


@router.get(
    "/measurements/readings",
    operation_id="listReadings",
    summary="Lister les mesures brutes de plusieurs flux",
    response_model=Page[SeriesReading],
    responses=NOT_MODIFIED,
)
async def list_readings(
    request: Request,
    caller: Reader,
    wanted: Annotated[Wanted, Depends()],
    since: From = None,
    until: To = None,
    limit: Annotated[int, Query(ge=1, le=MOST_READINGS, description="Nombre de mesures par page")] = 1000,
    cursor: Cursor = None,
) -> Response:
    """Par flux, puis par instant ; 2 000 flux et 10 ans au plus (par défaut : les dernières 24 heures).

    `next` dit où la page a fini (le flux et l'instant), non combien de mesures sont passées : ce qui arrive entre
    deux pages n'en décale aucune. D'une période close la réponse a un `ETag`.
    """
    begin, end = period(since, until, usual=timedelta(days=1), longest=LONGEST)
    after = readings_store.position_of(cursor)
    async with caller.reading() as connection:
        series = {one.id: one for one in await wanted.select(connection)}
        await caller.audit_personal(connection, streams=list(series))
        part = await readings_store.read_readings(connection, sorted(series), begin, end, after, limit)
    answer: dict[str, Any] = {
        "items": [
            {
                "datastream_id": id_,
                "asset_id": series[id_].asset_id,
                "quantity": series[id_].quantity,
                "unit": series[id_].unit,
                "time": time,
                "value": value,
                "flags": flag_names(flags),
            }
            for id_, time, value, flags in part.rows
        ],
        "next": part.next,
    }
    return answer_of_period(request, answer, is_closed=part.is_closed)

"""What each trade looks at: bins by how full they are, rooms by their air, meters by what they have counted."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Depends, Query
from pydantic import Field

from alerting.rules import forecast
from alerting.rules.model import Observation
from api.auth import Caller, Reader
from api.consumption_store import Consumed, read_consumed
from api.daily_store import Day, read_daily
from api.extent import Commune
from api.fields import INT4_MOST, Answer, AssetKind
from api.pages import Cursor, Page, cursor_id
from api.trade_store import (
    METERS,
    ROOMS,
    WASTE,
    HoursAbove,
    LastValue,
    Place,
    Selection,
    Trade,
    hours_above,
    last_values,
    list_places,
)
from core.runtime.http.errors import PROBLEM_RESPONSES
from core.runtime.postgres import Connection

MOST = 200
DAYS = 30
WEEK = timedelta(days=7)
FULL_PERCENT = 100.0
# Farther ahead a straight line says nothing.
FORESEEN_WITHIN = timedelta(days=60)
# In ppm: the ones of the rules that a tenant begins with.
CO2_THRESHOLDS = (800.0, 1500.0)

router = APIRouter(prefix="/v1", tags=["assets"], responses=PROBLEM_RESPONSES)


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which assets of a trade, and how many."""

    kind: AssetKind = None
    commune: Commune = None
    limit: Annotated[int, Query(ge=1, le=MOST, description="Nombre d'éléments par page")] = 50
    cursor: Cursor = None

    @property
    def selection(self) -> Selection:
        """For the statement; the one too many says that there is more."""
        return Selection(self.kind, self.commune, self.offset, self.limit + 1)

    @property
    def offset(self) -> int:
        """How many are on the pages before: an order that moves has no other place."""
        return min(cursor_id(self.cursor, 0) or 0, INT4_MOST)


WantedQuery = Annotated[Wanted, Depends()]


class ValueAnswer(Answer):
    """La dernière valeur d'une grandeur."""

    datastream_id: int
    quantity: str
    channel: str
    unit: str
    value: float
    time: datetime
    known: bool = Field(
        description="Elle vaut encore pour maintenant : ni suspecte, ni plus vieille que deux intervalles "
        "attendus du capteur ; sinon on ne sait pas"
    )


class PlaceAnswer(Answer):
    """Un actif."""

    id: int
    tenant_id: int
    kind: str
    name: str
    commune: str
    street: str


class DayMaximum(Answer):
    """Le maximum d'un jour local."""

    since: datetime = Field(serialization_alias="from")
    maximum: float | None


class BinAnswer(PlaceAnswer):
    """Un conteneur et son remplissage."""

    fill: ValueAnswer | None = Field(description="Null : jamais mesuré")
    full_at: datetime | None = Field(
        description="Plein vers cet instant, d'après ses derniers jours ; null : cela ne se dit pas"
    )
    days: list[DayMaximum] = Field(description="Ses 30 derniers jours mesurés")


class ShareAbove(Answer):
    """La part des heures mesurées dont la moyenne a dépassé un seuil."""

    threshold: float = Field(description="En ppm", examples=[800])
    share: float = Field(description="De 0 à 1")


class RoomAnswer(PlaceAnswer):
    """Une salle et son air."""

    co2: ValueAnswer | None
    temperature: ValueAnswer | None
    relative_humidity: ValueAnswer | None
    hours: int = Field(description="Heures mesurées des sept derniers jours")
    above: list[ShareAbove] = Field(description="De ces heures ; vide s'il n'y en a pas")


class GapSpan(Answer):
    """Ce qui a été consommé en une lacune, sans qu'on sache quel jour : dans aucun autre chiffre."""

    since: datetime = Field(serialization_alias="from")
    until: datetime = Field(serialization_alias="to")
    amount: float


class IndexAnswer(ValueAnswer):
    """Un index, et de combien il a avancé, dans son unité ; null : aucun relevé ne le dit."""

    yesterday: float | None
    week: float | None = Field(description="Depuis lundi")
    last_week: float | None = Field(description="La semaine d'avant, du lundi au dimanche")
    gaps: list[GapSpan]


class MeterAnswer(PlaceAnswer):
    """Un compteur et ses index."""

    indexes: list[IndexAnswer]


@router.get("/bins", summary="Lister les conteneurs par remplissage")
async def list_bins(caller: Reader, wanted: WantedQuery) -> Page[BinAnswer]:
    """Les conteneurs à déchets, le plus plein d'abord, puis ceux dont on ne sait rien."""
    now = datetime.now(UTC)
    async with caller.reading() as connection:
        places, values = await read_places(caller, connection, WASTE, wanted)
        streams = [one.datastream_id for place in values.values() for one in place]
        daily = await read_daily(connection, streams, now - timedelta(days=DAYS - 1), now)
    items = [_bin(place, values.get(place.id, []), daily, now) for place in places[: wanted.limit]]
    return Page(items=items, next=next_page(places, wanted))


async def read_places(
    caller: Caller, connection: Connection, trade: Trade, wanted: Wanted
) -> tuple[list[Place], dict[int, list[LastValue]]]:
    """The assets of a page and one more, with what was measured there last."""
    places = await list_places(connection, trade, wanted.selection)
    values = await last_values(connection, trade, [place.id for place in places[: wanted.limit]])
    await caller.audit_personal(
        connection, streams=[one.datastream_id for of_place in values.values() for one in of_place]
    )
    return places, values


def next_page(places: Sequence[Place], wanted: Wanted) -> str | None:
    """Where the following page begins."""
    return str(wanted.offset + wanted.limit) if len(places) > wanted.limit else None


def _bin(place: Place, values: Sequence[LastValue], daily: dict[int, list[Day]], now: datetime) -> BinAnswer:
    fill = best_value(values, "fill_level")
    days = [] if fill is None else daily.get(fill.datastream_id, [])
    return BinAnswer(
        **place._asdict(),
        fill=fill,
        full_at=_full_at(fill, days, now),
        days=[DayMaximum(since=day.since, maximum=day.maximum) for day in days],
    )


def best_value(values: Sequence[LastValue], quantity: str) -> ValueAnswer | None:
    """Of a place with several probes: a known value before an old one, the higher one before the lower."""
    found = [one for one in values if one.quantity == quantity]
    best = max(found, key=lambda one: (one.known, one.value), default=None)
    return None if best is None else ValueAnswer.model_validate(best)


def _full_at(fill: ValueAnswer | None, days: Sequence[Day], now: datetime) -> datetime | None:
    """As the rules foresee it, by the ends of its days since it was emptied."""
    if fill is None or not fill.known:
        return None
    memo, before, at = b"", None, now
    for day in days:
        if day.last is not None:
            at = min(day.since + timedelta(days=1), now)
            memo, before = forecast.remember(memo, Observation(at, day.last), before), day.last
    hours = forecast.hours_until(FULL_PERCENT, memo, Observation(now, fill.value))
    return now + timedelta(hours=hours) if hours and hours <= FORESEEN_WITHIN / timedelta(hours=1) else None


@router.get("/rooms", summary="Lister les salles par CO2")
async def list_rooms(caller: Reader, wanted: WantedQuery) -> Page[RoomAnswer]:
    """Les salles, celle dont le CO2 est le plus haut d'abord, puis celles dont on ne sait rien."""
    async with caller.reading() as connection:
        places, values = await read_places(caller, connection, ROOMS, wanted)
        streams = [one.datastream_id for of in values.values() for one in of if one.quantity == "co2"]
        above = await hours_above(connection, streams, datetime.now(UTC) - WEEK, CO2_THRESHOLDS)
    items = [_room(place, values.get(place.id, []), above) for place in places[: wanted.limit]]
    return Page(items=items, next=next_page(places, wanted))


def _room(place: Place, values: Sequence[LastValue], above: dict[int, HoursAbove]) -> RoomAnswer:
    co2 = best_value(values, "co2")
    week = None if co2 is None else above.get(co2.datastream_id)
    counted = zip(CO2_THRESHOLDS, () if week is None else week.above, strict=False)
    return RoomAnswer(
        **place._asdict(),
        co2=co2,
        temperature=best_value(values, "temperature"),
        relative_humidity=best_value(values, "relative_humidity"),
        hours=0 if week is None else week.hours,
        above=[ShareAbove(threshold=limit, share=over / week.hours) for limit, over in counted if week],
    )


@router.get("/meters", summary="Lister les compteurs par consommation")
async def list_meters(caller: Reader, wanted: WantedQuery) -> Page[MeterAnswer]:
    """Les compteurs par type, d'abord celui qui a le plus avancé ces derniers jours."""
    async with caller.reading() as connection:
        places, values = await read_places(caller, connection, METERS, wanted)
        consumed = await read_consumed(connection, [one.datastream_id for of in values.values() for one in of])
    items = [
        MeterAnswer(
            **place._asdict(),
            indexes=[_index(one, consumed.get(one.datastream_id)) for one in values.get(place.id, [])],
        )
        for place in places[: wanted.limit]
    ]
    return Page(items=items, next=next_page(places, wanted))


def _index(value: LastValue, consumed: Consumed | None) -> IndexAnswer:
    known = consumed or Consumed(None, None, None)
    gaps = [GapSpan(since=since, until=until, amount=amount) for since, until, amount in known.gaps]
    return IndexAnswer(
        **ValueAnswer.model_validate(value).model_dump(),
        yesterday=known.yesterday,
        week=known.week,
        last_week=known.last_week,
        gaps=gaps,
    )

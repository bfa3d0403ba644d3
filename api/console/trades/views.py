"""What each trade looks at in the morning: bins by fill, rooms by their air, meters by what they have counted."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from operator import attrgetter
from typing import Annotated, Any
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from fastapi import Depends, Query, Response

from api import asset_state_store
from api.console.pages import page_router
from api.console.sorting import Keys, Sort, by_text, order_of
from api.console.visits import PersonsVisit, ReadersVisit
from api.console.where import Text
from api.pages import Page
from api.routes import trades as routes
from api.routes.trades import DAYS, BinAnswer, DayMaximum, Wanted
from api.trade_store import METERS, ROOMS, WASTE, Trade

router = page_router()

SHOWN = 50
# A bar for each of the last days, in the units of the picture.
BAR, HEIGHT = 3, 24
PERCENT = 100
# Litres and watt-hours of a town have too many digits.
BY_THOUSAND = {"L": "m³", "W.h": "kWh"}


PLACE: Keys = {"nom": lambda one: by_text(one.name), "type": attrgetter("kind")}


def value_of(name: str) -> Callable[[Any], float | None]:
    """A value of a place; of one that is not known any more nothing is said."""

    def value(one: Any) -> float | None:
        measured = getattr(one, name)
        return measured.value if measured is not None and measured.known else None

    return value


def time_of(name: str) -> Callable[[Any], datetime | None]:
    """When a value of a place was measured."""

    def time(one: Any) -> datetime | None:
        measured = getattr(one, name)
        return None if measured is None else measured.time

    return time


BIN_COLUMNS: Keys = PLACE | {
    "remplissage": value_of("fill"),
    "mesure": time_of("fill"),
    "plein": attrgetter("full_at"),
}
ROOM_COLUMNS: Keys = PLACE | {
    "co2": value_of("co2"),
    "mesure": time_of("co2"),
    "temperature": value_of("temperature"),
    "humidite": value_of("relative_humidity"),
}


@dataclass(frozen=True, slots=True)
class Filter:
    """Which assets of a trade: what the form above says, and the address."""

    genre: Text = ""
    commune: Text = ""
    suite: Annotated[str, Query(max_length=12, pattern="^[0-9]*$")] = ""
    tri: Sort = ""

    def wanted(self) -> Wanted:
        """For the route."""
        return Wanted(self.genre or None, self.commune or None, SHOWN, self.suite or None)

    def following(self, path: str, cursor: str | None) -> str:
        """Where the next page is."""
        named = {"genre": self.genre, "commune": self.commune, "suite": cursor or ""}
        return f"{path}?{urlencode({name: text for name, text in named.items() if text})}" if cursor else ""


Filtered = Annotated[Filter, Depends()]


async def trade_page(
    visit: PersonsVisit,
    template: str,
    trade: Trade,
    wanted: Filter,
    found: Page[Any],
    columns: Keys | None = None,
    **content: Any,
) -> Response:
    """A list of a trade below its filter; one that is whole is sorted by `columns`."""
    is_whole = columns is not None and not found.next and not wanted.suite and len(found.items) > 1
    order = order_of(visit.request, wanted.tri, columns or {}) if is_whole else None
    async with visit.caller.reading() as connection:
        communes = await asset_state_store.list_communes(connection)
    return visit.page(
        template,
        items=found.items if order is None else order.applied(found.items),
        order=order,
        following=wanted.following(visit.request.url.path, found.next),
        wanted=wanted,
        kinds=[kind for kind in visit.kinds if re.search(trade.kinds, kind)],
        communes=communes,
        **content,
    )


@router.get("/dechets")
async def show_bins(visit: ReadersVisit, wanted: Filtered) -> Response:
    """Bins, the fullest first."""
    found = await routes.list_bins(visit.caller, wanted.wanted())
    today = datetime.now(visit.language.zone)
    bars = {one.id: bars_of(one.days, today, visit.language.zone) for one in found.items}
    return await trade_page(
        visit, "trades/bins.html", WASTE, wanted, found, BIN_COLUMNS, bars=bars, lowest=_lowest(found.items)
    )


def bars_of(days: Sequence[DayMaximum], now: datetime, zone: ZoneInfo) -> str:
    """The path of a picture: a bar for each of the last days that was measured, none for one that was not."""
    first = now.date() - timedelta(days=DAYS - 1)
    bars: list[str] = []
    for day in days:
        place = (day.since.astimezone(zone).date() - first).days
        if day.maximum is not None and 0 <= place < DAYS:
            height = round(max(0.0, min(day.maximum, PERCENT)) / PERCENT * HEIGHT, 1)
            bars.append(f"M{place * BAR + 1} {HEIGHT}v-{max(height, 0.5)}")
    return "".join(bars)


def _lowest(bins: Sequence[BinAnswer]) -> dict[int, tuple[float, float]]:
    """The lowest and the highest day of each, for who reads the picture's name."""
    found: dict[int, tuple[float, float]] = {}
    for one in bins:
        if known := [day.maximum for day in one.days if day.maximum is not None]:
            found[one.id] = (min(known), max(known))
    return found


@router.get("/salles")
async def show_rooms(visit: ReadersVisit, wanted: Filtered) -> Response:
    """Rooms, the stuffiest first."""
    found = await routes.list_rooms(visit.caller, wanted.wanted())
    limits = routes.CO2_THRESHOLDS
    return await trade_page(visit, "trades/rooms.html", ROOMS, wanted, found, ROOM_COLUMNS, thresholds=limits)


@router.get("/compteurs")
async def show_meters(visit: ReadersVisit, wanted: Filtered) -> Response:
    """Meters, the busiest of each kind first."""
    found = await routes.list_meters(visit.caller, wanted.wanted())
    return await trade_page(visit, "trades/meters.html", METERS, wanted, found, by_thousand=BY_THOUSAND)

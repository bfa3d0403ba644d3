"""What the pages of buildings have in common: which building, which months, in which words."""

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import Query, Response

from api.building_store import Building, list_buildings
from api.console.navigation import SubEntry, marked
from api.console.visits import PersonsVisit
from api.months import MONTH, USUAL_MONTHS, first_of, last_month, named
from api.weather_store import MethodName
from core.model.calendar_buckets import moved
from core.runtime.http.errors import not_found
from indicators.buildings.climate import Uncorrected

PAGE = "/batiments"
DAY = timedelta(days=1)
USES = {
    "electricity": marked("Électricité"),
    "gas": marked("Gaz"),
    "heat": marked("Chaleur"),
    "water": marked("Eau"),
}
UNITS = {"kWh": "kWh", "m3": "m³"}
METHODS: dict[MethodName, str] = {
    "meteo": marked("méthode Météo"),
    "energy_professionals": marked("professionnels de l’énergie"),
}
UNCORRECTED = {
    Uncorrected.NO_BASELINE: marked("aucune référence figée ne prouve que cet usage suit la météo"),
    Uncorrected.NO_WEATHER_USE: marked("sa référence est une moyenne : il ne suit pas la météo"),
    Uncorrected.MONTH_NOT_WHOLE: marked("l’un des deux mois n’est pas entier"),
    Uncorrected.WEATHER_MISSING: marked("il manque un jour de météo dans l’un des deux mois"),
    Uncorrected.NOTHING_EXPECTED: marked("par ce climat, rien ne resterait de l’an dernier"),
}
WORDS: dict[str, Any] = {"uses": USES, "units": UNITS, "methods": METHODS, "uncorrected": UNCORRECTED}
Month = Annotated[str, Query(max_length=7)]


@dataclass(frozen=True, slots=True)
class Asked:
    """What an address says of months, and of the weather; what cannot be meant is not said."""

    du: Month = ""
    au: Month = ""
    methode: Annotated[str, Query(max_length=30)] = ""
    station: Annotated[str, Query(max_length=100)] = ""

    @property
    def since(self) -> str | None:
        """The first month."""
        return self.du if re.fullmatch(MONTH, self.du) else None

    @property
    def until(self) -> str | None:
        """The last month."""
        return self.au if re.fullmatch(MONTH, self.au) else None

    @property
    def method(self) -> MethodName:
        """Of degree days; the usual one where none is chosen."""
        return "energy_professionals" if self.methode == "energy_professionals" else "meteo"

    @property
    def address(self) -> str:
        """As the part of an address behind `?`."""
        named = {"du": self.since, "au": self.until, "methode": self.methode, "station": self.station}
        return urlencode({name: value for name, value in named.items() if value})


async def building_of(visit: PersonsVisit, building_id: int) -> Building:
    """The building; raises 404 for what is none, or is not visible."""
    async with visit.caller.reading() as connection:
        found = await list_buildings(connection, [building_id], None, 0, 1)
    if not found:
        raise not_found(f"bâtiment {building_id}")
    return found[0]


def building_page(visit: PersonsVisit, template: str, building: Building, **content: Any) -> Response:
    """A page of one building, below the tabs of all of them."""
    home = f"{PAGE}/{building.id}"
    return visit.form_page(
        f"buildings/{template}.html",
        content.pop("problem", None),
        building=building,
        home=home,
        tabs=(
            SubEntry(home, marked("Énergie et eau")),
            SubEntry(f"{home}/economies", marked("Économies")),
            SubEntry(f"{home}/air", marked("Air des salles")),
            SubEntry(f"{home}/fuites", marked("Fuites")),
            SubEntry(f"{home}/ouvertures", marked("Ouvertures")),
        ),
        month_name=month_name(visit),
        usual=_usual_months(visit),
        before=_day_before,
        **WORDS,
        **content,
    )


def _day_before(day: date) -> date:
    return day - DAY


def _usual_months(visit: PersonsVisit) -> tuple[str, str]:
    """The last twelve that are over, where the address says none."""
    last = last_month(datetime.now(UTC), visit.language.zone)
    return named(moved(last, "month", 1 - USUAL_MONTHS)), named(last)


def month_name(visit: PersonsVisit) -> Any:
    """How a month is written: « octobre 2026 »."""

    def name(month: str | date) -> str:
        day = visit.language.on_day(first_of(month) if isinstance(month, str) else month)
        return day.partition(" ")[2]

    return name


def begins(visit: PersonsVisit, month: str) -> float:
    """When a month begins where the visitor is, for a chart."""
    return datetime.combine(first_of(month), time(), visit.language.zone).timestamp()

"""What fills the forms of buildings: each figure of the API's answers with its value, or why it is not known."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from api.building_store import USES, Building
from indicators.buildings.amounts import year_total

OF_USE = {"electricity": "electricity_kwh", "gas": "gas_m3", "heat": "heat_kwh", "water": "water_m3"}
NO_METER = "aucun compteur ne le mesure"
NO_STATION = "aucune station météo n'est choisie, ou aucune n'est importée"
NOT_SAID = {
    "surface_m2": "l'attribut surface_m2 n'est pas rempli",
    "occupants": "l'attribut occupants n'est pas rempli",
}
NO_CALENDAR = "aucun calendrier ne dit quand on y est"
NO_HOUR = "aucune heure occupée n'est connue"


class Filled(NamedTuple):
    """A figure: its value, or None and why."""

    value: str | float | bool | None
    unknown: str = ""


Row = Mapping[str, Filled]


def operat_row(building: Building, year: int, uses: Sequence[Any]) -> Row:
    """A building and a year; a use of which a month is not whole has no total."""
    by_use: dict[str, Sequence[Any]] = {one.use: one.months for one in uses}
    row = _of_building(building, year)
    for name in ("surface_m2", "occupants"):
        size = building.size(name)
        row[name] = Filled(size, NOT_SAID[name] if size is None else "")
    for use in USES:
        row[OF_USE[use]] = _total(by_use.get(use))
    return row | _degree_days(next(iter(by_use.values()), ()))


def _of_building(building: Building, year: int) -> dict[str, Filled]:
    return {
        "asset_id": Filled(building.id),
        "building": Filled(building.name),
        "commune": Filled(building.commune),
        "year": Filled(year),
    }


def _total(months: Sequence[Any] | None) -> Filled:
    if months is None:
        return Filled(None, NO_METER)
    total = year_total([(one.amount, one.is_whole) for one in months])
    whole = sum(one.is_whole for one in months)
    return Filled(total, f"{whole} mois entiers sur {len(months)}" if total is None else "")


def _degree_days(months: Sequence[Any]) -> dict[str, Filled]:
    known = [one.degree_days for one in months if one.degree_days is not None]
    if not known:
        nothing = Filled(None, NO_STATION)
        return {"degree_days": nothing, "degree_days_method": nothing, "station": nothing}
    missing = sum(one.missing for one in known)
    total = None if missing else sum(one.known for one in known)
    return {
        "degree_days": Filled(total, f"{missing} jours de météo manquent" if missing else ""),
        "degree_days_method": Filled(known[0].method),
    }


def school_rows(building: Building, year: int, air: Any) -> Iterator[Row]:
    """A line for each room of a building; none for one without rooms."""
    if air is None:
        return
    for room in air.rooms:
        yield _of_building(building, year) | _of_room(room) | _of_evaluation(air.evaluation)


def _of_room(room: Any) -> dict[str, Filled]:
    co2: Any = room.co2
    why = "" if co2.known_hours else NO_CALENDAR if room.calendar is None else NO_HOUR

    def figure(value: float | None) -> Filled:
        return Filled(value, why)

    return {
        "room_id": Filled(room.asset_id),
        "room": Filled(room.name),
        "calendar": Filled(room.calendar, NO_CALENDAR if room.calendar is None else ""),
        "hours": Filled(co2.hours),
        "known_hours": Filled(co2.known_hours),
        "co2_mean": figure(co2.mean),
        "co2_highest": figure(co2.highest),
        "percent_above_800": figure(_percent(co2.above_800)),
        "percent_above_1500": figure(_percent(co2.above_1500)),
        "icone": figure(co2.icone),
        "hours_below_400": Filled(co2.below_400),
    }


def _percent(share: float | None) -> float | None:
    return None if share is None else 100 * share


def _of_evaluation(evaluation: Any) -> dict[str, Filled]:
    return {
        "rooms": Filled(evaluation.rooms),
        "rooms_to_measure": Filled(evaluation.to_measure),
        "rooms_measured": Filled(evaluation.measured),
        "is_enough": Filled(evaluation.is_enough),
    }

"""A tenant's time zone and public holidays, from its department; and school holidays by their zone."""

from dataclasses import dataclass
from datetime import date, datetime
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from vacances_scolaires_france import (  # pyright: ignore[reportMissingTypeStubs]
    SchoolHolidayDates,
    UnsupportedYearException,
)

if TYPE_CHECKING:
    from holidays import HolidayBase

PARIS = ZoneInfo("Europe/Paris")
# Departments and collectivities whose clocks are not Metropolitan France's.
ZONES = {
    "971": ZoneInfo("America/Guadeloupe"),
    "972": ZoneInfo("America/Martinique"),
    "973": ZoneInfo("America/Cayenne"),
    "974": ZoneInfo("Indian/Reunion"),
    "975": ZoneInfo("America/Miquelon"),
    "976": ZoneInfo("Indian/Mayotte"),
    "977": ZoneInfo("America/St_Barthelemy"),
    "978": ZoneInfo("America/Marigot"),
    "986": ZoneInfo("Pacific/Wallis"),
    "987": ZoneInfo("Pacific/Tahiti"),
    "988": ZoneInfo("Pacific/Noumea"),
}
# Those with holidays of their own, by the name that PyPI `holidays` has for them.
SUBDIVISIONS = {
    "57": "57", "67": "6AE", "68": "6AE", "971": "971", "972": "972", "973": "973", "974": "974", "975": "PM",
    "976": "976", "977": "BL", "978": "MF", "986": "WF", "987": "PF", "988": "NC",
}  # fmt: skip


# By the academy. Corsica and overseas have calendars of their own, which the library does not know.
SCHOOL_ZONES = {
    department: zone
    for zone, departments in {
        "A": "01 03 07 15 16 17 19 21 23 24 25 26 33 38 39 40 42 43 47 58 63 64 69 70 71 73 74 79 86 87 89 90",
        "B": "02 04 05 06 08 10 13 14 18 22 27 28 29 35 36 37 41 44 45 49 50 51 52 53 54 55 56 57 59 60 61 62 67 "
        "68 72 76 80 83 84 85 88",
        "C": "09 11 12 30 31 32 34 46 48 65 66 75 77 78 81 82 91 92 93 94 95",
    }.items()
    for department in departments.split()
}


@dataclass(frozen=True, slots=True)
class Region:
    """A time zone, and the `holidays` subdivision whose holidays count besides the national ones (None: none)."""

    zone: ZoneInfo = PARIS
    subdivision: str | None = None

    def local(self, at: datetime) -> datetime:
        """An instant as the clocks on the wall show it."""
        return at.astimezone(self.zone)

    def is_public_holiday(self, day: date) -> bool:
        """Whether people have this local day off."""
        return _is_holiday(day, self.subdivision)


METROPOLITAN = Region()


@lru_cache(4096)
def _is_holiday(day: date, subdivision: str | None) -> bool:
    return day in _holidays(subdivision)


@cache
def _holidays(subdivision: str | None) -> "HolidayBase":
    # Every country of the world comes with it, a dozen MB and 0.3 s: for the processes that are asked.
    import holidays  # noqa: PLC0415

    return holidays.country_holidays("FR", subdiv=subdivision)


@lru_cache(256)
def region_of(department: str | None, timezone: str) -> Region:
    """A tenant's region; one that names no overseas department lives by `timezone`, the deployment's."""
    zone = ZONES.get(department or "")
    return Region(ZoneInfo(timezone) if zone is None else zone, SUBDIVISIONS.get(department or ""))


def school_zone_of(department: str | None) -> str | None:
    """The zone of a department's school holidays; None where it has none that anybody knows here."""
    return SCHOOL_ZONES.get(department or "")


def read_school_holidays() -> None:
    """Read decades of dates, for a third of a second: what evaluates rules does it when it is imported.

    Others read them when a calendar first asks: most processes that import this never do.
    """
    _school_holidays()


@cache
def _school_holidays() -> Any:
    return SchoolHolidayDates()


@lru_cache(4096)
def is_school_holiday(day: date, zone: str) -> bool:
    """Of zone A, B or C; a year that is not published yet has none."""
    try:
        return bool(_school_holidays().is_holiday_for_zone(day, zone))
    except UnsupportedYearException:
        return False

"""When a scheduled drop is due, which period it covers, and what its file is called. Pure.

Hours and days are those of the local calendar: a drop of each day at 2 o'clock has one of 25 hours in October.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

from core.model.calendar_buckets import first_day, midnight, moved

Frequency = Literal["hours", "day", "week", "month"]
Covers = Literal["previous", "since_last"]

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
# Of a local day, which they divide.
DAYS_OF_WEEK = 7
HOURS = (1, 2, 3, 4, 6, 8, 12)
INSTANT_OF_NAME = "%Y%m%dT%H%M%SZ"
PLACES = ("date", "from", "month", "instant")
# What every file system and every spreadsheet takes; no dot first, which hides a file.
NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_. +()-]{0,119}")
PLACE = re.compile(r"\{([^{}]*)\}")


@dataclass(frozen=True, slots=True)
class Timetable:
    """When a schedule is due: `at_hour` on the local clock, `on_day` 1 to 7 of a week, or of a month."""

    frequency: Frequency
    every_hours: int | None
    at_hour: int
    on_day: int
    covers: Covers


def next_due(table: Timetable, after: datetime, zone: ZoneInfo) -> datetime:
    """The first instant later than `after` at which it is due, in UTC."""
    return next(due for due in _dues(table, after, zone) if due > after)


def _dues(table: Timetable, around: datetime, zone: ZoneInfo) -> Iterator[datetime]:
    """In order, from one that is not later than `around`."""
    if table.frequency == "hours":
        due = _floor(table, around, zone)
        while True:
            yield due
            due += HOUR
            while not _is_due_hour(table, due, zone):
                due += HOUR
    begin = first_day(around.astimezone(zone).date(), table.frequency)
    begin = moved(begin, table.frequency, -1)
    while True:
        day = begin if table.frequency == "day" else begin + DAY * (table.on_day - 1)
        yield datetime.combine(day, time(table.at_hour), zone).astimezone(UTC)
        begin = moved(begin, table.frequency, 1)


def _is_due_hour(table: Timetable, hour: datetime, zone: ZoneInfo) -> bool:
    return hour.astimezone(zone).hour % (table.every_hours or 1) == 0


def _floor(table: Timetable, at: datetime, zone: ZoneInfo) -> datetime:
    """The last due hour up to `at`."""
    hour = at.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    while not _is_due_hour(table, hour, zone):
        hour -= HOUR
    return hour


def previous_period(table: Timetable, due: datetime, zone: ZoneInfo) -> tuple[datetime, datetime]:
    """The last whole day, week or month before `due`; of hours, those between the last two due instants."""
    if table.frequency == "hours":
        until = _floor(table, due, zone)
        return _floor(table, until - HOUR, zone), until
    begin = first_day(due.astimezone(zone).date(), table.frequency)
    return midnight(moved(begin, table.frequency, -1), zone), midnight(begin, zone)


def file_name_of(pattern: str, since: datetime, until: datetime, zone: ZoneInfo) -> str:
    """The name of the file of a period: `{date}` is its last day, `{from}` its first, `{instant}` its end."""
    last = (until - timedelta(microseconds=1)).astimezone(zone).date()
    return pattern.format_map(
        {
            "date": last.isoformat(),
            "from": since.astimezone(zone).date().isoformat(),
            "month": last.isoformat()[:7],
            "instant": until.astimezone(UTC).strftime(INSTANT_OF_NAME),
        }
    )


def usual_name(table: Timetable, form: str) -> str:
    """The pattern of who has not chosen one."""
    return f"mesures-{{{'instant' if _needs_instant(table) else 'date'}}}.{form}"


def _needs_instant(table: Timetable) -> bool:
    return table.frequency == "hours" or table.covers == "since_last"


def name_problem(pattern: str, table: Timetable) -> str | None:
    """Why these are no names of the files of this timetable, in French; None: they are."""
    places = PLACE.findall(pattern)
    unknown = next((one for one in places if one not in PLACES), None)
    if unknown is not None:
        return f"« {{{unknown}}} » n'est pas connu : {', '.join(f'{{{one}}}' for one in PLACES)}"
    plain = PLACE.sub("0", pattern)
    if NAME.fullmatch(plain) is None:
        return "lettres sans accent, chiffres, espaces et . _ - + ( ) seulement, sans point au début, 120 au plus"
    if _needs_instant(table) and "instant" not in places:
        return "{instant} est attendu : sans lui deux fichiers auraient le même nom"
    tells = {"month", "date", "from", "instant"} if table.frequency == "month" else {"date", "from", "instant"}
    if not tells & set(places):
        return "{date} est attendu : sans lui tous les fichiers auraient le même nom"
    return None


def day_problem(frequency: Frequency, on_day: int) -> str | None:
    """Why there is no such day; None: there is."""
    return "un jour de la semaine va de 1 (lundi) à 7" if frequency == "week" and on_day > DAYS_OF_WEEK else None

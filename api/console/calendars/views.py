"""Calendars: the opening hours by which rules watch, or do not."""

import re
from collections.abc import Mapping
from datetime import date
from functools import partial
from typing import Any

from fastapi import Response

from api.console.forms import Form
from api.console.pages import page_router
from api.console.rules import words
from api.console.rules.form import checked
from api.console.versions import CHANGED, change_as_read, version_of
from api.console.visits import ManagersVisit, PersonsVisit, ReadersVisit, values_of
from api.console.wording import WEEKDAYS
from api.fields import Id
from api.routes import alert_rules
from api.routes import silences as routes
from api.routes.silences import CalendarBody
from core.runtime.http.errors import Problem, invalid

router = page_router()

PAGE = "/calendriers"
NEW = f"{PAGE}/nouveau"
SAID = frozenset({409, 412, 422})
YES = "true"
HOURS = re.compile(r"(\d{1,2})[h:](\d{2})?\s*[-–à]\s*(\d{1,2})[h:](\d{2})?")
DATES = re.compile(r"(\d{4}-\d{2}-\d{2})\s*(?:[-–à]|au)?\s*(\d{4}-\d{2}-\d{2})")


def read_hours(text: str) -> list[list[str]] | None:
    """The ranges of a day as people write them: 7:30-12:00, 13h30-18h. None: these are none."""
    found = [part.strip() for part in text.replace(";", ",").split(",") if part.strip()]
    matches = [HOURS.fullmatch(part) for part in found]
    ranges = [match.groups(default="00") for match in matches if match is not None]
    if len(ranges) < len(found):
        return None
    return [[f"{int(a):02}:{b}", f"{int(c):02}:{d}"] for a, b, c, d in ranges]


def show_hours(ranges: list[list[str]]) -> str:
    """The ranges of a day, to be read and typed."""
    return ", ".join(f"{first}-{last}" for first, last in ranges)


def _values_of(calendar: Any) -> dict[str, str]:
    days = {f"day{number}": show_hours(ranges) for number, ranges in enumerate(calendar.weekly)}
    return days | {
        "name": calendar.name,
        "school_zone": calendar.school_zone or "",
        "closed_on_holidays": YES if calendar.closed_on_holidays else "",
        "closures": "\n".join(f"{first} au {after}" for first, after in calendar.closures),
    }


@router.get(PAGE)
async def show_list(visit: ReadersVisit) -> Response:
    """Every calendar, and how many rules follow it."""
    calendars: list[Any] = [*(await routes.list_calendars(visit.caller)).items]
    rules: list[Any] = [*(await alert_rules.list_rules(visit.caller)).items]
    counts = {one.id: sum(rule.calendar_id == one.id for rule in rules) for one in calendars}
    return visit.page(
        "calendars/list.html",
        calendars=[(one, _values_of(one)) for one in calendars],
        counts=counts,
        days=WEEKDAYS,
    )


@router.get(NEW)
async def show_new(visit: ManagersVisit) -> Response:
    """The form of another calendar, with the hours of an office."""
    usual = {f"day{number}": "07:30-18:30" for number in range(5)}
    return _form(visit, usual | {"closed_on_holidays": YES})


def _form(
    visit: PersonsVisit,
    values: Mapping[str, str],
    problem: Problem | None = None,
    calendar: Any = None,
    rules: list[tuple[int, str]] | None = None,
) -> Response:
    return visit.form_page(
        "calendars/calendar.html",
        problem,
        calendar=calendar,
        version="" if calendar is None else version_of(calendar),
        rules=rules or [],
        values=values,
        days=WEEKDAYS,
    )


def _content(visit: PersonsVisit, name: str) -> CalendarBody:
    """The calendar that was typed; raises 422 with what is wrong in each field."""
    form, weekly = visit.form, list[list[list[str]]]()
    for number in range(len(WEEKDAYS)):
        ranges = read_hours(form.text(f"day{number}"))
        if ranges is None:
            raise invalid(
                f"day{number}", "hours", visit.gettext("Des plages, par exemple 07:30-12:00, 13:30-18:00.")
            )
        weekly.append(ranges)
    given: dict[str, Any] = {"name": name, "weekly": weekly, "closures": _closures(visit, form)}
    given |= {
        "school_zone": form.text("school_zone") or None,
        "closed_on_holidays": form.text("closed_on_holidays") == YES,
    }
    return checked(CalendarBody, given, visit.language)


def _closures(visit: PersonsVisit, form: Form) -> list[tuple[date, date]]:
    found: list[tuple[date, date]] = []
    for line in filter(None, map(str.strip, form.text("closures").splitlines())):
        match = DATES.fullmatch(line)
        try:
            first, after = map(date.fromisoformat, () if match is None else match.groups())
        except ValueError:
            message = visit.gettext("Une fermeture par ligne : 2027-08-01 au 2027-08-16.")
            raise invalid("closures", "dates", message) from None
        found.append((first, after))
    return found


def _reworded(problem: Problem) -> Problem:
    if problem.status not in SAID:
        raise problem
    return Problem(problem.status, problem.detail.replace("'", "’"), errors=problem.errors)


@router.post(NEW)
async def create(visit: ManagersVisit) -> Response:
    """Make a calendar; one of that name that is there already is not overwritten."""
    name = visit.form.text("name")
    every: list[Any] = [*(await routes.list_calendars(visit.caller)).items]
    try:
        if name in {one.name for one in every}:
            raise invalid("name", "taken", visit.gettext("Un calendrier s’appelle déjà ainsi."))
        await routes.save_calendar(_content(visit, name), visit.caller)
    except Problem as problem:
        return _form(visit, values_of(visit.form), _reworded(problem))
    return visit.go(PAGE, visit.gettext("Le calendrier est fait ; partout dans cinq secondes."))


@router.get(PAGE + "/{id}")
async def show_calendar(id: Id, visit: ReadersVisit) -> Response:  # noqa: A002 - The path's word.
    """One calendar and the rules that follow it."""
    calendar = await routes.read_calendar(id, visit.caller)
    return _form(visit, _values_of(calendar), calendar=calendar, rules=await _rules(visit, id))


async def _rules(visit: PersonsVisit, calendar_id: int) -> list[tuple[int, str]]:
    every: list[Any] = [*(await alert_rules.list_rules(visit.caller)).items]
    return [(one.id, words.title(one.name, visit.language)) for one in every if one.calendar_id == calendar_id]


@router.post(PAGE + "/{id}")
async def change(id: Id, visit: ManagersVisit) -> Response:  # noqa: A002 - The path's word.
    """Save what was typed; the name stays, since things name the calendar by it."""
    calendar: Any = await routes.read_calendar(id, visit.caller)
    try:
        body = _content(visit, calendar.name)
        await change_as_read(
            visit,
            f"/v1/alert-calendars/{id}",
            partial(routes.read_calendar, id, visit.caller),
            partial(routes.save_calendar, body, visit.caller),
        )
    except Problem as problem:
        reworded = _reworded(problem)
        if reworded.status == CHANGED:
            calendar = await routes.read_calendar(id, visit.caller)
        typed = {**values_of(visit.form), "name": calendar.name}
        return _form(visit, typed, reworded, calendar, await _rules(visit, id))
    return visit.go(PAGE, visit.gettext("Le calendrier est enregistré ; partout dans cinq secondes."))


@router.post(PAGE + "/{id}/suppression")
async def delete(id: Id, visit: ManagersVisit) -> Response:  # noqa: A002 - The path's word.
    """Remove a calendar that no rule follows."""
    try:
        await routes.delete_calendar(id, visit.caller)
    except Problem as problem:
        reworded = _reworded(problem)
        calendar = await routes.read_calendar(id, visit.caller)
        return _form(visit, _values_of(calendar), reworded, calendar, await _rules(visit, id))
    return visit.go(PAGE, visit.gettext("Le calendrier est supprimé."))

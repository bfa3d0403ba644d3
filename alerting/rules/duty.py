"""When a rule is on duty: opening hours, night, and when lamps should burn. Instants are aware datetimes."""

from datetime import UTC, datetime, timedelta

from alerting.rules.model import Place
from core.model.hours import MINUTES, within
from core.model.lighting import expected

NIGHT = (22 * 60, 6 * 60)
# How far ahead a beginning is looked for, and in which steps; an edge is then found to the minute.
LOOK_AHEAD_DAYS = 62
STEP = timedelta(minutes=15)


def is_lit(at: datetime, place: Place) -> bool | None:
    """Whether lamps should burn, of a cabinet some; None: nobody can say, also of one circuit alone."""
    found = [expected(lamps.program, place.lamp_place, at) for lamps in place.lamps]
    if any(wanted is None for wanted in found):
        return None
    return any(wanted.on for wanted in found if wanted is not None)


def is_on_duty(schedule: str, place: Place, at: datetime) -> bool:
    """Whether a rule with this schedule counts what it sees at this instant.

    Without opening hours a place is open all the time: a rule for hours of opening is then always on duty, one for
    hours of closing never.
    """
    match schedule:
        case "open":
            return place.calendar is None or place.calendar.is_open(at, place.region)
        case "closed":
            return place.calendar is not None and not place.calendar.is_open(at, place.region)
        case "night":
            local = place.region.local(at)
            return within(local.hour * 60 + local.minute, NIGHT)
        case "lit":
            return is_lit(at, place) is True
        case "unlit":
            return is_lit(at, place) is False
        case _:
            return True


def _may_begin(schedule: str, place: Place) -> bool:
    """Whether there is an instant of duty at all: looking for what never comes would take its time."""
    if schedule in ("lit", "unlit"):
        return place.latitude is not None and place.longitude is not None
    return schedule != "closed" or place.calendar is not None


def next_duty(schedule: str, place: Place, after: datetime) -> datetime | None:
    """The next instant, to the minute, at which a rule that is off duty is on duty; None: not in two months."""
    if not _may_begin(schedule, place):
        return None
    at = after.astimezone(UTC).replace(minute=after.minute // 15 * 15, second=0, microsecond=0)
    for _ in range(LOOK_AHEAD_DAYS * MINUTES // 15):
        at += STEP
        if is_on_duty(schedule, place, at):
            minute = timedelta(minutes=1)
            edge = at - STEP
            while not is_on_duty(schedule, place, edge) or edge <= after:
                edge += minute
            return edge
    return None

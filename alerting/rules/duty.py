"""When a rule is on duty: opening hours, night, and when lamps should burn. Instants are aware datetimes."""

from datetime import UTC, date, datetime, timedelta
from functools import lru_cache

from astral import Observer
from astral.sun import sunrise, sunset

from alerting.rules.calendar import MINUTES, is_near, within
from alerting.rules.model import Place
from alerting.rules.region import Region

NIGHT = (22 * 60, 6 * 60)
# Around dusk and dawn nobody can say whether a lamp should burn.
TWILIGHT = timedelta(minutes=30)
# How far ahead a beginning is looked for, and in which steps; an edge is then found to the minute.
LOOK_AHEAD_DAYS = 62
STEP = timedelta(minutes=15)


@lru_cache(8192)
def _sun(day: date, latitude: float, longitude: float, region: Region) -> tuple[datetime, datetime] | None:
    """Sunrise and sunset of a local day; None where the sun does not set or rise."""
    observer = Observer(latitude, longitude)
    try:
        return sunrise(observer, day, tzinfo=region.zone), sunset(observer, day, tzinfo=region.zone)
    except ValueError:
        return None


def _is_dark(at: datetime, place: Place) -> bool | None:
    """Night or day, clearly; None at dusk and dawn, and where nobody knows the place."""
    if place.latitude is None or place.longitude is None:
        return None
    day = place.region.local(at).date()
    sun = _sun(day, round(place.latitude, 1), round(place.longitude, 1), place.region)
    if sun is None:
        return None
    rises, sets = sun
    if min(abs(at - rises), abs(at - sets)) < TWILIGHT:
        return None
    return at < rises or at > sets


def _is_cut(at: datetime, place: Place) -> bool | None:
    """Whether the lamps are off for the night; None around its edges."""
    if place.night_cut is None:
        return False
    local = place.region.local(at)
    minute = local.hour * 60 + local.minute
    return None if is_near(minute, place.night_cut) else within(minute, place.night_cut)


def is_lit(at: datetime, place: Place) -> bool | None:
    """Whether the lamps should burn; None: nobody can say."""
    dark, cut = _is_dark(at, place), _is_cut(at, place)
    if dark is False:
        return False
    if dark is None or cut is None:
        return None
    return not cut


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

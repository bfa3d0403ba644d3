"""What lamps should have drawn between two instants, by their programs; pure."""

from collections.abc import Sequence
from datetime import UTC, datetime

from core.model.lighting import DAY, FULL, NOON, LampPlace, Lamps, Program, changes, night_of


def full_hours(program: Program, place: LampPlace, since: datetime, until: datetime) -> float | None:
    """How many hours at full rated power between these instants; None: of some night nobody can say."""
    hours, night = 0.0, night_of(since, place.region)
    while night <= night_of(until, place.region):
        found = changes(program, place, night)
        if found is None:
            return None
        night += DAY
        noon = datetime.combine(night, NOON, place.region.zone).astimezone(UTC)
        edges = [*(change.at for change in found[1:]), noon]
        for change, end in zip(found, edges, strict=True) if found else ():
            seconds = (min(end, until) - max(change.at, since)).total_seconds()
            hours += max(0.0, seconds) / 3600 * change.level / FULL * program.coefficient
    return hours


def expected_kwh(lamps: Sequence[tuple[Lamps, LampPlace]], since: datetime, until: datetime) -> float | None:
    """What all of these lamps should have drawn; None where nobody can say it of some."""
    total = 0.0
    for one, place in lamps:
        hours = full_hours(one.program, place, since, until)
        if hours is None or one.rated_power_w is None:
            return None
        total += hours * one.rated_power_w / 1000
    return total if lamps else None

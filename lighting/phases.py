"""What a relay should do now by the program of its lamps: the platform switches it early and late.

Relays go on before the program lights and off after it puts out, each by its own minutes: not all at once, and no
street dark before its time.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from core.model.lighting import changes, night_of
from lighting.expected import LampRow

DAY = timedelta(days=1)
# Time enough for a command's repetitions, beside the minutes by which cabinets differ.
EARLY, SPREAD = timedelta(minutes=8), timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class Phase:
    """What a relay should do now, since when, and until when."""

    on: bool
    since: datetime
    until: datetime


def spread_of(asset_id: int) -> timedelta:
    """By how much this one's switchings differ from the program's."""
    return SPREAD * (asset_id * 7_919 % 600 / 600)


def phase_of(row: LampRow, now: datetime) -> Phase | None:
    """On, from before the program lights until after it puts out. None: nobody can say. Pure."""
    spread = spread_of(row.asset_id)
    night = night_of(now, row.place.region)
    first = last = None
    lit: list[tuple[datetime, datetime]] = []
    for day in (night - DAY, night, night + DAY):
        found = changes(row.lamps.program, row.place, day)
        if found is None:
            return None
        begin: datetime | None = None
        for change in found:
            if change.level and begin is None:
                begin = change.at - EARLY - spread
            elif not change.level and begin is not None:
                lit.append((begin, change.at + spread))
                begin = None
    for begin, end in lit:
        if begin <= now < end:
            return Phase(True, begin, end)
        if end <= now:
            last = end
        elif first is None:
            first = begin
    return Phase(False, last or now - DAY, first or now + DAY)


def lit_at(row: LampRow, phase: Phase) -> datetime:
    """When the program lights what goes on at the end of an "off" phase, or at the beginning of an "on" phase."""
    return (phase.since if phase.on else phase.until) + EARLY + spread_of(row.asset_id)

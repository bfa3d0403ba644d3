"""A program as two pictures: one night from noon to noon, and the nights of a year side by side."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from api.routes.lighting_simulation import NightAnswer

MINUTES = 1440
HEIGHT = 300
FULL = 100.0
HOURS = (12, 15, 18, 21, 0, 3, 6, 9, 12)


@dataclass(frozen=True, slots=True)
class Bar:
    """A stretch of light in the picture of a night; `x` in minutes since noon."""

    x: float
    width: float
    height: float
    since: datetime
    until: datetime
    level: float

    @property
    def y(self) -> float:
        """From the top."""
        return HEIGHT - self.height


@dataclass(frozen=True, slots=True)
class NightPicture:
    """One night."""

    bars: tuple[Bar, ...]
    dusk: float
    dawn: float
    hours: tuple[tuple[float, int], ...]


def _since_noon(at: datetime, zone: ZoneInfo) -> float:
    local = at.astimezone(zone)
    return (local.hour * 60 + local.minute + local.second / 60 - MINUTES / 2) % MINUTES


def night_picture(night: NightAnswer, zone: ZoneInfo) -> NightPicture:
    """What lamps do in this night, by the clock on the wall."""
    bars: list[Bar] = []
    for one in night.stretches:
        since = _since_noon(one.since, zone)
        until = max(_since_noon(one.until - timedelta(seconds=1), zone), since)
        bars.append(
            Bar(
                round(since, 1),
                round(until - since, 1),
                one.level / FULL * HEIGHT,
                one.since,
                one.until,
                one.level,
            )
        )
    hours = tuple((number * MINUTES / 8, hour) for number, hour in enumerate(HOURS))
    return NightPicture(
        tuple(bars), round(_since_noon(night.dusk, zone), 1), round(_since_noon(night.dawn, zone), 1), hours
    )


def year_paths(nights: Sequence[NightAnswer], zone: ZoneInfo) -> dict[str, str]:
    """A column for each night, noon at the top: paths of full light, of less, and of lamps off in the dark."""
    paths: dict[str, list[str]] = {"full": [], "dimmed": [], "off": []}
    for night in nights:
        column = night.day.timetuple().tm_yday - 1
        for one in night.stretches:
            name = "off" if one.level <= 0 else "full" if one.level >= FULL else "dimmed"
            since = round(_since_noon(one.since, zone))
            length = round(max(_since_noon(one.until - timedelta(seconds=1), zone) - since, 0))
            if length:
                paths[name].append(f"M{column} {since}h1v{length}h-1z")
    return {name: "".join(parts) for name, parts in paths.items()}

"""One list of emptyings from what sensors show and what drivers say: what both know is one. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal, NamedTuple

from indicators.waste.emptyings import Emptying

# A driver may say it after the day's work, and no bin is emptied twice in half a day.
SAME_WITHIN = timedelta(hours=12)
Evidence = Literal["sensor", "round", "both"]


@dataclass(frozen=True, slots=True)
class RoundEmptying:
    """A driver's word that a bin was emptied: with how much the round expected, or the driver saw, in it."""

    asset_id: int
    name: str
    commune: str
    round_id: int
    at: datetime
    level: float | None
    volume_l: float | None
    weight_kg: float | None


class SensorEmptying(NamedTuple):
    """What the levels of a bin show."""

    datastream_id: int
    asset_id: int
    shown: Emptying


@dataclass(frozen=True, slots=True)
class KnownEmptying:
    """A bin was emptied, and who knows it: its sensor, the round that did it, or both."""

    asset_id: int
    at: datetime
    by_sensor: SensorEmptying | None
    by_round: RoundEmptying | None

    @property
    def evidence(self) -> Evidence:
        """Who knows it."""
        if self.by_sensor is not None and self.by_round is not None:
            return "both"
        return "round" if self.by_sensor is None else "sensor"

    @property
    def before(self) -> float | None:
        """How full it was, in percent: as measured, else as the round saw or expected it."""
        if self.by_sensor is not None:
            return self.by_sensor.shown.before
        return None if self.by_round is None else self.by_round.level


def joined_emptyings(
    by_sensor: Sequence[SensorEmptying], by_round: Sequence[RoundEmptying]
) -> list[KnownEmptying]:
    """Each emptying once, in order of time.

    What a sensor shows between two readings and what a driver says within half a day of them is one emptying: the
    nearest, and each at most once.
    """
    pairs = sorted(
        (distance, there, said)
        for there, measured in enumerate(by_sensor)
        for said, one in enumerate(by_round)
        if one.asset_id == measured.asset_id and (distance := _apart(measured.shown, one.at)) <= SAME_WITHIN
    )
    round_of: dict[int, int] = {}
    taken: set[int] = set()
    for _, there, said in pairs:
        if there not in round_of and said not in taken:
            round_of[there] = said
            taken.add(said)
    found = [
        KnownEmptying(
            measured.asset_id,
            measured.shown.at,
            measured,
            by_round[round_of[there]] if there in round_of else None,
        )
        for there, measured in enumerate(by_sensor)
    ]
    found += [
        KnownEmptying(one.asset_id, one.at, None, one) for said, one in enumerate(by_round) if said not in taken
    ]
    return sorted(found, key=lambda one: (one.at, one.asset_id))


def _apart(shown: Emptying, at: datetime) -> timedelta:
    """How far an instant is from when the sensor says that it was."""
    return max(shown.not_before - at, at - shown.at, timedelta(0))

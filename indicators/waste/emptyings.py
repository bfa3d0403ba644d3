"""When a bin was emptied, from its levels. Pure.

A truck is at a bin for minutes: the level falls over few readings, in a row. One low reading between high ones is
no emptying, for what was in the bin is in it again.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from core.model.emptyings import EMPTYING_DROP, was_emptied
from indicators.waste.fill_days import Hold, LevelReading, held_for

# Points: a fall of a sensor that reads while the truck is there, and how many of them in a row are one emptying.
# What falls more slowly is not emptied.
FALL = 10.0
MOST_FALLS = 3


@dataclass(frozen=True, slots=True)
class Emptying:
    """From `before` to `after` percent: at the latest at `at`, where it is read, and not before `not_before`.

    `suspect`: no reading has confirmed it while the last one stood, or the sensor was silent before, and nobody
    knows when it was nor how full the bin had become.
    """

    at: datetime
    not_before: datetime
    before: float
    after: float
    suspect: bool


def emptyings(readings: Sequence[LevelReading], holds: Sequence[Hold]) -> list[Emptying]:
    """Every emptying that these sound readings, in order, show."""
    found: list[Emptying] = []
    top = 0
    while top < len(readings) - 1:
        bottom = top
        while bottom + 1 < len(readings) and readings[bottom].level - readings[bottom + 1].level >= FALL:
            if bottom > top and _is_silence(readings, bottom, holds):
                break
            bottom += 1
        if 0 < bottom - top <= MOST_FALLS and was_emptied(readings[top].level, readings[bottom].level):
            found += _unless_refuted(readings, top, bottom, holds)
        top = max(top + 1, bottom)
    return found


def _unless_refuted(
    readings: Sequence[LevelReading], top: int, bottom: int, holds: Sequence[Hold]
) -> list[Emptying]:
    after = readings[bottom]
    is_last = bottom + 1 == len(readings) or _is_silence(readings, bottom, holds)
    following = None if is_last else readings[bottom + 1]
    if following is not None and following.level - after.level >= EMPTYING_DROP:
        return []
    at = next(
        number for number in range(top + 1, bottom + 1) if was_emptied(readings[top].level, readings[number].level)
    )
    is_suspect = is_last or _is_silence(readings, at - 1, holds)
    return [Emptying(readings[at].at, readings[at - 1].at, readings[top].level, after.level, is_suspect)]


def _is_silence(readings: Sequence[LevelReading], place: int, holds: Sequence[Hold]) -> bool:
    """Whether the next reading came when this one stood for nothing any more."""
    return readings[place + 1].at - readings[place].at > held_for(holds, readings[place].at)

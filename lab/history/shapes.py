"""Shapes of a day, one value per ten minutes: what happens in a room, at a tap, on a socket.

A shape has SLOTS values, some more than 24 hours have: the day of 25 hours and an index at its very end need them.
"""

import math
import random
from collections.abc import Sequence
from itertools import pairwise

SLOT_S = 600
SLOTS_OF_A_DAY = 144
SLOTS = 152
NOISE_LENGTH = 4_096

Shape = list[float]
Steps = Sequence[tuple[float, float]]

# (hour, level): from this hour on, straight to the next.
OFFICE: Steps = (
    (0, 0), (7.5, 0), (9, 0.9), (12, 1), (12.5, 0.45), (13.5, 0.6), (14.5, 1), (17, 0.9), (18.5, 0.1), (20, 0),
    (26, 0),
)  # fmt: skip
CLASSROOM: Steps = (
    (0, 0), (8.3, 0), (10.2, 1), (10.5, 0.6), (11.8, 1.1), (13.2, 0.35), (15, 1), (15.3, 0.7), (16.4, 1),
    (17.5, 0.4), (19.5, 0.05), (22, 0), (26, 0),
)  # fmt: skip
CRECHE: Steps = ((0, 0), (7.2, 0), (9, 0.8), (12, 1), (14, 0.7), (16.5, 0.8), (18.5, 0.1), (20, 0), (26, 0))
DROPPED_OFF: Steps = ((0, 0), (7, 0.1), (10, 1), (13, 0.6), (17, 1), (20, 0.5), (22, 0.1), (24, 0), (26, 0))
# Between 02:00 and 04:00 nothing is drawn: what flows then leaks.
TAPS_AT_WORK: Steps = (
    (0, 0),
    (7, 0),
    (8, 0.6),
    (10, 1),
    (12, 1.4),
    (14, 0.8),
    (17, 0.7),
    (18.5, 0.1),
    (20, 0),
    (26, 0),
)
TAPS_AT_HOME: Steps = (
    (0, 0.1), (0.8, 0), (5.5, 0), (7.2, 1.6), (9, 0.5), (12.5, 0.8), (14, 0.3), (19.5, 1.3), (22, 0.4), (24, 0.1),
    (26, 0),
)  # fmt: skip


def shape(steps: Steps) -> Shape:
    """The levels between these steps, at each slot."""
    values: Shape = []
    for slot in range(SLOTS):
        hour = slot * SLOT_S / 3_600
        for (begin, low), (end, high) in pairwise(steps):
            if begin <= hour < end:
                values.append(low + (high - low) * (hour - begin) / (end - begin))
                break
        else:
            values.append(steps[-1][1])
    return values


def summed(values: Shape) -> Shape:
    """What has come together at each slot of a day, 1 at its end; beyond midnight no more comes."""
    whole, total = sum(values[:SLOTS_OF_A_DAY]), 0.0
    sums: Shape = []
    for slot in range(SLOTS):
        sums.append(min(1.0, total / whole))
        total += values[slot] if slot < SLOTS_OF_A_DAY else 0.0
    return sums


def variants(steps: Steps, count: int, seed: str) -> list[Shape]:
    """The same day in other buildings: shifted by up to half an hour, and higher or lower here and there."""
    source = random.Random(seed)
    made: list[Shape] = []
    for _ in range(count):
        shift = source.uniform(-0.5, 0.5)
        moved = [
            (hour + shift if 2 < hour < 23 else hour, level * source.uniform(0.85, 1.15))  # noqa: PLR2004 - By day.
            for hour, level in steps
        ]
        made.append(shape(moved))
    return made


def noise(seed: str) -> Shape:
    """NOISE_LENGTH values around 0, mostly within -1 and 1, that drift as rooms do."""
    source, value = random.Random(seed), 0.0
    values: Shape = []
    for _ in range(NOISE_LENGTH):
        value = 0.8 * value + source.gauss(0, 0.3)
        values.append(value)
    return values


def wave(peak_h: float) -> Shape:
    """-1 to 1 once a day, the highest at this hour."""
    return [math.cos(2 * math.pi * (slot / SLOTS_OF_A_DAY - peak_h / 24)) for slot in range(SLOTS)]

"""What sensors of a fleet have measured, one local day after the other: pure, and the same for the same seed.

A source is asked for the slots (ten minutes each) of one day and goes on from there on the next, so days are asked
for in order and each once. Indexes are given at the end of their slots and never fall.
"""

from random import Random
from typing import Protocol

from lab.history import shapes
from lab.history.days import Day
from lab.history.shapes import NOISE_LENGTH, SLOTS

NOISE = shapes.noise("history")
# A slice of the noise may begin anywhere before this.
NOISE_SPAN = NOISE_LENGTH - SLOTS
ROOMS = {
    "classroom": shapes.variants(shapes.CLASSROOM, 12, "classroom"),
    "office": shapes.variants(shapes.OFFICE, 12, "office"),
    "creche": shapes.variants(shapes.CRECHE, 6, "creche"),
}
WARMEST = shapes.wave(16)
DROPPED = shapes.summed(shapes.shape(shapes.DROPPED_OFF))
TAPS = {
    "work": [shapes.summed(one) for one in shapes.variants(shapes.TAPS_AT_WORK, 8, "taps at work")],
    "home": [shapes.summed(one) for one in shapes.variants(shapes.TAPS_AT_HOME, 8, "taps at home")],
}
EVENLY = shapes.summed([1.0] * SLOTS)
SETPOINT, SETBACK = 20.5, 16.5


class Source(Protocol):
    """One datastream's values."""

    def day(self, day: Day, slots: slice) -> list[float]:
        """The value at each of these slots."""
        ...


def is_open(usage: str, day: Day) -> bool:
    """Whether a building of this usage has people in it: schools, crèches (closed in August) or offices."""
    match usage:
        case "classroom":
            return day.is_school
        case "creche":
            return day.is_working and day.date.month != 8  # noqa: PLR2004 - August.
        case _:
            return day.is_working


class RoomCo2:
    """ppm: fresh air when nobody is there, more with people, most in winter when windows stay shut."""

    def __init__(self, source: Random, usage: str) -> None:
        self._random, self._usage = source, usage
        self._shape = source.choice(ROOMS[usage])
        self._crowded = source.uniform(350, 1_100)

    def day(self, day: Day, slots: slice) -> list[float]:
        """Whole ppm."""
        start = int(self._random.random() * NOISE_SPAN)
        drift = NOISE[start : start + SLOTS][slots]
        if not is_open(self._usage, day):
            return [float(int(421 + 9 * shake)) for shake in drift]
        amount = self._crowded * self._random.uniform(0.75, 1.15) * (0.65 + min(day.heating, 10) * 0.045)
        return [
            float(int(424 + amount * level + (8 + 22 * level) * shake))
            for level, shake in zip(self._shape[slots], drift, strict=True)
        ]


class RoomTemperature:
    """Degrees: heated while open, set back at night and on closed days, as warm as summer wants otherwise."""

    def __init__(self, source: Random, usage: str) -> None:
        self._random, self._usage = source, usage
        self._shape = source.choice(ROOMS[usage])
        self._offset = source.uniform(-0.8, 1.2)

    def day(self, day: Day, slots: slice) -> list[float]:
        """Tenths of a degree."""
        free = day.temperature + 4.5
        high = max(SETPOINT if is_open(self._usage, day) else SETBACK + 0.5, free) + self._offset
        low = max(SETBACK, free - 1.0) + self._offset
        base, rise = 10 * low, 10 * (high - low)
        start = int(self._random.random() * NOISE_SPAN)
        drift = NOISE[start : start + SLOTS][slots]
        return [
            int(base + rise * min(1.0, 1.6 * level) + 6 * sun + 2.5 * shake) / 10
            for level, sun, shake in zip(self._shape[slots], WARMEST[slots], drift, strict=True)
        ]


class RoomHumidity:
    """Per cent: dry in heated rooms."""

    def __init__(self, source: Random) -> None:
        self._random = source
        self._offset = source.uniform(-5, 5)

    def day(self, day: Day, slots: slice) -> list[float]:
        """Whole per cent."""
        base = 56 - 1.6 * min(day.heating, 10) + self._offset
        start = int(self._random.random() * NOISE_SPAN)
        return [float(int(base + 5 * shake)) for shake in NOISE[start : start + SLOTS][slots]]


class FillLevel:
    """Per cent: a sawtooth, faster in summer and before weekends' ends, emptied by crews on working days."""

    # Glass comes after the weekend's meals; what households throw away, evenly.
    GLASS = (1.25, 0.8, 0.8, 0.85, 0.95, 1.1, 1.25)
    WASTE = (1.1, 1.0, 1.0, 1.0, 1.05, 1.05, 0.6)

    def __init__(self, source: Random, *, is_glass: bool) -> None:
        self._random = source
        self._week = self.GLASS if is_glass else self.WASTE
        self._rate = source.uniform(2.0, 9.0) if is_glass else source.uniform(6.0, 24.0)  # Points per day.
        self._full = source.uniform(68, 88)  # The crew comes on the next working day.
        self._fill = source.uniform(5, 60)

    def day(self, day: Day, slots: slice) -> list[float]:
        """Tenths of a per cent."""
        random = self._random.random
        rise = self._rate * self._week[day.weekday] * (1.35 if day.is_summer else 1.0) * (0.6 + 0.8 * random())
        emptied_at = SLOTS
        if self._fill > self._full and day.is_working:
            emptied_at = 42 + int(random() * 42)  # From 07:00 to 14:00.
        start, before = int(random() * NOISE_SPAN), self._fill
        rest = 2.0 + 4.0 * random()
        at_emptying = DROPPED[emptied_at] if emptied_at < SLOTS else 0.0
        values: list[float] = []
        for slot, shake in zip(range(SLOTS)[slots], NOISE[start : start + SLOTS][slots], strict=True):
            base = (
                before + rise * DROPPED[slot] if slot < emptied_at else rest + rise * (DROPPED[slot] - at_emptying)
            )
            values.append(int(10 * min(100.0, max(0.0, base + 0.5 * shake))) / 10)
        emptied = emptied_at < SLOTS
        self._fill = min(100.0, rest + rise * (1 - at_emptying) if emptied else before + rise)
        return values


class WaterIndex:
    """Litres: drawn by day, nothing at night, but for the days on which one meter in ten leaks."""

    def __init__(self, source: Random, usage: str) -> None:
        self._random, self._usage = source, usage
        self._shape = source.choice(TAPS["home" if usage == "home" else "work"])
        self._litres = source.uniform(180, 420) if usage == "home" else source.uniform(400, 6_000)
        self._index = float(source.randint(10_000, 900_000))
        self._leaks = source.random() < 0.1  # noqa: PLR2004 - One in ten.
        self._leak = 0.0  # Litres per day.
        self._leak_days = 0

    def day(self, day: Day, slots: slice) -> list[float]:
        """Whole litres."""
        random = self._random.random
        if self._leak_days:
            self._leak_days -= 1
        elif self._leaks and random() < 1 / 150:
            self._leak_days, self._leak = 3 + int(random() * 18), 24 * (15 + 180 * random())
        leak = self._leak if self._leak_days else 0.0
        people = 1.0 if self._usage == "home" or is_open(self._usage, day) else 0.03
        drawn = self._litres * people * (0.7 + 0.6 * random()) * (1.2 if day.is_summer else 1.0)
        before = self._index
        self._index += drawn + leak
        return [
            float(int(before + drawn * taken + leak * passed))
            for taken, passed in zip(self._shape[slots], EVENLY[slots], strict=True)
        ]


class Load:
    """The power of a building in watts: what always runs, what people switch on, and what heats."""

    def __init__(self, source: Random, usage: str) -> None:
        self._random, self._usage = source, usage
        self._levels = source.choice(ROOMS[usage])
        self._taken = shapes.summed(self._levels)
        size = source.uniform(0.4, 3.0)
        self._always, self._people, self._heating = 600 * size, 7_000 * size, 350 * size
        self._index = float(source.randint(100_000, 90_000_000))

    def _of(self, day: Day) -> tuple[float, float, int]:
        """What is steady, what people add, where the noise begins: the same for power and index of one seed."""
        busy, start = 0.8 + 0.4 * self._random.random(), int(self._random.random() * NOISE_SPAN)
        people = self._people * busy if is_open(self._usage, day) else 0.0
        return self._always + self._heating * day.heating * (1.0 if people else 0.6), people, start

    def power(self, day: Day, slots: slice) -> list[float]:
        """Whole watts."""
        steady, people, start = self._of(day)
        return [
            float(int(steady * (1 + 0.06 * shake) + people * level))
            for level, shake in zip(self._levels[slots], NOISE[start : start + SLOTS][slots], strict=True)
        ]

    def index(self, day: Day, slots: slice) -> list[float]:
        """Whole watt-hours."""
        steady, people, _ = self._of(day)
        worked = people * sum(self._levels[: shapes.SLOTS_OF_A_DAY]) / 6
        before = self._index
        self._index += 24 * steady + worked
        return [
            float(int(before + 24 * steady * passed + worked * taken))
            for taken, passed in zip(self._taken[slots], EVENLY[slots], strict=True)
        ]


class Power(Load):
    """active_power of a building."""

    def day(self, day: Day, slots: slice) -> list[float]:
        """Whole watts."""
        return self.power(day, slots)


class Energy(Load):
    """active_energy_import of a building: the integral of the power of the same seed, but for its noise."""

    def day(self, day: Day, slots: slice) -> list[float]:
        """Whole watt-hours."""
        return self.index(day, slots)


class Pulses:
    """A sub-meter: an index of pulses, of heating in one place, of hot water in another."""

    def __init__(self, source: Random, *, heats: bool) -> None:
        self._random, self._heats = source, heats
        self._shape = source.choice(TAPS["work"])
        self._daily = source.uniform(20, 400)
        self._index = float(source.randint(0, 100_000))

    def day(self, day: Day, slots: slice) -> list[float]:
        """Whole pulses."""
        factor = day.heating / 6 if self._heats else (1.0 if day.is_working else 0.1)
        drawn = self._daily * factor * (0.8 + 0.4 * self._random.random())
        before = self._index
        self._index += drawn
        return [float(int(before + drawn * taken)) for taken in self._shape[slots]]


class Lamps:
    """Lighting from sunset to sunrise, in most streets dark in the middle of the night."""

    def __init__(self, source: Random, watts: float) -> None:
        self._random, self._watts = source, watts
        self._cut_slots = range(int(source.uniform(138, 144)), 144 + 33) if source.random() < 0.7 else range(0)  # noqa: PLR2004
        self._index = float(source.randint(10_000, 9_000_000))

    def _lit(self, day: Day, slot: int) -> bool:
        if slot in self._cut_slots or slot + 144 in self._cut_slots:
            return False
        hour = slot / 6
        return hour >= day.sunset_h or hour < day.sunrise_h

    def power(self, day: Day, slots: slice) -> list[float]:
        """Whole watts."""
        watts = self._watts * (0.97 + 0.06 * self._random.random())
        return [float(int(watts)) if self._lit(day, slot) else 0.0 for slot in range(SLOTS)[slots]]

    def states(self, day: Day, slots: slice) -> list[float]:
        """1 while the relay is closed."""
        return [1.0 if self._lit(day, slot) else 0.0 for slot in range(SLOTS)[slots]]

    def index(self, day: Day, slots: slice) -> list[float]:
        """Whole watt-hours."""
        values, before, wanted = [0.0] * SLOTS, self._index, range(SLOTS)[slots]
        for slot in range(SLOTS):
            values[slot] = float(int(before))
            if slot < shapes.SLOTS_OF_A_DAY and self._lit(day, slot):
                before += self._watts / 6
        self._index = before
        return [values[slot] for slot in wanted]


class LampPower(Lamps):
    """active_power of a cabinet or a light point."""

    def day(self, day: Day, slots: slice) -> list[float]:
        """Whole watts."""
        return self.power(day, slots)


class LampEnergy(Lamps):
    """active_energy_import of a cabinet."""

    def day(self, day: Day, slots: slice) -> list[float]:
        """Whole watt-hours."""
        return self.index(day, slots)


class LampState(Lamps):
    """switch_state of a cabinet."""

    def day(self, day: Day, slots: slice) -> list[float]:
        """0 or 1."""
        return self.states(day, slots)


class Battery:
    """Per cent: falls over the years, faster in the cold, and is changed in time."""

    def __init__(self, source: Random) -> None:
        self._random = source
        self._level = source.uniform(35, 100)
        self._daily = source.uniform(0.02, 0.06)

    def day(self, day: Day, slots: slice) -> list[float]:
        """Whole per cent."""
        self._level -= self._daily * (1.4 if day.heating > 6 else 1.0)  # noqa: PLR2004 - A frosty day.
        if self._level < 15 and day.is_working:  # noqa: PLR2004 - Somebody comes by before it is empty.
            self._level = 100.0
        return [float(int(self._level))] * len(range(SLOTS)[slots])

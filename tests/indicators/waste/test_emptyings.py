"""Emptyings that are injected by hand are found, and those alone."""

import random
from datetime import UTC, datetime, timedelta

import pytest

from core.model.emptyings import was_emptied
from indicators.waste.emptyings import Emptying, emptyings
from indicators.waste.fill_days import Hold, LevelReading

HOUR = timedelta(hours=1)
START = datetime(2026, 10, 1, tzinfo=UTC)
HOLDS = [Hold(datetime(2015, 1, 1, tzinfo=UTC), 2 * HOUR)]


def hourly(*levels: float) -> list[LevelReading]:
    return [LevelReading(START + n * HOUR, level) for n, level in enumerate(levels)]


def test_a_fall_that_the_next_reading_confirms_is_an_emptying() -> None:
    assert emptyings(hourly(70, 80, 5, 6, 7), HOLDS) == [
        Emptying(START + 2 * HOUR, START + HOUR, before=80, after=5, suspect=False)
    ]


@pytest.mark.parametrize(
    ("levels", "why"),
    [
        ((80, 5, 80, 81), "one low reading among high ones"),
        ((80, 41, 40, 41), "more is left than an emptied bin has"),
        ((60, 21, 22), "the fall is of 39 points"),
        ((80, 71, 62, 53, 44, 35, 26, 17, 8, 8), "slowly, a little at a time"),
        ((80, 68, 56, 44, 32, 20, 20), "over more readings than a truck stays"),
        ((5, 10, 15), "it fills"),
        ((80,), "one reading"),
        ((), "none"),
    ],
)
def test_what_is_no_emptying_is_none(levels: tuple[float, ...], why: str) -> None:
    assert emptyings(hourly(*levels), HOLDS) == [], why


def test_an_emptying_at_the_limits_is_one_as_for_an_alert() -> None:
    assert was_emptied(65, 25)
    assert [one.before for one in emptyings(hourly(65, 25, 26), HOLDS)] == [65]


def test_a_sensor_that_reads_while_the_truck_is_there_shows_one_emptying_from_the_top() -> None:
    [one] = emptyings(hourly(82, 80, 50, 10, 9, 10), HOLDS)

    assert (one.before, one.after, one.at, one.not_before) == (80, 10, START + 3 * HOUR, START + 2 * HOUR)


def test_the_last_reading_is_suspect_until_another_confirms_it() -> None:
    [waiting] = emptyings(hourly(80, 5), HOLDS)
    [confirmed] = emptyings(hourly(80, 5, 6), HOLDS)

    assert (waiting.suspect, confirmed.suspect) == (True, False)


def test_after_a_silence_it_was_emptied_and_nobody_knows_when() -> None:
    readings = [LevelReading(START, 60), LevelReading(START + 30 * HOUR, 5), LevelReading(START + 31 * HOUR, 5)]

    assert emptyings(readings, HOLDS) == [
        Emptying(START + 30 * HOUR, START, before=60, after=5, suspect=True),
    ]


@pytest.mark.parametrize("seed", range(5))
def test_of_ten_thousand_noisy_readings_every_emptying_is_found_and_no_other(seed: int) -> None:
    chance = random.Random(seed)
    level, readings, injected = 10.0, list[LevelReading](), list[datetime]()
    for n in range(10_000):
        at = START + n * HOUR
        level = min(100.0, level + chance.uniform(0, 1.5))
        if level > 85 and chance.random() < 0.2:
            level = chance.uniform(0, 8)
            injected.append(at)
        read = min(100.0, max(0.0, level + chance.gauss(0, 1.5)))
        # Every three hundredth echo comes from the flap, and none of them beside an emptying.
        if n % 300 == 150 and all(abs(at - one) > 3 * HOUR for one in injected):
            read = 2.0
        readings.append(LevelReading(at, read))

    found = emptyings(readings, HOLDS)

    assert len(injected) > 50
    beside = [one for one in injected if not any(abs(one - flap) <= HOUR for flap in flaps(readings))]
    assert set(beside) <= {one.at for one in found}
    assert len({one.at for one in found} - set(injected)) <= len(readings) // 1000


def flaps(readings: list[LevelReading]) -> list[datetime]:
    return [one.at for n, one in enumerate(readings) if n % 300 == 150]

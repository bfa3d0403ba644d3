"""Three synthetic buildings, whose savings are known because they were put there, and three without any.

What they take is made here from days, temperatures and noise of a fixed seed; the code under test sees months.
"""

import math
import random
from calendar import monthrange
from datetime import date, timedelta
from functools import cache

import pytest

from indicators.buildings.degree_days import DayTemperatures, degree_days
from indicators.buildings.savings import (
    Month,
    Reason,
    RejectedBaseline,
    Savings,
    expected_amount,
    fit_baseline,
    savings,
)

# kWh a day without heating, kWh a degree day, noise of a month as a share: twelve months against twelve of 2 %
# leave 0.8 points of chance (2 % x sqrt(2 / 12)), and so two points are what arithmetic may be asked for.
SCHOOL, TOWN_HALL, GYMNASIUM = (40.0, 9.5, 0.02), (120.0, 22.0, 0.02), (15.0, 31.0, 0.02)
NOISY = (60.0, 12.0, 0.06)


@cache
def weather(seed: int, first: date, after: date) -> dict[date, DayTemperatures]:
    """A Breton year: 11.5 degrees on average, 6.5 colder in January, and years that differ."""
    chance = random.Random(seed)
    winters = {year: chance.uniform(-1.5, 1.5) for year in range(first.year, after.year + 1)}
    found, day = {}, first
    while day < after:
        mean = 11.5 - 6.5 * math.cos(2 * math.pi * (day.timetuple().tm_yday - 15) / 365.25)
        mean += winters[day.year] + chance.gauss(0, 2)
        found[day] = DayTemperatures(mean - chance.uniform(2, 5), mean + chance.uniform(2, 6))
        day += timedelta(days=1)
    return found


def months_of(
    building: tuple[float, float, float], seed: int, year: int, *, saved: float = 0.0, method: str = "meteo"
) -> list[Month]:
    base, slope, noise = building
    temperatures, chance = weather(seed, date(2024, 1, 1), date(2028, 1, 1)), random.Random(seed * 7 + year)
    found = []
    for number in range(1, 13):
        first = date(year, number, 1)
        days = monthrange(year, number)[1]
        # The oracle of the heating: the mean of each day, by hand, whatever method the report takes.
        cold = sum(max(0.0, 18 - sum(temperatures[first + timedelta(days=n)]) / 2) for n in range(days))
        amount = (base * days + slope * cold) * (1 - saved) * (1 + chance.gauss(0, noise))
        known = degree_days(temperatures, first, first + timedelta(days=days), method)
        found.append(Month(first, days, amount, known.total))
    return found


@pytest.mark.parametrize("method", ["meteo", "energy_professionals"])
@pytest.mark.parametrize(("building", "seed"), [(SCHOOL, 1), (TOWN_HALL, 2), (GYMNASIUM, 3)])
def test_a_quarter_saved_is_found_within_two_points(building, seed: int, method: str) -> None:
    fit = fit_baseline(months_of(building, seed, 2024, method=method), depends_on_weather=True)

    found = savings(fit, months_of(building, seed, 2026, saved=0.25, method=method), depends_on_weather=True)

    assert isinstance(found, Savings)
    assert abs(found.percent - 25) <= 2
    assert found.is_found
    assert abs(found.percent - 25) <= found.percent_half_width


@pytest.mark.parametrize(("building", "seed"), [(SCHOOL, 1), (TOWN_HALL, 2), (GYMNASIUM, 3)])
def test_nothing_saved_is_not_found(building, seed: int) -> None:
    fit = fit_baseline(months_of(building, seed, 2024), depends_on_weather=True)

    found = savings(fit, months_of(building, seed, 2026), depends_on_weather=True)

    assert isinstance(found, Savings)
    assert abs(found.percent) <= 2
    assert not found.is_found


def test_the_interval_holds_what_was_saved_as_often_as_it_says() -> None:
    """Of 150 noisy buildings; noise that grows with the amount is not what the interval assumes, and so 88 %."""
    held = zero = 0
    for seed in range(150):
        fit = fit_baseline(months_of(NOISY, seed, 2024), depends_on_weather=True)
        found = savings(fit, months_of(NOISY, seed, 2026, saved=0.25), depends_on_weather=True)
        none = savings(fit, months_of(NOISY, seed, 2027), depends_on_weather=True)
        assert isinstance(found, Savings)
        assert isinstance(none, Savings)
        held += abs(found.percent - 25) <= found.percent_half_width
        zero += none.is_found

    assert held / 150 > 0.88
    assert zero / 150 < 0.08


def test_a_milder_winter_is_no_saving() -> None:
    """Without degree days half of the heating would be taken for savings; with them nothing is."""
    months = [Month(date(2024, n, 1), 30, 300 + 10 * cold, cold) for n, cold in enumerate(range(0, 480, 40), 1)]
    mild = [Month(date(2025, n, 1), 30, 300 + 5 * cold, cold / 2) for n, cold in enumerate(range(0, 480, 40), 1)]

    found = savings(fit_baseline(months, depends_on_weather=True), mild, depends_on_weather=True)

    assert isinstance(found, Savings)
    assert found.percent == pytest.approx(0, abs=1e-9)


def test_a_line_by_hand_in_months_of_different_length() -> None:
    # 2 kWh a day and 3 a degree day: a leap February of 29 days with 300 degree days takes 58 + 900 = 958.
    cold = (400, 300, 280, 200, 100, 30, 5, 5, 40, 150, 260, 380)
    lengths = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
    months = [
        Month(date(2028, n, 1), days, 2 * days + 3 * dd, dd)
        for n, (days, dd) in enumerate(zip(lengths, cold, strict=True), 1)
    ]

    fit = fit_baseline(months, depends_on_weather=True)

    assert (fit.intercept, fit.slope, fit.r2, fit.n) == (pytest.approx(2), pytest.approx(3), pytest.approx(1), 12)
    assert expected_amount(fit, months[1]) == pytest.approx(958)


def test_eleven_months_and_one_without_weather_are_no_baseline() -> None:
    months = months_of(SCHOOL, 1, 2024)
    without = Month(months[4].first, months[4].days, months[4].amount, None)

    for given in (months[:11], [*months[:4], without, *months[5:]]):
        with pytest.raises(RejectedBaseline) as rejected:
            fit_baseline(given, depends_on_weather=True)

        assert (rejected.value.reason, rejected.value.months) == (Reason.TOO_FEW_MONTHS, 11)
    assert fit_baseline([*months[:4], without, *months[5:]], depends_on_weather=False).n == 12


def test_two_winters_without_a_summer_are_no_baseline() -> None:
    winters = [*months_of(SCHOOL, 1, 2024)[:6], *months_of(SCHOOL, 1, 2025)[:6]]

    with pytest.raises(RejectedBaseline) as rejected:
        fit_baseline(winters, depends_on_weather=True)

    assert rejected.value.reason == Reason.SEASON_MISSING


def test_what_weather_does_not_explain_is_rejected_by_r2_and_what_falls_with_cold_by_its_slope() -> None:
    chance = random.Random(4)
    noise = [Month(date(2024, n, 1), 30, chance.uniform(100, 900), 40.0 * n) for n in range(1, 13)]
    cooling = [Month(date(2024, n, 1), 30, 900 - 1.5 * 40 * n, 40.0 * n) for n in range(1, 13)]

    with pytest.raises(RejectedBaseline) as low:
        fit_baseline(noise, depends_on_weather=True)
    with pytest.raises(RejectedBaseline) as falling:
        fit_baseline(cooling, depends_on_weather=True)

    assert low.value.reason == Reason.LOW_R2
    assert low.value.fit is not None
    assert low.value.fit.r2 < 0.7
    assert falling.value.reason == Reason.FALLING
    assert fit_baseline(noise, depends_on_weather=False).n == 12


def test_a_use_without_weather_is_compared_by_its_mean_a_day() -> None:
    # 10 a day in each month; 8 a day in a February of 28 days and a March of 31: 59 x 2 = 118 of 590, a fifth.
    baseline = [Month(date(2025, n, 1), 30, 300 + (n % 2 * 2 - 1) * 6, None) for n in range(1, 13)]
    after = [Month(date(2026, 2, 1), 28, 224, None), Month(date(2026, 3, 1), 31, 248, None)]

    found = savings(fit_baseline(baseline, depends_on_weather=False), after, depends_on_weather=False)

    assert isinstance(found, Savings)
    assert (found.expected, found.actual, found.saved) == (pytest.approx(590), 472, pytest.approx(118))
    assert found.percent == pytest.approx(20)


def test_reported_months_without_weather_are_left_out_and_none_is_no_figure() -> None:
    months = months_of(SCHOOL, 1, 2024)
    fit = fit_baseline(months, depends_on_weather=True)
    known = months_of(SCHOOL, 1, 2025)
    unknown = [Month(one.first, one.days, one.amount, None) for one in known[:3]]

    found = savings(fit, [*unknown, *known[3:]], depends_on_weather=True)

    assert isinstance(found, Savings)
    assert found.n == 9
    assert savings(fit, unknown, depends_on_weather=True) is Reason.NO_MONTHS

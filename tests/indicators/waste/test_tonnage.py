"""Tonnages by volume and density, against loads whose true weights are made here."""

import random
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from statistics import mean
from zoneinfo import ZoneInfo

import pytest

from indicators.waste.emptyings import Emptying
from indicators.waste.rounds.execution import KnownEmptying, RoundEmptying, SensorEmptying
from indicators.waste.tonnage import (
    Calibration,
    Container,
    EmptiedBin,
    Weighing,
    calibrations,
    emptied_bin,
    tonnages,
)

MONDAY = date(2026, 9, 7)
WEEK = timedelta(days=7)
TRUE_DENSITY = 0.37  # Denser than the 0.33 that is assumed.


def emptied(
    day: date, number: int, cubic_metres: float | None, round_id: int | None = None, **fields
) -> EmptiedBin:
    container = Container(number, f"Borne {number}", "Brest", "29019", fields.pop("stream", "glass"), **fields)
    return EmptiedBin(container, day, cubic_metres, round_id)


def rounds(drawn: random.Random, bins: int, noise_of_bin: float, noise_of_ticket: float = 0.0):
    """Twelve weekly rounds of some bins, 4 m3 each, 60 to 100 % full: emptyings, tickets, and the true tonnes.

    What a bin truly weighs is off its volume by the first noise, and the ticket off the truth by the second.
    """
    every, tickets, true = [], [], {}
    for number in range(12):
        day = MONDAY + number * WEEK
        weight = 0.0
        for place in range(bins):
            volume = 4 * drawn.uniform(0.6, 1.0)
            every.append(emptied(day, place, volume))
            weight += volume * TRUE_DENSITY * drawn.uniform(1 - noise_of_bin, 1 + noise_of_bin)
        tickets.append(Weighing("glass", day, weight * drawn.uniform(1 - noise_of_ticket, 1 + noise_of_ticket)))
        month = day.replace(day=1)
        true[month] = true.get(month, 0.0) + weight
    return every, tickets, true


@pytest.mark.parametrize("seed", range(100))
def test_after_twelve_rounds_each_month_is_within_five_percent(seed: int) -> None:
    every, tickets, true = rounds(random.Random(seed), 20, 0.2)

    found = tonnages(every, calibrations(every, tickets), ["month"])

    assert len(found) == 3
    for group in found:
        assert group.tonnes == pytest.approx(true[group.month], rel=0.05)
    by_default = tonnages(every, {}, ["month"])
    assert all(group.tonnes < 0.95 * true[group.month] for group in by_default)


def test_tickets_that_are_off_by_twenty_percent_each_leave_the_error_that_chance_leaves() -> None:
    """Twelve uniform errors of 20 % have a mean of 3.3 % (one sigma): within 5 % seven times in eight.

    The truth is in the interval, which says 95 %, as often as it says.
    """
    errors, inside = [], 0
    for seed in range(400):
        every, tickets, true = rounds(random.Random(seed), 20, 0.0, 0.2)
        [group] = tonnages(every, calibrations(every, tickets), [])
        errors.append(abs(group.tonnes / sum(true.values()) - 1))
        inside += group.low <= sum(true.values()) <= group.high

    assert mean(error <= 0.05 for error in errors) > 0.82
    assert mean(errors) < 0.03
    assert inside / 400 > 0.92


def test_before_any_ticket_the_default_stands_and_says_so() -> None:
    [group] = tonnages([emptied(MONDAY, 1, 3.0), emptied(MONDAY, 2, 2.0, density=0.4)], {}, ["stream"])

    assert (group.stream, group.emptyings) == ("glass", 2)
    assert group.tonnes == pytest.approx(3 * 0.33 + 2 * 0.4)
    assert (group.low, group.high) == (None, None)
    assert Calibration().is_calibrated is False


def test_what_nobody_knows_is_counted_apart_and_not_as_zero() -> None:
    every = [emptied(MONDAY, n, 3.0) for n in range(9)] + [emptied(MONDAY, 9, None)]
    weighed = calibrations(every, [Weighing("glass", MONDAY, 12.0)])

    [group] = tonnages(every, weighed, ["month"])

    # The tenth had as much as the others: 30 m3 are 12 t, 27 of them are known.
    assert weighed["glass"].factor == pytest.approx(12 / (30 * 0.33))
    assert (group.emptyings, group.unknown) == (9, 1)
    assert group.tonnes == pytest.approx(27 * 0.4)


def test_a_load_of_which_too_few_are_known_or_nothing_was_emptied_calibrates_nothing() -> None:
    every = [emptied(MONDAY, 1, 3.0), emptied(MONDAY, 2, None)]

    weighed = calibrations(every, [Weighing("glass", MONDAY, 2.0), Weighing("glass", MONDAY + WEEK, 5.0)])

    assert weighed["glass"] == Calibration(unmatched=2)


def test_tickets_of_a_day_are_one_load_and_those_of_a_round_are_its_own() -> None:
    every = [emptied(MONDAY, 1, 10.0), emptied(MONDAY, 2, 10.0), emptied(MONDAY, 3, 20.0, round_id=7)]
    tickets = [
        Weighing("glass", MONDAY, 4.0),
        Weighing("glass", MONDAY, 4.0),
        Weighing("glass", MONDAY + timedelta(days=1), 6.0, round_id=7),  # Weighed on the morning after.
    ]

    weighed = calibrations(every, tickets)["glass"]

    assert (weighed.loads, weighed.unmatched) == (2, 0)
    assert weighed.factor == pytest.approx(14 / (40 * 0.33))


def test_streams_are_calibrated_apart_and_what_others_only_show_is_on_no_truck_of_ours() -> None:
    every = [
        emptied(MONDAY, 1, 10.0),
        emptied(MONDAY, 2, 10.0, stream="paper", density=0.1),
        emptied(MONDAY, 3, 10.0, is_served=False),
    ]

    weighed = calibrations(every, [Weighing("glass", MONDAY, 3.63), Weighing("paper", MONDAY, 1.5)])

    assert {stream: round(one.factor, 6) for stream, one in weighed.items()} == {"glass": 1.1, "paper": 1.5}


def test_a_ticket_with_a_digit_too_many_is_set_aside_and_said() -> None:
    every, tickets, true = rounds(random.Random(5), 20, 0.2)
    tickets[4] = tickets[4]._replace(tonnes=tickets[4].tonnes * 10)

    weighed = calibrations(every, tickets)
    [group] = tonnages(every, weighed, [])

    assert (weighed["glass"].loads, weighed["glass"].set_aside) == (11, 1)
    assert group.tonnes == pytest.approx(sum(true.values()), rel=0.05)


def test_the_interval_is_that_of_a_ratio_estimator_by_hand() -> None:
    """Loads of 3, 4 and 5 t estimated, 3.3, 4.0 and 5.9 weighed: 1.1, residuals 0, -0.4, 0.4.

    s = sqrt(0.32 / 2) = 0.4; t of 2 degrees, 95 %: 4.302653; half = 4.302653 x 0.4 x sqrt(3) / 12.
    """
    days = [MONDAY + n * WEEK for n in range(3)]
    every = [emptied(day, 1, 10.0, density=tonnes / 10) for day, tonnes in zip(days, (3.0, 4.0, 5.0), strict=True)]
    tickets = [Weighing("glass", day, tonnes) for day, tonnes in zip(days, (3.3, 4.0, 5.9), strict=True)]

    one = calibrations(every, tickets)["glass"]

    assert one.factor == pytest.approx(1.1)
    assert one.high - one.factor == pytest.approx(4.302653 * 0.4 * 3**0.5 / 12, rel=1e-5)


def test_groups_add_up_to_the_whole() -> None:
    every, tickets, _ = rounds(random.Random(1), 7, 0.2)
    weighed = calibrations(every, tickets)

    [whole] = tonnages(every, weighed, [])
    for by in (["month"], ["bin"], ["bin", "month"], ["commune", "stream"]):
        groups = tonnages(every, weighed, by)
        assert sum(group.tonnes for group in groups) == pytest.approx(whole.tonnes)
        assert sum(group.emptyings for group in groups) == 84


PARIS = ZoneInfo("Europe/Paris")
BIN = Container(7, "Borne 7", "Brest", "29019", "glass", cubic_metres=4.0)
# Read at 18:00 and at midnight, by the clocks of Paris.
SHOWN = Emptying(
    datetime(2026, 9, 7, 22, tzinfo=UTC), datetime(2026, 9, 7, 16, tzinfo=UTC), 90.0, 10.0, suspect=False
)
SAID = RoundEmptying(7, "Borne 7", "Brest", 3, datetime(2026, 9, 7, 19, tzinfo=UTC), 85.0, 3400.0, 1122.0)


def test_a_sensor_measures_what_was_taken_out_on_the_evening_before_midnight() -> None:
    one = emptied_bin(BIN, KnownEmptying(7, SHOWN.at, SensorEmptying(1, 7, SHOWN), None), PARIS)

    assert (one.day, one.cubic_metres, one.round_id) == (MONDAY, pytest.approx(3.2), None)


def test_of_two_sensors_each_measures_half_of_the_bin() -> None:
    half = replace(BIN, levels=2)

    assert emptied_bin(
        half, KnownEmptying(7, SHOWN.at, SensorEmptying(1, 7, SHOWN), None), PARIS
    ).cubic_metres == pytest.approx(1.6)


def test_where_the_sensor_does_not_know_the_round_does() -> None:
    suspect = replace(SHOWN, suspect=True)
    by_both = emptied_bin(BIN, KnownEmptying(7, SHOWN.at, SensorEmptying(1, 7, SHOWN), SAID), PARIS)
    by_round = emptied_bin(BIN, KnownEmptying(7, SHOWN.at, SensorEmptying(1, 7, suspect), SAID), PARIS)
    by_nobody = emptied_bin(BIN, KnownEmptying(7, SHOWN.at, SensorEmptying(1, 7, suspect), None), PARIS)
    of_no_level = emptied_bin(BIN, KnownEmptying(7, SAID.at, None, replace(SAID, volume_l=None)), PARIS)

    assert (by_both.cubic_metres, by_both.round_id) == (pytest.approx(3.2), 3)
    assert (by_round.cubic_metres, by_round.round_id) == (3.4, 3)
    assert by_nobody.cubic_metres is None
    assert of_no_level.cubic_metres is None

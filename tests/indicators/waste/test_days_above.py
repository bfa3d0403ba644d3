"""Sums of days, by hand."""

from datetime import date

import pytest

from indicators.waste.days_above import Bin, DaysAbove, KnownMonth, days_above

OCTOBER, NOVEMBER = date(2026, 10, 1), date(2026, 11, 1)
VERRE = Bin(1, 11, "Verre Mairie", "Brest", "29019")
PAPIER = Bin(2, 12, "Papier Gare", "Brest", "29019")
FAR = Bin(3, 13, "Verre Port", "Plouzané", "29212")
FIRST = {1: date(2026, 1, 1), 2: date(2026, 10, 22), 3: date(2025, 1, 1)}
KNOWN = [
    KnownMonth(1, OCTOBER, 28.5, 6.55),
    KnownMonth(1, NOVEMBER, 10.0, 0.0),
    KnownMonth(2, OCTOBER, 10.0, 10.0),
]
PERIOD = date(2026, 10, 1), date(2026, 11, 11)


def shown(found: list[DaysAbove]) -> list[tuple[object, ...]]:
    return [
        (one.bins, one.days, *(round(days, 4) for days in (one.above, one.below, one.unknown))) for one in found
    ]


def test_a_bin_counts_from_its_first_day_and_what_is_not_known_of_it_is_unknown() -> None:
    found = days_above([VERRE, PAPIER, FAR], KNOWN, FIRST, PERIOD, ["bin"])

    assert [one.bin for one in found] == [VERRE, PAPIER, FAR]
    assert shown(found) == [
        (1, 41, 6.55, 31.95, 2.5),
        (1, 20, 10.0, 0.0, 10.0),
        (1, 41, 0.0, 0.0, 41.0),
    ]


def test_months_and_communes_are_sums_of_bins() -> None:
    by_both = days_above([VERRE, PAPIER, FAR], KNOWN, FIRST, PERIOD, ["commune", "month"])
    by_commune = days_above([VERRE, PAPIER, FAR], KNOWN, FIRST, PERIOD, ["commune"])

    assert [(one.bin, one.insee, one.month) for one in by_both] == [
        (None, "29019", OCTOBER),
        (None, "29019", NOVEMBER),
        (None, "29212", OCTOBER),
        (None, "29212", NOVEMBER),
    ]
    assert shown(by_both) == [
        (2, 41, 16.55, 21.95, 2.5),
        (2, 20, 0.0, 10.0, 10.0),
        (1, 31, 0.0, 0.0, 31.0),
        (1, 10, 0.0, 0.0, 10.0),
    ]
    assert shown(by_commune) == [(2, 61, 16.55, 31.95, 12.5), (1, 41, 0.0, 0.0, 41.0)]


def test_a_bin_counts_until_it_is_archived_and_one_that_was_never_measured_not_at_all() -> None:
    archived = Bin(1, 11, "Verre Mairie", "Brest", "29019", gone_on=date(2026, 10, 31))
    never = Bin(4, 14, "Neuve", "Brest", "29019")

    found = days_above([archived, never], [KnownMonth(1, OCTOBER, 30.0, 1.0)], FIRST, PERIOD, ["bin"])

    assert [(one.bin, one.days, one.unknown) for one in found] == [(archived, 30, 0.0)]


@pytest.mark.parametrize(
    ("period", "days"),
    [((date(2028, 2, 1), date(2028, 3, 1)), 29), ((date(2026, 2, 1), date(2026, 3, 1)), 28)],
)
def test_february_has_the_days_of_its_year(period: tuple[date, date], days: int) -> None:
    [found] = days_above([FAR], [], FIRST, period, ["month"])

    assert (found.days, found.unknown) == (days, days)

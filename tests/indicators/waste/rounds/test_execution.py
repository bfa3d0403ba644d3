"""What a sensor shows and what a driver says, joined."""

from datetime import UTC, datetime, timedelta

from indicators.waste.emptyings import Emptying
from indicators.waste.rounds.execution import RoundEmptying, SensorEmptying, joined_emptyings

NINE = datetime(2026, 12, 1, 9, tzinfo=UTC)
HOUR = timedelta(hours=1)


def shown(at_h: float, since_h: float, bin_id: int = 1, before: float = 80) -> SensorEmptying:
    at, since = NINE + at_h * HOUR, NINE + since_h * HOUR
    return SensorEmptying(bin_id * 10, bin_id, Emptying(at, since, before, 5, suspect=False))


def said(at_h: float, bin_id: int = 1, round_id: int = 7) -> RoundEmptying:
    return RoundEmptying(bin_id, "Mairie", "Brest", round_id, NINE + at_h * HOUR, 70, 2800, 924)


def test_one_emptying_that_both_know_is_one() -> None:
    [one] = joined_emptyings([shown(4, -2)], [said(0)])

    assert (one.evidence, one.at, one.before) == ("both", NINE + 4 * HOUR, 80)


def test_a_driver_may_say_it_half_a_day_later_and_no_later() -> None:
    for apart, evidence in ((12, ["both"]), (12.01, ["sensor", "round"]), (-12.01, ["round", "sensor"])):
        at = 1 + apart if apart > 0 else -1 + apart
        found = joined_emptyings([shown(1, -1)], [said(at)])
        assert [one.evidence for one in found] == evidence


def test_what_no_sensor_saw_is_of_the_round_alone() -> None:
    found = joined_emptyings([shown(1, -1, bin_id=2)], [said(0, bin_id=1)])

    assert [(one.asset_id, one.evidence, one.before) for one in found] == [(1, "round", 70), (2, "sensor", 80)]


def test_each_is_joined_once_and_to_the_nearest() -> None:
    """Two rounds within a day, and two emptyings: each with its own."""
    found = joined_emptyings([shown(0, -1), shown(10, 8)], [said(9, round_id=2), said(-0.5, round_id=1)])

    assert [(one.by_round and one.by_round.round_id, one.evidence) for one in found] == [(1, "both"), (2, "both")]
    # Said twice: the second is no part of the first.
    twice = joined_emptyings([shown(0, -1)], [said(-0.5, round_id=1), said(3, round_id=2)])
    assert [(one.evidence, one.by_round and one.by_round.round_id) for one in twice] == [("both", 1), ("round", 2)]

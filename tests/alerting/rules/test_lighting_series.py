"""What a cabinet's meter says against what its lamps should take."""

from dataclasses import replace
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from alerting.defaults import DEFAULT_RULES
from alerting.rules.duty import is_lit
from alerting.rules.evaluation import evaluate
from alerting.rules.faults import EXPLAINED_BY, Fault, fault_of, judged_first
from alerting.rules.lighting_series import Said, burning, expected_power_w, said, step
from alerting.rules.model import Cabinet, Observation, Opened, Place, Rule, RuleState
from core.model.lighting import Lamps, Program, Schedule

PARIS = ZoneInfo("Europe/Paris")
RULES = {rule.name: rule for rule in DEFAULT_RULES}
EVENING = datetime(2026, 11, 25, 20, 0, tzinfo=PARIS)
AT_TWO = datetime(2026, 11, 26, 2, 0, tzinfo=PARIS)
CUT = Program(Schedule(cut=(23 * 60, 5 * 60)))
DIMMED = Program(Schedule(dimming=((22 * 60, 50.0),)))
# Twenty lamps of 100 W.
CABINET = Place(48.39, -4.49, rated_power_w=2000, cabinet=Cabinet(lamp_w=100, lamps_w=2000))


def opened(rule: Rule, values: list[float], place: Place, since: datetime = EVENING) -> list[float | None]:
    """The values of the alerts that open with a reading every quarter of an hour."""
    state: RuleState | None = None
    found: list[float | None] = []
    for number, value in enumerate(values):
        at = since + timedelta(minutes=15 * number)
        state, transition = evaluate(rule, state, Observation(at, value), at, place)
        found += [transition.value] if isinstance(transition, Opened) else []
    return found


def missing(place: Place, watts: float, at: datetime = EVENING) -> float | None:
    judged = step("missing_lamps", b"", Observation(at, watts), place)[1]
    return None if judged is None else round(judged.value, 9)


def test_a_lamps_worth_that_is_missing_is_an_alert_after_half_an_hour_and_less_is_none() -> None:
    assert opened(RULES["under_power"], [1900] * 4, CABINET) == [pytest.approx(1)]
    assert opened(RULES["under_power"], [1930] * 8, CABINET) == []
    assert opened(RULES["under_power"], [1900] * 2 + [2000] + [1900] * 2, CABINET) == []


def test_no_lamp_is_missing_in_a_cut_while_dimmed_around_a_switching_or_where_nobody_knows() -> None:
    dimmed = replace(CABINET, program=DIMMED)
    around = datetime(2026, 11, 25, 22, 10, tzinfo=PARIS)

    assert missing(replace(CABINET, program=CUT), 0, AT_TWO) is None
    assert missing(dimmed, 1000, AT_TWO) == 0
    # A lamp of 100 W takes 50 W then.
    assert missing(dimmed, 950, AT_TWO) == 1
    assert missing(dimmed, 1000, around) is None
    assert missing(CABINET, 0, datetime(2026, 11, 25, 12, 0, tzinfo=PARIS)) is None
    assert missing(replace(CABINET, latitude=None), 1900) is None
    assert missing(replace(CABINET, rated_power_w=None, cabinet=Cabinet(lamp_w=100)), 1900) is None
    assert missing(replace(CABINET, cabinet=Cabinet("phase_a", lamp_w=100)), 600) is None
    # All dark: that is what `dark` says.
    assert missing(CABINET, 0) is None


def test_lamps_of_which_no_power_is_known_are_a_tenth_and_many_lamps_three_percent() -> None:
    unknown = replace(CABINET, cabinet=Cabinet())
    many = replace(CABINET, rated_power_w=10_000, cabinet=Cabinet(lamp_w=50))

    assert opened(RULES["under_power"], [1820] * 4, unknown) == []
    assert len(opened(RULES["under_power"], [1780] * 4, unknown)) == 1
    assert opened(RULES["under_power"], [9800] * 4, many) == []
    assert len(opened(RULES["under_power"], [9680] * 4, many)) == 1
    # The lamps of the inventory stand in for a rated power that nobody has given.
    assert missing(replace(CABINET, rated_power_w=None), 1900) == 1


def test_a_circuit_that_its_own_program_puts_out_is_missed_nowhere() -> None:
    place = replace(CABINET, program=CUT, circuits=(Lamps(CUT, 1500), Lamps(Program(), 500)))

    assert (is_lit(AT_TWO, place), is_lit(AT_TWO, replace(place, circuits=()))) == (True, False)
    assert burning(place, AT_TWO) == (500, 500)
    assert missing(place, 500, AT_TWO) == 0
    assert missing(place, 400, AT_TWO) == 1
    assert expected_power_w(place, AT_TWO) == 500
    assert expected_power_w(place, EVENING) == 2000
    assert opened(RULES["day_on"], [500] * 6, place, AT_TWO) == []
    assert opened(RULES["dark"], [500] * 6, place, AT_TWO) == []


def test_a_phase_is_lost_by_its_voltage_where_there_are_three() -> None:
    rule = RULES["lost_phase"]
    three = replace(CABINET, cabinet=Cabinet("phase_b", phases=3))

    assert opened(rule, [12] * 4, three) == [pytest.approx(12 / 2.3)]
    assert opened(rule, [214] * 4, three) == []
    assert opened(rule, [12] * 4, replace(CABINET, cabinet=Cabinet("phase_a", phases=1))) == []
    assert opened(rule, [12] * 4, replace(CABINET, cabinet=Cabinet("", phases=3))) == []
    # Measured behind the relay, a voltage falls with every cut.
    assert opened(rule, [0] * 6, replace(three, program=CUT), AT_TWO) == []
    assert said(rule.series, three, EVENING, 12 / 2.3) == Said(12, 230, "V")


def test_a_phase_without_current_is_lost_if_it_had_some_and_the_program_explains_none() -> None:
    rule = RULES["lost_phase_current"]
    three = replace(CABINET, cabinet=Cabinet("phase_c", phases=3))
    dimmed = replace(three, program=DIMMED)
    at_nine = datetime(2026, 11, 25, 21, 0, tzinfo=PARIS)

    assert opened(rule, [4, 4, 0, 0, 0, 0], three) == [0]
    assert opened(rule, [0] * 8, three) == []
    assert opened(rule, [4, 4, 4, 4, 4, 2, 2, 2, 2], dimmed, at_nine) == []
    assert (
        opened(rule, [4, 4] + [0] * 8, replace(three, program=CUT), datetime(2026, 11, 25, 22, 15, tzinfo=PARIS))
        == []
    )


def test_a_contract_is_exceeded_by_the_apparent_power_of_the_whole_cabinet() -> None:
    rule = RULES["contract_power"]
    place = replace(CABINET, cabinet=Cabinet(contract_power_kva=6))

    assert opened(rule, [6600] * 3, place) == [pytest.approx(110)]
    assert opened(rule, [5900] * 3, place) == []
    assert opened(rule, [9000] * 3, replace(CABINET, cabinet=Cabinet("phase_a", contract_power_kva=6))) == []
    assert opened(rule, [9000] * 3, CABINET) == []
    assert said(rule.series, place, EVENING, 110.0) == Said(6.6, 6, "kV.A")


def test_one_phase_is_not_judged_as_if_it_were_the_whole_cabinet() -> None:
    phase = replace(CABINET, cabinet=Cabinet("phase_a", phases=3))

    assert opened(RULES["dark"], [0] * 4, phase) == []
    assert len(opened(RULES["dark"], [0] * 4, CABINET)) == 1


def test_causes_are_judged_before_what_they_explain() -> None:
    ordered = sorted(DEFAULT_RULES, key=judged_first)

    assert [rule.name for rule in ordered if fault_of(rule)] == [
        "breaker", "dark", "lost_phase", "lost_phase_current", "under_power", "contract_power", "over_power",
        "intrusion", "cabinet_door",
    ]  # fmt: skip
    order = list(Fault)
    for fault, causes in EXPLAINED_BY.items():
        assert all(order.index(cause) < order.index(fault) for cause in causes)

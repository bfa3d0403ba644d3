"""A backtest gives the notifications that the engine gave: the same thirty days against the same list."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from alerting.defaults import DEFAULT_RULES, WEEK
from alerting.rules.calendar import Calendar, weekly_of
from alerting.rules.model import Observation, Place
from alerting.rules.replay import Deadline, Stream, in_time, replay
from tests.alerting import alert_scenario

RULES = {rule.name: rule for rule in DEFAULT_RULES}
LINES = (Path(__file__).parents[1] / "thirty_days.txt").read_text("utf-8").splitlines()
TOLD = [line.split(" | ", 3) for line in LINES]
END = alert_scenario.FIRST + timedelta(hours=alert_scenario.HOURS)
Script = Callable[[datetime], float | None]
OPEN_BY_DAY = Place(calendar=Calendar(weekly_of(WEEK)))
CABINET = Place(48.39, -4.49, rated_power_w=2000)


@pytest.mark.parametrize(
    ("name", "asset", "script", "interval_h", "place", "severities"),
    [
        ("bin_75", "Borne 1", alert_scenario._bin, 6, Place(), ("warning", "major")),
        (
            "bin_fire",
            "Bac agité",
            alert_scenario._unless_down(alert_scenario._restless),
            1,
            Place(),
            ("critical",),
        ),
        ("co2_800", "Classe 1", alert_scenario._unless_down(alert_scenario._co2), 1, OPEN_BY_DAY, ("info",)),
        ("intrusion", "Porte 1", alert_scenario._door, 24, OPEN_BY_DAY, ("critical",)),
        ("battery_low", "Bac 3", alert_scenario._unless_down(alert_scenario._tired), 1, Place(), ("info",)),
        ("day_on", "Armoire 1", alert_scenario._unless_down(alert_scenario._power), 1, CABINET, ("warning",)),
    ],
)
def test_a_backtest_gives_the_notifications_that_were_sent(
    name: str, asset: str, script: Script, interval_h: int, place: Place, severities: tuple[str, ...]
) -> None:
    values = [Observation(at, value) for at in alert_scenario.hours() if (value := script(at)) is not None]

    hours = timedelta(hours=interval_h)
    missed = [Deadline(3 * hours, [value.at for value in values])]
    where = replace(place, interval=hours)
    told = replay(RULES[name], where, {1: Stream(in_time(values), missed)}, END)

    expected = [
        (event, severity)
        for _, event, severity, text in TOLD
        if text.startswith(f"{asset} :") and severity in severities and " capteur EM" not in text.split("pile")[0]
    ]
    assert expected
    assert [(one.event.removeprefix("alert."), one.severity) for one in told] == expected


def test_a_device_without_data_is_in_a_backtest_too() -> None:
    signs = [at for at in alert_scenario.hours() if alert_scenario._bin(at) is not None]

    told = replay(RULES["device_silent"], Place(), {1: Stream((), [Deadline(timedelta(hours=18), signs)])}, END)

    assert [(one.event, one.at, one.since) for one in told] == [
        ("alert.opened", alert_scenario.on(11, 12), alert_scenario.on(10, 18))
    ]


def test_losses_end_after_one_good_day_however_often_the_device_speaks() -> None:
    hours = [alert_scenario.FIRST + timedelta(hours=hour) for hour in range(72)]
    losses = [Observation(at, 50.0 if place < 10 else 0.0) for place, at in enumerate(hours)]

    told = replay(RULES["sensor_loss"], Place(), {1: Stream(in_time(losses))}, END)

    assert [(one.event, one.at) for one in told] == [
        ("alert.opened", hours[0]),
        ("alert.resolved", hours[10] + timedelta(days=1)),
    ]


def test_streams_of_one_asset_are_one_alert_when_the_rule_says_so() -> None:
    rule = replace(RULES["bin_75"], scope="asset", for_readings=1, ladder=())
    at = [alert_scenario.on(1, hour) for hour in range(6)]
    streams = {
        1: Stream(in_time([Observation(at[0], 80), Observation(at[3], 10)])),
        2: Stream(in_time([Observation(at[1], 90), Observation(at[4], 10)])),
    }

    told = replay(rule, Place(), streams, END)

    assert [(one.event, one.at) for one in told] == [("alert.opened", at[0]), ("alert.resolved", at[4])]

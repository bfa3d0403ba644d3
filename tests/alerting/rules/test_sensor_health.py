"""What is wrong with a sensor, by hand-made facts; the clock is an argument."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from alerting.health import LIMITS
from alerting.rules.sensor_health import Cause, Frozen, ReceivedUplink, SensorFacts, battery_end, judge
from core.model.frame_loss import CountedUplink

NOW = datetime(2026, 11, 28, 12, 0, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def uplinks(
    count: int = 20, every: timedelta = HOUR, last: timedelta = HOUR / 2, **of_each: Any
) -> list[ReceivedUplink]:
    one = ReceivedUplink(NOW, "decoded", None, 9, -100.0, 2.0, "aa")
    return [replace(one, at=NOW - last - every * place, **of_each) for place in range(count)]


def counted(*f_cnts: int) -> list[CountedUplink]:
    return [CountedUplink(NOW - DAY + HOUR * f_cnt, 1, f_cnt) for f_cnt in f_cnts]


def falling(now: float, a_day: float, days: int) -> list[tuple[datetime, float]]:
    """A battery that is at `now`, day by day."""
    return [(NOW - DAY * ago, now + a_day * ago) for ago in range(days, -1, -1)]


def frozen(span: timedelta, quantity: str = "temperature") -> list[Frozen]:
    return [Frozen(quantity, 48, 19.5, 19.5, NOW - span)]


UNREADABLE: dict[str, Any] = {"status": "undecodable", "reason": "unreadable"}
CHANGED = [
    *((NOW - DAY * ago, float(ago)) for ago in range(40, 7, -1)),
    *((NOW - DAY * ago, 100.0) for ago in range(7, -1, -1)),
]


def facts(**given: Any) -> SensorFacts:
    well = SensorFacts(
        NOW - 400 * DAY,
        HOUR,
        heard=uplinks(),
        frames=counted(*range(24)),
        battery=falling(80.0, 0.1, 60),
        frozen=[Frozen("temperature", 48, 18.0, 21.5, NOW - 2 * DAY)],
    )
    return replace(well, **given)


def test_a_sensor_with_nothing_wrong_has_figures_and_no_cause() -> None:
    health = judge(facts(), LIMITS, NOW)

    assert (health.causes, health.unknown) == ([], [])
    assert (health.margin_db, health.rssi, health.gateway, health.lost_percent) == (14.5, -100.0, "aa", 0.0)
    assert (health.battery_percent, health.unreadable_percent) == (80, 0.0)
    assert health.battery_ends_at == NOW + timedelta(days=800)


@pytest.mark.parametrize(
    ("given", "cause", "text"),
    [
        ({"heard": [], "frames": []}, Cause.NEVER_HEARD, "jamais entendu depuis sa pose, 400 jours"),
        ({"heard": uplinks(last=2.1 * HOUR)}, Cause.SILENT, "muet depuis 2 h, attendu toutes les 60 min"),
        ({"heard": uplinks(snr=-10.5, rssi=-121.0)}, Cause.WEAK, "entendu avec 2 dB de marge, RSSI -121 dBm"),
        ({"heard": uplinks(spreading_factor=None, rssi=-121.0)}, Cause.WEAK, "entendu à -121 dBm"),
        ({"frames": counted(0, *range(9, 24))}, Cause.LOSING, "33 % des messages perdus"),
        ({"battery": [(NOW, 19.5)]}, Cause.LOW_BATTERY, "pile à 19,5 %"),
        ({"battery": [], "reported_battery": 10.0}, Cause.LOW_BATTERY, "pile à 10 %"),
        ({"battery": [], "is_battery_low": True}, Cause.LOW_BATTERY, "il dit que sa pile est faible"),
        ({"battery": falling(30.0, 1.0, 20)}, Cause.LOW_BATTERY, "pile vide vers le 28/12/2026"),
        ({"frozen": frozen(2 * DAY)}, Cause.FLAT, "temperature : 19,5 depuis 2 jours au moins"),
        ({"heard": [*uplinks(1, **UNREADABLE), *uplinks(19)]}, Cause.CODEC_FAILING, "1 messages illisibles sur"),
        ({"heard": uplinks(reason="no_mapping", status="decoded")}, Cause.MISCONFIGURED, "le profil ne tire"),
        ({"heard": uplinks(every=HOUR / 6)}, Cause.MISCONFIGURED, "un message toutes les 10 min"),
        ({"heard": uplinks(every=2 * HOUR)}, Cause.MISCONFIGURED, "un message toutes les 2 h au lieu de 60 min"),
        ({"rejections": ["mic", "mic"]}, Cause.MISCONFIGURED, "sa clé n'est pas celle qui est enregistrée"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_found_and_nothing_else(given: dict[str, Any], cause: Cause, text: str) -> None:
    health = judge(facts(**given), LIMITS, NOW)

    assert health.causes == [cause]
    assert len(health.findings) == 1
    assert health.findings[0].text.startswith(text)


@pytest.mark.parametrize(
    "given",
    [
        {"heard": uplinks(last=2 * HOUR)},  # At its limit.
        {"heard": uplinks(snr=-9.5)},
        {"frames": counted(0, *range(8, 24))},  # 29 %.
        {"heard": [*uplinks(10), *uplinks(1, **UNREADABLE, last=11 * HOUR), *uplinks(9, last=12 * HOUR)]},
        {"battery": [(NOW, 20.0)]},
        {"battery": [], "is_mains_powered": True},
        # Changed last week: what was before says nothing.
        {"battery": CHANGED},
        {"frozen": frozen(DAY)},
        {"heard": [], "frames": [], "since": NOW - HOUR},
        {"heard": uplinks(last=5 * HOUR), "since": NOW - HOUR},  # Was moved since it spoke.
    ],
)  # fmt: skip
def test_what_is_within_its_limits_is_not_wrong(given: dict[str, Any]) -> None:
    assert judge(facts(**given), LIMITS, NOW).causes == []


def test_what_is_not_known_is_said_to_be_unknown() -> None:
    nothing = judge(SensorFacts(NOW - HOUR, HOUR), LIMITS, NOW)
    little = judge(facts(heard=uplinks(2), frames=[], battery=[], frozen=[]), LIMITS, NOW)

    assert (nothing.causes, nothing.margin_db, nothing.lost_percent, nothing.battery_percent) == (
        [],
        None,
        None,
        None,
    )
    assert set(nothing.unknown) == set(Cause) - {Cause.SILENT}
    assert set(little.unknown) == {Cause.MISCONFIGURED, Cause.LOSING, Cause.WEAK, Cause.LOW_BATTERY, Cause.FLAT}


def test_the_end_of_a_battery_follows_the_median_of_its_slopes() -> None:
    days = falling(50.0, 0.5, 30)
    with_one_wrong = [*days[:10], (days[10][0], 3.0), *days[11:]]

    assert battery_end(days, NOW) == NOW + 100 * DAY
    assert battery_end(with_one_wrong, NOW) == NOW + 100 * DAY
    assert battery_end(days[-10:], NOW) is None
    assert battery_end([(at, 50.0) for at, _ in days], NOW) is None

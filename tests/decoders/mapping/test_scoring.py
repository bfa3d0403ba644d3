"""The account of a proposal is what a reader of the vendor's statement would find."""

from typing import Any

import pytest

from decoders.mapping import Mapping
from decoders.mapping.scoring import Score, judge, read_all, read_points

T = 1_760_000_000_000_000


def score(data: Any, points: dict[str, Any], *rules: dict[str, Any]) -> Score:
    account = Score()
    mapping = Mapping.parse([{"channel": ""} | rule for rule in rules])
    judge(account, "essai", read_points(points), read_all(mapping, data, T))
    return account


POWER = {"path": "power", "quantity": "active_power"}
KILOWATTS = {"power": {"unitId": "kW", "record": 22.4}}


def test_a_point_is_reproduced_by_its_value_in_a_quantity_that_holds_it() -> None:
    account = score({"power": 22.4}, KILOWATTS, POWER | {"unit": "kW"})

    assert (account.points, account.holdable, account.reproduced, account.wrong_live) == (1, 1, 1, 0)


def test_a_power_of_ten_is_wrong() -> None:
    account = score({"power": 22.4}, KILOWATTS, POWER)

    assert (account.reproduced, account.wrong_live) == (0, 1)
    assert account.wrong[0]["path"] == "power"


def test_a_value_as_another_quantity_is_wrong() -> None:
    energy = {"energy": {"unitId": "Wh", "record": 74}}
    rule = {"path": "power_consumption", "quantity": "active_power"}

    assert score({"power_consumption": 74}, energy, rule).wrong_live == 1


def test_what_is_to_be_confirmed_reproduces_nothing_and_is_never_wrong() -> None:
    account = score({"power": 22.4}, KILOWATTS, POWER | {"to_confirm": "unit_not_stated"})

    assert (account.reproduced, account.proposed_live, account.wrong_live, account.to_confirm) == (0, 0, 0, 1)


@pytest.mark.parametrize(
    "point",
    [
        {"location": {"unitId": "GPS", "record": [7.1, 43.6]}},
        {"status": {"unitId": "state", "record": True}},
        {"percentage": {"unitId": "%", "record": 15}},
        {"temperature": {"unitId": "Cel", "record": None}},
        {"temperature": {"unitId": "Cel", "record": 2570}},
        {"interval": {"unitId": "minute", "record": 10}},
    ],
    ids=lambda point: next(iter(point)),
)
def test_a_point_of_no_quantity_of_ours_or_out_of_its_range_cannot_be_held(point: dict[str, Any]) -> None:
    assert score({}, point).holdable == 0


def test_a_series_is_reproduced_when_each_of_its_values_is() -> None:
    rule = {"path": "t[*].v", "quantity": "temperature", "time": {"path": "at"}}
    data = {"t": [{"at": "2025-01-01T00:00:00Z", "v": 20}, {"at": "2025-01-01T01:00:00Z", "v": 21}]}
    record = [{"eventTime": one["at"], "value": one["v"]} for one in data["t"]]
    longer = [*record, {"eventTime": None, "value": 22}]

    assert score(data, {"temperature": {"unitId": "Cel", "record": record}}, rule).reproduced == 1
    assert score(data, {"temperature": {"unitId": "Cel", "record": longer}}, rule).reproduced == 0

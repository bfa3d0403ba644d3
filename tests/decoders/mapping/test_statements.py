from typing import Any

from decoders.mapping.scoring import read_points
from decoders.mapping.statements import units_of_points


def units(*frames: tuple[Any, dict[str, Any]]) -> dict[str, str]:
    return dict(units_of_points([data for data, _ in frames], [read_points(points) for _, points in frames]))


def point(unit: str, record: Any) -> dict[str, Any]:
    return {"unitId": unit, "record": record}


def test_a_points_unit_is_that_of_the_field_whose_value_it_records() -> None:
    assert units(({"current": 30, "distance": 2}, {"current": point("A", 30), "distance": point("cm", 2)})) == {
        "current": "A",
        "distance": "cm",
    }


def test_a_points_unit_is_not_that_of_a_field_that_bears_its_name() -> None:
    assert units(({"energy": 894135}, {"energy": point("Wh", 894_135_000)})) == {}


def test_of_two_fields_with_the_value_the_name_decides_and_else_neither() -> None:
    data = {"temperature": 20, "humidity": 20}

    assert units((data, {"temperature": point("Cel", 20)})) == {"temperature": "Cel"}
    assert units((data, {"reading:1": point("Cel", 20)})) == {}


def test_points_that_disagree_in_two_frames_say_nothing() -> None:
    frames = (({"level": 150}, {"level": point("cm", 150)}), ({"level": 90}, {"level": point("mm", 90)}))

    assert units(*frames) == {}


def test_what_is_no_point_is_left_out() -> None:
    assert read_points({"a": 3, "b": {"unitId": None, "record": "x"}, "c": None})[0].values == ()
    assert read_points([1]) == []
    assert units(({"a": 3}, {"a": {"unitId": "V", "record": [3, 4]}})) == {}

"""`territoire codec propose`: frames that are decoded already, proposed for and judged at the terminal."""

import json
from pathlib import Path

import pytest

from tests.cli.in_process import Ran, territoire

FRAMES = [
    {
        "product": "acme/sonde",
        "data": {"temperature": 21.5, "battery": {"value": 3250, "unit": "mV"}, "power": 22.4, "status": 3},
        "points": {
            "temperature": {"unitId": "Cel", "record": 21.5},
            "batteryVoltage": {"unitId": "V", "record": 3.25},
            "power": {"unitId": "kW", "record": 22.4},
            "location": {"unitId": "GPS", "record": [7.1, 43.6]},
        },
    },
    {
        "product": "acme/sonde",
        "data": {"temperature": 22},
        "points": {"temperature": {"unitId": "Cel", "record": 2}},
    },
]


def propose(*arguments: str) -> Ran:
    return territoire("codec", "propose", *arguments)


@pytest.fixture
def frames(tmp_path: Path) -> Path:
    file = tmp_path / "trames.jsonl"
    file.write_text("\n".join(json.dumps(frame) for frame in FRAMES) + "\n", "utf-8")
    return file


def test_each_line_is_answered_and_the_last_object_has_the_figures(frames: Path) -> None:
    done = propose(str(frames), "--json", "--data-alone")

    first, second, figures = (json.loads(line) for line in done.stdout.splitlines())
    assert done.returncode == 0, done.stderr
    assert {rule["path"]: rule["live"] for rule in first["proposed"]} == {
        "temperature": True,
        "battery.value": True,
        "power": False,
    }
    (power,) = [rule for rule in first["proposed"] if rule["path"] == "power"]
    assert power["why"] == "une valeur d'exemple est invraisemblable"
    (battery,) = [rule for rule in first["proposed"] if rule["path"] == "battery.value"]
    assert [(one["quantity"], one["value"], one["unit"]) for one in battery["readings"]] == [
        ("battery_voltage", 3.25, "V")
    ]
    assert [rule["path"] for rule in second["proposed"]] == ["temperature"]
    assert {name: figures[name] for name in figures if name != "wrong"} == {
        "points": 5,
        "holdable": 4,
        "reproduced": 2,
        "proposed_live": 3,
        "wrong_live": 0,
        "to_confirm": 1,
    }


def test_units_of_the_vendors_points_are_used_and_the_figures_say_what_the_data_alone_is_worth(
    frames: Path,
) -> None:
    with_points, alone = propose(str(frames)), propose(str(frames), "--data-alone")
    figures = json.loads(propose(str(frames), "--json").stdout.splitlines()[-1])

    assert "power : active_power = 22400 W\n" in with_points.stdout
    assert "Des données seules, sans les unités des points : 2 reproduits (50.0 %)" in with_points.stdout
    assert "power : active_power = 22.4 W  à confirmer" in alone.stdout
    assert figures["reproduced"] == 3
    assert figures["from_data_alone"] == {"reproduced": 2, "proposed_live": 3, "wrong_live": 0}


@pytest.mark.parametrize("text", ["{", "[1]", '{"product": "x"}'])
def test_a_line_that_is_no_frame_is_named(tmp_path: Path, text: str) -> None:
    file = tmp_path / "trames.jsonl"
    file.write_text('{"data": {}}\n' + text + "\n", "utf-8")

    done = propose(str(file))

    assert done.returncode == 2
    assert "ligne 2" in done.stderr

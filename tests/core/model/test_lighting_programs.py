"""Programs of lamps are read from JSON, or rejected with a reason for people."""

from datetime import date
from typing import Any

import pytest

from core.model.lighting import CalendarRule, Lamps, Program, Schedule, Switching
from core.model.lighting_programs import MalformedProgram, read_lamps, read_program


def test_a_program_is_read_as_it_is_written() -> None:
    document: dict[str, Any] = {
        "default": {"on": {"event": "sunset", "offset": -10}, "off": "06:30", "night_cut": ["23:30", "05:00"]},
        "rules": [
            {"from": "12-20", "to": "01-05", "schedule": {"dimming": [["05:00", 100], ["22:00", 50]]}},
            {"weekdays": [6, 7], "holidays": "school", "dates": ["2026-07-14"], "schedule": {"lit": False}},
        ],
        "coefficient": 0.9,
    }

    assert read_program({}) == Program()
    assert read_program(document) == Program(
        Schedule(Switching("sunset", -10), Switching(None, 390), (1410, 300)),
        (
            CalendarRule(Schedule(dimming=((1320, 50), (300, 100))), (12, 20), (1, 5)),
            CalendarRule(
                None, weekdays=frozenset({5, 6}), holidays="school", dates=frozenset({date(2026, 7, 14)})
            ),
        ),
        0.9,
    )


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ([], "le programme est un objet JSON"),
        ({"defaut": {}}, "defaut inconnu ; possibles : coefficient, default, rules"),
        ({"default": {"night_cut": ["25:00", "05:00"]}}, "coupure : « 25:00 » n'est pas une heure du jour"),
        ({"default": {"night_cut": ["5:00", "05:00"]}}, "la coupure finit quand elle commence"),
        ({"default": {"night_cut": ["00:00", "24:00"]}}, "la coupure finit quand elle commence"),
        ({"default": {"night_cut": ["05:00"]}}, "couple début, fin"),
        ({"default": {"dimming": [["22:00", 50], ["22:00", 40]]}}, "deux paliers commencent à 22:00"),
        ({"default": {"dimming": [["22:00", 0]]}}, "un palier va de 1 à 100 %"),
        ({"default": {"dimming": [["22:00", True]]}}, "un palier va de 1 à 100 %"),
        (
            {"default": {"on": {"event": "midnight"}}},
            "l'horaire par défaut, allumage : une heure, ou sunset ou sunrise",
        ),
        ({"default": {"on": {"event": "sunset", "offset": 999}}}, "de -240 à 240"),
        ({"default": {"on": 7}}, "l'horaire par défaut, allumage est un objet JSON"),
        ({"default": {"lit": True}}, '"lit" n\'est que faux'),
        ({"default": {"on": "18:00", "off": "17:30"}}, "l'extinction précède l'allumage"),
        ({"default": {"on": "02:00", "off": "23:00"}}, "l'extinction précède l'allumage"),
        ({"default": {"off": "15:30"}}, "pour une nuit sans éclairage, lit: false"),
        ({"default": {"on": "11:00"}}, "l'extinction précède l'allumage"),
        ({"default": {"on": {"event": "sunrise"}, "off": {"event": "sunset"}}}, "l'extinction précède l'allumage"),
        ({"coefficient": 0}, "le coefficient de réduction est un nombre de 0 (exclu) à 1"),
        ({"rules": [{"schedule": {}}]}, "la règle 1 a un horaire et au moins une condition"),
        ({"rules": [{"schedule": {}, "from": "02-30", "to": "03-01"}]}, "« 02-30 » n'est pas un jour de l'année"),
        ({"rules": [{"schedule": {}, "from": "02-28"}]}, "une période a un début et une fin"),
        ({"rules": [{"schedule": {}, "weekdays": [0]}]}, "les jours vont de 1 (lundi) à 7 (dimanche)"),
        (
            {"rules": [{"schedule": {}, "holidays": "bank"}]},
            "les congés sont public (fériés) ou school (vacances)",
        ),
        ({"rules": [{"schedule": {}, "dates": ["14 juillet"]}]}, "« 14 juillet » n'est pas une date"),
        ({"rules": {}}, "rules est une liste"),
    ],
)
def test_a_program_that_cannot_be_is_rejected_with_its_reason(document: object, said: str) -> None:
    with pytest.raises(MalformedProgram) as rejected:
        read_program(document)

    assert said in str(rejected.value)


def test_what_an_asset_says_of_its_lamps_is_read_or_rejected() -> None:
    said = {"rated_power_w": 4200, "night_cut": ["23:30", "05:00"], "dimming": [["22:00", 50]]}

    assert read_lamps(said) == Lamps(Program(Schedule(cut=(1410, 300), dimming=((1320, 50),))), 4200.0)
    assert read_lamps({}) == Lamps()
    for wrong in ({"nigth_cut": ["23:30", "05:00"]}, {"rated_power_w": "4200"}, {"rated_power_w": -1}, ["x"]):
        with pytest.raises(MalformedProgram):
            read_lamps(wrong)

"""Programs compiled for clocks: a clock that holds them does what the program says, on every night of a year."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest

from core.model.lighting import LampPlace, Program, changes, night_of
from core.model.lighting_programs import read_program
from core.model.region import region_of
from decoders.codec import Command, Parameter, ParameterKind
from decoders.declarative import parse
from decoders.territoire.clock_program import LARGEST
from lab.device.lamp_clock import Almanac
from lab.device.payloads import clock as wire
from lighting.compilers import CannotCompile, compile_program
from lighting.compilers.profile_clock import compile_for_clock

DAY = timedelta(days=1)
WITHIN = timedelta(minutes=2)
TODAY = date(2026, 11, 28)
PLACES = {
    "Brest": LampPlace(48.3904, -4.4861, region_of("29", "Europe/Paris"), "B"),
    "Metz": LampPlace(49.1193, 6.1757, region_of("57", "Europe/Paris"), "B"),
    "Saint-Denis": LampPlace(-20.8823, 55.4504, region_of("974", "Europe/Paris")),
    "Saint-Pierre": LampPlace(46.7811, -56.1764, region_of("975", "Europe/Paris")),
    "Mata-Utu": LampPlace(-13.2825, -176.1736, region_of("986", "Europe/Paris")),
}
HALF = {"dimming": [["22:00", 50], ["05:00", 100]]}
PROGRAMS: dict[str, Any] = {
    "dusk to dawn": {},
    "cut over midnight": {"default": {"night_cut": ["23:30", "05:00"], **HALF}, "coefficient": 0.9},
    "cut in the changing hour": {"default": {"night_cut": ["02:15", "02:45"], "dimming": [["02:30", 50]]}},
    "fixed hours": {"default": {"on": "18:30", "off": "23:00"}},
    "morning only": {"default": {"on": "05:00", "off": {"event": "sunrise", "offset": -10}}},
    "calendar": {
        "default": {
            "on": {"event": "sunset", "offset": 10},
            "off": {"event": "sunrise", "offset": -15},
            "night_cut": ["23:00", "05:30"],
        },
        "rules": [
            {"schedule": {}, "dates": ["2026-12-24", "2026-12-31", "2027-07-13", "2027-07-14"]},
            {"schedule": {"night_cut": ["01:00", "05:00"]}, "weekdays": [5, 6]},
            {"schedule": {"lit": False}, "from": "06-15", "to": "06-25", "weekdays": [1, 2]},
        ],
    },
    "holidays": {
        "default": {"night_cut": ["23:00", "05:30"]},
        "rules": [
            {"schedule": {"lit": False}, "holidays": "public", "from": "12-26", "to": "05-31"},
            {"schedule": HALF, "from": "12-20", "to": "01-05"},
        ],
    },
}


def compiled_octets(program: Program, place: LampPlace, today: date = TODAY) -> bytes:
    [payload] = compile_program("territoire.clock", program, place, today).payloads
    return payload.payload


def level_at(switchings: Sequence[tuple[datetime, float]], at: datetime) -> float:
    return next((level for since, level in reversed(switchings) if since <= at), 0)


def longest_difference(
    ours: Sequence[tuple[datetime, float]], theirs: Sequence[tuple[datetime, float]]
) -> timedelta:
    """For how long at a time the two do not give the same light."""
    longest = running = timedelta(0)
    instants = sorted({at for at, _ in (*ours, *theirs)})
    for at, until in pairwise(instants):
        differ = level_at(ours, at) != level_at(theirs, at)
        running = running + (until - at) if differ else timedelta(0)
        longest = max(longest, running)
    return longest if not instants or level_at(ours, instants[-1]) == level_at(theirs, instants[-1]) else DAY


def differences(program: Program, place: LampPlace, octets: bytes, first: date, days: int = 365) -> list[str]:
    """The nights on which a clock with these octets does another thing than the program, by over two minutes."""
    almanac = Almanac(wire.read_program(octets))
    found: list[str] = []
    for night in (first + n * DAY for n in range(days)):
        ours, theirs = changes(program, place, night), almanac.switchings(night)
        assert ours is not None
        assert theirs is not None
        if longest_difference([(change.at, change.level) for change in ours], theirs) > WITHIN:
            found.append(f"{night}: {ours} {theirs}")
    return found


YEARS = [("Brest", name) for name in PROGRAMS]
YEARS += [(place, name) for place in list(PLACES)[1:] for name in ("calendar", "holidays")]
YEARS += [("Saint-Pierre", "cut in the changing hour")]


@pytest.mark.parametrize(("where", "what"), YEARS)
def test_a_clock_switches_all_year_as_its_program_says(where: str, what: str) -> None:
    program, place = read_program(PROGRAMS[what]), PLACES[where]

    compiled = compile_program("territoire.clock", program, place, TODAY)

    assert (compiled.losses_fr, compiled.exact_until) == ((), None)
    [payload] = compiled.payloads
    assert len(payload.payload) <= LARGEST
    assert differences(program, place, payload.payload, TODAY) == []
    noon = datetime(2027, 3, 28, 12, tzinfo=UTC)
    assert Almanac(wire.read_program(payload.payload)).local_day(noon) == night_of(noon, place.region)


def test_school_holidays_are_dates_as_far_as_they_fit_and_hold_for_a_year() -> None:
    place = PLACES["Brest"]
    program = read_program({"rules": [{"schedule": {"night_cut": ["22:00", "06:00"]}, "holidays": "school"}]})

    compiled = compile_program("territoire.clock", program, place, TODAY)

    until = compiled.exact_until
    assert until is not None
    assert compiled.losses_fr == (
        f"règle 1 : les dates des vacances scolaires sont développées jusqu'au {until:%d/%m/%Y}",
    )
    assert (until - TODAY).days > 180
    octets = compiled.payloads[0].payload
    assert differences(program, place, octets, TODAY, (until - TODAY).days) == []
    assert octets == compiled_octets(program, place, date(2027, 6, 30))
    assert octets != compiled_octets(program, place, date(2027, 7, 1))


def test_what_does_not_fit_is_said_and_the_rest_still_holds() -> None:
    nights = [f"2027-{month:02}-{day:02}" for month in range(1, 11) for day in (3, 17)]
    program = read_program(
        {
            "default": {"dimming": [["22:00", 33]]},
            "rules": [
                {"schedule": {"lit": False}, "dates": nights},
                {"schedule": {"night_cut": ["01:00", "05:00"]}, "weekdays": [6, 7]},
                {"schedule": {"dimming": [["20:00", 20]]}, "from": "07-01", "to": "08-31"},
            ],
            "coefficient": 0.333,
        }
    )

    compiled = compile_program("territoire.clock", program, PLACES["Brest"], TODAY)

    assert compiled.losses_fr == (
        "le palier de 33 % devient 35 % (pas de 5 %)",
        "le coefficient de réduction est arrondi à 0.335",
        "règle 1 : les dates qui tiennent vont jusqu'au 17/05/2027",
    )
    assert compiled.exact_until == date(2027, 5, 17)
    [payload] = compiled.payloads
    assert 45 <= len(payload.payload) <= LARGEST
    # Once some of them are over, others take their place.
    later = compile_program("territoire.clock", program, PLACES["Brest"], date(2027, 6, 1))
    assert later.exact_until is None


def test_a_program_that_is_too_much_for_a_clock_says_why() -> None:
    steps = [[f"{hour % 24:02}:{minute:02}", 50 + minute] for hour in range(18, 30) for minute in (0, 20, 40)]
    long = read_program({"default": {"dimming": steps, "night_cut": ["01:00", "05:00"]}})
    compiled = compile_for_clock(long, PLACES["Brest"], TODAY)
    elsewhere = LampPlace(51.5, 0, region_of(None, "America/New_York"))

    assert "15 paliers au plus : les suivants sont perdus" in compiled.losses_fr
    with pytest.raises(CannotCompile, match="heure légale de America/New_York"):
        compile_for_clock(Program(), elsewhere, TODAY)


def test_lamps_without_a_clock_depend_on_the_platform() -> None:
    for codec in ("watteco.triphaso", "milesight.uc300", "milesight.ws558"):
        compiled = compile_program(codec, Program(), PLACES["Brest"], TODAY)

        assert compiled.holds_nothing
        assert "dépend de la plateforme" in compiled.losses_fr[0]


VENDOR = """
codec: horloge
commands:
  set_program:
    f_port: 9
    fields:
      - {type: u8, name: on_event, values: {1: sunset, 2: clock}}
      - {type: i8, name: on_offset, default: 0}
      - {type: u16, name: off_at, minimum: 0, maximum: 1439, default: 0}
      - {type: u16, name: cut_start, default: 65535}
      - {type: u16, name: cut_end, default: 65535}
      - {type: u16, name: step_1_at, default: 65535}
      - {type: u8, name: step_1_level, default: 100}
"""


def test_a_vendor_s_declared_clock_gets_what_its_command_asks_for() -> None:
    [command] = parse(VENDOR).commands
    document = {
        "default": {
            "on": {"event": "sunset", "offset": 5},
            "off": "06:30",
            "night_cut": ["23:30", "05:00"],
            **HALF,
        },
        "rules": [{"schedule": {}, "weekdays": [6]}],
    }

    compiled = compile_program("vendor", read_program(document), PLACES["Brest"], TODAY, command)

    [payload] = compiled.payloads
    assert (payload.f_port, payload.payload.hex()) == (9, "010501860582012c052832")
    assert compiled.losses_fr == (
        "les 1 règles de calendrier : l'horaire par défaut vaut chaque nuit",
        "1 paliers au plus, sur 2",
    )
    with pytest.raises(CannotCompile, match="sunrise"):
        compile_program(
            "vendor",
            read_program({"default": {"on": {"event": "sunrise", "offset": -60}}}),
            PLACES["Brest"],
            TODAY,
            command,
        )


def test_a_vendor_s_script_is_given_parameters_for_its_engine() -> None:
    def build(_: object) -> Any:
        raise NotImplementedError

    command = Command(
        "set_program",
        "Programme",
        build,
        (
            Parameter("latitude", "latitude", ParameterKind.NUMBER),
            Parameter("dimming", "paliers", ParameterKind.LIST),
        ),
    )

    compiled = compile_program("script", read_program({"default": HALF}), PLACES["Brest"], TODAY, command)

    assert not compiled.holds_nothing
    assert compiled.payloads == ()
    assert compiled.parameters == {
        "latitude": 48.3904,
        "dimming": [{"at": 1320, "level": 50}, {"at": 300, "level": 100}],
    }

import random
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import cast

import ephem
import pytest

from core.model.region import region_of
from lab.chaos.lighting.cabinets import Place, Remembering, Street, place_with_dusk_at
from lab.chaos.lighting.campaign import NIGHT, CommandRow, CommandWatch, is_the_program, of_switches
from lab.device.application import Message
from lab.device.lamp_clock import FROM_DUSK_TO_DAWN
from lab.device.payloads.clock import Night
from lab.device.payloads.watteco import parse_switch_command
from lab.device.sensors import WATTECO_PORT, Cabinet
from lab.lighting.real import RealArea

OFF, ON = bytes.fromhex("1150000600"), bytes.fromhex("1150000601")


@dataclass
class NoArea:
    assets: list[int] = field(default_factory=list[int])


def street_of_a_relay(*switches: bytes) -> Street:
    relay = Remembering(Cabinet(random.Random(1), power_w=900))
    for payload in switches:
        relay.on_downlink(Message(WATTECO_PORT, payload), 0)
    return Street(cast(RealArea, NoArea([1])), Place("", 0.0, 0.0), {1: relay})


def test_a_command_that_ends_a_second_time_is_found() -> None:
    watch = CommandWatch()

    for state in ("sent", "applied", "confirmed"):
        watch.look([CommandRow(1, 1, state, 1), CommandRow(2, 2, state, 1)])
    watch.look([CommandRow(1, 1, "sent", 2), CommandRow(2, 2, "confirmed", 1)])

    assert watch.findings == ["l'ordre 1 était confirmed, puis sent"]


def test_a_relay_switched_once_by_one_command_is_as_undisturbed_and_nothing_else_is() -> None:
    once, repeated = [CommandRow(1, 1, "applied", 1)], [CommandRow(1, 1, "applied", 2)]

    assert parse_switch_command(OFF) is False
    assert of_switches(street_of_a_relay(OFF), once) == []
    assert of_switches(street_of_a_relay(OFF, OFF), repeated) == []
    assert of_switches(street_of_a_relay(OFF, OFF), once)
    assert of_switches(street_of_a_relay(OFF, OFF), once, kills=1) == []
    # However many die, one frame was on its way, and goes out once more.
    assert of_switches(street_of_a_relay(OFF, OFF), once, kills=29) == []
    assert of_switches(street_of_a_relay(OFF, OFF, OFF), once, kills=29)
    assert of_switches(street_of_a_relay(OFF, ON, OFF), [CommandRow(1, 1, "applied", 3)])
    assert of_switches(street_of_a_relay(), once)
    assert of_switches(street_of_a_relay(OFF), [*once, CommandRow(2, 1, "applied", 1)])
    assert of_switches(street_of_a_relay(OFF), [CommandRow(1, 1, "failed", 1)])


@pytest.mark.parametrize("hour", range(0, 24, 3))
def test_the_sun_sets_when_it_is_asked_to_in_the_evening_of_those_who_live_there(hour: int) -> None:
    at = datetime(2027, 3, 2, hour, 17, tzinfo=UTC)
    place = place_with_dusk_at(at)

    sky = ephem.Observer()
    sky.lat, sky.lon, sky.pressure, sky.horizon = str(place.latitude), str(place.longitude), 0, "-0:50"
    sky.date = at - timedelta(hours=6)
    found = sky.next_setting(ephem.Sun()).datetime().replace(tzinfo=UTC)
    wall = region_of(place.department or None, "Europe/Paris").local(at)

    assert abs(found - at) < timedelta(minutes=1.5)
    assert 13 <= wall.hour <= 23


def test_the_program_is_known_in_a_clock_and_no_other_is() -> None:
    place = Place("", 0.0, 12.344)
    held = replace(FROM_DUSK_TO_DAWN, latitude=0.0, longitude=12.34, coefficient=0.9, nights=(NIGHT,))

    assert is_the_program(held, place)
    assert not is_the_program(replace(held, nights=(Night(),)), place)
    assert not is_the_program(replace(held, coefficient=1.0), place)
    assert not is_the_program(replace(held, longitude=12.36), place)
    assert not is_the_program(replace(held, latitude=None), place)

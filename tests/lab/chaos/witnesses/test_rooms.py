"""What the witness finds wrong with alerts and messages, against tables that are written down here."""

import random

import pytest

from lab.chaos.witnesses.rooms import HOT_CEL, Room, findings, hot_rooms, wanted_of
from lab.device.application import Message
from lab.device.payloads import elsys
from lab.device.sensors import ELSYS_PORT, RoomAir

ALERTS = [(10, 1), (11, 2)]
OPENINGS = {("nous", 10): 1, ("nous", 11): 1}


def test_one_alert_for_each_hot_room_and_one_message_for_each_alert_is_right() -> None:
    wanted = wanted_of([(1, False), (1, True), (2, True), (2, True), (3, False)])

    assert wanted == {1, 2}
    assert findings(wanted, ALERTS, OPENINGS, "nous") == []


@pytest.mark.parametrize(
    ("wanted", "alerts", "openings", "found"),
    [
        ({1, 2, 3}, ALERTS, OPENINGS, "1 salles chaudes sans alerte"),
        ({1}, ALERTS, OPENINGS, "1 alertes de salles qui n'ont pas été chaudes"),
        ({1, 2}, [*ALERTS, (12, 2)], OPENINGS | {("nous", 12): 1}, "1 alertes en double"),
        ({1, 2}, ALERTS, {("nous", 10): 1}, "1 alertes dont personne n'a été prévenu"),
        ({1, 2}, ALERTS, OPENINGS | {("nous", 10): 2}, "1 messages en double"),
        ({1, 2}, ALERTS, OPENINGS | {("voisin", 10): 1}, "1 messages d'alertes inconnues ou d'autrui"),
    ],
)
def test_what_is_missing_doubled_or_of_another_is_found(
    wanted: set[int], alerts: list[tuple[int, int]], openings: dict[tuple[str, int], int], found: str
) -> None:
    assert findings(wanted, alerts, openings, "nous") == [found]


def test_a_room_that_the_case_before_left_hot_may_have_an_alert_that_somebody_is_told_of() -> None:
    assert findings({1}, ALERTS, OPENINGS, "nous", {2}) == []
    assert findings({1}, ALERTS, {("nous", 10): 1}, "nous", {2}) == ["1 alertes dont personne n'a été prévenu"]
    assert findings({1}, ALERTS[:1], {("nous", 10): 1}, "nous", {2}) == []


def test_a_room_says_that_it_is_hot_for_as_long_as_it_is() -> None:
    room = Room(RoomAir(random.Random(1), "ers_co2", 500, 0.5))
    usual = room.next_message(0)
    room.is_hot = True

    hot = elsys.ers_co2(temperature=HOT_CEL, humidity=45, lux=300, motion=1, co2=500, vdd_mv=3_620)
    assert usual.f_port == ELSYS_PORT
    assert usual.payload != hot
    assert room.next_message(0) == Message(ELSYS_PORT, hot)


def test_no_device_is_no_room() -> None:
    assert hot_rooms([]) == []

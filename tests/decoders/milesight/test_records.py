"""Records of Milesight that no published example shows whole."""

import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from decoders.canonical import Decoded, MalformedPayload, Reading
from decoders.catalogue import CODECS

NOW = 1_795_597_200_000_000  # 2026-11-25T09:00:00Z
AN_HOUR_AGO = NOW // 1_000_000 - 3_600
AT = AN_HOUR_AGO * 1_000_000


def decode(product: str, payload: str | bytes, **options: Any) -> Decoded:
    octets = payload if isinstance(payload, bytes) else bytes.fromhex(payload)
    return CODECS[f"milesight.{product}"].decode(85, octets, NOW, options)


def measured(decoded: Decoded) -> list[tuple[str, str, float]]:
    return [tuple(reading[1:]) for reading in decoded.readings]


@given(st.integers(0, 0x7FFF), st.integers(-400, 850), st.integers(-500, 500), st.integers(0, 0x3F))
def test_reads_back_what_an_em410_stored(distance: int, tenths: int, change: int, events: int) -> None:
    octets = b"\x20\xce" + struct.pack("<IHhhB", AN_HOUR_AGO, distance, tenths, change, events)

    decoded = decode("em410", octets)

    assert decoded.readings == [
        Reading(AT, "", "distance", distance),
        Reading(AT, "", "temperature", tenths / 10),
        Reading(AT, "", "tilt", float(events >> 5)),
    ]
    stored = decoded.data.get("stored_events", [])
    assert len(stored) == bool(events & 0x1F)
    assert all(record["distance_change"] == change for record in stored)


@pytest.mark.parametrize(
    ("octets", "alarms"),
    [
        ("8482 d007 01", {"distance": "raised"}),
        ("8482 d007 02", {"distance": "mutation"}),
        ("9482 d007 64ff 02", {"distance": "mutation"}),
        ("b482 d007 02", {"distance": "no_target"}),
        ("b482 d007 09", {"distance": "code 9"}),
    ],
)
def test_an_em410_says_which_alarm_its_distance_is(octets: str, alarms: dict[str, str]) -> None:
    decoded = decode("em410", octets)

    assert measured(decoded) == [("", "distance", 2_000.0)]
    assert decoded.data["alarms"] == alarms


def test_an_em410_says_how_much_the_distance_changed() -> None:
    assert decode("em410", "9482 d007 64ff 02").data["changes"] == {"distance": -156.0}


@given(st.integers(0, 0xFFFF), st.integers(0, 12_000), st.integers(-400, 850), st.integers(0, 200))
def test_reads_back_what_an_em500_co2_stored(co2: int, pressure: int, tenths: int, halves: int) -> None:
    octets = b"\x20\xce" + struct.pack("<IHHhB", AN_HOUR_AGO, co2, pressure, tenths, halves)

    assert decode("em500_co2", octets).readings == [
        Reading(AT, "", "co2", co2),
        Reading(AT, "", "pressure", pressure / 10),
        Reading(AT, "", "temperature", tenths / 10),
        Reading(AT, "", "relative_humidity", halves / 2),
    ]


def test_a_change_of_temperature_is_an_alarm() -> None:
    decoded = decode("em500_pt100", "83d7 1901 f6ff 01")

    assert measured(decoded) == [("", "temperature", 28.1)]
    assert decoded.data == {"alarms": {"temperature": "raised"}, "changes": {"temperature": -1.0}}


@pytest.mark.parametrize(("kind", "channel"), [(1, "input_state"), (2, "pulse_count")])
def test_an_em300_di_stored_a_state_or_pulses(kind: int, channel: str) -> None:
    octets = b"\x20\xce" + struct.pack("<IhBBBI", AN_HOUR_AGO, 272, 93, kind, 1, 256)

    decoded = decode("em300_di", octets)

    assert measured(decoded)[-1] == ("", channel, {1: 1.0, 2: 256.0}[kind])


def test_an_em300_di_turns_pulses_into_its_user_s_unit_of_water() -> None:
    decoded = decode("em300_di", b"\x06\xe1" + struct.pack("<HHf", 10, 20, 12.5))

    assert decoded.readings == []
    assert decoded.data["water"] == {"water_conversion": 1.0, "pulse_conversion": 2.0, "volume": 12.5}


def test_an_em300_di_stored_water_and_an_alarm() -> None:
    octets = b"\x21\xce" + struct.pack("<IhBBBBHHf", AN_HOUR_AGO, 272, 93, 3, 2, 0, 10, 10, 8.0)

    decoded = decode("em300_di", octets)

    assert measured(decoded) == [("", "temperature", 27.2), ("", "relative_humidity", 46.5)]
    assert decoded.data["stored_water"][0]["volume"] == 8.0
    assert decoded.data["stored_events"] == [{"timestamp": AN_HOUR_AGO, "event": "flow"}]


def test_an_em300_di_stored_a_state_beside_water() -> None:
    octets = b"\x21\xce" + struct.pack("<IhBBBBHHf", AN_HOUR_AGO, 272, 93, 0, 1, 1, 10, 10, 8.0)

    assert measured(decode("em300_di", octets))[-1] == ("", "input_state", 1.0)


@pytest.mark.parametrize("volume", [float("nan"), float("inf"), float("-inf")])
def test_a_volume_that_is_no_number_condemns_the_frame(volume: float) -> None:
    with pytest.raises(MalformedPayload, match="n'est pas un nombre"):
        decode("em300_di", b"\x06\xe1" + struct.pack("<HHf", 10, 10, volume))


def test_water_is_watched_by_alarms_of_its_own() -> None:
    decoded = decode("em300_di", b"\x86\xe1" + struct.pack("<HHfB", 10, 10, 1.0, 1) + bytes.fromhex("8500 01 01"))

    assert decoded.data["alarms"] == {"water": "outage", "input_state": "raised"}


def test_scales_the_pulses_of_products_that_count() -> None:
    decoded = decode("uc51x", "04c8 05000000 06c8 07000000", litres_per_pulse={"1": 10})

    assert measured(decoded)[-1] == ("1", "water_volume", 50.0)


@pytest.mark.parametrize(
    ("octets", "value"),
    [
        ("ff19 00 04 85 0000c841", 25.0),
        ("ff19 00 02 83 feff", -2.0),
        ("ff19 00 02 03 feff", 65_534.0),
        ("ff19 00 01 00 01", 1.0),
        ("ff19 00 04 84 feffffff", -2.0),
    ],
)
def test_a_register_of_a_uc300_has_its_type(octets: str, value: float) -> None:
    assert measured(decode("uc300", octets)) == [("modbus_1", "analog_input", value)]


def test_a_register_of_a_uc100_may_raise_an_alarm() -> None:
    decoded = decode("uc100", "ffee 42 02 8e feff")

    assert measured(decoded) == [("modbus_3", "analog_input", -2.0)]
    assert decoded.data["alarms"] == {"modbus_3": "raised"}


def test_a_uc100_stored_registers_and_messages() -> None:
    decoded = decode("uc100", "20ce 00f15365 01 0e 0b000000 20cd 00f15365 03 010203")

    assert decoded.readings == []
    assert decoded.data["stored_records"] == [{"timestamp": 1_700_000_000, "octets": "010e0b000000"}]
    assert decoded.data["messages"] == [{"timestamp": 1_700_000_000, "octets": "010203"}]


@pytest.mark.parametrize(("octets", "answer"), [("fc6c00", "success"), ("fc6c02", "nothing_stored")])
def test_a_device_answers_a_request_for_what_it_stored(octets: str, answer: str) -> None:
    assert decode("em500_co2", octets).data == {"device": {"history": answer}}


@pytest.mark.parametrize(("channel", "tvoc"), [("20", ("tvoc_index", 0.37)), ("21", ("tvoc_mass", 37.0))])
def test_an_am307_stored_no_particles(channel: str, tvoc: tuple[str, float]) -> None:
    values = "ee00 7c00 01 02 a803 2500 6627"

    decoded = decode(
        "am307", bytes.fromhex(channel + "ce") + struct.pack("<I", AN_HOUR_AGO) + bytes.fromhex(values)
    )

    assert [reading[1:] for reading in measured(decoded)] == [
        *(("temperature", 23.8), ("relative_humidity", 62.0), ("occupancy", 1.0), ("light_level", 2.0)),
        *(("co2", 936.0), tvoc, ("pressure", 1_008.6)),
    ]


def test_a_register_that_is_no_number_is_a_warning() -> None:
    decoded = decode("uc300", "ff19 02 04 05 0000c07f")

    assert decoded.readings == []
    assert "registre Modbus 3" in decoded.warnings[0]


def test_a_register_that_did_not_answer_is_empty() -> None:
    assert decode("uc300", "ff19 02 00 05 070101").readings == [Reading(NOW, "1", "switch_state", 1.0)]


@pytest.mark.parametrize(
    ("octets", "channel", "alarm"),
    [
        ("800e 09 26 10270000 00", "modbus_3", {"modbus_3": "threshold"}),
        ("900e 09 26 10270000 01000000 01", "modbus_3", {"modbus_3": "change"}),
    ],
)
def test_a_register_of_a_uc50x_may_raise_an_alarm(octets: str, channel: str, alarm: dict[str, str]) -> None:
    decoded = decode("uc50x", octets)

    assert measured(decoded) == [(channel, "analog_input", 10_000.0)]
    assert decoded.data["alarms"] == alarm


@pytest.mark.parametrize(
    ("octets", "alarms"),
    [
        ("83c8 70170000 00", {"pulse_count_1": "threshold"}),
        ("93c8 70170000 05000000 01", {"pulse_count_1": "change"}),
        ("85e2 0044 0044 0044 0044 00", {"analog_input_1": "threshold"}),
        ("96e2 0044 0044 0044 0044 00000000 01", {"analog_input_2": "change"}),
    ],
)
def test_an_input_of_a_uc50x_may_raise_an_alarm(octets: str, alarms: dict[str, str]) -> None:
    assert decode("uc50x", octets).data["alarms"] == alarms


def test_a_valve_of_a_uc521_that_stalls_is_a_fault() -> None:
    decoded = decode("uc521", "b3f6 00 04 b97b 01")

    assert decoded.data["faults"] == {"valve_1": "stall", "pressure_1": "abnormal"}
    assert measured(decoded) == [("valve_1", "device_fault", 1.0), ("pressure_1", "device_fault", 1.0)]


def test_a_pressure_of_a_uc521_outside_its_bounds_is_an_alarm() -> None:
    decoded = decode("uc521", "0cf5 01 04 6400 c800 2c01 01")

    assert measured(decoded) == [("2", "water_pressure", 300.0)]
    assert decoded.data["alarms"] == {"water_pressure_2": "raised"}
    assert decoded.data["thresholds"] == {"water_pressure_2": [100, 200]}


@pytest.mark.parametrize("state", [2, 3])
def test_a_bathroom_that_cannot_be_seen_is_neither_vacant_nor_occupied(state: int) -> None:
    decoded = decode("vs330", bytes((0x03, 0x8E, state)))

    assert decoded.readings == []
    assert "occupation indéterminée" in decoded.warnings[0]


def test_a_socket_says_that_the_power_fails() -> None:
    decoded = decode("ws52x", "ff3fff")

    assert decoded.data["device"] == {"power_outage": True}
    assert decoded.warnings == ["coupure de courant signalée"]


def test_a_radiator_valve_says_its_target_and_how_far_it_is_open() -> None:
    decoded = decode("wt101", "017562 0367d200 0467c800 059232 060000 070001")

    assert measured(decoded) == [
        ("", "battery_level", 98.0),
        ("", "temperature", 21.0),
        ("", "target_temperature", 20.0),
        ("", "valve_opening", 50.0),
        ("", "tamper", 0.0),
        ("window", "open", 1.0),
    ]


@pytest.mark.parametrize(
    ("product", "octets", "reason"),
    [
        ("uc300", "ff19 00 08 02 0b00", "11 octets annoncés, il en reste 5"),
        ("uc300", "ff19 00", "3 octets annoncés, il en reste 1"),
        ("uc50x", "ff0e 03 16 0b00", "numérotés à partir de 7"),
        ("ws101", "ff2e 07", "appui 7"),
        ("vs350", "20ce 7b3af164 01 0b000400", "13 octets annoncés"),
    ],
)
def test_rejects_what_the_table_does_not_explain(product: str, octets: str, reason: str) -> None:
    with pytest.raises(MalformedPayload, match=reason):
        decode(product, octets)

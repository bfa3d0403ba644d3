"""Elsys ERS-CO2 against the vendor's examples."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.model.quantities import QUANTITIES
from decoders.canonical import MalformedPayload, Reading
from decoders.catalogue import CODECS
from decoders.elsys.ers import CODEC, TYPES
from lab.device.payloads import elsys as device
from tests.decoders.vectors import read_vectors

VECTORS = read_vectors("elsys")
NOW = 1_795_597_200_000_000  # 2026-11-25T09:00:00Z
OCTETS, WORDS = st.integers(0, 0xFF), st.integers(0, 0xFFFF)


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: str(vector["id"]))
def test_decodes_the_vector_as_its_file_says(vector: dict[str, Any]) -> None:
    payload, expected = bytes.fromhex(vector["bytes_hex"]), vector["expected"]

    decoded = CODECS[vector["codec"]].decode(vector["f_port"], payload, vector["time_us"], vector["options"])

    assert [Reading(*reading) for reading in expected["readings"]] == decoded.readings
    assert expected["data"] == decoded.data
    assert expected["warnings"] == decoded.warnings


@given(st.integers(-0x8000, 0x7FFF), OCTETS, WORDS, OCTETS, WORDS, WORDS)
def test_reads_back_an_ers_co2(tenths: int, humidity: int, lux: int, motion: int, co2: int, vdd_mv: int) -> None:
    payload = device.ers_co2(
        temperature=tenths / 10, humidity=humidity, lux=lux, motion=motion, co2=co2, vdd_mv=vdd_mv
    )

    decoded = CODEC.decode(5, payload, NOW, {})

    assert {reading.quantity: reading.value for reading in decoded.readings} == {
        "temperature": tenths / 10,
        "relative_humidity": humidity,
        "illuminance": lux,
        "motion": motion,
        "co2": co2,
        "battery_voltage": vdd_mv / 1_000,
    }


@pytest.mark.parametrize(
    ("payload", "readings"),
    [
        ("033f00c1", [("x", "acceleration", 1.0), ("y", "acceleration", 0.0), ("z", "acceleration", -1.0)]),
        ("0806a4", [("1", "input_voltage", 1.7)]),
        ("0b00012345", [("1", "pulse_count", 74_565.0)]),
        ("0cffce", [("external", "temperature", -5.0)]),
        ("0d01", [("1", "input_state", 1.0)]),
        ("0e05dc", [("", "distance", 1_500.0)]),
        ("0f03", [("acceleration", "motion", 3.0)]),
        ("1000d200c8", [("infrared_internal", "temperature", 21.0), ("infrared_external", "temperature", 20.0)]),
        ("1200", [("", "leak", 0.0)]),
        ("153c32", [("peak", "sound_level", 60.0), ("average", "sound_level", 50.0)]),
        ("1700000005", [("2", "pulse_count", 5.0)]),
        ("1807d0", [("2", "input_voltage", 2.0)]),
        ("1900d21900c8", [("external_2", "temperature", 21.0), ("external_3", "temperature", 20.0)]),
        ("1a00", [("2", "input_state", 0.0)]),
        ("1bffffd8f0", [("microvolts", "input_voltage", -0.01)]),
        ("1c0102", [("", "tvoc", 258.0)]),
    ],
)
def test_reads_every_type_of_the_family(payload: str, readings: list[tuple[str, str, float]]) -> None:
    decoded = CODEC.decode(5, bytes.fromhex(payload), NOW, {})

    assert [Reading(NOW, *reading) for reading in readings] == decoded.readings
    assert decoded.data == {}


@pytest.mark.parametrize(
    ("payload", "data"),
    [
        ("090a2d0716c7ff", {"position": {"latitude": 47.0282, "longitude": -1.457}}),
        ("0a0007", {"pulses_since_last_1": 7}),
        ("160008", {"pulses_since_last_2": 8}),
        ("3d01020304", {"debug": "01020304"}),
        ("3e0a0b0c", {"settings": "0a0b0c"}),
    ],
)
def test_keeps_what_is_no_measure_as_data(payload: str, data: dict[str, Any]) -> None:
    decoded = CODEC.decode(5, bytes.fromhex(payload), NOW, {})

    assert decoded.readings == []
    assert data == decoded.data


def test_scales_the_pulses_of_an_input() -> None:
    decoded = CODECS["elsys.family"].decode(
        5, bytes.fromhex("0b00000064 1700000002"), NOW, {"litres_per_pulse": {"1": 10}}
    )

    assert decoded.readings[-1] == Reading(NOW, "1", "water_volume", 1_000.0)
    assert len(decoded.readings) == 3


def test_keeps_the_settings_that_a_device_sends_on_the_next_f_port_when_it_starts() -> None:
    assert CODEC.decode(6, bytes.fromhex("3e0102"), NOW, {}).data == {"settings": "0102"}


@pytest.mark.parametrize(("state", "name", "occupied"), [(0, "free", 0), (1, "pending", 0), (2, "occupied", 1)])
def test_only_a_sure_presence_is_an_occupancy(state: int, name: str, occupied: int) -> None:
    decoded = CODEC.decode(5, bytes((0x11, state)), NOW, {})

    assert decoded.readings == [Reading(NOW, "", "occupancy", occupied)]
    assert decoded.data == {"occupancy": name}


def test_reads_the_thermal_grid_from_its_reference() -> None:
    grid = CODEC.decode(5, bytes((0x13, 20, *range(64))), NOW, {}).data["thermal_grid"]

    assert (len(grid), grid[0], grid[63]) == (64, 20.0, 26.3)


def test_a_leak_keeps_how_strong_it_is() -> None:
    decoded = CODEC.decode(5, bytes.fromhex("12c8"), NOW, {})

    assert decoded.readings == [Reading(NOW, "", "leak", 1.0)]
    assert decoded.data == {"leak": 200}


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        ("", "aucun octet"),
        ("023706", "type 06 à l'octet 2 : 2 octets annoncés, il en reste 0"),
        ("02372f", "type 2f inconnu à l'octet 2"),
        ("1103", "occupation 3 à l'octet 1"),
    ],
)
def test_rejects_what_the_format_does_not_allow(payload: str, reason: str) -> None:
    with pytest.raises(MalformedPayload, match=reason):
        CODEC.decode(5, bytes.fromhex(payload), NOW, {})


def test_rejects_measures_on_another_f_port() -> None:
    with pytest.raises(MalformedPayload, match="f_port 6"):
        CODEC.decode(6, bytes.fromhex("0237"), NOW, {})


def _records(kind: int) -> st.SearchStrategy[bytes]:
    size = TYPES[kind].size
    return st.binary(min_size=size, max_size=size).map(lambda octets: bytes((kind,)) + octets)


RECORDS = st.sampled_from(sorted(TYPES)).flatmap(_records)


@given(st.binary(max_size=60) | st.lists(RECORDS, max_size=5).map(b"".join))
def test_arbitrary_octets_raise_only_malformed_payload(payload: bytes) -> None:
    try:
        decoded = CODEC.decode(5, payload, NOW, {})
    except MalformedPayload:
        return

    json.dumps(decoded.data, allow_nan=False)
    assert {reading.quantity for reading in decoded.readings} <= QUANTITIES.keys()

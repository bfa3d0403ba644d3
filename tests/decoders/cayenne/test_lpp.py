"""Cayenne LPP against its documentation's examples, and read back."""

import json
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.model.quantities import QUANTITIES
from decoders.canonical import MalformedPayload, Reading
from decoders.cayenne.lpp import CODEC, TYPES
from tests.decoders.vectors import read_vectors

VECTORS = read_vectors("cayenne")
NOW = 1_795_597_200_000_000

# Type, struct code, quantity and divisor of what holds one number.
NUMBERS = [
    *((2, "h", "analog_input", 100), (3, "h", "analog_output", 100), (101, "H", "illuminance", 1)),
    *((103, "h", "temperature", 10), (104, "B", "relative_humidity", 2), (115, "H", "pressure", 10)),
    *((116, "H", "voltage", 100), (117, "H", "current", 1_000), (118, "I", "frequency", 1)),
    *((120, "B", "percentage", 1), (121, "h", "altitude", 1), (125, "H", "concentration", 1)),
    *((128, "H", "active_power", 1), (130, "I", "distance", 1), (131, "I", "active_energy_import", 1)),
    (132, "H", "angle", 1),
]
RANGES = {"h": (-(2**15), 2**15 - 1), "H": (0, 2**16 - 1), "B": (0, 2**8 - 1), "I": (0, 2**32 - 1)}


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: str(vector["id"]))
def test_decodes_the_vector_as_its_file_says(vector: dict[str, Any]) -> None:
    payload, expected = bytes.fromhex(vector["bytes_hex"]), vector["expected"]

    decoded = CODEC.decode(vector["f_port"], payload, vector["time_us"], vector["options"])

    assert [Reading(*reading) for reading in expected["readings"]] == decoded.readings
    assert expected["data"] == decoded.data
    assert expected["warnings"] == decoded.warnings


RECORDS = st.sampled_from(NUMBERS).flatmap(
    lambda kind: st.tuples(st.integers(0, 255), st.just(kind), st.integers(*RANGES[kind[1]]))
)


@given(st.integers(1, 223), st.lists(RECORDS, min_size=1, max_size=8))
def test_reads_back_any_records_on_any_port(f_port: int, records: list[Any]) -> None:
    payload = b"".join(
        bytes((channel, kind[0])) + struct.pack(">" + kind[1], number) for channel, kind, number in records
    )

    assert CODEC.decode(f_port, payload, NOW, {}).readings == [
        Reading(NOW, str(channel), kind[2], number / kind[3]) for channel, kind, number in records
    ]


@pytest.mark.parametrize(
    ("payload", "readings"),
    [
        ("0000 01", [("0", "input_state", 1.0)]),
        ("0701 00", [("7", "switch_state", 0.0)]),
        ("0166 05", [("1", "occupancy", 1.0)]),
        ("018e 01", [("1", "input_state", 1.0)]),
        ("0164 ffffffff", [("1_generic", "analog_input", 4_294_967_295.0)]),
    ],
)
def test_reads_states_and_the_generic_number(payload: str, readings: list[tuple[str, str, float]]) -> None:
    decoded = CODEC.decode(1, bytes.fromhex(payload), NOW, {})

    assert [Reading(NOW, *reading) for reading in readings] == decoded.readings


@pytest.mark.parametrize(
    ("payload", "data"),
    [
        ("0185 6553f100", {"time": {"1": 1_700_000_000}}),
        ("0286 0064 ff9c 0000", {"gyrometer": {"2": [1.0, -1.0, 0.0]}}),
        ("0387 ff8000", {"colour": {"3": "ff8000"}}),
    ],
)
def test_keeps_what_is_no_measure_as_data(payload: str, data: dict[str, Any]) -> None:
    decoded = CODEC.decode(1, bytes.fromhex(payload), NOW, {})

    assert decoded.readings == []
    assert data == decoded.data


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        ("", "aucun octet"),
        ("0367011005", "canal sans type à l'octet 4"),
        ("03670110 05c8 00", "type 200 inconnu à l'octet 4"),
        ("036701", "type 103 à l'octet 0 : 2 octets annoncés, il en reste 1"),
    ],
)
def test_rejects_what_is_no_lpp(payload: str, reason: str) -> None:
    with pytest.raises(MalformedPayload, match=reason):
        CODEC.decode(1, bytes.fromhex(payload), NOW, {})


def _record(kind: int) -> st.SearchStrategy[bytes]:
    size = TYPES[kind].layout.size
    return st.binary(min_size=size + 1, max_size=size + 1).map(
        lambda octets: octets[:1] + bytes((kind,)) + octets[1:]
    )


@given(st.lists(st.sampled_from(sorted(TYPES)).flatmap(_record), min_size=1, max_size=6).map(b"".join))
def test_every_type_gives_quantities_of_the_catalogue(payload: bytes) -> None:
    decoded = CODEC.decode(1, payload, NOW, {})

    json.dumps(decoded.data, allow_nan=False)
    assert {reading.quantity for reading in decoded.readings} <= QUANTITIES.keys()

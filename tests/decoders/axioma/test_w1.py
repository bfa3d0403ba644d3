"""Axioma Qalcosonic W1 against public frames of one meter, hour after hour."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.model.quantities import QUANTITIES
from decoders.axioma.w1 import CLOCK_TOLERANCE_US, CODEC
from decoders.canonical import Decoded, MalformedPayload, Reading
from lab.device.payloads import axioma as device
from tests.decoders.vectors import read_vectors

VECTORS = read_vectors("axioma")
NOW_S = 1_795_597_200  # 2026-11-25T09:00:00Z
NOW = NOW_S * 1_000_000
STATES = ("low_battery", "device_fault", "dry", "leak", "backflow", "freeze", "burst")
NONE_RAISED: set[str] = set()


def _states(decoded: Decoded) -> set[str]:
    """The states that are said to be true; all of them must be said."""
    values = {reading.quantity: reading.value for reading in decoded.readings if reading.quantity in STATES}
    assert len(values) == len(STATES)
    return {name for name, value in values.items() if value}


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: str(vector["id"]))
def test_decodes_the_vector_as_its_file_says(vector: dict[str, Any]) -> None:
    payload, expected = bytes.fromhex(vector["bytes_hex"]), vector["expected"]
    if "error" in expected:
        with pytest.raises(MalformedPayload, match=expected["error"]):
            CODEC.decode(vector["f_port"], payload, vector["time_us"], {})
        return

    decoded = CODEC.decode(vector["f_port"], payload, vector["time_us"], {})

    assert [Reading(*reading) for reading in expected["readings"]] == decoded.readings
    assert expected["data"] == decoded.data
    assert expected["warnings"] == decoded.warnings


@given(st.lists(st.integers(0, 0xFFFF), max_size=16), st.integers(0, 1_000_000), st.integers(0, 100))
def test_reads_back_an_index_and_its_history(deltas: list[int], first: int, since: int) -> None:
    first_log_s = NOW_S - 3_600 * len(deltas)
    payload = device.w1(
        now_s=NOW_S,
        volume_l=first + sum(deltas) + since,
        first_log_s=first_log_s,
        first_volume_l=first,
        hourly_deltas_l=deltas,
    )

    decoded = CODEC.decode(100, payload, NOW, {})

    volumes = [reading for reading in decoded.readings if reading.quantity == "water_volume"]
    history = [
        Reading((first_log_s + 3_600 * hours) * 1_000_000, "", "water_volume", first + sum(deltas[:hours]))
        for hours in range(len(deltas) + 1)
    ]
    assert [*history, Reading(NOW, "", "water_volume", first + sum(deltas) + since)] == volumes
    assert decoded.warnings == []
    assert _states(decoded) == NONE_RAISED


@pytest.mark.parametrize(
    ("code", "states"),
    [
        (0x00, NONE_RAISED),
        (0x04, {"low_battery"}),
        (0x08, {"device_fault"}),
        (0x10, {"dry"}),
        (0x30, {"leak"}),
        (0x70, {"backflow"}),
        (0x90, {"freeze"}),
        (0xB0, {"burst"}),
        (0x34, {"low_battery", "leak"}),
    ],
)
def test_says_which_states_an_alarm_raises_and_which_it_ends(code: int, states: set[str]) -> None:
    decoded = CODEC.decode(103, device.w1_alarm(at_s=NOW_S - 60, code=code), NOW, {})

    assert states == _states(decoded)
    assert {reading.time_us for reading in decoded.readings} == {NOW - 60_000_000}
    assert decoded.warnings == []


@pytest.mark.parametrize("code", [0x01, 0x50, 0x20])
def test_warns_of_states_that_are_not_documented(code: int) -> None:
    decoded = CODEC.decode(103, device.w1_alarm(at_s=NOW_S, code=code), NOW, {})

    assert decoded.data["status"] == code
    assert decoded.warnings == [f"état {code:#04x} du compteur : certains bits ne sont pas documentés"]


@pytest.mark.parametrize(
    ("first_log_s", "first_volume_l", "reason"),
    [
        (NOW_S - 3_600, 1_000, "il va de"),  # Two hours of history would end in the future.
        (0, 1_000, "il va de"),
        (NOW_S - 7_200, 100_000, "il mène à"),
    ],
)
def test_sets_an_impossible_history_aside_and_keeps_the_index(
    first_log_s: int, first_volume_l: int, reason: str
) -> None:
    payload = device.w1(
        now_s=NOW_S,
        volume_l=1_050,
        first_log_s=first_log_s,
        first_volume_l=first_volume_l,
        hourly_deltas_l=[20, 30],
    )

    decoded = CODEC.decode(100, payload, NOW, {})

    assert decoded.readings[0] == Reading(NOW, "", "water_volume", 1_050)
    assert reason in decoded.warnings[0]
    assert decoded.data["refused_history"] == {
        "first_log": first_log_s,
        "first_volume": first_volume_l,
        "deltas": [20, 30],
    }


@pytest.mark.parametrize("distance_us", [-CLOCK_TOLERANCE_US - 1_000_000, CLOCK_TOLERANCE_US + 1_000_000])
def test_rejects_a_frame_whose_clock_is_far_from_its_reception(distance_us: int) -> None:
    payload = device.w1_alarm(at_s=NOW_S, code=0)

    with pytest.raises(MalformedPayload, match="à 150 jours de la réception"):
        CODEC.decode(103, payload, NOW + distance_us, {})


@pytest.mark.parametrize(
    ("f_port", "size", "reason"),
    [
        (100, 16, "deux par heure"),
        (100, 18, "deux par heure"),
        (103, 4, "une alarme a 5 octets"),
        (101, 0, "aucun octet"),
        (7, 5, "f_port 7"),
    ],
)
def test_rejects_another_size_or_f_port(f_port: int, size: int, reason: str) -> None:
    with pytest.raises(MalformedPayload, match=reason):
        CODEC.decode(f_port, bytes(size), NOW, {})


@given(
    st.sampled_from([100, 101, 103, 1]),
    st.sampled_from([b"", NOW_S.to_bytes(4, "little")]),
    st.binary(max_size=50),
)
def test_arbitrary_octets_raise_only_malformed_payload(f_port: int, time: bytes, octets: bytes) -> None:
    try:
        decoded = CODEC.decode(f_port, time + octets, NOW, {})
    except MalformedPayload:
        return

    json.dumps(decoded.data, allow_nan=False)
    assert {reading.quantity for reading in decoded.readings} <= QUANTITIES.keys()

"""Vendors with one small decoder each, against published frames and against a device of the test's."""

import json
from struct import pack
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.model.quantities import QUANTITIES
from decoders import catalogue
from decoders.bosch import tps110
from decoders.canonical import Decoded, MalformedPayload, Reading
from decoders.codec import Codec, UnsupportedCommand
from decoders.enless import tx
from decoders.fludia import fm432
from decoders.pepperl_fuchs import wilsen
from decoders.strega import valve
from decoders.vega import air
from tests.decoders.vectors import read_vectors

CODECS: dict[str, Codec] = {
    module.CODEC.name: module.CODEC for module in (tps110, tx, fm432, wilsen, valve, air)
} | {name: catalogue.CODECS[name] for name in ("dingtek.df702", "teneo.fill")}
FILES = ("bosch", "dingtek", "enless", "fludia", "pepperl_fuchs", "strega", "teneo", "vega")
VECTORS = read_vectors(*FILES)
NOW = 1_795_597_200_000_000  # 2026-11-25T09:00:00Z
MINUTE = 60_000_000


def values(decoded: Decoded) -> dict[tuple[str, str], float]:
    return {(reading.channel, reading.quantity): reading.value for reading in decoded.readings}


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: str(vector["id"]))
def test_decodes_the_vector_as_its_file_says(vector: dict[str, Any]) -> None:
    codec, payload, expected = CODECS[vector["codec"]], bytes.fromhex(vector["bytes_hex"]), vector["expected"]
    if "error" in expected:
        with pytest.raises(MalformedPayload, match=expected["error"]):
            codec.decode(vector["f_port"], payload, vector["time_us"], vector["options"])
        return

    decoded = codec.decode(vector["f_port"], payload, vector["time_us"], vector["options"])

    read = [[*reading[:3], pytest.approx(reading.value)] for reading in decoded.readings]
    assert expected["readings"] == read
    assert expected["data"] == decoded.data
    assert expected["warnings"] == decoded.warnings
    triples = [(reading.channel, reading.quantity, pytest.approx(reading.value)) for reading in decoded.readings]
    assert [value for value in vector["published"] if tuple(value) not in triples] == []
    assert {name: decoded.data[name] for name in vector["published_data"]} == vector["published_data"]


def test_reads_a_room_s_co2_as_whole_ppm_unlike_the_published_decoder() -> None:
    """Published: 60.9 ppm and 17.3 ppb. No room has 61 ppm of CO2: the octets are not tenths."""
    decoded = tx.CODEC.decode(1, bytes.fromhex("000081060e1100d3016500ad026100800000"), NOW, {})

    assert values(decoded)["", "co2"] == 609.0
    assert values(decoded)["", "tvoc"] == 173.0


@given(
    st.integers(-400, 850), st.integers(0, 1_000), st.integers(0, 60_000), st.integers(0, 5_000), st.integers(0, 3)
)
def test_reads_back_an_enless_room(temperature: int, humidity: int, voc: int, co2: int, battery: int) -> None:
    payload = b"\x00\x00\x81\x06\x0e\x11" + pack(">hHHHHH", temperature, humidity, voc, co2, 0, battery << 2)

    decoded = tx.CODEC.decode(1, payload, NOW, {})

    assert decoded.readings == [
        Reading(NOW, "", "temperature", temperature / 10),
        Reading(NOW, "", "relative_humidity", humidity / 10),
        Reading(NOW, "", "tvoc", float(voc)),
        Reading(NOW, "", "co2", float(co2)),
        Reading(NOW, "", "battery_level", float(100 - 25 * battery)),
    ]


@given(st.integers(1, 60), st.lists(st.integers(0, 0xFFFF), min_size=1, max_size=20), st.integers(0, 1_000_000))
def test_reads_back_a_fludia_curve(step: int, growths: list[int], first: int) -> None:
    payload = pack(f">BBI{len(growths)}H", 0x69, step, first + sum(growths), *growths)

    decoded = fm432.CODEC.decode(129, payload, NOW, {})

    assert [(reading.time_us - NOW) // MINUTE for reading in decoded.readings] == [
        -step * back for back in range(len(growths), -1, -1)
    ]
    assert [reading.value for reading in decoded.readings] == [
        first + sum(growths[:done]) for done in range(len(growths) + 1)
    ]


@given(st.integers(-25_000_000, 25_000_000), st.integers(-4_000_000, 4_000_000))
def test_a_fludia_frame_that_repeats_the_former_gives_the_same_readings(near: int, later: int) -> None:
    """Up to half a minute from a whole one, whatever the network's delays are."""
    first = pack(">BBI3H", 0x69, 10, 103, 1, 1, 1)
    second = pack(">BBI3H", 0x69, 10, 104, 1, 1, 1)

    before = fm432.CODEC.decode(129, first, NOW + near, {}).readings
    after = fm432.CODEC.decode(129, second, NOW + near + later + 10 * MINUTE, {}).readings

    assert before[1:] == after[:3]


@pytest.mark.parametrize("worth", [0, -1, True, "2", float("nan"), float("inf"), None])
def test_takes_no_energy_from_a_worth_that_is_none(worth: Any) -> None:
    decoded = fm432.CODEC.decode(129, bytes.fromhex("690f0000ffff0001"), NOW, {"wh_per_unit": worth})

    assert {reading.quantity for reading in decoded.readings} == {"pulse_count"}


@given(st.integers(2_000, 3_999), st.integers(0, 127), st.integers(0, 0xFFFF), st.integers(0, 0xFFFFFF))
def test_reads_back_a_strega_valve(millivolts: int, state: int, temperature: int, counter: int) -> None:
    payload = (
        f"{millivolts:04d}".encode()
        + bytes((0x30 + state,))
        + b"#"
        + pack(">HH", temperature, 0x8000)
        + f"C{counter:06X}".encode()
    )

    read = values(valve.CODEC.decode(4, payload, NOW, {}))

    assert read["", "battery_voltage"] == millivolts / 1_000
    assert [
        read["", "valve_open"],
        read["", "tamper"],
        read["cable", "input_state"],
        read["di0", "input_state"],
    ] == [float(state >> bit & 1) for bit in range(4)]
    assert [read["di1", "input_state"], read["", "leak"], read["fraud", "tamper"]] == [
        float(state >> bit & 1) for bit in range(4, 7)
    ]
    assert read["", "temperature"] == pytest.approx(temperature * 165 / 65_536 - 40)
    assert (read["", "relative_humidity"], read["", "pulse_count"]) == (50.0, counter)


@pytest.mark.parametrize(
    ("command", "parameters", "f_port", "octets"),
    [
        ("open", {}, 1, "31"),
        ("close", {}, 1, "30"),
        ("open_for", {"duration": 30}, 2, "411e"),
        ("close_for", {"duration": 10, "unit": "s"}, 2, "200a"),
        ("open_for", {"duration": 2, "unit": "h"}, 2, "8102"),
    ],
)
def test_commands_a_strega_valve_as_published(
    command: str, parameters: dict[str, Any], f_port: int, octets: str
) -> None:
    """TheThingsNetwork/lorawan-devices, vendor/strega/smart-valve.js."""
    assert valve.CODEC.encode is not None

    encoded = valve.CODEC.encode(command, parameters)

    assert (encoded.f_port, encoded.payload.hex()) == (f_port, octets)
    assert valve.CODEC.switches


@pytest.mark.parametrize(
    ("command", "parameters", "reason"),
    [
        ("open_for", {}, "obligatoire"),
        ("open_for", {"duration": 256}, "de 1 à 255"),
        ("open_for", {"duration": 1, "unit": "j"}, "s, min, h"),
        ("toggle", {}, "ne connaît pas"),
    ],
)
def test_rejects_what_a_strega_valve_cannot_do(command: str, parameters: dict[str, Any], reason: str) -> None:
    assert valve.CODEC.encode is not None

    with pytest.raises(UnsupportedCommand, match=reason):
        valve.CODEC.encode(command, parameters)


@given(st.integers(0, 15), st.integers(0, 0xFFFF))
def test_reads_back_a_teneo_measure(battery: int, centimetres: int) -> None:
    decoded = CODECS["teneo.fill"].decode(1, pack(">BH", battery, centimetres), NOW, {})

    assert values(decoded) == {("", "battery_voltage"): (20 + battery) / 10, ("", "distance"): centimetres * 10.0}


@given(st.tuples(*[st.integers(0, 1)] * 4), st.integers(0, 9_999))
def test_reads_back_a_dingtek_frame(alarms: tuple[int, int, int, int], millimetres: int) -> None:
    full, fire, fall, battery = alarms
    decoded = CODECS["dingtek.df702"].decode(
        1, bytes.fromhex(f"{full}{fire}{fall}{battery}{millimetres:04d}"), NOW, {}
    )

    assert values(decoded) == {("", "distance"): millimetres, ("", "tilt"): fall, ("", "low_battery"): battery}
    assert decoded.data == {"full": bool(full), "fire": bool(fire)}


@given(st.booleans(), st.integers(-128, 127))
def test_reads_back_a_parking_place(occupied: bool, temperature: int) -> None:
    decoded = tps110.CODEC.decode(2, pack(">Bb", occupied, temperature), NOW, {})

    assert values(decoded) == {("", "occupancy"): occupied, ("", "temperature"): temperature}


@given(st.floats(0, 30, width=32), st.integers(0, 100), st.integers(-400, 850))
def test_reads_back_a_radar(metres: float, battery: int, tenths: int) -> None:
    decoded = air.CODEC.decode(1, pack(">BBfBBhB", 2, 0, metres, 45, battery, tenths, 9), NOW, {})

    read = values(decoded)
    assert (read["", "distance"], read["", "battery_level"]) == (pytest.approx(metres * 1_000), battery)
    assert read["", "temperature"] == tenths / 10


@given(st.lists(st.sampled_from([*wilsen.MEASURES, *wilsen.KEPT]), max_size=5), st.binary(min_size=4, max_size=4))
def test_reads_back_wilsen_records_in_any_order(kinds: list[int], octets: bytes) -> None:
    sizes = {kind: wilsen._CODE_SIZES[code[0]] for kind, code in wilsen.MEASURES.items()}
    sizes |= {kind: wilsen._CODE_SIZES[code[1]] for kind, code in wilsen.KEPT.items()}
    payload = b"".join(pack(">BH", 2 + sizes[kind], kind) + octets[: sizes[kind]] for kind in kinds)

    if not payload:
        with pytest.raises(MalformedPayload):
            wilsen.CODEC.decode(1, payload, NOW, {})
        return
    decoded = wilsen.CODEC.decode(1, payload, NOW, {})

    measured = [wilsen.MEASURES[kind][1] for kind in kinds if kind in wilsen.MEASURES]
    assert {reading.quantity for reading in decoded.readings} <= set(measured)
    assert decoded.data.keys() == {wilsen.KEPT[kind][0] for kind in kinds if kind in wilsen.KEPT}


@pytest.mark.parametrize(
    ("codec", "f_port", "octets"),
    [
        ("bosch.tps110", 1, ""),
        ("bosch.tps110", 2, "01"),
        ("bosch.tps110", 4, "01"),
        ("teneo.fill", 1, "0c00"),
        ("teneo.fill", 3, "0c001e"),
        ("dingtek.df702", 1, "100002"),
        ("dingtek.df702", 1, "1000023f"),
        ("enless.tx", 2, "000081060e1100d3016500ad026100800000"),
        ("enless.tx", 1, "000081060e1100d3016500ad0261008000"),
        ("enless.tx", 1, "000081ff0e1100d3016500ad026100800000"),
        ("fludia.fm432", 1, "690f0000ffff0001"),
        ("fludia.fm432", 129, "69000000ffff0001"),
        ("fludia.fm432", 129, "690f0000ffff"),
        ("fludia.fm432", 129, "690f0000ffff000100"),
        ("fludia.fm432", 129, "780f00" + 19 * "00"),
        ("fludia.fm432", 129, "6a0201"),
        ("strega.valve", 4, "33313838"),
        ("strega.valve", 4, "3331383823"),
        ("strega.valve", 4, "33413838302366"),
        ("strega.valve", 4, "333138383023663d77db58"),
        ("pepperl_fuchs.wilsen_sonic", 1, "01 0b01"),
        ("pepperl_fuchs.wilsen_sonic", 1, "03 0b01 00"),
        ("pepperl_fuchs.wilsen_sonic", 2, "03 5101 23"),
        ("vega.vegapuls_air", 1, "02003fa31f152d2400fa"),
        ("vega.vegapuls_air", 1, "03003fa31f152d2400fa09"),
    ],
)
def test_rejects_what_is_none_of_its_frames(codec: str, f_port: int, octets: str) -> None:
    with pytest.raises(MalformedPayload):
        CODECS[codec].decode(f_port, bytes.fromhex(octets), NOW, {})


@given(
    st.sampled_from(list(CODECS.values())),
    st.sampled_from([1, 2, 3, 129]),
    st.sampled_from([b"", b"3188", b"\x69\x0f", b"\x78\x0f", b"\x00\x00\x81\x06", b"\x02", b"\x05"]),
    st.binary(max_size=40),
)
def test_arbitrary_octets_raise_only_malformed_payload(
    codec: Codec, f_port: int, opening: bytes, octets: bytes
) -> None:
    try:
        decoded = codec.decode(f_port, opening + octets, NOW, {})
    except MalformedPayload:
        return

    json.dumps(decoded.data, allow_nan=False)
    assert {reading.quantity for reading in decoded.readings} <= QUANTITIES.keys()

"""Milesight's products against the vendor's published examples."""

import json
from math import isfinite
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.model.quantities import QUANTITIES
from decoders.canonical import Decoded, MalformedPayload, Reading
from decoders.catalogue import CODECS
from decoders.milesight.codecs import PRODUCTS
from lab.device.payloads import milesight as device
from tests.decoders.vectors import read_vectors
from tests.each import each

VECTORS = read_vectors("milesight")
NAMES = sorted(name for name in CODECS if name.startswith("milesight."))
NOW = 1_795_597_200_000_000  # 2026-11-25T09:00:00Z
HOUR_AGO_S = NOW // 1_000_000 - 3_600
TENTHS = st.integers(-400, 850).map(lambda tenths: tenths / 10)
HALVES = st.integers(0, 200).map(lambda halves: halves / 2)
PERCENTS = st.integers(0, 100)
DISTANCES = st.integers(0, 0x7FFF)
WORDS = st.integers(0, 0xFFFF)
HUNDREDTHS = WORDS.map(lambda hundredths: hundredths / 100)


def _decode(name: str, payload: bytes, **options: Any) -> Decoded:
    return CODECS[name].decode(85, payload, NOW, options)


def _values(decoded: Decoded) -> dict[str, float]:
    return {reading.quantity: reading.value for reading in decoded.readings}


@each(VECTORS)
def test_decodes_the_vector_as_its_file_says(vector: dict[str, Any]) -> None:
    decode, payload = CODECS[vector["codec"]].decode, bytes.fromhex(vector["bytes_hex"])
    expected = vector["expected"]
    if "error" in expected:
        with pytest.raises(MalformedPayload, match=expected["error"]):
            decode(vector["f_port"], payload, vector["time_us"], vector["options"])
        return

    decoded = decode(vector["f_port"], payload, vector["time_us"], vector["options"])

    assert [Reading(*reading) for reading in expected["readings"]] == decoded.readings
    assert expected["data"] == decoded.data
    assert expected["warnings"] == decoded.warnings


@each([vector for vector in VECTORS if vector["vendor"]])
def test_finds_every_value_that_the_vendor_prints(vector: dict[str, Any]) -> None:
    decode, payload = CODECS[vector["codec"]].decode, bytes.fromhex(vector["bytes_hex"])

    decoded = decode(vector["f_port"], payload, vector["time_us"], vector["options"])

    for quantity, value in vector["vendor"].items():
        ours = [reading.value for reading in decoded.readings if reading.quantity == quantity]
        assert any(one == pytest.approx(value) for one in ours), quantity


@given(PERCENTS, DISTANCES, st.booleans())
def test_reads_back_an_em310(battery: int, distance_mm: int, tilted: bool) -> None:
    payload = device.em310(battery=battery, distance_mm=distance_mm, tilted=tilted)

    decoded = _decode("milesight.em310", payload)

    assert _values(decoded) == {"battery_level": battery, "distance": distance_mm, "tilt": tilted}


@given(PERCENTS, TENTHS, DISTANCES, st.booleans())
def test_reads_back_an_em400(battery: int, temperature: float, distance_mm: int, tilted: bool) -> None:
    payload = device.em400(battery=battery, temperature=temperature, distance_mm=distance_mm, tilted=tilted)

    decoded = _decode("milesight.em400", payload)

    expected = {"battery_level": battery, "temperature": temperature, "distance": distance_mm, "tilt": tilted}
    assert expected == _values(decoded)


@given(TENTHS, DISTANCES, st.booleans())
def test_reads_back_an_em400_s_alarms(temperature: float, distance_mm: int, raised: bool) -> None:
    payload = device.em400_alarms(temperature=temperature, distance_mm=distance_mm, raised=raised)

    decoded = _decode("milesight.em400", payload)

    state = "raised" if raised else "released"
    assert _values(decoded) == {"temperature": temperature, "distance": distance_mm}
    assert decoded.data == {"alarms": {"temperature": state, "distance": state}}


@given(PERCENTS, TENTHS, HALVES, WORDS)
def test_reads_back_an_am103(battery: int, temperature: float, humidity: float, co2: int) -> None:
    payload = device.am103(battery=battery, temperature=temperature, humidity=humidity, co2=co2)

    decoded = _decode("milesight.am103", payload)

    expected = {"battery_level": battery, "temperature": temperature, "relative_humidity": humidity, "co2": co2}
    assert expected == _values(decoded)


@given(TENTHS, HALVES, WORDS, st.integers(HOUR_AGO_S - 86_400, HOUR_AGO_S))
def test_reads_back_what_an_am103_has_stored(temperature: float, humidity: float, co2: int, at_s: int) -> None:
    payload = device.am103_history(at_s=at_s, temperature=temperature, humidity=humidity, co2=co2)

    decoded = _decode("milesight.am103", payload)

    assert _values(decoded) == {"temperature": temperature, "relative_humidity": humidity, "co2": co2}
    assert {reading.time_us for reading in decoded.readings} == {at_s * 1_000_000}


AIR = st.fixed_dictionaries(
    {
        "temperature": TENTHS,
        "humidity": HALVES,
        "motion": st.booleans(),
        "light_level": st.integers(0, 5),
        "co2": WORDS,
        "tvoc": HUNDREDTHS,
        "pressure": WORDS.map(lambda tenths: tenths / 10),
        "hcho": HUNDREDTHS,
        "pm2_5": WORDS,
        "pm10": WORDS,
        "o3": HUNDREDTHS,
    }
)
NAMED_OTHERWISE = {"humidity": "relative_humidity", "motion": "occupancy", "tvoc": "tvoc_index"}


@given(AIR)
def test_reads_back_an_am319(air: dict[str, Any]) -> None:
    decoded = _decode("milesight.am319", device.am319(**air))

    assert {NAMED_OTHERWISE.get(name, name): value for name, value in air.items()} == _values(decoded)


def _am319_record(channel: int) -> bytes:
    """The layout of the vendor's README, written out: it gives no example of a stored record."""
    values = "ee00 7c00 01 02 a803 2500 6627 2000 3000 0700"
    return bytes((channel, 0xCE)) + HOUR_AGO_S.to_bytes(4, "little") + bytes.fromhex(values)


@pytest.mark.parametrize("gas", ["hcho", "o3"])
def test_reads_what_an_am319_has_stored_by_its_gas(gas: str) -> None:
    decoded = _decode("milesight.am319", _am319_record(0x20), gas=gas)

    assert _values(decoded) == {
        "temperature": 23.8,
        "relative_humidity": 62,
        "occupancy": 1,
        "light_level": 2,
        "co2": 936,
        "tvoc_index": 0.37,
        "pressure": 1008.6,
        "pm2_5": 32,
        "pm10": 48,
        gas: 0.07,
    }


def test_stores_the_tvoc_by_mass_on_channel_21() -> None:
    assert _values(_decode("milesight.am319", _am319_record(0x21)))["tvoc_mass"] == 37


def test_keeps_a_stored_record_of_an_unlikely_date_apart() -> None:
    payload = device.am103_history(at_s=1_000, temperature=20.0, humidity=50.0, co2=800)

    decoded = _decode("milesight.am103", payload)

    stored = {"timestamp": 1_000, "temperature": 20.0, "relative_humidity": 50.0, "co2": 800.0}
    assert decoded.readings == []
    assert decoded.data == {"undated_history": [stored]}
    assert "date invraisemblable" in decoded.warnings[0]


def test_has_no_distance_when_the_sensor_says_a_negative_one() -> None:
    decoded = _decode("milesight.em400", bytes.fromhex("0482fdff"))

    assert decoded.readings == []
    assert "pas de mesure de distance" in decoded.warnings[0]


def test_keeps_the_answer_to_a_setting() -> None:
    decoded = _decode("milesight.em400", bytes.fromhex("ff03b004 fe10ff"))

    assert decoded.data == {"settings": {"report_interval": 1_200, "reboot": 0xFF}}


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        ("", "aucun octet"),
        ("01755c04", "canal sans type à l'octet 3"),
        ("01755c048244", "canal 04 de type 82 à l'octet 3 : 2 octets annoncés, il en reste 1"),
        ("099901755c", "canal 09 de type 99 inconnu à l'octet 0"),
        ("050002", "tilt vaut 1 au plus, reçu 2"),
    ],
)
def test_rejects_what_the_product_does_not_send(payload: str, reason: str) -> None:
    with pytest.raises(MalformedPayload, match=reason):
        _decode("milesight.em400", bytes.fromhex(payload))


def test_rejects_another_f_port_than_the_profile_s() -> None:
    payload = device.em310(battery=92, distance_mm=1_000, tilted=False)
    decode = CODECS["milesight.em310"].decode

    assert decode(2, payload, NOW, {"f_port": 2}).readings
    with pytest.raises(MalformedPayload, match="f_port 2"):
        decode(2, payload, NOW, {})


@pytest.mark.parametrize("rest", ["0999", "0999 0102030405", "0999 04", "0999 01755d"])
def test_keeps_what_it_read_before_an_unknown_channel_and_warns(rest: str) -> None:
    decoded = _decode("milesight.em400", bytes.fromhex("01755c 0482 e803" + rest))

    assert _values(decoded) == {"battery_level": 92, "distance": 1000}
    assert decoded.data["unread"] == rest.replace(" ", "")
    assert "canal 09 de type 99 inconnu à l'octet 7" in decoded.warnings[0]


def test_em500_pp_reads_a_negative_pressure_live_and_stored() -> None:
    live = _decode("milesight.em500_pp", bytes.fromhex("037b f6ff"))
    stored = _decode(
        "milesight.em500_pp", bytes.fromhex("20ce") + (NOW // 1_000_000).to_bytes(4, "little") + b"\xf6\xff"
    )

    assert _values(live) == {"water_pressure": -10}
    assert _values(stored) == {"water_pressure": -10}


def test_keeps_an_answer_that_the_product_s_table_does_not_have() -> None:
    decoded = _decode("milesight.em400", bytes.fromhex("01755c ff99 0102"))

    assert _values(decoded) == {"battery_level": 92}
    assert decoded.data == {"unread": "ff990102"}
    assert "réponse à un réglage inconnue (99)" in decoded.warnings[0]


def _records(codec: str) -> st.SearchStrategy[bytes]:
    """Records of the product's table, each with octets enough."""
    table = PRODUCTS[codec.removeprefix("milesight.")].table
    tags = st.sampled_from(sorted(table))

    def record(tag: int) -> st.SearchStrategy[bytes]:
        size = table[tag].size
        return st.binary(min_size=size, max_size=size + 8 * bool(table[tag].measure)).map(
            lambda octets: tag.to_bytes(2) + octets
        )

    return st.lists(tags.flatmap(record), max_size=5).map(b"".join)


NAMED_RECORDS = st.sampled_from(NAMES).flatmap(lambda name: st.tuples(st.just(name), _records(name)))


@settings(max_examples=1_000)
@given(NAMED_RECORDS)
def test_reads_any_records_of_its_table_or_says_what_is_wrong(named: tuple[str, bytes]) -> None:
    name, payload = named
    try:
        decoded = _decode(name, payload)
    except MalformedPayload:
        return

    json.dumps(decoded.data, allow_nan=False)
    assert {reading.quantity for reading in decoded.readings} <= QUANTITIES.keys()
    assert all(isfinite(reading.value) for reading in decoded.readings)

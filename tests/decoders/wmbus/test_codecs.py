"""M-Bus telegrams against published ones, with their keys."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.model.quantities import QUANTITIES
from decoders.canonical import MalformedPayload, Reading
from decoders.wmbus import codecs
from decoders.wmbus.crypto import Keys
from tests.decoders.vectors import read_vectors

CODECS = {codec.name: codec for codec in codecs.WMBUS_CODECS}
VECTORS = read_vectors("wmbus")
NOW = 1_795_597_200_000_000  # 2026-11-25T09:00:00Z
KEY = "0102030405060708090a0b0c0d0e0f11"
SEALED = next(vector for vector in VECTORS if vector["id"] == "oms/n-2-1-mode-5")


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: str(vector["id"]))
def test_decodes_the_vector_as_its_file_says(vector: dict[str, Any]) -> None:
    codec, payload, expected = CODECS[vector["codec"]], bytes.fromhex(vector["bytes_hex"]), vector["expected"]
    if "error" in expected:
        with pytest.raises(MalformedPayload, match=expected["error"]):
            codec.decode(vector["f_port"], payload, vector["time_us"], vector["options"])
        return

    decoded = codec.decode(vector["f_port"], payload, vector["time_us"], vector["options"])

    assert [Reading(*reading) for reading in expected["readings"]] == decoded.readings
    assert expected["meter_id"] == decoded.data.get("meter_id")
    assert expected["warnings"] == decoded.warnings
    json.dumps(decoded.data, allow_nan=False)
    latest = {(reading.channel, reading.quantity): reading.value for reading in reversed(decoded.readings)}
    for channel, quantity, value in vector["published"]:
        assert latest[channel, quantity] == pytest.approx(value)


@pytest.mark.parametrize(
    "options",
    [
        {"key": "secret" + KEY[6:]},
        {"key": KEY[:-2]},
        {"key": 12},
        {"keys": {"12345678": "ff"}},
        {"keys": [KEY]},
        {"key": KEY[::-1]},
    ],
)
def test_no_message_has_a_key_in_it(options: dict[str, Any]) -> None:
    with pytest.raises(MalformedPayload) as refused:
        codecs.OMS.decode(1, bytes.fromhex(SEALED["bytes_hex"]), NOW, options)

    message = str(refused.value)
    assert not any(secret in message for secret in ("secret", KEY[:8], KEY[::-1][:8], "'ff'"))


def test_keys_are_not_shown() -> None:
    assert KEY not in repr(Keys.of({"key": KEY, "keys": {"1": KEY}}))


def test_takes_the_address_of_a_meter_that_says_none_from_the_profile() -> None:
    short = bytes.fromhex(SEALED["bytes_hex"])[10:]  # From the CI on.

    with pytest.raises(MalformedPayload, match="option « address » du profil"):
        codecs.OMS.decode(1, short, NOW, {"key": KEY})
    decoded = codecs.OMS.decode(1, short, NOW, {"key": KEY, "address": "9315785634123303"})

    assert Reading(NOW, "", "gas_volume", 28504.27) in decoded.readings


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"address": "93"}, "« address »"),
        ({"medium": "vin"}, "« medium »"),
        ({"utc_offset": "1 h"}, "« utc_offset »"),
        ({"utc_offset": 15}, "« utc_offset »"),
    ],
)
def test_rejects_an_option_that_it_cannot_use(options: dict[str, Any], reason: str) -> None:
    with pytest.raises(MalformedPayload, match=reason):
        codecs.OMS.decode(1, bytes.fromhex("78046d2c0b7920"), NOW, options)


def test_the_meter_s_clock_may_be_ahead_of_utc() -> None:
    vector = next(vector for vector in VECTORS if vector["id"] == "kamstrup/profile-guide")
    payload = bytes.fromhex(vector["bytes_hex"])

    utc = codecs.KAMSTRUP.decode(1, payload, vector["time_us"], {}).readings[2]
    winter = codecs.KAMSTRUP.decode(1, payload, vector["time_us"], {"utc_offset": 1}).readings[2]

    assert utc.time_us - winter.time_us == 3_600_000_000
    assert utc.value == winter.value


@pytest.mark.parametrize(
    ("medium", "quantity"), [("heat", "thermal_energy"), ("electricity", "active_energy_import")]
)
def test_the_profile_says_the_medium_where_no_header_does(medium: str, quantity: str) -> None:
    decoded = codecs.OMS.decode(1, bytes.fromhex("780406e8030000"), NOW, {"medium": medium})

    assert decoded.readings == [Reading(NOW, "", quantity, 1_000_000.0)]


def test_an_energy_of_no_known_medium_is_kept_without_a_reading() -> None:
    decoded = codecs.OMS.decode(1, bytes.fromhex("780406e8030000"), NOW, {})

    assert decoded.readings == []
    assert decoded.data["records"] == [{"what": "energy", "value": 1_000_000, "unit": "W.h"}]


@pytest.mark.parametrize("f_port", [2, 10, 20, 21, 100, 101, 102])
def test_a_lobaro_bridge_has_no_other_f_port(f_port: int) -> None:
    with pytest.raises(MalformedPayload, match=f"f_port {f_port}"):
        codecs.LOBARO.decode(f_port, bytes(7), NOW, {})


@pytest.mark.parametrize(
    "octets",
    [
        "",
        "02",
        "02{",
        "02[]",
        '02{"E":"NaN","U":"kWh"}',
        '02{"E":1e300,"U":"kWh"}',
        '02{"E":1,"U":"?"}',
        "02" + "[" * 900,
    ],
)
def test_rejects_an_elvaco_message_that_is_none(octets: str) -> None:
    payload = bytes.fromhex(octets[:2]) + octets[2:].encode()

    with pytest.raises(MalformedPayload):
        codecs.ELVACO.decode(1, payload, NOW, {})


OPENINGS = st.sampled_from(
    [b"", b"\x78", b"\x7a\x00\x00\x00\x00", b"\x02", b"\x90\x0f", b"\x8d", bytes.fromhex("72")]
)
OPTIONS = st.sampled_from([{}, {"key": KEY}, {"key": KEY, "address": "9315785634123303", "medium": "heat"}])


@given(st.sampled_from(list(CODECS.values())), OPENINGS, st.binary(max_size=60), OPTIONS, st.sampled_from([1, 11]))
def test_arbitrary_octets_raise_only_malformed_payload(
    codec: Any, opening: bytes, octets: bytes, options: dict[str, Any], f_port: int
) -> None:
    try:
        decoded = codec.decode(f_port, opening + octets, NOW, options)
    except MalformedPayload:
        return

    json.dumps(decoded.data, allow_nan=False)
    assert {reading.quantity for reading in decoded.readings} <= QUANTITIES.keys()


@given(st.data())
def test_a_telegram_with_octets_changed_raises_only_malformed_payload(data: st.DataObject) -> None:
    vector = data.draw(st.sampled_from(VECTORS))
    payload = bytearray.fromhex(vector["bytes_hex"])
    for _ in range(data.draw(st.integers(1, 3))):
        payload[data.draw(st.integers(0, len(payload) - 1))] = data.draw(st.integers(0, 255))
    try:
        CODECS[vector["codec"]].decode(vector["f_port"], bytes(payload), vector["time_us"], vector["options"])
    except MalformedPayload:
        return


def test_what_begins_like_an_opened_telegram_is_opened_with_the_key_where_there_is_one() -> None:
    """One ciphertext in 65,536 begins like clear text: with a key there is no doubt."""
    opened = next(vector for vector in VECTORS if vector["id"] == "oms/amiplus")
    payload = bytes.fromhex(opened["bytes_hex"])

    assert codecs.OMS.decode(1, payload, NOW, {}).readings
    with pytest.raises(MalformedPayload, match="n'ouvre pas"):
        codecs.OMS.decode(1, payload, NOW, {"key": KEY})

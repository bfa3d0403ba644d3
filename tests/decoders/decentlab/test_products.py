"""Decentlab frames against published ones."""

import json
from struct import pack
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.model.quantities import QUANTITIES
from decoders.canonical import MalformedPayload, Reading
from decoders.codec import Codec, UnsupportedCommand
from decoders.decentlab.frame import crc
from decoders.decentlab.products import PRODUCTS
from tests.decoders.vectors import read_vectors

VECTORS = read_vectors("decentlab")
CODECS = {codec.name: codec for codec in PRODUCTS}
NOW = 1_795_597_200_000_000  # 2026-11-25T09:00:00Z


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: str(vector["id"]))
def test_decodes_the_vector_as_its_file_says(vector: dict[str, Any]) -> None:
    codec, payload, expected = CODECS[vector["codec"]], bytes.fromhex(vector["bytes_hex"]), vector["expected"]
    if "error" in expected:
        with pytest.raises(MalformedPayload, match=expected["error"]):
            codec.decode(vector["f_port"], payload, vector["time_us"], vector["options"])
        return

    decoded = codec.decode(vector["f_port"], payload, vector["time_us"], vector["options"])

    read = [[reading.channel, reading.quantity, pytest.approx(reading.value)] for reading in decoded.readings]
    assert expected["readings"] == read
    assert expected["data"] == decoded.data
    assert expected["warnings"] == decoded.warnings
    values = {(reading.channel, reading.quantity): reading.value for reading in decoded.readings}
    for channel, quantity, value in vector["published"]:
        assert values[channel, quantity] == pytest.approx(value)


def test_every_product_has_a_vector_but_the_one_that_shares_its_table() -> None:
    assert CODECS.keys() - {vector["codec"] for vector in VECTORS} == {"decentlab.dl_pr21", "decentlab.dl_sht21"}


@given(st.sampled_from(PRODUCTS), st.integers(0, 0xFFFF), st.integers(0, 0xFFFF))
def test_reads_back_the_battery_whichever_sensor_of_the_product_it_is(
    codec: Codec, device: int, millivolts: int
) -> None:
    places = range(16)
    frames = [pack(">BHHH", 2, device, 1 << place, millivolts) for place in places]

    read = []
    for frame in frames:
        try:
            read.append(codec.decode(1, frame, NOW, {}))
        except MalformedPayload:
            continue

    assert [Reading(NOW, "", "battery_voltage", millivolts / 1_000)] in [decoded.readings for decoded in read]
    assert {decoded.data["device_id"] for decoded in read} == {device}


@pytest.mark.parametrize("octets", ["", "02", "01012f00020bb1", "02012f00020bb1ff", "02012f00020b", "02012f0102"])
def test_rejects_another_version_or_size(octets: str) -> None:
    with pytest.raises(MalformedPayload):
        CODECS["decentlab.dl_mbx"].decode(1, bytes.fromhex(octets), NOW, {})


@pytest.mark.parametrize("options", [{}, {"kp": 0}, {"kp": "8192"}, {"kp": True}, {"kp": float("nan")}])
def test_says_that_an_option_of_the_profile_is_missing(options: dict[str, Any]) -> None:
    decoded = CODECS["decentlab.dl_pr36"].decode(1, bytes.fromhex("02032b0003806797810c2b"), NOW, options)

    assert decoded.warnings == ["water_pressure : une option du profil manque pour la calculer"]
    assert [reading.quantity for reading in decoded.readings] == ["water_temperature", "battery_voltage"]


@pytest.mark.parametrize("codec", PRODUCTS, ids=lambda codec: codec.name)
def test_encodes_commands_as_published(codec: Codec) -> None:
    """TheThingsNetwork/lorawan-devices, vendor/decentlab: the downlink examples of every device."""
    assert codec.encode is not None

    assert codec.encode("set_report_interval", {"seconds": 3_600}).payload.hex() == "00020e1048a4"
    assert codec.encode("reboot", {}).payload.hex() == "fefe00003c50"
    assert not codec.switches
    with pytest.raises(UnsupportedCommand, match="65535"):
        codec.encode("set_report_interval", {"seconds": 70_000})


def test_checks_downlinks_by_the_crc_of_other_published_ones() -> None:
    assert (crc(bytes.fromhex("00010258")), crc(bytes.fromhex("00070000"))) == (0x7E51, 0xE5B1)


@given(st.sampled_from(PRODUCTS), st.binary(max_size=50), st.booleans())
def test_arbitrary_octets_raise_only_malformed_payload(codec: Codec, octets: bytes, opened: bool) -> None:
    try:
        decoded = codec.decode(1, b"\x02\x00\x00\x00" + octets if opened else octets, NOW, {})
    except MalformedPayload:
        return

    json.dumps(decoded.data, allow_nan=False)
    assert {reading.quantity for reading in decoded.readings} <= QUANTITIES.keys()

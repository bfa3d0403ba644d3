"""Adeunis' products against published examples, and read back."""

import json
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.model.quantities import QUANTITIES
from decoders.adeunis.frame import EPOCH_2013_US
from decoders.canonical import Decoded, MalformedPayload, Reading
from decoders.catalogue import CODECS
from decoders.codec import EncodedCommand, UnsupportedCommand
from tests.decoders.vectors import read_vectors

VECTORS = read_vectors("adeunis")
NAMES = sorted(name for name in CODECS if name.startswith("adeunis."))
NOW = 1_795_597_200_000_000  # 2026-11-25T09:00:00Z
HOUR_US = 3_600_000_000
SECONDS = (NOW - HOUR_US - EPOCH_2013_US) // 1_000_000  # An hour ago, as the devices count.


def decode(name: str, payload: str | bytes, **options: Any) -> Decoded:
    octets = payload if isinstance(payload, bytes) else bytes.fromhex(payload)
    return CODECS[name].decode(1, octets, NOW, options)


def measured(decoded: Decoded) -> list[tuple[int, str, str, float]]:
    return [tuple(reading) for reading in decoded.readings if reading.quantity != "low_battery"]


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: str(vector["id"]))
def test_decodes_the_vector_as_its_file_says(vector: dict[str, Any]) -> None:
    octets, expected = bytes.fromhex(vector["bytes_hex"]), vector["expected"]

    decoded = CODECS[vector["codec"]].decode(vector["f_port"], octets, vector["time_us"], vector["options"])

    assert [Reading(*reading) for reading in expected["readings"]] == decoded.readings
    assert expected["data"] == decoded.data
    assert expected["warnings"] == decoded.warnings


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: str(vector["id"]))
def test_finds_every_value_that_the_vendor_prints(vector: dict[str, Any]) -> None:
    octets, vendor = bytes.fromhex(vector["bytes_hex"]), dict(vector["vendor"])

    decoded = CODECS[vector["codec"]].decode(vector["f_port"], octets, vector["time_us"], vector["options"])

    kept = [value for record in decoded.data.get("undated_history", []) for value in record.values()]
    kept += decoded.data.get("counted", {}).values()
    ours = [*(reading.value for reading in decoded.readings), *kept]
    assert all(value in ours for value in vendor.pop("values", []))
    by_channel = {reading.channel: reading.value for reading in decoded.readings}
    assert vendor.pop("states", {}).items() <= by_channel.items()
    assert vendor.items() <= {**by_channel, **decoded.data.get("tic", {})}.items()


@pytest.mark.parametrize(("code", "channel"), [(0x5A, "a"), (0x5B, "b")])
@given(
    rises=st.lists(st.integers(0, 0xFFFF), max_size=20),
    oldest=st.integers(0, 2**31),
    period=st.integers(2, 86_400),
    stamped=st.booleans(),
)
def test_reads_back_the_indexes_of_a_pulse(
    code: int, channel: str, rises: list[int], oldest: int, period: int, stamped: bool
) -> None:
    index = oldest + sum(rises)
    octets = struct.pack(f">BBI{len(rises)}H", code, 0x04 * stamped, index, *rises)
    octets += SECONDS.to_bytes(4) if stamped else b""

    decoded = decode("adeunis.pulse", octets, recording_period_s=period)

    newest = NOW - HOUR_US if stamped else NOW
    indexes = [index - sum(rises[:rank]) for rank in range(len(rises) + 1)]
    assert measured(decoded) == [
        (newest - rank * period * 1_000_000, channel, "pulse_count", float(value))
        for rank, value in enumerate(indexes)
    ]


ROOMS = st.lists(
    st.tuples(st.integers(-400, 850), st.integers(0, 100), st.integers(0, 0xFFFF)), min_size=1, max_size=9
)


@given(ROOMS, st.integers(2, 86_400))
def test_reads_back_the_records_of_a_comfort_co2(records: list[tuple[int, int, int]], period: int) -> None:
    octets = b"\x6a\x00" + b"".join(struct.pack(">hBH", *record) for record in records)

    decoded = decode("adeunis.comfort_co2", octets, recording_period_s=period)

    expected: list[tuple[int, str, str, float]] = []
    for rank, (temperature, humidity, co2) in enumerate(records):
        at_us = NOW - rank * period * 1_000_000
        expected += [
            (at_us, "", "temperature", temperature / 10),
            (at_us, "", "relative_humidity", humidity),
            (at_us, "", "co2", co2),
        ]
    assert measured(decoded) == expected


@given(ROOMS)
def test_keeps_the_older_records_apart_when_nothing_dates_them(records: list[tuple[int, int, int]]) -> None:
    octets = b"\x4c\x00" + b"".join(struct.pack(">hB", *record[:2]) for record in records)

    decoded = decode("adeunis.comfort", octets)

    assert [reading[2:] for reading in measured(decoded)] == [
        ("temperature", records[0][0] / 10),
        ("relative_humidity", records[0][1]),
    ]
    undated = [
        {"temperature": temperature / 10, "relative_humidity": humidity} for temperature, humidity, _ in records
    ]
    assert decoded.data.get("undated_history", []) == undated[1:]
    assert bool(decoded.warnings) == (len(records) > 1)


@pytest.mark.parametrize("period", [0, -1, "600", None, 1e300])
def test_a_period_that_is_none_dates_nothing(period: object) -> None:
    assert len(measured(decode("adeunis.comfort", "4c0000c51f00c720", recording_period_s=period))) == 2


def test_a_digital_input_counts_and_has_a_state() -> None:
    decoded = decode("adeunis.comfort", bytes.fromhex("5224 02 0000012f 0006") + SECONDS.to_bytes(4))

    at_us = NOW - HOUR_US
    assert measured(decoded) == [(at_us, "2", "input_state", 0.0), (at_us, "2", "pulse_count", 303.0)]
    assert (decoded.data["former_state"], decoded.data["since_last"]) == (True, 6)


def test_the_configuration_says_which_period_dates_the_history() -> None:
    decoded = decode("adeunis.comfort", "1001 2190 0001 0001 012c 00")

    assert decoded.data["recording_period_s"] == 600
    assert decoded.data["keep_alive_s"] == 85_920


@pytest.mark.parametrize(
    ("name", "payload", "data"),
    [
        (
            "adeunis.comfort",
            "4d00 10 00f5 1f",
            {"alarms": {"temperature": "raised", "relative_humidity": "released"}},
        ),
        (
            "adeunis.comfort_co2",
            "6b00 20 00f5 1f 0c80",
            {"alarms": {"temperature": "released", "relative_humidity": "released", "co2": "raised"}},
        ),
        ("adeunis.comfort_co2", "3000 02 03 0100 0400 41 00c8", {"red_minutes": 30}),
        (
            "adeunis.comfort_co2",
            "3000 02 03 0100 0400 41 00c8 0190 1e 00d2 0258 28",
            {"mean": {"temperature": 21.0, "co2": 600, "relative_humidity": 40}},
        ),
        ("adeunis.pulse", "4700 0010 0000", {"flows": {"a": 16, "b": 0}}),
        ("adeunis.dry_contacts", "4100 01 003c", {"channel": 1, "threshold_minutes": 60}),
        ("adeunis.dry_contacts", "5900 05 00000e10 00000001", {"seconds": {"a": 3_600, "c": 1}}),
        ("adeunis.dry_contacts", "2f20 0501", {"downlink": "0x05", "result": "success"}),
        ("adeunis.dry_contacts", "2f20 0509", {"downlink": "0x05", "result": "code 9"}),
        ("adeunis.comfort", "2020 05 01", {"adr": True, "duty_cycle": True, "class": "A", "activation": "OTAA"}),
        ("adeunis.pulse", "3320 01 0141", {"result": "success", "register": 321}),
        ("adeunis.comfort", "3720 020100 010203", {"application": "2.1.0", "radio": "1.2.3"}),
        ("adeunis.comfort", "1f20 11 0001 00 0000", {"frame": "inputs_configuration"}),
        ("adeunis.comfort", "3020", {"frame": "keep_alive", "octets": ""}),
    ],
)
def test_keeps_what_is_no_measure_as_data(name: str, payload: str, data: dict[str, Any]) -> None:
    assert data.items() <= decode(name, payload).data.items()


def test_a_keep_alive_of_a_pulse_says_leaks_and_tampering() -> None:
    decoded = decode("adeunis.pulse", "3000 18 0064 0010 0001 0000")

    states = {(reading[1], reading[2]): reading[3] for reading in measured(decoded)}
    assert states == {("a", "tamper"): 0, ("a", "leak"): 1, ("b", "tamper"): 1, ("b", "leak"): 0}
    assert decoded.data["flows"]["a"] == {"minimum": 1, "maximum": 100}


def test_an_implausible_timestamp_gives_way_to_the_reception() -> None:
    decoded = decode("adeunis.pulse", "4604 0000009f 00000002 00000000")

    assert {reading[0] for reading in measured(decoded)} == {NOW}
    assert "invraisemblable" in decoded.warnings[0]


@pytest.mark.parametrize(
    ("name", "payload", "reason"),
    [
        ("adeunis.pulse", "46", "au moins 2 octets"),
        ("adeunis.pulse", "4600 0000009f", "a 8 octets après l'en-tête"),
        ("adeunis.pulse", "4604 0000", "horodatage tronqué"),
        ("adeunis.pulse", "5a00 0000", "4 octets d'index"),
        ("adeunis.pulse", "5a00 00000001 0002", "descend sous zéro"),
        ("adeunis.pulse", "6a00", "code de trame 0x6a n'est pas un de ceux du Pulse"),
        ("adeunis.comfort", "4c00 00c5", "un relevé a 3 octets"),
        ("adeunis.comfort", "1000 00", "au moins 9 octets"),
        ("adeunis.dry_contacts", "5900", "quelles voies"),
        ("adeunis.dry_contacts", "5900 03 00000001", "a 9 octets"),
        ("adeunis.tic_pme_pmi", "4900 00", "51 octets, ou 55"),
    ],
)
def test_rejects_what_the_product_does_not_send(name: str, payload: str, reason: str) -> None:
    with pytest.raises(MalformedPayload, match=reason):
        decode(name, payload)


@pytest.mark.parametrize(
    ("name", "command", "parameters", "octets"),
    [
        ("adeunis.pulse", "read_configuration", {}, "01"),
        ("adeunis.pulse", "read_network_configuration", {}, "02"),
        # Technical reference manual of the Pulse, section 1.6.3: 21 and 80 pulses.
        ("adeunis.pulse", "add_pulses", {"a": 21, "b": 80}, "030000001500000050"),
        # 41, then registers S301, S320 and S321 (in units of 2 s): every 10 minutes, sent by six.
        ("adeunis.comfort", "set_recording", {"sampling_s": 600, "records_per_frame": 6}, "41010006140001 15012c"),
    ],
)
def test_says_a_command_as_the_manuals_do(
    name: str, command: str, parameters: dict[str, Any], octets: str
) -> None:
    encode = CODECS[name].encode
    assert encode is not None

    assert encode(command, parameters) == EncodedCommand(1, bytes.fromhex(octets))


def test_rejects_a_sampling_that_the_device_cannot_count() -> None:
    encode = CODECS["adeunis.comfort"].encode
    assert encode is not None
    with pytest.raises(UnsupportedCommand, match="nombre pair de secondes"):
        encode("set_recording", {"sampling_s": 61})


CODES = st.sampled_from([0x10, 0x1F, 0x20, 0x30, 0x37, 0x40, 0x41, 0x46, 0x49, 0x4C, 0x51, 0x59, 0x5A, 0x6A, 0x6B])


@given(st.sampled_from(NAMES), st.builds(lambda code, rest: bytes((code,)) + rest, CODES, st.binary(max_size=60)))
def test_arbitrary_octets_raise_only_malformed_payload(name: str, payload: bytes) -> None:
    try:
        decoded = decode(name, payload, recording_period_s=600)
    except MalformedPayload:
        return

    json.dumps(decoded.data, allow_nan=False)
    assert {reading.quantity for reading in decoded.readings} <= QUANTITIES.keys()

"""What lies in the streams when the program is exchanged is read by the new one, and written as before.

The octets were written by the program of November 2026, each field at a value that is not its default.
"""

from typing import Any

import pytest
from msgspec.structs import asdict, replace

from core.messages.batch import UnreadableBatch, encode_batch
from core.messages.downlinks import decode_reply, decode_request, encode_transmit
from core.messages.frames import FRAME_BATCHES
from core.messages.measurements import MEASUREMENT_BATCHES, Flag
from core.messages.uplinks import UPLINK_BATCHES

GATEWAY_ID = bytes.fromhex("0016c001ff10a235")
TRACE_ID = bytes.fromhex("101112131415161718191a1b1c1d1e1f")

FRAMES = bytes.fromhex(
    "01919fc40540f17dbe49c4080016c001ff10a235cf000661160d45e640cf000661160d45ffd1c404fff1e2d3ce33c134e00cce0001e848"
    "cdc350cbc05d600000000000cbc0228000000000000501ce00014820c410101112131415161718191a1b1c1d1e1f"
)
# Of before round trips and traces: the last two fields are not there.
FRAMES_WITHOUT_LAST_FIELDS = bytes.fromhex(
    "01919dc40540f17dbe49c4080016c001ff10a235cf000661160d45e640cf000661160d45ffd1c404fff1e2d3ce33c134e00cce0001e848"
    "cdc350cbc05d600000000000cbc0228000000000000501"
)
UPLINKS = bytes.fromhex(
    "0191dc0011c410018f3f2a7b4c7d8e9fa0b1c2d3e4f506ce00011171cf0000000100000001ce0001000155c40301755cc3cf000661160d45e6"
    "40cf000661160d45ffd1ce33bb1a6009ce0001e848c29194c4080016c001ff10a23501cbc05d600000000000cbc022800000000000c410"
    "101112131415161718191a1b1c1d1e1fc007"
)
# Of before instants that are not credible and sources, and before traces.
UPLINKS_WITHOUT_STATED = bytes.fromhex(
    "01919fc410018f3f2a7b4c7d8e9fa0b1c2d3e4f506ce00011171cf0000000100000001ce0001000155c40301755cc3cf000661160d45e640"
    "cf000661160d45ffd1ce33bb1a6009ce0001e848c29194c4080016c001ff10a23501cbc05d600000000000cbc022800000000000c410"
    "101112131415161718191a1b1c1d1e1f"
)
UPLINKS_WITHOUT_TRACE = bytes.fromhex(
    "01919ec410018f3f2a7b4c7d8e9fa0b1c2d3e4f506ce00011171cf0000000100000001ce0001000155c40301755cc3cf000661160d45e640"
    "cf000661160d45ffd1ce33bb1a6009ce0001e848c29194c4080016c001ff10a23501cbc05d600000000000cbc022800000000000"
)
MEASUREMENTS = bytes.fromhex(
    "019295ce003d0900cf000661160d45e640cb4035c0000000000009c410101112131415161718191a1b1c1d1e1f"
    "95ce003d0901cf000661160d45e641cbbfe000000000000000c400"
)
MEASUREMENTS_WITHOUT_TRACE = bytes.fromhex(
    "019294ce003d0900cf000661160d45e640cb4035c000000000000994ce003d0901cf000661160d45e641cbbfe000000000000000"
)
REQUEST = bytes.fromhex(
    "98cf0000000218711a01c4080016c001ff10a235c404fff1e2d3cf000661160d45ffd1cf000661160d904f400291"
    "96c403600102ce33d3e6080cce0001e848ce001e8480c2c2"
)
# Of a network that leaves it to each gateway to fall back to RX2.
REQUEST_WITHOUT_FALLS_BACK = bytes.fromhex(
    "97cf0000000218711a01c4080016c001ff10a235c404fff1e2d3cf000661160d45ffd1cf000661160d904f400291"
    "96c403600102ce33d3e6080cce0001e848ce001e8480c2"
)
REPLY = bytes.fromhex("94b0434f4c4c4953494f4e5f5041434b4554ffcf000661160d534640cf000661160d534258")

# The same, unconfirmed and late.
LATE_UPLINKS = UPLINKS.replace(bytes.fromhex("755cc3"), bytes.fromhex("755cc2")).replace(
    bytes.fromhex("e848c2"), bytes.fromhex("e848c3")
)

FRAME: dict[str, Any] = {
    "phy_payload": bytes.fromhex("40f17dbe49"),
    "gateway_id": GATEWAY_ID,
    "time_us": 1_795_597_200_123_456,
    "received_at_us": 1_795_597_200_130_001,
    "context": bytes.fromhex("fff1e2d3"),
    "frequency": 868_300_000,
    "spreading_factor": 12,
    "bandwidth": 125_000,
    "bit_rate": 50_000,
    "rssi": -117.5,
    "snr": -9.25,
    "channel": 5,
    "antenna": 1,
    "round_trip_us": 84_000,
    "trace_id": TRACE_ID,
}
UPLINK: dict[str, Any] = {
    "uplink_id": bytes.fromhex("018f3f2a7b4c7d8e9fa0b1c2d3e4f506"),
    "device_id": 70_001,
    "session_id": 4_294_967_297,
    "f_cnt": 65_537,
    "f_port": 85,
    "payload": bytes.fromhex("01755c"),
    "confirmed": True,
    "time_us": 1_795_597_200_123_456,
    "received_at_us": 1_795_597_200_130_001,
    "frequency": 867_900_000,
    "spreading_factor": 9,
    "bandwidth": 125_000,
    "late": False,
    "receptions": [{"gateway_id": GATEWAY_ID, "antenna": 1, "rssi": -117.5, "snr": -9.25}],
    "trace_id": TRACE_ID,
    "stated_us": None,
    "source_id": 7,
}
MEASUREMENT: dict[str, Any] = {
    "datastream_id": 4_000_000,
    "time_us": 1_795_597_200_123_456,
    "value": 21.75,
    "flags": 9,
    "trace_id": TRACE_ID,
}
NEXT_MEASUREMENT: dict[str, Any] = {
    "datastream_id": 4_000_001,
    "time_us": 1_795_597_200_123_457,
    "value": -0.5,
    "flags": 0,
    "trace_id": b"",
}


def test_frame_of_today_is_read_and_written_alike() -> None:
    (frame,) = FRAME_BATCHES.decode(FRAMES)

    assert asdict(frame) == FRAME
    assert encode_batch([frame]) == FRAMES


def test_frame_without_round_trip_and_trace_is_read() -> None:
    (frame,) = FRAME_BATCHES.decode(FRAMES_WITHOUT_LAST_FIELDS)

    assert asdict(frame) == FRAME | {"round_trip_us": 0, "trace_id": b""}


@pytest.mark.parametrize(
    ("octets", "changes"),
    [(UPLINKS, {}), (LATE_UPLINKS, {"confirmed": False, "late": True})],
    ids=["confirmed", "late"],
)
def test_uplink_of_today_is_read_and_written_alike(octets: bytes, changes: dict[str, bool]) -> None:
    (uplink,) = UPLINK_BATCHES.decode(octets)

    assert asdict(uplink) | {"receptions": [asdict(one) for one in uplink.receptions]} == UPLINK | changes
    assert encode_batch([uplink]) == octets


@pytest.mark.parametrize(
    ("octets", "changes"),
    [(UPLINKS_WITHOUT_STATED, {"source_id": 0}), (UPLINKS_WITHOUT_TRACE, {"source_id": 0, "trace_id": b""})],
)
def test_uplink_without_its_last_fields_is_read(octets: bytes, changes: dict[str, Any]) -> None:
    (uplink,) = UPLINK_BATCHES.decode(octets)

    read = asdict(uplink) | {"receptions": [asdict(one) for one in uplink.receptions]}
    assert read == UPLINK | changes


def test_measurements_of_today_are_read_and_written_alike() -> None:
    measurements = MEASUREMENT_BATCHES.decode(MEASUREMENTS)

    assert [asdict(one) for one in measurements] == [MEASUREMENT, NEXT_MEASUREMENT]
    assert encode_batch(measurements) == MEASUREMENTS


def test_measurements_without_trace_are_read() -> None:
    measurements = MEASUREMENT_BATCHES.decode(MEASUREMENTS_WITHOUT_TRACE)

    assert [asdict(one) for one in measurements] == [MEASUREMENT | {"trace_id": b""}, NEXT_MEASUREMENT]


def test_flags_of_a_measurement_are_the_stored_bits() -> None:
    assert {flag.name: flag.value for flag in Flag} == {
        "SUSPECT": 1,
        "TIME_SUSPECT": 2,
        "MANUAL": 4,
        "REDECODED": 8,
        "CORRECTED": 64,
    }


def test_request_to_transmit_of_today_is_read_and_written_alike() -> None:
    request = decode_request(REQUEST)

    assert asdict(request) | {"transmissions": [asdict(one) for one in request.transmissions]} == {
        "downlink_id": 9_000_000_001,
        "gateway_id": GATEWAY_ID,
        "context": bytes.fromhex("fff1e2d3"),
        "uplink_at_us": 1_795_597_200_130_001,
        "latest_at_us": 1_795_597_205_000_000,
        "priority": 2,
        "transmissions": [
            {
                "phy_payload": bytes.fromhex("600102"),
                "frequency": 869_525_000,
                "spreading_factor": 12,
                "bandwidth": 125_000,
                "delay_us": 2_000_000,
                "immediate": False,
            }
        ],
        "falls_back": False,
    }
    assert encode_transmit(request) == REQUEST


def test_request_that_says_nothing_of_falling_back_is_read_as_one_that_does() -> None:
    request = decode_request(REQUEST_WITHOUT_FALLS_BACK)

    assert request == replace(decode_request(REQUEST), falls_back=True)


def test_reply_to_a_request_of_today_is_read_and_written_alike() -> None:
    reply = decode_reply(REPLY)

    assert asdict(reply) == {
        "status": "COLLISION_PACKET",
        "index": -1,
        "fits_at_us": 1_795_597_201_000_000,
        "starts_at_us": 1_795_597_200_999_000,
    }
    assert encode_transmit(reply) == REPLY


@pytest.mark.parametrize(
    "octets", [b"", b"\x03" + FRAMES[1:], FRAMES[1:]], ids=["empty", "next version", "no version"]
)
def test_batch_of_another_version_is_rejected(octets: bytes) -> None:
    with pytest.raises(UnreadableBatch, match="version byte"):
        FRAME_BATCHES.decode(octets)


def test_empty_batch_is_a_version_byte_and_an_empty_array() -> None:
    assert encode_batch([]) == b"\x01\x90"

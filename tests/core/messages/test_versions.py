"""Messages of a release before are read, and written as long as one of its programs may read them."""

from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest

from core.messages import claims, downlinks, live_frames
from core.messages.batch import BatchDecoder, UnreadableBatch, encode_batch
from core.messages.versions import CURRENT, FORMER, READ_SINCE, WRITTEN, UnknownVersion
from registry.schema import migrations

# By hand: an array of one array (1, "a"), behind the version byte.
FORMER_BATCH, CURRENT_BATCH = bytes.fromhex("01 91 92 01 a1 61"), bytes.fromhex("02 91 92 01 a1 61")
PAIRS = BatchDecoder(tuple[int, str])
CLAIM = claims.Claim("udp", "192.0.2.7", False, 1_700)
# The same by hand: ["udp", "192.0.2.7", false, 1700].
CLAIM_OCTETS = bytes.fromhex("94 a3756470 a93139322e302e322e37 c2 cd06a4")

MESSAGES: list[tuple[Any, Callable[[Any], bytes], Callable[[bytes], object]]] = [
    (CLAIM, claims.encode_claim, claims.decode_claim),
    (claims.ClaimReply(CLAIM, 2.5), claims.encode_claim, claims.decode_claim_reply),
    (
        downlinks.TransmitRequest(7, b"g", b"c", 1, 2, 0, [downlinks.Transmission(b"p", 1, 7, 125, 1, False)]),
        downlinks.encode_transmit,
        downlinks.decode_request,
    ),
    (downlinks.TransmitReply("OK", 0, 0, 9), downlinks.encode_transmit, downlinks.decode_reply),
    (live_frames.Look("one", 5.0, [1], [b"g"], True), live_frames.encode_live, live_frames.decode_look),
    (
        live_frames.LiveFrame("data_up", 1, "accepted", 3, 868_100_000, 7, []),
        live_frames.encode_live,
        live_frames.decode_live_frame,
    ),
]


@pytest.fixture(autouse=True)
def unknown() -> Iterator[None]:
    """What others may read is not known before a test, nor after it."""
    WRITTEN.learn(0)
    yield
    WRITTEN.learn(0)


@pytest.mark.parametrize("octets", [FORMER_BATCH, CURRENT_BATCH])
def test_batches_of_both_versions_are_read(octets: bytes) -> None:
    assert PAIRS.decode(octets) == [(1, "a")]


@pytest.mark.parametrize("octets", [b"\x00" + FORMER_BATCH[1:], b"\x03" + FORMER_BATCH[1:], FORMER_BATCH[1:], b""])
def test_a_batch_of_any_other_version_is_not_read(octets: bytes) -> None:
    with pytest.raises(UnreadableBatch, match=r"version byte .*this program reads 1 and 2"):
        PAIRS.decode(octets)


def test_a_batch_is_written_as_the_oldest_program_reads_it() -> None:
    unknown = encode_batch([(1, "a")])
    WRITTEN.learn(READ_SINCE - 1)
    older = encode_batch([(1, "a")])
    WRITTEN.learn(READ_SINCE)
    all_read_it = encode_batch([(1, "a")])

    assert (unknown, older, all_read_it) == (FORMER_BATCH, FORMER_BATCH, CURRENT_BATCH)


def test_a_request_begins_with_its_version_from_the_second_on() -> None:
    WRITTEN.learn(READ_SINCE - 1)
    older = claims.encode_claim(CLAIM)
    WRITTEN.learn(READ_SINCE)

    assert (older, claims.encode_claim(CLAIM)) == (CLAIM_OCTETS, b"\x02" + CLAIM_OCTETS)


@pytest.mark.parametrize("oldest", [READ_SINCE - 1, READ_SINCE])
@pytest.mark.parametrize(("message", "encode", "decode"), MESSAGES, ids=lambda one: type(one).__name__)
def test_every_message_is_read_in_both_versions(message, encode, decode, oldest: int) -> None:
    WRITTEN.learn(oldest)

    octets = encode(message)

    assert decode(octets) == message
    assert (octets[0] == CURRENT) == (oldest >= READ_SINCE)


@pytest.mark.parametrize(("message", "encode", "decode"), MESSAGES, ids=lambda one: type(one).__name__)
def test_no_message_is_read_in_another_version(message, encode, decode) -> None:
    octets = encode(message)

    with pytest.raises(UnknownVersion, match="version byte 03"):
        decode(b"\x03" + octets)
    with pytest.raises(msgspec.MsgspecError):
        decode(b"")


def test_this_program_reads_the_newer_version() -> None:
    assert CURRENT == FORMER + 1
    assert len(migrations()) >= READ_SINCE

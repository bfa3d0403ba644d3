"""The quick reader of PUSH_DATA says what the lenient one says, or nothing."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lorawan.gateway.lenient import whole_json
from lorawan.gateway.semtech_rxpk import RxPk, read_rxpk
from lorawan.gateway.semtech_udp import read_plain_rxpks
from lorawan.regions import Lora

# The protocol's own example (PROTOCOL.TXT of the packet forwarder, section 4), with its data.
EXAMPLE = {
    "time": "2013-03-31T16:21:17.528002Z",
    "tmst": 3512348611,
    "chan": 2,
    "rfch": 0,
    "freq": 866.349812,
    "stat": 1,
    "modu": "LORA",
    "datr": "SF7BW125",
    "codr": "4/6",
    "rssi": -35,
    "lsnr": 5.1,
    "size": 32,
    "data": "+DS4CGaDCdG+48eJNM3Vai+zDpsR71Pn9CPA9uCON84=",
}
ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-2, 300),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(["1", "-35", "868.1", "SF7BW125", "sf12bw125", "SF7BW125 ", "QBhc", "QBhcAA==", "QBhcAA"]),
    st.sampled_from(["2013-03-31T16:21:17.5Z", "2014-01-12 08:59:28 GMT", "2013-03-31T16:21:17.528002999Z"]),
    st.just([]),
    st.just([{"ant": 0, "chan": 7, "rssic": -110, "lsnr": 4.0}]),
)
KEYS = (*EXAMPLE, "tmms", "ant", "rsig", "rssis", "unknown")


def body(*elements: Any, **rest: Any) -> bytes:
    return json.dumps({"rxpk": list(elements)} | rest).encode()


def leniently(octets: bytes) -> tuple[Any, ...]:
    return tuple(read_rxpk(element) for element in whole_json(octets)["rxpk"])


def test_reads_the_protocol_s_example_as_the_lenient_reader_does() -> None:
    octets = body(EXAMPLE, EXAMPLE | {"tmms": 1_200_000_000_000, "ant": 1})

    read = read_plain_rxpks(octets)

    assert read is not None
    assert read == leniently(octets)
    assert isinstance(read[0], RxPk)
    assert (read[0].frequency, read[0].modulation, read[1].antenna) == (866_349_812, Lora(7, 125_000), 1)


@given(st.lists(st.dictionaries(st.sampled_from(KEYS), ODD, max_size=3), max_size=3))
def test_what_both_readers_read_they_read_alike(oddities: list[dict[str, Any]]) -> None:
    octets = body(*(EXAMPLE | odd for odd in oddities))

    read = read_plain_rxpks(octets)

    assert read is None or read == leniently(octets)


@pytest.mark.parametrize(
    "octets",
    [
        b"",
        b"{not json",
        b"[]",
        body(EXAMPLE) + b"\0",
        body(EXAMPLE, stat={"rxnb": 2}),
        body(EXAMPLE | {"stat": -1}),
        body(EXAMPLE | {"datr": 50_000, "modu": "FSK"}),
        body(EXAMPLE | {"rsig": [{"ant": 0, "rssic": -110, "lsnr": 4.0}]}),
        body(EXAMPLE | {"rssi": "-35"}),
        body(EXAMPLE | {"data": "+DS4"[:3]}),
        body(EXAMPLE | {"freq": 0}),
        body(EXAMPLE | {"freq": 1e305}),
        body(EXAMPLE, {}),
    ],
)
def test_leaves_what_is_not_plain_to_the_lenient_reader(octets: bytes) -> None:
    assert read_plain_rxpks(octets) is None

"""Whatever a WebSocket may bring: no other exception leaves a parser."""

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lorawan.gateway.basics_station import MalformedMessage, parse_discovery, parse_message
from tests.gateways.ws_station import JREQ, UPDF

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
KEYS = st.sampled_from(
    [*json.loads(UPDF), *json.loads(UPDF)["upinfo"], *json.loads(JREQ), "diid", "txtime", "features", "router"]
)
MSGTYPES = st.sampled_from(["updf", "jreq", "propdf", "dntxed", "timesync", "version", "rmtsh", "dnmsg", ""])


def read(message: str | bytes) -> None:
    for parse in (parse_message, parse_discovery):
        with contextlib.suppress(MalformedMessage):
            parse(message)


@given(message=st.binary(max_size=400) | st.text(max_size=400))
def test_arbitrary_messages_raise_only_malformed_message(message: str | bytes) -> None:
    read(message)


@given(msgtype=MSGTYPES, fields=st.dictionaries(KEYS, anything))
def test_arbitrary_fields_raise_only_malformed_message(msgtype: str, fields: dict[str, object]) -> None:
    read(json.dumps(fields | {"msgtype": msgtype}))
    read(json.dumps({"msgtype": msgtype, "upinfo": fields} | fields))


@given(
    base=st.sampled_from([UPDF, JREQ]), at=st.integers(0, 400), junk=st.binary(max_size=6), cut=st.integers(0, 9)
)
def test_damaged_messages_raise_only_malformed_message(base: str, at: int, junk: bytes, cut: int) -> None:
    damaged = base.encode()
    read(damaged[:at] + junk + damaged[at + cut :])


@pytest.mark.parametrize(
    "message",
    [
        "",
        "[]",
        "7",
        "null",
        '"updf"',
        "{" * 100_000,
        "[" * 100_000,
        '{"msgtype":"updf","DR":' + "9" * 10_000 + "}",
        '{"msgtype":' + "9" * 10_000 + "}",
        '{"router":' + "9" * 10_000 + "}",
        '{"msgtype":"dntxed","diid":1e999}',
        "\ud800",
    ],
)
def test_extremes_are_malformed_and_nothing_else(message: str) -> None:
    with pytest.raises(MalformedMessage):
        parse_message(message)
    with pytest.raises(MalformedMessage):
        parse_discovery(message)

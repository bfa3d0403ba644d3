import re

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.messages.frames import FRAME_BATCHES
from core.messages.measurements import MEASUREMENT_BATCHES
from core.messages.uplinks import UPLINK_BATCHES
from core.messages.versions import FORMER
from core.model.identities import NO_TRACE, limit_of, new_trace, span_of, traceparent

# W3C Trace Context, section 3.2: version, trace-id, parent-id, trace-flags; neither id is all zero.
TRACEPARENT = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-0[01]")


@pytest.mark.parametrize(("ratio", "expected"), [(0.0, 0), (0.01, 100), (0.5, 5_000), (1.0, 10_000)])
def test_a_ratio_of_all_traces_is_traced(ratio: float, expected: int) -> None:
    limit = limit_of(ratio)

    traced = sum(NO_TRACE < new_trace() < limit for _ in range(10_000))

    assert abs(traced - expected) <= 6 * (10_000 * ratio * (1 - ratio)) ** 0.5


@pytest.mark.parametrize("ratio", [0.0, 0.01, 1.0])
def test_what_has_no_trace_is_never_traced(ratio: float) -> None:
    trace_id = b""

    assert not NO_TRACE < trace_id < limit_of(ratio)


@given(st.binary(min_size=16, max_size=16), st.floats(0, 1), st.floats(0, 1))
def test_a_lower_trace_ratio_traces_a_subset_of_a_higher_one(trace_id: bytes, one: float, other: float) -> None:
    less, more = sorted((one, other))

    assert not trace_id < limit_of(less) or trace_id < limit_of(more)


@given(st.binary(min_size=16, max_size=16), st.booleans())
def test_the_header_is_as_w3c_has_it(trace_id: bytes, traced: bool) -> None:
    header = traceparent(trace_id or bytes(16), span_of(trace_id, "webhook 3.1"), is_traced=traced)

    assert TRACEPARENT.fullmatch(header) or trace_id == bytes(16)
    assert header.endswith("-01") == traced


def test_every_process_finds_the_same_spans_in_a_trace_and_others_in_another() -> None:
    one, other = new_trace(), new_trace()

    assert span_of(one, "network") == span_of(one, "network")
    assert len({span_of(trace, stage) for trace in (one, other) for stage in ("network", "ingest")}) == 4


def test_items_of_before_traces_are_still_read() -> None:
    """What waited on the bus while the program was replaced has no trace, and is none the worse."""
    frame = [b"\x40", b"gateway1", 1, 2, b"", 868_100_000, 7, 125_000, 0, -80.0, 5.0, 0, 0]
    uplink = [bytes(16), 1, 2, 3, 1, b"x", False, 1, 1, 868_100_000, 7, 125_000, False, []]

    def message(items: list[object]) -> bytes:
        return bytes((FORMER,)) + msgspec.msgpack.encode(items)

    [read_frame] = FRAME_BATCHES.decode(message([frame]))
    [read_uplink] = UPLINK_BATCHES.decode(message([uplink]))
    [read_value] = MEASUREMENT_BATCHES.decode(message([[7, 1, 20.5, 0]]))

    assert (read_frame.trace_id, read_uplink.trace_id, read_value.trace_id) == (NO_TRACE,) * 3

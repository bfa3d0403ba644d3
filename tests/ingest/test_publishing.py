"""Whatever is sorted and cut on the way, each measurement arrives with the trace of the uplink that brought it."""

from operator import itemgetter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.messages.batch import encode_batch
from core.messages.measurements import MEASUREMENT_BATCHES, traced
from core.messages.uplinks import Uplink
from ingest import publishing
from ingest.batch import by_slot
from ingest.pipeline import Interpreted, Serving
from ingest.publishing import cut

INSTANTS = st.integers(0, 3)


def interpreted(number: int, at_us: int, streams: int, past: list[int], asset_id: int) -> Interpreted:
    """An uplink with a value of each of its own datastreams, and a meter's memory of one of them."""
    uplink = Uplink(bytes(16), number, 1, 1, 1, b"", False, at_us, at_us, 0, 0, 0, False, [], number.to_bytes(16))
    first = number * 100
    rows = {first + stream: (first + stream, at_us, 1.0, 0) for stream in range(streams)}
    history = [(first, past_us, 2.0, 0) for past_us in past]
    return Interpreted(uplink, Serving(1, asset_id, number), "decoded", rows=rows, history=history)


@given(
    st.lists(
        st.tuples(INSTANTS, st.integers(0, 4), st.lists(INSTANTS, max_size=3), st.integers(1, 2)), max_size=12
    ),
    st.integers(1, 5),
)
def test_each_measurement_keeps_its_uplinks_trace(
    uplinks: list[tuple[int, int, list[int], int]], items: int
) -> None:
    made = [interpreted(number, *uplink) for number, uplink in enumerate(uplinks, 1)]
    arrived: list[tuple[int, int, bytes]] = []

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(publishing, "MESSAGE_ITEMS", items)
        for measurements in by_slot(made).values():
            for part in cut(sorted(measurements, key=itemgetter(1))):
                assert len(part) <= items
                decoded = MEASUREMENT_BATCHES.decode(encode_batch(part))
                arrived += [(item.datastream_id, item.time_us, trace_id) for item, trace_id in traced(decoded)]

    assert sorted(arrived) == sorted(
        (row[0], row[1], one.uplink.trace_id) for one in made for row in [*one.rows.values(), *one.history]
    )

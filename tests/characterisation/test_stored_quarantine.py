"""What was put aside by the former program is read, and what is put aside now has the same form."""

from typing import Any

from core.messages.uplinks import UPLINK_BATCHES
from core.runtime.postgres import Pool
from ingest.uplink_shards import trace_of
from tests.characterisation.test_bus_messages import TRACE_ID, UPLINKS, UPLINKS_WITHOUT_TRACE
from tests.ingest.conftest import Planted

# An uplink as ingest puts it aside: as in a message, without the message's version byte and the array around it.
PUT_ASIDE = UPLINKS[2:]
PUT_ASIDE_WITHOUT_TRACE = UPLINKS_WITHOUT_TRACE[2:]
OF_NO_DEVICE = """
SELECT service, subject, sequence, data FROM observation.quarantine
"""


def test_trace_of_an_uplink_in_quarantine_is_found() -> None:
    assert trace_of(PUT_ASIDE) == TRACE_ID.hex()


def test_what_in_quarantine_has_no_trace_is_no_error() -> None:
    assert trace_of(PUT_ASIDE_WITHOUT_TRACE) is None
    assert trace_of(b"\x07nonsense") is None
    assert trace_of(b"") is None


async def test_uplink_of_no_device_is_put_aside_in_the_form_of_today(
    pool: Pool, planted: Planted, bus: Any, send: Any, until_drained: Any, ingesting: Any
) -> None:
    (uplink,) = UPLINK_BATCHES.decode(UPLINKS)

    async with ingesting():
        await send(uplink)
        await until_drained()

    rows = [tuple(row) for row in await pool.fetch(OF_NO_DEVICE)]
    assert rows == [("ingest", "territoire.uplinks.0", 1, PUT_ASIDE)]

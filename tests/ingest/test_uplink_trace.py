"""What ingest says of single uplinks: of those that are traced, and of those that nobody can store."""

from collections.abc import Callable
from typing import Any

import pytest
from msgspec import structs
from structlog.testing import capture_logs

from core.messages.uplinks import Uplink
from core.model.identities import limit_of
from core.runtime.tracing import TRACES
from ingest import uplink_shards
from ingest.batch import UplinkMessage
from ingest.prepare import Registry, prepare
from ingest.registry_cache import KnownDevices, KnownGateways
from ingest.store import Store

TRACED, OTHER = bytes(15) + b"\1", b"\xff" * 16


async def test_traced_uplinks_have_a_step_once_stored_and_quarantined_ones_a_line_always(
    planted: Any, make_uplink: Callable[..., Uplink], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(TRACES, "_limit", limit_of(0.5))
    device_id = await planted.device(await planted.profile("milesight.em400"))
    uplinks = [
        structs.replace(make_uplink(device_id, f_cnt), trace_id=trace_id)
        for f_cnt, trace_id in enumerate((TRACED, OTHER, b"", OTHER), 1)
    ]
    uplinks[3] = structs.replace(uplinks[3], time_us=1)
    late = structs.replace(uplinks[0], late=True, trace_id=bytes(15) + b"\2")
    devices = KnownDevices(planted.pool)
    prepared = await prepare(
        [UplinkMessage("s", 1, [*uplinks, late])], Registry(planted.pool, devices, KnownGateways(planted.pool))
    )
    written = await Store(planted.pool).write([], prepared)

    with capture_logs() as said:
        uplink_shards.write_steps(prepared, written, devices, 0)

    dev_eui = await planted.pool.fetchval("SELECT encode(dev_eui, 'hex') FROM device")
    assert [(line["event"], line["trace_id"], line.get("outcome", line["reason"])) for line in said] == [
        ("uplink_stored", TRACED.hex(), "decoded"),
        ("quarantined", OTHER.hex(), "impossible_field"),
        ("uplink_stored", late.trace_id.hex(), "late"),
    ]
    assert (said[0]["dev_eui"], said[0]["tenant"], said[0]["f_cnt"]) == (dev_eui, planted.tenant_id, 1)


@pytest.mark.parametrize("data", [b"", b"\x01 a message that was never read", b"\x91\x01"])
def test_what_is_no_uplink_has_no_trace(data: bytes) -> None:
    assert uplink_shards.trace_of(data) is None

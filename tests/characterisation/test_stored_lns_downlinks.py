"""Rows of downlinks that another LNS carries, as the former program left them, are handed over and followed up."""

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack
from datetime import timedelta

import pytest

from core.runtime.mqtt import MqttSession
from tests.contracts.lns_rig import Bench, until
from tests.contracts.lns_takers import broker_api, http_api
from tests.contracts.test_lns_downlinks import Carried

ROW = """
INSERT INTO downlink (tenant_id, device_id, slot, f_port, payload, confirmed, priority, not_after, state, reason,
                      attempts, not_before, lns_source_id, lns_item, handed_at, created_at, updated_at)
SELECT d.tenant_id, d.id, 16, 85, $1, true, 1, now() + interval '1 hour', $2::text::downlink_state, NULL, $3,
       now() + $4::interval, d.lns_source_id, $5, now() + $6::interval, now() - interval '1 hour',
       now() - interval '1 minute'
FROM device d WHERE d.id = $7 RETURNING id
"""
# How a row that is in hand, and one that was handed over, are called; ThingPark takes sixteen digits.
UUIDS = ("57433366-50a6-4dc2-8145-2df1bbc70d9e", "0b7c1f0e-8d0f-4c3e-9a63-5f0d1e2c3b4a")
DIGITS = ("9F86D081884C7D65", "60303AE22B998861")
STATES = """
SELECT payload, state::text, attempts, lns_item, f_cnt_down, handed_at IS NOT NULL AS is_handed,
       sent_at IS NOT NULL AS is_sent
FROM downlink ORDER BY id
"""


@pytest.fixture
async def carried(bench: Bench, lns: MqttSession) -> AsyncGenerator[Carried]:
    async with AsyncExitStack() as opened:
        http = await opened.enter_async_context(http_api())
        broker = await opened.enter_async_context(broker_api(bench))
        yield Carried(bench, lns, http, broker)


@pytest.mark.parametrize(
    ("name", "items"),
    [("chirpstack, MQTT", UUIDS), ("the_things_stack, webhook", UUIDS), ("thingpark", DIGITS)],
    ids=["chirpstack", "the_things_stack", "thingpark"],
)
async def test_downlinks_of_another_lns_go_on_from_every_state_that_the_former_program_left(
    carried: Carried, name: str, items: tuple[str, str]
) -> None:
    await carried.plant(name)
    name_in_hand, name_handed = items
    pool = carried.bench.pool

    async def row(payload: bytes, state: str, *values: object) -> None:
        await pool.execute(ROW, payload, state, *values, carried.device_id)

    await row(b"in hand", "sending", 0, None, name_in_hand, None)
    await row(b"handed", "sending", 1, None, name_handed, -timedelta(minutes=30))
    await row(b"queued", "queued", 0, None, None, None)
    await row(b"later", "queued", 0, timedelta(minutes=30), None, None)

    async def both_taken() -> bool:
        handed = "SELECT count(*) FROM downlink WHERE handed_at IS NOT NULL AND payload IN ('in hand', 'queued')"
        return await pool.fetchval(handed) == 2

    async def is_sent() -> bool:
        return await pool.fetchval("SELECT EXISTS (SELECT FROM downlink WHERE state = 'sent')")

    async with carried.bench.intake():
        await until(both_taken)
        await carried.says("sent", name_handed)
        await until(is_sent)

    in_hand, handed, queued, later = [tuple(found) for found in await pool.fetch(STATES)]
    assert in_hand == (b"in hand", "sending", 1, name_in_hand, None, True, False)
    assert handed == (b"handed", "sent", 1, name_handed, 7, True, True)
    assert queued[:3] == (b"queued", "sending", 1)
    assert queued[4:] == (None, True, False)
    assert later == (b"later", "queued", 0, None, None, False, False)
    taken = [(one.item, one.f_port, one.payload, one.confirmed) for one in carried.taken]
    assert sorted(taken) == sorted([(name_in_hand, 85, b"in hand", True), (queued[3], 85, b"queued", True)])

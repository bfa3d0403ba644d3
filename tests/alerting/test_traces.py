"""One trace from the measurement that opens an alert to the header of the webhook, and one where no frame did."""

from datetime import UTC, datetime, timedelta
from typing import Any

from msgspec import msgpack
from structlog.testing import capture_logs

from alerting import store
from alerting.engine import Engine
from alerting.queue import decode_message
from alerting.rulebook import Rulebook, slot_of
from core.messages.batch import encode_batch
from core.messages.measurements import Measurement
from core.messages.topics import shard_of_slot
from core.model.identities import new_trace
from core.runtime.lease import take_lease
from core.runtime.postgres import Pool
from tests.alerting.crashes import message_of
from tests.alerting.sending import emptied, send, until, working

SHARDS = 4


def micros(at: datetime) -> int:
    return int(at.timestamp() * 1_000_000)


async def test_the_trace_of_the_value_that_opened_an_alert_is_in_its_notification_and_in_its_message(
    pool: Pool, place: Any, receiver: Any
) -> None:
    await place.endpoint(receiver)
    lease = await take_lease(
        pool, "alerting", shard_of_slot(slot_of(place.asset_id, place.device_id), SHARDS), "a"
    )
    assert lease is not None
    rulebook = Rulebook(pool)
    await rulebook.load()
    engine = Engine(pool, rulebook, SHARDS, least_watch=timedelta(0))
    now = datetime.now(UTC).replace(microsecond=123_457)
    calm, full = new_trace(), new_trace()
    stream, other = place.datastream_id, 1 << 30
    values = [
        (other, 3, 1.0, new_trace()),
        (stream, 2, 80.0, calm),
        (other, 1, 90.0, full),
        (stream, 1, 90.0, b""),
    ]
    items = [
        Measurement(id_, micros(now - timedelta(minutes=m)), value, 0, trace) for id_, m, value, trace in values
    ]

    with capture_logs() as said:
        await engine.evaluate_messages(lease, [message_of(encode_batch(items), micros(now))])

    notice = await pool.fetchrow("SELECT id, event, trace_id FROM alert_notice")
    assert notice is not None
    assert (notice["event"], notice["trace_id"]) == ("alert.opened", full)
    payload = await pool.fetchval("SELECT payload FROM jobs.pgqueuer")
    assert decode_message(payload).trace == full
    [line] = [line for line in said if line["event"] == "notice_queued"]
    assert (line["trace_id"], line["notice"]) == (full.hex(), f"msg_{notice['id'].hex}")
    assert (line["tenant"], line["outcome"]) == (place.tenant_id, "alert.opened")


async def test_each_attempt_at_a_message_is_a_span_of_its_own_in_the_same_trace(
    pool: Pool, database_url: str, place: Any, receiver: Any
) -> None:
    endpoint = await place.endpoint(receiver)
    receiver.statuses = [503, 204]

    with capture_logs() as said:
        async with working(pool, database_url):
            message_id = await send(pool, endpoint.id)
            await receiver.until(2)
            await until(lambda: emptied(pool))

    parents = [request["headers"]["traceparent"].split("-") for request in receiver.requests]
    # No frame has caused this message: it begins a trace under its own id.
    trace = message_id.removeprefix("msg_")
    assert [(version, trace_id, flags) for version, trace_id, _, flags in parents] == [("00", trace, "00")] * 2
    assert len({span for _, _, span, _ in parents}) == 2
    assert [attempt.trace_id for attempt in await store.list_attempts(pool, endpoint.id)] == [trace] * 2
    told = [line for line in said if line["event"] == "webhook_attempted"]
    assert [(line["trace_id"], line["attempt"], line["outcome"], line["status"]) for line in told] == [
        (trace, 1, "failed", 503),
        (trace, 2, "delivered", 204),
    ]


def test_messages_that_waited_while_the_program_was_replaced_are_read() -> None:
    old = {"message_id": "msg_00112233445566778899aabbccddeeff", "endpoint_id": 1, "alert_id": 2, "body": b"{}"}

    message = decode_message(msgpack.encode(old))

    assert message.trace.hex() == "00112233445566778899aabbccddeeff"

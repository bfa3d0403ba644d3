"""The queue worked off for real: pgqueuer on PostgreSQL, HTTP to a receiver on this machine."""

import asyncio
import time
from datetime import datetime, timedelta, tzinfo
from typing import Any, cast

import pytest
from asyncpg import InterfaceError
from structlog.testing import capture_logs

from alerting import store
from alerting.delivery import Deliverer
from alerting.queue import WebhookMessage
from alerting.queue_buffer import HeartbeatBuffer, StatusBuffer
from core.messages.versions import READ_SINCE, WRITTEN
from core.runtime.postgres import Pool, connect
from registry.keys import KeyWrap, row_owner
from tests.alerting.sending import FAST, KEYS, emptied, held, send, until, working


async def test_a_receiver_that_fails_twice_gets_the_same_id_three_times(
    pool: Pool, database_url: str, place: Any, receiver: Any
) -> None:
    endpoint = await place.endpoint(receiver)
    receiver.statuses = [500, 500, 200]
    receiver.body = b"merci\0" * 1000
    async with working(pool, database_url):
        message_id = await send(pool, endpoint.id)
        await receiver.until(3)
        await until(lambda: emptied(pool))
    attempts = await store.list_attempts(pool, endpoint.id)

    assert [request["id"] for request in receiver.requests] == [message_id] * 3
    assert len({request["octets"] for request in receiver.requests}) == 1
    assert [(one.attempt, one.status, one.outcome) for one in reversed(attempts)] == [
        (1, 500, "failed"),
        (2, 500, "failed"),
        (3, 200, "delivered"),
    ]
    assert len(attempts[0].answer) == 1024


class HourAhead(datetime):
    """The clock of a machine that is wrong; the database's is right."""

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> "HourAhead":
        return cls.fromtimestamp(time.time() + 3_600, tz)


async def test_what_a_process_with_a_wrong_clock_sends_is_believed_and_its_wait_is_no_longer(
    pool: Pool, database_url: str, place: Any, receiver: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    endpoint = await place.endpoint(receiver)
    receiver.statuses = [500, 204]
    monkeypatch.setattr("alerting.delivery.datetime", HourAhead)
    async with working(pool, database_url):
        message_id = await send(pool, endpoint.id)
        await receiver.until(1)  # It refuses what was signed more than five minutes from now.
        monkeypatch.undo()
        await receiver.until(2)

    assert [request["id"] for request in receiver.requests] == [message_id] * 2


async def test_a_connection_that_closes_in_mid_delivery_is_tried_again_and_no_defect(
    pool: Pool, database_url: str, place: Any, receiver: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    closes = iter([InterfaceError("connection is closed")])
    with_story: Any = getattr(Deliverer, "_with_story")  # noqa: B009 - Where a statement of a delivery may fail.

    async def interrupted(deliverer: Deliverer, message: WebhookMessage) -> WebhookMessage:
        for closed in closes:
            raise closed
        return await with_story(deliverer, message)

    monkeypatch.setattr(Deliverer, "_with_story", interrupted)
    endpoint = await place.endpoint(receiver)
    with capture_logs() as logs:
        async with working(pool, database_url):
            message_id = await send(pool, endpoint.id)
            await until(lambda: emptied(pool))

    assert [request["id"] for request in receiver.requests] == [message_id]
    assert [one["log_level"] for one in logs if one["event"].startswith("delivery")] == ["warning"]


async def test_a_message_that_never_arrives_stays_as_a_dead_letter(
    pool: Pool, database_url: str, place: Any, receiver: Any
) -> None:
    endpoint = await place.endpoint(receiver)
    receiver.statuses = [503]
    async with working(pool, database_url):
        await send(pool, endpoint.id)
        await until(lambda: held(pool))

    assert len(receiver.requests) == 1 + len(FAST)


async def test_a_job_of_this_version_and_of_the_one_before_is_sent_and_a_later_one_is_held(
    pool: Pool, database_url: str, place: Any, receiver: Any
) -> None:
    endpoint = await place.endpoint(receiver)
    ids = [await send(pool, endpoint.id) for _ in range(3)]
    for message_id, version in zip(ids[1:], (b"\x02", b"\x03"), strict=True):
        await pool.execute(
            "UPDATE jobs.pgqueuer SET payload = $2 || payload WHERE starts_with(dedupe_key, $1)",
            message_id,
            version,
        )

    async with working(pool, database_url):
        await receiver.until(2)
        await until(lambda: held(pool))

    assert {request["id"] for request in receiver.requests} == set(ids[:2])
    assert await pool.fetchval("SELECT dedupe_key FROM jobs.pgqueuer") == f"{ids[2]}/{endpoint.id}"


async def test_a_job_is_written_in_the_version_of_the_oldest_program(
    pool: Pool, place: Any, receiver: Any
) -> None:
    endpoint = await place.endpoint(receiver)
    try:
        for oldest in (READ_SINCE - 1, READ_SINCE):
            WRITTEN.learn(oldest)
            await send(pool, endpoint.id)
    finally:
        WRITTEN.learn(0)
    payloads = [row["payload"] for row in await pool.fetch("SELECT payload FROM jobs.pgqueuer ORDER BY id")]

    assert [payload[0] for payload in payloads] == [0x84, 0x02]  # A map of four; its version.


async def test_a_redirect_is_not_followed(pool: Pool, database_url: str, place: Any, receiver: Any) -> None:
    endpoint = await place.endpoint(receiver)
    receiver.statuses = [302, 204]
    async with working(pool, database_url):
        await send(pool, endpoint.id)
        await receiver.until(2)
        await until(lambda: emptied(pool))
    attempts = await store.list_attempts(pool, endpoint.id)

    assert [one.status for one in attempts] == [204, 302]


async def test_an_address_inside_is_rejected_unless_the_tenant_may_reach_it(
    pool: Pool, database_url: str, place: Any, receiver: Any
) -> None:
    await pool.execute("UPDATE tenant SET webhook_allow_list = '{}'")
    endpoint = await place.endpoint(receiver)
    async with working(pool, database_url):
        await send(pool, endpoint.id)
        await until(lambda: held(pool))
    attempts = await store.list_attempts(pool, endpoint.id)

    assert receiver.requests == []
    assert {(one.outcome, one.status) for one in attempts} == {("refused", None)}
    assert "n'est pas une adresse publique" in attempts[0].answer


async def test_a_slow_endpoint_delays_nobody_else_and_has_one_request_at_a_time(
    pool: Pool, database_url: str, place: Any, receiver: Any, second_receiver: Any
) -> None:
    slow, quick = await place.endpoint(receiver), await place.endpoint(second_receiver)
    receiver.gate.clear()
    async with working(pool, database_url):
        for _ in range(100):
            await send(pool, slow.id)
        await receiver.until(1)
        for _ in range(3):
            await send(pool, quick.id)
        await second_receiver.until(3, within_s=5)
        waiting = len(receiver.requests)
        await pool.execute("DELETE FROM jobs.pgqueuer WHERE status = 'queued'")
        receiver.gate.set()

    assert waiting == 1
    assert len(second_receiver.requests) == 3


async def test_an_endpoint_made_while_the_worker_runs_is_served(
    pool: Pool, database_url: str, place: Any, receiver: Any
) -> None:
    async with working(pool, database_url) as worker:
        endpoint = await place.endpoint(receiver)
        await send(pool, endpoint.id)
        await worker.refresh()
        await receiver.until(1)

    assert receiver.types == ["alert.opened"]


async def test_a_message_that_was_delivered_is_not_sent_again_after_a_crash(
    pool: Pool, database_url: str, place: Any, receiver: Any
) -> None:
    endpoint = await place.endpoint(receiver)
    message_id = await send(pool, endpoint.id)
    await pool.execute(
        "INSERT INTO webhook_attempt (tenant_id, endpoint_id, message_id, alert_id, attempt, at, outcome, "
        "status, duration_ms) VALUES ($1, $2, $3, 1, 1, now(), 'delivered', 204, 5)",
        place.tenant_id,
        endpoint.id,
        message_id,
    )
    async with working(pool, database_url):
        await until(lambda: emptied(pool))

    assert receiver.requests == []


async def test_the_worker_comes_back_when_its_connection_is_cut(
    pool: Pool, database_url: str, place: Any, receiver: Any, database: Any
) -> None:
    endpoint = await place.endpoint(receiver)
    async with working(pool, database_url):
        await send(pool, endpoint.id)
        await receiver.until(1)
        await pool.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'test-jobs'"
        )
        await send(pool, endpoint.id)
        await receiver.until(2)

    assert len({request["id"] for request in receiver.requests}) == 2


async def test_during_a_rotation_both_secrets_verify(
    pool: Pool, database_url: str, place: Any, receiver: Any
) -> None:
    endpoint = await place.endpoint(receiver)
    sealed_for = await pool.fetchval("SELECT sealed_for FROM webhook_endpoint")
    await pool.execute(
        "UPDATE webhook_endpoint SET previous_secret_wrapped = secret_wrapped, "
        "previous_until = now() + interval '1 h', secret_wrapped = $1",
        KEYS.wrap(bytes(32), row_owner("webhook_endpoint", sealed_for)),
    )
    async with working(pool, database_url):
        await send(pool, endpoint.id)
        await receiver.until(1)  # It knows the former secret only.

    assert receiver.types == ["alert.opened"]


async def test_under_another_key_encryption_key_a_message_waits_for_the_right_one(
    pool: Pool, database_url: str, place: Any, receiver: Any
) -> None:
    endpoint = await place.endpoint(receiver)
    await send(pool, endpoint.id)
    async with working(pool, database_url, (0.05, 1.0), KeyWrap("kek-1", b"wrong" + bytes(11))):
        await until(lambda: pool.fetchval("SELECT count(*) >= 2 FROM webhook_attempt"))
    in_vain = await store.list_attempts(pool, endpoint.id)
    async with working(pool, database_url, (0.05, 1.0)):
        await receiver.until(1)

    assert {attempt.outcome for attempt in in_vain} == {"failed"}
    assert "ne s'ouvre pas" in in_vain[0].answer


async def test_a_message_outlives_an_error_that_nobody_foresaw(
    pool: Pool, database: Any, place: Any, receiver: Any
) -> None:
    endpoint = await place.endpoint(receiver)
    owner = await connect(database.admin_url)
    await owner.execute("REVOKE SELECT ON webhook_attempt FROM territoire_service")
    async with working(pool, database.service_url, (0.2,)):
        await send(pool, endpoint.id)
        await until(lambda: pool.fetchval("SELECT attempts > 0 OR status = 'failed' FROM jobs.pgqueuer"))
        await owner.execute("GRANT SELECT ON webhook_attempt TO territoire_service")
        await owner.close()
        await receiver.until(1)

    assert receiver.types == ["alert.opened"]


async def test_a_queue_with_nothing_in_it_wakes_nobody(
    pool: Pool, database_url: str, place: Any, receiver: Any
) -> None:
    """pgqueuer's own buffer sets ten timers a second; its looks at the queue and its heartbeats, five in two."""
    await place.endpoint(receiver)
    loop: Any = asyncio.get_running_loop()
    timers: list[float] = []

    def count(when: float, *arguments: Any, **named: Any) -> Any:
        timers.append(when)
        return call_at(when, *arguments, **named)

    async with working(pool, database_url, poll=timedelta(seconds=2)):
        await asyncio.sleep(0.5)
        call_at, loop.call_at = loop.call_at, count
        await asyncio.sleep(2.0)
        del loop.call_at

    assert len(timers) < 16


async def test_what_became_of_a_job_is_written_down_again_after_a_failure_which_is_no_error_of_ours(
    caplog: pytest.LogCaptureFixture,
) -> None:
    written: list[Any] = []
    failures = [ConnectionError(), ConnectionError()]

    class Sink:
        async def log_jobs(self, job_status: list[Any]) -> None:
            if failures:
                raise failures.pop()
            written.extend(job_status)

    job: Any = object()
    async with StatusBuffer(10, repository=Sink(), timeout=timedelta(milliseconds=10)) as buffer:
        await buffer.add((job, "successful", None))
        async with asyncio.timeout(10):
            while not written:  # noqa: ASYNC110
                await asyncio.sleep(0.01)

    assert written == [(job, "successful", None)]
    assert not [record for record in caplog.records if record.exc_info]


async def test_a_sign_of_life_that_a_database_did_not_take_is_no_error_of_ours(
    caplog: pytest.LogCaptureFixture,
) -> None:
    asked: list[Any] = []

    class Sink:
        async def update_heartbeat(self, job_ids: list[Any]) -> None:
            asked.append(job_ids)
            raise ConnectionError

    async with HeartbeatBuffer(1, repository=Sink(), timeout=timedelta(milliseconds=10)) as buffer:
        await buffer.add(cast(Any, 1))
        await until(lambda: asyncio.sleep(0, bool(asked)))
        await asyncio.sleep(0.1)

    assert asked == [[1]]  # The next one comes by itself.
    assert not [record for record in caplog.records if record.exc_info]

"""What was given up is seen and sent again; a receiver's own wait is kept; secrets are changed under way."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from standardwebhooks import Webhook

from alerting import dead_letters, store
from alerting.delivery import RETRY_AFTER_MOST, retry_after_of
from core.runtime.postgres import Pool
from tests.alerting.sending import FAST, KEYS, emptied, held, send, until, working
from tests.entering import tenant_transaction

NOW = datetime(2026, 11, 25, 18, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "wait"),
    [
        ("120", timedelta(seconds=120)),
        ("0", timedelta(0)),
        (" 7 ", timedelta(seconds=7)),
        ("Wed, 25 Nov 2026 18:10:00 GMT", timedelta(minutes=10)),
        ("Wed, 25 Nov 2026 17:10:00 GMT", timedelta(0)),
        ("9" * 40, RETRY_AFTER_MOST),
        ("", None),
        ("demain", None),
        ("-5", None),
    ],
)
def test_a_retry_after_is_seconds_or_a_date_and_a_day_at_most(value: str, wait: timedelta | None) -> None:
    assert retry_after_of(value, NOW) == wait


async def test_a_receiver_that_asks_for_an_hour_is_left_alone_for_an_hour(
    pool: Pool, database_url: str, place: Any, receiver: Any
) -> None:
    endpoint = await place.endpoint(receiver)
    receiver.statuses, receiver.headers = [429], {"Retry-After": "3600"}
    async with working(pool, database_url):
        await send(pool, endpoint.id)
        await until(lambda: pool.fetchval("SELECT attempts > 0 FROM jobs.pgqueuer"))
    await pool.execute("UPDATE jobs.pgqueuer SET execute_after = now()")  # As after a crash.
    async with working(pool, database_url):
        await until(lambda: pool.fetchval("SELECT attempts > 1 FROM jobs.pgqueuer"))
    attempts = await store.list_attempts(pool, endpoint.id)
    waits = await pool.fetchval("SELECT execute_after - now() FROM jobs.pgqueuer")

    assert [attempt.status for attempt in attempts] == [429]
    assert attempts[0].next_at is not None
    assert timedelta(seconds=3590) < attempts[0].next_at - attempts[0].at < timedelta(seconds=3610)
    assert timedelta(seconds=3500) < waits <= timedelta(seconds=3600)


async def test_dead_letters_are_replayed_one_by_one_or_all_with_their_ids(
    pool: Pool, api_pool: Pool, database_url: str, place: Any, receiver: Any
) -> None:
    endpoint = await place.endpoint(receiver)
    receiver.statuses = [503]
    async with working(pool, database_url):
        ids = [await send(pool, endpoint.id) for _ in range(3)]
        await until(lambda: all_failed(pool, 3))
    async with tenant_transaction(api_pool, place.tenant_id) as connection:
        dead = await dead_letters.list_dead(connection, endpoint.id)
        alone = await dead_letters.replay(connection, endpoint.id, [dead[0].id])
    receiver.statuses = [204]
    async with working(pool, database_url):
        await until(lambda: all_failed(pool, 2))
    async with tenant_transaction(api_pool, place.tenant_id) as connection:
        others = await dead_letters.replay(connection, endpoint.id)
        again = await dead_letters.replay(connection, endpoint.id)
    async with working(pool, database_url):
        await until(lambda: emptied(pool))
    attempts = await store.list_attempts(pool, endpoint.id, message_id=ids[2])

    assert [letter.message_id for letter in dead] == list(reversed(ids))
    assert {(letter.event, letter.status, letter.attempts) for letter in dead} == {("alert.opened", 503, 4)}
    assert (alone, others, again) == (1, 2, 0)
    assert [request["id"] for request in receiver.requests][12:] == [ids[2], ids[0], ids[1]]
    assert [(one.attempt, one.outcome) for one in reversed(attempts)] == [
        *((number, "failed") for number in (1, 2, 3, 4)),
        (5, "delivered"),
    ]


async def all_failed(pool: Pool, count: int) -> bool:
    return await pool.fetchval("SELECT count(*) = $1 AND bool_and(status = 'failed') FROM jobs.pgqueuer", count)


async def test_a_dead_letter_that_fails_again_has_its_whole_schedule_again(
    pool: Pool, api_pool: Pool, database_url: str, place: Any, receiver: Any
) -> None:
    endpoint = await place.endpoint(receiver)
    receiver.statuses = [503]
    async with working(pool, database_url):
        await send(pool, endpoint.id)
        await until(lambda: held(pool))
    async with tenant_transaction(api_pool, place.tenant_id) as connection:
        await dead_letters.replay(connection, endpoint.id)
    async with working(pool, database_url):
        await receiver.until(2 * (1 + len(FAST)))
        await until(lambda: held(pool))

    assert len(receiver.requests) == 2 * (1 + len(FAST))


async def test_another_tenant_sees_and_moves_nothing(
    pool: Pool, api_pool: Pool, database_url: str, place: Any, make_place: Any, receiver: Any
) -> None:
    endpoint = await place.endpoint(receiver)
    other = await make_place("autre")
    receiver.statuses = [503]
    async with working(pool, database_url):
        await send(pool, endpoint.id)
        await until(lambda: held(pool))
    async with tenant_transaction(api_pool, other.tenant_id) as connection:
        dead = await dead_letters.list_dead(connection, endpoint.id)
        moved = await dead_letters.replay(connection, endpoint.id)
        tested = await dead_letters.queue_test(connection, endpoint.id, b"{}")
        rotated = await store.rotate_secret(connection, KEYS, endpoint.id, NOW)
        health = await dead_letters.read_health(connection, endpoint.id)

    assert (dead, moved, tested, rotated, health) == ([], 0, None, None, None)
    assert await held(pool)


async def test_health_says_what_waits_what_died_and_what_went_wrong(
    pool: Pool, api_pool: Pool, database_url: str, place: Any, receiver: Any
) -> None:
    endpoint = await place.endpoint(receiver)

    async def health() -> dead_letters.Health:
        async with tenant_transaction(api_pool, place.tenant_id) as connection:
            found = await dead_letters.read_health(connection, endpoint.id)
        assert found is not None
        return found

    untried = await health()
    async with working(pool, database_url):
        await send(pool, endpoint.id)
        await until(lambda: emptied(pool))
        healthy = await health()
        receiver.statuses = [500]
        await send(pool, endpoint.id)
        await until(lambda: held(pool))
    await send(pool, endpoint.id)
    failing = await health()

    assert (untried.state, untried.delivered_at, untried.last_failure) == ("untried", None, None)
    assert (healthy.state, healthy.delivered_24h, healthy.last_failure) == ("healthy", 1, None)
    assert (failing.state, failing.waiting, failing.dead) == ("failing", 1, 1)
    assert (failing.failed_24h, failing.failed_in_a_row, failing.last_failure) == (4, 4, "HTTP 500")


async def test_a_secret_is_changed_while_messages_are_under_way(
    pool: Pool, api_pool: Pool, database_url: str, place: Any, receiver: Any
) -> None:
    endpoint = await place.endpoint(receiver)
    async with tenant_transaction(api_pool, place.tenant_id) as connection:
        until_then = datetime.now(UTC) + timedelta(hours=1)
        secret = await store.rotate_secret(connection, KEYS, endpoint.id, until_then)
        body = b'{"type":"webhook.test"}'
        message_id = await dead_letters.queue_test(connection, endpoint.id, body)
    async with working(pool, database_url):
        await receiver.until(1)  # It knows the former secret only.
    request = receiver.requests[0]

    assert request["id"] == message_id
    assert secret is not None
    Webhook(secret).verify(request["octets"], request["headers"])
    await pool.execute("UPDATE webhook_endpoint SET previous_until = now() - interval '1 s'")
    receiver.secret = secret
    async with working(pool, database_url):
        await send(pool, endpoint.id)
        await receiver.until(2)
    assert len(receiver.requests[1]["headers"]["webhook-signature"].split()) == 1

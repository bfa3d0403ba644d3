"""What waits for an endpoint that is suspended, by a person or by its own 410, is kept and can be sent again."""

from typing import Any

from alerting import dead_letters, store
from core.runtime.postgres import Pool
from tests.alerting.sending import emptied, send, statuses, until, working
from tests.entering import tenant_transaction

SLOW_S = (3600.0,)


async def suspend(api_pool: Pool, place: Any, endpoint_id: int, *, enabled: bool = False) -> None:
    async with tenant_transaction(api_pool, place.tenant_id) as connection:
        await store.set_endpoint_enabled(connection, endpoint_id, enabled=enabled)


async def dead(api_pool: Pool, place: Any, endpoint_id: int) -> list[dead_letters.DeadWebhook]:
    async with tenant_transaction(api_pool, place.tenant_id) as connection:
        return await dead_letters.list_dead(connection, endpoint_id)


async def replay(api_pool: Pool, place: Any, endpoint_id: int, ids: list[int] | None = None) -> int:
    async with tenant_transaction(api_pool, place.tenant_id) as connection:
        return await dead_letters.replay(connection, endpoint_id, ids)


async def test_an_address_that_is_gone_is_left_alone_and_its_messages_are_sent_again_once_it_is_back(
    pool: Pool, api_pool: Pool, database_url: str, place: Any, receiver: Any
) -> None:
    endpoint = await place.endpoint(receiver)
    receiver.statuses = [410]
    await pool.execute("UPDATE webhook_endpoint SET gone_at = now() - interval '24 hours'")
    ids = [await send(pool, endpoint.id) for _ in range(3)]
    async with working(pool, database_url):
        await until(lambda: given_up(pool, 3))
    disabled = await store.read_endpoint(pool, endpoint.id)
    letters = await dead(api_pool, place, endpoint.id)
    asked = len(receiver.requests)
    receiver.statuses = [204]
    await suspend(api_pool, place, endpoint.id, enabled=True)
    alone = await replay(api_pool, place, endpoint.id, [letters[1].id])
    async with working(pool, database_url):
        await until(lambda: given_up(pool, 2))
    others = await replay(api_pool, place, endpoint.id)
    async with working(pool, database_url):
        await until(lambda: emptied(pool))

    assert disabled is not None
    assert (disabled.state, disabled.disabled_reason) == (
        "disabled",
        "l'adresse a répondu 410 (supprimée) deux fois à un jour d'écart",
    )
    assert asked == 1
    assert [(one.message_id, one.attempts, one.status) for one in letters] == [
        (ids[2], 0, None),
        (ids[1], 0, None),
        (ids[0], 1, 410),
    ]
    assert letters[0].answer == "jamais essayé : l'adresse était suspendue"
    assert (alone, others) == (1, 2)
    assert [request["id"] for request in receiver.requests] == [ids[0], ids[1], ids[0], ids[2]]


async def test_a_first_410_keeps_the_message_on_its_schedule_and_warns_the_tenants_other_addresses(
    pool: Pool, database_url: str, place: Any, receiver: Any, second_receiver: Any
) -> None:
    endpoint, other = await place.endpoint(receiver), await place.endpoint(second_receiver)
    receiver.statuses = [410, 410, 204]
    async with working(pool, database_url):
        message_id = await send(pool, endpoint.id)
        await second_receiver.until(1)
        await until(lambda: emptied(pool))
    after = await store.read_endpoint(pool, endpoint.id)

    assert [request["id"] for request in receiver.requests] == [message_id] * 3
    # Once, and not the address itself.
    assert second_receiver.types == ["endpoint.gone"]
    assert f"n° {endpoint.id} " in second_receiver.requests[0]["body"]["data"]["message"]
    # A success begins anew: the next 410 is a first one.
    assert after is not None
    assert (after.state, after.gone_at) == ("enabled", None)
    assert other.id != endpoint.id


async def test_a_410_a_day_after_the_first_suspends_and_says_so(
    pool: Pool, database_url: str, place: Any, receiver: Any, second_receiver: Any
) -> None:
    endpoint = await place.endpoint(receiver)
    await place.endpoint(second_receiver)
    receiver.statuses = [410]
    async with working(pool, database_url, SLOW_S):
        await send(pool, endpoint.id)
        await second_receiver.until(1)
        await pool.execute(
            "UPDATE webhook_endpoint SET gone_at = gone_at - interval '23 hours' WHERE id = $1", endpoint.id
        )
        await send(pool, endpoint.id)
        await receiver.until(2)
        await until(lambda: pool.fetchval("SELECT count(*) = 2 FROM webhook_attempt WHERE outcome = 'gone'"))
        still = await store.read_endpoint(pool, endpoint.id)
        await pool.execute(
            "UPDATE webhook_endpoint SET gone_at = gone_at - interval '1 hour' WHERE id = $1", endpoint.id
        )
        await send(pool, endpoint.id)
        await second_receiver.until(2)
    suspended = await store.read_endpoint(pool, endpoint.id)

    assert still is not None
    assert suspended is not None
    assert (still.state, suspended.state) == ("enabled", "disabled")
    assert second_receiver.types == ["endpoint.gone", "endpoint.suspended"]
    assert sorted(await statuses(pool)()) == ["failed"] * 3


async def given_up(pool: Pool, count: int) -> bool:
    return await statuses(pool)() == ["failed"] * count


async def test_what_waits_is_given_up_at_once_when_a_person_suspends_the_address(
    pool: Pool, api_pool: Pool, database_url: str, place: Any, receiver: Any, second_receiver: Any
) -> None:
    """Also what waits for its next attempt in an hour; another address of the tenant loses nothing."""
    endpoint, other = await place.endpoint(receiver), await place.endpoint(second_receiver)
    receiver.statuses = [503]
    second_receiver.statuses = [503]
    async with working(pool, database_url, SLOW_S):
        await send(pool, endpoint.id, other.id)
        await until(lambda: pool.fetchval("SELECT count(*) = 2 FROM jobs.pgqueuer WHERE attempts = 1"))
    await send(pool, endpoint.id)
    await suspend(api_pool, place, endpoint.id)
    await suspend(api_pool, place, endpoint.id)  # Once more changes nothing.
    letters = await dead(api_pool, place, endpoint.id)
    async with tenant_transaction(api_pool, place.tenant_id) as connection:
        health = await dead_letters.read_health(connection, endpoint.id)

    assert [(one.attempts, one.status) for one in letters] == [(0, None), (1, 503)]
    assert health is not None
    assert (health.state, health.waiting, health.dead) == ("disabled", 0, 2)
    assert sorted(await statuses(pool)()) == ["failed", "failed", "queued"]


async def test_what_was_queued_while_the_address_was_being_suspended_is_kept_too(
    pool: Pool, api_pool: Pool, database_url: str, place: Any, receiver: Any
) -> None:
    endpoint = await place.endpoint(receiver)
    await suspend(api_pool, place, endpoint.id)
    message_id = await send(pool, endpoint.id)  # By a transaction that had found it enabled.
    async with working(pool, database_url):
        await until(lambda: given_up(pool, 1))

    assert [one.message_id for one in await dead(api_pool, place, endpoint.id)] == [message_id]
    assert receiver.requests == []


async def test_a_request_under_way_ends_as_it_ends(
    pool: Pool, api_pool: Pool, database_url: str, place: Any, receiver: Any
) -> None:
    endpoint = await place.endpoint(receiver)
    receiver.gate.clear()
    async with working(pool, database_url):
        await send(pool, endpoint.id)
        await receiver.until(1)
        await suspend(api_pool, place, endpoint.id)
        receiver.gate.set()
        await until(lambda: emptied(pool))

    assert await dead(api_pool, place, endpoint.id) == []


async def test_what_nobody_wants_any_more_is_thrown_away_one_by_one_or_all(
    pool: Pool, api_pool: Pool, place: Any, make_place: Any, receiver: Any, second_receiver: Any
) -> None:
    endpoint, other = await place.endpoint(receiver), await place.endpoint(second_receiver)
    stranger = await make_place("autre")
    for _ in range(3):
        await send(pool, endpoint.id, other.id)
    await suspend(api_pool, place, endpoint.id)
    await suspend(api_pool, place, other.id)
    [first, second, third] = await dead(api_pool, place, endpoint.id)
    async with tenant_transaction(api_pool, stranger.tenant_id) as connection:
        by_a_stranger = await dead_letters.discard(connection, endpoint.id)
    async with tenant_transaction(api_pool, place.tenant_id) as connection:
        alone = await dead_letters.discard(connection, endpoint.id, [second.id])
        left = await dead_letters.list_dead(connection, endpoint.id)
        others = await dead_letters.discard(connection, endpoint.id)

    assert (by_a_stranger, alone, others) == (0, 1, 2)
    assert left == [first, third]
    assert await statuses(pool)() == ["failed"] * 3

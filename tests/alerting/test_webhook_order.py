"""Webhooks carry order and urgency: a sequence per alert, newer states in place of older ones, severity first."""

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from alerting import dead_letters, store
from alerting.notifications import Notification, enqueue_notification
from core.runtime.postgres import Pool
from tests.alerting.conftest import Receiver
from tests.alerting.sending import emptied, statuses, until, working
from tests.entering import tenant_transaction

HOUR_S = (3600.0, 3600.0, 3600.0)


class Alerts:
    """Alerts of a tenant, as the engine opens, changes and notifies them."""

    def __init__(self, pool: Pool, place: Any) -> None:
        self.pool, self.place = pool, place

    async def open(self, severity: str = "major", *, is_notified: bool = True) -> int:
        rule = await self.pool.fetchval(
            "INSERT INTO alert_rule (tenant_id, name, kind, severity, message) "
            "SELECT $1, 'rule_' || count(*), 'silence', 'major', 'm' FROM alert_rule RETURNING id",
            self.place.tenant_id,
        )
        alert_id: int = await self.pool.fetchval(
            "INSERT INTO alert (tenant_id, rule_id, severity, message, condition, opened_at) "
            "VALUES ($1, $2, $3::alert_severity, 'm', 'firing', now()) RETURNING id",
            self.place.tenant_id,
            rule,
            severity,
        )
        if is_notified:
            await self.notify(alert_id, "opened", severity)
        return alert_id

    async def notify(self, alert_id: int, event: str, severity: str = "major") -> None:
        at = datetime.now(UTC)
        data = {"alert": alert_id, "severity": severity, "message": f"Alerte {alert_id}", "link": ""}
        body = msgspec.json.encode({"type": f"alert.{event}", "timestamp": at, "data": data})
        notification = Notification(
            self.place.tenant_id, None, alert_id, f"alert.{event}", severity, "now", at, f"Alerte {alert_id}", body
        )
        async with self.pool.acquire() as connection, connection.transaction():
            await enqueue_notification(connection, notification)

    async def states(self) -> list[tuple[int, str]]:
        rows = await self.pool.fetch(
            "SELECT sequence, state FROM alert_notice_recipient ORDER BY alert_id, sequence, endpoint_id"
        )
        return [tuple(row) for row in rows]


@pytest.fixture
def alerts(pool: Pool, place: Any) -> Alerts:
    return Alerts(pool, place)


def received(receiver: Receiver) -> list[tuple[int, str]]:
    return [
        (request["body"]["data"]["alert"], request["body"]["type"].removeprefix("alert."))
        for request in receiver.requests
    ]


def story(request: dict[str, Any]) -> list[tuple[str, int]]:
    return [(one["type"], one["sequence"]) for one in request["body"]["data"].get("story", [])]


async def failed_once(pool: Pool, endpoint_id: int) -> bool:
    return await pool.fetchval(
        "SELECT count(*) > 0 FROM webhook_attempt WHERE endpoint_id = $1 AND outcome <> 'delivered'", endpoint_id
    )


async def all_wait(pool: Pool) -> bool:
    return "picked" not in await statuses(pool)()


async def test_messages_of_an_alert_are_numbered_in_body_and_header(
    pool: Pool, database_url: str, place: Any, receiver: Receiver, alerts: Alerts
) -> None:
    await place.endpoint(receiver)
    one = await alerts.open()
    async with working(pool, database_url):
        await receiver.until(1)
        await until(lambda: emptied(pool))
        await alerts.notify(one, "raised", "critical")
        other = await alerts.open("info")
        await receiver.until(3)
        await until(lambda: emptied(pool))

    assert received(receiver) == [(one, "opened"), (one, "raised"), (other, "opened")]
    numbers = [request["body"]["data"]["sequence"] for request in receiver.requests]
    assert numbers == [1, 2, 1]
    assert [request["headers"]["webhook-sequence"] for request in receiver.requests] == ["1", "2", "1"]


async def test_cloudevents_have_the_sequence_as_their_extension_has_it(
    pool: Pool, database_url: str, place: Any, receiver: Receiver, alerts: Alerts
) -> None:
    await place.endpoint(receiver)
    await pool.execute("UPDATE webhook_endpoint SET form = 'cloudevents'")
    await alerts.open()
    async with working(pool, database_url):
        await until(lambda: emptied(pool))

    assert receiver.requests[0]["body"]["sequence"] == "0000000001"


async def test_a_newer_state_goes_at_once_in_place_of_an_undelivered_one_and_carries_its_story(
    pool: Pool, database_url: str, place: Any, receiver: Receiver, alerts: Alerts
) -> None:
    """Its opening would be tried again in an hour; and a dead letter of the alert is not left behind."""
    endpoint = await place.endpoint(receiver)
    receiver.statuses = [503, 503, 204]
    alert = await alerts.open("warning")
    async with working(pool, database_url, HOUR_S):
        await receiver.until(1)
        await until(lambda: failed_once(pool, endpoint.id))
        await until(lambda: all_wait(pool))
        await alerts.notify(alert, "raised", "major")
        await receiver.until(2)
        await until(lambda: all_wait(pool))
        await alerts.notify(alert, "resolved", "major")
        await until(lambda: emptied(pool))

    assert received(receiver) == [(alert, "opened"), (alert, "raised"), (alert, "resolved")]
    assert story(receiver.requests[1]) == [("alert.opened", 1)]
    assert story(receiver.requests[2]) == [("alert.opened", 1), ("alert.raised", 2)]
    assert receiver.requests[2]["body"]["data"]["story"][0]["id"] == receiver.requests[0]["id"]
    assert await alerts.states() == [(1, "replaced"), (2, "replaced"), (3, "delivered")]


async def test_a_dead_letter_of_an_alert_is_replaced_by_its_newer_state(
    pool: Pool, api_pool: Pool, database_url: str, place: Any, receiver: Receiver, alerts: Alerts
) -> None:
    endpoint = await place.endpoint(receiver)
    receiver.statuses = [503, 204]
    alert = await alerts.open()
    async with working(pool, database_url, ()):
        await until(lambda: pool.fetchval("SELECT count(*) = 1 FROM jobs.pgqueuer WHERE status = 'failed'"))
        abandoned = await alerts.states()
        await alerts.notify(alert, "resolved")
        await until(lambda: emptied(pool))
    async with tenant_transaction(api_pool, place.tenant_id) as connection:
        left = await dead_letters.list_dead(connection, endpoint.id)

    assert abandoned == [(1, "abandoned")]
    assert left == []
    assert story(receiver.requests[1]) == [("alert.opened", 1)]


async def test_the_end_waits_for_the_opening_that_is_under_way_and_has_no_story_when_that_was_taken(
    pool: Pool, database_url: str, place: Any, receiver: Receiver, alerts: Alerts
) -> None:
    await place.endpoint(receiver)
    receiver.gate.clear()
    alert = await alerts.open()
    async with working(pool, database_url):
        await receiver.until(1)
        await alerts.notify(alert, "resolved")
        receiver.gate.set()
        await receiver.until(2)
        await until(lambda: emptied(pool))

    assert received(receiver) == [(alert, "opened"), (alert, "resolved")]
    assert story(receiver.requests[1]) == []
    assert await alerts.states() == [(1, "delivered"), (2, "delivered")]


async def test_an_opening_under_way_that_fails_after_the_end_was_queued_is_never_sent_again(
    pool: Pool, database_url: str, place: Any, receiver: Receiver, alerts: Alerts
) -> None:
    await place.endpoint(receiver)
    receiver.statuses = [503, 204]
    receiver.gate.clear()
    alert = await alerts.open()
    async with working(pool, database_url):
        await receiver.until(1)
        await alerts.notify(alert, "resolved")
        receiver.gate.set()
        await receiver.until(2)
        await until(lambda: emptied(pool))

    assert received(receiver) == [(alert, "opened"), (alert, "resolved")]
    assert story(receiver.requests[1]) == [("alert.opened", 1)]


async def test_one_message_has_one_body_at_every_attempt_whatever_its_story(
    pool: Pool, database_url: str, place: Any, receiver: Receiver, alerts: Alerts
) -> None:
    await place.endpoint(receiver)
    receiver.statuses = [503, 503, 503, 204]
    alert = await alerts.open()
    async with working(pool, database_url, (0.05, 0.05)):
        await receiver.until(1)
        await alerts.notify(alert, "resolved")
        await until(lambda: emptied(pool))

    bodies: dict[str, set[bytes]] = {}
    for request in receiver.requests:
        bodies.setdefault(request["id"], set()).add(request["octets"])
    assert len(receiver.requests) == 4
    assert {len(octets) for octets in bodies.values()} == {1}


async def test_a_critical_message_waits_for_the_request_in_hand_only(
    pool: Pool, database_url: str, place: Any, receiver: Receiver, alerts: Alerts
) -> None:
    await place.endpoint(receiver)
    receiver.gate.clear()
    first = await alerts.open("info")
    async with working(pool, database_url):
        await receiver.until(1)
        others = [await alerts.open(severity) for severity in ("info", "warning", "info", "major", "critical")]
        receiver.gate.set()
        await until(lambda: emptied(pool))

    order = [alert for alert, _ in received(receiver)]
    info, warning, second_info, major, critical = others
    assert order == [first, critical, major, warning, info, second_info]


async def test_a_critical_message_does_not_wait_because_another_met_no_answer(
    pool: Pool, database_url: str, place: Any, receiver: Receiver, alerts: Alerts
) -> None:
    """What is not critical waits for half a minute then."""
    await place.endpoint(receiver)
    receiver.gate.clear()
    async with working(pool, database_url, HOUR_S, timeout_s=0.3, pause_s=3600):
        await alerts.open("major")
        await until(lambda: pool.fetchval("SELECT count(*) = 1 FROM webhook_attempt WHERE status IS NULL"))
        receiver.gate.set()
        minor = await alerts.open("major")
        critical = await alerts.open("critical")
        await receiver.until(2)
        order = [alert for alert, _ in received(receiver)]
        await until(lambda: emptied(pool))

    assert order[1] == critical
    assert minor in [alert for alert, _ in received(receiver)]  # Released by that success.


async def test_the_first_success_after_a_failure_releases_everything_that_waits(
    pool: Pool, database_url: str, place: Any, receiver: Receiver, second_receiver: Receiver, alerts: Alerts
) -> None:
    """Each would else wait for an hour; another address that is still away is left alone."""
    endpoint, away = await place.endpoint(receiver), await place.endpoint(second_receiver)
    receiver.statuses = [503, 503, 503, 204]
    second_receiver.statuses = [503]
    waiting = [await alerts.open() for _ in range(3)]
    async with working(pool, database_url, HOUR_S):
        await receiver.until(3)
        await second_receiver.until(3)
        await until(lambda: all_wait(pool))
        last = await alerts.open()
        await until(
            lambda: pool.fetchval(
                "SELECT count(*) = 0 FROM jobs.pgqueuer WHERE entrypoint = $1", f"webhook/{endpoint.id}"
            )
        )
        await second_receiver.until(4)
        await until(lambda: all_wait(pool))

    assert [alert for alert, _ in received(receiver)] == [*waiting, last, *waiting]
    assert len(second_receiver.requests) == 4
    assert away.id != endpoint.id


async def test_a_message_of_before_the_upgrade_is_delivered_as_it_was(
    pool: Pool, database_url: str, place: Any, receiver: Receiver
) -> None:
    """Without key, sequence or recipient."""
    endpoint = await place.endpoint(receiver)
    payload = msgspec.msgpack.encode(
        {"message_id": "msg_" + "0a" * 16, "endpoint_id": endpoint.id, "alert_id": 7, "body": b'{"type":"x"}'}
    )
    await pool.execute(
        "INSERT INTO jobs.pgqueuer (priority, entrypoint, payload, status) VALUES (0, $1, $2, 'queued')",
        f"webhook/{endpoint.id}",
        payload,
    )
    async with working(pool, database_url):
        await until(lambda: emptied(pool))

    assert receiver.requests[0]["octets"] == b'{"type":"x"}'
    assert "webhook-sequence" not in receiver.requests[0]["headers"]
    assert [one.outcome for one in await store.list_attempts(pool, endpoint.id)] == ["delivered"]

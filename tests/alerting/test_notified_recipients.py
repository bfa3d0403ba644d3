"""Who was notified of what is remembered: rises and ends in a silence, addresses that are all suspended.

Measurements in, by the engine; webhooks out, by the worker, to receivers on a socket.
"""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest

from alerting import alert_store, silences, store, teams
from alerting.background import count_unreached
from alerting.dispatch import dispatch
from core.runtime.postgres import Pool
from tests.alerting.alert_scenario import AlertScenario, on
from tests.alerting.conftest import LOOPBACK, Receiver, receiving
from tests.alerting.sending import KEYS, emptied, send, until, working
from tests.alerting.watching import Watch, watch
from tests.proved import create_proved_endpoint

NOW = on(16, 10)
TEST = b'{"type":"webhook.test","data":{}}'


class Scene:
    """One bin that is watched, and addresses that are notified."""

    def __init__(self, watching: Watch, pool: Pool, url: str) -> None:
        self.watching, self.pool, self.url = watching, pool, url
        self.tenant_id = watching.town.tenant_id
        self.stream = watching.town.things[0].datastream_id

    async def address(self, receiver: Receiver, form: str = "standard") -> int:
        endpoint, receiver.secret = await create_proved_endpoint(
            self.pool, KEYS, self.tenant_id, receiver.url, form=form
        )
        return endpoint.id

    async def fill(self, *values: float) -> None:
        """The bin says these, ten minutes apart."""
        for value in values:
            await self.watching.pass_time(minutes=10)
            await self.watching.receive({self.stream: value})

    async def pass_time(self, **duration: float) -> None:
        await self.watching.pass_time(**duration)

    async def silence(self, **duration: float) -> int:
        """From now on for so long."""
        async with self.pool.acquire() as connection:
            made = await silences.create_silence(
                connection, self.tenant_id, "chef",
                {"reason": "essai", "starts_at": self.watching.now,
                 "ends_at": self.watching.now + timedelta(**duration),
                 "asset_id": self.watching.town.things[0].asset_id},
            )  # fmt: skip
        assert made is not None
        return made.id

    async def switch(self, endpoint_id: int, *, enabled: bool) -> None:
        await store.set_endpoint_enabled(self.pool, endpoint_id, enabled=enabled)

    async def deliver(self) -> None:
        """Digests, what had reached nobody, then all that waits."""
        await dispatch(self.pool, self.watching.now)
        async with working(self.pool, self.url):
            await until(lambda: emptied(self.pool))

    async def alert(self) -> alert_store.Alert:
        (alert,) = await alert_store.list_alerts(self.pool)
        return alert


@pytest.fixture
async def scene(pool: Pool, database_url: str) -> Scene:
    async def one_bin(scenario: AlertScenario) -> None:
        await scenario.add_asset("glass_container", "Borne 1", "fill_level", "%", lambda _: None, interval_h=6)

    watching = await watch(pool, one_bin)
    await pool.execute("UPDATE tenant SET webhook_allow_list = $1", LOOPBACK)
    await pool.execute("DELETE FROM webhook_endpoint")
    # A ladder whose rungs are values alone.
    await pool.execute(
        'UPDATE alert_rule SET ladder = \'[{"severity": "major", "op": ">=", "value": 90}]\' '
        "WHERE name = 'bin_75'"
    )
    await pool.execute("UPDATE alert_rule SET enabled = name = 'bin_75'")
    await watching.engine._rulebook.load()
    return Scene(watching, pool, database_url)


def received(receiver: Receiver) -> list[tuple[str, str]]:
    """Event and severity of what arrived."""
    return [
        (request["body"]["type"].removeprefix("alert."), request["body"]["data"]["severity"])
        for request in receiver.requests
    ]


async def test_a_rise_in_a_silence_is_notified_when_it_ends_at_the_severity_of_then(
    scene: Scene, receiver: Receiver
) -> None:
    await scene.address(receiver)
    await scene.fill(80, 80)
    await scene.deliver()
    await scene.silence(hours=2)
    await scene.fill(92, 93)
    await scene.deliver()
    by_then = received(receiver)
    await scene.pass_time(hours=2)
    await scene.deliver()
    await scene.pass_time(hours=1)
    await scene.deliver()

    assert by_then == [("opened", "warning")]
    assert received(receiver) == [("opened", "warning"), ("raised", "major")]


async def test_a_silence_that_a_person_ends_early_lets_the_rise_out_at_once(
    scene: Scene, receiver: Receiver
) -> None:
    await scene.address(receiver)
    await scene.fill(80, 80)
    await scene.silence(hours=2)
    await scene.fill(92, 93)
    # The wait counts from the town's clock, which is not the database's.
    await scene.pool.execute("UPDATE alert SET muted_until = $1, due_at = $1", scene.watching.now)
    await scene.pool.execute("UPDATE silence SET ends_at = $1", scene.watching.now)
    await scene.pass_time(minutes=1)
    await scene.deliver()

    assert [event for event, _ in received(receiver)] == ["raised"]
    assert [one["type"] for one in receiver.requests[0]["body"]["data"]["story"]] == ["alert.opened"]


async def test_an_end_in_a_silence_closes_the_ticket_when_it_ends(scene: Scene, receiver: Receiver) -> None:
    await scene.address(receiver)
    await scene.fill(80, 80)
    await scene.deliver()
    await scene.silence(hours=2)
    await scene.fill(40)
    await scene.deliver()
    by_then = received(receiver)
    await scene.pass_time(hours=2)
    await scene.deliver()

    assert by_then == [("opened", "warning")]
    assert received(receiver) == [("opened", "warning"), ("resolved", "warning")]
    assert (await scene.alert()).told


async def test_what_begins_and_ends_in_a_silence_is_notified_to_nobody(scene: Scene, receiver: Receiver) -> None:
    await scene.address(receiver)
    await scene.silence(hours=2)
    await scene.fill(80, 80, 40)
    await scene.pass_time(hours=3)
    await scene.deliver()

    assert received(receiver) == []


async def test_an_alert_whose_every_address_is_suspended_is_notified_when_one_is_back(
    scene: Scene, receiver: Receiver
) -> None:
    address = await scene.address(receiver)
    await scene.switch(address, enabled=False)
    await scene.fill(80, 80, 92)
    await scene.deliver()
    unnotified, waiting = await scene.alert(), await count_unreached(scene.pool)
    await scene.switch(address, enabled=True)
    await scene.deliver()
    await scene.deliver()
    data = receiver.requests[0]["body"]["data"]

    assert (unnotified.told, waiting) == (False, 1)
    assert received(receiver) == [("raised", "major")]
    assert [(one["type"], one["severity"]) for one in data["story"]] == [("alert.opened", "warning")]
    assert ((await scene.alert()).told, await count_unreached(scene.pool)) == (True, 0)


async def test_an_alert_of_a_tenant_without_any_address_is_notified_to_the_first_that_is_added(
    scene: Scene, receiver: Receiver
) -> None:
    await scene.fill(80, 80)
    await dispatch(scene.pool, scene.watching.now)
    await scene.address(receiver)
    await scene.fill(85)
    await scene.deliver()

    assert received(receiver) == [("opened", "warning")]


async def test_what_is_over_before_an_address_is_back_is_notified_as_over_with_its_story(
    scene: Scene, receiver: Receiver
) -> None:
    address = await scene.address(receiver)
    await scene.switch(address, enabled=False)
    await scene.fill(80, 80, 40)
    await scene.switch(address, enabled=True)
    await scene.deliver()

    assert received(receiver) == [("resolved", "warning")]
    assert [one["type"] for one in receiver.requests[0]["body"]["data"]["story"]] == ["alert.opened"]


async def test_what_a_person_has_ended_before_anybody_was_notified_is_sent_to_nobody(
    scene: Scene, receiver: Receiver
) -> None:
    address = await scene.address(receiver)
    await scene.switch(address, enabled=False)
    await scene.fill(80, 80)
    await scene.switch(address, enabled=True)
    async with scene.pool.acquire() as connection:
        await alert_store.close(connection, (await scene.alert()).id, "chef", "vidée")
    await scene.pool.execute("UPDATE alert SET due_at = $1 WHERE due_at IS NOT NULL", scene.watching.now)
    await scene.pass_time(minutes=1)
    await scene.deliver()

    assert received(receiver) == []


async def test_what_waits_for_the_only_address_when_it_is_suspended_is_sent_once_it_is_back(
    scene: Scene, receiver: Receiver
) -> None:
    address = await scene.address(receiver)
    await scene.fill(80, 80)
    await scene.switch(address, enabled=False)
    await dispatch(scene.pool, scene.watching.now)
    meanwhile = (await scene.alert()).told
    again = await dispatch(scene.pool, scene.watching.now)
    await scene.switch(address, enabled=True)
    await scene.deliver()
    await scene.deliver()

    assert (meanwhile, again.caught_up) == (False, 0)
    assert received(receiver) == [("opened", "warning")]
    assert (await scene.alert()).told


async def test_what_no_address_took_in_its_whole_schedule_is_sent_once_one_takes_another_message(
    scene: Scene, receiver: Receiver
) -> None:
    await scene.address(receiver)
    receiver.statuses = [503]
    await scene.fill(80, 80)
    async with working(scene.pool, scene.url, ()):
        await until(lambda: scene.pool.fetchval("SELECT count(*) = 1 FROM jobs.pgqueuer WHERE status = 'failed'"))
    turns = [await dispatch(scene.pool, scene.watching.now) for _ in range(3)]
    meanwhile = (await scene.alert()).told
    receiver.statuses = [204]
    await send(scene.pool, await scene.pool.fetchval("SELECT id FROM webhook_endpoint"), body=TEST)
    async with working(scene.pool, scene.url, ()):
        await receiver.until(2)
        await until(lambda: scene.pool.fetchval("SELECT count(*) = 0 FROM jobs.pgqueuer WHERE status <> 'failed'"))
    await scene.deliver()

    assert (meanwhile, [turn.caught_up for turn in turns]) == (False, [0, 0, 0])
    assert [request["body"]["type"] for request in receiver.requests] == [
        "alert.opened",
        "webhook.test",
        "alert.opened",
    ]
    assert (await scene.alert()).told


async def test_the_end_goes_to_those_who_got_the_opening_and_to_nobody_else(
    scene: Scene, receiver: Receiver, second_receiver: Receiver
) -> None:
    """The rule's team changes meanwhile."""
    first, second = await scene.address(receiver), await scene.address(second_receiver)
    async with scene.pool.acquire() as connection, connection.transaction():
        crews = [
            await teams.create_team(
                connection, scene.tenant_id,
                {"name": name, "quiet_from": None, "quiet_until": None, "quiet_on_days_off": False,
                 "digest_at": NOW.time(), "sensor_health": False},
            )
            for name in ("Voirie", "Propreté")
        ]  # fmt: skip
        for crew, endpoint in zip(crews, (first, second), strict=True):
            await teams.create_contact(connection, crew.id, crew.name, 0, 1800, endpoint)
    await scene.pool.execute("UPDATE alert_rule SET team_id = $1", crews[0].id)
    await scene.watching.engine._rulebook.load()
    await scene.fill(80, 80)
    await scene.deliver()
    await scene.pool.execute("UPDATE alert SET team_id = $1", crews[1].id)
    await scene.pool.execute("DELETE FROM contact WHERE team_id = $1", crews[0].id)
    await scene.fill(40)
    await scene.deliver()

    assert received(receiver) == [("opened", "warning"), ("resolved", "warning")]
    assert received(second_receiver) == []


@asynccontextmanager
async def operators_address(scene: Scene) -> AsyncGenerator[Receiver]:
    """Of a tenant of the operator's own, made so by the operator."""
    tenant_id = await scene.pool.fetchval(
        "INSERT INTO tenant (slug, name, webhook_allow_list) VALUES ('op', 'Op', $1) RETURNING id", LOOPBACK
    )
    async with receiving() as receiver:
        endpoint, receiver.secret = await create_proved_endpoint(scene.pool, KEYS, tenant_id, receiver.url)
        await store.set_for_operator(scene.pool, endpoint.id, for_operator=True)
        yield receiver


async def test_the_operator_is_warned_once_of_alerts_that_reach_nobody(scene: Scene) -> None:
    async with operators_address(scene) as operator:
        await scene.fill(80, 80)
        await scene.deliver()
        await scene.deliver()
        await scene.fill(92)  # Of the same hour and not critical: it waits.
        await scene.deliver()
        within_the_hour = list(operator.types)
        await scene.pass_time(hours=1)
        await scene.deliver()

    assert within_the_hour == ["operator.nobody_notified"]
    assert operator.types == ["operator.nobody_notified"] * 2
    data: dict[str, Any] = operator.requests[0]["body"]["data"]
    assert (data["tenant"], data["count"]) == ("ville", 1)
    assert data["message"].startswith("Ville : 1 alerte n'a prévenu personne")


async def test_the_operators_address_gets_no_alert_of_its_own_tenant(scene: Scene, receiver: Receiver) -> None:
    address = await scene.address(receiver)
    await store.set_for_operator(scene.pool, address, for_operator=True)
    await scene.fill(80, 80)
    await scene.deliver()

    assert receiver.types == ["operator.nobody_notified"]

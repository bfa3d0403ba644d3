"""A device that takes another's place begins anew: what the former has left there leads to nothing."""

from datetime import timedelta

import pytest

from alerting import silences
from core.messages.batch import encode_batch
from core.messages.measurements import Measurement
from core.runtime.postgres import Pool
from registry.changes import Change
from tests.alerting.alert_scenario import SINCE_LONG, AlertScenario
from tests.alerting.crashes import message_of
from tests.alerting.test_rule_edges import change, frames, one_bin, register, upgraded_at, watch_since_long
from tests.alerting.watching import Watch, watch
from tests.conftest import Database


async def take_over(watching: Watch, name: str, *, speaks: bool) -> int:
    """Another device serves the first thing's place from now on; `speaks`: it has measured there."""
    thing = watching.town.things[0]
    device_id = await register(watching, name, thing.asset_id)
    if speaks:
        await watching.town.pool.execute("UPDATE datastream SET device_id = $1", device_id)
    await watching.engine._rulebook.apply([Change("asset", thing.asset_id)])
    return device_id


async def says(watching: Watch, *values: float) -> None:
    """Values of the first thing, ten minutes apart."""
    for value in values:
        await watching.receive({watching.town.things[0].datastream_id: value})
        await watching.pass_time(minutes=10)


async def battery(scenario: AlertScenario) -> None:
    await scenario.add_asset("waste_container", "Bac", "battery_level", "%", lambda _: 0)


async def door(scenario: AlertScenario) -> None:
    await scenario.add_asset("door", "Porte", "open", "1", lambda _: 0)


async def test_what_a_replaced_device_has_begun_its_successor_does_not_complete(pool: Pool) -> None:
    watching = await watch(pool, one_bin)
    watching.engine._orphans_every_s = 0
    await says(watching, 80)
    await take_over(watching, "neuf", speaks=True)
    await watching.pass_time(minutes=10)
    await says(watching, 81)
    after_one = await watching.notifications()
    await says(watching, 82)

    assert after_one == []
    assert await watching.notifications() == [("opened", "bin_75")]


async def test_a_duration_ends_with_the_device_that_measured_it(pool: Pool) -> None:
    watching = await watch(pool, door)
    watching.engine._orphans_every_s = 0
    await change(watching, "intrusion", schedule="always", for_seconds=3600)
    await says(watching, 1)
    await take_over(watching, "neuve", speaks=False)
    await watching.pass_time(minutes=50)
    await watching.pass_time(minutes=50)

    assert await watching.notifications() == []


async def test_what_a_replaced_device_sent_before_is_judged_no_more_and_no_sign_of_its_successor(
    pool: Pool, database: Database
) -> None:
    watching = await watch_since_long(pool, database)
    thing = watching.town.things[0]
    before_us = int(watching.now.timestamp()) * 1_000_000
    await watching.pass_time(minutes=3)
    await take_over(watching, "neuf", speaks=True)
    await watching.pass_time(minutes=2)
    for hours, seconds in ((0, (60, 120)), (2, (150,))):
        await watching.pass_time(hours=hours)
        late = [Measurement(thing.datastream_id, before_us + one * 1_000_000, 80.0, 0) for one in seconds]
        now_us = int(watching.now.timestamp()) * 1_000_000
        await watching.engine.evaluate_messages(watching.lease, [message_of(encode_batch(late), now_us)])
    await watching.pass_time(minutes=57)
    before = await watching.notifications()
    await watching.pass_time(minutes=2)

    assert before == []
    assert await watching.notifications() == [("opened", "device_silent")]


async def test_losses_of_a_replaced_device_are_no_alert_again_though_its_successor_says_nothing(
    pool: Pool,
) -> None:
    watching = await watch(pool, one_bin)
    watching.engine._orphans_every_s = 0
    await frames(watching, range(-24, 1), 2)
    await says(watching, 10)
    await take_over(watching, "neuf", speaks=False)
    for _ in range(3):
        await watching.pass_time(hours=1)

    assert await watching.notifications() == [("opened", "sensor_loss"), ("resolved", "sensor_loss")]


async def test_an_end_by_replacement_in_a_maintenance_window_is_notified_when_that_ends(pool: Pool) -> None:
    watching = await watch(pool, one_bin)
    watching.engine._orphans_every_s = 0
    await says(watching, 80, 80)
    asset_id, now = watching.town.things[0].asset_id, watching.now
    window = {"asset_id": asset_id, "reason": "pose", "starts_at": now, "ends_at": now + timedelta(hours=2)}
    async with pool.acquire() as connection:
        await silences.create_window(connection, watching.town.tenant_id, "chef", window)
    await take_over(watching, "neuf", speaks=False)
    await watching.pass_time(minutes=10)
    in_the_window = await watching.notifications()
    await watching.pass_time(hours=2)

    assert in_the_window == [("opened", "bin_75")]
    assert await watching.notifications() == [("opened", "bin_75"), ("resolved", "bin_75")]
    assert "remplacé" in await pool.fetchval("SELECT message FROM alert_notice WHERE event = 'alert.resolved'")


async def test_an_end_by_replacement_is_as_weekly_as_its_rule(pool: Pool) -> None:
    watching = await watch(pool, battery)
    watching.engine._orphans_every_s = 0
    await says(watching, 10, 10, 10)
    await pool.execute("UPDATE alert_notice SET digested_at = held_until")
    await take_over(watching, "neuf", speaks=False)
    await watching.pass_time(minutes=10)
    rows = await pool.fetch(
        "SELECT event, cadence, held_until IS NOT NULL AS waits FROM alert_notice ORDER BY number"
    )

    assert [tuple(row) for row in rows] == [("alert.opened", "weekly", True), ("alert.resolved", "weekly", True)]


@pytest.mark.parametrize("what", ["assignment", "rule", "device"])
async def test_a_silent_device_that_is_watched_again_and_says_nothing_is_missed_again(
    pool: Pool, database: Database, what: str
) -> None:
    """Its alert ended when it was taken away, when the rule was switched off, or when the device was."""
    watching = await watch_since_long(pool, database)
    thing = watching.town.things[0]
    await watching.pass_time(hours=4)
    during = await pool.fetchval("SELECT during FROM assignment")

    async def switch(*, on: bool) -> None:
        match what:
            case "rule":
                await change(watching, "device_silent", enabled=on)
            case "device":
                await pool.execute("UPDATE device SET enabled = $1", on)
            case _ if on:
                await pool.execute(
                    "INSERT INTO assignment (tenant_id, asset_id, device_id, during) "
                    "VALUES ($1, $2, $3, tstzrange($4, NULL))",
                    watching.town.tenant_id, thing.asset_id, thing.device_id, watching.now,
                )  # fmt: skip
            case _:
                await pool.execute("UPDATE assignment SET during = tstzrange($1, $2)", during.lower, watching.now)

    await switch(on=False)
    await watching.pass_time(hours=1)
    ended = await watching.notifications()
    await switch(on=True)
    await watching.pass_time(minutes=0)
    await watching.pass_time(hours=4)
    await watching.pass_time(hours=4)

    assert during.lower == SINCE_LONG
    assert ended == [("opened", "device_silent"), ("resolved", "device_silent")]
    assert await watching.notifications() == [*ended, ("reopened", "device_silent")]


async def test_a_place_where_nothing_measures_its_quantity_any_more_is_missed(
    pool: Pool, database: Database
) -> None:
    await upgraded_at(database, SINCE_LONG)
    watching = await watch(pool, one_bin)
    watching.engine._orphans_every_s = 0
    await change(watching, "device_silent", quantity="fill_level")
    await watching.pass_time(hours=1)
    await take_over(watching, "neuf", speaks=False)
    await watching.pass_time(minutes=0)
    await watching.pass_time(hours=2)
    before = await watching.notifications()
    await watching.pass_time(hours=1, minutes=1)

    assert before == []
    assert await watching.notifications() == [("opened", "device_silent")]

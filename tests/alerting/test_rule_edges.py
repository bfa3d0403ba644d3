"""What ends an alert and what opens none: changed rules, outages of ours, losses, two owners, far-away tenants."""

import random
from datetime import UTC, datetime, timedelta

import pytest

from alerting import alert_store, deadline_store, rule_store
from alerting.backtest import try_rule
from alerting.engine import Engine
from alerting.rulebook import Rulebook
from alerting.rules.frame_loss import OF_AT_LEAST, hourly_frame_loss
from alerting.rules.model import Rule
from core.messages.batch import encode_batch
from core.messages.measurements import Measurement
from core.model.frame_loss import CountedUplink
from core.runtime.lease import Lease, LeaseLost, take_lease
from core.runtime.postgres import Pool, connect
from registry.changes import Change
from registry.tenants import update_tenant
from tests.alerting.alert_scenario import SINCE_LONG, AlertScenario
from tests.alerting.crashes import message_of
from tests.alerting.watching import NOW, Watch, watch
from tests.conftest import Database
from tests.entering import tenant_transaction

STORE = "INSERT INTO observation.measurement VALUES ($1, $2, $3, 0)"
REGISTER = """
INSERT INTO device (tenant_id, dev_eui, join_eui, name, device_profile_id, slot, activation, created_at)
SELECT tenant_id, $2, $2, $3, device_profile_id, 0, 'ABP', $4 FROM device WHERE id = $1 RETURNING id
"""
END_SERVING = "UPDATE assignment SET during = tstzrange(lower(during), $2) WHERE asset_id = $1"
SERVE = """
INSERT INTO assignment (tenant_id, asset_id, device_id, during) VALUES ($1, $2, $3, tstzrange($4, NULL))
"""
STORE_LATEST = """
INSERT INTO observation.latest VALUES ($1, $2, $3, 0)
ON CONFLICT (datastream_id) DO UPDATE SET time = excluded.time, value = excluded.value
"""


async def one_bin(scenario: AlertScenario) -> None:
    await scenario.add_asset("waste_container", "Bac", "fill_level", "%", lambda _: 0)


async def two_streams(scenario: AlertScenario) -> None:
    await one_bin(scenario)
    thing = scenario.things[0]
    await scenario.pool.execute(
        "INSERT INTO datastream (tenant_id, asset_id, device_id, channel, quantity, unit) "
        "VALUES ($1, $2, $3, '2', 'fill_level', '%')",
        scenario.tenant_id, thing.asset_id, thing.device_id,
    )  # fmt: skip


async def change(watching: Watch, name: str, **fields: object) -> None:
    """A rule as its tenant changes it, and as the engine learns of it."""
    rule = next(one for one in await rule_store.list_rules(watching.town.pool) if one.name == name)
    async with watching.town.pool.acquire() as connection, connection.transaction():
        await rule_store.update_rule(connection, rule.id, fields)
    await watching.engine._rulebook.apply([Change("alert_rule", rule.id)])


async def frames(watching: Watch, hours: range, every: int) -> None:
    """One uplink an hour, of which every so many-th was received."""
    await watching.town.pool.executemany(
        "INSERT INTO observation.uplink (device_id, time, uplink_id, session_id, f_cnt, payload, received_at, "
        "status) VALUES ($1, $2, gen_random_uuid(), 1, $3, '', $2, 'empty')",
        [
            (watching.town.things[0].device_id, NOW + timedelta(hours=hour), 1000 + hour)
            for hour in hours
            if hour % every == 0
        ],
    )


async def test_a_consent_that_ends_by_its_own_date_ends_what_rules_make_of_finer_values(pool: Pool) -> None:
    async def two_bins(scenario: AlertScenario) -> None:
        for name in ("Bac d'un logement", "Bac"):
            await scenario.add_asset("waste_container", name, "fill_level", "%", lambda _: 0)
        await scenario.pool.execute(
            "UPDATE datastream SET fine_until = $2 WHERE id = $1",
            scenario.things[0].datastream_id,
            NOW + timedelta(hours=1),
        )

    watching = await watch(pool, two_bins)
    both = [thing.datastream_id for thing in watching.town.things]
    await watching.receive(dict.fromkeys(both, 10.0))
    for _ in range(3):
        await watching.pass_time(hours=2)
        await watching.receive(dict.fromkeys(both, 99.0))

    evaluated = await pool.fetch("SELECT datastream_id FROM alert WHERE datastream_id IS NOT NULL")
    assert [row["datastream_id"] for row in evaluated] == both[1:]


async def test_losses_that_are_over_end_their_alert_after_one_good_day(pool: Pool) -> None:
    watching = await watch(pool, one_bin)
    await frames(watching, range(-24, 1), 2)
    await frames(watching, range(1, 80), 1)
    told = []
    for _ in range(75):
        await watching.receive({watching.town.things[0].datastream_id: 10.0})
        told.append([event for event, rule in await watching.notifications() if rule == "sensor_loss"])
        await watching.pass_time(hours=1)

    assert told[1] == ["opened"]
    # Less than 20 % of the day before are lost once 15 good hours have passed: a day later it is over.
    assert [len(events) for events in told].index(2) in range(38, 42)
    assert told[-1] == ["opened", "resolved"]


async def test_a_trial_counts_losses_as_the_engine_does(pool: Pool) -> None:
    watching = await watch(pool, one_bin)
    device_id, chance = watching.town.things[0].device_id, random.Random(6)
    heard = [
        CountedUplink(NOW - timedelta(minutes=13 * number), 1 + number // 100, 5000 - number - number // 100 * 40)
        for number in range(240)
        if chance.random() < 0.6
    ]
    await pool.executemany(
        "INSERT INTO observation.uplink (device_id, time, uplink_id, session_id, f_cnt, payload, received_at, "
        "status) VALUES ($1, $2, gen_random_uuid(), $3, $4, '', $2, 'empty')",
        [(device_id, *frame) for frame in heard],
    )
    told = dict(hourly_frame_loss(sorted(heard), NOW - timedelta(days=2), NOW))
    counted = {}
    for hours in range(48):
        at = NOW - timedelta(hours=hours)
        losses, _ = await deadline_store.read_frame_loss(pool, [watching.town.tenant_id], at, OF_AT_LEAST, 0, 10)
        counted |= {loss.at: loss.percent for loss in losses}

    assert len(told) > 40
    assert told == pytest.approx(counted)


@pytest.mark.parametrize(
    "fields", [{"asset_kinds": ["glass_container"]}, {"tags": ["centre"]}, {"quantity": "co2"}], ids=str
)
async def test_an_alert_of_what_its_rule_watches_no_more_is_ended_and_not_left_behind(
    pool: Pool, fields: dict[str, object]
) -> None:
    watching = await watch(pool, one_bin)
    for minutes in (0, 10):
        watching.now = NOW + timedelta(minutes=minutes)
        await watching.receive({watching.town.things[0].datastream_id: 80.0})
    await change(watching, "bin_75", clear_on_emptying=False, ladder=[], **fields)
    watching.engine._orphans_every_s = 0
    await watching.pass_time(minutes=1)
    alert = (await alert_store.list_alerts(pool))[0]

    assert (alert.workflow, alert.resolved_cause) == ("resolved", "rule_narrowed")
    assert [event for event, _ in await watching.notifications()] == ["opened", "resolved"]


async def test_two_hundred_orphans_of_another_shard_keep_nobody_waiting(pool: Pool) -> None:
    """They are the oldest, and no replica sees to their shard for now."""
    watching = await watch(pool, one_bin)
    thing, slot = watching.town.things[0], 1
    await pool.execute(
        "INSERT INTO alert (tenant_id, rule_id, asset_id, severity, message, condition, opened_at, slot, subject) "
        "SELECT $1, r.id, $2, 'info', '', 'firing', now(), $3, n::text FROM alert_rule r, "
        "generate_series(1, 250) n WHERE r.name = 'bin_tilt'",
        watching.town.tenant_id, thing.asset_id, slot,
    )  # fmt: skip
    for minutes in (0, 10):
        watching.now = NOW + timedelta(minutes=minutes)
        await watching.receive({thing.datastream_id: 80.0})
    await pool.execute("UPDATE alert_rule SET enabled = false WHERE name IN ('bin_tilt', 'bin_75')")
    watching.engine._orphans_every_s = 0
    watching.engine._shards = 2
    await watching.pass_time(minutes=1)
    ended = await pool.fetch(
        "SELECT r.name FROM alert a JOIN alert_rule r ON r.id = a.rule_id WHERE a.workflow = 'resolved'"
    )

    assert [row["name"] for row in ended] == ["bin_75"]


async def test_a_silence_rule_waits_no_more_for_what_it_watches_no_more(pool: Pool) -> None:
    watching = await watch(pool, one_bin)
    await watching.receive({watching.town.things[0].datastream_id: 10.0})
    await watching.pass_time(minutes=1)
    await change(watching, "device_silent", tags=["centre"])
    await watching.pass_time(hours=5)

    assert await watching.notifications() == []
    assert await pool.fetchval("SELECT count(*) FROM deadline") == 0


@pytest.mark.parametrize("starts_again", [False, True])
async def test_a_device_that_sends_battery_without_fill_level_has_missing_fill_data(
    pool: Pool, starts_again: bool
) -> None:
    watching = await watch(pool, one_bin)
    town, fill = watching.town, watching.town.things[0].datastream_id
    battery = await pool.fetchval(
        "INSERT INTO datastream (tenant_id, asset_id, device_id, quantity, unit) "
        "SELECT tenant_id, asset_id, device_id, 'battery_level', '%' FROM datastream RETURNING id"
    )
    rule = Rule(0, town.tenant_id, "muet", "silence", "fill_level", "warning", "{device} ne mesure plus")
    async with pool.acquire() as connection, connection.transaction():
        await rule_store.create_rule(connection, rule)
    await watching.engine._rulebook.load()
    await watching.receive({fill: 80.0, battery: 50.0})
    watching.now += timedelta(minutes=10)
    await watching.receive({fill: 82.0, battery: 50.0})
    await watching.pass_time(seconds=1)
    for stream in (fill, battery):
        await pool.execute(STORE_LATEST, stream, watching.now, 0.0)
    for _ in range(7):
        await watching.pass_time(minutes=30)
        await pool.execute(STORE_LATEST, battery, watching.now, 50.0)
        if starts_again:
            watching.start_again()
            await watching.engine.catch_up(watching.lease)
        await watching.receive({battery: 50.0})
    silent = (
        await watching.notifications(),
        {one.rule: one.condition for one in await alert_store.list_alerts(pool)},
    )
    await watching.receive({fill: 83.0, battery: 50.0})
    await watching.pass_time(seconds=5)

    assert silent == ([("opened", "bin_75"), ("opened", "muet")], {"bin_75": "unknown", "muet": "firing"})
    assert (await watching.notifications())[2:] == [("resolved", "muet")]
    assert {one.rule: one.condition for one in await alert_store.list_alerts(pool)}["bin_75"] == "firing"


async def test_after_an_outage_of_ours_no_gateway_is_called_gone_before_it_had_the_time_to_be_seen(
    pool: Pool,
) -> None:
    watching = await watch(pool, one_bin, timedelta(minutes=5))
    await watching.see_gateway()
    watching.now += timedelta(hours=3)
    watching.engine._watching[0] = watching.now  # We have just started again.
    await watching.pass_time(seconds=15)
    at_first = await watching.notifications()
    await watching.pass_time(minutes=6)

    assert at_first == []
    assert await watching.notifications() == [("opened", "gateway_down")]


async def test_one_alert_of_two_streams_is_as_grave_as_the_graver_and_does_not_become_milder(pool: Pool) -> None:
    watching = await watch(pool, two_streams)
    first, second = (row["id"] for row in await pool.fetch("SELECT id FROM datastream ORDER BY id"))
    ladder = [{"severity": "major", "value": 90}, {"severity": "critical", "value": 98}]
    await change(watching, "bin_75", scope="asset", for_readings=1, ladder=ladder)
    severities = []
    for stream, value in ((first, 80.0), (second, 99.0), (first, 92.0)):
        watching.now += timedelta(minutes=1)
        await watching.receive({stream: value})
        severities.append((await alert_store.list_alerts(pool))[0].severity)

    assert severities == ["warning", "critical", "critical"]
    assert [event for event, _ in await watching.notifications()] == ["opened", "raised"]


async def test_a_tenant_overseas_has_schedules_and_notifications_in_its_own_time(pool: Pool) -> None:
    async def inhabit(scenario: AlertScenario) -> None:
        await scenario.add_asset("door", "Porte", "open", "1", lambda _: 0)

    watching = await watch(pool, inhabit)
    door = watching.town.things[0].datastream_id
    # 15 o'clock UTC: 16 in Paris, when it is open, and 19 on Réunion, when it is not.
    watching.now = datetime(2026, 11, 16, 15, 0, tzinfo=UTC)
    await watching.receive({door: 1.0})
    in_paris = await watching.notifications()
    await update_tenant(pool, watching.town.tenant_id, {"department": "974"})
    await watching.engine._rulebook.apply([Change("tenant", watching.town.tenant_id)])
    watching.now += timedelta(minutes=1)
    await watching.receive({door: 1.0})
    alert = (await alert_store.list_alerts(pool))[0]

    assert in_paris == []
    assert "depuis le 16/11/2026 à 19\u00a0h\u00a001" in alert.message


@pytest.mark.parametrize("moves_after", [0, 1, 2, 3])
async def test_a_shard_taken_over_with_a_value_in_hand_notifies_once(pool: Pool, moves_after: int) -> None:
    watching = await watch(pool, one_bin)
    stream = watching.town.things[0].datastream_id
    values = [
        (NOW + timedelta(minutes=10 * number), value) for number, value in enumerate([76.0, 82.0, 85.0, 10.0])
    ]

    async def evaluate(engine: Engine, lease: Lease, at: datetime, value: float) -> None:
        at_us = int(at.timestamp() * 1_000_000)
        octets = encode_batch([Measurement(stream, at_us, value, 0)])
        await engine.evaluate_messages(lease, [message_of(octets, at_us)])

    for at, value in values[:moves_after]:
        watching.now = at
        await pool.execute(STORE, stream, at, value)
        await evaluate(watching.engine, watching.lease, at, value)
    in_hand = values[moves_after]
    watching.now = in_hand[0]
    await pool.execute(STORE, stream, *in_hand)
    await pool.execute(STORE_LATEST, stream, *in_hand)
    await pool.execute("UPDATE shard_lease SET expires_at = '-infinity'")
    theirs = await take_lease(pool, "alerting", 0, "other")
    assert theirs is not None
    rulebook = Rulebook(pool)
    await rulebook.load()
    successor = Engine(pool, rulebook, 1, now=lambda: watching.now)
    await successor.catch_up(theirs)
    if moves_after in (1, 3):  # It was notified: the former owner still tries.
        with pytest.raises(LeaseLost):
            await evaluate(watching.engine, watching.lease, *in_hand)
    for at, value in values[moves_after:]:
        watching.now = at
        await evaluate(successor, theirs, at, value)

    assert await watching.notifications() == [("opened", "bin_75"), ("resolved", "bin_75")]
    assert [(one.opened_at, one.value) for one in await alert_store.list_alerts(pool)] == [(NOW, 10)]


async def one_container_with_a_thermometer(scenario: AlertScenario) -> None:
    await scenario.add_asset("waste_container", "Bac", "temperature", "Cel", lambda _: 0)


async def test_an_improbable_value_opens_the_alert_of_a_rule_marked_for_it_and_ends_none(pool: Pool) -> None:
    watching = await watch(pool, one_container_with_a_thermometer)
    stream = watching.town.things[0].datastream_id
    for value, flags in ((21.0, 0), (180.1, 1), (-100.0, 1), (3276.7, 1), (-3276.8, 1)):
        await watching.pass_time(minutes=5)
        await watching.receive({stream: value}, flags)
    still = [(alert.rule, alert.workflow, alert.value) for alert in await alert_store.list_alerts(pool)]
    await watching.pass_time(minutes=5)
    await watching.receive({stream: 30.0})

    assert still == [("bin_fire", "open", 180.1)]
    assert await watching.notifications() == [("opened", "bin_fire"), ("resolved", "bin_fire")]


async def test_an_improbable_value_is_nothing_to_a_rule_that_is_not_marked(pool: Pool) -> None:
    watching = await watch(pool, one_container_with_a_thermometer)
    await change(watching, "bin_fire", judges_improbable=False)
    await watching.receive({watching.town.things[0].datastream_id: 180.1}, 1)

    assert await watching.notifications() == []


async def test_an_improbable_value_that_nobody_judged_live_is_found_at_the_next_start(pool: Pool) -> None:
    watching = await watch(pool, one_container_with_a_thermometer)
    stream = watching.town.things[0].datastream_id
    await watching.receive({stream: 21.0})
    for minutes, value, flags in ((5, -3276.8, 1), (10, 180.1, 1)):
        await pool.execute(STORE.replace("0)", "$4)"), stream, NOW + timedelta(minutes=minutes), value, flags)
    await pool.execute(STORE_LATEST, stream, NOW + timedelta(minutes=10), 180.1)
    watching.now += timedelta(minutes=11)
    watching.start_again()
    await watching.engine.catch_up(watching.lease)

    assert await watching.notifications() == [("opened", "bin_fire")]


async def test_a_value_of_a_suspect_instant_that_nobody_judged_live_is_found_at_the_next_start(pool: Pool) -> None:
    """It is not the last value, and here the only one that the datastream ever had."""
    watching = await watch(pool, one_container_with_a_thermometer)
    stream = watching.town.things[0].datastream_id
    await pool.execute(STORE.replace("0)", "2)"), stream, NOW + timedelta(minutes=10), 90.0)
    watching.now += timedelta(minutes=11)
    watching.start_again()
    await watching.engine.catch_up(watching.lease)

    assert await watching.notifications() == [("opened", "bin_fire")]


async def test_an_improbable_value_that_is_learnt_late_is_said_to_be_both(pool: Pool, api_pool: Pool) -> None:
    watching = await watch(pool, one_container_with_a_thermometer)
    stream, at = watching.town.things[0].datastream_id, NOW - timedelta(hours=2)
    await pool.execute(STORE.replace("0)", "1)"), stream, at, 180.1)
    await pool.execute(
        "INSERT INTO observation.uplink (device_id, time, uplink_id, payload, received_at, status) "
        "VALUES ($1, $2, gen_random_uuid(), '', $3, 'decoded')",
        watching.town.things[0].device_id, at, NOW,
    )  # fmt: skip
    late = Measurement(stream, int(at.timestamp()) * 1_000_000, 180.1, 1)
    octets = encode_batch([late])
    await watching.engine.evaluate_messages(watching.lease, [message_of(octets, int(NOW.timestamp()) * 1_000_000)])
    await watching.pass_time(minutes=1)
    notified = await pool.fetchval("SELECT message FROM alert_notice")
    rule = next(one for one in await rule_store.list_rules(pool) if one.name == "bin_fire")
    async with tenant_transaction(api_pool, watching.town.tenant_id) as connection:
        tried = await try_rule(connection, rule, watching.now)

    assert "Valeur improbable" in notified
    assert "appris tard" in notified
    assert [one.message.replace("/v1/alerts/0", "/v1/alerts/1") for one in tried.notices] == [notified]


async def register(watching: Watch, name: str, asset_id: int | None = None) -> int:
    """A device of the first thing's profile that has never spoken; it replaces what serves this asset."""
    pool, thing = watching.town.pool, watching.town.things[0]
    device_id = await pool.fetchval(REGISTER, thing.device_id, name.encode().ljust(8), name, watching.now)
    if asset_id is not None:
        await pool.execute(END_SERVING, asset_id, watching.now)
        await pool.execute(SERVE, watching.town.tenant_id, asset_id, device_id, watching.now)
    return device_id


async def upgraded_at(database: Database, at: datetime) -> None:
    connection = await connect(database.admin_url)
    await connection.execute("UPDATE deployment SET deadlines_from = $1", at)
    await connection.close()


async def watch_since_long(pool: Pool, database: Database) -> Watch:
    """As `watch`, by an engine that looks at the registry in each sweep, long after the upgrade."""
    await upgraded_at(database, SINCE_LONG)
    watching = await watch(pool, one_bin)
    watching.engine._orphans_every_s = 0
    await watching.receive({watching.town.things[0].datastream_id: 10.0})
    return watching


async def test_a_device_that_is_registered_and_never_speaks_is_missed(pool: Pool, database: Database) -> None:
    watching = await watch_since_long(pool, database)
    await register(watching, "tiroir")
    await watching.pass_time(hours=2)
    before = await watching.notifications()
    await watching.receive({watching.town.things[0].datastream_id: 10.0})
    await watching.pass_time(hours=1, minutes=1)
    (alert,) = await alert_store.list_alerts(pool)

    assert before == []
    assert (alert.rule, alert.asset_id, alert.workflow) == ("device_silent", None, "open")
    assert "tiroir" in alert.message


async def test_a_replacement_is_waited_for_and_the_former_device_no_longer(pool: Pool, database: Database) -> None:
    watching = await watch_since_long(pool, database)
    asset_id = watching.town.things[0].asset_id
    await watching.pass_time(hours=1)
    device_id = await register(watching, "neuf", asset_id)
    await watching.pass_time(hours=2, minutes=50)
    before = await watching.notifications()
    await watching.pass_time(minutes=11)
    await watching.pass_time(hours=30)
    (alert,) = await alert_store.list_alerts(pool)

    assert before == []
    assert (alert.rule, alert.asset_id, alert.device_id) == ("device_silent", asset_id, device_id)


async def test_a_device_in_stock_since_before_the_upgrade_is_not_missed(pool: Pool, database: Database) -> None:
    watching = await watch_since_long(pool, database)
    await register(watching, "stock")
    await upgraded_at(database, watching.now + timedelta(seconds=1))
    for _ in range(8):
        await watching.receive({watching.town.things[0].datastream_id: 10.0})
        await watching.pass_time(hours=1)

    assert await watching.notifications() == []

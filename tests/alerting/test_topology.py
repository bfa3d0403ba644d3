"""One cause, one message: gateways and devices that they alone receive, assets, silences, switch-offs."""

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta

from alerting import alert_store, rule_store, silences
from core.runtime.postgres import Pool
from tests.alerting.alert_scenario import SINCE_LONG, AlertScenario, on
from tests.alerting.watching import NOW, watch

BINS, FEWER = 500, 100


PLANT = """
WITH profile AS (
    INSERT INTO device_profile (tenant_id, name, vendor, model, codec) VALUES ($1, 'p', 'v', 'm', 'c') RETURNING id
), devices AS (
    INSERT INTO device (tenant_id, dev_eui, join_eui, name, device_profile_id, slot, activation)
    SELECT $1, int8send(n), int8send(1), n::text, p.id, 0, 'ABP' FROM profile p, generate_series(1, $2::int) n
    RETURNING id, name
), assets AS (
    INSERT INTO asset (tenant_id, kind, name)
    SELECT $1, 'waste_container', n::text FROM generate_series(1, $2::int) n RETURNING id, name
), served AS (
    INSERT INTO assignment (tenant_id, asset_id, device_id, during)
    SELECT $1, a.id, d.id, tstzrange($3, NULL) FROM assets a JOIN devices d USING (name)
)
INSERT INTO datastream (tenant_id, asset_id, device_id, quantity, unit)
SELECT $1, a.id, d.id, 'fill_level', '%' FROM assets a JOIN devices d USING (name) RETURNING id
"""
RECEIVE = """
INSERT INTO observation.reception
SELECT d.id, $2, gen_random_uuid(), $1, 0, -80, 5 FROM device d WHERE $3::int IS NULL OR d.id % $3 = 0
"""


def bins(count: int) -> Callable[[AlertScenario], Awaitable[object]]:
    return lambda town: town.pool.execute(PLANT, town.tenant_id, count, SINCE_LONG)


async def test_five_hundred_bins_behind_a_dead_gateway_are_one_message(pool: Pool) -> None:
    watching = await watch(pool, bins(BINS))
    streams = [row["id"] for row in await pool.fetch("SELECT id FROM datastream")]
    await pool.execute(RECEIVE, watching.town.gateway_id, NOW, None)
    await watching.see_gateway()
    await watching.receive(dict.fromkeys(streams, 30.0))
    for hours in (0.5, 3.5):  # The gateway is down; then so are all its devices.
        await watching.pass_time(hours=hours)
    dead = await watching.notifications()
    silent = await pool.fetchval("SELECT count(*) FROM alert WHERE device_id IS NOT NULL AND workflow = 'open'")
    await watching.see_gateway()
    await watching.pass_time(seconds=10)
    watching.now += timedelta(minutes=10)
    await watching.see_gateway()
    await watching.receive(dict.fromkeys(streams[:-1], 30.0))
    for hours in (0.5, 1, 1):
        watching.now += timedelta(hours=hours)
        await watching.see_gateway()
        await watching.pass_time()
    after = await watching.notifications()

    assert silent == BINS
    assert dead == [("opened", "gateway_down")]
    # One device did not come back with its gateway: now it is notified.
    assert after[1:] == [("resolved", "gateway_down"), ("opened", "device_silent")]


async def test_a_bin_received_by_another_gateway_is_not_inhibited_by_a_gateway_down(pool: Pool) -> None:
    watching = await watch(pool, bins(FEWER))
    streams = [row["id"] for row in await pool.fetch("SELECT id FROM datastream")]
    second = await pool.fetchval(
        "INSERT INTO gateway (tenant_id, gateway_id, name) VALUES ($1, $2, 'Église') RETURNING id",
        watching.town.tenant_id,
        bytes([1]) * 8,
    )
    await pool.execute(RECEIVE, watching.town.gateway_id, NOW, None)
    await pool.execute(RECEIVE, second, NOW, 50)
    await watching.see_gateway()
    await watching.receive(dict.fromkeys(streams, 30.0))
    for _ in range(8):
        watching.now += timedelta(minutes=30)
        await pool.execute(
            "INSERT INTO gateway_state (gateway_id, frontend, address, last_seen_at) VALUES ($1, 'udp', 'a', $2) "
            "ON CONFLICT (gateway_id) DO UPDATE SET last_seen_at = excluded.last_seen_at",
            second,
            watching.now,
        )
        await watching.pass_time()
    told = await watching.notifications()

    assert told == [("opened", "gateway_down")] + [("opened", "device_silent")] * (FEWER // 50)


async def test_a_cabinet_without_power_is_one_message_and_not_its_lamps(pool: Pool) -> None:
    async def inhabit(scenario: AlertScenario) -> None:
        cabinet = await scenario.add_asset(
            "lighting_cabinet", "Armoire", "active_power", "W", lambda _: 0,
            attributes={"rated_power_w": 2000},
        )  # fmt: skip
        for number in range(40):
            await scenario.add_asset(
                "lighting_cabinet", f"Lampe {number}", "active_power", "W", lambda _: 0, parent=cabinet,
                attributes={"rated_power_w": 60},
            )  # fmt: skip

    watching = await watch(pool, inhabit)
    cabinet, *lamps = (thing.datastream_id for thing in watching.town.things)
    watching.now = on(16, 20)
    for _ in range(3):
        await watching.pass_time(minutes=15)
        await watching.receive(dict.fromkeys(lamps, 0.0))  # In the same minute they are judged before it.
        await watching.receive({cabinet: 0.0})
    dark = await watching.notifications()
    watching.now += timedelta(minutes=15)
    await watching.receive({cabinet: 2000.0} | dict.fromkeys(lamps[1:], 60.0) | {lamps[0]: 0.0})
    for _ in range(3):
        await watching.pass_time(minutes=10)
    after = await watching.notifications()

    assert dark == [("opened", "dark")]
    # The lamp that stays dark although its cabinet has power is notified.
    assert after == [("opened", "dark"), ("resolved", "dark"), ("opened", "dark")]


async def test_lamps_without_data_wait_until_their_cabinet_has_data_or_not(
    pool: Pool,
) -> None:
    async def inhabit(scenario: AlertScenario) -> None:
        cabinet = await scenario.add_asset("lighting_cabinet", "Armoire", "active_power", "W", lambda _: 0)
        for number in range(40):
            await scenario.add_asset("light_point", f"Lampe {number}", "switch_state", "1", lambda _: 0,
                           interval_h=1 / 6, parent=cabinet)  # fmt: skip

    watching = await watch(pool, inhabit)
    cabinet, *lamps = (thing.datastream_id for thing in watching.town.things)
    await watching.receive(dict.fromkeys(lamps, 1.0))
    watching.now += timedelta(minutes=5)
    await watching.receive({cabinet: 0.0})  # A minute later the power fails.
    for _ in range(25):
        await watching.pass_time(minutes=10)
    failed = await watching.notifications()
    silent = await pool.fetchval("SELECT count(*) FROM alert WHERE workflow = 'open'")
    await watching.receive({cabinet: 0.0} | dict.fromkeys(lamps[1:], 1.0))
    for _ in range(4):
        await watching.pass_time(minutes=10)
        await watching.receive({cabinet: 0.0} | dict.fromkeys(lamps[1:], 1.0))
    back = await watching.notifications()

    assert failed == [("opened", "device_silent")]
    assert silent == 41
    # The lamp that does not come back with its cabinet is notified.
    assert back[1:] == [("resolved", "device_silent"), ("opened", "device_silent")]


async def test_a_lamp_without_data_is_notified_at_its_cabinets_next_uplink(
    pool: Pool,
) -> None:
    async def inhabit(scenario: AlertScenario) -> None:
        cabinet = await scenario.add_asset("lighting_cabinet", "Armoire", "active_power", "W", lambda _: 0)
        await scenario.add_asset(
            "light_point", "Lampe", "switch_state", "1", lambda _: 0, interval_h=1 / 6, parent=cabinet
        )

    watching = await watch(pool, inhabit)
    cabinet, lamp = (thing.datastream_id for thing in watching.town.things)
    await watching.receive({cabinet: 0.0, lamp: 1.0})
    await watching.pass_time(minutes=40)
    waiting = (await watching.notifications(), (await alert_store.list_alerts(pool))[0].muted_by)
    await pool.execute(
        "INSERT INTO observation.latest VALUES ($1, $2, 0, 0)", cabinet, watching.now + timedelta(minutes=20)
    )
    await watching.pass_time(minutes=25)

    assert waiting == ([], "en attente de Armoire, dont cela dépend")
    assert await watching.notifications() == [("opened", "device_silent")]


async def test_a_buildings_silent_meter_explains_no_break_in_and_no_bad_air(pool: Pool) -> None:
    async def inhabit(scenario: AlertScenario) -> None:
        building = await scenario.add_asset("building", "École", "active_power", "W", lambda _: 0)
        await scenario.add_asset("door", "Porte", "open", "1", lambda _: 0, parent=building)
        await scenario.add_asset("room", "Classe", "co2", "[ppm]", lambda _: 0, parent=building)

    watching = await watch(pool, inhabit)
    building, door, room = (thing.datastream_id for thing in watching.town.things)
    await watching.receive({building: 0.0, room: 600.0})
    await watching.pass_time(hours=4)  # 14 o'clock: the meter is silent, and so is the room.
    for _ in range(3):
        watching.now += timedelta(minutes=20)
        await watching.receive({room: 1700.0})
    watching.now = on(16, 23)
    await watching.receive({door: 1.0})
    told = await watching.notifications()

    assert ("opened", "device_silent") in told
    assert ("opened", "co2_1500") in told
    assert ("opened", "intrusion") in told


async def test_a_notified_lamps_end_is_notified_though_its_cabinet_explains_it_meanwhile(
    pool: Pool,
) -> None:
    async def inhabit(scenario: AlertScenario) -> None:
        cabinet = await scenario.add_asset(
            "lighting_cabinet", "Armoire", "active_power", "W", lambda _: 0,
            attributes={"rated_power_w": 2000},
        )  # fmt: skip
        await scenario.add_asset(
            "lighting_cabinet", "Lampe", "active_power", "W", lambda _: 0, parent=cabinet,
            attributes={"rated_power_w": 60},
        )  # fmt: skip

    watching = await watch(pool, inhabit)
    cabinet, lamp = (thing.datastream_id for thing in watching.town.things)
    watching.now = on(16, 20)
    for of_cabinet, of_lamp in ((2000, 0), (2000, 0), (0, 0), (0, 0), (2000, 60)):
        watching.now += timedelta(minutes=15)
        await watching.receive({cabinet: float(of_cabinet)})
        await watching.receive({lamp: float(of_lamp)})

    assert sorted(await watching.notifications()) == [("opened", "dark")] * 2 + [("resolved", "dark")] * 2


async def test_a_cabinet_that_was_switched_off_by_order_is_not_dark(pool: Pool) -> None:
    async def inhabit(scenario: AlertScenario) -> None:
        await scenario.add_asset("lighting_cabinet", "Armoire", "active_power", "W", lambda _: 0,
                       attributes={"rated_power_w": 2000})  # fmt: skip

    watching = await watch(pool, inhabit)
    thing = watching.town.things[0]
    watching.now = on(16, 20)
    await pool.execute(
        "WITH l AS (INSERT INTO downlink (tenant_id, device_id, slot, f_port, payload, not_after) "
        "VALUES ($1, $2, 0, 1, '', now()) RETURNING id) "
        "INSERT INTO lighting_command (tenant_id, asset_id, device_id, action, off_until, requested_by, state, "
        "downlink_id, not_after) SELECT $1, $3, $2, 'off', $4, 'chef', 'confirmed', id, now() FROM l",
        watching.town.tenant_id, thing.device_id, thing.asset_id, on(16, 22),
    )  # fmt: skip
    for _ in range(4):
        watching.now += timedelta(minutes=15)
        await watching.receive({thing.datastream_id: 0.0})
    muted = (await watching.notifications(), (await alert_store.list_alerts(pool))[0].muted_by)
    watching.now = on(16, 22)
    await watching.pass_time(minutes=1)

    assert muted == ([], "extinction n° 1 demandée par chef")
    assert await watching.notifications() == [("opened", "dark")]


async def full_bin(scenario: AlertScenario) -> None:
    await scenario.add_asset("waste_container", "Bac", "fill_level", "%", lambda _: 0)


async def test_a_silence_ended_early_notifies_what_still_fires(pool: Pool) -> None:
    watching = await watch(pool, full_bin)
    thing = watching.town.things[0]
    async with pool.acquire() as connection:
        silence = await silences.create_silence(
            connection, watching.town.tenant_id, "chef",
            {"reason": "fête", "ends_at": datetime(2100, 1, 1, tzinfo=NOW.tzinfo), "starts_at": SINCE_LONG,
             "asset_kind": "waste_container"},
        )  # fmt: skip
        assert silence is not None
        for minutes in (0, 10):
            watching.now = NOW + timedelta(minutes=minutes)
            await watching.receive({thing.datastream_id: 80.0})
        muted = await watching.notifications()
        ended = await silences.end_silence(connection, silence.id)
    # The silence ended on the database's clock, which is behind none of the scenario's.
    await pool.execute("UPDATE silence SET ends_at = $1", watching.now)
    await pool.execute("UPDATE alert SET muted_until = $1, due_at = $1", watching.now)
    await watching.pass_time(seconds=1)

    assert muted == []
    assert ended is not None
    assert await watching.notifications() == [("opened", "bin_75")]


async def test_a_rule_for_a_tag_watches_what_carries_it_and_an_asset_rule_opens_one_alert_for_all_its_streams(
    pool: Pool,
) -> None:
    watching = await watch(pool, full_bin)
    thing, town = watching.town.things[0], watching.town
    other = await town.add_asset("waste_container", "Bac 2", "fill_level", "%", lambda _: 0)
    second = await pool.fetchval(
        "INSERT INTO datastream (tenant_id, asset_id, device_id, channel, quantity, unit) "
        "VALUES ($1, $2, $3, '2', 'fill_level', '%') RETURNING id",
        town.tenant_id, thing.asset_id, thing.device_id,
    )  # fmt: skip
    await pool.execute("UPDATE asset SET tags = '{ecole}' WHERE id = $1", thing.asset_id)
    bin_75 = next(rule for rule in await rule_store.list_rules(pool) if rule.name == "bin_75")
    async with pool.acquire() as connection, connection.transaction():
        await rule_store.update_rule(
            connection, bin_75.id, {"tags": ["ecole"], "scope": "asset", "for_readings": 1}
        )
    await watching.engine._rulebook.load()
    await watching.receive({thing.datastream_id: 80.0, other.datastream_id: 90.0})
    watching.now += timedelta(minutes=1)
    await watching.receive({second: 85.0})
    watching.now += timedelta(minutes=1)
    await watching.receive({thing.datastream_id: 10.0})
    half = await watching.notifications()
    watching.now += timedelta(minutes=1)
    await watching.receive({second: 12.0})

    assert half == [("opened", "bin_75")]
    assert await watching.notifications() == [("opened", "bin_75"), ("resolved", "bin_75")]
    assert [alert.asset_id for alert in await alert_store.list_alerts(pool)] == [thing.asset_id]

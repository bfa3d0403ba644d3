"""The engine against the real schema: messages are handed to it as the bus would."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from msgspec import structs

from alerting.alert_store import acknowledge
from alerting.engine import CATCH_UP_STEP, FETCH_MESSAGES, WRITE_DOWN_EVERY, Engine
from alerting.engine_store import StateKey, StateRow
from alerting.evaluation import work_of
from alerting.rule_store import update_rule
from alerting.rulebook import Rulebook, slot_of
from alerting.rules.model import SETTLE, Condition, Observation, RuleState
from alerting.shard_memory import Memory
from core.messages import topics
from core.messages.batch import encode_batch
from core.messages.measurements import Flag, Measurement
from core.messages.topics import shard_of_slot
from core.runtime.bus import Message, connect_bus
from core.runtime.lease import Lease, LeaseLost, take_lease
from core.runtime.postgres import Pool
from registry.changes import Change
from registry.sharing import History
from registry.tenants import create_tenant
from tests.alerting.crashes import Crash, message_of
from tests.entering import transfer

SHARDS = 4


class Bench:
    """An engine that owns the shard of one place."""

    def __init__(self, pool: Pool, place: Any, lease: Lease, rulebook: Rulebook) -> None:
        self.pool, self.place, self.lease, self.rulebook = pool, place, lease, rulebook
        self.ahead = timedelta(0)
        self.engine = Engine(
            pool,
            rulebook,
            SHARDS,
            least_watch=timedelta(0),
            orphans_every_s=0,
            now=lambda: datetime.now(UTC) + self.ahead,
        )

    def message(self, values: Sequence[tuple[datetime, float]], *, received_at: datetime | None = None) -> Message:
        items = [
            Measurement(self.place.datastream_id, int(at.timestamp()) * 1_000_000, value, 0)
            for at, value in values
        ]
        heard_us = int((received_at or datetime.now(UTC)).timestamp() * 1_000_000)
        return message_of(encode_batch(items), heard_us)

    async def evaluate(self, *values: tuple[datetime, float], received_at: datetime | None = None) -> None:
        await self.engine.evaluate_messages(self.lease, [self.message(values, received_at=received_at)])

    async def sweep(self, watching_since: datetime) -> None:
        self.engine._watching[self.lease.shard] = watching_since
        await self.engine.sweep([self.lease])

    async def queued(self) -> int:
        """Messages that were queued; a newer one of an alert takes the place of one that waits."""
        return await self.pool.fetchval("SELECT count(*) FROM alert_notice_recipient")


@pytest.fixture
async def bench(pool: Pool, place: Any) -> Bench:
    shard = shard_of_slot(slot_of(place.asset_id, place.device_id), SHARDS)
    lease = await take_lease(pool, "alerting", shard, "test")
    assert lease is not None
    rulebook = Rulebook(pool)
    await rulebook.load()
    return Bench(pool, place, lease, rulebook)


def ago(minutes: float) -> datetime:
    return datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=minutes)


async def test_a_bin_that_crosses_75_opens_one_alert_with_one_message_per_endpoint(
    bench: Bench, place: Any, receiver: Any
) -> None:
    await place.endpoint(receiver)
    first, second = ago(20), ago(10)
    await bench.evaluate((first, 76), (second, 82))
    await bench.evaluate((first, 76), (second, 82))  # Delivered again.
    await bench.evaluate((ago(5), 84))
    bench.ahead = WRITE_DOWN_EVERY
    await bench.sweep(ago(600))
    alerts = await place.alerts()

    assert len(alerts) == 1
    alert = alerts[0]
    assert (alert.rule, alert.condition, alert.workflow, alert.value) == ("bin_75", "firing", "open", 84)
    assert alert.opened_at == first
    assert "Bac 12 (3 rue de Siam, Brest) : rempli à 82\u00a0%" in alert.message
    assert await bench.queued() == 1


async def test_a_sweep_settles_a_shard_only_when_something_in_it_is_due(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    settled, settle = list[int](), Engine._settle_shard

    async def counted(engine: Engine, lease: Lease, slots: Sequence[int]) -> None:
        settled.append(lease.shard)
        await settle(engine, lease, slots)

    monkeypatch.setattr(Engine, "_settle_shard", counted)
    await bench.evaluate((ago(1), 20))
    await bench.sweep(ago(600))
    assert settled == []

    await bench.pool.execute("UPDATE deadline SET due_at = now() WHERE slot % $1 = $2", SHARDS, bench.lease.shard)
    await bench.sweep(ago(600))

    assert settled == [bench.lease.shard]


async def test_an_emptied_bin_resolves_its_acknowledged_alert(bench: Bench, place: Any, receiver: Any) -> None:
    await place.endpoint(receiver)
    await bench.evaluate((ago(20), 76), (ago(10), 82))
    await acknowledge(bench.pool, (await place.alerts())[0].id, "astreinte")
    await bench.evaluate((ago(5), 12))
    alert = (await place.alerts())[0]

    assert (alert.workflow, alert.condition, alert.resolved_cause) == ("resolved", "ok", "emptied")
    assert alert.acknowledged_by == "astreinte"
    assert await bench.queued() == 2


async def test_a_bin_that_wavers_around_its_threshold_keeps_one_alert(bench: Bench, place: Any) -> None:
    await bench.evaluate(*[(ago(30 - 5 * step), value) for step, value in enumerate([76, 82, 70, 80, 72, 79])])
    await bench.sweep(ago(600))
    alerts = await place.alerts()

    assert [(alert.condition, alert.occurrences, alert.value) for alert in alerts] == [("firing", 1, 79)]


async def test_a_suspect_value_and_an_old_one_open_no_alert(bench: Bench, place: Any) -> None:
    suspect = [Measurement(place.datastream_id, int(ago(m).timestamp()) * 1_000_000, 300.0, 1) for m in (3, 2)]
    octets = encode_batch(suspect)
    await bench.engine.evaluate_messages(bench.lease, [message_of(octets)])
    await bench.evaluate((ago(300), 80), (ago(290), 85))

    assert await place.alerts() == []


async def test_an_unreadable_message_is_passed_over(bench: Bench, place: Any) -> None:
    broken = message_of(b"\x07nonsense")
    await bench.engine.evaluate_messages(bench.lease, [broken, bench.message([(ago(20), 76), (ago(10), 82)])])

    assert len(await place.alerts()) == 1


async def test_measurements_stored_while_no_engine_ran_are_evaluated_once(bench: Bench, place: Any) -> None:
    for minutes, value in ((30, 70), (20, 76), (10, 82)):
        await place.store_value(ago(minutes), value)
    await bench.engine.catch_up(bench.lease)
    await bench.engine.catch_up(bench.lease)
    await bench.evaluate((ago(10), 82))
    deadlines = await bench.pool.fetch("SELECT device_id, heard_at FROM deadline")

    assert [alert.value for alert in await place.alerts()] == [82]
    assert [row["device_id"] for row in deadlines] == [place.device_id]


async def test_what_was_decoded_again_meanwhile_raises_no_alert(bench: Bench, place: Any) -> None:
    for minutes, value in ((30, 76), (20, 82)):
        await place.store_value(ago(minutes), value, Flag.REDECODED)

    await bench.engine.catch_up(bench.lease)

    assert await place.alerts() == []


async def test_a_year_without_evaluation_is_caught_up_with_in_steps_and_gives_the_same_states(
    bench: Bench, place: Any
) -> None:
    last = ago(366 * 24 * 60)
    await bench.evaluate((last, 10))
    await bench.engine._write_down(bench.lease)
    first = last + CATCH_UP_STEP
    recent = ago(10)
    for at, value, flags in ((first, 80, 0), (ago(60), 10, 1), (recent, 90, 0), (ago(5), 300, 1)):
        await place.store_value(at, value, flags)

    await Bench(bench.pool, place, bench.lease, bench.rulebook).engine.catch_up(bench.lease)

    assert [(alert.rule, alert.value, alert.opened_at) for alert in await place.alerts()] == [
        ("bin_75", 90, recent)
    ]


async def test_nothing_is_written_once_the_shard_has_another_owner(bench: Bench, place: Any) -> None:
    await bench.pool.execute("UPDATE shard_lease SET epoch = epoch + 1")

    with pytest.raises(LeaseLost):
        await bench.evaluate((ago(20), 76), (ago(10), 82))
    assert await place.alerts() == []
    assert await bench.pool.fetchval("SELECT count(*) FROM rule_state") == 0


async def test_a_silent_device_opens_an_alert_makes_its_bin_unknown_and_resolves_when_received(
    bench: Bench, place: Any, receiver: Any
) -> None:
    await place.endpoint(receiver)
    await bench.evaluate((ago(230), 80), (ago(220), 85), received_at=ago(220))
    await bench.evaluate((ago(200), 86), received_at=ago(200))
    before = await place.alerts()
    await bench.evaluate((ago(190), 50), received_at=ago(190))
    await bench.sweep(ago(600))
    await bench.sweep(ago(600))
    silent = {alert.rule: alert for alert in await place.alerts()}
    states = await bench.pool.fetch("SELECT condition::text FROM rule_state WHERE datastream_id IS NOT NULL")
    await bench.evaluate((ago(0), 80), received_at=ago(0))
    heard = {alert.rule: alert for alert in await place.alerts()}

    assert before == []  # Learnt late: it waits for what follows.
    assert (silent["device_silent"].workflow, silent["device_silent"].device_id) == ("open", place.device_id)
    assert "em400-12 est muet depuis" in silent["device_silent"].message
    assert {row["condition"] for row in states} == {"unknown"}
    assert (heard["device_silent"].workflow, heard["device_silent"].resolved_cause) == ("resolved", "heard")
    assert await bench.queued() == 2


async def test_an_open_alert_stays_open_and_unknown_while_its_device_is_silent(bench: Bench, place: Any) -> None:
    await bench.pool.execute("UPDATE device_profile SET expected_interval = '10 minutes'")
    await bench.evaluate((ago(100), 80), (ago(90), 85), received_at=ago(90))
    await bench.sweep(ago(600))
    bench.engine._now = lambda: datetime.now(UTC) + SETTLE
    await bench.sweep(ago(600))
    alerts = {alert.rule: alert for alert in await place.alerts()}

    assert (alerts["bin_75"].workflow, alerts["bin_75"].condition) == ("open", "unknown")
    assert alerts["device_silent"].workflow == "open"


async def test_an_engine_that_has_just_started_opens_no_alert_of_missing_data(bench: Bench, place: Any) -> None:
    bench.engine._least_watch = timedelta(minutes=5)
    await bench.evaluate((ago(300), 10), received_at=ago(300))
    await bench.sweep(ago(1))
    early = await place.alerts()
    await bench.sweep(ago(1))

    assert early == await place.alerts() == []
    assert await bench.pool.fetchval("SELECT due_at > now() + interval '3 minutes' FROM deadline")


async def test_a_device_whose_values_are_in_the_table_is_not_silent(bench: Bench, place: Any) -> None:
    await bench.evaluate((ago(300), 10), received_at=ago(300))
    await place.store_value(ago(5), 12)
    await bench.sweep(ago(600))

    assert await place.alerts() == []


async def test_a_manual_reading_is_evaluated_and_ends_no_missing_data(bench: Bench, place: Any) -> None:
    await bench.evaluate((ago(300), 10), received_at=ago(300))
    typed = [Measurement(place.datastream_id, int(ago(m).timestamp()) * 1_000_000, 90.0, 4) for m in (20, 10)]
    await bench.engine.evaluate_messages(bench.lease, [message_of(encode_batch(typed))])
    await place.store_value(ago(10), 90)
    await bench.pool.execute("UPDATE observation.latest SET flags = 4")
    await bench.sweep(ago(600))

    assert {alert.rule for alert in await place.alerts()} == {"bin_75", "device_silent"}


async def test_a_device_with_unreadable_payloads_has_no_missing_data(bench: Bench, place: Any) -> None:
    await bench.evaluate((ago(300), 10), received_at=ago(300))
    await bench.pool.execute(
        "INSERT INTO observation.uplink (device_id, time, uplink_id, payload, received_at, status) "
        "VALUES ($1, $2, gen_random_uuid(), '', $2, 'undecodable')",
        place.device_id,
        ago(5),
    )
    await bench.sweep(ago(600))

    assert await place.alerts() == []


async def test_a_sign_of_life_that_was_on_its_way_when_the_deadline_passed_ends_the_silence(
    bench: Bench, place: Any
) -> None:
    await bench.evaluate((ago(300), 10), received_at=ago(300))
    await bench.sweep(ago(600))
    await bench.evaluate((ago(200), 10), received_at=ago(130))
    alert = (await place.alerts())[0]

    assert (alert.rule, alert.workflow, alert.resolved_cause) == ("device_silent", "resolved", "heard")


async def test_a_replaced_device_is_no_longer_waited_for(bench: Bench, place: Any, receiver: Any) -> None:
    await place.endpoint(receiver)
    await bench.evaluate((ago(300), 10), received_at=ago(300))
    await bench.sweep(ago(600))
    opened = await place.alerts()
    await bench.pool.execute(
        "UPDATE assignment SET during = tstzrange(lower(during) - interval '1 h', lower(during))"
    )
    await bench.sweep(ago(600))
    alert = (await place.alerts())[0]

    assert [alert.workflow for alert in opened] == ["open"]
    assert (alert.workflow, alert.resolved_cause) == ("resolved", "device_replaced")


async def test_a_device_that_is_disabled_is_no_longer_called_silent(bench: Bench, place: Any) -> None:
    await bench.evaluate((ago(300), 10), received_at=ago(300))
    await bench.sweep(ago(600))
    await bench.pool.execute("UPDATE device SET enabled = false")
    await bench.sweep(ago(600))
    alert = (await place.alerts())[0]

    assert (alert.rule, alert.workflow, alert.resolved_cause) == ("device_silent", "resolved", "device_disabled")


async def test_an_archived_asset_has_no_alerts_and_no_missing_data_until_it_is_taken_out(
    bench: Bench, place: Any
) -> None:
    asset_id = await bench.pool.fetchval("SELECT asset_id FROM datastream LIMIT 1")
    await bench.evaluate((ago(310), 82), (ago(300), 83), received_at=ago(300))
    await bench.sweep(ago(600))
    opened = await place.alerts()
    await bench.pool.execute("UPDATE asset SET archived_at = now() WHERE id = $1", asset_id)
    await bench.rulebook.apply([Change("asset", asset_id)])
    await bench.sweep(ago(600))
    await bench.evaluate((ago(20), 90), (ago(10), 91))
    await bench.sweep(ago(600))
    ended = await place.alerts()
    await bench.pool.execute("UPDATE asset SET archived_at = NULL")
    await bench.rulebook.apply([Change("asset", asset_id)])
    await bench.evaluate((ago(5), 92), (ago(4), 93))

    assert {alert.workflow for alert in opened} == {"open"}
    assert {(alert.workflow, alert.resolved_cause) for alert in ended} == {("resolved", "asset_archived")}
    assert len(ended) == len(opened)
    assert [alert.workflow for alert in await place.alerts()].count("open") > 0


async def test_a_rule_that_is_switched_off_resolves_its_alerts_and_fires_no_more(bench: Bench, place: Any) -> None:
    await bench.evaluate((ago(20), 76), (ago(10), 82))
    rule_id = await place.rule("bin_75")
    await update_rule(bench.pool, rule_id, {"enabled": False})
    await bench.rulebook.apply([Change("alert_rule", rule_id)])
    await bench.sweep(ago(600))
    await bench.evaluate((ago(5), 90), (ago(4), 91))

    assert [(alert.workflow, alert.resolved_cause) for alert in await place.alerts()] == [
        ("resolved", "rule_disabled")
    ]


@pytest.mark.parametrize("history", History)
async def test_an_asset_that_goes_to_another_tenant_leaves_no_alert_behind(
    bench: Bench, place: Any, receiver: Any, history: History
) -> None:
    await place.endpoint(receiver)
    await bench.evaluate((ago(20), 76), (ago(10), 82))
    receiving = await create_tenant(bench.pool, "autre", "Autre")
    await transfer(bench.pool, place.tenant_id, place.asset_id, receiving.id, history)
    await bench.rulebook.apply([Change("asset", place.asset_id), Change("device", place.device_id)])
    await bench.sweep(ago(600))
    alert = (await place.alerts())[0]

    assert (alert.tenant_id, alert.workflow, alert.resolved_cause) == (
        place.tenant_id,
        "resolved",
        "asset_transferred",
    )
    assert await bench.queued() == 2  # Opened, and resolved.
    assert await bench.pool.fetchval("SELECT count(*) FROM deadline") == 0


async def test_a_crash_before_the_commit_leaves_neither_alert_nor_message(
    bench: Bench, place: Any, receiver: Any
) -> None:
    await place.endpoint(receiver)

    watched = (await bench.rulebook.watched([place.datastream_id], datetime.now(UTC)))[place.datastream_id]

    values = [(watched, Observation(ago(20), 76)), (watched, Observation(ago(10), 82))]
    work = work_of(bench.rulebook, values)
    keys = [bound.key for bound, _, _ in work]

    async def crash() -> None:
        async with bench.engine._transaction(bench.lease) as evaluation:
            await evaluation.observe(work, dict.fromkeys(keys))
            raise Crash

    with pytest.raises(Crash):
        await crash()
    before = (await place.alerts(), await bench.queued())
    await bench.evaluate((ago(20), 76), (ago(10), 82))

    assert before == ([], 0)
    assert (len(await place.alerts()), await bench.queued()) == (1, 1)


CONDITIONS = "SELECT condition::text FROM rule_state WHERE datastream_id IS NOT NULL"


async def test_states_without_an_alert_are_written_by_a_sweep_every_five_seconds(bench: Bench, place: Any) -> None:
    await bench.evaluate((ago(20), 76))
    before = await bench.pool.fetch(CONDITIONS)
    await bench.sweep(ago(600))
    too_soon = await bench.pool.fetch(CONDITIONS)
    bench.ahead = WRITE_DOWN_EVERY
    await bench.sweep(ago(600))
    after = await bench.pool.fetch(CONDITIONS)

    assert (before, too_soon) == ([], [])
    assert [row["condition"] for row in after] == ["pending"]


@pytest.mark.parametrize(("due_in_s", "written"), [(-1, True), (60, False), (None, False)])
async def test_a_state_that_has_come_due_is_written_by_the_next_sweep(
    bench: Bench, place: Any, due_in_s: int | None, written: bool
) -> None:
    """What is due is looked for in the table, which does not know it yet."""
    await bench.evaluate((ago(20), 50))
    memory = bench.engine._memories[bench.lease.shard]
    row = next(iter(memory.unsaved.values()))
    due_at = None if due_in_s is None else datetime.now(UTC) + timedelta(seconds=due_in_s)
    memory.follow({row.key: row._replace(state=structs.replace(row.state, due_at=due_at))})
    await bench.sweep(ago(600))

    assert bool(await bench.pool.fetch(CONDITIONS)) == written


def test_a_memory_knows_the_earliest_instant_at_which_what_is_not_written_is_due() -> None:
    memory, at = Memory(), ago(10)

    def row(place: int, due_at: datetime | None) -> dict[StateKey, StateRow]:
        key = StateKey(1, place)
        return {key: StateRow(1, key, RuleState(Condition.OK, at, 0, at, 1.0, False, 0, due_at), None, 0)}

    memory.follow(row(1, None))
    assert memory.unsaved_due_at is None
    for place, minutes in ((2, 20), (3, 5), (4, 30)):
        memory.follow(row(place, at + timedelta(minutes=minutes)))

    assert memory.unsaved_due_at == at + timedelta(minutes=5)
    memory.all_saved()
    assert memory.unsaved_due_at is None


async def test_what_a_crash_forgot_is_evaluated_again_from_the_table(bench: Bench, place: Any) -> None:
    first = ago(20)
    await place.store_value(first, 76)
    await bench.evaluate((first, 76))  # Pending, and written nowhere.
    successor = Bench(bench.pool, place, bench.lease, bench.rulebook)
    await successor.engine.catch_up(bench.lease)
    await successor.evaluate((ago(10), 82))

    assert [(alert.value, alert.opened_at) for alert in await place.alerts()] == [(82, first)]


async def test_a_value_that_comes_while_a_silence_is_judged_is_remembered(bench: Bench, place: Any) -> None:
    waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'deadline'::regclass"
    await bench.evaluate((ago(300), 10), received_at=ago(300))
    await bench.engine._write_down(bench.lease)
    async with bench.pool.acquire() as connection, connection.transaction():
        await connection.execute("LOCK TABLE deadline IN EXCLUSIVE MODE")
        sweeping = asyncio.create_task(bench.sweep(ago(600)))
        while not await connection.fetchval(waiting):
            pass
        taking = asyncio.create_task(bench.evaluate((ago(20), 76)))
        await connection.fetchval(waiting)
    await asyncio.gather(sweeping, taking)
    await bench.evaluate((ago(10), 82))

    assert [alert.value for alert in await place.alerts() if alert.rule == "bin_75"] == [82]


@pytest.mark.parametrize(("messages", "starts_again"), [(1, False), (FETCH_MESSAGES, True)])
async def test_a_reader_starts_again_from_the_table_when_it_is_behind_and_not_when_its_clock_is_ahead(
    bench: Bench,
    place: Any,
    nats_url: str,
    monkeypatch: pytest.MonkeyPatch,
    messages: int,
    starts_again: bool,
) -> None:
    monkeypatch.setattr("alerting.engine.MOST_BEHIND", timedelta(hours=-1))  # Everything looks old.
    subject = topics.measurements(bench.lease.shard)
    async with connect_bus(nats_url, "test") as bus:
        await bus.ensure_measurements_stream()
        reader = await bus.follow_from_now(topics.MEASUREMENTS, subject)
        octets = bench.message([(ago(20), 76), (ago(10), 82)]).data
        for _ in range(messages):
            await bus.publish(subject, octets)
        serving = asyncio.create_task(bench.engine.serve(bench.lease, reader))
        async with asyncio.timeout(30):
            while not (serving.done() or await place.alerts()):
                pass
        has_returned = serving.done()
        serving.cancel()
        await asyncio.wait((serving,))

    assert has_returned == starts_again


async def test_a_rule_that_changes_finds_what_was_evaluated_before(bench: Bench, place: Any) -> None:
    await bench.evaluate((ago(20), 76))
    await bench.rulebook.apply([Change("alert_rule", 1)])
    await bench.evaluate((ago(10), 82))

    assert [alert.value for alert in await place.alerts()] == [82]


async def test_what_was_not_written_down_of_an_asset_that_goes_away_is_void(bench: Bench, place: Any) -> None:
    await bench.evaluate((ago(20), 76))
    other = await create_tenant(bench.pool, "voisine", "Voisine")
    await transfer(bench.pool, place.tenant_id, place.asset_id, other.id, History.GOES_ALONG)
    await bench.rulebook.apply([Change("asset", place.asset_id), Change("device", place.device_id)])
    await bench.sweep(ago(600))

    assert await bench.pool.fetch(CONDITIONS) == []


async def test_a_rule_that_is_removed_while_its_last_values_come_opens_nothing_and_harms_nobody(
    bench: Bench, place: Any
) -> None:
    await bench.evaluate((ago(20), 76))
    await bench.pool.execute("DELETE FROM alert_rule")
    await bench.evaluate((ago(10), 82))
    await bench.sweep(ago(600))

    assert await place.alerts() == []
    assert await bench.pool.fetchval("SELECT count(*) FROM rule_state") == 0


async def test_a_device_with_frame_loss_is_notified_at_the_full_hour_and_once(bench: Bench, place: Any) -> None:
    await bench.pool.executemany(
        "INSERT INTO observation.uplink (device_id, time, uplink_id, session_id, f_cnt, payload, received_at, "
        "status) VALUES ($1, $2, gen_random_uuid(), 1, $3, '', $2, 'empty')",
        [(place.device_id, ago(90 + 20 * n), 100 - n) for n in range(60) if n % 3 == 0],
    )
    await bench.evaluate((ago(5), 10))
    await bench.sweep(ago(600))
    await bench.sweep(ago(600))
    alerts = [alert for alert in await place.alerts() if alert.rule == "sensor_loss"]

    # 58 frames were sent from the first that was received to the last, and 20 were received.
    assert [alert.device_id for alert in alerts] == [place.device_id]
    assert "65,5\u00a0% des messages" in alerts[0].message

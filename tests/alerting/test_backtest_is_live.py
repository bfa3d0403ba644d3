"""A backtest is what would have happened: the same traces through the engine, its tables and its clock."""

import random
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from alerting import rule_store
from alerting.backtest import try_rule
from alerting.rules.model import Rule
from core.messages.batch import encode_batch
from core.messages.measurements import Measurement
from core.runtime.postgres import Pool
from lab.bench.traces import PlainRule, Trace, random_rule, random_trace, rule_of
from registry.changes import Change
from tests.alerting.alert_scenario import SINCE_LONG, AlertScenario, Thing
from tests.alerting.crashes import message_of
from tests.alerting.test_rule_edges import register, upgraded_at
from tests.alerting.watching import Watch, watch
from tests.conftest import Database
from tests.entering import tenant_transaction

DUE = """
SELECT least((SELECT min(due_at) FROM rule_state), (SELECT min(due_at) FROM deadline),
             (SELECT min(due_at) FROM alert))
"""
STORE = """
INSERT INTO observation.uplink (device_id, time, uplink_id, payload, received_at, status)
VALUES ($1, $2, gen_random_uuid(), '', $3, 'decoded')
"""
SENT = """
SELECT n.at, n.event FROM alert_notice n JOIN alert a ON a.id = n.alert_id WHERE a.rule_id = $1
ORDER BY n.at, n.event
"""
Received = tuple[datetime, datetime, float, int]


class Lived:
    """Traces as they come to pass: a clock that stops at every reception and at every deadline."""

    def __init__(self, watching: Watch) -> None:
        self.watching, self.pool = watching, watching.town.pool
        self.replaced: dict[int, tuple[datetime, int]] = {}  # By thing: when, and the device since then.
        watching.engine._orphans_every_s = 0

    async def pass_time(self, until: datetime) -> None:
        """Every deadline before an instant, each at its own."""
        while True:
            at: datetime | None = await self.pool.fetchval(DUE)
            if at is None or at >= until:
                return
            self.watching.now = max(self.watching.now, at)
            await self.watching.pass_time()

    async def happen(self, received: Sequence[Received], replaced: dict[int, datetime]) -> None:
        """All of it, in the order of time."""
        for at in sorted({one[0] for one in received} | set(replaced.values())):
            for number, instant in replaced.items():
                if instant == at:
                    await self.replace_device(number, at)
            if batch := [one for one in received if one[0] == at]:
                await self.receive(batch)

    async def replace_device(self, number: int, at: datetime) -> None:
        """Another device serves this thing's asset from now on."""
        await self.pass_time(at)
        self.watching.now = at
        thing = self.watching.town.things[number]
        self.replaced[number] = at, await register(self.watching, f"neuf{number}", thing.asset_id)
        await self.watching.engine._rulebook.apply([Change("asset", thing.asset_id)])
        await self.watching.pass_time()

    async def device_of(self, number: int, thing: Thing, at: datetime) -> int:
        """Who has measured at this instant; a successor takes the datastream over with its first value."""
        replaced_at, successor = self.replaced.get(number, (None, 0))
        if replaced_at is None or at < replaced_at:
            return thing.device_id
        taken = "UPDATE datastream SET device_id = $2 WHERE id = $1 AND device_id <> $2"
        if (await self.pool.execute(taken, thing.datastream_id, successor)).endswith(" 1"):
            await self.watching.engine._rulebook.apply([Change("asset", thing.asset_id)])
        return successor

    async def receive(self, batch: Sequence[Received]) -> None:
        received_at = batch[0][0]
        await self.pass_time(received_at)
        self.watching.now = received_at
        items: list[Measurement] = []
        for _, at, value, number in batch:
            thing = self.watching.town.things[number]
            stored = await self.pool.execute(
                "INSERT INTO observation.measurement VALUES ($1, $2, $3, 0) ON CONFLICT DO NOTHING",
                thing.datastream_id, at, value,
            )  # fmt: skip
            device_id = await self.device_of(number, thing, at)
            if stored.endswith(" 1"):
                await self.pool.execute(STORE, device_id, at, received_at)
            await self.pool.execute(
                "INSERT INTO observation.latest VALUES ($1, $2, $3, 0) ON CONFLICT (datastream_id) DO UPDATE "
                "SET time = excluded.time, value = excluded.value WHERE latest.time < excluded.time",
                thing.datastream_id, at, value,
            )  # fmt: skip
            items.append(Measurement(thing.datastream_id, int(at.timestamp()) * 1_000_000, value, 0))
        message = message_of(encode_batch(items), int(received_at.timestamp()) * 1_000_000)
        await self.watching.engine.evaluate_messages(self.watching.lease, [message])
        await self.watching.engine._write_down(self.watching.lease)


def shortened(trace: Trace, length: int) -> Trace:
    """Its middle: where the clocks change, one of each instant."""
    begin = trace.length // 2 - length // 2
    seen: dict[int, tuple[int, int, float]] = {}
    for received, measured, value in sorted(trace.arrivals):
        if begin <= measured and received < begin + length:
            seen.setdefault(measured, (received, measured, value))
    return replace(trace, arrivals=list(seen.values()), outages=[])


@pytest.mark.parametrize("seed", [1])
async def test_a_backtest_gives_the_messages_that_were_sent(
    pool: Pool, api_pool: Pool, database: Database, seed: int
) -> None:
    """Every device is replaced on the second day; one successor says nothing for ten hours."""
    await upgraded_at(database, SINCE_LONG)
    chance = random.Random(seed)
    rules: list[PlainRule] = []
    traces: list[Trace] = []
    while len(traces) < 4:
        rule = replace(random_rule(chance), schedule=chance.choice(["always", "night"]))
        trace = random_trace(chance, rule)
        if trace.interval >= 30 and (not traces or trace.start == traces[0].start):
            rules.append(rule)
            traces.append(shortened(trace, 2 * 24 * 60))

    async def inhabit(scenario: AlertScenario) -> None:
        await scenario.pool.execute("DELETE FROM alert_rule WHERE name <> 'device_silent'")
        for number, trace in enumerate(traces):
            quantity = "open" if rules[number].boolean else "fill_level"
            thing = await scenario.add_asset(
                "room", f"T{number}", quantity, "1", lambda _: None, interval_h=trace.interval / 60
            )
            await scenario.pool.execute("UPDATE asset SET tags = ARRAY[name] WHERE id = $1", thing.asset_id)

    watching = await watch(pool, inhabit)
    made: list[Rule] = []
    async with pool.acquire() as connection:
        for number, naive in enumerate(rules):
            given = replace(
                rule_of(naive),
                tenant_id=watching.town.tenant_id,
                name=f"r{number}",
                quantity="open" if naive.boolean else "fill_level",
                tags=(f"T{number}",),
                for_seconds=naive.lasting * 60,
                **({"fire_op": None, "clear_op": None, "clear_value": None} if naive.boolean else {}),
            )
            made.append(await rule_store.create_rule(connection, given))
        made += [one for one in await rule_store.list_rules(connection) if one.name == "device_silent"]
    await watching.engine._rulebook.apply([Change("alert_rule", rule.id) for rule in made])

    start = traces[0].start
    received: list[Received] = sorted(
        (start + timedelta(minutes=got), start + timedelta(minutes=measured), value, number)
        for number, trace in enumerate(traces)
        for got, measured, value in trace.arrivals
    )
    lived = Lived(watching)
    watching.now = received[0][0] - timedelta(minutes=1)
    await pool.execute("UPDATE assignment SET during = tstzrange($1, NULL)", watching.now)
    await watching.pass_time()  # Which begins their deadlines.
    middle = received[len(received) // 2][0] + timedelta(seconds=1)
    replaced = {number: middle + number * timedelta(minutes=33) for number in range(4)}
    received = [
        one for one in received if one[3] != 1 or not timedelta(0) <= one[1] - replaced[1] < timedelta(hours=10)
    ]
    await lived.happen(received, replaced)
    end = received[-1][0] + timedelta(minutes=1)
    await lived.pass_time(end)

    for rule in made:
        async with tenant_transaction(api_pool, watching.town.tenant_id) as connection:
            tried = await try_rule(connection, rule, end)
        sent = [(row["at"], row["event"]) for row in await pool.fetch(SENT, rule.id)]
        assert sorted((one.at, str(one.event)) for one in tried.notices) == sent, rule
    assert await pool.fetchval("SELECT count(*) FROM alert_notice") > 5
    assert await pool.fetchval("SELECT count(*) FROM alert_event WHERE note = 'device_replaced'") > 0

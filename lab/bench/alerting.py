"""`territoire bench alerting`: values against fifty rules of a tenant, and how soon somebody is notified.

Rows are committed as ingest commits them and published on MEASUREMENTS; alerting, its memory, its tables and its
webhooks are real, and the receiver verifies what arrives. Nearly every value is an ordinary one: it moves the
states of the rules that watch it and concerns nobody. Besides, so many per second open an alert.
"""

import asyncio
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from alerting.proof import accept
from alerting.rule_store import insert_rules
from alerting.rules.model import Rule
from alerting.store import create_endpoint
from core.messages import topics
from core.messages.batch import encode_batch
from core.messages.measurements import Measurement
from core.messages.topics import shard_of_slot, slot_of_asset
from core.runtime.bus import Bus, connect_bus
from core.runtime.lease import read_shards
from core.runtime.postgres import Pool, open_pool
from lab.bench.metrics import read_counters
from lab.bench.processes import cpu_seconds, machine_seconds
from lab.simulator.receiver import Received, receive_webhooks
from registry.keys import KeyWrap
from services.supervisor.run_info import RunInfo, read_run_info

GOAL_RATE, GOAL_CORES, GOAL_P99_S = 2_000.0, 1.0, 2.0
DEVICES, RULES, RULES_PER_QUANTITY = 2_000, 50, 5
# What each device measures; the other half of the rules watches what nobody measures here.
MEASURED = ("temperature", "relative_humidity", "co2", "illuminance", "battery_level")
UNMEASURED = ("pressure", "tvoc", "sound_level", "pm2_5")
ORDINARY, ALARMING = 50.0, 99.0
TICK_S = 0.025
ALARMS_PER_S = 5
# A value of this quantity alarms, by one of its five rules.
ALARM_QUANTITY = "fill_level"
SETTLE_S = 10.0
PLANT = """
WITH profile AS (
    INSERT INTO device_profile (tenant_id, name, vendor, model, codec) VALUES ($1, 'bench', 'v', 'm', 'c')
    RETURNING id
), devices AS (
    INSERT INTO device (tenant_id, dev_eui, join_eui, name, device_profile_id, slot, activation)
    SELECT $1, int8send(9000000 + n), int8send(1), n::text, p.id, 0, 'ABP'
    FROM profile p, generate_series(1, $2::int) n RETURNING id, name
), assets AS (
    INSERT INTO asset (tenant_id, kind, name, street, commune)
    SELECT $1, 'room', n::text, 'rue de Siam', 'Brest' FROM generate_series(1, $2::int) n RETURNING id, name
), served AS (
    INSERT INTO assignment (tenant_id, asset_id, device_id)
    SELECT $1, a.id, d.id FROM assets a JOIN devices d USING (name)
)
INSERT INTO datastream (tenant_id, asset_id, device_id, quantity, unit)
SELECT $1, a.id, d.id, q, '1' FROM assets a JOIN devices d USING (name), unnest($3::text[]) q
RETURNING id, asset_id, quantity
"""
MAKE_TENANT = """
INSERT INTO tenant (slug, name, webhook_allow_list) VALUES ('bench-alertes', 'Banc', '{127.0.0.1/32}') RETURNING id
"""
COLUMNS = ("datastream_id", "time", "value", "flags")


class NotMeasured(Exception):
    """There are no figures; the message says why, in French."""


@dataclass(slots=True)
class Play:
    """What was sent, and when the receiver was notified of it."""

    sent: int = 0
    behind: int = 0  # Values that alerting had not evaluated when the last was sent.
    took_s: float = 0.0
    cpu_s: dict[str, float] = field(default_factory=dict[str, float])
    machine_s: float = 0.0
    committed: dict[int, float] = field(default_factory=dict[int, float])  # By asset, on the monotonic clock.
    notified: dict[int, float] = field(default_factory=dict[int, float])


@dataclass(slots=True)
class Timed(Received):
    """Notes when each asset's alert arrived."""

    notified: dict[int, float] = field(default_factory=dict[int, float])

    def record_delivery(self, body: bytes, headers: dict[str, str]) -> tuple[int, bytes]:
        """As `Received`; the first arrival of each counts."""
        known, arrived = len(self.bodies), time.monotonic()
        answer = Received.record_delivery(self, body, headers)
        for one in self.bodies[known:]:
            self.notified.setdefault(one["data"]["asset"]["id"], arrived)
        return answer


def rules_of(tenant_id: int) -> list[Rule]:
    """Fifty rules, five for a quantity; what is measured fires none of them but one."""

    def rule(quantity: str, number: int, limit: float) -> Rule:
        return Rule(
            0, tenant_id, f"{quantity}_{number}", "threshold", quantity, "warning", "{asset} ({place}) : {value}",
            fire_op=">=", fire_value=limit, clear_op="<", clear_value=limit - 5, for_readings=1 + number % 2,
        )  # fmt: skip

    quiet = [
        rule(quantity, number, 60.0 + number)
        for quantity in (*MEASURED, *UNMEASURED)
        for number in range(RULES_PER_QUANTITY)
    ]
    # The first of these is the one that alarms.
    return quiet + [
        rule(ALARM_QUANTITY, number, ALARMING - 9 + 110 * number) for number in range(RULES_PER_QUANTITY)
    ]


async def plant(pool: Pool, keys: KeyWrap, url: str) -> tuple[list[tuple[int, int]], list[tuple[int, int]], str]:
    """Ordinary datastreams and alarming ones, each with its asset, and the secret of the endpoint."""
    tenant_id = await pool.fetchval(MAKE_TENANT)
    await insert_rules(pool, tenant_id, rules_of(tenant_id))
    endpoint, secret = await create_endpoint(pool, keys, tenant_id, url)
    await accept(pool, endpoint.id)
    rows = await pool.fetch(PLANT, tenant_id, DEVICES, [*MEASURED, ALARM_QUANTITY])
    ordinary = [(row["id"], row["asset_id"]) for row in rows if row["quantity"] != ALARM_QUANTITY]
    alarming = [(row["id"], row["asset_id"]) for row in rows if row["quantity"] == ALARM_QUANTITY]
    return ordinary, alarming, secret


async def send(bus: Bus, pool: Pool, shards: int, values: Sequence[tuple[int, int, float]]) -> float:
    """Commit values of (datastream, asset) and publish them by shard; returns the instant of the commit."""
    at = datetime.now(UTC)
    at_us = int(at.timestamp() * 1_000_000)
    async with pool.acquire() as connection:
        await connection.copy_records_to_table(
            "measurement", schema_name="observation", columns=COLUMNS,
            records=[(stream, at, value, 0) for stream, _, value in values],
        )  # fmt: skip
    committed = time.monotonic()
    batches: dict[int, list[Measurement]] = {}
    for stream, asset_id, value in values:
        shard = shard_of_slot(slot_of_asset(asset_id), shards)
        batches.setdefault(shard, []).append(Measurement(stream, at_us, value, 0))
    await asyncio.gather(
        *(bus.publish(topics.measurements(shard), encode_batch(items)) for shard, items in batches.items())
    )
    return committed


async def evaluated(run: RunInfo) -> int:
    """How often alerting has evaluated a rule."""
    counters = await read_counters(run, "alerting")
    return sum(
        count for (name, _), count in counters.items() if name == "territoire_alerting_rules_evaluated_total"
    )


async def play(
    run: RunInfo, bus: Bus, pool: Pool, seconds: float, rate: float,
    ordinary: Sequence[tuple[int, int]], alarming: Sequence[tuple[int, int]], received: Timed,
) -> Play:  # fmt: skip
    """Send at an even rate for so long, then wait for what is still to be notified."""
    async with pool.acquire() as connection:
        shards = await read_shards(connection)
    await send(bus, pool, shards, [(*stream, ORDINARY) for stream in ordinary])  # Every state is known before.
    await asyncio.sleep(SETTLE_S)
    pids = {
        one.name: one.pid
        for one in read_run_info(Path(run.home)).services
        if one.pid is not None and one.name.split("-")[0] in ("alerting", "postgres", "postgresql", "nats")
    }
    done, cpu_before, machine_before = Play(), cpu_seconds(pids), machine_seconds()
    counted = await evaluated(run)
    loop = asyncio.get_running_loop()
    began, alarmed = loop.time(), 0
    while (passed := loop.time() - began) < seconds:
        due = int(passed * rate) - done.sent
        values = [(*ordinary[(done.sent + place) % len(ordinary)], ORDINARY + place % 7) for place in range(due)]
        fresh = alarming[alarmed : min(len(alarming), int(passed * ALARMS_PER_S))]
        alarmed += len(fresh)
        if values or fresh:
            committed = await send(bus, pool, shards, [*values, *((*stream, ALARMING) for stream in fresh)])
            done.committed |= {asset_id: committed for _, asset_id in fresh}
        done.sent += due
        await asyncio.sleep(max(0.0, TICK_S - (loop.time() - began - passed)))
    done.took_s = loop.time() - began
    after = {name: cpu - cpu_before[name] for name, cpu in cpu_seconds(pids).items()}
    done.cpu_s, done.machine_s = after, machine_seconds() - machine_before
    done.behind = done.sent - (await evaluated(run) - counted) // RULES_PER_QUANTITY
    async with asyncio.timeout(60):
        while len(received.notified) < len(done.committed):  # noqa: ASYNC110 - It is looked at, not waited for.
            await asyncio.sleep(0.1)
    done.notified = received.notified
    return done


def figures_of(done: Play) -> dict[str, Any]:
    """What `--json` says."""
    waits = sorted(done.notified[asset_id] - committed for asset_id, committed in done.committed.items())
    rate = done.sent / done.took_s
    alerting_s = sum(cpu for name, cpu in done.cpu_s.items() if name.startswith("alerting"))

    def percentile(share: float) -> float:
        return round(waits[min(len(waits) - 1, int(share * len(waits)))] * 1000, 1)

    return {
        "measurements_per_second": round(rate, 1),
        "rules_of_the_tenant": RULES,
        "evaluations_per_second": round(rate * RULES_PER_QUANTITY, 1),
        "behind_at_the_end": max(0, done.behind),
        "sustained": done.behind <= rate,
        "cores_by_process": {name: round(cpu / done.took_s, 3) for name, cpu in sorted(done.cpu_s.items())},
        "alerting_cores": round(alerting_s / done.took_s, 3),
        "alerting_cpu_us_per_measurement": round(alerting_s * 1e6 / max(1, done.sent), 1),
        "cores_busy": round(done.machine_s / done.took_s, 2),
        "alerts": len(waits),
        "first_attempt_ms": {"p50": percentile(0.5), "p95": percentile(0.95), "p99": percentile(0.99)},
    }


def is_reached(figures: dict[str, Any]) -> bool:
    """Whether the goals of the issue are: the rate on one core, and people notified within two seconds."""
    return (
        figures["sustained"]
        and figures["alerting_cores"] <= GOAL_CORES
        and figures["first_attempt_ms"]["p99"] <= GOAL_P99_S * 1000
    )


def print_table(console: Console, figures: dict[str, Any]) -> None:
    """The figures for people."""
    table = Table("grandeur", "mesuré", "objectif", title="Alertes")
    rate, waits = figures["measurements_per_second"], figures["first_attempt_ms"]
    verdict = "" if figures["sustained"] else f", non tenu : {figures['behind_at_the_end']} en retard"
    table.add_row("mesures/s", f"{rate:.0f}{verdict}", f"{GOAL_RATE:.0f}")
    table.add_row("règles de la collectivité", str(figures["rules_of_the_tenant"]), str(RULES))
    table.add_row("évaluations/s", f"{figures['evaluations_per_second']:.0f}", "")
    table.add_row("cœurs, alerting", f"{figures['alerting_cores']:.2f}", f"{GOAL_CORES:.0f} au plus")
    table.add_row("µs de CPU par mesure", f"{figures['alerting_cpu_us_per_measurement']:.0f}", "")
    table.add_row("alertes ouvertes", str(figures["alerts"]), "")
    table.add_row("commit -> 1re tentative, p50", f"{waits['p50']:.0f} ms", "")
    table.add_row("commit -> 1re tentative, p99", f"{waits['p99']:.0f} ms", f"{GOAL_P99_S * 1000:.0f} ms")
    console.print(table)


async def measure(run: RunInfo, seconds: float, rate: float) -> dict[str, Any]:
    """The figures of one play on a running stack.

    Raises:
        NotMeasured: alerts did not arrive within a minute.
    """
    keys = KeyWrap(run.kek_id, bytes.fromhex(run.kek))
    received = Timed()
    async with AsyncExitStack() as stack:
        pool = await stack.enter_async_context(open_pool(run.database_url, "bench"))
        bus = await stack.enter_async_context(connect_bus(run.nats_url, "bench"))
        url = await stack.enter_async_context(receive_webhooks(received))
        ordinary, alarming, received.secret = await plant(pool, keys, url)
        await asyncio.sleep(SETTLE_S)  # The rules are live everywhere within five seconds.
        try:
            done = await play(run, bus, pool, seconds, rate, ordinary, alarming, received)
        except TimeoutError:
            raise NotMeasured("des alertes ne sont pas arrivées en une minute") from None
    return figures_of(done)

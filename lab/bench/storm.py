"""Part of `bench network`: a join storm after a power cut, over half-duplex gateways, while data frames go on."""

import asyncio
from dataclasses import dataclass
from statistics import mean, quantiles
from typing import Any

from rich.console import Console

from core.runtime.bus import connect_bus
from core.runtime.postgres import open_pool
from lab.bench.metrics import Counters, by_label, read_counters
from lab.bench.observation import Snapshot, snapshot, wait_until_stored
from lab.device.device import Device
from lab.fleet.benchmark import plan_benchmark
from lab.fleet.bulk import provision_in_bulk
from lab.fleet.tenancy import prepare_tenant
from lab.load.latency import Latency, read_latency
from lab.radio.clock import now_us
from lab.radio.transmission import JOIN_DELAYS_US, SECOND_US
from lab.simulator.account import Account, balance, read_stored
from lab.storm.limits import JoinLimit, Population, join_limit
from lab.storm.storm import Storm, build_storm
from services.supervisor.run_info import RunInfo

GOAL_S = 180.0
GOAL_P99_MS = 1_000
SETTLE_WITHIN_S = 60.0
ARRIVES_WITHIN_S = 30.0
SILENCE_S = 2.0


@dataclass(frozen=True, slots=True)
class StormOptions:
    """Who is there, who comes back, and how long is looked at."""

    returning: int = 1_200
    slow_share: float = 0.2
    steady: int = 300
    gateways: int = 24
    steady_interval_s: float = 6.0
    returning_interval_s: float = 300.0
    within_s: float = GOAL_S


@dataclass(frozen=True, slots=True)
class Stormed:
    """A storm and what was observed of it."""

    options: StormOptions
    storm: Storm
    limit: JoinLimit
    took_s: float
    latency: Latency
    account: Account
    before: Snapshot
    after: Snapshot
    joins: dict[str, int]
    downlinks: dict[str, int]
    requests: dict[str, int]

    @property
    def _received_in_time(self) -> int:
        """How many could have joined, had each request that was received been answered in RX1."""
        latest = self.storm.powered_up_us + round(self.options.within_s * SECOND_US) - JOIN_DELAYS_US[0]
        return sum(received_us <= latest for received_us in self.storm.first_received_us.values())

    def _of(self, spreading_factor: int) -> list[Device]:
        return [device for device in self.storm.returning if device.spreading_factor == spreading_factor]

    def _group(self, devices: list[Device]) -> dict[str, Any]:
        storm = self.storm
        times = sorted(
            seconds
            for device in devices
            if device.session is not None
            and (seconds := (device.joined_us - storm.powered_up_us) / SECOND_US) <= self.options.within_s
        )
        attempts = [storm.backoffs[device.dev_eui].attempts for device in devices]
        cuts = quantiles(times, n=20) if len(times) > 1 else [0.0] * 19
        return {
            "devices": len(devices),
            "joined": len(times),
            "p50_s": round(cuts[9], 1),
            "p95_s": round(cuts[18], 1),
            "last_s": round(times[-1], 1) if times else 0.0,
            "attempts": round(mean(attempts), 2) if attempts else 0.0,
            "most_attempts": max(attempts, default=0),
        }

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        accounts = [gateway.account for gateway in self.storm.gateways]
        refused = {
            word: sum(one.refused.get(word, 0) for one in accounts) for one in accounts for word in one.refused
        }
        spent = {name: cpu - self.before.cpu_s.get(name, 0) for name, cpu in self.after.cpu_s.items()}
        span = self.after.at - self.before.at
        whole = self._group(self.storm.returning)
        return {
            "gateways": self.options.gateways,
            "all": whole,
            "dr5": self._group(self._of(7)),
            "dr0": self._group(self._of(12)),
            "within_s": self.options.within_s,
            "took_s": round(self.took_s, 1),
            "joined_if_each_heard_request_were_answered": self._received_in_time,
            "is_all_joined": whole["joined"] == whole["devices"],
            "air_allows_s": round(self.limit.all_joined_s, 1),
            "air_requests_s": {f"SF{sf}": round(s, 1) for sf, s in self.limit.requests_s.items()},
            "air_accepts_s": round(self.limit.accepts_s, 1),
            "rx1_hour_share": round(self.limit.rx1_hour_share, 2),
            "collided": sum(one.collided for one in accounts),
            "deaf": sum(one.deaf for one in accounts),
            "spoilt_downlinks": self.storm.medium.spoilt_downlinks,
            "emitted": sum(one.emitted for one in accounts),
            "most_emitted": max(one.emitted for one in accounts),
            "duty_cycle_exceeded": sum(one.duty_cycle_exceeded for one in accounts),
            "refused_by_gateways": refused,
            "joins_by_result": self.joins,
            "downlinks_by_outcome": self.downlinks,
            "requests_by_answer": self.requests,
            "data_frames": self.account.heard,
            "account": self.account.as_dict(),
            "is_exact": self.account.balances,
            "p50_ms": round(self.latency.p50_ms, 1),
            "p99_ms": round(self.latency.p99_ms, 1),
            "cores_by_process": {name: round(cpu / span, 2) for name, cpu in spent.items()},
        }


def limit_of(storm: Storm, gateways: int) -> JoinLimit:
    """The limit of the radio medium for these very devices."""
    populations: list[Population] = []
    for factor in sorted({device.spreading_factor for device in storm.returning}):
        receivers = [len(device.links) for device in storm.returning if device.spreading_factor == factor]
        populations.append(Population(len(receivers), factor, mean(receivers)))
    return join_limit(populations, gateways)


async def _counters(run: RunInfo) -> tuple[Counters, Counters]:
    return await read_counters(run, "gateway_bridge"), await read_counters(run, "network")


async def _play(storm: Storm, options: StormOptions, console: Console) -> float:
    """From the power's return until everybody has joined, or the time is over."""
    storm.power_up()
    console.print(f"Le courant revient pour {len(storm.returning)} équipements", highlight=False)
    deadline = storm.powered_up_us + round(options.within_s * SECOND_US)
    shown_us = storm.powered_up_us
    while storm.joined < len(storm.returning) and now_us() < deadline:
        await asyncio.sleep(0.1)
        if now_us() - shown_us >= 20 * SECOND_US:
            shown_us = now_us()
            seconds = (shown_us - storm.powered_up_us) / SECOND_US
            console.print(f"  {seconds:4.0f} s : {storm.joined} activés", highlight=False)
    return (now_us() - storm.powered_up_us) / SECOND_US


async def measure_storm(run: RunInfo, options: StormOptions, console: Console) -> Stormed:
    """Play the storm on a running stack whose PostgreSQL keeps commit timestamps.

    Raises:
        ProvisioningFailed: the message says what happened.
    """
    name = f"tempete {now_us()}"
    async with open_pool(run.database_url, "bench") as pool, connect_bus(run.nats_url, "bench") as bus:
        tenant, api_key = await prepare_tenant(pool, name.replace(" ", "-"), name.capitalize())
        plan = plan_benchmark(name, options.steady + options.returning, options.gateways)
        await provision_in_bulk(run, tenant.id, api_key, plan)
        storm = build_storm(
            plan,
            options.steady,
            slow_share=options.slow_share,
            steady_interval_s=options.steady_interval_s,
            returning_interval_s=options.returning_interval_s,
            udp=(run.udp_host, run.udp_port),
        )
        flying = asyncio.create_task(storm.run(), name="storm")
        left = await storm.settled(SETTLE_WITHIN_S)
        console.print(f"{options.steady - left} équipements sont déjà là", highlight=False)
        bridge_before, network_before = await _counters(run)
        before = await snapshot(run, bus)
        took_s = await _play(storm, options, console)
        ended_us = now_us()
        storm.silent.set()
        await asyncio.sleep(SILENCE_S)
        after = await snapshot(run, bus)
        bridge_after, network_after = await _counters(run)
        received = sum(bool(uplink.received_by) for uplink in storm.sent)
        await wait_until_stored(bus, pool, received, storm.powered_up_us - 3_600 * SECOND_US, ARRIVES_WITHIN_S)
        flying.cancel()
        await asyncio.gather(flying, return_exceptions=True)
        return Stormed(
            options,
            storm,
            limit_of(storm, options.gateways),
            took_s,
            await read_latency(pool, storm.powered_up_us, ended_us),
            balance(storm.sent, *await read_stored(pool, tenant.id)),
            before,
            after,
            by_label(network_before, network_after, "territoire_network_joins_total"),
            by_label(network_before, network_after, "territoire_network_downlinks_total"),
            by_label(bridge_before, bridge_after, "territoire_gateway_bridge_downlinks_total"),
        )

"""Part of `bench network`: many gateways at an even rate, nothing lost, and in which window answers are received.

Everything between a gateway's socket and the database is real; gateways are half-duplex, devices receive only in
their windows. What is counted, in the order of the way: sent, received (a gateway's radio listened), ours (the bus
has it), published (an uplink of the network), stored.
"""

import asyncio
import copy
import gc
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console

from core.runtime.bus import connect_bus
from core.runtime.postgres import open_pool
from lab.bench.metrics import Counters, by_label, read_counters, total
from lab.bench.observation import Snapshot, snapshot, wait_until_stored
from lab.device.answers import Answers
from lab.load.latency import Latency, read_latency
from lab.load.load import Load, Played, open_load
from lab.load.pacer import SPREADING_FACTOR
from lab.radio.transmission import BANDWIDTH, SECOND_US
from lab.simulator.account import Account, balance, key_of, read_stored
from lorawan.airtime import lora_airtime_us
from services.supervisor.run_info import RunInfo

GOAL_RX1 = 0.99
ARRIVES_WITHIN_S = 60.0
# LinkADR, DevStatus and so on are asked with a device's first uplinks; these are not measured.
WARM_UP_UPLINKS = 3
ACKNOWLEDGEMENT_OCTETS = 12
# The last uplinks' RX2.
WINDOWS_S = 3.0


@dataclass(frozen=True, slots=True)
class AnswersOptions:
    """The load: uplinks per second over all devices, and which share of them is confirmed."""

    seconds: float = 60.0
    rate: float = 2_000.0
    gateways: int = 507
    devices: int = 6_084  # Twelve per gateway, each every three seconds.
    copies: float = 1.0
    confirmed_share: float = 0.05


@dataclass(frozen=True, slots=True)
class Moved:
    """What the services counted while the load was played."""

    bridge_before: Counters
    bridge_after: Counters
    network_before: Counters
    network_after: Counters

    def bridge(self, metric: str) -> dict[str, int]:
        """A metric of the gateway bridge."""
        return by_label(self.bridge_before, self.bridge_after, f"territoire_gateway_bridge_{metric}_total")

    def network(self, metric: str) -> dict[str, int]:
        """A metric of the network service."""
        return by_label(self.network_before, self.network_after, f"territoire_network_{metric}_total")


@dataclass(frozen=True, slots=True)
class Sustained:
    """One play and everything that came of it."""

    options: AnswersOptions
    sent: int
    copies: int
    played: Played
    answers: Answers
    deaf: int
    duty_cycle_exceeded: int
    moved: Moved
    latency: Latency
    account: Account
    before: Snapshot
    after: Snapshot
    refused: dict[str, int] = field(default_factory=dict[str, int])
    """By the gateways' radios."""

    @property
    def ours(self) -> int:
        """Receptions that the bus acknowledged."""
        return total(self.moved.bridge("uplinks"), "forwarded")

    @property
    def published(self) -> int:
        """Uplinks that the network published, each once."""
        return total(self.moved.network("frames"), "accepted", "restarted")

    @property
    def is_exact(self) -> bool:
        """Whether nothing was lost, doubled or invented between a gateway's socket and the database."""
        return self.account.balances and self.ours == self.copies and self.published == self.played.uplinks

    @property
    def elsewhere_cores(self) -> float:
        """Cores that were busy with something else than the stack and the generator: then answers are late."""
        ours = sum(cpu - self.before.cpu_s.get(name, 0) for name, cpu in self.after.cpu_s.items())
        spent = self.after.machine_s - self.before.machine_s - self.played.cpu_s
        return max(0.0, spent - ours) / (self.after.at - self.before.at)

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        answers, awaited = self.answers, max(1, self.answers.awaited)
        took_s = self.after.at - self.before.at
        spent = {name: cpu - self.before.cpu_s.get(name, 0) for name, cpu in self.after.cpu_s.items()}
        return {
            "gateways": self.options.gateways,
            "devices": self.options.devices,
            "seconds": self.options.seconds,
            "frames_per_second": round(self.played.rate, 1),
            "sent": self.sent,
            "heard": self.played.uplinks,
            "deaf": self.deaf,
            "copies": self.copies,
            "ours": self.ours,
            "published": self.published,
            "stored": self.account.heard - self.account.missing - self.account.left_out,
            "account": self.account.as_dict(),
            "udp_drops": self.after.drops - self.before.drops,
            "is_exact": self.is_exact,
            "answers_awaited": answers.awaited,
            "rx1": answers.rx1,
            "rx2": answers.rx2,
            "neither": answers.neither,
            "rx1_share": round(answers.rx1 / awaited, 4),
            "rx2_share": round(answers.rx2 / awaited, 4),
            "neither_share": round(answers.neither / awaited, 4),
            "rx1_share_of_a_perfect_network": round(rx1_ceiling(self.options), 4),
            "outside_windows": answers.outside,
            "duty_cycle_exceeded": self.duty_cycle_exceeded,
            "refused_by_gateways": self.refused,
            "requests_by_answer": self.moved.bridge("downlinks"),
            "downlinks_by_outcome": self.moved.network("downlinks"),
            "p50_ms": round(self.latency.p50_ms, 1),
            "p99_ms": round(self.latency.p99_ms, 1),
            "cores_by_process": {name: round(cpu / took_s, 2) for name, cpu in spent.items()},
            "cores_busy_elsewhere": round(self.elsewhere_cores, 2),
            "generator_cores": round(self.played.cpu_s / self.options.seconds, 2),
        }


def rx1_ceiling(options: AnswersOptions) -> float:
    """The share of answers whose gateway is not transmitting another one when RX1 begins, with one copy each.

    Answers come at random, one gateway's at `rate * confirmed_share / gateways`; the first of two that overlap
    has the radio.
    """
    airtime_s = lora_airtime_us(ACKNOWLEDGEMENT_OCTETS, SPREADING_FACTOR, BANDWIDTH, crc=False) / SECOND_US
    busy = options.rate * options.confirmed_share / options.gateways * airtime_s
    return 1 / (1 + busy)


async def _counters(run: RunInfo) -> tuple[Counters, Counters]:
    return await read_counters(run, "gateway_bridge"), await read_counters(run, "network")


def _radios(load: Load) -> tuple[int, int, Counter[str]]:
    accounts = [gateway.account for gateway in load.gateways]
    refused: Counter[str] = Counter()
    for account in accounts:
        refused.update(account.refused)
    return sum(one.deaf for one in accounts), sum(one.duty_cycle_exceeded for one in accounts), refused


async def measure_answers(run: RunInfo, options: AnswersOptions, console: Console) -> Sustained:
    """Play the load on a running stack whose PostgreSQL keeps commit timestamps.

    Raises:
        ProvisioningFailed, JoinsTakeTooLong: the message says what happened.
    """
    async with (
        open_pool(run.database_url, "bench", command_timeout=120) as pool,
        connect_bus(run.nats_url, "bench") as bus,
        open_load(
            run,
            devices=options.devices,
            gateways=options.gateways,
            receptions=options.copies,
            confirmed_share=options.confirmed_share,
            console=console,
        ) as load,
    ):
        console.print(f"{load.joined} équipements activés par {len(load.gateways)} passerelles", highlight=False)
        warm_up = await load.play(options.rate, WARM_UP_UPLINKS * options.devices / options.rate)
        await wait_until_stored(bus, pool, warm_up.uplinks, warm_up.began_us, ARRIVES_WITHIN_S)
        await asyncio.sleep(WINDOWS_S)
        gc.collect()
        gc.freeze()
        answered, sent, copies = copy.copy(load.answers), load.sent_count, load.forwarded
        deaf, exceeded, refused = _radios(load)
        bridge_before, network_before = await _counters(run)
        before = await snapshot(run, bus)
        console.print(f"{options.rate:.0f} trames/s pendant {options.seconds:.0f} s", highlight=False)
        played = await load.play(options.rate, options.seconds)
        await wait_until_stored(bus, pool, played.uplinks, played.began_us, ARRIVES_WITHIN_S)
        await asyncio.sleep(WINDOWS_S)
        after = await snapshot(run, bus)
        bridge_after, network_after = await _counters(run)
        deaf_after, exceeded_after, refused_after = _radios(load)
        stored, undecodable = await read_stored(pool, load.tenant.id)
        whole = load.sent
        within = {key_of(uplink) for uplink in whole[sent:]}
        account = balance(
            whole[sent:],
            Counter({key: count for key, count in stored.items() if key in within}),
            undecodable & within,
        )
        return Sustained(
            options,
            load.sent_count - sent,
            load.forwarded - copies,
            played,
            load.answers.since(answered),
            deaf_after - deaf,
            exceeded_after - exceeded,
            Moved(bridge_before, bridge_after, network_before, network_after),
            await read_latency(pool, played.began_us, played.ended_us),
            account,
            before,
            after,
            dict(refused_after - refused),
        )

"""A load for benchmarks and for breaking things: thousands of uplinks per second over real UDP sockets.

Gateways and devices are real as far as the network sees them (registry over the API, OTAA, MIC, counters, UDP);
the radio between them is perfect. One loop drives everything, so that an uplink costs a few microseconds.
"""

import asyncio
import random
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from rich.console import Console
from rich.progress import Progress

from core.model.entities import Tenant
from core.runtime.postgres import open_pool
from lab.device.answers import Answers
from lab.device.application import PreparedPayloads
from lab.device.device import Device, SentUplink
from lab.fleet.benchmark import plan_benchmark
from lab.fleet.build import build_device, build_udp_gateway
from lab.fleet.bulk import provision_in_bulk
from lab.fleet.placement import EVEN_SNR, even_gateways
from lab.fleet.plan import FleetPlan
from lab.fleet.tenancy import prepare_tenant
from lab.gateway.gateway import Uptime
from lab.gateway.udp import UdpGateway, keep_paths_open
from lab.load.joining import JOINS_PER_GATEWAY_AND_S, JOINS_PER_S, join_in_turn
from lab.load.pacer import FIELDS, Pacer
from lab.radio.clock import now_us
from lab.radio.medium import Link, RadioMedium
from lab.radio.transmission import SECOND_US
from services.supervisor.run_info import RunInfo

JOIN_PATIENCE_S = 180.0
# Of very many devices, of each.
JOIN_PATIENCE_A_DEVICE_S = 0.05
# Twice in one poll, two uplinks of a device would be at the same instant.
FASTEST_DEVICE_HZ = 50


class JoinsTakeTooLong(Exception):
    """Some devices had no accept in three minutes or longer; the message says how many, in French."""


@dataclass(frozen=True, slots=True)
class Servers:
    """UDP ports of the bridges that a gateway speaks with; without `pull` it pulls where it pushes."""

    push: int
    pull: int | None = None


@dataclass(frozen=True, slots=True)
class Played:
    """One `play`: instants in microseconds, uplinks that a gateway received, our process time in seconds."""

    began_us: int
    ended_us: int
    uplinks: int
    cpu_s: float

    @property
    def rate(self) -> float:
        """Uplinks per second that were really received."""
        return self.uplinks * SECOND_US / max(1, self.ended_us - self.began_us)


class Load:
    """Gateways and devices; `open_load` makes it, with every device joined."""

    def __init__(
        self,
        tenant: Tenant,
        api_key: str,
        fleet: FleetPlan,
        host: str,
        servers: Sequence[Servers],
        *,
        receptions: float = 1.0,
        confirmed_share: float = 0.0,
        medium: RadioMedium | None = None,
    ) -> None:
        """`servers` on `host` are dealt out to the gateways in turn."""
        source = random.Random(fleet.name)
        self.tenant = tenant
        self.api_key = api_key
        self.answers = Answers()
        medium = medium or RadioMedium(source, uplink_loss=0, downlink_loss=0, fading_db=0)
        self.gateways: list[UdpGateway] = []
        for number, plan in enumerate(fleet.gateways):
            its = servers[number % len(servers)]
            pulls_from = None if its.pull is None else (host, its.pull)
            self.gateways.append(build_udp_gateway(plan, medium, source, (host, its.push), pulls_from))
        in_range = [even_gateways(source, self.gateways, one.number, receptions) for one in fleet.devices]
        at_us = now_us()
        self.devices = [
            build_device(
                plan,
                [Link(gateway, EVEN_SNR) for gateway in those],
                medium,
                random.Random(f"{fleet.name} nonces {plan.number}"),
                application=PreparedPayloads(plan.application, at_us),
                confirmed_share=confirmed_share,
                answers=self.answers,
            )
            for plan, those in zip(fleet.devices, in_range, strict=True)
        ]
        self.pacer = Pacer(self.devices, self.gateways, in_range, source)

    @property
    def sent(self) -> list[SentUplink]:
        """The load's own account, made anew at each call: a second or so per million."""
        log = self.pacer.sent
        names = [
            (
                device.dev_eui,
                b"" if device.session is None else device.session.dev_addr,
                [bytes(link.gateway.gateway_id) for link in device.links],
            )
            for device in self.devices
        ]
        made: list[SentUplink] = []
        for at in range(0, len(log), FIELDS):
            dev_eui, dev_addr, in_range = names[log[at]]
            bits = log[at + 3]
            received_by = in_range
            if bits != (1 << len(in_range)) - 1:
                received_by = [gateway_id for place, gateway_id in enumerate(in_range) if bits >> place & 1]
            made.append(SentUplink(dev_eui, dev_addr, log[at + 1], log[at + 2], received_by))
        return made

    @property
    def sent_count(self) -> int:
        """How many uplinks were sent so far."""
        return len(self.pacer.sent) // FIELDS

    def forget_sent(self) -> None:
        """Begin the account anew; no play is running."""
        del self.pacer.sent[:]

    @property
    def joined(self) -> int:
        """How many devices have a session."""
        return sum(device.session is not None for device in self.devices)

    @property
    def uptimes(self) -> dict[bytes, Uptime]:
        """When the bridge was known to answer each gateway."""
        return {gateway.gateway_id: gateway.uptime for gateway in self.gateways}

    @property
    def pushed(self) -> int:
        """PUSH_DATA sent."""
        return sum(gateway.pushed for gateway in self.gateways)

    @property
    def acknowledged(self) -> int:
        """PUSH_ACK received."""
        return sum(gateway.acknowledged for gateway in self.gateways)

    @property
    def forwarded(self) -> int:
        """Receptions sent."""
        return sum(gateway.forwarded for gateway in self.gateways)

    async def play(self, rate: float, seconds: float) -> Played:
        """Send `rate` uplinks per second for so long, whatever becomes of them; one play at a time.

        Raises:
            ValueError: so few devices cannot send so much, or a play is running.
        """
        if rate > FASTEST_DEVICE_HZ * len(self.devices):
            most = f"{FASTEST_DEVICE_HZ}/s each of {len(self.devices)} devices"
            raise ValueError(f"{rate:g} uplinks/s are more than {most}")
        before, cpu, began_us = self.pacer.received, time.process_time(), now_us()
        await self.pacer.play(round(rate * seconds), rate)
        return Played(began_us, now_us(), self.pacer.received - before, time.process_time() - cpu)

    async def join(self, console: Console) -> None:
        """Return when every device has a session.

        Raises:
            JoinsTakeTooLong: some have none after three minutes, of very many devices later.
        """
        homes = {gateway.gateway_id: list[Device]() for gateway in self.gateways}
        for device in self.devices:
            homes[device.links[0].gateway.gateway_id].append(device)
        every_s = max(1 / JOINS_PER_GATEWAY_AND_S, len(homes) / JOINS_PER_S)
        patience_s = max(JOIN_PATIENCE_S, JOIN_PATIENCE_A_DEVICE_S * len(self.devices))
        with Progress(console=console, transient=True) as progress:
            shown = progress.add_task("Activation par les ondes", total=len(self.devices))
            try:
                async with asyncio.timeout(patience_s), asyncio.TaskGroup() as tasks:
                    joining = [
                        tasks.create_task(join_in_turn(devices, every_s=every_s), name="join")
                        for devices in homes.values()
                    ]
                    while self.joined < len(self.devices):
                        progress.update(shown, completed=self.joined)
                        await asyncio.sleep(0.1)
                    for task in joining:
                        task.cancel()
            except TimeoutError:
                raise JoinsTakeTooLong(
                    f"{len(self.devices) - self.joined} équipements sur {len(self.devices)} n'ont pas de session "
                    f"après {patience_s:.0f} s"
                ) from None


@asynccontextmanager
async def open_load(
    run: RunInfo,
    *,
    devices: int,
    gateways: int,
    receptions: float = 1.0,
    confirmed_share: float = 0.0,
    servers: Sequence[Servers] = (),
    console: Console,
) -> AsyncGenerator[Load]:
    """A tenant of its own with `devices` that have joined through `gateways`, `copies` of each frame on average.

    `confirmed_share` of the uplinks are confirmed. `servers` are dealt out to the gateways in turn; none: the
    stack's first bridge is everybody's.

    Raises:
        ProvisioningFailed: the API rejected the fleet.
        JoinsTakeTooLong: some devices have no session.
    """
    name = f"charge {now_us()}"
    async with open_pool(run.database_url, "load") as pool:
        tenant, api_key = await prepare_tenant(pool, name.replace(" ", "-"), name.capitalize())
    console.print("Inscription du parc")
    fleet = plan_benchmark(name, devices, gateways)
    await provision_in_bulk(run, tenant.id, api_key, fleet)
    load = Load(
        tenant,
        api_key,
        fleet,
        run.udp_host,
        servers or (Servers(run.udp_port),),
        receptions=receptions,
        confirmed_share=confirmed_share,
    )
    try:
        for gateway in load.gateways:
            gateway.open()
        async with asyncio.TaskGroup() as tasks:
            background = [
                tasks.create_task(load.pacer.run(), name="pacer"),
                tasks.create_task(keep_paths_open(load.gateways), name="paths"),
            ]
            await load.join(console)
            yield load
            for task in background:
                task.cancel()
    except BaseExceptionGroup as failed:
        raise failed.exceptions[0] from None  # The caller's own error, or what ended the pacer.
    finally:
        for gateway in load.gateways:
            gateway.close()

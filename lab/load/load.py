"""A load for benchmarks and for breaking things: thousands of uplinks per second over real UDP sockets.

Gateways and devices are as real as the network can tell (registry over the API, OTAA, MIC, counters, Semtech UDP);
the radio between them is not simulated. One loop drives everything, so that an uplink costs a few microseconds.
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
from lab.load import frames
from lab.load.air import FIELDS, Air
from lab.load.device import LoadDevice
from lab.load.gateway import LoadGateway
from lab.load.plan import payload_pool, plan_load_devices, plan_load_gateways
from lab.load.registry import provision
from lab.load.upkeep import JOINS_PER_GATEWAY_AND_S, JOINS_PER_S, join, keep_paths_open
from lab.simulator.device import SentUplink
from lab.simulator.fleet import JOIN_EUI
from lab.simulator.gateway import Uptime
from lab.simulator.sensors import now_us
from lab.simulator.tenancy import prepare_tenant
from lorawan.identifiers import GatewayId
from services.supervisor.run_info import RunInfo

JOIN_PATIENCE_S = 180.0
# Twice in one poll, two uplinks of a device would be at the same instant.
FASTEST_DEVICE_HZ = 50


class JoinsTakeTooLong(Exception):
    """Some devices had no accept in three minutes; the message says how many, in French."""


@dataclass(frozen=True, slots=True)
class Servers:
    """UDP ports of the bridges that a gateway speaks with; without `pull` it pulls where it pushes."""

    push: int
    pull: int | None = None


@dataclass(frozen=True, slots=True)
class Played:
    """What one `play` did: instants in microseconds, uplinks that a gateway heard, our process time in seconds."""

    began_us: int
    ended_us: int
    uplinks: int
    cpu_s: float

    @property
    def rate(self) -> float:
        """Uplinks per second that were really heard."""
        return self.uplinks * frames.SECOND_US / max(1, self.ended_us - self.began_us)


class Load:
    """Gateways and devices; `open_load` makes it, with every device joined."""

    def __init__(
        self,
        tenant: Tenant,
        api_key: str,
        devices: list[LoadDevice],
        gateways: list[LoadGateway],
        copies: float = 1.0,
    ) -> None:
        self.tenant = tenant
        self.api_key = api_key
        self.devices = devices
        self.gateways = gateways
        self.air = Air(devices, gateways, copies, random.Random(tenant.slug))

    @property
    def sent(self) -> list[SentUplink]:
        """The load's own account, made anew at each call: a second or so per million."""
        log = self.air.sent
        names = [
            (device.dev_eui, device.dev_addr or b"", [bytes(gateway.gateway_id) for gateway in hearers])
            for device, hearers in zip(self.devices, self.air.hearers, strict=True)
        ]
        made: list[SentUplink] = []
        for at in range(0, len(log), FIELDS):
            dev_eui, dev_addr, hearers = names[log[at]]
            bits = log[at + 3]
            heard_by = hearers
            if bits != (1 << len(hearers)) - 1:
                heard_by = [gateway_id for place, gateway_id in enumerate(hearers) if bits >> place & 1]
            made.append(SentUplink(dev_eui, dev_addr, log[at + 1], log[at + 2], heard_by))
        return made

    @property
    def sent_count(self) -> int:
        """How many uplinks were sent so far."""
        return len(self.air.sent) // FIELDS

    @property
    def joined(self) -> int:
        """How many devices have a session."""
        return sum(device.cipher is not None for device in self.devices)

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
        """Copies of frames sent."""
        return sum(gateway.forwarded for gateway in self.gateways)

    async def play(self, rate: float, seconds: float) -> Played:
        """Send `rate` uplinks per second for so long, whatever becomes of them; one play at a time.

        Raises:
            ValueError: so few devices cannot send so much, or a play is running.
        """
        if rate > FASTEST_DEVICE_HZ * len(self.devices):
            most = f"{FASTEST_DEVICE_HZ}/s each of {len(self.devices)} devices"
            raise ValueError(f"{rate:g} uplinks/s are more than {most}")
        before, cpu, began_us = self.air.heard, time.process_time(), now_us()
        await self.air.play(round(rate * seconds), rate)
        return Played(began_us, now_us(), self.air.heard - before, time.process_time() - cpu)

    async def join(self, console: Console) -> None:
        """Return when every device has a session.

        Raises:
            JoinsTakeTooLong: some have none after three minutes.
        """
        homes = {gateway.gateway_id: list[LoadDevice]() for gateway in self.gateways}
        for device, hearers in zip(self.devices, self.air.hearers, strict=True):
            homes[hearers[0].gateway_id].append(device)
        every_s = max(1 / JOINS_PER_GATEWAY_AND_S, len(homes) / JOINS_PER_S)
        with Progress(console=console, transient=True) as progress:
            shown = progress.add_task("Activation par les ondes", total=len(self.devices))
            try:
                async with asyncio.timeout(JOIN_PATIENCE_S), asyncio.TaskGroup() as tasks:
                    joining = [
                        tasks.create_task(join(gateway, homes[gateway.gateway_id], every_s=every_s), name="join")
                        for gateway in self.gateways
                    ]
                    while self.joined < len(self.devices):
                        progress.update(shown, completed=self.joined)
                        await asyncio.sleep(0.1)
                    for task in joining:
                        task.cancel()
            except TimeoutError:
                raise JoinsTakeTooLong(
                    f"{len(self.devices) - self.joined} équipements sur {len(self.devices)} n'ont pas de session "
                    f"après {JOIN_PATIENCE_S:.0f} s"
                ) from None


def _build(
    run: RunInfo,
    tenant: Tenant,
    api_key: str,
    name: str,
    devices: int,
    gateways: int,
    copies: float,
    confirmed_share: float,
    servers: Sequence[Servers],
) -> Load:
    source = random.Random(name)
    servers = servers or (Servers(run.udp_port),)
    forwarders: list[LoadGateway] = []
    for number, plan in enumerate(plan_load_gateways(gateways, name)):
        its = servers[number % len(servers)]
        forwarder = LoadGateway(
            GatewayId(plan.gateway_id),
            (run.udp_host, its.push),
            source.randrange(frames.COUNTER_MASK),
            frames.signals(plan.name),
            pulls_from=None if its.pull is None else (run.udp_host, its.pull),
        )
        forwarders.append(forwarder)
    at_us = now_us()
    made = [
        LoadDevice(
            number,
            plan.dev_eui,
            JOIN_EUI,
            plan.app_key,
            payload_pool(plan.application, at_us),
            random.Random(f"{name} nonces {number}"),
            confirmed_share=confirmed_share,
        )
        for number, plan in enumerate(plan_load_devices(devices, name))
    ]
    return Load(tenant, api_key, made, forwarders, copies)


@asynccontextmanager
async def open_load(
    run: RunInfo,
    *,
    devices: int,
    gateways: int,
    copies: float = 1.0,
    confirmed_share: float = 0.0,
    servers: Sequence[Servers] = (),
    console: Console,
) -> AsyncGenerator[Load]:
    """A tenant of its own with `devices` that have joined through `gateways`, `copies` of each frame on average.

    `confirmed_share` of the uplinks are confirmed. `servers` are dealt out to the gateways in turn; none: the
    stack's first bridge is everybody's.

    Raises:
        ProvisioningFailed: the API refused the fleet.
        JoinsTakeTooLong: some devices have no session.
    """
    name = f"charge {now_us()}"
    async with open_pool(run.database_url, "load") as pool:
        tenant, api_key = await prepare_tenant(pool, name.replace(" ", "-"), name.capitalize())
    console.print("Inscription du parc")
    await provision(run, tenant.id, api_key, plan_load_gateways(gateways, name), plan_load_devices(devices, name))
    load = _build(run, tenant, api_key, name, devices, gateways, copies, confirmed_share, servers)
    try:
        async with asyncio.TaskGroup() as tasks:
            background = [
                tasks.create_task(load.air.run(), name="air"),
                tasks.create_task(keep_paths_open(load.gateways), name="paths"),
            ]
            await load.join(console)
            yield load
            for task in background:
                task.cancel()
    except BaseExceptionGroup as failed:
        raise failed.exceptions[0] from None  # The caller's own error, or what ended the air.
    finally:
        for gateway in load.gateways:
            gateway.close()

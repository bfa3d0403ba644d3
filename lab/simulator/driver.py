"""Puts a fleet on the air and keeps it there: one task per device, one per gateway."""

import asyncio
import random
from dataclasses import dataclass, field

from lab.device.application import Message
from lab.device.device import Device, SentUplink
from lab.device.routine import join_and_send
from lab.fleet.build import GatewayServers, build_device, build_gateways
from lab.fleet.placement import nearest_links
from lab.fleet.plan import FleetPlan
from lab.gateway.gateway import Gateway
from lab.radio.clock import now_us
from lab.radio.medium import RadioMedium

# A device answers a downlink once its windows have closed.
ANSWER_S = (0.3, 1.5)
WINDOWS_S = 2.2


@dataclass(slots=True)
class Fleet:
    """Gateways and devices on the air, and everything that they sent."""

    gateways: list[Gateway]
    devices: list[Device]
    interval_s: float
    join_spread_s: float
    sent: list[SentUplink] = field(default_factory=list[SentUplink])
    silent: asyncio.Event = field(default_factory=asyncio.Event)
    _answers: set[asyncio.Task[None]] = field(default_factory=set[asyncio.Task[None]])

    @property
    def joined(self) -> int:
        """How many devices have a session."""
        return sum(device.session is not None for device in self.devices)

    @property
    def received(self) -> int:
        """How many uplinks at least one gateway received."""
        return sum(bool(uplink.received_by) for uplink in self.sent)

    async def run(self) -> None:
        """Gateways first, then devices; until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for gateway in self.gateways:
                tasks.create_task(gateway.run(), name=gateway.name)
            for device in self.devices:
                starts_in_s = device.random.uniform(1, 1 + self.join_spread_s)
                life = join_and_send(device, self.silent, self.interval_s, starts_in_s)
                tasks.create_task(life, name=f"device {device.dev_eui.hex()}")

    def answer_soon(self, device: Device, message: Message) -> None:
        """Let a device answer a downlink, even when the fleet has fallen silent."""
        delay_s = device.random.uniform(*ANSWER_S) + (0 if device.is_class_c else WINDOWS_S)
        self.answer_later(device, message, delay_s)

    def answer_later(self, device: Device, message: Message, delay_s: float) -> None:
        """Let a device answer after so many seconds."""
        task = asyncio.create_task(self._answer(device, message, delay_s), name=f"answer {device.dev_eui.hex()}")
        self._answers.add(task)
        task.add_done_callback(self._answers.discard)

    async def _answer(self, device: Device, message: Message, delay_s: float) -> None:
        await asyncio.sleep(delay_s)
        device.send(message, now_us())


def build_fleet(plan: FleetPlan, *, servers: GatewayServers, interval_s: float, join_spread_s: float) -> Fleet:
    """The fleet of this plan, ready to run against these servers."""
    source = random.Random(plan.name)
    medium = RadioMedium(source)
    gateways = build_gateways(plan.gateways, medium, source, servers=servers)
    fleet = Fleet(gateways, [], interval_s, join_spread_s)
    for one in plan.devices:
        links = nearest_links(one, gateways, random.Random(one.dev_eui.hex()))
        device = build_device(
            one, links, medium, random.Random(), record=fleet.sent.append, answer_soon=fleet.answer_soon
        )
        device.answer_later = fleet.answer_later
        fleet.devices.append(device)
    return fleet

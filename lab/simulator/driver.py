"""Puts a fleet on the air and keeps it there: one task per device, one per gateway."""

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass, field

from lab.simulator.device import Device, Message, SentUplink
from lab.simulator.fleet import JOIN_EUI, GatewayPlan, Plan
from lab.simulator.gateway import GatewayBase
from lab.simulator.mqtt_gateway import MqttGateway
from lab.simulator.radio import Air, Link
from lab.simulator.sensors import now_us
from lab.simulator.udp_gateway import UdpGateway

MOST_GATEWAYS_IN_RANGE = 4
# A join is answered 5 or 6 s later; then the device waits a little and tries again.
JOIN_ANSWER_S = 6.5
JOIN_PAUSE_S = (1.0, 10.0)
FIRST_UPLINK_S = (0.5, 4.0)
# A device answers a downlink once its windows have closed.
ANSWER_S = (0.3, 1.5)
WINDOWS_S = 2.2


@dataclass(slots=True)
class Fleet:
    """Gateways and devices on the air, and everything that they sent."""

    gateways: list[GatewayBase]
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
    def heard(self) -> int:
        """How many uplinks at least one gateway heard."""
        return sum(bool(uplink.heard_by) for uplink in self.sent)

    async def run(self) -> None:
        """Gateways first, then devices; until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for gateway in self.gateways:
                tasks.create_task(gateway.run(), name=gateway.name)
            for device in self.devices:
                tasks.create_task(self._live(device), name=f"device {device.dev_eui.hex()}")

    async def _live(self, device: Device) -> None:
        await asyncio.sleep(device.random.uniform(1, 1 + self.join_spread_s))
        while device.session is None and not self.silent.is_set():
            device.join(now_us())
            await asyncio.sleep(JOIN_ANSWER_S)
            if device.session is None:
                await asyncio.sleep(device.random.uniform(*JOIN_PAUSE_S))
        await asyncio.sleep(device.random.uniform(*FIRST_UPLINK_S))
        while not self.silent.is_set():
            at = now_us()
            device.send(device.application.next_message(at), at)
            await asyncio.sleep(self.interval_s * device.random.uniform(0.95, 1.05))

    def answer_soon(self, device: Device, message: Message) -> None:
        """Let a device answer a downlink, even when the fleet has fallen silent."""
        task = asyncio.create_task(self._answer(device, message), name=f"answer {device.dev_eui.hex()}")
        self._answers.add(task)
        task.add_done_callback(self._answers.discard)

    async def _answer(self, device: Device, message: Message) -> None:
        await asyncio.sleep(device.random.uniform(*ANSWER_S) + (0 if device.is_class_c else WINDOWS_S))
        device.send(message, now_us())


def _links(plan: Plan, gateways: Sequence[GatewayBase], source: random.Random) -> list[Link]:
    """The nearest one to four gateways; the nearer, the better."""
    nearest = sorted(
        gateways,
        key=lambda gateway: (gateway.latitude - plan.latitude) ** 2 + (gateway.longitude - plan.longitude) ** 2,
    )
    within_range = source.choices(range(1, MOST_GATEWAYS_IN_RANGE + 1), weights=(15, 35, 30, 20))[0]
    best = source.uniform(-8, 11)
    return [
        Link(gateway, best - rank * source.uniform(1, 5)) for rank, gateway in enumerate(nearest[:within_range])
    ]


def build_gateways(
    plans: Sequence[GatewayPlan], air: Air, source: random.Random, *, udp: tuple[str, int], mqtt_url: str
) -> list[GatewayBase]:
    """The simulated gateways of these plans."""
    built: list[GatewayBase] = []
    for plan in plans:
        common = (plan.gateway_id, plan.name, plan.latitude, plan.longitude, air, random.Random(source.random()))
        if plan.speaks_mqtt:
            built.append(MqttGateway(*common, mqtt_url=mqtt_url))
        else:
            built.append(UdpGateway(*common, server=udp))
    return built


def build_fleet(
    plans: Sequence[Plan],
    gateways: list[GatewayBase],
    air: Air,
    *,
    interval_s: float,
    join_spread_s: float,
    confirmed_share: float = 0.0,
) -> Fleet:
    """The fleet of these plans, ready to run."""
    fleet = Fleet(gateways, [], interval_s, join_spread_s)
    for plan in plans:
        source = random.Random(plan.dev_eui.hex())
        links = _links(plan, gateways, source)
        device = Device(
            plan.dev_eui,
            JOIN_EUI,
            plan.app_key,
            plan.profile.device_class == "C",
            plan.application,
            links,
            air,
            random.Random(),
            fleet.sent.append,
            fleet.answer_soon,
            confirmed=source.random() < confirmed_share,
        )
        air.place(device, links)
        fleet.devices.append(device)
    return fleet

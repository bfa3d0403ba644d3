"""A town's power comes back: everybody joins at once, on a crowded air, while others go on sending."""

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass, field

from lab.load.air import on_the_loop
from lab.simulator.device import Device, Message, SentUplink
from lab.simulator.fleet import JOIN_EUI, GatewayPlan, Plan
from lab.simulator.gateway import GatewayBase
from lab.simulator.radio import BANDWIDTH, Air, Link
from lab.simulator.sensors import now_us
from lab.simulator.udp_gateway import UdpGateway
from lab.storm.backoff import JoinBackoff
from lab.storm.limits import REQUEST_OCTETS
from lorawan.airtime import lora_airtime_us

SECOND_US = 1_000_000
# Best SNR of a device that speaks at DR5, and of one that must speak at DR0.
FAST_SNR, SLOW_SNR = (0.0, 11.0), (-15.5, -13.0)
# How many gateways hear a device, and how often.
HEARERS = (1, 2, 3, 4)
HEARERS_WEIGHTS = (15, 35, 30, 20)
SNR_STEP = (1.0, 5.0)
# Receptions lost for no reason that is modelled.
LOSS = 0.01
# An accept whose preamble met RX2 has been received by then.
RX2_OVER_US = 2_100_000
FIRST_UPLINK_S = (0.5, 4.0)
CALM_JOINS_PER_GATEWAY_AND_S = 2
CALM_JOIN_S = 9.0
POLL_S = 0.1


@dataclass(slots=True)
class Storm:
    """Gateways, devices that have been there all the time, and devices whose power comes back."""

    gateways: list[GatewayBase]
    steady: list[Device]
    returning: list[Device]
    air: Air
    sent: list[SentUplink]
    steady_interval_s: float
    returning_interval_s: float
    powered_up_us: int = 0
    backoffs: dict[bytes, JoinBackoff] = field(default_factory=dict[bytes, JoinBackoff])
    first_heard_us: dict[bytes, int] = field(default_factory=dict[bytes, int])
    """When the first request of a returning device that a gateway forwarded ended, by DevEUI."""
    silent: asyncio.Event = field(default_factory=asyncio.Event)
    _power: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def joined(self) -> int:
        """How many of the returning devices have a session."""
        return sum(device.session is not None for device in self.returning)

    async def run(self) -> None:
        """Gateways and devices, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for gateway in self.gateways:
                tasks.create_task(gateway.run(), name=gateway.name)
            calm_s = len(self.steady) / (CALM_JOINS_PER_GATEWAY_AND_S * len(self.gateways))
            for device in self.steady:
                delay_s = 1 + device.random.uniform(0, calm_s)
                tasks.create_task(self._stay(device, delay_s), name=f"steady {device.dev_eui.hex()}")
            for device in self.returning:
                tasks.create_task(self._return(device), name=f"returning {device.dev_eui.hex()}")

    async def settled(self, within_s: float) -> int:
        """Wait until every steady device has a session, or the time is over; how many have none."""
        deadline = now_us() + round(within_s * SECOND_US)
        while any(device.session is None for device in self.steady) and now_us() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(POLL_S)
        return sum(device.session is None for device in self.steady)

    def power_up(self) -> None:
        """The power is back."""
        self.powered_up_us = now_us()
        self._power.set()

    async def _stay(self, device: Device, delay_s: float) -> None:
        await asyncio.sleep(delay_s)
        while device.session is None:
            device.join(now_us())
            await asyncio.sleep(CALM_JOIN_S + device.random.uniform(0, 3))
        await self._send(device, device.random.uniform(0, self.steady_interval_s), self.steady_interval_s)

    async def _return(self, device: Device) -> None:
        await self._power.wait()
        backoff = self.backoffs[device.dev_eui] = JoinBackoff(device.random, self.powered_up_us)
        airtime_us = lora_airtime_us(REQUEST_OCTETS, device.spreading_factor, BANDWIDTH, crc=True)
        begins_us: int | None = backoff.first_us()
        while begins_us is not None:
            await _until(begins_us)
            heard_by = device.join(now_us())
            backoff.note(airtime_us)
            over_us, ended_us = device.windows[1].opens_us + RX2_OVER_US, device.sent_until_us
            await _until(over_us)
            if heard_by:
                self.first_heard_us.setdefault(device.dev_eui, ended_us)
            if device.session is not None:
                break
            begins_us = backoff.next_us(over_us, airtime_us)
        await self._send(device, device.random.uniform(*FIRST_UPLINK_S), self.returning_interval_s)

    async def _send(self, device: Device, delay_s: float, interval_s: float) -> None:
        await asyncio.sleep(delay_s)
        while device.session is not None and not self.silent.is_set():
            at_us = now_us()
            device.send(device.application.next_message(at_us), at_us)
            await asyncio.sleep(interval_s * device.random.uniform(0.9, 1.1))


async def _until(at_us: int) -> None:
    await asyncio.sleep(max(0, at_us - now_us()) / SECOND_US)


def links_of(plan: Plan, gateways: Sequence[GatewayBase], source: random.Random, *, slow: bool) -> list[Link]:
    """The nearest one to four gateways, the nearer the better: a slow device is far from all of them."""
    nearest = sorted(
        gateways,
        key=lambda gateway: (gateway.latitude - plan.latitude) ** 2 + (gateway.longitude - plan.longitude) ** 2,
    )
    within_range = source.choices(HEARERS, weights=HEARERS_WEIGHTS)[0]
    best = source.uniform(*(SLOW_SNR if slow else FAST_SNR))
    return [
        Link(gateway, best - rank * source.uniform(*SNR_STEP))
        for rank, gateway in enumerate(nearest[:within_range])
    ]


def build_storm(
    gateway_plans: Sequence[GatewayPlan],
    steady_plans: Sequence[Plan],
    returning_plans: Sequence[Plan],
    *,
    slow_share: float,
    steady_interval_s: float,
    returning_interval_s: float,
    udp: tuple[str, int],
    seed: str,
) -> Storm:
    """The storm of these plans. Of the returning devices `slow_share` speak at DR0, all others at DR5."""
    source = random.Random(seed)
    air = Air(source, LOSS, LOSS, later=on_the_loop)
    gateways: list[GatewayBase] = []
    for plan in gateway_plans:
        own = random.Random(source.random())
        gateway = UdpGateway(plan.gateway_id, plan.name, plan.latitude, plan.longitude, air, own, server=udp)
        gateway.clock_error_us = 0  # Delays are measured by it.
        gateways.append(gateway)
    storm = Storm(gateways, [], [], air, [], steady_interval_s, returning_interval_s)
    every = round(1 / slow_share)
    for plans, devices in ((steady_plans, storm.steady), (returning_plans, storm.returning)):
        for number, plan in enumerate(plans):
            slow = devices is storm.returning and number % every == 0
            links = links_of(plan, gateways, source, slow=slow)
            device = Device(
                plan.dev_eui,
                JOIN_EUI,
                plan.app_key,
                False,
                plan.application,
                links,
                air,
                random.Random(f"{seed} {plan.dev_eui.hex()}"),
                storm.sent.append,
                _says_nothing,
            )
            air.place(device, links)
            devices.append(device)
    return storm


def _says_nothing(_device: Device, _message: Message) -> None:
    """Nothing is sent to an application in a storm."""

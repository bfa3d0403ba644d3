"""The power of a district comes back: all its devices join at once and collide, while others go on sending."""

import asyncio
import random
from dataclasses import dataclass, field

from lab.device.device import Device, SentUplink
from lab.device.routine import FIRST_UPLINK_S, join_and_send, send_regularly
from lab.fleet.build import build_device, build_udp_gateway
from lab.fleet.placement import nearest_links
from lab.fleet.plan import FleetPlan
from lab.gateway.udp import UdpGateway
from lab.radio.clock import now_us, sleep_until
from lab.radio.medium import RadioMedium
from lab.radio.transmission import BANDWIDTH, SECOND_US
from lab.storm.backoff import JoinBackoff
from lab.storm.limits import REQUEST_OCTETS
from lorawan.airtime import lora_airtime_us

# Best SNR of a device that speaks at DR5, and of one that must speak at DR0.
FAST_SNR, SLOW_SNR = (0.0, 11.0), (-15.5, -13.0)
# Receptions lost for no reason that is modelled.
LOSS = 0.01
# An accept whose preamble met RX2 has been received by then.
RX2_OVER_US = 2_100_000
STEADY_JOINS_PER_GATEWAY_AND_S = 2
POLL_S = 0.1


@dataclass(slots=True)
class Storm:
    """Gateways, devices that have been there all the time, and devices whose power comes back."""

    gateways: list[UdpGateway]
    steady: list[Device]
    returning: list[Device]
    medium: RadioMedium
    sent: list[SentUplink]
    steady_interval_s: float
    returning_interval_s: float
    powered_up_us: int = 0
    backoffs: dict[bytes, JoinBackoff] = field(default_factory=dict[bytes, JoinBackoff])
    first_received_us: dict[bytes, int] = field(default_factory=dict[bytes, int])
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
            joining_s = len(self.steady) / (STEADY_JOINS_PER_GATEWAY_AND_S * len(self.gateways))
            for device in self.steady:
                starts_in_s = 1 + device.random.uniform(0, joining_s)
                life = join_and_send(device, self.silent, self.steady_interval_s, starts_in_s)
                tasks.create_task(life, name=f"steady {device.dev_eui.hex()}")
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

    async def _return(self, device: Device) -> None:
        await self._power.wait()
        backoff = self.backoffs[device.dev_eui] = JoinBackoff(device.random, self.powered_up_us)
        airtime_us = lora_airtime_us(REQUEST_OCTETS, device.spreading_factor, BANDWIDTH, crc=True)
        begins_us: int | None = backoff.first_us()
        while begins_us is not None:
            await sleep_until(begins_us)
            received_by = device.join(now_us())
            backoff.record_request(airtime_us)
            over_us, ended_us = device.windows[1].opens_us + RX2_OVER_US, device.sent_until_us
            await sleep_until(over_us)
            if received_by:
                self.first_received_us.setdefault(device.dev_eui, ended_us)
            if device.session is not None:
                break
            begins_us = backoff.next_us(over_us, airtime_us)
        first_in_s = device.random.uniform(*FIRST_UPLINK_S)
        await send_regularly(device, self.silent, self.returning_interval_s, first_in_s)


def build_storm(
    plan: FleetPlan,
    steady: int,
    *,
    slow_share: float,
    steady_interval_s: float,
    returning_interval_s: float,
    udp: tuple[str, int],
) -> Storm:
    """The storm of this plan, whose first `steady` devices have been there all the time.

    Of the returning ones `slow_share` speak at DR0, all others at DR5. Gateways' clocks are right: delays are
    measured by them.
    """
    source = random.Random(plan.name)
    medium = RadioMedium(source, LOSS, LOSS, has_collisions=True)
    gateways = [build_udp_gateway(one, medium, source, udp) for one in plan.gateways]
    storm = Storm(gateways, [], [], medium, [], steady_interval_s, returning_interval_s)
    every = round(1 / slow_share)
    for one in plan.devices:
        is_slow = one.number >= steady and (one.number - steady) % every == 0
        links = nearest_links(one, gateways, source, SLOW_SNR if is_slow else FAST_SNR)
        own = random.Random(f"{plan.name} {one.dev_eui.hex()}")
        device = build_device(one, links, medium, own, record=storm.sent.append)
        (storm.steady if one.number < steady else storm.returning).append(device)
    return storm

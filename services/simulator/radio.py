"""The air between devices and gateways: who hears whom, how well, and when."""

import random
from dataclasses import dataclass, field
from typing import Protocol

from lorawan.regions import REQUIRED_SNR

# EU868 uplink channels of a joined device; a join-request uses the first three.
DEFAULT_CHANNELS = (868_100_000, 868_300_000, 868_500_000)
CHANNELS = (*DEFAULT_CHANNELS, 867_100_000, 867_300_000, 867_500_000, 867_700_000, 867_900_000)
BANDWIDTH = 125_000
NOISE_FLOOR_DBM = -117.0
FADING_DB = 2.0


@dataclass(frozen=True, slots=True)
class Emission:
    """One transmission; times are microseconds since 1970 UTC on the simulation's one true clock."""

    phy_payload: bytes
    frequency: int  # Hz
    spreading_factor: int
    start_us: int
    airtime_us: int

    @property
    def end_us(self) -> int:
        """When the last symbol has left the antenna."""
        return self.start_us + self.airtime_us


@dataclass(frozen=True, slots=True)
class Copy:
    """An emission as one gateway received it."""

    emission: Emission
    rssi: float  # dBm
    snr: float  # dB


class Listener(Protocol):
    """A device: it takes every downlink that reaches its antenna, and knows whether it was listening."""

    def hear(self, emission: Emission) -> None:
        """A gateway's emission reaches this device, complete."""
        ...


class Receiver(Protocol):
    """A gateway, as the air sees it."""

    gateway_id: bytes

    def receive(self, copy: Copy) -> bool:
        """Take an uplink; False when the radio was transmitting, or the copy could not be forwarded."""
        ...


@dataclass(slots=True)
class Link:
    """How well a gateway hears a device on average."""

    gateway: Receiver
    snr: float


@dataclass(slots=True)
class Air:
    """Carries emissions. `uplink_loss` and `downlink_loss` are the share of receptions lost for no reason."""

    random: random.Random
    uplink_loss: float = 0.05
    downlink_loss: float = 0.01
    listeners: dict[bytes, list[Listener]] = field(default_factory=dict[bytes, list[Listener]])

    def place(self, listener: Listener, links: list[Link]) -> None:
        """The device is within range of these gateways."""
        for link in links:
            self.listeners.setdefault(link.gateway.gateway_id, []).append(listener)

    def uplink(self, emission: Emission, links: list[Link]) -> list[bytes]:
        """Carry an uplink to every gateway in range; returns the EUIs of those that forwarded it."""
        heard: list[bytes] = []
        for link in links:
            snr = min(link.snr + self.random.gauss(0, FADING_DB), 12.0)
            if snr < REQUIRED_SNR[emission.spreading_factor] or self.random.random() < self.uplink_loss:
                continue
            rssi = NOISE_FLOOR_DBM + max(snr, 0) + self.random.uniform(0, 3)
            if link.gateway.receive(Copy(emission, round(rssi, 1), round(snr * 4) / 4)):
                heard.append(link.gateway.gateway_id)
        return heard

    def downlink(self, gateway_id: bytes, emission: Emission) -> None:
        """Carry a gateway's emission to every device in its range."""
        for listener in self.listeners.get(gateway_id, ()):
            if self.random.random() >= self.downlink_loss:
                listener.hear(emission)

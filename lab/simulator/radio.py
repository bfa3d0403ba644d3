"""The air between devices and gateways: who hears whom, how well, and when."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from lab.simulator.concentrator import RadioAccount
from lab.simulator.radio_medium import Airwaves
from lab.simulator.transmission import Emission
from lorawan.regions import REQUIRED_SNR

# EU868 uplink channels of a joined device; a join-request uses the first three.
DEFAULT_CHANNELS = (868_100_000, 868_300_000, 868_500_000)
CHANNELS = (*DEFAULT_CHANNELS, 867_100_000, 867_300_000, 867_500_000, 867_700_000, 867_900_000)
BANDWIDTH = 125_000
NOISE_FLOOR_DBM = -117.0
FADING_DB = 2.0


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
    account: RadioAccount

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
    """Carries emissions. `uplink_loss` and `downlink_loss` are the share of receptions lost for no reason.

    With `later(instant_us, act)` the air is crowded: an uplink begins when it is given to `uplink`, is received
    when it has ended, and may be spoilt meanwhile; so may a downlink be. Without it nothing disturbs anything.
    """

    random: random.Random
    uplink_loss: float = 0.05
    downlink_loss: float = 0.01
    later: Callable[[int, Callable[[], None]], None] | None = None
    listeners: dict[bytes, list[Listener]] = field(default_factory=dict[bytes, list[Listener]])
    spoilt_downlinks: int = 0  # Receptions of devices.
    _levels: dict[bytes, dict[object, float]] = field(default_factory=dict[bytes, dict[object, float]])
    _up: Airwaves = field(default_factory=Airwaves)
    _down: Airwaves = field(default_factory=Airwaves)

    @property
    def is_crowded(self) -> bool:
        """Whether transmissions take their time and disturb each other."""
        return self.later is not None

    def place(self, listener: Listener, links: list[Link]) -> None:
        """The device is within range of these gateways."""
        for link in links:
            self.listeners.setdefault(link.gateway.gateway_id, []).append(listener)
            self._levels.setdefault(link.gateway.gateway_id, {})[id(listener)] = link.snr

    def uplink(self, emission: Emission, links: list[Link]) -> list[bytes]:
        """Carry an uplink to every gateway in range; returns the EUIs of those that forwarded it.

        On a crowded air the list is empty until the emission has ended.
        """
        heard: list[bytes] = []
        if self.later is None:
            self._receive(emission, links, heard)
        else:
            self._up.add(emission, {link.gateway.gateway_id: link.snr for link in links})
            self.later(emission.end_us, lambda: self._receive(emission, links, heard))
        return heard

    def _receive(self, emission: Emission, links: list[Link], heard: list[bytes]) -> None:
        for link in links:
            gateway_id = link.gateway.gateway_id
            snr = min(link.snr + self.random.gauss(0, FADING_DB), 12.0)
            if snr < REQUIRED_SNR[emission.spreading_factor] or self.random.random() < self.uplink_loss:
                continue
            if self._up.spoils(emission, gateway_id, snr) or self._up.is_saturated(emission, gateway_id):
                link.gateway.account.collided += 1
                continue
            rssi = NOISE_FLOOR_DBM + max(snr, 0) + self.random.uniform(0, 3)
            if link.gateway.receive(Copy(emission, round(rssi, 1), round(snr * 4) / 4)):
                heard.append(gateway_id)

    def announce(self, gateway_id: bytes, emission: Emission) -> None:
        """A gateway is going to emit this: on a crowded air it may spoil what others emit meanwhile."""
        if self.is_crowded:
            self._down.add(emission, self._levels.get(gateway_id, {}))

    def downlink(self, gateway_id: bytes, emission: Emission) -> None:
        """Carry a gateway's emission to every device in its range, when it has ended."""
        for listener in self.listeners.get(gateway_id, ()):
            if self.is_crowded and self._down.spoils(
                emission, id(listener), self._levels[gateway_id][id(listener)]
            ):
                self.spoilt_downlinks += 1
            elif self.random.random() >= self.downlink_loss:
                listener.hear(emission)

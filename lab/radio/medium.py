"""The radio medium between devices and gateways: who receives what, how well, and when."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

from lab.radio.clock import CallAt, call_at
from lab.radio.collisions import Collisions
from lab.radio.concentrator import RadioAccount
from lab.radio.transmission import Reception, Transmission
from lorawan.identifiers import GatewayId
from lorawan.regions import REQUIRED_SNR

NOISE_FLOOR_DBM = -117.0
FADING_DB = 2.0
BEST_SNR_DB = 12.0


class Listener(Protocol):
    """A device, as the medium sees it."""

    def lock_on(self, transmission: Transmission) -> Callable[[], object] | None:
        """A gateway's transmission begins: None when the device does not listen to it, else its reception.

        What is returned is called when the transmission has ended, unless the radio medium has spoilt it.
        """
        ...


class Receiver(Protocol):
    """A gateway, as the medium sees it."""

    gateway_id: GatewayId
    account: RadioAccount

    def receive(self, reception: Reception) -> bool:
        """An uplink has ended; False when the radio was transmitting, or the frame could not be forwarded."""
        ...


@dataclass(frozen=True, slots=True)
class Link:
    """How well a gateway receives a device on average."""

    gateway: Receiver
    snr: float


@dataclass(slots=True)
class RadioMedium:
    """Carries transmissions. `uplink_loss` and `downlink_loss` are the share of receptions lost for no reason.

    With collisions an uplink begins when it is given to `uplink`, is received when it has ended, and may be spoilt
    meanwhile; so may a downlink be. Without them an uplink has ended when it is given, and nothing disturbs it.
    """

    random: random.Random
    uplink_loss: float = 0.05
    downlink_loss: float = 0.01
    fading_db: float = FADING_DB
    has_collisions: bool = False
    call_at: CallAt = call_at
    spoilt_downlinks: int = 0
    """Downlinks that a device listened to and that another gateway's transmission spoilt."""
    _in_range: dict[GatewayId, dict[int, tuple[Listener, float]]] = field(
        default_factory=dict[GatewayId, dict[int, tuple[Listener, float]]]
    )
    """The devices in range of each gateway, with their SNR, by their identity, which names their antenna."""
    _up: Collisions = field(default_factory=Collisions)
    _down: Collisions = field(default_factory=Collisions)

    def place(self, listener: Listener, links: Sequence[Link]) -> None:
        """The device is within range of these gateways."""
        for link in links:
            self._in_range.setdefault(link.gateway.gateway_id, {})[id(listener)] = (listener, link.snr)

    def uplink(self, transmission: Transmission, links: Sequence[Link]) -> list[bytes]:
        """Carry an uplink to every gateway in range; returns the EUIs of those that forwarded it.

        With collisions the list is empty until the transmission has ended.
        """
        received_by: list[bytes] = []
        if self.has_collisions:
            self._up.record_transmission(transmission, {link.gateway.gateway_id: link.snr for link in links})
            self.call_at(transmission.end_us, partial(self._receive, transmission, links, received_by))
        else:
            self._receive(transmission, links, received_by)
        return received_by

    def _receive(self, transmission: Transmission, links: Sequence[Link], received_by: list[bytes]) -> None:
        for link in links:
            gateway_id = link.gateway.gateway_id
            snr = min(link.snr + self.random.gauss(0, self.fading_db), BEST_SNR_DB)
            if snr < REQUIRED_SNR[transmission.spreading_factor] or self.random.random() < self.uplink_loss:
                continue
            if self._up.is_spoilt(transmission, gateway_id, snr) or self._up.is_saturated(
                transmission, gateway_id
            ):
                link.gateway.account.collided += 1
                continue
            rssi = NOISE_FLOOR_DBM + max(snr, 0) + self.random.uniform(0, 3)
            if link.gateway.receive(Reception(transmission, round(rssi, 1), round(snr * 4) / 4)):
                received_by.append(gateway_id)

    def downlink(self, gateway_id: GatewayId, transmission: Transmission) -> None:
        """Carry what a gateway is going to transmit to every device in its range that listens to it."""
        if self.has_collisions:
            levels = {antenna: snr for antenna, (_, snr) in self._in_range.get(gateway_id, {}).items()}
            self._down.record_transmission(transmission, levels)
        self.call_at(transmission.start_us, partial(self._begin_downlink, gateway_id, transmission))

    def _begin_downlink(self, gateway_id: GatewayId, transmission: Transmission) -> None:
        for antenna, (listener, snr) in self._in_range.get(gateway_id, {}).items():
            reception = listener.lock_on(transmission)
            if reception is not None:
                self.call_at(
                    transmission.end_us, partial(self._end_downlink, transmission, antenna, snr, reception)
                )

    def _end_downlink(
        self, transmission: Transmission, antenna: int, snr: float, reception: Callable[[], object]
    ) -> None:
        if self.has_collisions and self._down.is_spoilt(transmission, antenna, snr):
            self.spoilt_downlinks += 1
        elif self.random.random() >= self.downlink_loss:
            reception()

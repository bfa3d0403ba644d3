"""A simulated gateway: its clock, its half-duplex radio, and a packet forwarder of one kind or another."""

from dataclasses import dataclass, field

from lab.radio.clock import now_us
from lab.radio.concentrator import COUNTER, Concentrator, RadioAccount
from lab.radio.medium import RadioMedium
from lab.radio.transmission import BANDWIDTH, Reception, Transmission
from lorawan.airtime import lora_airtime_us
from lorawan.identifiers import GatewayId

# A concentrator starts an immediate transmission this long after it has it.
IMMEDIATE_LEAD_US = 35_000


@dataclass(slots=True)
class Uptime:
    """When the bridge, or the broker, was known to answer: to say what a kill may have cost."""

    answered_us: list[int] = field(default_factory=list[int])

    def record_answer(self) -> None:
        """The other side has just answered (PULL_ACK, SUBACK)."""
        self.answered_us.append(now_us())

    def back_after(self, killed_us: int) -> int | None:
        """The first answer after a kill; None when there was none yet."""
        return next((at for at in self.answered_us if at > killed_us), None)


@dataclass(slots=True)
class Gateway:
    """Everything but the way to the network, which `UdpGateway` and `MqttGateway` add."""

    gateway_id: GatewayId
    name: str
    latitude: float
    longitude: float
    medium: RadioMedium
    counter_offset_us: int = 0
    """What the concentrator's counter shows at the epoch."""
    clock_error_us: int = 0
    account: RadioAccount = field(default_factory=RadioAccount)
    uptime: Uptime = field(default_factory=Uptime)
    received: int = 0
    concentrator: Concentrator = field(init=False)

    def __post_init__(self) -> None:
        self.concentrator = Concentrator(self.account, self.counter_offset_us)

    def counter(self, at_us: int) -> int:
        """The concentrator's 32-bit microsecond counter at an instant."""
        return (at_us + self.counter_offset_us) % COUNTER

    def listens(self, start_us: int, end_us: int) -> bool:
        """Whether the radio listens all the time that an uplink is on the air; one that it misses is counted."""
        concentrator = self.concentrator
        if start_us >= concentrator.busy_until_us or not concentrator.is_transmitting(start_us, end_us):
            return True
        self.account.deaf += 1
        return False

    def receive(self, reception: Reception) -> bool:
        """Forward an uplink that has ended, unless the radio was transmitting."""
        transmission = reception.transmission
        if not self.listens(transmission.start_us, transmission.end_us):
            return False
        self.received += 1
        return self.forward(reception)

    def transmit(self, phy_payload: bytes, frequency: int, spreading_factor: int, *, at_us: int | None) -> str:
        """Queue a transmission at an instant, or at once; returns the TX_ACK's word."""
        now = now_us()
        start_us = now + IMMEDIATE_LEAD_US if at_us is None else at_us
        airtime_us = lora_airtime_us(len(phy_payload), spreading_factor, BANDWIDTH, crc=False)
        transmission = Transmission(phy_payload, frequency, spreading_factor, start_us, airtime_us)
        word = self.concentrator.queue_transmission(transmission, now)
        if word == "NONE":
            self.account.emitted_immediate += at_us is None
            self.medium.downlink(self.gateway_id, transmission)
        return word

    def forward(self, reception: Reception) -> bool:
        """Send what was received to the network; False when there is no way to it."""
        raise RuntimeError(f"{type(self).__name__} does not forward {reception}")

    async def run(self) -> None:
        """Speak with the network until cancelled."""
        raise RuntimeError(f"{type(self).__name__} does not run")

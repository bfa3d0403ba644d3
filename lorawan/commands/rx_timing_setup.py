"""RXTimingSetup (08): the network sets when RX1 opens (LoRaWAN L2 1.0.4, section 5.7); the answer is sticky."""

from dataclasses import dataclass
from typing import ClassVar

from lorawan.commands.command import EmptyCommand, in_range, payload_of


@dataclass(frozen=True, slots=True)
class RxTimingSetupReq:
    """Network to device: RX1 opens `rx1_delay` seconds (1 to 15) after the uplink, RX2 one second later."""

    CID: ClassVar[int] = 0x08
    LENGTH: ClassVar[int] = 1

    rx1_delay: int

    @classmethod
    def from_bytes(cls, octets: bytes) -> "RxTimingSetupReq":
        """Raises MalformedFrame on another CID or length."""
        (settings,) = payload_of(octets, cls)
        return cls(settings & 0x0F or 1)  # 0 means one second.

    def to_bytes(self) -> bytes:
        """Raises ValueError when the delay does not fit."""
        return bytes((self.CID, in_range("RxDelay", self.rx1_delay, 1, 15)))


class RxTimingSetupAns(EmptyCommand):
    """Device to network: understood."""

    __slots__ = ()
    CID: ClassVar[int] = 0x08

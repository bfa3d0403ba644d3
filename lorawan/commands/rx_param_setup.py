"""RXParamSetup (05): the network moves a device's receive windows (section 5.4).

The answer is sticky: the device repeats it until it has received a downlink (docs/protocols.md, row 39).
"""

from dataclasses import dataclass
from typing import ClassVar

from lorawan.commands.command import in_range, payload_of
from lorawan.join import FREQUENCY_STEP_HZ, frequency_to_bytes


@dataclass(frozen=True, slots=True)
class RxParamSetupReq:
    """Network to device: `rx2_frequency` in Hz."""

    CID: ClassVar[int] = 0x05
    LENGTH: ClassVar[int] = 4

    rx1_dr_offset: int
    rx2_dr: int
    rx2_frequency: int

    @classmethod
    def from_bytes(cls, octets: bytes) -> "RxParamSetupReq":
        """Raises MalformedFrame on another CID or length."""
        payload = payload_of(octets, cls)
        frequency = int.from_bytes(payload[1:], "little") * FREQUENCY_STEP_HZ
        return cls(payload[0] >> 4 & 0x07, payload[0] & 0x0F, frequency)

    def to_bytes(self) -> bytes:
        """Raises ValueError when a field does not fit."""
        offset = in_range("RX1DROffset", self.rx1_dr_offset, 0, 7)
        dl_settings = offset << 4 | in_range("RX2DR", self.rx2_dr, 0, 15)
        return bytes((self.CID, dl_settings)) + frequency_to_bytes(self.rx2_frequency)


@dataclass(frozen=True, slots=True)
class RxParamSetupAns:
    """Device to network: nothing was changed unless all three are true."""

    CID: ClassVar[int] = 0x05
    LENGTH: ClassVar[int] = 1

    rx1_dr_offset_ack: bool
    rx2_dr_ack: bool
    channel_ack: bool

    @classmethod
    def from_bytes(cls, octets: bytes) -> "RxParamSetupAns":
        """Raises MalformedFrame on another CID or length."""
        (status,) = payload_of(octets, cls)
        return cls(bool(status & 0x04), bool(status & 0x02), bool(status & 0x01))

    def to_bytes(self) -> bytes:
        """CID and status."""
        return bytes((self.CID, self.rx1_dr_offset_ack << 2 | self.rx2_dr_ack << 1 | self.channel_ack))

    @property
    def accepted(self) -> bool:
        """Whether the device applied the request."""
        return self.rx1_dr_offset_ack and self.rx2_dr_ack and self.channel_ack

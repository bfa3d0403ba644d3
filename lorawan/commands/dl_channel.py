"""DlChannel (0A): the network moves the RX1 frequency of one channel (section 5.8); the answer is sticky."""

from dataclasses import dataclass
from typing import ClassVar

from lorawan.commands.command import in_range, payload_of
from lorawan.join import FREQUENCY_STEP_HZ, frequency_to_bytes


@dataclass(frozen=True, slots=True)
class DlChannelReq:
    """Network to device: `frequency` in Hz, of the RX1 that follows an uplink on channel `ch_index`."""

    CID: ClassVar[int] = 0x0A
    LENGTH: ClassVar[int] = 4

    ch_index: int
    frequency: int

    @classmethod
    def from_bytes(cls, octets: bytes) -> "DlChannelReq":
        """Raises MalformedFrame on another CID or length."""
        payload = payload_of(octets, cls)
        return cls(payload[0], int.from_bytes(payload[1:], "little") * FREQUENCY_STEP_HZ)

    def to_bytes(self) -> bytes:
        """Raises ValueError when a field does not fit."""
        ch_index = in_range("ChIndex", self.ch_index, 0, 255)
        return bytes((self.CID, ch_index)) + frequency_to_bytes(self.frequency)


@dataclass(frozen=True, slots=True)
class DlChannelAns:
    """Device to network: nothing was changed unless both are true."""

    CID: ClassVar[int] = 0x0A
    LENGTH: ClassVar[int] = 1

    uplink_frequency_exists: bool
    frequency_ack: bool

    @classmethod
    def from_bytes(cls, octets: bytes) -> "DlChannelAns":
        """Raises MalformedFrame on another CID or length."""
        (status,) = payload_of(octets, cls)
        return cls(bool(status & 0x02), bool(status & 0x01))

    def to_bytes(self) -> bytes:
        """CID and status."""
        return bytes((self.CID, self.uplink_frequency_exists << 1 | self.frequency_ack))

    @property
    def accepted(self) -> bool:
        """Whether the device applied the request."""
        return self.uplink_frequency_exists and self.frequency_ack

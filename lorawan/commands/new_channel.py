"""NewChannel (07): the network creates, moves or removes an uplink channel (section 5.6).

At most three per frame, and never beside a LinkADRReq (docs/protocols.md, row 40).
"""

from dataclasses import dataclass
from typing import ClassVar

from lorawan.commands.command import in_range, payload_of
from lorawan.join import FREQUENCY_STEP_HZ, frequency_to_bytes


@dataclass(frozen=True, slots=True)
class NewChannelReq:
    """Network to device: `frequency` in Hz, 0 removes the channel."""

    CID: ClassVar[int] = 0x07
    LENGTH: ClassVar[int] = 5

    ch_index: int
    frequency: int
    min_dr: int
    max_dr: int

    @classmethod
    def from_bytes(cls, octets: bytes) -> "NewChannelReq":
        """Raises MalformedFrame on another CID or length."""
        payload = payload_of(octets, cls)
        frequency = int.from_bytes(payload[1:4], "little") * FREQUENCY_STEP_HZ
        return cls(payload[0], frequency, payload[4] & 0x0F, payload[4] >> 4)

    def to_bytes(self) -> bytes:
        """Raises ValueError when a field does not fit."""
        ch_index = in_range("ChIndex", self.ch_index, 0, 255)
        dr_range = in_range("MaxDR", self.max_dr, 0, 15) << 4 | in_range("MinDR", self.min_dr, 0, 15)
        return bytes((self.CID, ch_index)) + frequency_to_bytes(self.frequency) + bytes((dr_range,))


@dataclass(frozen=True, slots=True)
class NewChannelAns:
    """Device to network: nothing was changed unless both are true."""

    CID: ClassVar[int] = 0x07
    LENGTH: ClassVar[int] = 1

    data_rate_range_ack: bool
    frequency_ack: bool

    @classmethod
    def from_bytes(cls, octets: bytes) -> "NewChannelAns":
        """Raises MalformedFrame on another CID or length."""
        (status,) = payload_of(octets, cls)
        return cls(bool(status & 0x02), bool(status & 0x01))

    def to_bytes(self) -> bytes:
        """CID and status."""
        return bytes((self.CID, self.data_rate_range_ack << 1 | self.frequency_ack))

    @property
    def accepted(self) -> bool:
        """Whether the device applied the request."""
        return self.data_rate_range_ack and self.frequency_ack

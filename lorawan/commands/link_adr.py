"""LinkADR (03): the network sets data rate, power, repetitions and channels (section 5.2)."""

from dataclasses import dataclass
from typing import ClassVar

from lorawan.commands.command import in_range, payload_of


@dataclass(frozen=True, slots=True)
class LinkAdrReq:
    """Network to device; 15 in `data_rate` or `tx_power` means: keep yours."""

    CID: ClassVar[int] = 0x03
    LENGTH: ClassVar[int] = 4

    data_rate: int
    tx_power: int
    ch_mask: int
    ch_mask_cntl: int
    nb_trans: int

    @classmethod
    def from_bytes(cls, octets: bytes) -> "LinkAdrReq":
        """Raises MalformedFrame on another CID or length."""
        rates, mask_low, mask_high, redundancy = payload_of(octets, cls)
        ch_mask = mask_high << 8 | mask_low
        return cls(rates >> 4, rates & 0x0F, ch_mask, redundancy >> 4 & 0x07, redundancy & 0x0F)

    def to_bytes(self) -> bytes:
        """Raises ValueError when a field does not fit."""
        rates = in_range("DataRate", self.data_rate, 0, 15) << 4 | in_range("TXPower", self.tx_power, 0, 15)
        ch_mask = in_range("ChMask", self.ch_mask, 0, 0xFFFF).to_bytes(2, "little")
        ch_mask_cntl = in_range("ChMaskCntl", self.ch_mask_cntl, 0, 7)
        redundancy = ch_mask_cntl << 4 | in_range("NbTrans", self.nb_trans, 0, 15)
        return bytes((self.CID, rates, *ch_mask, redundancy))


@dataclass(frozen=True, slots=True)
class LinkAdrAns:
    """Device to network: nothing was changed unless all three are true."""

    CID: ClassVar[int] = 0x03
    LENGTH: ClassVar[int] = 1

    power_ack: bool
    data_rate_ack: bool
    channel_mask_ack: bool

    @classmethod
    def from_bytes(cls, octets: bytes) -> "LinkAdrAns":
        """Raises MalformedFrame on another CID or length."""
        (status,) = payload_of(octets, cls)
        return cls(bool(status & 0x04), bool(status & 0x02), bool(status & 0x01))

    def to_bytes(self) -> bytes:
        """CID and status."""
        return bytes((self.CID, self.power_ack << 2 | self.data_rate_ack << 1 | self.channel_mask_ack))

    @property
    def accepted(self) -> bool:
        """Whether the device applied the request."""
        return self.power_ack and self.data_rate_ack and self.channel_mask_ack

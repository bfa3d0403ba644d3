"""DutyCycle (04): the network limits a device's share of the air (section 5.3)."""

from dataclasses import dataclass
from typing import ClassVar

from lorawan.commands.command import EmptyCommand, in_range, payload_of


@dataclass(frozen=True, slots=True)
class DutyCycleReq:
    """Network to device: at most 1 / 2^max_d_cycle of the time, over all sub-bands."""

    CID: ClassVar[int] = 0x04
    LENGTH: ClassVar[int] = 1

    max_d_cycle: int

    @classmethod
    def from_bytes(cls, octets: bytes) -> "DutyCycleReq":
        """Raises MalformedFrame on another CID or length."""
        (limit,) = payload_of(octets, cls)
        return cls(limit & 0x0F)

    def to_bytes(self) -> bytes:
        """Raises ValueError when the limit does not fit."""
        return bytes((self.CID, in_range("MaxDCycle", self.max_d_cycle, 0, 15)))


class DutyCycleAns(EmptyCommand):
    """Device to network: understood."""

    __slots__ = ()
    CID: ClassVar[int] = 0x04

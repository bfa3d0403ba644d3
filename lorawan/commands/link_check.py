"""LinkCheck (02): a device asks how well it is received (section 5.1)."""

from dataclasses import dataclass
from typing import ClassVar

from lorawan.commands.command import EmptyCommand, in_range, payload_of

MAX_MARGIN_DB = 254


class LinkCheckReq(EmptyCommand):
    """Device to network: am I received?"""

    __slots__ = ()
    CID: ClassVar[int] = 0x02


@dataclass(frozen=True, slots=True)
class LinkCheckAns:
    """Network to device: margin in dB above the demodulation floor, and how many gateways received it."""

    CID: ClassVar[int] = 0x02
    LENGTH: ClassVar[int] = 2

    margin: int
    gateway_count: int

    @classmethod
    def from_bytes(cls, octets: bytes) -> "LinkCheckAns":
        """Raises MalformedFrame on another CID or length."""
        margin, gateway_count = payload_of(octets, cls)
        return cls(margin, gateway_count)

    def to_bytes(self) -> bytes:
        """Raises ValueError when a field does not fit."""
        margin = in_range("Margin", self.margin, 0, MAX_MARGIN_DB)
        return bytes((self.CID, margin, in_range("GwCnt", self.gateway_count, 0, 255)))

"""DevStatus (06): the network asks for battery and link margin (section 5.5)."""

from dataclasses import dataclass
from typing import ClassVar

from lorawan.commands.command import EmptyCommand, in_range, payload_of

EXTERNAL_POWER = 0
BATTERY_UNKNOWN = 255
_SIGN = 0x20
_SIX_BITS = 0x3F


class DevStatusReq(EmptyCommand):
    """Network to device: how are you?"""

    __slots__ = ()
    CID: ClassVar[int] = 0x06


@dataclass(frozen=True, slots=True)
class DevStatusAns:
    """Device to network: battery 1 to 254 (0 external power, 255 unknown); SNR of the request, -32 to 31 dB."""

    CID: ClassVar[int] = 0x06
    LENGTH: ClassVar[int] = 2

    battery: int
    margin: int

    @classmethod
    def from_bytes(cls, octets: bytes) -> "DevStatusAns":
        """Raises MalformedFrame on another CID or length."""
        battery, radio_status = payload_of(octets, cls)
        margin = radio_status & _SIX_BITS
        return cls(battery, margin - 64 if margin & _SIGN else margin)

    def to_bytes(self) -> bytes:
        """Raises ValueError when a field does not fit."""
        margin = in_range("Margin", self.margin, -32, 31) & _SIX_BITS
        return bytes((self.CID, in_range("Battery", self.battery, 0, 255), margin))

    @property
    def battery_fraction(self) -> float | None:
        """The battery from 0 to 1; None on external power or when the device does not know."""
        if self.battery in (EXTERNAL_POWER, BATTERY_UNKNOWN):
            return None
        return (self.battery - 1) / 253

"""DeviceTime (0D): a device asks for the time at which its uplink ended (section 5.9)."""

from dataclasses import dataclass
from typing import ClassVar

from lorawan.commands.command import EmptyCommand, in_range, payload_of
from lorawan.instants import GPS_EPOCH_US, GPS_LEAP_SECONDS

GPS_EPOCH_S = GPS_EPOCH_US // 1_000_000
_FRACTIONS = 256


class DeviceTimeReq(EmptyCommand):
    """Device to network: what time is it?"""

    __slots__ = ()
    CID: ClassVar[int] = 0x0D


@dataclass(frozen=True, slots=True)
class DeviceTimeAns:
    """Network to device: GPS seconds since 1980-01-06, and 1/256 s, at the end of the uplink that asked."""

    CID: ClassVar[int] = 0x0D
    LENGTH: ClassVar[int] = 5

    gps_seconds: int
    fraction: int

    @classmethod
    def at(cls, uplink_end_us: int) -> "DeviceTimeAns":
        """The answer to an uplink that ended at this instant, in microseconds since 1970 (UTC)."""
        fractions = (uplink_end_us * _FRACTIONS) // 1_000_000
        seconds, fraction = divmod(fractions, _FRACTIONS)
        return cls(seconds - GPS_EPOCH_S + GPS_LEAP_SECONDS, fraction)

    @classmethod
    def from_bytes(cls, octets: bytes) -> "DeviceTimeAns":
        """Raises MalformedFrame on another CID or length."""
        payload = payload_of(octets, cls)
        return cls(int.from_bytes(payload[:4], "little"), payload[4])

    def to_bytes(self) -> bytes:
        """Raises ValueError when a field does not fit."""
        seconds = in_range("GPS seconds", self.gps_seconds, 0, 0xFFFF_FFFF).to_bytes(4, "little")
        return bytes((self.CID, *seconds, in_range("fraction", self.fraction, 0, 255)))

"""TxParamSetup (09): the network limits dwell time and power where a region has such limits.

EU868 has none: a device of that region does not answer, and the network does not ask.
"""

from dataclasses import dataclass
from typing import ClassVar

from lorawan.commands.command import EmptyCommand, in_range, payload_of

# By MaxEIRP's code (LoRaWAN L2 1.0.4, TxParamSetupReq), dBm.
MAX_EIRP_DBM = (8, 10, 12, 13, 14, 16, 18, 20, 21, 24, 26, 27, 29, 30, 33, 36)


@dataclass(frozen=True, slots=True)
class TxParamSetupReq:
    """Network to device; `max_eirp` is a code, see `MAX_EIRP_DBM`; a dwell time limit is 400 ms."""

    CID: ClassVar[int] = 0x09
    LENGTH: ClassVar[int] = 1

    downlink_dwell_time: bool
    uplink_dwell_time: bool
    max_eirp: int

    @classmethod
    def from_bytes(cls, octets: bytes) -> "TxParamSetupReq":
        """Raises MalformedFrame on another CID or length."""
        (limits,) = payload_of(octets, cls)
        return cls(bool(limits & 0x20), bool(limits & 0x10), limits & 0x0F)

    def to_bytes(self) -> bytes:
        """Raises ValueError when the code does not fit."""
        max_eirp = in_range("MaxEIRP", self.max_eirp, 0, 15)
        return bytes((self.CID, self.downlink_dwell_time << 5 | self.uplink_dwell_time << 4 | max_eirp))

    @property
    def max_eirp_dbm(self) -> int:
        """The most that the device may radiate, dBm."""
        return MAX_EIRP_DBM[self.max_eirp]


class TxParamSetupAns(EmptyCommand):
    """Device to network: understood."""

    __slots__ = ()
    CID: ClassVar[int] = 0x09

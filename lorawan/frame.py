"""PHYPayload to frame and back, in both directions (LoRaWAN L2 1.0.4, section 4); no keys and no cipher here."""

from dataclasses import dataclass
from enum import IntEnum
from struct import Struct as Layout
from typing import NamedTuple
from zlib import crc32

from msgspec import Struct

from lorawan.identifiers import SLOTS, DevAddr

MAX_PHY_PAYLOAD = 255
MAX_F_OPTS = 15
MIC_LENGTH = 4
MIN_DATA_FRAME = 12  # MHDR 1, DevAddr 4, FCtrl 1, FCnt 2, MIC 4.
JOIN_REQUEST_LENGTH = 23
MAX_F_CNT = 0xFFFF_FFFF

_HEADER = Layout("<B4sBH")
_MAJOR = 0x03
_F_OPTS_LEN = 0x0F


class MalformedFrame(ValueError):
    """The octets are not the LoRaWAN frame that they were taken for; the message shows the evidence."""


class MType(IntEnum):
    """What a frame is: the top three bits of MHDR (section 4.2.1)."""

    JOIN_REQUEST = 0
    JOIN_ACCEPT = 1
    UNCONFIRMED_DATA_UP = 2
    UNCONFIRMED_DATA_DOWN = 3
    CONFIRMED_DATA_UP = 4
    CONFIRMED_DATA_DOWN = 5
    REJOIN_REQUEST = 6
    PROPRIETARY = 7


_DATA_UP = (MType.UNCONFIRMED_DATA_UP, MType.CONFIRMED_DATA_UP)
_DATA_DOWN = (MType.UNCONFIRMED_DATA_DOWN, MType.CONFIRMED_DATA_DOWN)
_M_TYPES = tuple(MType)
# What `routing_slot` reads MHDR by: an int compares faster with ints than with members of an IntEnum.
_DATA_UP_BITS = (int(MType.UNCONFIRMED_DATA_UP), int(MType.CONFIRMED_DATA_UP))
_JOIN_REQUEST_BITS = int(MType.JOIN_REQUEST)


class UplinkFCtrl(Struct, frozen=True, gc=False):
    """Uplink frame control without FOptsLen, which the frame computes (section 4.3.1)."""

    adr: bool = False
    adr_ack_req: bool = False
    ack: bool = False
    class_b: bool = False

    @classmethod
    def from_byte(cls, octet: int) -> "UplinkFCtrl":
        """Reads bits 7 to 4."""
        return _UPLINK_F_CTRLS[octet >> 4]

    def to_byte(self) -> int:
        """Bits 7 to 4; FOptsLen is left at 0."""
        return self.adr << 7 | self.adr_ack_req << 6 | self.ack << 5 | self.class_b << 4


# There are sixteen, and one is needed for every uplink.
_UPLINK_F_CTRLS = tuple(UplinkFCtrl(bool(n & 8), bool(n & 4), bool(n & 2), bool(n & 1)) for n in range(16))


@dataclass(frozen=True, slots=True)
class DownlinkFCtrl:
    """Downlink frame control without FOptsLen, which the frame computes (section 4.3.1)."""

    adr: bool = False
    ack: bool = False
    f_pending: bool = False

    @classmethod
    def from_byte(cls, octet: int) -> "DownlinkFCtrl":
        """Reads bits 7, 5 and 4; bit 6 is RFU and ignored."""
        return cls(bool(octet & 0x80), bool(octet & 0x20), bool(octet & 0x10))

    def to_byte(self) -> int:
        """Bits 7, 5 and 4; FOptsLen is left at 0."""
        return self.adr << 7 | self.ack << 5 | self.f_pending << 4


class UplinkFrame(Struct, frozen=True):
    """A data frame from a device; `frm_payload` is as on the air, encrypted, and `f_cnt` its low 16 bits.

    A msgspec Struct like all that is made for every uplink: a frozen dataclass costs ten times as much to make.
    """

    confirmed: bool
    dev_addr: DevAddr
    f_ctrl: UplinkFCtrl
    f_cnt: int
    f_opts: bytes
    f_port: int | None
    frm_payload: bytes
    mic: bytes = bytes(MIC_LENGTH)

    @classmethod
    def from_bytes(cls, phy_payload: bytes) -> "UplinkFrame":
        """Reads a PHYPayload without checking its MIC.

        Raises:
            MalformedFrame: it is not a data uplink of LoRaWAN R1, or its parts do not fit together.
        """
        m_type, parts = _read_data_frame(phy_payload, _DATA_UP)
        return cls(
            m_type is MType.CONFIRMED_DATA_UP,
            parts.dev_addr,
            UplinkFCtrl.from_byte(parts.f_ctrl),
            parts.f_cnt,
            parts.f_opts,
            parts.f_port,
            parts.frm_payload,
            phy_payload[-MIC_LENGTH:],
        )

    def message(self) -> bytes:
        """What the MIC covers: the PHYPayload without its last four octets.

        Raises:
            ValueError: a field cannot be sent (FOpts beside FPort 0, a payload without FPort, too long...).
        """
        m_type = MType.CONFIRMED_DATA_UP if self.confirmed else MType.UNCONFIRMED_DATA_UP
        parts = _Parts(
            self.dev_addr, self.f_ctrl.to_byte(), self.f_cnt, self.f_opts, self.f_port, self.frm_payload
        )
        return _write_message(m_type, parts)

    def to_bytes(self) -> bytes:
        """The PHYPayload with the MIC that the frame carries."""
        return self.message() + self.mic


@dataclass(frozen=True, slots=True)
class DownlinkFrame:
    """A data frame to a device; `frm_payload` is as on the air, encrypted, and `f_cnt` its low 16 bits."""

    confirmed: bool
    dev_addr: DevAddr
    f_ctrl: DownlinkFCtrl
    f_cnt: int
    f_opts: bytes
    f_port: int | None
    frm_payload: bytes
    mic: bytes = bytes(MIC_LENGTH)

    @classmethod
    def from_bytes(cls, phy_payload: bytes) -> "DownlinkFrame":
        """Reads a PHYPayload without checking its MIC.

        Raises:
            MalformedFrame: it is not a data downlink of LoRaWAN R1, or its parts do not fit together.
        """
        m_type, parts = _read_data_frame(phy_payload, _DATA_DOWN)
        return cls(
            m_type is MType.CONFIRMED_DATA_DOWN,
            parts.dev_addr,
            DownlinkFCtrl.from_byte(parts.f_ctrl),
            parts.f_cnt,
            parts.f_opts,
            parts.f_port,
            parts.frm_payload,
            phy_payload[-MIC_LENGTH:],
        )

    def message(self) -> bytes:
        """What the MIC covers: the PHYPayload without its last four octets.

        Raises:
            ValueError: a field cannot be sent (FOpts beside FPort 0, a payload without FPort, too long...).
        """
        m_type = MType.CONFIRMED_DATA_DOWN if self.confirmed else MType.UNCONFIRMED_DATA_DOWN
        parts = _Parts(
            self.dev_addr, self.f_ctrl.to_byte(), self.f_cnt, self.f_opts, self.f_port, self.frm_payload
        )
        return _write_message(m_type, parts)

    def to_bytes(self) -> bytes:
        """The PHYPayload with the MIC that the frame carries."""
        return self.message() + self.mic


def mtype_of(phy_payload: bytes) -> MType:
    """What the frame says it is.

    Raises:
        MalformedFrame: it is empty, over 255 octets, or of another major version than LoRaWAN R1.
    """
    if not phy_payload:
        raise MalformedFrame("an empty PHYPayload has no MHDR")
    if len(phy_payload) > MAX_PHY_PAYLOAD:
        raise MalformedFrame(f"{len(phy_payload)} octets, a PHYPayload has at most {MAX_PHY_PAYLOAD}")
    if phy_payload[0] & _MAJOR:
        raise MalformedFrame(f"Major {phy_payload[0] & _MAJOR} in MHDR {phy_payload[0]:02x}, only 0 is known")
    return _M_TYPES[phy_payload[0] >> 5]


def routing_slot(phy_payload: bytes) -> int | None:
    """The slot (0 to 15) that a frame from a gateway is routed by; None when it has none.

    A join-request goes by `slot_of_dev_eui`, a data uplink by `slot_of_dev_addr`. Nothing else is read, so a
    frame with a slot may still be malformed.
    """
    length = len(phy_payload)
    if length < MIN_DATA_FRAME or length > MAX_PHY_PAYLOAD or phy_payload[0] & _MAJOR:
        return None
    m_type = phy_payload[0] >> 5
    if m_type in _DATA_UP_BITS:
        return crc32(phy_payload[4:0:-1]) & (SLOTS - 1)
    if m_type == _JOIN_REQUEST_BITS and length == JOIN_REQUEST_LENGTH:
        return crc32(phy_payload[16:8:-1]) & (SLOTS - 1)
    return None


class _Parts(NamedTuple):
    """MACPayload as both directions have it."""

    dev_addr: DevAddr
    f_ctrl: int
    f_cnt: int
    f_opts: bytes
    f_port: int | None
    frm_payload: bytes


def _read_data_frame(phy_payload: bytes, expected: tuple[MType, ...]) -> tuple[MType, _Parts]:
    m_type = mtype_of(phy_payload)
    if m_type not in expected:
        wanted = " or ".join(kind.name for kind in expected)
        raise MalformedFrame(f"MType {m_type.name} in MHDR {phy_payload[0]:02x}, expected {wanted}")
    mic_at = len(phy_payload) - MIC_LENGTH
    if len(phy_payload) < MIN_DATA_FRAME:
        raise MalformedFrame(
            f"{len(phy_payload)} octets, a data frame has at least {MIN_DATA_FRAME}: {phy_payload.hex()}"
        )
    dev_addr: bytes
    f_ctrl: int
    f_cnt: int
    _, dev_addr, f_ctrl, f_cnt = _HEADER.unpack_from(phy_payload)
    f_opts_end = _HEADER.size + (f_ctrl & _F_OPTS_LEN)
    if f_opts_end > mic_at:
        raise MalformedFrame(f"FOptsLen {f_ctrl & _F_OPTS_LEN} runs into the MIC: {phy_payload.hex()}")
    f_opts = phy_payload[_HEADER.size : f_opts_end]
    # FPort is there when anything follows FOpts (section 4.3.2).
    f_port = phy_payload[f_opts_end] if f_opts_end < mic_at else None
    if f_port == 0 and f_opts:
        # Section 4.3.1.6: commands travel in FOpts or under FPort 0, a frame with both is ignored.
        raise MalformedFrame(f"FPort 0 together with FOpts {f_opts.hex()}: {phy_payload.hex()}")
    frm_payload = phy_payload[f_opts_end + 1 : mic_at]
    return m_type, _Parts(DevAddr(dev_addr[::-1]), f_ctrl, f_cnt, f_opts, f_port, frm_payload)


def _write_message(m_type: MType, parts: _Parts) -> bytes:
    if len(parts.f_opts) > MAX_F_OPTS:
        raise ValueError(f"FOpts of {len(parts.f_opts)} octets, at most {MAX_F_OPTS} fit")
    if parts.f_port is None and parts.frm_payload:
        raise ValueError("FRMPayload without FPort")
    if parts.f_port == 0 and parts.f_opts:
        raise ValueError("FPort 0 together with FOpts")
    f_ctrl = parts.f_ctrl | len(parts.f_opts)
    header = _HEADER.pack(m_type << 5, parts.dev_addr[::-1], f_ctrl, parts.f_cnt & 0xFFFF)
    port = b"" if parts.f_port is None else bytes((parts.f_port,))
    message = header + parts.f_opts + port + parts.frm_payload
    if len(message) + MIC_LENGTH > MAX_PHY_PAYLOAD:
        raise ValueError(f"a frame of {len(message) + MIC_LENGTH} octets, at most {MAX_PHY_PAYLOAD} fit")
    return message

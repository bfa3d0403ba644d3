"""The data frames of a device, at the price of a few microseconds.

`lorawan` builds the same from objects (a test holds the two together); here a template is filled in.
"""

from struct import Struct

from lorawan.crypto import Direction, SessionCipher
from lorawan.frame import MType
from lorawan.identifiers import DevAddr

_UNCONFIRMED, _CONFIRMED = MType.UNCONFIRMED_DATA_UP << 5, MType.CONFIRMED_DATA_UP << 5
_ACK = 0x20
# MHDR, DevAddr, FCtrl, FCnt, FPort.
_HEADER = Struct("<B4sBHB")
# The same without FPort, which follows FOpts.
_HEADER_BEFORE_F_OPTS = Struct("<B4sBH")
_UP = Direction.UP


def data_frame(
    dev_addr: DevAddr,
    cipher: SessionCipher,
    f_cnt: int,
    f_port: int,
    payload: bytes,
    *,
    confirmed: bool = False,
    ack: bool = False,
    f_opts: bytes = b"",
) -> bytes:
    """An uplink; `f_cnt` is the device's 32-bit counter."""
    mhdr, f_ctrl, sent = _CONFIRMED if confirmed else _UNCONFIRMED, _ACK if ack else 0, f_cnt & 0xFFFF
    if f_opts:
        header = _HEADER_BEFORE_F_OPTS.pack(mhdr, dev_addr[::-1], f_ctrl | len(f_opts), sent)
        header += f_opts + bytes((f_port,))
    else:
        header = _HEADER.pack(mhdr, dev_addr[::-1], f_ctrl, sent, f_port)
    message = header + cipher.crypt(_UP, dev_addr, f_cnt, f_port, payload)
    return message + cipher.uplink_mic(message, dev_addr, f_cnt)

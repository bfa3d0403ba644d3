"""The octets that a load sends, at the price of a few microseconds: frames, rxpk, PUSH_DATA.

`lorawan` builds the same from objects (tests hold the two together); here a template is filled in.
"""

import random
import time
from binascii import b2a_base64
from functools import cache
from struct import Struct

from lab.simulator.radio import BANDWIDTH, CHANNELS, DEFAULT_CHANNELS, NOISE_FLOOR_DBM
from lorawan.airtime import lora_airtime_us
from lorawan.crypto import Direction, SessionCipher
from lorawan.frame import MType
from lorawan.gateway.semtech_udp import VERSION, DatagramType
from lorawan.identifiers import DevAddr

SECOND_US = 1_000_000
COUNTER_MASK = 0xFFFF_FFFF
SIGNALS = 256
SPREADING_FACTOR = 7  # Of every frame.
_UNCONFIRMED, _CONFIRMED = MType.UNCONFIRMED_DATA_UP << 5, MType.CONFIRMED_DATA_UP << 5
# MHDR, DevAddr, FCtrl (nothing asked, no FOpts), FCnt, FPort.
_HEADER = Struct("<B4sBHB")
# The same without FPort, which follows FOpts.
_HEADER_BEFORE_F_OPTS = Struct("<B4sBH")
_UP = Direction.UP


@cache
def airtime_us(length: int) -> int:
    """Time on air of an uplink of `length` octets."""
    return lora_airtime_us(length, SPREADING_FACTOR, BANDWIDTH, crc=True)


def data_frame(
    dev_addr: DevAddr,
    cipher: SessionCipher,
    f_cnt: int,
    f_port: int,
    payload: bytes,
    *,
    confirmed: bool = False,
    f_opts: bytes = b"",
) -> bytes:
    """An uplink; `f_cnt` is the device's 32-bit counter."""
    mhdr, sent = _CONFIRMED if confirmed else _UNCONFIRMED, f_cnt & 0xFFFF
    if f_opts:
        header = _HEADER_BEFORE_F_OPTS.pack(mhdr, dev_addr[::-1], len(f_opts), sent) + f_opts + bytes((f_port,))
    else:
        header = _HEADER.pack(mhdr, dev_addr[::-1], 0, sent, f_port)
    message = header + cipher.crypt(_UP, dev_addr, f_cnt, f_port, payload)
    return message + cipher.uplink_mic(message, dev_addr, f_cnt)


def channels(frequencies: tuple[int, ...]) -> tuple[bytes, ...]:
    """The part of an rxpk that says where a frame was: the same for every gateway."""
    return tuple(
        f'"chan":{chain},"rfch":{chain // 4},"freq":{frequency / 1e6:.6f},"stat":1,"modu":"LORA",'
        f'"datr":"SF7BW125","codr":"4/5","size":'.encode()
        for chain, frequency in enumerate(frequencies)
    )


ALL_CHANNELS = channels(CHANNELS)
JOIN_CHANNELS = channels(DEFAULT_CHANNELS)


def signals(seed: str) -> tuple[bytes, ...]:
    """Many ways to be heard, prepared: SNR and RSSI of SF7."""
    source = random.Random(seed)
    snrs = [source.randrange(-20, 40) / 4 for _ in range(SIGNALS)]
    return tuple(
        f'"lsnr":{snr},"rssi":{round(NOISE_FLOOR_DBM + max(snr, 0) + source.uniform(0, 40))},'.encode()
        for snr in snrs
    )


class Clock:
    """Instants as an rxpk writes them; the text of the second is made once a second."""

    __slots__ = ("_prefix", "_second")

    def __init__(self) -> None:
        self._second = -1
        self._prefix = b""

    def text(self, at_us: int) -> bytes:
        """ISO 8601 in UTC, with microseconds."""
        second, rest = divmod(at_us, SECOND_US)
        if second != self._second:
            self._second = second
            self._prefix = time.strftime("%Y-%m-%dT%H:%M:%S.", time.gmtime(second)).encode()
        return b"%b%06dZ" % (self._prefix, rest)


def heard(instant: bytes, channel: bytes, phy_payload: bytes) -> bytes:
    """What every gateway says alike of a frame."""
    return b'"time":"%b",%b%d,"data":"%b"}' % (
        instant,
        channel,
        len(phy_payload),
        b2a_base64(phy_payload, newline=False),
    )


def rxpk(tmst: int, signal: bytes, said: bytes) -> bytes:
    """One element of `rxpk`: the gateway's own counter and signal, and what `heard` wrote."""
    return b'{"tmst":%d,%b%b' % (tmst, signal, said)


def push_data(token: int, gateway_id: bytes, rxpks: list[bytes]) -> bytes:
    """A PUSH_DATA with what a forwarder found in its concentrator."""
    return b'%c%b%c%b{"rxpk":[%b]}' % (
        VERSION,
        (token & 0xFFFF).to_bytes(2),
        DatagramType.PUSH_DATA,
        gateway_id,
        b",".join(rxpks),
    )

"""The octets that a packet forwarder pushes, at the price of a few microseconds: rxpk objects and PUSH_DATA.

`lorawan` builds the same from objects (a test holds the two together); here a template is filled in.
"""

import random
import time
from binascii import b2a_base64
from functools import cache

from lab.radio.medium import NOISE_FLOOR_DBM
from lab.radio.transmission import CHANNELS, SECOND_US
from lorawan.gateway.lenient import gps_ms_of_utc_us
from lorawan.gateway.semtech_udp import VERSION, DatagramType

SIGNALS = 256


@cache
def channel(frequency: int, spreading_factor: int) -> bytes:
    """The part of an rxpk that says where a frame was: the same for every gateway."""
    chain = CHANNELS.index(frequency) if frequency in CHANNELS else 0
    return (
        f'"chan":{chain},"rfch":{chain // 4},"freq":{frequency / 1e6:.6f},"stat":1,"modu":"LORA",'
        f'"datr":"SF{spreading_factor}BW125","codr":"4/5","size":'
    ).encode()


def signal(snr: float, rssi: float) -> bytes:
    """How well one gateway received a frame."""
    return f'"lsnr":{snr},"rssi":{round(rssi)},'.encode()


def signals(seed: str) -> tuple[bytes, ...]:
    """Many plausible signals of SF7, prepared."""
    source = random.Random(seed)
    snrs = [source.randrange(-20, 40) / 4 for _ in range(SIGNALS)]
    return tuple(signal(snr, NOISE_FLOOR_DBM + max(snr, 0) + source.uniform(0, 40)) for snr in snrs)


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


def common_part(instant: bytes, on_channel: bytes, phy_payload: bytes) -> bytes:
    """What every gateway writes alike of a frame; `on_channel` as `channel` makes it."""
    return b'"time":"%b",%b%d,"data":"%b"}' % (
        instant,
        on_channel,
        len(phy_payload),
        b2a_base64(phy_payload, newline=False),
    )


def with_gps_time(common: bytes, at_us: int) -> bytes:
    """The same as a gateway with GPS says it, which kept the frame since then."""
    return b'"tmms":%d,%b' % (gps_ms_of_utc_us(at_us), common)


def rxpk(tmst: int, with_signal: bytes, common: bytes) -> bytes:
    """One element of `rxpk`: the gateway's own counter and signal, and the common part."""
    return b'{"tmst":%d,%b%b' % (tmst, with_signal, common)


def push_data(token: int, gateway_id: bytes, rxpks: list[bytes]) -> bytes:
    """A PUSH_DATA with what a forwarder found in its concentrator."""
    return b'%c%b%c%b{"rxpk":[%b]}' % (
        VERSION,
        (token & 0xFFFF).to_bytes(2),
        DatagramType.PUSH_DATA,
        gateway_id,
        b",".join(rxpks),
    )

"""PUSH_DATA as a forwarder in good order writes it: typed and in one go, at a quarter of the cost of judging it.

What this cannot read it leaves, whole, to the lenient reader, and what both can read they read alike: a test holds
one against the other.
"""

from binascii import a2b_base64

from msgspec import UNSET, MsgspecError, Raw, Struct, UnsetType
from msgspec.json import Decoder

from lorawan.gateway.lenient import time_us_of, utc_us_of_gps_ms
from lorawan.gateway.semtech_rxpk import LORA_BY_NAME, MAX_FREQUENCY, MAX_PHY_PAYLOAD, RxPk

_CRC_OK = 1
_MAX_INDEX = 0xFF


class _PlainRxPk(Struct, gc=False):
    """What nearly every `rxpk` says. Whatever else it says that we read makes it one for the lenient reader."""

    data: str
    freq: float
    datr: str
    rssi: float
    lsnr: float
    tmst: int | None = None
    time: str | None = None
    tmms: int | None = None
    codr: str = ""
    stat: int = _CRC_OK
    chan: int = 0
    ant: int = 0
    rsig: Raw | UnsetType = UNSET


class _PlainBody(Struct, gc=False):
    rxpk: list[_PlainRxPk]
    stat: Raw | UnsetType = UNSET


_decode = Decoder(_PlainBody).decode


def read_plain_rxpks(body: bytes) -> tuple[RxPk, ...] | None:
    """The frames of a PUSH_DATA that holds LoRa frames with a good CRC and nothing else; None for any other."""
    try:
        said = _decode(body)
        if said.stat is not UNSET:
            return None
        return tuple([_rxpk_of(element) for element in said.rxpk])
    except (MsgspecError, ValueError, KeyError, OverflowError, RecursionError):
        return None


def _rxpk_of(said: _PlainRxPk) -> RxPk:
    """Raises ValueError or KeyError for what the lenient reader is to judge."""
    phy_payload = a2b_base64(said.data, strict_mode=True)
    frequency = round(said.freq * 1e6)
    channel, antenna, tmst = said.chan, said.ant, said.tmst
    if not (
        said.stat == _CRC_OK
        and said.rsig is UNSET
        and 0 < len(phy_payload) <= MAX_PHY_PAYLOAD
        and 0 < frequency <= MAX_FREQUENCY
        and 0 <= channel <= _MAX_INDEX
        and 0 <= antenna <= _MAX_INDEX
    ):
        raise ValueError("not plain")
    return RxPk(
        phy_payload,
        None if tmst is None else tmst & 0xFFFF_FFFF,
        frequency,
        LORA_BY_NAME[said.datr],
        said.rssi,
        said.lsnr,
        said.codr,
        None if said.time is None else time_us_of(said.time),
        None if said.tmms is None else utc_us_of_gps_ms(said.tmms),
        channel,
        antenna,
    )

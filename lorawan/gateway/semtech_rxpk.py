"""One `rxpk` of the Semtech UDP protocol, as real forwarders write them, and as a forwarder should.

An element is judged alone: what cannot be read costs the value, then the element, never its neighbours.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from msgspec import Struct

from lorawan.gateway.lenient import (
    base64_of,
    gps_ms_of_utc_us,
    integer,
    json_array,
    json_object,
    number,
    octets_of_base64,
    text_of_time_us,
    time_us_of,
    utc_us_of_gps_ms,
)
from lorawan.regions.region import DataRate, Fsk, Lora

MAX_PHY_PAYLOAD = 255
MAX_FREQUENCY = (1 << 31) - 1
# Stand in for a level that the gateway did not say: worse than any, so that nothing ever prefers it.
UNKNOWN_RSSI = -200.0
UNKNOWN_SNR = -100.0
# FSK has no SNR.
FSK_SNR = 0.0

_MAX_BIT_RATE = 1_000_000
_CRC_OK = 1
LORA_BY_NAME = {
    f"SF{spreading_factor}BW{khz}": Lora(spreading_factor, khz * 1000)
    for spreading_factor in range(5, 13)
    for khz in (125, 250, 500)
}


class RejectReason(StrEnum):
    """Why an rxpk is not an uplink."""

    NOT_JSON = "not_json"
    NOT_AN_OBJECT = "not_an_object"
    BAD_CRC = "bad_crc"
    NO_CRC = "no_crc"
    DATA = "data"
    FREQUENCY = "frequency"
    MODULATION = "modulation"


@dataclass(frozen=True, slots=True)
class RejectedRxPk:
    """An rxpk that was dropped, to be counted by its reason."""

    reason: RejectReason
    evidence: str


class Antenna(Struct, frozen=True, gc=False):
    """One antenna's reception of a frame, on a gateway that has several (`rsig`)."""

    antenna: int
    channel: int
    rssi: float
    snr: float


class RxPk(Struct, frozen=True):
    """A frame that a gateway received: Hz, dBm, dB, and microseconds since 1970 UTC.

    A msgspec Struct: a frozen dataclass costs ten times as much to make, and there is one for every reception.
    """

    phy_payload: bytes
    tmst: int | None
    """The gateway's 32-bit microsecond counter at the end of the frame; without it there is no class A answer."""
    frequency: int
    modulation: DataRate
    rssi: float
    snr: float
    coding_rate: str = ""
    """`4/5` to `4/8`, `4/5LI`..., `OFF` for what is most likely noise, empty when unknown."""
    time_us: int | None = None
    """By the gateway's clock (`time`)."""
    gps_time_us: int | None = None
    """By GPS (`tmms`)."""
    channel: int = 0
    antenna: int = 0
    antennas: tuple[Antenna, ...] = ()
    """Every antenna of a gateway that reports them apart; the fields above are then those of the best."""


class _RejectedRxpk(ValueError):
    def __init__(self, reason: RejectReason, evidence: object) -> None:
        super().__init__(reason)
        self.rejected = RejectedRxPk(reason, str(evidence)[:80])


def read_rxpk(element: Any) -> RxPk | RejectedRxPk:
    """Judges one element of `rxpk`; a ValueError stands for one that is not JSON."""
    if isinstance(element, ValueError):
        return RejectedRxPk(RejectReason.NOT_JSON, str(element))
    said = json_object(element)
    if said is None:
        return RejectedRxPk(RejectReason.NOT_AN_OBJECT, type(element).__name__)
    try:
        return _rxpk_of(said)
    except _RejectedRxpk as refused:
        return refused.rejected


def _rxpk_of(said: dict[str, Any]) -> RxPk:
    _check_crc(said)
    phy_payload = _phy_payload_of(said.get("data"))
    modulation = _modulation_of(said)
    tmst = integer(said.get("tmst"))
    best, antennas = _signal_of(said, FSK_SNR if type(modulation) is Fsk else UNKNOWN_SNR)
    coding_rate = said.get("codr")
    return RxPk(
        phy_payload=phy_payload,
        tmst=None if tmst is None else tmst & 0xFFFF_FFFF,
        frequency=_frequency_of(said.get("freq")),
        modulation=modulation,
        rssi=best.rssi,
        snr=best.snr,
        coding_rate=coding_rate if type(coding_rate) is str else "",
        time_us=time_us_of(said["time"]) if "time" in said else None,
        gps_time_us=utc_us_of_gps_ms(said["tmms"]) if "tmms" in said else None,
        channel=best.channel,
        antenna=best.antenna,
        antennas=antennas,
    )


def _check_crc(said: dict[str, Any]) -> None:
    crc = said.get("stat", _CRC_OK)
    if crc != _CRC_OK and (crc := integer(crc)) != _CRC_OK:
        raise _RejectedRxpk(RejectReason.BAD_CRC if crc == -1 else RejectReason.NO_CRC, said.get("stat"))


def _phy_payload_of(data: Any) -> bytes:
    if not isinstance(data, str):
        raise _RejectedRxpk(RejectReason.DATA, f"data is {type(data).__name__}")
    try:
        octets = octets_of_base64(data)
    except ValueError as error:
        raise _RejectedRxpk(RejectReason.DATA, f"{error}: {data}") from error
    # `size` may say something else: the data are the truth.
    if not 0 < len(octets) <= MAX_PHY_PAYLOAD:
        raise _RejectedRxpk(RejectReason.DATA, f"{len(octets)} octets")
    return octets


def _frequency_of(megahertz: Any) -> int:
    found = number(megahertz)
    # Truncation would read 868.1 as 868,099,999 Hz.
    hertz = 0.0 if found is None else found * 1e6
    if not 0 < hertz <= MAX_FREQUENCY or not round(hertz):
        raise _RejectedRxpk(RejectReason.FREQUENCY, megahertz)
    return round(hertz)


def _modulation_of(said: dict[str, Any]) -> DataRate:
    rate = said.get("datr")
    if isinstance(rate, str):
        lora = LORA_BY_NAME.get(rate) or LORA_BY_NAME.get(rate.strip().upper())
        if lora is not None:
            return lora
    bit_rate = integer(rate)
    if bit_rate is None or not 0 < bit_rate <= _MAX_BIT_RATE or str(said.get("modu", "FSK")).upper() != "FSK":
        raise _RejectedRxpk(RejectReason.MODULATION, f"{said.get('modu')} {rate}")
    return Fsk(bit_rate)


def _signal_of(said: dict[str, Any], unknown_snr: float) -> tuple[Antenna, tuple[Antenna, ...]]:
    signals = map(json_object, json_array(said.get("rsig")) or ())
    antennas = tuple(_antenna_of(signal, unknown_snr, "rssic") for signal in signals if signal is not None)
    if not antennas:
        return _antenna_of(said, unknown_snr, "rssi"), ()
    return max(antennas, key=lambda antenna: (antenna.snr, antenna.rssi)), antennas


def _antenna_of(said: dict[str, Any], unknown_snr: float, rssi_key: str) -> Antenna:
    rssi = number(said.get(rssi_key))
    if rssi is None:
        rssi = number(said.get("rssis"))
    snr = number(said.get("lsnr"))
    return Antenna(
        antenna=_index(said.get("ant", 0)),
        channel=_index(said.get("chan", 0)),
        rssi=UNKNOWN_RSSI if rssi is None else rssi,
        snr=unknown_snr if snr is None else snr,
    )


def _index(value: Any) -> int:
    found = integer(value)
    return found if found is not None and 0 <= found <= 0xFF else 0  # noqa: PLR2004  # An octet.


def write_rxpk(rxpk: RxPk) -> dict[str, Any]:
    """The element of `rxpk` that a forwarder sends."""
    said: dict[str, Any] = {"stat": _CRC_OK, "chan": rxpk.channel, "rfch": 0}
    if rxpk.tmst is not None:
        said["tmst"] = rxpk.tmst
    if rxpk.time_us is not None:
        said["time"] = text_of_time_us(rxpk.time_us)
    if rxpk.gps_time_us is not None:
        said["tmms"] = gps_ms_of_utc_us(rxpk.gps_time_us)
    said["freq"] = rxpk.frequency / 1e6
    said |= write_modulation(rxpk.modulation)
    if rxpk.coding_rate:
        said["codr"] = rxpk.coding_rate
    if rxpk.antennas:
        del said["chan"]
        said["rsig"] = [
            {"ant": antenna.antenna, "chan": antenna.channel, "rssic": antenna.rssi, "lsnr": antenna.snr}
            for antenna in rxpk.antennas
        ]
    else:
        said |= {"ant": rxpk.antenna, "rssi": rxpk.rssi, "lsnr": rxpk.snr}
    return said | {"size": len(rxpk.phy_payload), "data": base64_of(rxpk.phy_payload)}


def write_modulation(modulation: DataRate) -> dict[str, Any]:
    """`modu` and `datr`, of an rxpk or a txpk."""
    match modulation:
        case Lora(spreading_factor, bandwidth):
            return {"modu": "LORA", "datr": f"SF{spreading_factor}BW{bandwidth // 1000}"}
        case Fsk(bit_rate):
            return {"modu": "FSK", "datr": bit_rate}


def read_modulation(said: dict[str, Any]) -> DataRate:
    """The modulation of an rxpk or a txpk.

    Raises:
        ValueError: there is none that we know.
    """
    return _modulation_of(said)

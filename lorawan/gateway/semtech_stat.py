"""The `stat` of the Semtech UDP protocol: a gateway's status, value by value."""

from dataclasses import dataclass
from typing import Any

from lorawan.gateway.lenient import integer, json_object, number, text_of_time_us, time_us_of


@dataclass(frozen=True, slots=True)
class Stat:
    """A gateway's status; None where it says nothing. Counts are since the last status, on most gateways."""

    time_us: int | None = None
    latitude: float | None = None
    longitude: float | None = None
    altitude: int | None = None
    rx_received: int | None = None
    rx_ok: int | None = None
    rx_forwarded: int | None = None
    ack_ratio: float | None = None
    """Percentage of datagrams that were acknowledged in time."""
    tx_received: int | None = None
    tx_emitted: int | None = None
    temperature: float | None = None


def read_stat(said: Any) -> Stat | None:
    """A status, value by value; None when it is not an object."""
    read = json_object(said)
    if read is None:
        return None
    latitude, longitude = _position_of(number(read.get("lati")), number(read.get("long")))
    return Stat(
        time_us=time_us_of(read.get("time")),
        latitude=latitude,
        longitude=longitude,
        altitude=None if latitude is None else integer(read.get("alti")),
        rx_received=integer(read.get("rxnb")),
        rx_ok=integer(read.get("rxok")),
        rx_forwarded=integer(read.get("rxfw")),
        ack_ratio=number(read.get("ackr")),
        tx_received=integer(read.get("dwnb")),
        tx_emitted=integer(read.get("txnb")),
        temperature=number(read.get("temp")),
    )


def _position_of(latitude: float | None, longitude: float | None) -> tuple[float, float] | tuple[None, None]:
    if latitude is None or longitude is None or not (abs(latitude) <= 90 and abs(longitude) <= 180):  # noqa: PLR2004
        return None, None
    # What forwarders say before they know: Null Island, and the example of the configuration file.
    if (latitude, longitude) in ((0, 0), (10, 20)):
        return None, None
    return latitude, longitude


def write_stat(stat: Stat) -> dict[str, Any]:
    """The `stat` that a forwarder sends."""
    said = {
        "time": None if stat.time_us is None else text_of_time_us(stat.time_us)[:19].replace("T", " ") + " GMT",
        "lati": stat.latitude,
        "long": stat.longitude,
        "alti": stat.altitude,
        "rxnb": stat.rx_received,
        "rxok": stat.rx_ok,
        "rxfw": stat.rx_forwarded,
        "ackr": stat.ack_ratio,
        "dwnb": stat.tx_received,
        "txnb": stat.tx_emitted,
        "temp": stat.temperature,
    }
    return {key: value for key, value in said.items() if value is not None}
